/// The F# face by itself: `dotnet FSharpFace.dll [--only TEXT] [--results FILE]`. Ends with the sum alone on a line.
module FSharpFace.Main

open System
open System.Text.Json.Nodes
open Expecto
open Expecto.Impl

[<EntryPoint>]
let main args =
    let argument name =
        match Array.tryFindIndex ((=) name) args with
        | Some at when at + 1 < args.Length -> Some args[at + 1]
        | _ -> None

    let tests =
        testSequenced (
            testList
                "F#"
                [ Reach.all
                  Texts.all
                  Settings.all
                  Calls.all
                  Told.all
                  External.all
                  Handlers.all
                  Frameworks.all
                  Compiled.all ]
        )

    let wanted =
        match argument "--only" with
        | None -> tests
        | Some text ->
            Test.filter
                " / "
                (fun name -> (String.concat " / " name).Contains(text, StringComparison.OrdinalIgnoreCase))
                tests

    let results =
        evalTests
            { ExpectoConfig.defaultConfig with
                colour = Logging.Colour0
                noSpinner = true }
            wanted
        |> Async.RunSynchronously

    let all = JsonArray()

    for test, summary in results do
        let name = String.concat " / " test.name
        let it = JsonObject()
        it["name"] <- JsonValue.Create name
        it["passed"] <- JsonValue.Create summary.result.isPassed
        it["skipped"] <- JsonValue.Create summary.result.isIgnored

        match summary.result with
        | TestResult.Passed -> ()
        | TestResult.Ignored why ->
            it["why"] <- JsonValue.Create why
            printfn "SKIPPED %s: %s" name why
        | TestResult.Failed why ->
            it["why"] <- JsonValue.Create why
            printfn "FAILED %s\n%s" name why
        | TestResult.Error error ->
            it["why"] <- JsonValue.Create(string error)
            printfn "FAILED %s\n%O" name error

        all.Add it

    match argument "--results" with
    | None -> ()
    | Some file ->
        let report = JsonObject()
        report["properties"] <- all
        IO.File.WriteAllText(file, report.ToJsonString())

    let count isSo = results |> List.filter (fun (_, summary) -> isSo summary.result) |> List.length
    let passed, skipped = count _.isPassed, count _.isIgnored

    if results.IsEmpty then
        printfn "FAILED no test has such a name"

    let failed = max 1 results.Length - passed - skipped
    printfn "%d passed, %d failed%s" passed failed (if skipped > 0 then $", {skipped} skipped" else "")
    if failed = 0 then 0 else 1
