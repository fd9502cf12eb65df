/// A store whose n-th call meets a fault, and two engines on its records: one that meets it, and a judge.
module Properties.Steps

open System
open System.Collections.Generic
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.Extensions.Logging.Abstractions
open Microsoft.Extensions.Time.Testing
open Session.Domain
open Session.Engine
open Properties.Histories

let private none = CancellationToken.None

/// What becomes of the call that meets the fault.
type Fault =
    /// An exception, and nothing happened.
    | Fails
    /// The store says no to a write, and says so: nothing happened. A read fails.
    | Refuses
    /// An exception, and it was carried out.
    | Forgets
    /// A write says that its outcome is unknown, and it was carried out; it was not; it is once the operation is over; it
    /// is when the next call comes. A read fails.
    | UnknownTaken
    | UnknownLost
    | UnknownLate
    | UnknownNext
    /// Not kept as widely as it has to be.
    | Narrow
    /// The answer comes when nobody waits for it any more.
    | Slow

let faults () =
    [ Fails
      Refuses
      Forgets
      UnknownTaken
      UnknownLost
      UnknownLate
      UnknownNext
      Narrow
      // It takes real time.
      if not Engines.isQuick then
          Slow ]

/// Counts the calls of one operation, to however many stores, and says which of them meets the fault.
[<Sealed>]
type Counter(wanted: int, fault: Fault) =
    let next, last = Queue<unit -> Task>(), Queue<unit -> Task>()
    member val Calls = 0 with get, set
    member val IsOn = false with get, set

    member counter.Next() =
        if counter.IsOn then
            counter.Calls <- counter.Calls + 1
            if counter.Calls = wanted then ValueSome fault else ValueNone
        else
            ValueNone

    /// What was on its way when another call comes.
    member _.Arrive() : Task =
        task {
            while next.Count > 0 do
                do! next.Dequeue () ()
        }

    /// Everything that was on its way.
    member counter.ArriveAll() : Task =
        task {
            do! counter.Arrive()

            while last.Count > 0 do
                do! last.Dequeue () ()
        }

    member _.WithNext(work: unit -> Task) = next.Enqueue work
    member _.AtLast(work: unit -> Task) = last.Enqueue work

