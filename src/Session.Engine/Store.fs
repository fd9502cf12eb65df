/// The store port. Its comments are the specification; the contract kit is their proof.
namespace Session.Engine

open System
open System.Collections.Generic
open System.Data.Common
open System.Threading
open System.Threading.Tasks

/// What a store has to know of a record's state, and all that it may know.
type RecordKind =
    /// An anonymous session whose token no client has presented yet: a full store drops these first.
    | Unconfirmed = 0
    | Live = 1
    /// A tombstone: it is never touched and never counted, but loaded and listed like every record.
    | Ended = 2

/// What a store knows of the record that another one takes the place of: all but its body.
[<Sealed>]
type RecordHead
    (
        version: int64,
        kind: RecordKind,
        lastSeen: DateTimeOffset,
        dueAt: DateTimeOffset,
        subject: string | null,
        operation: int64
    ) =
    member _.Version = version
    member _.Kind = kind
    member _.LastSeen = lastSeen
    member _.DueAt = dueAt
    member _.Subject = subject
    member _.Operation = operation

/// One session as a store keeps it, under its id. Immutable.
[<Sealed>]
type StoredRecord
    private
    (
        id: string,
        version: int64,
        kind: RecordKind,
        lastSeen: DateTimeOffset,
        dueAt: DateTimeOffset,
        subject: string | null,
        operation: int64,
        body: ReadOnlyMemory<byte>,
        isDurable: bool,
        basis: RecordHead | null
    ) =
    new(id, version, kind, lastSeen, dueAt, subject: string | null, operation, body, isDurable) =
        StoredRecord(id, version, kind, lastSeen, dueAt, subject, operation, body, isDurable, null)

    /// A record whose write need not outlast the node that took it.
    new(id, version, kind, lastSeen, dueAt, subject: string | null, operation, body) =
        StoredRecord(id, version, kind, lastSeen, dueAt, subject, operation, body, false, null)

    /// The key: 1 to 64 of A-Z a-z 0-9 _ -, compared ordinally. Public: it opens nothing.
    member _.Id = id
    /// 1 at insert, one more with each replace. Whoever writes numbers them: a store keeps the one that it is given, any but 0.
    /// While sessions move between two stores (MigrateFrom), what is on its way has a negative one.
    member _.Version = version
    member _.Kind = kind
    /// Moved by touch and by replace, and only forward. Like every time here it is kept to the tick of 100 ns.
    member _.LastSeen = lastSeen
    /// When the record has to be looked at next: the key of the due index. On a loaded record it is as written, or
    /// where a claim or `Reschedule` has moved it to.
    member _.DueAt = dueAt
    /// Whose session it is, or null. The key of the subject index: any Unicode text of at most 1,024 bytes of UTF-8,
    /// U+0000 included, compared by its bytes.
    member _.Subject = subject
    /// Random, another one for each write: who finds it stored knows that their write took effect.
    member _.Operation = operation
    /// Opaque, and authoritative: the other properties repeat what a store needs of it.
    member _.Body = body
    /// Not stored, and false on a loaded record: this write ends a session, signs in, elevates or renews the token, so a
    /// store with replicas acknowledges it only when they have it (as far as its settings say so).
    member _.IsDurable = isDurable

    /// Not stored, and null unless the writer knows it: the head of the record that a replace was decided on, as it was
    /// loaded. A store that finds just that one stored does not need to look at what has changed.
    member _.Basis = basis

    /// All but the body: the basis of a record that takes the place of this one.
    member _.Head = RecordHead(version, kind, lastSeen, dueAt, subject, operation)

    /// The same record, as one that takes the place of another one.
    member _.BasedOn(head: RecordHead | null) =
        StoredRecord(id, version, kind, lastSeen, dueAt, subject, operation, body, isDurable, head)

    /// The same record, seen later (or the same one, when it was seen later already).
    member record.SeenAt(at: DateTimeOffset) =
        if at <= lastSeen then
            record
        else
            StoredRecord(id, version, kind, at, dueAt, subject, operation, body, isDurable, basis)

    /// The same record with another place in the due index.
    member _.Due(at: DateTimeOffset) =
        StoredRecord(id, version, kind, lastSeen, at, subject, operation, body, isDurable, basis)

