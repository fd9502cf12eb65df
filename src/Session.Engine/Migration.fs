/// Moving from one store to another while the application runs: no session is lost, and no end is undone.
///
/// Sessions that were begun before stay where they are until they are written to: then each of them moves by itself, in
/// the steps of Moves.fs. Here is the store that the two make together meanwhile: what it is asked for may be in either.
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
    let moves = Moves(target, source)

    /// What the target did not have: the source's, or what was moved between the two looks.
    let loadOld (id: string) (cancel: CancellationToken) : Task<StoredRecord | null> =
        task {
            let mutable answer: StoredRecord | null = null

            match! source.Load(id, cancel) with
            | null ->
                match! target.Load(id, cancel) with
                | null -> ()
                | found -> answer <- if Underway.isReal found then found else null
            | record -> answer <- Underway.original record

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
                records[record.Id] <- Underway.original record

            for record in current.Records do
                if Underway.isReal record || not (records.ContainsKey record.Id) then
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

            let found = ids |> Array.map (fun id -> records[id]) |> Array.filter Underway.isReal
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

                        do! moves.RefuseOnePlace cancel

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
                        match! moves.Former(record.Id, cancel) with
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
                        | found when Underway.isReal found -> return found
                        | _ -> return! loadOld id cancel
                    }
            )

        member _.Replace(record, expected, cancel) =
            ValueTask<WriteResult>(
                task =
                    task {
                        match! moves.ClearWay(record, expected, cancel) with
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
                            if Underway.isReal record then
                                claimed.Add record
                            else
                                // Left by a mover that was stopped: the claim of the source's record goes on from it.
                                match! source.Load(record.Id, cancel) with
                                | null -> do! moves.Discard(record, cancel)
                                | _ -> ()

                        if claimed.Count < limit then
                            // One that is not confirmed may have been waited for: no other one is asked for then.
                            let mutable confirms = true
                            let! old = source.ClaimOverdue(now, lease, limit - claimed.Count, cancel)

                            for record in old do
                                match! target.Load(record.Id, cancel) with
                                | null -> claimed.Add(Underway.original record)
                                | found when Underway.isReal found && found.Kind = RecordKind.Ended ->
                                    do! Underway.removeVersion source record.Id record.Version record.Operation cancel
                                | found when Underway.isReal found ->
                                    if confirms then
                                        // It keeps the lease that it may have from this very claim.
                                        let! isGone = moves.LetGo(found.Due(now + lease), cancel)
                                        confirms <- isGone <> ValueSome false

                                    if not confirms then
                                        let later = max found.DueAt (now + lease)
                                        do! source.Reschedule(record.Id, record.Version, later, cancel)
                                | _ -> claimed.Add(Underway.original record)

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
                        do! Underway.removeVersion source id version operation cancel
                        do! Underway.removeVersion source id -version operation cancel

                        // A mover that has read the record before may be about to commit it to this placeholder. One that
                        // is staged from now on never gets this record.
                        match! target.Load(id, cancel) with
                        | null -> ()
                        | found when Underway.isReal found -> ()
                        | staged -> do! moves.Discard(staged, cancel)

                        do! Underway.removeVersion target id version operation cancel
                    }
            )

    interface IReadsMany with
        // By the commands of the two themselves: behind Sentinels whoever listens moves to the next primary with these.
        member _.LoadMany(ids, cancel) =
            ValueTask<IReadOnlyList<StoredRecord>>(
                task =
                    task {
                        let found = Dictionary<string, StoredRecord>(StringComparer.Ordinal)
                        let missing () = ids |> Seq.filter (found.ContainsKey >> not) |> Array.ofSeq

                        let lookInTarget (wanted: string array) =
                            task {
                                let! current = SessionStore.loadMany target wanted cancel

                                for record in current do
                                    if Underway.isReal record then
                                        found[record.Id] <- record
                            }

                        do! lookInTarget (Array.ofSeq ids)

                        match missing () with
                        | [||] -> ()
                        | left ->
                            let! old = SessionStore.loadMany source left cancel

                            for record in old do
                                found[record.Id] <- Underway.original record

                            match missing () with
                            | [||] -> ()
                            // Moved between the two looks, or nowhere.
                            | left -> do! lookInTarget left

                        return List<StoredRecord>(found.Values) :> IReadOnlyList<StoredRecord>
                    }
            )

    interface ISessionSignals with
        // To nodes that still know the former store alone, and from them.
        member _.Publish(ids, cancel) =
            ValueTask(
                task =
                    task {
                        // One that fails keeps nobody from hearing it of the other one.
                        let failures = List<exn>()

                        for store in [ target; source ] do
                            match store with
                            | :? ISessionSignals as signals ->
                                try
                                    do! signals.Publish(ids, cancel)
                                with error ->
                                    failures.Add error
                            | _ -> ()

                        if failures.Count > 0 then
                            ExceptionDispatchInfo.Throw failures[0]
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
