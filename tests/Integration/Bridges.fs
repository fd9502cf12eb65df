/// A way to a server that is cut, and joined again.
module Integration.Bridges

open System
open System.Collections.Concurrent
open System.Net
open System.Net.Sockets
open System.Threading
open System.Threading.Tasks
open Integration.Relays

/// In front of a server: may be cut, and joined again.
[<Sealed>]
type Bridge(server: int) =
    let joined = ConcurrentBag<TcpClient>()
    let mutable isCut = false

    let serve (client: TcpClient) =
        task {
            if Volatile.Read &isCut then
                client.Dispose()
            else
                let upstream = new TcpClient(NoDelay = true)
                do! upstream.ConnectAsync(IPAddress.Loopback, server)
                joined.Add client
                joined.Add upstream
                let goesOn _ = Task.CompletedTask
                let toServer, toClient = upstream.GetStream(), client.GetStream()
                let! _ = Task.WhenAll(pump toClient toServer goesOn, pump toServer toClient goesOn)
                ()
        }

    let relay = new Relay(serve)
    member _.Port = relay.Port

    member _.Cut() : Task =
        Volatile.Write(&isCut, true)

        for client in joined do
            client.Dispose()

        Task.CompletedTask

    member _.Join() : Task =
        Volatile.Write(&isCut, false)
        Task.CompletedTask

    interface IDisposable with
        member bridge.Dispose() =
            bridge.Cut() |> ignore<Task>
            (relay :> IDisposable).Dispose()
