/// The store, as the engine asks it: no longer than there is time, with failures said once, and what it throws as a value.
namespace Session.Engine

open System
open System.Collections.Generic
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open Session.Domain
open NonStructuralComparison // the general operators allocate for each comparison

/// Says once that the store has failed, and once that it is back, however many requests meet the failure: of a store that
/// fails now and then not more often than every ten seconds. Every failure is counted. It is back when calls come through and none
/// has failed for a second (one shard of several may be down), and where writes failed, with a write: a store may read and take no
/// writes (its disk is full, it is a replica).
[<Sealed>]
type internal Outage(log: ILogger, measures: Measures, timer: TimeProvider) =
    let mutable failures = 0L
    // 0: it works. 1: that it fails is being written down, and nobody says the contrary before that. 2: it is said.
    let mutable stage = 0
    // A write has failed, and none has come through since.
    let mutable failsToWrite = false
    let mutable failedLast = 0L
    // Zero: it has never been back.
    let mutable backSince = 0L

    /// A store that comes and goes is said once in so long.
    let isQuiet () =
        match Volatile.Read &backSince with
        | 0L -> false
        | since -> timer.GetElapsedTime since < TimeSpan.FromSeconds 10L

    let isCalm () = timer.GetElapsedTime(Volatile.Read &failedLast) >= TimeSpan.FromSeconds 1L

    member _.Failed(error: exn, isWrite: bool) =
        measures.StoreFailed()
        Volatile.Write(&failedLast, timer.GetTimestamp())

        if isWrite then
            Volatile.Write(&failsToWrite, true)

        Interlocked.Increment &failures |> ignore

        if not (isQuiet ()) && Interlocked.CompareExchange(&stage, 1, 0) = 0 then
            try
                EngineLog.storeFailed log error
            finally
                Volatile.Write(&stage, 2)

    member _.Worked(isWrite: bool) =
        if isWrite && Volatile.Read &failsToWrite then
            Volatile.Write(&failsToWrite, false)

        if
            Volatile.Read &stage = 2
            && not (Volatile.Read &failsToWrite)
            && isCalm ()
            && Interlocked.CompareExchange(&stage, 1, 2) = 2
        then
            Volatile.Write(&backSince, timer.GetTimestamp())

            try
                EngineLog.storeIsBack log null (Interlocked.Exchange(&failures, 0L))
            finally
                Volatile.Write(&stage, 0)