/// What became of an insert or a replace.
type WriteResult =
    | Written = 0
    /// Nothing was changed: the id is taken (insert), or the stored version is another one (replace).
    | Conflict = 1
    /// Nothing was changed: there is no such record (replace).
    | Absent = 2
    /// The request was sent and the answer never came: it may have taken effect, now or later. Compare `Operation`.
    | Unknown = 3
    /// It is written and can be loaded, but not kept as widely as `IsDurable` asks for (replicas that did not confirm it): a
    /// failover may still undo it.
    | Unacknowledged = 4

/// Some records, and where to go on. `Next` is null on the last page; a page may be empty and not the last.
[<Sealed>]
type StoredPage(records: IReadOnlyList<StoredRecord>, next: string | null) =
    member _.Records = records
    member _.Next = next

/// What a store found out about itself and its surroundings at start.
[<Sealed>]
type StoreReport
    (location: string, comparesAndSwaps: bool, lists: bool, notes: IReadOnlyList<string>, keepsBeyond: TimeSpan) =
    /// Of a store that keeps every record until it is removed.
    new(location, comparesAndSwaps, lists, notes) =
        StoreReport(location, comparesAndSwaps, lists, notes, TimeSpan.MaxValue)

    /// Where the records are, in a form that is equal for two stores exactly if they share their records. No passwords.
    member _.Location = location
    /// Whether replace is atomic. Without it parallel updates can be lost, and a late save can undo a logout.
    member _.ComparesAndSwaps = comparesAndSwaps
    /// Whether by subject, enumerate and claim overdue work.
    member _.Lists = lists
    /// Sentences for the log at start: each names a setting, what it means for sessions, and what to change.
    member _.Notes = notes
    /// How long after its time a record goes by itself, if no sweeper comes: sessions are lost where sweeps are rarer.
    /// Default: never.
    member _.KeepsBeyond = keepsBeyond

/// Keeps records; knows nothing of HTTP, cookies or policy.
///
/// For every verb: an unreachable or failing server is an exception (of the driver's own type: the engine turns it
/// into a value); absence, conflict and expiry never are. A store bounds its waiting by itself. A cancelled token
/// stops an operation that has not been sent yet (OperationCanceledException: nothing was changed); one that was sent
/// is waited for. `StoreRefusedException` out of an insert or a replace: nothing was changed, now or later. After any other
/// exception out of these the engine looks whether it took effect. Every member is safe for concurrent use.
type ISessionStore =
    /// Called before any other verb, by each node, and perhaps more than once: connects or opens, migrates the schema,
    /// probes the server's settings. Two nodes may call it at the same moment. A server that is not there yet is a note,
    /// not an exception; a setting that would lose logouts is an exception.
    abstract Prepare: cancellationToken: CancellationToken -> ValueTask<StoreReport>

    /// Written only if the id is absent; else `Conflict`, also when a tombstone has the id.
    abstract Insert: record: StoredRecord * cancellationToken: CancellationToken -> ValueTask<WriteResult>

    /// The record as last written, or null: one network round trip. Sees every acknowledged write, and whatever the
    /// clock or the store's own time-to-live says: a record is there until it is removed.
    abstract Load: id: string * cancellationToken: CancellationToken -> ValueTask<StoredRecord | null>

    /// Written only if the stored version is `expected`, and then with record, index entries and time-to-live as one;
    /// else `Conflict`, or `Absent`. Never creates. The later `LastSeen` of the stored and the new record is kept.
    abstract Replace:
        record: StoredRecord * expected: int64 * cancellationToken: CancellationToken -> ValueTask<WriteResult>

    /// Moves `LastSeen` forward, never back, and nothing else: no version, no body, no index. Does nothing on a
    /// tombstone or an absent record. May return before it took effect, and may be lost in a crash.
    abstract Touch: id: string * at: DateTimeOffset * cancellationToken: CancellationToken -> ValueTask

    /// Removes the record and its index entries. Idempotent: removing what is not there succeeds.
    abstract Remove: id: string * cancellationToken: CancellationToken -> ValueTask

    /// The records of a subject, each once, in the order of their ids; `after`: null, or `Next` of the page before.
    /// Holds every session whose sign-in was acknowledged before the call. May hold what was removed meanwhile, never
    /// what never was.
    abstract BySubject:
        subject: string * after: string | null * limit: int * cancellationToken: CancellationToken ->
            ValueTask<StoredPage>

    /// All records, paged in the same way. May be stale; never invents.
    abstract Enumerate:
        after: string | null * limit: int * cancellationToken: CancellationToken -> ValueTask<StoredPage>

    /// How many records are no tombstones. May be stale by one sweep.
    abstract Count: cancellationToken: CancellationToken -> ValueTask<int64>

    /// Up to `limit` records whose `DueAt` has come, longest overdue first. Hands each to one caller: until `lease`
    /// is over (or the record is replaced or rescheduled) no other caller on any node gets it.
    abstract ClaimOverdue:
        now: DateTimeOffset * lease: TimeSpan * limit: int * cancellationToken: CancellationToken ->
            ValueTask<IReadOnlyList<StoredRecord>>

    /// Gives a claimed record, still at this version, another place in the due index. Nothing else changes; does
    /// nothing when the record was replaced or removed meanwhile.
    abstract Reschedule:
        id: string * version: int64 * dueAt: DateTimeOffset * cancellationToken: CancellationToken -> ValueTask

