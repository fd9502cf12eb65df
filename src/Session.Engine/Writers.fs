/// Who writes to which session in this process. Writers of one session do not race each other: who comes while a write is
/// under way waits, and those who have waited are decided one after another on what it has stored, and stored by one write.
namespace Session.Engine

open System
open System.Collections.Generic
open System.Runtime.ExceptionServices
open System.Threading
open System.Threading.Tasks
open Session.Domain
open NonStructuralComparison // the general operators allocate for each comparison

/// What an operation came to.
[<RequireQualifiedAccess; NoComparison; NoEquality>]
type internal Reply<'out> =
    | Done of 'out
    /// Nothing is given out.
    | Failed of SessionError
    /// The change is stored, and what it gives out is handed over all the same.
    | Partly of 'out * SessionError

/// A plan that waits for the write before it.
[<Sealed>]
type internal Waiter(plan: Plan<objnull>, keys: BearerKeys | null, shares: bool) =
    let ended = TaskCompletionSource<Ending<objnull>> TaskCreationOptions.RunContinuationsAsynchronously

    // The plan calls the application's own function, which others carry out here: it finds the culture, the HttpContext and
    // the AsyncLocals of its own caller all the same.
    let context = ExecutionContext.Capture()

    // Held while the plan decides: nobody is told that it is over, and goes on, while the application's function still runs.
    let gate = obj ()
    let mutable isGivenUp = false
    // What it has decided may be on its way to the store.
    let mutable hasDecided = false
    let mutable fault: ExceptionDispatchInfo | null = null

    let decide now state =
        match context with
        | null -> plan.Decide now state
        | context ->
            let answer = ref (Error SessionError.Contended)
            ExecutionContext.Run(context, (fun _ -> answer.Value <- plan.Decide now state), null)
            answer.Value

    /// What the application's own function throws is for its own caller, and not for those who share the write. Nobody's is
    /// called any more that does not wait: what it reads may be another request's by then.
    member _.Plan: Plan<objnull> =
        { Decide =
            fun now state ->
                lock gate (fun () ->
                    fault <- null

                    if isGivenUp then
                        Error SessionError.Contended
                    else
                        try
                            let decided = decide now state
                            hasDecided <- hasDecided || decided.IsOk
                            decided
                        with error ->
                            fault <- ExceptionDispatchInfo.Capture error
                            Error SessionError.Contended) }

    member _.Keys = keys
    /// Data that is sealed to its bearer is written by one at a time.
    member _.IsShared = shares && isNull keys
    member _.Ended = ended.Task
    member _.End(ending) = ended.TrySetResult ending |> ignore

    member _.Rethrow() =
        match fault with
        | null -> ()
        | fault -> fault.Throw()

    member _.TryTake() = lock gate (fun () -> not isGivenUp)

    /// Nothing was changed, unless its plan has been decided: nobody can tell then.
    member _.GiveUp(cause: exn) =
        let isUnsure =
            lock gate (fun () ->
                isGivenUp <- true
                hasDecided)

        match cause with
        | _ when isUnsure -> ended.TrySetResult(Unsure cause) |> ignore
        | :? OperationCanceledException -> ended.TrySetException cause |> ignore
        | _ -> ended.TrySetResult(Refused SessionError.Contended) |> ignore

