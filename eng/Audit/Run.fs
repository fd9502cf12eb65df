/// The run that a page is of: what ./test has recorded, and what each part has written down. What is older is not there.
module Audit.Run

open System
open System.IO
open System.Text.Json
open Audit.Json
open Audit.Html

type Part =
    {
        Key: string
        Title: string
        /// How ./test saw it end: passed, failed, skipped, seconds, a note when it crashed.
        Entry: JsonElement option
        Results: JsonElement option
        /// The last lines of its log.
        Log: string list
    }

type Run =
    { Began: DateTime
      Commit: string
      Changed: int64
      IsLong: bool
      Missing: string list
      Properties: Part
      Exploration: Part
      Simulation: Part
      Facade: Part
      FSharp: Part
      Analyzers: Part
      Data: Part
      Bugs: Part
      Branches: Part
      Servers: Part }

    member run.Parts =
        [ run.Properties
          run.Exploration
          run.Simulation
          run.Facade
          run.FSharp
          run.Analyzers
          run.Data
          run.Bugs
          run.Branches
          run.Servers ]

let load (folder: string) =
    let run = (read (Path.Combine(folder, "run.json"))).Value
    let began = (get "began" run).GetDateTime().ToUniversalTime()

    let part key title file =
        let file = Path.Combine(folder, file)
        let log = Path.Combine(folder, key + ".log")

        { Key = key
          Title = title
          Entry = list "parts" run |> List.tryFind (fun entry -> text "part" entry = key)
          Results = if File.GetLastWriteTimeUtc file < began then None else read file
          Log =
            if File.Exists log then
                List.ofArray (File.ReadAllLines log |> Array.rev |> Array.truncate 40 |> Array.rev)
            else
                [] }

    { Began = began
      Commit = text "commit" run
      Changed = number "changed" run
      IsLong = isTrue "long" run
      Missing = texts "missing" run
      Properties = part "properties" "Properties" "properties.json"
      Exploration = part "exploration" "Exploration" "exploration.json"
      Simulation = part "simulation" "Simulation" "simulation.json"
      Facade = part "facade" "The C# face" "facade.json"
      FSharp = part "fsharp" "The F# face" "fsharp.json"
      Analyzers = part "analyzers" "Analyzers" "analyzers.json"
      Data = part "data" "Session data" "data.json"
      Bugs = part "mutants" "Seeded bugs" "mutants.json"
      Branches = part "coverage" "Branches of the lifecycle" "branches.json"
      Servers = part "integration" "Stores, servers and HTTP" "integration.json" }

let private held json = isTrue "passed" json || isTrue "skipped" json

/// Whether a part's own results say that all is well: not only how it ended.
let private resultsHold (part: Part) json =
    match part.Key with
    | "properties"
    | "simulation"
    | "facade"
    | "fsharp"
    | "analyzers"
    | "data" -> list "properties" json |> List.forall held
    | "exploration" ->
        list "scopes" json
        |> List.forall (fun scope -> isTrue "complete" scope && (tryGet "story" scope).IsNone)
    | "mutants" ->
        list "mutants" json |> List.forall (fun bug -> text "verdict" bug = "killed")
        && fields (get "onlyFinder" json) |> List.forall (fun (_, names) -> names.GetArrayLength() > 0)
    | "coverage" -> Branches.isFull (Branches.ofJson json)
    | _ -> list "tests" json |> List.forall held

let isGood part =
    match part.Entry, part.Results with
    | Some entry, Some json -> number "failed" entry = 0L && text "note" entry = "" && resultsHold part json
    | _ -> false

/// How to run it again.
let again part = code ("./test " + part.Key)

let verdict part =
    match part.Entry, part.Results with
    | None, _ -> missing "not run"
    | Some entry, _ when text "note" entry <> "" -> badge false (text "note" entry)
    | Some _, None -> badge false "left no results"
    | Some _, Some _ -> badge (isGood part) (if isGood part then "holds" else "FAILS")

