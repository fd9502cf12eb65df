/// Calls of one request wait for each other: two at once would begin two sessions, and each undo what the other has done.
namespace Session.AspNetCore

open System
open System.Collections.Generic
open System.Threading.Tasks

[<Sealed>]
type internal Turn() =
    let waiting = Queue<TaskCompletionSource<bool>>(0)
    let mutable isTaken = false

    /// True at once when nobody has it: the rule, and no allocation.
    member _.TryTake() =
        lock waiting (fun () ->
            if isTaken then
                false
            else
                isTaken <- true
                true)

    /// False when it did not come within the limit.
    member turn.Take(limit: TimeSpan) : Task<bool> =
        let mine =
            lock waiting (fun () ->
                if isTaken then
                    let mine = TaskCompletionSource<bool> TaskCreationOptions.RunContinuationsAsynchronously
                    waiting.Enqueue mine
                    Some mine
                else
                    isTaken <- true
                    None)

        match mine with
        | None -> Task.FromResult true
        | Some mine ->
            task {
                try
                    return! mine.Task.WaitAsync limit
                with :? TimeoutException ->
                    // It may come in this very moment.
                    return not (mine.TrySetResult false)
            }

    member _.Leave() =
        lock waiting (fun () ->
            let mutable isHanded = false

            while not isHanded && waiting.Count > 0 do
                isHanded <- waiting.Dequeue().TrySetResult true

            isTaken <- isHanded)
