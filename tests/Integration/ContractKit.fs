/// The contract kit itself: wrong stores that one of its tests alone can see, and a right one that it must not accuse.
module Integration.ContractKit

open System
open System.Collections.Concurrent
open System.Threading
open System.Threading.Tasks
open Expecto
open Session.Engine
open Session.Stores.Testing

let private healthy () = MemoryStore() :> ISessionStore

let private contract name (make: unit -> ISessionStore) (configure: StoreContractOptions -> unit) =
    let options = StoreContractOptions(Seed = 4711, Commands = 100, Histories = 20)
    configure options
    StoreContract(name, (fun _ -> Task.FromResult(make ())), options)

/// What one of its tests says of a store; nothing: all is well.
let private said (contract: StoreContract) (name: string) =
    task {
        let test = contract.Tests |> Seq.find (fun test -> test.Name.Contains name)

        try
            do! test.RunAsync()
            return ""
        with :? ContractViolationException as violation ->
            return violation.Message
    }

/// Loads that come while a write is under way answer from before the last one.
let private stale () =
    let before, writing = ConcurrentDictionary<string, StoredRecord | null>(), ref 0

    { new ForwardingStore(healthy ()) with
        override s.Load(id, cancel) =
            match before.TryGetValue id with
            | true, old when Volatile.Read &writing.contents > 0 -> ValueTask<StoredRecord | null> old
            | _ -> s.Inner.Load(id, cancel)

        override s.Replace(record, expected, cancel) =
            ValueTask<WriteResult>(
                task =
                    task {
                        Interlocked.Increment &writing.contents |> ignore

                        try
                            do! Task.Delay(2, cancel)
                            let! old = s.Inner.Load(record.Id, cancel)
                            let! answer = s.Inner.Replace(record, expected, cancel)

                            if answer = WriteResult.Written then
                                before[record.Id] <- old

                            return answer
                        finally
                            Interlocked.Decrement &writing.contents |> ignore
                    }
            ) }

/// Two writes at once, of whatever sessions: the later one hears of a conflict, on the very version that is stored.
let private hasty () =
    let writing = ref 0

    { new ForwardingStore(healthy ()) with
        override s.Replace(record, expected, cancel) =
            ValueTask<WriteResult>(
                task =
                    task {
                        let isAlone = Interlocked.Increment &writing.contents = 1

                        try
                            do! Task.Delay(2, cancel)

                            if isAlone then
                                return! s.Inner.Replace(record, expected, cancel)
                            else
                                match! s.Inner.Load(record.Id, cancel) with
                                | null -> return WriteResult.Absent
                                | _ -> return WriteResult.Conflict
                        finally
                            Interlocked.Decrement &writing.contents |> ignore
                    }
            ) }

/// Keeps what the due index had, where a write says what it was decided on.
let private trusting () =
    { new ForwardingStore(healthy ()) with
        override s.Replace(record, expected, cancel) =
            match record.Basis with
            | null -> s.Inner.Replace(record, expected, cancel)
            | basis -> s.Inner.Replace(record.Due basis.DueAt, expected, cancel) }

/// Each of its handles has leases of its own.
[<Sealed>]
type private OwnLeases(records: ISessionStore) =
    inherit ForwardingStore(records)
    let leases = ConcurrentDictionary<string, DateTimeOffset>()
    let turn = new SemaphoreSlim(1)
    member _.Again() = new OwnLeases(records)

    override _.ClaimOverdue(now, lease, limit, cancel) =
        ValueTask<_>(
            task =
                task {
                    do! turn.WaitAsync cancel

                    try
                        let! all = records.Enumerate(null, Int32.MaxValue, cancel)

                        let mine =
                            all.Records
                            |> Seq.filter (fun it ->
                                it.DueAt <= now
                                && (match leases.TryGetValue it.Id with
                                    | true, until -> until <= now
                                    | _ -> true))
                            |> Seq.truncate limit
                            |> Array.ofSeq

                        for it in mine do
                            leases[it.Id] <- now + lease

                        return mine :> Collections.Generic.IReadOnlyList<StoredRecord>
                    finally
                        turn.Release() |> ignore
                }
        )

/// Answers first and writes with its next call: what it held is lost with its process.
[<Sealed>]
type private WriteBehind(records: ISessionStore) =
    inherit ForwardingStore(records)

    override _.Replace(record, expected, cancel) =
        ValueTask<WriteResult>(
            task =
                task {
                    match! records.Load(record.Id, cancel) with
                    | NonNull found when found.Version = expected -> return WriteResult.Written
                    | _ -> return WriteResult.Conflict
                }
        )

/// Each so many replaces it says that it has changed nothing, and that is not so.
let private lying (records: ISessionStore) often =
    let writes = ref 0

    { new ForwardingStore(records) with
        override s.Replace(record, expected, cancel) =
            ValueTask<WriteResult>(
                task =
                    task {
                        let! result = s.Inner.Replace(record, expected, cancel)

                        if Interlocked.Increment &writes.contents % often = 0 then
                            raise (StoreRefusedException("no room", null))

                        return result
                    }
            ) }

/// Numbers its records by itself.
let private numbering () =
    { new ForwardingStore(healthy ()) with
        override s.Replace(record, expected, cancel) =
            let (it: StoredRecord), version = record, expected + 1L
            let seen, due = it.LastSeen, it.DueAt
            let own = StoredRecord(it.Id, version, it.Kind, seen, due, it.Subject, it.Operation, it.Body, it.IsDurable)
            s.Inner.Replace(own, expected, cancel) }

