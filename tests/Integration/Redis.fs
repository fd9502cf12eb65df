/// The Redis store on real servers: what it costs, what it survives, and what it says at start.
module Integration.Redis

open System
open System.Collections.Concurrent
open System.Diagnostics
open System.IO
open System.Text
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.Logging.Abstractions
open Microsoft.Extensions.Time.Testing
open StackExchange.Redis
open Integration.Engines
open Integration.RedisServer
open Integration.Relays
open Integration.World
open Session.Domain
open Session.Engine
open Session.Stores.Redis

let private none = CancellationToken.None

let private engineOn store clock board = Engines.engineOn store settings clock board

let private engine store = engineOn store TimeProvider.System silent

let private ok (answer: Result<'a, SessionError>) =
    match answer with
    | Ok value -> value
    | Error error -> failtestf "refused: %A" error

let private withStore configure (body: RedisStore -> string -> Task<unit>) =
    task {
        let prefix = Guid.NewGuid().ToString("N") + ":"
        let store = openRedisAt (shared.Force().Address) prefix configure

        try
            do! body store prefix
        finally
            (store :> IAsyncDisposable).DisposeAsync().AsTask().GetAwaiter().GetResult()
    }

let private present (engine: SessionEngine) (token: string) =
    engine.Present((Token.tryParse engine.Hasher (token.AsSpan())).Value, true, none)

/// What a token leads to.
type private Truth =
    | Lives of byte array
    | Ended of DestroyReason
    | Other of SessionError

/// The answer of a server that may have to be found again first.
let private answered engine token =
    task {
        let clock = Stopwatch.StartNew()
        let mutable answer = ValueNone

        while answer.IsNone do
            match! present engine token with
            | Error(SessionError.Unavailable error) ->
                if clock.Elapsed > TimeSpan.FromSeconds 20L then
                    failtestf "not found again: %O" error

                do! Task.Delay 20
            | Ok opened -> answer <- ValueSome(Lives opened.Live.Data)
            | Error(SessionError.Ended(OnPurpose reason, _)) -> answer <- ValueSome(Ended reason)
            | Error error -> answer <- ValueSome(Other error)

        return answer.Value
    }

/// How often the server ran each command since the last reset: its own statistics.
let commands (server: IServer) =
    task {
        let! text = server.InfoRawAsync "commandstats"

        return
            [ for line in (string text).Split '\n' do
                  if line.StartsWith "cmdstat_" then
                      let name = line.Substring(8, line.IndexOf ':' - 8)
                      let calls = line.Substring(line.IndexOf "calls=" + 6)
                      let calls = int (calls.Substring(0, calls.IndexOf ','))

                      // What the test and the driver's heartbeat ask for, and what runs inside scripts.
                      if
                          not (List.contains name [ "info"; "config|resetstat"; "ping"; "client|id"; "echo"; "config" ])
                      then
                          name, calls ]
            |> Map.ofList
    }

let private costs =
    testCaseTask "a read is one command, a write two round trips, and nothing is nothing" (fun () ->
        task {
            // A server of its own: its statistics count whoever talks to it.
            use server = startOne []
            let! admin = connect server.Address
            use admin = admin
            let stats = admin.GetServer(server.Address)
            let store = openRedisAt server.Address "costs:" ignore
            let! w = start store ignore
            let! token = w.SignIn "ann"

            // Once more: the driver hands each script over once.
            let! _ = w.Post("/cart/x", token)

            let counted (request: unit -> Task<Http.Answer>) =
                task {
                    do! stats.ConfigResetStatisticsAsync()
                    let! answer = request ()
                    Expect.equal answer.Status 200 "answered"
                    return! commands stats
                }

            let! read = counted (fun () -> w.Get("/cart", token))
            Expect.equal read (Map.ofList [ "get", 1 ]) "a read"
            let! untouched = counted (fun () -> w.Get("/plain", token))
            Expect.equal untouched Map.empty "an endpoint without a session"
            let! anonymous = counted (fun () -> w.Get "/cart")
            Expect.equal anonymous Map.empty "no token"
            let! write = counted (fun () -> w.Post("/cart/y", token))

            // Inside the script: GETRANGE for the head and the subject, SET.
            Expect.equal
                (write |> Map.remove "getrange" |> Map.remove "set")
                (Map.ofList [ "get", 1; "evalsha", 1 ])
                "a write: one load, one script"

            let! guess = commands stats
            Expect.isFalse (guess.ContainsKey "eval") "the text of a script goes over once"
            do! stop w
            do! (store :> IAsyncDisposable).DisposeAsync()
        })

let private faults =
    [ testCaseTask "scripts survive SCRIPT FLUSH" (fun () ->
          withStore ignore (fun store _ ->
              task {
                  let engine = engine store
                  let! created = engine.Create(Token.newId, Some "ann", [| 1uy |], none)
                  let! admin = connect (shared.Force().Address)
                  use admin = admin
                  do! admin.GetServer(shared.Force().Address).ScriptFlushAsync()
                  let! updated = engine.Update(ok created, (fun _ -> Ok [| 2uy |]), none)
                  Expect.equal (ok updated).Live.Data [| 2uy |] "written"
              }))

      testCaseTask "a server that answers no more is an error within the deadline, and nothing is lost" (fun () ->
          task {
              use server = startOne []

              let store =
                  openRedisAt server.Address "frozen:" (fun o -> o.OperationTimeout <- TimeSpan.FromMilliseconds 500L)

              let engine = engine store
              let! created = engine.Create(Token.newId, Some "ann", [| 1uy |], none)
              let created = ok created
              let token = created.Issued.Value.Reveal()
              server.Freeze()
              let clock = Stopwatch.StartNew()
              let! read = present engine token
              let! write = engine.Update(created, (fun _ -> Ok [| 2uy |]), none)
              let! ended = engine.SignOut(created, none)
              server.Thaw()

              for what, isUnavailable in
                  [ "a read",
                    (match read with
                     | Error(SessionError.Unavailable _) -> true
                     | _ -> false)
                    // Sent, and without an answer: what is said of it is that nobody knows.
                    "a write",
                    (match write with
                     | Error(SessionError.Unsure _) -> true
                     | _ -> false)
                    // By now the driver may know better than to send anything.
                    "a logout",
                    (match ended with
                     | Error(SessionError.Unsure _ | SessionError.Unavailable _) -> true
                     | _ -> false) ] do
                  Expect.isTrue isUnavailable (what + " is unavailable")

              Expect.isLessThan clock.Elapsed (TimeSpan.FromSeconds 10L) "bounded"

              // What was sent before may have taken effect, or not. Once the server has read all of it, and the driver has
              // found the server again, every answer is the same one: on this node, and on one that starts now.
              do! server.Drained()
              let! first = answered engine token
              let later = openRedisAt server.Address "frozen:" ignore
              let nodes = [ engine; engineOn later TimeProvider.System silent ]

              for node in nodes @ nodes @ nodes do
                  let! again = answered node token
                  Expect.equal again first "one truth after the server went on"

              match first with
              | Lives [| 1uy |]
              | Lives [| 2uy |]
              | Ended SignedOut -> ()
              | other -> failtestf "neither before nor after: %A" other

              do! (later :> IAsyncDisposable).DisposeAsync()
              do! (store :> IAsyncDisposable).DisposeAsync()
          })

      testCaseTask
          "a server that is not there: start goes on with a note, requests are errors, and it is found later"
          (fun () ->
              task {
                  use server = new RedisServer([])

                  let store =
                      openRedisAt (server.Address + ",connectTimeout=300,connectRetry=1") "later:" (fun o ->
                          o.OperationTimeout <- TimeSpan.FromSeconds 1L)

                  let! report = (store :> ISessionStore).Prepare none
                  Expect.exists report.Notes (fun note -> note.Contains "No Redis primary") "the note"
                  let engine = engine store
                  let! refused = engine.Create(Token.newId, None, [||], none)
                  Expect.isError refused "no server"
                  server.Start()
                  let clock = Stopwatch.StartNew()
                  let mutable isUp = false

                  while not isUp && clock.Elapsed < TimeSpan.FromSeconds 20L do
                      let! created = engine.Create(Token.newId, None, [||], none)
                      isUp <- created.IsOk

                  Expect.isTrue isUp "found without a restart"
                  do! (store :> IAsyncDisposable).DisposeAsync()
              })

      testCaseTask
          "a server that comes after the start, and is no Cluster, is asked for many sessions by one command"
          (fun () ->
              task {
                  use server = new RedisServer([])

                  use redis =
                      openRedisAt (server.Address + ",connectTimeout=300,connectRetry=1") "late:" (fun o ->
                          o.OperationTimeout <- TimeSpan.FromSeconds 1L)

                  let store = redis :> ISessionStore
                  let! _ = store.Prepare none
                  server.Start()
                  let clock = Stopwatch.StartNew()
                  let mutable isUp = false

                  while not isUp && clock.Elapsed < TimeSpan.FromSeconds 20L do
                      try
                          let! _ = store.Load("a", none)
                          isUp <- true
                      with
                      | :? StoreRefusedException
                      | :? RedisException
                      | :? TimeoutException -> do! Task.Delay 50

                  Expect.isTrue isUp "found"
                  use! admin = connect server.Address
                  let stats = admin.GetServer server.Address
                  do! stats.ConfigResetStatisticsAsync()
                  let! found = (redis :> IReadsMany).LoadMany([| "a"; "b" |], none)
                  Expect.equal found.Count 0 "there is none"
                  let! sent = commands stats
                  Expect.equal (Map.tryFind "mget" sent) (Some 1) "as of one node"
                  Expect.isFalse (sent.ContainsKey "evalsha" || sent.ContainsKey "eval") "and not of a Cluster"
              })

      testCaseTask "with appendonly a killed server loses no logout" (fun () ->
          task {
              use server = startOne [ "appendonly", "yes"; "appendfsync", "always" ]
              let store = openRedisAt (server.Address + ",connectRetry=3") "aof:" ignore
              let engine = engine store
              let! live = engine.Create(Token.newId, Some "ann", [| 1uy |], none)
              let! ended = engine.Create(Token.newId, Some "ann", [| 1uy |], none)
              let! _ = engine.SignOut(ok ended, none)
              server.Kill()
              server.Start()
              let clock = Stopwatch.StartNew()
              let mutable found = Error SessionError.NoSession

              while found.IsError && clock.Elapsed < TimeSpan.FromSeconds 20L do
                  let! answer = present engine ((ok live).Issued.Value.Reveal())
                  found <- answer

              Expect.isOk found "the live one lives"
              let! over = present engine ((ok ended).Issued.Value.Reveal())

              match over with
              | Error(SessionError.Ended(OnPurpose SignedOut, _)) -> ()
              | other -> failtestf "%A" other

              do! (store :> IAsyncDisposable).DisposeAsync()
          }) ]

let private probes =
    let notes settings configure =
        task {
            use server = startOne settings
            return! startNotes (openRedisAt server.Address "probe:" configure)
        }

    let says name settings configure (words: string) =
        testCaseTask name (fun () ->
            task {
                match! notes settings configure with
                | Ok found -> Expect.exists found _.Contains(words) "the note"
                | Error refusal -> failtest refusal
            })

    [ testCaseTask "start: a durable server needs no note" (fun () ->
          task {
              let! found = notes [ "appendonly", "yes"; "appendfsync", "always" ] ignore
              Expect.equal found (Ok []) "nothing to say"
          })
      testCaseTask "start: an evicting server is refused" (fun () ->
          task {
              let policies =
                  "volatile-ttl"
                  :: [ for keys in [ "allkeys"; "volatile" ] do
                           for order in [ "lru"; "lfu"; "random" ] do
                               $"{keys}-{order}" ]

              for policy in policies do
                  match! notes [ "maxmemory", "100mb"; "maxmemory-policy", policy ] ignore with
                  | Error sentence -> Expect.stringContains sentence "noeviction" $"{policy}: and says what to change"
                  | Ok found -> failtestf "%s: started with %A" policy found
          })
      says
          "start: a policy that would evict once there is a limit"
          [ "maxmemory-policy", "volatile-lru" ]
          ignore
          "noeviction"
      says "start: nothing on disk" [] ignore "keeps nothing on disk"
      says "start: snapshots only" [ "save", "60 1000" ] ignore "snapshots only"
      says "start: more replicas asked for than there are" [] (fun o -> o.WaitForReplicas <- 1) "WaitForReplicas"
      testCaseTask "start: of a Cluster the settings of each primary are looked at" (fun () ->
          task {
              use cluster = new RedisCluster(15000)
              cluster.Start()

              let set (node: RedisServer) (settings: (string * string) list) =
                  task {
                      use! admin = connect node.Address

                      for name, value in settings do
                          let words = [| "SET" :> obj; name :> obj; value :> obj |]
                          let! _ = admin.GetServer(node.Address).ExecuteAsync("CONFIG", words)
                          ()
                  }

              let start () = startNotes (openRedisAt cluster.Addresses (Guid.NewGuid().ToString "N" + ":") ignore)

              for node in List.filter isPrimary cluster.Nodes do
                  do! set node [ "maxmemory", "100mb"; "maxmemory-policy", "allkeys-lru" ]

                  match! start () with
                  | Error sentence -> Expect.stringContains sentence node.Address "which one evicts"
                  | Ok found -> failtestf "%s evicts, and it is started with %A" node.Address found

                  do! set node [ "maxmemory-policy", "noeviction"; "appendfsync", "everysec" ]

                  match! start () with
                  | Ok found ->
                      Expect.exists
                          found
                          (fun note -> note.Contains node.Address && note.Contains "appendfsync everysec")
                          "which one is not durable"
                  | Error sentence -> failtest sentence

                  do! set node [ "appendfsync", "always" ]
          })
      testCaseTask "start: what is changed in the settings once the store is made has no effect" (fun () ->
          task {
              let prefix = Guid.NewGuid().ToString "N" + ":"
              let settings = ConfigurationOptions.Parse(shared.Force().Address + ",defaultDatabase=1")
              let options = RedisStoreOptions(ConfigurationOptions = settings, KeyPrefix = prefix)
              use store = new RedisStore(options)
              settings.DefaultDatabase <- Nullable 2
              options.Database <- 3
              options.KeyPrefix <- "other:"
              let! report = (store :> ISessionStore).Prepare none
              Expect.stringEnds report.Location $"/1/{prefix}" "as it was made"
          })
      testCaseTask "start: the place has no password in it" (fun () ->
          task {
              use server = startOne [ "requirepass", "top-secret" ]
              let store = openRedisAt (server.Address + ",password=top-secret") "place:" ignore
              let! report = (store :> ISessionStore).Prepare none
              Expect.stringContains report.Location "place:" "the prefix"
              Expect.isFalse (report.Location.Contains "top-secret") "no password"
              do! (store :> IAsyncDisposable).DisposeAsync()
          }) ]

let private contents =
    [ testCaseTask "the layout of a value, read by another program" (fun () ->
          withStore ignore (fun store prefix ->
              task {
                  let at = DateTimeOffset(2026, 5, 4, 3, 2, 1, TimeSpan.Zero)

                  let record =
                      StoredRecord(
                          "an-id",
                          1L,
                          RecordKind.Live,
                          at,
                          at.AddMinutes 30.0,
                          "Zoë",
                          -5L,
                          ReadOnlyMemory "body"B
                      )

                  let! _ = (store :> ISessionStore).Insert(record, none)
                  let! admin = connect (shared.Force().Address)
                  use admin = admin
                  let db = admin.GetDatabase()
                  let! value = db.StringGetAsync(RedisKey(prefix + "r:an-id"))
                  let value = nonNull (RedisValue.op_Implicit value: byte[] | null)

                  let number start =
                      Buffers.Binary.BinaryPrimitives.ReadInt64BigEndian(ReadOnlySpan<byte>(value, start, 8))

                  Expect.equal (value[0], value[1]) (1uy, 1uy) "format and kind"
                  Expect.equal (number 2) 1L "version"
                  Expect.equal (number 10) at.UtcTicks "last seen"
                  Expect.equal (number 18) (at.AddMinutes 30.0).UtcTicks "due"
                  Expect.equal (number 26) -5L "operation"
                  Expect.equal (int value[34] * 256 + int value[35]) 4 "length of the subject"
                  Expect.equal (Encoding.UTF8.GetString(value, 36, 4)) "Zoë" "subject"
                  Expect.equal value[40..] "body"B "body"
                  let! left = db.KeyTimeToLiveAsync(RedisKey(prefix + "r:an-id"))
                  Expect.isGreaterThan left.Value (TimeSpan.FromHours 24.4) "a time to live well past its time"
                  // A sweeper that finds it too early puts it back.
                  do! (store :> ISessionStore).Reschedule("an-id", 1L, at.AddHours 2.0, none)
                  let! left = db.KeyTimeToLiveAsync(RedisKey(prefix + "r:an-id"))
                  Expect.isGreaterThan left.Value (TimeSpan.FromHours 25.9) "and past another time"
              }))

      testCaseTask "indexes do not grow: a thousand sessions come and go, and no key is left" (fun () ->
          withStore ignore (fun store prefix ->
              task {
                  let clock = FakeTimeProvider(DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero))
                  let engine = engineOn store clock silent

                  for round in 1..10 do
                      let! created =
                          [ for i in 1..100 -> engine.Create(Token.newId, Some $"user-{i % 7}", [||], none) ]
                          |> Task.WhenAll

                      let! _ =
                          [ for opened in created[..49] -> engine.SignIn(ok opened, $"other-{round}", [||], none) ]
                          |> Task.WhenAll

                      let! _ = engine.DestroyAll("user-3", None, Revoked, none)
                      ()

                  for _ in 1..4 do
                      clock.Advance(TimeSpan.FromHours 2.0)
                      let mutable handled = 100

                      while handled = 100 do
                          let! count = engine.Sweep(100, none)
                          handled <- count

                  let! admin = connect (shared.Force().Address)
                  use admin = admin
                  let server = admin.GetServer(shared.Force().Address)
                  let left = [ for key in server.Keys(pattern = RedisValue(prefix + "*")) -> string key ]
                  Expect.equal left [] "nothing is left"
              }))

      testCaseTask "a listing prunes entries whose record is gone" (fun () ->
          withStore ignore (fun store prefix ->
              task {
                  let engine = engine store
                  let! created = engine.Create(Token.newId, Some "ann", [||], none)
                  let! admin = connect (shared.Force().Address)
                  use admin = admin
                  let db = admin.GetDatabase()
                  // As the janitor does, or an operator.
                  let! _ = db.KeyDeleteAsync(RedisKey(prefix + "r:" + (ok created).Snapshot.Id))
                  let! found = engine.List("ann", none)
                  Expect.isEmpty (ok found) "not listed"
                  let! length = db.SortedSetLengthAsync(RedisKey(prefix + "s:ann"))
                  Expect.equal length 0L "and gone from the index"
              }))

      testCaseTask "no token is in the server, at no time" (fun () ->
          withStore ignore (fun store prefix ->
              task {
                  let engine = engine store
                  let! created = engine.Create(Token.newId, Some "ann", "data"B, none)
                  let token = (ok created).Issued.Value.Reveal()
                  let secret = token.Substring(token.IndexOf '.' + 1)
                  let! admin = connect (shared.Force().Address)
                  use admin = admin
                  let db = admin.GetDatabase()
                  let server = admin.GetServer(shared.Force().Address)

                  for key in server.Keys(pattern = RedisValue(prefix + "*")) do
                      let! dump = db.KeyDumpAsync key
                      let text = Encoding.Latin1.GetString(nonNull dump)
                      Expect.isFalse (text.Contains secret) (string key)
              })) ]

