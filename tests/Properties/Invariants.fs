/// The invariants, in the order and under the names of Session.Domain.fs: each one is required of every step of every
/// history, for both answers to a replay. Those of many requests, many sessions and bytes are in EngineInvariants.fs.
module Properties.Invariants

open System
open System.Collections.Generic
open Expecto
open FsCheck
open Session.Domain
open Properties.Histories

let private isLive state = Lifecycle.isLive state

let private hasEvent kind step = eventsOf step |> List.exists kind

let private isSignIn event =
    match event with
    | WasSignedIn _ -> true
    | _ -> false

let private isElevation event =
    match event with
    | WasSignedIn _
    | WasElevated _ -> true
    | _ -> false

/// A holds for what was live before and is live after.
let private stays (predicate: Live -> Live -> bool) step =
    match Lifecycle.liveOf step.Before, Lifecycle.liveOf step.After with
    | Some before, Some after -> predicate before after
    | _ -> true

/// Zero (a guess), every secret ever minted, and one that was not.
let private everySecret step = [ 0 .. step.Learnt.Minted + 1 ]

let private opensAt now n step = Lifecycle.opens step.Policy now (secret n) step.After

/// How many secrets were superseded in one way or the other: a record remembers the last few of either kind.
let private oldOnes kind (world: World) = (world.Fates |> Map.filter (fun _ fate -> kind fate)).Count

/// Whether the holder of the session is to be issued the next token, in the world's own words.
let private isDue (policy: Policy) world now =
    let has kind = [ 1 .. world.Minted ] |> List.exists (fun n -> fateOf world now n |> Option.exists kind)

    let time = own world now

    match living world, policy.RotateEvery with
    | Some life, Some every when life.Claimed && not (has _.IsLeaves) ->
        if has _.IsWaits then time >= world.IssuedAt + policy.Grace else time >= world.HeldSince + every
    | _ -> false

/// What follows from a command given after this step.
let private next now command step =
    match Lifecycle.decide step.Policy now command step.After with
    | Ok events -> List.fold Lifecycle.evolve step.After events
    | Error _ -> step.After

/// What a request asks for: with every command that needs one.
let private asked fresh (grant: Grant) =
    [ Write([| 66uy |], None, Some grant)
      Write([| 66uy |], Some 1L, Some grant)
      SignIn("eve", [| 66uy |], fresh, grant)
      Elevate(fresh, None, grant)
      Elevate(fresh, Some [| 66uy |], grant)
      Renew(fresh, grant)
      Destroy(SignedOut, Some grant) ]

/// What a token opened, or could have: by the confirmed token or the predecessor, before an elevation or after it.
let private grants step : Grant list =
    let highest = step.Learnt.Life |> Option.map _.Elevations |> Option.defaultValue 0

    [ for n in 0 :: List.ofSeq step.Learnt.Fates.Keys do
          for isOld in [ false; true ] do
              { Elevations = highest
                Secret = secret n
                ByPredecessor = isOld
                ArrivedAt = step.At }
      for elevations in 0 .. highest - 1 do
          match step.Learnt.Fates |> Map.tryFindKey (fun _ fate -> fate = Holds) with
          | Some n ->
              { Elevations = elevations
                Secret = secret n
                ByPredecessor = false
                ArrivedAt = step.At }
          | None -> () ]

/// Every command that anybody could give after this step, on any handle.
let private everyCommand step =
    let fresh = secret (step.Learnt.Minted + 1)

    [ Create(fresh, None, [| 66uy |])
      Expire
      Tell
      Leave
      Destroy(Revoked, None)
      Write([| 66uy |], None, None)
      for n in everySecret step do
          Present(secret n, step.At)
          Present(secret n, step.At - minutes 2)
      for grant in grants step do
          yield! asked fresh grant ]

/// Whoever a command speaks for: the token that it presents, or that let its request in.
let private authorOf command =
    match command with
    | Present(secret, _) -> Some(numberOf secret, true)
    | Write(_, _, Some grant)
    | SignIn(_, _, _, grant)
    | Elevate(_, _, grant)
    | Renew(_, grant)
    | Destroy(_, Some grant) -> Some(numberOf grant.Secret, grant.ByPredecessor)
    | Write(_, _, None)
    | Destroy(_, None)
    | Create _
    | Expire
    | Tell
    | Leave -> None

