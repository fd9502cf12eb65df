/// What a type is in F#'s own words, and what it is called.
module internal Session.AspNetCore.Shapes

open System
open System.Collections.Generic
open System.Reflection
open Microsoft.FSharp.Reflection

/// Private representations, too: they are data like any other.
let access = BindingFlags.Public ||| BindingFlags.NonPublic

/// As the source says it: `Cart`, `List<Item>`, `Shop.Cart` for a nested type.
let rec nameOf (t: Type) : string =
    if t.IsArray then
        match t.GetElementType() with
        | null -> t.Name
        | element -> nameOf element + "[]"
    else
        let own =
            match t.Name.IndexOf '`' with
            | -1 -> t.Name
            | at -> t.Name.Substring(0, at)

        let own =
            match t.DeclaringType with
            | null -> own
            | _ when t.IsGenericParameter -> own
            | outer -> nameOf outer + "." + own

        if t.IsGenericType && not t.IsGenericTypeDefinition then
            own + "<" + String.Join(", ", t.GetGenericArguments() |> Array.map nameOf) + ">"
        else
            own

let private isOneOf (definitions: Type list) (t: Type) =
    t.IsGenericType
    && not t.IsGenericTypeDefinition
    && List.contains (t.GetGenericTypeDefinition()) definitions

let isOption (t: Type) = isOneOf [ typedefof<option<_>>; typedefof<voption<_>> ] t

let isNullable (t: Type) = not (isNull (Nullable.GetUnderlyingType t))

let isTuple (t: Type) = not t.IsValueType && FSharpType.IsTuple t

let isStructTuple (t: Type) = t.IsValueType && FSharpType.IsTuple t

/// Lists, sets and maps of F#: who writes them means that nothing in them is null.
let isFSharpCollection (t: Type) = isOneOf [ typedefof<list<_>>; typedefof<Set<_>>; typedefof<Map<_, _>> ] t

let isUnion (t: Type) = FSharpType.IsUnion(t, access)

let isRecord (t: Type) = FSharpType.IsRecord(t, access)

/// Unions whose values are written by a converter of this library: all but those that System.Text.Json knows.
let isOwnUnion (t: Type) = isUnion t && not (isOption t) && not (isOneOf [ typedefof<list<_>> ] t)

/// A union that says null for one of its cases.
let private hasNullCase (t: Type) =
    isUnion t
    && match t.GetCustomAttribute<CompilationRepresentationAttribute>() with
       | null -> false
       | representation -> representation.Flags.HasFlag CompilationRepresentationFlags.UseNullAsTrueValue

/// Whether null is how a proper value of this type is represented: None, (), an empty Nullable, a union's null case.
let isNullAValue (t: Type) =
    t = typeof<unit>
    || isNullable t
    || match t.GetCustomAttribute<CompilationRepresentationAttribute>() with
       | null -> false
       | representation -> representation.Flags.HasFlag CompilationRepresentationFlags.UseNullAsTrueValue

/// Whether null is no value of this F# type.
let isNeverNull (t: Type) =
    isFSharpCollection t
    || isRecord t && not t.IsValueType
    || isUnion t && not t.IsValueType && not (isOption t) && not (hasNullCase t)

/// Whether a value of this type may be written as null: an option of it cannot tell None from Some null.
let mayBeWrittenAsNull (t: Type) =
    isOption t
    || isNullable t
    || t = typeof<unit>
    || t = typeof<Text.Json.JsonElement>
    || typeof<Text.Json.Nodes.JsonNode>.IsAssignableFrom t

/// Whether F# compiled it.
let isOfFSharp (t: Type) = not (isNull (t.Assembly.GetCustomAttribute<FSharpInterfaceDataVersionAttribute>()))

/// Whether the source allows null here by `| null` (or `?`). Where nothing is said, it does not.
let saysNullable (property: PropertyInfo) =
    not property.PropertyType.IsValueType
    && NullabilityInfoContext().Create(property).ReadState = NullabilityState.Nullable

/// What comes back without being there: None, or null where the source allows it.
let isOptional (property: PropertyInfo) =
    isOption property.PropertyType || isNullable property.PropertyType || saysNullable property