/// Between a client and its server: from the next request with this text on, what comes over its connection waits.
[<Sealed>]
type private HeldRequests(server: int) =
    let gate = obj ()
    let mutable awaited: byte array voption = ValueNone
    let released = TaskCompletionSource TaskCreationOptions.RunContinuationsAsynchronously

    let passage (request: byte array) : Task =
        lock gate (fun () ->
            match awaited with
            | ValueSome text when ReadOnlySpan(request).IndexOf(ReadOnlySpan text) >= 0 ->
                awaited <- ValueNone
                released.Task
            | _ -> Task.CompletedTask)

    /// Each as a whole, for many come in one piece.
    let requests (from: Net.Sockets.NetworkStream) (into: Net.Sockets.NetworkStream) =
        task {
            let bytes = Array.zeroCreate<byte> 65536
            let mutable waiting = Array.empty<byte>
            let mutable goesOn = true

            try
                while goesOn do
                    let! length = from.ReadAsync(bytes.AsMemory())
                    goesOn <- length > 0
                    waiting <- Array.append waiting bytes[.. length - 1]
                    let mutable isWhole = true

                    while isWhole do
                        match Wire.redis "" (ReadOnlyMemory waiting) with
                        | ValueSome(struct (until, _)) ->
                            do! passage waiting[.. until - 1]
                            do! into.WriteAsync(ReadOnlyMemory(waiting, 0, until))
                            waiting <- waiting[until..]
                        | ValueNone -> isWhole <- false
            with
            | :? IOException
            | :? ObjectDisposedException -> ()

            from.Dispose()
            into.Dispose()
        }

    let serve (client: Net.Sockets.TcpClient) =
        task {
            let upstream = new Net.Sockets.TcpClient(NoDelay = true)
            do! upstream.ConnectAsync(Net.IPAddress.Loopback, server)
            let toServer, toClient = upstream.GetStream(), client.GetStream()
            let! _ = Task.WhenAll(requests toClient toServer, pump toServer toClient (fun _ -> Task.CompletedTask))
            ()
        }

    let relay = new Relay(serve)
    member _.Address = $"127.0.0.1:{relay.Port}"
    member _.From(text: string) = lock gate (fun () -> awaited <- ValueSome(Encoding.UTF8.GetBytes text))

    /// That request has come.
    member _.HasCome = lock gate (fun () -> awaited.IsNone)

    member _.Release() = released.TrySetResult() |> ignore

    interface IDisposable with
        member held.Dispose() =
            held.Release()
            (relay :> IDisposable).Dispose()

