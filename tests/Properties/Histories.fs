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
    | Replaced of reported: bool
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

let fateOf world now n =
    match Map.tryFind n world.Fates with
    | Some(Leaves until) when until <= own world now -> Some(Replaced false)
    | fate -> fate

/// The whole of invariant 4, in the world's own words.
let mayOpen world now n =
    isAlive world now
    && match fateOf world now n with
       | Some(Holds | Waits | Leaves _) -> true
       | Some(Replaced _ | Killed | Lost)
       | None -> false

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
    | WasSeen _ -> world |> onLife (seen at)
    | WasWritten _ -> world |> onLife (fun life -> { seen at life with Revision = life.Revision + 1L })
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
    | GraceEnded ->
        world
        |> refate (fun fate ->
            match fate with
            | Leaves _ -> Replaced false
            | Holds
            | Waits
            | Replaced _
            | Killed
            | Lost -> fate)
    | WasReplayed secret -> world |> give (numberOf secret) (Replaced true)
    | WasDestroyed _
    | HasExpired _ -> { world with IsOver = true }
    | WasTold -> world

// ------------------------------------------------------------------------------------------------------- moves

type Edge =
    | TheEnd
    | TheAbsoluteEnd
    | GraceOver
    | RenewalDue
    | ReissueDue

/// `Upto`: to exactly an edge, or some ticks before or after it.
type Wait =
    | Minutes of int
    | Back of int
    | Upto of Edge * ticks: int

type Which =
    | Current
    | Issued
    | Predecessor
    | Superseded
    | Dead
    /// Minted for a command that was refused: nobody ever got it.
    | NeverIssued
    | Guessed

type Under =
    | Same
    | Stale

type Intent =
    | ToCreate of subject: string option
    | ToPresent of Which * nth: int
    | ToWrite of basedOn: int option * Under
    | ToSignIn of subject: string * Under
    | ToElevate of Under
    | ToRenew of Under
    | ToDestroy of DestroyReason * Under option
    | ToExpire
    | ToTell

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
    | GraceEnded -> "GraceEnded"
    | WasReplayed _ -> "WasReplayed"
    | WasDestroyed(reason, _) -> $"WasDestroyed {reasonName reason}"
    | HasExpired(kind, _) -> $"HasExpired {kindName kind}"
    | WasTold -> "WasTold"

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

let private countStep step =
    count $"state    {stateName step.After}"
    count $"pair     {stateName step.Before} / {commandName step.Command}"

    match step.Answer with
    | Error refusal -> count $"refusal  {refusalName refusal}"
    | Ok events ->
        for event in events do
            count $"event    {eventName event}"

    match step.Command with
    | Present hash when (living step.Known).IsSome ->
        let name =
            match fateOf step.Known step.At (numberOf hash) with
            | Some Holds -> "current"
            | Some Waits -> "issued"
            | Some(Leaves _) -> "predecessor"
            | Some(Replaced reported) -> if reported then "superseded, reported" else "superseded"
            | Some Killed -> "dead"
            | Some Lost -> "lost"
            | None -> "never issued"

        count $"present  {name} / {policyName step.Policy.OnReplay}"
    | _ -> ()

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
          "WasTold"
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
                "dead"
                "lost"
                "never issued" ] do
              $"present  {name} / {policyName onReplay}"
      $"present  superseded, reported / {policyName RefuseToken}"
      for _, side in sides do
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

