/// The move of one session from a store to another, in steps that any node may take up where another one was stopped:
///   1. stage: a placeholder in the target, under a random negative version.
///   2. fence: in the source its version becomes negative, by compare-and-swap. Nobody writes to it from here on, not
///      even an application that does not know of the move: it finds a record that it cannot read.
///   3. commit: the record takes the place of the placeholder, if this very one still is there. Who commits has found
///      the record in the source after the placeholder in the target, and removal goes through the source first: so
///      a mover that slept through the life of a session finds no record, and its placeholder never becomes one.
///   4. release: the source lets go of it, once the target's replicas have the copy: a failover could take the session
///      with it. Only then the target's record is written to: as long as the source has a record, the target has none,
///      or the same. An end alone does not wait for that, and takes the source's record with it: what is lost with the
///      target is over.
namespace Session.Engine

open System
open System.Runtime.ExceptionServices
open System.Threading
open System.Threading.Tasks

/// What a move leaves in the two stores before it has come to its end: records under negative versions.
[<RequireQualifiedAccess>]
module internal Underway =
    /// Whether a record of the target is one, and no placeholder.
    let isReal (record: StoredRecord) = record.Version > 0L

    let withVersion version isDurable (record: StoredRecord) =
        StoredRecord(
            record.Id,
            version,
            record.Kind,
            record.LastSeen,
            record.DueAt,
            record.Subject,
            record.Operation,
            record.Body,
            isDurable
        )

    /// A record of the source as it was before it was fenced.
    let original (record: StoredRecord) =
        if record.Version < 0L then withVersion -record.Version false record else record

    let placeholder (record: StoredRecord) =
        StoredRecord(
            record.Id,
            -(Random.Shared.NextInt64(1L, Int64.MaxValue)),
            RecordKind.Ended,
            record.LastSeen,
            record.DueAt,
            null,
            Random.Shared.NextInt64(),
            ReadOnlyMemory [| 0uy |]
        )

    /// Removes what has this id, version and operation, whatever else it holds.
    let removeVersion
        (store: ISessionStore)
        (id: string)
        (version: int64)
        (operation: int64)
        (cancel: CancellationToken)
        =
        let never = DateTimeOffset.MinValue
        let body = ReadOnlyMemory<byte>.Empty
        let record = StoredRecord(id, version, RecordKind.Ended, never, never, null, operation, body)
        SessionStore.removeVersion store record cancel

/// What is known of the two stores: one place may have two names.
[<RequireQualifiedAccess>]
type internal Places =
    | NotAsked
    /// A start has tried to find out, in vain.
    | InDoubt
    | Two

