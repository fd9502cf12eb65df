/// Histories of one session: waits and intents, folded once into steps. The constants are small, so that edges are
/// common. Beside the state goes a naive world, which knows by its number every secret ever minted and what became
/// of it, and never looks into the state.
module Properties.Histories

open System
open System.Collections.Concurrent
open FsCheck
open FsCheck.FSharp
open Session.Domain

let minutes (n: int) = TimeSpan.FromMinutes(int64 n)
let t0 = DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero)
/// Minute n of every history.
let at n = t0 + minutes n

let policy =
    { Idle = minutes 3
      Absolute = minutes 7
      Confirm = minutes 2
      RotateEvery = Some(minutes 2)
      Grace = minutes 1
      Retention = minutes 5
      OnReplay = DestroySession }

/// Secret number n. Zero is never minted: a guess.
let secret (n: int) : SecretHash = { W0 = int64 n; W1 = 1L; W2 = 2L; W3 = 3L }
let numberOf (hash: SecretHash) = int hash.W0
let guess = secret 0

// ---------------------------------------------------------------------------------------------- the naive world

/// What became of a secret that was issued.
type Fate =
    | Holds
    | Waits
    | Leaves of until: DateTimeOffset
    /// By a renewal whose grace is over. It worked until then: a request that had arrived before is only too late.
    | Replaced of until: DateTimeOffset * reported: bool
    /// By an elevation, or as the twin of a confirmed one.
    | Killed
    /// Pushed out by later ones before anybody presented it.
    | Lost

type Life =
    { Born: DateTimeOffset
      SignedInAt: DateTimeOffset option
      Seen: DateTimeOffset
      Claimed: bool
      Subject: string option
      Elevations: int
      Revision: int64 }

type World =
    {
        /// Every secret up to this number was minted; those without a fate were never issued.
        Minted: int
        Fates: Map<int, Fate>
        Life: Life option
        IsOver: bool
        /// What the renewal under way began with: when its newest secret was issued, when the confirmed one was.
        IssuedAt: DateTimeOffset
        HeldSince: DateTimeOffset
    }

let nobody =
    { Minted = 0
      Fates = Map.empty
      Life = None
      IsOver = false
      IssuedAt = t0
      HeldSince = t0 }

let living world = if world.IsOver then None else world.Life

/// The clock of a session: never behind what it has seen.
let own world (now: DateTimeOffset) =
    match living world with
    | Some life when life.Seen > now -> life.Seen
    | _ -> now

/// Every limit, with the instant at which it ends the session.
let limits world =
    match living world with
    | None -> []
    | Some life ->
        [ Absolute, defaultArg life.SignedInAt life.Born + policy.Absolute
          Idle, life.Seen + policy.Idle
          if not life.Claimed && life.Subject.IsNone then
              Unconfirmed, life.Born + policy.Confirm ]

let endOf world =
    match limits world with
    | [] -> None
    | limits -> Some(limits |> List.map snd |> List.min)

let isAlive world now =
    match endOf world with
    | Some ending -> own world now < ending
    | None -> false

/// A grace lasts as long as the policy says by the clock that began it, and at most twice as long by any other.
let fateOf world now n =
    match Map.tryFind n world.Fates with
    | Some(Leaves until) when until <= own world now || now < until - policy.Grace - policy.Grace ->
        Some(Replaced(until, false))
    | fate -> fate

/// The whole of invariant 4, in the world's own words.
let mayOpen world now n =
    isAlive world now
    && match fateOf world now n with
       | Some(Holds | Waits | Leaves _) -> true
       | Some(Replaced _ | Killed | Lost)
       | None -> false

/// Whether a request that was let in then still speaks for the holder: its token is the confirmed one or an issued one, or
/// was when the request was let in and is in its grace now.
let speaks world now (grant: Grant) =
    match fateOf world now (numberOf grant.Secret) with
    | Some(Holds | Waits) -> true
    | Some(Leaves _) -> not grant.ByPredecessor
    | Some(Replaced _ | Killed | Lost)
    | None -> false

/// When the request arrived, by the clock of the session: not in its future.
let arrival world now (arrivedAt: DateTimeOffset) = min arrivedAt (own world now)

let private onLife change world = { world with Life = Option.map change world.Life }
let private give n fate world = { world with Fates = Map.add n fate world.Fates }
let private later (a: DateTimeOffset) b = max a b
let private seen at life = { life with Seen = later life.Seen at }

