/// Reads back what is written, and says what has changed on the way. For development: it looks at every field.
module internal Session.AspNetCore.ReadBack

open System
open System.Collections
open System.Collections.Generic
open System.Diagnostics.CodeAnalysis
open System.Runtime.CompilerServices
open System.Text.Json
open System.Text.Json.Nodes
open Microsoft.FSharp.Reflection
open Session.AspNetCore.Shapes

[<Literal>]
let private Why = "Only in Development, and only where code is not compiled ahead of time."

[<UnconditionalSuppressMessage("Trimming", "IL2070", Justification = Why)>]
[<MethodImpl(MethodImplOptions.NoInlining)>]
let private isUnordered (t: Type) =
    t.GetInterfaces()
    |> Array.exists (fun it -> it.IsGenericType && it.GetGenericTypeDefinition() = typedefof<ISet<_>>)

[<UnconditionalSuppressMessage("Trimming", "IL2067", Justification = Why)>]
[<MethodImpl(MethodImplOptions.NoInlining)>]
let private isCompound (t: Type) =
    FSharpType.IsTuple t
    || isOption t
    || (t.IsGenericType
        && (t.GetGenericTypeDefinition() = typedefof<KeyValuePair<_, _>>
            || t.FullName
               |> Option.ofObj
               |> Option.exists _.StartsWith("Microsoft.FSharp.Core.FSharp", StringComparison.Ordinal)))

let private described (value: objnull) =
    match value with
    | null -> "null"
    | value -> nameOf (value.GetType())

let private memberName (name: string) =
    let name = name.TrimEnd('@')
    if name.StartsWith '<' && name.Contains '>' then name.Substring(1, name.IndexOf '>' - 1) else name

/// How a dictionary or a set compares.
[<UnconditionalSuppressMessage("Trimming", "IL2075", Justification = Why)>]
[<MethodImpl(MethodImplOptions.NoInlining)>]
let private comparer (value: obj) : objnull =
    let t = value.GetType()

    if t.IsGenericType && TypeState.isOfFramework t && value :? IEnumerable then
        match t.GetProperty "Comparer" with
        | null -> null
        | property -> property.GetValue value
    else
        null

/// Whether two values of it that are equal are one and the same.
[<UnconditionalSuppressMessage("Trimming", "IL2070", Justification = Why)>]
[<MethodImpl(MethodImplOptions.NoInlining)>]
let private comparesByReference (t: Type) =
    match t.GetMethod("Equals", [| typeof<obj> |]) with
    | null -> true
    | it -> it.DeclaringType = typeof<obj>

let rec private difference (path: string) (depth: int) (a: objnull) (b: objnull) : string option =
    match a, b with
    | null, null -> None
    | null, _
    | _, null -> Some(String.Concat(path, " was ", described a, " and came back as " + described b))
    | a, b when Object.ReferenceEquals(a, b) || depth > 64 -> None
    | (:? JsonNode as a), (:? JsonNode as b) -> if JsonNode.DeepEquals(a, b) then None else Some(path + " changed")
    | (:? JsonElement as a), (:? JsonElement as b) ->
        if JsonElement.DeepEquals(a, b) then None else Some(path + " changed")
    | (:? string as a), (:? string as b) ->
        if String.Equals(a, b, StringComparison.Ordinal) then None else Some(path + " came back as another text")
    | a, b when not (isNull (comparer a)) && not (Object.Equals(comparer a, comparer b)) ->
        Some(
            path
            + " came back without its comparer: give it in the constructor, to a collection without a setter"
        )
    | (:? IDictionary as a), (:? IDictionary as b) -> entries path depth a b
    | (:? IEnumerable as a), (:? IEnumerable as b) -> items path depth a b
    | a, b when a.GetType() <> b.GetType() ->
        Some(String.Concat(path, " was a ", described a, " and came back as a " + described b))
    | a, b ->
        let t = a.GetType()

        if TypeState.isOfFramework t && not (isCompound t) || t.IsEnum then
            // What compares by reference says nothing.
            if a.Equals b || comparesByReference t then None else Some(String.Concat(path, " was another ", nameOf t))
        else
            let leftOut = TypeState.leftOut t

            TypeState.fields t
            |> Seq.filter (fun field ->
                not (TypeState.isNoData field) && not (leftOut.Exists(fun other -> TypeState.isSame field other)))
            |> Seq.tryPick (fun field ->
                difference
                    (String.Concat(path, ".", memberName field.Name))
                    (depth + 1)
                    (field.GetValue a)
                    (field.GetValue b))

and private entries path depth (a: IDictionary) (b: IDictionary) =
    if a.Count <> b.Count then
        Some(String.Concat(path, " had ", string a.Count, " entries and came back with " + string b.Count))
    else
        let each = a.GetEnumerator()
        let mutable found = None

        while found.IsNone && each.MoveNext() do
            found <-
                if b.Contains each.Key then
                    difference (path + "[…]") (depth + 1) each.Value b[each.Key]
                else
                    Some(path + " lost a key")

        found

and private items path depth (a: IEnumerable) (b: IEnumerable) =
    let before = [ for item in a -> item ]
    let after = [ for item in b -> item ]

    if before.Length <> after.Length then
        Some(String.Concat(path, " had ", string before.Length, " elements and came back with " + string after.Length))
    elif isUnordered (a.GetType()) then
        if
            before
            |> List.forall (fun item -> after |> List.exists (fun other -> (difference "" depth item other).IsNone))
        then
            None
        else
            Some(path + " lost an element")
    else
        List.zip before after
        |> Seq.tryPick (fun (before, after) -> difference (path + "[…]") (depth + 1) before after)

/// What came back otherwise, as a path and a few words. None: nothing did.
let compare (written: 'T) (read: 'T) : string option = difference (nameOf typeof<'T>) 0 (box written) (box read)