let summary part =
    match part.Results with
    | None -> ""
    | Some json ->
        match part.Key with
        | "properties" ->
            let all = list "properties" json
            $"""{all.Length} properties and examples, {count (all |> List.sumBy (number "cases"))} histories and cases, seed {number "seed" json}"""
        | "facade" ->
            $"""{(list "properties" json).Length} tests of the C# face and the pipeline, by themselves and over HTTP"""
        | "fsharp" ->
            $"""{(list "properties" json).Length} tests of the F# face: reach, frameworks, what compiles and what does not"""
        | "analyzers" ->
            $"""{(list "properties" json).Length} cases that an application's compiler finds, or leaves alone"""
        | "data" ->
            $"""{(list "properties" json).Length} tests of made up types, kinds of losses and types that changed, seed {number "seed" json}"""
        | "exploration" ->
            $"""{count (number "states" json)} distinct states, {count (number "transitions" json)} transitions, {list "scopes" json |> List.filter (isTrue "complete") |> List.length} of {(list "scopes" json).Length} scopes to the end"""
        | "simulation" ->
            $"""{count (number "seeds" json)} hours of a fleet, one from each seed: {count (number "operations" json)} operations on {count (number "sessions" json)} sessions, {count (number "steps" json)} steps"""
        | "mutants" ->
            let all = list "mutants" json
            let found = all |> List.filter (fun bug -> text "verdict" bug = "killed")
            $"{found.Length} of {all.Length} found"
        | "coverage" ->
            let covered = Branches.ofJson json
            $"{covered.Taken} of {covered.Branches} branches, {covered.Walked} of {covered.Lines} lines of src/Session.Domain.fs"
        | _ ->
            let all = list "tests" json
            $"""{all.Length} tests, {(list "contracts" json).Length} stores under contract"""

/// Of all that a test says, the steps that lead to its failure first; the rest (what was shrunk, the stack) folded away.
let private telling (why: string) =
    let isNoise (line: string) =
        let line = line.Trim()

        line.StartsWith "at " && line.Contains '.' && line.Contains '('
        || line.StartsWith "Original seed"
        || line.StartsWith "---"

    let all = why.Split '\n' |> List.ofArray

    match
        all
        |> List.tryFindIndex (fun line ->
            line.TrimEnd().EndsWith "broken by the last step of" || line.TrimEnd().EndsWith "broken by")
    with
    | Some start ->
        let steps = all |> List.skip (start + 1) |> List.takeWhile (isNoise >> not)

        tag "p" "Broken by the last of these steps:"
        + story steps
        + folded false "all that the test says" (story all)
    | None -> story (all |> List.filter (isNoise >> not))

/// What failed, step by step, as its test told it.
let failures part =
    let saying title (what: string) =
        classed "div" "failure" (tag "h3" (badge false part.Title + " " + escape title) + what)

    let told title (why: string list) = saying title (telling (String.concat "\n" why))

    match part.Entry, part.Results with
    | None, _ -> []
    | Some entry, results ->
        let own =
            match results with
            | None -> []
            | Some json ->
                [ for test in list "properties" json @ list "tests" json do
                      if not (held test) then
                          told
                              (text "name" test)
                              (match tryText "why" test with
                               | "" -> part.Log
                               | why -> [ why ])
                  for scope in list "scopes" json do
                      match texts "story" scope with
                      | [] when not (isTrue "complete" scope) ->
                          told (text "name" scope) [ "It did not come to its end." ]
                      | [] -> ()
                      | steps -> saying (text "name" scope) (story steps)
                  for bug in list "mutants" json do
                      if text "verdict" bug <> "killed" then
                          told
                              $"""{text "name" bug}: {text "verdict" bug}"""
                              [ tryText "why" bug
                                $"""See its text: tests/Mutants/mutants.txt, {text "file" bug}""" ]
                  if part.Key = "mutants" then
                      for n, names in fields (get "onlyFinder" json) do
                          if names.GetArrayLength() = 0 then
                              told $"no bug is found by invariant {n} alone" []
                  if part.Key = "coverage" then
                      let covered = Branches.ofJson json

                      if not (Branches.isFull covered) then
                          told
                              $"{covered.Branches - covered.Taken} of {covered.Branches} branches, {covered.Lines - covered.Walked} of {covered.Lines} lines were missed"
                              [ for missed in covered.Missed -> $"line {missed.Line}, {missed.Function}" ] ]

        match own with
        | [] when not (isGood part) ->
            let note = text "note" entry

            [ told
                  (if note = "" then
                       "failed, and its results do not say why; its last lines:"
                   else
                       note + "; its last lines:")
                  part.Log ]
        | own -> own

let skipped part =
    match part.Entry, part.Results with
    | None, _ -> [ escape part.Title + ": not run in this run (" + again part + ")" ]
    | _, None -> [ escape part.Title + ": it left no results" ]
    | _, Some json ->
        [ for test in list "properties" json @ list "tests" json do
              if isTrue "skipped" test then
                  $"""{escape (text "name" test)}: {escape (tryText "why" test)}""" ]
