/// Behind Sentinel: an old primary that comes back takes nothing back, whatever had happened to it.
module Integration.RedisSentinel

open System
open System.Collections.Concurrent
open System.Diagnostics
open System.Net.Http
open System.Threading
open System.Threading.Tasks
open Expecto
open Integration.RedisFleet
open Integration.World
open Session.Engine
open Session.Stores.Redis

/// SESSION_SENTINEL_ROUNDS: how many failovers of each kind. SESSION_LONG=1: 20.
let private rounds few =
    match Environment.GetEnvironmentVariable "SESSION_SENTINEL_ROUNDS" with
    | null
    | "" -> if String.IsNullOrEmpty(Environment.GetEnvironmentVariable "SESSION_LONG") then few else 20
    | text -> int text

/// Something that nobody may see, and when that was acknowledged which it undoes.
type private Wrong = { What: string; Of: int64 }

/// A session, and when its sign-in, or its logout, was acknowledged.
type private Known = { Token: string; At: int64 }

/// What the clients of a few users saw.
type private Seen =
    { LoggedOut: ConcurrentQueue<Known>
      Kept: ConcurrentQueue<Known>
      Undone: ConcurrentQueue<Wrong>
      Replaced: ConcurrentQueue<Wrong>
      Odd: ConcurrentQueue<Wrong>
      Unavailable: ConcurrentQueue<int> }

let private nothing () =
    { LoggedOut = ConcurrentQueue()
      Kept = ConcurrentQueue()
      Undone = ConcurrentQueue()
      Replaced = ConcurrentQueue()
      Odd = ConcurrentQueue()
      Unavailable = ConcurrentQueue() }

let private known token = { Token = token; At = Stopwatch.GetTimestamp() }

/// Of one answer to the bearer of a session that lives.
let private look (seen: Seen) (what: string) (session: Known) (answer: Http.Answer) =
    if answer.Status = 503 then
        seen.Unavailable.Enqueue answer.Status
    elif answer.Status <> 200 then
        seen.Odd.Enqueue { What = $"{what}: {answer.Status}"; Of = session.At }

    for line in answer.SetCookies do
        let value = (Http.parseSetCookie line).Value

        if value = "" || Http.idOf value <> Http.idOf session.Token then
            seen.Replaced.Enqueue { What = $"{what}: {answer.Status} {line}"; Of = session.At }

/// One browser after the other: signs in, fills a cart on both nodes, and logs out on one; the other has to know at once.
let private client (seen: Seen) (nodes: World array) (name: string) (isOver: CancellationToken) =
    task {
        let mutable i = 0

        let unavailable what status =
            seen.Unavailable.Enqueue status

            if status <> 503 then
                // Nothing that was acknowledged can have been the cause of it.
                seen.Odd.Enqueue { What = $"{what}: {status}"; Of = Int64.MinValue }

        while not isOver.IsCancellationRequested do
            i <- i + 1
            let node k = nodes[(i + k) % nodes.Length]
            let! first = (node 0).Post $"/login?user={name}-{i}"

            if first.Status <> 200 then
                unavailable "sign-in" first.Status
                do! Task.Delay 20
            else
                let session = known (Http.token first)

                for k in 1..3 do
                    let! answer = (node k).Post($"/cart/{k}", session.Token)
                    look seen "update" session answer
                    let! answer = (node (k + 1)).Get("/profile", session.Token)
                    look seen "read" session answer

                if i % 4 = 0 then
                    seen.Kept.Enqueue session
                else
                    let! ended = (node 0).Post("/logout", session.Token)

                    if ended.Status <> 200 then
                        unavailable "logout" ended.Status
                    else
                        let ended = known session.Token
                        seen.LoggedOut.Enqueue ended
                        let! after = (node 1).Get("/profile", session.Token)

                        if after.Status = 200 then
                            seen.Undone.Enqueue { What = "at once"; Of = ended.At }
                        elif after.Status <> 401 && after.Status <> 503 then
                            unavailable "after the logout" after.Status
    }