/// Counts the ends that it is told of.
type private Counting() =
    let told = ConcurrentQueue<string>()
    member _.Told = List.ofSeq told

    interface INoticeBoard with
        member _.Post notice =
            match notice.Kind with
            | ExpiredNotice _ -> told.Enqueue notice.Id
            | _ -> ()

            ValueTask.CompletedTask

let private start2026 = DateTimeOffset(2026, 5, 4, 3, 2, 1, TimeSpan.Zero)

/// A record of half an hour, whose body is one number.
let private numbered id version kind (subject: string | null) (operation: int64) (number: byte) isDurable =
    StoredRecord(
        id,
        version,
        kind,
        start2026,
        start2026.AddMinutes 30.0,
        subject,
        operation,
        ReadOnlyMemory [| number |],
        isDurable
    )

let private sweepers =
    [ testCaseTask "three sweepers tell of each of 300 ends exactly once" (fun () ->
          task {
              let prefix = Guid.NewGuid().ToString("N") + ":"
              let clock = FakeTimeProvider(DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero))
              let board = Counting()
              let stores = [ for _ in 1..3 -> openRedisAt (shared.Force().Address) prefix ignore ]
              let nodes = [ for store in stores -> engineOn store clock board ]

              for i in 1..300 do
                  let! created = nodes[i % 3].Create(Token.newId, Some "ann", [||], none)
                  ok created |> ignore

              clock.Advance(TimeSpan.FromMinutes 31.0)

              let! _ =
                  [ for node in nodes do
                        for _ in 1..3 ->
                            task {
                                let mutable handled = 20

                                while handled > 0 do
                                    let! count = node.Sweep(20, none)
                                    handled <- count
                            } ]
                  |> Task.WhenAll

              Expect.equal board.Told.Length 300 "each is told"
              Expect.equal (List.distinct board.Told).Length 300 "once"

              for store in stores do
                  do! (store :> IAsyncDisposable).DisposeAsync()
          })

      testCaseTask
          "where an entry of the due index is early, each overdue record is claimed in order, and once"
          (fun () ->
              task {
                  let due (id: string) version (minutes: float) =
                      (numbered id version RecordKind.Live null version 1uy false).Due(start2026.AddMinutes minutes)

                  for limit in 1..4 do
                      do!
                          withStore ignore (fun redis _ ->
                              task {
                                  let store = redis :> ISessionStore

                                  for id, minutes in [ "b", 10.0; "early", 5.0; "d", 20.0; "later", 6.0; "e", 25.0 ] do
                                      let! _ = store.Insert(due id 1L minutes, none)
                                      ()

                                  // Their entries stay where they are: a sweep is to find that out.
                                  for id, minutes in [ "early", 15.0; "later", 60.0 ] do
                                      let! moved = store.Replace(due id 2L minutes, 1L, none)
                                      Expect.equal moved WriteResult.Written "due later"

                                  let claimed = Collections.Generic.List<string>()
                                  let mutable isOver = false

                                  while not isOver do
                                      let! some =
                                          store.ClaimOverdue(
                                              start2026.AddMinutes 30.0,
                                              TimeSpan.FromMinutes 2L,
                                              limit,
                                              none
                                          )

                                      Expect.isLessThanOrEqual some.Count limit "no more than wanted"
                                      claimed.AddRange [ for record in some -> record.Id ]
                                      isOver <- some.Count = 0 || claimed.Count > 10

                                  Expect.equal (List.ofSeq claimed) [ "b"; "early"; "d"; "e" ] $"{limit} at once"

                                  let! again =
                                      store.ClaimOverdue(start2026.AddMinutes 33.0, TimeSpan.FromMinutes 2L, 10, none)

                                  Expect.equal again.Count 4 "and all are free again when the lease is over"
                              })
              })

      testCaseTask "a sweeper that dies between claim and removal: another tells, when the lease is over" (fun () ->
          withStore ignore (fun store _ ->
              task {
                  let clock = FakeTimeProvider(DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero))
                  let board = Counting()
                  let other = engineOn store clock board

                  for _ in 1..10 do
                      let! created = other.Create(Token.newId, Some "ann", [||], none)
                      ok created |> ignore

                  clock.Advance(TimeSpan.FromMinutes 31.0)
                  // The first node claims, and is never heard of again.
                  let! claimed =
                      (store :> ISessionStore).ClaimOverdue(clock.GetUtcNow(), TimeSpan.FromMinutes 2L, 6, none)

                  Expect.equal claimed.Count 6 "claimed"
                  let! _ = other.Sweep(100, none)
                  Expect.equal board.Told.Length 4 "the others"
                  clock.Advance(TimeSpan.FromMinutes 2.0)
                  let! _ = other.Sweep(100, none)
                  Expect.equal (List.distinct board.Told).Length 10 "and then those"
                  Expect.equal board.Told.Length 10 "once"
              }))

      testCaseTask "three sweepers, and one is killed, wherever it is: each end is told, and nothing is left" (fun () ->
          task {
              let server = shared.Force()
              let mutable mostHeld = 0

              for requests in 0..8..160 do
                  let prefix = Guid.NewGuid().ToString "N" + ":"
                  let clock = FakeTimeProvider(DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero))
                  let board = Counting()
                  let stores = [ for _ in 1..2 -> openRedisAt server.Address prefix ignore ]
                  let nodes = [ for store in stores -> engineOn store clock board ]

                  let! created =
                      [ for i in 1..20 -> nodes[i % 2].Create(Token.newId, Some $"user-{i % 3}", [||], none) ]
                      |> Task.WhenAll

                  Expect.all created _.IsOk "begun"
                  clock.Advance(TimeSpan.FromMinutes 31.0)
                  // Its connection breaks after so many requests: it claims, it tells, it ends, and is heard of no more.
                  let wire = Wire.Wire(server.Port, Wire.redis prefix, requests)
                  let third = openRedisAt $"127.0.0.1:{wire.Port}" prefix ignore

                  try
                      let! _ = (engineOn third clock board).Sweep(10, none)
                      ()
                  with
                  | :? StoreRefusedException
                  | :? RedisException
                  | :? TimeoutException -> ()

                  do! (third :> IAsyncDisposable).DisposeAsync()
                  do! wire.Ended()

                  let sweep () =
                      [ for node in nodes do
                            for _ in 1..2 ->
                                task {
                                    let mutable handled = 5

                                    while handled > 0 do
                                        let! count = node.Sweep(5, none)
                                        handled <- count
                                } ]
                      |> Task.WhenAll

                  let! _ = sweep ()
                  mostHeld <- max mostHeld (20 - (List.distinct board.Told).Length)
                  clock.Advance(TimeSpan.FromMinutes 2.0)
                  let! _ = sweep ()
                  Expect.equal (List.distinct board.Told).Length 20 $"each is told, killed after {requests} requests"
                  // What it was telling of when it was killed, another tells again: those of its batch at most.
                  Expect.isLessThanOrEqual board.Told.Length 30 "and once, but for the ten that it had claimed"
                  Expect.all (List.countBy id board.Told) (fun (_, times) -> times <= 2) "none more than twice"

                  for _ in 1..3 do
                      clock.Advance(TimeSpan.FromHours 2.0)
                      let! _ = sweep ()
                      ()

                  use! admin = connect server.Address
                  let keys = admin.GetServer(server.Address).Keys(pattern = RedisValue(prefix + "*"))

                  Expect.equal
                      [ for key in keys -> string key ]
                      []
                      $"nothing is left, killed after {requests} requests"

                  for store in stores do
                      do! (store :> IAsyncDisposable).DisposeAsync()

              Expect.isGreaterThan mostHeld 0 "it was killed while it held claims"
          }) ]

/// What another program may have put in the place of a record, and whether it has a version, by which a tombstone takes its place.
let private strangers =
    [ "a word", "SET", "garbage"B, false
      "as long as a due time", "SET", "12345678"B, false
      "of another format", "SET", Array.create 64 (byte 'x'), true
      "the format, and nothing behind it", "SET", Array.create 64 1uy, true
      "times that are none",
      "SET",
      Array.concat
          [ [| 1uy; 1uy |]
            Array.zeroCreate 8
            Array.create 16 255uy
            Array.zeroCreate 10 ],
      true
      "a list", "RPUSH", "other"B, false ]

