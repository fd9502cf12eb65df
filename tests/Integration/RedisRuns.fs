/// Redis as it is run: other protocols and databases, a cluster that moves its slots, a server that pauses or is full.
module Integration.RedisRuns

open System
open System.Collections.Concurrent
open System.Diagnostics
open System.Threading
open System.Threading.Tasks
open Expecto
open StackExchange.Redis
open Integration.RedisServer
open Integration.RedisTls
open Integration.World
open Session.Engine
open Session.Stores.Redis
open Session.Stores.Testing

let private none = CancellationToken.None

let private record id version (body: byte) isDurable =
    let at = DateTimeOffset.UtcNow

    StoredRecord(
        id,
        version,
        RecordKind.Live,
        at,
        at.AddDays 1,
        "ann",
        Random.Shared.NextInt64(),
        ReadOnlyMemory [| body |],
        isDurable
    )

/// The contract of stores, in short, on a place with these settings.
let private holds name (configure: RedisStoreOptions -> unit) =
    testCaseTask $"the contract holds with {name}" (fun () ->
        task {
            let make _ =
                let options =
                    RedisStoreOptions(
                        Configuration = shared.Force().Address,
                        KeyPrefix = Guid.NewGuid().ToString "N" + ":"
                    )

                configure options
                Task.FromResult<ISessionStore>(new RedisStore(options))

            let! report =
                StoreContract(name, make, StoreContractOptions(Commands = 2000, Histories = 20)).RunAllAsync()

            Expect.isEmpty report.Failures (string report)
        })

let private ways =
    [ holds "RESP3" (fun options -> options.Configuration <- options.Configuration + ",protocol=resp3")
      holds "a database of the connection string" (fun options ->
          options.Configuration <- options.Configuration + ",defaultDatabase=3")
      holds "a database of the options" (fun options -> options.Database <- 5)
      holds "threads of the driver's own" (fun options -> options.UseDedicatedThreads <- true)

      testCaseTask "the contract holds where a replica is waited for, in a database of the options" (fun () ->
          task {
              use server = startOne []
              use _ = replicaOf server.Port
              do! followed server 1

              let make _ =
                  let options =
                      RedisStoreOptions(
                          Configuration = server.Address,
                          KeyPrefix = Guid.NewGuid().ToString "N" + ":",
                          Database = 5,
                          WaitForReplicas = 1
                      )

                  options.WaitTimeout <- TimeSpan.FromSeconds 10L
                  options.OperationTimeout <- TimeSpan.FromSeconds 20L
                  Task.FromResult<ISessionStore>(new Lasting(new RedisStore(options)))

              let! report =
                  StoreContract("a replica", make, StoreContractOptions(Commands = 1000, Histories = 10)).RunAllAsync()

              Expect.isEmpty report.Failures (string report)

              // There are two connections, and each has to be told of the database.
              use! admin = connect server.Address

              for number in 0..4 do
                  let! keys = admin.GetServer(server.Address).DatabaseSizeAsync number
                  Expect.equal keys 0L $"nothing is in database {number}"
          })

      testCaseTask "two databases of one server do not see each other's sessions" (fun () ->
          task {
              let address = shared.Force().Address
              let prefix = Guid.NewGuid().ToString "N" + ":"
              use one = openRedisAt address prefix (fun options -> options.Database <- 1)
              use other = openRedisAt (address + ",defaultDatabase=2") prefix ignore
              let! _ = (one :> ISessionStore).Insert(record "a" 1L 1uy false, none)
              let! found = (other :> ISessionStore).Load("a", none)
              Expect.isNull found "not there"
              let! first = (one :> ISessionStore).Prepare none
              let! second = (other :> ISessionStore).Prepare none
              Expect.notEqual first.Location second.Location "and they are two places"
          })

      testCaseTask "the place has the number of the database in it, whichever of the settings names it" (fun () ->
          task {
              let address = shared.Force().Address
              let prefix = Guid.NewGuid().ToString "N" + ":"

              for ofString, ofOptions, expected in
                  [ "", -1, 0
                    "", 2, 2
                    ",defaultDatabase=2", -1, 2
                    ",defaultDatabase=2", 0, 0
                    ",defaultDatabase=2", 3, 3 ] do
                  use own = openRedisAt (address + ofString) prefix (fun options -> options.Database <- ofOptions)
                  use! theirs = connect (address + ofString)

                  use given =
                      openRedisAt "" prefix (fun options ->
                          options.Connect <- fun () -> Task.FromResult(theirs :> IConnectionMultiplexer)
                          options.Database <- ofOptions)

                  for store in [ own; given ] do
                      let! report = (store :> ISessionStore).Prepare none
                      Expect.stringEnds report.Location $"/{expected}/{prefix}" $"'{ofString}' and {ofOptions}"
          }) ]

