/// Who writes to which session in this process, and who waits for that. Writers of one session do not race each other:
/// those who have waited are decided one after another on what the write before has stored, and stored by one write.
namespace Session.Engine

open System
open System.Collections.Generic
open System.Runtime.ExceptionServices
open System.Threading
open System.Threading.Tasks

/// A plan that waits for the write before it.
[<Sealed>]
type internal Waiter(plan: Plan<objnull>, keys: BearerKeys | null, shares: bool) =
    let ended =
        TaskCompletionSource<struct (Ending<objnull> * Snapshot voption)>
            TaskCreationOptions.RunContinuationsAsynchronously
    // 0 it waits, 1 its plan is under way, 2 nobody waits for it any more.
    let mutable stage = 0
    let mutable fault: ExceptionDispatchInfo | null = null

    /// What the application's own function throws is for its own caller, and not for those who share the write.
    member _.Plan: Plan<objnull> =
        { Decide =
            fun now state ->
                fault <- null

                try
                    plan.Decide now state
                with error ->
                    fault <- ExceptionDispatchInfo.Capture error
                    Error SessionError.Contended }

    member _.Keys = keys
    /// Data that is sealed to its bearer is written by one at a time.
    member _.IsShared = shares && isNull keys
    member _.Ended = ended.Task
    member _.End(ending, after) = ended.TrySetResult(struct (ending, after)) |> ignore

    member _.Rethrow() =
        match fault with
        | null -> ()
        | fault -> fault.Throw()

    member _.TryTake() = Interlocked.CompareExchange(&stage, 1, 0) = 0
    member _.TryWithdraw() = Interlocked.CompareExchange(&stage, 2, 0) = 0

/// Who writes to which session now, and who waits for it.
[<Sealed>]
type internal Lanes() =
    let lanes = Array.init 64 (fun _ -> Dictionary<string, Queue<Waiter> | null>(StringComparer.Ordinal))
    let laneOf (id: string) = lanes[(id.GetHashCode() &&& 0x7FFFFFFF) % lanes.Length]

    /// Null: the session is free to write to, and the caller's until it leaves. Otherwise the caller waits in this line.
    member _.Enter(id: string, plan: Plan<'out>, keys: BearerKeys | null, shares: bool) : Waiter | null =
        let lane = laneOf id

        lock lane (fun () ->
            match lane.TryGetValue id with
            | false, _ ->
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

    /// Those who have waited, up to as many as share a write, while the session stays taken; empty: it is free now.
    member _.Leave(id: string) : Waiter list =
        let lane = laneOf id

        lock lane (fun () ->
            let batch = List<Waiter>()

            match lane.GetValueOrDefault id with
            | null -> ()
            | queue ->
                let mutable isShared = true

                while isShared && queue.Count > 0 && batch.Count < 64 do
                    let next = queue.Peek()

                    if batch.Count > 0 && not next.IsShared then
                        isShared <- false
                    else
                        queue.Dequeue() |> ignore
                        isShared <- next.IsShared

                        if next.TryTake() then
                            batch.Add next

                        isShared <- isShared || batch.Count = 0

            if batch.Count = 0 then
                lane.Remove id |> ignore

            List.ofSeq batch)
