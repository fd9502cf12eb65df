/// Every pair of state and command, with the answer that the code gives.
module Docs.Pairs

open System
open Session.Domain

let policy =
    { Idle = TimeSpan.FromMinutes 30L
      Absolute = TimeSpan.FromHours 8
      Confirm = TimeSpan.FromMinutes 10L
      RotateEvery = Some(TimeSpan.FromMinutes 15L)
      Grace = TimeSpan.FromSeconds 30L
      Retention = TimeSpan.FromHours 1
      OnReplay = DestroySession }

let t0 = DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero)

let hash n : SecretHash = { W0 = int64 n; W1 = 0L; W2 = 0L; W3 = 0L }

let run state (steps: (TimeSpan * Command) list) =
    List.fold
        (fun state (at: TimeSpan, command) ->
            match Lifecycle.decide policy (t0 + at) command state with
            | Ok events -> List.fold Lifecycle.evolve state events
            | Error refusal -> failwithf "%A refused: %A" command refusal)
        state
        steps

let private minutes (n: float) = TimeSpan.FromMinutes n
let zero = TimeSpan.Zero

// Secret 1 is the first; 2 takes its place by a sign-in, 3 is issued after that; 9 was never issued.
let private created = zero, Create(hash 1, None, [||])
let private confirmed = zero, Present(hash 1)
let private signedIn = zero, SignIn("ada", [||], hash 2, 0)
let private issued = minutes 15, Renew(hash 3, 1)
let private presented = minutes 15, Present(hash 3)
let private active = run Absent [ created; confirmed; signedIn ]
let private renewing = run active [ issued ]
let private renewed = run renewing [ presented ]
let private afterRenewal = run renewed [ minutes 15.6, Present(hash 3) ]

/// A state, the moment at which it is asked, and what each token is to it then.
let situations: (string * State * TimeSpan) list =
    [ "Absent", Absent, zero
      "Created", run Absent [ created ], zero
      "Created, past its deadline", run Absent [ created ], minutes 10
      "Active", active, minutes 1
      "Active, renewal due", active, minutes 15
      "Active, after a renewal", afterRenewal, minutes 16
      "Active, past its deadline", active, minutes 30
      "Regenerated (issued)", renewing, minutes 15
      "Regenerated (confirmed)", renewed, minutes 15
      "Regenerated (issued), not confirmed within the grace", renewing, minutes 15.5
      "Regenerated (issued), past its deadline", renewing, minutes 45
      "Regenerated (confirmed), its grace over", renewed, minutes 15.5
      "Regenerated (confirmed), past its deadline", renewed, minutes 45
      "Destroyed", run active [ minutes 1, Destroy(SignedOut, None) ], minutes 2
      "Expired, nobody told", run active [ minutes 30, Expire ], minutes 31
      "Expired, told", run active [ minutes 30, Expire; minutes 31, Tell ], minutes 32 ]

let private current state =
    match state with
    | Created live
    | Active live
    | Regenerated(live, _)
    | Destroyed(live, _, _)
    | Expired(live, _, _, _) -> live.Secret
    | Absent -> hash 1

let private elevations state =
    match state with
    | Created live
    | Active live
    | Regenerated(live, _)
    | Destroyed(live, _, _)
    | Expired(live, _, _, _) -> live.Elevations
    | Absent -> 0

let private revision state =
    match state with
    | Created live
    | Active live
    | Regenerated(live, _)
    | Destroyed(live, _, _)
    | Expired(live, _, _, _) -> live.Revision
    | Absent -> 0L

let private tokens state =
    [ yield "its token", current state
      match state with
      | Regenerated(_, Issued(secret :: _, _)) -> yield "the issued token", secret
      | Regenerated(_, Confirmed(predecessor, _)) -> yield "the predecessor", predecessor
      | _ -> ()
      match state with
      | Active { Superseded = { ByRenewal = true } :: _ } -> yield "a token from before the renewal", hash 2
      | _ -> ()
      match state with
      | Active _
      | Regenerated _ -> yield "a token from before the sign-in", hash 1
      | _ -> ()
      yield "a token never issued", hash 9 ]

