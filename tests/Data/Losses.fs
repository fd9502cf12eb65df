/// Kinds of types that lose something on purpose. Each has to be refused at start, by a sentence that names the type,
/// the member and the cure.
module Data.Losses

open System
open System.IO
open System.Reflection
open Mutants
open Data.Trial

let private csharp =
    [ "a field", "public class Cart { public string? Note; }", [ "Cart.Note"; "[JsonInclude]" ]
      "a private setter", "public class Cart { public int N { get; private set; } }", [ "Cart.N"; "[JsonInclude]" ]
      "a get-only property", "public class Cart { public string Id { get; } = \"x\"; }", [ "Cart.Id"; "init" ]
      "private state",
      "public class Cart { private int _n; public void Add() => _n++; public bool IsEmpty => _n == 0; }",
      [ "Cart.IsEmpty"; "JsonIgnore" ]
      "private state that nothing shows",
      "public class Cart { private int _n; public void Add() => _n++; public bool Has(int n) => _n > n; }",
      [ "Cart._n"; "[JsonIgnore]" ]
      "a read-only view of a private list",
      "using System.Collections.Generic; public class Cart { readonly List<int> _l = new(); public IReadOnlyList<int> Items => _l.AsReadOnly(); public void Add(int i) => _l.Add(i); }",
      [ "Cart.Items"; "init" ]
      "a get-only object",
      "public class Home { public int No { get; set; } } public class Cart { public Home Home { get; } = new(); }",
      [ "Cart.Home"; "init" ]
      "a derived type",
      "public class Item { public int N { get; set; } } public class Gift : Item { public string? To { get; set; } } public class Cart { public Item? One { get; set; } }",
      [ "Item"; "Gift"; "[JsonDerivedType" ]
      "private state of a type that it is declared to be",
      "using System.Text.Json.Serialization; [JsonDerivedType(typeof(Gift), \"gift\")] public class Item { public int N { get; set; } } public class Gift : Item { int _n; public void Add() => _n++; public bool Has(int n) => _n > n; } public record Cart(Item One);",
      [ "Gift._n"; "[JsonIgnore]" ]
      "a derived element",
      "using System.Collections.Generic; public record Item(int N); public record Gift(int N, string To) : Item(N); public record Cart(List<Item> All);",
      [ "Item"; "Gift"; "[JsonDerivedType" ]
      "a derived type without a name",
      "using System.Text.Json.Serialization; [JsonDerivedType(typeof(Gift))] public class Item { } public class Gift : Item { public string? To { get; set; } } public record Cart(Item One);",
      [ "Item"; "Gift"; "name" ]
      "an interface",
      "public interface IItem { int N { get; } } public record Cart(IItem One);",
      [ "Cart.One"; "IItem"; "[JsonDerivedType" ]
      "an object", "public record Cart(object Any);", [ "Cart.Any"; "JsonElement" ]
      "objects in a dictionary",
      "using System.Collections.Generic; public record Cart(Dictionary<string, object> Any);",
      [ "Cart.Any"; "JsonElement" ]
      "a key",
      "using System.Collections.Generic; public record Sku(string Code); public record Cart(Dictionary<Sku, int> Counts);",
      [ "Cart.Counts"; "Sku"; "Guid" ]
      "a stack", "using System.Collections.Generic; public record Cart(Stack<int> Undo);", [ "Cart.Undo"; "List" ]
      "a stack for several threads",
      "using System.Collections.Concurrent; public record Cart(ConcurrentStack<int> Undo);",
      [ "Cart.Undo"; "List" ]
      "a stack that stays as it is",
      "using System.Collections.Immutable; public record Cart(ImmutableStack<int> Undo);",
      [ "Cart.Undo"; "List" ]
      "any stack that stays as it is",
      "using System.Collections.Immutable; public record Cart(IImmutableStack<int> Undo);",
      [ "Cart.Undo"; "List" ]
      "a stack of one's own",
      "using System.Collections.Generic; public class Undo : Stack<int> { } public record Cart(Undo Undo);",
      [ "Cart.Undo"; "List" ]
      "a collection with more",
      "using System.Collections.Generic; public class Items : List<int> { public string? Owner { get; set; } } public record Cart(Items Items);",
      [ "Items.Owner"; "[JsonConverter]" ]
      "a collection with another one",
      "using System.Collections.Generic; public class Cart : List<int> { public List<string> Coupons { get; set; } = new(); }",
      [ "Cart.Coupons"; "[JsonConverter]" ]
      "a collection of the application's own with another one",
      "using System.Collections; using System.Collections.Generic; public class Items : ICollection<int> { readonly List<int> _l = new(); readonly List<string> _notes = new(); public int Count => _l.Count; public bool IsReadOnly => false; public void Add(int i) => _l.Add(i); public void Clear() => _l.Clear(); public bool Contains(int i) => _l.Contains(i); public void CopyTo(int[] a, int i) => _l.CopyTo(a, i); public bool Remove(int i) => _l.Remove(i); public IEnumerator<int> GetEnumerator() => _l.GetEnumerator(); IEnumerator IEnumerable.GetEnumerator() => _l.GetEnumerator(); public void Say(string s) => _notes.Add(s); } public record Cart(Items Items);",
      [ "Items._notes"; "[JsonIgnore]" ]
      "a view of private state beside a calculation that is left out",
      "using System.Collections.Generic; using System.Text.Json.Serialization; public class Cart { readonly List<int> _l = new(); public IReadOnlyList<int> Items => _l.AsReadOnly(); [JsonIgnore] public int Count => _l.Count; public void Add(int i) => _l.Add(i); }",
      [ "Cart.Items"; "init" ]
      "private state behind a calculation that is left out",
      "using System.Collections.Generic; using System.Text.Json.Serialization; public class Cart { readonly List<int> _l = new(); [JsonIgnore] public bool IsEmpty => _l.Count == 0; public void Add(int i) => _l.Add(i); }",
      [ "Cart._l"; "[JsonIgnore]" ]
      "private numbers behind a calculation that is left out",
      "using System.Text.Json.Serialization; public class Cart { int _n; [JsonIgnore] public int Twice => _n * 2; public void Add() => _n++; }",
      [ "Cart._n"; "[JsonIgnore]" ]
      "a constructor that does not bind",
      "public class Cart { public Cart(string n) { Name = n; } public string Name { get; } }",
      [ "Cart"; "[JsonConstructor]" ]
      "two constructors",
      "public class Cart { public Cart(int a) { A = a; } public Cart(int a, int b) { A = a + b; } public int A { get; } }",
      [ "Cart"; "[JsonConstructor]" ]
      "no public constructor",
      "public class Cart { private Cart() { } public static Cart New() => new(); public int A { get; set; } }",
      [ "Cart"; "[JsonConstructor]" ]
      "a readonly struct",
      "public readonly struct Point { public Point(int x) { X = x; } public int X { get; } } public record Cart(Point At);",
      [ "Point.X"; "init" ]
      "a type of the framework", "public record Cart(System.Net.IPAddress From);", [ "IPAddress"; "[JsonConverter]" ]
      "a type", "public record Cart(System.Type Kind);", [ "Cart.Kind"; "[JsonIgnore]" ]
      "a delegate", "public record Cart(System.Action Run);", [ "Cart.Run"; "[JsonIgnore]" ]
      "a two-dimensional array", "public record Cart(int[,] Board);", [ "Cart.Board" ]
      "null over a default, left out",
      "using System.Text.Json.Serialization; public class Cart { [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public string? Theme { get; set; } = \"dark\"; }",
      [ "Cart.Theme"; "JsonIgnoreCondition" ]
      "a required null, left out",
      "using System.Text.Json.Serialization; public class Cart { [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public required string? Coupon { get; set; } }",
      [ "Cart.Coupon"; "JsonIgnoreCondition" ]
      "a default of another value, left out",
      "using System.Text.Json.Serialization; public record Cart([property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)] int N = 3);",
      [ "Cart.N"; "JsonIgnoreCondition" ]
      "null over a zero, left out",
      "using System.Text.Json.Serialization; public class Cart { [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public int? Tries { get; set; } = 0; }",
      [ "Cart.Tries"; "JsonIgnoreCondition" ]
      "null over a zero, left out as a default",
      "using System.Text.Json.Serialization; public class Cart { [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)] public int? Tries { get; set; } = 0; }",
      [ "Cart.Tries"; "JsonIgnoreCondition" ]
      "null over a parameter's zero, left out",
      "using System.Text.Json.Serialization; public record Cart([property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] int? Tries = 0);",
      [ "Cart.Tries"; "JsonIgnoreCondition" ]
      "extension data of objects",
      "using System.Collections.Generic; using System.Text.Json.Serialization; public class Cart { [JsonExtensionData] public Dictionary<string, object>? More { get; set; } }",
      [ "Cart.More"; "JsonElement" ]
      "a constructor that throws",
      "public class Cart { public Cart() { throw new System.Exception(\"no\"); } }",
      [ "Cart"; "threw" ]
      "two members of one name",
      "public class Cart { public int A { get; set; } public int a { get; set; } }",
      [ "Cart" ] ]

