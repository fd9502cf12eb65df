/// One primary, two replicas and three Sentinels, each server behind a proxy of its own, which can be cut.
module Integration.RedisFleet

open System
open System.Collections.Concurrent
open System.Diagnostics
open System.IO
open System.Net
open System.Net.Sockets
open System.Threading
open System.Threading.Tasks
open StackExchange.Redis
open Integration.RedisServer
open Integration.Relays

/// Hands everything on, until it is cut: then what was sent waits on the way, as in a network that loses packets for
/// a while and then delivers them.
[<Sealed>]
type Partition(server: int) =
    let gate = obj ()
    let mutable passage = Task.CompletedTask
    let mutable opens: TaskCompletionSource | null = null
    let whenOpen (_: byte array) = Volatile.Read &passage

    let serve (client: TcpClient) =
        task {
            try
                do! whenOpen [||]
                let upstream = new TcpClient(NoDelay = true)
                do! upstream.ConnectAsync(IPAddress.Loopback, server)
                let toServer, toClient = upstream.GetStream(), client.GetStream()
                let! _ = Task.WhenAll(pump toClient toServer whenOpen, pump toServer toClient whenOpen)
                ()
            with
            | :? IOException
            | :? SocketException
            | :? ObjectDisposedException -> client.Dispose()
        }

    let relay = new Relay(serve)

    member _.Port = relay.Port

    member _.Cut() =
        lock gate (fun () ->
            let closed = TaskCompletionSource TaskCreationOptions.RunContinuationsAsynchronously
            opens <- closed
            Volatile.Write(&passage, closed.Task))

    member _.Heal() =
        lock gate (fun () ->
            match opens with
            | null -> ()
            | closed ->
                Volatile.Write(&passage, Task.CompletedTask)
                closed.SetResult()
                opens <- null)

    interface IDisposable with
        member fence.Dispose() =
            fence.Heal()
            (relay :> IDisposable).Dispose()

/// A server, and the proxy by which everybody knows it.
type Member = { Server: RedisServer; Fence: Partition }

/// One primary, two replicas, three Sentinels.
[<Sealed>]
type Fleet(settings: (string * string) list, sentinelSettings: string list) =
    let folder = Directory.CreateTempSubdirectory("session-fleet-").FullName

    let heard = ConcurrentQueue<string>()

    let join (primary: int option) =
        let port = freePort ()
        let fence = new Partition(port)

        let following =
            match primary with
            | Some port -> [ "replicaof", $"127.0.0.1 {port}" ]
            | None -> []

        let announced =
            [ "replica-announce-ip", "127.0.0.1"
              "replica-announce-port", string fence.Port ]

        let server =
            new RedisServer(settings @ announced @ following, port, fun line -> heard.Enqueue $"{fence.Port} {line}")

        server.Start()
        { Server = server; Fence = fence }

    let first = join None
    let members = first :: [ for _ in 1..2 -> join (Some first.Fence.Port) ]

    let sentinel (port: int) =
        launchHeard
            (fun line -> heard.Enqueue $"Sentinel {port} {line}")
            "redis-sentinel"
            [ Path.Combine(folder, $"sentinel-{port}.conf") ]

    let mutable sentinels =
        [ for _ in 1..3 do
              let port = freePort ()

              File.WriteAllLines(
                  Path.Combine(folder, $"sentinel-{port}.conf"),
                  [ $"port {port}"
                    "bind 127.0.0.1"
                    $"dir {folder}"
                    $"sentinel monitor sessions 127.0.0.1 {first.Fence.Port} 2"
                    "sentinel down-after-milliseconds sessions 1000"
                    "sentinel failover-timeout sessions 2000" ]
                  @ sentinelSettings
              )

              port, sentinel port ]

    let cli (port: int) (arguments: string list) =
        task {
            use asked =
                nonNull (
                    Process.Start(
                        ProcessStartInfo("redis-cli", [ "-p"; string port ] @ arguments, RedirectStandardOutput = true)
                    )
                )

            use patience = new CancellationTokenSource(TimeSpan.FromSeconds 3L)

            try
                let! text = asked.StandardOutput.ReadToEndAsync patience.Token
                do! asked.WaitForExitAsync()
                return text.Split('\n', StringSplitOptions.TrimEntries) |> List.ofArray
            with :? OperationCanceledException ->
                asked.Kill()
                return []
        }

    let until (what: string) (isTrue: unit -> Task<bool>) =
        task {
            let clock = Stopwatch.StartNew()
            let mutable isDone = false

            while not isDone do
                if clock.Elapsed > TimeSpan.FromSeconds 60L then
                    failwithf "the fleet: never came: %s" what

                let! now = isTrue ()
                isDone <- now

                if not isDone then
                    do! Task.Delay 100
        }

    new() = new Fleet([ "appendonly", "yes" ], [])

    member _.Members = members

    /// What the servers and the Sentinels have said, for whoever has to find out why something went wrong.
    member _.Heard = List.ofSeq heard

    member _.Configuration =
        String.Join(",", sentinels |> List.map (fun (port, _) -> $"127.0.0.1:{port}"))
        + ",serviceName=sessions"

    /// The primary, as most Sentinels name it; none: they do not agree.
    member _.Named() =
        task {
            let! answers =
                [ for port, _ in sentinels -> cli port [ "sentinel"; "get-master-addr-by-name"; "sessions" ] ]
                |> Task.WhenAll

            return
                answers
                |> Seq.countBy (fun answer -> List.tryItem 1 answer)
                |> Seq.tryPick (fun (port, count) -> if count >= 2 then port else None)
                |> Option.bind (fun port -> members |> List.tryFind (fun one -> string one.Fence.Port = port))
        }

    /// Until all agree: one primary, the other two its replicas, linked, and the Sentinels know of everybody.
    member fleet.Settled() =
        until "one primary and two replicas" (fun () ->
            task {
                match! fleet.Named() with
                | None -> return false
                | Some primary ->
                    let! roles = [ for one in members -> cli one.Server.Port [ "role" ] ] |> Task.WhenAll

                    let isRight one (role: string list) =
                        match role with
                        | "master" :: _ -> one = primary
                        | [ "slave"; _; port; "connected"; _; _ ]
                        | "slave" :: _ :: port :: "connected" :: _ -> port = string primary.Fence.Port
                        | _ -> false

                    let! known = cli (fst sentinels.Head) [ "sentinel"; "master"; "sessions" ]

                    let has name count = known |> List.pairwise |> List.contains (name, string count)

                    return
                        List.forall2 isRight members (List.ofArray roles)
                        && has "num-slaves" 2
                        && has "num-other-sentinels" 2
                        && has "flags" "master"
            })

    /// Until the Sentinels name another primary than this one.
    member fleet.FailedOver(from: Member) =
        until "another primary" (fun () ->
            task {
                let! named = fleet.Named()
                return named.IsSome && named.Value <> from
            })

    /// So many of the three.
    member _.KillSentinels(count: int) =
        for _, started in List.truncate count sentinels do
            if not started.HasExited then
                started.Kill()
                started.WaitForExit()

    member fleet.KillSentinels() = fleet.KillSentinels 3

    member _.StartSentinels() = sentinels <- [ for port, _ in sentinels -> port, sentinel port ]

    interface IDisposable with
        member fleet.Dispose() =
            fleet.KillSentinels()

            for one in members do
                (one.Fence :> IDisposable).Dispose()
                (one.Server :> IDisposable).Dispose()

            Directory.Delete(folder, true)