/// Right, over a line that breaks now and then: of a write nobody hears whether it was carried out.
let private unsteady () =
    let calls = ref 0

    let over (write: unit -> ValueTask<WriteResult>) =
        ValueTask<WriteResult>(
            task =
                task {
                    let number = Interlocked.Increment &calls.contents % 12

                    if number = 3 then
                        raise (IO.IOException "lost on its way")

                    if number = 6 then
                        return WriteResult.Unknown
                    else
                        let! answer = write ()

                        if number = 9 then
                            raise (IO.IOException "the answer is lost")

                        return if number = 0 then WriteResult.Unknown else answer
                }
        )

    { new ForwardingStore(healthy ()) with
        override s.Insert(record, cancel) = over (fun () -> s.Inner.Insert(record, cancel))
        override s.Replace(record, expected, cancel) = over (fun () -> s.Inner.Replace(record, expected, cancel)) }

/// Has no touch and no notices.
let private bare () =
    { new ForwardingStore(healthy ()) with
        override _.Touch(_, _, _) = ValueTask.CompletedTask
        override _.Publish(_, _) = raise (InvalidOperationException "there are no notices") }

/// One of its writes goes on though its caller has gone.
let private heedless (verb: string) =
    let heeded (name: string) (cancel: CancellationToken) = if name = verb then CancellationToken.None else cancel

    { new ForwardingStore(healthy ()) with
        override s.Insert(record, cancel) = s.Inner.Insert(record, heeded "insert" cancel)

        override s.Replace(record, expected, cancel) = s.Inner.Replace(record, expected, heeded "replace" cancel)

        override s.Remove(id, cancel) = s.Inner.Remove(id, heeded "remove" cancel)

        override s.RemoveVersion(id, version, operation, cancel) =
            (s.Inner :?> IRemovesVersion).RemoveVersion(id, version, operation, heeded "remove a version" cancel) }

/// A touch takes effect a second later, which is right: within five.
let private late () =
    { new ForwardingStore(healthy ()) with
        override s.Touch(id, at, _) =
            Task.Run<unit>(fun () ->
                task {
                    do! Task.Delay 1000
                    do! s.Inner.Touch(id, at, CancellationToken.None)
                })
            |> ignore

            ValueTask.CompletedTask }

/// Each fifth claim leaves one out, which the lease keeps from everybody.
let private losing () =
    let claims = ref 0

    { new ForwardingStore(healthy ()) with
        override s.ClaimOverdue(now, lease, limit, cancel) =
            ValueTask<_>(
                task =
                    task {
                        let! all = s.Inner.ClaimOverdue(now, lease, limit, cancel)

                        return
                            if Interlocked.Increment &claims.contents % 5 = 0 && all.Count > 1 then
                                Seq.skip 1 all |> Array.ofSeq :> Collections.Generic.IReadOnlyList<StoredRecord>
                            else
                                all
                    }
            ) }

/// What was claimed and is written once more is due when the lease ends, whatever the write says.
let private leased () =
    let claimed = ConcurrentDictionary<string, DateTimeOffset>()

    { new ForwardingStore(healthy ()) with
        override s.ClaimOverdue(now, lease, limit, cancel) =
            ValueTask<_>(
                task =
                    task {
                        let! all = s.Inner.ClaimOverdue(now, lease, limit, cancel)

                        for it in all do
                            claimed[it.Id] <- now + lease

                        return all
                    }
            )

        override s.Load(id, cancel) =
            let loading: Task<StoredRecord | null> =
                task {
                    let! stored = s.Inner.Load(id, cancel)

                    let shown: StoredRecord | null =
                        match stored, claimed.TryGetValue id with
                        | NonNull it, (true, due) ->
                            StoredRecord(id, it.Version, it.Kind, it.LastSeen, due, it.Subject, it.Operation, it.Body)
                        | _ -> stored

                    return shown
                }

            ValueTask<StoredRecord | null> loading }

/// Hands each notice on once: whoever says the same again is not heard.
let private repetitive () =
    let said = ConcurrentDictionary<string, bool>()

    { new ForwardingStore(healthy ()) with
        override s.Publish(ids, cancel) =
            let others = ids |> Seq.filter (fun id -> said.TryAdd(id, true)) |> Array.ofSeq
            (s.Inner :?> ISessionSignals).Publish(others, cancel) }

/// Pages of three records and more have one more than they may, in one of the two listings.
let private generous ofSubject =
    let taken isMeant limit = if isMeant && limit > 2 && limit < 100 then limit + 1 else limit

    { new ForwardingStore(healthy ()) with
        override s.BySubject(subject, after, limit, cancel) =
            s.Inner.BySubject(subject, after, taken ofSubject limit, cancel)

        override s.Enumerate(after, limit, cancel) = s.Inner.Enumerate(after, taken (not ofSubject) limit, cancel) }

/// Long bodies come back with what is behind their first bytes turned around.
let private turning () =
    let turned (record: StoredRecord) =
        if record.Body.Length > 8 then
            let bytes = record.Body.ToArray()
            Array.Reverse(bytes, 8, bytes.Length - 8)
            let seen, due = record.LastSeen, record.DueAt

            StoredRecord(
                record.Id,
                record.Version,
                record.Kind,
                seen,
                due,
                record.Subject,
                record.Operation,
                ReadOnlyMemory bytes
            )
        else
            record

    { new ForwardingStore(healthy ()) with
        override s.Load(id, cancel) =
            let loading: Task<StoredRecord | null> =
                task {
                    let! found = s.Inner.Load(id, cancel)

                    let shown: StoredRecord | null =
                        match found with
                        | null -> null
                        | record -> turned record

                    return shown
                }

            ValueTask<StoredRecord | null> loading }

