/// What the Redis store says at start: all that it will need is tried, and each thing that is missing has a sentence.
module Integration.RedisProbes

open System
open System.Diagnostics
open System.IO
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.Hosting
open StackExchange.Redis
open Integration.RedisFleet
open Integration.RedisServer
open Integration.RedisTls
open Integration.Relays
open Integration.World
open Session.Engine
open Session.Stores.Redis

let private none = CancellationToken.None

/// The notes, or the sentence that stops the start.
let private prepare (configure: RedisStoreOptions -> unit) : Task<Result<string list, string>> =
    let options = RedisStoreOptions(KeyPrefix = Guid.NewGuid().ToString "N" + ":")
    configure options
    startNotes (new RedisStore(options))

let private at (address: string) (options: RedisStoreOptions) = options.Configuration <- address

let private refuses (words: string list) answer =
    match answer with
    | Ok notes -> failtestf "it starts, with %A" notes
    | Error sentence ->
        for word in words do
            Expect.stringContains sentence word "the sentence"

let private notes (words: string list) (answer: Result<string list, string>) =
    match answer with
    | Error sentence -> failtestf "the start is stopped: %s" sentence
    | Ok notes ->
        Expect.exists
            notes
            (fun (note: string) -> words |> List.forall (fun word -> note.Contains word))
            (String.concat ", " words + $" in %A{notes}")

let private durable = [ "appendonly", "yes"; "appendfsync", "always" ]

let private served name settings configure (check: RedisServer -> Result<string list, string> -> unit) =
    testCaseTask name (fun () ->
        task {
            use server = startOne settings
            let! answer = prepare (configure server)
            check server answer
        })

