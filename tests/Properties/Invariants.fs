/// The invariants, in the order and under the names of Session.Domain.fs: each one is required of every step of every
/// history, for both answers to a replay. 9 and 15 speak of many requests and many sessions, and need an engine.
module Properties.Invariants

open System
open System.Collections.Generic
open System.Threading
open System.Threading.Tasks
open Expecto
open FsCheck
open Microsoft.Extensions.Logging.Abstractions
open Session.Engine
open Session.Domain
open Properties.Histories

let private isLive state = (Lifecycle.liveOf state).IsSome

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

/// How many secrets were superseded: a record remembers the last few.
let private oldOnes (world: World) = (world.Fates |> Map.filter (fun _ fate -> fate.IsReplaced || fate = Killed)).Count

/// Whether the holder of the session is to be issued the next token, in the world's own words.
let private isDue (policy: Policy) world now =
    let has kind = [ 1 .. world.Minted ] |> List.exists (fun n -> fateOf world now n |> Option.exists kind)

    match living world, policy.RotateEvery with
    | Some life, Some every when life.Claimed && not (has _.IsLeaves) ->
        if has _.IsWaits then now >= world.IssuedAt + policy.Grace else now >= world.HeldSince + every
    | _ -> false

/// What follows from a command given after this step.
let private next now command step =
    match Lifecycle.decide step.Policy now command step.After with
    | Ok events -> List.fold Lifecycle.evolve step.After events
    | Error _ -> step.After

/// Every command that anybody could give after this step, on any handle.
let private everyCommand step =
    let fresh = secret (step.Learnt.Minted + 1)
    let highest = step.Learnt.Life |> Option.map _.Elevations |> Option.defaultValue 0

    [ Create(fresh, None, [| 66uy |])
      Expire
      Tell
      Destroy(Revoked, None)
      for n in everySecret step do
          Present(secret n)
      for under in 0..highest do
          Write([| 66uy |], None, under)
          Write([| 66uy |], Some 1L, under)
          SignIn("eve", [| 66uy |], fresh, under)
          Elevate(fresh, under)
          Renew(fresh, under)
          Destroy(SignedOut, Some under) ]

