/// Each invariant as one card: from its sentence to its properties, the exploration and the seeded bugs, of this run.
module Audit.Cards

open System.Text.Json
open Docs
open Docs.Invariants
open Audit.Html
open Audit.Json
open Audit.Run

/// An invariant, and what this run has to say of it.
type Proven =
    {
        Invariant: Invariant
        /// With its result, where it was run.
        Tests: (Evidence.Test * JsonElement option) list
        Asked: string list
        Bugs: Evidence.Mutant list
        Alone: string list
    }

let prove (run: Run) (invariant: Invariant) =
    let results = run.Properties.Results |> Option.map (list "properties") |> Option.defaultValue []
    let onServers = run.Servers.Results |> Option.map (list "tests") |> Option.defaultValue []

    let resultOf (test: Evidence.Test) =
        results @ onServers
        |> List.tryFind (fun result ->
            text "name" result = test.Name || (text "name" result).EndsWith(" / " + test.Name))

    { Invariant = invariant
      Tests = Evidence.tests invariant.Number invariant.Name |> List.map (fun test -> test, resultOf test)
      Asked = Evidence.exploration invariant.Number
      Bugs = Evidence.mutants invariant.Number
      Alone =
        run.Bugs.Results
        |> Option.map (fun json -> texts (string invariant.Number) (get "onlyFinder" json))
        |> Option.defaultValue [] }

/// A story of the exploration against this invariant.
let private brokenIn (run: Run) proven =
    run.Exploration.Results
    |> Option.map (fun json ->
        list "scopes" json
        |> List.filter (fun scope ->
            tryGet "invariant" scope |> Option.exists (fun n -> n.GetInt32() = proven.Invariant.Number)))
    |> Option.defaultValue []

let private bugsHold (run: Run) proven =
    let found = Bugs.ofRun run.Bugs.Results

    not proven.Alone.IsEmpty
    && proven.Bugs
       |> List.forall (fun bug -> found |> Map.tryFind bug.Name |> Option.exists (fun it -> it.Verdict = "killed"))

/// Some false: something speaks against it; None: not all of its evidence was run.
let holds (run: Run) proven =
    let failed = proven.Tests |> List.exists (fun (_, result) -> result |> Option.exists (isTrue "passed" >> not))

    if
        failed
        || not (brokenIn run proven).IsEmpty
        || (run.Bugs.Results.IsSome && not (bugsHold run proven))
    then
        Some false
    elif
        proven.Tests |> List.exists (snd >> Option.isNone)
        || run.Exploration.Results.IsNone
        || run.Bugs.Results.IsNone
    then
        None
    else
        Some true

let verdictOf holds =
    match holds with
    | Some true -> badge true "holds"
    | Some false -> badge false "BROKEN"
    | None -> missing "not all was run"

let anchor (invariant: Invariant) = $"i{invariant.Number}"

let private casesOf proven =
    proven.Tests |> List.sumBy (snd >> Option.map (tryNumber "cases") >> Option.defaultValue 0L)

let private decisions (json: JsonElement) = list "scopes" json |> List.sumBy (number "decisions")

/// All on one screen.
let overview (run: Run) (all: Proven list) =
    let found = Bugs.ofRun run.Bugs.Results

    table
        [ ""
          "invariant"
          ""
          "properties"
          "histories and cases"
          "in the exploration"
          "bugs that break it"
          "found by it alone" ]
        [ for proven in all do
              let n = proven.Invariant.Number
              let ofSteps = proven.Tests |> List.filter (fun (test, _) -> test.IsOfSteps) |> List.length

              [ string n
                link (anchor proven.Invariant) (escape proven.Invariant.Name)
                verdictOf (holds run proven)
                string proven.Tests.Length
                count (casesOf proven)
                (if run.Exploration.Results.IsNone then
                     missing "not run"
                 else
                     $"{ofSteps + proven.Asked.Length} requirements")
                (if run.Bugs.Results.IsNone then
                     missing "not run"
                 else
                     let killed =
                         proven.Bugs
                         |> List.filter (fun bug ->
                             found |> Map.tryFind bug.Name |> Option.exists (fun it -> it.Verdict = "killed"))

                     badge (killed.Length = proven.Bugs.Length) $"{killed.Length} of {proven.Bugs.Length} found")
                (if run.Bugs.Results.IsNone then
                     missing "not run"
                 else
                     badge (not proven.Alone.IsEmpty) (string proven.Alone.Length)) ] ]

/// A test's name without what every name of its invariant begins with.
let private short (name: string) = name.Substring(name.IndexOf ": " + 2)

let private testItem (test: Evidence.Test, result: JsonElement option) =
    let verdict =
        match result with
        | None -> missing "not run"
        | Some result when isTrue "passed" result ->
            match tryNumber "cases" result with
            | 0L
            | 1L -> badge true "holds"
            | n when test.IsOfSteps -> badge true $"holds at every step of {count n} histories"
            | n -> badge true $"holds in {count n} histories"
        | Some result when isTrue "skipped" result -> missing "skipped"
        | Some _ -> badge false "FAILED" + ", its steps are told above"

    let mark = if test.IsOfSteps then " ◆" else ""

    let place = code $"{test.File}:{test.Line}"
    tag "li" ($"{escape (short test.Name)}{mark}<br>{verdict} · {place}")

