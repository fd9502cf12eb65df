/// A Cluster redirects a write to another server than the one that the driver has chosen: the replicas of the one that has
/// carried it out are waited for, and of no other.
module Integration.RedisRedirects

open System
open System.Diagnostics
open System.Threading
open System.Threading.Tasks
open Expecto
open StackExchange.Redis
open Integration.RedisServer
open Integration.World
open Session.Engine

let private none = CancellationToken.None

let private record (id: string) version =
    let now = DateTimeOffset.UtcNow
    StoredRecord(id, version, RecordKind.Live, now, now.AddHours 1.0, null, version, ReadOnlyMemory [| 7uy |], true)

let private ask (node: RedisServer) command (arguments: obj list) =
    task {
        use! admin = connect node.Address
        return! admin.GetServer(node.Address).ExecuteAsync(command, List.toArray arguments)
    }

let private idOf node = ask node "CLUSTER" [ "MYID" ]

/// The one that follows this primary.
let private replicaOf (cluster: RedisCluster) (primary: RedisServer) =
    task {
        let! id = idOf primary
        let! listed = ask primary "CLUSTER" [ "REPLICAS"; string id ]
        let line = string listed[0]
        return cluster.Nodes |> List.find (fun node -> line.Contains $"127.0.0.1:{node.Port}@")
    }

/// So many ids of sessions whose records this primary has.
let private idsOn (primary: RedisServer) (prefix: string) count =
    task {
        use! admin = connect primary.Address
        let endPoint = admin.GetServer(primary.Address).EndPoint

        return
            Seq.initInfinite (fun n -> $"session-{n}")
            |> Seq.filter (fun id -> (admin.GetServer(RedisKey $"{prefix}r:{id}")).EndPoint.Equals endPoint)
            |> Seq.take count
            |> List.ofSeq
    }

let private durable (cluster: RedisCluster) prefix options (wait: float) =
    openRedisAt (cluster.Addresses + options) prefix (fun o ->
        o.WaitForReplicas <- 1
        o.OperationTimeout <- TimeSpan.FromSeconds 1.0
        o.WaitTimeout <- TimeSpan.FromSeconds wait)

/// A slot that is on its way: what is not in the one primary any more, or not yet, the other one takes.
let private asking =
    testCaseTask
        "Cluster: while a slot moves, a write waits for the replicas of the primary that has taken it"
        (fun () ->
            task {
                use cluster = new RedisCluster(15000)
                cluster.Start()
                let primaries = cluster.Nodes |> List.filter isPrimary
                let owner, target = primaries[0], primaries[1]
                let! ofOwner = replicaOf cluster owner
                let! ofTarget = replicaOf cluster target
                use redis = durable cluster "asking:" "" 0.5
                let store = redis :> ISessionStore
                let! _ = store.Prepare none
                let! ids = idsOn owner "asking:" 3
                let! idOfOwner = idOf owner
                let! idOfTarget = idOf target

                for id in ids do
                    let! slot = ask owner "CLUSTER" [ "KEYSLOT"; $"asking:r:{id}" ]
                    let slot = string slot
                    let! _ = ask target "CLUSTER" [ "SETSLOT"; slot; "IMPORTING"; string idOfOwner ]
                    let! _ = ask owner "CLUSTER" [ "SETSLOT"; slot; "MIGRATING"; string idOfTarget ]
                    ()

                let! answer = store.Insert(record ids[0] 1L, none)
                Expect.equal answer WriteResult.Written "the target takes it, and its replica has it"

                // The former owner's replica says nothing of what the target has taken.
                ofOwner.Freeze()
                let! answer = store.Insert(record ids[1] 1L, none)
                Expect.equal answer WriteResult.Written "nobody waits for the replica of the former owner"
                let! answer = store.Replace(record ids[1] 2L, 1L, none)
                Expect.equal answer WriteResult.Written "nor does the next write"
                ofOwner.Thaw()

                ofTarget.Freeze()
                let! answer = store.Insert(record ids[2] 1L, none)
                Expect.equal answer WriteResult.Unacknowledged "an insert that the target's replica does not have"
                let! answer = store.Replace(record ids[1] 3L, 2L, none)
                Expect.equal answer WriteResult.Unacknowledged "a replace that the target's replica does not have"
                ofTarget.Thaw()
            })

/// WAIT holds its connection up, and the driver passes over a server that does not answer it in time: it sends what is for that
/// one to any other, which redirects it there.
let private passedOver =
    testCaseTask
        "Cluster: a primary that the driver passes over is sent writes all the same: its own replicas are waited for"
        (fun () ->
            task {
                use cluster = new RedisCluster(30000)
                cluster.Start()
                let owner = cluster.Nodes |> List.find isPrimary
                let! replica = replicaOf cluster owner

                use redis = durable cluster "over:" ",configCheckSeconds=1,connectTimeout=500" 1.0

                let store = redis :> ISessionStore
                let! _ = store.Prepare none
                let! ids = idsOn owner "over:" 3200
                replica.Freeze()
                let clock = Stopwatch.StartNew()
                use stop = new CancellationTokenSource()

                // Each answer with the time at which it came.
                let writer (ids: string list) =
                    task {
                        let answers = Collections.Generic.List()

                        for id in ids do
                            if not stop.IsCancellationRequested then
                                try
                                    let! answer = store.Insert(record id 1L, none)
                                    answers.Add(id, answer)
                                with
                                | :? StoreRefusedException
                                | :? RedisException
                                | :? TimeoutException -> ()

                        return List.ofSeq answers
                    }

                let writing =
                    [ for part in List.splitInto 32 ids -> Task.Run<(string * WriteResult) list>(fun () -> writer part) ]

                do! Task.Delay 12000
                stop.Cancel()
                let! answers = Task.WhenAll writing
                let answers = List.concat answers

                printfn
                    "passed over: %d answers in %.1f s: %A"
                    answers.Length
                    clock.Elapsed.TotalSeconds
                    (List.countBy snd answers)

                Expect.isNonEmpty answers "writes were answered"
                let acknowledged = answers |> List.filter (fun (_, answer) -> answer = WriteResult.Written)
                Expect.isEmpty acknowledged "none has a replica, so none is acknowledged"
                replica.Thaw()
            })

let all = testList "redirected writes" [ asking; passedOver ]