/// A cancelled call takes effect all the same, of these three.
let private deaf (verb: string) =
    let none = CancellationToken.None

    { new ForwardingStore(healthy ()) with
        override s.Touch(id, at, cancel) = s.Inner.Touch(id, at, (if verb = "touch" then none else cancel))

        override s.ClaimOverdue(now, lease, limit, cancel) =
            s.Inner.ClaimOverdue(now, lease, limit, (if verb = "claim" then none else cancel))

        override s.Reschedule(id, version, dueAt, cancel) =
            s.Inner.Reschedule(id, version, dueAt, (if verb = "reschedule" then none else cancel)) }

/// In one of the three that hand out several records they come without what is in them.
let private hollow (where: string) =
    let emptied isMeant (records: Collections.Generic.IReadOnlyList<StoredRecord>) =
        if isMeant then
            [| for it in records do
                   let body = ReadOnlyMemory<byte>.Empty
                   StoredRecord(it.Id, it.Version, it.Kind, it.LastSeen, it.DueAt, it.Subject, it.Operation, body) |]
            :> Collections.Generic.IReadOnlyList<StoredRecord>
        else
            records

    let page isMeant (read: ValueTask<StoredPage>) =
        ValueTask<StoredPage>(
            task =
                task {
                    let! page = read
                    return StoredPage(emptied isMeant page.Records, page.Next)
                }
        )

    { new ForwardingStore(healthy ()) with
        override s.BySubject(subject, after, limit, cancel) =
            page (where = "by subject") (s.Inner.BySubject(subject, after, limit, cancel))

        override s.Enumerate(after, limit, cancel) =
            page (where = "enumerate") (s.Inner.Enumerate(after, limit, cancel))

        override s.ClaimOverdue(now, lease, limit, cancel) =
            ValueTask<_>(
                task =
                    task {
                        let! claimed = s.Inner.ClaimOverdue(now, lease, limit, cancel)
                        return emptied (where = "claim") claimed
                    }
            ) }

/// A replace that comes too late hears that there is nothing, though the record is there all the time.
let private absentminded () =
    { new ForwardingStore(healthy ()) with
        override s.Replace(record, expected, cancel) =
            ValueTask<WriteResult>(
                task =
                    task {
                        match! s.Inner.Replace(record, expected, cancel) with
                        | WriteResult.Conflict -> return WriteResult.Absent
                        | answer -> return answer
                    }
            ) }

/// Right until so many loads that one sequence of commands does not come to them; then it finds nothing any more.
let private worn () =
    let loads = ref 0

    { new ForwardingStore(healthy ()) with
        override s.Load(id, cancel) =
            if Interlocked.Increment &loads.contents > 300 then
                let nothing: StoredRecord | null = null
                ValueTask<StoredRecord | null> nothing
            else
                s.Inner.Load(id, cancel) }

/// Entries by subject beside the records, each made in a step before its record; stopped after so many steps. What a stopped
/// process has left goes with a listing that meets it, and with no sweep.
[<Sealed>]
type private MendedByLists
    (records: ISessionStore, entries: ConcurrentDictionary<struct (string * string), bool>, steps: int) =
    inherit ForwardingStore(records)
    let mutable left = steps

    let step () =
        left <- left - 1

        if left < 0 then
            raise (IO.IOException "stopped")

    let enter (record: StoredRecord) =
        match record.Subject with
        | null -> ()
        | subject ->
            step ()
            entries[struct (subject, record.Id)] <- true
            step ()

    member _.Stopping(steps: int) = new MendedByLists(records, entries, steps)
    member _.Entries = int64 entries.Count

    override _.Insert(record, cancel) =
        enter record
        records.Insert(record, cancel)

    override _.Remove(id, cancel) =
        for entry in entries.Keys do
            let struct (_, owner) = entry

            if owner = id then
                entries.TryRemove entry |> ignore

        records.Remove(id, cancel)

    override _.BySubject(subject, after, limit, cancel) =
        ValueTask<StoredPage>(
            task =
                task {
                    for entry in entries.Keys do
                        let struct (owner, id) = entry

                        if owner = subject then
                            match! records.Load(id, cancel) with
                            | NonNull record when String.Equals(record.Subject, subject) -> ()
                            | _ -> entries.TryRemove entry |> ignore

                    return! records.BySubject(subject, after, limit, cancel)
                }
        )

/// After so many that have stopped to listen the others are told for ever.
let private clinging (most: int) =
    let left = ref 0

    { new ForwardingStore(healthy ()) with
        override s.Subscribe(heard, cancel) =
            ValueTask<IAsyncDisposable>(
                task =
                    task {
                        let! subscription = (s.Inner :?> ISessionSignals).Subscribe(heard, cancel)

                        return
                            { new IAsyncDisposable with
                                member _.DisposeAsync() =
                                    if Interlocked.Increment &left.contents <= most then
                                        subscription.DisposeAsync()
                                    else
                                        ValueTask.CompletedTask }
                    }
            ) }

/// Says what nobody has said, too.
let private inventive () =
    { new ForwardingStore(healthy ()) with
        override s.Publish(ids, cancel) =
            (s.Inner :?> ISessionSignals).Publish(Seq.append ids [ "invented" ] |> Array.ofSeq, cancel) }

