/// One thread, one seed, one order of everything: what is ready to run, and what will be when its time has come. The
/// shipped code has no other thread, clock or chance here, so that a seed is a whole hour of a fleet, to the byte.
module Simulation.Scheduler

open System
open System.Collections.Generic
open System.Security.Cryptography
open System.Text
open System.Threading
open System.Threading.Tasks

/// An invariant is broken, or something that every run promises.
exception Broken of what: string

let broken what = raise (Broken what)

let require (what: string) isTrue =
    if not isTrue then
        broken what

/// The readable log of a run: its last lines are the story of a failure, the hash of all of them is the proof of a replay.
[<Sealed>]
type Story(isKept: bool) =
    let hash = IncrementalHash.CreateHash HashAlgorithmName.SHA256
    let lines = Queue<string>()
    let longest = if isKept then Int32.MaxValue else 120
    member val Length = 0 with get, set

    member story.Add(line: string) =
        hash.AppendData(Encoding.UTF8.GetBytes line)
        story.Length <- story.Length + 1
        lines.Enqueue line

        if lines.Count > longest then
            lines.Dequeue() |> ignore

    member _.Lines = List.ofSeq lines
    member _.Hash = Convert.ToHexStringLower(hash.GetHashAndReset()).Substring(0, 16)

[<Sealed>]
type Entry(action: unit -> unit) =
    member val IsOff = false with get, set
    member _.Run() = action ()

/// Half past twelve: no run begins at a round time.
let private start = DateTimeOffset(2026, 3, 1, 12, 30, 0, TimeSpan.Zero)

