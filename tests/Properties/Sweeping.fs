/// The sweeper: what is over is told once, kept as a tombstone for its retention, and removed.
module Properties.Sweeping

open System
open System.Collections.Generic
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.Extensions.Logging.Abstractions
open Microsoft.Extensions.Time.Testing
open Session.Engine
open Session.Domain
open Properties.Histories

let private none = CancellationToken.None

/// What was told of ends by time; it fails as long as it is told to.
type private Board() =
    let told = List<string>()
    member val Fails = false with get, set
    member _.Told = List.ofSeq told

    interface INoticeBoard with
        member board.Post notice =
            match notice.Kind with
            | ExpiredNotice kind ->
                told.Add(kindName kind)

                if board.Fails then
                    invalidOp "a handler of the application failed"
            | _ -> ()

            ValueTask.CompletedTask

/// While a node holds what it has claimed, another one has removed it, and the id is used again.
type private ReusedIds(inner: ISessionStore) =
    inherit ForwardingStore(inner)

    override _.ClaimOverdue(now, lease, limit, cancel) =
        ValueTask<IReadOnlyList<StoredRecord>>(
            task =
                task {
                    let! claimed = inner.ClaimOverdue(now, lease, limit, cancel)

                    for old in claimed do
                        do! inner.Remove(old.Id, cancel)
                        let due = now + TimeSpan.FromHours 1.0
                        let next = StoredRecord(old.Id, 1L, RecordKind.Live, now, due, null, 1L, old.Body)
                        let! _ = inner.Insert(next, cancel)
                        ()

                    return claimed
                }
        )

/// An engine whose clock is set by hand.
type private Lab(policy: Policy, reusesIds: bool) =
    let clock = FakeTimeProvider t0
    let store = MemoryStore() :> ISessionStore
    let store = if reusesIds then ReusedIds store :> ISessionStore else store
    let board = Board()
    let settings = { Engines.settings with Policy = policy }
    let engine = SessionEngine(store, settings, clock, NullLogger.Instance, board)
    new() = Lab(policy, false)
    new(policy) = Lab(policy, false)
    member _.Board = board
    member _.Engine = engine
    member _.At n = clock.SetUtcNow(at n)
    member _.AtTick(n, ticks: int64) = clock.SetUtcNow((at n).AddTicks ticks)
    member _.Sweep() = engine.Sweep(100, none).GetAwaiter().GetResult()
    member _.Load id = store.Load(id, none).AsTask().GetAwaiter().GetResult() |> Option.ofObj

    member _.Create subject =
        engine.Create(Token.newId, subject, [| 1uy |], none).GetAwaiter().GetResult() |> Engines.ok

    member _.Present(opened: Opened) =
        let text = opened.Issued.Value.Reveal()
        engine.Present((Token.tryParse engine.Hasher (text.AsSpan())).Value, false, none).GetAwaiter().GetResult()

/// Two nodes, whose handlers of an end by time come to their end when they are told to. `timer`: what they wait by.
type private Slow(eventTimeout: TimeSpan, clock: FakeTimeProvider, timer: FakeTimeProvider) =
    let calls = List<TaskCompletionSource>()
    // Until when whoever attends a handler has put the session off, in ticks.
    let mutable heldUntil = 0L

    let store =
        { new ForwardingStore(MemoryStore()) with
            override it.Reschedule(id, version, dueAt, cancel) =
                Volatile.Write(&heldUntil, dueAt.UtcTicks)
                it.Inner.Reschedule(id, version, dueAt, cancel) }
        :> ISessionStore

    let board =
        { new INoticeBoard with
            member _.Post notice =
                match notice.Kind with
                | ExpiredNotice _ ->
                    lock calls (fun () ->
                        calls.Add(TaskCompletionSource TaskCreationOptions.RunContinuationsAsynchronously)
                        ValueTask calls[calls.Count - 1].Task)
                | _ -> ValueTask.CompletedTask }

    let waits = { WaitLimits.Default with EventTimeout = eventTimeout; Timer = timer }

    let node () = SessionEngine(store, Engines.settings, waits, clock, NullLogger.Instance, board)
    let nodes = [| node (); node () |]
    let sweeps = Array.create 2 (Task.FromResult 0)

    new(eventTimeout) =
        let clock = FakeTimeProvider t0
        Slow(eventTimeout, clock, clock)

    member _.Calls = lock calls (fun () -> List.ofSeq calls)
    member _.Load(id: string) = store.Load(id, none).AsTask()

    member _.Create() =
        task {
            let! created = nodes[0].Create(Token.newId, Some "ada", [| 1uy |], none)
            let opened = Engines.ok created
            let text = opened.Issued.Value.Reveal()
            let! _ = nodes[0].Present((Token.tryParse nodes[0].Hasher (text.AsSpan())).Value, false, none)
            return opened.Snapshot.Id
        }

    /// A busy machine is given time to put the session off before it falls due; for a handler that is given up nobody does.
    member private _.Settle() : Task =
        task {
            do! Task.Delay 2

            let isNear () =
                let left = Volatile.Read &heldUntil - clock.GetUtcNow().UtcTicks
                left > 0L && left <= TimeSpan.FromMinutes(1L).Ticks

            let mutable tries = 0

            while isNear () && tries < 50 do
                tries <- tries + 1
                do! Task.Delay 1
        }

    /// Both nodes sweep once a minute, now the one first and now the other, each when it has come to the end of its last sweep.
    member fleet.Pass(minutes: int) : Task =
        task {
            for minute in 1..minutes do
                for _ in 1..2 do
                    clock.Advance(TimeSpan.FromSeconds 30L)
                    do! fleet.Settle()

                for n in (if minute % 2 = 0 then [ 0; 1 ] else [ 1; 0 ]) do
                    if sweeps[n].IsCompleted then
                        sweeps[n] <- nodes[n].Sweep(100, none)

                    do! fleet.Settle()
        }

    member _.Leap(time: TimeSpan) = clock.Advance time
    member _.Sweep(n: int) = nodes[n].Sweep(100, none).WaitAsync(TimeSpan.FromSeconds 20L)