/// A password that is another one each time that a connection is made, as tokens of managed servers are.
type private Tokens(first: string) =
    inherit Configuration.DefaultOptionsProvider()
    let mutable current = first
    let mutable asked = 0

    member _.Current
        with set value = current <- value

    member _.Asked = Volatile.Read &asked

    override _.Password =
        Interlocked.Increment &asked |> ignore
        current

let private tokens =
    testCaseTask "a token provider is asked for every connection, that of WaitForReplicas too" (fun () ->
        task {
            use server = startOne [ "requirepass", "first"; "appendonly", "yes"; "appendfsync", "always" ]
            let provider = Tokens "first"
            let settings = ConfigurationOptions.Parse(server.Address + ",connectTimeout=2000")
            settings.Defaults <- provider

            let options =
                RedisStoreOptions(ConfigurationOptions = settings, KeyPrefix = "tokens:", WaitForReplicas = 1)

            options.WaitTimeout <- TimeSpan.FromMilliseconds 100L
            use store = new RedisStore(options)
            let! report = (store :> ISessionStore).Prepare none
            Expect.all report.Notes _.StartsWith("WaitForReplicas is 1") "nothing else is missing"
            let! written = (store :> ISessionStore).Insert(record "a" 1L 1uy true, none)
            Expect.equal written WriteResult.Unacknowledged "written, over the connection that waits"
            Expect.isGreaterThan provider.Asked 1 "asked"
        })

let private troubles =
    [ testCaseTask "CLIENT PAUSE: writes that the server holds up are unavailable, and count at most once" (fun () ->
          task {
              use server = startOne []

              use redis =
                  openRedisAt server.Address "pause:" (fun o -> o.OperationTimeout <- TimeSpan.FromMilliseconds 300L)

              let store = redis :> ISessionStore
              let! _ = store.Insert(record "a" 1L 0uy false, none)
              // The server knows the script from here on.
              let! _ = store.Replace(record "a" 2L 0uy false, 1L, none)
              use! admin = connect server.Address
              let! _ = admin.GetServer(server.Address).ExecuteAsync("CLIENT", "PAUSE", "1500", "WRITE")
              let clock = Stopwatch.StartNew()
              let! paused = store.Replace(record "a" 3L 1uy false, 2L, none)
              Expect.equal paused WriteResult.Unknown "nobody knows"
              Expect.isLessThan clock.Elapsed (TimeSpan.FromSeconds 1.4) "and nobody waits for long"
              // The server reads no further on a connection whose write it holds up.
              use other = openRedisAt server.Address "pause:" ignore
              let! read = (other :> ISessionStore).Load("a", none)
              Expect.equal (nonNull read).Version 2L "reads of other nodes go on"
              do! Task.Delay 2000
              let! read = store.Load("a", none)
              Expect.contains [ 2L; 3L ] (nonNull read).Version "it was taken once, or never"
          })

      testCaseTask "a full server with noeviction: writes are errors, reads and what is there stay" (fun () ->
          task {
              use server = startOne [ "maxmemory-policy", "noeviction" ]
              use redis = openRedisAt server.Address "full:" ignore
              let store = redis :> ISessionStore
              let! _ = store.Insert(record "a" 1L 1uy false, none)
              use! admin = connect server.Address
              do! admin.GetServer(server.Address).ConfigSetAsync(RedisValue "maxmemory", RedisValue "1")
              let mutable refused = ""

              try
                  let! _ = store.Replace(record "a" 2L 2uy false, 1L, none)
                  ()
              with :? StoreRefusedException as error ->
                  refused <- error.Message

              Expect.stringContains refused "OOM" "the write is refused"
              let! found = store.Load("a", none)
              Expect.equal (nonNull found).Version 1L "what is there stays"
              use late = openRedisAt server.Address "full:" ignore
              let! report = (late :> ISessionStore).Prepare none
              Expect.exists report.Notes _.Contains("cannot keep sessions yet") "a start on it says so"
              do! admin.GetServer(server.Address).ConfigSetAsync(RedisValue "maxmemory", RedisValue "0")
              let! written = store.Replace(record "a" 2L 2uy false, 1L, none)
              Expect.equal written WriteResult.Written "and it goes on once there is room"
          })

      testCaseTask "writes that fail leave no failure behind that nobody has looked at" (fun () ->
          task {
              use server = startOne []

              use redis =
                  openRedisAt server.Address "failing:" (fun o ->
                      o.OperationTimeout <- TimeSpan.FromMilliseconds 300L
                      o.WaitForReplicas <- 1)

              let store = redis :> ISessionStore
              let! _ = store.Insert(record "a" 1L 1uy true, none)
              let left = ConcurrentQueue<string>()

              let hear =
                  EventHandler<UnobservedTaskExceptionEventArgs>(fun _ failure ->
                      left.Enqueue(string failure.Exception))

              TaskScheduler.UnobservedTaskException.AddHandler hear

              try
                  let write version =
                      task {
                          try
                              let! _ = store.Replace(record "a" version 1uy true, version - 1L, none)
                              ()
                          with
                          | :? StoreRefusedException
                          | :? RedisException
                          | :? TimeoutException -> ()
                      }

                  server.Freeze()
                  do! write 2L
                  server.Thaw()
                  server.Kill()

                  for version in 3L .. 12L do
                      do! write version

                  do! Task.Delay 1500

                  for _ in 1..3 do
                      GC.Collect()
                      GC.WaitForPendingFinalizers()

                  Expect.isEmpty (Seq.filter (fun (text: string) -> text.Contains "Redis") left) "all were looked at"
              finally
                  TaskScheduler.UnobservedTaskException.RemoveHandler hear
          }) ]

