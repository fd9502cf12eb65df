/// A Cluster whose network falls apart: a primary hears nothing of the other nodes any more, and its clients reach it and
/// them. Each node is known by two proxies, one for clients and replicas, one for the other nodes.
module Integration.RedisPartition

open System
open System.Diagnostics
open System.IO
open System.Net
open System.Net.Sockets
open System.Text
open System.Threading
open System.Threading.Tasks
open Expecto
open Integration.RedisServer
open Integration.Relays
open Integration.World
open Session.Engine

/// Who opened a connection, as its first bytes say.
type private From =
    | Client
    /// A replica of this node: it begins with PING, which no client does.
    | Replica
    /// Another node, by its id.
    | Node of string

let private ofClients (first: byte array) =
    if Encoding.ASCII.GetString(first).StartsWith "*1\r\n$4\r\nPING" then Replica else Client

/// The header of the cluster's own protocol: the sender's id is behind 40 bytes.
let private ofNodes (first: byte array) = Node(Encoding.ASCII.GetString(first, 40, 40))

/// What is said over a connection, and by whom.
type private Said =
    | ToServer of byte array
    | ToClient

/// Hands everything on, but for connections that are held up at the moment: what they send waits.
[<Sealed>]
type private Fence(server: int, from: byte array -> From, passage: From -> Said -> Task) =
    let serve (client: TcpClient) =
        task {
            try
                let upstream = new TcpClient(NoDelay = true)
                do! upstream.ConnectAsync(IPAddress.Loopback, server)
                let toServer, toClient = upstream.GetStream(), client.GetStream()
                let bytes = Array.zeroCreate<byte> 65536
                let! length = toClient.ReadAsync(bytes.AsMemory())

                if length > 0 then
                    let who = from bytes[.. length - 1]
                    let asked (bytes: byte array) = passage who (ToServer bytes)
                    let answered (_: byte array) = passage who ToClient
                    do! asked bytes[.. length - 1]
                    do! toServer.WriteAsync(ReadOnlyMemory(bytes, 0, length))
                    let! _ = Task.WhenAll(pump toClient toServer asked, pump toServer toClient answered)
                    ()
                else
                    client.Dispose()
                    upstream.Dispose()
            with
            | :? IOException
            | :? SocketException
            | :? ObjectDisposedException -> client.Dispose()
        }

    let relay = new Relay(serve)
    member _.Port = relay.Port

    interface IDisposable with
        member _.Dispose() = (relay :> IDisposable).Dispose()

