/// What of a type would be lost, or would come back as something else, with nobody saying so: in words for its author.
[<RequireQualifiedAccess>]
module internal Session.AspNetCore.Losses

open System
open System.Collections
open System.Collections.Concurrent
open System.Collections.Generic
open System.Collections.Immutable
open System.Reflection
open System.Text.Json.Serialization
open System.Text.Json.Serialization.Metadata
open Session.AspNetCore.Shapes
open Session.AspNetCore.ContractMember

/// Where a member is: `Cart.Items`.
let placeOf (t: Type) (property: JsonPropertyInfo) : string = String.Concat(nameOf t, ".", memberOf property)

// ------------------------------------------------------------------------------------------- members in the contract

/// One that the source generator's code cannot come by.
let ofBarred (say: string -> string -> unit) (t: Type) (property: JsonPropertyInfo) : unit =
    say
        (placeOf t property)
        "the source generator's code cannot come by what is private of it. Make it public (init is enough for a setter), or a parameter of the constructor, or leave the type to reflection."

/// One that is written, and that nothing sets.
let ofUnset (say: string -> string -> unit) (t: Type) (property: JsonPropertyInfo) : unit =
    say
        (placeOf t property)
        "it is stored, and nothing sets it when it is read back. Give it a setter (init is enough; a private one needs [JsonInclude]), or a constructor parameter of its name and type. [JsonIgnore]: it need not come back."

/// Left out when it is null, or its type's default, and something else then.
let private ofCondition say (info: JsonTypeInfo) empty (property: JsonPropertyInfo) =
    let canBeNull = not property.PropertyType.IsValueType || isNullable property.PropertyType
    let condition = condition property

    if
        (condition = JsonIgnoreCondition.WhenWritingDefault
         || condition = JsonIgnoreCondition.WhenWritingNull && canBeNull)
        && not (comesBackEmpty info empty property)
    then
        say
            (placeOf info.Type property)
            (String.Concat(
                "it is left out of the JSON when it is ",
                (if canBeNull then "null" else "its type's default"),
                ", and does not come back so: it has another value then, or is required. Remove the JsonIgnoreCondition for it, or its own default."
            ))

/// Whether there is something in a collection that each reading adds to.
let private isAddedTo (empty: objnull) (property: JsonPropertyInfo) =
    property.ObjectCreationHandling = Nullable JsonObjectCreationHandling.Populate
    && isNull property.Set
    && (match empty, property.Get with
        | null, _
        | _, null -> false
        | empty, get ->
            match get.Invoke empty with
            | :? IEnumerable as items -> items.GetEnumerator().MoveNext()
            | _ -> false)

/// One that is written and read. Empty: what the constructor without parameters makes, if there is one.
let ofKept (say: string -> string -> unit) (info: JsonTypeInfo) (empty: objnull) (property: JsonPropertyInfo) : unit =
    ofCondition say info empty property

    if losesInitializer info.Type property then
        say
            (placeOf info.Type property)
            "data that does not have it would be read without its initializer: the source generator's code always sets an init property. Give it set in place of init, or make it required, or remove the initializer."

    if isAddedTo empty property then
        say
            (placeOf info.Type property)
            "what its constructor puts there would be there twice after each reading. Begin empty, or give it a setter (init is enough) and remove Populate."

// --------------------------------------------------------------------------------------- state that no contract shows

/// As the source says it: a property for the field that the compiler makes for it.
let private sourceName (field: FieldInfo) =
    if field.Name.StartsWith '<' && field.Name.Contains '>' then
        field.Name.Substring(1, field.Name.IndexOf '>' - 1)
    else
        field.Name.TrimEnd '@'

let ofField (say: string -> string -> unit) (t: Type) (field: FieldInfo) : unit =
    let where = String.Concat(nameOf t, ".", sourceName field)

    if field.IsPublic then
        say
            where
            "fields are not stored. Make it a property, or mark it [JsonInclude]. [JsonIgnore]: it need not come back."
    else
        say
            where
            "it is private, or has no public getter, and is not stored. Make it a public property, or mark it [JsonInclude], or store what it is made of. [JsonIgnore] (on the field): it need not come back."

/// The fields that may be where a collection of the application's has its elements.
let private holdersIn (info: JsonTypeInfo) : FieldInfo list =
    // Those of a class that is built on one of the framework's are in the framework's own fields.
    if
        TypeState.lineage info.Type
        |> Seq.exists (fun it -> TypeState.isOfFramework it && typeof<IEnumerable>.IsAssignableFrom it)
    then
        []
    else
        [ for field in TypeState.fields info.Type do
              if TypeState.mayHold info.KeyType info.ElementType field.FieldType then
                  field ]

/// A collection has its elements, and nothing else. A class of the application that is one may hold more.
let ofCollection (say: string -> string -> unit) (info: JsonTypeInfo) : unit =
    let t = info.Type
    let mutable isBelow = true
    let holders = holdersIn info

    let isItems (field: FieldInfo) =
        match holders with
        | [ one ] -> TypeState.isSame one field
        | _ -> false

    for it in TypeState.lineage t do
        isBelow <- isBelow && not (TypeState.isOfFramework it)

        if isBelow then
            for field in TypeState.declaredFields it do
                if not (isItems field) && not (TypeState.isNoData field) then
                    say
                        (String.Concat(nameOf t, ".", sourceName field))
                        "the type is stored as its elements, and this with nobody saying so is not. Hold the collection in a property of its own, or write a [JsonConverter]. [JsonIgnore] (on the field): it need not come back."

// ---------------------------------------------------------------------------------------------- the order of elements

let private reverses =
    [ typedefof<Stack<_>>
      typedefof<ConcurrentStack<_>>
      typedefof<ImmutableStack<_>>
      typedefof<IImmutableStack<_>> ]

/// Whether it is written from the top, and read so that the top is at the bottom.
let isStack (t: Type) : bool =
    TypeState.lineage t
    |> Seq.append [ t ]
    |> Seq.exists (fun t -> t.IsGenericType && List.contains (t.GetGenericTypeDefinition()) reverses)
