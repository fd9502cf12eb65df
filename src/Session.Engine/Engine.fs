/// What can be done with sessions: each operation is one call of the loop, or a few.
namespace Session.Engine

open System
open System.Collections.Generic
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open Session.Domain

/// A session that a token opened, or that was just created or elevated: what a request works with.
type Opened =
    {
        Snapshot: Snapshot
        /// The token that the response has to carry, if there is a new one.
        Issued: IssuedToken option
    }

    /// The living part.
    member opened.Live =
        match Lifecycle.liveOf opened.Snapshot.State with
        | Some live -> live
        | None -> invalidOp "This session is over."

[<Sealed>]
type SessionEngine
    (store: ISessionStore, settings: EngineSettings, clock: TimeProvider, log: ILogger, board: INoticeBoard) =

    let policy = settings.Policy
    let hasher = SecretHasher settings.ServerKey
    let loop = Loop(store, policy, clock, log, board)
    let pageSize = 200

    let refused (answer: Result<Event list, Refusal>) = Result.mapError Refusals.toError answer

    let checkSize (data: byte[]) =
        if data.Length > settings.MaxDataBytes then
            Error(SessionError.TooLarge(data.Length, settings.MaxDataBytes))
        else
            Ok data

    let opened issued (change: Change) = { Snapshot = change.After; Issued = issued }

    /// A change by a request that was let in before.
    let change (from: Snapshot) decide cancel = loop.Change(from.Id, ValueSome from, TimeSpan.Zero, decide, cancel)

    member _.Settings = settings
    member _.Store = store
    member _.Hasher = hasher
    member internal _.Loop = loop

    // -- with a token

    /// Opens the session of a token, confirms it on its first use, and issues the next token when a renewal is due and
    /// the response can still carry one. A guess costs one load and changes nothing.
    member _.Present
        (token: PresentedToken, mayIssue: bool, cancel: CancellationToken)
        : Task<Result<Opened, SessionError>> =
        task {
            let mutable next: Secret | null = null

            let decide now state =
                next <- null

                match Lifecycle.decide policy now (Present token.Hash) state with
                | Error refusal -> Error(Refusals.toError refusal)
                | Ok events ->
                    let after = List.fold Lifecycle.evolve state events

                    match Lifecycle.liveOf after with
                    | Some live when
                        mayIssue && Lifecycle.letsIn events after && Lifecycle.isRenewalDue policy now after
                        ->
                        let secret = Secret.Mint()

                        match Lifecycle.decide policy now (Renew(secret.HashWith hasher, live.Elevations)) after with
                        | Ok issued ->
                            next <- secret
                            Ok(events @ issued)
                        | Error _ -> Ok events
                    | _ -> Ok events

            match!
                loop.Change(token.Id, ValueNone, TimeSpan.Zero, Decision(fun now state -> decide now state), cancel)
            with
            | Error error -> return Error error
            | Ok change when not (Lifecycle.letsIn change.Events change.After.State) ->
                match change.After.State with
                | Expired(_, kind, at, _) -> return Error(SessionError.Ended(ByTime kind, at))
                | _ -> return Error(SessionError.Refused Outdated)
            | Ok change ->
                let issued =
                    match next with
                    | null -> None
                    | secret -> Some(IssuedToken(token.Id, secret))

                return Ok(opened issued change)
        }

    /// A new session under an id of `nextId`, of a subject (a sign-in) or anonymous.
    member engine.Create
        (nextId: unit -> string, subject: string option, data: byte[], cancel: CancellationToken)
        : Task<Result<Opened, SessionError>> =
        task {
            let! countable = engine.CanCount subject

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

                    let create = Create(secret.HashWith hasher, subject, data)

                    match refused (Lifecycle.decide policy loop.Now create Lifecycle.initial) with
                    | Error error -> answer <- ValueSome(Error error)
                    | Ok events ->
                        match! loop.Insert(id, events, cancel) with
                        | Ok snapshot ->
                            answer <- ValueSome(Ok { Snapshot = snapshot; Issued = Some(IssuedToken(id, secret)) })
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
        (from: Opened, update: byte[] -> byte[], cancel: CancellationToken)
        : Task<Result<Opened, SessionError>> =
        task {
            let under = from.Live.Elevations

            let decide now state =
                match Lifecycle.liveOf state, Lifecycle.decide policy now (Write([||], None, under)) state with
                | Some live, Ok _ ->
                    update live.Data
                    |> checkSize
                    |> Result.bind (fun data -> refused (Lifecycle.decide policy now (Write(data, None, under)) state))
                | _, answer -> refused answer

            let! changed = change from.Snapshot (Decision(fun now state -> decide now state)) cancel
            return changed |> Result.map (opened None)
        }

    /// Data based on what the request has read: `Conflict` when another write came first.
    member _.Save(from: Opened, data: byte[], cancel: CancellationToken) : Task<Result<Opened, SessionError>> =
        task {
            match checkSize data with
            | Error error -> return Error error
            | Ok data ->
                let write = Write(data, Some from.Live.Revision, from.Live.Elevations)
                let decide = Decision(fun now state -> refused (Lifecycle.decide policy now write state))
                let! changed = change from.Snapshot decide cancel
                return changed |> Result.map (opened None)
        }

    member private _.Elevate
        (from: Opened, command: SecretHash -> Command, cancel)
        : Task<Result<Opened, SessionError>> =
        task {
            let secret = Secret.Mint()
            let command = command (secret.HashWith hasher)
            let decide = Decision(fun now state -> refused (Lifecycle.decide policy now command state))
            let! changed = change from.Snapshot decide cancel
            return changed |> Result.map (opened (Some(IssuedToken(from.Snapshot.Id, secret))))
        }

    /// An elevation to a subject, with new data; the absolute timeout starts anew (ASVS 7.2.4).
    member engine.SignIn
        (from: Opened, subject: string, data: byte[], cancel: CancellationToken)
        : Task<Result<Opened, SessionError>> =
        task {
            let! countable = engine.CanCount(Some subject)

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

    /// Ends the session of a request. A session that is over already is no error.
    member _.SignOut(from: Opened, cancel: CancellationToken) : Task<Result<Snapshot, SessionError>> =
        task {
            let command = Destroy(SignedOut, Some from.Live.Elevations)
            let decide = Decision(fun now state -> refused (Lifecycle.decide policy now command state))
            let! changed = change from.Snapshot decide cancel
            return changed |> Result.map _.After
        }

    // -- without a token

    /// The session under this id at this moment, if there is one that is not over.
    member _.Find(id: string, cancel: CancellationToken) : Task<Result<Snapshot option, SessionError>> =
        task {
            match! loop.Load(id, cancel) with
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

            match! loop.Change(id, ValueNone, TimeSpan.Zero, decide, cancel) with
            | Ok change ->
                let wasLive =
                    (Lifecycle.liveOf change.Before.State).IsSome
                    && (Lifecycle.overdue policy loop.Now change.Before.State).IsNone

                return Ok wasLive
            | Error SessionError.NoSession -> return Ok false
            | Error error -> return Error error
        }

    /// One page of the live sessions of a subject.
    member private _.Page(subject: string, after: string | null, cancel: CancellationToken) =
        task {
            try
                let! page = store.BySubject(subject, after, pageSize, cancel)
                let now = loop.Now

                let live =
                    [ for record in page.Records do
                          match loop.Read record with
                          | Ok snapshot when record.Kind <> RecordKind.Ended ->
                              let state = Lifecycle.settle now snapshot.State

                              match Lifecycle.liveOf state with
                              | Some live when
                                  live.Subject = Some subject && (Lifecycle.overdue policy now state).IsNone
                                  ->
                                  { snapshot with State = state }
                              | _ -> ()
                          | _ -> () ]

                return Ok(struct (live, page.Next))
            with
            | :? OperationCanceledException when cancel.IsCancellationRequested ->
                cancel.ThrowIfCancellationRequested()
                return Error SessionError.NoSession
            | error ->
                log.LogError(error, "The session store did not list the sessions of a subject.")
                return Error(SessionError.Unavailable error)
        }

    /// The live sessions of a subject.
    member engine.List(subject: string, cancel: CancellationToken) : Task<Result<Snapshot list, SessionError>> =
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

    /// Ends every session of a subject but `except`. Once acknowledged, none that was begun before the call lives.
    member engine.DestroyAll
        (subject: string, except: string option, reason: DestroyReason, cancel: CancellationToken)
        : Task<Result<int, SessionError>> =
        task {
            match! engine.List(subject, cancel) with
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

    /// Asked before a sign-in is stored: a limit that cannot be enforced refuses it while nothing is changed.
    member private engine.CanCount(subject: string option) : Task<Result<unit, SessionError>> =
        task {
            match subject, settings.MaxSessionsPerSubject with
            | Some subject, Some _ ->
                match! engine.Page(subject, null, CancellationToken.None) with
                | Ok _ -> return Ok()
                | Error error -> return Error error
            | _ -> return Ok()
        }

    /// Called after a sign-in is stored and before it is acknowledged: every sign-in acknowledged before it is in the
    /// list, so the newest N are the same for whoever counts last.
    member private engine.EnforceLimit(subject: string, own: string) : Task<Result<unit, SessionError>> =
        task {
            match settings.MaxSessionsPerSubject with
            | None -> return Ok()
            | Some most ->
                match! engine.List(subject, CancellationToken.None) with
                | Error error -> return Error error
                | Ok sessions ->
                    let signedInAt (session: Snapshot) =
                        match Lifecycle.liveOf session.State with
                        | Some live -> struct (defaultArg live.AuthenticatedAt live.CreatedAt, session.Id)
                        | None -> struct (DateTimeOffset.MinValue, session.Id)

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

    // -- the sweeper

    /// Handles up to `limit` records whose time has come, and says how many it was given. Ends what is overdue, tells
    /// the expiry hook (at least once; exactly once without a crash), removes tombstones, re-schedules the rest.
    member _.Sweep(limit: int, cancel: CancellationToken) : Task<int> =
        task {
            let lease = TimeSpan.FromMinutes 2L
            let! claimed = store.ClaimOverdue(loop.Now, lease, limit, cancel)

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

            for record in claimed do
                if not cancel.IsCancellationRequested then
                    match loop.Read record with
                    | Error _ ->
                        do! store.Reschedule(record.Id, record.Version, loop.Now + TimeSpan.FromHours 1, cancel)
                    | Ok snapshot ->
                        let now = loop.Now
                        let due = Lifecycle.due policy snapshot.State

                        match snapshot.State with
                        | Destroyed _
                        | Expired(_, _, _, true) when due <= now -> do! store.Remove(record.Id, CancellationToken.None)
                        | Expired(_, _, _, false) -> do! told snapshot
                        | Created _
                        | Active _
                        | Regenerated _ when due <= now ->
                            let expire = Decision(fun now state -> refused (Lifecycle.decide policy now Expire state))

                            match!
                                loop.Change(record.Id, ValueSome snapshot, lease, expire, CancellationToken.None)
                            with
                            | Ok change -> do! told change.After
                            | Error _ -> ()
                        | Absent
                        | Created _
                        | Active _
                        | Regenerated _
                        | Destroyed _
                        | Expired _ -> do! store.Reschedule(record.Id, record.Version, due, cancel)

            return claimed.Count
        }
