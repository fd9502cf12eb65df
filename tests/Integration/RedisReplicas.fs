/// Which replicas have a write when it is acknowledged.
module Integration.RedisReplicas

open System
open System.Collections.Concurrent
open System.Diagnostics
open System.IO
open System.Net
open System.Net.Sockets
open System.Text
open System.Text.RegularExpressions
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

let private waits (options: RedisStoreOptions) =
    options.WaitForReplicas <- 1
    options.WaitTimeout <- TimeSpan.FromSeconds 10L

/// Between a client and its server: what the server answers about replication is told as something else, or as it is.
[<Sealed>]
type private Retold(server: int, retell: string -> string option) =
    let rewritten (bytes: byte array) =
        let text = Encoding.Latin1.GetString bytes
        let at = text.IndexOf("# Replication", StringComparison.Ordinal)

        if at < 0 then
            bytes
        else
            // $ and its length, the text, and the end of its line.
            let start = text.LastIndexOf('$', at)
            let length = int (text.Substring(start + 1, at - start - 3))

            // Where all of it has come.
            let isWhole = at + length + 2 <= text.Length

            match (if isWhole then retell (text.Substring(at, length)) else None) with
            | None -> bytes
            | Some told -> Encoding.Latin1.GetBytes(text[.. start - 1] + told + text[at + length + 2 ..])

    let answer (from: NetworkStream) (into: NetworkStream) =
        task {
            let bytes = Array.zeroCreate<byte> 65536
            let mutable goesOn = true

            try
                while goesOn do
                    let! length = from.ReadAsync(bytes.AsMemory())
                    goesOn <- length > 0

                    if goesOn then
                        do! into.WriteAsync(ReadOnlyMemory(rewritten bytes[.. length - 1]))
            with
            | :? IOException
            | :? ObjectDisposedException -> ()

            into.Dispose()
        }

    let serve (client: TcpClient) =
        task {
            let upstream = new TcpClient(NoDelay = true)
            do! upstream.ConnectAsync(IPAddress.Loopback, server)
            let toServer, toClient = upstream.GetStream(), client.GetStream()
            let asking = pump toClient toServer (fun _ -> Task.CompletedTask)
            do! answer toServer toClient
            do! asking
        }

    let relay = new Relay(serve)
    member _.Address = $"127.0.0.1:{relay.Port},protocol=resp2"

    interface IDisposable with
        member _.Dispose() = (relay :> IDisposable).Dispose()

/// Once it is wanted, the next answer about replication is that the server is busy.
[<Sealed>]
type private Busy(server: int) =
    let mutable isWanted = 0

    let busy (_: string) =
        if Interlocked.Exchange(&isWanted, 0) = 0 then None else Some "-BUSY Redis runs a script.\r\n"

    let retold = new Retold(server, busy)
    member _.Address = retold.Address
    member _.Want() = Volatile.Write(&isWanted, 1)
    member _.HasCome = Volatile.Read &isWanted = 0

    interface IDisposable with
        member _.Dispose() = (retold :> IDisposable).Dispose()

/// Of a server that has no replica: it has one, in this state.
let private withReplica (state: string) (server: int) =
    let told (text: string) =
        let text =
            text.Replace("connected_slaves:0", $"connected_slaves:1\r\nslave0:ip=127.0.0.1,port=1,state={state},lag=0")

        Some("$" + string text.Length + "\r\n" + text + "\r\n")

    new Retold(server, told)

