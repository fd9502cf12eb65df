/// What becomes of one member of a JSON contract.
namespace Session.AspNetCore

open System
open System.Collections
open System.Collections.Generic
open System.Reflection
open System.Text.Json.Serialization
open System.Text.Json.Serialization.Metadata
open Session.AspNetCore.Shapes

/// How a collection without a setter is filled.
type internal Filling =
    /// Emptied first: what its constructor puts there is not there twice.
    | Refill
    /// By System.Text.Json. It is empty at first.
    | Populate

module internal ContractMember =
    let memberOf (property: JsonPropertyInfo) : string =
        match property.AttributeProvider with
        | :? MemberInfo as about -> about.Name
        | _ -> property.Name

    let isWritten (property: JsonPropertyInfo) =
        not (isNull property.Get) && not (property.Options.IgnoreReadOnlyProperties && isNull property.Set)

    let isRead (property: JsonPropertyInfo) =
        not (isNull property.Set)
        || not (isNull property.AssociatedParameter)
        || property.ObjectCreationHandling = Nullable JsonObjectCreationHandling.Populate

    let isLeftOut (property: JsonPropertyInfo) =
        isNull property.Get && isNull property.Set
        || (match property.AttributeProvider with
            | :? MemberInfo as about -> TypeState.isIgnored about
            | _ -> false)

    let show (t: Type) (property: JsonPropertyInfo) : List<FieldInfo> =
        match property.AttributeProvider with
        | :? FieldInfo as field -> List [ field ]
        | :? PropertyInfo as about -> TypeState.shownBy about
        | _ ->
            // A contract made by hand: by name.
            let found = List<FieldInfo>()

            for about in TypeState.properties t do
                if String.Equals(about.Name, property.Name, StringComparison.OrdinalIgnoreCase) then
                    found.AddRange(TypeState.shownBy about)

            found

    let condition (property: JsonPropertyInfo) =
        match property.AttributeProvider with
        | :? MemberInfo as about ->
            match about.GetCustomAttribute<JsonIgnoreAttribute>() with
            | null -> property.Options.DefaultIgnoreCondition
            | said -> said.Condition
        | _ -> property.Options.DefaultIgnoreCondition

    let isDefault (declared: Type) (value: objnull) =
        match value with
        | null -> true
        | _ when isNullable declared -> false
        | :? ValueType as value -> TypeState.isDefaultOf value
        | _ -> false

    /// Whether a member that is not in the JSON is null, or its type's default, again.
    let comesBackEmpty (info: JsonTypeInfo) (empty: objnull) (property: JsonPropertyInfo) =
        match property.AssociatedParameter with
        | _ when property.IsRequired -> false
        | null ->
            match empty with
            | null -> show info.Type property |> Seq.forall (fun field -> not (TypeState.isInitialized info.Type field))
            | empty ->
                match property.Get with
                | null -> true
                | get -> isDefault property.PropertyType (get.Invoke empty)
        | parameter ->
            parameter.IsMemberInitializer
            || not parameter.HasDefaultValue
            || isDefault property.PropertyType parameter.DefaultValue

    /// Whether its getter or setter only throws: the source generator's do, where they would be of a private one.
    let isBarred (t: Type) (property: JsonPropertyInfo) : bool =
        let isPrivate =
            match property.AttributeProvider with
            | :? FieldInfo as field -> not field.IsPublic
            | :? PropertyInfo as about ->
                isNull (about.GetGetMethod false)
                || not (isNull (about.GetSetMethod true)) && isNull (about.GetSetMethod false)
            | _ -> false

        isPrivate
        && not (t.IsAbstract || t.IsInterface)
        && (try
                let blank = TypeState.blank t

                match property.Get, property.Set with
                | null, _ -> ()
                | get, set ->
                    let value = get.Invoke blank

                    if not (isNull set) && isNull property.AssociatedParameter then
                        set.Invoke(blank, value)

                false
            with :? InvalidOperationException ->
                true)

    /// Whether it begins with a value that data without it would not have: what the source generator makes sets each `init`
    /// member at all events, to its type's default then.
    let losesInitializer (t: Type) (property: JsonPropertyInfo) : bool =
        match property.AssociatedParameter with
        | null -> false
        | parameter when not parameter.IsMemberInitializer || property.IsRequired || not TypeState.isVisible -> false
        | _ ->
            match TypeState.made t, property.Get with
            | null, _
            | _, null -> show t property |> Seq.exists (TypeState.isInitialized t)
            | made, get -> not (isDefault property.PropertyType (get.Invoke made))

    /// A collection that has no setter, and what can be done for it.
    let filling (property: JsonPropertyInfo) (empty: objnull) : Filling option =
        let declared = property.PropertyType

        let initial: objnull =
            match empty, property.Get with
            | null, _
            | _, null -> null
            | empty, get -> get.Invoke empty

        let isCreatable () =
            try
                not declared.IsAbstract
                && not declared.IsInterface
                && not (isNull (property.Options.GetTypeInfo(declared).CreateObject))
            with
            | :? NotSupportedException
            | :? InvalidOperationException -> false

        match initial with
        | :? IDictionary as items -> if items.IsReadOnly || items.IsFixedSize then None else Some Refill
        | :? IList as items -> if items.IsReadOnly || items.IsFixedSize then None else Some Refill
        | :? IEnumerable as items when not (items :? string) && isCreatable () && not (items.GetEnumerator().MoveNext()) ->
            Some Populate
        | null when
            isNull empty
            && (typeof<IList>.IsAssignableFrom declared || typeof<IDictionary>.IsAssignableFrom declared)
            && isCreatable ()
            ->
            Some Refill
        | _ -> None
