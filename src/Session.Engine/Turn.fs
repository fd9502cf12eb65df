/// Those who come at once wait for each other: calls of one request, which would begin two sessions and each undo what the
/// other has done; sign-ins of one subject, where a limit refuses.
namespace Session.Engine

open System
open System.Collections.Generic
open System.Threading
open System.Threading.Tasks

[<Sealed>]
type internal Turn() =
    // Nearly nobody comes twice at once.
    let mutable waiting: Queue<TaskCompletionSource<bool>> | null = null
    let mutable isTaken = false

    /// True at once when nobody has it: the rule, and no allocation.
    member turn.TryTake() =
        lock turn (fun () ->
            if isTaken then
                false
            else
                isTaken <- true
                true)

    member private turn.TakeOrWait() =
        lock turn (fun () ->
            if isTaken then
                let mine = TaskCompletionSource<bool> TaskCreationOptions.RunContinuationsAsynchronously

                match waiting with
                | null -> waiting <- Queue [ mine ]
                | queue -> queue.Enqueue mine

                ValueSome mine
            else
                isTaken <- true
                ValueNone)

    /// False when it did not come within the limit.
    member turn.Take(limit: TimeSpan, timer: TimeProvider) : Task<bool> =
        match turn.TakeOrWait() with
        | ValueNone -> Task.FromResult true
        | ValueSome mine ->
            task {
                let giveUp = TimerCallback(fun _ -> mine.TrySetResult false |> ignore)
                use _limit = timer.CreateTimer(giveUp, null, limit, Timeout.InfiniteTimeSpan)
                return! mine.Task
            }

    member turn.Leave() =
        lock turn (fun () ->
            match waiting with
            | null -> isTaken <- false
            | queue ->
                let mutable isHanded = false

                while not isHanded && queue.Count > 0 do
                    isHanded <- queue.Dequeue().TrySetResult true

                isTaken <- isHanded)
