/// What belongs to one request as a whole, or to one call without a request: its time, and its news.
namespace Session.Engine

open System
open System.Threading
open System.Threading.Tasks
open NonStructuralComparison // the general operators allocate for each comparison

/// How long it still waits for the store, all its operations together; and what it has to tell when it is over. A handler
/// of an event that calls back into the library must meet nothing that still waits for it.
[<Sealed>]
type internal Errand(limits: WaitLimits, sharesWrites: bool, isOptional: bool) =
    let mutable waited = TimeSpan.Zero
    // When the operation that runs now first had to wait; zero: it has not.
    let mutable began = 0L
    let mutable newestFirst: Notice list = []

    static let hear = Action<Task>(fun asked -> asked.Exception |> ignore)

    new(limits, sharesWrites) = Errand(limits, sharesWrites, false)

    /// Of a request.
    new(limits) = Errand(limits, true, false)

    /// Of what a request can do without: it is waited for half as long as a request waits, and costs none of that time.
    static member Optional(limits: WaitLimits) =
        let short = { limits with RequestTimeout = limits.RequestTimeout / 2.0 }
        Errand(short, false, true)

    /// Whether nobody fails where it does: what it does not bring in its short time says nothing of the store.
    member _.IsOptional = isOptional

    /// Whether what waits for its turn may be stored together with what others wait to store. Otherwise each change has a
    /// version of its own.
    member _.SharesWrites = sharesWrites

    /// Zero once it is used up: a call that has not answered by then counts as failed.
    member _.Left =
        let running = if began = 0L then TimeSpan.Zero else limits.Timer.GetElapsedTime began
        let left = limits.RequestTimeout - waited - running
        if left > TimeSpan.Zero then left else TimeSpan.Zero

    /// The answer of a call; TimeoutException when the time is over before it comes. A read may be given up: a store need
    /// not heed its token, or not at once.
    member errand.Await(call: ValueTask<'answer>, cancel: CancellationToken) : ValueTask<'answer> =
        if call.IsCompleted then
            call
        else
            errand.Wait()
            let asked = call.AsTask()
            Errand.LeaveTo asked
            ValueTask<'answer>(task = asked.WaitAsync(errand.Left, limits.Timer, cancel))

    member errand.Await(call: ValueTask<'answer>) : ValueTask<'answer> = errand.Await(call, CancellationToken.None)

    member errand.Await(call: ValueTask) : Task =
        if call.IsCompleted then
            call.AsTask()
        else
            errand.Wait()
            let asked = call.AsTask()
            Errand.LeaveTo asked
            asked.WaitAsync(errand.Left, limits.Timer)

    /// Calls back once its time is over. To be disposed of when nobody waits any more.
    member errand.AtEnd(giveUp: unit -> unit) : ITimer =
        errand.Wait()
        let giveUp = TimerCallback(fun _ -> giveUp ())
        limits.Timer.CreateTimer(giveUp, null, errand.Left, Timeout.InfiniteTimeSpan)

    /// What a call fails with when nobody waits for it any more was said when it was given up: it is no unobserved exception
    /// (TaskScheduler.UnobservedTaskException), which applications report as a mistake of theirs.
    static member private LeaveTo(asked: Task) =
        asked.ContinueWith(hear, TaskContinuationOptions.OnlyOnFaulted ||| TaskContinuationOptions.ExecuteSynchronously)
        |> ignore

    /// From now on its time runs.
    member _.Wait() =
        if began = 0L then
            began <- limits.Timer.GetTimestamp()

    /// The operation is over: what the request does by itself until the next one costs none of its time.
    member _.Pause() =
        if began <> 0L then
            waited <- waited + limits.Timer.GetElapsedTime began
            began <- 0L

    /// Whether any of its time is used up.
    member _.HasWaited = waited <> TimeSpan.Zero || began <> 0L

    /// All of its time again: one operation on many sessions waits for each of them as long as for one.
    member _.Renew() =
        waited <- TimeSpan.Zero
        began <- 0L

    member _.Note(notice: Notice) = newestFirst <- notice :: newestFirst
    member _.HasNews = not newestFirst.IsEmpty

    /// All that there is to tell, oldest first; nothing is left then.
    member _.TakeNews() =
        let news = List.rev newestFirst
        newestFirst <- []
        news
