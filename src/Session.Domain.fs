/// The life of a session: every rule of it, and nothing else. Pure functions; time and randomness are arguments.
/// Words
///   elevation   a change of privilege (sign-in, role change): a new secret, the old token is dead at once
///   renewal     a routine new secret in two phases: issued, then confirmed; for its grace the old one still leads here
/// States
///   | state       | meaning                                | ends by itself at                                       |
///   | Created     | issued, and presented by no client yet | creation + confirm (without a subject)                  |
///   | Active      | a client presented the token           | last seen + idle, or sign-in (else creation) + absolute |
///   | Regenerated | a renewal: two tokens are known        | as Active; its grace ends before that                   |
///   | Destroyed   | ended on purpose: a tombstone          | never: it absorbs                                       |
///   | Expired     | ended by time: a tombstone             | never: it absorbs                                       |
/// Activity is the arrival of a request with the holder's token, and an elevation. What a request does later counts as of then.
/// Invariants (each one is a property of this name, and explained in docs/LIFECYCLE.md)
///    1 the end absorbs             2 no deadline past absolute    3 time and version only grow   4 one token opens
///    5 no fixation                 6 no resurrection              7 a refusal changes nothing    8 the unattended end
///    9 no lost update             10 renewal keeps the session   11 nothing from strangers      12 subject by sign-in
///   13 grace is the last          14 destroy is total            15 destroy all is all          16 one decoder
///   17 no crossed answer          18 outcomes are true
namespace Session.Domain

open System

/// The times of a session's life. All are positive, and idle is not longer than absolute.
type Policy =
    { Idle: TimeSpan // silence that ends a session (ASVS 7.3.1)
      Absolute: TimeSpan // age since sign-in, else since creation, that ends it whatever it does (ASVS 7.3.2)
      Confirm: TimeSpan // how soon a client has to come back with the token of a session without a subject
      RotateEvery: TimeSpan option // age of a secret at which a renewal is due; None: never
      Grace: TimeSpan // how long the old token works after a confirmed renewal, and an issued one waits for it
      Retention: TimeSpan // how long a tombstone is kept
      OnReplay: OnReplay }

/// A secret that no longer works. By a confirmed renewal: presenting it is a replay, reported once. Otherwise (an
/// elevation, a lost twin): only outdated. `Until`: a request that had arrived before is no replay.
type Superseded = { Secret: SecretHash; ByRenewal: bool; Reported: bool; Until: DateTimeOffset }

/// What every session that is not over consists of.
type Live =
    { CreatedAt: DateTimeOffset
      AuthenticatedAt: DateTimeOffset option // the last sign-in: it alone moves the absolute deadline
      LastSeen: DateTimeOffset
      Subject: string option
      Data: byte[] // opaque here
      Revision: int64 // grows by one with each accepted change of the data: what a save is based on
      Elevations: int // how many: a request acts under the number that it was opened under, and no other
      Secret: SecretHash // the one confirmed
      SecretSince: DateTimeOffset
      Superseded: Superseded list } // the last few by renewal, then the last few others, newest first

type Renewal =
    | Issued of secrets: SecretHash list * at: DateTimeOffset // newest first, and since when
    | Confirmed of predecessor: SecretHash * until: DateTimeOffset // the predecessor still leads here, until then

type State =
    | Absent // no state of a session: there is none under this id
    | Created of Live
    | Active of Live
    | Regenerated of Live * Renewal
    | Destroyed of Live * DestroyReason * at: DateTimeOffset
    | Expired of Live * ExpiryKind * at: DateTimeOffset * told: bool // whether the expiry hook has heard of it

    override it.ToString() =
        match it with
        | Absent -> "Absent"
        | Created _ -> "Created"
        | Active _ -> "Active"
        | Regenerated _ -> "Regenerated"
        | Destroyed(_, reason, _) -> String.Concat("Destroyed (", reason, ")")
        | Expired(_, kind, _, _) -> String.Concat("Expired (", kind, ")")

/// What let a request in. A predecessor's reads and writes data, may end the session, moves no deadline, gets no token.
type Grant = { Elevations: int; Secret: SecretHash; ByPredecessor: bool; ArrivedAt: DateTimeOffset }