[<Sealed>]
type private FencedCluster(nodeTimeout: int) =
    let gate = obj ()
    let mutable away: int = -1
    let mutable ids: Map<string, int> = Map.empty
    let mutable isJoined = TaskCompletionSource()
    let mutable late: (int * byte array) option = None
    let mutable isLate = false
    let released = TaskCompletionSource TaskCreationOptions.RunContinuationsAsynchronously

    /// What comes from there to this node may be held up, and so may be the answer.
    let passage (target: int) (from: From) (said: Said) : Task =
        lock gate (fun () ->
            let isBetween =
                match from with
                | _ when away < 0 -> false
                | Client -> false
                | Replica -> target = away
                | Node id -> target = away || Map.tryFind id ids = Some away

            match late, said with
            | Some(node, text), ToServer bytes when node = target && bytes.AsSpan().IndexOf(text) >= 0 ->
                isLate <- true
            | _ -> ()

            let isHeldBack =
                match from, said, late with
                | Client, ToClient, Some(node, _) -> isLate && node = target
                | _ -> false

            if isHeldBack then released.Task
            elif isBetween then isJoined.Task
            else Task.CompletedTask)

    let nodes =
        [ for n in 0..5 ->
              let port = freePort ()
              let clients = new Fence(port, ofClients, passage n)
              let bus = freePort ()
              let others = new Fence(bus, ofNodes, passage n)

              let server =
                  new RedisServer(
                      [ "cluster-enabled", "yes"
                        "cluster-port", string bus
                        "cluster-node-timeout", string nodeTimeout
                        "cluster-replica-validity-factor", "0"
                        "cluster-announce-ip", "127.0.0.1"
                        "cluster-announce-port", string clients.Port
                        "cluster-announce-bus-port", string others.Port
                        "appendonly", "yes"
                        "appendfsync", "always" ],
                      port
                  )

              server, clients, others ]

    let indexOf (node: RedisServer) = nodes |> List.findIndex (fun (one, _, _) -> obj.ReferenceEquals(one, node))

    let idOf (node: RedisServer) =
        use cli =
            nonNull (
                Process.Start(
                    ProcessStartInfo(
                        "redis-cli",
                        [ "-p"; string node.Port; "cluster"; "myid" ],
                        RedirectStandardOutput = true
                    )
                )
            )

        cli.StandardOutput.ReadToEnd().Trim()

    member _.Nodes = [ for server, _, _ in nodes -> server ]
    member _.Addresses = String.Join(",", [ for _, clients, _ in nodes -> $"127.0.0.1:{clients.Port}" ])

    /// The address by which clients know it.
    member _.EndPointOf(node: RedisServer) : EndPoint =
        let _, clients, _ = nodes[indexOf node]
        IPEndPoint(IPAddress.Loopback, clients.Port)

    member cluster.Start() =
        for node in cluster.Nodes do
            node.Start()

        formCluster cluster.Nodes [ for _, clients, _ in nodes -> $"127.0.0.1:{clients.Port}" ]
        ids <- Map.ofList [ for n, node in List.indexed cluster.Nodes -> idOf node, n ]

    member _.Cut(node: RedisServer) =
        lock gate (fun () ->
            isJoined <- TaskCompletionSource TaskCreationOptions.RunContinuationsAsynchronously
            away <- indexOf node)

    /// From the next request with this text on, what this node answers to clients waits.
    member _.HoldAnswers(node: RedisServer, text: string) =
        lock gate (fun () -> late <- Some(indexOf node, Encoding.ASCII.GetBytes text))

    /// That request has come.
    member _.HoldsAnswers = lock gate (fun () -> isLate)

    member _.ReleaseAnswers() =
        lock gate (fun () -> late <- None)
        released.TrySetResult() |> ignore

    member _.Heal() =
        lock gate (fun () ->
            away <- -1
            isJoined.TrySetResult() |> ignore)

    interface IDisposable with
        member cluster.Dispose() =
            cluster.Heal()
            cluster.ReleaseAnswers()

            for server, clients, others in nodes do
                (clients :> IDisposable).Dispose()
                (others :> IDisposable).Dispose()
                (server :> IDisposable).Dispose()

let private rounds = if String.IsNullOrEmpty(Environment.GetEnvironmentVariable "SESSION_LONG") then 2 else 20

let all =
    testCaseTask
        "Cluster: a primary that is cut off from the other nodes, and not from its clients, takes nothing back when it is joined again"
        (fun () ->
            task {
                use cluster = new FencedCluster(1500)
                cluster.Start()

                let store =
                    openRedisAt (cluster.Addresses + ",connectRetry=3,connectTimeout=1000") "apart:" (fun o ->
                        o.WaitForReplicas <- 1
                        o.OperationTimeout <- TimeSpan.FromSeconds 1L)

                let! engine, loggedOut, kept, failures, silence =
                    RedisLoad.underLoad store (fun () ->
                        task {
                            for round in 1..rounds do
                                let old = (List.filter isPrimary cluster.Nodes)[round % 3]
                                let! took = failOver cluster.Nodes (fun () -> cluster.Cut old)

                                printfn
                                    "Cluster, a primary is cut off, round %d: a new one after %.1f s"
                                    round
                                    took.TotalSeconds

                                do! Task.Delay 1000
                                cluster.Heal()
                                do! follows old
                                // Until it has all that the new one has, and can be the next.
                                do! Task.Delay 2000
                        })

                Expect.isNonEmpty loggedOut "logouts"
                Expect.all failures Engines.isUnavailable "errors are 503"
                let! undead = RedisLoad.judge engine loggedOut
                let! alive = RedisLoad.judge engine kept

                printfn
                    "Cluster, %d primaries were cut off: %d acknowledged logouts, %d undone; %d sessions kept, %d lost; no logout was acknowledged for %.1f s; %d requests got 503"
                    rounds
                    loggedOut.Length
                    undead
                    kept.Length
                    (kept.Length - alive)
                    silence.TotalSeconds
                    failures.Length

                Expect.equal undead 0 "no logout is undone"
                let! why = if alive = kept.Length then Task.FromResult "" else RedisLoad.refusals engine kept
                Expect.equal alive kept.Length $"and nobody is logged out: {why}"
                do! (store :> IAsyncDisposable).DisposeAsync()
            })

