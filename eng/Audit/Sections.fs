/// The page's sections behind the invariants, each of one part's results.
module Audit.Sections

open System.Text.Json
open Docs
open Audit.Html
open Audit.Json

let coverage (json: JsonElement) =
    let cells = fields (get "coverage" json) |> List.map (fun (name, n) -> name, n.GetInt64())

    let of' (kind: string) =
        cells
        |> List.filter (fun (name, _) -> name.StartsWith(kind + " "))
        |> List.map (fun (name, n) -> name.Substring(kind.Length).Trim(), n)

    let counts = of' "pair" |> Map
    let pairs = of' "pair" |> List.map (fun (name, _) -> let parts = name.Split " / " in parts[0], parts[1])

    let inOrder known all = List.distinct (List.filter (fun one -> List.contains one all) known @ List.distinct all)

    let states =
        pairs
        |> List.map fst
        |> inOrder
            [ "Absent"
              "Created"
              "Active"
              "Regenerated (issued)"
              "Regenerated (confirmed)"
              "Destroyed"
              "Expired" ]

    let commands =
        pairs
        |> List.map snd
        |> inOrder
            [ "Create"
              "Present"
              "Write"
              "SignIn"
              "Elevate"
              "Renew"
              "Destroy"
              "Expire"
              "Tell" ]

    let sides = [ "one tick before"; "at"; "one tick after" ]
    let edges = of' "edge"

    let deadlines =
        edges
        |> List.choose (fun (name, _) -> if name.StartsWith "at " then Some(name.Substring 3) else None)

    let rest =
        edges
        |> List.filter (fun (name, _) -> not (sides |> List.exists (fun side -> name.StartsWith(side + " "))))

    lines
        [ "<p>How often each command met each state, in random histories. A cell that was never met fails the run.</p>"
          heatMap "state" states commands (fun state command ->
              counts |> Map.tryFind $"{state} / {command}" |> Option.defaultValue 0L)
          "<p>How often each deadline was met, to the tick (100 ns).</p>"
          heatMap "deadline" deadlines sides (fun deadline side ->
              Map edges |> Map.tryFind $"{side} {deadline}" |> Option.defaultValue 0L)
          for name, n in rest do
              tag "p" (classed "span" "soft" $"{escape name}: met {count n} times")
          folded
              false
              "What was answered, and what tokens were presented"
              (table
                  [ "what"; "which"; "how often" ]
                  [ for kind in [ "event"; "refusal"; "present" ] do
                        for name, n in of' kind do
                            [ kind; escape name; count n ] ]) ]

let branches (json: JsonElement) =
    let covered = Branches.ofJson json
    let source = System.IO.File.ReadAllLines(Source.path "src/Session.Domain.fs")

    lines
        [ tag
              "p"
              (badge
                  (Branches.isFull covered)
                  $"{Branches.percent covered.Taken covered.Branches} %% of the branches, {Branches.percent covered.Walked covered.Lines} %% of the lines"
               + " of "
               + code "src/Session.Domain.fs"
               + $": {covered.Taken} of {covered.Branches} branches, {covered.Walked} of {covered.Lines} lines were walked through by the properties (1,000 histories each, seed 1). Less than all fails the run.")
          "<p class=\"soft\">Counted by coverlet in a build without optimisation. Nothing of the file is excluded. What has no line in it is not counted: equality, comparison and printing that the compiler writes for each type.</p>"
          if not covered.Missed.IsEmpty then
              table
                  [ "line"; "function"; "what was never gone"; "source" ]
                  [ for missed in covered.Missed do
                        [ string missed.Line
                          escape missed.Function
                          (if missed.Path < 0L then "the line" else $"way {missed.Path} out of it")
                          code (source[missed.Line - 1].Trim()) ] ] ]

let exploration (json: JsonElement) =
    let scopes = list "scopes" json

    // Its name, and the policy where it is not the usual one; all of it is in the table.
    let label (name: string) =
        let short =
            match name.IndexOf " (" with
            | -1 -> name
            | at -> name.Substring(0, at)

        if name.Contains "RefuseToken" then short + " (a replay is only refused)" else short

    lines
        [ "<p>Every world that can be reached within the bounds of a scope, breadth first, each once: two browsers, a thief with every token ever seen, nodes whose clocks differ, a sweeper, an operator; crashes between any two calls of the store, lost answers, late and doubled writes. The lifecycle in them is the real one.</p>"
          bars (scopes |> List.map (fun scope -> label (text "name" scope), number "states" scope))
          table
              [ "scope"; "states"; "transitions"; "depth"; "to its end"; "bounds" ]
              [ for scope in scopes do
                    [ escape (text "name" scope)
                      count (number "states" scope)
                      count (number "transitions" scope)
                      string (number "depth" scope)
                      badge (isTrue "complete" scope) (if isTrue "complete" scope then "yes" else "no")
                      fields (get "bounds" scope)
                      |> List.map (fun (name, value) -> $"{value} {name}")
                      |> String.concat ", "
                      |> escape ] ] ]

