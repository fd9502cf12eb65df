/// Real Redis servers on free ports: one node, a Sentinel set-up, a Cluster of six. Each is stopped by its own id.
module Integration.RedisServer

open System
open System.Diagnostics
open System.IO
open System.Net
open System.Net.Sockets
open System.Threading
open System.Threading.Tasks
open StackExchange.Redis
open Integration.Relays

let private isFree port =
    try
        use listener = new TcpListener(IPAddress.Loopback, port)
        listener.Start()
        true
    with :? SocketException ->
        false

/// A port for a server. Not of those that the system gives to whoever connects somewhere: one of these is free now, and taken
/// before the server is up. Never the same twice. The one 10,000 above, by which nodes of a Cluster speak, is free, too.
let freePort: unit -> int =
    let random = Random()
    let given = Collections.Generic.HashSet<int>()

    fun () ->
        lock given (fun () ->
            let mutable port = 0

            while port = 0 do
                let candidate = random.Next(11_000, 21_000)

                if given.Add candidate && isFree candidate && isFree (candidate + 10_000) then
                    port <- candidate
                elif given.Count > 9_000 then
                    failwith "no port between 11000 and 21000 is free"

            port)

/// `hear`: each line that the program says.
let launchHeard (hear: string -> unit) (program: string) (arguments: string list) =
    let info = ProcessStartInfo(program, arguments, RedirectStandardOutput = true, RedirectStandardError = true)

    let started = nonNull (Process.Start info)
    // Read, so that a full pipe stops nobody.
    started.OutputDataReceived.Add(fun line -> Option.iter hear (Option.ofObj line.Data))
    started.ErrorDataReceived.Add(fun line -> Option.iter hear (Option.ofObj line.Data))
    started.BeginOutputReadLine()
    started.BeginErrorReadLine()
    started

let launch = launchHeard ignore

let private run program arguments =
    use started = launch program arguments
    started.WaitForExit 30_000 |> ignore
    started.ExitCode

/// One redis-server with a folder of its own.
[<Sealed>]
type RedisServer(settings: (string * string) list, port: int, hear: string -> unit) =
    let folder = Directory.CreateTempSubdirectory("session-redis-").FullName

    let arguments =
        [ "--port", string port
          "--bind", "127.0.0.1"
          "--dir", folder
          "--save", ""
          "--repl-diskless-sync-delay", "0"
          "--enable-debug-command", "yes" ]
        @ settings
        |> List.collect (fun (name, value) ->
            (if name.StartsWith "--" then name else "--" + name)
            :: (if value = "" then [ "" ] else List.ofArray (value.Split ' ')))

    let mutable running: Process | null = null
    let said = Collections.Concurrent.ConcurrentQueue<string>()

    let note (line: string) =
        said.Enqueue line

        if said.Count > 30 then
            said.TryDequeue() |> ignore

        hear line

    new(settings, port) = new RedisServer(settings, port, ignore)
    new(settings) = new RedisServer(settings, freePort ())
    member _.Port = port
    member _.Folder = folder
    member _.Address = $"127.0.0.1:{port}"

    /// The last lines of its log.
    member _.Said = String.concat "\n" said

    member server.Start() =
        let started = launchHeard note "redis-server" arguments
        running <- started
        let mutable tries = 0
        let mutable isUp = false

        while not isUp do
            tries <- tries + 1

            if tries > 300 || started.HasExited then
                failwithf "redis-server does not answer on port %d: %s" port server.Said

            try
                use client = new TcpClient()
                client.Connect(IPAddress.Loopback, port)
                let stream = client.GetStream()
                stream.Write(ReadOnlySpan<byte>("PING\r\n"B))
                let answer = Array.zeroCreate<byte> 64
                let length = stream.Read(answer, 0, 64)
                let said = Text.Encoding.ASCII.GetString(answer, 0, length)
                isUp <- said.StartsWith "+PONG" || said.StartsWith "-NOAUTH"
            with :? SocketException ->
                ()

            if not isUp then
                Threading.Thread.Sleep 20

    /// As kill -9 does: nothing is written any more.
    member _.Kill() =
        match running with
        | null -> ()
        | started ->
            started.Kill()
            started.WaitForExit()
            started.Dispose()
            running <- null

    /// The process stops where it is, and goes on later.
    member private _.Signal(name: string) =
        match running with
        | null -> ()
        | started -> run "kill" [ "-" + name; string started.Id ] |> ignore

    member server.Freeze() = server.Signal "STOP"
    member server.Thaw() = server.Signal "CONT"

    /// Until the server has read all that was sent to it before: it looks at every connection before it answers one
    /// that came later, and says how much of each it has not yet carried out.
    member server.Drained() : Task<unit> =
        task {
            use! admin = ConnectionMultiplexer.ConnectAsync(server.Address + ",allowAdmin=true")
            let asked = admin.GetServer server.Address
            let mutable tries = 0
            let mutable isQuiet = 0

            while isQuiet < 3 do
                tries <- tries + 1

                if tries > 1000 then
                    failwith "the server does not come to rest"

                let! own = asked.ExecuteAsync("CLIENT", "ID")
                let! list = asked.ExecuteAsync("CLIENT", "LIST")

                let waits =
                    (string list).Split '\n'
                    |> Array.exists (fun line ->
                        line <> "" && not (line.StartsWith $"id={own} ") && not (line.Contains " qbuf=0 "))

                isQuiet <- if waits then 0 else isQuiet + 1
                do! Task.Delay 10
        }

    interface IDisposable with
        member server.Dispose() =
            server.Kill()

            if Directory.Exists folder then
                Directory.Delete(folder, true)

