/// Hours of fleets, one from each seed. A failure prints its seed and the end of its story; the same seed tells it again,
/// to the byte.
///     ./test simulation [--seeds N] [--seed N [--story]]      --from N: the first seed; --stop: at the first
///                                                             failure; SESSION_LONG: 10,000 seeds
module Simulation.Main

open System
open System.Collections.Concurrent
open System.Diagnostics
open System.IO
open System.Text.Json
open System.Text.Json.Nodes
open System.Threading
open Simulation.World

let private argument name (args: string array) =
    match Array.tryFindIndex ((=) name) args with
    | Some i when i + 1 < args.Length -> Some args[i + 1]
    | _ -> None

let private isLong = not (String.IsNullOrEmpty(Environment.GetEnvironmentVariable "SESSION_LONG"))

/// Each seed on a thread of its own: nothing is shared.
let private runAll (seeds: int seq) stopsAtFirst : Outcome list =
    let waiting = ConcurrentQueue<int> seeds
    let outcomes = ConcurrentBag<Outcome>()

    let work () =
        let mutable seed = 0

        while waiting.TryDequeue &seed do
            let outcome = run seed false
            outcomes.Add outcome

            match outcome.Failure with
            | Some(what, _) ->
                printfn "seed %d: %s" seed what

                if stopsAtFirst then
                    waiting.Clear()
            | None -> ()

    let threads = [ for _ in 1 .. max 1 (min 4 Environment.ProcessorCount) -> Thread(work, 16 * 1024 * 1024) ]
    threads |> List.iter _.Start()
    threads |> List.iter _.Join()
    outcomes |> List.ofSeq |> List.sortBy _.Seed

let private save (file: string) (outcomes: Outcome list) seconds =
    let it = JsonObject()
    it["seeds"] <- JsonValue.Create outcomes.Length
    it["steps"] <- JsonValue.Create(outcomes |> List.sumBy (fun outcome -> int64 outcome.Steps))
    it["sessions"] <- JsonValue.Create(outcomes |> List.sumBy _.Sessions)
    it["operations"] <- JsonValue.Create(outcomes |> List.sumBy _.Operations)
    it["seconds"] <- JsonValue.Create(Math.Round(float seconds, 1))
    let properties = JsonArray()

    let fail (name: string) (why: string) =
        let property = JsonObject()
        property["name"] <- JsonValue.Create name
        property["passed"] <- JsonValue.Create false
        property["skipped"] <- JsonValue.Create false
        property["why"] <- JsonValue.Create why
        properties.Add property

    for outcome in outcomes do
        match outcome.Failure with
        | Some(what, story) -> fail $"seed {outcome.Seed}: {what}" (String.Join("\n", story))
        | None -> ()

    it["properties"] <- properties

    match Path.GetDirectoryName file with
    | null
    | "" -> ()
    | folder -> Directory.CreateDirectory folder |> ignore

    File.WriteAllText(file, it.ToJsonString(JsonSerializerOptions(WriteIndented = true)) + "\n")

let private tell (outcome: Outcome) =
    match outcome.Failure with
    | None -> ()
    | Some(what, story) ->
        printfn "\nFAILED seed %d (replay: ./test simulation --seed %d)" outcome.Seed outcome.Seed
        story |> List.iter (printfn "%s")
        printfn "%s" what

let private one (args: string array) seed =
    let outcome = run seed true
    let again = run seed true

    if Array.contains "--story" args then
        // Told once: of a failure, all of it.
        match outcome.Failure with
        | Some _ -> tell outcome
        | None -> printfn "no failure"
    else
        match outcome.Failure with
        | Some(what, story) ->
            let last = List.skip (max 0 (story.Length - 120)) story
            tell { outcome with Failure = Some(what, last) }
        | None -> ()

    printfn
        "seed %d: %d steps, %d operations on %d sessions, story %s"
        seed
        outcome.Steps
        outcome.Operations
        outcome.Sessions
        outcome.Hash

    let isSame = outcome.Hash = again.Hash

    if not isSame then
        printfn "FAILED the same seed is told another way the second time: %s" again.Hash

    let failed = (if outcome.Failure.IsSome then 1 else 0) + (if isSame then 0 else 1)
    printfn "%d passed, %d failed" (if failed = 0 then 1 else 0) failed
    if failed = 0 then 0 else 1

[<EntryPoint>]
let main args =
    match argument "--seed" args with
    | Some seed when (argument "--seeds" args).IsNone -> one args (int seed)
    | _ ->
        let clock = Stopwatch.StartNew()
        let count = argument "--seeds" args |> Option.map int |> Option.defaultValue (if isLong then 10_000 else 300)
        let first = argument "--from" args |> Option.map int |> Option.defaultValue 1
        let outcomes = runAll [ first .. first + count - 1 ] (Array.contains "--stop" args)

        // One of them twice: it is told the same way.
        let again = run first false
        let isSame = again.Hash = (outcomes |> List.find (fun outcome -> outcome.Seed = first)).Hash

        if not isSame then
            printfn "FAILED seed %d is told another way the second time" first

        let failures = outcomes |> List.filter _.Failure.IsSome
        failures |> List.truncate 3 |> List.iter tell
        let seconds = clock.Elapsed.TotalSeconds

        match argument "--results" args, Option.ofObj (Environment.GetEnvironmentVariable "SESSION_RESULTS") with
        | Some file, _ -> save file outcomes seconds
        | None, Some folder -> save (Path.Combine(folder, "simulation.json")) outcomes seconds
        | None, None -> ()

        printfn
            "\n%d seeds of one hour each: %d steps, %d operations on %d sessions, %.1f s"
            outcomes.Length
            (outcomes |> List.sumBy (fun outcome -> int64 outcome.Steps))
            (outcomes |> List.sumBy _.Operations)
            (outcomes |> List.sumBy _.Sessions)
            seconds

        let failed = failures.Length + (if isSame then 0 else 1)
        printfn "%d passed, %d failed" (outcomes.Length + 1 - failed) failed
        if failed = 0 then 0 else 1