let private strange =
    [ for what, command, value, hasVersion in strangers do
          testCaseTask $"in the place of a record {what}: it keeps no sweep, list or logout from the others" (fun () ->
              withStore ignore (fun redis prefix ->
                  task {
                      let store = redis :> ISessionStore
                      let clock = FakeTimeProvider(DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero))
                      let board = Counting()
                      let engine = engineOn store clock board

                      let signIn () =
                          task {
                              let! created = engine.Create(Token.newId, Some "ann", [| 1uy |], none)
                              return (ok created).Issued.Value.Reveal()
                          }

                      let! first = signIn ()
                      let! token = signIn ()
                      let! last = signIn ()
                      let strange = Http.idOf token
                      let ids = Set.ofList [ Http.idOf first; strange; Http.idOf last ]
                      use! admin = connect (shared.Force().Address)
                      let db = admin.GetDatabase()
                      let key = RedisKey $"{prefix}r:{strange}"
                      let! _ = db.KeyDeleteAsync key
                      let! _ = db.ExecuteAsync(command, [| key :> obj; value :> obj |])

                      match! present engine token with
                      | Error(SessionError.Unreadable _) -> ()
                      | other -> failtestf "it is read: %A" other

                      // Twice: a list takes out of the index what is not the subject's.
                      for _ in 1..2 do
                          let! theirs = store.BySubject("ann", null, 10, none)
                          Expect.equal (Set.ofList [ for one in theirs.Records -> one.Id ]) ids "of the subject"

                      let! all = store.Enumerate(null, 10, none)
                      Expect.equal (Set.ofList [ for one in all.Records -> one.Id ]) ids "of all"
                      let! many = (redis :> IReadsMany).LoadMany(Array.ofSeq ids, none)
                      let others = Set.remove strange ids
                      Expect.isTrue (Set.isSubset others (Set.ofList [ for one in many -> one.Id ])) "several at once"
                      let now = clock.GetUtcNow().AddMinutes 31.0
                      let! claimed = store.ClaimOverdue(now, TimeSpan.FromMinutes 1L, 10, none)
                      Expect.equal (Set.ofList [ for one in claimed -> one.Id ]) ids "claimed"

                      // When that lease is over.
                      clock.Advance(TimeSpan.FromMinutes 40.0)
                      let! swept = engine.Sweep(100, none)
                      Expect.equal swept 3 "swept"
                      Expect.equal (Set.ofList board.Told) others "the others are told of"
                      let! again = engine.Sweep(100, none)
                      Expect.equal again 0 "and it is looked at again later"

                      let! alive = signIn ()
                      let! ended = engine.DestroyEvery(Revoked, none)
                      Expect.equal ended.IsOk (command = "SET") $"a list cannot be ended, and that is said: {ended}"

                      match! present engine alive with
                      | Error(SessionError.Ended _) -> ()
                      | other -> failtestf "it lives: %A" other

                      let! left = store.Load(strange, none)
                      Expect.equal ((nonNull left).Kind = RecordKind.Ended) hasVersion "a tombstone takes its place"
                  })) ]

/// Sign-ins and logouts under load while `disturb` runs; the logouts that were acknowledged, and how long nothing worked.
let underLoad (store: ISessionStore) (disturb: unit -> Task<unit>) =
    task {
        let engine = engine store
        use stop = new CancellationTokenSource()
        let loggedOut = ConcurrentQueue<string>()
        let kept = ConcurrentQueue<string>()
        let failures = ConcurrentQueue<SessionError>()
        let mutable lastGood = Stopwatch.GetTimestamp()
        let mutable longest = TimeSpan.Zero
        let gate = Lock()

        let good () =
            lock gate (fun () ->
                longest <- max longest (Stopwatch.GetElapsedTime lastGood)
                lastGood <- Stopwatch.GetTimestamp())

        let client n =
            task {
                let mutable i = 0

                while not stop.IsCancellationRequested do
                    i <- i + 1
                    let! created = engine.Create(Token.newId, Some $"user-{n}-{i}", [| 1uy |], none)

                    match created with
                    | Error error ->
                        failures.Enqueue error
                        do! Task.Delay 20
                    | Ok opened ->
                        let token = opened.Issued.Value.Reveal()

                        if i % 2 = 0 then
                            let! ended = engine.SignOut(opened, none)

                            match ended with
                            | Ok _ ->
                                loggedOut.Enqueue token
                                good ()
                            | Error error -> failures.Enqueue error
                        else
                            kept.Enqueue token
            }

        let running = [ for n in 1..8 -> Task.Run<unit>(fun () -> client n) ]
        let started = Stopwatch.StartNew()

        // A busy machine needs its time until work goes through.
        while loggedOut.Count < 20 && started.Elapsed < TimeSpan.FromSeconds 30L do
            do! Task.Delay 100

        lock gate (fun () ->
            lastGood <- Stopwatch.GetTimestamp()
            longest <- TimeSpan.Zero)

        do! disturb ()
        // Until work is done again, and a little more.
        do! Task.Delay 3000
        stop.Cancel()
        let! _ = Task.WhenAll running
        return engine, List.ofSeq loggedOut, List.ofSeq kept, List.ofSeq failures, longest
    }

/// How many of these tokens open a session, once that can be said.
let judge (engine: SessionEngine) (loggedOut: string list) =
    task {
        let mutable undead = 0

        for token in loggedOut do
            let mutable answer = Error(SessionError.Unavailable(TimeoutException()))
            let mutable tries = 0

            while (match answer with
                   | Error error -> isUnavailable error
                   | Ok _ -> false)
                  && tries < 50 do
                tries <- tries + 1

                // A connection that is made anew takes a moment.
                if tries > 1 then
                    do! Task.Delay 100

                let! found = present engine token
                answer <- found

            if answer.IsOk then
                undead <- undead + 1

        return undead
    }

/// Why these tokens open nothing, of those that do not.
let refusals (engine: SessionEngine) (tokens: string list) =
    task {
        let found = Collections.Generic.List<string>()

        for token in tokens do
            match! present engine token with
            | Error error -> found.Add $"{Http.idOf token}: {error}"
            | Ok _ -> ()

        return String.concat "; " (Seq.truncate 10 found)
    }

/// Confirmed sessions, on all slots.
let private begun (engine: SessionEngine) count =
    task {
        let tokens = Collections.Generic.List<string>()

        while tokens.Count < count do
            match! engine.Create(Token.newId, None, [| 7uy |], none) with
            | Error _ -> do! Task.Delay 20
            | Ok created ->
                let token = created.Issued.Value.Reveal()

                match! answered engine token with
                | Lives _ -> tokens.Add token
                | other -> failtestf "not let in: %A" other

        return List.ofSeq tokens
    }

/// How long this machine let its programs stand still meanwhile, all in all: a busy one is late with everything.
let private lateness (isOver: CancellationToken) : Task<TimeSpan> =
    task {
        let step = TimeSpan.FromMilliseconds 20L
        let mutable late = TimeSpan.Zero

        while not isOver.IsCancellationRequested do
            let started = Stopwatch.GetTimestamp()
            do! Task.Delay step
            // A timer's own coarseness is none.
            let over = Stopwatch.GetElapsedTime started - step
            late <- late + max TimeSpan.Zero (over - TimeSpan.FromMilliseconds 5L)

        return late
    }

/// Reads a session over and over: how long it was not to be had. Nothing but "unavailable" may come in between.
let private longestWait (engine: SessionEngine) (isOver: CancellationToken) (token: string) : Task<TimeSpan> =
    task {
        let mutable last = Stopwatch.GetTimestamp()
        let mutable longest = TimeSpan.Zero

        while not isOver.IsCancellationRequested do
            match! present engine token with
            | Ok _ ->
                longest <- max longest (Stopwatch.GetElapsedTime last)
                last <- Stopwatch.GetTimestamp()
            | Error(SessionError.Unavailable _) -> ()
            | Error error -> failtestf "logged out by a failover: %A" error

            do! Task.Delay 50

        return max longest (Stopwatch.GetElapsedTime last)
    }

let private failovers =
    [ testCaseTask "Sentinel: a failover under load loses no acknowledged logout" (fun () ->
          task {
              use sentinels = new RedisSentinels()
              do! sentinels.Settled()

              let store =
                  openRedisAt (sentinels.Configuration + ",connectRetry=3,connectTimeout=1000") "sentinel:" (fun o ->
                      o.WaitForReplicas <- 1
                      o.OperationTimeout <- TimeSpan.FromSeconds 1L)

              let! engine, loggedOut, _, failures, outage =
                  underLoad store (fun () ->
                      task {
                          sentinels.Primary.Kill()
                          do! Task.Delay 8000
                      })

              // One replica is all there was: what is written from now on can wait for none, and says so.
              Expect.isNonEmpty loggedOut "logouts before the failover"
              Expect.all failures isUnavailable "errors are 503"
              let! undead = judge engine loggedOut

              printfn
                  "Sentinel failover: %d acknowledged logouts, %d undone; longest silence %.1f s"
                  loggedOut.Length
                  undead
                  outage.TotalSeconds

              Expect.equal undead 0 "none is undone"
              let! found = present engine loggedOut.Head

              match found with
              | Error error when isUnavailable error -> failtest "the new primary is not used"
              | _ -> ()

              do! (store :> IAsyncDisposable).DisposeAsync()
          })

      testCaseTask
          "Cluster: a killed primary under load: no acknowledged logout is lost, and it is over soon"
          (fun () ->
              task {
                  let nodeTimeout = 2000
                  use cluster = new RedisCluster(nodeTimeout)
                  cluster.Start()

                  let store =
                      openRedisAt (cluster.Addresses + ",connectRetry=3,connectTimeout=1000") "cluster:" (fun o ->
                          o.WaitForReplicas <- 1
                          o.OperationTimeout <- TimeSpan.FromSeconds 1L)

                  let! report = (store :> ISessionStore).Prepare none
                  Expect.isTrue report.ComparesAndSwaps "prepared"
                  let mutable held: Task<TimeSpan array> = Task.FromResult [||]
                  let mutable lateBy = TimeSpan.Zero
                  let mutable failover = TimeSpan.Zero

                  let! engine, loggedOut, kept, failures, silence =
                      underLoad store (fun () ->
                          task {
                              let! tokens = begun (engine store) 24
                              use isOver = new CancellationTokenSource()
                              held <- Task.WhenAll(List.map (longestWait (engine store) isOver.Token) tokens)
                              do! Task.Delay 500
                              let late = lateness isOver.Token
                              let! took = failOver cluster.Nodes cluster.Nodes.Head.Kill
                              failover <- took
                              do! Task.Delay 5000
                              isOver.Cancel()
                              let! by = late
                              lateBy <- by
                              let! _ = held
                              ()
                          })

                  let! waits = held
                  let outage = Array.max waits

                  Expect.isNonEmpty loggedOut "logouts"
                  Expect.all failures isUnavailable "errors are 503"
                  let! undead = judge engine loggedOut
                  let! alive = judge engine kept
                  let gone = kept.Length - alive

                  printfn
                      "Cluster failover (node timeout %d ms): a new primary after %.1f s; %d acknowledged logouts, %d undone; %d sessions kept, %d lost; a session waited at most %.1f s, no logout was acknowledged for %.1f s; %d requests got 503; the machine was late by %.1f s"
                      nodeTimeout
                      failover.TotalSeconds
                      loggedOut.Length
                      undead
                      kept.Length
                      gone
                      outage.TotalSeconds
                      silence.TotalSeconds
                      failures.Length
                      lateBy.TotalSeconds

                  Expect.equal undead 0 "no logout is undone"
                  Expect.equal gone 0 "and nobody is logged out"

                  Expect.isLessThan
                      outage
                      (failover + TimeSpan.FromSeconds 3L + lateBy)
                      "no session waits longer than for the new primary and three seconds, and what the machine was late by"

                  Expect.isGreaterThan
                      outage
                      (TimeSpan.FromMilliseconds(float nodeTimeout / 2.0))
                      "and the failover was seen"

                  do! (store :> IAsyncDisposable).DisposeAsync()
              }) ]

