/// What is done with sessions without a request: by their id, by their subject, or with all there are.
namespace Session.Engine

open System
open System.Threading
open System.Threading.Tasks
open Session.Domain

/// What became of many ends. One that fails does not keep the others from being tried.
[<NoComparison; NoEquality>]
type internal Tally =
    { Ended: int
      Left: int
      Cause: SessionError voption
      // How many in a row the store has left without an answer.
      Unanswered: int }

    static member Zero = { Ended = 0; Left = 0; Cause = ValueNone; Unanswered = 0 }

    member tally.With(ending: Result<bool, SessionError>) =
        match ending with
        | Ok true -> { tally with Ended = tally.Ended + 1; Unanswered = 0 }
        | Ok false -> { tally with Unanswered = 0 }
        | Error cause ->
            let isUnanswered =
                match cause with
                | SessionError.Unavailable failure
                | SessionError.Unsure failure -> SessionStore.causeOf failure :? TimeoutException
                | _ -> false

            { tally with
                Left = tally.Left + 1
                Cause = ValueSome cause
                Unanswered = if isUnanswered then tally.Unanswered + 1 else 0 }

    /// A store that does not answer is waited for as long as for a few requests, and not once for each of many sessions.
    member tally.MayTry = tally.Unanswered < 3

    /// One that was not tried.
    member tally.WithOneLeft = { tally with Left = tally.Left + 1 }

    member tally.Answer: Result<int, SessionError> =
        match tally.Cause with
        | ValueNone -> Ok tally.Ended
        | ValueSome cause -> Error(SessionError.Incomplete(tally.Ended, tally.Left, cause))

    /// Where the list could not be read to its end.
    member tally.StoppedBy(cause: SessionError) : Result<int, SessionError> =
        if tally.Ended = 0 && tally.Left = 0 then
            Error cause
        else
            Error(SessionError.Incomplete(tally.Ended, tally.Left + 1, cause))

