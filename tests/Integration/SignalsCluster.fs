/// Notices between nodes on a Redis Cluster: on a channel of one shard, which moves with it.
module Integration.SignalsCluster

open System
open System.Collections.Concurrent
open System.Diagnostics
open System.Net
open System.Threading
open System.Threading.Tasks
open Expecto
open StackExchange.Redis
open Integration.RedisServer
open Integration.World
open Session.Engine
open Session.Stores.Redis

let private none = CancellationToken.None
let private prefix = "signals:"
let private channel = prefix + "ended"

let private openOn (cluster: RedisCluster) () =
    openRedisAt (cluster.Addresses + ",connectRetry=3,connectTimeout=1000") prefix (fun o ->
        o.OperationTimeout <- TimeSpan.FromSeconds 1L)

let private until (what: string) (isTrue: unit -> Task<bool>) =
    task {
        let clock = Stopwatch.StartNew()
        let mutable isSo = false

        while not isSo do
            if clock.Elapsed > TimeSpan.FromSeconds 30L then
                failtestf "never came: %s" what

            let! now = isTrue ()
            isSo <- now

            if not isSo then
                do! Task.Delay 100

        return clock.Elapsed
    }

let private ask (node: RedisServer) (command: string) (arguments: obj list) =
    task {
        use! admin = connect node.Address
        let! answer = admin.GetServer(node.Address).ExecuteAsync(command, Array.ofList arguments)
        return answer
    }

/// How many connections listen on the channel at this node, in this way.
let private listeners how (node: RedisServer) =
    task {
        let! answer = ask node "PUBSUB" [ how; channel ]
        let count: int = RedisResult.op_Explicit answer[1]
        return count
    }

let private allListeners how (cluster: RedisCluster) =
    task {
        let! counts = Task.WhenAll [| for node in cluster.Nodes -> listeners how node |]
        return Array.sum counts
    }

/// The node that has the channel's shard, as most of them say it.
let private ownerOf (cluster: RedisCluster) =
    task {
        use! admin = connect cluster.Addresses

        match admin.GetServer(RedisKey channel, flags = CommandFlags.DemandMaster).EndPoint with
        | :? IPEndPoint as place -> return cluster.Nodes |> List.find (fun node -> node.Port = place.Port)
        | other -> return failtestf "no address: %O" other
    }

let private publish (store: RedisStore) (id: string) = (store :> ISessionSignals).Publish([| id |], none).AsTask()

/// Says it again and again until it is heard: how long that took. `look`: what a LiveCheck would do.
let private comes (what: string) (from: RedisStore) (heard: ConcurrentQueue<string>) (look: unit -> Task) =
    task {
        let mutable n = 0

        return!
            until what (fun () ->
                task {
                    n <- n + 1

                    try
                        do! publish from $"{what}-{n}"
                    with
                    | :? StoreRefusedException
                    | :? RedisException
                    | :? OperationCanceledException
                    | :? TimeoutException -> ()

                    if n % 10 = 0 then
                        try
                            do! look ()
                        with
                        | :? StoreRefusedException
                        | :? RedisException
                        | :? TimeoutException -> ()

                    return heard |> Seq.exists (_.StartsWith(what))
                })
    }

let private nothing () = Task.CompletedTask