/// What several records at once are not.
let private careless (how: string) =
    { new ForwardingStore(healthy ()) with
        override s.LoadMany(ids, cancel) =
            ValueTask<_>(
                task =
                    task {
                        let! found = (s.Inner :?> IReadsMany).LoadMany(ids, cancel)
                        let records = List.ofSeq found

                        let told =
                            match how with
                            | "one too few" -> List.truncate (max 0 (records.Length - 1)) records
                            | "one twice" -> records @ List.truncate 1 records
                            | _ -> [ for record in records -> record.Due(record.DueAt.AddMinutes 1.0) ]

                        return Array.ofList told :> Collections.Generic.IReadOnlyList<StoredRecord>
                    }
            ) }

/// A listing of a subject is that of the time before.
let private lagging () =
    let seen = ConcurrentDictionary<string, StoredPage>()

    { new ForwardingStore(healthy ()) with
        override s.Insert(record, cancel) =
            ValueTask<WriteResult>(
                task =
                    task {
                        do! Task.Delay(2, cancel)
                        return! s.Inner.Insert(record, cancel)
                    }
            )

        override s.BySubject(subject, after, limit, cancel) =
            ValueTask<StoredPage>(
                task =
                    task {
                        let! page = s.Inner.BySubject(subject, after, limit, cancel)
                        let key = $"{subject} {after}"

                        let former =
                            match seen.TryGetValue key with
                            | true, former -> former
                            | _ -> StoredPage(Array.empty<StoredRecord>, null)

                        seen[key] <- page
                        return former
                    }
            ) }

/// Lists everybody's sessions as those of one.
let private indiscreet () =
    { new ForwardingStore(healthy ()) with
        override s.Replace(record, expected, cancel) =
            ValueTask<WriteResult>(
                task =
                    task {
                        do! Task.Delay(2, cancel)
                        return! s.Inner.Replace(record, expected, cancel)
                    }
            )

        override s.BySubject(_, after, limit, cancel) = s.Inner.Enumerate(after, limit, cancel) }

/// Hands each record out once, and never again.
let private hoarding () =
    let handed = ConcurrentDictionary<string, bool>()

    { new ForwardingStore(healthy ()) with
        override s.ClaimOverdue(now, lease, limit, cancel) =
            ValueTask<_>(
                task =
                    task {
                        let! all = s.Inner.ClaimOverdue(now, lease, limit, cancel)
                        let fresh = all |> Seq.filter (fun it -> handed.TryAdd(it.Id, true)) |> Array.ofSeq
                        return fresh :> Collections.Generic.IReadOnlyList<StoredRecord>
                    }
            ) }

/// So many writes side by side that each is possible after any other, and a last word that nothing explains.
let private tangled count =
    let operation called text steps = Linearizability.Operation(called, 100L, text, Func<_, _> steps)

    [| for n in 1..count do
           operation (int64 n) "write" (fun (before: Linearizability.Register) ->
               [| struct (true, Linearizability.Register(before.Version + 1L, int64 n)) |])
       operation 50L "read" (fun before -> [| struct (false, before) |]) |]

/// Keeps the whole array of which a body is a part.
let private grasping () =
    let whole (record: StoredRecord) =
        match Runtime.InteropServices.MemoryMarshal.TryGetArray record.Body with
        | true, part ->
            StoredRecord(
                record.Id,
                record.Version,
                record.Kind,
                record.LastSeen,
                record.DueAt,
                record.Subject,
                record.Operation,
                ReadOnlyMemory<byte>(part.Array),
                record.IsDurable
            )
        | _ -> record

    { new ForwardingStore(healthy ()) with
        override s.Insert(record, cancel) = s.Inner.Insert(whole record, cancel)
        override s.Replace(record, expected, cancel) = s.Inner.Replace(whole record, expected, cancel) }

/// Compares versions as a language does whose numbers all have fractions.
let private rounding () =
    { new ForwardingStore(healthy ()) with
        override s.Replace(record, expected, cancel) =
            ValueTask<WriteResult>(
                task =
                    task {
                        match! s.Inner.Load(record.Id, cancel) with
                        | NonNull found when float found.Version = float expected ->
                            return! s.Inner.Replace(record, found.Version, cancel)
                        | _ -> return! s.Inner.Replace(record, expected, cancel)
                    }
            ) }

/// Says by a number where the next page of one of the two listings begins: another place, once a record before it is gone.
let private offsetting ofSubject =
    let page (after: string | null) limit (all: StoredPage) =
        let first =
            match Int32.TryParse after with
            | true, number -> number
            | _ ->
                all.Records
                |> Seq.filter (fun it -> not (isNull after) && String.CompareOrdinal(it.Id, after) <= 0)
                |> Seq.length

        let records = all.Records |> Seq.skip (min first all.Records.Count) |> Seq.truncate limit |> Array.ofSeq
        let last = first + records.Length
        let next: string | null = if last < all.Records.Count then string last else null
        StoredPage(records, next)

    { new ForwardingStore(healthy ()) with
        override s.BySubject(subject, after, limit, cancel) =
            ValueTask<StoredPage>(
                task =
                    task {
                        if ofSubject then
                            let! all = s.Inner.BySubject(subject, null, Int32.MaxValue, cancel)
                            return page after limit all
                        else
                            return! s.Inner.BySubject(subject, after, limit, cancel)
                    }
            )

        override s.Enumerate(after, limit, cancel) =
            ValueTask<StoredPage>(
                task =
                    task {
                        if ofSubject then
                            return! s.Inner.Enumerate(after, limit, cancel)
                        else
                            let! all = s.Inner.Enumerate(null, Int32.MaxValue, cancel)
                            return page after limit all
                    }
            ) }