/// The status that a token leads to, once it can be said.
let private truth (node: World) (session: Known) =
    task {
        let clock = Stopwatch.StartNew()
        let mutable status = 503

        while status = 503 && clock.Elapsed < TimeSpan.FromSeconds 20L do
            let! found = node.Profile session.Token
            status <- found

            if status = 503 then
                do! Task.Delay 50

        return status
    }

let private openAt (fleet: Fleet) prefix replicas =
    openRedisAt (fleet.Configuration + ",connectTimeout=1000") prefix (fun options ->
        options.WaitForReplicas <- replicas
        options.OperationTimeout <- TimeSpan.FromSeconds 1L)

/// The longest time without an acknowledged logout.
let private silence (loggedOut: seq<Known>) =
    loggedOut
    |> Seq.map _.At
    |> Seq.sort
    |> Seq.pairwise
    |> Seq.map Stopwatch.GetElapsedTime
    |> Seq.fold max TimeSpan.Zero

/// An old primary goes away and comes back. With as many replicas waited for as there are, nothing that was acknowledged
/// is undone. With fewer, the one that is promoted may be the one that has not got the last of it, and a Sentinel knows of a
/// replica what it said in the last five seconds: nothing that is older is undone, and nothing that came afterwards.
let private comesBack (waitsFor: int) few (name: string) (away: Member -> unit) (back: Member -> unit) =
    let what = $"""{name.Split(" takes")[0]}, {waitsFor} of 2 replicas waited for"""

    testCaseTask name (fun () ->
        task {
            use fleet = new Fleet()
            do! fleet.Settled()
            let prefix = "returns:"
            let stores = [| for _ in 1..2 -> openAt fleet prefix waitsFor |]
            let! nodes = [| for store in stores -> start store ignore |] |> Task.WhenAll
            let seen = nothing ()
            // From five seconds before the old primary goes away until another one is named.
            let moments = ConcurrentQueue<struct (int64 * int64)>()

            for round in 1 .. rounds few do
                let before = seen.LoggedOut.Count
                use isOver = new CancellationTokenSource()

                let running =
                    [ for n in 1..6 -> Task.Run<unit>(fun () -> client seen nodes $"{round}-{n}" isOver.Token) ]

                do! eventually "logouts" (fun () -> seen.LoggedOut.Count > before + 10)
                let! primary = fleet.Named()
                let clock = Stopwatch.StartNew()
                let momentBefore = Stopwatch.GetTimestamp() - 5L * Stopwatch.Frequency
                away primary.Value
                do! fleet.FailedOver primary.Value
                let failover = clock.Elapsed
                moments.Enqueue(struct (momentBefore, Stopwatch.GetTimestamp()))
                // Work goes on with the new primary, and then the old one is there again.
                do! Task.Delay 500
                back primary.Value
                do! Task.Delay 3000
                do! fleet.Settled()
                let whole = clock.Elapsed
                do! Task.Delay 500
                isOver.Cancel()
                let! _ = Task.WhenAll running
                let quiet = silence (Seq.skip before seen.LoggedOut)

                printfn
                    "%s, round %d: failover %.1f s, all there after %.1f s, longest silence %.1f s, %d logouts so far, %d undone, %d cookies replaced, %d times 503"
                    what
                    round
                    failover.TotalSeconds
                    whole.TotalSeconds
                    quiet.TotalSeconds
                    seen.LoggedOut.Count
                    seen.Undone.Count
                    seen.Replaced.Count
                    seen.Unavailable.Count

                // Where both replicas have to have it, the old primary has to be one of them first.
                let limit = (if waitsFor = 2 then whole else failover) + TimeSpan.FromSeconds 3L
                Expect.isLessThan quiet limit "logouts go through again soon"

            for session in seen.LoggedOut do
                let! status = truth nodes[0] session

                if status <> 401 then
                    seen.Undone.Enqueue { What = $"in the end: {status}"; Of = session.At }

            for session in seen.Kept do
                let! status = truth nodes[1] session

                if status <> 200 then
                    seen.Odd.Enqueue { What = $"a session that was kept: {status}"; Of = session.At }

            printfn
                "%s: %d logouts, %d undone, %d cookies replaced, %d odd"
                what
                seen.LoggedOut.Count
                seen.Undone.Count
                seen.Replaced.Count
                seen.Odd.Count

            let isPromised (wrong: Wrong) =
                waitsFor = 2
                || not (moments |> Seq.exists (fun (struct (first, last)) -> wrong.Of >= first && wrong.Of <= last))

            let broken (all: seq<Wrong>) = all |> Seq.filter isPromised |> Seq.truncate 5
            let clockOf (at: int64) = DateTime.UtcNow - Stopwatch.GetElapsedTime(max 0L at)

            if [ seen.Undone; seen.Replaced; seen.Odd ] |> List.exists (isPromised |> Seq.exists) then
                for struct (first, last) in moments do
                    printfn
                        "from five seconds before a primary went away until another one was named: %O to %O"
                        (clockOf first).TimeOfDay
                        (clockOf last).TimeOfDay

                for wrong in Seq.concat [ seen.Undone; seen.Replaced; seen.Odd ] do
                    printfn "%O %s" (clockOf wrong.Of).TimeOfDay wrong.What

                for line in fleet.Heard do
                    printfn "%s" line

            Expect.isEmpty (broken seen.Undone) "no logout is undone"
            Expect.isEmpty (broken seen.Replaced) "no cookie is replaced"
            Expect.isEmpty (broken seen.Odd) "nothing but 200, 401 after the end, and 503"

            for node in nodes do
                do! stop node

            for store in stores do
                do! (store :> IAsyncDisposable).DisposeAsync()
        })

