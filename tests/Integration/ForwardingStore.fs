namespace Integration

open System
open System.Collections.Generic
open System.Threading
open System.Threading.Tasks
open Session.Engine

/// A store that hands every call on: whoever needs another behaviour overrides it.
type ForwardingStore(inner: ISessionStore) =
    member _.Inner = inner

    abstract Insert: StoredRecord * CancellationToken -> ValueTask<WriteResult>
    default _.Insert(record, cancel) = inner.Insert(record, cancel)
    abstract Load: string * CancellationToken -> ValueTask<StoredRecord | null>
    default _.Load(id, cancel) = inner.Load(id, cancel)
    abstract Replace: StoredRecord * int64 * CancellationToken -> ValueTask<WriteResult>
    default _.Replace(record, expected, cancel) = inner.Replace(record, expected, cancel)
    abstract Touch: string * DateTimeOffset * CancellationToken -> ValueTask
    default _.Touch(id, at, cancel) = inner.Touch(id, at, cancel)
    abstract Remove: string * CancellationToken -> ValueTask
    default _.Remove(id, cancel) = inner.Remove(id, cancel)
    abstract BySubject: string * (string | null) * int * CancellationToken -> ValueTask<StoredPage>
    default _.BySubject(subject, after, limit, cancel) = inner.BySubject(subject, after, limit, cancel)
    abstract Enumerate: (string | null) * int * CancellationToken -> ValueTask<StoredPage>
    default _.Enumerate(after, limit, cancel) = inner.Enumerate(after, limit, cancel)
    abstract Count: CancellationToken -> ValueTask<int64>
    default _.Count cancel = inner.Count cancel

    abstract Claim: DateTimeOffset * TimeSpan * int * CancellationToken -> ValueTask<IReadOnlyList<StoredRecord>>

    default _.Claim(now, lease, limit, cancel) = inner.ClaimOverdue(now, lease, limit, cancel)
    abstract Reschedule: string * int64 * DateTimeOffset * CancellationToken -> ValueTask
    default _.Reschedule(id, version, due, cancel) = inner.Reschedule(id, version, due, cancel)

    interface ISessionStore with
        member _.Prepare cancel = inner.Prepare cancel
        member store.Insert(record, cancel) = store.Insert(record, cancel)
        member store.Load(id, cancel) = store.Load(id, cancel)
        member store.Replace(record, expected, cancel) = store.Replace(record, expected, cancel)
        member store.Touch(id, at, cancel) = store.Touch(id, at, cancel)
        member store.Remove(id, cancel) = store.Remove(id, cancel)
        member store.BySubject(subject, after, limit, cancel) = store.BySubject(subject, after, limit, cancel)
        member store.Enumerate(after, limit, cancel) = store.Enumerate(after, limit, cancel)
        member store.Count cancel = store.Count cancel
        member store.ClaimOverdue(now, lease, limit, cancel) = store.Claim(now, lease, limit, cancel)
        member store.Reschedule(id, version, due, cancel) = store.Reschedule(id, version, due, cancel)
