/// What is changed in the contracts that System.Text.Json makes by reflection, so that data comes back as it was.
module internal Session.AspNetCore.Contracts

open System
open System.Collections
open System.Diagnostics.CodeAnalysis
open System.Reflection
open System.Runtime.CompilerServices
open System.Text.Json
open System.Text.Json.Serialization
open System.Text.Json.Serialization.Metadata
open Microsoft.FSharp.Reflection
open Session.AspNetCore.Shapes

[<Literal>]
let private Why = "Changes what reflection has made: `options`, which begins it, says that it needs reflection."

let private find (info: JsonTypeInfo) (about: MemberInfo) =
    info.Properties
    |> Seq.tryFind (fun property ->
        match property.AttributeProvider with
        | :? MemberInfo as known -> known.Name = about.Name
        | _ -> false)

[<UnconditionalSuppressMessage("Trimming", "IL2026", Justification = Why)>]
[<UnconditionalSuppressMessage("AOT", "IL3050", Justification = Why)>]
[<MethodImpl(MethodImplOptions.NoInlining)>]
let private add (info: JsonTypeInfo) (about: MemberInfo) (declared: Type) =
    let name =
        match about.GetCustomAttribute<JsonPropertyNameAttribute>() with
        | null ->
            match info.Options.PropertyNamingPolicy with
            | null -> about.Name
            | policy -> policy.ConvertName about.Name
        | said -> said.Name

    let property = info.CreateJsonPropertyInfo(declared, name)
    property.AttributeProvider <- about

    match about.GetCustomAttribute<JsonConverterAttribute>() with
    | null -> ()
    | said ->
        match said.ConverterType with
        | null -> property.CustomConverter <- said.CreateConverter declared
        | converter ->
            match Activator.CreateInstance converter with
            | :? JsonConverter as converter -> property.CustomConverter <- converter
            | _ -> ()

    info.Properties.Add property
    property

let private isIgnored (about: MemberInfo) =
    match about.GetCustomAttribute<JsonIgnoreAttribute>() with
    | null -> false
    | said -> said.Condition = JsonIgnoreCondition.Always

/// Through the field: there is no setter.
let private setBy (field: FieldInfo) = Action<obj, objnull>(fun owner value -> field.SetValue(owner, value))

[<UnconditionalSuppressMessage("Trimming", "IL2070", Justification = Why)>]
[<MethodImpl(MethodImplOptions.NoInlining)>]
let private fieldsOf (t: Type) = t.GetFields()

[<UnconditionalSuppressMessage("Trimming", "IL2070", Justification = Why)>]
[<MethodImpl(MethodImplOptions.NoInlining)>]
let private backingOf (record: Type) (name: string) =
    record.GetField(name + "@", BindingFlags.Instance ||| BindingFlags.NonPublic)

[<UnconditionalSuppressMessage("Trimming", "IL2067", Justification = Why)>]
[<MethodImpl(MethodImplOptions.NoInlining)>]
let private blank (record: Type) = RuntimeHelpers.GetUninitializedObject record

/// What is required needs a setter, also where the constructor is what sets it.
let private giveSetter (property: JsonPropertyInfo) =
    if isNull property.Set && not (isNull property.AssociatedParameter) then
        property.Set <- Action<obj, objnull>(fun _ _ -> ())

/// A member that is not there, or null, is an error that names it.
let private require isOptional (property: JsonPropertyInfo) =
    property.IsRequired <- not isOptional

    if not property.PropertyType.IsValueType then
        property.IsGetNullable <- isOptional
        property.IsSetNullable <- isOptional

/// F# records: private and struct ones have no constructor that System.Text.Json calls.
let private ofRecord (info: JsonTypeInfo) =
    let record = info.Type

    for field in FSharpType.GetRecordFields(record, access) do
        if not (isIgnored field) then
            let property =
                match find info field with
                | Some property -> property
                | None -> add info field field.PropertyType

            if isNull property.Get then
                let read = FSharpValue.PreComputeRecordFieldReader field
                property.Get <- Func<obj, objnull> read

            if isNull property.Set then
                match backingOf record field.Name with
                | null -> ()
                | backing -> property.Set <- setBy backing

            require (isOptional field) property

    let hasConstructor = info.Properties |> Seq.exists (fun property -> not (isNull property.AssociatedParameter))

    // Every field is required, or None when it is missing: nothing stays uninitialized.
    if isNull info.CreateObject && not hasConstructor then
        info.CreateObject <- Func<obj>(fun () -> blank record)

/// The items of a struct tuple are fields, which System.Text.Json leaves out.
let private ofStructTuple (info: JsonTypeInfo) =
    for field in fieldsOf info.Type do
        let property =
            match find info field with
            | Some property -> property
            | None -> add info field field.FieldType

        property.Get <- Func<obj, objnull>(fun owner -> field.GetValue owner)
        property.Set <- setBy field