let private killed: Member -> unit = _.Server.Kill()
let private started: Member -> unit = _.Server.Start()
let private stopped: Member -> unit = _.Server.Freeze()
let private goesOn: Member -> unit = _.Server.Thaw()
let private cutOff: Member -> unit = _.Fence.Cut()
let private joined: Member -> unit = _.Fence.Heal()

let private returns =
    [ comesBack
          2
          1
          "an old primary that was killed and is started again takes nothing back: no logout is undone, no cookie replaced"
          killed
          started
      comesBack
          2
          1
          "an old primary that was stopped and goes on takes nothing back: no logout is undone, no cookie replaced"
          stopped
          goesOn
      comesBack
          2
          1
          "an old primary that was cut off and is joined again takes nothing back: no logout is undone, no cookie replaced"
          cutOff
          joined
      comesBack
          1
          2
          "an old primary that was killed and is started again takes back its last seconds at most, where one replica of two is waited for"
          killed
          started
      comesBack
          1
          2
          "an old primary that was stopped and goes on takes back its last seconds at most, where one replica of two is waited for"
          stopped
          goesOn
      comesBack
          1
          2
          "an old primary that was cut off and is joined again takes back its last seconds at most, where one replica of two is waited for"
          cutOff
          joined ]

/// One Sentinel, behind a proxy, which names whichever server it is told. `epoch`: that of the failover which it has heard of.
/// `host`: the address at which it knows the servers.
[<Sealed>]
type private Naming(first: RedisServer.RedisServer, epoch: int64, host: string) =
    let folder = IO.Directory.CreateTempSubdirectory("session-naming-").FullName
    let port = RedisServer.freePort ()
    let file = IO.Path.Combine(folder, "sentinel.conf")

    let monitor (server: RedisServer.RedisServer) = [ "monitor"; "sessions"; host; string server.Port; "1" ]

    do
        let lines =
            [ $"port {port}"
              "bind 127.0.0.1"
              $"dir {folder}"
              "sentinel " + String.Join(' ', monitor first)
              $"sentinel config-epoch sessions {epoch}" ]

        IO.File.WriteAllLines(file, lines)

    let running = RedisServer.launch "redis-sentinel" [ file ]
    let fence = new Partition(port)

    let told (words: string list) =
        use cli =
            nonNull (
                Process.Start(
                    ProcessStartInfo(
                        "redis-cli",
                        [ "-p"; string port; "sentinel" ] @ words,
                        RedirectStandardOutput = true
                    )
                )
            )

        let answer = cli.StandardOutput.ReadToEnd().Trim()
        cli.WaitForExit()
        answer

    new(first, epoch: int64) = new Naming(first, epoch, "127.0.0.1")
    new(first) = new Naming(first, 0L, "127.0.0.1")
    member _.Fence = fence
    member _.Configuration = $"127.0.0.1:{fence.Port},serviceName=sessions"
    member _.IsUp = (told [ "get-master-addr-by-name"; "sessions" ]).Contains host

    /// From now on it names this one.
    member _.Name(server: RedisServer.RedisServer) =
        for words in [ [ "remove"; "sessions" ]; monitor server ] do
            Expect.equal (told words) "OK" "the Sentinel does as it is told"

    /// Whoever asks it is refused at once.
    member _.Stop() =
        running.Kill()
        running.WaitForExit()

    interface IDisposable with
        member naming.Dispose() =
            (fence :> IDisposable).Dispose()
            naming.Stop()
            running.Dispose()
            IO.Directory.Delete(folder, true)