let private causes =
    [ served
          "a wrong password stops the start, with the endpoint and the cause"
          [ "requirepass", "right" ]
          (fun server -> at $"{server.Address},password=wrong,connectTimeout=2000")
          (fun server -> refuses [ server.Address; "WRONGPASS"; "password" ])
      served
          "no password stops the start"
          [ "requirepass", "right" ]
          (fun server -> at $"{server.Address},connectTimeout=2000")
          (fun server -> refuses [ server.Address; "NOAUTH"; "password" ])
      served
          "a user that does not exist stops the start"
          [ "requirepass", "right" ]
          (fun server -> at $"{server.Address},user=nobody,password=wrong,connectTimeout=2000")
          (fun server -> refuses [ server.Address; "WRONGPASS"; "user name" ])
      served
          "TLS to a server that has none: a note that says so"
          []
          (fun server -> at $"{server.Address},ssl=true,connectTimeout=2000")
          (fun server -> notes [ server.Address; "TLS"; "ssl=true" ])
      testCaseTask "a certificate that nobody trusts stops the start" (fun () ->
          task {
              use server = new TlsServer([])
              let! answer = prepare (at $"{server.Address},ssl=true,connectTimeout=2000")
              refuses [ server.Address; "certificate"; "ConfigurationOptions" ] answer
          })
      testCaseTask "plain text to a server that wants TLS: a note with the endpoint and what may be missing" (fun () ->
          task {
              use server = new TlsServer([])
              let! answer = prepare (at $"{server.Address},connectTimeout=1000")
              notes [ server.Address; "ssl=true" ] answer
          })
      testCaseTask "nobody at the port: a note with the endpoint and the cause" (fun () ->
          task {
              let port = freePort ()
              let! answer = prepare (at $"127.0.0.1:{port},connectTimeout=500")
              notes [ $"127.0.0.1:{port}"; "503" ] answer
          })
      testCaseTask "a replica alone: a note that sessions need its primary" (fun () ->
          task {
              use primary = startOne []
              use replica = replicaOf primary.Port
              let! answer = prepare (at replica.Address)
              notes [ replica.Address; "replica" ] answer
          })
      testCaseTask "Sentinels that are not there: a note, and sessions as soon as they are" (fun () ->
          task {
              use fleet = new Fleet()
              do! fleet.Settled()
              fleet.KillSentinels()
              use store = openRedisAt (fleet.Configuration + ",connectTimeout=500") "late:" ignore
              let! report = (store :> ISessionStore).Prepare none
              Expect.exists report.Notes _.Contains("0 of 3 Sentinels") "the note"
              fleet.StartSentinels()
              let mutable isThere = false

              for _ in 1..100 do
                  if not isThere then
                      try
                          let! found = (store :> ISessionStore).Load("a", none)
                          isThere <- isNull found
                      with
                      | :? TimeoutException
                      | :? RedisException -> do! Task.Delay 100

              Expect.isTrue isThere "found without a restart"
          })
      testCaseTask "one Sentinel of three is not believed: a note at start, and no answer about any session" (fun () ->
          task {
              use fleet = new Fleet()
              do! fleet.Settled()
              use running = openRedisAt (fleet.Configuration + ",connectTimeout=500") "few:" ignore
              let! _ = (running :> ISessionStore).Load("a", none)
              fleet.KillSentinels 2
              use late = openRedisAt (fleet.Configuration + ",connectTimeout=500") "few:" ignore
              let! report = (late :> ISessionStore).Prepare none
              Expect.exists report.Notes _.Contains("1 of 3 Sentinels") "the note"
              // What the three have said is good for three seconds.
              do! Task.Delay 3500

              for store in [ running; late ] do
                  let mutable said = ""

                  try
                      let! _ = (store :> ISessionStore).Load("a", none)
                      ()
                  with :? TimeoutException as error ->
                      said <- error.Message

                  Expect.stringContains said "Sentinels do not name" "nothing can be said"
          })
      testCaseTask "half of the Sentinels are not believed: neither one of two nor two of four" (fun () ->
          task {
              use fleet = new Fleet()
              do! fleet.Settled()
              let sentinels = fleet.Configuration.Split(',') |> List.ofArray |> List.take 3
              // One that is never there.
              let absent = $"127.0.0.1:{freePort ()}"

              let opened (them: string list) =
                  openRedisAt (String.Join(",", them) + ",serviceName=sessions,connectTimeout=500") "half:" ignore

              let two () = opened (List.take 2 sentinels)
              let four () = opened (absent :: sentinels)
              use ofTwo = two ()
              use ofFour = four ()

              for store in [ ofTwo; ofFour ] do
                  let! found = (store :> ISessionStore).Load("a", none)
                  Expect.isNull found "most of them are there"

              fleet.KillSentinels 1
              use lateOfTwo = two ()
              use lateOfFour = four ()
              // What more of them have said is good for three seconds.
              do! Task.Delay 3500

              for what, store in
                  [ "one of two", ofTwo
                    "two of four", ofFour
                    "one of two, from the start", lateOfTwo
                    "two of four, from the start", lateOfFour ] do
                  let mutable said = ""

                  try
                      let! _ = (store :> ISessionStore).Load("a", none)
                      ()
                  with :? TimeoutException as error ->
                      said <- error.Message

                  Expect.stringContains said "Sentinels do not name" what
          })
      testCaseTask "a Sentinel that refuses the application is named, whatever the others say" (fun () ->
          task {
              use fleet = new Fleet()
              do! fleet.Settled()
              let third = fleet.Configuration.Split(',')[2]

              let password = [ "ACL"; "SETUSER"; "default"; "resetpass"; ">hunter2" ]
              use set = Process.Start("redis-cli", [ "-p"; third.Split(':')[1] ] @ password)
              do! set.WaitForExitAsync()
              let mutable isRefused = false

              // Two of three suffice: the third one's answer may come too late for a round.
              for _ in 1..20 do
                  if not isRefused then
                      match! prepare (at fleet.Configuration) with
                      | Ok said -> isRefused <- said |> List.exists _.Contains("One of the Sentinels")
                      | Error sentence -> failtest sentence

              Expect.isTrue isRefused "a note: two of them are enough"
          })
      testCaseTask
          "a Sentinel that knows no primary of that name, and one Sentinel of three: notes that say so"
          (fun () ->
              task {
                  use fleet = new Fleet()
                  do! fleet.Settled()
                  let! answer = prepare (at (fleet.Configuration.Replace("=sessions", "=other")))
                  notes [ "other"; "serviceName" ] answer
                  let first = fleet.Configuration.Split(',')[0]
                  let! answer = prepare (at (first + ",serviceName=sessions"))
                  notes [ "1 of 3 Sentinels" ] answer
              })
      testCaseTask
          "a connection that was made through Sentinels: they are asked for the primary all the same"
          (fun () ->
              task {
                  use fleet = new Fleet()
                  do! fleet.Settled()
                  use! connection = connect fleet.Configuration

                  let options =
                      RedisStoreOptions(
                          Connect = (fun () -> Task.FromResult(connection :> IConnectionMultiplexer)),
                          KeyPrefix = "given:"
                      )

                  use store = new RedisStore(options)
                  let! report = (store :> ISessionStore).Prepare none
                  Expect.stringContains report.Location "/sessions/0/given:" "the place is named by the Sentinels"
                  let! primary = fleet.Named()
                  use! admin = connect primary.Value.Server.Address
                  let at = DateTimeOffset.UtcNow

                  let record =
                      StoredRecord("a", 1L, RecordKind.Live, at, at.AddDays 1, null, 1L, ReadOnlyMemory [| 1uy |])

                  let! _ = (store :> ISessionStore).Insert(record, none)
                  let! isThere = admin.GetDatabase().KeyExistsAsync(RedisKey "given:r:a")
                  Expect.isTrue isThere "and the records are there"
              }) ]

