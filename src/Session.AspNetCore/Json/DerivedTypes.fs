/// The types that a value may be of where it is declared as another one: each needs a name in the JSON.
[<RequireQualifiedAccess>]
module internal Session.AspNetCore.DerivedTypes

open System
open System.Collections.Generic
open System.Reflection
open System.Text.Json.Serialization
open System.Text.Json.Serialization.Metadata
open Session.AspNetCore.Shapes

/// Those that the type's own assembly knows, or that of the data, or the program's.
let private derivedFrom (root: Type) (declared: Type) : List<Type> =
    let found = List<Type>()

    if not declared.IsSealed && not (TypeState.isOfFramework declared) then
        let assemblies = HashSet<Assembly>([ declared.Assembly; root.Assembly ])

        match Assembly.GetEntryAssembly() with
        | null -> ()
        | entry -> assemblies.Add entry |> ignore

        for assembly in assemblies do
            for candidate in TypeSearch.typesOf assembly do
                if
                    candidate <> declared
                    && not candidate.IsAbstract
                    && not candidate.IsInterface
                    && not candidate.ContainsGenericParameters
                    && declared.IsAssignableFrom candidate
                then
                    found.Add candidate

    found

/// A sentence for each one that has no name. The root: the type of the data.
let check (root: Type) (say: string -> string -> unit) (info: JsonTypeInfo) : unit =
    let declared = info.Type

    let known: JsonDerivedType seq =
        match info.PolymorphismOptions with
        | null -> Seq.empty
        | polymorphism -> polymorphism.DerivedTypes

    for it in known do
        if isNull it.TypeDiscriminator && it.DerivedType <> declared then
            say
                (nameOf declared)
                (String.Concat(
                    nameOf it.DerivedType,
                    " is written without a name, and would come back as another type: give it one, [JsonDerivedType(typeof(",
                    nameOf it.DerivedType,
                    "), \"a name\")]."
                ))

    for candidate in derivedFrom root declared do
        if not (known |> Seq.exists (fun it -> it.DerivedType = candidate)) then
            say
                (nameOf declared)
                (String.Concat(
                    "it may be a ",
                    nameOf candidate,
                    ", whose own members would not be stored: declare it, [JsonDerivedType(typeof(" + nameOf candidate,
                    "), \"a name\")], or seal the type."
                ))
