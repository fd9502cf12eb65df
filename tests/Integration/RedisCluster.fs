/// In a Cluster an old primary that goes on is asked by a node that has heard of nothing: what it does not know is no answer.
module Integration.RedisCluster

open System
open System.Diagnostics
open System.Net
open System.Threading
open System.Threading.Tasks
open Expecto
open StackExchange.Redis
open Integration.RedisServer
open Integration.World
open Session.Engine

let private none = CancellationToken.None

let private record id subject =
    let at = DateTimeOffset.UtcNow
    let body = ReadOnlyMemory [| 1uy |]
    StoredRecord(id, 1L, RecordKind.Live, at, at.AddDays 1, subject, Random.Shared.NextInt64(), body, true)

/// What came of a question, once it is answered.
let private answerOf (asking: Task<'answer>) =
    task {
        try
            let! answer = asking
            return Ok answer
        with
        | :? StoreRefusedException
        | :? RedisException
        | :? TimeoutException as error -> return Error error.Message
    }

/// Until it is stored: the new primary has to be there first.
let private insertOnce (store: ISessionStore) (record: StoredRecord) =
    task {
        let clock = Stopwatch.StartNew()
        let mutable isWritten = false

        while not isWritten do
            if clock.Elapsed > TimeSpan.FromSeconds 25L then
                failtest "the cluster has no new primary"

            match! answerOf (store.Insert(record, none).AsTask()) with
            | Ok WriteResult.Written
            | Ok WriteResult.Unacknowledged
            | Ok WriteResult.Conflict -> isWritten <- true
            | Ok _
            | Error _ -> do! Task.Delay 100
    }

let private rounds = if String.IsNullOrEmpty(Environment.GetEnvironmentVariable "SESSION_LONG") then 2 else 20

let private takesNothingBack =
    testCaseTask
        "Cluster: a primary that stands still under load, and goes on when another has its place, takes nothing back"
        (fun () ->
            task {
                use cluster = new RedisCluster(1500)
                cluster.Start()

                let store =
                    openRedisAt (cluster.Addresses + ",connectRetry=3,connectTimeout=1000") "still:" (fun o ->
                        o.WaitForReplicas <- 1
                        o.OperationTimeout <- TimeSpan.FromSeconds 1L)

                let! engine, loggedOut, kept, failures, silence =
                    RedisLoad.underLoad store (fun () ->
                        task {
                            for round in 1..rounds do
                                let old = (List.filter isPrimary cluster.Nodes)[round % 3]
                                let! took = failOver cluster.Nodes old.Freeze

                                printfn
                                    "Cluster, a primary stands still, round %d: a new one after %.1f s"
                                    round
                                    took.TotalSeconds

                                do! Task.Delay 1000
                                old.Thaw()
                                do! follows old
                                // Until it has all that the new one has, and can be the next.
                                do! Task.Delay 2000
                        })

                Expect.isNonEmpty loggedOut "logouts"
                Expect.all failures Engines.isUnavailable "errors are 503"
                let! undead = RedisLoad.judge engine loggedOut
                let! alive = RedisLoad.judge engine kept

                printfn
                    "Cluster, %d primaries stood still: %d acknowledged logouts, %d undone; %d sessions kept, %d lost; no logout was acknowledged for %.1f s; %d requests got 503"
                    rounds
                    loggedOut.Length
                    undead
                    kept.Length
                    (kept.Length - alive)
                    silence.TotalSeconds
                    failures.Length

                Expect.equal undead 0 "no logout is undone"
                Expect.equal alive kept.Length "and nobody is logged out"
                do! (store :> IAsyncDisposable).DisposeAsync()
            })

let private saysNothingWrong =
    testCaseTask
        "Cluster: an old primary that goes on says of no session that it is not there, and leaves none out of a list"
        (fun () ->
            task {
                use cluster = new RedisCluster(1500)
                cluster.Start()
                let old = cluster.Nodes.Head
                let prefix = "returns:"
                // It has asked before the failover, and waits for the answer.
                use patient =
                    openRedisAt cluster.Addresses prefix (fun o -> o.OperationTimeout <- TimeSpan.FromSeconds 30L)

                use other =
                    openRedisAt cluster.Addresses prefix (fun o -> o.OperationTimeout <- TimeSpan.FromSeconds 1L)

                let asking, writing = (patient :> ISessionStore), (other :> ISessionStore)
                let! _ = asking.Prepare none
                let! _ = writing.Prepare none
                use! admin = connect cluster.Addresses

                let isOld (key: string) =
                    match admin.GetServer(RedisKey key, flags = CommandFlags.DemandMaster).EndPoint with
                    | :? IPEndPoint as place -> place.Port = old.Port
                    | _ -> false

                let ids =
                    Seq.initInfinite (fun n -> $"session-{n}")
                    |> Seq.filter (fun id -> isOld $"{prefix}r:{id}")
                    |> Seq.truncate 20
                    |> List.ofSeq

                let subjects =
                    Seq.initInfinite (fun n -> $"user-{n}")
                    |> Seq.filter (fun subject -> isOld $"{prefix}s:{subject}")
                    |> Seq.truncate 20
                    |> List.ofSeq

                old.Freeze()
                let loads = [ for id in ids -> asking.Load(id, none).AsTask() |> answerOf ]

                let lists =
                    [ for subject in subjects -> asking.BySubject(subject, null, 10, none).AsTask() |> answerOf ]

                for id, subject in List.zip ids subjects do
                    do! insertOnce writing (record id subject)

                old.Thaw()
                let! loaded = Task.WhenAll loads
                let! listed = Task.WhenAll lists

                let missing =
                    loaded
                    |> Array.filter (fun answer ->
                        match answer with
                        | Ok found -> isNull found
                        | Error _ -> false)

                let empty =
                    listed
                    |> Array.filter (fun answer ->
                        match answer with
                        | Ok page -> page.Records.Count = 0
                        | Error _ -> false)

                let unsure =
                    Seq.length (Seq.filter Result.isError loaded) + Seq.length (Seq.filter Result.isError listed)

                printfn
                    "Cluster, an old primary goes on: of %d loads %d found nothing, of %d lists %d were empty, %d answers are 503"
                    loaded.Length
                    missing.Length
                    listed.Length
                    empty.Length
                    unsure

                Expect.equal missing.Length 0 "no session is said not to exist"
                Expect.equal empty.Length 0 "and none is left out of a list"

                // And afterwards all are there.
                for id in ids do
                    let! found = asking.Load(id, none)
                    Expect.isNotNull found id
            })

/// Of an even number. There are no replicas, and nobody is given up in that time: who is not cut off goes on.
let private halfIsNotMost =
    testCaseTask
        "Cluster: two of four primaries say of no session that it is not there, and give no list; three of four do"
        (fun () ->
            task {
                let settings = [ "cluster-enabled", "yes"; "cluster-node-timeout", "60000" ]
                use first = startOne settings
                use second = startOne settings
                use third = startOne settings
                use fourth = startOne settings
                let nodes = [ first; second; third; fourth ]
                let places = nodes |> List.map _.Address
                use creating = launch "redis-cli" ([ "--cluster"; "create" ] @ places @ [ "--cluster-yes" ])
                do! creating.WaitForExitAsync()
                Expect.equal creating.ExitCode 0 "a Cluster of four primaries"
                let addresses = String.Join(",", places)
                let prefix = "half:"
                use redis = openRedisAt addresses prefix (fun o -> o.OperationTimeout <- TimeSpan.FromSeconds 1L)
                let store = redis :> ISessionStore
                use! admin = connect addresses

                let isOn (node: RedisServer) (key: string) =
                    match admin.GetServer(RedisKey key, flags = CommandFlags.DemandMaster).EndPoint with
                    | :? IPEndPoint as place -> place.Port = node.Port
                    | _ -> false

                // Whose primary is there all the time.
                let id =
                    Seq.initInfinite (fun n -> $"session-{n}") |> Seq.find (fun id -> isOn first $"{prefix}r:{id}")

                let subject =
                    Seq.initInfinite (fun n -> $"user-{n}")
                    |> Seq.find (fun subject -> isOn first $"{prefix}s:{subject}")

                let load () = store.Load(id, none).AsTask() |> answerOf
                let list () = store.BySubject(subject, null, 10, none).AsTask() |> answerOf
                do! eventually "that all of them agree" (fun () -> (load ()).GetAwaiter().GetResult().IsOk)

                fourth.Freeze()
                let! loaded = load ()
                Expect.isOk loaded "three of four: no such session"
                let! listed = list ()
                Expect.isOk listed "three of four: an empty list"

                third.Freeze()
                let! loaded = load ()
                let! listed = list ()
                third.Thaw()
                fourth.Thaw()
                Expect.isError loaded "two of four do not know"
                Expect.isError listed "and list nothing"
            })

let private ask (node: RedisServer) (command: string) (arguments: obj list) =
    task {
        use! admin = connect node.Address
        return! admin.GetServer(node.Address).ExecuteAsync(command, List.toArray arguments)
    }

/// Three primaries without replicas, and what leads to them. Nobody is given up in that time.
let private onThree (body: RedisServer list -> string -> Task<unit>) =
    task {
        let settings = [ "cluster-enabled", "yes"; "cluster-node-timeout", "60000" ]
        use first = startOne settings
        use second = startOne settings
        use third = startOne settings
        let nodes = [ first; second; third ]
        let places = nodes |> List.map _.Address
        use creating = launch "redis-cli" ([ "--cluster"; "create" ] @ places @ [ "--cluster-yes" ])
        do! creating.WaitForExitAsync()
        Expect.equal creating.ExitCode 0 "a Cluster of three primaries"
        do! body nodes (String.Join(",", places))
    }

/// A slot in which nothing is goes from one primary to another.
let private move (nodes: RedisServer list) (slot: int) (owner: RedisServer) (target: RedisServer) =
    task {
        let! idOfOwner = ask owner "CLUSTER" [ "MYID" ]
        let! idOfTarget = ask target "CLUSTER" [ "MYID" ]
        let! _ = ask target "CLUSTER" [ "SETSLOT"; slot; "IMPORTING"; string idOfOwner ]
        let! _ = ask owner "CLUSTER" [ "SETSLOT"; slot; "MIGRATING"; string idOfTarget ]

        for node in target :: owner :: nodes do
            let! _ = ask node "CLUSTER" [ "SETSLOT"; slot; "NODE"; string idOfTarget ]
            ()
    }

/// Behind this prefix it makes a key of this slot.
let private inSlot (admin: IConnectionMultiplexer) (prefix: string) (slot: int) =
    Seq.initInfinite (fun n -> $"name-{n}")
    |> Seq.find (fun name -> admin.HashSlot(RedisKey(prefix + name)) = slot)

/// Nodes tell of their slots by the first and the last of each range; one alone is told by itself.
let private endsOfRanges =
    testCaseTask
        "Cluster: the first slot of a range, the last one, and one alone belong to somebody: what is not there is not there"
        (fun () ->
            onThree (fun nodes addresses ->
                task {
                    let prefix = "ends:"
                    do! move nodes 100 nodes[0] nodes[1]
                    use! admin = connect addresses
                    use redis = openRedisAt addresses prefix (fun o -> o.OperationTimeout <- TimeSpan.FromSeconds 1L)
                    let store = redis :> ISessionStore

                    // As redis-cli has shared them out, but for the one that has moved.
                    for slot in [ 0; 99; 100; 101; 5460; 5461; 10922; 10923; 16383 ] do
                        let id = inSlot admin $"{prefix}r:" slot
                        let subject = inSlot admin $"{prefix}s:" slot
                        let load () = store.Load(id, none).AsTask() |> answerOf
                        let list () = store.BySubject(subject, null, 10, none).AsTask() |> answerOf

                        let isAbsent () =
                            match (load ()).GetAwaiter().GetResult() with
                            | Ok found -> isNull found
                            | Error _ -> false

                        let isEmpty () =
                            match (list ()).GetAwaiter().GetResult() with
                            | Ok page -> page.Records.Count = 0
                            | Error _ -> false

                        // The nodes have to agree first.
                        do! eventually $"slot {slot}: no such session" isAbsent
                        do! eventually $"slot {slot}: an empty list" isEmpty
                }))

/// One script reads them all where they were, as far as this node knows: what has moved, that server may not read.
let private severalAfterAMove =
    testCaseTask
        "Cluster: after a slot has moved, a look at several sessions finds those that stayed and those that came since"
        (fun () ->
            onThree (fun nodes addresses ->
                task {
                    let prefix = "several:"
                    use! admin = connect addresses
                    let staying = inSlot admin $"{prefix}r:" 200
                    let moving = inSlot admin $"{prefix}r:" 100
                    use redis = openRedisAt addresses prefix (fun o -> o.OperationTimeout <- TimeSpan.FromSeconds 1L)
                    let store = redis :> ISessionStore
                    let load () = store.Load(staying, none).AsTask() |> answerOf
                    do! eventually "that all of them agree" (fun () -> (load ()).GetAwaiter().GetResult().IsOk)
                    do! insertOnce store (record staying "ann")
                    do! move nodes 100 nodes[0] nodes[1]

                    // By who has connected since: this one hears of the move by the answer to its next question.
                    use other = openRedisAt addresses prefix (fun o -> o.OperationTimeout <- TimeSpan.FromSeconds 1L)
                    do! insertOnce (other :> ISessionStore) (record moving "ann")
                    let! found = (redis :> IReadsMany).LoadMany([| staying; moving |], none)

                    Expect.equal
                        (List.sort [ for one in found -> one.Id ])
                        (List.sort [ staying; moving ])
                        "both are found"
                }))

let all =
    testList
        "Redis Cluster"
        [ saysNothingWrong
          takesNothingBack
          halfIsNotMost
          endsOfRanges
          severalAfterAMove ]
