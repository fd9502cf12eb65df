/// Notices between processes that share one SQLite file.
module Integration.SignalsSqlite

open System
open System.Collections.Concurrent
open System.Diagnostics
open System.IO
open System.Net.Http
open System.Reflection
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.Data.Sqlite
open Integration.Http
open Integration.Sqlite
open Session.Engine
open Session.Stores.Sqlite

let private none = CancellationToken.None

let private inPlace (body: string -> Task<unit>) =
    task {
        let folder = World.temporaryFolder ()

        try
            do! body (Path.Combine(folder, "sessions.db"))
        finally
            Directory.Delete(folder, true)
    }

let private test name (body: string -> Task<unit>) = testCaseTask name (fun () -> inPlace body)

let private until (what: string) (isTrue: unit -> bool) =
    task {
        let clock = Stopwatch.StartNew()

        while not (isTrue ()) do
            if clock.Elapsed > TimeSpan.FromSeconds 15L then
                failtestf "never came: %s" what

            do! Task.Delay 10
    }

let private publish (store: SqliteStore) (ids: string list) =
    (store :> ISessionSignals).Publish(Array.ofList ids, none).AsTask()

let private prepared path =
    task {
        let store = openAt path
        let! _ = (store :> ISessionStore).Prepare none
        return store
    }

let private tables path = string (scalar path "SELECT group_concat(name) FROM sqlite_master WHERE type = 'table'")
let private count path = Convert.ToInt32(scalar path "SELECT count(*) FROM \"sessions-notices\"")
let private onFile path () = openAt path :> ISessionStore

/// What a listener keeps for itself, by its name.
let private fieldOf (subscription: IAsyncDisposable) (name: string) =
    nonNull (subscription.GetType().GetField(name, BindingFlags.NonPublic ||| BindingFlags.Instance))

/// As if a listener had said so long ago that it is there.
let private agedBy (seconds: float) (subscription: IAsyncDisposable) =
    (fieldOf subscription "_enteredAt").SetValue(subscription, DateTime.UtcNow.AddSeconds(-seconds))

let private processes =
    testCaseTask "SQLite: 'log out everywhere' at one process closes the page's stream at another one" (fun () ->
        task {
            let content = World.temporaryFolder ()

            let at (body: Uri -> Task<unit>) =
                Shops.running "Shop" [ "SHOP_STORE", "sqlite" ] [ "--contentRoot"; content ] body

            try
                do!
                    at (fun one ->
                        at (fun other ->
                            task {
                                use client = newClient ()

                                let signIn (address: Uri) =
                                    task {
                                        use login =
                                            new HttpRequestMessage(
                                                HttpMethod.Post,
                                                Uri(address, "/login"),
                                                Content =
                                                    new StringContent("""{"user":"ann"}""", null, "application/json")
                                            )

                                        use! answer = client.SendAsync login
                                        return (Seq.head (answer.Headers.GetValues "Set-Cookie")).Split(';')[0]
                                    }

                                let! cookie = signIn one
                                let! second = signIn other
                                use request = new HttpRequestMessage(HttpMethod.Get, Uri(one, "/events"))
                                request.Headers.TryAddWithoutValidation("Cookie", cookie) |> ignore
                                use! stream = client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead)
                                use! body = stream.Content.ReadAsStreamAsync()
                                use reader = new StreamReader(body)
                                let! first = reader.ReadLineAsync()
                                Expect.stringContains (string first) "Open" "the stream"
                                // Until it listens.
                                do! Task.Delay 1000
                                let! everywhere = send client other "POST" "/logout-everywhere" [ "Cookie", second ]
                                Expect.equal everywhere.Status 200 everywhere.Body
                                let clock = Stopwatch.StartNew()
                                let! rest = reader.ReadToEndAsync().WaitAsync(TimeSpan.FromSeconds 20L)

                                printfn
                                    "SQLite, two processes: the stream closes %d ms after the logout"
                                    clock.ElapsedMilliseconds

                                Expect.stringContains rest "Revoked" "why"
                                // The look would come after 30 seconds.
                                Expect.isLessThan clock.Elapsed (TimeSpan.FromSeconds 5L) "at once"
                            }))
            finally
                Directory.Delete(content, true)
        })

