/// Runs every test, and ends with the sum alone on a line.
module Integration.Main

open Expecto
open Expecto.Impl

[<EntryPoint>]
let main _ =
    let tests = testSequenced (testList "integration" [ Stories.all; Config.all; Surface.all ])
    let results = evalTests ExpectoConfig.defaultConfig tests |> Async.RunSynchronously
    let mutable passed, failed, skipped = 0, 0, 0

    for test, summary in results do
        match summary.result with
        | TestResult.Passed -> passed <- passed + 1
        | TestResult.Ignored why ->
            skipped <- skipped + 1
            printfn "SKIPPED %s: %s" (String.concat " / " test.name) why
        | TestResult.Failed why ->
            failed <- failed + 1
            printfn "FAILED %s\n%s" (String.concat " / " test.name) why
        | TestResult.Error error ->
            failed <- failed + 1
            printfn "FAILED %s\n%O" (String.concat " / " test.name) error

    printfn "%d passed, %d failed%s" passed failed (if skipped > 0 then $", {skipped} skipped" else "")
    if failed = 0 then 0 else 1