let private refate change world = { world with Fates = Map.map (fun _ fate -> change fate) world.Fates }

let private elevate n at change world =
    world
    |> refate (fun fate ->
        match fate with
        | Holds
        | Waits
        | Leaves _
        | Replaced _ -> Killed
        | Killed
        | Lost -> fate)
    |> give n Holds
    |> onLife (fun life -> change { seen at life with Elevations = life.Elevations + 1 })
    |> fun world -> { world with HeldSince = at }

let learn now world event =
    let at = own world now

    match event with
    | WasCreated(secret, subject, _, _) ->
        { world with
            HeldSince = at
            Life =
                Some
                    { Born = at
                      SignedInAt = subject |> Option.map (fun _ -> at)
                      Seen = at
                      Claimed = false
                      Subject = subject
                      Elevations = 0
                      Revision = 1L } }
        |> give (numberOf secret) Holds
    | WasConfirmed -> world |> onLife (fun life -> { life with Claimed = true })
    | WasSeen arrived -> world |> onLife (seen arrived)
    | WasWritten _ -> world |> onLife (fun life -> { life with Revision = life.Revision + 1L })
    | WasSignedIn(subject, _, secret, _) ->
        world
        |> elevate (numberOf secret) at (fun life ->
            { life with
                SignedInAt = Some at
                Subject = Some subject
                Revision = life.Revision + 1L })
    | WasElevated(secret, _) -> world |> elevate (numberOf secret) at id
    | RenewalIssued(secret, _) ->
        let world = { world with IssuedAt = at } |> give (numberOf secret) Waits

        let waiting =
            world.Fates
            |> Map.toList
            |> List.filter (fun (_, fate) -> fate = Waits)
            |> List.map fst
            |> List.sortDescending

        List.fold (fun world n -> give n Lost world) world (waiting |> List.skip (min 4 waiting.Length))
    | RenewalConfirmed(secret, _, _) ->
        world
        |> refate (fun fate ->
            match fate with
            | Holds -> Leaves(at + policy.Grace)
            | Waits -> Killed
            | Leaves _
            | Replaced _
            | Killed
            | Lost -> fate)
        |> give (numberOf secret) Holds
        |> fun world -> { world with HeldSince = at }
    | GraceEnded _ ->
        world
        |> refate (fun fate ->
            match fate with
            | Leaves until -> Replaced(until, false)
            | Holds
            | Waits
            | Replaced _
            | Killed
            | Lost -> fate)
    | WasReplayed secret ->
        match Map.tryFind (numberOf secret) world.Fates with
        | Some(Replaced(until, _)) -> world |> give (numberOf secret) (Replaced(until, true))
        | _ -> world
    | WasDestroyed _
    | HasExpired _ -> { world with IsOver = true }
    | WasTold -> world
    // Its tokens are those of strangers from now on.
    | WasLeft -> { world with Fates = Map.empty }

// ------------------------------------------------------------------------------------------------------- moves

type Edge =
    | TheEnd
    | TheAbsoluteEnd
    | GraceOver
    | RenewalDue
    | ReissueDue

/// `Upto`: to exactly an edge, or some ticks before or after it. `Behind`: to a clock for which the grace, begun by a clock
/// ahead of it, lasts exactly twice as long as it may, or some ticks before or after.
type Wait =
    | Minutes of int
    | Back of int
    | Upto of Edge * ticks: int
    | Behind of ticks: int

type Which =
    | Current
    | Issued
    | Predecessor
    | Superseded
    | Dead
    /// Minted for a command that was refused: nobody ever got it.
    | NeverIssued
    | Guessed

/// When the request of a token arrived: now, minutes ago, or some ticks from when its token stopped working.
type Arrival =
    | Now
    | Ago of minutes: int
    | Stopped of ticks: int

/// The request that gives a command.
type By =
    /// Let in now, by the confirmed token.
    | Fresh
    /// Let in before: the nth of them, the last one first.
    | Earlier of nth: int
    /// Let in now by the predecessor, if there is one; else one that a superseded token let in when it was.
    | AsPredecessor
    /// From before the last elevation.
    | Stale