/// Takes one call after the other: whoever comes meanwhile is turned away.
let private overloaded () =
    let running = ref 0

    let enter () =
        if Interlocked.Increment &running.contents > 1 then
            Interlocked.Decrement &running.contents |> ignore
            raise (IO.IOException "too many at once")

    let leave () = Interlocked.Decrement &running.contents |> ignore

    let write (call: unit -> ValueTask<WriteResult>) =
        ValueTask<WriteResult>(
            task =
                task {
                    enter ()

                    try
                        do! Task.Delay 2
                        return! call ()
                    finally
                        leave ()
                }
        )

    { new ForwardingStore(healthy ()) with
        override s.Insert(record, cancel) = write (fun () -> s.Inner.Insert(record, cancel))
        override s.Replace(record, expected, cancel) = write (fun () -> s.Inner.Replace(record, expected, cancel))

        override s.Load(id, cancel) =
            let loading: Task<StoredRecord | null> =
                task {
                    enter ()

                    try
                        do! Task.Delay 2
                        let! found = s.Inner.Load(id, cancel)
                        return found
                    finally
                        leave ()
                }

            ValueTask<StoredRecord | null> loading }

/// A record behind which its process was stopped is missing in one of the ways to find it, or is counted for ever.
[<Sealed>]
type private Halfway(records: ISessionStore, half: ConcurrentDictionary<string, bool>, steps: int, where: string) =
    inherit ForwardingStore(records)
    let mutable left = steps

    let step () =
        left <- left - 1

        if left < 0 then
            raise (IO.IOException "stopped")

    let whole (found: Collections.Generic.IReadOnlyList<StoredRecord>) =
        found |> Seq.filter (fun it -> not (half.ContainsKey it.Id)) |> Array.ofSeq
        :> Collections.Generic.IReadOnlyList<StoredRecord>

    member _.Stopping(steps: int) = new Halfway(records, half, steps, where)

    override _.Insert(record, cancel) =
        ValueTask<WriteResult>(
            task =
                task {
                    step ()
                    half[record.Id] <- true
                    let! answer = records.Insert(record, cancel)
                    step ()
                    half.TryRemove record.Id |> ignore
                    return answer
                }
        )

    override _.Enumerate(after, limit, cancel) =
        ValueTask<StoredPage>(
            task =
                task {
                    let! page = records.Enumerate(after, limit, cancel)
                    return if where = "enumerate" then StoredPage(whole page.Records, page.Next) else page
                }
        )

    override _.ClaimOverdue(now, lease, limit, cancel) =
        ValueTask<_>(
            task =
                task {
                    let! claimed = records.ClaimOverdue(now, lease, limit, cancel)
                    return if where = "claimed, sooner or later" then whole claimed else claimed
                }
        )

    override _.Count cancel =
        ValueTask<int64>(
            task =
                task {
                    let! count = records.Count cancel
                    return if where = "count, after the sweeps" then count + int64 half.Count else count
                }
        )

/// Is closed once, and knows which others are open.
[<Sealed>]
type private Closable(records: ISessionStore, handles: ConcurrentDictionary<Guid, bool>) =
    inherit ForwardingStore(records)
    let own = Guid.NewGuid()
    do handles[own] <- true
    member _.Again() = new Closable(records, handles)

    interface IDisposable with
        member _.Dispose() =
            let wasOpen, _ = handles.TryRemove own

            if not wasOpen then
                failtest "closed twice"

/// What a server hears, and what its client is answered, over a proxy that lets so many requests through: all sent at
/// once, or each behind the answer to the one before.
let private proxied (requests: int) isAtOnce =
    task {
        use listener = new Net.Sockets.TcpListener(Net.IPAddress.Loopback, 0)
        listener.Start()
        let heard, answers = ConcurrentQueue<string>(), ConcurrentQueue<string>()

        let write (client: Net.Sockets.TcpClient) (text: string) =
            client.GetStream().WriteAsync(ReadOnlyMemory(Text.Encoding.ASCII.GetBytes text))

        let serving =
            task {
                use! client = listener.AcceptTcpClientAsync()
                use reader = new IO.StreamReader(client.GetStream())
                let mutable goesOn = true

                while goesOn do
                    match! reader.ReadLineAsync() with
                    | null -> goesOn <- false
                    | line ->
                        heard.Enqueue line
                        do! write client $"{line}, taken\n"
            }

        // A line each. The greeting is the driver's own, and does not count.
        let framing: Wire.Framing =
            fun bytes ->
                let sent = bytes.ToArray()

                match Array.IndexOf(sent, byte '\n') with
                | -1 -> ValueNone
                | last -> ValueSome(struct (last + 1, sent[0] = byte 'r'))

        let wire = Wire.Wire((listener.LocalEndpoint :?> Net.IPEndPoint).Port, framing, requests)
        use client = new Net.Sockets.TcpClient()
        do! client.ConnectAsync(Net.IPAddress.Loopback, wire.Port)
        use reader = new IO.StreamReader(client.GetStream())
        let texts = "greeting" :: [ for n in 1..5 -> $"request {n}" ]
        let mutable left = if isAtOnce then [ String.concat "\n" texts ] else texts

        while not left.IsEmpty do
            try
                do! write client (left.Head + "\n")
                left <- left.Tail

                match! reader.ReadLineAsync() with
                | null -> left <- []
                | answer -> answers.Enqueue answer
            with :? IO.IOException ->
                // It is gone.
                left <- []

        // All that came through is carried out by then.
        do! wire.Ended()
        do! serving.WaitAsync(TimeSpan.FromSeconds 10L)

        let! isGone =
            task {
                try
                    use late = new Net.Sockets.TcpClient()
                    do! late.ConnectAsync(Net.IPAddress.Loopback, wire.Port)
                    return false
                with :? Net.Sockets.SocketException ->
                    return true
            }

        return List.ofSeq heard, List.ofSeq answers, isGone
    }

