/// The page's sections, each of one program's results.
module Audit.Sections

open System
open System.IO
open System.Text.Json
open System.Text.RegularExpressions
open Audit.Html
open Audit.Json

type Part =
    {
        Title: string
        /// How to run it alone.
        Command: string
        Results: JsonElement option
    }

/// Whether a part's own results say that all is well.
let isGood (part: Part) =
    match part.Results with
    | None -> false
    | Some json ->
        match part.Title with
        | "Exploration" ->
            list "scopes" json
            |> List.forall (fun scope -> isTrue "complete" scope && (tryGet "story" scope).IsNone)
        | "Seeded bugs" ->
            list "mutants" json |> List.forall (fun mutant -> text "verdict" mutant = "killed")
            && fields (get "onlyFinder" json) |> List.forall (fun (_, names) -> names.GetArrayLength() > 0)
        | "Properties" -> list "properties" json |> List.forall (fun one -> isTrue "passed" one || isTrue "skipped" one)
        | _ -> list "tests" json |> List.forall (fun one -> isTrue "passed" one || isTrue "skipped" one)

let summary (part: Part) =
    match part.Results with
    | None -> "not run"
    | Some json ->
        match part.Title with
        | "Exploration" ->
            $"""{count (number "states" json)} distinct states, {count (number "transitions" json)} transitions, in {(list "scopes" json).Length} scopes ({text "mode" json} form)"""
        | "Seeded bugs" ->
            let all = list "mutants" json
            let killed = all |> List.filter (fun mutant -> text "verdict" mutant = "killed")
            $"{killed.Length} of {all.Length} found"
        | "Properties" ->
            let all = list "properties" json
            let cases = all |> List.sumBy (number "cases")
            $"""{all.Length} properties, {count cases} cases, seed {number "seed" json}"""
        | _ ->
            let all = list "tests" json
            let skipped = all |> List.filter (isTrue "skipped")

            $"{all.Length} tests on real servers"
            + (if skipped.IsEmpty then "" else $", {skipped.Length} of them skipped")

/// The invariants as docs/LIFECYCLE.md has them: number, name, sentence.
let private invariants (root: string) =
    [ for found in
          Regex.Matches(File.ReadAllText(Path.Combine(root, "docs", "LIFECYCLE.md")), @"### (\d+)\. (.+)\n\n(.+)\n") do
          int found.Groups[1].Value, found.Groups[2].Value, found.Groups[3].Value ]