/// The node goes on with a primary for as long as what the Sentinels have said of it is good. What it writes there meanwhile
/// may be lost with it.
let private namedMeanwhile =
    let none = CancellationToken.None
    let at = DateTimeOffset.UtcNow

    let record version kind isDurable =
        StoredRecord("a", version, kind, at, at.AddDays 1, "ann", version, ReadOnlyMemory [| 1uy |], isDurable)

    let logout (store: ISessionStore) = store.Replace(record 2L RecordKind.Ended true, 1L, none).AsTask()
    let signIn (store: ISessionStore) = store.Insert(record 1L RecordKind.Live true, none).AsTask()

    let pages (page: ValueTask<StoredPage>) =
        task {
            let! page = page
            return page.Records.Count
        }

    let bySubject (store: ISessionStore) = pages (store.BySubject("ann", null, 10, none))
    let enumerate (store: ISessionStore) = pages (store.Enumerate(null, 10, none))

    /// One of them is there: that some are found says nothing of those that are not.
    let several (store: ISessionStore) =
        task {
            let! found = (store :?> IReadsMany).LoadMany([| "a"; "b" |], none)
            return found.Count
        }

    /// As if that were a list: one answer, that there is no such session.
    let absent (store: ISessionStore) =
        task {
            let! found = store.Load("b", none)
            return if isNull found then 1 else 0
        }

    [ for what, isThere, write in [ "a sign-in", false, signIn; "a logout", true, logout ] do
          // What they said before is good for three seconds to send something. A failover may be under way already.
          // In the midst of a round, whoever asks waits for the next one.
          for how, since in [ "is gone", 0; "is silent", 0; "is silent", 500; "is silent", 4000 ] do
              testCaseTask
                  $"{what} that the primary took, {since} ms after the last Sentinel {how}, is not acknowledged"
                  (fun () ->
                      task {
                          use server = RedisServer.startOne []
                          use naming = new Naming(server)
                          do! eventually "the Sentinel" (fun () -> naming.IsUp)

                          use redis =
                              openRedisAt naming.Configuration "silent:" (fun options ->
                                  options.OperationTimeout <- TimeSpan.FromSeconds 1L)

                          let store = redis :> ISessionStore

                          if isThere then
                              let! _ = store.Insert(record 1L RecordKind.Live false, none)
                              ()

                          let! _ = store.Load("a", none)

                          if how = "is gone" then naming.Stop() else naming.Fence.Cut()

                          do! Task.Delay since

                          let! answer =
                              task {
                                  try
                                      let! written = write store
                                      return string written
                                  with error ->
                                      return error.GetType().Name
                              }

                          Expect.notEqual answer "Written" "nobody says that it is the primary still"
                      })

      for what, listing in
          [ "of a subject", bySubject
            "of all", enumerate
            "of several open sessions", several
            "of one session that is not there", absent ] do
          testCaseTask
              $"a list {what} that the old primary gave, when another one was named already, is no list"
              (fun () ->
                  task {
                      use old = RedisServer.startOne []
                      use next = RedisServer.startOne []
                      use naming = new Naming(old)
                      do! eventually "the Sentinel" (fun () -> naming.IsUp)
                      use redis = openRedisAt naming.Configuration "listed:" ignore
                      let store = redis :> ISessionStore
                      let! _ = signIn store
                      let! before = listing store
                      Expect.equal before 1 "while it is the primary"
                      naming.Fence.Cut()
                      naming.Name next
                      let asking = listing store
                      // The old one has answered long ago.
                      do! Task.Delay 200
                      naming.Fence.Heal()

                      let! answer =
                          task {
                              try
                                  let! count = asking
                                  return $"a list of {count}"
                              with error ->
                                  return error.GetType().Name
                          }

                      Expect.equal
                          answer
                          "PrimaryUnknownException"
                          "who logs out everywhere may have signed in elsewhere"
                  })

      for what, isThere, write in [ "a sign-in", false, signIn; "a logout", true, logout ] do
          testCaseTask
              $"{what} that the old primary took, when another one was named already, is not acknowledged"
              (fun () ->
                  task {
                      use old = RedisServer.startOne []
                      use next = RedisServer.startOne []
                      use naming = new Naming(old)
                      do! eventually "the Sentinel" (fun () -> naming.IsUp)
                      use redis = openRedisAt naming.Configuration "named:" ignore
                      let store = redis :> ISessionStore

                      if isThere then
                          let! _ = store.Insert(record 1L RecordKind.Live false, none)
                          ()

                      let! found = store.Load("a", none)
                      Expect.equal (not (isNull found)) isThere "before"
                      use direct = openRedisAt old.Address "named:" ignore
                      let! _ = (direct :> ISessionStore).Load("a", none)
                      // What it says next comes too late for the write, and in time for its answer.
                      naming.Fence.Cut()
                      naming.Name next
                      let writing = write store

                      let wanted = if isThere then 2L else 1L
                      let mutable taken = 0L
                      let mutable tries = 0

                      while taken < wanted && tries < 1000 do
                          tries <- tries + 1
                          let! found = (direct :> ISessionStore).Load("a", none)
                          taken <- found |> Option.ofObj |> Option.map _.Version |> Option.defaultValue 0L

                      Expect.equal taken wanted "the old one has taken it"
                      naming.Fence.Heal()
                      let! written = writing
                      Expect.equal written WriteResult.Unacknowledged "what is said of it"
                  }) ]

