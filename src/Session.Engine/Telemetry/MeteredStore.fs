/// A store, each call of which is measured and traced while somebody listens. Else it is handed on as it is.
namespace Session.Engine

open System
open System.Diagnostics
open System.Runtime.ExceptionServices
open System.Text
open System.Threading.Tasks

[<RequireQualifiedAccess>]
module internal StoreName =
    /// RedisStore: redis; DistributedCacheStore: distributed_cache.
    let ofType (store: Type) =
        let name = store.Name
        let name = if name.EndsWith "Store" && name.Length > 5 then name.Substring(0, name.Length - 5) else name
        let text = StringBuilder()

        for i in 0 .. name.Length - 1 do
            if Char.IsAsciiLetterUpper name[i] && i > 0 then
                text.Append '_' |> ignore

            text.Append(Char.ToLowerInvariant name[i]) |> ignore

        text.ToString()

    /// Of the store that keeps the records, and not of what is around it.
    let rec of' (store: ISessionStore) =
        match store with
        | :? ForwardingStore as forwarding -> of' forwarding.Inner
        | store -> ofType (store.GetType())

/// A verb of the store: its tag, and the name of its span.
[<Sealed>]
type internal StoreCall(name: string) =
    member val Tag = Tags.of' "session.store.operation" name
    member val Span = "session store " + name

[<RequireQualifiedAccess>]
module internal StoreCalls =
    let insert, load, replace, touch = StoreCall "insert", StoreCall "load", StoreCall "replace", StoreCall "touch"
    let remove, removeVersion = StoreCall "remove", StoreCall "remove_version"
    let bySubject, enumerate, count = StoreCall "by_subject", StoreCall "enumerate", StoreCall "count"
    let claimOverdue, reschedule, loadMany = StoreCall "claim_overdue", StoreCall "reschedule", StoreCall "load_many"