/// Out of an insert or a replace: the store has said no to it, or it was never sent. Nothing was changed, and nothing will
/// be: the engine does not look what became of it, and says that nothing was changed.
type StoreRefusedException(message: string, innerException: exn | null) =
    inherit Exception(message, innerException)

/// A store that cannot hold another session without losing one that a client has confirmed.
[<Sealed>]
type StoreFullException(message: string) =
    inherit StoreRefusedException(message, null)

/// What a store can do besides, for ids that an application's own generator gives out again: the removal of a tombstone
/// then never meets the session that came after it.
type IRemovesVersion =
    /// Removes the record and its index entries if it still has this version and this operation. Idempotent.
    abstract RemoveVersion:
        id: string * version: int64 * operation: int64 * cancellationToken: CancellationToken -> ValueTask

/// What a store can do besides, if it keeps its records in a database of the application's: sessions end together with a
/// change of the application's own, or not at all.
type IJoinsTransaction =
    /// The same records, read and changed inside this transaction: `Load`, `Replace` and `BySubject`. From here to the end
    /// of the transaction nobody stores a sign-in of the subject, and `BySubject` has all that were stored before: so none
    /// that was acknowledged before the commit is missed. Whatever is written lasts as the commit does, which is
    /// synchronous then.
    abstract Join:
        transaction: DbTransaction * subject: string * cancellationToken: CancellationToken -> ValueTask<ISessionStore>

/// What a store can do besides: several records by one command.
type IReadsMany =
    /// Those that are there, in any order; each as by `Load`. Asked for at most 500 ids at once.
    abstract LoadMany:
        ids: IReadOnlyList<string> * cancellationToken: CancellationToken -> ValueTask<IReadOnlyList<StoredRecord>>

/// What a store can do besides: the nodes that share it tell each other at once which sessions are no longer what they were.
/// What is heard is a hint, and never believed: it may be late, lost, or of nobody's making.
type ISessionSignals =
    /// Says to every node, this one included, that these sessions have ended or were elevated. Nothing is kept for those who
    /// do not listen.
    abstract Publish: ids: IReadOnlyList<string> * cancellationToken: CancellationToken -> ValueTask

    /// Calls back with each id that is published from now on, and with null where some may have been missed; from any thread,
    /// and it returns at once. Until what this returns is disposed of. NotSupportedException: this server carries none.
    abstract Subscribe:
        heard: Action<string | null> * cancellationToken: CancellationToken -> ValueTask<IAsyncDisposable>