/// A hundred requests at once, each of which blocks a thread between its read and its write; how many of them are 503.
let private burst (usesDedicatedThreads: bool) =
    task {
        use redis =
            openRedisAt (shared.Force().Address) (Guid.NewGuid().ToString "N" + ":") (fun options ->
                options.UseDedicatedThreads <- usesDedicatedThreads)

        let engine = Engines.engineOn redis Engines.settings TimeProvider.System Engines.silent
        let begun = ConcurrentQueue<PresentedToken>()

        for _ in 1..100 do
            match! engine.Create(Token.newId, None, [| 0uy |], none) with
            | Error error -> failtestf "not begun: %A" error
            | Ok created ->
                let token = created.Issued.Value.Reveal()
                begun.Enqueue((Token.tryParse engine.Hasher (token.AsSpan())).Value)

        let block bytes =
            Thread.Sleep 300
            Ok bytes

        let request token =
            task {
                match! engine.Present(token, false, none) with
                | Error error -> return Error error
                | Ok opened ->
                    let! answer = engine.Update(opened, block, none)
                    return Result.map ignore answer
            }

        let mutable most, least, ports, leastPorts = 0, 0, 0, 0
        ThreadPool.GetMaxThreads(&most, &ports)
        ThreadPool.GetMinThreads(&least, &leastPorts)
        // Two and a half seconds of work for so many: longer than the store waits for an answer, shorter than a request does.
        let threads = max 12 Environment.ProcessorCount
        ThreadPool.SetMinThreads(threads, leastPorts) |> ignore
        ThreadPool.SetMaxThreads(threads, ports) |> ignore

        try
            let! answers =
                [ for token in begun -> Task.Run<Result<unit, SessionError>>(fun () -> request token) ]
                |> Task.WhenAll

            return answers |> Array.filter Result.isError |> Array.length
        finally
            ThreadPool.SetMaxThreads(most, ports) |> ignore
            ThreadPool.SetMinThreads(least, leastPorts) |> ignore
    }

let private blocking =
    testCaseTask "handlers that block threads: with threads of the driver's own no answer comes too late" (fun () ->
        task {
            let! dedicated = burst true
            let! pooled = burst false

            printfn
                "Of 100 requests at once that block threads %d got 503 on the thread pool, and %d with threads of the driver's own"
                pooled
                dedicated

            Expect.equal dedicated 0 "none is too late"
        })

/// Writers count in their own sessions while every slot of one node moves to another.
let private resharding =
    testCaseTask "a cluster that moves its slots under load loses no update, and nobody is logged out" (fun () ->
        task {
            use cluster = new RedisCluster(5000)
            cluster.Start()
            use redis = openRedisAt cluster.Addresses "reshard:" ignore
            let store = redis :> ISessionStore
            let! _ = store.Prepare none
            use stop = new CancellationTokenSource()
            let odd = ConcurrentQueue<string>()

            let writer n =
                task {
                    let id = $"session-{n}"
                    let! _ = store.Insert(record id 1L 0uy false, none)
                    let mutable version = 1L

                    while not stop.IsCancellationRequested do
                        try
                            let! found = store.Load(id, none)

                            match found with
                            | null -> odd.Enqueue $"{id} is gone"
                            | found when found.Version <> version ->
                                odd.Enqueue $"{id}: {found.Version}, not {version}"
                            | _ -> ()

                            let! answer = store.Replace(record id (version + 1L) (byte version) false, version, none)

                            if answer = WriteResult.Written then
                                version <- version + 1L
                            elif answer = WriteResult.Unknown then
                                let! found = store.Load(id, none)
                                version <- (nonNull found).Version
                            else
                                odd.Enqueue $"{id}: {answer}"
                        with
                        | :? StoreRefusedException
                        | :? RedisException
                        | :? TimeoutException ->
                            // Unavailable for a moment: what was written is looked at.
                            let! found = store.Load(id, none)
                            version <- (nonNull found).Version

                    return id, version
                }

            let running = [ for n in 1..24 -> Task.Run<string * int64>(fun () -> writer n) ]
            do! Task.Delay 500

            use! admin = connect cluster.Nodes.Head.Address
            let! id = admin.GetServer(cluster.Nodes.Head.Address).ExecuteAsync("CLUSTER", "MYID")

            let moved =
                Process.Start(
                    ProcessStartInfo(
                        "redis-cli",
                        [ "--cluster"
                          "rebalance"
                          cluster.Nodes.Head.Address
                          "--cluster-weight"
                          $"{id}=0"
                          "--cluster-pipeline"
                          "100" ],
                        RedirectStandardOutput = true
                    )
                )
                |> nonNull

            let! _ = moved.StandardOutput.ReadToEndAsync()
            do! moved.WaitForExitAsync()
            Expect.equal moved.ExitCode 0 "the slots moved"
            do! Task.Delay 500
            stop.Cancel()
            let! ends = Task.WhenAll running
            Expect.isEmpty (Seq.truncate 5 odd) "each found what it had written"
            Expect.isGreaterThan (Array.sumBy snd ends) 100L "under load"
            let! all = store.Enumerate(null, 100, none)
            Expect.equal all.Records.Count 24 "and all are listed"
        })

