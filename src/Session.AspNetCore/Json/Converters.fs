/// What System.Text.Json cannot write by itself: unions, options of options, and integers of any size.
namespace Session.AspNetCore

open System
open System.Buffers
open System.Diagnostics.CodeAnalysis
open System.Globalization
open System.Numerics
open System.Reflection
open System.Text
open System.Text.Json
open System.Text.Json.Serialization
open Microsoft.FSharp.Reflection
open Session.AspNetCore.Shapes

/// A converter of this library, which lets the types of what it writes be looked at.
type internal IHasParts =
    abstract Parts: struct (string * Type) list

/// An F# union as `"Case"`, or `{"Case": [field, …]}`. As a key: the case, or this object as text.
[<RequiresUnreferencedCode("Reads the cases of unions by reflection.")>]
[<RequiresDynamicCode("Serializes the fields of unions by reflection.")>]
type internal UnionConverter<'T>() =
    inherit JsonConverter<'T>()

    let cases = FSharpType.GetUnionCases(typeof<'T>, access)
    let fields: PropertyInfo array array = cases |> Array.map (fun case -> case.GetFields())

    let make = cases |> Array.map (fun case -> FSharpValue.PreComputeUnionConstructor(case, access))

    let read = cases |> Array.map (fun case -> FSharpValue.PreComputeUnionReader(case, access))
    let tag = FSharpValue.PreComputeUnionTagReader(typeof<'T>, access)

    let isOptional = fields |> Array.map (Array.map isOptional)

    let admitsNull =
        fields
        |> Array.map (
            Array.map (fun field ->
                field.PropertyType.IsValueType
                || Shapes.isOptional field
                || not (isNeverNull field.PropertyType || isOfFSharp typeof<'T>))
        )

    let typeOf (case: int) (field: int) : Type = (Array.get fields[case] field).PropertyType

    let placeOf (case: int) (field: int) =
        String.Concat(nameOf typeof<'T>, ".", cases[case].Name, "." + (Array.get fields[case] field).Name)

    let find (name: string | null) =
        match cases |> Array.tryFindIndex (fun case -> String.Equals(case.Name, name)) with
        | Some index -> index
        | None ->
            raise (
                JsonException(String.Concat("The union ", nameOf typeof<'T>, " has no case ", String.Concat(name, ".")))
            )

    /// A case that has got a field since: None if it is an option, else nobody can know.
    let missing case field : objnull =
        let declared = typeOf case field

        if not (Array.get isOptional[case] field) then
            raise (JsonException(String.Concat("The data has no field ", placeOf case field, ".")))
        elif declared.IsValueType then
            Activator.CreateInstance declared
        else
            null

    let checkNull case field (value: objnull) =
        if isNull value && not (Array.get admitsNull[case] field) then
            raise (JsonException(String.Concat(placeOf case field, " is null, and its type has no null.")))

    override _.HandleNull = true

    override _.Read(reader, _, options) =
        match reader.TokenType with
        | JsonTokenType.String ->
            let case = find (reader.GetString())
            unbox<'T>(make[case](Array.init (fields[case].Length) (missing case)))
        | JsonTokenType.StartObject ->
            reader.Read() |> ignore
            let case = find (reader.GetString())
            reader.Read() |> ignore

            if reader.TokenType <> JsonTokenType.StartArray then
                raise (JsonException "A union case needs an array of its fields.")

            let values: objnull array = Array.zeroCreate (fields[case].Length)
            let mutable count = 0
            reader.Read() |> ignore

            while reader.TokenType <> JsonTokenType.EndArray do
                if count = values.Length then
                    raise (
                        JsonException(
                            String.Concat(
                                "The data has more fields than ",
                                nameOf typeof<'T>,
                                ".",
                                cases[case].Name + "."
                            )
                        )
                    )

                let value = JsonSerializer.Deserialize(&reader, typeOf case count, options)
                checkNull case count value
                values[count] <- value
                count <- count + 1
                reader.Read() |> ignore

            for field in count .. values.Length - 1 do
                values[field] <- missing case field

            reader.Read() |> ignore

            if reader.TokenType <> JsonTokenType.EndObject then
                raise (JsonException "A union has one case at a time.")

            unbox<'T>(make[case] values)
        | _ -> raise (JsonException(String.Concat("The union ", nameOf typeof<'T>, " is a string or an object.")))

    override _.Write(writer, value, options) =
        let case = tag (box value)

        if fields[case].Length = 0 then
            writer.WriteStringValue cases[case].Name
        else
            writer.WriteStartObject()
            writer.WriteStartArray cases[case].Name
            let values = read[case](box value)

            for field in 0 .. values.Length - 1 do
                checkNull case field (values[field])
                JsonSerializer.Serialize(writer, values[field], typeOf case field, options)

            writer.WriteEndArray()
            writer.WriteEndObject()

    override _.ReadAsPropertyName(reader, _, options) =
        match reader.GetString() with
        | null -> raise (JsonException "A key is text.")
        | text when text.StartsWith '{' ->
            let mutable inner = Utf8JsonReader(ReadOnlySpan<byte>(Encoding.UTF8.GetBytes text))
            unbox<'T>(JsonSerializer.Deserialize(&inner, typeof<'T>, options))
        | name ->
            let case = find name
            unbox<'T>(make[case](Array.init (fields[case].Length) (missing case)))

    override this.WriteAsPropertyName(writer, value, options) =
        let case = tag (box value)

        if fields[case].Length = 0 then
            writer.WritePropertyName cases[case].Name
        else
            let buffer = ArrayBufferWriter<byte>()
            use inner = new Utf8JsonWriter(buffer, JsonWriterOptions(Encoder = options.Encoder))
            this.Write(inner, value, options)
            inner.Flush()
            writer.WritePropertyName(Encoding.UTF8.GetString buffer.WrittenSpan)

    interface IHasParts with
        member _.Parts =
            [ for case in fields do
                  for field in case do
                      struct (String.Concat(nameOf typeof<'T>, ".", field.Name), field.PropertyType) ]

/// An option of what may be null itself: `{"Some": [null]}` is not None. What was written before as the bare value is read.
/// Or an option of a float, as the bare value: System.Text.Json forgets in options that NaN may be written.
[<RequiresUnreferencedCode("Reads options by reflection.")>]
[<RequiresDynamicCode("Serializes options by reflection.")>]
type internal OptionConverter<'O>() =
    inherit JsonConverter<'O>()

    let inner = typeof<'O>.GetGenericArguments()[0]
    let wraps = mayBeWrittenAsNull inner
    let cases = FSharpType.GetUnionCases typeof<'O>
    let some = cases |> Array.find (fun case -> case.Name.EndsWith "Some")
    let none = cases |> Array.find (fun case -> case.Name.EndsWith "None")
    let makeSome = FSharpValue.PreComputeUnionConstructor some
    let makeNone = FSharpValue.PreComputeUnionConstructor none
    let tag = FSharpValue.PreComputeUnionTagReader typeof<'O>
    let value = FSharpValue.PreComputeUnionReader some

    /// Whether the object that begins here is ours: `{"Some": [` and nothing else is.
    let isWrapped (reader: Utf8JsonReader) =
        let mutable ahead = reader

        ahead.TokenType = JsonTokenType.StartObject
        && ahead.Read()
        && ahead.TokenType = JsonTokenType.PropertyName
        && ahead.ValueTextEquals "Some"
        && ahead.Read()
        && ahead.TokenType = JsonTokenType.StartArray

    override _.HandleNull = true

    override _.Read(reader, _, options) =
        if reader.TokenType = JsonTokenType.Null then
            unbox<'O>(makeNone [||])
        elif wraps && isWrapped reader then
            for _ in 1..3 do
                reader.Read() |> ignore

            let value = JsonSerializer.Deserialize(&reader, inner, options)

            for expected in [ JsonTokenType.EndArray; JsonTokenType.EndObject ] do
                reader.Read() |> ignore

                if reader.TokenType <> expected then
                    raise (JsonException "An option has one value.")

            unbox<'O>(makeSome [| value |])
        else
            unbox<'O>(makeSome [| JsonSerializer.Deserialize(&reader, inner, options) |])

    override _.Write(writer, option, options) =
        if tag (box option) = none.Tag then
            writer.WriteNullValue()
        elif not wraps then
            JsonSerializer.Serialize(writer, value(box option)[0], inner, options)
        else
            writer.WriteStartObject()
            writer.WriteStartArray "Some"
            JsonSerializer.Serialize(writer, value(box option)[0], inner, options)
            writer.WriteEndArray()
            writer.WriteEndObject()

    interface IHasParts with
        member _.Parts = [ struct (nameOf typeof<'O>, inner) ]

/// A JSON number with as many digits as it takes.
[<Sealed>]
type internal BigIntegerConverter() =
    inherit JsonConverter<BigInteger>()

    let parse (text: string | null) =
        match BigInteger.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture) with
        | true, value -> value
        | _ -> raise (JsonException "A whole number is expected.")

    /// Version 0.1 stored what there is to say of a number, and not the number.
    let guess (properties: JsonElement) =
        let says (name: string) =
            match properties.TryGetProperty name with
            | true, value -> value.ValueKind = JsonValueKind.True
            | _ -> false

        if says "isZero" then BigInteger.Zero
        elif says "isOne" then BigInteger.One
        else raise (JsonException "A whole number is expected: version 0.1 did not store it.")

    override _.Read(reader, _, _) =
        match reader.TokenType with
        | JsonTokenType.StartObject ->
            use document = JsonDocument.ParseValue(&reader)
            guess document.RootElement
        | JsonTokenType.Number -> parse (Encoding.UTF8.GetString reader.ValueSpan)
        | JsonTokenType.String -> parse (reader.GetString())
        | _ -> raise (JsonException "A whole number is expected.")

    override _.Write(writer, value, _) = writer.WriteRawValue(value.ToString CultureInfo.InvariantCulture)

    override _.ReadAsPropertyName(reader, _, _) = parse (reader.GetString())

    override _.WriteAsPropertyName(writer, value, _) =
        writer.WritePropertyName(value.ToString CultureInfo.InvariantCulture)

/// A document, or none: System.Text.Json makes a document of the null that it has written for none.
[<Sealed>]
type internal DocumentConverter() =
    inherit JsonConverter<JsonDocument | null>()

    override _.HandleNull = true

    override _.Read(reader, _, _) =
        if reader.TokenType = JsonTokenType.Null then null else JsonDocument.ParseValue(&reader)

    override _.Write(writer, document, _) =
        match document with
        | null -> writer.WriteNullValue()
        | document when document.RootElement.ValueKind = JsonValueKind.Null ->
            raise (
                JsonException
                    "A JsonDocument that says null cannot be told from none: leave it out, or use JsonElement."
            )
        | document -> document.WriteTo writer

/// Any JSON, or none: what says null would come back as none.
[<Sealed>]
type internal NullableElementConverter() =
    inherit JsonConverter<Nullable<JsonElement>>()

    override _.Read(reader, _, _) =
        if reader.TokenType = JsonTokenType.Null then Nullable() else Nullable(JsonElement.ParseValue &reader)

    override _.Write(writer, value, _) =
        if not value.HasValue then
            writer.WriteNullValue()
        elif value.Value.ValueKind = JsonValueKind.Null then
            raise (
                JsonException
                    "A JsonElement? that says null cannot be told from none: leave it out, or use JsonElement."
            )
        else
            value.Value.WriteTo writer

/// The unions and options that System.Text.Json does not know by itself. A converter that a type names for itself goes first.
[<RequiresUnreferencedCode("Reads the cases of unions by reflection.")>]
[<RequiresDynamicCode("Makes a converter for each union type.")>]
type internal UnionConverterFactory() =
    inherit JsonConverterFactory()

    let floats = [ typeof<float>; typeof<float32>; typeof<Half> ]

    let isSpecial (candidate: Type) =
        isOption candidate
        && (let inner = candidate.GetGenericArguments()[0]
            mayBeWrittenAsNull inner || List.contains inner floats)

    override _.CanConvert candidate =
        (isOwnUnion candidate || isSpecial candidate)
        && isNull (candidate.GetCustomAttribute<JsonConverterAttribute> false)

    override _.CreateConverter(union, _) =
        let converter = if isOption union then typedefof<OptionConverter<_>> else typedefof<UnionConverter<_>>

        match Activator.CreateInstance(converter.MakeGenericType union, true) with
        | :? JsonConverter as converter -> converter
        | _ -> invalidOp "No converter for this union."
