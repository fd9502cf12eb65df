/// The life of a session: every rule of it, and nothing else. Pure functions; time and randomness are arguments.
///
/// Words
///   token       what the client holds: `id.secret`. Only the secret's hash ever comes here
///   elevation   a change of privilege (sign-in, role change): a new secret, the old token is dead at once
///   renewal     a routine new secret in two phases: issued, and confirmed when a client presents it
///   grace       how long the old token still leads here once a renewal is confirmed
///   replay      a token presented after its grace: the sign of theft
///   guess       a secret that this session never had: it opens nothing and changes nothing
///
/// States
///   | state       | meaning                                             | ends by itself at                            |
///   | Created     | a token was issued, no client has presented it yet  | creation + confirm (without a subject)       |
///   | Active      | a client presented the token                        | last seen + idle, or sign-in (else creation) |
///   |             |                                                     | + absolute, whichever comes first            |
///   | Regenerated | a renewal is under way and two tokens are known     | as Active; its grace ends before that        |
///   | Destroyed   | ended on purpose: a tombstone                       | never: it absorbs                            |
///   | Expired     | ended by time: a tombstone                          | never: it absorbs                            |
///   Absent is no state of a session: there is none under this id.
///
/// Invariants (each one is a property of this name, and explained in docs/LIFECYCLE.md)
///    1 the end absorbs             2 no deadline past absolute    3 time and version only grow   4 one token opens
///    5 no fixation                 6 no resurrection              7 a refusal changes nothing    8 the unattended end
///    9 no lost update             10 renewal keeps the session   11 nothing from strangers      12 subject by sign-in
///   13 grace is the last          14 destroy is total            15 destroy all is all          16 one decoder
namespace Session.Domain

open System

// ---------------------------------------------------------------------------------------------------------- words

/// The hash of a secret: all that a record knows of it. 256 bits as four words, compared without a branch, so that
/// a near miss takes as long as a far one (the time of an answer tells nothing).
[<Struct; CustomEquality; NoComparison>]
type SecretHash =
    { W0: int64
      W1: int64
      W2: int64
      W3: int64 }

    member a.Equals(b: SecretHash) = ((a.W0 ^^^ b.W0) ||| (a.W1 ^^^ b.W1) ||| (a.W2 ^^^ b.W2) ||| (a.W3 ^^^ b.W3)) = 0L

    override a.Equals(other: obj) =
        match other with
        | :? SecretHash as b -> a.Equals b
        | _ -> false

    override a.GetHashCode() = int a.W0

    interface IEquatable<SecretHash> with
        member a.Equals b = a.Equals b

/// What to do with a session one of whose old tokens is presented after its grace.
type OnReplay =
    /// Thief or victim, one of the two holds the session: end it for both.
    | DestroySession
    /// Refuse the old token, report it, let the session live.
    | RefuseToken

/// The times of a session's life. All are positive, and idle is not longer than absolute.
type Policy =
    {
        /// Silence that ends a session (ASVS 7.3.1).
        Idle: TimeSpan
        /// Age since sign-in, else since creation, that ends it whatever it does (ASVS 7.3.2).
        Absolute: TimeSpan
        /// How soon a client has to come back with the token of a session without a subject.
        Confirm: TimeSpan
        /// Age of a secret at which a renewal is due; None: never.
        RotateEvery: TimeSpan option
        /// How long the old token works after a confirmed renewal, and how long an issued one may stay unconfirmed
        /// before another is issued in its place.
        Grace: TimeSpan
        /// How long a tombstone is kept.
        Retention: TimeSpan
        OnReplay: OnReplay
    }

type ExpiryKind =
    | Unconfirmed
    | Idle
    | Absolute

type DestroyReason =
    | SignedOut
    | Revoked
    | Replayed
    | Limit

/// Why a session is over.
type Ending =
    | OnPurpose of DestroyReason
    | ByTime of ExpiryKind