/// What SQLite does at the commits of notices: 1 NORMAL, 2 FULL.
let private levels (store: SqliteStore) =
    let hidden = BindingFlags.NonPublic ||| BindingFlags.Public ||| BindingFlags.Instance
    let field (owner: obj) (name: string) = nonNull ((nonNull (owner.GetType().GetField(name, hidden))).GetValue owner)
    let writer = field (field store "_connections") "_writer"

    let connection =
        (nonNull (writer.GetType().GetProperty("Connection", hidden))).GetValue writer |> nonNull :?> SqliteConnection

    let level () =
        use command = connection.CreateCommand()
        command.CommandText <- "PRAGMA synchronous"
        Convert.ToInt64(command.ExecuteScalar())

    let seen = ConcurrentQueue<int64>()

    connection.CreateFunction(
        "spy",
        Func<int64>(fun () ->
            seen.Enqueue(level ())
            1L)
    )

    use trigger = connection.CreateCommand()

    trigger.CommandText <-
        "CREATE TEMP TRIGGER spying AFTER INSERT ON main.\"sessions-notices\" BEGIN SELECT spy(); END"

    trigger.ExecuteNonQuery() |> ignore
    seen, level

let private disks =
    test "SQLite: a notice waits for no disk, whatever the settings" (fun path ->
        task {
            for durability, between in
                [ SqliteDurability.Selective, 1L
                  SqliteDurability.Normal, 1L
                  SqliteDurability.Full, 2L ] do
                use store = new SqliteStore(SqliteStoreOptions(Path = path, Durability = durability))
                let! _, subscription = Live.listen store
                // What was committed last waited for the disk, where anything does.
                let! _ = (store :> ISessionStore).Insert(record $"{durability}" true, none)
                let seen, level = levels store
                do! publish store [ "a" ]
                do! publish store [ "b" ]
                Expect.equal (List.ofSeq seen) [ 1L; 1L ] $"at its commit, {durability}"
                Expect.equal (level ()) between $"and afterwards, {durability}"
                do! subscription.DisposeAsync()
        })