[<RequireQualifiedAccess>]
module internal Plan =
    /// The same plan, beside others that give out something else.
    let box (plan: Plan<'out>) : Plan<objnull> =
        { Decide =
            fun now state ->
                match plan.Decide now state with
                | Error error -> Error error
                | Ok(struct (events, out)) -> Ok(struct (events, out >> box)) }

    /// Several plans as one, decided one after another on what the ones before have made of the state. Each has a write of
    /// its own in the end, or its own reason why there is none.
    let join (plans: Plan<'out> list) : Plan<Result<Write<'out>, SessionError> list> =
        let decide now (state: State) =
            let mutable state, events = state, []

            let decided =
                [ for plan in plans do
                      match plan.Decide now state with
                      | Error error -> Error error
                      | Ok(struct (own, out)) ->
                          let before = state
                          state <- List.fold Lifecycle.evolve before own
                          events <- events @ own
                          Ok(struct (before, own, state, out)) ]

            let final = state

            let outOf (stored: Snapshot) =
                let ownWrite (struct (before, own, state, out)) =
                    // What a later one has changed is not in this one's state: it has to look again before it writes.
                    let isLast = obj.ReferenceEquals(state, final)
                    let after = if isLast then stored else { stored with State = state; Version = stored.Version - 1L }

                    { Operation = stored.Operation
                      Before = { stored with State = before }
                      Events = own
                      At = now
                      After = after
                      Out = out }

                List.map (Result.map ownWrite) decided

            Ok(struct (events, outOf))

        { Decide = decide }

/// Who writes to which session now, and who waits for it.
[<Sealed>]
type internal Lanes() =
    let lanes = Array.init 64 (fun _ -> Dictionary<string, Queue<Waiter> | null>(StringComparer.Ordinal))
    let laneOf (id: string) = lanes[(id.GetHashCode() &&& 0x7FFFFFFF) % lanes.Length]

    let enter (id: string) takes (plan: Plan<'out>) (keys: BearerKeys | null) shares : Waiter | null =
        let lane = laneOf id

        lock lane (fun () ->
            match lane.TryGetValue id with
            | false, _ ->
                if takes then
                    lane[id] <- null

                null
            | true, queue ->
                let queue =
                    match queue with
                    | null ->
                        let made = Queue<Waiter>()
                        lane[id] <- made
                        made
                    | queue -> queue

                let waiter = Waiter(Plan.box plan, keys, shares)
                queue.Enqueue waiter
                waiter)

    /// Null: the session is free to write to, and the caller's until it leaves. Otherwise the caller waits in this line.
    member _.Enter(id: string, plan: Plan<'out>, keys: BearerKeys | null, shares: bool) = enter id true plan keys shares

    /// Whether the session is free to write to, and the caller's until it leaves.
    member _.TryEnter(id: string) : bool =
        let lane = laneOf id
        lock lane (fun () -> lane.TryAdd(id, null))

    /// Null: nobody writes to the session now, and it is nobody's. Otherwise the caller waits in this line.
    member _.Join(id: string, plan: Plan<'out>, keys: BearerKeys | null, shares: bool) = enter id false plan keys shares

    /// Those who have waited, up to as many as share a write, while the session stays taken; empty: it is free now.
    member _.Leave(id: string) : Waiter list =
        let lane = laneOf id

        lock lane (fun () ->
            let mutable batch = []

            match lane.GetValueOrDefault id with
            | null -> ()
            | queue ->
                let mutable isShared = true

                while isShared && queue.Count > 0 && batch.Length < 64 do
                    let next = queue.Peek()

                    if not batch.IsEmpty && not next.IsShared then
                        isShared <- false
                    else
                        queue.Dequeue() |> ignore
                        isShared <- next.IsShared

                        if next.TryTake() then
                            batch <- next :: batch

                        isShared <- isShared || batch.IsEmpty

            if batch.IsEmpty then
                lane.Remove id |> ignore

            List.rev batch)

[<Sealed>]
type internal Writers(access: StoreAccess) =
    let loop = Loop access
    let lanes = Lanes()

    /// What has been stored, or was there already, is given out, and what is worth telling is noted.
    let replyTo (errand: Errand) (ending: Ending<'out>) : Reply<'out> =
        let give (write: Write<'out>) =
            Notices.collect errand write
            access.Measures.Stored write.Events
            write.Out write.After

        match ending with
        | Refused error -> Reply.Failed error
        | Unsure failure -> Reply.Failed(SessionError.Unsure failure)
        | Kept(write, _)
        | Stored write -> Reply.Done(give write)
        | Unacknowledged(write, failure) -> Reply.Partly(give write, SessionError.Unacknowledged failure)

    /// Each of those who share a write hears what became of its own part of it.
    let tell (waiters: Waiter list) (ending: Ending<Result<Write<objnull>, SessionError> list>) =
        let each (toEnding: Write<objnull> -> Ending<objnull>) (write: Write<_>) =
            for waiter, own in List.zip waiters (write.Out write.After) do
                match own with
                | Error error -> waiter.End(Refused error)
                | Ok own when List.exists Event.isStored own.Events -> waiter.End(toEnding own)
                | Ok own -> waiter.End(Kept(own, ValueNone))

        match ending with
        | Refused error -> waiters |> List.iter _.End(Refused error)
        | Unsure failure -> waiters |> List.iter _.End(Unsure failure)
        | Kept(write, _)
        | Stored write -> each Stored write
        | Unacknowledged(write, failure) -> each (fun own -> Unacknowledged(own, failure)) write

    /// What a write has stored: the next one begins with it.
    let storedBy (ending: Ending<'any>) =
        match ending with
        | Kept(write, _)
        | Stored write
        | Unacknowledged(write, _) -> ValueSome write.After
        | Refused _
        | Unsure _ -> ValueNone

    /// What the write before has stored may be old by the time its answer comes, and another node may have let somebody in
    /// since. A swap finds that out. Where none follows, nobody is refused before the record was read anew.
    member private _.FirstOf(basis: Snapshot voption, plan: Plan<'out>, terms: ITerms, keys: BearerKeys | null) =
        match basis with
        | ValueSome basis when isNull keys ->
            match loop.Begin(plan, terms, Ok basis) with
            | struct (_, Swap _) as begun -> begun
            | _ -> struct (Protocol.start, Load)
        | _ -> struct (Protocol.start, Load)

    /// One write for all who have waited. Those who wait now get their turn before these are told.
    member private writers.Share(id: string, waiters: Waiter list, basis: Snapshot voption) : Task =
        task {
            do! Task.Yield()
            let errand = access.NewErrand()
            let keys = waiters.Head.Keys
            let plan = waiters |> List.map _.Plan |> Plan.join
            let terms = access.Terms(keys, TimeSpan.Zero)
            let mutable ended = Refused SessionError.Contended

            try
                let first = writers.FirstOf(basis, plan, terms, keys)
                let! ending = loop.Drive(id, plan, terms, keys, first, errand, CancellationToken.None)
                ended <- ending
            with failure ->
                ended <- Unsure failure

            writers.PassOn(id, storedBy ended)

            try
                tell waiters ended
            with failure ->
                waiters |> List.iter _.End(Unsure failure)
        }

    /// The session is free for those who have waited, or for anybody.
    member private writers.PassOn(id: string, stored: Snapshot voption) =
        match lanes.Leave id with
        | [] -> ()
        | waiters ->
            // It is nobody's request in particular, and its log lines are none of this one's.
            let own =
                if ExecutionContext.IsFlowSuppressed() then ValueNone else ValueSome(ExecutionContext.SuppressFlow())

            try
                writers.Share(id, waiters, stored) |> ignore
            finally
                own |> ValueOption.iter _.Undo()

    /// Waits until a write that somebody else makes has this plan in it.
    member private _.Wait(waiter: Waiter, errand: Errand, cancel: CancellationToken) : Task<Ending<objnull>> =
        task {
            use _limit =
                errand.AtEnd(fun () -> waiter.GiveUp(TimeoutException "Another write is under way for too long."))

            use _cancel = cancel.Register(fun () -> waiter.GiveUp(OperationCanceledException cancel))
            return! waiter.Ended
        }

    member private writers.Answer<'out>(waiter: Waiter, errand: Errand, cancel: CancellationToken) : Task<Reply<'out>> =
        task {
            let! ending = writers.Wait(waiter, errand, cancel)
            waiter.Rethrow()

            match replyTo errand ending with
            | Reply.Done out -> return Reply.Done(unbox out)
            | Reply.Failed error -> return Reply.Failed error
            | Reply.Partly(out, error) -> return Reply.Partly(unbox out, error)
        }

    /// To the end, on a session that is the caller's; then it is free for those who wait.
    member private writers.DriveAlone(id, plan: Plan<'out>, terms, keys, first, errand: Errand, cancel) =
        task {
            let mutable stored = ValueNone

            try
                let! ending = loop.Drive(id, plan, terms, keys, first, errand, cancel)
                stored <- storedBy ending
                return replyTo errand ending
            finally
                writers.PassOn(id, stored)
        }

    /// Of a change that can be done without: it waits for nobody. None: somebody writes to the session now, and nothing was sent.
    member writers.RunIfFree<'out>
        (before: Snapshot, plan: Plan<'out>, keys: BearerKeys | null, errand: Errand, cancel: CancellationToken)
        : Task<Reply<'out> voption> =
        task {
            cancel.ThrowIfCancellationRequested()
            let terms = access.Terms(keys, TimeSpan.Zero)
            let first = loop.Begin(plan, terms, Ok before)

            if lanes.TryEnter before.Id then
                let! reply = writers.DriveAlone(before.Id, plan, terms, keys, first, errand, cancel)
                return ValueSome reply
            else
                return ValueNone
        }

    /// Decides on the record under `id`, again for each conflict, and stores what follows. `start`: the record as it was
    /// read before, which spares the first load. `keys`: those of the request, where data is sealed to its bearer.
    /// `hold`: what a sweeper holds a record for; it takes no turn.
    member writers.Run<'out>
        (
            id: string,
            plan: Plan<'out>,
            start: Snapshot voption,
            keys: BearerKeys | null,
            hold: TimeSpan,
            errand: Errand,
            cancel: CancellationToken
        ) : Task<Reply<'out>> =
        task {
            cancel.ThrowIfCancellationRequested()
            let terms = access.Terms(keys, hold)

            let! loaded =
                match start with
                | ValueSome snapshot -> ValueTask<_>(Ok snapshot)
                | ValueNone -> ValueTask<_>(task = access.Load(id, keys, errand, cancel))

            let struct (_, ask) as first = loop.Begin(plan, terms, loaded)

            match ask with
            | Swap _ when hold = TimeSpan.Zero ->
                match lanes.Enter(id, plan, keys, errand.SharesWrites) with
                | null -> return! writers.DriveAlone(id, plan, terms, keys, first, errand, cancel)
                | waiter -> return! writers.Answer(waiter, errand, cancel)
            | _ ->
                let! ending = loop.Drive(id, plan, terms, keys, first, errand, cancel)
                return replyTo errand ending
        }

    /// The same of a change that is to be stored in any case. Where somebody writes to the session now, nothing is decided on
    /// what that is about to replace.
    member writers.Change<'out>
        (before: Snapshot, plan: Plan<'out>, keys: BearerKeys | null, errand: Errand, cancel: CancellationToken)
        : Task<Reply<'out>> =
        cancel.ThrowIfCancellationRequested()

        match lanes.Join(before.Id, plan, keys, errand.SharesWrites) with
        | null -> writers.Run(before.Id, plan, ValueSome before, keys, TimeSpan.Zero, errand, cancel)
        | waiter -> writers.Answer(waiter, errand, cancel)

    /// The same on a record that nobody has read yet, and without keys.
    member writers.Run(id: string, plan: Plan<'out>, errand: Errand, cancel: CancellationToken) : Task<Reply<'out>> =
        writers.Run(id, plan, ValueNone, null, TimeSpan.Zero, errand, cancel)
