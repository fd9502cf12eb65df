/// The invariants of docs/LIFECYCLE.md, each required of every step of every history.
module Properties.Invariants

open System
open Expecto
open FsCheck
open FsCheck.FSharp
open Session.Domain
open Properties.Histories

let isLive state = (Lifecycle.liveOf state).IsSome

let eventsOf step =
    match step.Answer with
    | Ok events -> events
    | Error _ -> []

let has predicate step = eventsOf step |> List.exists predicate

let isElevation event =
    match event with
    | WasSignedIn _
    | WasElevated _ -> true
    | _ -> false

let isSignIn event =
    match event with
    | WasSignedIn _ -> true
    | _ -> false

let opens step number state = Lifecycle.opens step.Policy step.At (secret number) state

let absolute (policy: Policy) (live: Live) = defaultArg live.AuthenticatedAt live.CreatedAt + policy.Absolute

/// Which secrets may open this state, by its own words: the confirmed one, those issued, the predecessor.
let mayOpen state =
    match state with
    | Created live
    | Active live -> [ live.Secret ]
    | Regenerated(live, Issued(secrets, _)) -> live.Secret :: secrets
    | Regenerated(live, Confirmed(predecessor, _)) -> [ live.Secret; predecessor ]
    | Absent
    | Destroyed _
    | Expired _ -> []

let both step predicate =
    match Lifecycle.liveOf step.Before, Lifecycle.liveOf step.After with
    | Some before, Some after -> predicate before after
    | _ -> true

let invariants: (string * (Step -> bool)) list =
    [ "1 the end absorbs: nothing leads from Destroyed or Expired to anything live",
      fun step ->
          match step.Before with
          | Destroyed _
          | Expired _ -> not (isLive step.After)
          | _ -> true

      "2 no deadline past absolute: only sign-in moves the absolute deadline, with a new secret",
      fun step ->
          (match Lifecycle.deadline step.Policy step.After, Lifecycle.liveOf step.After with
           | Some(_, at), Some live -> at <= absolute step.Policy live
           | _ -> true)
          && both step (fun before after ->
              absolute step.Policy before = absolute step.Policy after
              || (has isSignIn step && not (before.Secret.Equals after.Secret)))

      "3 time and version only grow: last seen, revision and elevations never decrease",
      fun step ->
          both step (fun before after ->
              after.LastSeen >= before.LastSeen
              && after.Revision >= before.Revision
              && after.Elevations >= before.Elevations
              && after.Revision - before.Revision <= 1L)

      "4 one token opens: the confirmed one, those of the renewal under way, the predecessor in its grace",
      fun step ->
          step.Issued
          |> List.forall (fun number ->
              not (opens step number step.After) || List.exists (secret number).Equals (mayOpen step.After))

      "5 no fixation: a token known before an elevation opens nothing after it",
      fun step ->
          let dead = if has isElevation step then step.Issued else step.DeadSecrets
          dead |> List.forall (fun number -> not (opens step number step.After))

      "6 no resurrection: after the end no write, sign-in or renewal is accepted",
      fun step ->
          match step.Before, step.Command with
          | (Destroyed _ | Expired _), (Write _ | SignIn _ | Elevate _ | Renew _ | Create _ | Present _) ->
              step.Answer.IsError
          | _ -> true

      "7 a refusal changes nothing: and every event changes the state it is told of",
      fun step ->
          match step.Answer with
          | Error _ -> step.After = step.Before
          | Ok events ->
              let consumes state event =
                  match event with
                  // Seen at a time that is not later is no change.
                  | WasSeen at ->
                      (match Lifecycle.liveOf state with
                       | Some live -> live.LastSeen >= at || Lifecycle.evolve state event <> state
                       | None -> false)
                  | _ -> Lifecycle.evolve state event <> state

              let folder (state, isFine) event = Lifecycle.evolve state event, isFine && consumes state event

              events |> List.fold folder (step.Before, true) |> snd

      "8 the unattended end: at its deadline a session opens to nobody, before it to its token",
      fun step ->
          match Lifecycle.deadline step.Policy step.After, Lifecycle.liveOf step.After with
          | Some(_, at), Some live ->
              let opensAt time = Lifecycle.opens step.Policy time live.Secret step.After

              not (opensAt at)
              && not (opensAt (at.AddDays 1.0))
              && (at.AddTicks -1L < live.LastSeen || opensAt (at.AddTicks -1L))
          | _ -> true

      "9 no lost update: a write based on what is not there any more is a conflict",
      fun step ->
          match step.Command, Lifecycle.liveOf step.Before with
          | Write(_, Some revision, _), Some live when revision <> live.Revision -> step.Answer.IsError
          | _ -> true

      "10 renewal keeps the session: subject, data and deadlines stay, the secret changes",
      fun step ->
          both step (fun before after ->
              not (
                  has
                      (fun event ->
                          match event with
                          | RenewalIssued _
                          | RenewalConfirmed _ -> true
                          | _ -> false)
                      step
              )
              || (before.Subject = after.Subject
                  && before.Data = after.Data
                  && before.CreatedAt = after.CreatedAt
                  && before.AuthenticatedAt = after.AuthenticatedAt
                  && before.Revision = after.Revision))

      "11 nothing from strangers: a guess opens nothing and changes nothing",
      fun step ->
          not (Lifecycle.opens step.Policy step.At guess step.After)
          && (step.Command <> Present guess || (step.Answer.IsError && step.After = step.Before))

      "12 subject by sign-in: nothing else changes it, and it always changes the secret",
      fun step ->
          both step (fun before after ->
              before.Subject = after.Subject || (has isSignIn step && not (before.Secret.Equals after.Secret)))
          && (not (has isSignIn step) || both step (fun before after -> not (before.Secret.Equals after.Secret)))

      "13 grace is the last: the predecessor works until its grace ends, moves nothing and gets no token",
      fun step ->
          match step.After with
          | Regenerated(live, Confirmed(predecessor, until)) ->
              until <= step.At + step.Policy.Grace + minutes 2
              && not (Lifecycle.opens step.Policy until predecessor step.After)
              && (match Lifecycle.decide step.Policy step.At (Present predecessor) step.After with
                  | Ok [] -> step.At < until || live.LastSeen >= step.At
                  | Ok events ->
                      events
                      |> List.forall (fun event ->
                          match event with
                          | RenewalIssued _
                          | WasSeen _ -> false
                          | _ -> true)
                  | Error _ -> true)
          | _ -> true

      "14 destroy is total: in every state, and again",
      fun step ->
          let destroy state = Lifecycle.decide step.Policy step.At (Destroy(Revoked, None)) state

          match destroy step.After with
          | Error NoSession -> step.After = Absent
          | Error _ -> false
          | Ok events ->
              let over = List.fold Lifecycle.evolve step.After events
              not (isLive over) && destroy over = Ok [] ]

