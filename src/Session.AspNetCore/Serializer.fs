/// Session data as bytes: JSON unless the application brings something else.
namespace Session.AspNetCore

open System
open System.Buffers.Binary
open System.Collections.Generic
open System.Diagnostics.CodeAnalysis
open System.Text.Json
open System.Text.Json.Nodes
open System.Text.Json.Serialization
open System.Text.Json.Serialization.Metadata
open Microsoft.FSharp.Reflection

/// Turns session data into bytes and back. What it throws on reading makes the record unreadable: it opens nothing.
type ISessionSerializer<'T> =
    abstract Serialize: 'T -> byte[]
    abstract Deserialize: ReadOnlyMemory<byte> -> 'T

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

/// JSON with metadata from the source generator: trimming and AOT keep working. From version 2 of the data on,
/// the bytes 0 'v' and the version as a 32-bit little-endian number come before the JSON.
[<Sealed>]
type JsonSessionSerializer<'T>(info: JsonTypeInfo<'T>, version: int, upcasters: Map<int, JsonNode -> JsonNode>) =
    let headBytes = 6

    let isVersioned (bytes: ReadOnlySpan<byte>) = bytes.Length >= headBytes && bytes[0] = 0uy && bytes[1] = byte 'v'

    let ofNull (value: obj | null) =
        match value with
        | null -> raise (JsonException "The data is null.")
        | value -> unbox<'T> value

    /// Data of version 1, and no other.
    new(info) = JsonSessionSerializer(info, 1, Map.empty)

    interface ISessionSerializer<'T> with
        member _.Serialize value =
            let json = JsonSerializer.SerializeToUtf8Bytes(value, info)

            if version = 1 then
                json
            else
                let bytes = Array.zeroCreate<byte>(headBytes + json.Length)
                bytes[1] <- byte 'v'
                BinaryPrimitives.WriteInt32LittleEndian(Span<byte>(bytes, 2, 4), version)
                json.CopyTo(bytes, headBytes)
                bytes

        member _.Deserialize bytes =
            let stored, json =
                if isVersioned bytes.Span then
                    BinaryPrimitives.ReadInt32LittleEndian(bytes.Span.Slice 2), bytes.Slice headBytes
                else
                    1, bytes

            if stored = version then
                ofNull (JsonSerializer.Deserialize(json.Span, info :> JsonTypeInfo))
            elif stored > version then
                raise (NewerSessionDataException(stored, version))
            else
                let mutable node = JsonNode.Parse json.Span

                for from in stored .. version - 1 do
                    node <-
                        match node, Map.tryFind from upcasters with
                        | null, _ -> raise (JsonException "The data is null.")
                        | _, None -> raise (JsonException(String.Concat("No upcaster from version ", string from, ".")))
                        | node, Some toNext -> toNext node

                ofNull (JsonSerializer.Deserialize(node, info :> JsonTypeInfo))

/// An F# union as `"Case"`, or `{"Case": [field, …]}`. System.Text.Json knows records, options, lists and maps itself.
[<RequiresUnreferencedCode("Reads the cases of unions by reflection.")>]
type private UnionConverter<'T>() =
    inherit JsonConverter<'T>()

    let cases = FSharpType.GetUnionCases typeof<'T>
    let fields = cases |> Array.map (fun case -> case.GetFields() |> Array.map _.PropertyType)
    let make = cases |> Array.map FSharpValue.PreComputeUnionConstructor
    let read = cases |> Array.map FSharpValue.PreComputeUnionReader
    let tag = FSharpValue.PreComputeUnionTagReader typeof<'T>

    let find (name: string | null) =
        match cases |> Array.tryFindIndex (fun case -> String.Equals(case.Name, name)) with
        | Some index -> index
        | None -> raise (JsonException(String.Concat("Unknown case of the union ", typeof<'T>.Name, ".")))

    override _.HandleNull = true

    override _.Read(reader, _, options) =
        match reader.TokenType with
        | JsonTokenType.String -> unbox (make[find (reader.GetString())] [||])
        | JsonTokenType.StartObject ->
            reader.Read() |> ignore
            let index = find (reader.GetString())
            reader.Read() |> ignore

            if reader.TokenType <> JsonTokenType.StartArray then
                raise (JsonException "A union case needs an array of its fields.")

            let values: obj array = Array.zeroCreate fields[index].Length

            for i in 0 .. values.Length - 1 do
                reader.Read() |> ignore
                values[i] <- Unchecked.nonNull (JsonSerializer.Deserialize(&reader, fields[index][i], options))

            reader.Read() |> ignore

            if reader.TokenType <> JsonTokenType.EndArray then
                raise (JsonException "A union case has another number of fields.")

            reader.Read() |> ignore

            if reader.TokenType <> JsonTokenType.EndObject then
                raise (JsonException "A union has one case at a time.")

            unbox (make[index] values)
        | _ -> raise (JsonException "A union is a string or an object.")

    override _.Write(writer, value, options) =
        let index = tag (box value)

        if fields[index].Length = 0 then
            writer.WriteStringValue cases[index].Name
        else
            writer.WriteStartObject()
            writer.WriteStartArray cases[index].Name

            read[index](box value)
            |> Array.iteri (fun i field -> JsonSerializer.Serialize(writer, field, fields[index][i], options))

            writer.WriteEndArray()
            writer.WriteEndObject()

/// The unions that System.Text.Json does not know by itself.
[<RequiresUnreferencedCode("Reads the cases of unions by reflection.")>]
[<RequiresDynamicCode("Makes a converter for each union type.")>]
type UnionConverterFactory() =
    inherit JsonConverterFactory()

    let known = HashSet<Type>([ typedefof<list<_>>; typedefof<option<_>>; typedefof<voption<_>> ])

    override _.CanConvert candidate =
        FSharpType.IsUnion candidate
        && not (candidate.IsGenericType && known.Contains(candidate.GetGenericTypeDefinition()))

    override _.CreateConverter(union, _) =
        match Activator.CreateInstance(typedefof<UnionConverter<_>>.MakeGenericType union, true) with
        | :? JsonConverter as converter -> converter
        | _ -> invalidOp "No converter for this union."

[<RequireQualifiedAccess>]
module SessionSerializer =
    /// Compact JSON by reflection, with F# unions.
    [<RequiresUnreferencedCode("Serializes by reflection. Pass a JsonTypeInfo<T> instead.")>]
    [<RequiresDynamicCode("Serializes by reflection. Pass a JsonTypeInfo<T> instead.")>]
    let json<'T> (settings: SessionSettings) : ISessionSerializer<'T> =
        let options = JsonSerializerOptions(JsonSerializerDefaults.Web)
        options.DefaultIgnoreCondition <- JsonIgnoreCondition.WhenWritingNull
        options.Converters.Add(UnionConverterFactory())
        options.TypeInfoResolver <- DefaultJsonTypeInfoResolver()
        options.MakeReadOnly()

        match options.GetTypeInfo typeof<'T> with
        | :? JsonTypeInfo<'T> as info -> JsonSessionSerializer<'T>(info, settings.DataVersion, settings.Upcasters)
        | _ -> invalidOp "No JSON contract for this type."
