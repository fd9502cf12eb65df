/// The one loop that changes a record, as a pure step machine: load, decide, compare and swap, look whether it was taken,
/// decide again. No task, store, log or clock: the driver in Loop.fs and the exploration answer what it asks.
namespace Session.Engine

open System
open Session.Domain

/// What is to happen to one session. It is decided anew, on the record as it is then, each time another write came first.
type internal Plan<'out> =
    {
        /// Events, and what the change gives out of the session as it is stored then; or why nothing happens.
        Decide: DateTimeOffset -> State -> Result<struct (Event list * (Snapshot -> 'out)), SessionError>
    }

/// A decided change. What it gives out leaves only with it, once it is stored.
type internal Write<'out> =
    {
        /// Random: who finds it stored knows that this write took effect.
        Operation: int64
        /// What it was decided on: it is stored only while that is still there.
        Before: Snapshot
        Events: Event list
        At: DateTimeOffset
        /// The session as it is once this is stored, and the record to store.
        After: Snapshot
        Out: Snapshot -> 'out
    }

/// What the loop has to know of the world it runs in.
[<Interface>]
type internal ITerms =
    /// How much later than the store knows a session has to be seen for the store to be told.
    abstract TouchStep: TimeSpan

    /// A state as it is stored, in place of what is there.
    abstract Recorded:
        before: Snapshot * state: State * events: Event list * at: DateTimeOffset * operation: int64 -> Snapshot

/// What the loop wants to know or to happen next.
type internal Ask<'out> =
    | Load
    /// Insert, where `Before` is absent.
    | Swap of Write<'out>
    | Finish of Ending<'out>

/// How it ended.
and internal Ending<'out> =
    /// Nothing changed.
    | Refused of SessionError
    /// It may have changed something, or may yet.
    | Unsure of exn
    /// There was nothing to store. `seenAt`: the store may hear that the session was seen then.
    | Kept of Write<'out> * seenAt: DateTimeOffset voption
    | Stored of Write<'out>
    /// Stored, and perhaps not to stay: the store has not acknowledged it.
    | Unacknowledged of Write<'out> * exn

type internal Answer =
    /// The record as it is now, and a number that no other write has.
    | Found of Result<Snapshot, SessionError> * now: DateTimeOffset * operation: int64
    | Answered of WriteResult
    | Failed of exn

type internal Run<'out> =
    {
        Attempt: int
        /// On its way to the store.
        Sent: Write<'out> voption
        /// Writes whose answer never came: they may have been taken, or be taken yet.
        Pending: Write<'out> list
        /// A write failed in the store's own words: its outcome is looked up, and nothing more is tried.
        Failure: exn voption
        /// Found stored, without the acknowledgement that it asks for: it is written once more to get that.
        Affirms: Write<'out> voption
    }

[<RequireQualifiedAccess>]
module internal Protocol =
    let private maxAttempts, private maxAffirmations = 64, 5
    let silence = TimeoutException "The store did not say whether it took a write." :> exn
    let tooNarrow = TimeoutException "The store has the change, but not as widely as it must be kept." :> exn

    let start: Run<'out> =
        { Attempt = 1
          Sent = ValueNone
          Pending = []
          Failure = ValueNone
          Affirms = ValueNone }

    let private finish run ending = struct (run, Finish ending)
    let private swap run write = struct ({ run with Sent = ValueSome write }, Swap write)

    /// What is refused with a write still under way is not refused for sure, unless the record is gone for good.
    let private refuse run error =
        match run.Pending, error with
        | [], _
        | _, SessionError.NoSession -> finish run (Refused error)
        | _, SessionError.Unavailable failure -> finish run (Unsure failure)
        | _, _ -> finish run (Unsure silence)

    let private decide plan (terms: ITerms) run (before: Snapshot) now operation =
        match plan.Decide now before.State with
        | Error error -> refuse run error
        | Ok(struct (events, out)) ->
            let state = List.fold Lifecycle.evolve before.State events

            let writeOf after =
                { Operation = operation
                  Before = before
                  Events = events
                  At = now
                  After = after
                  Out = out }

            if not before.IsOpen && Lifecycle.isLive state then
                refuse run (SessionError.Unreadable "the sealed data does not open")
            elif List.exists Event.isStored events then
                swap run (writeOf (terms.Recorded(before, state, events, now, operation)))
            else
                match Lifecycle.living state with
                | ValueSome live when (live.LastSeen - before.StoredLastSeen).Ticks >= terms.TouchStep.Ticks ->
                    finish run (Kept(writeOf { before with State = state }, ValueSome live.LastSeen))
                // What a touch would store is not due: the session ends when the record says, and not later.
                | _ ->
                    let unseen = List.filter Event.isNoTouch events |> List.fold Lifecycle.evolve before.State
                    finish run (Kept(writeOf { before with State = unseen }, ValueNone))

    /// A write that was found stored is written once more, for the acknowledgement that it asks for.
    let private affirm (terms: ITerms) run (first: Write<'out>) (found: Snapshot) operation =
        let after = terms.Recorded(found, first.After.State, first.Events, first.At, operation)
        let again = { first with Operation = operation; Before = found; After = after }
        swap { run with Affirms = ValueSome first } again

    /// The record as it is. After a write whose answer never came it says what became of that.
    let private look plan terms run (found: Snapshot) now operation =
        let isTaken (write: Write<'out>) = write.Operation = found.Operation
        let isOverwritten (write: Write<'out>) = found.Version > write.Before.Version + 1L

        match List.tryFind isTaken run.Pending, run.Failure with
        | Some write, ValueSome failure -> finish run (Unacknowledged(write, failure))
        | Some write, ValueNone when List.exists Event.mustLast write.Events -> affirm terms run write found operation
        | Some write, ValueNone -> finish run (Stored write)
        | None, ValueSome failure -> finish run (Unsure failure)
        | None, ValueNone when found.Version = 0L && List.exists (fun write -> write.Before.Version > 0L) run.Pending ->
            finish run (Refused SessionError.NoSession)
        // Taken and overwritten, or never taken: nobody can tell any more, and to decide again might count twice.
        | None, ValueNone when List.exists isOverwritten run.Pending -> finish run (Unsure silence)
        | None, ValueNone ->
            // One whose version another write has cannot arrive any more; the others exclude what is decided now.
            let pending = run.Pending |> List.filter (fun write -> write.Before.Version = found.Version)
            decide plan terms { run with Pending = pending } found now operation

    /// The record while a write is affirmed whose second answer did not come either.
    let private lookAgain terms run (first: Write<'out>) (found: Snapshot) operation =
        let isOurs (write: Write<'out>) = write.Operation = found.Operation

        if isOurs first || ValueOption.exists isOurs run.Sent then
            affirm terms run first found operation
        else
            finish run (Unacknowledged(first, silence))

    let private again run =
        if run.Attempt >= maxAttempts then
            refuse run SessionError.Contended
        else
            struct ({ run with Attempt = run.Attempt + 1; Sent = ValueNone }, Load)

    /// The next step.
    let next (plan: Plan<'out>) (terms: ITerms) (run: Run<'out>) answer : struct (Run<'out> * Ask<'out>) =
        match answer, run.Sent, run.Affirms with
        | Found(Error error, _, _), _, _ -> refuse run error
        | Found(Ok found, _, operation), _, ValueSome first -> lookAgain terms run first found operation
        | Found(Ok found, now, operation), _, _ when run.Pending.IsEmpty -> decide plan terms run found now operation
        | Found(Ok found, now, operation), _, _ -> look plan terms run found now operation
        | Answered WriteResult.Written, ValueSome again, ValueSome first ->
            finish run (Stored { first with After = again.After })
        | Answered WriteResult.Unknown, _, ValueSome _ when run.Attempt < maxAffirmations ->
            struct ({ run with Attempt = run.Attempt + 1 }, Load)
        | Answered _, _, ValueSome first -> finish run (Unacknowledged(first, silence))
        | Failed failure, _, ValueSome first -> finish run (Unacknowledged(first, failure))
        | Answered WriteResult.Written, ValueSome write, _ -> finish run (Stored write)
        | Answered WriteResult.Unacknowledged, ValueSome write, _ -> finish run (Unacknowledged(write, tooNarrow))
        | Answered WriteResult.Absent, _, _ -> refuse run SessionError.NoSession
        | Answered WriteResult.Conflict, ValueSome write, _ when write.Before.Version = 0L && run.Pending.IsEmpty ->
            finish run (Refused(SessionError.Refused Exists))
        | Answered WriteResult.Unknown, ValueSome write, _ -> again { run with Pending = write :: run.Pending }
        | Answered _, _, _ -> again run
        // A store that is full, for one, has taken nothing.
        | Failed(:? StoreRefusedException as failure), _, _ -> refuse run (SessionError.Unavailable failure)
        | Failed failure, ValueSome write, _ ->
            let looking = { run with Sent = ValueNone; Pending = write :: run.Pending }
            struct ({ looking with Failure = ValueSome failure }, Load)
        | Failed failure, ValueNone, _ -> refuse run (SessionError.Unavailable failure)
