/// Which replicas have a write when it is acknowledged.
module Integration.RedisReplicas

open System
open System.Diagnostics
open System.Net
open System.Net.Sockets
open System.Threading
open System.Threading.Tasks
open Expecto
open StackExchange.Redis
open Integration.Relays
open Integration.RedisServer
open Integration.World
open Session.Engine
open Session.Stores.Redis

let private none = CancellationToken.None

let private logout id =
    let at = DateTimeOffset.UtcNow
    StoredRecord(id, 1L, RecordKind.Ended, at, at.AddDays 1, "ann", 1L, ReadOnlyMemory [| 1uy |], true)

/// What the server says comes so much later.
let private later (delay: TimeSpan) (server: int) =
    let serve (client: TcpClient) =
        task {
            let upstream = new TcpClient(NoDelay = true)
            do! upstream.ConnectAsync(IPAddress.Loopback, server)
            let toServer, toClient = upstream.GetStream(), client.GetStream()

            let! _ =
                Task.WhenAll(
                    pump toClient toServer (fun _ -> Task.CompletedTask),
                    pump toServer toClient (fun _ -> Task.Delay delay)
                )

            ()
        }

    new Relay(serve)

let private following (admin: IServer) (count: int) =
    task {
        let clock = Stopwatch.StartNew()
        let mutable online = 0

        while online < count do
            if clock.Elapsed > TimeSpan.FromSeconds 30L then
                failtest "the replicas do not follow"

            do! Task.Delay 50
            let! text = admin.InfoRawAsync "replication"
            online <- (string text).Split("state=online").Length - 1
    }

let private waits (options: RedisStoreOptions) =
    options.WaitForReplicas <- 1
    options.WaitTimeout <- TimeSpan.FromSeconds 10L

let all =
    testList
        "Redis"
        [ testList
              "replicas that keep up"
              [ testCaseTask
                    "of two replicas both have a logout when it is acknowledged, though one is asked for; one that hangs holds it up for a moment"
                    (fun () ->
                        task {
                            use server = startOne []
                            use _ = startOne [ "replicaof", $"127.0.0.1 {server.Port}" ]
                            use relay = later (TimeSpan.FromMilliseconds 20L) server.Port
                            use slow = startOne [ "replicaof", $"127.0.0.1 {relay.Port}" ]
                            use! admin = connect server.Address
                            do! following (admin.GetServer server.Address) 2
                            use! atSlow = connect slow.Address
                            use redis = openRedisAt server.Address "both:" waits
                            let store = redis :> ISessionStore

                            for n in 1..20 do
                                let! written = store.Insert(logout $"{n}", none)
                                Expect.equal written WriteResult.Written "acknowledged"
                                let! isThere = atSlow.GetDatabase().KeyExistsAsync(RedisKey $"both:r:{n}")
                                Expect.isTrue isThere "the slower one has it, too"

                            slow.Freeze()
                            let clock = Stopwatch.StartNew()

                            for n in 21..60 do
                                let! written = store.Insert(logout $"{n}", none)
                                Expect.equal written WriteResult.Written "the other one has it"

                            slow.Thaw()
                            // A second for each that waits: 40 if all did.
                            Expect.isLessThan clock.Elapsed (TimeSpan.FromSeconds 10L) "not each of them waits"
                        })

                testCaseTask "a time to wait of less than ten milliseconds has an end, too" (fun () ->
                    task {
                        use server = startOne []
                        use _ = startOne [ "replicaof", $"127.0.0.1 {server.Port}" ]
                        use slow = startOne [ "replicaof", $"127.0.0.1 {server.Port}" ]
                        use! admin = connect server.Address
                        do! following (admin.GetServer server.Address) 2

                        use redis =
                            openRedisAt server.Address "short:" (fun options ->
                                options.WaitForReplicas <- 1
                                options.WaitTimeout <- TimeSpan.FromMilliseconds 5L
                                options.OperationTimeout <- TimeSpan.FromSeconds 5L)

                        let store = redis :> ISessionStore
                        let! _ = store.Load("a", none)
                        slow.Freeze()
                        let clock = Stopwatch.StartNew()

                        for n in 1..5 do
                            let! written = store.Insert(logout $"{n}", none)
                            // On a machine with much to do five milliseconds may be too few.
                            Expect.isTrue
                                (written = WriteResult.Written || written = WriteResult.Unacknowledged)
                                $"{written}"

                        slow.Thaw()

                        Expect.isLessThan
                            clock.Elapsed
                            (TimeSpan.FromSeconds 4L)
                            "nothing waits for the one that hangs"
                    })

                testCaseTask
                    "without the right to ask for them, those that must have a logout are waited for"
                    (fun () ->
                        task {
                            use server = startOne [ "user", "sessions on >secret ~* &* +@all -info" ]
                            use _ = startOne [ "replicaof", $"127.0.0.1 {server.Port}" ]
                            use _ = startOne [ "replicaof", $"127.0.0.1 {server.Port}" ]
                            use! admin = connect server.Address
                            do! following (admin.GetServer server.Address) 2
                            use redis = openRedisAt $"{server.Address},user=sessions,password=secret" "few:" waits

                            for n in 1..3 do
                                let! written = (redis :> ISessionStore).Insert(logout $"{n}", none)
                                Expect.equal written WriteResult.Written "acknowledged"
                        })

                testCaseTask "that not all replicas are asked for is told, with what it means" (fun () ->
                    task {
                        use server = startOne [ "appendonly", "yes"; "appendfsync", "always" ]
                        use _ = startOne [ "replicaof", $"127.0.0.1 {server.Port}" ]
                        use _ = startOne [ "replicaof", $"127.0.0.1 {server.Port}" ]
                        use! admin = connect server.Address
                        do! following (admin.GetServer server.Address) 2

                        let notesWith count =
                            startNotes (
                                openRedisAt server.Address (Guid.NewGuid().ToString "N" + ":") (fun options ->
                                    waits options
                                    options.WaitForReplicas <- count)
                            )

                        match! notesWith 1 with
                        | Error sentence -> failtest sentence
                        | Ok notes ->
                            Expect.exists
                                notes
                                (fun note -> note.Contains "has 2 replicas" && note.Contains "WaitForReplicas is 1")
                                "of one of two"

                        let! ofAll = notesWith 2
                        Expect.equal ofAll (Ok []) "of all there is nothing to say"
                    }) ] ]
