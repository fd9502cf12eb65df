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

/// A request that this token let in, when it was the confirmed one.
let grant elevations n (at: TimeSpan) : Grant =
    { Elevations = elevations
      Secret = hash n
      ByPredecessor = false
      ArrivedAt = t0 + at }

/// A request arrives with this token, and is answered at once.
let present n (at: TimeSpan) = at, Present(hash n, t0 + at)

// Secret 1 is the first; 2 takes its place by a sign-in, 3 is issued after that; 9 was never issued.
let private created = zero, Create(hash 1, None, [||])
let private signedIn = zero, SignIn("ada", [||], hash 2, grant 0 1 zero)
let private issued = minutes 15, Renew(hash 3, grant 1 2 (minutes 15))
let private active = run Absent [ created; present 1 zero; signedIn; present 2 zero ]
let private renewing = run active [ issued ]
let private renewed = run renewing [ present 3 (minutes 15) ]
let private afterRenewal = run renewed [ present 3 (minutes 15.6) ]
let private destroyed = run active [ minutes 1, Destroy(SignedOut, None) ]
let private expired = run active [ minutes 30, Expire ]

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
      "Regenerated (confirmed), its grace begun by a clock far ahead", renewed, minutes 13
      "Destroyed", destroyed, minutes 2
      "Destroyed, left", run destroyed [ minutes 2, Leave ], minutes 3
      "Expired, nobody told", expired, minutes 31
      "Expired, told", run expired [ minutes 31, Tell ], minutes 32
      "Expired, left", run expired [ minutes 31, Leave ], minutes 32 ]

let private liveOf state =
    match state with
    | Created live
    | Active live
    | Regenerated(live, _)
    | Destroyed(live, _, _)
    | Expired(live, _, _, _) -> Some live
    | Absent -> None

/// The number of the confirmed secret. A tombstone that was left knows it no more.
let private current state =
    match liveOf state with
    | Some live when live.Secret.W0 <> 0L -> int live.Secret.W0
    | Some _ -> 2
    | None -> 1

/// The tokens that can be presented; and when the request arrived, if that was before.
let private tokens state (at: TimeSpan) =
    [ yield "its token", current state, at
      match state with
      | Regenerated(_, Issued(secret :: _, _)) -> yield "the issued token", int secret.W0, at
      | Regenerated(_, Confirmed(predecessor, _)) -> yield "the predecessor", int predecessor.W0, at
      | Active { Superseded = { ByRenewal = true; Until = until } :: _ } ->
          yield "a token from before the renewal", 2, at
          yield "a token from before the renewal, in a request that arrived in its grace", 2, until - t0 - minutes 0.1
      | _ -> ()
      match state with
      | Active _
      | Regenerated _ -> yield "a token from before the sign-in", 1, at
      | _ -> ()
      yield "a token never issued", 9, at ]

/// Who asks: the holder, and what else is under way in this state.
let private askers state at =
    let elevations = liveOf state |> Option.map _.Elevations |> Option.defaultValue 0
    let holder = grant elevations (current state) at

    [ yield "", holder
      match state with
      | Regenerated(_, Confirmed(predecessor, _)) ->
          let old = grant elevations (int predecessor.W0) at
          yield ", by a predecessor's request", { old with ByPredecessor = true }
          yield ", by a request let in before the renewal", old
      | Active { Superseded = { ByRenewal = true } :: _ } ->
          yield ", by a request let in before the renewal", grant elevations 2 at
      | _ -> ()
      yield ", by a request from before an elevation", { holder with Elevations = elevations - 1 } ]

/// The commands, as an auditor would ask them.
let commands state (at: TimeSpan) : (string * Command) list =
    let revision = liveOf state |> Option.map _.Revision |> Option.defaultValue 0L
    let askers = askers state at
    let _, holder = askers.Head

    [ yield "create", Create(hash 5, None, [||])
      for name, n, arrived in tokens state at do
          yield "present " + name, Present(hash n, t0 + arrived)
      for who, grant in askers do
          yield "write" + who, Write([||], None, Some grant)
      yield "write, based on an older reading", Write([||], Some(revision - 1L), Some holder)
      yield "write, by an operator", Write([||], None, None)
      for who, grant in askers do
          yield "sign in" + who, SignIn("bob", [||], hash 6, grant)
      for who, grant in askers do
          yield "elevate" + who, Elevate(hash 6, None, grant)
      yield "elevate, with data", Elevate(hash 6, Some [||], holder)
      for who, grant in askers do
          yield "renew" + who, Renew(hash 6, grant)
      for who, grant in askers do
          yield "destroy" + who, Destroy(SignedOut, Some grant)
      yield "destroy, by an operator or a limit", Destroy(Revoked, None)
      yield "expire", Expire
      yield "tell", Tell
      yield "leave", Leave ]

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
    | GraceEnded early -> if early then "GraceEnded (early)" else "GraceEnded"
    | WasReplayed _ -> "WasReplayed"
    | WasDestroyed _ -> "WasDestroyed"
    | HasExpired _ -> "HasExpired"
    | WasTold -> "WasTold"
    | WasLeft -> "WasLeft"

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
          "tell"
          "leave" ]

    let isOf (name: string) (whole: string) =
        whole = name || whole.StartsWith(name + ",") || whole.StartsWith(name + " ")

    let plain (state: string) = states |> List.find (fun name -> state = name || state.StartsWith(name + " ("))

    let cell command state =
        let answers =
            [ for _, before, at in situations |> List.filter (fun (name, _, _) -> isOf state name) do
                  for name, asked in commands before at do
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

/// In full: each answer to a command once, with all the situations in which it is given. Of Absent there is nothing to say.
let table () =
    let answers =
        [ for situation, state, at in situations do
              for command, asked in commands state at do
                  if state <> Absent || command = "create" then
                      command, (answer state at asked, situation) ]

    [ "| command | answer | state after it | asked in |"
      "| --- | --- | --- | --- |"
      for command, given in answers |> List.groupBy fst do
          for (what, after), where in given |> List.map snd |> List.groupBy fst do
              let where = where |> List.map snd |> String.concat "; "
              $"| {command} | {what} | {after} | {where} |" ]
