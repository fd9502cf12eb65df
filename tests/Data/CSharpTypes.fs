/// Makes C# types up, with values of them, as source text: what people write, and what is lost of it.
module Data.CSharpTypes

open System
open System.Globalization
open System.Text
open Data.Shapes

let private text (value: string) =
    let escaped = StringBuilder()

    for c in value do
        if c < ' ' || c > '~' || c = '"' || c = '\\' then
            escaped.Append("\\u").Append((int c).ToString("x4", CultureInfo.InvariantCulture)) |> ignore
        else
            escaped.Append c |> ignore

    "\"" + string escaped + "\""

type private Maker(random: Random, id: int) =
    let before = StringBuilder()
    let lossy = ResizeArray<string>()
    let mutable made = 0

    let pick (options: 'a list) = options[random.Next options.Length]

    let next prefix =
        made <- made + 1
        $"{prefix}{id}_{made}"

    let simple: (string * (unit -> string)) list =
        [ "int", (fun () -> pick [ "0"; "1"; "-7"; "int.MaxValue"; "int.MinValue" ])
          "long", (fun () -> pick [ "0L"; "long.MaxValue"; "-5L" ])
          "bool", (fun () -> pick [ "true"; "false" ])
          "string", (fun () -> text (pick [ ""; "a"; "ünïcode \"q\" \n<>&+"; "null"; "\U0001F600" ]))
          "decimal", (fun () -> pick [ "0m"; "1.50m"; "decimal.MaxValue"; "-0.1m" ])
          "System.Guid", (fun () -> $"new System.Guid({text (string (Guid.NewGuid()))})")
          "System.DateTime",
          (fun () ->
              pick
                  [ "new System.DateTime(638000000000000001L, System.DateTimeKind.Utc)"
                    "System.DateTime.UnixEpoch" ])
          "System.DateTimeOffset",
          (fun () -> "new System.DateTimeOffset(2026, 1, 2, 3, 4, 5, System.TimeSpan.FromMinutes(90))")
          "System.TimeSpan", (fun () -> pick [ "System.TimeSpan.FromTicks(12345678901L)"; "System.TimeSpan.Zero" ])
          "System.DateOnly", (fun () -> "new System.DateOnly(2026, 2, 28)")
          "char", (fun () -> pick [ "'x'"; "'\\u00fc'"; "'\\\\'" ])
          "System.DayOfWeek", (fun () -> pick [ "System.DayOfWeek.Sunday"; "System.DayOfWeek.Friday" ]) ]

    let leaves =
        simple
        @ [ "double", (fun () -> pick [ "0.1"; "double.NaN"; "double.NegativeInfinity"; "double.Epsilon"; "-0.0" ])
            "float", (fun () -> pick [ "1.5f"; "float.PositiveInfinity"; "float.NaN" ])
            "byte[]", (fun () -> pick [ "new byte[0]"; "new byte[] { 0, 255, 7 }" ])
            "System.Uri", (fun () -> "new System.Uri(\"https://example.com/a?b=c\")")
            "System.Version", (fun () -> "new System.Version(1, 2, 3)")
            "System.Int128", (fun () -> "System.Int128.MaxValue")
            "System.Numerics.BigInteger", (fun () -> "System.Numerics.BigInteger.Pow(7, 90)") ]

    let kind (name, value) = { Name = name; Value = value; Lost = false }

    let lost why (name: string) value =
        lossy.Add why

        { Name = name; Value = value; Lost = true }

    let keys =
        [ "string"
          "int"
          "System.Guid"
          "System.DayOfWeek"
          "System.DateTime"
          "long"
          "System.TimeSpan" ]

    let some (value: unit -> string) = [ for _ in 1 .. random.Next 4 -> value () ]

    let distinct (value: unit -> string) = some value |> List.distinct

    let list items = String.Join(", ", (items: string list))

    member _.Lossy = List.ofSeq lossy
    member _.Before = string before

    /// A type for a member. Lossy ones only where they are asked for.
    member this.Kind(depth: int, isLossy: bool) : Kind =
        if isLossy then
            this.LossyKind()
        elif depth = 0 then
            kind (pick leaves)
        else
            let inner () = this.Kind(depth - 1, false)

            match random.Next 21 with
            | 0
            | 1
            | 2
            | 3 -> kind (pick leaves)
            | 4 ->
                let name, value = pick (simple |> List.filter (fun (name, _) -> name <> "string"))
                kind (name + "?", fun () -> if random.Next 2 = 0 then "null" else value ())
            | 5 -> kind ("string?", fun () -> if random.Next 2 = 0 then "null" else "\"x\"")
            | 6 ->
                let it = inner ()

                let name =
                    pick
                        [ "System.Collections.Generic.List"
                          "System.Collections.Generic.Queue"
                          "System.Collections.Generic.LinkedList"
                          "System.Collections.ObjectModel.ObservableCollection" ]

                kind (
                    $"{name}<{it.Name}>",
                    fun () -> $"new {name}<{it.Name}>(new {it.Name}[] {{ {list (some it.Value)} }})"
                )
            | 7 ->
                let it = inner ()

                if it.Name.EndsWith "]" && not (it.Name = "byte[]") then
                    it
                else
                    kind (
                        $"System.Collections.Generic.List<{it.Name}[]>",
                        fun () ->
                            $"new() {{ System.Linq.Enumerable.ToArray(new System.Collections.Generic.List<{it.Name}> {{ {list (some it.Value)} }}) }}"
                    )
            | 8 ->
                let it = inner ()
                let key = pick keys
                let keyValue = simple |> List.find (fun (name, _) -> name = key) |> snd
                let name = pick [ "Dictionary"; "SortedDictionary" ]

                kind (
                    $"System.Collections.Generic.{name}<{key}, {it.Name}>",
                    fun () ->
                        let entries = [ for key in distinct keyValue -> $"[{key}] = {it.Value()}" ]
                        $"new System.Collections.Generic.{name}<{key}, {it.Name}> {{ {list entries} }}"
                )
            | 9 ->
                let name, value = pick simple
                let set = pick [ "HashSet"; "SortedSet" ]

                kind (
                    $"System.Collections.Generic.{set}<{name}>",
                    fun () -> $"new System.Collections.Generic.{set}<{name}> {{ {list (distinct value)} }}"
                )
            | 10 ->
                let it = inner ()

                let name =
                    pick
                        [ "IReadOnlyList"
                          "IEnumerable"
                          "IList"
                          "ICollection"
                          "IReadOnlyCollection" ]

                kind (
                    $"System.Collections.Generic.{name}<{it.Name}>",
                    fun () -> $"new System.Collections.Generic.List<{it.Name}> {{ {list (some it.Value)} }}"
                )
            | 11 ->
                let it = inner ()

                kind (
                    $"System.Collections.Immutable.ImmutableList<{it.Name}>",
                    fun () ->
                        $"System.Collections.Immutable.ImmutableList.CreateRange(new {it.Name}[] {{ {list (some it.Value)} }})"
                )
            | 12 ->
                let it = inner ()

                kind (
                    $"System.Collections.Immutable.ImmutableDictionary<string, {it.Name}>",
                    fun () ->
                        $"System.Collections.Immutable.ImmutableDictionary<string, {it.Name}>.Empty.Add(\"k\", {it.Value()})"
                )
            | 13 ->
                let a, b = inner (), inner ()
                kind ($"({a.Name} A, {b.Name} B)", fun () -> $"({a.Value()}, {b.Value()})")
            | 14 ->
                let a, b = inner (), inner ()

                kind (
                    $"System.Tuple<{a.Name}, {b.Name}>",
                    fun () -> $"new System.Tuple<{a.Name}, {b.Name}>({a.Value()}, {b.Value()})"
                )
            | 15 ->
                let a = inner ()

                kind (
                    $"System.Collections.Generic.KeyValuePair<string, {a.Name}>",
                    fun () -> $"new System.Collections.Generic.KeyValuePair<string, {a.Name}>(\"k\", {a.Value()})"
                )
            | 16 -> this.Polymorphic()
            | 17 ->
                let name, value = pick simple

                kind (
                    $"System.Collections.Generic.IReadOnlyDictionary<string, {name}>",
                    fun () -> $"new System.Collections.Generic.Dictionary<string, {name}> {{ [\"k\"] = {value ()} }}"
                )
            | _ -> this.Object(depth - 1, false)

    member private this.Polymorphic() : Kind =
        let basis, derived = next "Animal", next "Dog"

        before.Append(
            $"[System.Text.Json.Serialization.JsonDerivedType(typeof({derived}), \"dog\")]\n"
            + $"public abstract class {basis} {{ public string Name {{ get; set; }} = \"\"; }}\n"
            + $"public class {derived} : {basis}, IShow {{ public int Legs {{ get; set; }} public string Show() => D.O(Name) + D.O(Legs); }}\n"
        )
        |> ignore

        kind (basis, fun () -> $"new {derived} {{ Name = \"rex\", Legs = {random.Next 5} }}")

    member private this.LossyKind() : Kind =
        match random.Next 10 with
        | 0 -> lost "object" "object" (fun () -> "(object)1")
        | 1 ->
            let basis, derived = next "Animal", next "Cat"

            before.Append(
                $"public class {basis} : IShow {{ public string Name {{ get; set; }} = \"\"; public virtual string Show() => D.O(Name); }}\n"
                + $"public class {derived} : {basis} {{ public int Lives {{ get; set; }} public override string Show() => D.O(Name) + D.O(Lives); }}\n"
            )
            |> ignore

            lost "a derived type" basis (fun () -> $"new {derived} {{ Name = \"tom\", Lives = 9 }}")
        | 2 ->
            let it = next "IThing"

            before.Append(
                $"public interface {it} {{ int X {{ get; }} }}\npublic record {it}One(int X) : {it}, IShow {{ public string Show() => D.O(X); }}\n"
            )
            |> ignore

            lost "an interface" it (fun () -> $"new {it}One(3)")
        | 3 ->
            lost "a stack" "System.Collections.Generic.Stack<int>" (fun () ->
                "new System.Collections.Generic.Stack<int>(new[] { 1, 2, 3 })")
        | 4 ->
            let it = next "Tags"

            before.Append(
                $"public class {it} : System.Collections.Generic.List<string> {{ public string Owner {{ get; set; }} = \"\"; }}\n"
            )
            |> ignore

            lost "a collection with more" it (fun () -> $"new {it} {{ Owner = \"ann\" }}")
        | 5 ->
            let it = next "Key"
            before.Append($"public record {it}(int X);\n") |> ignore

            lost "a key" $"System.Collections.Generic.Dictionary<{it}, int>" (fun () ->
                $"new() {{ [new {it}(1)] = 2 }}")
        | 6 -> lost "a type of the framework" "System.Net.IPAddress" (fun () -> "System.Net.IPAddress.Loopback")
        | 7 ->
            let it = next "Unbound"

            before.Append(
                $"public class {it} : IShow {{ public {it}(string n) => Name = n; public string Name {{ get; }} public string Show() => D.O(Name); }}\n"
            )
            |> ignore

            lost "a constructor that does not bind" it (fun () -> $"new {it}(\"x\")")
        | 8 ->
            lost "a read-only collection" "System.Collections.ObjectModel.ReadOnlyCollection<int>" (fun () ->
                "new(new[] { 1 })")
        | _ ->
            let it = next "Point"

            before.Append(
                $"public readonly struct {it} : IShow {{ public {it}(int x) => X = x; public int X {{ get; }} public string Show() => D.O(X); }}\n"
            )
            |> ignore

            lost "a struct without [JsonConstructor]" it (fun () -> $"new {it}(4)")

    /// A class, record or struct with members of every sort, and how to make one.
    member this.Object(depth: int, isRoot: bool, ?withLoss: bool) : Kind =
        let withLoss = defaultArg withLoss false
        let name = next (if isRoot then "Root" else "Part")
        let count = random.Next(1, 5)
        let lossAt = if withLoss then random.Next count else -1
        let form = pick ([ "class"; "record"; "positional" ] @ (if isRoot then [] else [ "struct"; "record struct" ]))

        let members, shows, initializers, parameters =
            ResizeArray<string>(),
            ResizeArray<string>(),
            ResizeArray<unit -> string>(),
            ResizeArray<string * (unit -> string)>()

        let afterwards = ResizeArray<string -> string>()

        for i in 0 .. count - 1 do
            let m = $"M{i}"
            let isLoss = i = lossAt
            let byType = isLoss && random.Next 2 = 0
            let it = this.Kind(depth, byType)
            let show () = shows.Add $"D.O({m})"
            let set () = initializers.Add(fun () -> $"{m} = {it.Value()}")
            let isClass = form = "class" || form = "record"

            if isLoss && not byType then
                match random.Next 5 with
                | 0 ->
                    lossy.Add "a field"
                    members.Add $"public {it.Name} {m} = default!;"
                    show ()
                    set ()
                | 1 ->
                    lossy.Add "a private setter"
                    members.Add $"public int {m} {{ get; private set; }} public void Set{m}(int v) => {m} = v;"
                    show ()
                    afterwards.Add(fun v -> $"{v}.Set{m}(5);")
                | 2 ->
                    lossy.Add "private state"
                    members.Add $"private int _state{m}; public void Set{m}(int v) => _state{m} = v;"
                    shows.Add $"D.O(_state{m})"
                    afterwards.Add(fun v -> $"{v}.Set{m}(6);")
                | 3 ->
                    lossy.Add "a read-only list over private state"

                    members.Add
                        $"private readonly System.Collections.Generic.List<int> _l{m} = new(); public System.Collections.Generic.IReadOnlyList<int> {m} => _l{m}.AsReadOnly(); public void Set{m}(int v) => _l{m}.Add(v);"

                    if form.EndsWith "struct" then
                        members[members.Count - 1] <-
                            $"private int _l{m}; public int {m} => _l{m}; public void Set{m}(int v) => _l{m} = v;"

                    show ()
                    afterwards.Add(fun v -> $"{v}.Set{m}(7);")
                | _ ->
                    lossy.Add "a get-only object"

                    if form.EndsWith "struct" then
                        members.Add
                            $"private int _o{m}; public int {m} => _o{m}; public void Set{m}(int v) => _o{m} = v;"
                    else
                        before.Append(
                            $"public class Inner{name}{m} : IShow {{ public int V {{ get; set; }} public string Show() => D.O(V); }}\n"
                        )
                        |> ignore

                        members.Add
                            $"public Inner{name}{m} {m} {{ get; }} = new(); public void Set{m}(int v) => {m}.V = v;"

                    show ()
                    afterwards.Add(fun v -> $"{v}.Set{m}(8);")
            else
                // A member that is left out, or is of another type, would leave out the loss.
                match form, (if it.Lost then 9 else random.Next 10) with
                | "positional", n when n < 6 ->
                    parameters.Add((it.Name + " " + m), it.Value)
                    show ()
                | _, 0 when isClass ->
                    members.Add $"public required {it.Name} {m} {{ get; set; }}"
                    show ()
                    set ()
                | _, 1 ->
                    members.Add
                        $"private {it.Name} _f{m}; public {it.Name} {m} {{ get => _f{m}; set => _f{m} = value; }}"

                    show ()
                    set ()
                | _, 2 ->
                    members.Add $"[System.Text.Json.Serialization.JsonInclude] public {it.Name} {m};"
                    show ()
                    set ()
                | _, 3 ->
                    members.Add $"[System.Text.Json.Serialization.JsonIgnore] public {it.Name} {m} {{ get; set; }}"
                    set ()
                | _, 4 when isClass ->
                    members.Add $"public string? {m} {{ get; set; }} = \"dark\";"
                    show ()
                    initializers.Add(fun () -> $"{m} = null")
                | _, 5 when isClass && not it.Lost ->
                    let element, value = pick simple
                    let collection, isEmpty = pick [ "List", random.Next 2 = 0; "HashSet", true ]
                    let first = if isEmpty then "" else value ()

                    members.Add
                        $"public System.Collections.Generic.{collection}<{element}> {m} {{ get; }} = new() {{ {first} }};"

                    show ()
                    afterwards.Add(fun v -> $"{v}.{m}.Clear(); {v}.{m}.Add({value ()});")
                | _, 6 ->
                    members.Add $"public {it.Name} {m} {{ get; init; }}"
                    show ()
                    set ()
                | _, 7 ->
                    members.Add
                        $"[System.Text.Json.Serialization.JsonInclude] public {it.Name} {m} {{ get; private set; }} public void Set{m}({it.Name} v) => {m} = v;"

                    show ()

                    if form = "record struct" || form = "struct" then
                        ()
                    else
                        afterwards.Add(fun v -> $"{v}.Set{m}({it.Value()});")
                | _ ->
                    members.Add $"public {it.Name} {m} {{ get; set; }} public string Calculated{m} => D.O({m}) + \"!\";"
                    show ()
                    set ()

        let head =
            match form with
            | "positional" -> $"public record {name}({list [ for declared, _ in parameters -> declared ]}) : IShow"
            | "class" -> $"public sealed class {name} : IShow"
            | "record" -> $"public record {name} : IShow"
            | form -> $"public {form} {name} : IShow"

        let shown = if shows.Count = 0 then "\"\"" else String.Join(" + \";\" + ", shows)

        let construct =
            if afterwards.Count = 0 then
                ""
            else
                let steps = String.Join(' ', [ for it in afterwards -> it "v" ])
                $"public static {name} Made({name} v) {{ {steps} return v; }}"

        let body = String.Join('\n', members)

        before.Append(
            $"#pragma warning disable\n{head}\n{{\n{body}\n{construct}\npublic string Show() => {shown};\n}}\n"
        )
        |> ignore

        let value () =
            let made =
                $"new {name}({list [ for _, value in parameters -> value () ]}) {{ {list [ for it in initializers -> it () ]} }}"

            if construct = "" then made else $"{name}.Made({made})"

        { Name = name; Value = value; Lost = withLoss }

/// Every third shape has something in it that cannot come back.
let make (random: Random) (id: int) : Shape =
    let maker = Maker(random, id)
    let root = maker.Object(2, true, id % 3 = 0)

    let source =
        $"{maker.Before}\npublic static class Case{id}\n{{\n    public static {root.Name}[] Values() => new {root.Name}[] {{ {root.Value()}, {root.Value()}, {root.Value()} }};\n}}\n"

    { Name = $"Case{id}"
      Type = $"Made{id}.{root.Name}"
      Source = $"namespace Made{id}\n{{\n{source}\n}}\n"
      Lossy = maker.Lossy }
