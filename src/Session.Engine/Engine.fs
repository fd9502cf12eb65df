/// The facade: what can be done with sessions, each operation told of when it is over.
namespace Session.Engine

open System
open System.Collections.Generic
open System.Data.Common
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open Session.Domain

[<Sealed>]
type SessionEngine
    internal
    (
        store: ISessionStore,
        settings: EngineSettings,
        ownEnd: Func<byte[], DateTimeOffset> | null,
        waits: WaitLimits,
        clock: TimeProvider,
        log: ILogger,
        board: INoticeBoard,
        telemetry: Telemetry
    ) =

    let hasher = SecretHasher(settings.ServerKey, settings.SealsToBearer)
    let access = StoreAccess(store, settings, ownEnd, waits, clock, log, telemetry)
    let writers = Writers access
    let limits = Limits(access, writers, settings)
    let renewals = Renewals(access, log)
    let presenting = Presenting(access, writers, renewals, settings, hasher)
    let requests = Requests(access, writers, renewals, limits, settings, hasher)
    let subjects = Subjects(access, writers, limits, settings)
    let externals = Externals(access, limits, subjects, settings)
    let announcer = Announcer(waits, board, log)
    let sweeper = Sweeper(access, writers, announcer, settings, log)

    /// An operation by itself: what it has to tell is told before it returns. Each change has a version of its own.
    let toldOf (operation: Errand -> Task<'answer>) : Task<'answer> = announcer.Told(Errand(waits, false), operation)

    /// The same as a result: what is stored and not acknowledged is an error then, and what it gives out is lost.
    let resultOf (operation: Errand -> Task<Reply<'out>>) : Task<Result<'out, SessionError>> =
        toldOf (fun errand ->
            task {
                match! operation errand with
                | Reply.Done out -> return Ok out
                | Reply.Failed error
                | Reply.Partly(_, error) -> return Error error
            })

    /// With the default limits of waiting.
    new(store, settings, clock, log, board) = SessionEngine(store, settings, WaitLimits.Default, clock, log, board)

    new(store, settings, waits, clock, log, board) =
        SessionEngine(store, settings, null, waits, clock, log, board, Telemetry.Shared)

    member _.Settings = settings
    /// The first instant at which a live session is over if nothing more happens, and by which limit.
    member _.Deadline(state: State) : struct (ExpiryKind * DateTimeOffset) voption = Rules.deadline access.Rules state
    member _.Waits = waits
    member _.Store = store

    /// The notices of the store, apart from transactions of the application's; null: it has none.
    member internal _.Signals: ISessionSignals | null =
        match store, access.Store with
        | :? ISessionSignals, (:? ISessionSignals as signals) -> signals
        | _ -> null

    member _.Hasher = hasher

    // -- for a request: its operations share one errand

    member internal _.NewErrand() = access.NewErrand()

    /// Tells what operations have collected. To be called when everything that was held for them is released.
    member internal _.TellAll(errand: Errand) : Task = announcer.TellAll errand

    /// The same behind an operation, whatever that throws.
    member internal _.Told(errand: Errand, operation: Errand -> Task<'answer>) : Task<'answer> =
        announcer.Told(errand, operation)

    /// Notes for the application a request with something in place of a token. It names no session.
    member internal _.NoteRefused(errand: Errand, reason: RefusalReason) = access.Note(errand, RefusedNotice reason, "")

    /// Notes for the application that the data of a session cannot be read.
    member internal _.NoteUnreadable(errand: Errand, id: string, reason: string) =
        access.Note(errand, UnreadableNotice reason, id)

    member internal _.Presenting = presenting
    member internal _.Requests = requests

    /// What is counted and traced of these sessions.
    member internal _.Telemetry = telemetry

    /// Counts the live sessions, if somebody wants to know, and the store counts cheaply.
    member internal _.CountLive(cancel: CancellationToken) : Task =
        task {
            if telemetry.Measures.WatchesLive && store :? ICountsCheaply then
                let! count = access.Store.Count cancel
                telemetry.Measures.Live <- count
        }

    // -- with a token, one operation by itself

    /// Opens the session of a token, confirms it on its first use, and issues the next token when a renewal is due.
    member _.Present
        (token: PresentedToken, mayIssue: bool, cancel: CancellationToken)
        : ValueTask<Result<Opened, SessionError>> =
        let now = clock.GetUtcNow()
        let present errand = presenting.Present(token, now, mayIssue, errand, cancel)
        ValueTask<_>(task = toldOf (fun errand -> (present errand).AsTask()))

    /// A new session under an id of `nextId`, of a subject (a sign-in) or anonymous.
    member _.Create
        (nextId: unit -> string, subject: string option, data: byte[], cancel: CancellationToken)
        : Task<Result<Opened, SessionError>> =
        resultOf (fun errand -> requests.Create(nextId, subject, data, errand, cancel))

    /// New data computed from the data as it is stored: `update` is called again for each conflict.
    member _.Update
        (from: Opened, update: byte[] -> Result<byte[], SessionError>, cancel: CancellationToken)
        : Task<Result<Opened, SessionError>> =
        let change data = update data |> Result.map (fun data -> struct (data, ()))

        task {
            let! answer = resultOf (fun errand -> requests.Update(from, change, errand, cancel))

            return answer |> Result.map (fun (struct (opened, ())) -> opened)
        }

    /// Data based on what the request has read: `Conflict` when another write came first.
    member _.Save(from: Opened, data: byte[], cancel: CancellationToken) : Task<Result<Opened, SessionError>> =
        resultOf (fun errand -> requests.Save(from, data, errand, cancel))

    /// An elevation to a subject, with new data; the absolute timeout starts anew (ASVS 7.2.4).
    member _.SignIn
        (from: Opened, subject: string, data: byte[], cancel: CancellationToken)
        : Task<Result<Opened, SessionError>> =
        resultOf (fun errand -> requests.SignIn(from, subject, data, errand, cancel))

    /// An elevation without a sign-in: a new token, the old one is dead at once.
    member _.Regenerate(from: Opened, cancel: CancellationToken) : Task<Result<Opened, SessionError>> =
        resultOf (fun errand -> requests.Regenerate(from, None, errand, cancel))

    /// The session of a request as it is now, on the authority of that request. None when it is over, or was elevated by
    /// another request.
    member _.Reload(from: Opened, cancel: CancellationToken) : Task<Result<Opened option, SessionError>> =
        task {
            match! requests.Reload(from, access.NewErrand(), cancel) with
            | Ok opened -> return Ok(Some opened)
            | Error(SessionError.NoSession | SessionError.Ended _ | SessionError.Refused _) -> return Ok None
            | Error error -> return Error error
        }

    /// Ends the session of a request. A session that is over already is no error.
    member _.SignOut(from: Opened, cancel: CancellationToken) : Task<Result<Snapshot, SessionError>> =
        resultOf (fun errand -> requests.SignOut(from, errand, cancel))

    // -- without a token

    /// The session under this id at this moment, if there is one that is not over.
    member _.Find(id: string, cancel: CancellationToken) : Task<Result<Snapshot option, SessionError>> =
        subjects.Find(id, access.NewErrand(), cancel)

    /// The live sessions of a subject.
    member _.List(subject: string, cancel: CancellationToken) : Task<Result<Snapshot list, SessionError>> =
        subjects.List(subject, access.NewErrand(), cancel)

    /// New data for a session, whoever holds it: no deadline moves.
    member _.UpdateById(id: string, change, cancel: CancellationToken) : Task<Result<'result, SessionError>> =
        toldOf (fun errand -> subjects.Update(id, change, errand, cancel))

    /// Ends a session, whoever holds it. False when there was none that lived.
    member _.Destroy(id: string, reason: DestroyReason, cancel: CancellationToken) : Task<Result<bool, SessionError>> =
        toldOf (fun errand -> subjects.Destroy(id, reason, errand, cancel))

    /// Ends a session if it is this subject's at that moment. False when there was none such that lived.
    member internal _.DestroyOf
        (subject: string, id: string, reason: DestroyReason, cancel: CancellationToken)
        : Task<Result<bool, SessionError>> =
        toldOf (fun errand -> limits.EndOf(Some subject, id, reason, errand, cancel))

    /// Ends every session of a subject but `except`. Once acknowledged, none that was begun before the call lives.
    /// `Incomplete`: some could not be ended, the others are.
    member _.DestroyAll
        (subject: string, except: string option, reason: DestroyReason, cancel: CancellationToken)
        : Task<Result<int, SessionError>> =
        toldOf (fun errand -> subjects.DestroyAll(subject, except, reason, errand, cancel))

    /// The same inside a transaction of the application's: none ends before its commit. No sign-in of the subject is stored
    /// meanwhile, so once it is committed none lives that was acknowledged before. An error: roll back, nobody has ended.
    member _.DestroyAllIn
        (
            transaction: DbTransaction,
            subject: string,
            except: string option,
            reason: DestroyReason,
            cancel: CancellationToken
        ) : Task<Result<PendingEnds, SessionError>> =
        let within (joined: ISessionStore) errand =
            let access = StoreAccess(joined, settings, ownEnd, waits, clock, log, telemetry)
            let writers = Writers access
            let subjects = Subjects(access, writers, Limits(access, writers, settings), settings)
            subjects.DestroyAll(subject, except, reason, errand, cancel)

        let unavailable error = access.NotLoaded(error, cancel)
        Joining.destroyAll store within (Errand(waits, false)) unavailable announcer.TellAll transaction subject cancel

    /// What is stored under each of these ids now: by one command for at most 500 of them, if the store can do that.
    member internal _.Look(ids: IReadOnlyList<string>) : Task<Dictionary<string, Result<Snapshot, SessionError>>> =
        access.LoadMany ids

    member internal _.Externals = externals

    /// Ends what an identity provider names in a logout token. Once acknowledged, no node opens one of them.
    member internal _.EndExternal(logout: ExternalLogout) : Task<Result<LogoutReply, SessionError>> =
        toldOf (fun errand -> externals.End(logout, errand))

    /// Of a session that something is open for: it counts as seen now, once half of its idle time has passed without a request.
    member internal _.KeepAlive(found: Result<Snapshot, SessionError>, now: DateTimeOffset, errand: Errand) : Task =
        match found with
        | Ok session when
            Lifecycle.isLive session.State
            && (Rules.overdue access.Rules now session.State).IsNone
            && now - session.StoredLastSeen >= settings.Policy.Idle / 2.0
            ->
            access.Touch(session.Id, now, errand)
        | Ok _
        | Error _ -> Task.CompletedTask

    /// Ends every session of everybody, and says how many there were. None that was stored before the call lives then;
    /// those that begin meanwhile may.
    member _.DestroyEvery(reason: DestroyReason, cancel: CancellationToken) : Task<Result<int, SessionError>> =
        toldOf (fun errand -> subjects.DestroyEvery(reason, errand, cancel))

    /// Handles up to `limit` records whose time has come, and says how many it was given.
    member _.Sweep(limit: int, cancel: CancellationToken) : Task<int> = sweeper.Sweep(limit, cancel)

    /// Whether the store works. It takes no longer than a request waits for the store.
    member internal _.Probe(cancel: CancellationToken) : Task<ProbedCall list> =
        Probing.run access settings.Policy.Retention cancel