let invariantTable root (properties: JsonElement option) (mutants: JsonElement option) =
    let of' invariant json = tryGet "invariant" json |> Option.exists (fun n -> n.GetInt32() = invariant)

    [ for invariant, name, sentence in invariants root do
          [ string invariant
            $"<b>{escape name}</b><br>{escape sentence}"
            match properties with
            | None -> badge false "not run"
            | Some json ->
                let own = list "properties" json |> List.filter (of' invariant)
                let cases = count (own |> List.sumBy (number "cases"))
                let failed = own |> List.filter (isTrue "passed" >> not)

                if failed.IsEmpty then
                    badge true $"{own.Length} hold" + $"<br>{cases} cases"
                else
                    badge false $"{failed.Length} fail"
            match mutants with
            | None -> badge false "not run"
            | Some json ->
                let found = list "mutants" json |> List.filter (numbers "invariants" >> List.contains invariant)
                let alone = texts (string invariant) (get "onlyFinder" json)

                $"{found.Length} found by it<br>" + badge (not alone.IsEmpty) $"{alone.Length} by it alone" ] ]
    |> table [ ""; "invariant"; "properties"; "seeded bugs" ]

let coverage (json: JsonElement) =
    let cells = fields (get "coverage" json) |> List.map (fun (name, n) -> name, n.GetInt64())

    let of' (kind: string) =
        cells
        |> List.filter (fun (name, _) -> name.StartsWith kind)
        |> List.map (fun (name, n) -> name.Substring(kind.Length).Trim(), n)

    let pairs = of' "pair " |> List.map (fun (name, n) -> let parts = name.Split " / " in parts[0], parts[1], n)

    let states = pairs |> List.map (fun (state, _, _) -> state) |> List.distinct
    let commands = pairs |> List.map (fun (_, command, _) -> command) |> List.distinct

    let head = commands |> List.map (escape >> tag "th") |> String.concat "" |> (+) "<th>state</th>"

    let rows =
        [ for state in states do
              let cells =
                  [ for command in commands do
                        pairs
                        |> List.tryPick (fun (s, c, n) -> if s = state && c = command then Some n else None)
                        |> Option.defaultValue 0L
                        |> heat ]

              tag "tr" (tag "td" (escape state) + String.concat "" cells) ]

    let sides = [ "one tick before"; "at"; "one tick after" ]

    let edges =
        of' "edge "
        |> List.choose (fun (name, n) ->
            sides
            |> List.tryFind (fun side -> name.StartsWith(side + " "))
            |> Option.map (fun side -> name.Substring(side.Length + 1), side, n))

    let names = edges |> List.map (fun (name, _, _) -> name) |> List.distinct

    let edgeRows =
        [ for name in names do
              let cells =
                  [ for side in sides do
                        edges
                        |> List.tryPick (fun (e, s, n) -> if e = name && s = side then Some n else None)
                        |> Option.defaultValue 0L
                        |> heat ]

              tag "tr" (tag "td" (escape name) + String.concat "" cells) ]

    String.concat
        "\n"
        [ "<p>How often each command met each state. A cell that can occur and was never met fails the run.</p>"
          $"<table><thead><tr>{head}</tr></thead><tbody>"
          yield! rows
          "</tbody></table><p>Deadlines, to the tick (100 ns).</p>"
          "<table><thead><tr><th>deadline</th>"
          + (sides |> List.map (tag "th") |> String.concat "")
          + "</tr></thead><tbody>"
          yield! edgeRows
          "</tbody></table>" ]

let exploration (json: JsonElement) =
    let scopes = list "scopes" json

    String.concat
        "\n"
        [ "<p>Every state that can occur within the bounds of a scope, breadth first; each invariant is asked in each.</p>"
          bars (scopes |> List.map (fun scope -> text "name" scope, number "states" scope))
          table
              [ "scope"; "states"; "transitions"; "depth"; "complete"; "bounds" ]
              [ for scope in scopes do
                    [ escape (text "name" scope)
                      count (number "states" scope)
                      count (number "transitions" scope)
                      string (number "depth" scope)
                      badge (isTrue "complete" scope) (if isTrue "complete" scope then "yes" else "no")
                      fields (get "bounds" scope)
                      |> List.map (fun (name, value) -> $"{name} {value}")
                      |> String.concat ", "
                      |> escape ] ]
          for scope in scopes do
              match texts "story" scope with
              | [] -> ()
              | story ->
                  tag "h3" (badge false $"""{text "name" scope}: a story against it""")
                  tag "pre" (escape (String.concat "\n" story)) ]

let mutants (json: JsonElement) =
    let all = list "mutants" json

    let alone =
        fields (get "onlyFinder" json)
        |> List.collect (fun (n, names) -> [ for name in names.EnumerateArray() -> n, name.GetString() ])

    let row mutant =
        let name = text "name" mutant
        let found = numbers "invariants" mutant

        let cells =
            [ for n in 1..16 do
                  if List.contains (string n, name) (alone |> List.map (fun (n, name) -> n, string name)) then
                      "<td class=\"alone\"></td>"
                  elif List.contains n found then
                      "<td class=\"hit\"></td>"
                  else
                      "<td></td>" ]

        let verdict = text "verdict" mutant
        tag "tr" (tag "td" (escape name) + tag "td" (badge (verdict = "killed") verdict) + String.concat "" cells)

    String.concat
        "\n"
        [ "<p>Each is one change of the source (<code>tests/Mutants/mutants.txt</code>), built aside. A column is an invariant: blue, one of its properties found the bug; green, no other invariant's did.</p>"
          "<table class=\"matrix\"><thead><tr><th>bug</th><th></th>"
          + ([ 1..16 ] |> List.map (string >> tag "th") |> String.concat "")
          + "</tr></thead><tbody>"
          yield! List.map row all
          "</tbody></table>"
          for mutant in all do
              match texts "story" mutant with
              | [] -> ()
              | story ->
                  $"""<details><summary>{escape (text "name" mutant)}: what the exploration tells of it</summary><pre>{escape (String.concat "\n" story)}</pre></details>""" ]

let stores (json: JsonElement) =
    table
        [ "store"
          "contract"
          "commands beside the model"
          "histories checked for linearizability"
          "seed" ]
        [ for store in list "contracts" json do
              let failed = number "failed" store

              [ escape (text "store" store)
                badge (failed = 0L) $"""{number "passed" store} passed, {failed} failed"""
                count (number "commands" store)
                count (number "histories" store)
                string (number "seed" store) ] ]
    + table
        [ "server"; "version" ]
        [ for name, version in fields (get "servers" json) -> [ escape name; escape (string (version.GetString())) ] ]

/// What failed, step by step, as its test told it.
let failures (part: Part) =
    match part.Results with
    | None -> []
    | Some json ->
        list "properties" json @ list "tests" json
        |> List.filter (fun one -> not (isTrue "passed" one || isTrue "skipped" one))
        |> List.map (fun one ->
            tag "h3" (badge false (text "name" one))
            + (tryGet "why" one
               |> Option.map (fun why -> tag "pre" (escape (string (why.GetString()))))
               |> Option.defaultValue ""))

let skipped (part: Part) =
    match part.Results with
    | None -> [ $"{part.Title}: not run in this run (<code>{escape part.Command}</code>)" ]
    | Some json ->
        list "properties" json @ list "tests" json
        |> List.filter (isTrue "skipped")
        |> List.map (fun one -> escape (text "name" one))
