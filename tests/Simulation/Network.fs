/// The store, as a fleet has it: records in one place, and calls to them that are slow, lost, forgotten, doubled or late.
module Simulation.Network

open System
open System.Threading
open System.Threading.Tasks
open Session.Engine
open Simulation.Scheduler
open Simulation.Words
open Simulation.Judge

/// Whose request the code that runs now belongs to, where that is known.
let author = AsyncLocal<Visitor>()

/// The records themselves. The judge sees every change at the moment at which it is made.
[<Sealed>]
type Server(judge: Judge) =
    let memory = MemoryStore() :> ISessionStore

    let find id = memory.Load(id, CancellationToken.None).Result

    /// Whose call it is that is carried out now.
    member val Author: Visitor = null with get, set
    member _.Find(id: string) = find id
    member _.Count = memory.Count(CancellationToken.None).Result
    member _.All = memory.Enumerate(null, Int32.MaxValue, CancellationToken.None).Result.Records

    member server.Insert(record: StoredRecord) =
        let result = memory.Insert(record, CancellationToken.None).Result

        if result = WriteResult.Written then
            judge.Wrote(server.Author, nonNull (find record.Id))

        result

    member server.Replace(record: StoredRecord, expected) =
        let result = memory.Replace(record, expected, CancellationToken.None).Result

        if result = WriteResult.Written then
            // What the writer asks for is not stored.
            let stored = nonNull (find record.Id)

            judge.Wrote(
                server.Author,
                StoredRecord(
                    stored.Id,
                    stored.Version,
                    stored.Kind,
                    stored.LastSeen,
                    stored.DueAt,
                    stored.Subject,
                    stored.Operation,
                    stored.Body,
                    record.IsDurable
                )
            )

        result

    member _.Touch(id: string, at) =
        memory.Touch(id, at, CancellationToken.None).AsTask().Wait()

        match find id with
        | null -> ()
        | record -> judge.Touched record

    member _.Remove(id: string) =
        match find id with
        | null -> ()
        | _ ->
            memory.Remove(id, CancellationToken.None).AsTask().Wait()
            judge.Removed id

    member server.RemoveVersion(id: string, version, operation) =
        match find id with
        | null -> ()
        | found when found.Version = version && found.Operation = operation -> server.Remove id
        | _ -> ()

    member _.BySubject(subject, after, limit) = memory.BySubject(subject, after, limit, CancellationToken.None).Result
    member _.Enumerate(after, limit) = memory.Enumerate(after, limit, CancellationToken.None).Result

    member _.ClaimOverdue(now, lease, limit) = memory.ClaimOverdue(now, lease, limit, CancellationToken.None).Result

    member _.Reschedule(id, version, due) = memory.Reschedule(id, version, due, CancellationToken.None).AsTask().Wait()

/// What becomes of one call.
type private Fate =
    | Fine
    /// It never arrives.
    | Lost
    /// It arrives, and its answer does not.
    | Forgotten
    /// It arrives when nobody waits for it any more.
    | Late
    /// Its answer comes when the request may have given up.
    | Slow
    /// It arrives twice.
    | Twice
    /// It is refused at once.
    | Down

/// How bad it is just now.
[<Sealed>]
type Weather() =
    /// Of a thousand calls.
    member val Faults = 0 with get, set
    /// Nothing gets through.
    member val IsDown = false with get, set

