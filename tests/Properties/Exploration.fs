/// All that can happen in some small worlds, to the end of each: every state that can be reached is reached, and every
/// invariant is required of it. Which numbers bound the worlds is said here, and printed with the result. The loop that
/// changes a record in them is the one that ships, Protocol.next.
///     ./test exploration [--quick] [--scope TEXT] [--limit STATES]     --quick: the smallest worlds; SESSION_LONG: larger bounds
module Properties.Exploration

open System
open System.Text.Json.Nodes
open Session.Domain
open Properties.Histories
open Properties.Worlds
open Properties.Search

let isLong = not (String.IsNullOrEmpty(Environment.GetEnvironmentVariable "SESSION_LONG"))
let private bound short long = if isLong then long else short

/// One session, its browser, a thief who has every token that ever was: renewals, lost answers, time.
let private tokens =
    { Name = "tokens: one session, a thief, renewals"
      Fine = false
      Sessions = 1
      Begins = false
      Goals = [ Look ]
      Thief = true
      Sweeper = true
      Operator = false
      Parallel = 2
      Requests = bound 10 14
      Halves = true
      Ticks = bound 14 20
      Faults = 0
      Fails = true
      Limit = None
      RefuseNew = false }

/// The same with lost answers, crashes, unknown and late writes.
let private losses =
    { tokens with
        Name = "losses: one session, a thief, one fault of any kind"
        Requests = bound 5 6
        Halves = false
        Ticks = bound 5 6
        Faults = 1 }

/// The same with changes of privilege and sign-out.
let private rights =
    { tokens with
        Name = "rights: one session, a thief, elevations, sign-out, lost answers"
        Goals = [ Look; ToElevate; SignOut ]
        Requests = bound 3 4
        Halves = false
        Ticks = bound 3 5
        Faults = 1 }

/// The same browser one request at a time: a lost answer logs it out never.
let private alone =
    { tokens with
        Name = "alone: one session, one request at a time, any answer lost"
        Goals = [ Look; ToSignIn ]
        Thief = false
        Parallel = 1
        Requests = bound 6 8
        Halves = false
        Ticks = bound 6 8
        Faults = bound 2 3 }

/// Requests of one session on two nodes, step by step in any order: crashes, writes that are unknown, late or twice.
let private races =
    { Name = "races: two nodes, step by step, crashes, unknown and late writes"
      Fine = true
      Sessions = 1
      Begins = false
      Goals = [ Update; Save; ToSignIn; SignOut ]
      Thief = false
      Sweeper = true
      Operator = false
      Parallel = 2
      Requests = 2
      Halves = false
      Ticks = bound 2 3
      Faults = bound 1 2
      Fails = true
      Limit = None
      RefuseNew = false }

/// Three at once.
let private crowd =
    { races with
        Name = "crowd: three at once, step by step"
        Goals = [ Update; SignOut ]
        Sweeper = false
        Parallel = 3
        Requests = 3
        Ticks = bound 0 1
        Faults = 1
        Fails = isLong }

/// A session that begins with a sign-in: inserts whose outcome is unknown, or that come late.
let private beginnings =
    { races with
        Name = "beginnings: a sign-in begins the session, step by step"
        Begins = true
        Goals = [ Update; SignOut ]
        Requests = 3
        Ticks = bound 0 2
        Faults = bound 2 3 }

/// One browser, whose answers come in any order and late: a renewal beside a sign-in.
let private answers =
    { tokens with
        Name = "answers: one browser, requests side by side, answers in any order, slow or lost"
        Goals = [ Look; ToSignIn; SignOut ]
        Thief = false
        Sweeper = false
        Requests = bound 4 5
        Halves = false
        Ticks = bound 3 5
        Faults = 1 }

/// One browser, whose requests are under way for longer than a renewal waits: two tokens of one renewal reach it.
let private twins =
    { races with
        Name = "twins: one browser, two tokens of one renewal, step by step"
        Goals = [ Look ]
        Sweeper = false
        Requests = bound 4 5
        Ticks = bound 4 6
        Faults = 0
        Fails = false }

/// Two sessions of one subject: sign-ins in parallel, a limit of one, and an operator who destroys all.
let private subjects =
    { Name = "subject: two sessions, destroy all, step by step"
      Fine = true
      Sessions = 2
      Begins = false
      Goals = [ ToSignIn ]
      Thief = false
      Sweeper = false
      Operator = true
      Parallel = 2
      Requests = bound 3 4
      Halves = false
      Ticks = bound 2 4
      Faults = 1
      Fails = isLong
      Limit = None
      RefuseNew = false }

/// A sign-in whose answers do not come, beside an operator who ends all: what is stored is asked for once more.
let private affirmations =
    { subjects with
        Name = "affirmations: a sign-in that is not acknowledged, destroy all, step by step"
        Sessions = 1
        Goals = [ ToSignIn; Update ]
        Requests = bound 3 4
        Ticks = bound 0 1
        Faults = 2
        Fails = true }

let private limited refuse =
    { subjects with
        Name =
            (if refuse then
                 "limit: one session each, the second is refused"
             else
                 "limit: one session each, the older ends")
        Operator = false
        Goals = [ ToSignIn ]
        Ticks = bound 3 4
        Faults = bound 0 1
        Limit = Some 1
        RefuseNew = refuse }

