/// The one loop of the library that changes a record: load, decide, evolve, compare-and-swap, tell.
namespace Session.Engine

open System
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open Session.Domain

/// An accepted command: `Events` led from `Before` to `After`, and `After` is stored (unless it differs in nothing but
/// what the clock and a touch bring).
type Change = { Before: Snapshot; After: Snapshot; Events: Event list }

/// Given again for each attempt: the decision is made on the record as it is now.
type Decision = delegate of now: DateTimeOffset * state: State -> Result<Event list, SessionError>

/// A change on its way to the store, and when it was decided.
type private PendingWrite = { Record: StoredRecord; Change: Change; At: DateTimeOffset }

/// What a decision asks of the store.
type private Step =
    | Answered of Result<Change, SessionError>
    /// Nothing but to hear of when the session was seen.
    | Seen of Change * at: DateTimeOffset
    | Ready of PendingWrite

[<RequireQualifiedAccess>]
module internal Refusals =
    let toError refusal =
        match refusal with
        | Refusal.NoSession -> SessionError.NoSession
        | Refusal.Over(ending, at) -> SessionError.Ended(ending, at)
        | Refusal.Conflict -> SessionError.Conflict
        | Refusal.Exists
        | Refusal.NotDue
        | Refusal.Guess
        | Refusal.Outdated as refusal -> SessionError.Refused refusal

