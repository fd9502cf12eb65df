/// Makes F# types up, with values of them, as source text: what people write, and what is lost of it.
module Data.FSharpTypes

open System
open Data.Shapes

type private Maker(random: Random, id: int) =
    let before = Text.StringBuilder()
    let lossy = ResizeArray<string>()
    let mutable made = 0

    let pick (options: 'a list) = options[random.Next options.Length]

    let next prefix =
        made <- made + 1
        $"{prefix}{id}_{made}"

    let ordered: (string * (unit -> string)) list =
        [ "int", (fun () -> pick [ "0"; "1"; "-7"; "Int32.MaxValue" ])
          "int64", (fun () -> pick [ "0L"; "Int64.MinValue" ])
          "bool", (fun () -> pick [ "true"; "false" ])
          "string", (fun () -> pick [ "\"\""; "\"a\""; "\"ünïcode \\\"q\\\" <>&\""; "\"null\""; "\"{x\"" ])
          "decimal", (fun () -> pick [ "0m"; "1.50m"; "Decimal.MaxValue" ])
          "Guid", (fun () -> $"Guid \"{Guid.NewGuid()}\"")
          "DateTime", (fun () -> "DateTime(638000000000000001L, DateTimeKind.Utc)")
          "TimeSpan", (fun () -> "TimeSpan.FromTicks 12345678901L")
          "char", (fun () -> pick [ "'x'"; "'ü'" ])
          "DayOfWeek", (fun () -> pick [ "DayOfWeek.Sunday"; "DayOfWeek.Friday" ])
          "bigint", (fun () -> pick [ "0I"; "bigint.Pow(-7I, 91)" ]) ]

    let leaves =
        ordered
        @ [ "float", (fun () -> pick [ "0.1"; "nan"; "-infinity"; "-0.0" ])
            "float32", (fun () -> pick [ "1.5f"; "nanf" ])
            "byte[]", (fun () -> "[| 0uy; 255uy |]")
            "DateTimeOffset", (fun () -> "DateTimeOffset(2026, 1, 2, 3, 4, 5, TimeSpan.FromMinutes 90.0)") ]

    let kind (name: string) (value: unit -> string) =
        { Name = $"({name})"
          Value = fun () -> $"({value ()})"
          Lost = false }

    let lost why name value =
        lossy.Add why
        { kind name value with Lost = true }

    let some (value: unit -> string) = [ for _ in 1 .. random.Next 4 -> value () ]
    let list (items: string list) = String.Join("; ", items)

    member _.Lossy = List.ofSeq lossy
    member _.Before = string before

    /// Types that can be ordered and be keys.
    member private this.Key() : string * (unit -> string) =
        match random.Next 4 with
        | 0 ->
            let name = next "Sku"
            let isPrivate = if random.Next 2 = 0 then "private " else ""
            before.Append($"type {name} = {isPrivate}{name} of string\n") |> ignore
            name, (fun () -> $"""{name} {pick [ "\"a\""; "\"b{c\"" ]}""")
        | 1 ->
            let name = next "Size"
            before.Append($"type {name} =\n    | Small{name}\n    | Large{name} of int\n") |> ignore
            name, (fun () -> pick [ $"Small{name}"; $"Large{name} 3" ])
        | _ -> pick (ordered |> List.filter (fun (name, _) -> name <> "char"))

    member this.Kind(depth: int, isLossy: bool) : Kind =
        if isLossy then
            this.LossyKind()
        elif depth = 0 then
            pick leaves ||> kind
        else
            let inner () = this.Kind(depth - 1, false)

            match random.Next 20 with
            | 0
            | 1
            | 2 -> pick leaves ||> kind
            | 3
            | 4 ->
                let it = inner ()
                kind $"{it.Name} option" (fun () -> if random.Next 2 = 0 then "None" else $"Some {it.Value()}")
            | 5 ->
                let it = inner ()

                kind $"{it.Name} voption" (fun () ->
                    if random.Next 2 = 0 then "ValueNone" else $"ValueSome {it.Value()}")
            | 6 ->
                let it = inner ()
                kind $"{it.Name} option option" (fun () -> pick [ "None"; "Some None"; $"Some(Some {it.Value()})" ])
            | 7
            | 8 ->
                let it = inner ()
                kind $"{it.Name} list" (fun () -> $"[ {list (some it.Value)} ]")
            | 9 ->
                let it = inner ()
                kind $"{it.Name} array" (fun () -> $"[| {list (some it.Value)} |]")
            | 10 ->
                let name, value = this.Key()
                kind $"Set<{name}>" (fun () -> $"Set.ofList [ {list (some value)} ]")
            | 11
            | 12 ->
                let name, value = this.Key()
                // NaN is not equal to itself in a map.
                let it = pick [ inner; (fun () -> pick ordered ||> kind) ] ()
                let it = if it.Name.Contains "float" || it.Name.Contains "Part" then pick ordered ||> kind else it
                kind $"Map<{name}, {it.Name}>" (fun () -> $"Map.ofList [ ({value ()}, {it.Value()}) ]")
            | 13 ->
                let a, b = inner (), inner ()
                kind $"{a.Name} * {b.Name}" (fun () -> $"{a.Value()}, {b.Value()}")
            | 14 ->
                let a, b, c = inner (), inner (), inner ()

                kind $"struct ({a.Name} * {b.Name} * {c.Name})" (fun () ->
                    $"struct ({a.Value()}, {b.Value()}, {c.Value()})")
            | 15 ->
                let a, b = inner (), inner ()

                kind $"Result<{a.Name}, {b.Name}>" (fun () ->
                    if random.Next 2 = 0 then $"Ok {a.Value()}" else $"Error {b.Value()}")
            | 16
            | 17 -> this.Union(depth - 1)
            | _ -> this.Record(depth - 1, false)

    member private this.LossyKind() : Kind =
        match random.Next 6 with
        | 0 -> lost "obj" "obj" (fun () -> "box 1")
        | 1 -> lost "a function" "int -> int" (fun () -> "id")
        | 2 ->
            let name = next "Key"
            before.Append($"type {name} = {{ K: int }}\n") |> ignore
            lost "a record as a key" $"Map<{name}, int>" (fun () -> "Map.ofList [ ({ K = 1 }, 2) ]")
        | 3 ->
            let name = next "Counter"

            before.Append(
                $"type {name}() =\n    let mutable count = 0\n    member _.Add() = count <- count + 1\n    member _.Count = count\n"
            )
            |> ignore

            lost "a class with state" name (fun () -> $"let c = {name}() in c.Add(); c")
        | 4 -> lost "a lazy value" "Lazy<int>" (fun () -> "lazy 1")
        | _ ->
            lost "a stack" "System.Collections.Generic.Stack<int>" (fun () ->
                "System.Collections.Generic.Stack<int>([ 1; 2 ])")

    member private this.Union(depth: int) : Kind =
        let name = next "Choice"

        let cases =
            [ for i in 0 .. random.Next 4 -> $"{name}C{i}", [ for _ in 1 .. random.Next 3 -> this.Kind(depth, false) ] ]

        let isPrivate = if random.Next 4 = 0 then "private" else ""
        let isStruct = cases.Length = 1 && random.Next 2 = 0
        let head = if isStruct then $"[<Struct>]\ntype {name} =" else $"type {name} ="

        before.Append(head + "\n") |> ignore

        if isPrivate <> "" then
            before.Append("  private\n") |> ignore

        for case, fields in cases do
            let fields = fields |> List.mapi (fun i it -> $"f{i}: {it.Name}")
            let fields = if fields.IsEmpty then "" else " of " + String.Join(" * ", fields)
            before.Append($"    | {case}{fields}\n") |> ignore

        kind name (fun () ->
            let case, fields = pick cases
            let values = [ for it in fields -> it.Value() ]
            if values.IsEmpty then case else $"""{case}({String.Join(", ", values)})""")

    member this.Record(depth: int, withLoss: bool) : Kind =
        let count = random.Next(1, 5)
        let lossAt = if withLoss then random.Next count else -1
        let fields = [ for i in 0 .. count - 1 -> this.Kind(depth, (i = lossAt)) ]
        let name = next "Part"
        let isStruct = random.Next 4 = 0
        let isPrivate = if random.Next 4 = 0 then "private " else ""
        let isMutable = if not isStruct && random.Next 5 = 0 then "[<CLIMutable>]\n" else ""

        let head =
            if isStruct && not withLoss then "[<Struct>]\n"
            elif withLoss then "[<ReferenceEquality>]\n"
            else isMutable

        let declared = fields |> List.mapi (fun i it -> $"      {name}F{i}: {it.Name}")

        let members =
            if random.Next 3 = 0 && isPrivate = "" then $"\n    member this.Calculated = string this.{name}F0" else ""

        let body = String.Join('\n', declared)

        before.Append(head + $"type {name} =\n    {isPrivate}{{\n{body}\n    }}{members}\n") |> ignore

        kind name (fun () ->
            let values = fields |> List.mapi (fun i it -> $"{name}F{i} = {it.Value()}")
            "{ " + list values + " }")

let make (random: Random) (id: int) : Shape =
    let maker = Maker(random, id)
    let root = maker.Record(2, id % 3 = 0)

    let source =
        $"module Made{id} =\nopen System\n\n{maker.Before}\nlet values () : obj array =\n"
        + $"    [| {root.Value()}; {root.Value()}; {root.Value()} |] |> Array.map (fun (it: {root.Name}) -> box it)\n"

    let source =
        source.Split '\n'
        |> Array.mapi (fun i line -> if i = 0 || line = "" then line else "    " + line)
        |> String.concat "\n"

    { Name = $"Made{id}"
      Type = root.Name
      Source = source
      Lossy = maker.Lossy }