let private slowHandlers =
    [ for name, eventTimeout in
          [ "five seconds", TimeSpan.FromSeconds 5L
            "five minutes", TimeSpan.FromMinutes 5L ] do
          testTask $"a handler that goes on for long is called once, with an EventTimeout of {name}" {
              let fleet = Slow eventTimeout
              let! id = fleet.Create()
              do! fleet.Pass 29
              Expect.equal fleet.Calls.Length 1 "while it goes on nobody else tells of it"
              let! (held: StoredRecord | null) = fleet.Load id
              Expect.isNotNull held "and it is not forgotten"
              fleet.Calls.Head.SetResult()
              do! fleet.Pass 20
              Expect.equal fleet.Calls.Length 1 "and once it has come to its end, it is told"
              let! (left: StoredRecord | null) = fleet.Load id
              Expect.isNull left "and removed after its retention"
          }

      testTask "while a handler goes on nobody else tells of it, though its node is busy and late to say so" {
          for eventTimeout, late in [ TimeSpan.FromSeconds 5L, minutes 1; minutes 5, minutes 5 ] do
              let clock, timer = FakeTimeProvider t0, FakeTimeProvider t0
              let fleet = Slow(eventTimeout, clock, timer)
              let! _ = fleet.Create()
              clock.Advance Engines.settings.Policy.Idle
              let sweeping = fleet.Sweep 0
              Expect.equal fleet.Calls.Length 1 "told"
              timer.Advance(max eventTimeout (TimeSpan.FromSeconds 30L))
              let! _ = sweeping
              // It has said so once, and should have said so again by now.
              clock.Advance late
              let other = fleet.Sweep 1
              Expect.equal fleet.Calls.Length 1 "nobody else tells of it"
              let! claimed = other
              Expect.equal claimed 0 "nor is it given to anybody"
              fleet.Calls.Head.SetResult()
      }

      testTask "a handler that fails after it was waited for is called again" {
          let fleet = Slow(TimeSpan.FromSeconds 5L)
          let! id = fleet.Create()
          do! fleet.Pass 30
          fleet.Calls.Head.SetException(InvalidOperationException "a handler of the application failed")
          do! fleet.Pass 5
          Expect.equal fleet.Calls.Length 2 "again"
          fleet.Calls[1].SetResult()
          do! fleet.Pass 20
          Expect.equal fleet.Calls.Length 2 "and then no more"
          let! (left: StoredRecord | null) = fleet.Load id
          Expect.isNull left "and removed"
      }

      testTask "a handler that was waited for, and whose end the store does not take, is called again" {
          let clock, calls = FakeTimeProvider t0, List<TaskCompletionSource>()
          let fails, asked = ref true, TaskCompletionSource TaskCreationOptions.RunContinuationsAsynchronously

          let store =
              { new ForwardingStore(MemoryStore()) with
                  override it.RemoveVersion(id, version, operation, cancel) =
                      if fails.Value then
                          asked.TrySetResult() |> ignore
                          raise (IO.IOException "away")

                      (it.Inner :?> IRemovesVersion).RemoveVersion(id, version, operation, cancel) }
              :> ISessionStore

          // The first one takes its time.
          let board =
              { new INoticeBoard with
                  member _.Post notice =
                      match notice.Kind with
                      | ExpiredNotice _ ->
                          calls.Add(TaskCompletionSource TaskCreationOptions.RunContinuationsAsynchronously)
                          if calls.Count = 1 then ValueTask calls[0].Task else ValueTask.CompletedTask
                      | _ -> ValueTask.CompletedTask }

          // Without a retention what was told is removed at once.
          let settings =
              { Engines.settings with
                  Policy = { Engines.settings.Policy with Retention = TimeSpan.Zero } }

          let waits = { WaitLimits.Default with Timer = clock }
          let engine = SessionEngine(store, settings, waits, clock, NullLogger.Instance, board)
          let! created = engine.Create(Token.newId, Some "ada", [| 1uy |], none)
          let id = (Engines.ok created).Snapshot.Id
          clock.Advance settings.Policy.Idle
          let sweeping = engine.Sweep(100, none)
          Expect.equal calls.Count 1 "told"
          clock.Advance(TimeSpan.FromSeconds 30L)
          let! _ = sweeping.WaitAsync(TimeSpan.FromSeconds 20L)
          calls[0].SetResult()

          // The store is away for the handler's end, and back before the session is anybody's again.
          do! asked.Task.WaitAsync(TimeSpan.FromSeconds 20L)
          fails.Value <- false

          // A busy machine is given time to give up the first one.
          for _ in 1..200 do
              if calls.Count < 2 then
                  clock.Advance(minutes 1)
                  let! _ = engine.Sweep(100, none)
                  do! Task.Delay 20

          Expect.equal calls.Count 2 "again, when its lease is over"
          let! (left: StoredRecord | null) = store.Load(id, none)
          Expect.isNull left "and removed"
      }

      testTask "a handler that hangs is called again, after ten minutes, and not for ever" {
          let fleet = Slow(TimeSpan.FromSeconds 5L)
          let! id = fleet.Create()
          do! fleet.Pass 50
          Expect.isGreaterThan fleet.Calls.Length 1 "again"
          Expect.isLessThan fleet.Calls.Length 4 "and not every two minutes"
          let! (held: StoredRecord | null) = fleet.Load id
          Expect.isNotNull held "it is not forgotten"
          fleet.Leap(TimeSpan.FromHours 25.0)
          do! fleet.Pass 30
          let! (left: StoredRecord | null) = fleet.Load id
          Expect.isNull left "a day after its retention it is"
      } ]

