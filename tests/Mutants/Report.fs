/// What a run found: as JSON for the audit, and as a table of bugs and invariants.
module Mutants.Report

open System
open System.IO
open System.Text.Json
open System.Text.Json.Nodes
open Mutants.Listed
open Mutants.Suites
open Mutants.Trials

/// The invariant that a test is named after.
let private invariantOf (name: string) =
    match Int32.TryParse(name.Split(' ')[0]) with
    | true, n when n >= 1 && n <= 18 && name.Contains ':' -> Some n
    | _ -> None

let invariantsOf tests = tests |> List.choose invariantOf |> List.distinct |> List.sort

/// For each invariant of the lifecycle the bugs that it finds and no other does. 17 and 18 are about the loop: the
/// exploration finds those. Where one test was asked alone, nothing is known of the others.
let onlyFinders (trials: Trial list) =
    [ for n in 1..16 do
          n,
          [ for trial in trials do
                match trial.Verdict with
                | Killed(tests, _) when not trial.IsAgain && invariantsOf tests = [ n ] -> trial.Mutant.Name
                | _ -> () ] ]

let line (trial: Trial) said =
    let name = trial.Mutant.Name

    match trial.Verdict with
    | Killed(tests, story) ->
        let by =
            match invariantsOf tests with
            | [] -> String.Join("; ", List.truncate 2 tests)
            | numbers -> String.Join(" ", numbers)

        let told = if story.IsEmpty then [] else [ "a story of the exploration" ]
        let found = (if tests.IsEmpty then [] else [ by ]) @ told
        $"""killed   {name, -58} by {String.Join(", and ", found)}"""
    | Survived -> $"FAILED {name} survived"
    | Invalid why -> $"FAILED {name}: {why}\n{(said: string).Substring(0, min 1500 said.Length)}".TrimEnd()

let table (trials: Trial list) =
    let row (name: string) cell =
        let cells = [ 1..18 ] |> List.map (fun n -> (cell n: string).PadLeft 3)
        name.PadRight 58 + String.Join("", cells)

    [ row "invariant" string
      for trial in trials do
          match trial.Verdict with
          | Killed(tests, _) ->
              let found = invariantsOf tests
              let others = if List.length found = 0 then "  other tests" else ""
              row trial.Mutant.Name (fun n -> if List.contains n found then "x" else ".") + others
          | Survived
          | Invalid _ -> () ]

/// Who is to be asked first the next time.
let learn (known: Map<string, Finders.Finder>) (trial: Trial) : Map<string, Finders.Finder> =
    match trial.Verdict with
    | Killed(tests, _) ->
        // What only looks at the others cannot be asked alone.
        match tests |> List.filter (fun test -> not (test.EndsWith "all of it was tried")) with
        | [] -> known
        | test :: _ ->
            let alone =
                match invariantsOf tests with
                | _ when trial.IsAgain -> known.TryFind trial.Mutant.Name |> Option.bind _.Alone
                | [ n ] when n <= 16 -> Some n
                | _ -> None

            known.Add(trial.Mutant.Name, { Test = test; Alone = alone })
    | Survived
    | Invalid _ -> known

let private array (values: seq<JsonNode>) =
    let all = JsonArray()

    for value in values do
        all.Add value

    all

let private number (n: int) : JsonNode = JsonValue.Create n
let private text (it: string) : JsonNode = nonNull (JsonValue.Create it)

let private jsonOf (trial: Trial) : JsonNode =
    let mutant = trial.Mutant
    let it = JsonObject()
    it["name"] <- text mutant.Name
    it["file"] <- text ("src/" + mutant.File)
    it["old"] <- text mutant.Old
    it["new"] <- text mutant.New
    it["breaks"] <- array (List.map number mutant.Breaks)
    it["guard"] <- JsonValue.Create mutant.Guard.IsSome
    it["again"] <- JsonValue.Create trial.IsAgain
    it["building"] <- JsonValue.Create(Math.Round(trial.Building, 1))
    it["seconds"] <- JsonValue.Create(Math.Round(trial.Seconds, 1))

    match suiteOf mutant with
    | Some suite -> it["suite"] <- text suite.Name
    | None -> ()

    match trial.Verdict with
    | Killed(tests, story) ->
        it["verdict"] <- text "killed"
        it["invariants"] <- array (invariantsOf tests |> List.map number)
        it["properties"] <- array (List.map text tests)
        it["story"] <- array (List.map text story)
    | Survived -> it["verdict"] <- text "survived"
    | Invalid why ->
        it["verdict"] <- text "invalid"
        it["why"] <- text why

    it

let write (trials: Trial list) (seconds: float) =
    let alone = JsonObject()

    for invariant, names in onlyFinders trials do
        alone[string invariant] <- array (List.map text names)

    let all = JsonObject()
    all["seed"] <- JsonValue.Create(int seed)
    all["seconds"] <- JsonValue.Create(Math.Round(seconds, 1))
    all["mutants"] <- array (List.map jsonOf trials)
    all["onlyFinder"] <- alone

    let folder =
        match Environment.GetEnvironmentVariable "SESSION_RESULTS" with
        | null
        | "" -> Path.Combine(root, "artifacts", "results")
        | folder -> Path.Combine(root, folder)

    Directory.CreateDirectory folder |> ignore

    File.WriteAllText(
        Path.Combine(folder, "mutants.json"),
        all.ToJsonString(JsonSerializerOptions(WriteIndented = true)) + "\n"
    )
