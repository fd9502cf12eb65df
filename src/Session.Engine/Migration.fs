/// Moving from one store to another while the application runs: no session is lost, and no end is undone.
///
/// Sessions that were begun before stay where they are until they are written to. The move of one record, in steps
/// that any node may take up where another one was stopped:
///   1. fence: in the source its version becomes negative, by compare-and-swap. Nobody writes to it from here on, not
///      even an application that does not know of the move: it finds a record that it cannot read.
///   2. stage: a placeholder in the target, under a random negative version.
///   3. commit: the record takes the place of the placeholder, if this very one still is there. Who commits has found
///      the record in the source after the placeholder in the target, and removal goes through the source first: so
///      a mover that slept through the life of a session finds no record, and its placeholder never becomes one.
///   4. the source lets go of it, once the target's replicas have the copy: a failover could take the session with it. Only
///      then the target's record is written to: as long as the source has a record, the target has none, or the same. An
///      end alone does not wait for that, and takes the source's record with it: what is lost with the target is over.
namespace Session.Engine

open System
open System.Runtime.ExceptionServices
open System.Collections.Generic
open System.Threading
open System.Threading.Tasks

/// Registered where sessions move already.
[<Sealed>]
type internal Moving() = class end

/// Sessions in `target`, and those begun before in `source` until they are moved or over.
[<Sealed>]
type MigratingStore(target: ISessionStore, source: ISessionStore) =
    let maxSteps = 64

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

    /// Removes a placeholder, so that nobody commits it any more. Replaced first: it may have become a record meanwhile.
    let discard (staged: StoredRecord) (cancel: CancellationToken) =
        task {
            let mine = placeholder staged

            match! target.Replace(mine, staged.Version, cancel) with
            | WriteResult.Written
            | WriteResult.Unacknowledged -> do! removeVersion target mine.Id mine.Version mine.Operation cancel
            | _ -> ()
        }

    // Whether a start has found out that the two are not one; or has tried to, in vain.
    let mutable areTwo, isDoubtful = false, false

    /// One place may have two names. What moved there would be removed where it came from, and be gone.
    let refuseOnePlace (cancel: CancellationToken) : Task =
        task {
            let id, now = Guid.NewGuid().ToString "N", DateTimeOffset.UtcNow

            let nothing =
                StoredRecord(id, 1L, RecordKind.Ended, now, now.AddMinutes 10.0, null, 0L, ReadOnlyMemory [| 0uy |])

            let mine = placeholder nothing
            let! answer = target.Insert(mine, cancel)
            let! found = source.Load(id, cancel)
            do! removeVersion target id mine.Version mine.Operation cancel

            if not (isNull found) then
                invalidOp
                    "MigrateFrom names the place that the sessions move to, by another name: give it the one that they were in before."

            // What nobody has written is found nowhere.
            areTwo <- answer = WriteResult.Written || answer = WriteResult.Unacknowledged
            isDoubtful <- not areTwo
        }

    /// A touch that came while this copy was made has met the source's record, and in the target a placeholder.
    let takeAlong (copy: StoredRecord) (cancel: CancellationToken) =
        task {
            match! source.Load(copy.Id, cancel) with
            | NonNull left when left.LastSeen > copy.LastSeen -> do! target.Touch(copy.Id, left.LastSeen, cancel)
            | _ -> ()
        }

    let requireTwo (cancel: CancellationToken) =
        task {
            if isDoubtful then
                do! refuseOnePlace cancel

                if isDoubtful then
                    raise (TimeoutException "The new store did not say whether it is another one than the old one.")
        }

    /// Has the source let go of what the target has. False: the target's replicas do not have it yet. None: it has changed.
    let letGo (found: StoredRecord) (cancel: CancellationToken) =
        task {
            // Of one place with two names the target has whatever the source has: all that would be removed comes here first.
            do! requireTwo cancel
            // The same once more: the answer to it says what the replicas have.
            match! target.Replace(withVersion found.Version true found, found.Version, cancel) with
            | WriteResult.Written ->
                do! takeAlong found cancel
                do! source.Remove(found.Id, cancel)
                return ValueSome true
            | WriteResult.Conflict
            | WriteResult.Absent -> return ValueNone
            | _ -> return ValueSome false
        }

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
                    | record ->
                        let! _ = target.Insert(placeholder record, cancel)
                        ()
                // Copied by another one, or by this one without a word of the replicas.
                | found when isReal found ->
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
                        | found when isReal found -> ()
                        | staged -> do! discard staged cancel
                    | record when record.Version > 0L ->
                        let! _ = source.Replace(withVersion -record.Version true record, record.Version, cancel)
                        ()
                    | fenced ->
                        // Durable: the source's record, the only other one, goes next.
                        let copy = withVersion -fenced.Version true fenced

                        match! target.Replace(copy, staged.Version, cancel) with
                        | WriteResult.Written ->
                            do! takeAlong copy cancel
                            do! source.Remove(id, cancel)
                            answer <- ValueSome true
                        // It need not be waited for twice.
                        | WriteResult.Unacknowledged -> answer <- ValueSome false
                        | _ -> ()

            return answer
        }

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

    /// Whether the target may be written to, at this version, and whether the source lets go of its record then. Otherwise what
    /// became of the write.
    let clearWay (record: StoredRecord) expected (cancel: CancellationToken) : Task<Result<bool, WriteResult>> =
        task {
            match! source.Load(record.Id, cancel) with
            | null -> return Ok false
            | old ->
                let! moved =
                    task {
                        if (original old).Version = expected then
                            return! move record.Id cancel
                        else
                            match! target.Load(record.Id, cancel) with
                            // It has moved, and the source has lost in a crash that it let go of it.
                            | NonNull found when isReal found && found.Version = expected -> return! letGo found cancel
                            | _ -> return ValueNone
                    }

                match moved with
                | ValueNone when (original old).Version = expected -> return Error WriteResult.Absent
                | ValueNone -> return Error WriteResult.Conflict
                | ValueSome true -> return Ok false
                | ValueSome false when record.Kind = RecordKind.Ended && old.Kind <> RecordKind.Ended -> return Ok true
                | ValueSome false ->
                    return
                        raise (
                            StoreRefusedException(
                                "The replicas of the store that sessions move to have not confirmed the session: it stays as it was.",
                                null
                            )
                        )
        }

    /// What the target did not have: the source's, or what was moved between the two looks.
    let loadOld (id: string) (cancel: CancellationToken) : Task<StoredRecord | null> =
        task {
            let mutable answer: StoredRecord | null = null

            match! source.Load(id, cancel) with
            | null ->
                match! target.Load(id, cancel) with
                | null -> ()
                | found -> answer <- if isReal found then found else null
            | record -> answer <- original record

            return answer
        }

    /// Two pages as one, in the order of ids, each once. The source is read first: a session that is moved meanwhile is
    /// found in one of them.
    let merge (read: ISessionStore -> ValueTask<StoredPage>) limit =
        task {
            let! old = read source
            let! current = read target
            let records = SortedDictionary<string, StoredRecord>(StringComparer.Ordinal)

            for record in old.Records do
                records[record.Id] <- original record

            for record in current.Records do
                if isReal record || not (records.ContainsKey record.Id) then
                    records[record.Id] <- record

            // Behind the end of the shorter page the other one is not yet known.
            let isKnown (id: string) =
                let within (next: string | null) = isNull next || String.CompareOrdinal(id, next) <= 0
                within old.Next && within current.Next

            let ids = records.Keys |> Seq.filter isKnown |> Seq.truncate limit |> Array.ofSeq
            let isLast = ids.Length = records.Count && isNull old.Next && isNull current.Next

            let next: string | null =
                if isLast then
                    null
                elif ids.Length > 0 then
                    ids[ids.Length - 1]
                else
                    // Pages may be empty, and go on.
                    match old.Next, current.Next with
                    | null, next
                    | next, null -> next
                    | one, other -> if String.CompareOrdinal(one, other) < 0 then one else other

            let found = ids |> Array.map (fun id -> records[id]) |> Array.filter isReal
            return StoredPage(found, next)
        }

    /// The former one first: for what has to be found by those, too, who know it alone.
    member internal _.Both = [ source; target ]

    interface ISessionStore with
        member _.Prepare cancel =
            ValueTask<StoreReport>(
                task =
                    task {
                        let! old = source.Prepare cancel
                        let! current = target.Prepare cancel

                        if old.Location = current.Location then
                            invalidOp
                                "MigrateFrom names the store that the sessions move to: give it the one that they were in before."

                        if not current.ComparesAndSwaps then
                            invalidOp
                                "Sessions cannot move to a store without compare-and-swap: choose UseRedis or UseSqlite before MigrateFrom."

                        try
                            if not areTwo then
                                do! refuseOnePlace cancel
                        with
                        // Nobody answers: the first session that moves has it found out.
                        | error when not (error :? InvalidOperationException) && not cancel.IsCancellationRequested ->
                            isDoubtful <- true

                        let notes = List<string>(current.Notes)
                        notes.AddRange old.Notes

                        notes.Add(
                            String.Concat(
                                "Sessions move from ",
                                old.Location,
                                " to " + current.Location,
                                " as they are written to. The old store is needed until AbsoluteTimeout has passed since the last application without MigrateFrom was stopped: then remove MigrateFrom."
                            )
                        )

                        if not old.ComparesAndSwaps then
                            notes.Add
                                "The store that sessions move from has no compare-and-swap: stop every application without MigrateFrom first, else a logout taken there can be undone."

                        let keepsBeyond = min current.KeepsBeyond old.KeepsBeyond
                        return StoreReport(current.Location, true, current.Lists && old.Lists, notes, keepsBeyond)
                    }
            )

        member _.Insert(record, cancel) =
            ValueTask<WriteResult>(
                task =
                    task {
                        match! before (fun () -> source.Load(record.Id, cancel).AsTask()) with
                        | null -> return! target.Insert(record, cancel)
                        | _ -> return WriteResult.Conflict
                    }
            )

        member _.Load(id, cancel) =
            ValueTask<StoredRecord | null>(
                task =
                    task {
                        match! target.Load(id, cancel) with
                        | null -> return! loadOld id cancel
                        | found when isReal found -> return found
                        | _ -> return! loadOld id cancel
                    }
            )

        member _.Replace(record, expected, cancel) =
            ValueTask<WriteResult>(
                task =
                    task {
                        match! before (fun () -> clearWay record expected cancel) with
                        | Error answer -> return answer
                        | Ok isEnd ->
                            let! answer = target.Replace(record, expected, cancel)

                            if isEnd && (answer = WriteResult.Written || answer = WriteResult.Unacknowledged) then
                                do! source.Remove(record.Id, cancel)

                            return answer
                    }
            )

        member _.Touch(id, at, cancel) =
            ValueTask(
                task =
                    task {
                        do! source.Touch(id, at, cancel)
                        do! target.Touch(id, at, cancel)
                    }
            )

        member _.Remove(id, cancel) =
            ValueTask(
                task =
                    task {
                        do! source.Remove(id, cancel)
                        do! target.Remove(id, cancel)
                    }
            )

        member _.BySubject(subject, after, limit, cancel) =
            ValueTask<StoredPage>(task = merge (fun store -> store.BySubject(subject, after, limit, cancel)) limit)

        member _.Enumerate(after, limit, cancel) =
            ValueTask<StoredPage>(task = merge (fun store -> store.Enumerate(after, limit, cancel)) limit)

        member _.Count cancel =
            ValueTask<int64>(
                task =
                    task {
                        let! old = source.Count cancel
                        let! current = target.Count cancel
                        return old + current
                    }
            )

        member _.ClaimOverdue(now, lease, limit, cancel) =
            ValueTask<IReadOnlyList<StoredRecord>>(
                task =
                    task {
                        let claimed = List<StoredRecord>()
                        let! current = target.ClaimOverdue(now, lease, limit, cancel)

                        for record in current do
                            if isReal record then
                                claimed.Add record
                            else
                                // Left by a mover that was stopped: the claim of the source's record goes on from it.
                                match! source.Load(record.Id, cancel) with
                                | null -> do! discard record cancel
                                | _ -> ()

                        if claimed.Count < limit then
                            // One that is not confirmed may have been waited for: no other one is asked for then.
                            let mutable confirms = true
                            let! old = source.ClaimOverdue(now, lease, limit - claimed.Count, cancel)

                            for record in old do
                                match! target.Load(record.Id, cancel) with
                                | null -> claimed.Add(original record)
                                | found when isReal found && found.Kind = RecordKind.Ended ->
                                    do! removeVersion source record.Id record.Version record.Operation cancel
                                | found when isReal found ->
                                    if confirms then
                                        // It keeps the lease that it may have from this very claim.
                                        let! isGone = letGo (found.Due(now + lease)) cancel
                                        confirms <- isGone <> ValueSome false

                                    if not confirms then
                                        let later = max found.DueAt (now + lease)
                                        do! source.Reschedule(record.Id, record.Version, later, cancel)
                                | _ -> claimed.Add(original record)

                        return claimed :> IReadOnlyList<StoredRecord>
                    }
            )

        member _.Reschedule(id, version, dueAt, cancel) =
            ValueTask(
                task =
                    task {
                        do! source.Reschedule(id, version, dueAt, cancel)
                        do! source.Reschedule(id, -version, dueAt, cancel)
                        do! target.Reschedule(id, version, dueAt, cancel)
                    }
            )

    interface IRemovesVersion with
        member _.RemoveVersion(id, version, operation, cancel) =
            ValueTask(
                task =
                    task {
                        match! target.Load(id, cancel) with
                        | NonNull found when found.Version = version && found.Operation = operation ->
                            // What the source may have still, or has again after a crash, is what this one was before. But for
                            // a tombstone of its own, which somebody has left there since.
                            match! source.Load(id, cancel) with
                            | NonNull left when left.Version > 0L && left.Kind = RecordKind.Ended -> ()
                            | _ -> do! source.Remove(id, cancel)
                        | _ -> ()

                        // A fence changes a version into its negative, and never back.
                        do! removeVersion source id version operation cancel
                        do! removeVersion source id -version operation cancel

                        // A mover that has read the record before may be about to commit it to this placeholder. One that
                        // is staged from now on never gets this record.
                        match! target.Load(id, cancel) with
                        | null -> ()
                        | found when isReal found -> ()
                        | staged -> do! discard staged cancel

                        do! removeVersion target id version operation cancel
                    }
            )

    interface ISessionSignals with
        // To nodes that still know the former store alone, and from them.
        member _.Publish(ids, cancel) =
            ValueTask(
                task =
                    task {
                        for store in [ target; source ] do
                            match store with
                            | :? ISessionSignals as signals -> do! signals.Publish(ids, cancel)
                            | _ -> ()
                    }
            )

        // A server that carries no notices silences those of the other one for nobody.
        member _.Subscribe(heard, cancel) =
            let held = List<IAsyncDisposable>()
            let mute = List<exn>()

            let leave () : Task =
                task {
                    let failures = List<exn>()

                    for one in held do
                        try
                            do! one.DisposeAsync()
                        with error ->
                            failures.Add error

                    if failures.Count > 0 then
                        ExceptionDispatchInfo.Throw failures[0]
                }

            ValueTask<IAsyncDisposable>(
                task =
                    task {
                        try
                            for store in [ target; source ] do
                                match store with
                                | :? ISessionSignals as signals ->
                                    try
                                        let! one = signals.Subscribe(heard, cancel)
                                        held.Add one
                                    with :? NotSupportedException as error ->
                                        mute.Add error
                                | _ -> ()

                            if held.Count = 0 && mute.Count > 0 then
                                ExceptionDispatchInfo.Throw mute[0]
                        with error ->
                            try
                                do! leave ()
                            // What went wrong first is told.
                            with _ ->
                                ()

                            ExceptionDispatchInfo.Throw error

                        return
                            { new IAsyncDisposable with
                                member _.DisposeAsync() = ValueTask(leave ()) }
                    }
            )