/// The line of the README that grants what is needed.
let private leastRights =
    lazy
        (File.ReadLines(Repository.under [ "src"; "Session.Stores"; "Redis"; "README.md" ])
         |> Seq.find _.StartsWith("ACL SETUSER"))

let private grant (server: RedisServer) (line: string) =
    task {
        use! admin = connect server.Address
        let words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries)
        let arguments = words[1..] |> Array.map (fun word -> word :> obj)
        let! _ = admin.GetServer(server.Address).ExecuteAsync(words[0], arguments)
        ()
    }

let private rights =
    let user (server: RedisServer) = $"{server.Address},user=sessions,password=secret"

    [ testCaseTask "the README's line for an ACL user is all that is needed, and nothing of it is too much" (fun () ->
          task {
              use server = startOne durable
              let line = leastRights.Force().Replace("…", "secret").Replace("session:Shop:", "session:")
              do! grant server line

              let asUser (options: RedisStoreOptions) =
                  options.Configuration <- user server
                  options.KeyPrefix <- "session:"
                  options.WaitForReplicas <- 0

              let! answer = prepare asUser
              Expect.equal answer (Ok []) "it starts, and has nothing to say"

              let! report =
                  Session.Stores.Testing
                      .StoreContract(
                          "least rights",
                          (fun _ ->
                              let prefix = "session:" + Guid.NewGuid().ToString "N" + ":"
                              Task.FromResult<ISessionStore>(openRedisAt (user server) prefix ignore)),
                          Session.Stores.Testing.StoreContractOptions(
                              Seed = 1,
                              Commands = 2000,
                              Histories = 3,
                              Signals = false
                          )
                      )
                      .RunAllAsync()

              Expect.isEmpty report.Failures "the whole contract holds"

              // Each word of it is needed.
              for word in line.Split ' ' |> Array.filter _.StartsWith("+") do
                  do! grant server $"ACL SETUSER sessions {word.Replace('+', '-')}"

                  let! answer =
                      prepare (fun options ->
                          asUser options
                          options.Configuration <- options.Configuration + ",connectTimeout=2000")

                  do! grant server $"ACL SETUSER sessions {word}"

                  // Those are for replicas, the driver's pulse, another database, and a cluster.
                  let isForOthers = List.contains word [ "+wait"; "+ping"; "+select"; "+cluster|nodes"; "+asking" ]
                  Expect.equal ((answer = Ok [])) isForOthers $"{word}: %A{answer}"
          })
      served
          "a user that may not run scripts stops the start"
          (durable @ [ "user", "sessions on >secret ~* +@all -@scripting" ])
          (fun server -> at (user server))
          (fun server -> refuses [ server.Address; "eval"; "README" ])
      served
          "a user that may not wait for replicas stops the start where they are waited for"
          (durable @ [ "user", "sessions on >secret ~* &* +@all -wait" ])
          (fun server options ->
              at (user server) options
              options.WaitForReplicas <- 1)
          (fun server -> refuses [ server.Address; "forbids"; "'wait'"; "README" ])
      served
          "a user that may not wait for replicas starts where nobody waits for them"
          (durable @ [ "user", "sessions on >secret ~* &* +@all -wait" ])
          (fun server options ->
              at (user server) options
              options.WaitForReplicas <- 0)
          (fun _ answer -> Expect.equal answer (Ok []) "it has nothing to say")
      served
          "a WAIT that has been renamed stops the start where replicas are waited for"
          (durable @ [ "rename-command", "WAIT hidden" ])
          (fun server options ->
              at server.Address options
              options.WaitForReplicas <- 1)
          (fun server -> refuses [ server.Address; "WAIT"; "renamed" ])
      served
          "a user that may not ask for settings: notes"
          (durable @ [ "user", "sessions on >secret ~* &* +@all -@dangerous" ])
          (fun server -> at (user server))
          (fun _ -> notes [ "INFO" ])
      served
          "a user whose keys begin otherwise stops the start"
          (durable @ [ "user", "sessions on >secret ~other:* &* +@all" ])
          (fun server -> at (user server))
          (fun server -> refuses [ server.Address; "forbids" ])
      served
          "a command that has been renamed stops the start"
          (durable @ [ "rename-command", "EVALSHA hidden" ])
          (fun server -> at server.Address)
          (fun server -> refuses [ server.Address; "EVALSHA"; "renamed" ])
      served
          "a renamed CONFIG is a note"
          (durable @ [ "rename-command", "CONFIG hidden" ])
          (fun server -> at server.Address)
          (fun _ -> notes [ "cannot be read" ])
      served
          "a renamed CONFIG does not hide that the server evicts: INFO says it, and the start is stopped"
          (durable
           @ [ "rename-command", "CONFIG hidden"
               "maxmemory", "100mb"
               "maxmemory-policy", "allkeys-lru" ])
          (fun server -> at server.Address)
          (fun server -> refuses [ server.Address; "allkeys-lru"; "noeviction" ])
      served
          "a renamed CONFIG does not hide what evicts once there is a limit: a note"
          (durable @ [ "rename-command", "CONFIG hidden"; "maxmemory-policy", "volatile-ttl" ])
          (fun server -> at server.Address)
          (fun server -> notes [ server.Address; "volatile-ttl"; "noeviction" ])
      served
          "a renamed CONFIG does not hide that nothing is appended to a file: a note"
          [ "rename-command", "CONFIG hidden" ]
          (fun server -> at server.Address)
          (fun server -> notes [ server.Address; "appendonly off" ])
      served
          "a database that does not exist stops the start"
          (durable @ [ "databases", "4" ])
          (fun server options ->
              at server.Address options
              options.Database <- 5)
          (fun _ -> refuses [ "atabase" ])
      served "appendfsync everysec is told" [ "appendonly", "yes" ] (fun server -> at server.Address) (fun _ ->
          notes [ "appendfsync everysec"; "killed" ])

      testCaseTask "replicas that nobody waits for are told" (fun () ->
          task {
              use server = startOne durable
              use _ = replicaOf server.Port
              let clock = Diagnostics.Stopwatch.StartNew()
              let mutable answer = Ok []

              // Until the replica is there.
              while answer = Ok [] && clock.Elapsed < TimeSpan.FromSeconds 10L do
                  let! now = prepare (at server.Address)
                  answer <- now

              notes [ "has replicas"; "WaitForReplicas is 0" ] answer
          }) ]

