/// Session data as bytes: JSON unless the application brings something else.
namespace Session.AspNetCore

open System
open System.Buffers.Binary
open System.Diagnostics.CodeAnalysis
open System.Text.Json
open System.Text.Json.Nodes
open System.Text.Json.Serialization.Metadata
open Microsoft.Extensions.Options

/// Turns session data into bytes and back. What it throws on reading makes the record unreadable: it opens nothing.
/// No bytes at all are data like any other.
type ISessionSerializer<'T> =
    abstract Serialize: 'T -> byte[]
    abstract Deserialize: ReadOnlyMemory<byte> -> 'T

/// A serializer of data that says itself when it is over, such as a ticket. From the bytes, at each look: without a full read.
type internal IKnowsEnd =
    abstract EndOf: data: byte[] -> DateTimeOffset

/// A serializer raises it for data of a newer version than it knows: the record is left alone, the request gets a 503.
[<Sealed>]
type NewerSessionDataException(version: int, known: int) =
    inherit
        Exception(
            String.Concat(
                "The session data is of version ",
                string version,
                "; this application knows version " + string known,
                "."
            )
        )

    member _.Version = version
    member _.Known = known

/// A serializer raises it for data that it could not give back: the write is refused, and changes nothing.
[<Sealed>]
type UnwritableSessionDataException(message: string, inner: exn | null) =
    inherit Exception(message, inner)

/// JSON by the contract given, which a source generator may have made: trimming and AOT keep working. From version 2 of
/// the data on, the bytes 0 'v' and the version as a 32-bit little-endian number come before the JSON.
/// A contract by which data would be lost, or could not be read back, is an OptionsValidationException that names the
/// member and the cure. A value that could not be given back, such as a null that its type has not, is an
/// UnwritableSessionDataException.
[<Sealed>]
type JsonSessionSerializer<'T>(info: JsonTypeInfo<'T>, version: int, upcasters: Map<int, JsonNode -> JsonNode>) =
    let info = SessionContract.check info

    let texts = WholeText<'T> info
    let headBytes = 6

    let isVersioned (bytes: ReadOnlySpan<byte>) = bytes.Length >= headBytes && bytes[0] = 0uy && bytes[1] = byte 'v'

    let ofNull (value: obj | null) =
        match value with
        | null -> raise (JsonException "The data is null.")
        | value -> unbox<'T> value

    /// The field is named by its path where the error itself does not.
    let located (error: JsonException) : exn =
        match error.Path with
        | null
        | "$" -> error
        | path when error.Message.Contains(path, StringComparison.Ordinal) -> error
        | path -> JsonException(String.Concat(error.Message, " Path: ", path), error)

    let read (json: ReadOnlySpan<byte>) = ofNull (JsonSerializer.Deserialize(json, info :> JsonTypeInfo))

    let refuse (message: string) (inner: exn | null) = raise (UnwritableSessionDataException(message, inner))

    /// With the member, where fields can be seen.
    let refuseHalf (value: 'T) (json: byte[]) =
        let place =
            try
                if TypeState.isVisible then ReadBack.compare value (read (ReadOnlySpan<byte> json)) else None
            with :? JsonException ->
                None

        refuse
            (String.Concat(
                "A text has half of a surrogate pair (a character that was cut in two), and would not come back: ",
                defaultArg place (Shapes.nameOf typeof<'T>),
                ". Store whole characters."
            ))
            null

    let write (value: 'T) : byte[] =
        // JSON would take it, and no read gives it back: the session would be lost with a write that was acknowledged.
        if isNull (box value) then
            refuse (String.Concat("The data is null, which is no ", Shapes.nameOf typeof<'T>, ".")) null

        let json =
            try
                JsonSerializer.SerializeToUtf8Bytes(value, info)
            with
            | :? JsonException as error -> refuse error.Message error
            | :? OutOfMemoryException -> reraise ()
            // NaN among them, by a contract that does not say how; an ImmutableArray that nobody has set; a list that another
            // thread changes meanwhile; a getter that throws.
            | error -> refuse error.Message error

        if texts.IsBroken(value, json) then
            refuseHalf value json

        json

    /// Data of version 1, and no other.
    new(info) = JsonSessionSerializer(info, 1, Map.empty)

    interface ISessionSerializer<'T> with
        member _.Serialize value =
            let json = write value

            if version = 1 then
                json
            else
                let bytes = Array.zeroCreate<byte>(headBytes + json.Length)
                bytes[1] <- byte 'v'
                BinaryPrimitives.WriteInt32LittleEndian(Span<byte>(bytes, 2, 4), version)
                json.CopyTo(bytes, headBytes)
                bytes

        member _.Deserialize bytes =
            let struct (stored, json) =
                if isVersioned bytes.Span then
                    struct (BinaryPrimitives.ReadInt32LittleEndian(bytes.Span.Slice 2), bytes.Slice headBytes)
                else
                    struct (1, bytes)

            try
                if stored = version then
                    read json.Span
                elif stored > version then
                    raise (NewerSessionDataException(stored, version))
                else
                    let mutable node = JsonNode.Parse json.Span

                    for from in stored .. version - 1 do
                        node <-
                            match node, Map.tryFind from upcasters with
                            | null, _ -> raise (JsonException "The data is null.")
                            | _, None ->
                                raise (JsonException(String.Concat("No upcaster from version ", string from, ".")))
                            | node, Some toNext -> toNext node

                    ofNull (JsonSerializer.Deserialize(node, info :> JsonTypeInfo))
            with :? JsonException as error ->
                raise (located error)

[<RequireQualifiedAccess>]
module SessionSerializer =
    /// The contract that reflection makes of a type, F# types included.
    [<RequiresUnreferencedCode("Serializes by reflection. Pass a JsonTypeInfo<T> instead.")>]
    [<RequiresDynamicCode("Serializes by reflection. Pass a JsonTypeInfo<T> instead.")>]
    let contract<'T> () : JsonTypeInfo<'T> =
        let options = Contracts.options typeof<'T>
        options.MakeReadOnly()

        try
            match options.GetTypeInfo typeof<'T> with
            | :? JsonTypeInfo<'T> as info -> info
            | _ -> invalidOp "There is none."
        with
        | :? InvalidOperationException
        | :? NotSupportedException as error ->
            raise (
                OptionsValidationException(
                    Shapes.nameOf typeof<'T>,
                    typeof<SessionSettings>,
                    [ String.Concat(Shapes.nameOf typeof<'T>, ": it has no JSON contract. ", error.Message) ]
                )
            )

    /// Compact JSON by reflection, with F# unions.
    [<RequiresUnreferencedCode("Serializes by reflection. Pass a JsonTypeInfo<T> instead.")>]
    [<RequiresDynamicCode("Serializes by reflection. Pass a JsonTypeInfo<T> instead.")>]
    let json<'T> (settings: SessionSettings) : ISessionSerializer<'T> =
        JsonSessionSerializer<'T>(contract<'T>(), settings.DataVersion, settings.Upcasters)