let private move =
    Gen.map3
        (fun wait what which -> { Wait = wait; Do = what; With = which })
        (Gen.choose (0, 11))
        (Gen.choose (0, 15))
        (Gen.choose (0, 40))

type Moves =
    static member Moves() =
        let shrink (moves: Move list) = seq { for i in 0 .. moves.Length - 1 -> List.removeAt i moves }
        Arb.fromGenShrink (Gen.listOf move, shrink)

let config seed =
    { FsCheckConfig.defaultConfig with
        maxTest = 3000
        startSize = 5
        endSize = 30
        replay = Some(uint64 seed, uint64 ((seed <<< 1) ||| 1), None)
        arbitrary = [ typeof<Moves> ] }

let private hold policy (_, predicate) (moves: Move list) =
    match run policy moves |> List.tryFindIndex (fun step -> not (predicate step)) with
    | None -> ()
    | Some index ->
        let story = run policy moves |> List.truncate (index + 1) |> List.map describe |> String.concat "\n"
        failtestf "violated at step %d of\n%s" (index + 1) story

/// Seen twice is reported once: a property of whole histories.
let private reportedOnce policy (moves: Move list) =
    let replays =
        run policy moves
        |> List.collect eventsOf
        |> List.choose (fun event ->
            match event with
            | WasReplayed secret -> Some secret
            | _ -> None)

    if (List.distinct replays).Length <> replays.Length then
        failtest "a replay was reported twice"

let all seed =
    let config = config seed
    let refusing = { hasty with OnReplay = RefuseToken }

    let properties policy suffix =
        invariants
        |> List.map (fun invariant -> testPropertyWithConfig config (fst invariant + suffix) (hold policy invariant))

    testList
        "invariants"
        (properties hasty ""
         @ properties refusing " (refusing replays)"
         @ [ testPropertyWithConfig config "13 grace is the last: a replay is reported once" (reportedOnce hasty)
             testPropertyWithConfig
                 config
                 "13 grace is the last: a refused replay is reported once"
                 (reportedOnce refusing) ])

/// Cells that can occur and have to: a suite that never met its edge proves nothing.
let coverage =
    testCase "every state, pair, event and edge was met" (fun () ->
        let states =
            [ "Created"
              "Active"
              "Regenerated (issued)"
              "Regenerated (confirmed)"
              "Destroyed"
              "Expired" ]

        let commands =
            [ "Create"
              "Present"
              "Write"
              "SignIn"
              "Elevate"
              "Renew"
              "Destroy"
              "Expire"
              "Tell" ]

        let events =
            [ "WasCreated"
              "WasConfirmed"
              "WasSeen"
              "WasWritten"
              "WasSignedIn"
              "WasElevated"
              "RenewalIssued"
              "RenewalConfirmed"
              "GraceEnded"
              "WasReplayed"
              "WasDestroyed"
              "HasExpired"
              "WasTold" ]

        let cells =
            [ for state in states do
                  for command in commands do
                      $"pair {state} / {command}"
              for event in events do
                  "event " + event
              "edge at the deadline"
              "edge one tick before"
              "edge one tick after" ]

        for cell in cells do
            printfn
                "%8d  %s"
                ((match met.TryGetValue cell with
                  | true, n -> n
                  | false, _ -> 0))
                cell

        Expect.isEmpty (cells |> List.filter (fun cell -> not (met.ContainsKey cell))) "never met")
