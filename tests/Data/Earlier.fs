/// The JSON of version 0.1, by the code that wrote it, kept as it was: sessions from before an upgrade go on.
module Data.Earlier

open System
open System.Collections.Generic
open System.Text.Json
open System.Text.Json.Serialization
open System.Text.Json.Serialization.Metadata
open Microsoft.FSharp.Reflection

/// An F# union as `"Case"`, or `{"Case": [field, …]}`. System.Text.Json knows records, options, lists and maps itself.
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
type private UnionConverterFactory() =
    inherit JsonConverterFactory()

    let known = HashSet<Type>([ typedefof<list<_>>; typedefof<option<_>>; typedefof<voption<_>> ])

    override _.CanConvert candidate =
        FSharpType.IsUnion candidate
        && not (candidate.IsGenericType && known.Contains(candidate.GetGenericTypeDefinition()))

    override _.CreateConverter(union, _) =
        match Activator.CreateInstance(typedefof<UnionConverter<_>>.MakeGenericType union, true) with
        | :? JsonConverter as converter -> converter
        | _ -> invalidOp "No converter for this union."

let private options =
    let options = JsonSerializerOptions(JsonSerializerDefaults.Web)
    options.DefaultIgnoreCondition <- JsonIgnoreCondition.WhenWritingNull
    options.Converters.Add(UnionConverterFactory())
    options.TypeInfoResolver <- DefaultJsonTypeInfoResolver()
    options

/// What was stored for it. None: it was refused at the write.
let write (data: Type) (value: obj) : byte[] option =
    try
        Some(JsonSerializer.SerializeToUtf8Bytes(value, data, options))
    with _ ->
        None

/// What it came back as. None: it did not.
let read (data: Type) (bytes: byte[]) : obj option =
    try
        match JsonSerializer.Deserialize(ReadOnlySpan<byte> bytes, data, options) with
        | null -> None
        | value -> Some value
    with _ ->
        None
