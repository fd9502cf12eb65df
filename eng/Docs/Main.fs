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
      yield "How to follow one invariant in five minutes, for instance the fifth, *no fixation*:"
      yield ""
      yield "1. Read its sentence and its formula [below](#5-no-fixation), and the requirement that asks for it."
      yield
          "2. Read its property: it has the same number and name in `tests/Properties/Invariants.fs`, and is a predicate on one step"
      yield "   of a history. Run it alone: `./test properties --only \"5 no fixation\"`."
      yield
          "3. Read the seeded bugs that it has to find, old text beside new, in `tests/Mutants/mutants.txt`. Run them:"
      yield "   `./test mutants --only 05-`."
      yield
          "4. Run `./test all` and open `artifacts/audit/index.html`: the same invariant with the numbers of that run, the stories"
      yield "   that were told against the bugs, and what was not run."
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
      yield
          "A *predecessor* is the old token in its grace. What it lets in reads and writes data and may end the session; it moves no"
      yield
          "deadline, and gets no token: it cannot sign in, elevate or renew. A request that was let in by the confirmed token, before"
      yield "that token became the predecessor, still may, until the grace is over."
      yield ""
      yield
          "A token is judged as of the *arrival* of its request: one that had arrived before its token stopped working is refused as"
      yield
          "outdated, and no sign of theft, however long it took. A grace that a node's clock began which is ahead of the others' lasts"
      yield "at most twice as long as the policy says."
      yield ""
      yield "## Commands and refusals"
      yield ""
      yield! Source.casesTable "src/Session.Domain.fs" "Command" "command"
      yield ""

      yield
          "A command carries a `Grant`, what let its request in: the number of elevations then (after another one it is outdated), the"
      yield
          "token, whether that was a predecessor, and when the request arrived. What a request writes counts as activity as of its"
      yield "arrival. Without a grant an operator, a limit or another device acts: nobody was active."
      yield ""
      yield! Source.casesTable "src/Session.Words.fs" "Refusal" "refusal"
      yield ""
      yield "## Every state and command"
      yield ""
      yield "In short; in each cell the states that the command can lead to:"
      yield ""
      yield! Pairs.overview ()
      yield ""
      yield "<details>"
      yield "<summary>In full: each answer to each command, with the situations in which it is given</summary>"
      yield ""
      yield
          "The answers of the code, asked when this page was made. Times: idle 30 minutes, absolute 8 hours, confirm 10 minutes,"
      yield
          "rotation 15 minutes, grace 30 seconds; a replay ends the session. Where there is no session, all but create is refused."
      yield ""
      yield! Pairs.table ()
      yield ""
      yield "</details>"
      yield ""
      yield "## Invariants"
      yield ""
      yield
          "In the formulas *s* is a session, *t* a token, *before* and *after* are the states around one command, *now* is its time;"
      yield
          "`opens` is the function of that name at the end of the file, `over` is Destroyed or Expired. ASVS is OWASP ASVS 5.0.0: row"
      yield "by row in [SECURITY.md](SECURITY.md#owasp-asvs-500-v7-session-management), what is met by what."
      yield ""
      yield "Where the evidence comes from:"
      yield ""
      yield
          "- *properties* (`./test properties`): those of `Invariants.fs` are asked of every step of thousands of random histories, or of"
      yield "  many requests at once; a state, command or deadline that was never met fails the run"
      yield
          "- *exploration* (`./test exploration`): every world that can be reached within bounds (browsers, a thief, nodes with wrong clocks,"
      yield
          "  crashes, lost answers). A property marked ◆ is required of every decision in it, and the sentences quoted are how a story"
      yield
          "  against an invariant would end (`Worlds.fs`). The lifecycle and the loop are those that ship; the store, the network, the"
      yield "  clocks and the short plans of requests and sweepers are written for it"
      yield
          "- *simulation* (`./test simulation`): hours of a fleet in virtual time, everything from the middleware to the port of the store"
      yield
          "  as it ships; a naive model judges each step (`tests/Simulation/Judge.fs`), and prints the seed of what it finds"
      yield
          "- *seeded bugs* (`./test mutants`; `tests/Mutants/mutants.txt`): each has to be found; for each invariant there is one that no"
      yield "  other invariant's property finds. They were chosen by those who know the tests"
      yield ""
      yield! Sections.invariants ()
      yield ""
      yield
          "The id and the version are not part of the state: the one loop ([Loop.fs](../src/Session.Engine/Loop.fs)) keeps them, so"
      yield "no event can change an id, and each accepted write adds one to the version."
      yield ""
      yield "## The way through the source"
      yield ""
      yield "| | file | lines | of them code | what it says |"
      yield "| --- | --- | --- | --- | --- |"

      for i, (file, what) in List.indexed Source.readingOrder do
          let all, code = Source.countLines file
          yield $"| {i + 1} | [{file}](../{file}) | {all} | {code} | {what} |" ]

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