/// `basedOn`: the revision that was read; None if the data was computed from what is stored. No grant: an operator's.
type Command =
    | Create of secret: SecretHash * subject: string option * data: byte[] // the first write of a client
    | Present of secret: SecretHash * arrivedAt: DateTimeOffset // a request's token, judged as of the request's arrival
    | Write of data: byte[] * basedOn: int64 option * Grant option // new data
    | SignIn of subject: string * data: byte[] * next: SecretHash * Grant // an elevation; it alone changes the subject
    | Elevate of next: SecretHash * data: byte[] option * Grant // a second factor, a role; and the data that says so
    | Renew of next: SecretHash * Grant // a routine new secret, if one is due
    | Destroy of DestroyReason * Grant option // an end on purpose; by time, if it is overdue
    | Expire // a sweeper: look at the clock
    | Tell // a sweeper: the expiry hook has heard of the end
    | Leave // the client goes on to a new session: no late answer about this tombstone may take its token

type Event =
    | WasCreated of secret: SecretHash * subject: string option * data: byte[] * at: DateTimeOffset
    | WasConfirmed
    | WasSeen of at: DateTimeOffset
    | WasWritten of data: byte[]
    | WasSignedIn of subject: string * data: byte[] * secret: SecretHash * at: DateTimeOffset
    | WasElevated of secret: SecretHash * at: DateTimeOffset
    | RenewalIssued of secret: SecretHash * at: DateTimeOffset
    | RenewalConfirmed of secret: SecretHash * at: DateTimeOffset * until: DateTimeOffset
    | GraceEnded of early: bool // before its time: the clock that began the grace is too far ahead
    | WasReplayed of secret: SecretHash // that token is refused, even if the session lives on
    | WasDestroyed of DestroyReason * at: DateTimeOffset
    | HasExpired of ExpiryKind * at: DateTimeOffset
    | WasTold
    | WasLeft

type Standing =
    | Current // the confirmed one
    | Offered // issued in a renewal, not confirmed yet
    | Predecessor // superseded, within its grace
    | Stolen of Superseded // superseded by a renewal whose grace is over
    | Dead // superseded otherwise
    | Unknown // never one of its secrets, or too long ago to tell

