/// Hundreds of types in each language, compiled by its own compiler: each comes back, or is refused at start.
module Data.Generated

open System
open System.IO
open System.Reflection
open System.Text.Json.Serialization
open System.Text.Json.Serialization.Metadata
open Mutants
open Data.Shapes
open Data.Trial

let private report (what: string) (outcomes: (Shape * Outcome) list) : unit =
    let wrong =
        outcomes
        |> List.choose (fun (shape, outcome) -> judge shape outcome |> Option.map (fun why -> shape, why))

    let count predicate = outcomes |> List.filter (snd >> predicate) |> List.length

    printfn
        "%s: %d types, %d came back, %d refused at start, %d otherwise"
        what
        outcomes.Length
        (count _.IsCameBack)
        (count _.IsRefused)
        wrong.Length

    match wrong with
    | [] -> ()
    | (shape, why) :: rest ->
        for _, why in List.truncate 20 rest do
            printfn "%s\n" why

        failwith $"{wrong.Length} of {outcomes.Length} types. The first: {why}\n{shape.Source}"

let private must (isCompiled: bool, said: string) =
    if not isCompiled then
        failwith $"the made up types do not compile: {said}"

/// As people write it; NaN by name, which is no default of the generator.
let private contextOf (shapes: Shape list) =
    let each = [ for it in shapes -> $"[JsonSerializable(typeof({it.Type}))]" ]

    "#nullable enable\n#pragma warning disable\nusing System.Text.Json.Serialization;\n"
    + "[JsonSourceGenerationOptions(NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals)]\n"
    + String.Join("\n", each)
    + "\npublic sealed partial class Context : JsonSerializerContext;\n"

let private compileCSharpTypes (seed: int) (count: int) =
    let random = Random seed
    let shapes = [ for id in 1..count -> CSharpTypes.make random id ]
    let file name = Path.Combine(folder.Force(), name)
    let target = file "MadeCSharp.dll"
    let support = Path.Combine(AppContext.BaseDirectory, "Support.txt")

    File.WriteAllText(
        file "Made.cs",
        "#nullable enable\n#pragma warning disable\n" + String.Join("\n", shapes |> List.map _.Source)
    )

    File.WriteAllText(file "Context.cs", contextOf shapes)
    let generator = "-analyzer:" + Compilers.generatorOf "System.Text.Json.SourceGeneration.dll"
    must (Compilers.compileCSharpWith [ generator ] [ support; file "Made.cs"; file "Context.cs" ] [] [] target)
    shapes, Assembly.LoadFrom target

// Compiled once for both tests.
let mutable private compiled: (Shape list * Assembly) option = None

let private csharpTypes seed count =
    match compiled with
    | Some types -> types
    | None ->
        let types = compileCSharpTypes seed count
        compiled <- Some types
        types

let private ofCSharp
    seed
    count
    (outcome: Shape -> Type -> obj array -> (obj -> obj -> bool) -> (obj -> string) -> Outcome)
    =
    let shapes, made = csharpTypes seed count
    let shown = nonNull ((nonNull (made.GetType "D")).GetMethod "O")
    let show (value: obj) = string (shown.Invoke(null, [| value |]))

    shapes
    |> List.map (fun shape ->
        let case = nonNull (made.GetType $"Made{shape.Name.Substring 4}.{shape.Name}")

        match (nonNull (case.GetMethod "Values")).Invoke(null, [||]) with
        | :? Array as values ->
            let data = nonNull (values.GetType().GetElementType())
            shape, outcome shape data (Array.ofSeq (Seq.cast<obj> values)) (fun a b -> show a = show b) show
        | _ -> failwith "no values")

let private alsoEarlier (test: unit -> unit) =
    let before = readFromEarlier
    test ()

    match readFromEarlier - before with
    | 0 -> failwith "no value was read from the JSON of version 0.1"
    | count -> printfn "%d values were read from the JSON of version 0.1, too" count

let csharp (seed: int) (count: int) =
    alsoEarlier (fun () -> ofCSharp seed count (mayBeEarlier >> byReflection) |> report "C#")

/// Or why the context itself refuses the type: the program does not get as far as to us.
let private contractOf (context: JsonSerializerContext) (data: Type) : Result<JsonTypeInfo, string> =
    try
        match context.GetTypeInfo data with
        | null -> failwith "the generator has no contract of it"
        | info -> Ok info
    with :? NotSupportedException as error ->
        Error error.Message

/// The source generator cannot do all that reflection can: more is refused, and nothing else.
let sourceGenerated (seed: int) (count: int) =
    let _, made = csharpTypes seed count

    let context =
        match (nonNull (made.GetType "Context")).GetProperty("Default") with
        | null -> failwith "the generator has made nothing"
        | it -> nonNull (it.GetValue null) :?> JsonSerializerContext

    let outcomes =
        ofCSharp seed count (fun _ data values isSame show ->
            match contractOf context data with
            | Error why -> Refused [ why ]
            | Ok info -> byContract info values isSame show)

    let whole = outcomes |> List.filter (fun (shape, _) -> shape.Lossy.IsEmpty)
    let cameBack = whole |> List.filter (snd >> _.IsCameBack)

    outcomes
    |> List.map (fun (shape, outcome) ->
        // Refused, though reflection can do it.
        if outcome.IsRefused && shape.Lossy.IsEmpty then
            { shape with Lossy = [ "what only reflection can do" ] }, outcome
        else
            shape, outcome)
    |> report "C#, source-generated"

    if cameBack.Length * 3 < whole.Length then
        failwith $"only {cameBack.Length} of {whole.Length} types came back"

let private show (value: obj) = sprintf "%A" value

/// NaN is not equal to itself: values with one in them are compared by their text.
let private isSame (a: obj) (b: obj) = a.Equals b || (let text = show a in text.Contains "nan" && text = show b)

let fsharp (seed: int) (count: int) =
    let random = Random seed
    let shapes = [ for id in 1..count -> FSharpTypes.make random id ]
    let target = Path.Combine(folder.Force(), "MadeFSharp.dll")

    // One file: the compiler is faster with it.
    let source = Path.Combine(folder.Force(), "Made.fs")
    File.WriteAllText(source, "namespace Made\n\n" + String.Join("\n", shapes |> List.map _.Source))
    let core = typeof<unit>.Assembly.Location
    must (Compilers.compileFSharpWith [ "--optimize-" ] [ source ] [ core ] (Version(1, 0)) target)
    let made = Assembly.LoadFrom target

    let outcomes () =
        shapes
        |> List.map (fun shape ->
            let case = nonNull (made.GetType $"Made.{shape.Name}")

            match (nonNull (case.GetMethod "values")).Invoke(null, [||]) with
            | :? (obj array) as values ->
                let data = values[0].GetType()
                shape, byReflection (mayBeEarlier shape) data values isSame show
            | _ -> failwith "no values")

    alsoEarlier (fun () -> outcomes () |> report "F#")