type Intent =
    | ToCreate of subject: string option
    | ToPresent of Which * nth: int * Arrival
    | ToWrite of basedOn: int option * By option
    | ToSignIn of subject: string * By
    | ToElevate of withData: bool * By
    | ToRenew of By
    | ToDestroy of DestroyReason * By option
    | ToExpire
    | ToTell
    | ToLeave

type History = { OnReplay: OnReplay; Moves: (Wait * Intent) list }

let edgeOf edge world =
    let isFate kind = world.Fates |> Map.exists (fun _ fate -> kind fate)

    match living world, edge with
    | None, _ -> None
    | Some _, TheEnd -> endOf world
    | Some _, TheAbsoluteEnd -> limits world |> List.tryFind (fun (kind, _) -> kind = Absolute) |> Option.map snd
    | Some _, GraceOver ->
        world.Fates
        |> Map.tryPick (fun _ fate ->
            match fate with
            | Leaves until -> Some until
            | _ -> None)
    | Some life, RenewalDue ->
        if life.Claimed && not (isFate ((=) Waits)) then Some(world.HeldSince + minutes 2) else None
    | Some _, ReissueDue -> if isFate ((=) Waits) then Some(world.IssuedAt + policy.Grace) else None

type Step =
    {
        Policy: Policy
        Before: State
        At: DateTimeOffset
        Command: Command
        Answer: Result<Event list, Refusal>
        After: State
        /// What the naive world knows before and after.
        Known: World
        Learnt: World
    }

let eventsOf step = step.Answer |> Result.defaultValue []

// ---------------------------------------------------------------------------------------------------- coverage

let stateName state =
    match state with
    | Absent -> "Absent"
    | Created _ -> "Created"
    | Active _ -> "Active"
    | Regenerated(_, Renewal.Issued _) -> "Regenerated (issued)"
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
    | Leave -> "Leave"

let kindName kind =
    match kind with
    | Unconfirmed -> "Unconfirmed"
    | Idle -> "Idle"
    | Absolute -> "Absolute"

let reasonName reason =
    match reason with
    | SignedOut -> "SignedOut"
    | Revoked -> "Revoked"
    | Replayed -> "Replayed"
    | Limit -> "Limit"

let policyName onReplay =
    match onReplay with
    | DestroySession -> "DestroySession"
    | RefuseToken -> "RefuseToken"

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
    | GraceEnded early -> if early then "GraceEnded, early" else "GraceEnded"
    | WasReplayed _ -> "WasReplayed"
    | WasDestroyed(reason, _) -> $"WasDestroyed {reasonName reason}"
    | HasExpired(kind, _) -> $"HasExpired {kindName kind}"
    | WasTold -> "WasTold"
    | WasLeft -> "WasLeft"

let refusalName refusal =
    match refusal with
    | NoSession -> "NoSession"
    | Exists -> "Exists"
    | Guess -> "Guess"
    | Outdated -> "Outdated"
    | Over(OnPurpose _, _) -> "Over, on purpose"
    | Over(ByTime _, _) -> "Over, by time"
    | Refusal.Conflict -> "Conflict"
    | NotDue -> "NotDue"

/// How often each cell was met, over all histories of this run.
let met = ConcurrentDictionary<string, int>()
let private count cell = met.AddOrUpdate(cell, 1, (fun _ n -> n + 1)) |> ignore

let private sides = [ -1L, "one tick before"; 0L, "at"; 1L, "one tick after" ]

let private edges =
    [ GraceOver, "the end of the grace"
      RenewalDue, "the renewal"
      ReissueDue, "the next issue" ]

/// Of the request that gives a command: what its token is to the session by now.
let private requestName world now (grant: Grant) =
    match living world, fateOf world now (numberOf grant.Secret) with
    | None, _ -> None
    | Some life, _ when life.Elevations <> grant.Elevations -> Some "from before an elevation"
    | Some _, Some Holds -> Some "the holder's"
    | Some _, Some(Leaves _) -> Some(if grant.ByPredecessor then "a predecessor's" else "let in before the renewal")
    | Some _, Some(Replaced _) -> Some "let in before the grace was over"
    | Some _, (Some(Waits | Killed | Lost) | None) -> None

let private grantOf command =
    match command with
    | Write(_, _, grant)
    | Destroy(_, grant) -> grant
    | SignIn(_, _, _, grant)
    | Elevate(_, _, grant)
    | Renew(_, grant) -> Some grant
    | Create _
    | Present _
    | Expire
    | Tell
    | Leave -> None

