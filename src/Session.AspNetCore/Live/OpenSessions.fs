/// The sessions that connections of this node are open for, and how each connection hears of the end of its session.
namespace Session.AspNetCore

open System
open System.Collections.Generic
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open Session.Domain
open Session.Engine

/// Hears of ends at once where they happen in this process, by a hint of another node's where the store carries such, by the
/// clock where it is time that ends a session, and in any case by a look at the store each so often. Whatever is heard from
/// elsewhere only has the store looked at. Nothing happens here before somebody asks for the first session.
[<Sealed>]
type internal OpenSessions(engine: SessionEngine, clock: TimeProvider, every: TimeSpan, extends: bool, log: ILogger) =
    let atOnce = 500
    let restAfterFailure, longestSleep = TimeSpan.FromSeconds 1L, TimeSpan.FromDays 1
    let gate = Lock()
    let sessions = Dictionary<string, OpenSession list>(StringComparer.Ordinal)
    let pending = HashSet<string>(StringComparer.Ordinal)
    let mutable timer: ITimer | null = null
    let mutable nextCheck = DateTimeOffset.MaxValue
    let mutable isLooking = false
    let mutable isStopped = false
    // Null: nobody listens, and it is tried (again) with the next look.
    let mutable channel: Task<IAsyncDisposable> | null = null
    // When it was found out that nobody listens; zero: not yet, or long ago. A server that refuses it is not asked for each
    // connection.
    let mutable refusedAt = 0L
    // The server carries none, and never will.
    let mutable isMute = false
    let mutable isSilenceSaid = 0

    let failed (error: exn) =
        if Interlocked.Exchange(&isSilenceSaid, 1) = 0 then
            EdgeLog.signalsFailed log error

    /// What is begun here is no request's: its log lines and its culture are nobody's.
    let apart (start: unit -> unit) =
        if ExecutionContext.IsFlowSuppressed() then
            start ()
        else
            use _own = ExecutionContext.SuppressFlow()
            start ()

    let fire (session: OpenSession) cause =
        let observe (running: Task) : Task =
            task {
                try
                    do! running
                with error ->
                    EdgeLog.endedCallbackFailed log error session.Id
            }

        observe (session.Fire cause) |> ignore

    /// By whoever holds the gate. False: somebody else has taken it already.
    let forget (session: OpenSession) =
        match sessions.TryGetValue session.Id with
        | true, known when List.exists (fun it -> obj.ReferenceEquals(it, session)) known ->
            match known |> List.filter (fun it -> not (obj.ReferenceEquals(it, session))) with
            | [] -> sessions.Remove session.Id |> ignore
            | others -> sessions[session.Id] <- others

            true
        | _ -> false

    let finish (session: OpenSession) cause =
        if lock gate (fun () -> forget session) then
            fire session cause

    let take () =
        lock gate (fun () ->
            let taken = List<struct (string * OpenSession list)>()

            while taken.Count = 0 && pending.Count > 0 do
                // Not one by one: each that is taken out leaves a hole that the search for the next one goes past.
                let some = pending |> Seq.truncate atOnce |> Array.ofSeq
                pending.ExceptWith some

                for id in some do
                    match sessions.TryGetValue id with
                    | true, known -> taken.Add(struct (id, known))
                    | false, _ -> ()

            if taken.Count = 0 then
                isLooking <- false

            taken)

    /// Once all ends of a look are told. A store that hangs has all of them wait as long as one request, and those that are left have
    /// their turn with the next look.
    let keepAlive (taken: List<struct (string * OpenSession list)>) (found: Dictionary<string, _>) now : Task =
        task {
            let errand = engine.NewErrand()
            let mutable next = 0

            while next < taken.Count && errand.Left > TimeSpan.Zero do
                let struct (id, _) = taken[next]
                next <- next + 1

                if lock gate (fun () -> sessions.ContainsKey id) then
                    do! engine.KeepAlive(found[id], now, errand)
                    errand.Pause()
        }

    let lookAt (taken: List<struct (string * OpenSession list)>) : Task =
        task {
            let ids = [| for struct (id, _) in taken -> id |]
            let! found = engine.Look ids
            let now = clock.GetUtcNow()

            // Those that were open before the store was asked: what it said may be older than a later one.
            for struct (id, known) in taken do
                for session in known do
                    match OpenSession.judge engine now session found[id] with
                    | ValueSome cause -> finish session cause
                    | ValueNone -> ()

            if extends then
                do! keepAlive taken found now
        }

    /// Sleeps until the next deadline or look. What fell due while the store was asked is looked at now: no clock would
    /// wake anybody for it any more. `atLeast`: so that what fails does so once in a while and not without a pause.
    member private live.Sleep(atLeast: TimeSpan) =
        let isDue =
            lock gate (fun () ->
                if sessions.Count = 0 || isStopped then
                    nextCheck <- DateTimeOffset.MaxValue

                    match timer with
                    | null -> ()
                    | running ->
                        running.Dispose()
                        timer <- null

                    false
                else
                    let now = clock.GetUtcNow()

                    if nextCheck = DateTimeOffset.MaxValue then
                        nextCheck <- now + every

                    let mutable first = nextCheck

                    for known in sessions.Values do
                        for session in known do
                            if session.EndsAt < first then
                                first <- session.EndsAt

                    let wakesAt = max first (now + atLeast)
                    // Timers count whole milliseconds, and one that wakes too early finds nothing due.
                    let rest = TimeSpan.FromMilliseconds(Math.Ceiling((wakesAt - now).TotalMilliseconds))
                    let rest = min longestSleep rest

                    if rest > TimeSpan.Zero then
                        match timer with
                        | null ->
                            apart (fun () ->
                                timer <-
                                    clock.CreateTimer((fun _ -> live.Wake()), null, rest, Timeout.InfiniteTimeSpan))
                        | running -> running.Change(rest, Timeout.InfiniteTimeSpan) |> ignore

                    // A clock that a test moves may have come there before there was a timer to see it.
                    wakesAt <= clock.GetUtcNow())

        if isDue then
            live.Wake()

    member private live.Wake() =
        let now = clock.GetUtcNow()

        lock gate (fun () ->
            if now >= nextCheck then
                nextCheck <- now + every
                pending.UnionWith sessions.Keys
            else
                for known in sessions.Values do
                    for session in known do
                        if session.EndsAt <= now then
                            pending.Add session.Id |> ignore)

        live.Listen()
        live.Look()

    /// Has the store looked at for all that is pending, by one at a time.
    member private live.Look() =
        let isMine =
            lock gate (fun () ->
                let isMine = not isLooking && not isStopped
                isLooking <- isLooking || isMine
                isMine)

        let run () : Task =
            task {
                let mutable atLeast = TimeSpan.Zero

                try
                    let mutable goesOn = true

                    while goesOn do
                        let taken = take ()
                        goesOn <- taken.Count > 0

                        if goesOn then
                            do! lookAt taken
                with error ->
                    EdgeLog.liveCheckFailed log error
                    lock gate (fun () -> isLooking <- false)
                    atLeast <- restAfterFailure

                live.Sleep atLeast
            }

        if isMine then
            apart (fun () -> Task.Run(Func<Task> run) |> ignore)

    member private live.Listen() =
        let heard (id: string | null) =
            let isOurs =
                lock gate (fun () ->
                    match id with
                    | null ->
                        pending.UnionWith sessions.Keys
                        true
                    | id when sessions.ContainsKey id ->
                        pending.Add id |> ignore
                        true
                    | _ -> false)

            if isOurs then
                live.Look()

        let subscribe (signals: ISessionSignals) () =
            task {
                let! subscription = signals.Subscribe(Action<string | null> heard, CancellationToken.None)
                Interlocked.Exchange(&isSilenceSaid, 0) |> ignore
                // What was said before anybody listened.
                heard null
                return subscription
            }

        let isResting () = refusedAt <> 0L && engine.Waits.Timer.GetElapsedTime refusedAt < restAfterFailure

        let begin' signals =
            lock gate (fun () ->
                match channel with
                | null when isStopped || isMute || isResting () -> ()
                | null -> apart (fun () -> channel <- Task.Run<IAsyncDisposable>(Func<_>(subscribe signals)))
                | running when running.IsFaulted || running.IsCanceled ->
                    match running.Exception with
                    | null -> ()
                    | error ->
                        isMute <- error.GetBaseException() :? NotSupportedException
                        failed error

                    channel <- null
                    refusedAt <- engine.Waits.Timer.GetTimestamp()
                | _ -> ())

        match engine.Signals with
        | null -> ()
        | signals -> begin' signals

    /// How many sessions connections of this node are open for.
    member _.Count = lock gate (fun () -> sessions.Values |> Seq.sumBy List.length)

    /// Watches the session that a request was let into, until what this returns is disposed of.
    member live.Watch(opened: Opened) : SessionLease =
        let id = opened.Snapshot.Id
        let its = opened.Live

        let session, isNew =
            lock gate (fun () ->
                let known =
                    match sessions.TryGetValue id with
                    | true, known -> known
                    | false, _ -> []

                let isSame (it: OpenSession) = it.Elevations = its.Elevations && it.CreatedAt = its.CreatedAt

                let session, isNew =
                    match List.tryFind isSame known with
                    | Some session -> session, false
                    | None ->
                        let struct (kind, at) =
                            match engine.Deadline opened.Snapshot.State with
                            | ValueSome deadline -> deadline
                            | ValueNone -> struct (Idle, DateTimeOffset.MinValue)

                        let session = OpenSession(id, its, kind, at)
                        sessions[id] <- session :: known
                        session, true

                session.Holders <- session.Holders + 1

                // It may have ended since the request read it.
                if isNew then
                    pending.Add id |> ignore

                session, isNew)

        live.Listen()

        if isNew then
            live.Look()

        new SessionLease(session, live)

    member internal live.Release(session: OpenSession) =
        let isLast =
            lock gate (fun () ->
                session.Holders <- session.Holders - 1
                session.Holders = 0 && forget session && sessions.Count = 0)

        if isLast then
            live.Sleep TimeSpan.Zero

    /// Of what an operation in this process has stored. An end needs no look; other nodes are told.
    member live.Hear(news: Notice list) =
        let ids = List<string>()

        for notice in news do
            match notice.Kind with
            | DestroyedNotice reason ->
                ids.Add notice.Id

                let known =
                    lock gate (fun () ->
                        match sessions.TryGetValue notice.Id with
                        | true, known ->
                            sessions.Remove notice.Id |> ignore
                            known
                        | false, _ -> [])

                for session in known do
                    fire session (EndCause.Over(OnPurpose reason))
            | ElevatedNotice
            | SignedInNotice ->
                ids.Add notice.Id

                if lock gate (fun () -> sessions.ContainsKey notice.Id && pending.Add notice.Id) then
                    live.Look()
            // Time ends a session on every node by itself; all else ends nothing.
            | ExpiredNotice _
            | CreatedNotice
            | RenewedNotice
            | ReplayedNotice
            | OutdatedNotice
            | UnreadableNotice _
            | RefusedNotice _ -> ()

        match engine.Signals with
        | null -> ()
        | _ when ids.Count = 0 -> ()
        | signals ->
            // Not waited for: a hint that is lost costs the others one interval.
            let publish () : Task =
                task {
                    try
                        do! signals.Publish(ids, CancellationToken.None)
                    with error ->
                        failed error
                }

            apart (fun () -> publish () |> ignore)

    /// The node stops: nothing is looked at any more.
    member live.Stop() =
        let listening =
            lock gate (fun () ->
                isStopped <- true
                let listening = channel
                channel <- null
                listening)

        live.Sleep TimeSpan.Zero

        match listening with
        | null -> ()
        | listening ->
            let leave () : Task =
                task {
                    try
                        let! subscription = listening
                        do! subscription.DisposeAsync()
                    with error ->
                        failed error
                }

            leave () |> ignore

/// A connection's hold on its session.
and [<Sealed>] internal SessionLease(session: OpenSession, live: OpenSessions) =
    let mutable isGivenBack = 0

    let giveBack () =
        if Interlocked.Exchange(&isGivenBack, 1) = 0 then
            live.Release session

    member _.Token = session.Token
    member _.Cause = session.Cause

    member _.IsFor(opened: Opened) =
        session.Id = opened.Snapshot.Id
        && session.Elevations = opened.Live.Elevations
        && session.CreatedAt = opened.Live.CreatedAt

    member lease.Dispose() =
        giveBack ()
        GC.SuppressFinalize lease

    // The contexts that hubs have over long polling never tell anybody that they are over.
    override _.Finalize() = giveBack ()

    interface IDisposable with
        member lease.Dispose() = lease.Dispose()
