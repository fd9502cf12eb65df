/// The one loop of the library that changes a record, as a pure step machine: load, decide, compare and swap, look whether
/// it was taken, decide again. No task, no store, no log and no clock: the driver in Loop.fs, the exploration and the
/// simulation answer what it asks.
namespace Session.Engine

open System
open Session.Domain

/// What is to happen to one session. It is decided anew, on the record as it is then, each time another write came first.
[<NoComparison; NoEquality>]
type internal Plan<'out> =
    {
        /// Events, and what the change gives out; or why nothing happens.
        Decide: DateTimeOffset -> State -> Result<struct (Event list * (Snapshot -> 'out)), SessionError>
    }

[<RequireQualifiedAccess>]
module internal Plan =
    /// The same plan, beside others that give out something else.
    let box (plan: Plan<'out>) : Plan<objnull> =
        { Decide =
            fun now state ->
                match plan.Decide now state with
                | Error error -> Error error
                | Ok(struct (events, out)) -> Ok(struct (events, out >> box)) }

/// What the loop wants to know or to happen next.
[<NoComparison; NoEquality>]
type internal Ask<'out> =
    | Load
    /// Insert, where `Before` is absent.
    | Swap of Write<'out>
    | Finish of Ending<'out>

/// How it ended.
and [<NoComparison; NoEquality>] internal Ending<'out> =
    /// Nothing changed.
    | Refused of SessionError
    /// It may have changed something, or may yet.
    | Unsure of exn
    /// There was nothing to store. `seenAt`: the store may hear that the session was seen then.
    | Kept of Write<'out> * seenAt: DateTimeOffset voption
    | Stored of Write<'out>
    /// Stored, and perhaps not to stay: the store has not acknowledged it.
    | Unacknowledged of Write<'out> * exn

[<NoComparison; NoEquality>]
type internal Answer =
    /// The record as it is now, and a number that no other write has.
    | Found of Result<Snapshot, SessionError> * now: DateTimeOffset * operation: int64
    | Answered of WriteResult
    | Failed of exn

[<NoComparison; NoEquality>]
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
    let maxAttempts = 64

    let start: Run<'out> =
        { Attempt = 1
          Sent = ValueNone
          Pending = []
          Failure = ValueNone
          Affirms = ValueNone }

    let private silence = TimeoutException "The store did not say whether it took a write." :> exn

    /// What is refused with a write still under way is not refused for sure.
    let private refuse run error =
        match run.Pending, error with
        | [], error -> Finish(Refused error)
        // A record that is gone cannot be changed any more.
        | _, SessionError.NoSession -> Finish(Refused error)
        | _, SessionError.Unavailable failure -> Finish(Unsure failure)
        | _, _ -> Finish(Unsure silence)

    let private decide plan touchStep run (before: Snapshot) now operation =
        match plan.Decide now before.State with
        | Error error -> struct (run, refuse run error)
        | Ok(struct (events, out)) ->
            let state = List.fold Lifecycle.evolve before.State events

            let write =
                { Operation = operation
                  Before = before
                  Events = events
                  State = state
                  At = now
                  Out = out }

            if not before.IsOpen && Lifecycle.isLive state then
                struct (run, refuse run (SessionError.Unreadable "the sealed data does not open"))
            elif List.exists Event.isStored events then
                struct ({ run with Sent = ValueSome write }, Swap write)
            else
                let seenAt =
                    match Lifecycle.living state with
                    | ValueSome live when live.LastSeen - before.StoredLastSeen >= touchStep -> ValueSome live.LastSeen
                    | _ -> ValueNone

                struct (run, Finish(Kept(write, seenAt)))

    let private patientAttempts = 5

    /// A write that was found stored is written once more, for the acknowledgement that it asks for.
    let private affirm run (first: Write<'out>) (found: Snapshot) operation =
        let again = { first with Operation = operation; Before = found }
        struct ({ run with Affirms = ValueSome first; Sent = ValueSome again }, Swap again)

    /// The same, when that had no answer either.
    let private affirmAgain run (first: Write<'out>) (found: Snapshot) operation =
        let isOurs (write: Write<'out>) = write.Operation = found.Operation

        if isOurs first || ValueOption.exists isOurs run.Sent then
            affirm run first found operation
        else
            struct (run, Finish(Unacknowledged(first, silence)))

    /// The record after a write whose answer never came.
    let private lookAtPending plan touchStep run (found: Snapshot) now operation =
        let isTaken (write: Write<'out>) = write.Operation = found.Operation
        let isOverwritten (write: Write<'out>) = found.Version > write.Before.Version + 1L

        match List.tryFind isTaken run.Pending, run.Failure with
        | Some write, ValueSome failure -> struct (run, Finish(Unacknowledged(write, failure)))
        | Some write, ValueNone when List.exists Event.mustLast write.Events -> affirm run write found operation
        | Some write, ValueNone -> struct (run, Finish(Stored write))
        | None, ValueSome failure -> struct (run, Finish(Unsure failure))
        | None, ValueNone when found.Version = 0L && run.Pending |> List.exists (fun write -> write.Before.Version > 0L) ->
            struct (run, Finish(Refused SessionError.NoSession))
        // Taken and overwritten, or never taken: nobody can tell any more, and to decide again might count twice.
        | None, ValueNone when List.exists isOverwritten run.Pending -> struct (run, Finish(Unsure silence))
        | None, ValueNone ->
            // One whose version another write has cannot arrive any more; the others exclude what is decided now.
            let pending = run.Pending |> List.filter (fun write -> write.Before.Version = found.Version)
            decide plan touchStep { run with Pending = pending } found now operation

    let private again run =
        if run.Attempt >= maxAttempts then
            struct (run, refuse run SessionError.Contended)
        else
            struct ({ run with Attempt = run.Attempt + 1; Sent = ValueNone }, Load)

    /// The next step. `touchStep`: how much later than the store knows a session has to be seen for it to be told.
    let next
        (plan: Plan<'out>)
        (touchStep: TimeSpan)
        (run: Run<'out>)
        (answer: Answer)
        : struct (Run<'out> * Ask<'out>) =
        match answer, run.Sent, run.Affirms with
        | Found(Error error, _, _), _, _ -> struct (run, refuse run error)
        | Found(Ok found, _, operation), _, ValueSome first -> affirmAgain run first found operation
        | Found(Ok found, now, operation), _, _ when run.Pending.IsEmpty ->
            decide plan touchStep run found now operation
        | Found(Ok found, now, operation), _, _ -> lookAtPending plan touchStep run found now operation
        | Answered WriteResult.Written, _, ValueSome first -> struct (run, Finish(Stored first))
        | Answered WriteResult.Unknown, _, ValueSome _ when run.Attempt < patientAttempts ->
            struct ({ run with Attempt = run.Attempt + 1 }, Load)
        | Answered _, _, ValueSome first -> struct (run, Finish(Unacknowledged(first, silence)))
        | Failed failure, _, ValueSome first -> struct (run, Finish(Unacknowledged(first, failure)))
        | Answered WriteResult.Written, ValueSome write, _ -> struct (run, Finish(Stored write))
        | Answered WriteResult.Unacknowledged, ValueSome write, _ ->
            let why = TimeoutException "The store has the change, but not as widely as it must be kept."
            struct (run, Finish(Unacknowledged(write, why)))
        | Answered WriteResult.Absent, _, _ -> struct (run, refuse run SessionError.NoSession)
        | Answered WriteResult.Conflict, ValueSome write, _ when write.Before.Version = 0L && run.Pending.IsEmpty ->
            struct (run, Finish(Refused(SessionError.Refused Exists)))
        | Answered WriteResult.Unknown, ValueSome write, _ -> again { run with Pending = write :: run.Pending }
        | Answered _, _, _ -> again run
        // A store that is full has taken nothing.
        | Failed(:? StoreFullException as failure), _, _ -> struct (run, refuse run (SessionError.Unavailable failure))
        | Failed failure, ValueSome write, _ ->
            struct ({ run with
                        Sent = ValueNone
                        Pending = write :: run.Pending
                        Failure = ValueSome failure },
                    Load)
        | Failed failure, ValueNone, _ -> struct (run, refuse run (SessionError.Unavailable failure))

    /// Several plans as one, decided one after another on what the ones before have made of the state. Each has a write of
    /// its own in the end, or its own reason why there is none.
    let join (plans: Plan<'out> list) : Plan<Result<Write<'out>, SessionError> list> =
        let decide now (state: State) =
            let mutable state, events = state, []

            let decided =
                [ for plan in plans do
                      let before = state

                      match plan.Decide now before with
                      | Error error -> Error error
                      | Ok(struct (own, out)) ->
                          state <- List.fold Lifecycle.evolve before own
                          events <- events @ own
                          Ok(struct (before, own, state, out)) ]

            let final = state

            let outOf (after: Snapshot) =
                let ownWrite (struct (before, own, state, out)) =
                    // What a later one has changed is not in this one's state: it has to look again before it writes.
                    let isLast = obj.ReferenceEquals(state, final)
                    let seen = if isLast then after else { after with State = state; Version = after.Version - 1L }

                    { Operation = after.Operation
                      Before = { after with State = before }
                      Events = own
                      State = state
                      At = now
                      Out = fun _ -> out seen }

                decided |> List.map (Result.map ownWrite)

            if events.IsEmpty && decided |> List.forall _.IsError then
                Ok(struct ([], outOf))
            else
                Ok(struct (events, outOf))

        { Decide = decide }