[<Sealed>]
type Loop(store: ISessionStore, settings: EngineSettings, clock: TimeProvider, log: ILogger, board: INoticeBoard) =
    let policy = settings.Policy

    // Writers of one session in this process queue up after their first conflict, instead of racing again and again.
    let gates = Array.init 256 (fun _ -> new SemaphoreSlim(1))
    let gateOf (id: string) = gates[(id.GetHashCode() &&& 0x7FFFFFFF) % gates.Length]

    let maxAttempts = 64

    // A touch each so often keeps `lastSeen` exact to a sixtieth of the idle timeout, and never ends a session late.
    let touchStep = min (TimeSpan.FromMinutes 1L) (policy.Idle / 60.0)

    let isStored event =
        match event with
        | WasSeen _
        | GraceEnded -> false
        | _ -> true

    /// Whether what a request saw is so much later than what the store knows that it has to hear of it.
    let isTouchDue (before: Snapshot) event =
        match event with
        | WasSeen at -> (at - before.StoredLastSeen).Ticks >= touchStep.Ticks
        | _ -> false

    let unavailable (error: exn) =
        log.LogError(error, "The session store failed. Nothing was changed; requests that need a session get 503.")
        Error(SessionError.Unavailable error)

    let anyLive state =
        match state with
        | Created live
        | Active live
        | Regenerated(live, _)
        | Destroyed(live, _, _)
        | Expired(live, _, _, _) -> live
        | Absent -> invalidOp "There is no record of an absent session."

    let kindOf state =
        match state with
        | Created live when live.Subject.IsNone -> RecordKind.Unconfirmed
        | Created _
        | Active _
        | Regenerated _ -> RecordKind.Live
        | Destroyed _
        | Expired _
        | Absent -> RecordKind.Ended

    /// What must not come back when a node of the store is lost: an ended session, and a token that an elevation killed.
    /// And what must not go: a sign-in.
    let mustLast event =
        match event with
        | WasDestroyed _
        | WasElevated _
        | WasSignedIn _
        | WasCreated(_, Some _, _, _) -> true
        | WasCreated(_, None, _, _)
        | RenewalConfirmed _
        | WasReplayed _
        | HasExpired _
        | WasConfirmed
        | WasSeen _
        | WasWritten _
        | RenewalIssued _
        | GraceEnded
        | WasTold -> false

    /// The record of a state, and the wrapped keys in it.
    let toRecord id version (notBefore: DateTimeOffset) (keys: BearerKeys | null) wraps events state =
        let live = anyLive state

        let struct (stored, wraps) =
            match keys, Lifecycle.liveOf state with
            | null, _
            | _, None -> struct (state, [])
            | keys, Some live -> Bearer.sealState id version keys wraps live.Data state

        let body = Codec.encode id version stored

        let body =
            match settings.Protector with
            | null -> body
            | protector -> protector.Protect body

        let due = Lifecycle.due policy state
        let subject = live.Subject |> Option.toObj

        let record =
            StoredRecord(
                id,
                version,
                kindOf state,
                live.LastSeen,
                (if due.UtcTicks < notBefore.UtcTicks then notBefore else due),
                subject,
                Random.Shared.NextInt64(),
                body,
                List.exists mustLast events
            )

        struct (record, wraps)

    let noticeOf event =
        match event with
        | WasCreated _ -> ValueSome CreatedNotice
        | RenewalConfirmed _ -> ValueSome RenewedNotice
        | WasElevated _ -> ValueSome ElevatedNotice
        | WasSignedIn _ -> ValueSome SignedInNotice
        | WasReplayed _ -> ValueSome ReplayedNotice
        | WasDestroyed(reason, _) -> ValueSome(DestroyedNotice reason)
        // The sweeper tells of the end by time: once, and on one node of a fleet.
        | HasExpired _
        | WasConfirmed
        | WasSeen _
        | WasWritten _
        | RenewalIssued _
        | GraceEnded
        | WasTold -> ValueNone

    let post (notice: Notice) =
        task {
            try
                do! board.Post notice
                return true
            with error ->
                log.LogError(error, "A session event handler failed. The session is as the event says all the same.")
                return false
        }

    let tellAll now change : Task =
        task {
            for event in change.Events do
                match noticeOf event with
                | ValueNone -> ()
                | ValueSome kind ->
                    // The end has no data any more: tell of the data that ended.
                    let live =
                        match Lifecycle.liveOf change.After.State, Lifecycle.liveOf change.Before.State with
                        | Some live, _
                        | None, Some live -> live
                        | None, None -> anyLive change.After.State

                    let! _ =
                        post
                            { Kind = kind
                              Id = change.After.Id
                              Subject = live.Subject
                              Data = live.Data
                              At = now }

                    ()
        }

    let tell now change : Task =
        if List.exists (fun event -> (noticeOf event).IsSome) change.Events then
            tellAll now change
        else
            Task.CompletedTask

    let decode (record: StoredRecord) =
        match settings.Protector with
        | null ->
            match record.Decoded with
            // Touched since: what it says of its last seen is another thing, the rest is the same.
            | :? Snapshot as known -> Ok known.State
            | _ -> Codec.decode record.Id record.Version record.Body
        | protector ->
            match protector.Unprotect(record.Body.ToArray()) with
            | null -> Error "not protected under a key of this application"
            | body -> Codec.decode record.Id record.Version (ReadOnlyMemory body)

    /// What is read of a record depends on the record alone, and on no key: a store in this process keeps it.
    let isPlain = isNull settings.Protector && not settings.SealsToBearer

    // Of more bytes a second copy in memory would cost more than reading them again: 0.2 µs for each KiB.
    let maxKeptBytes = 1536

    let read (record: StoredRecord) (keys: BearerKeys | null) : Result<Snapshot, SessionError> =
        match decode record with
        | Ok state ->
            let struct (state, wraps, isOpen) =
                if not settings.SealsToBearer then
                    struct (state, [], true)
                else
                    match Lifecycle.liveOf state with
                    | Some live -> Bearer.openState record.Id record.Version keys live.Data state
                    | None -> struct (Bearer.withData [||] state, [], true)

            let snapshot =
                { Id = record.Id
                  Version = record.Version
                  State =
                    match Lifecycle.liveOf state with
                    | Some live when live.LastSeen.UtcTicks >= record.LastSeen.UtcTicks -> state
                    | _ -> Lifecycle.evolve state (WasSeen record.LastSeen)
                  StoredLastSeen = record.LastSeen
                  IsOpen = isOpen
                  Wraps = wraps
                  Record = record }

            if isPlain && record.Body.Length <= maxKeptBytes then
                record.Decoded <- snapshot

            Ok snapshot
        | Error reason ->
            log.LogError(
                "The record of session {SessionId} cannot be read: {Reason}. It opens nothing.",
                record.Id,
                reason
            )

            Error(SessionError.Unreadable reason)

    /// What is to be done about a decision on this snapshot.
    let prepare (before: Snapshot) keys (hold: TimeSpan) (decide: Decision) : Step =
        let now = clock.GetUtcNow()

        match decide.Invoke(now, before.State) with
        | Error error -> Answered(Error error)
        | Ok events ->
            let state = List.fold Lifecycle.evolve before.State events

            if not before.IsOpen && (Lifecycle.liveOf state).IsSome then
                log.LogError("The sealed data of session {SessionId} does not open.", before.Id)
                Answered(Error(SessionError.Unreadable "the sealed data does not open"))
            elif not (List.exists isStored events) then
                let change =
                    { Before = before
                      After = { before with State = state }
                      Events = events }

                if List.exists (isTouchDue before) events then
                    Seen(change, (anyLive state).LastSeen)
                else
                    Answered(Ok change)
            else
                let version = before.Version + 1L
                let struct (record, wraps) = toRecord before.Id version (now + hold) keys before.Wraps events state
                record.Basis <- before.Record

                let after =
                    { Id = before.Id
                      Version = version
                      State = state
                      StoredLastSeen = record.LastSeen
                      IsOpen = true
                      Wraps = wraps
                      Record = record }

                Ready
                    { Record = record
                      Change = { Before = before; After = after; Events = events }
                      At = now }

    let touch (id: string) at : Task =
        task {
            try
                do! store.Touch(id, at, CancellationToken.None)
            with error ->
                log.LogWarning(error, "The store did not take the touch of session {SessionId}.", id)
        }

    /// Which of the writes whose answer never came the store has taken, now that it has `found`.
    let outcome (pending: PendingWrite list) (found: StoredRecord | null) : Result<PendingWrite option, SessionError> =
        match pending, found with
        | [], _ -> Ok None
        | _, null -> Error SessionError.NoSession
        | _, found ->
            match pending |> List.tryFind (fun sent -> sent.Record.Operation = found.Operation) with
            | Some taken -> Ok(Some taken)
            | None when pending |> List.exists (fun sent -> found.Version > sent.Record.Version) ->
                // Taken and overwritten, or never taken: nobody can tell any more, and to decide again might count twice.
                unavailable (
                    TimeoutException "The store did not say whether it took a write, and another one followed."
                )
            | None -> Ok None

    /// The record as a snapshot, with its data as far as the keys open it. An unreadable record opens nothing, and
    /// stays as it is.
    member _.Read(record: StoredRecord, keys: BearerKeys | null) : Result<Snapshot, SessionError> =
        match record.Decoded with
        | :? Snapshot as known when isPlain && known.StoredLastSeen.Equals record.LastSeen -> Ok known
        | _ -> read record keys

    member _.Now = clock.GetUtcNow()

    /// Whether an answer needs nothing stored: it only says when the session was seen, and that is not due yet.
    member _.IsRead(before: Snapshot, events: Event list) : bool =
        match events with
        | [] -> before.IsOpen
        | [ event ] -> before.IsOpen && not (isStored event) && not (isTouchDue before event)
        | events -> before.IsOpen && not (List.exists isStored events) && not (List.exists (isTouchDue before) events)

    /// Tells of something that is not an event of the lifecycle.
    member _.Tell(kind: NoticeKind, id: string) : Task =
        post
            { Kind = kind
              Id = id
              Subject = None
              Data = [||]
              At = clock.GetUtcNow() }

    /// Asks the store for a record. The answer is for `Found`, and what it throws for `NotLoaded`: a read awaits the store
    /// by itself, with no state machine in between.
    member internal _.Begin(id: string, cancel: CancellationToken) : ValueTask<StoredRecord | null> =
        try
            store.Load(id, cancel)
        with error ->
            ValueTask.FromException<StoredRecord | null> error

    member internal _.NotLoaded(error: exn, cancel: CancellationToken) : Result<'Nothing, SessionError> =
        match error with
        | :? OperationCanceledException when cancel.IsCancellationRequested ->
            cancel.ThrowIfCancellationRequested()
            Error SessionError.NoSession
        | error -> unavailable error

    /// Absent when there is no record.
    member internal loop.Found
        (id: string, record: StoredRecord | null, keys: BearerKeys | null)
        : Result<Snapshot, SessionError> =
        match record with
        | null ->
            Ok
                { Id = id
                  Version = 0L
                  State = Absent
                  StoredLastSeen = DateTimeOffset.MinValue
                  IsOpen = true
                  Wraps = []
                  Record = null }
        | record -> loop.Read(record, keys)

    member private loop.Fetch(id: string, cancel: CancellationToken) : Task<Result<StoredRecord | null, SessionError>> =
        task {
            try
                let! record = loop.Begin(id, cancel)
                return Ok record
            with error ->
                return loop.NotLoaded(error, cancel)
        }

    /// The record under this id as it is now; Absent when there is none.
    member loop.Load
        (id: string, keys: BearerKeys | null, cancel: CancellationToken)
        : Task<Result<Snapshot, SessionError>> =
        task {
            let! found = loop.Fetch(id, cancel)
            return found |> Result.bind (fun record -> loop.Found(id, record, keys))
        }

    /// Stores what `events` made of an absent session. `Refused Exists` when the id is taken.
    member _.Insert
        (id: string, keys: BearerKeys | null, events: Event list, cancel: CancellationToken)
        : Task<Result<Snapshot, SessionError>> =
        task {
            cancel.ThrowIfCancellationRequested()
            let now = clock.GetUtcNow()
            let state = List.fold Lifecycle.evolve Lifecycle.initial events
            let struct (record, wraps) = toRecord id 1L now keys [] events state

            let snapshot =
                { Id = id
                  Version = 1L
                  State = state
                  StoredLastSeen = record.LastSeen
                  IsOpen = true
                  Wraps = wraps
                  Record = record }

            let stored () =
                task {
                    let before = { snapshot with Version = 0L; State = Absent }
                    do! tell now { Before = before; After = snapshot; Events = events }
                    return Ok snapshot
                }

            try
                match! store.Insert(record, CancellationToken.None) with
                | WriteResult.Written -> return! stored ()
                | WriteResult.Unknown ->
                    match! store.Load(id, CancellationToken.None) with
                    | null -> return unavailable (TimeoutException "The store did not say whether it took the session.")
                    | found when found.Operation = record.Operation -> return! stored ()
                    | _ -> return Error(SessionError.Refused Exists)
                | _ -> return Error(SessionError.Refused Exists)
            with error ->
                return unavailable error
        }

    /// Decides on the record under `id`, again for each conflict, and stores what follows. `start`: the record as it was
    /// read before, which spares the first load. `keys`: those of the request, where data is sealed to its bearer.
    /// `hold`: nobody else needs to look at the record for so long.
    member loop.Change
        (
            id: string,
            start: Snapshot voption,
            keys: BearerKeys | null,
            hold: TimeSpan,
            decide: Decision,
            cancel: CancellationToken
        ) : Task<Result<Change, SessionError>> =
        loop.ChangeTo(id, start, keys, hold, decide, Operators.id, cancel)

    /// The same; `finish` makes the answer of the change.
    member loop.ChangeTo<'Answer>
        (
            id: string,
            start: Snapshot voption,
            keys: BearerKeys | null,
            hold: TimeSpan,
            decide: Decision,
            finish: Change -> 'Answer,
            cancel: CancellationToken
        ) : Task<Result<'Answer, SessionError>> =
        match start with
        | ValueSome before -> loop.Attempt(before, keys, hold, decide, finish)
        | ValueNone ->
            task {
                match! loop.Load(id, keys, cancel) with
                | Error error -> return Error error
                | Ok before -> return! loop.Attempt(before, keys, hold, decide, finish)
            }

    member private loop.Attempt<'Answer>
        (before: Snapshot, keys: BearerKeys | null, hold: TimeSpan, decide: Decision, finish: Change -> 'Answer)
        : Task<Result<'Answer, SessionError>> =
        try
            match prepare before keys hold decide with
            | Answered answer -> Task.FromResult(Result.map finish answer)
            | Seen(change, at) ->
                task {
                    do! touch before.Id at
                    return Ok(finish change)
                }
            | Ready write -> loop.Store(write, keys, hold, decide, finish)
        with error ->
            Task.FromException<_> error

    /// Sends a write; for a conflict the decision is made again, on the record as it is now, and what follows is sent.
    member private loop.Store<'Answer>
        (first: PendingWrite, keys: BearerKeys | null, hold: TimeSpan, decide: Decision, finish: Change -> 'Answer)
        : Task<Result<'Answer, SessionError>> =
        task {
            let id = first.Record.Id
            let mutable write = first
            let mutable answer = ValueNone
            let mutable attempt = 1
            let mutable gate: SemaphoreSlim | null = null
            // Earlier writes of this call whose outcome is unknown.
            let mutable pending: PendingWrite list = []

            try
                while answer.IsNone do
                    try
                        match! store.Replace(write.Record, write.Change.Before.Version, CancellationToken.None) with
                        | WriteResult.Written ->
                            do! tell write.At write.Change
                            answer <- ValueSome(Ok write.Change)
                        | WriteResult.Absent -> answer <- ValueSome(Error SessionError.NoSession)
                        | WriteResult.Unknown -> pending <- write :: pending
                        | _ -> ()
                    with error ->
                        answer <- ValueSome(unavailable error)

                    // Or each record would keep every one before it.
                    write.Record.Basis <- null

                    if answer.IsNone && attempt >= maxAttempts then
                        answer <- ValueSome(Error SessionError.Contended)

                    if answer.IsNone then
                        match gate with
                        | null ->
                            let mine = gateOf id
                            do! mine.WaitAsync()
                            gate <- mine
                        | _ -> do! Task.Delay(Random.Shared.Next(1, 1 + min 50 (1 <<< min attempt 6)))

                        attempt <- attempt + 1

                        match! loop.Fetch(id, CancellationToken.None) with
                        | Error error -> answer <- ValueSome(Error error)
                        | Ok found ->
                            match outcome pending found with
                            | Error error -> answer <- ValueSome(Error error)
                            | Ok(Some taken) ->
                                do! tell taken.At taken.Change
                                answer <- ValueSome(Ok taken.Change)
                            | Ok None ->
                                match loop.Found(id, found, keys) with
                                | Error error -> answer <- ValueSome(Error error)
                                | Ok before ->
                                    // Those whose version another write has taken cannot arrive any more.
                                    pending <- pending |> List.filter (fun sent -> sent.Record.Version > before.Version)

                                    match prepare before keys hold decide with
                                    | Answered result -> answer <- ValueSome result
                                    | Seen(change, at) ->
                                        do! touch id at
                                        answer <- ValueSome(Ok change)
                                    | Ready next -> write <- next
            finally
                match gate with
                | null -> ()
                | gate -> gate.Release() |> ignore

            return Result.map finish answer.Value
        }

    /// Tells of an end by time. False when the handler failed: it has to be told again.
    member _.TellExpired(snapshot: Snapshot, kind: ExpiryKind) : Task<bool> =
        let live = anyLive snapshot.State

        post
            { Kind = ExpiredNotice kind
              Id = snapshot.Id
              Subject = live.Subject
              Data = live.Data
              At = clock.GetUtcNow() }