let invariants: (string * (Step -> bool)) list =
    [ "1 the end absorbs: no command leads from Destroyed or Expired to anything else, but for the data that goes",
      fun step ->
          let absorbs before after =
              match before, after with
              | Destroyed _, after -> after = before
              | Expired(live, kind, at, false), Expired(empty, kind', at', true) ->
                  kind = kind' && at = at' && empty = { live with Data = [||] }
              | Expired _, after -> after = before
              | _ -> true

          absorbs step.Before step.After
          && (isLive step.After
              || step.After = Absent
              || everyCommand step
                 |> List.forall (fun command -> absorbs step.After (next (step.At + minutes 1) command step)))

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

      "3 time and version only grow: last seen never goes back, and is never in the future",
      fun step ->
          stays (fun before after -> after.LastSeen >= before.LastSeen) step
          && match Lifecycle.liveOf step.After with
             | Some live -> live.LastSeen <= own step.Known step.At
             | None -> true

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
                  | Write(_, _, under)
                  | SignIn(_, _, _, under)
                  | Elevate(_, under)
                  | Renew(_, under)
                  | Destroy(_, Some under) when under <> live.Elevations -> next step.At command step = step.After
                  | _ -> true)

      "6 no resurrection: no write is accepted after the end, on any handle",
      fun step ->
          isLive step.After
          || step.After = Absent
          || everyCommand step
             |> List.forall (fun command ->
                 match command, Lifecycle.decide step.Policy step.At command step.After with
                 | (Create _ | Write _ | SignIn _ | Elevate _ | Renew _ | Present _), Ok _ -> false
                 | (Destroy _ | Expire | Tell), Ok events -> events = [] || events = [ WasTold ]
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
              | Write(_, Some revision, under), Some life ->
                  revision <> life.Revision && under = life.Elevations && not isOverdue
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
              let write = Write([| 1uy |], None, live.Elevations)
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
          | Present presented ->
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

      "10 renewal keeps the session: one is issued exactly when it is due",
      fun step ->
          match step.Command, living step.Known with
          | Renew(_, under), Some life ->
              let isDue = isDue step.Policy step.Known (own step.Known step.At)
              step.Answer.IsOk = (isDue && under = life.Elevations && isAlive step.Known step.At)
          | _ -> true

      "10 renewal keeps the session: the next one is due at its time, whoever asks, and not before",
      fun step ->
          not (isLive step.After)
          || [ 0; 1; 2 ]
             |> List.forall (fun minute ->
                 let now = own step.Learnt (step.At + minutes minute)
                 let settled = Lifecycle.settle now step.After
                 Lifecycle.isRenewalDue step.Policy now settled = isDue step.Policy step.Learnt now)

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
                  && (Lifecycle.decide never now (Renew(secret 0, live.Elevations)) step.After).IsError)

      "11 nothing from strangers: a secret that was never issued opens nothing and changes nothing",
      fun step ->
          [ 0 .. step.Learnt.Minted + 1 ]
          |> List.filter (fun n -> not (step.Learnt.Fates.ContainsKey n))
          |> List.forall (fun n ->
              match Lifecycle.decide step.Policy step.At (Present(secret n)) step.After with
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
              step.Learnt.Fates |> Map.exists (fun n fate -> secret n = predecessor && fate = Leaves until)
              && (step.At >= until
                  || not (isAlive step.Learnt step.At)
                  || own step.Learnt step.At >= until
                  || next step.At (Present predecessor) step = step.After)
              && not (opensAt until (numberOf predecessor) step)
              && (let renew = Renew(secret 0, live.Elevations)
                  own step.Learnt step.At >= until || (Lifecycle.decide step.Policy step.At renew step.After).IsError)
          | _ -> true

      "13 grace is the last: use after it is reported once, and ends the session if the policy says so",
      fun step ->
          match step.Command with
          | Present presented when isAlive step.Known step.At && oldOnes step.Known < Lifecycle.remembered ->
              let isReported = hasEvent (fun event -> event = WasReplayed presented) step

              match fateOf step.Known step.At (numberOf presented) with
              | Some(Replaced false) -> isReported && isLive step.After = (step.Policy.OnReplay = RefuseToken)
              | Some(Replaced true) -> step.Answer = Error Outdated
              | _ -> not (hasEvent _.IsWasReplayed step) && isLive step.After
          | _ -> true

      "13 grace is the last: an old token is remembered once, newest first, and none that still works",
      fun step ->
          match Lifecycle.liveOf step.After with
          | None -> true
          | Some live ->
              let old = live.Superseded |> List.map (fun old -> numberOf old.Secret)

              old = List.distinct old
              && old.Length <= Lifecycle.remembered
              && old
                 |> List.forall (fun n ->
                     match fateOf step.Learnt step.At n with
                     | Some(Killed | Replaced _) -> true
                     | _ -> false)

      "14 destroy is total: in every state, and again",
      fun step ->
          let destroyed = next step.At (Destroy(Revoked, None)) step

          let isAsSaid =
              match destroyed with
              | Destroyed(_, Revoked, at) -> at = own step.Learnt step.At
              | _ -> false

          match Lifecycle.decide step.Policy step.At (Destroy(Revoked, None)) step.After with
          | Error refusal -> refusal = NoSession && step.After = Absent
          | Ok _ ->
              not (isLive destroyed)
              && destroyed <> Absent
              && (if isLive step.After then isAsSaid else destroyed = step.After)
              && Lifecycle.decide step.Policy (step.At + minutes 1) (Destroy(SignedOut, None)) destroyed = Ok []

      "16 one decoder: every state is read back as it was written",
      fun step ->
          step.After = Absent
          || Codec.decode "id" 7L (ReadOnlyMemory(Codec.encode "id" 7L step.After)) = Ok step.After ]

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
              | Present presented ->
                  step.Known.IsOver
                  || oldOnes step.Known >= Lifecycle.remembered
                  || match Map.tryFind (numberOf presented) step.Known.Fates with
                     | None
                     | Some Lost -> true
                     | Some _ -> false
              | _ -> false
          | Error Outdated ->
              match step.Command, life with
              | Present presented, Some _ ->
                  match fateOf step.Known step.At (numberOf presented) with
                  | Some(Killed | Replaced true) -> true
                  | _ -> false
              | (Write(_, _, under) | SignIn(_, _, _, under) | Elevate(_, under) | Renew(_, under)), Some life
              | Destroy(_, Some under), Some life -> under <> life.Elevations
              | _ -> false
          | Error NotDue ->
              match step.Command with
              | Renew _
              | Tell -> life.IsSome
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
              match step.Command, fateOf step.Known step.At with
              | Present presented, fate when
                  fate (numberOf presented) |> Option.exists (fun fate -> fate.IsLeaves || fate.IsReplaced)
                  ->
                  not (
                      hasEvent (fun event -> event.IsRenewalIssued || event.IsRenewalConfirmed || event.IsWasSeen) step
                  )
              | _ -> true) ]