[<Sealed>]
type internal Subjects(access: StoreAccess, writers: Writers, limits: Limits, settings: EngineSettings) =
    let policy, rules, store = settings.Policy, access.Rules, access.Store
    let pageSize = 200
    let none = CancellationToken.None

    let isLiveAt now (session: Snapshot) =
        Lifecycle.isLive session.State && (Rules.overdue rules now session.State).IsNone

    /// By a tombstone in the place of a record that nobody here can read; another node may read it.
    let bury (record: StoredRecord) (errand: Errand) : Task<Result<bool, SessionError>> =
        // `unsure`: those of our tombstones that the store has said nothing of: each may be stored, now or later. One that is
        // found need not be kept as widely as it must be, so it is written once more. `failures`: how often it has failed.
        let rec replace
            (record: StoredRecord)
            (unsure: int64 list)
            attempt
            failures
            : Task<Result<bool, SessionError>> =
            task {
                let tombstone = access.Records.Tombstone(record, Revoked, access.Now)
                errand.Renew()

                match! access.Try((fun () -> store.Replace(tombstone, record.Version, none)), errand) with
                | Ok WriteResult.Written ->
                    access.WasStored()
                    return Ok true
                | Ok WriteResult.Unacknowledged -> return Error(SessionError.Unacknowledged Protocol.tooNarrow)
                | Ok WriteResult.Absent when unsure.IsEmpty -> return Ok false
                | Ok WriteResult.Unknown ->
                    return! look record.Id (tombstone.Operation :: unsure) attempt failures Protocol.silence
                | Ok _ -> return! look record.Id unsure attempt failures Protocol.silence
                | Error failure ->
                    match access.NotStored failure with
                    | SessionError.Unsure _ ->
                        return! look record.Id (tombstone.Operation :: unsure) attempt (failures + 1) failure
                    // One of before may be stored all the same.
                    | _ when not unsure.IsEmpty -> return Error(SessionError.Unsure failure)
                    | error -> return Error error
            }

        and look (id: string) (unsure: int64 list) attempt failures (failure: exn) : Task<Result<bool, SessionError>> =
            task {
                let isLast = attempt >= 8 || failures >= 2

                match! access.Try((fun () -> store.Load(id, none)), errand) with
                | Error failure ->
                    let notLoaded = access.NotLoaded(failure, none)
                    return Error(if unsure.IsEmpty then notLoaded else SessionError.Unsure failure)
                | Ok Null -> return Ok(not unsure.IsEmpty)
                | Ok(NonNull found) when isLast && List.contains found.Operation unsure ->
                    return Error(SessionError.Unacknowledged failure)
                | Ok(NonNull found) when found.Kind = RecordKind.Ended && not (List.contains found.Operation unsure) ->
                    return Ok false
                | Ok(NonNull _) when isLast && unsure.IsEmpty -> return Error SessionError.Contended
                | Ok(NonNull _) when isLast -> return Error(SessionError.Unsure failure)
                | Ok(NonNull found) -> return! replace found unsure (attempt + 1) failures
            }

        replace record [] 1 0

    /// Ends a record that nobody here can read, and none that is moving: only a node that knows of the move can end that. What this one
    /// wrote here would go with the record.
    let endUnreadable (record: StoredRecord) (errand: Errand) : Task<Result<bool, SessionError>> =
        if record.Version < 0L then
            Task.FromResult(Error(SessionError.Unreadable "the session is moving to another store"))
        else
            bury record errand

    /// Of a subject, whoever can read it.
    let endOf (subject: string) (id: string) reason (errand: Errand) : Task<Result<bool, SessionError>> =
        task {
            match! limits.EndOf(Some subject, id, reason, errand, CancellationToken.None) with
            | Error(SessionError.Unreadable _ as error) ->
                try
                    match! errand.Await(store.Load(id, CancellationToken.None)) with
                    | null -> return Ok false
                    | record when record.Subject = subject -> return! endUnreadable record errand
                    | _ -> return Error error
                with error ->
                    return Error(access.NotLoaded(error, CancellationToken.None))
            | ended -> return ended
        }

    let endRecord (record: StoredRecord) reason (errand: Errand) =
        task {
            errand.Renew()

            match! limits.End(record.Id, reason, errand, CancellationToken.None) with
            | Error(SessionError.Unreadable _) -> return! endUnreadable record errand
            | ended -> return ended
        }

    /// The session under this id at this moment, if there is one that is not over.
    member _.Find(id: string, errand, cancel: CancellationToken) : Task<Result<Snapshot option, SessionError>> =
        task {
            match! access.Load(id, null, errand, cancel) with
            | Error error -> return Error error
            | Ok found ->
                let session = { found with State = Lifecycle.settle policy access.Now found.State }
                return Ok(if isLiveAt access.Now session then Some session else None)
        }

    /// The live sessions of a subject.
    member _.List(subject: string, errand, cancel: CancellationToken) : Task<Result<Snapshot list, SessionError>> =
        task {
            let! found = limits.Find(subject, errand, cancel)
            return found |> Result.map (fun found -> List.filter (isLiveAt access.Now) found.Sessions)
        }

    /// New data for a session, whoever holds it: it stays as it is otherwise, and no deadline moves.
    member _.Update
        (id: string, change, errand: Errand, cancel: CancellationToken)
        : Task<Result<'result, SessionError>> =
        task {
            let plan = Plans.update rules settings.MaxDataBytes None change ignore

            match! writers.Run(id, plan, errand, cancel) with
            | Reply.Done(struct ((), result)) -> return Ok result
            | Reply.Failed error
            | Reply.Partly(_, error) -> return Error error
        }

    /// Ends a session, whoever holds it. False when there was none that lived.
    member _.Destroy
        (id: string, reason: DestroyReason, errand: Errand, cancel: CancellationToken)
        : Task<Result<bool, SessionError>> =
        task {
            match! limits.End(id, reason, errand, cancel) with
            | Error(SessionError.Unreadable _) ->
                try
                    match! errand.Await(store.Load(id, cancel), cancel) with
                    | null -> return Ok false
                    | record -> return! endUnreadable record errand
                with error ->
                    return Error(access.NotLoaded(error, cancel))
            | ended -> return ended
        }

    /// Ends a session if it is this subject's. False when it is not, or was over.
    member _.EndOf(subject: string, id: string, reason: DestroyReason, errand: Errand) = endOf subject id reason errand

    /// Ends every session of a subject but `except`. Once acknowledged, none that was begun before the call lives.
    member _.DestroyAll
        (subject: string, except: string option, reason: DestroyReason, errand: Errand, cancel: CancellationToken)
        : Task<Result<int, SessionError>> =
        task {
            match! limits.FindAll(subject, errand, cancel) with
            | Error error -> return Error error
            | Ok found ->
                let mutable tally = Tally.Zero

                for session in found.Sessions do
                    if Some session.Id <> except && not tally.MayTry then
                        tally <- tally.WithOneLeft
                    elif Some session.Id <> except then
                        cancel.ThrowIfCancellationRequested()
                        errand.Renew()
                        let! ended = limits.EndOf(Some subject, session.Id, reason, errand, CancellationToken.None)
                        tally <- tally.With ended

                for record in found.Unreadable do
                    if Some record.Id <> except && not tally.MayTry then
                        tally <- tally.WithOneLeft
                    elif Some record.Id <> except then
                        let! ended = endUnreadable record errand
                        tally <- tally.With ended

                return tally.Answer
        }

    /// Ends every session of everybody, and says how many there were. None that was stored before the call lives then;
    /// those that begin meanwhile may.
    member _.DestroyEvery
        (reason: DestroyReason, errand: Errand, cancel: CancellationToken)
        : Task<Result<int, SessionError>> =
        task {
            let mutable tally = Tally.Zero

            try
                let mutable after: string | null = null
                let mutable more = true

                while more do
                    cancel.ThrowIfCancellationRequested()
                    errand.Renew()
                    let! page = errand.Await(store.Enumerate(after, pageSize, cancel), cancel)

                    for record in page.Records do
                        if record.Kind <> RecordKind.Ended && not tally.MayTry then
                            tally <- tally.WithOneLeft
                        elif record.Kind <> RecordKind.Ended then
                            cancel.ThrowIfCancellationRequested()
                            let! ended = endRecord record reason errand
                            tally <- tally.With ended

                    more <- not (isNull page.Next) && page.Next <> after && tally.MayTry
                    after <- page.Next

                return tally.Answer
            with error when not (error :? NotSupportedException) ->
                return tally.StoppedBy(access.NotLoaded(error, cancel))
        }
