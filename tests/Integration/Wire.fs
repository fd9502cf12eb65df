/// Between a client and its server: lets so many requests through, and is gone from then on, as a client is that is killed.
module Integration.Wire

open System
open System.Collections.Concurrent
open System.IO
open System.Net
open System.Net.Sockets
open System.Threading
open System.Threading.Tasks

/// Where the first request in these bytes ends, once it is whole; and whether it counts.
type Framing = ReadOnlyMemory<byte> -> struct (int * bool) voption

/// Redis: an array of bulk strings. What names a key of this prefix counts, and not what a driver says to itself.
let redis (prefix: string) : Framing =
    let prefix = Text.Encoding.UTF8.GetBytes prefix

    fun bytes ->
        /// The number of a line, and where the next one begins.
        let line (at: int) =
            let rest = bytes.Span.Slice at

            match rest.IndexOf "\r\n"B with
            | -1 -> ValueNone
            | length -> ValueSome(struct (Int32.Parse(rest.Slice(1, length - 1)), at + length + 2))

        let rec bulk left at =
            if left = 0 then
                ValueSome at
            else
                match line at with
                | ValueSome(length, start) when start + length + 2 <= bytes.Length ->
                    bulk (left - 1) (start + length + 2)
                | _ -> ValueNone

        if bytes.IsEmpty then
            ValueNone
        else
            match line 0 with
            | ValueNone -> ValueNone
            | ValueSome(count, start) ->
                bulk count start
                |> ValueOption.map (fun until -> struct (until, bytes.Span.Slice(0, until).IndexOf prefix >= 0))

/// MongoDB: the length comes first. Greetings do not count, nor what ends a session of the driver's.
let mongo: Framing =
    fun bytes ->
        if bytes.Length < 16 || bytes.Length < BitConverter.ToInt32(bytes.Span) then
            ValueNone
        else
            let message = bytes.Slice(0, BitConverter.ToInt32 bytes.Span)
            let has (word: string) = message.Span.IndexOf(ReadOnlySpan(Text.Encoding.ASCII.GetBytes word)) >= 0
            let isGreeting = has "hello" || has "ismaster" || has "isMaster" || has "endSessions"
            ValueSome(struct (message.Length, not isGreeting))

/// PostgreSQL: a kind and a length; without a kind what a connection begins with. What a driver sends in one go ends with
/// a Sync, and is carried out as a whole: that counts.
let postgres: Framing =
    fun bytes ->
        let lengthAt (at: int) = Buffers.Binary.BinaryPrimitives.ReadInt32BigEndian(bytes.Span.Slice at)

        let rec message at =
            if bytes.Length < at + 5 then
                ValueNone
            else
                let until = at + 1 + lengthAt (at + 1)

                match char bytes.Span[at] with
                | _ when until > bytes.Length -> ValueNone
                | 'S'
                | 'Q' -> ValueSome(struct (until, true))
                | 'p'
                | 'X' -> ValueSome(struct (until, false))
                | _ -> message until

        if bytes.Length < 4 then ValueNone
        elif bytes.Span[0] <> 0uy then message 0
        elif lengthAt 0 > bytes.Length then ValueNone
        else ValueSome(struct (lengthAt 0, false))

[<Sealed>]
type Wire(server: int, framing: Framing, requests: int) =
    let listener = new TcpListener(IPAddress.Loopback, 0)
    let stopped = new CancellationTokenSource()
    let gate = obj ()
    let clients = ConcurrentBag<TcpClient>()
    let mutable left = requests
    do listener.Start()
    let port = (listener.LocalEndpoint :?> IPEndPoint).Port

    /// False: the client is no more.
    let mayPass counts =
        lock gate (fun () ->
            if counts then
                left <- left - 1

            if left < 0 then
                stopped.Cancel()

            left >= 0)

    let ignoring (work: unit -> Task<unit>) =
        task {
            try
                do! work ()
            with
            | :? IOException
            | :? SocketException
            | :? ObjectDisposedException
            | :? OperationCanceledException -> ()
        }

    let serve (client: TcpClient) =
        task {
            use upstream = new TcpClient()
            upstream.NoDelay <- true
            do! upstream.ConnectAsync(IPAddress.Loopback, server)
            let toServer, toClient = upstream.GetStream(), client.GetStream()

            let answers =
                ignoring (fun () ->
                    task {
                        let bytes = Array.zeroCreate<byte> 65536
                        let mutable goesOn = true

                        // To the end, also when nobody listens any more: what was sent has been carried out by then.
                        while goesOn do
                            let! length = toServer.ReadAsync(Memory bytes)
                            goesOn <- length > 0

                            if goesOn && not stopped.IsCancellationRequested then
                                do!
                                    ignoring (fun () ->
                                        task { do! toClient.WriteAsync(ReadOnlyMemory(bytes, 0, length)) })
                    })

            do!
                ignoring (fun () ->
                    task {
                        let mutable waiting = Array.empty<byte>
                        let bytes = Array.zeroCreate<byte> 65536
                        let mutable goesOn = true

                        while goesOn do
                            let! length = toClient.ReadAsync(Memory bytes, stopped.Token)
                            goesOn <- length > 0
                            waiting <- Array.append waiting bytes[.. length - 1]
                            let mutable isWhole = goesOn

                            while isWhole do
                                match framing (ReadOnlyMemory waiting) with
                                | ValueSome(until, counts) when mayPass counts ->
                                    do! toServer.WriteAsync(ReadOnlyMemory(waiting, 0, until))
                                    waiting <- waiting[until..]
                                | ValueSome _ ->
                                    isWhole <- false
                                    goesOn <- false
                                | ValueNone -> isWhole <- false
                    })

            client.Dispose()
            upstream.Client.Shutdown SocketShutdown.Send
            do! answers
        }

    let served = ConcurrentBag<Task>()

    do
        Task.Run<unit>(fun () ->
            ignoring (fun () ->
                task {
                    while true do
                        let! client = listener.AcceptTcpClientAsync stopped.Token
                        client.NoDelay <- true
                        clients.Add client
                        served.Add(ignoring (fun () -> serve client))
                }))
        |> ignore

        stopped.Token.Register(fun () -> listener.Stop()) |> ignore

    member _.Port = port

    /// Until the server has carried out all that came through.
    member _.Ended() =
        task {
            do! stopped.CancelAsync()

            for client in clients do
                client.Dispose()

            do! Task.WhenAll served
        }
