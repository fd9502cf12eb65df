/// A state as bytes. Version first, an unknown version is refused; every length is bounded; no type names.
///
/// Layout, integers little-endian, times as 64-bit ticks of 100 ns since 0001-01-01 UTC:
///   u8 format = 2 | u8 state | u8 length, id | i64 version | i64 created | i64 authenticated or -1 | i64 last seen
///   | i64 secret since | i64 revision | i32 elevations | i32 length or -1, subject in UTF-8 | 32 secret hash
///   | u8 count, (u8 flags, 32 hash, i64 until)* superseded | what the state needs | i32 length, data
///   | u32 CRC-32C of all before
/// Format 1, which is still read, has no `until`: such a token has always been superseded.
/// The checksum finds damage, not attack: against whoever can write to the store, seal the data.
namespace Session.Engine

open System
open System.Buffers.Binary
open System.Numerics
open System.Runtime.CompilerServices
open System.Text
open Session.Domain

[<Struct; IsByRefLike>]
type private Writer =
    val mutable Rest: Span<byte>
    new(span) = { Rest = span }

    member w.U8(value: byte) =
        w.Rest[0] <- value
        w.Rest <- w.Rest.Slice 1

    member w.I32(value: int) =
        BinaryPrimitives.WriteInt32LittleEndian(w.Rest, value)
        w.Rest <- w.Rest.Slice 4

    member w.I64(value: int64) =
        BinaryPrimitives.WriteInt64LittleEndian(w.Rest, value)
        w.Rest <- w.Rest.Slice 8

    member w.Time(value: DateTimeOffset) = w.I64 value.UtcTicks

    member w.Hash(value: SecretHash) =
        BinaryPrimitives.WriteInt64BigEndian(w.Rest, value.W0)
        BinaryPrimitives.WriteInt64BigEndian(w.Rest.Slice 8, value.W1)
        BinaryPrimitives.WriteInt64BigEndian(w.Rest.Slice 16, value.W2)
        BinaryPrimitives.WriteInt64BigEndian(w.Rest.Slice 24, value.W3)
        w.Rest <- w.Rest.Slice 32

    member w.Text(value: string) = w.Rest <- w.Rest.Slice(Encoding.UTF8.GetBytes(value.AsSpan(), w.Rest))

    member w.Bytes(value: byte[]) =
        ReadOnlySpan<byte>(value).CopyTo w.Rest
        w.Rest <- w.Rest.Slice value.Length

/// Reads as far as the bytes go, and never past them: after `Broken` every answer is empty.
[<Struct; IsByRefLike>]
type private Reader =
    val mutable Rest: ReadOnlySpan<byte>
    val mutable Broken: bool
    new(span) = { Rest = span; Broken = false }

    member r.Take(length: int) : ReadOnlySpan<byte> =
        if length < 0 || length > r.Rest.Length then
            r.Broken <- true
            r.Rest <- ReadOnlySpan<byte>.Empty
            ReadOnlySpan<byte>.Empty
        else
            let taken = r.Rest.Slice(0, length)
            r.Rest <- r.Rest.Slice length
            taken

    member r.U8() =
        let taken = r.Take 1
        if r.Broken then 0uy else taken[0]

    member r.I32() =
        let taken = r.Take 4
        if r.Broken then 0 else BinaryPrimitives.ReadInt32LittleEndian taken

    member r.I64() =
        let taken = r.Take 8
        if r.Broken then 0L else BinaryPrimitives.ReadInt64LittleEndian taken

    /// -1 for none; a broken reader has none either.
    member r.Ticks() =
        let ticks = r.I64()

        if ticks < -1L || ticks > DateTime.MaxValue.Ticks then
            r.Broken <- true
            -1L
        else
            ticks

    member r.Time() =
        let ticks = r.Ticks()
        r.Broken <- r.Broken || ticks < 0L
        DateTimeOffset(max ticks 0L, TimeSpan.Zero)

    member r.TimeOrNone() =
        match r.Ticks() with
        | -1L -> None
        | ticks -> Some(DateTimeOffset(ticks, TimeSpan.Zero))

    member r.Hash() : SecretHash =
        let taken = r.Take 32

        if r.Broken then
            Unchecked.defaultof<SecretHash>
        else
            { W0 = BinaryPrimitives.ReadInt64BigEndian taken
              W1 = BinaryPrimitives.ReadInt64BigEndian(taken.Slice 8)
              W2 = BinaryPrimitives.ReadInt64BigEndian(taken.Slice 16)
              W3 = BinaryPrimitives.ReadInt64BigEndian(taken.Slice 24) }

