/// Drives Protocol.next: asks the store what the protocol asks for. In this process the writers of one session do not race
/// each other: who comes while a write is under way waits, and all who wait are stored by one write.
namespace Session.Engine

open System
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open Session.Domain

/// What an operation came to.
[<RequireQualifiedAccess; NoComparison; NoEquality>]
type Reply<'out> =
    | Done of 'out
    /// Nothing is given out.
    | Failed of SessionError
    /// The change is stored, and what it gives out is handed over all the same.
    | Partly of 'out * SessionError

[<Sealed>]
type internal Loop
    (store: ISessionStore, settings: EngineSettings, limits: WaitLimits, clock: TimeProvider, log: ILogger) =
    let records = Records(settings, log)
    let outage = Outage log
    let lanes = Lanes()

    // A touch each so often keeps `lastSeen` exact to a sixtieth of the idle timeout, and never ends a session late.
    let touchStep = min (TimeSpan.FromMinutes 1L) (settings.Policy.Idle / 60.0)

    let start (call: unit -> ValueTask<'answer>) : ValueTask<'answer> =
        try
            call ()
        with error ->
            ValueTask.FromException<'answer> error

    let found (snapshot: Result<Snapshot, SessionError>) = Found(snapshot, clock.GetUtcNow(), Random.Shared.NextInt64())

    /// What has been stored, or was there already, is given out; what is worth telling waits in the outbox.
    let finish (outbox: Outbox) (ending: Ending<'out>) (after: Snapshot voption) : Reply<'out> =
        let give (write: Write<'out>) =
            Notices.collect outbox write
            write.Out(ValueOption.defaultValue write.Before after)

        match ending with
        | Refused error -> Reply.Failed error
        | Unsure failure -> Reply.Failed(SessionError.Unsure failure)
        | Kept(write, _)
        | Stored write -> Reply.Done(give write)
        | Unacknowledged(write, failure) -> Reply.Partly(give write, SessionError.Unacknowledged failure)

    /// Where there was nothing to store: a touch is not waited for longer than patience lasts, and may be lost.
    let touch (id: string) (at: DateTimeOffset) (patience: Patience) : Task =
        task {
            try
                let touching = store.Touch(id, at, CancellationToken.None)

                if not touching.IsCompletedSuccessfully then
                    do! touching.AsTask().WaitAsync patience.Left
            with error ->
                outage.Failed error
        }

    member _.Now = clock.GetUtcNow()
    member _.Records = records

    /// Notes something for the application that is no event of the lifecycle.
    member _.Note(outbox: Outbox, kind: NoticeKind, id: string) =
        outbox.Add
            { Kind = kind
              Id = id
              Subject = None
              Data = [||]
              At = clock.GetUtcNow() }

    /// Whether an answer needs nothing stored and nothing told to the store.
    member _.IsRead(before: Snapshot, events: Event list) =
        let isRead event =
            match event with
            | WasSeen at -> at - before.StoredLastSeen < touchStep
            | event -> not (Event.isStored event)

        before.IsOpen && List.forall isRead events

    /// Starts a load. A store that answers at once costs no state machine.
    member _.BeginLoad(id: string, cancel: CancellationToken) : ValueTask<StoredRecord | null> =
        start (fun () -> store.Load(id, cancel))

    member _.Read(id, record: StoredRecord | null, keys) =
        outage.Worked()
        records.Read(id, record, keys)

    /// Of a load that failed. A cancelled one is the caller's own will.
    member _.NotLoaded(error: exn, cancel: CancellationToken) : SessionError =
        match error with
        | :? OperationCanceledException when cancel.IsCancellationRequested -> raise error
        | error ->
            outage.Failed error
            SessionError.Unavailable error

    member loop.Load(id: string, keys, patience: Patience, cancel) : Task<Result<Snapshot, SessionError>> =
        task {
            try
                let! record = patience.Await(loop.BeginLoad(id, cancel), cancel)
                return loop.Read(id, record, keys)
            with error ->
                return Error(loop.NotLoaded(error, cancel))
        }

    /// To the end of a run. What was stored, as it is now, comes along.
    member private loop.Drive
        (
            id,
            plan: Plan<'out>,
            first: Run<'out>,
            ask: Ask<'out>,
            keys: BearerKeys | null,
            hold,
            patience: Patience,
            cancel
        ) : Task<struct (Ending<'out> * Snapshot voption)> =
        task {
            let mutable run, ask = first, ask
            let mutable ending = ValueNone
            // By operation: an earlier attempt may turn out to be the one that was taken.
            let mutable written: Snapshot list = []

            while ending.IsNone do
                let mutable answer = Failed(TimeoutException())

                match ask with
                | Finish it -> ending <- ValueSome it
                | Load ->
                    if run.Attempt > 2 then
                        do! Task.Delay(Random.Shared.Next(1, 1 + min 50 (1 <<< min run.Attempt 6)))

                    match! loop.Load(id, keys, patience, CancellationToken.None) with
                    | Error(SessionError.Unavailable failure) -> answer <- Failed failure
                    | snapshot -> answer <- found snapshot
                | Swap write ->
                    if run.Pending.IsEmpty then
                        (cancel: CancellationToken).ThrowIfCancellationRequested()

                    let struct (record, after) = records.Write(write, keys, hold)
                    written <- after :: written

                    try
                        let! result =
                            patience.Await(
                                start (fun () ->
                                    if write.Before.Version = 0L then
                                        store.Insert(record, CancellationToken.None)
                                    else
                                        store.Replace(record, write.Before.Version, CancellationToken.None))
                            )

                        outage.Worked()
                        answer <- Answered result
                    with error ->
                        outage.Failed error
                        answer <- Failed error

                if ending.IsNone then
                    let struct (next, asked) = Protocol.next plan touchStep run answer
                    run <- next
                    ask <- asked

            let after =
                match ending.Value with
                | Refused _
                | Unsure _ -> ValueNone
                | Kept(write, ValueNone) ->
                    // What a touch would store is not due: the session ends when the record says, and not later.
                    let events = write.Events |> List.filter (fun event -> not event.IsWasSeen)

                    ValueSome
                        { write.Before with
                            State = List.fold Lifecycle.evolve write.Before.State events }
                | Kept(write, ValueSome _) -> ValueSome { write.Before with State = write.State }
                | Stored _ when run.Affirms.IsSome -> ValueSome written.Head
                | Stored write
                | Unacknowledged(write, _) ->
                    written |> List.tryFind (fun after -> after.Operation = write.Operation) |> ValueOption.ofOption

            match ending.Value with
            | Kept(_, ValueSome at) -> do! touch id at patience
            | _ -> ()

            return struct (ending.Value, after)
        }

    /// One write for all who have waited. Begins with what the write before has stored.
    member private loop.Share(id: string, waiters: Waiter list, basis: Snapshot voption) : Task =
        task {
            let patience = Patience limits.RequestTimeout
            let keys = waiters.Head.Keys
            let plan = waiters |> List.map _.Plan |> Protocol.join
            let mutable after = ValueNone

            try
                try
                    let first =
                        match basis with
                        | ValueSome basis when isNull keys ->
                            Protocol.next plan touchStep Protocol.start (found (Ok basis))
                        | _ -> struct (Protocol.start, Load)

                    let struct (run, ask) = first

                    let! struct (ending, stored) =
                        loop.Drive(id, plan, run, ask, keys, TimeSpan.Zero, patience, CancellationToken.None)

                    after <- stored

                    let each (toEnding: Write<objnull> -> Ending<objnull>) (write: Write<_ list>) =
                        let own = write.Out(ValueOption.defaultValue write.Before stored)

                        for waiter, decided in List.zip waiters own do
                            match decided with
                            | Error error -> waiter.End(Refused error, ValueNone)
                            | Ok write when List.exists Event.isStored write.Events ->
                                waiter.End(toEnding write, ValueNone)
                            | Ok write -> waiter.End(Kept(write, ValueNone), ValueNone)

                    match ending with
                    | Stored write -> each Stored write
                    | Kept(write, _) -> each (fun write -> Kept(write, ValueNone)) write
                    | Unacknowledged(write, failure) -> each (fun write -> Unacknowledged(write, failure)) write
                    | Refused error -> waiters |> List.iter _.End(Refused error, ValueNone)
                    | Unsure failure -> waiters |> List.iter _.End(Unsure failure, ValueNone)
                with failure ->
                    waiters |> List.iter _.End(Unsure failure, ValueNone)
            finally
                loop.PassOn(id, after)
        }

    /// The session is free for those who have waited, or for anybody.
    member private loop.PassOn(id: string, after: Snapshot voption) =
        match lanes.Leave id with
        | [] -> ()
        | waiters ->
            ThreadPool.UnsafeQueueUserWorkItem((fun _ -> loop.Share(id, waiters, after) |> ignore), null)
            |> ignore

    /// Waits until a write that somebody else makes has this plan in it.
    member private _.Wait(waiter: Waiter, patience: Patience, cancel: CancellationToken) =
        task {
            try
                return! waiter.Ended.WaitAsync(patience.Left, cancel)
            with error when not waiter.Ended.IsCompleted ->
                match error with
                | _ when not (waiter.TryWithdraw()) -> return struct (Unsure error, ValueNone)
                | :? OperationCanceledException -> return raise error
                | _ -> return struct (Refused SessionError.Contended, ValueNone)
        }

    /// Decides on the record under `id`, again for each conflict, and stores what follows. `start`: the record as it was
    /// read before, which spares the first load. `keys`: those of the request, where data is sealed to its bearer.
    /// `hold`: what a sweeper holds a record for; it takes no turn.
    member loop.Run<'out>
        (
            id: string,
            plan: Plan<'out>,
            start: Snapshot voption,
            keys: BearerKeys | null,
            hold: TimeSpan,
            patience: Patience,
            outbox: Outbox,
            cancel: CancellationToken
        ) : Task<Reply<'out>> =
        task {
            cancel.ThrowIfCancellationRequested()

            let! first =
                match start with
                | ValueSome snapshot -> Task.FromResult(Ok snapshot)
                | ValueNone -> loop.Load(id, keys, patience, cancel)

            let struct (run, ask) =
                match first with
                | Error(SessionError.Unavailable failure) ->
                    Protocol.next plan touchStep Protocol.start (Failed failure)
                | first -> Protocol.next plan touchStep Protocol.start (found first)

            match ask with
            | Swap _ when hold = TimeSpan.Zero ->
                match lanes.Enter(id, plan, keys, patience.SharesWrites) with
                | null ->
                    let mutable after = ValueNone

                    try
                        let! struct (ending, stored) = loop.Drive(id, plan, run, ask, keys, hold, patience, cancel)
                        after <- stored
                        return finish outbox ending stored
                    finally
                        loop.PassOn(id, after)
                | waiter ->
                    let! struct (ending, after) = loop.Wait(waiter, patience, cancel)
                    waiter.Rethrow()

                    match finish outbox ending after with
                    | Reply.Done out -> return Reply.Done(unbox out)
                    | Reply.Failed error -> return Reply.Failed error
                    | Reply.Partly(out, error) -> return Reply.Partly(unbox out, error)
            | _ ->
                let! struct (ending, stored) = loop.Drive(id, plan, run, ask, keys, hold, patience, cancel)
                return finish outbox ending stored
        }