/// A secret that no longer works, and what took its place.
type Superseded =
    {
        Secret: SecretHash
        /// By a confirmed renewal: presenting it is a replay. Otherwise (an elevation, a lost twin) it is only outdated.
        ByRenewal: bool
        /// A replay is reported once.
        Reported: bool
    }

/// What every session that is not over consists of.
type Live =
    {
        CreatedAt: DateTimeOffset
        /// The last sign-in. Nothing else moves it, and it alone moves the absolute deadline.
        AuthenticatedAt: DateTimeOffset option
        LastSeen: DateTimeOffset
        Subject: string option
        /// Opaque here.
        Data: byte[]
        /// Grows by one with each accepted change of the data: what a save says that it is based on.
        Revision: int64
        /// How many elevations there were. A request acts under the number it was opened under, and no other.
        Elevations: int
        /// The one confirmed secret.
        Secret: SecretHash
        SecretSince: DateTimeOffset
        /// The last few, newest first: to tell a replay from a guess.
        Superseded: Superseded list
    }

type Renewal =
    /// Newest first. The confirmed secret works; the first of these to be presented takes its place.
    | Issued of secrets: SecretHash list * at: DateTimeOffset
    /// The predecessor still leads here, until then.
    | Confirmed of predecessor: SecretHash * until: DateTimeOffset

type State =
    | Absent
    | Created of Live
    | Active of Live
    | Regenerated of Live * Renewal
    | Destroyed of Live * DestroyReason * at: DateTimeOffset
    /// `told`: the expiry hook has heard of it.
    | Expired of Live * ExpiryKind * at: DateTimeOffset * told: bool

// `under`: the number of elevations under which the request that gives the command was opened.
type Command =
    /// The first write of a client that has no session.
    | Create of secret: SecretHash * subject: string option * data: byte[]
    /// A request arrived with this secret.
    | Present of secret: SecretHash
    /// New data. `basedOn`: the revision that the writer has read; None when the data was computed from what is stored now.
    | Write of data: byte[] * basedOn: int64 option * under: int
    /// An elevation with a subject, which nothing else changes.
    | SignIn of subject: string * data: byte[] * next: SecretHash * under: int
    /// A change of privilege without a sign-in.
    | Elevate of next: SecretHash * under: int
    /// A routine new secret, if one is due.
    | Renew of next: SecretHash * under: int
    /// An end on purpose. `under`: None when no request but an operator, a limit or another device ends it.
    | Destroy of DestroyReason * under: int option
    /// What a sweeper says: look at the clock.
    | Expire
    /// What a sweeper says once the expiry hook has heard of the end.
    | Tell

type Event =
    | WasCreated of secret: SecretHash * subject: string option * data: byte[] * at: DateTimeOffset
    | WasConfirmed
    | WasSeen of at: DateTimeOffset
    | WasWritten of data: byte[] * at: DateTimeOffset
    | WasSignedIn of subject: string * data: byte[] * secret: SecretHash * at: DateTimeOffset
    | WasElevated of secret: SecretHash * at: DateTimeOffset
    | RenewalIssued of secret: SecretHash * at: DateTimeOffset
    | RenewalConfirmed of secret: SecretHash * at: DateTimeOffset * until: DateTimeOffset
    | GraceEnded
    /// The presented token was refused: it does not open the session, even if the session lives on.
    | WasReplayed of secret: SecretHash
    | WasDestroyed of DestroyReason * at: DateTimeOffset
    | HasExpired of ExpiryKind * at: DateTimeOffset
    | WasTold

type Refusal =
    /// There is no session under this id.
    | NoSession
    /// There is one already: ids are never reused.
    | Exists
    /// Not a secret of this session.
    | Guess
    /// Superseded: by an elevation, or by a renewal whose replay was reported before.
    | Outdated
    /// The session has ended: how, and when.
    | Over of Ending * at: DateTimeOffset
    /// Another write came first.
    | Conflict
    /// It is not time for that.
    | NotDue

