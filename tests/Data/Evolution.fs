/// Data of a type that has changed since: it is read right, or refused with an error that names the field.
module Data.Evolution

open System
open System.IO
open System.Reflection
open Mutants
open Session.AspNetCore
open Data.Trial

type private Expected =
    /// Equal to this expression of the new module.
    | Right of string
    /// An error with these words.
    | Names of string

/// What it is about; the old types and a value; the new types; what is read.
let private fsharp =
    [ "a new field", "type T = { A: int }", "{ A = 1 }", "type T = { A: int; B: string }", Names "b"
      "a new option",
      "type T = { A: int }",
      "{ A = 1 }",
      "type T = { A: int; B: string option }",
      Right "{ A = 1; B = None }"
      "a new value option",
      "type T = { A: int }",
      "{ A = 1 }",
      "type T = { A: int; B: int voption }",
      Right "{ A = 1; B = ValueNone }"
      "a new union field", "type T = { A: int }", "{ A = 1 }", "type U = X | Y\ntype T = { A: int; B: U }", Names "b"
      "a new struct union field",
      "type T = { A: int }",
      "{ A = 1 }",
      "[<Struct>]\ntype U = X | Y\ntype T = { A: int; B: U }",
      Names "b"
      "a new number", "type T = { A: int }", "{ A = 1 }", "type T = { A: int; B: int }", Names "b"
      "a new list", "type T = { A: int }", "{ A = 1 }", "type T = { A: int; B: int list }", Names "b"
      "a new field of a struct record",
      "[<Struct>]\ntype T = { A: int }",
      "{ A = 1 }",
      "[<Struct>]\ntype T = { A: int; B: string }",
      Names "b"
      "a new field of a private record",
      "type T = private { A: int }",
      "{ A = 1 }",
      "type T = private { A: int; B: string }",
      Names "b"
      "a new field of a mutable record",
      "[<CLIMutable>]\ntype T = { A: int }",
      "{ A = 1 }",
      "[<CLIMutable>]\ntype T = { A: int; B: string }",
      Names "b"
      "a field that is gone",
      "type T = { A: int; B: string }",
      "{ A = 1; B = \"x\" }",
      "type T = { A: int }",
      Right "{ A = 1 }"
      "a field with another name", "type T = { A: int }", "{ A = 1 }", "type T = { Amount: int }", Names "amount"
      "None, and no option any more",
      "type T = { A: string option }",
      "{ A = None }",
      "type T = { A: string }",
      Names "a"
      "None, and a record now",
      "type E = { N: int }\ntype T = { A: E option }",
      "{ A = None }",
      "type E = { N: int }\ntype T = { A: E }",
      Names "$.a"
      "None, and a union now",
      "type U = X | Y\ntype T = { A: U option }",
      "{ A = None }",
      "type U = X | Y\ntype T = { A: U }",
      Names "$.a"
      "Some, and no option any more",
      "type T = { A: string option }",
      "{ A = Some \"x\" }",
      "type T = { A: string }",
      Right "{ A = \"x\" }"
      "an option now",
      "type T = { A: string }",
      "{ A = \"x\" }",
      "type T = { A: string option }",
      Right "{ A = Some \"x\" }"
      "a number that is text now", "type T = { A: int }", "{ A = 1 }", "type T = { A: string }", Names "$.a"
      "a larger number", "type T = { A: int }", "{ A = 1 }", "type T = { A: int64 }", Right "{ A = 1L }"
      "a case that is gone",
      "type U = X | Y\ntype T = { A: U }",
      "{ A = Y }",
      "type U = X | Z\ntype T = { A: U }",
      Names "$.a"
      "a new case",
      "type U = X | Y\ntype T = { A: U }",
      "{ A = Y }",
      "type U = W | X | Y\ntype T = { A: U }",
      Right "{ A = Y }"
      "a case with a new field",
      "type U = X of int | Y\ntype T = { A: U }",
      "{ A = X 1 }",
      "type U = X of int * name: string | Y\ntype T = { A: U }",
      Names "name"
      "a case with its first field",
      "type U = X | Y\ntype T = { A: U }",
      "{ A = X }",
      "type U = X of size: int | Y\ntype T = { A: U }",
      Names "size"
      "a case with a new option",
      "type U = X of int | Y\ntype T = { A: U }",
      "{ A = X 1 }",
      "type U = X of int * string option | Y\ntype T = { A: U }",
      Right "{ A = X(1, None) }"
      "a case with a field less",
      "type U = X of int * int | Y\ntype T = { A: U }",
      "{ A = X(1, 2) }",
      "type U = X of int | Y\ntype T = { A: U }",
      Names "U.X"
      "a longer tuple", "type T = { A: int * int }", "{ A = 1, 2 }", "type T = { A: int * int * string }", Names "item3"
      "a longer struct tuple",
      "type T = { A: struct (int * int) }",
      "{ A = struct (1, 2) }",
      "type T = { A: struct (int * int * int) }",
      Names "item3"
      "no elements that are None",
      "type E = { N: int }\ntype T = { A: E option list }",
      "{ A = [ None ] }",
      "type E = { N: int }\ntype T = { A: E list }",
      Names "$.a"
      "a list that is a set now",
      "type T = { A: int list }",
      "{ A = [ 2; 1; 2 ] }",
      "type T = { A: Set<int> }",
      Right "{ A = set [ 1; 2 ] }"
      "one that is a list now", "type T = { A: int }", "{ A = 1 }", "type T = { A: int list }", Names "$.a" ]