let private moves =
    testCaseTask
        "Redis Cluster: an end on one node is heard on another, before and after a failover, and after the shard has moved"
        (fun () ->
            task {
                use cluster = new RedisCluster(1500)
                cluster.Start()
                use one = openOn cluster ()
                use other = openOn cluster ()
                let! _ = (one :> ISessionStore).Prepare none
                let! _ = (other :> ISessionStore).Prepare none
                let! heard, subscription = Live.listen one
                let look () = (one :> IReadsMany).LoadMany([| "a"; "b" |], none).AsTask() :> Task
                let! _ = comes "before" other heard nothing

                // Whoever stops to listen leaves nothing behind.
                let! _, second = Live.listen other
                let! both = allListeners "SHARDNUMSUB" cluster
                do! second.DisposeAsync()
                let! plain = allListeners "NUMSUB" cluster
                Expect.equal (both, plain) (2, 1) "listeners, and those that are left"

                let! owner = ownerOf cluster
                let! here = listeners "SHARDNUMSUB" owner
                let! everywhere = allListeners "SHARDNUMSUB" cluster
                Expect.equal (here, everywhere) (1, 1) "listens at the shard's own server, and nowhere else"

                // Its server is killed.
                heard.Clear()
                let! took = failOver cluster.Nodes owner.Kill
                let! heardAfter = comes "killed" other heard nothing

                let! _ =
                    until "that some may have been missed" (fun () ->
                        task { return Seq.contains Live.everySession heard })

                printfn
                    "Cluster, the server of the channel's shard is killed: a new one after %.1f s, heard %.1f s later"
                    took.TotalSeconds
                    heardAfter.TotalSeconds

                owner.Start()
                do! follows owner
                do! Task.Delay 2000

                // Its server stands still: the connections stay open, and say nothing.
                heard.Clear()
                let! owner = ownerOf cluster
                let! took = failOver cluster.Nodes owner.Freeze
                let! heardAfter = comes "frozen" other heard look

                printfn
                    "Cluster, the server of the channel's shard stands still: a new one after %.1f s, heard %.1f s later"
                    took.TotalSeconds
                    heardAfter.TotalSeconds

                owner.Thaw()
                do! follows owner
                do! Task.Delay 2000

                // Its slot goes to another primary.
                heard.Clear()
                let! owner = ownerOf cluster
                let! slot = ask owner "CLUSTER" [ "KEYSLOT"; channel ]
                let slot: int = RedisResult.op_Explicit slot
                let primaries = cluster.Nodes |> List.filter isPrimary
                let target = primaries |> List.find (fun node -> node.Port <> owner.Port)
                let! idOfTarget = ask target "CLUSTER" [ "MYID" ]
                let! idOfOwner = ask owner "CLUSTER" [ "MYID" ]
                let! _ = ask target "CLUSTER" [ "SETSLOT"; slot; "IMPORTING"; string idOfOwner ]
                let! _ = ask owner "CLUSTER" [ "SETSLOT"; slot; "MIGRATING"; string idOfTarget ]

                for node in target :: owner :: List.filter isPrimary cluster.Nodes do
                    let! _ = ask node "CLUSTER" [ "SETSLOT"; slot; "NODE"; string idOfTarget ]
                    ()

                let! heardAfter = comes "moved" other heard nothing
                printfn "Cluster, the channel's slot moves: heard %.1f s later" heardAfter.TotalSeconds
                let! there = listeners "SHARDNUMSUB" target
                Expect.equal there 1 "listens at the new server"

                do! subscription.DisposeAsync()
            })

let private overHttp =
    testCaseTask
        "Redis Cluster: a logout on another node ends what is open, without a look; with refused sharded channels too"
        (fun () ->
            task {
                use cluster = new RedisCluster(5000)
                cluster.Start()
                let open' () = openOn cluster () :> ISessionStore
                do! Live.hearsOfIt open'

                // As with a user, or a managed service, that has no more than the plain commands.
                for node in cluster.Nodes do
                    let! _ = ask node "ACL" [ "SETUSER"; "default"; "-spublish"; "-ssubscribe" ]
                    ()

                do! Live.hearsOfIt open'
                use one = openOn cluster ()
                let! heard, subscription = Live.listen one
                let! shards = allListeners "SHARDNUMSUB" cluster
                let! plain = allListeners "NUMSUB" cluster
                Expect.equal (shards, plain) (0, 1) "the plain channel"

                // Who may publish to the shard finds nobody there, and says it on the plain channel.
                for node in cluster.Nodes do
                    let! _ = ask node "ACL" [ "SETUSER"; "default"; "+spublish" ]
                    ()

                use other = openOn cluster ()
                do! publish other "plain"
                let! _ = until "the notice" (fun () -> task { return Seq.contains "plain" heard })
                do! subscription.DisposeAsync()
            })

let private single =
    testCaseTask "Redis, one node: listens on the plain channel alone" (fun () ->
        task {
            use server = startOne []
            use store = openRedisAt server.Address prefix ignore
            let! _, subscription = Live.listen store
            let! plain = listeners "NUMSUB" server
            let! sharded = listeners "SHARDNUMSUB" server
            Expect.equal (plain, sharded) (1, 0) "channels"
            do! subscription.DisposeAsync()
        })

let all = testSequenced (testList "notices on a Redis Cluster" [ single; overHttp; moves ])
