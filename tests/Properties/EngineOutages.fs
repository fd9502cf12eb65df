/// A store that is down, silent or slow: how long anybody waits, and what the log says, once.
module Properties.EngineOutages

open System
open System.Collections.Generic
open System.Diagnostics
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.Extensions.Logging
open Microsoft.Extensions.Logging.Abstractions
open Microsoft.Extensions.Time.Testing
open Session.Domain
open Session.Engine
open Properties.Engines
open Properties.Histories
open Properties.FaultyStores

let all =
    [ testTask "waiting: one request waits for all its operations no longer than its limit, and what it says is true" {
          let memory = MemoryStore()

          let limited = { settings with MaxSessionsPerSubject = Some 3 }

          let slow = Slow(memory, TimeSpan.FromMilliseconds 150.0)
          let engine = impatient slow limited (TimeSpan.FromMilliseconds 400.0) silent

          let quick =
              SessionEngine(
                  memory,
                  { limited with MaxSessionsPerSubject = None },
                  TimeProvider.System,
                  NullLogger.Instance,
                  silent
              )

          let! created = quick.Create(Token.newId, None, [| 0uy |], none)
          let clock = Stopwatch.StartNew()
          let! answer = engine.SignIn(ok created, "ada", [| 1uy |], none)
          Expect.isLessThan clock.Elapsed.TotalSeconds 3.0 "it gave up"
          Expect.isError answer "and says so"
      }
      testTask "waiting: a store that never answers is waited for no longer than the limit" {
          let silentStore =
              { new ForwardingStore(MemoryStore()) with
                  override _.Load(_, _) =
                      ValueTask<StoredRecord | null>(TaskCompletionSource<StoredRecord | null>().Task) }

          let engine = impatient silentStore settings (TimeSpan.FromMilliseconds 200.0) silent

          let! found = within (TimeSpan.FromSeconds 10L) (engine.Find("nobody", none))

          match found with
          | Error(SessionError.Unavailable _) -> ()
          | answer -> failtestf "%A" answer
      }
      testTask "probe: who gives up a probe has found out nothing about the store" {
          let stop = new CancellationTokenSource()

          let silentStore =
              { new ForwardingStore(MemoryStore()) with
                  override _.Load(_, _) =
                      stop.Cancel()
                      ValueTask<StoredRecord | null>(task = TaskCompletionSource<StoredRecord | null>().Task) }

          let engine = engineWith silentStore settings
          let mutable wasStopped = false

          try
              let! _ = engine.Probe stop.Token
              ()
          with :? OperationCanceledException ->
              wasStopped <- true

          Expect.isTrue wasStopped "it says nothing of a failure"
      }
      testTask "outage: a store that is down for many requests is two lines in the log, and each outage is counted anew" {
          let store = Failing(MemoryStore())
          let lines, clock = Lines(), FakeTimeProvider t0
          let waits = { WaitLimits.Default with Timer = clock }
          let engine = SessionEngine(store, settings, waits, clock, lines, silent)
          let! created = engine.Create(Token.newId, None, [||], none)

          for outage, times in [ 1, 1000; 2, 3 ] do
              store.Loads <- false

              for _ in 1..times do
                  let! found = engine.Find((ok created).Snapshot.Id, none)
                  Expect.isError found "down"

              store.Loads <- true
              let! found = engine.Find((ok created).Snapshot.Id, none)
              Expect.isOk found "one that comes through"
              Expect.equal lines.Count (2 * outage - 1) "so soon it may be another shard"
              clock.Advance(TimeSpan.FromSeconds 1L)
              let! found = engine.Find((ok created).Snapshot.Id, none)
              Expect.isOk found "back"
              Expect.equal lines.Count (2 * outage) "lines"
              Expect.stringContains lines.Last $" {times} " "how many failed"
              clock.Advance(TimeSpan.FromSeconds 10L)
      }
      testTask
          "outage: while some calls come through and others fail, one of several shards is down, it is not said to be back" {
          let store = Failing(MemoryStore())
          let lines, clock = Lines(), FakeTimeProvider t0
          let waits = { WaitLimits.Default with Timer = clock }
          let engine = SessionEngine(store, settings, waits, clock, lines, silent)

          for step in 1..600 do
              store.Loads <- step % 3 <> 0
              let! _ = engine.Find("nobody", none)
              clock.Advance(TimeSpan.FromMilliseconds 100L)

          Expect.equal lines.Count 1 "said once"
          store.Loads <- true
          clock.Advance(TimeSpan.FromSeconds 1L)
          let! _ = engine.Find("nobody", none)
          Expect.equal lines.Count 2 "and back"
          Expect.stringContains lines.Last " 200 " "how many failed"
      }
      testTask "outage: a write without an answer is one that failed, and nothing but a write that was taken ends it" {
          let memory = MemoryStore() :> ISessionStore
          let mutable isUnsure = false
          let mutable isOvertaken = false

          let store =
              { new ForwardingStore(memory) with
                  override _.Replace(record, expected, cancel) =
                      if isUnsure then ValueTask.FromResult WriteResult.Unknown
                      elif isOvertaken then ValueTask.FromResult WriteResult.Conflict
                      else memory.Replace(record, expected, cancel) }

          let lines, clock = Lines(), FakeTimeProvider t0
          let waits = { WaitLimits.Default with Timer = clock; Chance = Random 1 }
          let engine = SessionEngine(store, settings, waits, TimeProvider.System, lines, silent)
          let! created = engine.Create(Token.newId, Some "ada", [| 0uy |], none)
          let opened = ok created
          isUnsure <- true

          // Its tries rest between each other.
          let writing = engine.Update(opened, Ok, none)

          while not writing.IsCompleted do
              clock.Advance(TimeSpan.FromMilliseconds 50L)
              do! Task.Delay 1

          let! written = writing
          Expect.isError written "no answer"
          Expect.equal lines.Count 1 "said"
          clock.Advance(TimeSpan.FromMinutes 1L)
          isUnsure <- false

          // A conflict and an absent record write nothing, and a touch may be lost.
          let! found = engine.Find(opened.Snapshot.Id, none)
          Expect.isOk found "reads go through"

          let! absent =
              engine.Update(
                  { opened with
                      Snapshot = { opened.Snapshot with Id = Token.newId () } },
                  Ok,
                  none
              )

          Expect.isError absent "none"
          isOvertaken <- true
          let mutable tries = 0

          let once data =
              tries <- tries + 1
              if tries = 1 then Ok data else Error SessionError.InvalidSubject

          let! declined = engine.Update(opened, once, none)
          Expect.equal declined (Error SessionError.InvalidSubject) "another one was first"
          isOvertaken <- false
          let later = opened.Live.LastSeen + settings.Policy.Idle / 2.0 + TimeSpan.FromSeconds 1.0
          do! engine.KeepAlive(Ok opened.Snapshot, later, engine.NewErrand())
          let! (touched: StoredRecord | null) = memory.Load(opened.Snapshot.Id, none)
          Expect.equal (nonNull touched).LastSeen later "a touch"
          Expect.equal lines.Count 1 "nothing is said of what was no write"
          let! written = engine.Update(opened, Ok, none)
          Expect.isOk written "a write"
          Expect.equal lines.Count 2 "back"
      }
      testTask "outage: what comes through while the failure is being written down is not said before it" {
          let store, said = Failing(MemoryStore()), List<string>()
          let clock = FakeTimeProvider t0
          let mutable engine: SessionEngine option = None

          let slow =
              { new ILogger with
                  member _.BeginScope _ = null
                  member _.IsEnabled _ = true

                  member _.Log(_, id, _, _, _) =
                      if said.Count = 0 && id.Name = "StoreFailed" then
                          store.Loads <- true
                          clock.Advance(TimeSpan.FromSeconds 2L)
                          (engine.Value.Find("nobody", none)).Wait()

                      said.Add(string id.Name) }

          let waits = { WaitLimits.Default with Timer = clock }
          let it = SessionEngine(store, settings, waits, clock, slow, silent)
          engine <- Some it
          store.Loads <- false
          let! _ = it.Find("nobody", none)
          Expect.equal (List.ofSeq said) [ "StoreFailed" ] "not back before"
          let! _ = it.Find("nobody", none)
          Expect.equal (List.ofSeq said) [ "StoreFailed"; "StoreIsBack" ] "and back"
      } ]
