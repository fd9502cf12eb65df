/// What stands between a client and its server in some tests: whatever one says to the other passes through here.
module Integration.Relays

open System
open System.IO
open System.Net
open System.Net.Sockets
open System.Threading.Tasks

/// From one end to the other, until one of them closes. `before`: waited for with each piece, and with none at the end.
let pump (from: NetworkStream) (into: NetworkStream) (before: byte array -> Task) =
    task {
        let bytes = Array.zeroCreate<byte> 65536
        let mutable goesOn = true

        try
            while goesOn do
                let! length = from.ReadAsync(Memory bytes)
                do! before bytes[.. length - 1]
                goesOn <- length > 0

                if goesOn then
                    do! into.WriteAsync(ReadOnlyMemory(bytes, 0, length))
        with
        | :? IOException
        | :? ObjectDisposedException -> ()

        from.Dispose()
        into.Dispose()
    }

/// A port that serves whoever connects to it, until it is disposed.
[<Sealed>]
type Relay(serve: TcpClient -> Task<unit>) =
    let listener = new TcpListener(IPAddress.Loopback, 0)
    do listener.Start()
    let port = (listener.LocalEndpoint :?> IPEndPoint).Port

    do
        Task.Run<unit>(fun () ->
            task {
                try
                    while true do
                        let! client = listener.AcceptTcpClientAsync()
                        client.NoDelay <- true
                        serve client |> ignore
                with
                | :? SocketException
                | :? ObjectDisposedException -> ()
            })
        |> ignore

    member _.Port = port

    interface IDisposable with
        member _.Dispose() = listener.Stop()