/// Garnet, a server of another make that speaks the same protocol: as a tool of this repository.
let private garnet (arguments: string list) (body: string -> Task<unit>) =
    task {
        let port = freePort ()
        let run = [ "tool"; "run"; "garnet-server"; "--port"; string port; "--bind"; "127.0.0.1" ]

        let info =
            ProcessStartInfo("dotnet", run @ arguments, RedirectStandardOutput = true, RedirectStandardError = true)

        info.WorkingDirectory <- Repository.under []
        // Its runtime is whichever is there.
        info.Environment["DOTNET_ROLL_FORWARD"] <- "Major"
        use started = nonNull (Process.Start info)
        started.OutputDataReceived.Add ignore
        started.ErrorDataReceived.Add ignore
        started.BeginOutputReadLine()
        started.BeginErrorReadLine()

        try
            let answers () =
                try
                    use client = new Net.Sockets.TcpClient()
                    client.Connect(Net.IPAddress.Loopback, port)
                    true
                with :? Net.Sockets.SocketException ->
                    false

            do! eventually "Garnet answers" answers
            do! body $"127.0.0.1:{port}"
        finally
            started.Kill true
            started.WaitForExit()
    }

let private notes (address: string) = startNotes (openRedisAt address "garnet:" ignore)

let private garnets =
    [ testCaseTask
          "Garnet with scripts in transactions: it starts, its sentences are of Garnet, and the contract holds"
          (fun () ->
              garnet [ "--lua"; "--lua-transaction-mode" ] (fun address ->
                  task {
                      match! notes address with
                      | Error sentence -> failtest sentence
                      | Ok notes ->
                          Expect.exists notes _.Contains("--aof") "nothing on disk, and how to change that"

                          Expect.all
                              notes
                              (fun note -> not (note.Contains "maxmemory" || note.Contains "appendonly"))
                              "no word of Redis"

                      let make _ =
                          Task.FromResult<ISessionStore>(
                              openRedisAt address (Guid.NewGuid().ToString "N" + ":") ignore
                          )

                      let! report =
                          StoreContract("Garnet", make, StoreContractOptions(Commands = 2000, Histories = 10))
                              .RunAllAsync()

                      Expect.isEmpty report.Failures (string report)

                      // A listing comes to its end whatever the ids are.
                      use redis = openRedisAt address "ids:" ignore
                      let store = redis :> ISessionStore
                      let ids = [ "-"; "--"; "-a"; "0"; "a"; "a-" ]

                      for id in ids do
                          let! _ = store.Insert(record id 1L 1uy false, none)
                          ()

                      for limit in 1..3 do
                          let mutable after: string | null = null
                          let mutable goesOn = true
                          let found = ResizeArray<string>()

                          while goesOn && found.Count < 50 do
                              let! page = store.Enumerate(after, limit, none)
                              found.AddRange(page.Records |> Seq.map _.Id)
                              after <- page.Next
                              goesOn <- not (isNull after)

                          Expect.equal
                              (List.ofSeq found)
                              (List.sortWith (fun a b -> String.CompareOrdinal(a, b)) ids)
                              $"{limit} a page"
                  }))
      testCaseTask "Garnet without scripts is refused with what to change" (fun () ->
          garnet [] (fun address ->
              task {
                  match! notes address with
                  | Error sentence -> Expect.stringContains sentence "--lua --lua-transaction-mode" "the sentence"
                  | Ok notes -> failtestf "it starts with %A" notes
              })) ]

let all = testList "Redis as it is run" (ways @ troubles @ garnets @ [ tokens; resharding; blocking ])