/// Whoever listens moves to the new primary with the next look.
let private listeners =
    let none = CancellationToken.None

    let ask (server: RedisServer.RedisServer) (command: string) (words: obj array) =
        task {
            use! admin = RedisServer.connect server.Address
            return! admin.GetServer(server.Address).ExecuteAsync(command, words)
        }

    let look (redis: RedisStore) =
        task {
            try
                let! found = (redis :> IReadsMany).LoadMany([| "a"; "b" |], none)
                return found.Count
            with
            // Until the Sentinel has named it.
            | :? StackExchange.Redis.RedisException
            | :? TimeoutException
            | :? OperationCanceledException
            | :? ObjectDisposedException -> return 0
        }

    /// Which is stored by another node.
    let store (server: RedisServer.RedisServer) prefix =
        task {
            use direct = openRedisAt server.Address prefix ignore
            let at = DateTimeOffset.UtcNow

            let record = StoredRecord("a", 1L, RecordKind.Live, at, at.AddDays 1, null, 1L, ReadOnlyMemory [| 1uy |])

            let! _ = (direct :> ISessionStore).Insert(record, none)
            ()
        }

    let said (redis: RedisStore) (id: string) = (redis :> ISessionSignals).Publish([| id |], none).AsTask()

    [ testCaseTask "several looks at once after a failover: each notice is heard once, and then no more" (fun () ->
          task {
              use old = RedisServer.startOne []
              use next = RedisServer.startOne []
              use naming = new Naming(old)
              do! eventually "the Sentinel" (fun () -> naming.IsUp)
              use redis = openRedisAt naming.Configuration "twice:" ignore
              let! heard, subscription = Live.listen redis
              do! store next "twice:"
              use isOver = new CancellationTokenSource()

              let looks () =
                  task {
                      let mutable most = 0

                      while not isOver.IsCancellationRequested do
                          let! found = look redis
                          most <- max most found

                      return most
                  }

              let looking = [ for _ in 1..16 -> Task.Run<int>(fun () -> looks ()) ]
              naming.Name next
              do! Task.Delay 3000
              isOver.Cancel()
              let! found = Task.WhenAll looking
              Expect.equal (Array.max found) 1 "the new primary is asked"
              do! said redis "first"
              do! eventually "the notice" (fun () -> Seq.contains "first" heard)
              // A second one would be there by now.
              do! Task.Delay 300
              Expect.equal (Seq.length (Seq.filter ((=) "first") heard)) 1 "once"
              do! subscription.DisposeAsync()
              let! left = ask next "PUBSUB" [| "NUMSUB"; "twice:ended" |]
              let count: int = StackExchange.Redis.RedisResult.op_Explicit left[1]
              Expect.equal count 0 "nobody listens any more"
          })

      testCaseTask
          "whoever listens while sessions move to Redis, or from it, moves to the new primary as well"
          (fun () ->
              task {
                  for what in [ "to"; "from" ] do
                      use old = RedisServer.startOne []
                      use next = RedisServer.startOne []
                      use naming = new Naming(old)
                      do! eventually "the Sentinel" (fun () -> naming.IsUp)
                      use redis = openRedisAt naming.Configuration "move:" ignore
                      let other = MemoryStore() :> ISessionStore

                      let ours = redis :> ISessionStore
                      let target, source = if what = "to" then (ours, other) else (other, ours)
                      let moving = MigratingStore(target, source) :> ISessionStore
                      let! heard, subscription = Live.listen moving
                      do! said redis "first"
                      do! eventually $"{what}: a notice" (fun () -> Seq.contains "first" heard)
                      do! store next "move:"
                      naming.Name next
                      let clock = Stopwatch.StartNew()

                      // As each node with open connections does, every LiveCheck.
                      while not (Seq.contains "second" heard) && clock.Elapsed < TimeSpan.FromSeconds 15L do
                          try
                              let! _ = SessionStore.loadMany moving [| "a"; "b" |] none
                              do! said redis "second"
                          with
                          | :? StackExchange.Redis.RedisException
                          | :? TimeoutException
                          | :? OperationCanceledException
                          | :? ObjectDisposedException -> ()

                          do! Task.Delay 100

                      Expect.isTrue (Seq.contains "second" heard) $"{what}: heard from the new primary"
                      do! subscription.DisposeAsync()
              })

      testCaseTask "a new primary where nobody may listen: looks go on, and hear as soon as they may" (fun () ->
          task {
              use old = RedisServer.startOne []
              use next = RedisServer.startOne []
              use naming = new Naming(old)
              do! eventually "the Sentinel" (fun () -> naming.IsUp)
              use redis = openRedisAt naming.Configuration "mute:" ignore
              let! heard, subscription = Live.listen redis
              do! store next "mute:"
              let! _ = ask next "ACL" [| "SETUSER"; "default"; "-subscribe" |]
              naming.Name next
              let clock = Stopwatch.StartNew()
              let mutable found = 0

              while found = 0 && clock.Elapsed < TimeSpan.FromSeconds 15L do
                  let! now = look redis
                  found <- now

                  if found = 0 then
                      do! Task.Delay 100

              Expect.equal found 1 "many are read by one command all the same"
              do! said redis "unheard"
              let! _ = ask next "ACL" [| "SETUSER"; "default"; "+subscribe" |]
              let! _ = look redis
              do! said redis "heard"
              do! eventually "the notice" (fun () -> Seq.contains "heard" heard)
              Expect.isFalse (Seq.contains "unheard" heard) "until then it could not"
              do! subscription.DisposeAsync()
          }) ]