let private fsharp =
    [ "obj", "type Cart = { Any: obj }", [ "Cart.Any"; "JsonElement" ]
      "a function", "type Cart = { F: int -> int }", [ "FSharpFunc" ]
      "a record as a key",
      "type Key = { K: int }\ntype Cart = { Counts: Map<Key, int> }",
      [ "Cart.Counts"; "Key"; "unions" ]
      "a tuple as a key", "type Cart = { Counts: Map<int * int, int> }", [ "Cart.Counts"; "unions" ]
      "a class with state",
      "type Counter() =\n    let mutable n = 0\n    member _.Add() = n <- n + 1\n    member _.N = n\ntype Cart = { C: Counter }",
      [ "Counter.N"; "JsonIgnore" ]
      "val in a struct",
      "[<Struct>]\ntype Point =\n    val X: int\n    new(x) = { X = x }\ntype Cart = { P: Point }",
      [ "Point.X" ]
      "a lazy value", "type Cart = { L: Lazy<int> }", [ "Lazy" ]
      "a stack inside a union",
      "type Undo = Undo of System.Collections.Generic.Stack<int>\ntype Cart = { U: Undo }",
      [ "Undo"; "List" ]
      "obj inside a struct tuple", "type Cart = { T: struct (int * obj) }", [ "Item2"; "JsonElement" ]
      "an interface inside an option",
      "type IThing =\n    abstract X: int\ntype Cart = { I: IThing option }",
      [ "IThing"; "[JsonDerivedType" ]
      "a required field, left out when it is null",
      "type Cart = { [<System.Text.Json.Serialization.JsonIgnore(Condition = System.Text.Json.Serialization.JsonIgnoreCondition.WhenWritingNull)>] S: string }",
      [ "Cart.S"; "JsonIgnoreCondition" ]
      "nothing but an option", "type Cart = int option", [ "record" ] ]