let private countStep step =
    count $"state    {stateName step.After}"
    count $"pair     {stateName step.Before} / {commandName step.Command}"

    match step.Answer with
    | Error refusal -> count $"refusal  {refusalName refusal}"
    | Ok events ->
        for event in events do
            count $"event    {eventName event}"

    match step.Command with
    | Present(hash, arrivedAt) when (living step.Known).IsSome ->
        let name =
            match fateOf step.Known step.At (numberOf hash) with
            | Some Holds -> "current"
            | Some Waits -> "issued"
            | Some(Leaves _) -> "predecessor"
            | Some(Replaced(_, true)) -> "superseded, reported"
            | Some(Replaced(until, false)) ->
                if arrival step.Known step.At arrivedAt < until then "superseded under way" else "superseded"
            | Some Killed -> "dead"
            | Some Lost -> "lost"
            | None -> "never issued"

        count $"present  {name} / {policyName step.Policy.OnReplay}"
    | _ -> ()

    match grantOf step.Command |> Option.bind (requestName step.Known step.At) with
    | Some name -> count $"request  {name} / {commandName step.Command}"
    | None -> ()

    let ends = endOf step.Known

    for kind, limit in limits step.Known do
        if Some limit = ends then
            for ticks, side in sides do
                if step.At = limit.AddTicks ticks then
                    count $"edge     {side} {kindName kind}"

    for edge, name in edges do
        match edgeOf edge step.Known with
        | Some instant ->
            for ticks, side in sides do
                if step.At = instant.AddTicks ticks then
                    count $"edge     {side} {name}"
        | None -> ()

    match edgeOf GraceOver step.Known with
    | Some until ->
        for ticks, side in sides do
            if step.At = (until - policy.Grace - policy.Grace).AddTicks ticks then
                count $"edge     {side} twice the grace"
    | None -> ()

    match living step.Known with
    | Some life when step.At < life.Seen -> count "edge     a clock that is behind"
    | _ -> ()

/// Every cell that can occur, and hence has to.
let cells =
    let states =
        [ "Absent"
          "Created"
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
          "Tell"
          "Leave" ]

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
          "GraceEnded, early"
          "WasReplayed"
          "WasTold"
          "WasLeft"
          for reason in [ SignedOut; Revoked; Replayed; Limit ] do
              $"WasDestroyed {reasonName reason}"
          for kind in [ Unconfirmed; Idle; Absolute ] do
              $"HasExpired {kindName kind}" ]

    [ for state in states do
          $"state    {state}"
      for state in states do
          for command in commands do
              $"pair     {state} / {command}"
      for event in events do
          $"event    {event}"
      for refusal in
          [ "NoSession"
            "Exists"
            "Guess"
            "Outdated"
            "Over, on purpose"
            "Over, by time"
            "Conflict"
            "NotDue" ] do
          $"refusal  {refusal}"
      for onReplay in [ DestroySession; RefuseToken ] do
          for name in
              [ "current"
                "issued"
                "predecessor"
                "superseded"
                "superseded under way"
                "dead"
                "lost"
                "never issued" ] do
              $"present  {name} / {policyName onReplay}"
      $"present  superseded, reported / {policyName RefuseToken}"
      for name in
          [ "the holder's"
            "let in before the renewal"
            "a predecessor's"
            "let in before the grace was over"
            "from before an elevation" ] do
          for command in [ "Write"; "SignIn"; "Elevate"; "Renew"; "Destroy" ] do
              $"request  {name} / {command}"
      for _, side in sides do
          $"edge     {side} twice the grace"

          for kind in [ Unconfirmed; Idle; Absolute ] do
              $"edge     {side} {kindName kind}"

          for _, edge in edges do
              $"edge     {side} {edge}"
      "edge     a clock that is behind" ]

// -------------------------------------------------------------------------------------------------------- fold

let private resolve world now which nth =
    let all wanted =
        [ for n in 1 .. world.Minted do
              if wanted (fateOf world now n) then
                  n ]

    let found =
        match which with
        | Current -> all ((=) (Some Holds))
        | Issued -> all ((=) (Some Waits))
        | Predecessor ->
            all (fun fate ->
                match fate with
                | Some(Leaves _) -> true
                | _ -> false)
        | Superseded ->
            all (fun fate ->
                match fate with
                | Some(Replaced _) -> true
                | _ -> false)
        | Dead -> all (fun fate -> fate = Some Killed || fate = Some Lost)
        | NeverIssued -> all ((=) None)
        | Guessed -> [ 0 ]

    match found, all ((=) (Some Holds)) with
    | [], [] -> 0
    | [], held -> List.head held
    | found, _ -> found[nth % found.Length]