let private ofTuple isFSharp (info: JsonTypeInfo) =
    if isStructTuple info.Type then
        ofStructTuple info

    for property in info.Properties do
        let item = property.PropertyType
        let isOptional = isOption item || isNullable item
        let isNullRefused = not item.IsValueType && not isOptional && (isFSharp || isNeverNull item)
        giveSetter property
        // A null that version 0.1 left out. Of struct tuples it left out everything.
        let isNullMissing = not item.IsValueType && not isNullRefused && not info.Type.IsValueType
        property.IsRequired <- not (isOptional || isNullMissing)

        if isNullRefused then
            property.IsGetNullable <- false
            property.IsSetNullable <- false

/// C# positional records: a parameter without a default, whose type has no null, is not made up.
let private ofParameters (info: JsonTypeInfo) =
    for property in info.Properties do
        match property.AssociatedParameter with
        | null -> ()
        | parameter when parameter.IsMemberInitializer || parameter.HasDefaultValue || property.IsSetNullable -> ()
        | _ ->
            giveSetter property
            property.IsRequired <- true

[<UnconditionalSuppressMessage("Trimming", "IL2070", Justification = Why)>]
[<MethodImpl(MethodImplOptions.NoInlining)>]
let private valueOf (pair: Type) = pair.GetProperty "Value"

/// The values of a dictionary: not each one is an IDictionary, such as F#'s maps.
let private valuesOf (value: obj) : seq<objnull> =
    match value with
    | :? IDictionary as dictionary -> Seq.cast<objnull> dictionary.Values
    | :? IEnumerable as pairs ->
        Seq.cast<obj> pairs
        |> Seq.map (fun pair ->
            match valueOf (pair.GetType()) with
            | null -> pair
            | property -> property.GetValue pair)
    | _ -> Seq.empty

let private elementsOf (value: obj) : seq<objnull> =
    match value with
    | :? IEnumerable as items -> Seq.cast<objnull> items
    | _ -> Seq.empty

let private refuseNulls (isDictionary: bool) (where: string) (value: obj) =
    if (if isDictionary then valuesOf value else elementsOf value) |> Seq.exists isNull then
        raise (JsonException where)

/// Nulls among elements that have none: of F#'s own collections, and of any others of F# types.
let private ofElements isFSharp (info: JsonTypeInfo) =
    match info.ElementType with
    | null -> ()
    | element when element.IsValueType || isOption element -> ()
    | element when isFSharp || isFSharpCollection info.Type || isNeverNull element ->
        let sentence =
            String.Concat("A null is among the elements of ", nameOf info.Type, ", and their type has no null.")

        let refuse = refuseNulls (not (isNull info.KeyType)) sentence
        info.OnSerializing <- Action<obj> refuse
        info.OnDeserialized <- Action<obj> refuse
    | _ -> ()

/// A derived type without a contract would be written as its base, and its own members with nobody saying so.
let private refuseDerived (info: JsonTypeInfo) =
    let declared = info.Type

    if not declared.IsValueType && not declared.IsSealed && isNull info.PolymorphismOptions then
        let before = info.OnSerializing

        info.OnSerializing <-
            Action<obj>(fun value ->
                let actual = value.GetType()

                if actual <> declared then
                    raise (
                        JsonException(
                            String.Concat(
                                nameOf actual,
                                " would be stored as " + nameOf declared,
                                ", without its own members: declare it on " + nameOf declared,
                                " with [JsonDerivedType(typeof(" + nameOf actual + "), \"a name\")]."
                            )
                        )
                    )

                match before with
                | null -> ()
                | before -> before.Invoke value)

/// C# data may hold a null wherever it could before: annotations promise nothing there.
let private admitNulls (info: JsonTypeInfo) =
    for property in info.Properties do
        if not property.PropertyType.IsValueType then
            property.IsGetNullable <- true
            property.IsSetNullable <- true

/// What a resolver does to each contract for data of this type.
let change (root: Type) : Action<JsonTypeInfo> =
    let isFSharp = isOfFSharp root

    Action<JsonTypeInfo>(fun info ->
        match info.Kind with
        | JsonTypeInfoKind.Object ->
            if FSharpType.IsTuple info.Type then
                admitNulls info
                ofTuple isFSharp info
            elif isRecord info.Type then
                ofRecord info
            elif not (isOption info.Type) then
                ofParameters info
                admitNulls info

            if not (isOption info.Type) then
                refuseDerived info
        | JsonTypeInfoKind.Enumerable
        | JsonTypeInfoKind.Dictionary -> ofElements isFSharp info
        | _ -> ())

/// JSON as sessions have it: names and numbers as on the web, nulls written, NaN and the infinities by name. Which members
/// admit no null is said by their contracts, for F# types only.
[<RequiresUnreferencedCode("Makes contracts by reflection.")>]
[<RequiresDynamicCode("Makes contracts by reflection.")>]
let options (root: Type) : JsonSerializerOptions =
    let options = JsonSerializerOptions(JsonSerializerDefaults.Web)
    options.RespectNullableAnnotations <- true
    options.NumberHandling <- options.NumberHandling ||| JsonNumberHandling.AllowNamedFloatingPointLiterals
    options.Converters.Add(UnionConverterFactory())
    options.Converters.Add(BigIntegerConverter())
    options.Converters.Add(DocumentConverter())
    options.Converters.Add(NullableElementConverter())
    let resolver = DefaultJsonTypeInfoResolver()
    resolver.Modifiers.Add(change root)
    options.TypeInfoResolver <- resolver
    options