/// At the end of a failover one of them knows the new primary, with a newer epoch, and the others do not yet. One that has
/// stood still for a while knows an old one, with an older epoch.
let private disagreeing =
    testCaseTask
        "one Sentinel of three is not believed where it is behind; where it knows a newer primary, neither are the others"
        (fun () ->
            task {
                for epoch, isNewer in [ 7L, true; 2L, false ] do
                    use old = RedisServer.startOne []
                    use next = RedisServer.startOne []
                    use first = new Naming(old, 3L)
                    use second = new Naming(old, 3L)
                    use third = new Naming(next, epoch)
                    let all = [ first; second; third ]
                    do! eventually "the Sentinels" (fun () -> all |> List.forall _.IsUp)
                    let places = String.Join(",", [ for one in all -> $"127.0.0.1:{one.Fence.Port}" ])
                    use redis = openRedisAt $"{places},serviceName=sessions" "disagreeing:" ignore
                    let store = redis :> ISessionStore

                    let answer () =
                        try
                            store.Load("a", CancellationToken.None).AsTask().GetAwaiter().GetResult() |> ignore
                            "an answer"
                        with error ->
                            error.GetType().Name

                    let wanted = if isNewer then "PrimaryUnknownException" else "an answer"
                    // A moment after two of them have answered the third one is not waited for any more.
                    do! eventually $"{epoch}: {wanted}" (fun () -> answer () = wanted)
            })