/// The request that a step lets in, or whose token it changes, as the naive world knows it.
let letIn step : Grant option =
    let grant n arrivedAt : Grant option =
        living step.Learnt
        |> Option.map (fun life ->
            { Elevations = life.Elevations
              Secret = secret n
              ByPredecessor = (fateOf step.Learnt step.At n |> Option.exists _.IsLeaves)
              ArrivedAt = arrivedAt })

    match step.Command, step.Answer with
    | Create(hash, _, _), Ok _ -> grant (numberOf hash) step.At
    | Present(hash, arrivedAt), Ok _ when not (eventsOf step |> List.exists _.IsWasReplayed) ->
        grant (numberOf hash) arrivedAt
    | (SignIn(_, _, next, by) | Elevate(next, _, by)), Ok _ -> grant (numberOf next) by.ArrivedAt
    | _ -> None

/// Folds a history into its steps.
let stepsOf (history: History) : Step list =
    let policy = { policy with OnReplay = history.OnReplay }
    let mutable now, state, world = t0, Absent, nobody
    // What was let in so far, the last one first.
    let mutable requests: Grant list = []

    [ for wait, intent in history.Moves do
          now <-
              match wait with
              | Minutes n -> now + minutes n
              | Back n -> now - minutes n
              | Upto(edge, ticks) ->
                  match edgeOf edge world with
                  | Some instant -> max now (instant.AddTicks(int64 ticks))
                  | None -> now
              | Behind ticks ->
                  match edgeOf GraceOver world with
                  | Some until -> (until - policy.Grace - policy.Grace).AddTicks(int64 ticks)
                  | None -> now

          let life = living world
          let elevations = life |> Option.map _.Elevations |> Option.defaultValue 0

          let held = resolve world now Current 0

          let request by : Grant =
              let fresh =
                  { Elevations = elevations
                    Secret = secret held
                    ByPredecessor = false
                    ArrivedAt = now }

              let old which =
                  match resolve world now which 0 with
                  | n when n = held -> None
                  | n -> Some { fresh with Secret = secret n; ByPredecessor = true }

              match by with
              | Fresh -> fresh
              | Earlier nth -> if requests.IsEmpty then fresh else requests[nth % requests.Length]
              | AsPredecessor -> old Predecessor |> Option.orElse (old Superseded) |> Option.defaultValue fresh
              | Stale ->
                  { fresh with
                      Elevations = if elevations = 0 then 1 else elevations - 1 }

          let arrivedAt n arrival =
              match arrival, Map.tryFind n world.Fates with
              | Now, _ -> now
              | Ago n, _ -> now - minutes n
              | Stopped ticks, Some(Leaves until | Replaced(until, _)) -> until.AddTicks(int64 ticks)
              | Stopped _, _ -> now

          let known = { world with Minted = world.Minted + 1 }
          let next = secret known.Minted
          let data = [| byte known.Minted |]

          let command =
              match intent with
              | ToCreate subject -> Create(next, subject, data)
              | ToPresent(which, nth, arrival) ->
                  let n = resolve world now which nth
                  Present(secret n, arrivedAt n arrival)
              | ToWrite(basedOn, by) ->
                  let revision = life |> Option.map _.Revision |> Option.defaultValue 1L
                  Write(data, basedOn |> Option.map (fun behind -> revision - int64 behind), Option.map request by)
              | ToSignIn(subject, by) -> SignIn(subject, data, next, request by)
              | ToElevate(withData, by) -> Elevate(next, (if withData then Some data else None), request by)
              | ToRenew by -> Renew(next, request by)
              | ToDestroy(reason, by) -> Destroy(reason, Option.map request by)
              | ToExpire -> Expire
              | ToTell -> Tell
              | ToLeave -> Leave

          let answer = Lifecycle.decide policy now command state
          let events = Result.defaultValue [] answer

          let step =
              { Policy = policy
                Before = state
                At = now
                Command = command
                Answer = answer
                After = List.fold Lifecycle.evolve state events
                Known = known
                Learnt = List.fold (learn now) known events }

          countStep step
          state <- step.After
          world <- step.Learnt

          requests <- Option.toList (letIn step) @ requests
          step ]