/// What all stores have in common.
[<RequireQualifiedAccess>]
module SessionStore =
    /// Several records; by one command, if the store can do that.
    let loadMany
        (store: ISessionStore)
        (ids: IReadOnlyList<string>)
        (cancel: CancellationToken)
        : ValueTask<IReadOnlyList<StoredRecord>> =
        match store with
        | :? IReadsMany as store -> store.LoadMany(ids, cancel)
        | store ->
            ValueTask<IReadOnlyList<StoredRecord>>(
                task =
                    task {
                        let found = List<StoredRecord>()

                        // Some at a time: a store that is asked for five hundred at once has no room for anybody else.
                        for some in Seq.chunkBySize 16 ids do
                            let! records = Task.WhenAll(some |> Array.map (fun id -> (store.Load(id, cancel)).AsTask()))

                            for record in records do
                                match record with
                                | null -> ()
                                | record -> found.Add record

                        return found :> IReadOnlyList<StoredRecord>
                    }
            )

    /// Why a store has refused a write: the driver's own failure. Of any other failure it is that itself.
    let rec internal causeOf (failure: exn) : exn =
        match failure, failure.InnerException with
        | :? StoreRefusedException, NonNull cause -> causeOf cause
        | _ -> failure

    /// Nothing to end: what a store without signals gives whoever listens.
    let internal silence =
        { new IAsyncDisposable with
            member _.DisposeAsync() = ValueTask.CompletedTask }

    /// Of a store that cannot end sessions inside a transaction.
    let cannotJoin =
        "The session store has no transactions of the application's: keep the sessions in PostgreSQL (UsePostgres), in the application's own database, or end them after the commit."

    /// Of two stores that sessions move between.
    let internal cannotJoinYet =
        "While sessions move between two stores (MigrateFrom) none ends in a transaction of the application's: end them after the commit."

    /// Removes this very record. A store that cannot compare and remove in one step is asked in two.
    let removeVersion (store: ISessionStore) (record: StoredRecord) (cancel: CancellationToken) : ValueTask =
        match store with
        | :? IRemovesVersion as store -> store.RemoveVersion(record.Id, record.Version, record.Operation, cancel)
        | store ->
            ValueTask(
                task =
                    task {
                        match! store.Load(record.Id, cancel) with
                        | null -> ()
                        | found when found.Version = record.Version && found.Operation = record.Operation ->
                            do! store.Remove(record.Id, cancel)
                        | _ -> ()
                    }
            )