/// The driver goes on to look for a server that it was led to, twice a second, for as long as the connection is there.
let private left =
    testCaseTask
        "no connection leads to the old primary, when another one was named already, whether replicas are waited for or not"
        (fun () ->
            task {
                for replicas in [ 0; 1 ] do
                    use old = RedisServer.startOne []
                    use next = RedisServer.startOne []
                    use naming = new Naming(old)
                    do! eventually "the Sentinel" (fun () -> naming.IsUp)
                    let name = $"leaving-{replicas}"

                    use redis =
                        openRedisAt $"{naming.Configuration},name={name}" "left:" (fun options ->
                            options.WaitForReplicas <- replicas)

                    let! _ = (redis :> ISessionStore).Load("a", CancellationToken.None)
                    use! ofOld = RedisServer.connect old.Address
                    use! ofNext = RedisServer.connect next.Address

                    let isLedTo (server: RedisServer.RedisServer) (admin: StackExchange.Redis.ConnectionMultiplexer) =
                        (string (admin.GetServer(server.Address).Execute("CLIENT", "LIST"))).Contains $" name={name} "

                    Expect.isTrue (isLedTo old ofOld) "while it is the primary"
                    naming.Name next
                    do! eventually $"{replicas}: a connection to the new one" (fun () -> isLedTo next ofNext)
                    do! eventually $"{replicas}: none to the old one" (fun () -> not (isLedTo old ofOld))
            })