let private ends =
    [ testCase "an end is told once, and not before its time" (fun () ->
          let lab = Lab()
          let id = (lab.Create(Some "ada")).Snapshot.Id
          lab.AtTick(3, -1L)
          Expect.equal (lab.Sweep(), lab.Board.Told) (0, []) "one tick before"
          lab.At 3
          Expect.equal (lab.Sweep(), lab.Board.Told) (1, [ "Idle" ]) "at its time"

          for minute in 3..7 do
              lab.At minute
              lab.Sweep() |> ignore

          Expect.equal lab.Board.Told [ "Idle" ] "once"
          Expect.equal (lab.Load id).Value.Kind RecordKind.Ended "a tombstone")

      testCase "a tombstone is removed when its retention is over" (fun () ->
          let lab = Lab()
          let id = (lab.Create(Some "ada")).Snapshot.Id
          lab.At 3
          lab.Sweep() |> ignore
          lab.AtTick(8, -1L)
          lab.Sweep() |> ignore
          Expect.isSome (lab.Load id) "one tick before"
          lab.At 8
          lab.Sweep() |> ignore
          Expect.isNone (lab.Load id) "at its time")

      testCase "what was destroyed is removed after its retention, and never told as expired" (fun () ->
          let lab = Lab()
          let id = (lab.Create(Some "ada")).Snapshot.Id
          lab.Engine.Destroy(id, Revoked, none).GetAwaiter().GetResult() |> ignore
          lab.AtTick(5, -1L)
          lab.Sweep() |> ignore
          Expect.isSome (lab.Load id) "one tick before"
          lab.At 5
          lab.Sweep() |> ignore
          Expect.equal (lab.Load id, lab.Board.Told) (None, []) "at its time")

      testCase "a handler that fails is told again after the lease, until it succeeds" (fun () ->
          let lab = Lab()
          let id = (lab.Create(Some "ada")).Snapshot.Id
          lab.Board.Fails <- true
          lab.At 3
          lab.Sweep() |> ignore
          Expect.equal (lab.Sweep(), lab.Board.Told) (0, [ "Idle" ]) "leased"
          lab.At 6
          lab.Sweep() |> ignore
          Expect.equal lab.Board.Told [ "Idle"; "Idle" ] "again"
          lab.Board.Fails <- false
          lab.At 9
          lab.Sweep() |> ignore
          lab.At 12
          lab.Sweep() |> ignore
          Expect.equal lab.Board.Told [ "Idle"; "Idle"; "Idle" ] "and then no more"
          Expect.isNone (lab.Load id) "and removed")

      testCase "a handler that never succeeds is given up, a day after the retention" (fun () ->
          let lab = Lab()
          let id = (lab.Create(Some "ada")).Snapshot.Id
          lab.Board.Fails <- true
          lab.At 3
          lab.Sweep() |> ignore
          lab.At(8 + 24 * 60 - 10)
          lab.Sweep() |> ignore
          Expect.isSome (lab.Load id) "before that it is told again"
          lab.At(8 + 24 * 60 + 10)
          lab.Sweep() |> ignore
          Expect.isNone (lab.Load id) "and then it goes")

      testCase "what has taken the place of a tombstone meanwhile stays" (fun () ->
          let lab = Lab(policy, true)
          let opened = lab.Create(Some "ada")
          lab.Engine.Destroy(opened.Snapshot.Id, SignedOut, none).GetAwaiter().GetResult() |> ignore
          lab.At 60
          Expect.equal (lab.Sweep()) 1 "it came to the tombstone"
          Expect.isSome (lab.Load opened.Snapshot.Id) "another session has its id by then")

      testCase "a touch re-schedules" (fun () ->
          let lab = Lab()
          let opened = lab.Create(Some "ada")
          lab.At 2
          Expect.isOk (lab.Present opened) "seen at 2"
          lab.At 4
          Expect.isOk (lab.Present opened) "seen at 4: a touch"
          lab.AtTick(7, -1L)
          lab.Sweep() |> ignore
          Expect.equal lab.Board.Told [] "it lives"
          lab.At 7
          Expect.equal (lab.Sweep(), lab.Board.Told) (1, [ "Absolute" ]) "rescheduled to its end")

      testCase "a session that no client confirmed is told and removed at once" (fun () ->
          let lab = Lab()
          let id = (lab.Create None).Snapshot.Id
          lab.At 2
          lab.Sweep() |> ignore
          Expect.equal (lab.Load id, lab.Board.Told) (None, [ "Unconfirmed" ]) "gone")

      testCase "without a retention an expired session is told and removed at once" (fun () ->
          let lab = Lab { policy with Retention = TimeSpan.Zero }
          let id = (lab.Create(Some "ada")).Snapshot.Id
          lab.At 3
          lab.Sweep() |> ignore
          Expect.equal (lab.Load id, lab.Board.Told) (None, [ "Idle" ]) "gone")

      testCase "8 the unattended end: it opens nothing at its deadline, sweeper or not" (fun () ->
          let lab = Lab()
          let opened = lab.Create(Some "ada")
          lab.At 3
          Expect.equal (lab.Present opened) (Error(SessionError.Ended(ByTime Idle, at 3))) "over on read"
          lab.Sweep() |> ignore
          Expect.equal lab.Board.Told [ "Idle" ] "and told by the sweeper all the same")

      testCase "a sweep takes no more than its limit, and the next takes the rest" (fun () ->
          let lab = Lab()

          for _ in 1..25 do
              lab.Create(Some "ada") |> ignore

          lab.At 3

          let counts =
              [ for _ in 1..4 do
                    lab.Engine.Sweep(10, none).GetAwaiter().GetResult() ]

          Expect.equal counts [ 10; 10; 5; 0 ] "pages"
          Expect.equal lab.Board.Told.Length 25 "each once")

      testTask "a node that is stopped begins with no more of what it has claimed, and leaves that to the others" {
          let clock, told = FakeTimeProvider t0, Collections.Concurrent.ConcurrentQueue<string>()
          let stop = new CancellationTokenSource()

          let board =
              { new INoticeBoard with
                  member _.Post notice =
                      match notice.Kind with
                      | ExpiredNotice _ ->
                          told.Enqueue notice.Id
                          stop.Cancel()
                      | _ -> ()

                      ValueTask.CompletedTask }

          let engine = SessionEngine(MemoryStore(), Engines.settings, clock, NullLogger.Instance, board)

          for _ in 1..40 do
              let! created = engine.Create(Token.newId, Some "ada", [| 1uy |], none)
              Engines.ok created |> ignore

          clock.Advance(TimeSpan.FromMinutes 21L)
          let! _ = engine.Sweep(100, stop.Token)
          Expect.isLessThan told.Count 40 "the process has little time left"
          clock.Advance(TimeSpan.FromMinutes 3L)
          let! _ = engine.Sweep(100, none)
          let all = List.ofSeq told
          Expect.equal (all.Length, (List.distinct all).Length) (40, 40) "each is told once"
      } ]

let all = testList "the sweeper" (ends @ slowHandlers)