let private explorationOf (run: Run) proven =
    match run.Exploration.Results with
    | None -> missing "not run"
    | Some json ->
        let ofSteps = proven.Tests |> List.exists (fun (test, _) -> test.IsOfSteps)

        lines
            [ "<ul>"
              if ofSteps then
                  tag
                      "li"
                      $"what is marked ◆ was required of each of {count (decisions json)} different decisions that are made in the worlds below"
              if not proven.Asked.IsEmpty then
                  let stories = proven.Asked |> List.map (fun sentence -> $"“{escape sentence}”") |> String.concat "; "

                  tag
                      "li"
                      $"""in each of {count (number "states" json)} states and {count (number "transitions" json)} transitions it was asked for a story that ends with {stories}"""
              match brokenIn run proven with
              | [] -> tag "li" (badge true "no such story" + $""" · <a href="#exploration">the worlds</a>""")
              | scopes ->
                  for scope in scopes do
                      tag "li" (badge false (text "name" scope) + " tells a story against it: see above")
              "</ul>" ]

let private bugItem (run: Run) proven (bug: Evidence.Mutant) =
    let found = Bugs.ofRun run.Bugs.Results |> Map.tryFind bug.Name
    let isAlone = List.contains bug.Name proven.Alone

    let finders =
        match found with
        | None -> ""
        | Some found ->
            let own, others =
                found.Properties |> List.partition (fun name -> name.StartsWith $"{proven.Invariant.Number} ")

            match own, others with
            | [], [] -> ""
            | [], first :: _ -> tag "p" $"found by “{escape first}”"
            | own, _ ->
                tag "p" ("found by " + (own |> List.map (fun name -> $"“{escape (short name)}”") |> String.concat ", "))

    let told =
        match found with
        | Some { Story = _ :: _ as steps } -> folded false "the story of the exploration against it" (story steps)
        | _ -> ""

    let title =
        code bug.Name
        + " "
        + Bugs.verdict found
        + (if isAlone then " " + badge true "by this invariant alone" else "")
        + classed "span" "soft" (" · " + escape (Bugs.place bug))

    $"<li id=\"{Bugs.anchor bug.Name}\">"
    + folded isAlone title (Bugs.change bug + finders + told)
    + "</li>"

/// What is broken there is none of the invariants, but has its tests.
let otherBugs (run: Run) =
    let found = Bugs.ofRun run.Bugs.Results

    [ for bug in Evidence.otherMutants () do
          let it = Map.tryFind bug.Name found

          let finders =
              match it with
              | Some { Properties = _ :: _ as tests } ->
                  tag
                      "p"
                      ("found by "
                       + (List.truncate 3 tests |> List.map (fun name -> $"“{escape name}”") |> String.concat ", "))
              | _ -> ""

          $"<li id=\"{Bugs.anchor bug.Name}\">"
          + folded
              false
              (code bug.Name + " " + Bugs.verdict it + classed "span" "soft" (" · " + escape (Bugs.place bug)))
              (Bugs.change bug + finders)
          + "</li>" ]
    |> lines
    |> tag "ul"

let card (run: Run) (proven: Proven) =
    let invariant = proven.Invariant

    // A bug stands where its author says first that it belongs; elsewhere there is a link to it.
    let own, others = proven.Bugs |> List.partition (fun bug -> bug.Breaks.Head = invariant.Number)

    let kind =
        match holds run proven with
        | Some true -> "card"
        | Some false -> "card bad"
        | None -> "card none"

    lines
        [ $"<section class=\"{kind}\" id=\"{anchor invariant}\">"
          tag "h3" $"{invariant.Number}. {escape invariant.Name} · {verdictOf (holds run proven)}"
          tag "blockquote" (escape invariant.Sentence)
          "<dl>"
          tag "dt" "formula" + tag "dd" (escape invariant.Formula)
          tag "dt" "requirement"
          + tag "dd" (escape invariant.Requirement + " · <a href=\"../../docs/SECURITY.md\">docs/SECURITY.md</a>")
          tag "dt" "properties"
          + tag
              "dd"
              (tag "ul" (proven.Tests |> List.map testItem |> lines)
               + classed "p" "soft" (code $"./test properties --only \"{invariant.Number} {invariant.Name}\""))
          tag "dt" "exploration" + tag "dd" (explorationOf run proven)
          tag "dt" "seeded bugs"
          + tag
              "dd"
              (tag "ul" (own |> List.map (bugItem run proven) |> lines)
               + (if others.IsEmpty then
                      ""
                  else
                      let links =
                          others
                          |> List.map (fun bug -> link (Bugs.anchor bug.Name) (code bug.Name))
                          |> String.concat ", "

                      tag "p" ("and " + links)))
          "</dl></section>" ]