[<Sealed>]
type Nth(inner: ISessionStore, counter: Counter) =
    inherit ForwardingStore(inner)

    let lost () = InvalidOperationException "the store failed" :> exn

    /// `unknown`: what a write answers when nobody knows.
    let call (unknown: 'a voption) (narrow: 'a -> 'a) (send: unit -> ValueTask<'a>) : ValueTask<'a> =
        ValueTask<'a>(
            task =
                task {
                    let fault = counter.Next()

                    if fault.IsNone then
                        do! counter.Arrive()

                    let notKnown () =
                        match unknown with
                        | ValueSome unknown -> unknown
                        | ValueNone -> raise (lost ())

                    let sendAside () : Task =
                        task {
                            let! _ = send ()
                            ()
                        }

                    match fault with
                    | ValueNone -> return! send ()
                    | ValueSome Fails -> return raise (lost ())
                    | ValueSome Refuses when unknown.IsSome -> return raise (StoreRefusedException("refused", null))
                    | ValueSome Refuses -> return raise (lost ())
                    | ValueSome Forgets ->
                        let! _ = send ()
                        return raise (lost ())
                    | ValueSome UnknownTaken ->
                        let! _ = send ()
                        return notKnown ()
                    | ValueSome UnknownLost -> return notKnown ()
                    | ValueSome UnknownLate ->
                        let answer = notKnown ()
                        counter.AtLast sendAside
                        return answer
                    | ValueSome UnknownNext ->
                        let answer = notKnown ()
                        counter.WithNext sendAside
                        return answer
                    | ValueSome Narrow ->
                        let! answer = send ()
                        return narrow answer
                    | ValueSome Slow ->
                        let! answer = send ()
                        do! Task.Delay 60
                        return answer
                }
        )

    let write (record: StoredRecord) send =
        let narrow answer =
            if answer = WriteResult.Written && record.IsDurable then WriteResult.Unacknowledged else answer

        call (ValueSome WriteResult.Unknown) narrow send

    let read (send: unit -> ValueTask<'a>) = call ValueNone id send

    let plain (send: unit -> ValueTask) =
        let sent =
            read (fun () ->
                ValueTask<unit>(
                    task =
                        task {
                            do! send ()
                            return ()
                        }
                ))

        ValueTask(task = sent.AsTask())

    override _.Insert(record, cancel) = write record (fun () -> inner.Insert(record, cancel))
    override _.Replace(record, expected, cancel) = write record (fun () -> inner.Replace(record, expected, cancel))
    override _.Load(id, cancel) = read (fun () -> inner.Load(id, cancel))
    override _.BySubject(subject, after, _, cancel) = read (fun () -> inner.BySubject(subject, after, 2, cancel))
    override _.Enumerate(after, _, cancel) = read (fun () -> inner.Enumerate(after, 2, cancel))
    override _.ClaimOverdue(now, lease, limit, cancel) = read (fun () -> inner.ClaimOverdue(now, lease, limit, cancel))
    override _.Touch(id, at, cancel) = plain (fun () -> inner.Touch(id, at, cancel))
    override _.Remove(id, cancel) = plain (fun () -> inner.Remove(id, cancel))
    override _.Reschedule(id, version, due, cancel) = plain (fun () -> inner.Reschedule(id, version, due, cancel))

    override _.RemoveVersion(id, version, operation, cancel) =
        plain (fun () -> (inner :?> IRemovesVersion).RemoveVersion(id, version, operation, cancel))

/// Two engines on the same records: one whose calls may meet the fault, and the judge.
[<Sealed>]
type Lab(settings: EngineSettings, isMoving: bool, counter: Counter) =
    let clock = FakeTimeProvider t0
    let heard = List<string>()
    let memory = MemoryStore() :> ISessionStore
    let target = MemoryStore() :> ISessionStore

    let board =
        { new INoticeBoard with
            member _.Post notice =
                if notice.Kind.IsExpiredNotice then
                    heard.Add notice.Id

                ValueTask.CompletedTask }

    let faulty: ISessionStore =
        if isMoving then MigratingStore(Nth(target, counter), Nth(memory, counter)) else Nth(memory, counter)

    let whole: ISessionStore = if isMoving then MigratingStore(target, memory) else memory

    let waits =
        { WaitLimits.Default with
            RequestTimeout = TimeSpan.FromMilliseconds 30L }

    let mutable ids = 0

    member _.Clock = clock
    member _.Heard = heard
    member _.Whole = whole
    /// Where sessions are before they move.
    member val Before = SessionEngine(memory, settings, clock, NullLogger.Instance, board)
    member val Judge = SessionEngine(whole, settings, clock, NullLogger.Instance, board)
    member val Engine = SessionEngine(faulty, settings, waits, clock, NullLogger.Instance, board)
    member _.Counter = counter

    member _.NextId() =
        ids <- ids + 1
        $"s{ids}"

    member lab.Begin(subject: string option) : Task<Opened> =
        task {
            let! created = lab.Before.Create(lab.NextId, subject, [| 0uy |], none)
            return Engines.ok created
        }

    member _.Ids = [ for n in 1..ids -> $"s{n}" ]

    member lab.Opens(token: IssuedToken) : Task<bool> =
        task {
            let presented = (Token.tryParse lab.Judge.Hasher (token.Reveal().AsSpan())).Value
            let! (answer: Result<Opened, SessionError>) = lab.Judge.Present(presented, false, none)
            return answer.IsOk
        }

    /// Each session as everybody sees it.
    member lab.View() : Task<Map<string, string>> =
        task {
            let mutable view = Map.empty

            for id in lab.Ids do
                let! found = lab.Judge.Find(id, none)

                let text =
                    match Engines.ok found |> Option.bind (fun session -> Lifecycle.liveOf session.State) with
                    | None -> "none"
                    | Some live -> $"%A{List.ofArray live.Data} of {live.Subject}, {live.Elevations} elevations"

                view <- Map.add id text view

            return view
        }