let private csharp =
    [ "a new parameter", "public record T(int A);", "new T(1)", "public record T(int A, string B);", Names "b"
      "a new parameter that is a number",
      "public record T(int A);",
      "new T(1)",
      "public record T(int A, int B);",
      Names "b"
      "a new parameter with a default",
      "public record T(int A);",
      "new T(1)",
      "public record T(int A, int B = 7);",
      Right "new T(1, 7)"
      "a new parameter that may be null",
      "public record T(int A);",
      "new T(1)",
      "public record T(int A, string? B);",
      Right "new T(1, null)"
      "a longer tuple",
      "public record T(System.Tuple<int> A);",
      "new T(new(1))",
      "public record T(System.Tuple<int, string> A);",
      Right "new T(new(1, null!))"
      "a tuple that is longer by a number",
      "public record T(System.Tuple<int> A);",
      "new T(new(1))",
      "public record T(System.Tuple<int, int> A);",
      Names "item2"
      "a new required property",
      "public record T { public int A { get; set; } }",
      "new T { A = 1 }",
      "public record T { public int A { get; set; } public required string B { get; set; } }",
      Names "b"
      "a new property with a default",
      "public record T { public int A { get; set; } }",
      "new T { A = 1 }",
      "public record T { public int A { get; set; } public string B { get; init; } = \"dark\"; }",
      Right "new T { A = 1 }"
      "a property that is gone",
      "public record T(int A, string B);",
      "new T(1, \"x\")",
      "public record T(int A);",
      Right "new T(1)"
      "null, and a number now", "public record T(int? A);", "new T(null)", "public record T(int A);", Names "$.a"
      "a number that is an enum now",
      "public record T(int A);",
      "new T(2)",
      "public record T(System.DayOfWeek A);",
      Right "new T(System.DayOfWeek.Tuesday)"
      "text that is a date now",
      "public record T(string A);",
      "new T(\"x\")",
      "public record T(System.DateTime A);",
      Names "$.a"
      "a null from before nulls were written",
      "public record T(int A);",
      "new T(1)",
      "public record T(int A, string? Coupon, System.Guid? By);",
      Right "new T(1, null, null)" ]

