/// Histories of one session: waits and commands, folded once into steps. Constants are small, so that edges are common.
module Properties.Histories

open System
open System.Collections.Concurrent
open Session.Domain

let minutes (n: int) = TimeSpan.FromMinutes(float n)
let t0 = DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero)

let policy =
    { Idle = minutes 3
      Absolute = minutes 7
      Confirm = minutes 2
      RotateEvery = Some(minutes 2)
      Grace = minutes 1
      Retention = minutes 5
      OnReplay = DestroySession }

/// For histories: a renewal is due so soon that many of them see a whole one.
let hasty = { policy with RotateEvery = Some(minutes 1) }

/// Secret number n. Zero is never issued: a guess.
let secret (n: int) : SecretHash = { W0 = int64 n; W1 = 1L; W2 = 2L; W3 = 3L }
let guess = secret 0

type Step =
    {
        Policy: Policy
        Before: State
        At: DateTimeOffset
        Command: Command
        Answer: Result<Event list, Refusal>
        After: State
        /// Every secret that was issued before the last elevation.
        DeadSecrets: int list
        Issued: int list
    }

let stateName state =
    match state with
    | Absent -> "Absent"
    | Created _ -> "Created"
    | Active _ -> "Active"
    | Regenerated(_, Issued _) -> "Regenerated (issued)"
    | Regenerated(_, Confirmed _) -> "Regenerated (confirmed)"
    | Destroyed _ -> "Destroyed"
    | Expired _ -> "Expired"

let commandName command =
    match command with
    | Create _ -> "Create"
    | Present _ -> "Present"
    | Write _ -> "Write"
    | SignIn _ -> "SignIn"
    | Elevate _ -> "Elevate"
    | Renew _ -> "Renew"
    | Destroy _ -> "Destroy"
    | Expire -> "Expire"
    | Tell -> "Tell"

let eventName event =
    match event with
    | WasCreated _ -> "WasCreated"
    | WasConfirmed -> "WasConfirmed"
    | WasSeen _ -> "WasSeen"
    | WasWritten _ -> "WasWritten"
    | WasSignedIn _ -> "WasSignedIn"
    | WasElevated _ -> "WasElevated"
    | RenewalIssued _ -> "RenewalIssued"
    | RenewalConfirmed _ -> "RenewalConfirmed"
    | GraceEnded -> "GraceEnded"
    | WasReplayed _ -> "WasReplayed"
    | WasDestroyed _ -> "WasDestroyed"
    | HasExpired _ -> "HasExpired"
    | WasTold -> "WasTold"

/// How often each state, pair, event and edge was met, over all histories of this run.
let met = ConcurrentDictionary<string, int>()
let count name = met.AddOrUpdate(name, 1, (fun _ n -> n + 1)) |> ignore

/// One move of a history, as small numbers that shrink well: how long to wait, what to do, with which secret.
type Move = { Wait: int; Do: int; With: int }

let private wait state (now: DateTimeOffset) code =
    match code % 12, Lifecycle.deadline policy state with
    | 5, Some(_, at) -> at.AddTicks -1L
    | 6, Some(_, at) -> at
    | 7, Some(_, at) -> at.AddTicks 1L
    | 8, _ -> now - minutes 1
    | (0 | 9 | 10 | 11), _ -> now
    | n, _ -> now + minutes ((n + 1) / 2)

/// Folds moves into steps.
let run (policy: Policy) (moves: Move list) : Step list =
    let mutable state = Absent
    let mutable now = t0
    let mutable issued = 0
    let mutable dead = []
    let steps = ResizeArray()

    for move in moves do
        let before = state
        now <- wait before now (abs move.Wait)
        let next = issued + 1

        let under =
            match Lifecycle.liveOf before with
            | Some live when move.With % 5 <> 0 -> live.Elevations
            | Some live -> live.Elevations - 1
            | None -> 0

        let pick = if issued = 0 || move.With % 7 = 0 then guess else secret (1 + abs move.With % issued)

        let newest = if issued = 0 then guess else secret issued

        let command =
            match before, abs move.Do % 16 with
            | Absent, n when n < 12 -> Create(secret next, (if move.With % 2 = 0 then None else Some "ada"), [| 1uy |])
            | _, (0 | 1 | 2) -> Present newest
            | _, 3 -> Present pick
            | Regenerated(_, Confirmed(predecessor, _)), 4 -> Present predecessor
            | (Active live | Regenerated(live, _)), 4 when not live.Superseded.IsEmpty ->
                Present live.Superseded[move.With % live.Superseded.Length].Secret
            | _, 4 -> Present pick
            | _, 5 -> Write([| byte move.With |], None, under)
            | _, 6 ->
                let revision = Lifecycle.liveOf before |> Option.map _.Revision |> Option.defaultValue 1L
                Write([| 9uy |], Some(if move.With % 2 = 0 then revision else revision - 1L), under)
            | _, 7 -> SignIn((if move.With % 2 = 0 then "ada" else "bob"), [| 2uy |], secret next, under)
            | _, 8 -> Elevate(secret next, under)
            | _, (9 | 10 | 11) -> Renew(secret next, under)
            | _, 12 when move.With % 3 = 0 -> Destroy(SignedOut, Some under)
            | _, 12 when move.With % 3 = 1 -> Destroy(Revoked, None)
            | _, 13 -> Expire
            | _, 14 -> Tell
            | _, 15 when move.With % 2 = 0 -> Create(secret next, None, [||])
            | _ ->
                // The confirmed secret: what an honest client holds.
                Present(Lifecycle.liveOf before |> Option.map _.Secret |> Option.defaultValue newest)

        let answer = Lifecycle.decide policy now command before

        let after =
            match answer with
            | Ok events -> List.fold Lifecycle.evolve before events
            | Error _ -> before

        steps.Add
            { Policy = policy
              Before = before
              At = now
              Command = command
              Answer = answer
              After = after
              DeadSecrets = dead
              Issued = [ 1..issued ] }

        match answer with
        | Ok events ->
            for event in events do
                count ("event " + eventName event)

                match event with
                | WasCreated _
                | RenewalIssued _ -> issued <- next
                | WasSignedIn _
                | WasElevated _ ->
                    dead <- [ 1..issued ]
                    issued <- next
                | _ -> ()
        | Error _ -> ()

        count ("state " + stateName before)
        count ("pair " + stateName before + " / " + commandName command)

        match Lifecycle.deadline policy before with
        | Some(_, at) when at = now -> count "edge at the deadline"
        | Some(_, at) when at.AddTicks -1L = now -> count "edge one tick before"
        | Some(_, at) when at.AddTicks 1L = now -> count "edge one tick after"
        | _ -> ()

        state <- after

    List.ofSeq steps

let describe (step: Step) =
    $"+{(step.At - t0).TotalMinutes} min  {step.Command}\n    before {step.Before}\n    answer {step.Answer}\n    after  {step.After}"
