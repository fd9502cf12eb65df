/// The store of one process: for tests, for one box, and as the port in its shortest form. Bounded.
namespace Session.Engine

open System
open System.Collections.Concurrent
open System.Collections.Generic
open System.Threading
open System.Threading.Tasks

/// Settings of the memory store.
[<Sealed>]
type MemoryStoreOptions() =
    /// How many records it holds, tombstones included. Default 1,000,000 (about 1 GiB of small sessions).
    /// When it is full, sessions that no client has confirmed make room; without one, a new session is refused (503).
    member val Capacity = 1_000_000 with get, set

/// Sessions in the memory of this process: they end when it stops.
[<Sealed>]
type MemoryStore(options: MemoryStoreOptions) =
    do
        if options.Capacity < 1 then
            invalidArg "Capacity" "MemoryStoreOptions.Capacity must be at least 1."

    // Reads take no lock; every write holds the gate, so that record and indexes change as one.
    let gate = Lock()
    let records = ConcurrentDictionary<string, StoredRecord>(StringComparer.Ordinal)

    let byOrder (a: struct (int64 * string)) (b: struct (int64 * string)) =
        let struct (timeA, idA) = a
        let struct (timeB, idB) = b
        let order = compare timeA timeB
        if order <> 0 then order else String.CompareOrdinal(idA, idB)

    let ordered = Comparer<struct (int64 * string)>.Create(Comparison byOrder)
    let due = SortedSet<struct (int64 * string)>(ordered)
    let dueOf = Dictionary<string, int64>(StringComparer.Ordinal)
    let unconfirmed = SortedSet<struct (int64 * string)>(ordered)
    let subjects = Dictionary<string, SortedSet<string>>(StringComparer.Ordinal)
    let mutable live = 0L
    let location = String.Concat("memory:", Guid.NewGuid().ToString())

    // Of the nodes that share this store in one process.
    let listeners = ConcurrentDictionary<obj, Action<string | null>>()

    // The ids in order, as they were when a walk over all records began: sorted once for a walk, and not for each page. A
    // walk that began earlier finds at least what it would have found.
    let mutable walked: string array = [||]
    // One at a time: the ids as an earlier walk saw them must not take the place of those that a later one goes by.
    let walking = Lock()

    let schedule id (at: DateTimeOffset) =
        match dueOf.TryGetValue id with
        | true, before -> due.Remove(struct (before, id)) |> ignore
        | false, _ -> ()

        dueOf[id] <- at.UtcTicks
        due.Add(struct (at.UtcTicks, id)) |> ignore

    let forget (record: StoredRecord) =
        if record.Kind <> RecordKind.Ended then
            live <- live - 1L

        if record.Kind = RecordKind.Unconfirmed then
            unconfirmed.Remove(struct (record.DueAt.UtcTicks, record.Id)) |> ignore

        match record.Subject with
        | null -> ()
        | subject ->
            match subjects.TryGetValue subject with
            | true, ids ->
                ids.Remove record.Id |> ignore

                if ids.Count = 0 then
                    subjects.Remove subject |> ignore
            | false, _ -> ()

    let index (record: StoredRecord) =
        schedule record.Id record.DueAt

        if record.Kind <> RecordKind.Ended then
            live <- live + 1L

        if record.Kind = RecordKind.Unconfirmed then
            unconfirmed.Add(struct (record.DueAt.UtcTicks, record.Id)) |> ignore

        match record.Subject with
        | null -> ()
        | subject ->
            match subjects.TryGetValue subject with
            | true, ids -> ids.Add record.Id |> ignore
            | false, _ -> subjects[subject] <- SortedSet<string>([ record.Id ], StringComparer.Ordinal)

    let remove (record: StoredRecord) =
        records.TryRemove record.Id |> ignore
        forget record

        match dueOf.TryGetValue record.Id with
        | true, at ->
            due.Remove(struct (at, record.Id)) |> ignore
            dueOf.Remove record.Id |> ignore
        | false, _ -> ()

    let makeRoom () =
        if records.Count >= options.Capacity then
            if unconfirmed.Count = 0 then
                raise (
                    StoreFullException(
                        "The memory store is full, and every session in it is confirmed: raise MemoryStoreOptions.Capacity or use another store."
                    )
                )

            let struct (_, oldest) = Seq.head unconfirmed
            remove records[oldest]

    let pageOf (ids: string array) (after: string | null) (limit: int) =
        let first =
            match after with
            | null -> 0
            | after ->
                let at = Array.BinarySearch(ids, after, StringComparer.Ordinal)
                if at < 0 then ~~~at else at + 1

        let last = int (min (int64 ids.Length) (int64 first + int64 limit))
        let found = List<StoredRecord>()

        for i in first .. last - 1 do
            match records.TryGetValue ids[i] with
            | true, record -> found.Add record
            | false, _ -> ()

        let next: string | null = if last < ids.Length then ids[last - 1] else null
        StoredPage(found, next)

    /// From `after` on, and no further than the page goes.
    let page (ids: SortedSet<string>) (after: string | null) limit =
        let found = List<StoredRecord>()
        let mutable next: string | null = null

        let rest: SortedSet<string> =
            match after, ids.Max with
            | null, _
            | _, null -> ids
            | after, last when String.CompareOrdinal(after, last) > 0 -> SortedSet<string>(StringComparer.Ordinal)
            | after, last -> ids.GetViewBetween(after, last)

        let mutable each = rest.GetEnumerator()

        while isNull next && each.MoveNext() do
            match records.TryGetValue each.Current with
            | true, record when not (String.Equals(record.Id, after, StringComparison.Ordinal)) ->
                if found.Count = limit then next <- found[limit - 1].Id else found.Add record
            | _ -> ()

        StoredPage(found, next)

    /// With the default capacity.
    new() = MemoryStore(MemoryStoreOptions())

    interface ISessionStore with
        member _.Prepare _ = ValueTask.FromResult(StoreReport(location, true, true, [||]))

        member _.Insert(record, cancel) =
            cancel.ThrowIfCancellationRequested()

            lock gate (fun () ->
                if records.ContainsKey record.Id then
                    ValueTask.FromResult WriteResult.Conflict
                else
                    makeRoom ()
                    records[record.Id] <- record
                    index record
                    ValueTask.FromResult WriteResult.Written)

        member _.Load(id, _) =
            match records.TryGetValue id with
            | true, record -> ValueTask.FromResult<StoredRecord | null> record
            | false, _ -> ValueTask.FromResult<StoredRecord | null> null

        member _.Replace(record, expected, cancel) =
            cancel.ThrowIfCancellationRequested()

            lock gate (fun () ->
                match records.TryGetValue record.Id with
                | false, _ -> ValueTask.FromResult WriteResult.Absent
                | true, stored when stored.Version <> expected -> ValueTask.FromResult WriteResult.Conflict
                | true, stored ->
                    forget stored
                    // Without its basis, which is of no use any more.
                    let record = (record.SeenAt stored.LastSeen).BasedOn null
                    records[record.Id] <- record
                    index record
                    ValueTask.FromResult WriteResult.Written)

        member _.Touch(id, at, cancel) =
            cancel.ThrowIfCancellationRequested()

            lock gate (fun () ->
                match records.TryGetValue id with
                | true, stored when stored.Kind <> RecordKind.Ended -> records[id] <- stored.SeenAt at
                | _ -> ())

            ValueTask.CompletedTask

        member _.Remove(id, cancel) =
            cancel.ThrowIfCancellationRequested()

            lock gate (fun () ->
                match records.TryGetValue id with
                | true, stored -> remove stored
                | false, _ -> ())

            ValueTask.CompletedTask

        member _.BySubject(subject, after, limit, _) =
            lock gate (fun () ->
                match subjects.TryGetValue subject with
                | true, ids -> ValueTask.FromResult(page ids after limit)
                | false, _ -> ValueTask.FromResult(StoredPage([||], null)))

        member _.Enumerate(after, limit, _) =
            let ids =
                lock walking (fun () ->
                    match walked with
                    | known when not (isNull after) && known.Length > 0 -> known
                    | _ ->
                        let ids = Array.ofSeq records.Keys
                        Array.Sort(ids, StringComparer.Ordinal)
                        walked <- ids
                        ids)

            let found = pageOf ids after limit

            if isNull found.Next then
                lock walking (fun () -> walked <- [||])

            ValueTask.FromResult found

        member _.Count _ = ValueTask.FromResult(Volatile.Read &live)

        member _.ClaimOverdue(now, lease, limit, cancel) =
            cancel.ThrowIfCancellationRequested()

            lock gate (fun () ->
                let claimed = List<StoredRecord>()
                let mutable isDue = true

                while isDue && claimed.Count < limit && due.Count > 0 do
                    let struct (at, id) = Seq.head due

                    if at > now.UtcTicks then
                        isDue <- false
                    else
                        schedule id (now + lease)
                        claimed.Add records[id]

                ValueTask.FromResult<IReadOnlyList<StoredRecord>> claimed)

        member _.Reschedule(id, version, dueAt, cancel) =
            cancel.ThrowIfCancellationRequested()

            lock gate (fun () ->
                match records.TryGetValue id with
                | true, stored when stored.Version = version -> schedule id dueAt
                | _ -> ())

            ValueTask.CompletedTask

    interface IRemovesVersion with
        member _.RemoveVersion(id, version, operation, cancel) =
            cancel.ThrowIfCancellationRequested()

            lock gate (fun () ->
                match records.TryGetValue id with
                | true, stored when stored.Version = version && stored.Operation = operation -> remove stored
                | _ -> ())

            ValueTask.CompletedTask

    interface ICountsCheaply

    interface IReadsMany with
        member _.LoadMany(ids, _) =
            let found = List<StoredRecord>(ids.Count)

            for id in ids do
                match records.TryGetValue id with
                | true, record -> found.Add record
                | false, _ -> ()

            ValueTask.FromResult<IReadOnlyList<StoredRecord>> found

    interface ISessionSignals with
        member _.Publish(ids, _) =
            for heard in listeners.Values do
                for id in ids do
                    heard.Invoke id

            ValueTask.CompletedTask

        member _.Subscribe(heard, _) =
            let key = obj ()
            listeners[key] <- heard

            ValueTask.FromResult
                { new IAsyncDisposable with
                    member _.DisposeAsync() =
                        listeners.TryRemove key |> ignore
                        ValueTask.CompletedTask }
