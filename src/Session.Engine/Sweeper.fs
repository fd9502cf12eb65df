/// Ends what is overdue, tells the expiry hook, removes tombstones whose time is over.
namespace Session.Engine

open System
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
    let lease = TimeSpan.FromMinutes 2L

    // A handler of an end by time may take its time (a mail, a report), but not longer than the record is ours.
    let handlerLimit = max access.Limits.EventTimeout (lease / 4.0)

    let remove (record: StoredRecord | null) =
        match record with
        | null -> Task.CompletedTask
        | record -> (SessionStore.removeVersion store record CancellationToken.None).AsTask()

    let run (snapshot: Snapshot) now command hold =
        let plan = Plans.commandAsOf rules now command id
        writers.Run(snapshot.Id, plan, ValueSome snapshot, null, hold, access.NewErrand(), CancellationToken.None)

    let tell (snapshot: Snapshot) kind (live: Live) =
        announcer.Tell(
            { Kind = ExpiredNotice kind
              Id = snapshot.Id
              Subject = live.Subject
              Data = live.Data
              At = access.Now },
            handlerLimit
        )

    let told (snapshot: Snapshot) : Task =
        task {
            match snapshot.State with
            | Expired(live, kind, at, false) ->
                match! tell snapshot kind live with
                | true when kind = Unconfirmed || policy.Retention = TimeSpan.Zero -> do! remove snapshot.Record
                | true ->
                    let! _ = run snapshot access.Now Tell TimeSpan.Zero
                    ()
                | false when access.Now - at > policy.Retention + TimeSpan.FromDays 1 ->
                    EngineLog.expiryNotTold log null snapshot.Id
                    do! remove snapshot.Record
                | false -> ()
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
