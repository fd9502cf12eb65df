/// What the tests of the Redis store share: engines over it, what a server is asked, records as tests write them.
module Integration.RedisWorld

open System
open System.Collections.Concurrent
open System.Diagnostics
open System.IO
open System.Text
open System.Threading
open System.Threading.Tasks
open Expecto
open StackExchange.Redis
open Integration.Engines
open Integration.RedisServer
open Integration.Relays
open Integration.World
open Session.Domain
open Session.Engine
open Session.Stores.Redis

let none = CancellationToken.None

let engineOn store clock board = Engines.engineOn store settings clock board

let engine store = engineOn store TimeProvider.System silent

let ok (answer: Result<'a, SessionError>) =
    match answer with
    | Ok value -> value
    | Error error -> failtestf "refused: %A" error

let withStore configure (body: RedisStore -> string -> Task<unit>) =
    task {
        let prefix = Guid.NewGuid().ToString("N") + ":"
        let store = openRedisAt (shared.Force().Address) prefix configure

        try
            do! body store prefix
        finally
            (store :> IAsyncDisposable).DisposeAsync().AsTask().GetAwaiter().GetResult()
    }

let present (engine: SessionEngine) (token: string) =
    engine.Present((Token.tryParse engine.Hasher (token.AsSpan())).Value, true, none)

/// What a token leads to.
type Truth =
    | Lives of byte array
    | Ended of DestroyReason
    | Other of SessionError

/// The answer of a server that may have to be found again first.
let answered engine token =
    task {
        let clock = Stopwatch.StartNew()
        let mutable answer = ValueNone

        while answer.IsNone do
            match! present engine token with
            | Error(SessionError.Unavailable error) ->
                if clock.Elapsed > TimeSpan.FromSeconds 20L then
                    failtestf "not found again: %O" error

                do! Task.Delay 20
            | Ok opened -> answer <- ValueSome(Lives opened.Live.Data)
            | Error(SessionError.Ended(OnPurpose reason, _)) -> answer <- ValueSome(Ended reason)
            | Error error -> answer <- ValueSome(Other error)

        return answer.Value
    }

/// How often the server ran each command since the last reset: its own statistics.
let commands (server: IServer) =
    task {
        let! text = server.InfoRawAsync "commandstats"

        return
            [ for line in (string text).Split '\n' do
                  if line.StartsWith "cmdstat_" then
                      let name = line.Substring(8, line.IndexOf ':' - 8)
                      let calls = line.Substring(line.IndexOf "calls=" + 6)
                      let calls = int (calls.Substring(0, calls.IndexOf ','))

                      // What the test and the driver's heartbeat ask for, and what runs inside scripts.
                      if
                          not (List.contains name [ "info"; "config|resetstat"; "ping"; "client|id"; "echo"; "config" ])
                      then
                          name, calls ]
            |> Map.ofList
    }

/// Between a client and its server: from the next request with this text on, what comes over its connection waits.
[<Sealed>]
type HeldRequests(server: int) =
    let gate = obj ()
    let mutable awaited: byte array voption = ValueNone
    let released = TaskCompletionSource TaskCreationOptions.RunContinuationsAsynchronously

    let passage (request: byte array) : Task =
        lock gate (fun () ->
            match awaited with
            | ValueSome text when ReadOnlySpan(request).IndexOf(ReadOnlySpan text) >= 0 ->
                awaited <- ValueNone
                released.Task
            | _ -> Task.CompletedTask)

    /// Each as a whole, for many come in one piece.
    let requests (from: Net.Sockets.NetworkStream) (into: Net.Sockets.NetworkStream) =
        task {
            let bytes = Array.zeroCreate<byte> 65536
            let mutable waiting = Array.empty<byte>
            let mutable goesOn = true

            try
                while goesOn do
                    let! length = from.ReadAsync(bytes.AsMemory())
                    goesOn <- length > 0
                    waiting <- Array.append waiting bytes[.. length - 1]
                    let mutable isWhole = true

                    while isWhole do
                        match Wire.redis "" (ReadOnlyMemory waiting) with
                        | ValueSome(struct (until, _)) ->
                            do! passage waiting[.. until - 1]
                            do! into.WriteAsync(ReadOnlyMemory(waiting, 0, until))
                            waiting <- waiting[until..]
                        | ValueNone -> isWhole <- false
            with
            | :? IOException
            | :? ObjectDisposedException -> ()

            from.Dispose()
            into.Dispose()
        }

    let serve (client: Net.Sockets.TcpClient) =
        task {
            let upstream = new Net.Sockets.TcpClient(NoDelay = true)
            do! upstream.ConnectAsync(Net.IPAddress.Loopback, server)
            let toServer, toClient = upstream.GetStream(), client.GetStream()
            let! _ = Task.WhenAll(requests toClient toServer, pump toServer toClient (fun _ -> Task.CompletedTask))
            ()
        }

    let relay = new Relay(serve)
    member _.Address = $"127.0.0.1:{relay.Port}"
    member _.From(text: string) = lock gate (fun () -> awaited <- ValueSome(Encoding.UTF8.GetBytes text))

    /// That request has come.
    member _.HasCome = lock gate (fun () -> awaited.IsNone)

    member _.Release() = released.TrySetResult() |> ignore

    interface IDisposable with
        member held.Dispose() =
            held.Release()
            (relay :> IDisposable).Dispose()

/// Counts the ends that it is told of.
type Counting() =
    let told = ConcurrentQueue<string>()
    member _.Told = List.ofSeq told

    interface INoticeBoard with
        member _.Post notice =
            match notice.Kind with
            | ExpiredNotice _ -> told.Enqueue notice.Id
            | _ -> ()

            ValueTask.CompletedTask

let start2026 = DateTimeOffset(2026, 5, 4, 3, 2, 1, TimeSpan.Zero)

/// A record of half an hour, whose body is one number.
let numbered id version kind (subject: string | null) (operation: int64) (number: byte) isDurable =
    StoredRecord(
        id,
        version,
        kind,
        start2026,
        start2026.AddMinutes 30.0,
        subject,
        operation,
        ReadOnlyMemory [| number |],
        isDurable
    )

/// Confirmed sessions, on all slots.
let begun (engine: SessionEngine) count =
    task {
        let tokens = Collections.Generic.List<string>()

        while tokens.Count < count do
            match! engine.Create(Token.newId, None, [| 7uy |], none) with
            | Error _ -> do! Task.Delay 20
            | Ok created ->
                let token = created.Issued.Value.Reveal()

                match! answered engine token with
                | Lives _ -> tokens.Add token
                | other -> failtestf "not let in: %A" other

        return List.ofSeq tokens
    }