let private check (language: string) (made: Assembly) (typeName: int -> string) kinds =
    let wrong =
        kinds
        |> List.mapi (fun i (name: string, source: string, words: string list) ->
            match made.GetType(typeName i) with
            | null -> Some $"{name}: not compiled"
            | cart ->
                let cart =
                    match cart.GetProperty "Type" with
                    | null -> cart
                    | property -> nonNull (property.GetValue null) :?> Type

                match byReflection false cart [||] (fun _ _ -> true) string with
                | Refused sentences ->
                    let all = String.Join(" | ", sentences)

                    if words |> List.forall all.Contains then
                        None
                    else
                        Some $"{name}: the sentence lacks something: {all}"
                | CameBack -> Some $"{name}: not found\n{source}"
                | Wrong what -> Some $"{name}: {what}")
        |> List.choose id

    printfn "%s: %d kinds of losses" language kinds.Length

    if not wrong.IsEmpty then
        failwith (String.Join("\n", wrong))

let ofCSharp () =
    let file i = Path.Combine(folder.Force(), $"Loss{i}.cs")

    let sources =
        csharp
        |> List.mapi (fun i (_, source, _) ->
            let usings, rest = source.Split("; ") |> List.ofArray |> List.partition _.StartsWith("using ")

            let usings = String.Join("", usings |> List.map (fun it -> it + ";\n"))
            let rest = String.Join("; ", rest)
            File.WriteAllText(file i, $"#nullable enable\n{usings}namespace Loss{i} {{ {rest} }}")
            file i)

    let target = Path.Combine(folder.Force(), "Losses.dll")
    let isCompiled, said = Compilers.compileCSharp sources [] target

    if not isCompiled then
        failwith said

    check "C#" (Assembly.LoadFrom target) (fun i -> $"Loss{i}.Cart") csharp

let ofFSharp () =
    let source = Path.Combine(folder.Force(), "Losses.fs")

    let modules =
        fsharp
        |> List.mapi (fun i (_, source, _) ->
            let inside = source.Split '\n' |> Array.map (fun line -> "    " + line) |> String.concat "\n"
            $"module Loss{i} =\n{inside}\n    type Of() =\n        static member Type = typeof<Cart>\n")

    File.WriteAllText(source, "namespace Losses\n\nopen System\n\n" + String.Join("\n", modules))
    let target = Path.Combine(folder.Force(), "LossesFSharp.dll")
    let core = [ typeof<unit>.Assembly.Location ]
    let isCompiled, said = Compilers.compileFSharpWith [ "--optimize-" ] [ source ] core (Version(1, 0)) target

    if not isCompiled then
        failwith said

    check "F#" (Assembly.LoadFrom target) (fun i -> $"Losses.Loss{i}+Of") fsharp