/// How many bugs there are of each file, and which tests found them.
let private perFile (json: JsonElement) =
    let byFile = list "mutants" json |> List.groupBy (text "file") |> List.sortBy fst

    let finders bugs =
        bugs
        |> List.filter (fun bug -> text "verdict" bug = "killed")
        |> List.countBy (tryText "suite")
        |> List.sortByDescending snd
        |> List.map (fun (suite, n) -> $"{escape suite} ({n})")
        |> String.concat ", "

    folded
        true
        $"{byFile.Length} files have seeded bugs"
        (table
            [ "file"; "bugs"; "found by the tests of" ]
            [ for file, bugs in byFile -> [ code file; string bugs.Length; finders bugs ] ])

let bugs (json: JsonElement) =
    let found = Bugs.ofRun (Some json)

    let alone =
        Set
            [ for n, names in fields (get "onlyFinder" json) do
                  for name in names.EnumerateArray() do
                      int n, string (name.GetString()) ]

    let row bug =
        let name = text "name" bug
        let it = found[name]

        let cells =
            [ for n in 1..18 do
                  if alone.Contains(n, name) then "<td class=\"n alone\"></td>"
                  elif List.contains n it.Invariants then "<td class=\"n hit\"></td>"
                  else "<td class=\"n\"></td>" ]

        let others =
            it.Properties
            |> List.filter (fun property -> not (System.Char.IsDigit property[0] && property.Contains ':'))

        tag
            "tr"
            (tag "th" (link (Bugs.anchor name) (escape name))
             + tag "td" (Bugs.verdict (Some it))
             + String.concat "" cells
             + tag "td" (if others.IsEmpty then "" else string others.Length)
             + tag "td" (if it.Story.IsEmpty then "" else "story"))

    lines
        [ "<p>Each is one change of the source, built aside; the tests of its part have to find it, and against a guard of the renewal the exploration has to tell a story. Whoever found it the last time is asked first, and about one bug of each invariant all are. They were chosen by those who know the tests: that all are found says less than a bug of somebody who does not.</p>"
          perFile json
          "<p>A column is an invariant, a row a bug:<span class=\"key hit\"></span>a property of that invariant found it<span class=\"key alone\"></span>and no other invariant's did.</p>"
          "<table class=\"matrix\"><thead><tr><th>bug</th><th></th>"
          + ([ for n in 1..18 -> tag "th" (link $"i{n}" (string n)) ] |> String.concat "")
          + "<th>other tests</th><th>exploration</th></tr></thead><tbody>"
          yield! list "mutants" json |> List.sortBy (text "name") |> List.map row
          "</tbody></table>" ]

let stores (json: JsonElement) =
    let tests = list "tests" json
    let broken = tests |> List.filter (fun test -> (text "name" test).Contains " / sees what is broken / ")
    let seen = broken |> List.filter (isTrue "passed")
    let none n what = badge (n = 0L) (if n = 0L then "none" else $"{n} {what}")

    let suites =
        tests
        |> List.groupBy (fun test ->
            let parts = (text "name" test).Split " / "
            if parts.Length > 1 then parts[1] else parts[0])

    lines
        [ "<p>The contract of a store: an example for each sentence of the port, random commands compared with a model, histories of parallel clients that some order has to explain, sweepers that share the overdue.</p>"
          table
              [ "store"
                "seed"
                "tests"
                "sentences broken"
                "commands beside the model"
                "divergences"
                "histories"
                "violations" ]
              [ for store in list "contracts" json do
                    let failed = number "failed" store

                    [ escape (text "store" store)
                      string (number "seed" store)
                      badge (failed = 0L) $"""{number "passed" store} passed, {failed} failed"""
                      none (tryNumber "sentences" store) "broken"
                      count (number "commands" store)
                      none (tryNumber "divergences" store) "found"
                      count (number "histories" store)
                      none (tryNumber "violations" store) "found" ] ]
          tag
              "p"
              ("The contract can fail: "
               + badge
                   (not broken.IsEmpty && seen.Length = broken.Length)
                   $"{seen.Length} of {broken.Length} broken stores"
               + " were seen by it. Again with the same seed: "
               + code "SESSION_CONTRACT_SEED=N ./test integration --only \"the contract\"")
          tag "h3" "Versions"
          table
              [ "what"; "version" ]
              [ for name, version in fields (get "servers" json) ->
                    [ escape name; escape (string (version.GetString())) ] ]
          tag "h3" "All tests on servers and over HTTP"
          for suite, own in suites do
              let failed = own |> List.filter (fun test -> not (isTrue "passed" test || isTrue "skipped" test))
              let skipped = own |> List.filter (isTrue "skipped")

              folded
                  false
                  ($"{escape suite}: "
                   + badge
                       failed.IsEmpty
                       $"{own.Length - failed.Length - skipped.Length} passed, {failed.Length} failed"
                   + (if skipped.IsEmpty then "" else " " + missing $"{skipped.Length} skipped")
                   + classed "span" "soft" $""" · {own |> List.sumBy (real "seconds"):F0} s""")
                  (classed
                      "ul"
                      "tests"
                      (own
                       |> List.map (fun test ->
                           let parts = (text "name" test).Split " / " |> List.ofArray

                           tag
                               "li"
                               (escape (String.concat " / " (if parts.Length > 2 then List.skip 2 parts else parts))))
                       |> lines)) ]