/// That a test of the kit says this of a wrong store.
let private sees because name (make: unit -> ForwardingStore) configure test story =
    testCaseTask because (fun () ->
        task {
            let! told = said (contract name (fun () -> make ()) configure) test
            Expect.stringContains told story "seen"
        })

let all =
    testList
        "the contract kit"
        [ testCase "a history that has too many orders is not called a violation" (fun () ->
              Expect.equal (Linearizability.Check(tangled 4)) Linearizability.Verdict.Violated "few: proved"
              Expect.equal (Linearizability.Check(tangled 30)) Linearizability.Verdict.Undecided "many: not proved")

          testCase "a history of as many operations as there may be is looked at to its end" (fun () ->
              let one n (steps: Linearizability.Register -> struct (bool * Linearizability.Register) array) =
                  Linearizability.Operation(2L * n, 2L * n + 1L, "", Func<_, _> steps)

              let after n = Linearizability.Register(n, n)
              let writes = [| for n in 1L .. 63L -> one n (fun _ -> [| struct (true, after n) |]) |]
              let reads version = one 64L (fun now -> [| struct (now.Version = version, now) |])
              let check last = Linearizability.Check(Array.append writes [| last |])
              Expect.equal (check (reads 63L)) Linearizability.Verdict.Holds "the last write is read"
              Expect.equal (check (reads 62L)) Linearizability.Verdict.Violated "the one before is read")

          sees
              "a conflict that no other write is the reason of is seen by the histories"
              "Hasty"
              hasty
              ignore
              "parallel clients see one order"
              "does not keep the contract"

          sees
              "what a store makes of the basis of a write is looked at"
              "Trusting"
              trusting
              (fun o -> o.Commands <- 2000)
              "random commands"
              "does not keep the contract"

          sees
              "a store that numbers its records by itself is seen, before sessions move to it"
              "Numbering"
              numbering
              ignore
              "a version is kept as it is given"
              "does not keep the contract"

          sees
              "claims that leave a record out are seen"
              "Losing"
              losing
              ignore
              "three sweepers share"
              "of 150 overdue records were handed out"

          testCaseTask "what a claimed record is due at after a write is looked at" (fun () ->
              task {
                  let! report = (contract "Leased" (fun () -> leased ()) ignore).RunAllAsync()

                  Expect.exists
                      report.Failures
                      (fun failure -> not (failure.Key.Contains "random commands"))
                      $"by an example, too: {report.Failures.Keys |> Seq.toList}"
              })

          sees
              "loads from before, while a write is under way, are seen by the histories"
              "Stale"
              stale
              ignore
              "parallel clients see one order"
              "does not keep the contract"

          testCaseTask "claims that are exclusive within one process only are seen" (fun () ->
              task {
                  let again (store: ISessionStore) (_: CancellationToken) =
                      match store with
                      | :? OwnLeases as store -> Task.FromResult<ISessionStore>(store.Again())
                      | _ -> failtest "another store"

                  let! story =
                      said
                          (contract "Own leases" (fun () -> new OwnLeases(healthy ())) (fun o -> o.Reopen <- again))
                          "three sweepers share"

                  Expect.stringContains story "Handed out twice" "seen"
              })

          testCaseTask "what was answered and is lost with its process is seen" (fun () ->
              task {
                  let records = healthy ()
                  // The handle that stops writes behind; whoever looks at the records afterwards sees what is there.
                  let stopping _ (_: int) (_: CancellationToken) = Task.FromResult<ISessionStore>(WriteBehind records)

                  let! story =
                      said
                          (contract "Write behind" (fun () -> records) (fun o -> o.Crashing <- stopping))
                          "stopped between two requests: a logout"

                  Expect.stringContains story "the record:" "seen"
              })

          testCaseTask "a write that was refused, and is there, is seen" (fun () ->
              task {
                  let records = healthy ()
                  let stopping _ (_: int) (_: CancellationToken) = Task.FromResult<ISessionStore>(lying records 1)

                  let! story =
                      said
                          (contract "Lying" (fun () -> records) (fun o -> o.Crashing <- stopping))
                          "stopped between two requests: a logout"

                  Expect.stringContains story "refused after 0 requests" "seen"

                  let! story =
                      said (contract "Lying" (fun () -> lying (healthy ()) 5) ignore) "parallel clients see one order"

                  Expect.stringContains story "does not keep the contract" "seen by the histories"
              })

          sees
              "the same notice once more, which nobody hears, is missed"
              "Repetitive"
              repetitive
              ignore
              "what one node says"
              "the first node, once more"

          for most, story in
              [ 0, "A listener that was disposed of hears"
                1, "Listeners that were disposed of hear" ] do
              sees
                  $"who is told though it listens no more is seen, from that one on: {most + 1}"
                  "Clinging"
                  (fun () -> clinging most)
                  ignore
                  "what one node says"
                  story

          sees
              "a notice that nobody has said is seen"
              "Inventive"
              inventive
              ignore
              "what one node says"
              "'invented' was heard, and nobody said so"

          testCaseTask "a notice that the other nodes do not hear is missed" (fun () ->
              task {
                  // Each of its handles has listeners of its own.
                  let again _ (_: CancellationToken) = Task.FromResult<ISessionStore>(healthy ())

                  let! story =
                      said (contract "Own listeners" healthy (fun o -> o.Reopen <- again)) "what one node says"

                  Expect.stringContains story "1200 of 1200 ids" "how many"
                  Expect.stringContains story "to another node" "and where"
              })

          for how in [ "one too few"; "one twice"; "another time" ] do
              sees
                  $"several records at once that are not what each is by itself are seen: {how}"
                  "Careless"
                  (fun () -> careless how)
                  ignore
                  "several at once"
                  "at once"

          sees
              "a listing without who was signed in before it is seen"
              "Lagging"
              lagging
              ignore
              "who was signed in before a listing"
              "Signed in before the listing began"

          sees
              "a listing with somebody else in it is seen"
              "Indiscreet"
              indiscreet
              ignore
              "who was signed in before a listing"
              "somebody else"

          sees
              "what is handed out no more once its lease is over is seen"
              "Hoarding"
              hoarding
              ignore
              "three sweepers share"
              "0 of 150 overdue records were handed out"

          testCaseTask "a report has each test once, what failed with why, and the seed" (fun () ->
              task {
                  let contract = contract "Generous" (fun () -> generous true) ignore
                  let! report = contract.RunAllAsync()
                  let failed = List.ofSeq report.Failures.Keys
                  let names = [ for test in contract.Tests -> test.Name ]
                  Expect.equal (List.sort (List.ofSeq report.Passed @ failed)) (List.sort names) "each once"
                  Expect.isNonEmpty report.Passed "most of it is right"
                  Expect.isNonEmpty failed "and this is not"
                  let text = string report

                  Expect.stringContains
                      text
                      $"Generous: {report.Passed.Count} passed, {failed.Length} failed"
                      "at once"

                  Expect.stringContains text "seed 4711" "to do it again"

                  for failure in report.Failures do
                      Expect.stringContains text $"FAILED {failure.Key}: {failure.Value}" "why"

                  Expect.exists
                      report.Failures.Values
                      _.StartsWith("Generous does not keep the contract. Replay: SESSION_CONTRACT_SEED=4711")
                      "a violation is told in its own words, and not as an exception"
              })

          sees
              "a body that is another one behind its first bytes is seen"
              "Turning"
              turning
              ignore
              "fields at their limits"
              "does not keep the contract"

          for verb in [ "touch"; "claim"; "reschedule" ] do
              sees
                  $"a cancelled {verb} that takes effect is seen"
                  "Deaf"
                  (fun () -> deaf verb)
                  ignore
                  "a cancelled call changes nothing"
                  "went on"

          for where in [ "by subject"; "enumerate"; "claim" ] do
              sees
                  $"records without what is in them are seen: {where}"
                  "Hollow"
                  (fun () -> hollow where)
                  ignore
                  "random commands"
                  $"{where}"

              testCaseTask $"by an example, too: {where}" (fun () ->
                  task {
                      let! report = (contract "Hollow" (fun () -> hollow where) ignore).RunAllAsync()

                      Expect.exists
                          report.Failures
                          (fun failure -> not (failure.Key.Contains "random commands"))
                          $"{report.Failures.Keys |> Seq.toList}"
                  })

          for ofSubject in [ true; false ] do
              sees
                  $"a page with one record more than it may have is seen, of a subject: {ofSubject}"
                  "Generous"
                  (fun () -> generous ofSubject)
                  ignore
                  "pages hold every record once"
                  "at most 7"

          sees
              "that there is nothing, where a write comes too late, is seen by the histories"
              "Absentminded"
              absentminded
              ignore
              "parallel clients see one order"
              "does not keep the contract"

          sees
              "what is wrong only on a place that was used before is a violation, too"
              "Worn"
              worn
              (fun o -> o.Commands <- 10_000)
              "random commands"
              "On a place that other sequences had used, and emptied"

          testCaseTask "what a stopped process has left, and only a listing takes away, is seen" (fun () ->
              task {
                  let mended (store: ISessionStore) =
                      match store with
                      | :? MendedByLists as store -> store
                      | _ -> failtest "another store"

                  let stopping (store: ISessionStore) (steps: int) (_: CancellationToken) =
                      Task.FromResult<ISessionStore>((mended store).Stopping steps)

                  let entries (store: ISessionStore) (_: CancellationToken) = Task.FromResult((mended store).Entries)
                  let make () = new MendedByLists(healthy (), ConcurrentDictionary(), Int32.MaxValue) :> ISessionStore

                  let! story =
                      said
                          (contract "Mended by lists" make (fun o ->
                              o.Crashing <- stopping
                              o.Entries <- entries))
                          "stopped between two requests: a sign-in begins a session"

                  Expect.stringContains story "entries in all indexes" "seen"
              })

          for where in [ "enumerate"; "claimed, sooner or later"; "count, after the sweeps" ] do
              testCaseTask $"what a stopped process has done by half is seen: {where}" (fun () ->
                  task {
                      let stopping (store: ISessionStore) (steps: int) (_: CancellationToken) =
                          match store with
                          | :? Halfway as store -> Task.FromResult<ISessionStore>(store.Stopping steps)
                          | _ -> failtest "another store"

                      let make () =
                          new Halfway(healthy (), ConcurrentDictionary(), Int32.MaxValue, where) :> ISessionStore

                      let! story =
                          said
                              (contract "Halfway" make (fun o -> o.Crashing <- stopping))
                              "stopped between two requests: a sign-in begins a session"

                      Expect.stringContains story $"{where}: " "seen"
                  })

          sees
              "a body that is kept with what lies around it is seen"
              "Grasping"
              grasping
              ignore
              "a body that is a part of an array"
              "does not keep the contract"

          sees
              "versions that are taken for one another because they are large are seen"
              "Rounding"
              rounding
              ignore
              "versions are compared whole"
              "does not keep the contract"

          for ofSubject, page in [ true, "the next page of the subject -> d"; false, "the next page -> d" ] do
              sees
                  $"pages that go on by a number, and leave one out, are seen, of a subject: {ofSubject}"
                  "Offsetting"
                  (fun () -> offsetting ofSubject)
                  ignore
                  "a page goes on behind what was removed"
                  page

          for isAtOnce in [ false; true ] do
              testCaseTask
                  $"a process that is stopped has sent so many requests, and none behind them; all at once: {isAtOnce}"
                  (fun () ->
                      task {
                          for requests in [ 0; 1; 3 ] do
                              let! heard, answers, isGone = proxied requests isAtOnce
                              let through = "greeting" :: [ for n in 1..requests -> $"request {n}" ]
                              Expect.equal heard through $"{requests}: what the server has taken"

                              if not isAtOnce then
                                  let taken = [ for line in through -> $"{line}, taken" ]
                                  Expect.equal answers taken $"{requests}: each was answered"

                              Expect.isTrue isGone $"{requests}: nobody is let in any more"
                      })

          sees
              "histories in which most calls fail are no success"
              "Overloaded"
              overloaded
              ignore
              "parallel clients see one order"
              "says nothing"

          testCaseTask "each handle that the kit opens it closes once, whatever comes of its test" (fun () ->
              task {
                  let handles = ConcurrentDictionary<Guid, bool>()
                  let opened = ref 0

                  let again (store: ISessionStore) (_: CancellationToken) =
                      match store with
                      | :? Closable as store ->
                          Interlocked.Increment &opened.contents |> ignore
                          Task.FromResult<ISessionStore>(store.Again())
                      | _ -> failtest "another store"

                  let on (records: unit -> ISessionStore) =
                      let make () = new Closable(records (), handles) :> ISessionStore
                      contract "Closable" make (fun o -> o.Reopen <- again)

                  for test in
                      [ "insert and load"
                        "random commands"
                        "parallel clients see one order"
                        "every accepted update counts"
                        "three sweepers share"
                        "what one node says" ] do
                      let! told = said (on healthy) test
                      Expect.equal told "" test
                      Expect.isEmpty handles $"{test}: all of them"

                  Expect.isGreaterThan opened.Value 0 "as other nodes"
                  let! told = said (on (fun () -> numbering ())) "a version is kept as it is given"
                  Expect.notEqual told "" "an example that fails"
                  let! told = said (on (fun () -> hasty ())) "parallel clients see one order"
                  Expect.notEqual told "" "histories that fail"
                  Expect.isEmpty handles "all of them, all the same"

                  // Another node that is opened, and then cannot be used.
                  let absent _ (_: CancellationToken) =
                      let broken =
                          { new ForwardingStore(healthy ()) with
                              override _.Prepare _ = raise (IO.IOException "not there") }

                      Task.FromResult<ISessionStore>(new Closable(broken, handles))

                  let make () = new Closable(healthy (), handles) :> ISessionStore

                  let! story =
                      task {
                          try
                              return!
                                  said (contract "Absent" make (fun o -> o.Reopen <- absent)) "three sweepers share"
                          with :? IO.IOException as error ->
                              return error.Message
                      }

                  Expect.equal story "not there" "the failure itself"
                  Expect.isEmpty handles "and it is closed, too"
              })

          for verb, test in
              [ "insert", "a cancelled call"
                "replace", "a cancelled call"
                "remove", "a cancelled call"
                "remove a version", "the removal of a version" ] do
              sees
                  $"a write that goes on though its caller has gone is seen: {verb}"
                  "Heedless"
                  (fun () -> heedless verb)
                  ignore
                  test
                  "went on"

          testCaseTask "writes of which nobody hears whether they were carried out accuse nobody" (fun () ->
              task {
                  let! told =
                      said (contract "Unsteady" (fun () -> unsteady ()) ignore) "parallel clients see one order"

                  Expect.equal told "" "a right store"
              })

          testCaseTask "what the options say that a store cannot is not asked for" (fun () ->
              task {
                  let contract =
                      contract "Bare" (fun () -> bare ()) (fun o ->
                          o.Commands <- 1000
                          o.Touches <- false
                          o.Signals <- false)

                  let names = [ for test in contract.Tests -> test.Name ]

                  for word in [ "touch"; "what one node says" ] do
                      Expect.isFalse (names |> List.exists _.Contains(word)) word

                  let! told = said contract "random commands"
                  Expect.equal told "" "a right store"
              })

          testCaseTask "a store that compares and swaps in one process alone is asked through one handle" (fun () ->
              task {
                  let contract =
                      contract "One process" healthy (fun o ->
                          o.ComparesAndSwaps <- false
                          o.Reopen <- fun _ _ -> failtest "another handle")

                  for test in
                      [ "parallel clients see one order"
                        "every accepted update counts"
                        "three sweepers share" ] do
                      let! told = said contract test
                      Expect.equal told "" test
              })

          testCaseTask "a touch that takes effect a second later is right" (fun () ->
              task {
                  for test in (contract "Late touches" (fun () -> late ()) ignore).Tests do
                      if test.Name.Contains "touch" then
                          do! test.RunAsync()
              }) ]
