/// Writes docs/LIFECYCLE.md from the code; with --check it only compares, and fails when the file is stale.
module Docs.Main

open System
open System.IO
open Docs

let private lifecycle () =
    [ yield "<!-- Made from the code by ./eng/docs: change the code, not this file. -->"
      yield "# The life of a session"
      yield ""

      yield
          "Everything here is decided in one file, [src/Session.Domain.fs](../src/Session.Domain.fs): pure functions, time and randomness are arguments."

      yield ""
      yield "    decide : Policy -> now: DateTimeOffset -> Command -> State -> Result<Event list, Refusal>"
      yield "    evolve : State -> Event -> State"
      yield ""
      yield
          "`decide` answers every pair of state and command; `evolve` only copies the facts of an event. A refusal changes"
      yield
          "nothing. A deadline is exclusive: at exactly the deadline the session is over. A clock that runs backwards is judged"
      yield "at the time at which the session was last seen: it revives nothing and extends nothing."
      yield ""
      yield
          "How to follow one invariant in five minutes: take its sentence [below](#invariants), read its formula, run its"
      yield
          "property (`./test properties --only \"NAME\"`), read the seeded bugs that only this property finds, and open"
      yield "`artifacts/audit/index.html` after `./test audit` for the numbers of that run."
      yield ""
      yield "## Words"
      yield ""
      yield "| word | meaning |"
      yield "| --- | --- |"

      for line in Source.section "src/Session.Domain.fs" "Words" do
          let word = line.Trim().Split("  ", 2, StringSplitOptions.RemoveEmptyEntries)
          yield $"| {word[0].Trim()} | {word[1].Trim()} |"

      yield ""
      yield "## States"
      yield ""
      yield! Diagrams.states ()
      yield ""

      yield! Source.table "src/Session.Domain.fs" "States"

      yield ""
      yield
          "Destroyed and Expired are tombstones: so that a slow save cannot bring a session back, and so that the expiry hook"
      yield "is told. They go when the retention is over."
      yield ""
      yield "## A renewal"
      yield ""
      yield! Diagrams.renewal ()
      yield ""
      yield
          "An *elevation* (sign-in, change of role) is one step: the new token works, every older one is dead at once. A request that"
      yield "was let in before an elevation cannot write, elevate or destroy after it."
      yield ""
      yield "## Every state and command"
      yield ""
      yield
          "The answers of the code, asked when this page was made. Times: idle 30 minutes, absolute 8 hours, confirm 10 minutes,"
      yield "rotation 15 minutes, grace 30 seconds; a replay ends the session."
      yield! Pairs.table ()
      yield ""
      yield "## Invariants"
      yield ""
      yield! Invariants.sections ()
      yield ""
      yield
          "The id and the version are not part of the state: the one loop ([Loop.fs](../src/Session.Engine/Loop.fs)) keeps them, so"
      yield "no event can change an id, and each accepted write adds one to the version."
      yield ""
      yield "## The way through the source"
      yield ""
      yield "| | file | lines | what it says |"
      yield "| --- | --- | --- | --- |"

      for i, (file, what) in List.indexed Source.readingOrder do
          yield $"| {i + 1} | [{file}](../{file}) | {Source.countLines file} | {what} |" ]

[<EntryPoint>]
let main args =
    let file = Source.path "docs/LIFECYCLE.md"
    let made = String.Join("\n", lifecycle ()) + "\n"
    let isCurrent = File.Exists file && File.ReadAllText file = made

    match args with
    | [| "--check" |] when isCurrent -> 0
    | [| "--check" |] ->
        eprintfn "docs/LIFECYCLE.md is stale: run ./eng/docs and commit what it writes."
        1
    | [||] ->
        File.WriteAllText(file, made)
        printfn "docs/LIFECYCLE.md: %s" (if isCurrent then "as it was" else "written")
        0
    | _ ->
        eprintfn "usage: ./eng/docs [--check]"
        2