/// The contract where index and record are on different nodes.
let private cluster = lazy (untilExit (new RedisCluster(5000)))

let private onCluster =
    let contract =
        Contract.on "Redis Cluster" Contract.sizedForCluster (fun () ->
            if not cluster.IsValueCreated then
                cluster.Force().Start()

            let prefix = Guid.NewGuid().ToString "N" + ":"
            fun () -> openRedisAt (cluster.Value.Addresses) prefix ignore)

    testList
        "six nodes"
        [ Contract.tests contract
          testCase "the nodes stop" (fun () ->
              if cluster.IsValueCreated then
                  (cluster.Value :> IDisposable).Dispose()) ]

/// The beginning of the script that replaces a record, as it goes over the wire.
let private textOfReplace = "redis.call('GETRANGE', KEYS[1], 0, 35)"

/// As a writer does: what conflicts is decided anew, what is unknown is looked up.
let rec private addOne (store: ISessionStore) (results: Collections.Generic.List<WriteResult>) : Task<unit> =
    task {
        match! store.Load("a", none) with
        | null -> failtest "gone"
        | found ->
            let operation = found.Version + 100L
            let number = found.Body.Span[0] + 1uy
            let next = numbered "a" (found.Version + 1L) RecordKind.Live null operation number false
            let! result = store.Replace(next.BasedOn found.Head, found.Version, none)
            results.Add result

            match result with
            | WriteResult.Written -> ()
            | WriteResult.Unknown ->
                let! again = store.Load("a", none)

                if (nonNull again).Operation <> operation then
                    return! addOne store results
            | _ -> return! addOne store results
    }

let private lateAnswers =
    let counted =
        testCaseTask "after SCRIPT FLUSH an update whose answer is late is unknown, and counts once" (fun () ->
            task {
                let server = shared.Force()
                use late = new LateAnswers(server.Port)
                let prefix = Guid.NewGuid().ToString "N" + ":"
                use redis = openRedisAt late.Address prefix (fun o -> o.OperationTimeout <- TimeSpan.FromSeconds 1L)
                let store = redis :> ISessionStore
                let! inserted = store.Insert(numbered "a" 1L RecordKind.Live null 1L 0uy false, none)
                Expect.equal inserted WriteResult.Written "inserted"
                use! admin = connect server.Address
                do! admin.GetServer(server.Address).ScriptFlushAsync()
                late.After(textOfReplace, TimeSpan.FromSeconds 1.5)
                let results = Collections.Generic.List<WriteResult>()

                do! addOne store results
                let! stored = store.Load("a", none)
                Expect.equal (nonNull stored).Body.Span[0] 1uy "counted once"
                Expect.equal (nonNull stored).Version 2L "written once"
                Expect.equal (List.ofSeq results) [ WriteResult.Unknown ] "and nothing was said that nobody knew"
            })

    let overHttp =
        testCaseTask "after SCRIPT FLUSH a request whose answer is late changes the cart once" (fun () ->
            task {
                let server = shared.Force()
                use late = new LateAnswers(server.Port)
                let prefix = Guid.NewGuid().ToString "N" + ":"
                use redis = openRedisAt late.Address prefix (fun o -> o.OperationTimeout <- TimeSpan.FromSeconds 1L)
                let! w = start redis ignore
                let! token = w.Begin "x"
                use! admin = connect server.Address
                do! admin.GetServer(server.Address).ScriptFlushAsync()
                late.After(textOfReplace, TimeSpan.FromSeconds 1.5)
                let! _ = w.Post("/cart/y", token)
                let! cart = w.Cart token
                Expect.equal (cart.Split('y').Length - 1) 1 $"once in {cart}"
                do! stop w
            })

    let inserted =
        testCaseTask "an insert whose answer is late, and which is found, is written" (fun () ->
            task {
                let server = shared.Force()
                use late = new LateAnswers(server.Port)
                let prefix = Guid.NewGuid().ToString "N" + ":"
                use redis = openRedisAt late.Address prefix (fun o -> o.OperationTimeout <- TimeSpan.FromSeconds 1L)
                let store = redis :> ISessionStore

                for id, subject in [ "a", None; "b", Some "ann" ] do
                    let! _ = store.Load("x", none)
                    late.After($"{prefix}r:{id}", TimeSpan.FromSeconds 1.5)

                    let! written =
                        store.Insert(numbered id 1L RecordKind.Live (Option.toObj subject) 1L 1uy false, none)

                    Expect.equal written WriteResult.Written "found"
                    let! again = store.Insert(numbered id 1L RecordKind.Live (Option.toObj subject) 2L 1uy false, none)
                    Expect.equal again WriteResult.Conflict "another one is not"

                let! theirs = store.BySubject("ann", null, 10, none)
                Expect.equal [ for record in theirs.Records -> record.Id ] [ "b" ] "and it is listed"
            })

    /// Who lists reads an entry, and then the record, and removes the entry if the record is not the subject's (yet).
    let foundLater =
        testCaseTask
            "a sign-in that is found after its answer was lost stays listed, whoever has looked before the record was there"
            (fun () ->
                task {
                    use server = startOne []
                    use! admin = connect server.Address
                    let db = admin.GetDatabase()
                    let prefix = "found-later:"
                    let index = RedisKey(prefix + "s:ann")
                    use redis = openRedisAt server.Address prefix ignore
                    let store = redis :> ISessionStore

                    let create (slow: ISessionStore) (id: string) =
                        slow.Insert(numbered id 1L RecordKind.Live "ann" 2L 1uy true, none)

                    let elevate (slow: ISessionStore) (id: string) =
                        slow.Replace(numbered id 2L RecordKind.Live "ann" 2L 1uy true, 1L, none)

                    for id, signIn in [ "new", create; "there", elevate ] do
                        if id = "there" then
                            let! _ = store.Insert(numbered id 1L RecordKind.Live null 1L 0uy false, none)
                            ()

                        use late = new LateAnswers(server.Port)

                        use redis =
                            openRedisAt late.Address prefix (fun o -> o.OperationTimeout <- TimeSpan.FromSeconds 1L)

                        let slow = redis :> ISessionStore
                        let! _ = slow.Load("x", none)
                        late.After($"{prefix}r:{id}", TimeSpan.FromSeconds 8L)
                        let! signedIn = signIn slow id
                        Expect.equal signedIn WriteResult.Unknown $"{id}: nobody has heard of it"
                        let! found = store.Load(id, none)
                        let found = nonNull found
                        Expect.equal found.Subject "ann" $"{id}: it is there"
                        let! members = db.SortedSetRangeByRankAsync(index)

                        let read =
                            members |> Array.filter (fun one -> (string one).StartsWith(id, StringComparison.Ordinal))

                        Expect.equal (Array.map string read) [| id |] $"{id}: what whoever looked has read"

                        // As the engine does, for the acknowledgement.
                        let again = numbered id (found.Version + 1L) RecordKind.Live "ann" 3L 1uy true
                        let! affirmed = store.Replace(again.BasedOn found.Head, found.Version, none)
                        Expect.equal affirmed WriteResult.Written $"{id}: the sign-in is acknowledged"
                        let! _ = db.SortedSetRemoveAsync(index, read)
                        let! theirs = store.BySubject("ann", null, 10, none)

                        Expect.exists
                            theirs.Records
                            (fun record -> record.Id = id)
                            $"{id}: 'log out everywhere' finds it"
                })

    let unsent =
        testCaseTask "a write that could not be sent is refused, and is none of which nobody knows" (fun () ->
            task {
                use server = startOne []
                use redis = openRedisAt server.Address "unsent:" ignore
                let store = redis :> ISessionStore
                let! _ = store.Insert(numbered "a" 1L RecordKind.Live null 1L 0uy false, none)
                server.Kill()

                let replace () = store.Replace(numbered "a" 2L RecordKind.Live null 2L 1uy false, 1L, none)
                let insert () = store.Insert(numbered "b" 1L RecordKind.Live null 3L 1uy false, none)

                let said (write: unit -> ValueTask<WriteResult>) =
                    task {
                        try
                            let! written = write ()
                            return string written
                        with error ->
                            return error.GetType().Name
                    }

                for what, write in [ "a replace", replace; "an insert", insert ] do
                    // What was sent before the driver has seen that the server is away may have come there.
                    do!
                        eventually $"{what}: nothing was changed" (fun () ->
                            (said write).GetAwaiter().GetResult() = "StoreRefusedException")
            })

    let limited =
        testCaseTask
            "OperationTimeout holds over the application's own connection, and for writes that wait for replicas"
            (fun () ->
                task {
                    use server = startOne []
                    // The driver gives up after five seconds there.
                    use! connection = connect server.Address
                    let short = TimeSpan.FromMilliseconds 300L

                    use given =
                        openRedisAt "" "given:" (fun options ->
                            options.Connect <- fun () -> Task.FromResult(connection :> IConnectionMultiplexer)
                            options.OperationTimeout <- short)

                    use waiting =
                        openRedisAt server.Address "waiting:" (fun options ->
                            options.WaitForReplicas <- 1
                            options.WaitTimeout <- TimeSpan.FromSeconds 10L
                            options.OperationTimeout <- short)

                    for redis in [ given; waiting ] do
                        let! _ = (redis :> ISessionStore).Load("a", none)
                        ()

                    let took (operation: unit -> Task) =
                        task {
                            let clock = Stopwatch.StartNew()

                            try
                                do! operation ()
                            with
                            | :? StoreRefusedException
                            | :? RedisException
                            | :? TimeoutException -> ()

                            return clock.Elapsed
                        }

                    let logout = numbered "a" 1L RecordKind.Ended "ann" 1L 1uy true
                    server.Freeze()
                    let! read = took (fun () -> (given :> ISessionStore).Load("a", none).AsTask() :> Task)
                    let! written = took (fun () -> (waiting :> ISessionStore).Insert(logout, none).AsTask() :> Task)
                    server.Thaw()
                    let most = TimeSpan.FromSeconds 3L
                    Expect.isLessThan read most "over the application's own connection"

                    Expect.isLessThan
                        written
                        most
                        "a write that waits for replicas, and the question what became of it"
                })

    [ counted; overHttp; inserted; foundLater; unsent; limited ]

