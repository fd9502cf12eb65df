/// Whether data comes back: `dotnet Data.dll [--seed N] [--count N] [--only TEXT]... [--results FILE]`. Ends with the sum alone on a line.
module Data.Main

open System
open System.Globalization
open System.Text.Json.Nodes

let private argument (args: string array) name =
    match Array.tryFindIndex ((=) name) args with
    | Some at when at + 1 < args.Length -> Some args[at + 1]
    | _ -> None

[<EntryPoint>]
let main args =
    let seed =
        argument args "--seed"
        |> Option.map int
        |> Option.defaultWith (fun () -> Random.Shared.Next(1, 1_000_000_000))

    let count = argument args "--count" |> Option.map int |> Option.defaultValue 300

    // What is written by the one of a user's languages has to be read under any other: in Sweden a minus is no hyphen.
    let somewhere = CultureInfo.InvariantCulture.Clone() :?> CultureInfo
    somewhere.NumberFormat.NegativeSign <- "\u2212"
    somewhere.NumberFormat.NumberDecimalSeparator <- ","
    somewhere.NumberFormat.NumberGroupSeparator <- "."
    somewhere.DateTimeFormat.DateSeparator <- "."
    somewhere.DateTimeFormat.TimeSeparator <- "."
    CultureInfo.CurrentCulture <- somewhere
    CultureInfo.DefaultThreadCurrentCulture <- somewhere
    printfn "seed %d" seed

    let tests =
        [ "made up types of C#", (fun () -> Generated.csharp seed count)
          "made up types of C#, by the source generator", (fun () -> Generated.sourceGenerated seed count)
          "made up types of F#", (fun () -> Generated.fsharp seed count)
          "losses of C#", Losses.ofCSharp
          "losses of F#", Losses.ofFSharp
          "texts of any characters", Texts.test seed
          yield! Evolution.all
          yield! Examples.all ]

    let results = JsonArray()
    let mutable passed = 0

    for name, test in tests do
        let isIn (text: string) = name.Contains(text, StringComparison.OrdinalIgnoreCase)

        match [ for before, text in Array.pairwise args -> before, text ] |> List.filter (fst >> (=) "--only") with
        | _ :: _ as texts when not (List.exists (snd >> isIn) texts) -> ()
        | _ ->
            let watch = Diagnostics.Stopwatch.StartNew()

            let isRight =
                try
                    test ()
                    printfn "%s: %d ms" name watch.ElapsedMilliseconds
                    passed <- passed + 1
                    true
                with error ->
                    printfn "FAILED %s\n%s" name error.Message
                    false

            let result = JsonObject()
            result["name"] <- JsonValue.Create name
            result["passed"] <- JsonValue.Create isRight
            result["skipped"] <- JsonValue.Create false
            results.Add result

    Trial.clear ()

    if results.Count = 0 then
        printfn "FAILED no test has such a name"

    let failed = max 1 results.Count - passed

    match argument args "--results" with
    | None -> ()
    | Some file ->
        let all = JsonObject()
        all["seed"] <- JsonValue.Create seed
        all["properties"] <- results
        IO.File.WriteAllText(file, all.ToJsonString())

    printfn "%d passed, %d failed" passed failed
    if failed = 0 then 0 else 1
