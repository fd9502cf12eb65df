/// The Redis store on real servers: what it costs, what it survives, and what it says at start.
module Integration.Redis

open System
open System.Collections.Concurrent
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.Extensions.DependencyInjection
open StackExchange.Redis
open Integration.Engines
open Integration.RedisServer
open Integration.World
open Integration.RedisWorld
open Integration.RedisLoad
open Integration.RedisWrites
open Integration.RedisWaits
open Integration.RedisIndexes
open Integration.RedisSweeps
open Session.Domain
open Session.Engine
open Session.Stores.Redis

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