type private Typed =
    static member Write<'T>(value: obj) =
        (JsonSessionSerializer<'T>(SessionSerializer.contract<'T>()) :> ISessionSerializer<'T>)
            .Serialize(unbox<'T> value)

    static member Read<'T>(bytes: byte[]) : obj =
        box (
            (JsonSessionSerializer<'T>(SessionSerializer.contract<'T>()) :> ISessionSerializer<'T>)
                .Deserialize(ReadOnlyMemory<byte> bytes)
        )
        |> nonNull

let private call (name: string) (data: Type) (argument: obj) : obj =
    let it =
        nonNull (typeof<Typed>.GetMethod(name, BindingFlags.Static ||| BindingFlags.NonPublic ||| BindingFlags.Public))

    try
        nonNull (it.MakeGenericMethod(data).Invoke(null, [| argument |]))
    with :? TargetInvocationException as outer ->
        raise (nonNull outer.InnerException)

let private value (made: Assembly) (holder: string) : Type * (unit -> obj) =
    let it = nonNull (made.GetType holder)
    let value = nonNull (it.GetMethod "value")
    value.ReturnType, (fun () -> nonNull (value.Invoke(null, [||])))

let private judge (made: Assembly) (holder: int -> string -> string) pairs =
    let wrong =
        pairs
        |> List.mapi (fun i (name, _, _, _, expected) ->
            let oldType, old = value made (holder i "Old")
            let newType, right = value made (holder i "New")
            let bytes = call "Write" oldType (old ())

            match
                expected,
                (try
                    Ok(call "Read" newType bytes)
                 with error ->
                     Error error)
            with
            | Right _, Ok read when read.Equals(right ()) -> None
            | Names words, Error error when error.Message.Contains(words, StringComparison.Ordinal) -> None
            | _, Ok read -> Some $"%s{name}: read as {read}"
            | _, Error error -> Some $"%s{name}: {error.GetType().Name}: {error.Message}")
        |> List.choose id

    printfn "%d pairs of types" (List.length pairs)

    if not wrong.IsEmpty then
        failwith (String.Join("\n", wrong))

let private rightOf expected (other: string) =
    match expected with
    | Right expression -> expression
    | Names _ -> other

let private ofFSharp () =
    let source = Path.Combine(folder.Force(), "Evolution.fs")

    let inside (text: string) = text.Split '\n' |> Array.map (fun line -> "        " + line) |> String.concat "\n"

    let text =
        fsharp
        |> List.mapi (fun i (_, oldTypes, oldValue, newTypes, expected) ->
            let right = rightOf expected "Unchecked.defaultof<_>"

            $"module Pair{i} =\n    module Old =\n{inside oldTypes}\n        let value () : T = {oldValue}\n"
            + $"    module New =\n{inside newTypes}\n        let value () : T = {right}\n")

    File.WriteAllText(source, "namespace Pairs\n\n" + String.Join("\n", text))
    let target = Path.Combine(folder.Force(), "PairsFSharp.dll")
    let core = [ typeof<unit>.Assembly.Location ]
    let isCompiled, said = Compilers.compileFSharpWith [ "--optimize-" ] [ source ] core (Version(1, 0)) target

    if not isCompiled then
        failwith said

    judge (Assembly.LoadFrom target) (fun i which -> $"Pairs.Pair{i}+{which}") fsharp

let private ofCSharp () =
    let source = Path.Combine(folder.Force(), "Evolution.cs")

    let text =
        csharp
        |> List.mapi (fun i (_, oldTypes, oldValue, newTypes, expected) ->
            let right = rightOf expected "null!"

            let one name types value =
                $"namespace Pair{i}.{name} {{ {types} public static class Of {{ public static T value() => {value}; }} }}\n"

            one "Old" oldTypes oldValue + one "New" newTypes right)

    File.WriteAllText(source, "#nullable enable\n" + String.Join("\n", text))
    let target = Path.Combine(folder.Force(), "PairsCSharp.dll")
    let isCompiled, said = Compilers.compileCSharp [ source ] [] target

    if not isCompiled then
        failwith said

    judge (Assembly.LoadFrom target) (fun i which -> $"Pair{i}.{which}.Of") csharp

let all =
    [ "old data in new types of F#", ofFSharp
      "old data in new types of C#", ofCSharp ]
