/// Writes of the Redis store: what they cost, what fails, and answers that come late.
module Integration.RedisWrites

open System
open System.Diagnostics
open System.Threading.Tasks
open Expecto
open StackExchange.Redis
open Integration.Engines
open Integration.RedisServer
open Integration.World
open Integration.RedisWorld
open Session.Domain
open Session.Engine
open Session.Stores.Redis

let costs =
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

let faults =
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

/// The beginning of the script that replaces a record, as it goes over the wire.
let textOfReplace = "redis.call('GETRANGE', KEYS[1], 0, 35)"

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

let lateAnswers =
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