/// Between a client and its server: how long each WAIT may last, by what the server is told.
[<Sealed>]
type private AskedLimits(server: int) =
    // What came over each connection.
    let asked = ConcurrentQueue<StringBuilder>()

    let serve (client: TcpClient) =
        task {
            let upstream = new TcpClient(NoDelay = true)
            do! upstream.ConnectAsync(IPAddress.Loopback, server)
            let toServer, toClient = upstream.GetStream(), client.GetStream()
            let own = StringBuilder()
            asked.Enqueue own

            let noted (bytes: byte array) =
                lock own (fun () -> own.Append(Encoding.Latin1.GetString bytes) |> ignore)
                Task.CompletedTask

            let! _ = Task.WhenAll(pump toClient toServer noted, pump toServer toClient (fun _ -> Task.CompletedTask))
            ()
        }

    let relay = new Relay(serve)
    member _.Address = $"127.0.0.1:{relay.Port}"

    /// In milliseconds.
    member _.All =
        [ for own in asked do
              let text = lock own (fun () -> own.ToString())

              for wait in Regex.Matches(text, @"\$4\r\nWAIT\r\n\$\d+\r\n\d+\r\n\$\d+\r\n(\d+)\r\n") do
                  int wait.Groups[1].Value ]

    interface IDisposable with
        member _.Dispose() = (relay :> IDisposable).Dispose()

/// A sign-in, and the logout of the same session: what became of each, and how long that took.
let private bothWays (store: ISessionStore) (id: string) =
    task {
        let at = DateTimeOffset.UtcNow

        let record version kind =
            StoredRecord(id, version, kind, at, at.AddDays 1, "ann", version, ReadOnlyMemory [| 1uy |], true)

        let clock = Stopwatch.StartNew()
        let! signedIn = store.Insert(record 1L RecordKind.Live, none)
        let signInTook = clock.Elapsed
        clock.Restart()
        let! loggedOut = store.Replace(record 2L RecordKind.Ended, 1L, none)
        return [ signedIn, signInTook; loggedOut, clock.Elapsed ]
    }

/// Thirty of these, ten at once and the others over four seconds.
let private thirty (store: ISessionStore) (name: string) =
    task {
        let one n =
            task {
                let pause = max 0 (200 * (n - 10))
                do! Task.Delay pause
                return! bothWays store $"{name}-{n}"
            }

        let! all = [ for n in 1..30 -> one n ] |> Task.WhenAll
        return List.concat all
    }

/// None is acknowledged, each is known to be there, and none takes longer.
let private unacknowledged (limit: TimeSpan) (answers: (WriteResult * TimeSpan) list) =
    Expect.equal (List.countBy fst answers) [ WriteResult.Unacknowledged, 60 ] "there, and no replica has it"
    let longest = answers |> List.map snd |> List.max
    Expect.isLessThan longest limit "none waits behind others"

/// How long it takes until a logout is acknowledged.
let private acknowledged (store: ISessionStore) =
    task {
        let clock = Stopwatch.StartNew()
        let mutable n = 0
        let mutable isSo = false

        while not isSo do
            if clock.Elapsed > TimeSpan.FromSeconds 20L then
                failtest "never acknowledged"

            n <- n + 1
            let! written = store.Insert(logout $"back-{n}", none)
            isSo <- written = WriteResult.Written

            if not isSo then
                do! Task.Delay 50

        return clock.Elapsed
    }