[<RequireQualifiedAccess>]
module Codec =

    let format = 2uy
    let private formerFormat = 1uy
    let maxSubjectBytes = Subject.maxBytes
    let maxDataBytes = 16 * 1024 * 1024

    // Room for wrapped keys, nonce and tag of sealed data.
    let private maxSealedBytes = maxDataBytes + 4096

    let private crc (bytes: ReadOnlySpan<byte>) =
        let mutable sum = 0xFFFFFFFFu
        let mutable rest = bytes

        while rest.Length >= 8 do
            sum <- BitOperations.Crc32C(sum, BinaryPrimitives.ReadUInt64LittleEndian rest)
            rest <- rest.Slice 8

        for i in 0 .. rest.Length - 1 do
            sum <- BitOperations.Crc32C(sum, rest[i])

        ~~~sum

    let private reasonCode reason =
        match reason with
        | SignedOut -> 1uy
        | Revoked -> 2uy
        | Replayed -> 3uy
        | Limit -> 4uy

    let private kindCode kind =
        match kind with
        | Unconfirmed -> 1uy
        | Idle -> 2uy
        | Absolute -> 3uy

    let private encodeLive
        (format: byte)
        (id: string)
        (version: int64)
        tag
        extra
        (live: Live)
        (writeExtra: byte[] -> int -> unit)
        =
        let subjectBytes =
            match live.Subject with
            | Some subject -> Encoding.UTF8.GetByteCount subject
            | None -> 0

        let fixedBytes = 2 + 1 + id.Length + 6 * 8 + 4 + 4 + subjectBytes + 32 + 1
        let supersededBytes = if format = formerFormat then 33 else 41
        let head = fixedBytes + supersededBytes * live.Superseded.Length
        let bytes = Array.zeroCreate<byte>(head + extra + 4 + live.Data.Length + 4)
        let mutable w = Writer(Span<byte> bytes)
        w.U8 format
        w.U8 tag
        w.U8(byte id.Length)
        w.Text id
        w.I64 version
        w.Time live.CreatedAt

        match live.AuthenticatedAt with
        | Some at -> w.Time at
        | None -> w.I64 -1L

        w.Time live.LastSeen
        w.Time live.SecretSince
        w.I64 live.Revision
        w.I32 live.Elevations

        match live.Subject with
        | Some subject ->
            w.I32 subjectBytes
            w.Text subject
        | None -> w.I32 -1

        w.Hash live.Secret
        w.U8(byte live.Superseded.Length)

        for old in live.Superseded do
            w.U8((if old.ByRenewal then 1uy else 0uy) ||| (if old.Reported then 2uy else 0uy))
            w.Hash old.Secret

            if format <> formerFormat then
                w.Time old.Until

        writeExtra bytes head
        let mutable w = Writer(Span<byte>(bytes).Slice(head + extra))
        w.I32 live.Data.Length
        w.Bytes live.Data
        let body = ReadOnlySpan<byte>(bytes, 0, bytes.Length - 4)
        BinaryPrimitives.WriteUInt32LittleEndian(Span<byte>(bytes, bytes.Length - 4, 4), crc body)
        bytes

    let private nothing (_: byte[]) (_: int) = ()

    let private ending code (at: DateTimeOffset) told (bytes: byte[]) offset =
        let mutable w = Writer(Span<byte>(bytes, offset, 10))
        w.U8 code
        w.Time at
        w.U8(if told then 1uy else 0uy)

    let private encodeAs format (id: string) (version: int64) (state: State) : byte[] =
        match state with
        | Absent -> invalidOp "There is no record of an absent session."
        | Created live -> encodeLive format id version 1uy 0 live nothing
        | Active live -> encodeLive format id version 2uy 0 live nothing
        | Regenerated(live, Issued(secrets, at)) ->
            encodeLive format id version 3uy (8 + 1 + 32 * secrets.Length) live (fun bytes offset ->
                let mutable w = Writer(Span<byte>(bytes, offset, bytes.Length - offset))
                w.Time at
                w.U8(byte secrets.Length)

                for secret in secrets do
                    w.Hash secret)
        | Regenerated(live, Confirmed(predecessor, until)) ->
            encodeLive format id version 4uy 40 live (fun bytes offset ->
                let mutable w = Writer(Span<byte>(bytes, offset, 40))
                w.Time until
                w.Hash predecessor)
        | Destroyed(live, reason, at) -> encodeLive format id version 5uy 10 live (ending (reasonCode reason) at false)
        | Expired(live, kind, at, told) -> encodeLive format id version 6uy 10 live (ending (kindCode kind) at told)

    /// The bytes of a state. Absent has none: that is a programming error.
    let encode (id: string) (version: int64) (state: State) : byte[] = encodeAs format id version state

    /// As the version before this one wrote it: what sealed data of that time is bound to.
    let encodeFormer (id: string) (version: int64) (state: State) : byte[] = encodeAs formerFormat id version state

    /// The state of record `id` at `version`, or why these bytes are none: a record under another id, of another
    /// version than the store says, of an unknown format, damaged, or with anything behind its end.
    let decode (id: string) (version: int64) (body: ReadOnlyMemory<byte>) : Result<State, string> =
        let span = body.Span

        if span.Length < 8 then
            Error "too short"
        elif span[0] <> format && span[0] <> formerFormat then
            Error "unknown format"
        elif
            BinaryPrimitives.ReadUInt32LittleEndian(span.Slice(span.Length - 4))
            <> crc (span.Slice(0, span.Length - 4))
        then
            Error "damaged"
        else
            let mutable r = Reader(span.Slice(1, span.Length - 5))
            let tag = r.U8()
            let storedId = r.Take(int (r.U8()))
            let isForeign = not (Ascii.Equals(storedId, id.AsSpan()))
            let isOther = r.I64() <> version
            let created = r.Time()
            let authenticated = r.TimeOrNone()
            let lastSeen = r.Time()
            let secretSince = r.Time()
            let revision = r.I64()
            let elevations = r.I32()

            let subject =
                match r.I32() with
                | -1 -> None
                | length when length > maxSubjectBytes ->
                    r.Broken <- true
                    None
                | length ->
                    let bytes = r.Take length

                    if Unicode.Utf8.IsValid bytes then
                        Some(Encoding.UTF8.GetString bytes)
                    else
                        r.Broken <- true
                        None

            let secret = r.Hash()
            let count = int (r.U8())
            let mutable superseded = []

            let isFormer = span[0] = formerFormat

            if count > (if isFormer then Lifecycle.remembered else 2 * Lifecycle.remembered) then
                r.Broken <- true
            else
                for _ in 1..count do
                    let flags = r.U8()
                    r.Broken <- r.Broken || flags > 3uy

                    superseded <-
                        { Secret = r.Hash()
                          ByRenewal = flags &&& 1uy <> 0uy
                          Reported = flags &&& 2uy <> 0uy
                          Until = if isFormer then DateTimeOffset.MinValue else r.Time() }
                        :: superseded

            let mutable at = DateTimeOffset.MinValue
            let mutable secrets = []
            let mutable code = 0uy
            let mutable told = false

            match tag with
            | 3uy ->
                at <- r.Time()
                let count = int (r.U8())

                if count < 1 || count > Lifecycle.waiting then
                    r.Broken <- true
                else
                    for _ in 1..count do
                        secrets <- r.Hash() :: secrets
            | 4uy ->
                at <- r.Time()
                secrets <- [ r.Hash() ]
            | 5uy
            | 6uy ->
                code <- r.U8()
                at <- r.Time()
                let flag = r.U8()
                r.Broken <- r.Broken || flag > 1uy || (tag = 5uy && flag <> 0uy)
                told <- flag = 1uy
            | _ -> ()

            let length = r.I32()
            let data = if length > maxSealedBytes then r.Take -1 else r.Take length

            if r.Broken || not r.Rest.IsEmpty then
                Error "malformed"
            elif isForeign then
                Error "the record of another session"
            elif isOther then
                Error "another version than the store says"
            else
                let live =
                    { CreatedAt = created
                      AuthenticatedAt = authenticated
                      LastSeen = lastSeen
                      Subject = subject
                      Data = data.ToArray()
                      Revision = revision
                      Elevations = elevations
                      Secret = secret
                      SecretSince = secretSince
                      Superseded = List.rev superseded }

                match tag, code with
                | 1uy, _ -> Ok(Created live)
                | 2uy, _ -> Ok(Active live)
                | 3uy, _ -> Ok(Regenerated(live, Issued(List.rev secrets, at)))
                | 4uy, _ -> Ok(Regenerated(live, Confirmed(List.head secrets, at)))
                | 5uy, 1uy -> Ok(Destroyed(live, SignedOut, at))
                | 5uy, 2uy -> Ok(Destroyed(live, Revoked, at))
                | 5uy, 3uy -> Ok(Destroyed(live, Replayed, at))
                | 5uy, 4uy -> Ok(Destroyed(live, Limit, at))
                | 6uy, 1uy -> Ok(Expired(live, Unconfirmed, at, told))
                | 6uy, 2uy -> Ok(Expired(live, Idle, at, told))
                | 6uy, 3uy -> Ok(Expired(live, Absolute, at, told))
                | _ -> Error "unknown state"