/// Folds a history into its steps.
let stepsOf (history: History) : Step list =
    let policy = { policy with OnReplay = history.OnReplay }
    let mutable now, state, world = t0, Absent, nobody

    [ for wait, intent in history.Moves do
          now <-
              match wait with
              | Minutes n -> now + minutes n
              | Back n -> now - minutes n
              | Upto(edge, ticks) ->
                  match edgeOf edge world with
                  | Some instant -> max now (instant.AddTicks(int64 ticks))
                  | None -> now

          let life = living world
          let elevations = life |> Option.map _.Elevations |> Option.defaultValue 0

          let number under =
              match under with
              | Same -> elevations
              | Stale -> if elevations = 0 then 1 else elevations - 1

          let known = { world with Minted = world.Minted + 1 }
          let next = secret known.Minted
          let data = [| byte known.Minted |]

          let command =
              match intent with
              | ToCreate subject -> Create(next, subject, data)
              | ToPresent(which, nth) -> Present(secret (resolve world now which nth))
              | ToWrite(basedOn, under) ->
                  let revision = life |> Option.map _.Revision |> Option.defaultValue 1L
                  Write(data, basedOn |> Option.map (fun behind -> revision - int64 behind), number under)
              | ToSignIn(subject, under) -> SignIn(subject, data, next, number under)
              | ToElevate under -> Elevate(next, number under)
              | ToRenew under -> Renew(next, number under)
              | ToDestroy(reason, under) -> Destroy(reason, Option.map number under)
              | ToExpire -> Expire
              | ToTell -> Tell

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

let private under = Gen.frequency [ 4, Gen.constant Same; 1, Gen.constant Stale ]
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
        [ 14, Gen.map2 (fun which nth -> ToPresent(which, nth)) which (Gen.choose (0, 7))
          3, Gen.map2 (fun basedOn under -> ToWrite(basedOn, under)) (Gen.elements [ None; Some 0; Some 1 ]) under
          2, Gen.map2 (fun subject under -> ToSignIn(subject, under)) who under
          1, Gen.map ToElevate under
          8, Gen.map ToRenew under
          1,
          Gen.map2
              (fun reason under -> ToDestroy(reason, under))
              (Gen.elements [ SignedOut; Revoked; Limit ])
              (Gen.elements [ None; Some Same; Some Stale; Some Stale ])
          1, Gen.constant ToExpire
          1, Gen.constant ToTell
          1, Gen.map ToCreate (Gen.elements [ None; Some "ada" ]) ]

let private wait =
    let ticks = Gen.elements [ -1; 0; 1 ]
    let upto edge = Gen.map (fun ticks -> Upto(edge, ticks)) ticks

    Gen.frequency
        [ 20, Gen.constant (Minutes 0)
          6, Gen.constant (Minutes 1)
          2, Gen.map Minutes (Gen.choose (0, 4))
          1, Gen.map Back (Gen.choose (1, 2))
          1, upto TheEnd
          1, upto TheAbsoluteEnd
          2, upto GraceOver
          2, upto RenewalDue
          2, upto ReissueDue ]

/// How a history begins: what happens often in life, and takes long to happen by chance.
let private routines subject =
    let now intent = Minutes 0, intent
    let begun = [ now (ToCreate subject); now (ToPresent(Current, 0)) ]
    let renewing = begun @ [ Upto(RenewalDue, 0), ToRenew Same ]
    let renewed = renewing @ [ now (ToPresent(Issued, 0)) ]
    let again = [ now (ToPresent(Current, 0)); Upto(ReissueDue, 0), ToRenew Same ]

    [ []
      [ now (ToCreate subject) ]
      begun
      begun
      renewing
      renewed
      renewed @ [ Upto(GraceOver, 0), ToPresent(Current, 0) ]
      renewed @ [ Upto(GraceOver, 0), ToPresent(Predecessor, 0) ]
      renewed @ [ now (ToElevate Same); now (ToPresent(Dead, 0)) ]
      renewing @ again
      renewing @ again @ again @ again @ again
      // The deadlines, a tick to each side: by chance alone a run may miss one.
      for ticks in [ -1; 0; 1 ] do
          now (ToCreate subject) :: [ Upto(TheEnd, ticks), ToPresent(Current, 0) ]
          begun @ [ Upto(TheEnd, ticks), ToPresent(Current, 0) ] ]

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
            | (Back _ | Upto _), intent -> { history with Moves = List.updateAt i (Minutes 0, intent) moves }
    }

type Generators =
    static member Histories() = Arb.fromGenShrink (history, shrink)