/// That a replica is back is seen by the next look, which is at most a second away; the rest is the machine's.
let private soon = TimeSpan.FromSeconds 4L

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
                            use _ = replicaOf server.Port
                            use relay = later (TimeSpan.FromMilliseconds 20L) server.Port
                            use slow = replicaOf relay.Port
                            do! followed server 2
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

                testCaseTask
                    "replicas that all take longer than a tenth of WaitTimeout are waited for by each logout, and not by the first one alone"
                    (fun () ->
                        task {
                            use server = startOne []
                            use relay = later (TimeSpan.FromMilliseconds 300L) server.Port
                            use _ = replicaOf relay.Port
                            use _ = replicaOf relay.Port
                            do! followed server 2

                            use redis =
                                openRedisAt server.Address "slower:" (fun options ->
                                    options.WaitForReplicas <- 1
                                    options.WaitTimeout <- TimeSpan.FromSeconds 2L
                                    options.OperationTimeout <- TimeSpan.FromSeconds 5L)

                            let store = redis :> ISessionStore

                            for n in 1..6 do
                                let! written = store.Insert(logout $"{n}", none)
                                Expect.equal written WriteResult.Written "a replica has it in time"
                        })

                testCaseTask
                    "where two must have it, one that has it is too few, while the server believes in the other one"
                    (fun () ->
                        task {
                            use server = startOne []
                            use _ = replicaOf server.Port
                            use hanging = replicaOf server.Port
                            do! followed server 2

                            use redis =
                                openRedisAt server.Address "two:" (fun options ->
                                    options.WaitForReplicas <- 2
                                    options.WaitTimeout <- TimeSpan.FromSeconds 1L
                                    options.OperationTimeout <- TimeSpan.FromSeconds 5L)

                            let store = redis :> ISessionStore
                            // Both have it.
                            let! _ = acknowledged store
                            hanging.Freeze()
                            let! written = store.Insert(logout "one", none)
                            hanging.Thaw()
                            Expect.equal written WriteResult.Unacknowledged "one of them has it"
                        })

                testCaseTask "a time to wait of less than ten milliseconds has an end, too" (fun () ->
                    task {
                        use server = startOne []
                        use _ = replicaOf server.Port
                        use slow = replicaOf server.Port
                        do! followed server 2

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
                            // So that the server cannot say at once that they have it.
                            use relay = later (TimeSpan.FromMilliseconds 20L) server.Port
                            use _ = replicaOf relay.Port
                            use _ = replicaOf relay.Port
                            do! followed server 2
                            use redis = openRedisAt $"{server.Address},user=sessions,password=secret" "few:" waits

                            for n in 1..3 do
                                let! written = (redis :> ISessionStore).Insert(logout $"{n}", none)
                                Expect.equal written WriteResult.Written "acknowledged"
                        })

                testCaseTask
                    "an error of the server that passes does not end the wait for those that are not asked for"
                    (fun () ->
                        task {
                            use server = startOne []
                            use _ = replicaOf server.Port
                            use relay = later (TimeSpan.FromMilliseconds 20L) server.Port
                            use slow = replicaOf relay.Port
                            do! followed server 2
                            use! atSlow = connect slow.Address
                            use busy = new Busy(server.Port)
                            use redis = openRedisAt busy.Address "busy:" waits
                            let store = redis :> ISessionStore
                            let! _ = store.Load("a", none)
                            busy.Want()
                            let! written = store.Insert(logout "0", none)
                            Expect.equal written WriteResult.Written "those that must have it are waited for"
                            Expect.isTrue busy.HasCome "the server was too busy to say how many there are"
                            // What it said is good for a second.
                            do! Task.Delay 1500

                            for n in 1..20 do
                                let! written = store.Insert(logout $"{n}", none)
                                Expect.equal written WriteResult.Written "acknowledged"
                                let! isThere = atSlow.GetDatabase().KeyExistsAsync(RedisKey $"busy:r:{n}")
                                Expect.isTrue isThere "the slower one has it, too"
                        })

                testCaseTask
                    "without a replica no logout and no sign-in waits behind others; once there is one, they are acknowledged"
                    (fun () ->
                        task {
                            use server = startOne []
                            use redis = openRedisAt server.Address "alone:" (fun o -> o.WaitForReplicas <- 1)
                            let store = redis :> ISessionStore
                            let! _ = store.Load("a", none)
                            let! answers = thirty store "alone"
                            // WaitTimeout, and a second.
                            unacknowledged (TimeSpan.FromSeconds 2L) answers
                            use _ = replicaOf server.Port
                            do! followed server 1
                            let! took = acknowledged store
                            Expect.isLessThan took soon "the replica is seen"
                        })

                testCaseTask
                    "a replica that is still sent the data from before is none yet: no logout waits for it"
                    (fun () ->
                        task {
                            use server = startOne []
                            let catchingUp = [ "wait_bgsave"; "send_bulk"; "bg_transfer"; "rdb_transmitted" ]

                            for state, isWaitedFor in ("online", true) :: [ for state in catchingUp -> state, false ] do
                                use told = withReplica state server.Port

                                use redis =
                                    openRedisAt told.Address $"{state}:" (fun options ->
                                        options.WaitForReplicas <- 1
                                        options.WaitTimeout <- TimeSpan.FromSeconds 3L
                                        options.OperationTimeout <- TimeSpan.FromSeconds 8L)

                                let store = redis :> ISessionStore
                                let! _ = store.Load("a", none)
                                let clock = Stopwatch.StartNew()
                                let! written = store.Insert(logout "a", none)
                                let took = clock.Elapsed
                                Expect.equal written WriteResult.Unacknowledged $"{state}: there is none"
                                Expect.equal (took > TimeSpan.FromSeconds 2.5) isWaitedFor $"{state}: {took}"
                        })

                testCaseTask
                    "while the only replica hangs no logout and no sign-in waits behind others; once it goes on, they are acknowledged"
                    (fun () ->
                        task {
                            use server = startOne []
                            use replica = replicaOf server.Port
                            do! followed server 1
                            use redis = openRedisAt server.Address "hangs:" (fun o -> o.WaitForReplicas <- 1)
                            let store = redis :> ISessionStore
                            let! _ = acknowledged store
                            replica.Freeze()
                            let! answers = thirty store "hangs"
                            // One WAIT for the write, one that it came behind, and a second.
                            unacknowledged (TimeSpan.FromSeconds 3L) answers
                            replica.Thaw()
                            let! took = acknowledged store
                            Expect.isLessThan took soon "that it goes on is seen"
                        })

                testCaseTask "WaitTimeout is how long a write waits for a replica that hangs" (fun () ->
                    task {
                        use server = startOne []
                        use replica = replicaOf server.Port
                        do! followed server 1

                        let opened (timeout: TimeSpan) =
                            openRedisAt server.Address $"{timeout.TotalMilliseconds}:" (fun o ->
                                o.WaitForReplicas <- 1
                                o.WaitTimeout <- timeout)

                        // The last one is longer than half of OperationTimeout, which is all that one WAIT may last.
                        let limits = [ 50.0, 1000.0; 700.0, 1700.0; 1500.0, 3000.0 ]
                        let stores = [ for wait, _ in limits -> opened (TimeSpan.FromMilliseconds wait) ]

                        for store in stores do
                            let! _ = (store :> ISessionStore).Load("a", none)
                            ()

                        replica.Freeze()

                        for store, (wait, most) in List.zip stores limits do
                            let clock = Stopwatch.StartNew()
                            let! written = (store :> ISessionStore).Insert(logout "a", none)
                            let took = clock.Elapsed.TotalMilliseconds
                            Expect.equal written WriteResult.Unacknowledged "the replica hangs"
                            Expect.isGreaterThanOrEqual took (wait - 50.0) $"{wait} ms are waited for"
                            Expect.isLessThan took most $"and not much more than {wait} ms"

                        for store in stores do
                            (store :> IDisposable).Dispose()
                    })

                testCaseTask
                    "no WAIT may last longer than half of OperationTimeout, whatever WaitTimeout is: writes come behind it"
                    (fun () ->
                        task {
                            use server = startOne []
                            use _ = replicaOf server.Port
                            do! followed server 1

                            for wait, longest in [ 300.0, 300; 1500.0, 1000; 10_000.0, 1000 ] do
                                use limits = new AskedLimits(server.Port)

                                use redis =
                                    openRedisAt limits.Address $"{wait}:" (fun options ->
                                        options.WaitForReplicas <- 1
                                        options.WaitTimeout <- TimeSpan.FromMilliseconds wait
                                        options.OperationTimeout <- TimeSpan.FromSeconds 2L)

                                // Not Prepare: its probe says WAIT, too.
                                let! _ = (redis :> ISessionStore).Insert(logout "a", none)
                                Expect.equal (List.max limits.All) longest $"with a WaitTimeout of {wait} ms"
                        })

                testCaseTask "that not all replicas are asked for is told, with what it means" (fun () ->
                    task {
                        use server = startOne [ "appendonly", "yes"; "appendfsync", "always" ]
                        use _ = replicaOf server.Port
                        use _ = replicaOf server.Port
                        do! followed server 2

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