/// A server whose clock is wrong: what it says of its time is rewritten, in as many digits.
let private wrongClock (server: RedisServer) (by: TimeSpan) =
    let rewrite (bytes: byte array) =
        let word = "server_time_usec:"B
        let at = bytes.AsSpan().IndexOf(ReadOnlySpan word)

        if at >= 0 then
            let digits = bytes.AsSpan(at + word.Length, 16)
            let time = Int64.Parse(digits) + by.Ticks / TimeSpan.TicksPerMicrosecond
            Text.Encoding.ASCII.GetBytes(string time).CopyTo digits

    let answer (from: Net.Sockets.NetworkStream) (into: Net.Sockets.NetworkStream) =
        task {
            let bytes = Array.zeroCreate<byte> 65536
            let mutable goesOn = true

            try
                while goesOn do
                    let! length = from.ReadAsync(bytes.AsMemory())
                    rewrite bytes
                    do! into.WriteAsync(ReadOnlyMemory(bytes, 0, length))
                    goesOn <- length > 0
            with
            | :? IOException
            | :? ObjectDisposedException -> ()

            into.Dispose()
        }

    let serve (client: Net.Sockets.TcpClient) =
        task {
            let upstream = new Net.Sockets.TcpClient(NoDelay = true)
            do! upstream.ConnectAsync(Net.IPAddress.Loopback, server.Port)
            let toServer, toClient = upstream.GetStream(), client.GetStream()
            let asking = pump toClient toServer (fun _ -> Task.CompletedTask)
            do! answer toServer toClient
            do! asking
        }

    new Relay(serve)