// -------------------------------------------------------------------------------------------------------- text

let private clock (at: DateTimeOffset) =
    let ticks = (at - t0).Ticks
    let minute = int64 (Math.Round(float ticks / float TimeSpan.TicksPerMinute))
    let rest = ticks - minute * TimeSpan.TicksPerMinute

    match rest with
    | 0L -> $"{minute} min"
    | rest when abs rest < 1000L -> $"""{minute} min {(if rest > 0L then "+" else "")}{rest} ticks"""
    | _ -> string (at - t0)

/// A value as F# writes it, with secrets as numbers and times as minutes.
let text (value: 'a) =
    let shown = sprintf "%A" value

    let shown =
        Text.RegularExpressions.Regex.Replace(shown, @"\{\s*W0 = (-?\d+)L\s+W1 = \S+\s+W2 = \S+\s+W3 = \w+\s*\}", "#$1")

    let shown =
        Text.RegularExpressions.Regex.Replace(
            shown,
            @"\d+/\d+/\d{4} \d+:\d+:\d+( [AP]M)? \+00:00",
            fun found -> clock (DateTimeOffset.Parse(found.Value, Globalization.CultureInfo.InvariantCulture))
        )

    Text.RegularExpressions.Regex.Replace(shown, @"\s+", " ")

let describe step =
    $"at {clock step.At, -16} {text step.Command}\n      = {text step.Answer}\n     => {stateName step.After}"

let story (steps: Step list) = steps |> List.map describe |> String.concat "\n"

// ------------------------------------------------------------------------------------------------- generation

let private by =
    Gen.frequency
        [ 5, Gen.constant Fresh
          4, Gen.map Earlier (Gen.choose (0, 5))
          1, Gen.constant AsPredecessor
          1, Gen.constant Stale ]

let private arriving =
    Gen.frequency
        [ 12, Gen.constant Now
          2, Gen.map Ago (Gen.choose (1, 3))
          2, Gen.map Stopped (Gen.elements [ -1; 0; 1 ]) ]

let private who = Gen.elements [ "ada"; "bob" ]

let private intent =
    let which =
        Gen.frequency
            [ 6, Gen.constant Current
              4, Gen.constant Issued
              2, Gen.constant Predecessor
              2, Gen.constant Superseded
              1, Gen.constant Dead
              1, Gen.constant NeverIssued
              1, Gen.constant Guessed ]

    Gen.frequency
        [ 14, Gen.map3 (fun which nth arrival -> ToPresent(which, nth, arrival)) which (Gen.choose (0, 7)) arriving
          4,
          Gen.map2
              (fun basedOn by -> ToWrite(basedOn, by))
              (Gen.elements [ None; Some 0; Some 1 ])
              (Gen.frequency [ 8, Gen.map Some by; 1, Gen.constant None ])
          2, Gen.map2 (fun subject by -> ToSignIn(subject, by)) who by
          2, Gen.map2 (fun withData by -> ToElevate(withData, by)) (Gen.elements [ true; false ]) by
          8, Gen.map ToRenew by
          1,
          Gen.map2
              (fun reason by -> ToDestroy(reason, by))
              (Gen.elements [ SignedOut; Revoked; Limit ])
              (Gen.oneof [ Gen.constant None; Gen.map Some by ])
          1, Gen.constant ToExpire
          1, Gen.constant ToTell
          1, Gen.constant ToLeave
          1, Gen.map ToCreate (Gen.elements [ None; Some "ada" ]) ]

let private wait =
    let ticks = Gen.elements [ -1; 0; 1 ]
    let upto edge = Gen.map (fun ticks -> Upto(edge, ticks)) ticks

    Gen.frequency
        [ 20, Gen.constant (Minutes 0)
          6, Gen.constant (Minutes 1)
          2, Gen.map Minutes (Gen.choose (0, 4))
          1, Gen.map Back (Gen.choose (1, 2))
          1, Gen.map Behind ticks
          1, upto TheEnd
          1, upto TheAbsoluteEnd
          2, upto GraceOver
          2, upto RenewalDue
          2, upto ReissueDue ]

/// How a history begins: what happens often in life, and takes long to happen by chance.
let private routines subject =
    let now intent = Minutes 0, intent
    let present which = now (ToPresent(which, 0, Now))
    let begun = [ now (ToCreate subject); present Current ]
    let renewing = begun @ [ Upto(RenewalDue, 0), ToRenew Fresh ]
    let renewed = renewing @ [ present Issued ]
    let again = [ present Current; Upto(ReissueDue, 0), ToRenew Fresh ]

    [ []
      [ now (ToCreate subject) ]
      [ now (ToCreate subject) ]
      [ now (ToCreate subject) ]
      begun
      begun
      begun
      renewing
      renewed
      renewed @ [ Upto(GraceOver, 0), ToPresent(Current, 0, Now) ]
      renewed @ [ Upto(GraceOver, 0), ToPresent(Predecessor, 0, Now) ]
      // A thief, who tries again.
      renewed
      @ [ Upto(GraceOver, 0), ToPresent(Predecessor, 0, Now)
          now (ToPresent(Superseded, 0, Now)) ]
      // Slow: its request had arrived before its token stopped working, by a tick.
      renewed @ [ Upto(GraceOver, 0), ToPresent(Superseded, 0, Stopped -1) ]
      renewed @ [ now (ToElevate(false, Fresh)); present Dead ]
      // Let in before the renewal, and acting after it.
      renewed @ [ now (ToElevate(true, Earlier 1)) ]
      renewed @ [ now (ToSignIn("ada", Earlier 1)) ]
      renewed @ [ now (ToDestroy(SignedOut, Some(Earlier 1))) ]
      renewed @ [ Upto(GraceOver, 0), ToSignIn("ada", Earlier 1) ]
      renewed @ [ Upto(GraceOver, 0), ToDestroy(SignedOut, Some(Earlier 1)) ]
      // Let in by the predecessor.
      renewed @ [ present Predecessor; now (ToWrite(None, Some(Earlier 0))) ]
      renewed @ [ present Predecessor; now (ToSignIn("ada", Earlier 0)) ]
      renewed @ [ now (ToDestroy(SignedOut, Some AsPredecessor)) ]
      renewing @ again
      renewing @ again @ again @ again @ again
      renewing @ again @ again @ again @ again @ [ present Dead ]
      renewed @ [ now (ToRenew AsPredecessor); now (ToElevate(false, AsPredecessor)) ]
      begun @ [ now (ToDestroy(SignedOut, Some Fresh)); now ToLeave; present Current ]
      begun @ [ Upto(TheEnd, 0), ToDestroy(SignedOut, Some Fresh); now ToTell; now ToLeave ]
      // A grace that a clock ahead of this one began.
      for ticks in [ -1; 0; 1 ] do
          renewed @ [ Behind ticks, ToPresent(Predecessor, 0, Now) ]
      // The deadlines, a tick to each side: by chance alone a run may miss one.
      for ticks in [ -1; 0; 1 ] do
          now (ToCreate subject) :: [ Upto(TheEnd, ticks), ToPresent(Current, 0, Now) ]
          begun @ [ Upto(TheEnd, ticks), ToPresent(Current, 0, Now) ] ]

let private history =
    gen {
        let! onReplay = Gen.elements [ DestroySession; RefuseToken ]
        let! length = Gen.choose (1, 24)
        let! rest = Gen.listOfLength length (Gen.zip wait intent)
        let! subject = Gen.elements [ None; Some "ada" ]
        let! routine = Gen.elements (routines subject)

        return
            { OnReplay = onReplay
              Moves = routine @ List.truncate (25 - routine.Length) rest }
    }

/// Fewer moves first, from the end and from the middle; then shorter waits.
let private shrink history =
    seq {
        let moves = history.Moves
        let length = moves.Length

        for kept in [ length / 2; length - length / 4 - 1 ] do
            if kept > 0 && kept < length then
                { history with Moves = List.truncate kept moves }

        for i in length - 1 .. -1 .. 0 do
            { history with Moves = List.removeAt i moves }

        for i in 0 .. length - 1 do
            match moves[i] with
            | Minutes 0, _ -> ()
            | Minutes n, intent ->
                { history with
                    Moves = List.updateAt i (Minutes(n - 1), intent) moves }
            | (Back _ | Upto _ | Behind _), intent -> { history with Moves = List.updateAt i (Minutes 0, intent) moves }
    }

type Generators =
    static member Histories() = Arb.fromGenShrink (history, shrink)
