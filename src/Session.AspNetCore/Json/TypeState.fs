/// What a type keeps: its fields, and the properties that show them. Where fields cannot be seen (native AOT), nothing
/// is found: the same program says it when it is run in development.
module internal Session.AspNetCore.TypeState

open System
open System.Collections.Generic
open System.Diagnostics.CodeAnalysis
open System.Reflection
open System.Runtime.CompilerServices
open System.Text.Json.Serialization
open System.Threading

[<Literal>]
let private Why =
    "Only looks for what would be lost. What was trimmed away is not used, so nothing of it can be lost."

/// Whether there is anything to be seen.
let isVisible = RuntimeFeature.IsDynamicCodeSupported

let private own =
    BindingFlags.Instance
    ||| BindingFlags.Public
    ||| BindingFlags.NonPublic
    ||| BindingFlags.DeclaredOnly

let private prefixes = [| "System."; "Microsoft.Extensions."; "Microsoft.AspNetCore." |]

/// Types of .NET and of FSharp.Core: nobody can change them.
let isOfFramework (t: Type) =
    match t.Assembly.GetName().Name with
    | null -> false
    | "FSharp.Core"
    | "mscorlib"
    | "netstandard" -> true
    | name -> prefixes |> Array.exists (fun prefix -> name.StartsWith(prefix, StringComparison.Ordinal))

/// The type and its bases.
let lineage (t: Type) : List<Type> =
    let types = List<Type>()
    let mutable next: Type | null = t

    while not (isNull next) && next <> typeof<obj> && next <> typeof<ValueType> do
        let it = Unchecked.nonNull next
        types.Add it
        next <- it.BaseType

    types

/// The fields that it declares itself.
[<MethodImpl(MethodImplOptions.NoInlining)>]
[<UnconditionalSuppressMessage("Trimming", "IL2070", Justification = Why)>]
let declaredFields (t: Type) : FieldInfo array = if isVisible then t.GetFields own else [||]

/// All that it holds.
let fields (t: Type) : List<FieldInfo> =
    let found = List<FieldInfo>()

    for t in lineage t do
        found.AddRange(declaredFields t)

    found

[<MethodImpl(MethodImplOptions.NoInlining)>]
[<UnconditionalSuppressMessage("Trimming", "IL2070", Justification = Why)>]
let private declaredProperties (t: Type) : PropertyInfo array = t.GetProperties own

let properties (t: Type) : List<PropertyInfo> =
    let found = List<PropertyInfo>()

    for t in lineage t do
        found.AddRange(declaredProperties t)

    found

[<MethodImpl(MethodImplOptions.NoInlining)>]
[<UnconditionalSuppressMessage("Trimming", "IL2070", Justification = Why)>]
let constructors (t: Type) : ConstructorInfo array = t.GetConstructors own

[<MethodImpl(MethodImplOptions.NoInlining)>]
[<UnconditionalSuppressMessage("Trimming", "IL2070", Justification = Why)>]
let private isEvent (t: Type) (name: string) = not (isNull (t.GetEvent(name, own)))

let isSame (a: FieldInfo) (b: FieldInfo) = a.MetadataToken = b.MetadataToken && a.Module = b.Module

/// Whether a value is its type's default.
[<UnconditionalSuppressMessage("Trimming", "IL2072", Justification = "The default of a value type needs no constructor.")>]
[<MethodImpl(MethodImplOptions.NoInlining)>]
let isDefaultOf (value: ValueType) = value.Equals(RuntimeHelpers.GetUninitializedObject(value.GetType()))

// ldfld, ldflda and stfld, each followed by the token of a field, or of a reference to one.
let private loads = [| 0x7Buy; 0x7Cuy |]
let private stores = [| 0x7Duy |]

/// What the compiler has made of a method. Native code has none, and says so by an exception.
[<MethodImpl(MethodImplOptions.NoInlining)>]
[<UnconditionalSuppressMessage("Trimming", "IL2026", Justification = Why)>]
let private codeOf (code: MethodBase) : byte array | null =
    match (if isVisible then code.GetMethodBody() else null) with
    | null -> null
    | body -> body.GetILAsByteArray()

[<UnconditionalSuppressMessage("Trimming", "IL2026", Justification = Why)>]
let private named (opcodes: byte array) (code: MethodBase) : List<FieldInfo> =
    let found = List<FieldInfo>()

    match codeOf code with
    | null -> ()
    | il ->
        let ofType =
            match code.DeclaringType with
            | null -> null
            | declaring when declaring.IsGenericType -> declaring.GetGenericArguments()
            | _ -> null

        for at in 0 .. il.Length - 5 do
            if Array.contains il[at] opcodes && (il[at + 4] = 0x04uy || il[at + 4] = 0x0Auy) then
                // Bytes that only look like it name nothing, or something that is no field.
                try
                    match code.Module.ResolveField(BitConverter.ToInt32(il, at + 1), ofType, null) with
                    | null -> ()
                    | field -> found.Add field
                with :? ArgumentException ->
                    ()

    found

