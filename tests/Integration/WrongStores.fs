/// Wrong stores, each of which one test of the contract kit alone can see, and what they are made of.
module Integration.WrongStores

open System
open System.Collections.Concurrent
open System.Threading
open System.Threading.Tasks
open Expecto
open Session.Engine
open Session.Stores.Testing

let healthy () = MemoryStore() :> ISessionStore

let contract name (make: unit -> ISessionStore) (configure: StoreContractOptions -> unit) =
    let options = StoreContractOptions(Seed = 4711, Commands = 100, Histories = 20)
    configure options
    StoreContract(name, (fun _ -> Task.FromResult(make ())), options)

/// What one of its tests says of a store; nothing: all is well.
let said (contract: StoreContract) (name: string) =
    task {
        let test = contract.Tests |> Seq.find (fun test -> test.Name.Contains name)

        try
            do! test.RunAsync()
            return ""
        with :? ContractViolationException as violation ->
            return violation.Message
    }

/// Loads that come while a write is under way answer from before the last one.
let stale () =
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
let hasty () =
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
let trusting () =
    { new ForwardingStore(healthy ()) with
        override s.Replace(record, expected, cancel) =
            match record.Basis with
            | null -> s.Inner.Replace(record, expected, cancel)
            | basis -> s.Inner.Replace(record.Due basis.DueAt, expected, cancel) }

/// Each of its handles has leases of its own.
[<Sealed>]
type OwnLeases(records: ISessionStore) =
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
type WriteBehind(records: ISessionStore) =
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
let lying (records: ISessionStore) often =
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
let numbering () =
    { new ForwardingStore(healthy ()) with
        override s.Replace(record, expected, cancel) =
            let (it: StoredRecord), version = record, expected + 1L
            let seen, due = it.LastSeen, it.DueAt
            let own = StoredRecord(it.Id, version, it.Kind, seen, due, it.Subject, it.Operation, it.Body, it.IsDurable)
            s.Inner.Replace(own, expected, cancel) }

/// Right, over a line that breaks now and then: of a write nobody hears whether it was carried out.
let unsteady () =
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
let bare () =
    { new ForwardingStore(healthy ()) with
        override _.Touch(_, _, _) = ValueTask.CompletedTask
        override _.Publish(_, _) = raise (InvalidOperationException "there are no notices") }

/// One of its writes goes on though its caller has gone.
let heedless (verb: string) =
    let heeded (name: string) (cancel: CancellationToken) = if name = verb then CancellationToken.None else cancel

    { new ForwardingStore(healthy ()) with
        override s.Insert(record, cancel) = s.Inner.Insert(record, heeded "insert" cancel)

        override s.Replace(record, expected, cancel) = s.Inner.Replace(record, expected, heeded "replace" cancel)

        override s.Remove(id, cancel) = s.Inner.Remove(id, heeded "remove" cancel)

        override s.RemoveVersion(id, version, operation, cancel) =
            (s.Inner :?> IRemovesVersion).RemoveVersion(id, version, operation, heeded "remove a version" cancel) }

/// A touch takes effect a second later, which is right: within five.
let late () =
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
let losing () =
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
let leased () =
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
let repetitive () =
    let said = ConcurrentDictionary<string, bool>()

    { new ForwardingStore(healthy ()) with
        override s.Publish(ids, cancel) =
            let others = ids |> Seq.filter (fun id -> said.TryAdd(id, true)) |> Array.ofSeq
            (s.Inner :?> ISessionSignals).Publish(others, cancel) }

/// Pages of three records and more have one more than they may, in one of the two listings.
let generous ofSubject =
    let taken isMeant limit = if isMeant && limit > 2 && limit < 100 then limit + 1 else limit

    { new ForwardingStore(healthy ()) with
        override s.BySubject(subject, after, limit, cancel) =
            s.Inner.BySubject(subject, after, taken ofSubject limit, cancel)

        override s.Enumerate(after, limit, cancel) = s.Inner.Enumerate(after, taken (not ofSubject) limit, cancel) }

/// Long bodies come back with what is behind their first bytes turned around.
let turning () =
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
let deaf (verb: string) =
    let none = CancellationToken.None

    { new ForwardingStore(healthy ()) with
        override s.Touch(id, at, cancel) = s.Inner.Touch(id, at, (if verb = "touch" then none else cancel))

        override s.ClaimOverdue(now, lease, limit, cancel) =
            s.Inner.ClaimOverdue(now, lease, limit, (if verb = "claim" then none else cancel))

        override s.Reschedule(id, version, dueAt, cancel) =
            s.Inner.Reschedule(id, version, dueAt, (if verb = "reschedule" then none else cancel)) }

/// In one of the three that hand out several records they come without what is in them.
let hollow (where: string) =
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
let absentminded () =
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
let worn () =
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
type MendedByLists(records: ISessionStore, entries: ConcurrentDictionary<struct (string * string), bool>, steps: int) =
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
let clinging (most: int) =
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
let inventive () =
    { new ForwardingStore(healthy ()) with
        override s.Publish(ids, cancel) =
            (s.Inner :?> ISessionSignals).Publish(Seq.append ids [ "invented" ] |> Array.ofSeq, cancel) }

/// What several records at once are not.
let careless (how: string) =
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
let lagging () =
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
let indiscreet () =
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
let hoarding () =
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
let tangled count =
    let operation called text steps = Linearizability.Operation(called, 100L, text, Func<_, _> steps)

    [| for n in 1..count do
           operation (int64 n) "write" (fun (before: Linearizability.Register) ->
               [| struct (true, Linearizability.Register(before.Version + 1L, int64 n)) |])
       operation 50L "read" (fun before -> [| struct (false, before) |]) |]

/// Keeps the whole array of which a body is a part.
let grasping () =
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
let rounding () =
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
let offsetting ofSubject =
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
let overloaded () =
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
type Halfway(records: ISessionStore, half: ConcurrentDictionary<string, bool>, steps: int, where: string) =
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
type Closable(records: ISessionStore, handles: ConcurrentDictionary<Guid, bool>) =
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
let proxied (requests: int) isAtOnce =
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
