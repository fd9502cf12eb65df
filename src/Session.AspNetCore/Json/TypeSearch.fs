/// The types that an assembly has.
module internal Session.AspNetCore.TypeSearch

open System
open System.Diagnostics.CodeAnalysis
open System.Reflection

/// Those that can be loaded: an assembly may refer to one that is not there.
[<UnconditionalSuppressMessage("Trimming",
                               "IL2026",
                               Justification =
                                   "Looks for types that a value may be of. One that was trimmed away is none.")>]
let typesOf (assembly: Assembly) : Type array =
    if assembly.IsDynamic then
        [||]
    else
        try
            assembly.GetTypes()
        with :? ReflectionTypeLoadException as some ->
            some.Types
            |> Array.choose (fun it ->
                match it with
                | null -> None
                | it -> Some it)