[<Sealed>]
type Scheduler(seed: int, isKept: bool) =
    let random = Random seed
    let thread = Environment.CurrentManagedThreadId
    let ready = List<Entry>()
    let later = PriorityQueue<Entry, struct (int64 * int64)>()
    let story = Story isKept
    let mutable now, count, steps = 0L, 0L, 0
    let mutable inOrder = false

    member _.Random = random
    member _.Story = story
    member _.Steps = steps
    /// Since the run began.
    member _.Now = TimeSpan.FromTicks now
    member _.Time = start.AddTicks now

    /// What is ready is run in any order, or in the order in which it became so.
    member _.RunsInOrder
        with set value = inOrder <- value

    member scheduler.Tell(text: string) =
        let at = scheduler.Now

        story.Add(
            String.Concat(at.ToString(@"hh\:mm\:ss\.fff", Globalization.CultureInfo.InvariantCulture), "  ", text)
        )

    /// A time of the story, of a clock of a node.
    member _.Sight(time: DateTimeOffset) =
        (time - start).ToString(@"hh\:mm\:ss\.fff", Globalization.CultureInfo.InvariantCulture)

    /// Whatever runs on another thread has left the simulation: it would run another way the next time.
    member _.CheckThread() =
        if Environment.CurrentManagedThreadId <> thread then
            Environment.FailFast "The simulation was left: something runs on another thread.\n" |> ignore

    member scheduler.Post(action: unit -> unit) =
        scheduler.CheckThread()
        ready.Add(Entry action)

    member _.After(delay: TimeSpan, action: unit -> unit) =
        let entry = Entry action
        count <- count + 1L
        later.Enqueue(entry, struct (now + max 0L delay.Ticks, count))
        entry

    /// True with this many of a thousand.
    member _.Chance(ofThousand: int) = ofThousand > 0 && random.Next 1000 < ofThousand
    member _.Below n = random.Next n
    member _.Pick(items: 'a array) = items[random.Next items.Length]

    /// Milliseconds, mostly near the lower end.
    member _.Milliseconds(least: int, most: int) =
        let spread = float (most - least)
        let part = random.NextDouble()
        TimeSpan.FromTicks(int64 ((float least + spread * part * part) * 10_000.0))

    /// Runs everything until this time, and asks `check` after each step.
    member _.RunUntil(until: TimeSpan, check: unit -> unit) =
        let mutable goesOn = true

        while goesOn do
            if ready.Count > 0 then
                let i = if inOrder || ready.Count = 1 then 0 else random.Next ready.Count
                let entry = ready[i]
                ready.RemoveAt i
                steps <- steps + 1
                entry.Run()
                check ()
            else
                let mutable next = Unchecked.defaultof<Entry>
                let mutable at = struct (0L, 0L)

                if later.TryPeek(&next, &at) then
                    let struct (time, _) = at

                    if time > until.Ticks then
                        now <- until.Ticks
                        goesOn <- false
                    else
                        now <- max now time
                        let entry = later.Dequeue()

                        if not entry.IsOff then
                            steps <- steps + 1
                            entry.Run()
                            check ()
                else
                    now <- until.Ticks
                    goesOn <- false

/// Where the code of one node runs, until the node crashes: nothing of it runs any more then.
[<Sealed>]
type Place(scheduler: Scheduler, name: string) =
    inherit SynchronizationContext()
    member val IsAlive = true with get, set
    member _.Name = name
    member _.Scheduler = scheduler

    /// Now, inside this place.
    member place.Enter(action: unit -> unit) =
        if place.IsAlive then
            let before = SynchronizationContext.Current
            SynchronizationContext.SetSynchronizationContext place

            try
                action ()
            finally
                SynchronizationContext.SetSynchronizationContext before

    override place.Post(callback, state) = scheduler.Post(fun () -> place.Enter(fun () -> callback.Invoke state))
    override place.Send(callback, state) = place.Enter(fun () -> callback.Invoke state)
    override place.CreateCopy() = place

    /// Starts what waits, and does not wait for it. What it throws is a fault of the simulation itself, or of what it runs.
    member place.Start(work: unit -> Task) =
        scheduler.Post(fun () ->
            place.Enter(fun () ->
                let running = work ()

                let tell (ended: Task) =
                    match ended.Exception with
                    | null -> ()
                    | failure -> scheduler.Post(fun () -> raise (failure.GetBaseException()))

                if running.IsCompleted then tell running else running.GetAwaiter().OnCompleted(fun () -> tell running)))

    /// Waits in virtual time.
    member place.Sleep(delay: TimeSpan) : Task =
        let sleeping = TaskCompletionSource()

        scheduler.After(delay, (fun () -> place.Enter(fun () -> sleeping.TrySetResult() |> ignore)))
        |> ignore

        sleeping.Task

    /// Virtual time for a place. `skew`: how far its wall clock is off; elapsed time is never.

    interface Session.AspNetCore.ICarriesOutAll

[<Sealed>]
type Clock(place: Place, skew: unit -> TimeSpan) =
    inherit TimeProvider()
    override _.GetUtcNow() = place.Scheduler.Time + skew ()
    override _.GetTimestamp() = place.Scheduler.Now.Ticks
    override _.TimestampFrequency = TimeSpan.TicksPerSecond
    override _.LocalTimeZone = TimeZoneInfo.Utc

    override _.CreateTimer(callback, state, due, period) =
        let entry = ref (ValueNone: Entry voption)

        let rec set (due: TimeSpan) (period: TimeSpan) =
            entry.Value |> ValueOption.iter (fun entry -> entry.IsOff <- true)
            entry.Value <- ValueNone

            if due <> Timeout.InfiniteTimeSpan then
                let fire () =
                    if period <> Timeout.InfiniteTimeSpan && period > TimeSpan.Zero then
                        set period period

                    place.Enter(fun () -> callback.Invoke state)

                entry.Value <- ValueSome(place.Scheduler.After(due, fire))

        set due period

        { new ITimer with
            member _.Change(due, period) =
                set due period
                true

            member _.Dispose() = set Timeout.InfiniteTimeSpan Timeout.InfiniteTimeSpan

            member _.DisposeAsync() =
                set Timeout.InfiniteTimeSpan Timeout.InfiniteTimeSpan
                ValueTask() }