/// What a secret is to a living session.
type Standing =
    /// The one confirmed secret.
    | Current
    /// Issued in the renewal under way, not seen yet.
    | Offered
    /// Superseded, within its grace.
    | Predecessor
    /// Superseded by a confirmed renewal whose grace is over.
    | Stolen of reported: bool
    /// Superseded by an elevation.
    | Dead
    /// Never a secret of this session, or too long ago to tell.
    | Unknown

// ------------------------------------------------------------------------------------------------------ lifecycle

[<RequireQualifiedAccess>]
module Lifecycle =

    // Instants and numbers are compared as such: the general operators allocate for each comparison.
    open NonStructuralComparison

    let initial = Absent

    /// How many superseded secrets a record remembers, and how many issued ones can wait for their confirmation.
    let remembered, waiting = 8, 4

    let liveOf state =
        match state with
        | Created live
        | Active live
        | Regenerated(live, _) -> Some live
        | Absent
        | Destroyed _
        | Expired _ -> None

    // -- time

    let private deadlineOf policy isUnconfirmed live =
        let idle = live.LastSeen + policy.Idle
        let absolute = defaultArg live.AuthenticatedAt live.CreatedAt + policy.Absolute
        let struct (kind, at) = if absolute <= idle then struct (Absolute, absolute) else struct (Idle, idle)
        let confirm = live.CreatedAt + policy.Confirm

        if isUnconfirmed && live.Subject.IsNone && confirm < at then
            struct (Unconfirmed, confirm)
        else
            struct (kind, at)

    /// The first instant at which a live session is over, and by which limit.
    let deadline policy state =
        match state with
        | Created live -> ValueSome(deadlineOf policy true live)
        | Active live
        | Regenerated(live, _) -> ValueSome(deadlineOf policy false live)
        | Absent
        | Destroyed _
        | Expired _ -> ValueNone

    /// The end that time has brought to a live session. A deadline is exclusive: at exactly the deadline it is over.
    let overdue policy (now: DateTimeOffset) state =
        match deadline policy state with
        | ValueSome(struct (_, at)) as over when at <= now -> over
        | _ -> ValueNone

    /// When time next has something to say about a record: its deadline, or the end of its tombstone.
    let due policy state =
        match state with
        | Destroyed(_, _, at)
        | Expired(_, _, at, true) -> at + policy.Retention
        | Expired(_, _, at, false) -> at
        | Absent
        | Created _
        | Active _
        | Regenerated _ ->
            match deadline policy state with
            | ValueSome(struct (_, at)) -> at
            | ValueNone -> DateTimeOffset.MaxValue

    /// A session's own clock never runs backwards: a request whose node is behind is judged at the time of the last one.
    let private ownTime (now: DateTimeOffset) state =
        match state with
        | Created live
        | Active live
        | Regenerated(live, _) -> if live.LastSeen > now then live.LastSeen else now
        | Absent
        | Destroyed _
        | Expired _ -> now

    // -- secrets

    let private recall (secret: SecretHash) (live: Live) =
        match List.tryFind (fun (old: Superseded) -> old.Secret.Equals secret) live.Superseded with
        | Some old when old.ByRenewal -> Stolen old.Reported
        | Some _ -> Dead
        | None -> Unknown

    /// What this secret is to this session. The grace has to be settled first (see `decide`).
    let standing (secret: SecretHash) state =
        match state with
        | Absent -> Unknown
        | Created live
        | Active live
        | Destroyed(live, _, _)
        | Expired(live, _, _, _) -> if live.Secret.Equals secret then Current else recall secret live
        | Regenerated(live, renewal) ->
            if live.Secret.Equals secret then
                Current
            else
                match renewal with
                | Issued(secrets, _) when List.exists secret.Equals secrets -> Offered
                | Confirmed(predecessor, _) when predecessor.Equals secret -> Predecessor
                | Issued _
                | Confirmed _ -> recall secret live

    let private supersede byRenewal secrets live =
        let old = secrets |> List.map (fun secret -> { Secret = secret; ByRenewal = byRenewal; Reported = false })
        List.truncate remembered (old @ live.Superseded)

    /// The secrets that work in a renewal besides the confirmed one.
    let private others renewal =
        match renewal with
        | Issued(secrets, _) -> secrets
        | Confirmed(predecessor, _) -> [ predecessor ]

    // -- evolve: copies facts and never thinks

    let private onLive change state =
        match state with
        | Created live -> Created(change live)
        | Active live -> Active(change live)
        | Regenerated(live, renewal) -> Regenerated(change live, renewal)
        | Absent
        | Destroyed _
        | Expired _ -> state

    let private later (a: DateTimeOffset) (b: DateTimeOffset) = if a < b then b else a

    // After an elevation an older token is only refused: whoever planted it must not be able to end the session with it.
    let private outdated (old: Superseded) = { old with ByRenewal = false }

    /// A new secret in place of every one that works: what makes fixation impossible.
    let private elevated secret at others live =
        { live with
            Secret = secret
            SecretSince = at
            LastSeen = later live.LastSeen at
            Elevations = live.Elevations + 1
            Superseded =
                supersede false (live.Secret :: others) { live with Superseded = List.map outdated live.Superseded } }

    /// Nobody has presented the new token of a Created session, either; any other renewal under way is over.
    let private afterElevation change state =
        match state with
        | Created live -> Created(change [] live)
        | Active live -> Active(change [] live)
        | Regenerated(live, renewal) -> Active(change (others renewal) live)
        | Absent
        | Destroyed _
        | Expired _ -> state

    let private ended others live = { live with Superseded = supersede false others live }
    let private buried others live = { ended others live with Data = [||] }

    let evolve state event =
        match state, event with
        | Absent, WasCreated(secret, subject, data, at) ->
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
        | Created live, WasConfirmed -> Active live
        | state, WasSeen at -> state |> onLive (fun live -> { live with LastSeen = later live.LastSeen at })
        | state, WasWritten(data, at) ->
            state
            |> onLive (fun live ->
                { live with
                    Data = data
                    Revision = live.Revision + 1L
                    LastSeen = later live.LastSeen at })
        | state, WasSignedIn(subject, data, secret, at) ->
            state
            |> afterElevation (fun others live ->
                { elevated secret at others live with
                    Subject = Some subject
                    AuthenticatedAt = Some at
                    Data = data
                    Revision = live.Revision + 1L })
        | state, WasElevated(secret, at) -> state |> afterElevation (elevated secret at)
        | Active live, RenewalIssued(secret, at) -> Regenerated(live, Issued([ secret ], at))
        | Regenerated(live, Issued(secrets, _)), RenewalIssued(secret, at) ->
            // It is there already when the write that issued it was taken and its answer lost: no token waits twice.
            let others = secrets |> List.filter (fun other -> not (other.Equals secret))
            Regenerated(live, Issued(secret :: List.truncate (waiting - 1) others, at))
        | Regenerated(live, Issued(secrets, _)), RenewalConfirmed(secret, at, until) ->
            // Twins that were issued and never seen are dead, and no sign of theft.
            let twins = secrets |> List.filter (fun twin -> not (twin.Equals secret))

            let renewed =
                { live with
                    Secret = secret
                    SecretSince = at
                    Superseded = supersede false twins live }

            Regenerated(renewed, Confirmed(live.Secret, until))
        | Regenerated(live, Confirmed(predecessor, _)), GraceEnded ->
            Active { live with Superseded = supersede true [ predecessor ] live }
        | state, WasReplayed secret ->
            let report (old: Superseded) = if old.Secret.Equals secret then { old with Reported = true } else old
            state |> onLive (fun live -> { live with Superseded = List.map report live.Superseded })
        | (Created live | Active live), WasDestroyed(reason, at) -> Destroyed(buried [] live, reason, at)
        | Regenerated(live, renewal), WasDestroyed(reason, at) -> Destroyed(buried (others renewal) live, reason, at)
        | (Created live | Active live), HasExpired(kind, at) -> Expired(ended [] live, kind, at, false)
        | Regenerated(live, renewal), HasExpired(kind, at) -> Expired(ended (others renewal) live, kind, at, false)
        | Expired(live, kind, at, false), WasTold -> Expired({ live with Data = [||] }, kind, at, true)
        // Pairs that `decide` never brings together leave the state alone.
        | (Created _ | Active _ | Regenerated _ | Destroyed _ | Expired _), WasCreated _
        | (Absent | Active _ | Regenerated _ | Destroyed _ | Expired _), WasConfirmed
        | (Absent | Created _ | Regenerated(_, Confirmed _) | Destroyed _ | Expired _), RenewalIssued _
        | (Absent | Created _ | Active _ | Regenerated(_, Confirmed _) | Destroyed _ | Expired _), RenewalConfirmed _
        | (Absent | Created _ | Active _ | Regenerated(_, Issued _) | Destroyed _ | Expired _), GraceEnded
        | (Absent | Destroyed _ | Expired _), (WasDestroyed _ | HasExpired _)
        | (Absent | Created _ | Active _ | Regenerated _ | Destroyed _ | Expired(_, _, _, true)), WasTold -> state

    // -- decide: one answer for every pair of state and command

    /// `seen`: what it is to a living session that the confirmed secret comes.
    let private present policy now secret state seen =
        match standing secret state with
        | Unknown -> Error Guess
        | Dead -> Error Outdated
        | Current
        | Offered
        | Predecessor
        | Stolen _ as standing ->
            match overdue policy now state, standing with
            | ValueSome(struct (kind, _)), _ -> Ok [ HasExpired(kind, now) ]
            | ValueNone, Stolen true -> Error Outdated
            | ValueNone, Stolen false ->
                match policy.OnReplay with
                | DestroySession -> Ok [ WasReplayed secret; WasDestroyed(Replayed, now) ]
                | RefuseToken -> Ok [ WasReplayed secret ]
            | ValueNone, Offered -> Ok [ RenewalConfirmed(secret, now, now + policy.Grace); WasSeen now ]
            // The predecessor may read and write; it moves no deadline, and gets no token.
            | ValueNone, Predecessor -> Ok []
            | ValueNone, (Current | Dead | Unknown) -> Ok seen

    /// A tombstone tells why it is one to whoever had a token of the session, and to nobody else.
    let private presentAtTombstone secret state ending at =
        Error(if (standing secret state).Equals Unknown then Guess else Over(ending, at))

    /// For whoever was let in before: the session has to live still, under the same elevation.
    let private asOpened policy now under state live events =
        match overdue policy now state with
        | ValueSome(struct (kind, at)) -> Error(Over(ByTime kind, at))
        | ValueNone when live.Elevations <> under -> Error Outdated
        | ValueNone -> Ok events

    /// Whether the presenter of the confirmed secret is to be issued the next one.
    let isRenewalDue policy (now: DateTimeOffset) state =
        match state, policy.RotateEvery with
        | Active live, Some every -> now >= live.SecretSince + every
        | Regenerated(_, Issued(_, at)), Some _ -> now >= at + policy.Grace
        | (Absent | Created _ | Regenerated(_, Confirmed _) | Destroyed _ | Expired _), Some _
        | (Absent | Created _ | Active _ | Regenerated _ | Destroyed _ | Expired _), None -> false

    let private decideSettled policy now command state =
        match state, command with
        | Absent, Create(secret, subject, data) -> Ok [ WasCreated(secret, subject, data, now) ]
        | (Created _ | Active _ | Regenerated _ | Destroyed _ | Expired _), Create _ -> Error Exists
        | Absent, (Present _ | Write _ | SignIn _ | Elevate _ | Renew _ | Destroy _ | Expire | Tell) -> Error NoSession

        | Created _, Present secret -> present policy now secret state [ WasConfirmed; WasSeen now ]
        | (Active _ | Regenerated _), Present secret -> present policy now secret state [ WasSeen now ]
        | (Created live | Active live | Regenerated(live, _)), Write(data, basedOn, under) ->
            match basedOn with
            | Some revision when revision <> live.Revision && live.Elevations = under ->
                asOpened policy now under state live [] |> Result.bind (fun _ -> Error Conflict)
            | Some _
            | None -> asOpened policy now under state live [ WasWritten(data, now) ]
        | (Created live | Active live | Regenerated(live, _)), SignIn(subject, data, next, under) ->
            asOpened policy now under state live [ WasSignedIn(subject, data, next, now) ]
        | (Created live | Active live | Regenerated(live, _)), Elevate(next, under) ->
            asOpened policy now under state live [ WasElevated(next, now) ]
        | (Created live | Active live | Regenerated(live, _)), Renew(next, under) ->
            if isRenewalDue policy now state then
                asOpened policy now under state live [ RenewalIssued(next, now) ]
            else
                Error NotDue
        | (Created live | Active live | Regenerated(live, _)), Destroy(reason, under) ->
            match under with
            // A request that was opened before an elevation cannot end what came after it.
            | Some under when live.Elevations <> under -> Error Outdated
            | Some _
            | None -> Ok [ WasDestroyed(reason, now) ]
        | (Created _ | Active _ | Regenerated _), Expire ->
            match overdue policy now state with
            | ValueSome(struct (kind, _)) -> Ok [ HasExpired(kind, now) ]
            | ValueNone -> Error NotDue
        | (Created _ | Active _ | Regenerated _), Tell -> Error NotDue

        | Destroyed(_, reason, at), Present secret -> presentAtTombstone secret state (OnPurpose reason) at
        | Expired(_, kind, at, _), Present secret -> presentAtTombstone secret state (ByTime kind) at
        | Expired(_, _, _, told), Tell -> if told then Ok [] else Ok [ WasTold ]
        | (Destroyed _ | Expired _), Destroy _ -> Ok []
        | Destroyed(_, reason, at), (Write _ | SignIn _ | Elevate _ | Renew _ | Expire | Tell) ->
            Error(Over(OnPurpose reason, at))
        | Expired(_, kind, at, _), (Write _ | SignIn _ | Elevate _ | Renew _ | Expire) -> Error(Over(ByTime kind, at))

    /// What has happened by the passing of time alone, short of the end.
    let private elapsed (now: DateTimeOffset) state =
        match state with
        | Regenerated(_, Confirmed(_, until)) when until <= now -> [ GraceEnded ]
        | Absent
        | Created _
        | Active _
        | Regenerated _
        | Destroyed _
        | Expired _ -> []

    /// The state as it is at this moment, once a grace that is over has ended.
    let settle now state = elapsed (ownTime now state) state |> List.fold evolve state

    /// The answer to a command: what happens because of it, or why nothing does.
    let decide policy now command state : Result<Event list, Refusal> =
        let now = ownTime now state

        match elapsed now state with
        | [] -> decideSettled policy now command state
        | passed ->
            decideSettled policy now command (List.fold evolve state passed)
            |> Result.map (fun events -> passed @ events)

    /// Whether `Present` let the presenter in: it led to a live session, and was no replay.
    let letsIn events after =
        let isReplay event =
            match event with
            | WasReplayed _ -> true
            | _ -> false

        (liveOf after).IsSome && not (List.exists isReplay events)

    /// Whether this secret opens this session now. The predicate that the invariants speak of.
    let opens policy now secret state =
        match decide policy now (Present secret) state with
        | Ok events -> letsIn events (List.fold evolve state events)
        | Error _ -> false
