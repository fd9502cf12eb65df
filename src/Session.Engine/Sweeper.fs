/// Ends what is overdue, tells the expiry hook, removes tombstones whose time is over.
namespace Session.Engine

open System
open System.Collections.Concurrent
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open Session.Domain

[<Sealed>]
type internal Sweeper
    (access: StoreAccess, writers: Writers, announcer: Announcer, settings: EngineSettings, log: ILogger) =
    let policy, rules, store = settings.Policy, access.Rules, access.Store
    // Several at once: each is a few round trips to the store.
    let sweptAtOnce = 16

    // A handler of an end by time may take its time (a mail, a report). What is claimed meanwhile waits behind it.
    let handlerLimit = max access.Limits.EventTimeout (TimeSpan.FromSeconds 30L)
    // Nobody else tells of a session while a handler of it is waited for here.
    let lease = max (TimeSpan.FromMinutes 2L) (handlerLimit * 2.0)

    // One that takes longer than this hangs: it is called again.
    let longest = max (TimeSpan.FromMinutes 10L) (handlerLimit * 2.0)

    // The sessions that handlers run for.
    let running = ConcurrentDictionary<string, Task<bool>>(StringComparer.Ordinal)

    // A ticket says itself when it ends. Its links are kept for the absolute timeout, which is ten years where nobody has set one.
    let outlivedByLinks (record: StoredRecord) = not (isNull rules.OwnEnd) && not (isNull record.Subject)

    /// The links first: nothing else leads to them. Those of a session that has the same id by now, of an application's own
    /// generator, are left alone: this one may have been claimed long ago, and removed by another sweeper.
    let removeWithLinks (record: StoredRecord) : Task =
        task {
            let ids = Array.append (Tie.linksOf record.Id) [| record.Id |]
            let! found = SessionStore.loadMany store ids CancellationToken.None
            let links, sessions = found |> List.ofSeq |> List.partition (fun it -> it.Id <> record.Id)

            if sessions |> List.exists (fun it -> it.Operation = record.Operation) then
                for link in links do
                    do! SessionStore.removeVersion store link CancellationToken.None

            do! SessionStore.removeVersion store record CancellationToken.None
        }

    let remove (record: StoredRecord | null) : Task =
        match record with
        | null -> Task.CompletedTask
        | record when outlivedByLinks record -> removeWithLinks record
        | record -> (SessionStore.removeVersion store record CancellationToken.None).AsTask()

    let run (snapshot: Snapshot) now command hold =
        let plan = Plans.commandAsOf rules now command id
        writers.Run(snapshot.Id, plan, ValueSome snapshot, null, hold, access.NewErrand(), CancellationToken.None)

    /// The application has heard of it.
    let close (snapshot: Snapshot) kind : Task =
        task {
            if kind = Unconfirmed || policy.Retention = TimeSpan.Zero then
                do! remove snapshot.Record
            else
                let! _ = run snapshot access.Now Tell TimeSpan.Zero
                ()
        }

    /// A handler of the application's that fails for so long will not do better.
    let giveUpLate (snapshot: Snapshot) at : Task =
        if access.Now - at > policy.Retention + TimeSpan.FromDays 1 then
            EngineLog.expiryNotTold log null snapshot.Id
            remove snapshot.Record
        else
            Task.CompletedTask

    /// A handler that goes on after its limit is no failure yet: its session stays ours, so that nobody tells of it twice.
    let attend (snapshot: Snapshot) kind at (telling: Task<bool>) : Task =
        let keep () : Task =
            task {
                try
                    match snapshot.Record with
                    | null -> ()
                    | record ->
                        do! store.Reschedule(record.Id, record.Version, access.Now + lease, CancellationToken.None)
                with error ->
                    access.NotLoaded(error, CancellationToken.None) |> ignore<SessionError>
            }

        task {
            try
                do! keep ()
                let began = access.Limits.Timer.GetTimestamp()
                let isPatient () = access.Limits.Timer.GetElapsedTime began < longest

                while not telling.IsCompleted && isPatient () do
                    let! _ = Task.WhenAny(telling, Task.Delay(lease / 4.0, access.Limits.Timer))

                    if not telling.IsCompleted then
                        do! keep ()

                if telling.IsCompleted && telling.Result then do! close snapshot kind else do! giveUpLate snapshot at
            with error ->
                access.NotLoaded(error, CancellationToken.None) |> ignore<SessionError>

            running.TryRemove snapshot.Id |> ignore
        }

    let told (snapshot: Snapshot) : Task =
        task {
            match snapshot.State with
            | Expired _ when running.ContainsKey snapshot.Id -> ()
            | Expired(live, kind, at, false) ->
                let notice =
                    { Kind = ExpiredNotice kind
                      Id = snapshot.Id
                      Subject = live.Subject
                      Data = live.Data
                      At = access.Now }

                let telling = announcer.Begin notice
                running[snapshot.Id] <- telling

                do! announcer.Attend(telling, notice, handlerLimit)

                // By its own state: it may have come to its end just when it was given up.
                if not telling.IsCompleted then
                    attend snapshot kind at telling |> ignore
                else
                    running.TryRemove snapshot.Id |> ignore

                    if telling.Result then do! close snapshot kind else do! giveUpLate snapshot at
            | _ -> ()
        }

    let handle (asOf: DateTimeOffset) cancel (record: StoredRecord) : Task =
        task {
            match access.Read(record.Id, record, null) with
            | Error _ when access.Now - record.LastSeen > policy.Absolute + TimeSpan.FromDays 1 ->
                EngineLog.unreadableRemoved log null record.Id
                do! remove record
            | Error _ -> do! store.Reschedule(record.Id, record.Version, access.Now + TimeSpan.FromHours 1, cancel)
            | Ok snapshot ->
                let due = Rules.due rules snapshot.State

                if due <= asOf then
                    access.Measures.Swept(due, asOf)

                match snapshot.State with
                | Destroyed _
                | Expired(_, _, _, true) when due <= asOf -> do! remove record
                // What was claimed long ago, behind slow handlers, may be somebody else's by the time that this one ends.
                | Expired(_, _, _, false) when access.Now + handlerLimit + lease / 4.0 > asOf + lease -> ()
                | Expired(_, _, _, false) -> do! told snapshot
                | Created _
                | Active _
                | Regenerated _ when due <= asOf ->
                    match! run snapshot asOf Expire lease with
                    | Reply.Done after
                    | Reply.Partly(after, _) -> do! told after
                    | Reply.Failed _ -> ()
                | Absent
                | Created _
                | Active _
                | Regenerated _
                | Destroyed _
                | Expired _ -> do! store.Reschedule(record.Id, record.Version, due, cancel)
        }

    /// Handles up to `limit` records whose time has come, and says how many it was given. The hook is told at least once,
    /// and exactly once without a crash.
    member _.Sweep(limit: int, cancel: CancellationToken) : Task<int> =
        task {
            // The time before the records are read: what is over by it can have been seen by no request that came after.
            let asOf = access.Now
            let! claimed = store.ClaimOverdue(asOf, lease, limit, cancel)

            for some in Seq.chunkBySize sweptAtOnce claimed do
                if not cancel.IsCancellationRequested then
                    do! Task.WhenAll(Array.map (handle asOf cancel) some)

            return claimed.Count
        }