/// The fields that its getter reads: what the property shows. A base's property that it overrides is the same one.
let shownBy (property: PropertyInfo) : List<FieldInfo> =
    match property.GetGetMethod true with
    | null -> List()
    | getter ->
        let found = named loads getter
        let basis = getter.GetBaseDefinition()

        if basis <> getter then
            match basis.DeclaringType with
            | null -> ()
            | declaring ->
                for field in declaredFields declaring do
                    if field.Name = "<" + property.Name + ">k__BackingField" then
                        found.Add field

        found

/// Whether some constructor of the type puts something there.
let isInitialized (t: Type) (field: FieldInfo) =
    let mutable found = false

    for constructor in constructors t do
        for written in named stores constructor do
            found <- found || isSame written field

    found

/// One that no constructor has been at.
[<UnconditionalSuppressMessage("Trimming", "IL2067", Justification = "Nothing of it is used.")>]
[<MethodImpl(MethodImplOptions.NoInlining)>]
let blank (t: Type) : obj = RuntimeHelpers.GetUninitializedObject t

/// What `new` makes without arguments, as an initializer leaves it. Null: there is no such constructor, or it throws.
let made (t: Type) : objnull =
    match constructors t |> Array.tryFind (fun it -> not it.IsStatic && it.GetParameters().Length = 0) with
    | None -> null
    | Some constructor ->
        try
            constructor.Invoke [||]
        with :? TargetInvocationException ->
            null

let isIgnored (about: MemberInfo) =
    match about.GetCustomAttribute<JsonIgnoreAttribute>() with
    | null -> false
    | said ->
        said.Condition = JsonIgnoreCondition.Always
        || said.Condition = JsonIgnoreCondition.WhenWriting
        || said.Condition = JsonIgnoreCondition.WhenReading

// FieldAttributes.NotSerialized: its name is obsolete, what authors mean by [NonSerialized] is not.
let private NotSerialized = enum<FieldAttributes> 0x80

/// What is no data: what its author says so of, events and other code, and locks.
let isNoData (field: FieldInfo) =
    field.Attributes.HasFlag NotSerialized
    || isIgnored field
    || typeof<Delegate>.IsAssignableFrom field.FieldType
    || field.FieldType = typeof<Lock>
    || (field.FieldType = typeof<obj>
        && field.IsInitOnly
        && field.IsPrivate
        && not (field.Name.StartsWith '<'))
    || (match field.DeclaringType with
        | null -> false
        | declaring -> isEvent declaring field.Name)

/// Whether the field is the compiler's own for a property without a body, whatever a tool (for coverage) has made of its getter.
let private isOwn (property: PropertyInfo) =
    match property.DeclaringType with
    | null -> false
    | declaring ->
        let name = "<" + property.Name + ">k__BackingField"
        declaredFields declaring |> Array.exists (fun field -> field.Name = name)

/// Whether the getter returns the field as it is, and does nothing else: what the compiler makes of `=> field` and of
/// `{ return field; }`. Anything else is a calculation, and what it is made of is data.
let private returnsField (property: PropertyInfo) =
    let load, store, jump, loadBack, give = 0x7Buy, 0x0Auy, 0x2Buy, 0x06uy, 0x2Auy

    match property.GetGetMethod true with
    | null -> false
    | _ when isOwn property -> true
    | getter ->
        match codeOf getter with
        | null -> false
        | il ->
            match (if il.Length > 0 && il[0] = 0uy then Array.skip 1 il else il) with
            | [| 0x02uy; code; _; _; _; _; last |] -> code = load && last = give
            // As it is made for a debugger.
            | [| 0x02uy; code; _; _; _; _; kept; over; 0uy; back; last |] ->
                code = load && kept = store && over = jump && back = loadBack && last = give
            | _ -> false

/// The fields of members that their author leaves out of the JSON.
let leftOut (t: Type) : List<FieldInfo> =
    let found = List<FieldInfo>()

    for property in properties t do
        if isIgnored property then
            let shown = shownBy property

            if shown.Count = 1 && returnsField property then
                found.AddRange shown

    found

/// Whether what is kept in a field of this type may be the elements of a collection: of this type, by keys of that one (null:
/// it has none).
[<UnconditionalSuppressMessage("Trimming", "IL2070", Justification = Why)>]
[<MethodImpl(MethodImplOptions.NoInlining)>]
let mayHold (key: Type | null) (element: Type | null) (field: Type) =
    let is (expected: Type | null) (found: Type) = isNull expected || Object.Equals(expected, found)

    let isOne (item: Type) =
        if isNull key then
            is element item
        else
            item.IsGenericType
            && item.GetGenericTypeDefinition() = typedefof<KeyValuePair<_, _>>
            && is key (item.GetGenericArguments()[0])
            && is element (item.GetGenericArguments()[1])

    if field = typeof<string> || not (typeof<System.Collections.IEnumerable>.IsAssignableFrom field) then
        false
    else
        let items =
            [ for it in Array.append [| field |] (field.GetInterfaces()) do
                  if it.IsGenericType && it.GetGenericTypeDefinition() = typedefof<seq<_>> then
                      it.GetGenericArguments()[0] ]

        // Without types of its own it may hold anything.
        items.IsEmpty || List.exists isOne items