/// What the Sentinels have said is good for three seconds, and not after a failure: it may be another one since.
let private doubted =
    testCaseTask "after a failure nothing is asked of a primary before the Sentinels have named it again" (fun () ->
        task {
            let none = CancellationToken.None
            use server = RedisServer.startOne []
            use naming = new Naming(server)
            do! eventually "the Sentinel" (fun () -> naming.IsUp)

            use redis =
                openRedisAt naming.Configuration "doubted:" (fun options ->
                    options.OperationTimeout <- TimeSpan.FromMilliseconds 500L)

            use direct = openRedisAt server.Address "doubted:" ignore
            let at = DateTimeOffset.UtcNow
            let record = StoredRecord("a", 1L, RecordKind.Live, at, at.AddDays 1, null, 1L, ReadOnlyMemory [| 1uy |])
            let! _ = (direct :> ISessionStore).Insert(record, none)

            let isAnswered () =
                task {
                    try
                        let! found = (redis :> ISessionStore).Load("a", none)
                        return not (isNull found)
                    with
                    | :? StackExchange.Redis.RedisException
                    | :? TimeoutException -> return false
                }

            do! eventually "an answer" (fun () -> (isAnswered ()).GetAwaiter().GetResult())
            naming.Fence.Cut()
            server.Freeze()
            let! meanwhile = isAnswered ()
            Expect.isFalse meanwhile "the failure"
            server.Thaw()

            for _ in 1..2 do
                let! after = isAnswered ()
                Expect.isFalse after "nobody says that it is the primary still"
                do! Task.Delay 50

            naming.Fence.Heal()
            do! eventually "an answer once more" (fun () -> (isAnswered ()).GetAwaiter().GetResult())
        })

/// A system may know IPv6 and have no such address, as in many containers.
let private hasIPv6 () =
    try
        use listener = new Net.Sockets.TcpListener(Net.IPAddress.IPv6Loopback, 0)
        listener.Start()
        true
    with :? Net.Sockets.SocketException ->
        false

/// An IPv6 address has colons of its own, and Sentinels say it without brackets.
let private ofIPv6 =
    testCaseTask "a primary that the Sentinels name by an IPv6 address is found, and so is the next one" (fun () ->
        task {
            if not (hasIPv6 ()) then
                skiptest "there is no IPv6 here"

            let none = CancellationToken.None
            let onBoth = [ "bind", "127.0.0.1 ::1" ]
            use first = RedisServer.startOne onBoth
            use next = RedisServer.startOne onBoth
            use naming = new Naming(first, 0L, "::1")
            do! eventually "the Sentinel" (fun () -> naming.IsUp)

            for replicas in [ 0; 1 ] do
                use redis =
                    openRedisAt naming.Configuration $"six-{replicas}:" (fun options ->
                        options.WaitForReplicas <- replicas)

                let store = redis :> ISessionStore
                let! report = store.Prepare none
                Expect.isFalse (report.Notes |> Seq.exists _.Contains("503 until")) "the primary is reached"
                let at = DateTimeOffset.UtcNow

                let body = ReadOnlyMemory [| 1uy |]
                let record = StoredRecord("a", 1L, RecordKind.Live, at, at.AddDays 1, "ann", 1L, body, true)
                let! written = store.Insert(record, none)
                let wanted = if replicas = 0 then WriteResult.Written else WriteResult.Unacknowledged
                Expect.equal written wanted "a sign-in"
                let! found = store.Load("a", none)
                Expect.isNotNull found "it is there"
                naming.Name next

                let isAtNext () =
                    try
                        isNull (store.Load("a", none).AsTask().GetAwaiter().GetResult())
                    with
                    | :? StackExchange.Redis.RedisException
                    | :? TimeoutException
                    | :? OperationCanceledException
                    | :? ObjectDisposedException -> false

                do! eventually "the next one" isAtNext
                naming.Name first
        })

let all =
    testList "Redis behind Sentinel" (returns @ namedMeanwhile @ listeners @ [ disagreeing; left; doubted; ofIPv6 ])