/// A write, and the same session's write again, that the old primary takes; its answer comes when the node follows another.
let lateAnswers =
    let none = CancellationToken.None

    let record (id: string) version =
        let now = DateTimeOffset.UtcNow
        StoredRecord(id, version, RecordKind.Live, now, now.AddHours 1.0, null, version, ReadOnlyMemory [| 7uy |], true)

    let written
        what
        version
        (write: ISessionStore -> string -> Task<WriteResult>)
        (before: ISessionStore -> string -> Task<unit>)
        =
        testCaseTask
            $"Cluster: an old primary answers late: {what} that it took is not acknowledged by the replicas of the new one"
            (fun () ->
                task {
                    use cluster = new FencedCluster(1500)
                    cluster.Start()
                    let old = List.find isPrimary cluster.Nodes

                    // The driver looks every second who is primary; it knows that before the answer comes.
                    use store =
                        openRedisAt (cluster.Addresses + ",configCheckSeconds=1,connectTimeout=1000") "late:" (fun o ->
                            o.WaitForReplicas <- 1
                            o.OperationTimeout <- TimeSpan.FromSeconds 60L
                            o.WaitTimeout <- TimeSpan.FromSeconds 3L)

                    use! admin = connect cluster.Addresses
                    let primaryOf (key: string) = (admin.GetServer(StackExchange.Redis.RedisKey key)).EndPoint
                    let oldEndPoint = cluster.EndPointOf old

                    let id =
                        Seq.initInfinite (fun n -> $"session-{n}")
                        |> Seq.find (fun id -> (primaryOf $"late:r:{id}").Equals oldEndPoint)

                    do! before store id
                    let mutable writing: Task<WriteResult> = Task.FromResult WriteResult.Absent

                    let! _ =
                        failOver cluster.Nodes (fun () ->
                            cluster.Cut old
                            cluster.HoldAnswers(old, $"late:r:{id}")
                            writing <- write store id

                            while not cluster.HoldsAnswers do
                                Thread.Sleep 10)

                    do! Task.Delay 5000
                    cluster.Heal()
                    do! follows old
                    do! Task.Delay 1000
                    Expect.isFalse writing.IsCompleted "the answer is late"
                    cluster.ReleaseAnswers()
                    let! result = writing
                    let! found = (store :> ISessionStore).Load(id, none)

                    let isKept = found |> Option.ofObj |> Option.exists (fun there -> there.Version = version)
                    Expect.isFalse isKept "the new primary has never heard of it"
                    Expect.equal result WriteResult.Unknown "and that is what is said"
                })

    let insert (store: ISessionStore) id = store.Insert(record id 1L, none).AsTask()

    testList
        "answers of an old primary"
        [ written "an insert" 1L insert (fun _ _ -> Task.FromResult())
          written "a replace" 3L (fun store id -> store.Replace(record id 3L, 2L, none).AsTask()) (fun store id ->
              task {
                  let! inserted = insert store id
                  Expect.equal inserted WriteResult.Written "the session before"
                  // The old primary has the script from now on: it can carry out the next one at once.
                  let! replaced = store.Replace(record id 2L, 1L, none)
                  Expect.equal replaced WriteResult.Written "and its first change"
              }) ]