/// The store, as one node sees it.
[<Sealed>]
type Wire(place: Place, server: Server, weather: Weather, setup: Setup) =
    let scheduler = place.Scheduler
    let isHere = setup.Most = 0
    let travel () = if isHere then TimeSpan.Zero else scheduler.Milliseconds(setup.Least, setup.Most)

    let draw isWrite =
        if weather.IsDown then
            if scheduler.Chance 300 then Down else Lost
        elif not (scheduler.Chance weather.Faults) then
            Fine
        elif isWrite then
            scheduler.Pick [| Lost; Forgotten; Late; Slow; Twice; Down |]
        else
            scheduler.Pick [| Lost; Slow; Down |]

    // A driver has its own words for one and the same thing.
    let silence () = TimeoutException "The store did not answer." :> exn

    let send (name: string) (unknown: 'a voption) (arrive: unit -> 'a) : ValueTask<'a> =
        let by = author.Value

        let arrive () =
            server.Author <- by
            let answer = arrive ()
            server.Author <- null
            answer

        let fate = draw unknown.IsSome

        if fate = Fine && isHere then
            ValueTask<'a>(arrive ())
        else
            let answer = TaskCompletionSource<'a>()
            let reach (delay: TimeSpan) (action: unit -> unit) = scheduler.After(delay, action) |> ignore
            let tell (action: unit -> unit) = place.Enter action

            let fail () =
                match unknown with
                | ValueSome unknown when scheduler.Chance 600 -> answer.TrySetResult unknown |> ignore
                | _ -> answer.TrySetException(silence ()) |> ignore

            if fate <> Fine then
                scheduler.Tell $"    {place.Name} {name}: {fate}"

            // A driver's own limit.
            let limit = scheduler.Milliseconds(1000, 3000)

            match fate with
            | Fine
            | Twice ->
                reach (travel ()) (fun () ->
                    let result = arrive ()
                    reach (travel ()) (fun () -> tell (fun () -> answer.TrySetResult result |> ignore)))

                // The answer that counts is the first one's: a driver that sends again by itself has to see to that.
                if fate = Twice then
                    reach
                        (travel () + TimeSpan.FromMilliseconds(float setup.Most) + scheduler.Milliseconds(0, 5000))
                        (fun () -> arrive () |> ignore)
            | Slow ->
                reach (travel ()) (fun () ->
                    let result = arrive ()
                    let delay = scheduler.Milliseconds(500, 9000)
                    reach delay (fun () -> tell (fun () -> answer.TrySetResult result |> ignore)))
            | Lost -> reach limit (fun () -> tell fail)
            | Forgotten ->
                reach (travel ()) (fun () -> arrive () |> ignore)
                reach (limit + travel ()) (fun () -> tell fail)
            | Late ->
                reach limit (fun () -> tell fail)
                reach (limit + scheduler.Milliseconds(0, 15_000)) (fun () -> arrive () |> ignore)
            | Down -> reach (travel ()) (fun () -> tell (fun () -> answer.TrySetException(silence ()) |> ignore))

            ValueTask<'a>(task = answer.Task)

    let cancelled (cancel: CancellationToken) (send: unit -> ValueTask<'a>) =
        if cancel.IsCancellationRequested then ValueTask.FromCanceled<'a> cancel else send ()

    let unknown = ValueSome WriteResult.Unknown

    /// Its replicas did not say that they have it.
    let narrowly (record: StoredRecord) result =
        if result = WriteResult.Written && record.IsDurable && scheduler.Chance(weather.Faults / 4) then
            WriteResult.Unacknowledged
        else
            result

    let plain (call: ValueTask<unit>) : ValueTask =
        if call.IsCompletedSuccessfully then ValueTask() else ValueTask(task = call.AsTask())

    interface ISessionStore with
        member _.Prepare _ = ValueTask.FromResult(StoreReport("simulated", true, true, [||]))

        member _.Insert(record, cancel) =
            cancelled cancel (fun () -> send "insert" unknown (fun () -> narrowly record (server.Insert record)))

        member _.Load(id, cancel) = cancelled cancel (fun () -> send "load" ValueNone (fun () -> server.Find id))

        member _.Replace(record, expected, cancel) =
            cancelled cancel (fun () ->
                send "replace" unknown (fun () -> narrowly record (server.Replace(record, expected))))

        member _.Touch(id, at, _) = plain (send "touch" ValueNone (fun () -> server.Touch(id, at)))
        member _.Remove(id, _) = plain (send "remove" ValueNone (fun () -> server.Remove id))

        member _.BySubject(subject, after, limit, cancel) =
            cancelled cancel (fun () ->
                send "by subject" ValueNone (fun () -> server.BySubject(subject, after, min limit 3)))

        member _.Enumerate(after, limit, cancel) =
            cancelled cancel (fun () -> send "enumerate" ValueNone (fun () -> server.Enumerate(after, min limit 3)))

        member _.Count _ = send "count" ValueNone (fun () -> server.Count)

        member _.ClaimOverdue(now, lease, limit, cancel) =
            cancelled cancel (fun () -> send "claim" ValueNone (fun () -> server.ClaimOverdue(now, lease, limit)))

        member _.Reschedule(id, version, dueAt, _) =
            plain (send "reschedule" ValueNone (fun () -> server.Reschedule(id, version, dueAt)))

    interface IRemovesVersion with
        member _.RemoveVersion(id, version, operation, _) =
            plain (send "remove" ValueNone (fun () -> server.RemoveVersion(id, version, operation)))
