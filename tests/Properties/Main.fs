/// Runs every test, prints the seed, and ends with the sum alone on a line.
module Properties.Main

open System
open Expecto
open Expecto.Impl

let private seedOf (args: string array) =
    match Array.tryFindIndex ((=) "--seed") args with
    | Some i when i + 1 < args.Length -> int args[i + 1]
    | _ -> Random.Shared.Next 1_000_000

[<EntryPoint>]
let main args =
    let seed = seedOf args
    printfn "seed %d (replay: ./test properties --seed %d)" seed seed

    let tests =
        testSequenced (
            testList
                "properties"
                [ Invariants.all seed
                  Examples.all
                  Codecs.all seed
                  Stores.all
                  Invariants.coverage ]
        )

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
