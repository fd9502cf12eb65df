/// The invariants as Markdown, each with its evidence.
module Docs.Sections

open System
open Docs.Invariants

let invariants () =
    [ for invariant in all do
          let tests = Evidence.tests invariant.Number invariant.Name
          yield $"### {invariant.Number}. {invariant.Name}"
          yield ""
          yield invariant.Sentence
          yield ""
          yield $"*In plain words:* {invariant.Gloss}"
          yield ""
          yield $"- formula: {invariant.Formula}"
          yield $"- requirement: {invariant.Requirement}"
          yield "- properties:"

          for test in tests do
              let mark = if test.IsOfSteps then " ◆" else ""
              yield $"  - {test.Name}{mark} (`{test.File}`)"

          match Evidence.exploration invariant.Number, tests |> List.exists _.IsOfSteps with
          | [], false -> yield "- exploration: nothing of its own"
          | [], true -> yield "- exploration: what is marked ◆"
          | stories, isMarked ->
              let stories = stories |> List.map (fun story -> $"“{story}”") |> String.concat "; "
              let marked = if isMarked then "what is marked ◆; and " else ""
              yield $"- exploration: {marked}no story ends with {stories}"

          let bugs = Evidence.mutants invariant.Number |> List.map (fun mutant -> $"`{mutant.Name}`")
          yield $"""- seeded bugs: {if bugs.IsEmpty then "none" else String.Join(", ", bugs)}"""
          yield "" ]