/// Hands everything on to another store: the base of a store that counts, delays or fails some of the verbs.
type ForwardingStore(inner: ISessionStore) =
    /// The store that everything is handed on to.
    member _.Inner = inner

    abstract Prepare: cancellationToken: CancellationToken -> ValueTask<StoreReport>
    default _.Prepare cancel = inner.Prepare cancel

    abstract Insert: record: StoredRecord * cancellationToken: CancellationToken -> ValueTask<WriteResult>
    default _.Insert(record, cancel) = inner.Insert(record, cancel)

    abstract Load: id: string * cancellationToken: CancellationToken -> ValueTask<StoredRecord | null>
    default _.Load(id, cancel) = inner.Load(id, cancel)

    abstract Replace:
        record: StoredRecord * expected: int64 * cancellationToken: CancellationToken -> ValueTask<WriteResult>

    default _.Replace(record, expected, cancel) = inner.Replace(record, expected, cancel)

    abstract Touch: id: string * at: DateTimeOffset * cancellationToken: CancellationToken -> ValueTask
    default _.Touch(id, at, cancel) = inner.Touch(id, at, cancel)

    abstract Remove: id: string * cancellationToken: CancellationToken -> ValueTask
    default _.Remove(id, cancel) = inner.Remove(id, cancel)

    abstract RemoveVersion:
        id: string * version: int64 * operation: int64 * cancellationToken: CancellationToken -> ValueTask

    default _.RemoveVersion(id, version, operation, cancel) =
        match inner with
        | :? IRemovesVersion as store -> store.RemoveVersion(id, version, operation, cancel)
        | _ ->
            let time = DateTimeOffset.MinValue
            let body = ReadOnlyMemory<byte>.Empty
            let record = StoredRecord(id, version, RecordKind.Ended, time, time, null, operation, body)
            SessionStore.removeVersion inner record cancel

    abstract BySubject:
        subject: string * after: string | null * limit: int * cancellationToken: CancellationToken ->
            ValueTask<StoredPage>

    default _.BySubject(subject, after, limit, cancel) = inner.BySubject(subject, after, limit, cancel)

    abstract Enumerate:
        after: string | null * limit: int * cancellationToken: CancellationToken -> ValueTask<StoredPage>

    default _.Enumerate(after, limit, cancel) = inner.Enumerate(after, limit, cancel)

    abstract Count: cancellationToken: CancellationToken -> ValueTask<int64>
    default _.Count cancel = inner.Count cancel

    abstract ClaimOverdue:
        now: DateTimeOffset * lease: TimeSpan * limit: int * cancellationToken: CancellationToken ->
            ValueTask<IReadOnlyList<StoredRecord>>

    default _.ClaimOverdue(now, lease, limit, cancel) = inner.ClaimOverdue(now, lease, limit, cancel)

    abstract Reschedule:
        id: string * version: int64 * dueAt: DateTimeOffset * cancellationToken: CancellationToken -> ValueTask

    default _.Reschedule(id, version, dueAt, cancel) = inner.Reschedule(id, version, dueAt, cancel)

    abstract Join:
        transaction: DbTransaction * subject: string * cancellationToken: CancellationToken -> ValueTask<ISessionStore>

    default _.Join(transaction, subject, cancel) =
        match inner with
        | :? IJoinsTransaction as store -> store.Join(transaction, subject, cancel)
        | _ -> raise (NotSupportedException SessionStore.cannotJoin)

    /// As the store inside does it. One that fails or counts `Load` does the same here.
    abstract LoadMany:
        ids: IReadOnlyList<string> * cancellationToken: CancellationToken -> ValueTask<IReadOnlyList<StoredRecord>>

    default _.LoadMany(ids, cancel) = SessionStore.loadMany inner ids cancel

    /// Nothing, where the store inside has no signals.
    abstract Publish: ids: IReadOnlyList<string> * cancellationToken: CancellationToken -> ValueTask

    default _.Publish(ids, cancel) =
        match inner with
        | :? ISessionSignals as signals -> signals.Publish(ids, cancel)
        | _ -> ValueTask.CompletedTask

    /// Nothing is ever heard, where the store inside has no signals.
    abstract Subscribe:
        heard: Action<string | null> * cancellationToken: CancellationToken -> ValueTask<IAsyncDisposable>

    default _.Subscribe(heard, cancel) =
        match inner with
        | :? ISessionSignals as signals -> signals.Subscribe(heard, cancel)
        | _ -> ValueTask.FromResult SessionStore.silence

    interface ISessionStore with
        member store.Prepare cancel = store.Prepare cancel
        member store.Insert(record, cancel) = store.Insert(record, cancel)
        member store.Load(id, cancel) = store.Load(id, cancel)
        member store.Replace(record, expected, cancel) = store.Replace(record, expected, cancel)
        member store.Touch(id, at, cancel) = store.Touch(id, at, cancel)
        member store.Remove(id, cancel) = store.Remove(id, cancel)
        member store.BySubject(subject, after, limit, cancel) = store.BySubject(subject, after, limit, cancel)
        member store.Enumerate(after, limit, cancel) = store.Enumerate(after, limit, cancel)
        member store.Count cancel = store.Count cancel
        member store.ClaimOverdue(now, lease, limit, cancel) = store.ClaimOverdue(now, lease, limit, cancel)
        member store.Reschedule(id, version, dueAt, cancel) = store.Reschedule(id, version, dueAt, cancel)

    interface IRemovesVersion with
        member store.RemoveVersion(id, version, operation, cancel) = store.RemoveVersion(id, version, operation, cancel)

    interface IJoinsTransaction with
        member store.Join(transaction, subject, cancel) = store.Join(transaction, subject, cancel)

    interface IReadsMany with
        member store.LoadMany(ids, cancel) = store.LoadMany(ids, cancel)

    interface ISessionSignals with
        member store.Publish(ids, cancel) = store.Publish(ids, cancel)
        member store.Subscribe(heard, cancel) = store.Subscribe(heard, cancel)