[<RequireQualifiedAccess>]
module Lifecycle =
    open NonStructuralComparison // the general operators allocate for each comparison
    let initial = Absent
    let remembered, waiting = 8, 4 // superseded secrets that a record knows, of either kind; issued ones that wait

    /// The living part of a session that is not over.
    let living state =
        match state with
        | (Created live | Active live | Regenerated(live, _)) -> ValueSome live
        | (Absent | Destroyed _ | Expired _) -> ValueNone

    let liveOf state = living state |> ValueOption.toOption
    let isLive state = (living state).IsSome

    let private firstLimit policy mayBeUnconfirmed (live: Live) =
        let idle, confirm = live.LastSeen + policy.Idle, live.CreatedAt + policy.Confirm
        let absolute = defaultArg live.AuthenticatedAt live.CreatedAt + policy.Absolute
        let struct (kind, at) = if absolute <= idle then struct (Absolute, absolute) else struct (Idle, idle)
        ValueSome(if mayBeUnconfirmed && confirm < at then struct (Unconfirmed, confirm) else struct (kind, at))

    /// The first instant at which a live session is over, and by which limit.
    let deadline policy state =
        match state with
        | Created live -> live |> firstLimit policy live.Subject.IsNone
        | (Active live | Regenerated(live, _)) -> live |> firstLimit policy false
        | (Absent | Destroyed _ | Expired _) -> ValueNone

    /// The end that time has brought to a live session. A deadline is exclusive: at exactly the deadline it is over.
    let overdue policy (now: DateTimeOffset) state =
        deadline policy state |> ValueOption.filter (fun struct (_, at) -> at <= now)

    /// When time next has something to say about a record: its deadline, or the end of its tombstone.
    let due policy state =
        match state, deadline policy state with
        | (Destroyed(_, _, at) | Expired(_, _, at, true)), _ -> at + policy.Retention
        | Expired(_, _, at, false), _
        | (Created _ | Active _ | Regenerated _), ValueSome(struct (_, at)) -> at
        | (Absent | Created _ | Active _ | Regenerated _), _ -> DateTimeOffset.MaxValue

    /// A session's own clock never runs backwards: where a node's clock is behind, the time of the last request counts.
    let private ownTime now state =
        living state |> ValueOption.map (fun live -> max live.LastSeen now) |> ValueOption.defaultValue now

    let private recall (secret: SecretHash) (live: Live) =
        match live.Superseded |> List.tryFind (fun old -> old.Secret.Equals secret) with
        | Some old -> if old.ByRenewal then Stolen old else Dead
        | None -> Unknown

    /// What this secret is to this session. The grace has to be settled first (see `decide`).
    let standing (secret: SecretHash) state =
        match state with
        | Absent -> Unknown
        | Regenerated(_, Issued(secrets, _)) when List.exists secret.Equals secrets -> Offered
        | Regenerated(_, Confirmed(predecessor, _)) when predecessor.Equals secret -> Predecessor
        | (Created live | Active live | Regenerated(live, _) | Destroyed(live, _, _) | Expired(live, _, _, _)) ->
            if live.Secret.Equals secret then Current else recall secret live

    /// What a secret that was just let in allows its request from now on.
    let grant secret arrivedAt state : Grant =
        let elevations = living state |> ValueOption.map _.Elevations |> ValueOption.defaultValue -1
        let byPredecessor = (standing secret state).Equals Predecessor
        { Elevations = elevations; Secret = secret; ByPredecessor = byPredecessor; ArrivedAt = arrivedAt }

    /// Those by renewal are remembered apart: no number of others washes out the sign of theft.
    let private supersede byRenewal until secrets (live: Live) =
        let old secret : Superseded = { Secret = secret; ByRenewal = byRenewal; Reported = false; Until = until }
        let renewed, others = List.map old secrets @ live.Superseded |> List.partition _.ByRenewal
        { live with Superseded = List.truncate remembered renewed @ List.truncate remembered others }

    /// The secrets that work in a renewal besides the confirmed one.
    let private others state =
        match state with
        | Regenerated(_, Issued(secrets, _)) -> secrets
        | Regenerated(_, Confirmed(predecessor, _)) -> [ predecessor ]
        | (Absent | Created _ | Active _ | Destroyed _ | Expired _) -> []

    let private onLive change state =
        match state with
        | Created live -> Created(change live)
        | Active live -> Active(change live)
        | Regenerated(live, renewal) -> Regenerated(change live, renewal)
        | (Absent | Destroyed _ | Expired _) -> state

    let private seen at live = { live with LastSeen = max live.LastSeen at }
    let private written data live = { live with Data = data; Revision = live.Revision + 1L }
    let private forgotten live = { live with Secret = Unchecked.defaultof<SecretHash>; Superseded = [] }

    /// A new secret in place of every one that works: no fixation. Nor does an older one end the session.
    let private elevated secret at state =
        let others = others state

        let change (live: Live) =
            let outdated = live.Superseded |> List.map (fun old -> { old with ByRenewal = false })
            let old = supersede false at (live.Secret :: others) { live with Superseded = outdated }
            seen at { old with Secret = secret; SecretSince = at; Elevations = live.Elevations + 1 }

        match state with
        | Regenerated(live, _) -> Active(change live)
        | (Absent | Created _ | Active _ | Destroyed _ | Expired _) -> state |> onLive change

    let evolve state event =
        match event, state with
        | WasCreated(secret, subject, data, at), Absent ->
            Created
                { CreatedAt = at
                  AuthenticatedAt = subject |> Option.map (fun _ -> at)
                  LastSeen = at
                  Subject = subject
                  Data = data
                  Revision = 1L
                  Elevations = 0
                  Secret = secret
                  SecretSince = at
                  Superseded = [] }
        | WasConfirmed, Created live -> Active live
        | WasSeen at, _ -> state |> onLive (seen at)
        | WasWritten data, _ -> state |> onLive (written data)
        | WasSignedIn(subject, data, secret, at), _ ->
            let signedIn live = { written data live with Subject = Some subject; AuthenticatedAt = Some at }
            state |> elevated secret at |> onLive signedIn
        | WasElevated(secret, at), _ -> state |> elevated secret at
        | RenewalIssued(secret, at), Active live -> Regenerated(live, Issued([ secret ], at))
        | RenewalIssued(secret, at), Regenerated(live, Issued(secrets, _)) ->
            Regenerated(live, Issued(secret :: List.truncate (waiting - 1) secrets, at))
        | RenewalConfirmed(secret, at, until), Regenerated(live, Issued(secrets, _)) ->
            let twins = secrets |> List.filter (fun twin -> not (twin.Equals secret)) // issued beside it: no sign of theft
            let renewed = { supersede false at twins live with Secret = secret; SecretSince = at }
            Regenerated(renewed, Confirmed(live.Secret, until))
        | GraceEnded _, Regenerated(live, Confirmed(old, until)) -> Active(supersede true until [ old ] live)
        | WasReplayed secret, _ ->
            let report (old: Superseded) = if old.Secret.Equals secret then { old with Reported = true } else old
            state |> onLive (fun live -> { live with Superseded = List.map report live.Superseded })
        | WasDestroyed(reason, at), (Created live | Active live | Regenerated(live, _)) ->
            Destroyed({ supersede false at (others state) live with Data = [||] }, reason, at)
        | HasExpired(kind, at), (Created live | Active live | Regenerated(live, _)) ->
            Expired(supersede false at (others state) live, kind, at, false)
        | WasTold, Expired(live, kind, at, false) -> Expired({ live with Data = [||] }, kind, at, true)
        | WasLeft, Destroyed(live, reason, at) -> Destroyed(forgotten live, reason, at)
        | WasLeft, Expired(live, kind, at, told) -> Expired(forgotten live, kind, at, told)
        // Pairs that `decide` never brings together leave the state alone.
        | (WasCreated _ | WasConfirmed | RenewalIssued _ | RenewalConfirmed _ | GraceEnded _ | HasExpired _ | WasTold),
          (Absent | Created _ | Active _ | Regenerated _ | Destroyed _ | Expired _)
        | (WasDestroyed _ | WasLeft), (Absent | Created _ | Active _ | Regenerated _ | Destroyed _ | Expired _) -> state

    /// What becomes of a state by these events; and what they have made of nothing.
    let fold (state: State) (events: Event seq) : State = Seq.fold evolve state events
    let replay (events: Event seq) : State = fold initial events

    let private present policy now over arrived secret state =
        match standing secret state, over, state with
        | Unknown, _, _ -> Error Guess
        | Dead, _, _ -> Error Outdated
        | (Current | Offered | Predecessor | Stolen _), ValueSome(struct (kind, _)), _ -> Ok [ HasExpired(kind, now) ]
        | Current, _, Created _ -> Ok [ WasConfirmed; WasSeen arrived ]
        | Current, _, _ -> Ok [ WasSeen arrived ]
        // A newer one may be on its way, and this be from before it came: it lets in, and the other is not dead because of it.
        | Offered, _, Regenerated(_, Issued(newest :: _, at)) when
            not (newest.Equals secret) && arrived < at + policy.Grace + policy.Grace
            ->
            Ok [ WasSeen arrived ]
        | Offered, _, _ -> Ok [ RenewalConfirmed(secret, now, now + policy.Grace); WasSeen arrived ]
        | Predecessor, _, _ -> Ok [] // it may read and write; it moves no deadline, and gets no token
        | Stolen old, _, _ when old.Reported || arrived < old.Until -> Error Outdated // slow is not suspect
        | Stolen _, _, _ when policy.OnReplay.Equals RefuseToken -> Ok [ WasReplayed secret ]
        | Stolen _, _, _ -> Ok [ WasReplayed secret; WasDestroyed(Replayed, now) ]

    /// A request speaks for the holder while its secret is confirmed or offered, or became the predecessor after it was let in.
    let private speaksForHolder state (grant: Grant) =
        let its = standing grant.Secret state
        its.Equals Current || its.Equals Offered || (its.Equals Predecessor && not grant.ByPredecessor)

    /// For whoever was let in before. A new token is for the holder: a predecessor's client presents its new one first.
    let private asOpened over asHolder (grant: Grant option) (live: Live) state events =
        match over, grant with
        | ValueSome(struct (kind, at)), _ -> Error(Over(ByTime kind, at))
        | ValueNone, Some grant when live.Elevations <> grant.Elevations -> Error Outdated
        | ValueNone, Some grant when asHolder && not (speaksForHolder state grant) -> Error Outdated
        | ValueNone, _ -> Ok events

    /// Whether the presenter of the confirmed secret is to be issued the next one.
    let isRenewalDue policy (now: DateTimeOffset) state =
        match state, policy.RotateEvery with
        | Active live, Some every -> now >= live.SecretSince + every
        | Regenerated(_, Issued(_, at)), Some _ -> now >= at + policy.Grace
        | (Absent | Created _ | Active _ | Regenerated _ | Destroyed _ | Expired _), _ -> false

    let private decideLiving policy now (live: Live) state command =
        let over = overdue policy now state
        let asHolder grant events = asOpened over true (Some grant) live state events

        match command, over with
        | Create _, _ -> Error Exists
        | Present(secret, arrivedAt), _ -> present policy now over (min arrivedAt now) secret state
        | Write(data, basedOn, grant), _ ->
            let seen = grant |> Option.filter (speaksForHolder state) |> Option.map (fun by -> WasSeen by.ArrivedAt)

            match asOpened over false grant live state (WasWritten data :: Option.toList seen), basedOn with
            | Ok _, Some revision when revision <> live.Revision -> Error Conflict
            | answer, _ -> answer
        | SignIn(subject, data, next, grant), _ -> asHolder grant [ WasSignedIn(subject, data, next, now) ]
        | Elevate(next, data, grant), _ ->
            asHolder grant (WasElevated(next, now) :: (data |> Option.map WasWritten |> Option.toList))
        // A token of this renewal is issued once, and no other one to whoever has it.
        | Renew(next, by), _ when List.exists (fun it -> (standing it state).Equals Offered) [ next; by.Secret ] ->
            Error NotDue
        | Renew(next, grant), _ when isRenewalDue policy now state -> asHolder grant [ RenewalIssued(next, now) ]
        | Destroy(_, Some grant), _ when live.Elevations <> grant.Elevations -> Error Outdated // an old request
        | (Destroy _ | Expire), ValueSome(struct (kind, _)) -> Ok [ HasExpired(kind, now) ]
        | Destroy(reason, _), ValueNone -> Ok [ WasDestroyed(reason, now) ]
        | (Renew _ | Expire | Tell | Leave), _ -> Error NotDue

    /// A tombstone tells why it is one to whoever had a token of the session, and to nobody else.
    let private decideOver (live: Live) ending at state command =
        match command, state with
        | Create _, _ -> Error Exists
        | Present(secret, _), _ when (standing secret state).Equals Unknown -> Error Guess
        | Tell, Expired(_, _, _, told) -> Ok(if told then [] else [ WasTold ])
        | Leave, _ -> Ok(if (forgotten live).Secret.Equals live.Secret then [] else [ WasLeft ])
        | Destroy _, _ -> Ok []
        | (Present _ | Write _ | SignIn _ | Elevate _ | Renew _ | Expire | Tell), _ -> Error(Over(ending, at))

    let private decideSettled policy now command state =
        match state, command with
        | Absent, Create(secret, subject, data) -> Ok [ WasCreated(secret, subject, data, now) ]
        | Absent, (Present _ | Write _ | SignIn _ | Elevate _ | Renew _ | Destroy _ | Expire | Tell | Leave) ->
            Error NoSession
        | (Created live | Active live | Regenerated(live, _)), _ -> decideLiving policy now live state command
        | Destroyed(live, reason, at), _ -> decideOver live (OnPurpose reason) at state command
        | Expired(live, kind, at, _), _ -> decideOver live (ByTime kind) at state command

    /// What time alone has ended. A grace that a clock too far ahead began would last as long as the clocks differ.
    let private elapsed policy (now: DateTimeOffset) state =
        match state with
        | Regenerated(_, Confirmed(_, until)) when until <= ownTime now state -> [ GraceEnded false ]
        | Regenerated(_, Confirmed(_, until)) when now + policy.Grace + policy.Grace < until -> [ GraceEnded true ]
        | (Absent | Created _ | Active _ | Regenerated _ | Destroyed _ | Expired _) -> []

    /// The state as it is at this moment, once a grace that is over has ended.
    let settle policy now state = elapsed policy now state |> List.fold evolve state

    /// The answer to a command: what happens because of it, or why nothing does.
    let decide policy now command state : Result<Event list, Refusal> =
        let passed = elapsed policy now state
        let answer = decideSettled policy (ownTime now state) command (List.fold evolve state passed)
        if passed.IsEmpty then answer else answer |> Result.map (fun events -> passed @ events)

    /// Whether `Present` let the presenter in: it led to a live session, and was no replay.
    let rec letsIn events after =
        match events with
        | WasReplayed _ :: _ -> false
        | _ :: rest -> letsIn rest after
        | [] -> isLive after

    /// Whether this secret opens this session for a request that arrives now: what the invariants speak of.
    let opens policy now secret state =
        decide policy now (Present(secret, now)) state
        |> Result.exists (fun events -> letsIn events (List.fold evolve state events))