let startOne settings =
    let server = new RedisServer(settings)
    server.Start()
    server

/// Of what is behind this port.
let replicaOf (port: int) = startOne [ "replicaof", $"127.0.0.1 {port}" ]

/// Between a client and its server. Hands everything on; after a request that was waited for, the answers on its
/// connection come late.
[<Sealed>]
type LateAnswers(server: int) =
    let gate = obj ()
    let mutable awaited: struct (byte array * TimeSpan) voption = ValueNone
    let mutable asked = 0

    /// How long the answers to these requests are held back.
    let delayOf (requests: byte array) =
        lock gate (fun () ->
            match awaited with
            | ValueSome(struct (text, delay)) when ReadOnlySpan(requests).IndexOf(ReadOnlySpan text) >= 0 ->
                awaited <- ValueNone
                delay
            | _ -> TimeSpan.Zero)

    let serve (client: TcpClient) =
        task {
            let upstream = new TcpClient(NoDelay = true)
            do! upstream.ConnectAsync(IPAddress.Loopback, server)
            let clock = Stopwatch.StartNew()
            let held = ref TimeSpan.Zero
            let recent = ref Array.empty<byte>
            let since = ref 0

            let requests (bytes: byte array) =
                if bytes.Length > 0 then
                    // With the end of what came before, for a request may come in two parts; but not of what came before
                    // the wish.
                    let wish = Volatile.Read &asked
                    let before = if since.Value = wish then recent.Value else Array.empty
                    since.Value <- wish
                    recent.Value <- Array.append before[max 0 (before.Length - 4096) ..] bytes
                    let delay = delayOf recent.Value

                    if delay > TimeSpan.Zero then
                        held.Value <- clock.Elapsed + delay

                Task.CompletedTask

            let answers (bytes: byte array) =
                let left = held.Value - clock.Elapsed
                if bytes.Length > 0 && left > TimeSpan.Zero then Task.Delay left else Task.CompletedTask

            let toServer, toClient = upstream.GetStream(), client.GetStream()
            let! _ = Task.WhenAll(pump toClient toServer requests, pump toServer toClient answers)
            ()
        }

    let relay = new Relay(serve)

    member _.Address = $"127.0.0.1:{relay.Port}"

    /// Holds back the answers from the next request with this text on.
    member _.After(text: string, delay: TimeSpan) =
        lock gate (fun () ->
            asked <- asked + 1
            awaited <- ValueSome(struct (Text.Encoding.UTF8.GetBytes text, delay)))

    /// That request has come.
    member _.HasCome = lock gate (fun () -> awaited.IsNone)

    interface IDisposable with
        member _.Dispose() = (relay :> IDisposable).Dispose()