let private replicas =
    let quick (options: RedisStoreOptions) =
        options.WaitForReplicas <- 1
        options.WaitTimeout <- TimeSpan.FromMilliseconds 200L
        options.OperationTimeout <- TimeSpan.FromSeconds 1L

    [ testCaseTask "a write that no replica confirms is there, and not acknowledged" (fun () ->
          task {
              use server = startOne []
              use redis = openRedisAt server.Address "wait:" quick
              let store = redis :> ISessionStore
              let! inserted = store.Insert(numbered "a" 1L RecordKind.Live "ann" 1L 1uy true, none)
              Expect.equal inserted WriteResult.Unacknowledged "an insert"
              let! replaced = store.Replace(numbered "a" 2L RecordKind.Live "bob" 2L 2uy true, 1L, none)
              Expect.equal replaced WriteResult.Unacknowledged "a replace"
              let! stored = store.Load("a", none)
              Expect.equal (nonNull stored).Version 2L "and it can be loaded"
              let! listed = store.BySubject("bob", null, 10, none)
              Expect.equal listed.Records.Count 1 "and listed"
              let! routine = store.Replace(numbered "a" 3L RecordKind.Live "bob" 3L 3uy false, 2L, none)
              Expect.equal routine WriteResult.Written "what need not outlast a failover waits for nobody"
          })

      testCaseTask
          "a session that must have replicas takes no other one's place, and has the time to live of any other"
          (fun () ->
              task {
                  use server = startOne []
                  use redis = openRedisAt server.Address "taken:" quick
                  let store = redis :> ISessionStore
                  let! _ = store.Insert(numbered "a" 1L RecordKind.Ended "ann" 1L 1uy false, none)
                  let! second = store.Insert(numbered "a" 1L RecordKind.Live "bob" 2L 2uy true, none)
                  Expect.equal second WriteResult.Conflict "the id has its session"
                  let! stored = store.Load("a", none)
                  Expect.equal (nonNull stored).Operation 1L "which has ended, and stays so"
                  let! other = store.Insert(numbered "b" 1L RecordKind.Live "bob" 3L 3uy true, none)
                  Expect.equal other WriteResult.Unacknowledged "another id is free"
                  use! admin = connect server.Address

                  for id in [ "a"; "b" ] do
                      let! left = admin.GetDatabase().KeyTimeToLiveAsync(RedisKey $"taken:r:{id}")
                      // Its half hour, and JanitorMargin.
                      Expect.isGreaterThan left.Value (TimeSpan.FromHours 24.4) $"{id}: long enough"
                      Expect.isLessThanOrEqual left.Value (TimeSpan.FromHours 24.5) $"{id}: and no longer"
              })

      testCaseTask "without its replica requests go on, and their tokens are renewed later" (fun () ->
          task {
              use server = startOne []
              use redis = openRedisAt server.Address "later:" (fun o -> o.WaitForReplicas <- 1)
              use! admin = connect server.Address
              let replicas = Collections.Generic.List<IDisposable>()

              use _ =
                  { new IDisposable with
                      member _.Dispose() =
                          for replica in replicas do
                              replica.Dispose() }

              let mend () : Task =
                  task {
                      replicas.Add(replicaOf server.Port)
                      do! following (admin.GetServer server.Address) 1
                      // Where there were none it looks for them once a second.
                      do! Task.Delay 1100
                  }

              do! Engines.renewalsArePutOff redis mend
          })

      testCaseTask "a write that fewer replicas have than it asks for is not acknowledged" (fun () ->
          task {
              use server = startOne []
              use _ = replicaOf server.Port
              do! followed server 1

              for replicas, expected in [ 1, WriteResult.Written; 2, WriteResult.Unacknowledged ] do
                  use redis =
                      openRedisAt server.Address $"wait{replicas}:" (fun o ->
                          o.WaitForReplicas <- replicas
                          o.WaitTimeout <- TimeSpan.FromSeconds 2L)

                  let! answer =
                      (redis :> ISessionStore).Insert(numbered "a" 1L RecordKind.Live "ann" 1L 1uy true, none)

                  Expect.equal answer expected $"{replicas} of one"
          })

      testCaseTask "a write whose answer is late, and which is found, waits for its replicas as well" (fun () ->
          task {
              use server = startOne []

              let replace (store: ISessionStore) =
                  store.Replace(numbered "a" 2L RecordKind.Live "ann" 2L 2uy true, 1L, none)

              let insert (store: ISessionStore) = store.Insert(numbered "b" 1L RecordKind.Live "ann" 2L 2uy true, none)

              for what, id, text, write in
                  [ "a replace", "a", textOfReplace, replace
                    "an insert", "b", "$3\r\nSET\r\n", insert ] do
                  use late = new LateAnswers(server.Port)
                  use redis = openRedisAt late.Address $"{what}:" quick
                  let store = redis :> ISessionStore
                  let! _ = store.Insert(numbered "a" 1L RecordKind.Live "ann" 1L 1uy false, none)
                  late.After(text, TimeSpan.FromSeconds 1.5)
                  let! written = write store
                  Expect.equal written WriteResult.Unacknowledged $"{what}: no replica has it"
                  let! stored = store.Load(id, none)
                  Expect.equal (nonNull stored).Operation 2L $"{what}: written"
          })

      testCaseTask "with a replica a write is acknowledged, unless the answer to WAIT does not come" (fun () ->
          task {
              use server = startOne []
              use _ = replicaOf server.Port
              do! followed server 1
              use late = new LateAnswers(server.Port)

              use redis =
                  openRedisAt late.Address "wait:" (fun o ->
                      quick o
                      o.WaitTimeout <- TimeSpan.FromSeconds 5L)

              let store = redis :> ISessionStore
              let! inserted = store.Insert(numbered "a" 1L RecordKind.Live "ann" 1L 1uy true, none)
              Expect.equal inserted WriteResult.Written "the replica has it"

              use redis = openRedisAt late.Address "wait:" quick
              let store = redis :> ISessionStore
              // Not Prepare: its probe says WAIT, too, and the answers after that would be held back.
              let! _ = store.Load("a", none)
              late.After("$4\r\nWAIT", TimeSpan.FromSeconds 3L)
              let! replaced = store.Replace(numbered "a" 2L RecordKind.Live "ann" 2L 2uy true, 1L, none)
              Expect.equal replaced WriteResult.Unacknowledged "nobody said that the replica has it"
              use direct = openRedisAt server.Address "wait:" ignore
              let! stored = (direct :> ISessionStore).Load("a", none)
              Expect.equal (nonNull stored).Version 2L "written"
          }) ]

/// Without Sentinels, by the addresses of both: the driver sends what is no write of its own to the replica, once the primary is
/// away, unless it is told otherwise.
let private pair =
    testCaseTask
        "while the primary of two is away, its replica is asked nothing: neither for a session, nor for a list, nor for a change"
        (fun () ->
            task {
                use primary = startOne []
                use replica = replicaOf primary.Port
                do! followed primary 1
                let addresses = $"{replica.Address},{primary.Address}"
                use plain = openRedisAt addresses "pair:" ignore

                use waiting =
                    openRedisAt addresses "pair:" (fun o ->
                        o.WaitForReplicas <- 1
                        o.WaitTimeout <- TimeSpan.FromMilliseconds 200L)

                let said (question: unit -> Task<string>) =
                    task {
                        try
                            return! question ()
                        with
                        | :? StoreRefusedException
                        | :? RedisException
                        | :? TimeoutException -> return "nobody knows"
                    }

                let loaded (store: ISessionStore) () =
                    task {
                        let! found = store.Load("a", none)
                        return if isNull found then "none" else "one"
                    }

                let listed (page: unit -> ValueTask<StoredPage>) () =
                    task {
                        let! page = page ()
                        return $"{page.Records.Count} listed"
                    }

                let changed (kind: RecordKind) (store: ISessionStore) () =
                    task {
                        let isDurable = (kind = RecordKind.Ended)
                        let! answer = store.Replace(numbered "a" 2L kind "ann" 2L 2uy isDurable, 1L, none)
                        return string answer
                    }

                let questions (redis: RedisStore) : (string * (unit -> Task<string>)) list =
                    let store = redis :> ISessionStore

                    [ "a load", loaded store
                      "a list of a subject", listed (fun () -> store.BySubject("ann", null, 10, none))
                      "a list of all", listed (fun () -> store.Enumerate(null, 10, none))
                      "several at once",
                      (fun () ->
                          task {
                              let! found = (redis :> IReadsMany).LoadMany([| "a"; "b" |], none)
                              return $"{found.Count} found"
                          })
                      "a count",
                      (fun () ->
                          task {
                              let! count = store.Count none
                              return $"{count} counted"
                          })
                      "a claim",
                      (fun () ->
                          task {
                              let! due = store.ClaimOverdue(start2026, TimeSpan.FromMinutes 1L, 10, none)
                              return $"{due.Count} claimed"
                          })
                      "a change", changed RecordKind.Live store
                      "a logout", changed RecordKind.Ended store ]

                // There is no such session, and both of them say so.
                for redis in [ plain; waiting ] do
                    let! found = loaded redis ()
                    Expect.equal found "none" "while the primary is there"

                primary.Kill()

                for name, redis in [ "no replica is waited for", plain; "one is waited for", waiting ] do
                    let isAway () = (said (loaded redis)).GetAwaiter().GetResult() = "nobody knows"
                    do! eventually $"{name}: the primary is away" isAway

                    for what, question in questions redis do
                        let! answer = said question
                        // A write that the driver has sent before it knew that is none of which anything is said, either.
                        Expect.contains [ "nobody knows"; string WriteResult.Unknown ] answer $"{name}: {what}"
            })