let all =
    testSequenced (
        testList
            "notices on SQLite"
            [ processes
              test "SQLite: a logout on another node ends what is open, without a look" (fun path ->
                  task { do! Live.hearsOfIt (onFile path) })
              test "SQLite: with no notice coming through, the next look ends it" (fun path ->
                  task { do! Live.endsByLook (onFile path) })
              test "SQLite: what one node says all hear, until they stop to listen" (fun path ->
                  task { do! Live.hears (onFile path) })
              test "SQLite: what one node says all hear, whichever case each writes the table's name in" (fun path ->
                  task {
                      let named table = new SqliteStore(SqliteStoreOptions(Path = path, Table = table))
                      use lower = named "sessions"
                      use upper = named "Sessions"

                      for store in [ lower; upper ] do
                          let! _ = (store :> ISessionStore).Prepare none
                          ()

                      let! heardByLower, first = Live.listen lower
                      let! heardByUpper, second = Live.listen upper

                      for store, id in [ lower, "said-in-lower"; upper, "said-in-upper" ] do
                          do! publish store [ id ]

                          for heard in [ heardByLower; heardByUpper ] do
                              do! until id (fun () -> Seq.contains id heard)

                      do! second.DisposeAsync()
                      do! first.DisposeAsync()
                  })
              test "SQLite: notices that went before they were heard have all looked at" (fun path ->
                  task {
                      use! store = prepared path
                      let! heard, subscription = Live.listen store
                      do! publish store [ "heard" ]
                      do! until "a notice" (fun () -> Seq.contains "heard" heard)
                      Expect.isFalse (Seq.contains Live.everySession heard) "nothing is missed until now"

                      // As one who has stood still for a while finds them.
                      execute
                          path
                          "BEGIN;
                           INSERT INTO \"sessions-notices\" (ids, at) VALUES ('first', 0), ('second', 0), ('third', 0);
                           DELETE FROM \"sessions-notices\" WHERE ids <> 'third';
                           COMMIT"

                      do! until "that some are missed" (fun () -> Seq.contains Live.everySession heard)
                      Expect.isTrue (Seq.contains "third" heard) "what is left of them is heard"
                      heard.Clear()

                      execute
                          path
                          "BEGIN;
                           INSERT INTO \"sessions-notices\" (ids, at) VALUES ('fourth', 0);
                           DELETE FROM \"sessions-notices\";
                           COMMIT"

                      do! until "that all are missed" (fun () -> Seq.contains Live.everySession heard)
                      heard.Clear()

                      // As an older file has it that is restored into this one.
                      execute path "UPDATE sqlite_sequence SET seq = 1 WHERE name = 'sessions-notices'"
                      do! until "that some may be missed" (fun () -> Seq.contains Live.everySession heard)
                      do! publish store [ "after-it" ]
                      do! until "the next one" (fun () -> Seq.contains "after-it" heard)
                      do! subscription.DisposeAsync()
                  })
              test
                  "SQLite: notices that went before they were heard: a process that slept through its lease is told"
                  (fun path ->
                      task {
                          use! store = prepared path
                          let! heard, subscription = Live.listen store
                          do! publish store [ "heard" ]
                          do! until "a notice" (fun () -> Seq.contains "heard" heard)
                          Expect.isFalse (Seq.contains Live.everySession heard) "nothing is missed until now"

                          // As one that was suspended for so long: the others have removed it, and what was said since.
                          agedBy 61.0 subscription
                          do! until "that some may be missed" (fun () -> Seq.contains Live.everySession heard)
                          do! subscription.DisposeAsync()
                      })
              test "SQLite: a listener says again that it is there long before its lease ends" (fun path ->
                  task {
                      use! store = prepared path
                      let! heard, subscription = Live.listen store
                      let until' () = Convert.ToInt64(scalar path "SELECT until FROM \"sessions-listeners\"")

                      // As if a third of it were over; and as if the clock had been put back by an hour.
                      for seconds in [ 21.0; -3600.0 ] do
                          execute path "UPDATE \"sessions-listeners\" SET until = until - 210000000"
                          agedBy seconds subscription
                          let wanted = DateTime.UtcNow.AddSeconds(50.0).Ticks
                          do! until "that it is there" (fun () -> until' () > wanted)

                      Expect.isFalse (Seq.contains Live.everySession heard) "and nothing is missed"
                      do! subscription.DisposeAsync()
                  })
              test "SQLite: a listener that somebody else's lock keeps out listens again afterwards" (fun path ->
                  task {
                      use store =
                          new SqliteStore(
                              SqliteStoreOptions(Path = path, BusyTimeout = TimeSpan.FromMilliseconds 100L)
                          )

                      let! _ = (store :> ISessionStore).Prepare none
                      let! heard, subscription = Live.listen store
                      use other = new SqliteConnection $"Data Source={path};Pooling=False"
                      other.Open()
                      use transaction = other.BeginTransaction()
                      // It has to say again that it is there.
                      agedBy 21.0 subscription
                      let ear = fieldOf subscription "_ear"
                      do! until "that it gives up" (fun () -> isNull (ear.GetValue subscription))
                      transaction.Rollback()
                      do! until "that some may be missed" (fun () -> Seq.contains Live.everySession heard)
                      do! publish store [ "afterwards" ]
                      do! until "a notice" (fun () -> Seq.contains "afterwards" heard)
                      do! subscription.DisposeAsync()
                  })
              test "SQLite: a listener hears no more once its store is closed, and lets go of the file" (fun path ->
                  task {
                      use! store = prepared path
                      use! other = prepared path
                      let! heard, subscription = Live.listen store
                      do! publish other [ "before" ]
                      do! until "a notice" (fun () -> Seq.contains "before" heard)
                      (store :> IDisposable).Dispose()
                      // Its lease is not over.
                      do! publish other [ "after" ]
                      Expect.equal (count path) 2 "it was said"
                      do! Task.Delay 300
                      Expect.isFalse (Seq.contains "after" heard) "and not heard"
                      (other :> IDisposable).Dispose()

                      // Who stops to listen only now is told of no failure, and opens nothing.
                      for _ in 1..2 do
                          do! subscription.DisposeAsync()

                      // Whoever closes a file last removes its companions.
                      Expect.isFalse (File.Exists(path + "-wal")) "nobody has it open"
                  })
              test "SQLite: where nobody listens nothing is written" (fun path ->
                  task {
                      use! store = prepared path
                      let before = tables path
                      do! publish store [ "a" ]
                      Expect.equal (tables path) before "nobody has ever listened"
                      let! _, subscription = Live.listen store
                      do! publish store [ "a" ]
                      Expect.equal (count path) 1 "somebody does"
                      do! subscription.DisposeAsync()
                      Expect.equal (count path) 0 "and leaves nothing behind"
                      do! publish store [ "a" ]
                      Expect.equal (count path) 0 "nobody does any more"

                      // A process that was killed.
                      let! _, _ = Live.listen store
                      execute path $"UPDATE \"sessions-listeners\" SET until = {DateTime.UtcNow.Ticks - 1L}"
                      do! publish store [ "a" ]
                      Expect.equal (count path) 0 "whoever was last heard of long ago does not"
                  })
              test "SQLite: notices stay while another one listens, and who was killed does not count" (fun path ->
                  task {
                      use! store = prepared path
                      let! _, first = Live.listen store
                      let! _, second = Live.listen store
                      execute path "INSERT INTO \"sessions-listeners\" (listener, until) VALUES ('killed', 0)"
                      do! publish store [ "a" ]
                      do! first.DisposeAsync()
                      Expect.equal (count path) 1 "another one listens"
                      let! _, third = Live.listen store
                      let listeners = Convert.ToInt32(scalar path "SELECT count(*) FROM \"sessions-listeners\"")
                      Expect.equal listeners 2 "who was killed is forgotten"
                      do! third.DisposeAsync()
                      do! second.DisposeAsync()
                      Expect.equal (count path) 0 "the last one leaves nothing behind"
                  })
              test "SQLite: notices do not grow in number" (fun path ->
                  task {
                      use! store = prepared path
                      let! heard, subscription = Live.listen store

                      for i in 1..1500 do
                          do! publish store [ $"id-{i}" ]

                      Expect.isLessThanOrEqual (count path) 1000 "notices"
                      do! until "the last one" (fun () -> Seq.contains "id-1500" heard)

                      Expect.isTrue
                          (Seq.contains Live.everySession heard || Seq.length (Seq.distinct heard) = 1500)
                          "all are heard, or it is known that some are not"

                      // Older than a minute: they go with the next listener.
                      execute path "UPDATE \"sessions-notices\" SET at = at - 700000000"
                      let! _, second = Live.listen store
                      Expect.equal (count path) 0 "notices of a minute ago"
                      do! second.DisposeAsync()

                      // By a clock that was ahead, or behind: what could still be heard stays.
                      for seconds, left in [ -30L, 1; 30L, 1; 70L, 0 ] do
                          execute path "DELETE FROM \"sessions-notices\""
                          do! publish store [ "one" ]
                          execute path $"UPDATE \"sessions-notices\" SET at = at + {seconds * TimeSpan.TicksPerSecond}"
                          let! _, next = Live.listen store
                          Expect.equal (count path) left $"a notice, {seconds} s from now"
                          do! next.DisposeAsync()

                      do! subscription.DisposeAsync()
                  })
              test "SQLite: a file that was away is listened to when it is back, and all are looked at" (fun path ->
                  task {
                      use! store = prepared path
                      use! other = prepared path
                      let! heard, subscription = Live.listen store
                      File.Move(path, path + ".away")
                      do! Task.Delay 1500
                      File.Move(path + ".away", path)
                      do! until "that some may be missed" (fun () -> Seq.contains Live.everySession heard)
                      do! publish other [ "back" ]
                      do! until "a notice" (fun () -> Seq.contains "back" heard)
                      do! subscription.DisposeAsync()
                  })
              test "SQLite: five hundred sessions are looked at by one statement" (fun path ->
                  task {
                      use store = openAt path
                      do! Live.severalAtOnce store
                  })
              disks ]
    )