[<Sealed>]
type internal StoreAccess
    (
        store: ISessionStore,
        settings: EngineSettings,
        ownEnd: Func<byte[], DateTimeOffset> | null,
        limits: WaitLimits,
        clock: TimeProvider,
        log: ILogger,
        telemetry: Telemetry
    ) =
    let metered (store: ISessionStore) : ISessionStore = MeteredStore(ApartStore store, telemetry)

    let everywhere =
        match store with
        | :? MigratingStore as moving -> List.map metered moving.Both
        | _ -> []

    let readsMany = store :? IReadsMany
    let store = metered store
    let measures = telemetry.Measures
    let rules = { Policy = settings.Policy; OwnEnd = ownEnd }

    let records = Records(rules, settings, log)
    let outage = Outage(log, measures, limits.Timer)

    // A touch each so often keeps `lastSeen` exact to a sixtieth of the idle timeout, and never ends a session late.
    let touchStep = min (TimeSpan.FromMinutes 1L) (settings.Policy.Idle / 60.0)

    // One for all who seal nothing and hold nothing, which is nearly everybody.
    let plain = StoreAccess.TermsOf(records, touchStep, null, TimeSpan.Zero)

    static member private TermsOf(records: Records, touchStep, keys, hold) =
        { new ITerms with
            member _.TouchStep = touchStep

            member _.Recorded(before, state, events, at, operation) =
                records.Write(before, state, events, at, operation, keys, hold) }

    member _.Store = store
    /// By themselves the two stores that sessions move between, the former one first; else the only one.
    member _.Everywhere = if everywhere.IsEmpty then [ store ] else everywhere
    member _.Measures = measures
    member _.Rules = rules
    member _.Records = records
    member _.Limits = limits
    member _.Now = clock.GetUtcNow()
    member _.NewOperation() = limits.Chance.NextInt64()

    /// `keys`: those of the request, where data is sealed to its bearer. `hold`: what a sweeper holds a record for.
    member _.Terms(keys: BearerKeys | null, hold: TimeSpan) =
        if isNull keys && hold = TimeSpan.Zero then plain else StoreAccess.TermsOf(records, touchStep, keys, hold)

    /// For a call without a request, or for all calls of one.
    member _.NewErrand() = Errand limits

    /// Notes something for the application that is no event of the lifecycle.
    member access.Note(errand: Errand, kind: NoticeKind, id: string) =
        match kind with
        | OutdatedNotice -> measures.Refused "outdated"
        | UnreadableNotice _ -> measures.Refused "unreadable"
        | RefusedNotice RefusalReason.Guessed -> measures.Refused "guessed"
        | RefusedNotice RefusalReason.Duplicated -> measures.Refused "duplicated"
        | RefusedNotice RefusalReason.Malformed -> measures.Refused "malformed"
        | _ -> ()

        errand.Note { Kind = kind; Id = id; Subject = None; Data = [||]; At = access.Now }

    /// Whether an answer needs nothing stored and nothing told to the store. `touches`: whether it is told that the session was
    /// seen, where that is due.
    member _.IsRead(before: Snapshot, events: Event list, touches: bool) =
        let rec areRead (before: Snapshot) events =
            match events with
            | [] -> true
            | WasSeen at :: rest -> (not touches || at - before.StoredLastSeen < touchStep) && areRead before rest
            | event :: rest -> not (Event.isStored event) && areRead before rest

        before.IsOpen && areRead before events

    // -- a load in three parts: a store that answers at once costs no state machine

    member _.BeginLoad(id: string, cancel: CancellationToken) : ValueTask<StoredRecord | null> =
        try
            store.Load(id, cancel)
        with error ->
            ValueTask.FromException<StoredRecord | null> error

    member _.Read(id, record: StoredRecord | null, keys) =
        outage.Worked false
        records.Read(id, record, keys)

    /// Of a load that failed. A cancelled one is the caller's own will.
    member _.NotLoaded(error: exn, cancel: CancellationToken) : SessionError =
        match error with
        | :? OperationCanceledException when cancel.IsCancellationRequested -> raise error
        | error ->
            outage.Failed(error, false)
            SessionError.Unavailable error

    /// Of a write that failed: it may have been taken. One that the store has refused was not.
    member _.NotStored(error: exn) : SessionError =
        outage.Failed(error, true)

        match error with
        | :? StoreRefusedException -> SessionError.Unavailable error
        | error -> SessionError.Unsure error

    /// A call beside the loop, with what it throws as a value.
    member _.Try(call: unit -> ValueTask<'answer>, errand: Errand) : Task<Result<'answer, exn>> =
        task {
            try
                let! answer = errand.Await(call ())
                return Ok answer
            with error ->
                return Error error
        }

    /// Of a write beside the loop, which the store has taken.
    member _.WasStored() = outage.Worked true

    // -- and the whole of it

    member access.Load(id: string, keys, errand: Errand, cancel) : Task<Result<Snapshot, SessionError>> =
        task {
            try
                let! record = errand.Await(access.BeginLoad(id, cancel), cancel)
                return access.Read(id, record, keys)
            with
            | error when errand.IsOptional ->
                access.Failed(error, false, errand)
                return Error(SessionError.Unavailable error)
            | error -> return Error(access.NotLoaded(error, cancel))
        }

    /// What a request can do without says nothing of an outage by failing to come in its short time. A refusal does.
    member private _.Failed(error: exn, isWrite: bool, errand: Errand) =
        match error with
        | :? StoreRefusedException -> outage.Failed(error, isWrite)
        | _ when errand.IsOptional -> measures.StoreFailed()
        | _ -> outage.Failed(error, isWrite)

    /// Each of these as it is now, without the keys of any client. Of what cannot be read, an error.
    member access.LoadMany(ids: IReadOnlyList<string>) : Task<Dictionary<string, Result<Snapshot, SessionError>>> =
        task {
            let answers = Dictionary<string, Result<Snapshot, SessionError>>(StringComparer.Ordinal)

            if readsMany then
                do! access.LoadTogether(ids, answers)

            // By other stores, and what went wrong together: one record that cannot be read says nothing of the others.
            do! access.LoadEach(List<string>(Seq.filter (answers.ContainsKey >> not) ids), answers)
            return answers
        }

    member private access.LoadTogether(ids, answers) : Task =
        task {
            try
                let loading = SessionStore.loadMany store ids CancellationToken.None
                let! records = (access.NewErrand()).Await(loading, CancellationToken.None)

                for record in records do
                    answers[record.Id] <- access.Read(record.Id, record, null)

                for id in ids do
                    if not (answers.ContainsKey id) then
                        answers[id] <- access.Read(id, null, null)
            with error ->
                access.NotLoaded(error, CancellationToken.None) |> ignore<SessionError>
        }

    /// Some at a time: a store that is asked for five hundred at once has no room for anybody else. One that answers none of
    /// these is asked no more.
    member private access.LoadEach(ids: List<string>, answers) : Task =
        task {
            let mutable given: SessionError voption = ValueNone

            for some in Seq.chunkBySize 16 ids do
                match given with
                | ValueSome error ->
                    for id in some do
                        answers[id] <- Error error
                | ValueNone ->
                    let load id = access.Load(id, null, access.NewErrand(), CancellationToken.None)
                    let! found = Task.WhenAll(Array.map load some)
                    Array.iter2 (fun id answer -> answers[id] <- answer) some found

                    match found[0] with
                    | Error(SessionError.Unavailable _ as error) when
                        found |> Array.forall (fun (answer: Result<Snapshot, SessionError>) -> answer.IsError)
                        ->
                        given <- ValueSome error
                    | _ -> ()
        }

    /// Before a record is read once more. Those who try again at the same moment would meet again.
    member _.Again(attempt: int) : Task =
        if attempt > 1 then
            measures.Retried()

        if attempt > 2 then
            let milliseconds = limits.Chance.Next(1, 1 + min 50 (1 <<< min attempt 6))
            Task.Delay(TimeSpan.FromMilliseconds(float milliseconds), limits.Timer)
        else
            Task.CompletedTask

    /// What a load says to the loop.
    member access.Found(loaded: Result<Snapshot, SessionError>) : Answer =
        match loaded with
        | Error(SessionError.Unavailable failure) -> Failed failure
        | loaded -> Found(loaded, access.Now, access.NewOperation())

    member access.Swap(write: Write<'out>, errand: Errand) : Task<Answer> =
        task {
            try
                let record, version = nonNull write.After.Record, write.Before.Version

                let! result =
                    errand.Await(
                        if version = 0L then
                            store.Insert(record, CancellationToken.None)
                        else
                            store.Replace(record, version, CancellationToken.None)
                    )

                match result with
                | WriteResult.Unknown -> access.Failed(Protocol.silence, true, errand)
                // Nothing was written: a store that takes no writes any more says so, too.
                | WriteResult.Conflict ->
                    measures.Conflicted()
                    outage.Worked false
                | WriteResult.Absent -> outage.Worked false
                | _ -> outage.Worked true

                return Answered result
            with error ->
                access.Failed(error, true, errand)
                return Failed error
        }

    /// Where there was nothing to store: it is not waited for longer than there is time, and may be lost.
    member access.Touch(id: string, at: DateTimeOffset, errand: Errand) : Task =
        task {
            try
                do! errand.Await(store.Touch(id, at, CancellationToken.None))
                // A store may take effect of it later, or lose it: it is no proof of a write.
                outage.Worked false
            with error ->
                access.Failed(error, false, errand)
        }