let private removals =
    [ testCaseTask "RemoveVersion removes just the record that it names" (fun () ->
          withStore ignore (fun redis prefix ->
              task {
                  let store = redis :> ISessionStore
                  let removes = (redis :> obj) :?> IRemovesVersion
                  let tombstone = numbered "a" 1L RecordKind.Ended "ann" 7L 1uy false
                  let! _ = store.Insert(tombstone, none)

                  for what, version, operation in [ "version", 2L, 7L; "operation", 1L, 8L ] do
                      do! removes.RemoveVersion("a", version, operation, none)
                      let! stored = store.Load("a", none)
                      Expect.isNotNull stored $"another {what}: it stays"
                      let! listed = store.BySubject("ann", null, 10, none)
                      Expect.equal listed.Records.Count 1 $"another {what}: it stays listed"

                  do! removes.RemoveVersion("a", 1L, 7L, none)
                  let! stored = store.Load("a", none)
                  Expect.isNull stored "this one goes"
                  use! admin = connect (shared.Force().Address)
                  let server = admin.GetServer(shared.Force().Address)
                  let left () = [ for key in server.Keys(pattern = RedisValue(prefix + "*")) -> string key ]
                  Expect.equal (left ()) [] "with all its entries"

                  // The session that has the id now.
                  let! inserted = store.Insert(numbered "a" 1L RecordKind.Live "bob" 9L 1uy false, none)
                  Expect.equal inserted WriteResult.Written "the id is free"
                  do! removes.RemoveVersion("a", 1L, 7L, none)
                  let! all = store.Enumerate(null, 10, none)
                  Expect.equal [ for record in all.Records -> record.Operation ] [ 9L ] "it stays"
                  let! count = store.Count none
                  Expect.equal count 1L "and is counted"
              }))

      testCaseTask "an id that is given out again while its tombstone is removed keeps its entries" (fun () ->
          withStore ignore (fun redis _ ->
              task {
                  let store = redis :> ISessionStore
                  let removes = (redis :> obj) :?> IRemovesVersion

                  for round in 1..200 do
                      let id = $"id-{round}"
                      let! _ = store.Insert(numbered id 1L RecordKind.Ended null 7L 1uy false, none)

                      let insert =
                          task {
                              let mutable result = WriteResult.Conflict

                              while result = WriteResult.Conflict do
                                  let! answer = store.Insert(numbered id 1L RecordKind.Live null 9L 1uy false, none)
                                  result <- answer
                          }

                      do! removes.RemoveVersion(id, 1L, 7L, none)
                      do! insert

                  let! all = store.Enumerate(null, 1000, none)
                  Expect.equal all.Records.Count 200 "each is listed"
                  let! count = store.Count none
                  Expect.equal count 200L "and counted"
                  let! due = store.ClaimOverdue(start2026.AddHours 1.0, TimeSpan.FromMinutes 1L, 1000, none)
                  Expect.equal due.Count 200 "and comes to its time"
              })) ]

/// The one session that there is: listed, counted, and found when it is due.
let private hasItsEntries (store: ISessionStore) (subject: string | null) (operation: int64) =
    task {
        let! all = store.Enumerate(null, 10, none)
        Expect.equal [ for record in all.Records -> record.Operation ] [ operation ] $"{subject}: listed"
        let! count = store.Count none
        Expect.equal count 1L $"{subject}: counted"

        match subject with
        | null -> ()
        | name ->
            let! theirs = store.BySubject(name, null, 10, none)
            Expect.equal theirs.Records.Count 1 "in the list of the subject"

        let! due = store.ClaimOverdue(start2026.AddHours 1.0, TimeSpan.FromMinutes 1L, 10, none)
        Expect.equal due.Count 1 $"{subject}: and it comes to its time"
    }

let private entries =
    [ testCaseTask "a sign-in that comes while the subject loses the session before stays in its list" (fun () ->
          task {
              let server = shared.Force()
              use late = new LateAnswers(server.Port)
              let prefix = Guid.NewGuid().ToString "N" + ":"
              use other = openRedisAt server.Address prefix ignore
              let other = other :> ISessionStore
              let elevated version subject = numbered "a" version RecordKind.Live subject version 1uy true

              let listed subject =
                  task {
                      let! page = other.BySubject(subject, null, 10, none)
                      return [ for record in page.Records -> record.Id ]
                  }

              use slow = openRedisAt late.Address prefix (fun o -> o.OperationTimeout <- TimeSpan.FromSeconds 10L)
              let slow = slow :> ISessionStore
              let! _ = slow.Insert(elevated 1L "ann", none)

              // It has become bob's; what is said of that record, by which ann's entry goes, is late.
              late.After($"GET\r\n${prefix.Length + 3}\r\n{prefix}r:a\r\n", TimeSpan.FromSeconds 2L)
              let leaving = slow.Replace(elevated 2L "bob", 1L, none).AsTask()
              do! eventually "the question of whose it is" (fun () -> late.HasCome)
              let! back = other.Replace(elevated 3L "ann", 2L, none)
              Expect.equal back WriteResult.Written "ann's again"
              let! left = leaving
              Expect.equal left WriteResult.Written "and it was bob's"
              let! anns = listed "ann"
              Expect.equal anns [ "a" ] "whoever ends all of ann's sessions finds it"
              let! bobs = listed "bob"
              Expect.isEmpty bobs "and bob has none"
          })

      testCaseTask
          "a session that gets the id of a tombstone, whose removal takes its entries away before it is there, has them again"
          (fun () ->
              task {
                  let server = shared.Force()

                  for subject in ([ null; "ann" ]: (string | null) list) do
                      use held = new HeldRequests(server.Port)
                      let prefix = Guid.NewGuid().ToString "N" + ":"
                      use other = openRedisAt server.Address prefix ignore
                      let other = other :> ISessionStore

                      use slow =
                          openRedisAt held.Address prefix (fun o -> o.OperationTimeout <- TimeSpan.FromSeconds 10L)

                      let slow = slow :> ISessionStore
                      let! _ = other.Insert(numbered "a" 1L RecordKind.Ended null 7L 1uy false, none)
                      let! _ = slow.Load("a", none)

                      // Its entries have gone before, and the due index has had one of the tombstone's.
                      held.From "$3\r\nSET\r\n"
                      let inserting = slow.Insert(numbered "a" 1L RecordKind.Live subject 9L 2uy false, none).AsTask()
                      do! eventually "the record" (fun () -> held.HasCome)
                      do! (other :?> IRemovesVersion).RemoveVersion("a", 1L, 7L, none)
                      held.Release()
                      let! inserted = inserting
                      Expect.equal inserted WriteResult.Written $"{subject}: it is there"
                      do! hasItsEntries other subject 9L
              })

      testCaseTask
          "a session that gets the id of a tombstone between the removal of that and of its entries keeps its own"
          (fun () ->
              task {
                  let server = shared.Force()

                  for subject in ([ null; "ann" ]: (string | null) list) do
                      use held = new HeldRequests(server.Port)
                      let prefix = Guid.NewGuid().ToString "N" + ":"
                      use other = openRedisAt server.Address prefix ignore
                      let other = other :> ISessionStore

                      use slow =
                          openRedisAt held.Address prefix (fun o -> o.OperationTimeout <- TimeSpan.FromSeconds 10L)

                      let! _ = other.Insert(numbered "a" 1L RecordKind.Ended null 7L 1uy false, none)
                      let! _ = (slow :> ISessionStore).Load("x", none)

                      // The tombstone has gone, and what takes its entries away is on its way.
                      held.From "$4\r\nZREM\r\n"
                      let removing = (slow :> IRemovesVersion).RemoveVersion("a", 1L, 7L, none).AsTask()
                      do! eventually "the removal of the entries" (fun () -> held.HasCome)
                      let! inserted = other.Insert(numbered "a" 1L RecordKind.Live subject 9L 2uy false, none)
                      Expect.equal inserted WriteResult.Written $"{subject}: the id is free"
                      held.Release()
                      do! removing
                      do! hasItsEntries other subject 9L
              })

      testCaseTask "a write that finds no record takes no entries away from one that comes meanwhile" (fun () ->
          task {
              let server = shared.Force()

              // Before it looks whether there is a record by now, and before its own entry goes.
              for place, isHeld in [ "$3\r\nGET\r\n", true; "$4\r\nZREM\r\n", true; "$4\r\nZREM\r\n", false ] do
                  use late = new HeldRequests(server.Port)
                  use slow = new HeldRequests(server.Port)
                  let prefix = Guid.NewGuid().ToString "N" + ":"
                  let patient (o: RedisStoreOptions) = o.OperationTimeout <- TimeSpan.FromSeconds 10L
                  use writer = openRedisAt late.Address prefix patient
                  use other = openRedisAt slow.Address prefix patient
                  let writer, other = writer :> ISessionStore, other :> ISessionStore
                  let! _ = writer.Load("a", none)
                  let! _ = other.Load("a", none)

                  late.From place
                  let refused = writer.Replace(numbered "a" 2L RecordKind.Live null 7L 1uy true, 1L, none).AsTask()
                  do! eventually "that there is none" (fun () -> late.HasCome)

                  if isHeld then
                      slow.From "$3\r\nSET\r\n"

                  let inserting = other.Insert(numbered "a" 1L RecordKind.Live null 9L 2uy false, none).AsTask()

                  if isHeld then
                      do! eventually "the record" (fun () -> slow.HasCome)
                  else
                      let! _ = inserting
                      ()

                  late.Release()
                  let! refused = refused
                  Expect.equal refused WriteResult.Absent "there was none"
                  slow.Release()
                  let! inserted = inserting
                  Expect.equal inserted WriteResult.Written "and now there is"
                  do! hasItsEntries other null 9L
          })

      testCaseTask "each write gives its record the time to live that it needs from then on" (fun () ->
          withStore ignore (fun redis prefix ->
              task {
                  let store = redis :> ISessionStore
                  use! admin = connect (shared.Force().Address)
                  let db = admin.GetDatabase()

                  let due version kind (hours: float) =
                      (numbered "a" version kind "ann" version 1uy false).Due(start2026.AddHours hours)

                  let lives (hours: float) what =
                      task {
                          let! left = db.KeyTimeToLiveAsync(RedisKey $"{prefix}r:a")
                          Expect.isGreaterThan left.Value (TimeSpan.FromHours(hours + 23.9)) what
                          Expect.isLessThanOrEqual left.Value (TimeSpan.FromHours(hours + 24.0)) what
                      }

                  let! _ = store.Insert(due 1L RecordKind.Live 1.0, none)
                  do! lives 1.0 "a new one"
                  let! found = store.Load("a", none)
                  let read = (nonNull found).Head
                  let! written = store.Replace((due 2L RecordKind.Live 5.0).BasedOn read, 1L, none)
                  Expect.equal written WriteResult.Written "the same record as was read"
                  do! lives 5.0 "the same record as was read"
                  let! written = store.Replace(due 3L RecordKind.Live 9.0, 2L, none)
                  Expect.equal written WriteResult.Written "nobody says what was read"
                  do! lives 9.0 "nobody says what was read"
                  let! ended = store.Replace(due 4L RecordKind.Ended 12.0, 3L, none)
                  Expect.equal ended WriteResult.Written "a tombstone"
                  do! lives 12.0 "a tombstone"
              }))

      testCaseTask
          "a sign-in that is killed, wherever it is, leaves nothing that a sweep does not find, blanks in the subject or none"
          (fun () ->
              task {
                  let server = shared.Force()
                  use! admin = connect server.Address

                  for subject in [ "ann"; "Ann Lee"; " ann " ] do
                      for requests in 0..10 do
                          let prefix = Guid.NewGuid().ToString "N" + ":"
                          // Its connection breaks after so many requests.
                          let wire = Wire.Wire(server.Port, Wire.redis prefix, requests)
                          let killed = openRedisAt $"127.0.0.1:{wire.Port}" prefix ignore

                          try
                              let signIn = numbered "a" 1L RecordKind.Live subject 1L 1uy true
                              let! _ = (killed :> ISessionStore).Insert(signIn, none)
                              ()
                          with
                          | :? StoreRefusedException
                          | :? RedisException
                          | :? TimeoutException -> ()

                          do! (killed :> IAsyncDisposable).DisposeAsync()
                          do! wire.Ended()

                          use other = openRedisAt server.Address prefix ignore
                          let other = other :> ISessionStore
                          let! due = other.ClaimOverdue(start2026.AddHours 1.0, TimeSpan.FromMinutes 1L, 10, none)

                          if due.Count > 0 then
                              let! listed = other.BySubject(subject, null, 10, none)
                              Expect.equal listed.Records.Count 1 $"'{subject}', {requests} requests: it is listed"
                              do! other.Remove("a", none)

                          let keys = admin.GetServer(server.Address).Keys(pattern = RedisValue(prefix + "*"))

                          Expect.equal
                              [ for key in keys -> string key ]
                              []
                              $"'{subject}': nothing is left, killed after {requests} requests"
              }) ]