let private slips =
    let refusal configure =
        let options = RedisStoreOptions(Configuration = "127.0.0.1:1")
        configure options

        try
            (new RedisStore(options) :> IDisposable).Dispose()
            "taken"
        with :? ArgumentException as error ->
            error.Message

    [ testCase "values that nobody means are refused with what to change" (fun () ->
          for number in [ -2; -5; Int32.MinValue ] do
              Expect.stringContains (refusal (fun o -> o.Database <- number)) "RedisStoreOptions.Database" "a database"

          for text in [ "foo=bar"; "localhost,ssl=perhaps" ] do
              let said = refusal (at text)
              Expect.stringContains said "no connection string of StackExchange.Redis" text

          let tick, longest = TimeSpan.FromTicks 1L, TimeSpan.FromMinutes 10L

          for name, set in
              [ "OperationTimeout", (fun (o: RedisStoreOptions) time -> o.OperationTimeout <- time)
                "WaitTimeout", (fun (o: RedisStoreOptions) time -> o.WaitTimeout <- time) ] do
              for time in [ TimeSpan.FromSeconds(-1L); TimeSpan.Zero; longest + tick ] do
                  let said = refusal (fun o -> set o time)
                  Expect.stringContains said $"RedisStoreOptions.{name}" $"{time}"

              for time in [ tick; longest ] do
                  Expect.equal (refusal (fun o -> set o time)) "taken" $"{name}: {time}"

          let negative = refusal (fun o -> o.WaitForReplicas <- -1)
          Expect.stringContains negative "RedisStoreOptions.WaitForReplicas" "fewer than none"
          Expect.equal (refusal (fun o -> o.KeyPrefix <- String('x', 100))) "taken" "the longest prefix"
          let long = refusal (fun o -> o.KeyPrefix <- String('x', 101))
          Expect.stringContains long "RedisStoreOptions.KeyPrefix" "a longer one"

          Expect.equal (refusal ignore) "taken" "what is right")
      testCaseTask "a connection that the application does not give is said to be missing" (fun () ->
          task {
              let! answer =
                  prepare (fun options ->
                      options.Connect <-
                          fun () ->
                              Task.FromResult<StackExchange.Redis.IConnectionMultiplexer>(Unchecked.defaultof<_>))

              refuses [ "RedisStoreOptions.Connect"; "null" ] answer
          }) ]

let private clocks =
    [ testCaseTask "a clock that is not that of the server's is told, ahead and behind" (fun () ->
          task {
              use server = startOne durable

              for hours, said in [ -1.0, "01:00:0"; 26.0, "1 days 0" ] do
                  use relay = wrongClock server (TimeSpan.FromHours hours)
                  let! answer = prepare (at $"127.0.0.1:{relay.Port}")

                  notes
                      [ said
                        (if hours < 0.0 then "ahead of that of Redis" else "behind that of Redis") ]
                      answer

              let! answer = prepare (at server.Address)
              Expect.equal answer (Ok []) "they agree"
          }) ]

