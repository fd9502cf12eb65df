/// Runs every test and ends with the sum, alone on the last line. SESSION_LONG: 10 times the histories.
///     ./test properties [--seed N] [--only TEXT]...   --quick: fewer histories, no coverage; --results FILE: as JSON;
///                                                     --invariants: only what is named after one of the sixteen
module Properties.Main

open System
open System.Diagnostics
open Expecto
open Expecto.Impl

let private argument name (args: string array) =
    match Array.tryFindIndex ((=) name) args with
    | Some i when i + 1 < args.Length -> Some args[i + 1]
    | _ -> None

let private arguments name (args: string array) =
    [ for before, value in Array.pairwise args do
          if before = name then
              value ]

/// What is named after one of the sixteen.
let rec private ofInvariants test =
    match test with
    | TestLabel(name, TestCase _, _) when (Results.invariantOf name).IsSome -> test
    | TestLabel(_, TestCase _, _)
    | TestCase _ -> TestList([], Normal)
    | TestLabel(name, tests, state) -> TestLabel(name, ofInvariants tests, state)
    | TestList(tests, state) -> TestList(List.map ofInvariants tests, state)
    | Test.Sequenced(how, tests) -> Test.Sequenced(how, ofInvariants tests)

/// What has such a text in its whole name. Each keeps its own: Expecto's filter makes one of all around it.
let rec private ofTexts (texts: string list) (around: string) test =
    let inside = ofTexts texts

    match test with
    | TestLabel(name, tests, state) -> TestLabel(name, inside $"{around}/{name}" tests, state)
    | TestCase _ ->
        if texts |> List.exists (fun (text: string) -> around.Contains text) then test else TestList([], Normal)
    | TestList(tests, state) -> TestList(List.map (inside around) tests, state)
    | Test.Sequenced(how, tests) -> Test.Sequenced(how, inside around tests)

let private properties args =
    let bugs = argument "--bugs" args

    let seed =
        argument "--seed" args
        |> Option.map int
        |> Option.defaultWith (fun () -> Random.Shared.Next 1_000_000_000)

    let isQuick = bugs.IsSome || Array.contains "--quick" args

    if isQuick then
        Invariants.histories <- 1000
        Engines.isQuick <- true
    elif Exploration.isLong then
        Invariants.histories <- 30_000

    printfn "seed %d (replay: ./test properties --seed %d)" seed seed
    let clock = Stopwatch.StartNew()

    let tests =
        testList
            "properties"
            [ testSequenced (Invariants.all seed)
              testSequenced (EngineInvariants.all seed)
              EngineFaults.all
              Turns.all
              Outcomes.all
              Lasting.all
              EveryStep.all
              Effects.all
              Requesting.all
              Surveys.all
              Examples.all
              Totality.all
              Codecs.all seed
              Former.all
              Tokens.all seed
              Transports.all
              testSequenced Stores.all
              Sweeping.all
              Sealing.all
              Migration.all seed
              // Of the repository, not of the library: the seeded bugs run elsewhere.
              if not isQuick then
                  Documents.all
                  Guides.all ]

    let run tests =
        evalTests
            { ExpectoConfig.defaultConfig with
                colour = Expecto.Logging.Colour0
                noSpinner = true }
            tests
        |> Async.RunSynchronously

    match bugs, argument "--results" args with
    | Some file, Some found -> SeededBugs.ask (fun texts -> run (ofTexts texts "" tests)) file found
    | _ -> ()

    let results =
        match arguments "--only" args with
        | [] when Array.contains "--invariants" args -> run (ofInvariants tests)
        | [] when isQuick -> run tests
        // Coverage comes last: it sums up what all the others met.
        | [] -> run tests @ run Invariants.coverage
        | texts -> run (ofTexts texts "" tests)

    let named result =
        [ for test, summary in results do
              match result summary.result with
              | Some why -> String.concat " / " test.name, why
              | None -> () ]

    let skipped =
        named (fun result ->
            match result with
            | Ignored why -> Some why
            | _ -> None)

    let failed =
        [ if results.IsEmpty then
              "nothing", "no test has such a name"
          yield!
              named (fun result ->
                  match result with
                  | Failed why -> Some why
                  | Error error -> Some(string error)
                  | _ -> None) ]

    for name, why in skipped do
        printfn "SKIPPED %s: %s" name why

    for name, why in failed do
        printfn "\nFAILED %s\n%s" name why

    match argument "--results" args with
    | Some file -> Results.write file seed results
    | None when not isQuick && (argument "--only" args).IsNone ->
        Results.write (Results.fileOf "properties.json") seed results
    | None -> ()

    let passed = max 1 results.Length - failed.Length - skipped.Length
    printfn "\nseed %d, %.1f s" seed clock.Elapsed.TotalSeconds

    printfn
        "%d passed, %d failed%s"
        passed
        failed.Length
        (if skipped.IsEmpty then "" else $", {skipped.Length} skipped")

    if failed.IsEmpty then 0 else 1

[<EntryPoint>]
let main args =
    match List.ofArray args with
    | "explore" :: _ ->
        let only = argument "--scope" args
        let isQuick = Array.contains "--quick" args

        let results =
            match argument "--results" args, only with
            | None, None when not isQuick -> Some(Results.fileOf "exploration.json")
            | file, _ -> file

        Exploration.run isQuick only (argument "--limit" args |> Option.map int) results
    | _ -> properties args