/// The commands, as an auditor would ask them. `under` an earlier elevation: by a request that was slow.
let commands state : (string * Command) list =
    let under = elevations state

    [ yield "create", Create(hash 5, None, [||])
      for name, secret in tokens state do
          yield "present " + name, Present secret
      yield "write", Write([||], None, under)
      yield "write, based on an older reading", Write([||], Some(revision state - 1L), under)
      yield "write, by a request from before an elevation", Write([||], None, under - 1)
      yield "sign in", SignIn("bob", [||], hash 6, under)
      yield "sign in, by a request from before an elevation", SignIn("bob", [||], hash 6, under - 1)
      yield "elevate", Elevate(hash 6, under)
      yield "elevate, by a request from before an elevation", Elevate(hash 6, under - 1)
      yield "renew", Renew(hash 6, under)
      yield "renew, by a request from before an elevation", Renew(hash 6, under - 1)
      yield "destroy", Destroy(SignedOut, Some under)
      yield "destroy, by a request from before an elevation", Destroy(SignedOut, Some(under - 1))
      yield "destroy, by an operator or a limit", Destroy(Revoked, None)
      yield "expire", Expire
      yield "tell", Tell ]

let reason refusal =
    match refusal with
    | Refusal.NoSession -> "there is no session"
    | Exists -> "there is one already"
    | Guess -> "a guess"
    | Outdated -> "outdated"
    | Over(OnPurpose _, _) -> "it was ended"
    | Over(ByTime _, _) -> "it is over by time"
    | Refusal.Conflict -> "another write came first"
    | NotDue -> "it is not time for that"

let private reasonName reason =
    match reason with
    | SignedOut -> "signed out"
    | Revoked -> "revoked"
    | Replayed -> "replayed"
    | Limit -> "limit"

let private kindName kind =
    match kind with
    | Unconfirmed -> "unconfirmed"
    | Idle -> "idle"
    | Absolute -> "absolute"

let stateName state =
    match state with
    | Absent -> "Absent"
    | Created _ -> "Created"
    | Active _ -> "Active"
    | Regenerated(_, Issued _) -> "Regenerated (issued)"
    | Regenerated(_, Confirmed _) -> "Regenerated (confirmed)"
    | Destroyed(_, reason, _) -> $"Destroyed ({reasonName reason})"
    | Expired(_, kind, _, told) -> $"""Expired ({kindName kind}{if told then ", told" else ""})"""

let private eventName event =
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

/// What the command does, and the state after it.
let answer state (at: TimeSpan) command =
    match Lifecycle.decide policy (t0 + at) command state with
    | Error refusal -> "refused: " + reason refusal, "as it was"
    | Ok [] -> "accepted, nothing happens", "as it was"
    | Ok events ->
        let after = List.fold Lifecycle.evolve state events
        events |> List.map eventName |> String.concat ", ", stateName after

/// The same in short: a row a command, a column a state; in a cell the states that the command can lead to.
let overview () =
    let states =
        [ "Absent"
          "Created"
          "Active"
          "Regenerated (issued)"
          "Regenerated (confirmed)"
          "Destroyed"
          "Expired" ]

    let commandNames =
        [ "create"
          "present"
          "write"
          "sign in"
          "elevate"
          "renew"
          "destroy"
          "expire"
          "tell" ]

    let isOf (name: string) (whole: string) =
        whole = name || whole.StartsWith(name + ",") || whole.StartsWith(name + " ")

    let plain (state: string) = states |> List.find (fun name -> state = name || state.StartsWith(name + " ("))

    let cell command state =
        let answers =
            [ for _, before, at in situations |> List.filter (fun (name, _, _) -> isOf state name) do
                  for name, asked in commands before do
                      if isOf command name then
                          answer before at asked ]

        let accepted =
            [ for what, after in answers do
                  if after <> "as it was" then
                      "→ " + plain after
                  elif not (what.StartsWith "refused: ") then
                      "accepted, stays" ]

        let refused =
            [ for what, _ in answers do
                  if what.StartsWith "refused: " then
                      what.Substring 9 ]
            |> List.distinct

        let refused =
            if refused.IsEmpty then []
            elif accepted.IsEmpty then [ "refused" ]
            else [ "or refused" ]

        String.Join("<br>", List.distinct accepted @ refused)

    [ "| | " + String.Join(" | ", states) + " |"
      "|" + String.replicate (states.Length + 1) " --- |"
      for command in commandNames do
          let cells = states |> List.map (cell command)
          "| " + String.Join(" | ", ("**" + command + "**") :: cells) + " |" ]

let table () =
    [ for name, state, at in situations do
          yield ""
          yield $"### {name}"
          yield ""
          yield "| command | answer | state after it |"
          yield "| --- | --- | --- |"

          for command, asked in commands state do
              let what, after = answer state at asked
              yield $"| {command} | {what} | {after} |" ]