let private sealedConnections =
    let waits (options: RedisStoreOptions) =
        options.WaitForReplicas <- 1
        options.WaitTimeout <- TimeSpan.FromMilliseconds 200L

    [ testCaseTask "mutual TLS by callbacks works with WaitForReplicas" (fun () ->
          task {
              use server = new TlsServer(durable)
              use _ = replicaOf server.Plain.Port
              use! admin = connect server.Plain.Address

              let mutable replicas = 0

              while replicas = 0 do
                  do! Task.Delay 50
                  let! text = admin.GetServer(server.Plain.Address).InfoRawAsync "replication"
                  replicas <- if (string text).Contains "state=online" then 1 else 0

              let options = RedisStoreOptions(ConfigurationOptions = server.Settings(), KeyPrefix = "tls:")
              waits options
              options.WaitTimeout <- TimeSpan.FromSeconds 2L
              use store = new RedisStore(options)
              let! report = (store :> ISessionStore).Prepare none
              Expect.isEmpty report.Notes "nothing is missing"
              let at = DateTimeOffset.UnixEpoch

              let record =
                  StoredRecord("a", 1L, RecordKind.Live, at, at.AddDays 1, "ann", 1L, ReadOnlyMemory [| 1uy |], true)

              let! written = (store :> ISessionStore).Insert(record, none)
              Expect.equal written WriteResult.Written "acknowledged by a replica"
          })
      testCaseTask
          "the application's own connection with callbacks, and WaitForReplicas: refused with the way out"
          (fun () ->
              task {
                  use server = new TlsServer(durable)
                  use! connection = ConnectionMultiplexer.ConnectAsync(server.Settings())

                  let! answer =
                      prepare (fun options ->
                          options.Connect <- fun () -> Task.FromResult(connection :> IConnectionMultiplexer)
                          waits options)

                  refuses [ "WaitForReplicas"; "ConfigurationOptions" ] answer

                  let! answer =
                      prepare (fun options ->
                          options.Connect <- fun () -> Task.FromResult(connection :> IConnectionMultiplexer)
                          options.ConfigurationOptions <- server.Settings()
                          waits options)

                  notes [ "WaitForReplicas is 1" ] answer
              }) ]

/// An application of this name, and the prefix of its sessions.
let private prefixOf (name: string) (configure: SessionBuilder -> SessionBuilder) =
    task {
        let services = ServiceCollection()

        services.AddSingleton<IHostEnvironment>(
            { new IHostEnvironment with
                member _.ApplicationName = name

                member _.ApplicationName
                    with set _ = ()

                member _.ContentRootPath = "/"

                member _.ContentRootPath
                    with set _ = ()

                member _.EnvironmentName = "Production"

                member _.EnvironmentName
                    with set _ = ()

                member _.ContentRootFileProvider = Microsoft.Extensions.FileProviders.NullFileProvider()

                member _.ContentRootFileProvider
                    with set _ = () }
        )
        |> ignore

        configure (SessionBuilder(services, typeof<string>)) |> ignore
        use provider = services.BuildServiceProvider()
        let store = provider.GetRequiredKeyedService<ISessionStore> typeof<string>
        let! report = store.Prepare none
        return report.Location
    }

let private prefixes =
    testCaseTask
        "two applications on one Redis do not see each other's sessions: the prefix has the application's name"
        (fun () ->
            task {
                let address = shared.Force().Address
                let! shop = prefixOf "Shop" _.UseRedis(address)
                let! board = prefixOf "Board" _.UseRedis(address)
                let! given = prefixOf "Shop" _.UseRedis(address, (fun options -> options.KeyPrefix <- "ours:"))
                let! nameless = prefixOf "" _.UseRedis(address)

                let! tickets =
                    prefixOf "Shop" (fun builder ->
                        SessionBuilder(builder.Services, builder.DataType, "ticket").UseRedis(address))

                // However it is said where they are.
                let settings = ConfigurationOptions.Parse(address + ",defaultDatabase=1")
                let! ofSettings = prefixOf "Shop" (fun builder -> builder.UseRedis settings)
                use! connection = connect (address + ",defaultDatabase=2")
                let own = connection :> IConnectionMultiplexer
                let! ofConnection = prefixOf "Shop" (fun builder -> builder.UseRedis own)

                let! ofRegistered =
                    prefixOf "Shop" (fun builder ->
                        builder.Services.AddSingleton<IConnectionMultiplexer>(own) |> ignore
                        builder.UseRedis())

                Expect.stringEnds ofSettings "/1/session:Shop:" "by the driver's settings"
                Expect.stringEnds ofConnection "/2/session:Shop:" "by a connection"
                Expect.stringEnds ofRegistered "/2/session:Shop:" "by a connection that is registered"
                Expect.isTrue own.IsConnected "which stays open"
                Expect.stringEnds tickets "/0/ticket:Shop:" "of its tickets"
                Expect.stringEnds shop "/0/session:Shop:" "of the one"
                Expect.stringEnds board "/0/session:Board:" "of the other"
                Expect.stringEnds given "/0/ours:" "as it is told"
                Expect.stringEnds nameless "/0/session:" "without a name"
            })

let all =
    testList
        "Redis at start"
        [ testList "causes" causes
          testList "rights" rights
          testList "clocks" clocks
          testList "slips" slips
          testList "sealed connections" sealedConnections
          prefixes ]
