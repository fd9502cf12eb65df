/// What can be done with sessions: each operation is one call of the loop, or a few.
namespace Session.Engine

open System
open System.Collections.Generic
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open Session.Domain

/// A session that a token opened, or that was just created or elevated: what a request works with.
[<Struct; NoComparison>]
type Opened =
    {
        Snapshot: Snapshot
        /// The token that the response has to carry, if there is a new one.
        Issued: IssuedToken option
        /// The keys of sealed data, where data is sealed to its bearer.
        Keys: BearerKeys | null
    }

    /// The living part.
    member opened.Live =
        match opened.Snapshot.State with
        | Created live
        | Active live
        | Regenerated(live, _) -> live
        | Absent
        | Destroyed _
        | Expired _ -> invalidOp "This session is over."

[<Sealed>]
type SessionEngine
    (store: ISessionStore, settings: EngineSettings, clock: TimeProvider, log: ILogger, board: INoticeBoard) =

    let policy = settings.Policy
    let hasher = SecretHasher(settings.ServerKey, settings.SealsToBearer)
    let loop = Loop(store, settings, clock, log, board)
    let pageSize = 200
    let sweptAtOnce = 16

    // Sign-ins of one subject in this process take turns where the limit refuses: nobody is refused for a sign-in that
    // is refused itself.
    let signInGates = Array.init 64 (fun _ -> new SemaphoreSlim(1))

    let refused (answer: Result<Event list, Refusal>) = Result.mapError Refusals.toError answer

    let checkSize (data: byte[]) =
        if data.Length > settings.MaxDataBytes then
            Error(SessionError.TooLarge(data.Length, settings.MaxDataBytes))
        else
            Ok data

    let opened issued keys (change: Change) = { Snapshot = change.After; Issued = issued; Keys = keys }

    /// A change by a request that was let in before.
    let change (from: Opened) keys decide finish cancel =
        loop.ChangeTo(from.Snapshot.Id, ValueSome from.Snapshot, keys, TimeSpan.Zero, decide, finish, cancel)

    // Under the current server key, or the former one that this session knows the token by.
    let hashFor (token: PresentedToken) state =
        match token.Former with
        | [] -> token.Hash
        | former ->
            let isKnown hash = Lifecycle.standing hash state <> Unknown

            if isKnown token.Hash then
                token.Hash
            else
                match former |> List.tryFind (fun (struct (hash, _)) -> isKnown hash) with
                | Some(struct (hash, _)) -> hash
                | None -> token.Hash

    /// The session of a token that only reads: the record as it was loaded, and nothing to store or to issue.
    let read (loaded: Result<Snapshot, SessionError>) (token: PresentedToken) mayIssue keys : Opened voption =
        match loaded with
        | Error _ -> ValueNone
        | Ok before ->
            let now = loop.Now

            match Lifecycle.decide policy now (Present(hashFor token before.State)) before.State with
            | Ok events when loop.IsRead(before, events) ->
                // What a touch would store is not due, so the session ends when the record says, and not later.
                let after =
                    match events with
                    | []
                    | [ WasSeen _ ] -> before
                    | events -> { before with State = List.fold Lifecycle.evolve before.State events }

                if mayIssue && Lifecycle.isRenewalDue policy now after.State then
                    ValueNone
                else
                    ValueSome { Snapshot = after; Issued = None; Keys = keys }
            | Ok _
            | Error _ -> ValueNone

    let keysOf (secret: Secret) (id: string) make : BearerKeys | null =
        match secret.KeyWith(hasher, id) with
        | null -> null
        | key -> make (secret.HashWith(hasher, id), key)

    member _.Settings = settings
    member _.Store = store
    member _.Hasher = hasher
    member internal _.Loop = loop

    /// Tells the application that the data of a session cannot be read.
    member _.TellUnreadable(id: string, reason: string) : Task = loop.Tell(UnreadableNotice reason, id)

    /// Tells the application of a request with something in place of a token. It names no session.
    member _.TellRefused(reason: RefusalReason) : Task = loop.Tell(RefusedNotice reason, "")

    // -- with a token

    /// Opens the session of a token, confirms it on its first use, and issues the next token when a renewal is due and
    /// the response can still carry one. A guess costs one load and changes nothing.
    member engine.Present
        (token: PresentedToken, mayIssue: bool, cancel: CancellationToken)
        : ValueTask<Result<Opened, SessionError>> =
        let keys: BearerKeys | null =
            match token.Key with
            | null -> null
            | key -> BearerKeys.Of(token.Hash, key, token.Former)

        let loading = loop.Begin(token.Id, cancel)

        // A store in this process answers at once: no state machine then.
        if loading.IsCompletedSuccessfully then
            engine.Open(loop.Found(token.Id, loading.Result, keys), token, mayIssue, keys, cancel)
        else
            ValueTask<_>(
                task =
                    task {
                        let mutable loaded = Error SessionError.NoSession

                        try
                            let! record = loading
                            loaded <- loop.Found(token.Id, record, keys)
                        with error ->
                            loaded <- loop.NotLoaded(error, cancel)

                        return! engine.Open(loaded, token, mayIssue, keys, cancel)
                    }
            )

    member private engine.Open
        (
            loaded: Result<Snapshot, SessionError>,
            token: PresentedToken,
            mayIssue: bool,
            keys: BearerKeys | null,
            cancel: CancellationToken
        ) : ValueTask<Result<Opened, SessionError>> =
        match read loaded token mayIssue keys with
        | ValueSome opened -> ValueTask<_>(Ok opened)
        | ValueNone -> ValueTask<_>(task = engine.Settle(loaded, token, mayIssue, keys, cancel))

    /// Where there is something to store, or to refuse.
    member private _.Settle
        (
            loaded: Result<Snapshot, SessionError>,
            token: PresentedToken,
            mayIssue: bool,
            keys: BearerKeys | null,
            cancel: CancellationToken
        ) : Task<Result<Opened, SessionError>> =
        let next = ref<Secret | null> null

        let decide now state =
            next.Value <- null

            match Lifecycle.decide policy now (Present(hashFor token state)) state with
            | Error refusal -> Error(Refusals.toError refusal)
            | Ok events ->
                let after = List.fold Lifecycle.evolve state events

                match Lifecycle.liveOf after with
                | Some live when mayIssue && Lifecycle.letsIn events after && Lifecycle.isRenewalDue policy now after ->
                    let secret = Secret.Mint()

                    match keys, secret.KeyWith(hasher, token.Id) with
                    | null, _
                    | _, null -> ()
                    | keys, key -> keys.Offer(secret.HashWith(hasher, token.Id), key)

                    match
                        Lifecycle.decide policy now (Renew(secret.HashWith(hasher, token.Id), live.Elevations)) after
                    with
                    | Ok issued ->
                        next.Value <- secret
                        Ok(events @ issued)
                    | Error _ -> Ok events
                | _ -> Ok events

        task {
            let! answer =
                match loaded with
                | Error error -> Task.FromResult(Error error)
                | Ok before ->
                    let decide = Decision(fun now state -> decide now state)
                    loop.Change(token.Id, ValueSome before, keys, TimeSpan.Zero, decide, cancel)

            match answer with
            | Error error ->
                match error with
                | SessionError.Refused Outdated -> do! loop.Tell(OutdatedNotice, token.Id)
                | SessionError.Refused Guess -> do! loop.Tell(RefusedNotice RefusalReason.Guessed, token.Id)
                | SessionError.Unreadable reason -> do! loop.Tell(UnreadableNotice reason, token.Id)
                | _ -> ()

                return Error error
            | Ok change when not (Lifecycle.letsIn change.Events change.After.State) ->
                match change.After.State with
                | Expired(_, kind, at, _) -> return Error(SessionError.Ended(ByTime kind, at))
                | _ -> return Error(SessionError.Refused Outdated)
            | Ok change ->
                let issued =
                    match next.Value with
                    | null -> None
                    | secret -> Some(IssuedToken(token.Id, secret))

                return Ok(opened issued keys change)
        }

    /// A new session under an id of `nextId`, of a subject (a sign-in) or anonymous.
    member engine.Create
        (nextId: unit -> string, subject: string option, data: byte[], cancel: CancellationToken)
        : Task<Result<Opened, SessionError>> =
        task {
            use! _turn = engine.TakeTurn subject
            let! countable = engine.CanSignIn(subject, "")

            match checkSize data |> Result.bind (fun data -> countable |> Result.map (fun () -> data)) with
            | Error error -> return Error error
            | Ok data ->
                let secret = Secret.Mint()
                let mutable answer = ValueNone
                let mutable attempt = 0

                while answer.IsNone do
                    attempt <- attempt + 1
                    let id = nextId ()

                    if not (Token.isValidId id) then
                        invalidOp "GenerateId returned an id that is not 1 to 64 of A-Z a-z 0-9 _ -."

                    let keys = keysOf secret id BearerKeys.Create
                    let create = Create(secret.HashWith(hasher, id), subject, data)

                    match refused (Lifecycle.decide policy loop.Now create Lifecycle.initial) with
                    | Error error -> answer <- ValueSome(Error error)
                    | Ok events ->
                        match! loop.Insert(id, keys, events, cancel) with
                        | Ok snapshot ->
                            answer <-
                                ValueSome(
                                    Ok
                                        { Snapshot = snapshot
                                          Issued = Some(IssuedToken(id, secret))
                                          Keys = keys }
                                )
                        | Error(SessionError.Refused Exists) when attempt < 3 -> ()
                        | Error(SessionError.Refused Exists) ->
                            invalidOp
                                "GenerateId returned the id of an existing session, three times: ids must be unique and random."
                        | Error error -> answer <- ValueSome(Error error)

                match answer.Value, subject with
                | Ok created, Some subject ->
                    match! engine.EnforceLimit(subject, created.Snapshot.Id) with
                    | Ok() -> return answer.Value
                    | Error error -> return Error error
                | answer, _ -> return answer
        }

    // -- with an opened session

    /// New data computed from the data as it is stored: `update` is called again for each conflict.
    member _.Update
        (from: Opened, update: byte[] -> Result<byte[], SessionError>, cancel: CancellationToken)
        : Task<Result<Opened, SessionError>> =
        let under = from.Live.Elevations

        let decide now state =
            match Lifecycle.liveOf state, Lifecycle.decide policy now (Write([||], None, under)) state with
            | Some live, Ok _ ->
                update live.Data
                |> Result.bind checkSize
                |> Result.bind (fun data -> refused (Lifecycle.decide policy now (Write(data, None, under)) state))
            | _, answer -> refused answer

        change from from.Keys (Decision(fun now state -> decide now state)) (opened None from.Keys) cancel

    /// Data based on what the request has read: `Conflict` when another write came first.
    member _.Save(from: Opened, data: byte[], cancel: CancellationToken) : Task<Result<Opened, SessionError>> =
        match checkSize data with
        | Error error -> Task.FromResult(Error error)
        | Ok data ->
            let write = Write(data, Some from.Live.Revision, from.Live.Elevations)
            let decide = Decision(fun now state -> refused (Lifecycle.decide policy now write state))
            change from from.Keys decide (opened None from.Keys) cancel

    member private _.Elevate
        (from: Opened, command: SecretHash -> Command, cancel)
        : Task<Result<Opened, SessionError>> =
        task {
            let secret = Secret.Mint()
            let command = command (secret.HashWith(hasher, from.Snapshot.Id))

            let keys: BearerKeys | null =
                match from.Keys with
                | null -> null
                | keys -> keysOf secret from.Snapshot.Id keys.Elevate

            let decide = Decision(fun now state -> refused (Lifecycle.decide policy now command state))

            match! change from keys decide id cancel with
            | Error error -> return Error error
            | Ok changed ->
                let settled: BearerKeys | null =
                    match keys with
                    | null -> null
                    | keys -> keys.Settled

                return Ok(opened (Some(IssuedToken(from.Snapshot.Id, secret))) settled changed)
        }

    /// An elevation to a subject, with new data; the absolute timeout starts anew (ASVS 7.2.4).
    member engine.SignIn
        (from: Opened, subject: string, data: byte[], cancel: CancellationToken)
        : Task<Result<Opened, SessionError>> =
        task {
            use! _turn = engine.TakeTurn(Some subject)
            let! countable = engine.CanSignIn(Some subject, from.Snapshot.Id)

            match checkSize data |> Result.bind (fun data -> countable |> Result.map (fun () -> data)) with
            | Error error -> return Error error
            | Ok data ->
                let under = from.Live.Elevations

                match! engine.Elevate(from, (fun next -> SignIn(subject, data, next, under)), cancel) with
                | Error error -> return Error error
                | Ok signedIn ->
                    match! engine.EnforceLimit(subject, signedIn.Snapshot.Id) with
                    | Ok() -> return Ok signedIn
                    | Error error -> return Error error
        }

    /// An elevation without a sign-in: a new token, the old one is dead at once.
    member engine.Regenerate(from: Opened, cancel: CancellationToken) : Task<Result<Opened, SessionError>> =
        engine.Elevate(from, (fun next -> Elevate(next, from.Live.Elevations)), cancel)

    /// The session of a request as it is now, on the authority of that request: its client may not have the token yet.
    /// None when it is over, or was elevated by another request.
    member _.Reload(from: Opened, cancel: CancellationToken) : Task<Result<Opened option, SessionError>> =
        task {
            match! loop.Load(from.Snapshot.Id, from.Keys, cancel) with
            | Error error -> return Error error
            | Ok found ->
                let now = loop.Now
                let state = Lifecycle.settle now found.State

                match Lifecycle.liveOf state with
                | Some live when live.Elevations = from.Live.Elevations && (Lifecycle.overdue policy now state).IsNone ->
                    if found.IsOpen then
                        return Ok(Some { from with Snapshot = { found with State = state } })
                    else
                        return Error(SessionError.Unreadable "the sealed data does not open")
                | _ -> return Ok None
        }

    /// Ends the session of a request. A session that is over already is no error.
    member _.SignOut(from: Opened, cancel: CancellationToken) : Task<Result<Snapshot, SessionError>> =
        let command = Destroy(SignedOut, Some from.Live.Elevations)
        let decide = Decision(fun now state -> refused (Lifecycle.decide policy now command state))
        change from from.Keys decide _.After cancel

    // -- without a token

    /// The session under this id at this moment, if there is one that is not over.
    member _.Find(id: string, cancel: CancellationToken) : Task<Result<Snapshot option, SessionError>> =
        task {
            match! loop.Load(id, null, cancel) with
            | Error error -> return Error error
            | Ok found ->
                let state = Lifecycle.settle loop.Now found.State
                let isLive = (Lifecycle.liveOf state).IsSome && (Lifecycle.overdue policy loop.Now state).IsNone
                return Ok(if isLive then Some { found with State = state } else None)
        }

    /// Ends a session, whoever holds it. False when there was none that lived.
    member _.Destroy(id: string, reason: DestroyReason, cancel: CancellationToken) : Task<Result<bool, SessionError>> =
        task {
            let decide = Decision(fun now state -> refused (Lifecycle.decide policy now (Destroy(reason, None)) state))

            match! loop.Change(id, ValueNone, null, TimeSpan.Zero, decide, cancel) with
            | Ok change ->
                let wasLive =
                    (Lifecycle.liveOf change.Before.State).IsSome
                    && (Lifecycle.overdue policy loop.Now change.Before.State).IsNone

                return Ok wasLive
            | Error SessionError.NoSession -> return Ok false
            | Error error -> return Error error
        }

    /// One page of the sessions of a subject that were not ended, those among them that are overdue by this node's clock.
    member private _.Page(subject: string, after: string | null, cancel: CancellationToken) =
        task {
            try
                let! page = store.BySubject(subject, after, pageSize, cancel)
                let now = loop.Now

                let live =
                    [ for record in page.Records do
                          match loop.Read(record, null) with
                          | Ok snapshot when record.Kind <> RecordKind.Ended ->
                              let state = Lifecycle.settle now snapshot.State

                              match Lifecycle.liveOf state with
                              | Some live when live.Subject = Some subject -> { snapshot with State = state }
                              | _ -> ()
                          | _ -> () ]

                return Ok(struct (live, page.Next))
            with
            | :? OperationCanceledException when cancel.IsCancellationRequested ->
                cancel.ThrowIfCancellationRequested()
                return Error SessionError.NoSession
            // A store that cannot list is no store that is down: that passes, with its sentence.
            | error when not (error :? NotSupportedException) ->
                log.LogError(error, "The session store did not list the sessions of a subject.")
                return Error(SessionError.Unavailable error)
        }

    /// Those that were not ended: another node, whose clock is behind, may still open what is overdue by this one's.
    member private engine.NotEnded
        (subject: string, cancel: CancellationToken)
        : Task<Result<Snapshot list, SessionError>> =
        task {
            let found = List<Snapshot>()
            let mutable failure = None
            let mutable after: string | null = null
            let mutable more = true

            while more do
                match! engine.Page(subject, after, cancel) with
                | Error error ->
                    failure <- Some error
                    more <- false
                | Ok(struct (live, next)) ->
                    found.AddRange live
                    after <- next
                    more <- not (isNull next)

            match failure with
            | Some error -> return Error error
            | None -> return Ok(List.ofSeq found)
        }

    /// The live sessions of a subject.
    member engine.List(subject: string, cancel: CancellationToken) : Task<Result<Snapshot list, SessionError>> =
        task {
            let! found = engine.NotEnded(subject, cancel)
            let isLive (session: Snapshot) = (Lifecycle.overdue policy loop.Now session.State).IsNone
            return found |> Result.map (List.filter isLive)
        }

    /// Those that live; the overdue ones, which nobody has looked at since, are over on every node when it returns.
    member private engine.ListAndExpire(subject: string) : Task<Result<Snapshot list, SessionError>> =
        task {
            match! engine.NotEnded(subject, CancellationToken.None) with
            | Error error -> return Error error
            | Ok sessions ->
                let now = loop.Now

                let over, live =
                    sessions |> List.partition (fun session -> (Lifecycle.overdue policy now session.State).IsSome)

                let mutable answer = Ok live

                for session in over do
                    let expire = Decision(fun _ state -> refused (Lifecycle.decide policy now Expire state))

                    match! loop.Change(session.Id, ValueNone, null, TimeSpan.Zero, expire, CancellationToken.None) with
                    // Seen meanwhile, on a node whose clock is behind: it lives.
                    | Error(SessionError.Refused _) -> answer <- answer |> Result.map (fun live -> session :: live)
                    | Error(SessionError.Unavailable _ | SessionError.Contended as error) -> answer <- Error error
                    | Error _
                    | Ok _ -> ()

                return answer
        }

    /// Ends every session of a subject but `except`. Once acknowledged, none that was begun before the call lives.
    member engine.DestroyAll
        (subject: string, except: string option, reason: DestroyReason, cancel: CancellationToken)
        : Task<Result<int, SessionError>> =
        task {
            match! engine.ListAndExpire subject with
            | Error error -> return Error error
            | Ok sessions ->
                let mutable ended = 0
                let mutable failure = None

                for session in sessions do
                    if failure.IsNone && Some session.Id <> except then
                        match! engine.Destroy(session.Id, reason, CancellationToken.None) with
                        | Ok true -> ended <- ended + 1
                        | Ok false -> ()
                        | Error error -> failure <- Some error

                match failure with
                | Some error -> return Error error
                | None -> return Ok ended
        }

    /// Ends every session of everybody, and says how many there were. None that was stored before the call lives then;
    /// those that begin meanwhile may. A record that cannot be read here is removed: another node may read it.
    member engine.DestroyEvery(reason: DestroyReason, cancel: CancellationToken) : Task<Result<int, SessionError>> =
        task {
            try
                let mutable ended = 0
                let mutable failure = None
                let mutable after: string | null = null
                let mutable more = true

                while more && failure.IsNone do
                    let! page = store.Enumerate(after, pageSize, cancel)

                    for record in page.Records do
                        if failure.IsNone && record.Kind <> RecordKind.Ended then
                            cancel.ThrowIfCancellationRequested()

                            match! engine.Destroy(record.Id, reason, CancellationToken.None) with
                            | Ok true -> ended <- ended + 1
                            | Ok false -> ()
                            | Error(SessionError.Unreadable _) ->
                                do! store.Remove(record.Id, CancellationToken.None)
                                ended <- ended + 1
                            | Error error -> failure <- Some error

                    after <- page.Next
                    more <- not (isNull page.Next)

                match failure with
                | Some error -> return Error error
                | None -> return Ok ended
            with
            | :? OperationCanceledException when cancel.IsCancellationRequested ->
                cancel.ThrowIfCancellationRequested()
                return Error SessionError.NoSession
            | error when not (error :? NotSupportedException) ->
                log.LogError(error, "The session store did not list its sessions: some may still live.")
                return Error(SessionError.Unavailable error)
        }

    // -- the limit of sessions for a subject

    /// Held for the length of a sign-in.
    member private _.TakeTurn(subject: string option) : Task<IDisposable> =
        task {
            match subject, settings.MaxSessionsPerSubject, settings.WhenLimitReached with
            | Some subject, Some _, RefuseNew ->
                let gate = signInGates[(subject.GetHashCode() &&& 0x7FFFFFFF) % signInGates.Length]
                do! gate.WaitAsync()

                return
                    { new IDisposable with
                        member _.Dispose() = gate.Release() |> ignore }
            | _ ->
                return
                    { new IDisposable with
                        member _.Dispose() = () }
        }

    /// Asked before a sign-in is stored: a limit that is reached, or cannot be enforced, refuses it while nothing is changed.
    member private engine.CanSignIn(subject: string option, own: string) : Task<Result<unit, SessionError>> =
        task {
            match subject, settings.MaxSessionsPerSubject, settings.WhenLimitReached with
            | Some subject, Some most, RefuseNew ->
                match! engine.List(subject, CancellationToken.None) with
                | Error error -> return Error error
                | Ok sessions ->
                    let others = sessions |> List.filter (fun session -> session.Id <> own)
                    return if others.Length < most then Ok() else Error(SessionError.LimitReached most)
            | Some subject, Some _, EndOldest ->
                match! engine.Page(subject, null, CancellationToken.None) with
                | Ok _ -> return Ok()
                | Error error -> return Error error
            | _ -> return Ok()
        }

    /// Called after a sign-in is stored and before it is acknowledged: whoever counts last finds every sign-in that was
    /// acknowledged before in the list.
    member private engine.EnforceLimit(subject: string, own: string) : Task<Result<unit, SessionError>> =
        let signedInAt (session: Snapshot) =
            match Lifecycle.liveOf session.State with
            | Some live -> struct (defaultArg live.AuthenticatedAt live.CreatedAt, session.Id)
            | None -> struct (DateTimeOffset.MinValue, session.Id)

        match settings.MaxSessionsPerSubject, settings.WhenLimitReached with
        | None, _ -> Task.FromResult(Ok())
        | Some most, EndOldest ->
            task {
                match! engine.ListAndExpire subject with
                | Error error -> return Error error
                | Ok sessions ->
                    // The newest N are the same for whoever counts last.
                    let tooMany = sessions |> List.sortByDescending signedInAt |> List.skip (min most sessions.Length)
                    let mutable answer = Ok()

                    for session in tooMany do
                        match! engine.Destroy(session.Id, Limit, CancellationToken.None) with
                        | Ok _ -> ()
                        | Error error -> answer <- Error error

                    if answer.IsOk && tooMany |> List.exists (fun session -> session.Id = own) then
                        return Error(SessionError.Ended(OnPurpose Limit, loop.Now))
                    else
                        return answer
            }
        | Some most, RefuseNew ->
            task {
                // Acknowledged only when, with this one stored, fewer than N others are: so never more than N, whatever
                // the clocks say. Where several nodes collide the earlier ones wait for the later ones to step back.
                let mutable answer = ValueNone
                let mutable attempt = 0

                while answer.IsNone do
                    attempt <- attempt + 1

                    match! engine.ListAndExpire subject with
                    | Error error -> answer <- ValueSome(Error error)
                    | Ok sessions ->
                        let mine, others = sessions |> List.partition (fun session -> session.Id = own)

                        let isEarlier (session: Snapshot) =
                            match mine with
                            | [] -> true
                            | mine :: _ -> signedInAt session < signedInAt mine

                        if others.Length < most then
                            answer <- ValueSome(Ok())
                        elif attempt = 15 || (others |> List.filter isEarlier).Length >= most then
                            match! engine.Destroy(own, Limit, CancellationToken.None) with
                            | Ok _ -> answer <- ValueSome(Error(SessionError.LimitReached most))
                            | Error error -> answer <- ValueSome(Error error)
                        else
                            do! Task.Delay 20

                return answer.Value
            }

    // -- the sweeper

    /// Handles up to `limit` records whose time has come, and says how many it was given. Ends what is overdue, tells
    /// the expiry hook (at least once; exactly once without a crash), removes tombstones, re-schedules the rest.
    member _.Sweep(limit: int, cancel: CancellationToken) : Task<int> =
        task {
            let lease = TimeSpan.FromMinutes 2L
            // The time before the records are read: what is over by it can have been seen by no request that came after.
            let asOf = loop.Now
            let! claimed = store.ClaimOverdue(asOf, lease, limit, cancel)

            let tell (snapshot: Snapshot) =
                Decision(fun now state -> refused (Lifecycle.decide policy now Tell state)), snapshot

            let told (snapshot: Snapshot) =
                task {
                    match snapshot.State with
                    | Expired(live, kind, at, false) ->
                        let! heard = loop.TellExpired(snapshot, kind)

                        if heard && (kind = Unconfirmed || policy.Retention = TimeSpan.Zero) then
                            do! store.Remove(snapshot.Id, CancellationToken.None)
                        elif heard then
                            let decide, snapshot = tell snapshot

                            let! _ =
                                loop.Change(
                                    snapshot.Id,
                                    ValueSome snapshot,
                                    null,
                                    TimeSpan.Zero,
                                    decide,
                                    CancellationToken.None
                                )

                            ()
                        elif loop.Now - at > policy.Retention + TimeSpan.FromDays 1 then
                            log.LogError(
                                "The expiry handler failed for session {SessionId} for a day: giving up.",
                                snapshot.Id
                            )

                            do! store.Remove(snapshot.Id, CancellationToken.None)
                    | _ -> ()
                }

            let handle (record: StoredRecord) : Task =
                task {
                    match loop.Read(record, null) with
                    | Error _ when loop.Now - record.LastSeen > policy.Absolute + TimeSpan.FromDays 1 ->
                        log.LogError("The unreadable record of session {SessionId} is removed.", record.Id)
                        do! store.Remove(record.Id, CancellationToken.None)
                    | Error _ ->
                        do! store.Reschedule(record.Id, record.Version, loop.Now + TimeSpan.FromHours 1, cancel)
                    | Ok snapshot ->
                        let due = Lifecycle.due policy snapshot.State

                        match snapshot.State with
                        | Destroyed _
                        | Expired(_, _, _, true) when due <= asOf -> do! store.Remove(record.Id, CancellationToken.None)
                        | Expired(_, _, _, false) -> do! told snapshot
                        | Created _
                        | Active _
                        | Regenerated _ when due <= asOf ->
                            let expire = Decision(fun _ state -> refused (Lifecycle.decide policy asOf Expire state))

                            match!
                                loop.Change(record.Id, ValueSome snapshot, null, lease, expire, CancellationToken.None)
                            with
                            | Ok change -> do! told change.After
                            | Error _ -> ()
                        | Absent
                        | Created _
                        | Active _
                        | Regenerated _
                        | Destroyed _
                        | Expired _ -> do! store.Reschedule(record.Id, record.Version, due, cancel)
                }

            // Several at once: each is a few round trips to the store.
            for some in Seq.chunkBySize sweptAtOnce claimed do
                if not cancel.IsCancellationRequested then
                    do! Task.WhenAll(Array.map handle some)

            return claimed.Count
        }
