/// The store, apart from the application's transactions. In a TransactionScope drivers of databases join the one that is around
/// (System.Transactions), and what a session operation has acknowledged, a logout too, would be undone with it.
namespace Session.Engine

open System
open System.Threading.Tasks
open System.Transactions

[<Sealed>]
type internal ApartStore(inner: ISessionStore) =
    inherit ForwardingStore(inner)

    // Of one that is complete, and not yet disposed of, nobody may ask.
    let isWithin () =
        try
            not (isNull Transaction.Current)
        with :? InvalidOperationException ->
            true

    let suppressed (call: unit -> 'answer) : 'answer =
        use _none = new TransactionScope(TransactionScopeOption.Suppress, TransactionScopeAsyncFlowOption.Enabled)
        call ()

    let apart (call: unit -> 'answer) : 'answer = if isWithin () then suppressed call else call ()

    override _.Prepare cancel = apart (fun () -> inner.Prepare cancel)
    override _.Insert(record, cancel) = apart (fun () -> inner.Insert(record, cancel))

    /// Of every request: without a closure where there is no transaction, which is nearly always.
    override _.Load(id, cancel) =
        if isWithin () then suppressed (fun () -> inner.Load(id, cancel)) else inner.Load(id, cancel)

    override _.Replace(record, expected, cancel) = apart (fun () -> inner.Replace(record, expected, cancel))
    override _.Touch(id, at, cancel) = apart (fun () -> inner.Touch(id, at, cancel))
    override _.Remove(id, cancel) = apart (fun () -> inner.Remove(id, cancel))

    override it.RemoveVersion(id, version, operation, cancel) =
        apart (fun () -> it.HandOn(id, version, operation, cancel))

    override _.BySubject(subject, after, limit, cancel) =
        apart (fun () -> inner.BySubject(subject, after, limit, cancel))

    override _.Enumerate(after, limit, cancel) = apart (fun () -> inner.Enumerate(after, limit, cancel))
    override _.Count cancel = apart (fun () -> inner.Count cancel)
    override _.ClaimOverdue(now, lease, limit, cancel) = apart (fun () -> inner.ClaimOverdue(now, lease, limit, cancel))
    override _.Reschedule(id, version, dueAt, cancel) = apart (fun () -> inner.Reschedule(id, version, dueAt, cancel))
    override _.LoadMany(ids, cancel) = apart (fun () -> SessionStore.loadMany inner ids cancel)

    override it.Publish(ids, cancel) = apart (fun () -> it.HandOn(ids, cancel))
    override it.Subscribe(heard, cancel) = apart (fun () -> it.HandOn(heard, cancel))

    member private _.HandOn(id, version, operation, cancel) : ValueTask =
        base.RemoveVersion(id, version, operation, cancel)

    member private _.HandOn(ids, cancel) : ValueTask = base.Publish(ids, cancel)

    member private _.HandOn(heard: Action<string | null>, cancel) : ValueTask<IAsyncDisposable> =
        base.Subscribe(heard, cancel)