/// From `source` to `target`.
[<Sealed>]
type internal Moves(target: ISessionStore, source: ISessionStore) =
    let maxSteps = 64
    let mutable places = Places.NotAsked

    // -- is there anywhere to go?

    /// One place may have two names. What moved there would be removed where it came from, and be gone.
    let refuseOnePlace (cancel: CancellationToken) : Task =
        task {
            let id, now = Guid.NewGuid().ToString "N", DateTimeOffset.UtcNow

            let nothing =
                StoredRecord(id, 1L, RecordKind.Ended, now, now.AddMinutes 10.0, null, 0L, ReadOnlyMemory [| 0uy |])

            let mine = Underway.placeholder nothing
            let! answer = target.Insert(mine, cancel)
            let! found = source.Load(id, cancel)
            do! Underway.removeVersion target id mine.Version mine.Operation cancel

            if not (isNull found) then
                invalidOp
                    "MigrateFrom names the place that the sessions move to, by another name: give it the one that they were in before."

            // What nobody has written is found nowhere.
            let isAnswer = answer = WriteResult.Written || answer = WriteResult.Unacknowledged
            places <- if isAnswer then Places.Two else Places.InDoubt
        }

    let requireTwo (cancel: CancellationToken) =
        task {
            if places = Places.InDoubt then
                do! refuseOnePlace cancel

                if places = Places.InDoubt then
                    raise (TimeoutException "The new store did not say whether it is another one than the old one.")
        }

    // -- the steps

    let stage (record: StoredRecord) (cancel: CancellationToken) : Task =
        task {
            let! _ = target.Insert(Underway.placeholder record, cancel)
            ()
        }

    /// Removes a placeholder, so that nobody commits it any more. Replaced first: it may have become a record meanwhile.
    let discard (staged: StoredRecord) (cancel: CancellationToken) : Task =
        task {
            let mine = Underway.placeholder staged

            match! target.Replace(mine, staged.Version, cancel) with
            | WriteResult.Written
            | WriteResult.Unacknowledged -> do! Underway.removeVersion target mine.Id mine.Version mine.Operation cancel
            | _ -> ()
        }

    let fence (record: StoredRecord) (cancel: CancellationToken) : Task =
        task {
            let! _ = source.Replace(Underway.withVersion -record.Version true record, record.Version, cancel)
            ()
        }

    /// A touch that came while this copy was made has met the source's record, and in the target a placeholder.
    let takeAlong (copy: StoredRecord) (cancel: CancellationToken) =
        task {
            match! source.Load(copy.Id, cancel) with
            | NonNull left when left.LastSeen > copy.LastSeen -> do! target.Touch(copy.Id, left.LastSeen, cancel)
            | _ -> ()
        }

    /// The last step: the target's replicas have this copy.
    let release (copy: StoredRecord) (cancel: CancellationToken) : Task =
        task {
            do! takeAlong copy cancel
            do! source.Remove(copy.Id, cancel)
        }

    /// Whether the source has let go of it then. None: it is not in the target, as far as this one knows.
    let commit (fenced: StoredRecord) (staged: StoredRecord) (cancel: CancellationToken) =
        task {
            // Durable: the source's record, the only other one, goes next.
            let copy = Underway.withVersion -fenced.Version true fenced

            match! target.Replace(copy, staged.Version, cancel) with
            | WriteResult.Written ->
                do! release copy cancel
                return ValueSome true
            // It need not be waited for twice.
            | WriteResult.Unacknowledged -> return ValueSome false
            | _ -> return ValueNone
        }

    /// Has the source let go of what the target has. False: the target's replicas do not have it yet. None: it has changed.
    let letGo (found: StoredRecord) (cancel: CancellationToken) =
        task {
            // Of one place with two names the target has whatever the source has: all that would be removed comes here first.
            do! requireTwo cancel
            // The same once more: the answer to it says what the replicas have.
            match! target.Replace(Underway.withVersion found.Version true found, found.Version, cancel) with
            | WriteResult.Written ->
                do! release found cancel
                return ValueSome true
            | WriteResult.Conflict
            | WriteResult.Absent -> return ValueNone
            | _ -> return ValueSome false
        }

    // -- the move

    /// Until the record is in the target; then whether the source has let go of it. None: there is no record any more.
    let move (id: string) (cancel: CancellationToken) =
        task {
            let mutable answer = ValueNone
            let mutable isOver = false
            let mutable step = 0

            // Each round looks again and takes one step: whoever was stopped anywhere, this goes on from there.
            while answer.IsNone && not isOver do
                step <- step + 1

                if step > maxSteps then
                    raise (TimeoutException("A session could not be moved to its new store: too many others tried."))

                match! target.Load(id, cancel) with
                | null ->
                    match! source.Load(id, cancel) with
                    | null ->
                        match! target.Load(id, cancel) with
                        | null -> isOver <- true
                        // Moved between the two looks.
                        | _ -> ()
                    | record -> do! stage record cancel
                // Copied by another one, or by this one without a word of the replicas.
                | found when Underway.isReal found ->
                    match! source.Load(id, cancel) with
                    | null -> answer <- ValueSome true
                    | _ ->
                        let! isGone = letGo found cancel
                        answer <- isGone
                | staged ->
                    match! source.Load(id, cancel) with
                    | null ->
                        match! target.Load(id, cancel) with
                        | null -> isOver <- true
                        | found when Underway.isReal found -> ()
                        | staged -> do! discard staged cancel
                    | record when record.Version > 0L -> do! fence record cancel
                    | fenced ->
                        let! isGone = commit fenced staged cancel
                        answer <- isGone

            return answer
        }

    // -- before a write

    /// What comes before the write itself: where it fails, nothing was changed.
    let before (step: unit -> Task<'answer>) : Task<'answer> =
        task {
            try
                return! step ()
            with
            | :? OperationCanceledException
            | :? InvalidOperationException
            | :? StoreRefusedException as error ->
                ExceptionDispatchInfo.Throw error
                return Unchecked.defaultof<'answer>
            | error -> return raise (StoreRefusedException(error.Message, error))
        }

    /// Until the target has what is written to at this version; then whether the source has let go of it. Otherwise what
    /// became of the write.
    let bring (old: StoredRecord) (expected: int64) (cancel: CancellationToken) : Task<Result<bool, WriteResult>> =
        task {
            if (Underway.original old).Version = expected then
                match! move old.Id cancel with
                | ValueSome isGone -> return Ok isGone
                | ValueNone -> return Error WriteResult.Absent
            else
                match! target.Load(old.Id, cancel) with
                // It has moved, and the source has lost in a crash that it let go of it.
                | NonNull found when Underway.isReal found && found.Version = expected ->
                    match! letGo found cancel with
                    | ValueSome isGone -> return Ok isGone
                    | ValueNone -> return Error WriteResult.Conflict
                | _ -> return Error WriteResult.Conflict
        }

    let clearWay (record: StoredRecord) (expected: int64) (cancel: CancellationToken) =
        task {
            match! source.Load(record.Id, cancel) with
            | null -> return Ok false
            | old ->
                match! bring old expected cancel with
                | Error answer -> return Error answer
                | Ok true -> return Ok false
                | Ok false when record.Kind = RecordKind.Ended && old.Kind <> RecordKind.Ended -> return Ok true
                | Ok false ->
                    return
                        raise (
                            StoreRefusedException(
                                "The replicas of the store that sessions move to have not confirmed the session: it stays as it was.",
                                null
                            )
                        )
        }

    /// At a start. Nothing more is asked once one has found out that they are two.
    member _.RefuseOnePlace(cancel: CancellationToken) : Task =
        task {
            try
                if places <> Places.Two then
                    do! refuseOnePlace cancel
            with
            // Nobody answers: the first session that moves has it found out.
            | error when not (error :? InvalidOperationException) && not cancel.IsCancellationRequested ->
                places <- Places.InDoubt
        }

    /// What the source has, before the target may take something new under this id.
    member _.Former(id: string, cancel: CancellationToken) : Task<StoredRecord | null> =
        before (fun () -> source.Load(id, cancel).AsTask())

    /// Whether the target may be written to, at this version, and whether the source lets go of its record then. Otherwise what
    /// became of the write.
    member _.ClearWay
        (record: StoredRecord, expected: int64, cancel: CancellationToken)
        : Task<Result<bool, WriteResult>> =
        before (fun () -> clearWay record expected cancel)

    /// Has the source let go of what the target has. False: the target's replicas do not have it yet. None: it has changed.
    member _.LetGo(found: StoredRecord, cancel: CancellationToken) : Task<bool voption> = letGo found cancel

    /// Removes a placeholder, so that nobody commits it any more.
    member _.Discard(staged: StoredRecord, cancel: CancellationToken) : Task = discard staged cancel