let private variants =
    [ for scope in
          [ tokens
            losses
            rights
            alone
            answers
            twins
            races
            crowd
            beginnings
            subjects
            affirmations
            limited false
            limited true ] do
          let skews =
              if List.exists (fun (word: string) -> scope.Name.StartsWith word) [ "alone"; "crowd"; "twins" ] then
                  [ [| 0 |] ]
              else
                  [ [| 0; -1 |] ]

          for skews in skews do
              for onReplay in
                  (if scope.Name.StartsWith "tokens" then [ DestroySession; RefuseToken ] else [ DestroySession ]) do
                  { Scope = scope
                    Policy = { policy with OnReplay = onReplay }
                    Skews = skews
                    Subject = if scope.Begins || scope.Name.StartsWith "affirmations" then Some subject else None } ]

let private nameOf variant =
    let clocks =
        variant.Skews
        |> Array.map (fun skew -> if skew = 0 then "right" else $"{skew} step")
        |> String.concat ", "

    $"{variant.Scope.Name} (a replay: {policyName variant.Policy.OnReplay}; clocks: {clocks})"

let private numberOfInvariant (name: string) = int (name.Substring(0, name.IndexOf ' '))

/// Every invariant of Invariants.fs is required of every decision that is made in any world.
let private required step =
    for name, holds in Invariants.invariants do
        if not (holds step) then
            raise (Broken(numberOfInvariant name, $"{name}\n   broken by\n   {describe step}"))

let private jsonOf (outcomes: Outcome list) =
    let scopes = JsonArray()

    for outcome in outcomes do
        let scope = outcome.Variant.Scope
        let it = JsonObject()
        it["name"] <- JsonValue.Create(nameOf outcome.Variant)
        it["states"] <- JsonValue.Create outcome.States
        it["transitions"] <- JsonValue.Create outcome.Transitions
        it["depth"] <- JsonValue.Create outcome.Depth
        it["decisions"] <- JsonValue.Create outcome.Decisions
        it["seconds"] <- JsonValue.Create(Math.Round(outcome.Seconds, 2))
        it["complete"] <- JsonValue.Create(outcome.Found.IsNone && not outcome.Truncated)
        let bounds = JsonObject()
        bounds["sessions"] <- JsonValue.Create scope.Sessions
        bounds["requests"] <- JsonValue.Create scope.Requests
        bounds["parallel"] <- JsonValue.Create scope.Parallel
        bounds["steps"] <- JsonValue.Create scope.Ticks
        bounds["faults"] <- JsonValue.Create scope.Faults
        it["bounds"] <- bounds

        match outcome.Found with
        | Some found ->
            it["invariant"] <- JsonValue.Create found.Invariant
            it["broken"] <- JsonValue.Create found.What
            let lines = JsonArray()
            story outcome found |> List.iter (fun line -> lines.Add(JsonValue.Create line))
            it["story"] <- lines
        | None -> ()

        scopes.Add it

    let total = JsonObject()
    total["mode"] <- JsonValue.Create(if isLong then "long" else "short")
    total["states"] <- JsonValue.Create(outcomes |> List.sumBy _.States)
    total["transitions"] <- JsonValue.Create(outcomes |> List.sumBy _.Transitions)
    total["seconds"] <- JsonValue.Create(Math.Round(outcomes |> List.sumBy _.Seconds, 2))
    total["scopes"] <- scopes
    total

/// The least number of states over all scopes for the default run to count as one.
let private floor = 5_000_000

/// Some seconds each.
let private smallest = [ "tokens"; "losses"; "twins"; "crowd"; "beginnings" ]

let run isQuick (only: string option) (most: int option) (results: string option) =
    let isChosen variant =
        (nameOf variant).Contains(defaultArg only "")
        && (not isQuick || List.exists (fun (word: string) -> variant.Scope.Name.StartsWith word) smallest)

    let chosen = variants |> List.filter isChosen

    let outcomes =
        [ for variant in chosen do
              let outcome = explore variant (defaultArg most Int32.MaxValue) required
              let scope = variant.Scope

              printfn
                  "%10d states %11d transitions, depth %2d, %7d decisions, %5.1f s, peak %d%s: %s; up to %d requests (%d at once), %d steps of time, %d faults"
                  outcome.States
                  outcome.Transitions
                  outcome.Depth
                  outcome.Decisions
                  outcome.Seconds
                  outcome.Peak
                  (if outcome.Truncated then " NOT COMPLETE" else "")
                  (nameOf variant)
                  scope.Requests
                  scope.Parallel
                  scope.Ticks
                  scope.Faults

              match outcome.Found with
              | Some found ->
                  printfn "\nFAILED %s" (nameOf variant)
                  story outcome found |> List.iter (printfn "%s")
                  printfn ""
              | None -> ()

              outcome ]

    let states = outcomes |> List.sumBy _.States
    let transitions = outcomes |> List.sumBy _.Transitions
    printfn "\n%d states, %d transitions, %.1f s" states transitions (outcomes |> List.sumBy _.Seconds)

    match results with
    | Some file -> Results.save file (jsonOf outcomes)
    | None -> ()

    let failed = outcomes |> List.filter (fun outcome -> outcome.Found.IsSome || outcome.Truncated) |> List.length
    let tooFew = only.IsNone && not isQuick && failed = 0 && states < floor

    if tooFew then
        printfn "FAILED fewer than %d states: the bounds are too small to prove anything" floor

    let failed = failed + (if tooFew then 1 else 0)
    printfn "%d passed, %d failed" (outcomes.Length + (if tooFew then 1 else 0) - failed) failed
    if failed = 0 then 0 else 1
