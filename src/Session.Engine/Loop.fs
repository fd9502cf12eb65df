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

            if isPlain then
                record.Decoded <- snapshot

            Ok snapshot
        | Error reason ->
            log.LogError(
                "The record of session {SessionId} cannot be read: {Reason}. It opens nothing.",
                record.Id,
                reason
            )

            Error(SessionError.Unreadable reason)

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

    member internal _.NotLoaded(error: exn, cancel: CancellationToken) : Result<Snapshot, SessionError> =
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

    /// The record under this id as it is now; Absent when there is none.
    member loop.Load
        (id: string, keys: BearerKeys | null, cancel: CancellationToken)
        : Task<Result<Snapshot, SessionError>> =
        task {
            try
                let! record = loop.Begin(id, cancel)
                return loop.Found(id, record, keys)
            with error ->
                return loop.NotLoaded(error, cancel)
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

    /// Decides on the record under `id`, again for each conflict, and stores what follows. `start`: the record as it
    /// was read before, which spares the first load. `keys`: those of the request, where data is sealed to its bearer.
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
        task {
            let gate = gateOf id
            let mutable queued = false
            let mutable known = start
            let mutable answer = ValueNone
            let mutable attempt = 0
            // Earlier writes of this call whose outcome is unknown.
            let mutable pending: (StoredRecord * Change) list = []

            try
                while answer.IsNone do
                    attempt <- attempt + 1

                    let! current =
                        match known with
                        | ValueSome snapshot -> Task.FromResult(Ok snapshot)
                        | ValueNone -> loop.Load(id, keys, (if attempt = 1 then cancel else CancellationToken.None))

                    known <- ValueNone
                    let now = clock.GetUtcNow()

                    match current with
                    | Error error -> answer <- ValueSome(Error error)
                    | Ok before ->
                        match decide.Invoke(now, before.State) with
                        | Error error -> answer <- ValueSome(Error error)
                        | Ok events ->
                            let state = List.fold Lifecycle.evolve before.State events

                            if not before.IsOpen && (Lifecycle.liveOf state).IsSome then
                                log.LogError("The sealed data of session {SessionId} does not open.", id)
                                answer <- ValueSome(Error(SessionError.Unreadable "the sealed data does not open"))
                            elif not (List.exists isStored events) then
                                let after = { before with State = state }
                                let seen = (anyLive state).LastSeen

                                if List.exists (isTouchDue before) events then
                                    try
                                        do! store.Touch(id, seen, CancellationToken.None)
                                    with error ->
                                        log.LogWarning(
                                            error,
                                            "The store did not take the touch of session {SessionId}.",
                                            id
                                        )

                                answer <- ValueSome(Ok { Before = before; After = after; Events = events })
                            else
                                let version = before.Version + 1L

                                let struct (record, wraps) =
                                    toRecord id version (now + hold) keys before.Wraps events state

                                let after =
                                    { Id = id
                                      Version = version
                                      State = state
                                      StoredLastSeen = record.LastSeen
                                      IsOpen = true
                                      Wraps = wraps
                                      Record = record }

                                let change = { Before = before; After = after; Events = events }

                                record.Basis <- before.Record

                                try
                                    match! store.Replace(record, before.Version, CancellationToken.None) with
                                    | WriteResult.Written ->
                                        do! tell now change
                                        answer <- ValueSome(Ok change)
                                    | WriteResult.Absent -> answer <- ValueSome(Error SessionError.NoSession)
                                    | WriteResult.Unknown -> pending <- (record, change) :: pending
                                    | _ -> ()
                                with error ->
                                    answer <- ValueSome(unavailable error)

                                // Or each record would keep every one before it.
                                record.Basis <- null

                    if answer.IsNone then
                        // The decision is made again on the record as it is now: a conflict is not an error.
                        if attempt >= maxAttempts then
                            answer <- ValueSome(Error SessionError.Contended)
                        else
                            if not queued then
                                do! gate.WaitAsync()
                                queued <- true

                            if attempt > 1 then
                                let most = min 50 (1 <<< min attempt 6)
                                do! Task.Delay(Random.Shared.Next(1, most + 1))

                            if not pending.IsEmpty then
                                try
                                    match! store.Load(id, CancellationToken.None) with
                                    | null -> answer <- ValueSome(Error SessionError.NoSession)
                                    | found ->
                                        let isThis (sent: StoredRecord, _) = found.Operation = sent.Operation

                                        match List.tryFind isThis pending with
                                        | Some(_, change) ->
                                            do! tell now change
                                            answer <- ValueSome(Ok change)
                                        | None when
                                            pending |> List.exists (fun (sent, _) -> found.Version > sent.Version)
                                            ->
                                            // Taken and overwritten, or never taken: nobody can tell any more, and
                                            // to decide again might count twice.
                                            answer <-
                                                ValueSome(
                                                    unavailable (
                                                        TimeoutException
                                                            "The store did not say whether it took a write, and another one followed."
                                                    )
                                                )
                                        | None ->
                                            // Its version is taken by another: that one cannot arrive any more.
                                            pending <-
                                                pending |> List.filter (fun (sent, _) -> sent.Version > found.Version)

                                            match loop.Read(found, keys) with
                                            | Ok snapshot -> known <- ValueSome snapshot
                                            | Error error -> answer <- ValueSome(Error error)
                                with error ->
                                    answer <- ValueSome(unavailable error)
            finally
                if queued then
                    gate.Release() |> ignore

            return answer.Value
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