/// A command of a superseded token, or of a request that it let in when it was one: it has its grace, or had it.
let private isOfOld world now command =
    match authorOf command with
    | Some(n, isOld) ->
        match fateOf world now n with
        | Some(Leaves _) -> isOld
        | Some(Replaced _) -> true
        | Some(Holds | Waits | Killed | Lost)
        | None -> false
    | None -> false

/// The events that give somebody a token, or move a deadline.
let private isGift event =
    match event with
    | WasSignedIn _
    | WasElevated _
    | RenewalIssued _
    | RenewalConfirmed _
    | WasSeen _ -> true
    | _ -> false

let private deadlineOf policy state = Lifecycle.deadline policy state |> ValueOption.map (fun struct (_, at) -> at)

/// What a tombstone forgets when its client goes on to a new session.
let private forgotten (live: Live) =
    { live with
        Secret = Unchecked.defaultof<SecretHash>
        Superseded = [] }

let invariants: (string * (Step -> bool)) list =
    [ "1 the end absorbs: no command leads from Destroyed or Expired to anything else, but for the data that goes",
      fun step ->
          let absorbs command before after =
              match before, after with
              | Destroyed(live, reason, at), Destroyed(live', reason', at') ->
                  reason' = reason && at' = at && live' = (if command = Leave then forgotten live else live)
              | Expired(live, kind, at, told), Expired(live', kind', at', told') ->
                  let data = if told' then [||] else live.Data

                  let live = if command = Leave then forgotten live else live
                  (kind', at', told' || not told) = (kind, at, true) && live' = { live with Data = data }
              | (Destroyed _ | Expired _), _ -> false
              | (Absent | Created _ | Active _ | Regenerated _), _ -> true

          absorbs step.Command step.Before step.After
          && (isLive step.After
              || step.After = Absent
              || everyCommand step
                 |> List.forall (fun command -> absorbs command step.After (next (step.At + minutes 1) command step)))

      "1 the end absorbs: a client that goes on makes the tombstone forget its tokens, and nothing else, and nothing that lives",
      fun step ->
          let left = next step.At Leave step

          match step.After with
          | Absent -> Lifecycle.decide step.Policy step.At Leave Absent = Error NoSession
          | Created _
          | Active _
          | Regenerated _ -> Lifecycle.decide step.Policy step.At Leave step.After = Error NotDue
          | Destroyed(live, reason, at) -> left = Destroyed(forgotten live, reason, at)
          | Expired(live, kind, at, told) -> left = Expired(forgotten live, kind, at, told)
          && (step.After = Absent
              || isLive step.After
              || Lifecycle.decide step.Policy step.At Leave left = Ok []
                 && everySecret step
                    |> List.forall (fun n ->
                        Lifecycle.decide step.Policy step.At (Present(secret n, step.At)) left = Error Guess))

      "2 no deadline past absolute: only a sign-in moves the absolute deadline",
      fun step ->
          match Lifecycle.deadline step.Policy step.After, step.Learnt.Life with
          | ValueSome(struct (_, ending)), Some life ->
              ending <= defaultArg life.SignedInAt life.Born + step.Policy.Absolute
          | _ -> true

      "2 no deadline past absolute: a sign-in, and nothing else, moves the time of the sign-in, with a new secret",
      fun step ->
          let now = own step.Known step.At

          stays
              (fun before after ->
                  before.CreatedAt = after.CreatedAt
                  && if hasEvent isSignIn step then
                         after.AuthenticatedAt = Some now && not (before.Secret.Equals after.Secret)
                     else
                         after.AuthenticatedAt = before.AuthenticatedAt)
              step
          && match step.Before, step.After with
             | Absent, Created live ->
                 live.CreatedAt = now && live.AuthenticatedAt = Option.map (fun _ -> now) live.Subject
             | _ -> true

      "2 no deadline past absolute: a second factor, and the data that says so, come in one write and move no absolute deadline",
      fun step ->
          match step.Command, step.Answer, living step.Known, Lifecycle.liveOf step.After with
          | Elevate(next, Some data, _), Ok _, Some known, Some after ->
              let absolute = defaultArg known.SignedInAt known.Born

              (defaultArg after.AuthenticatedAt after.CreatedAt, after.AuthenticatedAt.IsSome) =
                  (absolute, known.SignedInAt.IsSome)
              && (after.Data, after.Revision, after.Elevations) = (data, known.Revision + 1L, known.Elevations + 1)
              && after.Secret.Equals next
          | Elevate(_, None, _), Ok _, Some known, Some after -> after.Revision = known.Revision
          | _ -> true

      "3 time and version only grow: last seen never goes back, and is never in the future",
      fun step ->
          stays (fun before after -> after.LastSeen >= before.LastSeen) step
          && match Lifecycle.liveOf step.After with
             | Some live -> live.LastSeen <= own step.Known step.At
             | None -> true

      "3 time and version only grow: activity is the arrival of the holder's request, however late it writes, and an elevation",
      fun step ->
          match Lifecycle.liveOf step.Before, Lifecycle.liveOf step.After, step.Answer with
          | Some before, Some after, Ok _ ->
              let active =
                  match step.Command with
                  | Present(presented, arrivedAt) ->
                      match fateOf step.Known step.At (numberOf presented) with
                      | Some(Holds | Waits) -> Some(arrival step.Known step.At arrivedAt)
                      | _ -> None
                  | Write(_, _, Some grant) when speaks step.Known step.At grant -> Some grant.ArrivedAt
                  | SignIn _
                  | Elevate _ -> Some(own step.Known step.At)
                  | _ -> None

              after.LastSeen = max before.LastSeen (defaultArg active before.LastSeen)
          | _ -> true

      "3 time and version only grow: each accepted write counts once, and nothing else counts",
      fun step ->
          let writes =
              eventsOf step
              |> List.filter (fun event ->
                  match event with
                  | WasWritten _
                  | WasSignedIn _ -> true
                  | _ -> false)

          let elevations = eventsOf step |> List.filter isElevation

          stays
              (fun before after ->
                  after.Revision = before.Revision + int64 writes.Length
                  && after.Elevations = before.Elevations + elevations.Length)
              step

      "4 one token opens: the confirmed one, those issued in its place, the predecessor in its grace, and no other",
      fun step ->
          [ step.At
            step.At.AddTicks 1L
            step.At + minutes 1
            step.At + minutes 2
            step.At - minutes 1 ]
          |> List.forall (fun now ->
              everySecret step |> List.forall (fun n -> opensAt now n step = mayOpen step.Learnt now n))

      "5 no fixation: what was known before an elevation opens nothing after it, not for a moment",
      fun step ->
          let brought =
              eventsOf step
              |> List.tryPick (fun event ->
                  match event with
                  | WasSignedIn(_, _, secret, _)
                  | WasElevated(secret, _) -> Some(numberOf secret)
                  | _ -> None)

          brought.IsNone
          || [ for n in everySecret step do
                   if Some n <> brought then
                       for minute in -3 .. 7 do
                           opensAt (step.At + minutes minute) n step ]
             |> List.forall not

      "5 no fixation: a request from before an elevation changes nothing after it",
      fun step ->
          match Lifecycle.liveOf step.After with
          | None -> true
          | Some live ->
              everyCommand step
              |> List.forall (fun command ->
                  match command with
                  | Write(_, _, Some grant)
                  | SignIn(_, _, _, grant)
                  | Elevate(_, _, grant)
                  | Renew(_, grant)
                  | Destroy(_, Some grant) when grant.Elevations <> live.Elevations ->
                      next step.At command step = step.After
                  | _ -> true)

      "6 no resurrection: no write is accepted after the end, on any handle",
      fun step ->
          isLive step.After
          || step.After = Absent
          || everyCommand step
             |> List.forall (fun command ->
                 match command, Lifecycle.decide step.Policy step.At command step.After with
                 | (Create _ | Write _ | SignIn _ | Elevate _ | Renew _ | Present _), Ok _ -> false
                 | (Destroy _ | Expire), Ok events -> events = []
                 | Tell, Ok events -> events = [] || events = [ WasTold ]
                 | Leave, Ok events -> events = [] || events = [ WasLeft ]
                 | _, Error _ -> true)

      "6 no resurrection: a destroyed session keeps no data",
      fun step ->
          match step.After with
          | Destroyed(live, _, _)
          | Expired(live, _, _, true) -> live.Data = [||]
          | _ -> true

      "7 a refusal changes nothing: every event of an answer is consumed",
      fun step ->
          eventsOf step
          |> List.scan (fun (state, _) event -> Lifecycle.evolve state event, Some event) (step.Before, None)
          |> List.pairwise
          |> List.forall (fun ((before, _), (after, event)) ->
              match event with
              | Some(WasSeen _)
              | None -> true
              | Some _ -> after <> before)

      "7 a refusal changes nothing: the same command is refused for the same reason again",
      fun step ->
          match step.Answer with
          | Error _ -> Lifecycle.decide step.Policy step.At step.Command step.After = step.Answer
          | Ok _ -> true

      "7 a refusal changes nothing: it is given for the reason that the naive world knows",
      fun step ->
          let life = living step.Known
          let isOverdue = life.IsSome && not (isAlive step.Known step.At)

          match step.Answer with
          | Error NoSession -> step.Before = Absent
          | Error Exists -> step.Before <> Absent
          | Error(Over _) -> step.Known.IsOver || isOverdue
          | Error Refusal.Conflict ->
              match step.Command, life with
              | Write(_, Some revision, grant), Some life ->
                  revision <> life.Revision
                  && (grant.IsNone || grant.Value.Elevations = life.Elevations)
                  && not isOverdue
              | _ -> false
          | Error(Guess | Outdated | NotDue)
          | Ok _ -> true

      "8 the unattended end: a session lives to its deadline and not a tick longer",
      fun step ->
          match endOf step.Learnt, Lifecycle.liveOf step.After with
          | None, None -> true
          | Some ending, Some live ->
              let ending = max ending (own step.Learnt DateTimeOffset.MinValue)
              let before = ending.AddTicks -1L

              let write = Write([| 1uy |], None, Some(Lifecycle.grant live.Secret step.At step.After))

              let decide now command = Lifecycle.decide step.Policy now command step.After

              everySecret step
              |> List.forall (fun n ->
                  not (opensAt ending n step) && not (opensAt (ending + TimeSpan.FromDays 400.0) n step))
              && (decide ending write).IsError
              && not (isLive (next ending Expire step))
              && (before < live.LastSeen
                  || (opensAt before (numberOf live.Secret) step
                      && (decide before write).IsOk
                      && decide before Expire = Error NotDue))
          | _ -> false

      "8 the unattended end: nothing is accepted for a session that is overdue, but its end",
      fun step ->
          isAlive step.Known step.At
          || (living step.Known).IsNone
          || step.Answer.IsError
          || not (isLive step.After)

      "8 the unattended end: what is overdue ends by time, also when its client signs out or an operator ends it",
      fun step ->
          match endOf step.Learnt, step.After with
          | Some ending, (Created live | Active live | Regenerated(live, _)) ->
              let over = max ending (own step.Learnt DateTimeOffset.MinValue)
              let first = limits step.Learnt |> List.filter (fun (_, at) -> at = ending) |> List.map fst

              [ None; Some(Lifecycle.grant live.Secret step.At step.After) ]
              |> List.forall (fun grant ->
                  match next over (Destroy(SignedOut, grant)) step with
                  | Expired(_, kind, at, false) -> at = over && List.contains kind first
                  | _ -> false)
          | _ -> true

      "8 the unattended end: it is told by the limit that came first",
      fun step ->
          eventsOf step
          |> List.forall (fun event ->
              match event with
              | HasExpired(kind, at) ->
                  let first = limits step.Known |> List.map snd |> List.min
                  at = own step.Known step.At && List.contains (kind, first) (limits step.Known) && first <= at
              | _ -> true)

      "9 no lost update: a write based on what is not there any more is never accepted",
      fun step ->
          match step.Command, living step.Known with
          | Write(_, Some revision, _), Some life when revision <> life.Revision -> step.Answer.IsError
          | _ -> true

      "10 renewal keeps the session: subject, data, deadlines and elevation stay, and the secret changes",
      fun step ->
          match step.Command with
          | Renew _ -> stays (fun before after -> { before with Superseded = [] } = { after with Superseded = [] }) step
          | Present(presented, _) ->
              stays
                  (fun before after ->
                      let isConfirmed = hasEvent (fun event -> event.IsRenewalConfirmed) step

                      { after with
                          Secret = before.Secret
                          SecretSince = before.SecretSince
                          LastSeen = before.LastSeen
                          Superseded = before.Superseded }
                          =
                          before
                      && isConfirmed = not (before.Secret.Equals after.Secret)
                      && (not isConfirmed || after.Secret.Equals presented))
                  step
          | _ -> true

      "10 renewal keeps the session: one is issued exactly when it is due, once, and not to whoever has one of it",
      fun step ->
          match step.Command, living step.Known with
          | Renew(next, grant), Some life ->
              let waits (secret: SecretHash) = fateOf step.Known step.At (numberOf secret) = Some Waits

              step.Answer.IsOk =
                  (isDue step.Policy step.Known step.At
                   && grant.Elevations = life.Elevations
                   && speaks step.Known step.At grant
                   && not (waits next || waits grant.Secret)
                   && isAlive step.Known step.At)
          | _ -> true

      "10 renewal keeps the session: the next one is due at its time, whoever asks, and not before",
      fun step ->
          not (isLive step.After)
          || [ 0; 1; 2 ]
             |> List.forall (fun minute ->
                 let now = step.At + minutes minute
                 let settled = Lifecycle.settle step.Policy now step.After

                 Lifecycle.isRenewalDue step.Policy (own step.Learnt now) settled = isDue step.Policy step.Learnt now)

      "10 renewal keeps the session: none is due where the policy has none, whatever the time",
      fun step ->
          let never = { step.Policy with RotateEvery = None }
          let later = step.At + step.Policy.Absolute

          match Lifecycle.liveOf step.After with
          | None -> true
          | Some live ->
              [ step.At; later ]
              |> List.forall (fun now ->
                  not (Lifecycle.isRenewalDue never now step.After)
                  && (Lifecycle.decide
                          never
                          now
                          (Renew(secret 0, Lifecycle.grant live.Secret now step.After))
                          step.After)
                      .IsError)

      "11 nothing from strangers: a secret that was never issued opens nothing and changes nothing",
      fun step ->
          [ 0 .. step.Learnt.Minted + 1 ]
          |> List.filter (fun n -> not (step.Learnt.Fates.ContainsKey n))
          |> List.forall (fun n ->
              match Lifecycle.decide step.Policy step.At (Present(secret n, step.At)) step.After with
              | Error NoSession -> step.After = Absent
              | Error Guess -> step.After <> Absent
              | _ -> false)

      "12 subject by sign-in: nothing else changes it, and it always changes the secret",
      fun step ->
          stays
              (fun before after ->
                  if hasEvent isSignIn step then
                      match step.Command with
                      | SignIn(subject, _, next, _) ->
                          after.Subject = Some subject && after.Secret.Equals next && not (before.Secret.Equals next)
                      | _ -> false
                  else
                      after.Subject = before.Subject)
              step

      "13 grace is the last: a predecessor moves nothing, and is gone when its grace is over",
      fun step ->
          match step.After with
          | Regenerated(live, Confirmed(predecessor, until)) ->
              let n = numberOf predecessor

              Map.tryFind n step.Learnt.Fates = Some(Leaves until)
              && (not (isAlive step.Learnt step.At)
                  || (fateOf step.Learnt step.At n).Value.IsReplaced
                  || next step.At (Present(predecessor, step.At)) step = step.After)
              && not (opensAt until n step)
              && (let renew = Renew(secret 0, Lifecycle.grant live.Secret step.At step.After)

                  (fateOf step.Learnt step.At n).Value.IsReplaced
                  || (Lifecycle.decide step.Policy step.At renew step.After).IsError)
          | _ -> true

      "13 grace is the last: a clock that was ahead lengthens it by no more than its own length, and makes no thief",
      fun step ->
          match step.After with
          | Regenerated(_, Confirmed(predecessor, until)) ->
              let twice = until - step.Policy.Grace - step.Policy.Grace
              let n = numberOf predecessor

              [ twice.AddTicks -1L; twice - minutes 1; twice - TimeSpan.FromDays 1.0 ]
              |> List.forall (fun now ->
                  not (opensAt now n step)
                  && (not (isAlive step.Learnt now)
                      || own step.Learnt now >= until
                      || Lifecycle.decide step.Policy now (Present(predecessor, now)) step.After = Error Outdated))
              && opensAt twice n step = mayOpen step.Learnt twice n
          | _ -> true

      "13 grace is the last: by no command does an old token, or a request that it let in, get a new one or move a deadline",
      fun step ->
          (not (isOfOld step.Known step.At step.Command) || not (hasEvent isGift step))
          && (not (isLive step.After)
              || (let settled = Lifecycle.settle step.Policy step.At step.After

                  everyCommand step
                  |> List.filter (isOfOld step.Learnt step.At)
                  |> List.forall (fun command ->
                      match Lifecycle.decide step.Policy step.At command step.After with
                      | Error _ -> true
                      | Ok events ->
                          let after = List.fold Lifecycle.evolve step.After events

                          not (List.exists isGift events)
                          && (not (isLive after) || deadlineOf step.Policy after = deadlineOf step.Policy settled))))

      "13 grace is the last: a new token is for the holder, and for a request that the holder's token let in before it was old",
      fun step ->
          match Lifecycle.liveOf step.After with
          | Some live when isAlive step.Learnt step.At ->
              grants step
              |> List.forall (fun grant ->
                  let fresh = secret (step.Learnt.Minted + 1)
                  let isHolder = grant.Elevations = live.Elevations && speaks step.Learnt step.At grant

                  [ SignIn("eve", [||], fresh, grant); Elevate(fresh, None, grant) ]
                  |> List.forall (fun command ->
                      (Lifecycle.decide step.Policy step.At command step.After).IsOk = isHolder))
          | _ -> true

      "13 grace is the last: a request knows what let it in",
      fun step ->
          match step.Command, letIn step with
          | Present(presented, arrivedAt), Some expected ->
              Lifecycle.grant presented arrivedAt step.After = expected
              && Lifecycle.letsIn (eventsOf step) step.After
          | Present _, None -> step.Answer.IsError || not (Lifecycle.letsIn (eventsOf step) step.After)
          | _ -> true

      "13 grace is the last: use after it is reported once, and ends the session if the policy says so; a slow request is no thief",
      fun step ->
          match step.Command with
          | Present(presented, arrivedAt) when
              isAlive step.Known step.At
              && oldOnes _.IsReplaced step.Known < Lifecycle.remembered
              && oldOnes _.IsKilled step.Known < Lifecycle.remembered
              ->
              let isReported = hasEvent (fun event -> event = WasReplayed presented) step

              match fateOf step.Known step.At (numberOf presented) with
              | Some(Replaced(until, isKnown)) when isKnown || arrival step.Known step.At arrivedAt < until ->
                  step.Answer = Error Outdated
              | Some(Replaced _) -> isReported && isLive step.After = (step.Policy.OnReplay = RefuseToken)
              | _ -> not (hasEvent _.IsWasReplayed step) && isLive step.After
          | _ -> true

      "13 grace is the last: an old token is remembered once, newest first, and none that still works",
      fun step ->
          match Lifecycle.liveOf step.After with
          | None -> true
          | Some live ->
              let old kind =
                  live.Superseded
                  |> List.filter (fun old -> old.ByRenewal = kind)
                  |> List.map (fun old -> numberOf old.Secret)

              let all = old true @ old false

              all = List.distinct all
              && all = (live.Superseded |> List.map (fun old -> numberOf old.Secret))
              && old true = List.sortDescending (old true)
              && (old true).Length <= Lifecycle.remembered
              && (old false).Length <= Lifecycle.remembered
              && live.Superseded
                 |> List.forall (fun old ->
                     match fateOf step.Learnt step.At (numberOf old.Secret) with
                     | Some Killed -> not old.ByRenewal
                     | Some(Replaced(until, reported)) ->
                         old.ByRenewal && (old.Until, old.Reported) = (until, reported)
                     | _ -> false)

      "13 grace is the last: no number of lost twins makes a predecessor forgotten",
      fun step ->
          match step.After with
          | Created _
          | Active _
          | Regenerated _ ->
              let fresh n = secret (1000 + n)

              // Three renewals, each of which needs four tokens; the last of them comes to the client.
              let flood =
                  [ for renewal in 0..2 do
                        for twin in 1..4 do
                            RenewalIssued(fresh (4 * renewal + twin), step.At)

                        RenewalConfirmed(fresh (4 * renewal + 4), step.At, step.At)
                        GraceEnded false ]

              let settled =
                  match step.After with
                  | Regenerated(_, Confirmed _) -> Lifecycle.evolve step.After (GraceEnded false)
                  | _ -> Lifecycle.evolve step.After WasConfirmed

              let known = List.fold Lifecycle.evolve settled flood

              let old =
                  step.Learnt.Fates
                  |> Map.filter (fun _ fate -> fate.IsHolds || fate.IsLeaves || fate.IsReplaced)
                  |> Map.keys
                  |> Seq.sortDescending
                  |> Seq.truncate (Lifecycle.remembered - 2)

              old |> Seq.forall (fun n -> (Lifecycle.standing (secret n) known).IsStolen)
          | Absent
          | Destroyed _
          | Expired _ -> true

      "13 grace is the last: no number of renewals makes a token forgotten that is only outdated, or that waits at the end",
      fun step ->
          match Lifecycle.liveOf step.After with
          | None -> true
          | Some live ->
              let fresh n = secret (1000 + n)

              // More than a record remembers: each kind has a limit of its own, and none takes the room of the other.
              let flood =
                  [ for renewal in 0 .. Lifecycle.remembered do
                        RenewalIssued(fresh renewal, step.At)
                        RenewalConfirmed(fresh renewal, step.At, step.At)
                        GraceEnded false ]

              let settled =
                  match step.After with
                  | Regenerated(_, Confirmed _) -> Lifecycle.evolve step.After (GraceEnded false)
                  | _ -> Lifecycle.evolve step.After WasConfirmed

              let known = List.fold Lifecycle.evolve settled flood

              // But for those that may wait now: they are outdated by the first renewal, and newer.
              let outdated =
                  live.Superseded
                  |> List.filter (fun old -> not old.ByRenewal)
                  |> List.truncate (Lifecycle.remembered - Lifecycle.waiting)

              // Who was issued this one, and comes with it when all is over, is told why it is.
              let last = fresh (Lifecycle.remembered + 1)

              let ended =
                  List.fold Lifecycle.evolve known [ RenewalIssued(last, step.At); WasDestroyed(Revoked, step.At) ]

              outdated |> List.forall (fun old -> (Lifecycle.standing old.Secret known).IsDead)
              && not (Lifecycle.standing last ended).IsUnknown

      "14 destroy is total: in every state, and again",
      fun step ->
          let destroyed = next step.At (Destroy(Revoked, None)) step

          let isAsSaid =
              match destroyed with
              | Destroyed(_, Revoked, at) -> at = own step.Learnt step.At && isAlive step.Learnt step.At
              | Expired(_, _, at, false) -> at = own step.Learnt step.At && not (isAlive step.Learnt step.At)
              | _ -> false

          match Lifecycle.decide step.Policy step.At (Destroy(Revoked, None)) step.After with
          | Error refusal -> refusal = NoSession && step.After = Absent
          | Ok _ ->
              not (isLive destroyed)
              && destroyed <> Absent
              && (if isLive step.After then isAsSaid else destroyed = step.After)
              && Lifecycle.decide step.Policy (step.At + minutes 1) (Destroy(SignedOut, None)) destroyed = Ok [] ]

/// Of no invariant: what a request is told when it is refused.
let private refusals: (string * (Step -> bool)) list =
    [ "refusals: a guess, what is outdated and what is not due are called so for the reason that the naive world knows",
      fun step ->
          let life = living step.Known
          let isOverdue = life.IsSome && not (isAlive step.Known step.At)

          match step.Answer with
          | Error(Guess | Outdated) when isOverdue -> true
          | Error Guess ->
              // Of what is over, only that it is over is told to whoever had its token.
              match step.Command with
              | Present(presented, _) ->
                  step.Known.IsOver
                  || oldOnes _.IsReplaced step.Known >= Lifecycle.remembered
                  || oldOnes _.IsKilled step.Known >= Lifecycle.remembered
                  || match Map.tryFind (numberOf presented) step.Known.Fates with
                     | None
                     | Some Lost -> true
                     | Some _ -> false
              | _ -> false
          | Error Outdated ->
              match step.Command, life with
              | Present(presented, arrivedAt), Some _ ->
                  match fateOf step.Known step.At (numberOf presented) with
                  | Some Killed -> true
                  | Some(Replaced(until, reported)) -> reported || arrival step.Known step.At arrivedAt < until
                  | _ -> false
              | (Write(_, _, Some grant) | Destroy(_, Some grant)), Some life -> grant.Elevations <> life.Elevations
              | (SignIn(_, _, _, grant) | Elevate(_, _, grant) | Renew(_, grant)), Some life ->
                  grant.Elevations <> life.Elevations || not (speaks step.Known step.At grant)
              | _ -> false
          | Error NotDue ->
              match step.Command with
              | Renew _
              | Tell
              | Leave -> life.IsSome
              | Expire -> life.IsSome && not isOverdue
              | _ -> false
          | Error(NoSession | Exists | Over _ | Refusal.Conflict)
          | Ok _ -> true ]

/// Invariants of a whole history.
let private ofHistories: (string * (Step list -> bool)) list =
    [ "6 no resurrection: what is over once is over for good",
      fun steps ->
          steps
          |> List.map (fun step -> step.After)
          |> List.skipWhile (fun state -> isLive state || state = Absent)
          |> List.forall (fun state -> not (isLive state) && state <> Absent)

      "7 a refusal changes nothing: all events in a row lead to where the steps led",
      fun steps ->
          steps |> List.collect eventsOf |> List.fold Lifecycle.evolve Lifecycle.initial = (List.last steps).After

      "8 the unattended end: after a long silence nothing lives",
      fun steps ->
          let last = List.last steps
          let silent = own last.Learnt last.At + last.Policy.Absolute
          everySecret last |> List.forall (fun n -> not (opensAt silent n last))

      "13 grace is the last: no replay is reported twice",
      fun steps ->
          let replays = steps |> List.collect eventsOf |> List.filter _.IsWasReplayed
          replays.Length = (List.distinct replays).Length

      "13 grace is the last: an old token is never given a new one",
      fun steps ->
          steps
          |> List.forall (fun step ->
              not (isOfOld step.Known step.At step.Command)
              || not (
                  hasEvent (fun event -> event.IsRenewalIssued || event.IsRenewalConfirmed || event.IsWasSeen) step
              )) ]

/// How many per property; --quick: fewer, for the seeded bugs, which each have to be found by few.
let mutable histories = 3000

let config (seed: int) =
    { FsCheckConfig.defaultConfig with
        maxTest = histories
        replay = Some(uint64 seed, uint64 seed * 2UL + 1UL, None)
        arbitrary = [ typeof<Generators> ] }

let ofEvery seed (name, holds: Step -> bool) =
    testPropertyWithConfig (config seed) name (fun history ->
        let steps = stepsOf history

        match steps |> List.tryFindIndex (holds >> not) with
        | None -> ()
        | Some i -> failtestf "broken by the last step of\n%s" (story (List.truncate (i + 1) steps)))

let private ofAll seed (name, holds: Step list -> bool) =
    testPropertyWithConfig (config seed) name (fun history ->
        let steps = stepsOf history

        if not (holds steps) then
            failtestf "broken by\n%s" (story steps))

let all seed =
    testList
        "invariants"
        [ yield! invariants |> List.map (ofEvery seed)
          yield! refusals |> List.map (ofEvery seed)
          yield! ofHistories |> List.map (ofAll seed) ]

/// How many histories a property was asked of; 1 for those that are asked once.
let casesOf (name: string) =
    if List.contains name (List.map fst (invariants @ refusals) @ List.map fst ofHistories) then histories else 1

/// A suite that never met an edge proves nothing about it.
let coverage =
    testCase "coverage: every cell that can occur was met" (fun () ->
        printfn "\nover %d histories:" (histories * (invariants.Length + refusals.Length + ofHistories.Length))

        for cell in cells |> List.append (List.ofSeq met.Keys) |> List.distinct |> List.sort do
            printfn "%9d  %s" (met.GetValueOrDefault(cell, 0)) cell

        Expect.equal (cells |> List.filter (met.ContainsKey >> not)) [] "cells that were never met")