let private notices =
    [ testCaseTask "whoever listens over a connection that was broken is told that something may be missed" (fun () ->
          task {
              use server = startOne []
              use! admin = connect server.Address

              // The one for commands, and the one for messages; with RESP3 there is but one.
              for protocol, kinds in [ "resp2", [ "pubsub"; "normal" ]; "resp3", [ "pubsub" ] ] do
                  use redis = openRedisAt $"{server.Address},protocol={protocol}" "heard:" ignore
                  let! heard, subscription = Live.listen redis

                  for kind in kinds do
                      heard.Clear()
                      let! broken = admin.GetServer(server.Address).ExecuteAsync("CLIENT", "KILL", "TYPE", kind)
                      Expect.isGreaterThan (RedisResult.op_Explicit broken: int) 0 $"{protocol}, {kind}: broken"

                      do!
                          eventually $"{protocol}, {kind}: that all may have ended" (fun () ->
                              Seq.contains Live.everySession heard)

                  do! (redis :> ISessionSignals).Publish([| "a" |], none)
                  do! eventually "a notice" (fun () -> Seq.contains "a" heard)
                  do! subscription.DisposeAsync()
          })

      testCaseTask
          "who listens no more is told nothing when the connection breaks, and who goes on listening over it is"
          (fun () ->
              task {
                  use server = startOne []
                  use! admin = connect server.Address
                  use! connection = connect server.Address

                  use given =
                      openRedisAt "" "left:" (fun options ->
                          options.Connect <- fun () -> Task.FromResult(connection :> IConnectionMultiplexer))

                  use own = openRedisAt server.Address "left:" ignore

                  for what, redis in [ "the application's own connection", given; "one of the store's", own ] do
                      let! left, leaving = Live.listen redis
                      let! heard, staying = Live.listen redis
                      do! leaving.DisposeAsync()
                      left.Clear()

                      // The one for messages, and the one for commands.
                      for kind in [ "pubsub"; "normal" ] do
                          heard.Clear()
                          let! _ = admin.GetServer(server.Address).ExecuteAsync("CLIENT", "KILL", "TYPE", kind)

                          do!
                              eventually $"{what}, {kind}: that all may have ended" (fun () ->
                                  Seq.contains Live.everySession heard)

                      // It would be there by now.
                      do! Task.Delay 300
                      Expect.isEmpty left $"{what}: nobody tells who has left"
                      do! staying.DisposeAsync()
              })

      testCaseTask
          "who stops to listen once the store is closed, or the server is away, is told of no failure"
          (fun () ->
              task {
                  for isClosed in [ true; false ] do
                      use server = startOne []
                      use redis = openRedisAt server.Address "gone:" ignore
                      let! _, subscription = Live.listen redis
                      if isClosed then (redis :> IDisposable).Dispose() else server.Kill()

                      for _ in 1..2 do
                          do! subscription.DisposeAsync().AsTask().WaitAsync(TimeSpan.FromSeconds 20L)
              })

      testCaseTask "who is refused to listen leaves nothing behind, however often it is tried" (fun () ->
          task {
              use server = startOne [ "user", "sessions on >secret ~* resetchannels +@all" ]
              use redis = openRedisAt $"{server.Address},user=sessions,password=secret" "deaf:" ignore
              let signals = redis :> ISessionSignals
              let refusedHeard = ConcurrentQueue<string>()

              let hear =
                  Action<string | null>(fun id ->
                      refusedHeard.Enqueue(id |> Option.ofObj |> Option.defaultValue "all"))

              for _ in 1..50 do
                  let! isRefused =
                      task {
                          try
                              let! _ = signals.Subscribe(hear, none)
                              return false
                          with :? RedisServerException ->
                              return true
                      }

                  Expect.isTrue isRefused "it may not listen"

              use! admin = connect server.Address
              let! _ = admin.GetServer(server.Address).ExecuteAsync("ACL", "SETUSER", "sessions", "allchannels")
              let! heard, subscription = Live.listen redis
              do! signals.Publish([| "a" |], none)
              do! eventually "a notice" (fun () -> Seq.contains "a" heard)
              Expect.isEmpty refusedHeard "the driver has kept none of those who were refused"
              do! subscription.DisposeAsync()
          }) ]

let private limits =
    [ testCaseTask "what was cancelled before it was sent is not sent, reads and notices as well" (fun () ->
          withStore ignore (fun redis _ -> Engines.cancelledReadsAreNotSent redis))

      testCaseTask "the largest limit is none" (fun () ->
          withStore ignore (fun redis _ ->
              task {
                  let store = redis :> ISessionStore

                  for id in [ "a"; "b" ] do
                      let! _ = store.Insert(numbered id 1L RecordKind.Live "ann" 1L 1uy false, none)
                      ()

                  let! all = store.Enumerate(null, Int32.MaxValue, none)
                  Expect.equal (all.Records.Count, all.Next) (2, null) "all"
                  let! theirs = store.BySubject("ann", null, Int32.MaxValue, none)
                  Expect.equal (theirs.Records.Count, theirs.Next) (2, null) "a subject's"

                  let! due = store.ClaimOverdue(start2026.AddHours 1.0, TimeSpan.FromMinutes 1L, Int32.MaxValue, none)

                  Expect.equal due.Count 2 "overdue"
              }))

      testCaseTask "a listing goes on behind the id '-'" (fun () ->
          withStore ignore (fun redis _ ->
              task {
                  let store = redis :> ISessionStore
                  let ids = [ "-"; "--"; "-a"; "0"; "a"; "a-" ]

                  for id in ids do
                      let! _ = store.Insert(numbered id 1L RecordKind.Live "ann" 1L 1uy false, none)
                      ()

                  let paged (page: (string | null) -> ValueTask<StoredPage>) =
                      task {
                          let found = Collections.Generic.List<string>()
                          let mutable after = null
                          let mutable pages = 0

                          while pages = 0 || (not (isNull after) && pages < 20) do
                              let! next = page after
                              found.AddRange(next.Records |> Seq.map _.Id)
                              after <- next.Next
                              pages <- pages + 1

                          return List.ofSeq found
                      }

                  let! all = paged (fun after -> store.Enumerate(after, 1, none))
                  Expect.equal all ids "all"
                  let! theirs = paged (fun after -> store.BySubject("ann", after, 1, none))
                  Expect.equal theirs ids "a subject's"
              })) ]

let private disposal =
    [ testCaseTask "a container that is disposed without awaiting closes the store" (fun () ->
          task {
              let services = ServiceCollection()

              services.AddSingleton<RedisStore>(fun _ -> openRedisAt (shared.Force().Address) "closed:" ignore)
              |> ignore

              let provider = services.BuildServiceProvider()
              let store = provider.GetRequiredService<RedisStore>() :> ISessionStore
              let! _ = store.Load("a", none)
              provider.Dispose()

              let! isClosed =
                  task {
                      try
                          let! _ = store.Load("a", none)
                          return false
                      with :? ObjectDisposedException ->
                          return true
                  }

              Expect.isTrue isClosed "closed"
          })

      testCaseTask "requests that come at once while the store connects share its connections" (fun () ->
          task {
              use server = startOne []
              use redis = openRedisAt (server.Address + ",name=sharing") "sharing:" (fun o -> o.WaitForReplicas <- 1)
              let store = redis :> ISessionStore
              let! _ = [ for _ in 1..10 -> store.Load("a", none).AsTask() ] |> Task.WhenAll
              let! _ = store.Prepare none
              use! admin = connect server.Address
              let! clients = admin.GetServer(server.Address).ExecuteAsync("CLIENT", "LIST")
              let shared = (string clients).Split '\n' |> Array.filter _.Contains(" name=sharing ")
              // Two: one is for writes that wait for replicas. Each may be one for commands, and one for messages.
              Expect.isLessThanOrEqual shared.Length 4 "each is made once"
              Expect.isGreaterThanOrEqual shared.Length 2 "and is there"
          })

      testCaseTask "a store that is disposed while it connects leaves no connection" (fun () ->
          task {
              use server = startOne []
              use late = new LateAnswers(server.Port)
              let store = openRedisAt (late.Address + ",name=leaving") "leaving:" ignore
              late.After("CLIENT", TimeSpan.FromSeconds 1.5)
              let loading = (store :> ISessionStore).Load("a", none).AsTask()
              do! Task.Delay 300
              use given = new CancellationTokenSource(TimeSpan.FromMilliseconds 100L)

              let! isGivenUp =
                  task {
                      try
                          let! _ = (store :> ISessionStore).Load("a", given.Token)
                          return false
                      with :? OperationCanceledException ->
                          return true
                  }

              Expect.isTrue isGivenUp "who gives up meanwhile does not wait for it"
              Expect.isFalse loading.IsCompleted "it connects"
              do! (store :> IAsyncDisposable).DisposeAsync()

              let! isClosed =
                  task {
                      try
                          let! _ = loading
                          return false
                      with :? ObjectDisposedException ->
                          return true
                  }

              Expect.isTrue isClosed "the operation is told"
              use! admin = connect server.Address

              let isConnected () =
                  (string (admin.GetServer(server.Address).Execute("CLIENT", "LIST"))).Contains "name=leaving"

              do! eventually "the connection is closed" (fun () -> not (isConnected ()))
          }) ]

let all =
    testList
        "Redis"
        [ costs
          onCluster
          testList "faults" faults
          testList "late answers" lateAnswers
          testList "replicas" (pair :: replicas)
          testList "removals" removals
          testList "entries" entries
          testList "notices" notices
          testList "limits" limits
          testList "disposal" disposal
          testList "probes" probes
          testList "contents" contents
          testList "sweepers" sweepers
          testList "strange values" strange
          testList "failover" failovers ]
