/// The seeded bugs: each as the change that it is, and who found it.
module Audit.Bugs

open System
open System.IO
open System.Text.Json
open Docs.Evidence
open Audit.Html
open Audit.Json

/// What a run says of a seeded bug.
type Found =
    { Verdict: string
      Invariants: int list
      Properties: string list
      Story: string list }

let ofRun (json: JsonElement option) : Map<string, Found> =
    match json with
    | None -> Map.empty
    | Some json ->
        Map
            [ for bug in list "mutants" json do
                  text "name" bug,
                  { Verdict = text "verdict" bug
                    Invariants = numbers "invariants" bug
                    Properties = texts "properties" bug
                    Story = texts "story" bug } ]

/// The old lines and the new ones; what both have stays plain.
let change (mutant: Mutant) =
    let indent =
        (mutant.Old + "\n" + mutant.New).Split '\n'
        |> Array.filter (fun line -> line.Trim() <> "")
        |> Array.map (fun line -> line.Length - line.TrimStart().Length)
        |> Array.min

    let dedented (text: string) =
        text.Split '\n'
        |> Array.map (fun line -> if line.Length > indent then line.Substring indent else "")

    let old, now = dedented mutant.Old, dedented mutant.New
    let common = Array.filter (fun line -> Array.contains line now) old

    // Both in their order, the common lines once.
    let rec merge (old: string list) (now: string list) =
        match old, now with
        | o :: olds, n :: news when o = n -> escape ("  " + o) + "\n" :: merge olds news
        | o :: olds, _ when not (Array.contains o common) -> tag "del" (escape ("− " + o)) :: merge olds now
        | _, n :: news when not (Array.contains n common) -> tag "ins" (escape ("+ " + n)) :: merge old news
        | o :: olds, _ -> tag "del" (escape ("− " + o)) :: merge olds now
        | [], n :: news -> tag "ins" (escape ("+ " + n)) :: merge [] news
        | [], [] -> []

    tag "pre" (merge (List.ofArray old) (List.ofArray now) |> String.concat "")

/// Where the old text stands.
let place (mutant: Mutant) =
    let text = File.ReadAllText(Docs.Source.path mutant.File)

    match text.IndexOf(mutant.Old, StringComparison.Ordinal) with
    | -1 -> mutant.File
    | at -> $"{mutant.File}:{1 + (text.Substring(0, at) |> Seq.filter ((=) '\n') |> Seq.length)}"

let verdict (found: Found option) =
    match found with
    | None -> missing "not run"
    | Some found when found.Verdict = "killed" -> badge true "found"
    | Some found -> badge false found.Verdict

let anchor (name: string) = "bug-" + name