/// How many per property; --quick: fewer, for the seeded bugs, which each have to be found by few.
let mutable histories = 3000

let config (seed: int) =
    { FsCheckConfig.defaultConfig with
        maxTest = histories
        replay = Some(uint64 seed, uint64 seed * 2UL + 1UL, None)
        arbitrary = [ typeof<Generators> ] }

let private ofEvery seed (name, holds: Step -> bool) =
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

// ------------------------------------------------------------------------- many requests, many sessions: an engine

let silent =
    { new INoticeBoard with
        member _.Post _ = ValueTask.CompletedTask }

let settings =
    { Policy =
        { policy with
            Idle = TimeSpan.FromMinutes 20L
            Absolute = TimeSpan.FromHours 8.0 }
      MaxDataBytes = 1000
      MaxSessionsPerSubject = None
      WhenLimitReached = EndOldest
      SealsToBearer = false
      Protector = null
      ServerKey = null }

let engineWith store settings = SessionEngine(store, settings, TimeProvider.System, NullLogger.Instance, silent)

let ok (answer: Result<'a, SessionError>) =
    match answer with
    | Ok value -> value
    | Error error -> failtestf "refused: %A" error

let private ada = Some "ada"
let private none = CancellationToken.None

/// A store some of whose answers never come: of each three writes one is taken and one is lost, unknown to the writer.
type private Forgetful(store: ISessionStore) =
    let mutable writes = 0

    interface ISessionStore with
        member _.Replace(record, expected, cancel) =
            match Interlocked.Increment &writes % 3 with
            | 0 ->
                store.Replace(record, expected, cancel).AsTask().Wait()
                ValueTask.FromResult WriteResult.Unknown
            | 1 -> ValueTask.FromResult WriteResult.Unknown
            | _ -> store.Replace(record, expected, cancel)

        member _.Insert(record, cancel) =
            store.Insert(record, cancel).AsTask().Wait()
            ValueTask.FromResult WriteResult.Unknown

        member _.Prepare cancel = store.Prepare cancel
        member _.Load(id, cancel) = store.Load(id, cancel)
        member _.Touch(id, at, cancel) = store.Touch(id, at, cancel)
        member _.Remove(id, cancel) = store.Remove(id, cancel)
        member _.BySubject(subject, after, limit, cancel) = store.BySubject(subject, after, limit, cancel)
        member _.Enumerate(after, limit, cancel) = store.Enumerate(after, limit, cancel)
        member _.Count cancel = store.Count cancel
        member _.ClaimOverdue(now, lease, limit, cancel) = store.ClaimOverdue(now, lease, limit, cancel)
        member _.Reschedule(id, version, dueAt, cancel) = store.Reschedule(id, version, dueAt, cancel)

/// A store where two inserts wait for each other: what is asked before them is asked before both.
type private Meeting(store: ISessionStore) =
    let mutable waiting: TaskCompletionSource option = None
    let gate = obj ()

    let meet () =
        lock gate (fun () ->
            match waiting with
            | Some first ->
                waiting <- None
                first.SetResult()
                Task.CompletedTask
            | None ->
                let first = TaskCompletionSource TaskCreationOptions.RunContinuationsAsynchronously
                waiting <- Some first
                first.Task)

    interface ISessionStore with
        member _.Insert(record, cancel) =
            ValueTask<WriteResult>(
                task =
                    task {
                        do! meet ()
                        return! store.Insert(record, cancel)
                    }
            )

        member _.Prepare cancel = store.Prepare cancel
        member _.Load(id, cancel) = store.Load(id, cancel)
        member _.Replace(record, expected, cancel) = store.Replace(record, expected, cancel)
        member _.Touch(id, at, cancel) = store.Touch(id, at, cancel)
        member _.Remove(id, cancel) = store.Remove(id, cancel)
        member _.BySubject(subject, after, limit, cancel) = store.BySubject(subject, after, limit, cancel)
        member _.Enumerate(after, limit, cancel) = store.Enumerate(after, limit, cancel)
        member _.Count cancel = store.Count cancel
        member _.ClaimOverdue(now, lease, limit, cancel) = store.ClaimOverdue(now, lease, limit, cancel)
        member _.Reschedule(id, version, dueAt, cancel) = store.Reschedule(id, version, dueAt, cancel)

let private withEngine: Test list =
    [ testTask "9 no lost update: a write whose answer is lost counts once, taken or not" {
          let engine = engineWith (Forgetful(MemoryStore())) settings
          let! created = engine.Create(Token.newId, ada, [| 0uy |], none)
          let mutable opened = ok created

          for _ in 1..20 do
              let! answer = engine.Update(opened, (fun data -> Ok [| data[0] + 1uy |]), none)
              opened <- ok answer

          let! found = engine.Find(opened.Snapshot.Id, none)

          match ok found |> Option.bind (fun snapshot -> Lifecycle.liveOf snapshot.State) with
          | Some live -> Expect.equal (live.Data, live.Revision) ([| 20uy |], 21L) "each once"
          | None -> failtest "the session is gone"
      }

      testTask "3 time and version only grow: the version grows by one with each write" {
          let engine = engineWith (MemoryStore()) settings
          let! created = engine.Create(Token.newId, ada, [| 0uy |], none)
          let opened = ok created
          Expect.equal opened.Snapshot.Version 1L "at first"

          for i in 2L .. 9L do
              let! answer = engine.Update(opened, Ok, none)
              Expect.equal (ok answer).Snapshot.Version i "the next"
      }

      testTask "9 no lost update: 100 parallel updates all count" {
          let engine = engineWith (MemoryStore()) settings
          let! created = engine.Create(Token.newId, ada, [| 0uy |], none)
          let opened = ok created

          let! answers =
              [ for _ in 1..100 ->
                    Task.Run<Result<Opened, SessionError>>(fun () ->
                        engine.Update(opened, (fun data -> Ok [| data[0] + 1uy |]), none)) ]
              |> Task.WhenAll

          for answer in answers do
              ok answer |> ignore

          let! found = engine.Find(opened.Snapshot.Id, none)

          match ok found |> Option.bind (fun snapshot -> Lifecycle.liveOf snapshot.State) with
          | Some live ->
              Expect.equal live.Data [| 100uy |] "the sum"
              Expect.equal live.Revision 101L "the revision"
          | None -> failtest "the session is gone"

      }

      testTask "9 no lost update: of two saves of the same reading one is a conflict" {
          let engine = engineWith (MemoryStore()) settings
          let! created = engine.Create(Token.newId, ada, [| 0uy |], none)
          let opened = ok created
          let! first = engine.Save(opened, [| 1uy |], none)
          let! second = engine.Save(opened, [| 2uy |], none)
          Expect.isOk first "the first"
          Expect.equal second (Error SessionError.Conflict) "the second"
      }

      testTask "6 no resurrection: saves and updates in parallel with a sign-out never bring it back" {
          for _ in 1..50 do
              let engine = engineWith (MemoryStore()) settings
              let! created = engine.Create(Token.newId, ada, [| 0uy |], none)
              let opened = ok created

              let update () : Task = engine.Update(opened, (fun data -> Ok [| data[0] + 1uy |]), none)

              let signOut () : Task = engine.SignOut(opened, none)

              do! [ for i in 1..12 -> Task.Run(if i = 6 then signOut else update) ] |> Task.WhenAll

              let! found = engine.Find(opened.Snapshot.Id, none)
              Expect.equal (ok found) None "it is over"
              let! late = engine.Update(opened, Ok, none)
              Expect.isError late "a late update"
      }

      testTask "6 no resurrection: a write to a record that was removed meanwhile is refused, and creates none" {
          let store = MemoryStore() :> ISessionStore
          let engine = engineWith store settings
          let! created = engine.Create(Token.newId, ada, [| 0uy |], none)
          let opened = ok created
          do! store.Remove(opened.Snapshot.Id, none)
          let! save = engine.Save(opened, [| 1uy |], none)
          let! update = engine.Update(opened, Ok, none)
          let! signIn = engine.SignIn(opened, "ada", [| 1uy |], none)
          let! regenerate = engine.Regenerate(opened, none)
          let! signOut = engine.SignOut(opened, none)

          for answer in [ save; update; signIn; regenerate ] do
              Expect.equal answer (Error SessionError.NoSession) "refused"

          Expect.equal signOut (Error SessionError.NoSession) "nothing to end"
          let! count = store.Count none
          Expect.equal count 0L "none"
      }

      testTask "11 nothing from strangers: another secret, another id and another key open nothing" {
          let store = MemoryStore()
          let engine = engineWith store settings
          let! created = engine.Create(Token.newId, ada, [||], none)
          let! other = engine.Create(Token.newId, ada, [||], none)
          let text = (ok created).Issued.Value.Reveal()
          let parse (hasher: SecretHasher) (text: string) = (Token.tryParse hasher (text.AsSpan())).Value
          let mixed = (ok created).Snapshot.Id + (ok other).Issued.Value.Reveal().Substring 22
          let! guessed = engine.Present(parse engine.Hasher mixed, true, none)
          Expect.equal guessed (Error(SessionError.Refused Guess)) "the secret of another session"
          let! unknown = engine.Present(parse engine.Hasher (Token.newId () + text.Substring 22), true, none)
          Expect.equal unknown (Error SessionError.NoSession) "an unknown id"
          let keyed = engineWith store { settings with ServerKey = ServerKeys(Array.create 32 7uy) }
          let! foreign = keyed.Present(parse keyed.Hasher text, true, none)
          Expect.equal foreign (Error(SessionError.Refused Guess)) "under another key"
          let! mine = engine.Present(parse engine.Hasher text, true, none)
          Expect.isOk mine "the token itself"
      }

      testTask "5 no fixation: a sign-out from before the sign-in is refused, and the session stays as it is" {
          let store = MemoryStore() :> ISessionStore
          let engine = engineWith store settings
          let! created = engine.Create(Token.newId, None, [| 0uy |], none)
          let before = ok created
          let! signedIn = engine.SignIn(before, "ada", [| 1uy |], none)
          let! stored = store.Load((ok signedIn).Snapshot.Id, none)
          let! signOut = engine.SignOut(before, none)
          Expect.isError signOut "from before the sign-in"
          let! found = store.Load((ok signedIn).Snapshot.Id, none)
          Expect.equal ((nonNull found).Body.ToArray()) ((nonNull stored).Body.ToArray()) "the record"
      }

      testTask "7 a refusal changes nothing: the record stays as it is, byte for byte" {
          let store = MemoryStore() :> ISessionStore
          let engine = engineWith store settings
          let! created = engine.Create(Token.newId, None, [| 0uy |], none)
          let text = (ok created).Issued.Value.Reveal()
          let parse (text: string) = (Token.tryParse engine.Hasher (text.AsSpan())).Value
          let! present = engine.Present(parse text, true, none)
          let opened = ok present
          let id = opened.Snapshot.Id
          let! signedIn = engine.SignIn(opened, "ada", [| 1uy |], none)
          let now = ok signedIn
          let! other = engine.Create(Token.newId, ada, [||], none)
          let! before = store.Load(id, none)

          let! guess = engine.Present(parse (id + (ok other).Issued.Value.Reveal().Substring 22), true, none)
          let! outdated = engine.Present(parse text, true, none)
          let! save = engine.Save(opened, [| 2uy |], none)
          let! update = engine.Update(opened, (fun _ -> Ok [| 3uy |]), none)
          let! large = engine.Save(now, Array.zeroCreate 1001, none)
          let! largeSignIn = engine.SignIn(now, "bob", Array.zeroCreate 1001, none)
          let! failing = engine.Update(now, (fun _ -> Error SessionError.NoSession), none)
          let! regenerate = engine.Regenerate(opened, none)
          let! unknown = engine.Present(parse (Token.newId () + text.Substring 22), true, none)

          for refused in
              [ guess
                outdated
                save
                update
                large
                largeSignIn
                failing
                regenerate
                unknown ] do
              Expect.isError refused "refused"

          let! after = store.Load(id, none)

          let facts (record: StoredRecord | null) =
              (nonNull record).Version, (nonNull record).Body.ToArray(), (nonNull record).LastSeen

          Expect.equal (facts after) (facts before) "the record"
          let! count = store.Count none
          Expect.equal count 2L "and no other session began"
      }

      testTask
          "10 renewal keeps the session: the next token is issued to whom it is due, and where a response can carry it" {
          let clock = Microsoft.Extensions.Time.Testing.FakeTimeProvider(t0)
          let store = MemoryStore()

          let rotating =
              { settings with
                  Policy = { settings.Policy with OnReplay = RefuseToken } }

          let engine = SessionEngine(store, rotating, clock, NullLogger.Instance, silent)

          let present (text: string) mayIssue : Task<Result<Opened, SessionError>> =
              engine.Present((Token.tryParse engine.Hasher (text.AsSpan())).Value, mayIssue, none).AsTask()

          let! created = engine.Create(Token.newId, None, [| 7uy |], none)
          let first = (ok created).Issued.Value.Reveal()
          let! (confirmed: Result<Opened, SessionError>) = present first true
          Expect.isNone (ok confirmed).Issued "none is due"
          clock.Advance(minutes 2)
          let! (late: Result<Opened, SessionError>) = present first false
          Expect.equal ((ok late).Issued, (ok late).Snapshot.State.IsActive) (None, true) "no response to carry it"
          let! (due: Result<Opened, SessionError>) = present first true
          let second = (ok due).Issued.Value
          Expect.equal second.Id (ok created).Snapshot.Id "the same session"
          let! (renewed: Result<Opened, SessionError>) = present (second.Reveal()) true
          let live = (ok renewed).Live
          Expect.equal (live.Data, live.CreatedAt, live.Revision) ([| 7uy |], t0, 1L) "and all that is in it"
          // Long after its grace, and when the next one is due: a thief has the old one.
          clock.Advance(minutes 3)
          let! replay = present first true
          Expect.equal replay (Error(SessionError.Refused Outdated)) "the old token"
          let! (found: Result<Snapshot option, SessionError>) = engine.Find(second.Id, none)
          Expect.isTrue (ok found).Value.State.IsActive "no renewal began with it"
          let! (next: Result<Opened, SessionError>) = present (second.Reveal()) true
          Expect.isSome (ok next).Issued "the holder gets the next one"
      }

      testTask
          "16 one decoder: a record that was tampered with, or of another session, opens nothing and stays as it is" {
          let store = MemoryStore() :> ISessionStore
          let engine = engineWith store settings
          let! created = engine.Create(Token.newId, ada, [| 0uy |], none)
          let! other = engine.Create(Token.newId, ada, [| 0uy |], none)
          let token = (ok created).Issued.Value
          let parse (text: string) = (Token.tryParse engine.Hasher (text.AsSpan())).Value
          let! mine = store.Load(token.Id, none)
          let! theirs = store.Load((ok other).Snapshot.Id, none)
          let mine, theirs = nonNull mine, nonNull theirs
          let flipped = mine.Body.ToArray()
          flipped[flipped.Length / 2] <- flipped[flipped.Length / 2] ^^^ 1uy
          let mutable version = mine.Version

          for body in [ flipped; theirs.Body.ToArray(); [||]; mine.Body.ToArray() ] do
              let changed =
                  StoredRecord(
                      mine.Id,
                      version + 1L,
                      mine.Kind,
                      mine.LastSeen,
                      mine.DueAt,
                      mine.Subject,
                      mine.Operation,
                      ReadOnlyMemory body,
                      false
                  )

              let! written = store.Replace(changed, version, none)
              Expect.equal written WriteResult.Written "the attacker writes"
              version <- version + 1L
              let! presented = engine.Present(parse (token.Reveal()), true, none)

              match presented with
              | Error(SessionError.Unreadable _) -> ()
              | answer -> failtestf "opened: %A" answer

              let! found = engine.Find(token.Id, none)
              Expect.notEqual (found |> Result.map Option.isSome) (Ok true) "no session"
              let! after = store.Load(token.Id, none)
              Expect.equal ((nonNull after).Body.ToArray()) body "as it is"
      }

      testTask "14 destroy is total: a throwing event handler stops nothing" {
          let throwing =
              { new INoticeBoard with
                  member _.Post _ = invalidOp "a handler of the application failed" }

          let engine = SessionEngine(MemoryStore(), settings, TimeProvider.System, NullLogger.Instance, throwing)
          let! created = engine.Create(Token.newId, ada, [||], none)
          let id = (ok created).Snapshot.Id
          let! first = engine.Destroy(id, Revoked, none)
          let! again = engine.Destroy(id, Revoked, none)
          let! never = engine.Destroy("nobody", Revoked, none)
          let! found = engine.Find(id, none)
          Expect.equal (first, again, never) (Ok true, Ok false, Ok false) "the answers"
          Expect.equal (ok found) None "it is over"
      }

      testTask "everybody: every session of everybody is ended, over several pages, and stops when it is told to" {
          let engine = engineWith (MemoryStore()) settings

          for i in 1..450 do
              let! created = engine.Create(Token.newId, (if i % 3 = 0 then None else Some $"user {i % 7}"), [||], none)
              ok created |> ignore

          let stopped = new CancellationTokenSource()
          stopped.Cancel()
          let mutable wasStopped = false

          try
              let! _ = engine.DestroyEvery(Revoked, stopped.Token)
              ()
          with :? OperationCanceledException ->
              wasStopped <- true

          Expect.isTrue wasStopped "cancelled"
          let! ended = engine.DestroyEvery(Revoked, none)
          Expect.equal ended (Ok 450) "all"
          let! again = engine.DestroyEvery(Revoked, none)
          Expect.equal again (Ok 0) "none is left"
      }

      testTask "15 destroy all is all: 450 sessions of a subject on two nodes, and none of another" {
          let store = MemoryStore()
          let engine, node = engineWith store settings, engineWith store settings

          for i in 1..450 do
              let! created = (if i % 2 = 0 then engine else node).Create(Token.newId, ada, [||], none)
              ok created |> ignore

          let! bob = engine.Create(Token.newId, Some "bob", [||], none)
          let! (before: Result<Snapshot list, SessionError>) = engine.List("ada", none)
          let kept = (ok before).Head.Id
          let! most = node.DestroyAll("ada", Some kept, Revoked, none)
          Expect.equal most (Ok 449) "all but one"
          let! (one: Result<Snapshot list, SessionError>) = engine.List("ada", none)
          Expect.equal (ok one |> List.map _.Id) [ kept ] "the one"
          let! last = engine.DestroyAll("ada", None, Revoked, none)
          Expect.equal last (Ok 1) "the last"
          let! (left: Result<Snapshot list, SessionError>) = node.List("ada", none)
          Expect.isEmpty (ok left) "none is left"
          let! (bobs: Result<Snapshot list, SessionError>) = engine.List("bob", none)
          Expect.equal (ok bobs |> List.map _.Id) [ (ok bob).Snapshot.Id ] "the other subject's"
      }

      testTask "15 destroy all is all: no sign-in acknowledged before it lives, whatever runs in parallel" {
          for _ in 1..20 do
              let store = MemoryStore()
              let engine = engineWith store settings

              let! created = [ for _ in 1..10 -> engine.Create(Token.newId, None, [||], none) ] |> Task.WhenAll

              let sessions = created |> Array.map ok
              let! _ = [ for opened in sessions[..4] -> engine.SignIn(opened, "ada", [||], none) ] |> Task.WhenAll

              let late =
                  [ for opened in sessions[5..] ->
                        Task.Run<Result<Opened, SessionError>>(fun () -> engine.SignIn(opened, "ada", [||], none)) ]

              let! ended = engine.DestroyAll("ada", None, Revoked, none)
              let! _ = Task.WhenAll late
              Expect.isGreaterThanOrEqual (ok ended) 5 "those before"

              for opened in sessions[..4] do
                  let! found = engine.Find(opened.Snapshot.Id, none)
                  Expect.equal (ok found) None "begun before"
      }

      testTask "15 destroy all is all: with a limit of 3, no acknowledged sign-in leaves more than 3" {
          for _ in 1..10 do
              let engine = engineWith (MemoryStore()) { settings with MaxSessionsPerSubject = Some 3 }

              for _ in 1..5 do
                  let! created = engine.Create(Token.newId, ada, [||], none)
                  ok created |> ignore
                  let! (found: Result<Snapshot list, SessionError>) = engine.List("ada", none)
                  Expect.isLessThanOrEqual (ok found).Length 3 "one after the other"

              let! _ =
                  [ for _ in 1..12 ->
                        Task.Run<Result<Opened, SessionError>>(fun () -> engine.Create(Token.newId, ada, [||], none)) ]
                  |> Task.WhenAll

              let! (found: Result<Snapshot list, SessionError>) = engine.List("ada", none)
              Expect.isLessThanOrEqual (ok found).Length 3 "all at once"
      }

      testTask "15 destroy all is all: where a limit of 1 refuses, two nodes at once let in 1 at most" {
          for _ in 1..5 do
              let store = Meeting(MemoryStore())

              let limited =
                  { settings with
                      MaxSessionsPerSubject = Some 1
                      WhenLimitReached = RefuseNew }

              let nodes = [| engineWith store limited; engineWith store limited |]

              let! (answers: Result<Opened, SessionError> array) =
                  [ for node in nodes ->
                        Task.Run<Result<Opened, SessionError>>(fun () -> node.Create(Token.newId, ada, [||], none)) ]
                  |> Task.WhenAll

              let! (found: Result<Snapshot list, SessionError>) = nodes[0].List("ada", none)
              let letIn = answers |> Array.filter Result.isOk |> Array.length
              Expect.isLessThanOrEqual (ok found).Length 1 "live"
              Expect.equal letIn (ok found).Length "who was let in is in"
      } ]

let all seed =
    testList
        "invariants"
        [ yield! invariants |> List.map (ofEvery seed)
          yield! refusals |> List.map (ofEvery seed)
          yield! ofHistories |> List.map (ofAll seed)
          yield! withEngine ]

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