/// Stopped with the program, whichever tests were chosen.
let untilExit (server: #IDisposable) =
    AppDomain.CurrentDomain.ProcessExit.Add(fun _ -> server.Dispose())
    server

/// One for all tests that need no more than a server: each test has a prefix of its own.
let shared = lazy (untilExit (startOne []))

let connect (configuration: string) : Task<ConnectionMultiplexer> =
    ConnectionMultiplexer.ConnectAsync(configuration + ",allowAdmin=true,abortConnect=false")

/// What this node says it is; nothing, when it is away.
let private role (node: RedisServer) =
    try
        use client = new TcpClient(ReceiveTimeout = 1000)
        client.Connect(IPAddress.Loopback, node.Port)
        let stream = client.GetStream()
        stream.Write(ReadOnlySpan<byte>("ROLE\r\n"B))
        let answer = Array.zeroCreate<byte> 128
        let length = stream.Read(answer, 0, answer.Length)
        Text.Encoding.ASCII.GetString(answer, 0, length)
    with
    | :? SocketException
    | :? IOException -> ""

/// Three primaries with a replica each, of six nodes that know each other by these addresses.
let formCluster (nodes: RedisServer list) (addresses: string list) =
    let create = [ "--cluster"; "create" ] @ addresses @ [ "--cluster-replicas"; "1"; "--cluster-yes" ]
    let code = run "redis-cli" create

    if code <> 0 then
        failwithf "redis-cli --cluster create ended with %d" code

    let answerOf (node: RedisServer) (question: string) =
        use cli =
            nonNull (
                Process.Start(
                    ProcessStartInfo(
                        "redis-cli",
                        [ "-p"; string node.Port; "cluster"; question ],
                        RedirectStandardOutput = true
                    )
                )
            )

        cli.StandardOutput.ReadToEnd()

    // Every node knows that all slots are served, and by heart who follows whom.
    let isReady (node: RedisServer) =
        let info = answerOf node "info"

        info.Contains "cluster_state:ok"
        && info.Contains "cluster_known_nodes:6"
        && (answerOf node "nodes").Split('\n') |> Array.filter _.Contains("slave") |> Array.length = 3

    let follows (node: RedisServer) =
        let role = role node
        role.Contains "slave" && role.Contains "connected"

    let mutable tries = 0

    while not (List.forall isReady nodes && List.length (List.filter follows nodes) = 3) do
        tries <- tries + 1

        if tries > 600 then
            nodes
            |> List.map (fun node -> node.Address + ": " + answerOf node "nodes" + "\n" + node.Said)
            |> String.concat "\n\n"
            |> failwithf "the cluster does not come up:\n%s"

        Threading.Thread.Sleep 100

/// Whether this node calls itself a primary.
let isPrimary (node: RedisServer) = (role node).Contains "master"

let private until (what: string) (isTrue: unit -> bool) =
    task {
        let clock = Stopwatch.StartNew()

        while not (isTrue ()) do
            if clock.Elapsed > TimeSpan.FromSeconds 60L then
                failwithf "the cluster: never came: %s" what

            do! Task.Delay 50
    }

/// A primary goes away, and one of the replicas takes its place: how long that took.
let failOver (nodes: RedisServer list) (away: unit -> unit) =
    task {
        let replicas = nodes |> List.filter (isPrimary >> not)
        let clock = Stopwatch.StartNew()
        away ()
        do! until "a new primary" (fun () -> List.exists isPrimary replicas)
        return clock.Elapsed
    }

/// Until this node, which was a primary and has come back, follows another one, and has all that it has.
let follows (node: RedisServer) =
    until "a replica" (fun () ->
        let role = role node
        role.Contains "slave" && role.Contains "connected")

/// Until this server says that so many replicas are online.
let following (admin: IServer) (count: int) =
    task {
        let clock = Stopwatch.StartNew()
        let mutable online = 0

        while online < count do
            if clock.Elapsed > TimeSpan.FromSeconds 30L then
                failwith "the replicas do not follow"

            do! Task.Delay 50
            let! text = admin.InfoRawAsync "replication"
            online <- (string text).Split("state=online").Length - 1
    }

/// Until it has so many replicas.
let followed (server: RedisServer) (count: int) =
    task {
        use! admin = connect server.Address
        do! following (admin.GetServer server.Address) count
    }

/// Six nodes: three primaries with a replica each. Every write is on disk before its answer.
[<Sealed>]
type RedisCluster(nodeTimeout: int) =
    let nodes =
        [ for _ in 1..6 ->
              new RedisServer(
                  [ "cluster-enabled", "yes"
                    "cluster-node-timeout", string nodeTimeout
                    "cluster-replica-validity-factor", "0"
                    "appendonly", "yes"
                    "appendfsync", "always" ]
              ) ]

    member _.Nodes = nodes
    member _.Addresses = String.Join(",", nodes |> List.map _.Address)

    member _.Start() =
        for node in nodes do
            node.Start()

        formCluster nodes (nodes |> List.map _.Address)

    interface IDisposable with
        member _.Dispose() =
            for node in nodes do
                (node :> IDisposable).Dispose()

/// A primary, a replica, and three Sentinels that watch them.
[<Sealed>]
type RedisSentinels() =
    let settings = [ "appendonly", "yes"; "appendfsync", "always" ]
    let primary = startOne settings
    let replica = startOne (settings @ [ "replicaof", $"127.0.0.1 {primary.Port}" ])
    let folder = Directory.CreateTempSubdirectory("session-sentinel-").FullName

    let sentinels =
        [ for i in 1..3 do
              let port = freePort ()
              let file = Path.Combine(folder, $"sentinel-{i}.conf")

              File.WriteAllLines(
                  file,
                  [ $"port {port}"
                    "bind 127.0.0.1"
                    $"dir {folder}"
                    $"sentinel monitor sessions 127.0.0.1 {primary.Port} 2"
                    "sentinel down-after-milliseconds sessions 1000"
                    "sentinel failover-timeout sessions 5000" ]
              )

              port, launch "redis-sentinel" [ file ] ]

    member _.Primary = primary
    member _.Replica = replica

    member _.Configuration =
        String.Join(",", sentinels |> List.map (fun (port, _) -> $"127.0.0.1:{port}"))
        + ",serviceName=sessions"

    /// Until a write reaches the replica, and the Sentinels know of both.
    member _.Settled() : Task<unit> =
        task {
            use! admin = connect primary.Address
            let mutable reached = 0L
            let mutable tries = 0

            while reached < 1L do
                tries <- tries + 1

                if tries > 100 then
                    failwith "the replica takes no writes"

                let! _ = admin.GetDatabase().StringSetAsync(RedisKey "settled", RedisValue(string tries))
                let! answer = admin.GetServer(primary.Address).ExecuteAsync("WAIT", 1, 200)
                reached <- RedisResult.op_Explicit answer

            do! Task.Delay 2000
        }

    interface IDisposable with
        member _.Dispose() =
            for _, started in sentinels do
                started.Kill()
                started.WaitForExit()
                started.Dispose()

            (replica :> IDisposable).Dispose()
            (primary :> IDisposable).Dispose()
            Directory.Delete(folder, true)