[<Sealed>]
type internal MeteredStore(inner: ISessionStore, telemetry: Telemetry) =
    inherit ForwardingStore(inner)

    let measures = telemetry.Measures
    let store = Tags.of' "session.store.name" (StoreName.of' inner)
    let isWatched () = measures.TimesStore || Telemetry.IsTraced

    let took (operation: StoreCall) began (failure: exn | null) =
        if measures.TimesStore then
            measures.StoreTook(operation.Tag, store, began, failure)

    let asked (call: unit -> ValueTask<'answer>) : ValueTask<'answer> =
        try
            call ()
        with failure ->
            ValueTask.FromException<'answer> failure

    let timedOn operation began (answer: ValueTask<'answer>) =
        task {
            try
                let! answer = answer
                took operation began null
                return answer
            with failure ->
                took operation began failure
                ExceptionDispatchInfo.Throw failure
                return Unchecked.defaultof<'answer>
        }

    /// A store in this process has answered already: no state machine then.
    let measured operation began (answer: ValueTask<'answer>) : ValueTask<'answer> =
        if answer.IsCompletedSuccessfully then
            took operation began null
            answer
        else
            ValueTask<'answer>(task = timedOn operation began answer)

    let timed operation (call: unit -> ValueTask<'answer>) : ValueTask<'answer> =
        let began = Stopwatch.GetTimestamp()
        measured operation began (asked call)

    let traced (begun: Activity) (operation: StoreCall) (id: string) (call: unit -> ValueTask<'answer>) =
        task {
            use span = begun
            Activity.Current <- span
            span.SetTag(operation.Tag.Key, operation.Tag.Value).SetTag(store.Key, store.Value) |> ignore
            telemetry.Name(span, id)

            try
                return! timed operation call
            with failure ->
                Spans.failOf span failure
                ExceptionDispatchInfo.Throw failure
                return Unchecked.defaultof<'answer>
        }

    /// Null without asking where what is around it is not followed: a sampler's answer takes longer than that of a store in
    /// this process.
    let beginSpan (operation: StoreCall) =
        match Activity.Current with
        | null -> telemetry.Begin operation.Span
        | around when around.IsAllDataRequested -> telemetry.Begin operation.Span
        | _ -> null

    let watch (operation: StoreCall) id (call: unit -> ValueTask<'answer>) : ValueTask<'answer> =
        match beginSpan operation with
        | null -> timed operation call
        | span -> ValueTask<'answer>(task = traced span operation id call)

    let done' (call: unit -> ValueTask) () : ValueTask<bool> =
        let call = call ()

        if call.IsCompletedSuccessfully then
            ValueTask<bool> true
        else
            ValueTask<bool>(
                task =
                    task {
                        do! call
                        return true
                    }
            )

    let watchDone operation id (call: unit -> ValueTask) : ValueTask =
        let answer = watch operation id (done' call)
        if answer.IsCompletedSuccessfully then ValueTask() else ValueTask(task = answer.AsTask())

    override _.Insert(record, cancel) =
        if isWatched () then
            watch StoreCalls.insert record.Id (fun () -> inner.Insert(record, cancel))
        else
            inner.Insert(record, cancel)

    /// Of every request: where nobody follows traces it is measured without a closure.
    override _.Load(id, cancel) =
        if Telemetry.IsTraced then
            watch StoreCalls.load id (fun () -> inner.Load(id, cancel))
        elif measures.TimesStore then
            let began = Stopwatch.GetTimestamp()

            let answer =
                try
                    inner.Load(id, cancel)
                with failure ->
                    ValueTask.FromException<StoredRecord | null> failure

            measured StoreCalls.load began answer
        else
            inner.Load(id, cancel)

    override _.Replace(record, expected, cancel) =
        if isWatched () then
            watch StoreCalls.replace record.Id (fun () -> inner.Replace(record, expected, cancel))
        else
            inner.Replace(record, expected, cancel)

    override _.Touch(id, at, cancel) =
        if isWatched () then
            watchDone StoreCalls.touch id (fun () -> inner.Touch(id, at, cancel))
        else
            inner.Touch(id, at, cancel)

    override _.Remove(id, cancel) =
        if isWatched () then
            watchDone StoreCalls.remove id (fun () -> inner.Remove(id, cancel))
        else
            inner.Remove(id, cancel)

    override it.RemoveVersion(id, version, operation, cancel) =
        if isWatched () then
            watchDone StoreCalls.removeVersion id (fun () -> it.HandOn(id, version, operation, cancel))
        else
            it.HandOn(id, version, operation, cancel)

    override _.LoadMany(ids, cancel) =
        if isWatched () then
            watch StoreCalls.loadMany "" (fun () -> SessionStore.loadMany inner ids cancel)
        else
            SessionStore.loadMany inner ids cancel

    override _.BySubject(subject, after, limit, cancel) =
        if isWatched () then
            watch StoreCalls.bySubject "" (fun () -> inner.BySubject(subject, after, limit, cancel))
        else
            inner.BySubject(subject, after, limit, cancel)

    override _.Enumerate(after, limit, cancel) =
        if isWatched () then
            watch StoreCalls.enumerate "" (fun () -> inner.Enumerate(after, limit, cancel))
        else
            inner.Enumerate(after, limit, cancel)

    override _.Count cancel =
        if isWatched () then watch StoreCalls.count "" (fun () -> inner.Count cancel) else inner.Count cancel

    override _.ClaimOverdue(now, lease, limit, cancel) =
        if isWatched () then
            watch StoreCalls.claimOverdue "" (fun () -> inner.ClaimOverdue(now, lease, limit, cancel))
        else
            inner.ClaimOverdue(now, lease, limit, cancel)

    override _.Reschedule(id, version, dueAt, cancel) =
        if isWatched () then
            watchDone StoreCalls.reschedule id (fun () -> inner.Reschedule(id, version, dueAt, cancel))
        else
            inner.Reschedule(id, version, dueAt, cancel)

    member private it.HandOn(id, version, operation, cancel) : ValueTask =
        base.RemoveVersion(id, version, operation, cancel)
