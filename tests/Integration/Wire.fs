/// Between a client and its server: lets so many requests through, and is gone from then on, as a client is that is killed.
module Integration.Wire

open System
open System.Net
open System.Threading.Tasks
open Session.Stores.Testing

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

/// The proxy of the contract kit, for a server on this machine.
[<Sealed>]
type Wire(server: int, framing: Framing, requests: int) =
    let frames =
        CrashingProxy.Framing(fun bytes counts ->
            match framing bytes with
            | ValueSome(struct (until, isCounted)) ->
                counts <- isCounted
                until
            | ValueNone ->
                counts <- false
                0)

    let proxy = CrashingProxy(IPEndPoint(IPAddress.Loopback, server), frames, requests)
    member _.Port = proxy.Port

    /// Until the server has carried out all that came through.
    member _.Ended() : Task<unit> = task { do! proxy.DisposeAsync() }
