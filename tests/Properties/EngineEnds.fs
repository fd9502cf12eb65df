/// Ends of one session and of all of a subject, while the store fails at some of them: each is tried, and what is said is true.
module Properties.EngineEnds

open System
open System.Collections.Generic
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.Extensions.Logging.Abstractions
open Microsoft.Extensions.Time.Testing
open Session.Domain
open Session.Engine
open Properties.Engines
open Properties.Histories
open Properties.FaultyStores

let all =
    [ testTask
          "end all: a store that keeps each end waiting in vain is tried no more after three, whatever it calls that" {
          for failure in
              [ TimeoutException "late" :> exn
                StoreRefusedException("late", TimeoutException "late") ] do
              let memory = MemoryStore()
              let whole = engineWith memory settings

              for i in 1..10 do
                  let! created = whole.Create((fun () -> $"session{i}"), Some "ada", [||], none)
                  ok created |> ignore

              let mutable writes = 0

              let waiting =
                  { new ForwardingStore(memory) with
                      override _.Replace(_, _, _) =
                          writes <- writes + 1
                          raise failure }

              match! (engineWith waiting settings).DestroyAll("ada", None, Revoked, none) with
              | Error(SessionError.Incomplete(0, 10, _)) -> Expect.equal writes 3 $"{failure.GetType().Name}"
              | answer -> failtestf "%A" answer
      }
      testTask "end all: a store that keeps every second end waiting in vain is tried for all the others" {
          let ends: (string * (SessionEngine -> Task<Result<int, SessionError>>)) list =
              [ "of a subject", (fun engine -> engine.DestroyAll("ada", None, Revoked, none))
                "of everybody", (fun engine -> engine.DestroyEvery(Revoked, none)) ]

          let isSlow id = List.contains id [ "session1"; "session3"; "session5"; "session7" ]

          for name, ending in ends do
              let memory = MemoryStore() :> ISessionStore
              let whole = engineWith memory settings

              for i in 1..8 do
                  let! created = whole.Create((fun () -> $"session{i}"), Some "ada", [||], none)
                  ok created |> ignore

              let waiting =
                  { new ForwardingStore(memory) with
                      override _.Replace(record, expected, cancel) =
                          if isSlow record.Id then
                              raise (TimeoutException "late")
                          else
                              memory.Replace(record, expected, cancel) }

              match! ending (engineWith waiting settings) with
              | Error(SessionError.Incomplete(4, 4, _)) -> ()
              | answer -> failtestf "%s: %A" name answer
      }
      testTask "end all: where the store is gone before the last page, what has ended is said, and that some are left" {
          let memory = MemoryStore()
          let whole = engineWith memory settings

          for _ in 1..201 do
              let! created = whole.Create(Token.newId, Some "ada", [||], none)
              ok created |> ignore

          let broken =
              { new ForwardingStore(memory) with
                  override it.Enumerate(after, limit, cancel) =
                      if isNull after then
                          it.Inner.Enumerate(after, limit, cancel)
                      else
                          raise (TimeoutException "no answer") }

          match! (engineWith broken settings).DestroyEvery(Revoked, none) with
          | Error(SessionError.Incomplete(200, 1, SessionError.Unavailable _)) -> ()
          | answer -> failtestf "%A" answer

          let! (left: Result<Snapshot list, SessionError>) = whole.List("ada", none)
          Expect.equal (ok left).Length 1 "that one"
      }
      testTask "end all of a provider: where the store is gone before the last page, what has ended is said" {
          let memory = MemoryStore()
          let whole = engineWith memory settings

          for _ in 1..3 do
              let errand = whole.NewErrand()

              let signIn tie =
                  task {
                      let begun = whole.Requests.Create(Token.newId, Some "ada", [||], errand, none)
                      let! reply = whole.Externals.Confirmed(tie, begun, errand)

                      match reply with
                      | Reply.Done opened -> return Ok opened
                      | Reply.Failed error
                      | Reply.Partly(_, error) -> return Error error
                  }

              let! tied = whole.Externals.Tied(ExternalSession("https://id.example.com", null), "ada", errand, signIn)
              ok tied |> ignore

          let broken =
              { new ForwardingStore(memory) with
                  override it.BySubject(subject, after, _, cancel) =
                      if isNull after then
                          it.Inner.BySubject(subject, after, 2, cancel)
                      else
                          raise (TimeoutException "no answer") }

          let! ended =
              (engineWith broken settings).EndExternal
                  { Issuer = "https://id.example.com"
                    SessionId = None
                    Subject = Some "ada"
                    TokenId = "one"
                    TokenUntil = DateTimeOffset.MaxValue }

          match ended with
          | Error(SessionError.Incomplete(2, 1, SessionError.Unavailable _)) -> ()
          | answer -> failtestf "%A" answer

          let! (left: Result<Snapshot list, SessionError>) = whole.List("ada", none)
          Expect.equal (ok left).Length 1 "that one"
      }
      testTask "end all: one session that cannot be ended keeps none of the others alive, and is counted" {
          for broken in 0..4 do
              let store = Failing(MemoryStore())
              let engine = engineWith store settings

              for i in 1..5 do
                  let! created = engine.Create((fun () -> $"session{i}"), Some "ada", [||], none)
                  ok created |> ignore

              store.Broken <- Some $"session{broken + 1}"
              let! ended = engine.DestroyAll("ada", None, Revoked, none)

              match ended with
              | Error(SessionError.Incomplete(4, 1, _)) -> ()
              | answer -> failtestf "%A" answer

              let! (left: Result<Snapshot list, SessionError>) = engine.List("ada", none)
              Expect.equal (ok left |> List.map _.Id) [ $"session{broken + 1}" ] "the one that is left"
              let! every = engine.DestroyEvery(Revoked, none)

              match every with
              | Error(SessionError.Incomplete(0, 1, _)) -> ()
              | answer -> failtestf "%A" answer

              store.Broken <- None
              let! last = engine.DestroyAll("ada", None, Revoked, none)
              Expect.equal last (Ok 1) "the last"
      }
      testTask "end all: each of many sessions is waited for as long as one" {
          let clock, memory = FakeTimeProvider t0, MemoryStore() :> ISessionStore

          let late (call: unit -> ValueTask<'answer>) =
              ValueTask<'answer>(
                  task =
                      task {
                          do! Task.Yield()
                          clock.Advance(TimeSpan.FromSeconds 2L)
                          return! call ()
                      }
              )

          let slow =
              { new ForwardingStore(memory) with
                  override _.Load(id, cancel) = late (fun () -> memory.Load(id, cancel))

                  override _.Replace(record, expected, cancel) =
                      late (fun () -> memory.Replace(record, expected, cancel)) }

          let waits =
              { WaitLimits.Default with
                  RequestTimeout = TimeSpan.FromSeconds 5L
                  Timer = clock }

          let engine = SessionEngine(slow, settings, waits, clock, NullLogger.Instance, silent)

          for _ in 1..8 do
              let! created = engine.Create(Token.newId, Some "ada", [||], none)
              ok created |> ignore

          let! ended = engine.DestroyAll("ada", None, Revoked, none)
          Expect.equal ended (Ok 8) "all of them"
      }
      testTask "end all: the end is to last, whoever can read what ends" {
          let memory, lasting = MemoryStore() :> ISessionStore, List<bool>()

          let watched =
              { new ForwardingStore(memory) with
                  override _.Replace(record, expected, cancel) =
                      if record.Kind = RecordKind.Ended then
                          lasting.Add record.IsDurable

                      memory.Replace(record, expected, cancel) }

          let here = engineWith watched { settings with Protector = keys 1uy }
          let there = engineWith memory { settings with Protector = keys 2uy }
          let! _ = here.Create(Token.newId, Some "ada", [||], none)
          let! _ = there.Create(Token.newId, Some "ada", [||], none)
          let! ended = here.DestroyAll("ada", None, Revoked, none)
          Expect.equal (ended, List.ofSeq lasting) (Ok 2, [ true; true ]) "both"
      }
      testTask "end all: what this node cannot read is ended all the same" {
          let store = MemoryStore()
          let here = engineWith store { settings with Protector = keys 1uy }
          let there = engineWith store { settings with Protector = keys 2uy }
          let! mine = here.Create(Token.newId, Some "ada", [||], none)
          let! theirs = there.Create(Token.newId, Some "ada", [||], none)
          let! ended = here.DestroyAll("ada", None, Revoked, none)
          Expect.equal ended (Ok 2) "both"

          for engine, opened in [ here, mine; there, theirs ] do
              let! isOpen = opens engine (ok opened).Issued.Value
              Expect.isFalse isOpen "over"
      }
      testTask "end all: the session that is to stay stays, also where this node cannot read it" {
          let store = MemoryStore()
          let here = engineWith store { settings with Protector = keys 1uy }
          let there = engineWith store { settings with Protector = keys 2uy }
          let! mine = here.Create(Token.newId, Some "ada", [||], none)
          let! theirs = there.Create(Token.newId, Some "ada", [||], none)
          let! ended = here.DestroyAll("ada", Some (ok theirs).Snapshot.Id, Revoked, none)
          Expect.equal ended (Ok 1) "one"
          let! isOpen = opens here (ok mine).Issued.Value
          Expect.isFalse isOpen "over"
          let! isOpen = opens there (ok theirs).Issued.Value
          Expect.isTrue isOpen "kept"
      }
      testTask "end: what is said of a record that nobody here can read is what became of it" {
          for taken, answer in [ true, "throws"; true, "unknown"; false, "throws"; false, "unknown" ] do
              let memory = MemoryStore() :> ISessionStore
              let there = engineWith memory { settings with Protector = keys 2uy }
              let! theirs = there.Create(Token.newId, Some "ada", [||], none)
              let id = (ok theirs).Snapshot.Id
              let mutable isLost = false

              let store =
                  { new ForwardingStore(memory) with
                      override _.Load(id, cancel) =
                          if isLost then raise (TimeoutException "no answer") else memory.Load(id, cancel)

                      override _.Replace(record, expected, cancel) =
                          ValueTask<WriteResult>(
                              task =
                                  task {
                                      if taken then
                                          let! _ = memory.Replace(record, expected, cancel)
                                          ()

                                      isLost <- true

                                      if answer = "throws" then
                                          return raise (TimeoutException "no answer")
                                      else
                                          return WriteResult.Unknown
                                  }
                          ) }

              let here = engineWith store { settings with Protector = keys 1uy }

              let ends: (string * (unit -> Task<SessionError option>)) list =
                  [ "one",
                    fun () ->
                        task {
                            let! ended = here.Destroy(id, Revoked, none)

                            return
                                (match ended with
                                 | Ok _ -> None
                                 | Error error -> Some error)
                        }
                    "all of a subject",
                    fun () ->
                        task {
                            let! ended = here.DestroyAll("ada", None, Revoked, none)

                            return
                                (match ended with
                                 | Ok _ -> None
                                 | Error error -> Some error)
                        } ]

              for name, ending in ends do
                  isLost <- false
                  let! error = ending ()
                  let what = $"{name}, which {answer}, taken {taken}"

                  match error with
                  | Some error -> Expect.notEqual (SessionError.outcome error) NothingChanged what
                  // The second call finds the tombstone of the first.
                  | None -> Expect.isTrue taken what

          // Where the answer alone is lost, and it can be looked for, it is found.
          let memory = MemoryStore() :> ISessionStore
          let there = engineWith memory { settings with Protector = keys 2uy }
          let! theirs = there.Create(Token.newId, Some "ada", [||], none)

          let store =
              { new ForwardingStore(memory) with
                  override _.Replace(record, expected, cancel) =
                      ValueTask<WriteResult>(
                          task =
                              task {
                                  let! _ = memory.Replace(record, expected, cancel)
                                  return raise (TimeoutException "no answer")
                              }
                      ) }

          let here = engineWith store { settings with Protector = keys 1uy }
          let! ended = here.Destroy((ok theirs).Snapshot.Id, Revoked, none)

          match ended with
          | Error(SessionError.Unacknowledged _) -> ()
          | other -> failtestf "where it is there may not be all that must have it: %A" other
      }
      testTask "end: a tombstone of ours that is found is written once more, until it is kept as it must be" {
          let memory = MemoryStore() :> ISessionStore
          let there = engineWith memory { settings with Protector = keys 2uy }
          let! theirs = there.Create(Token.newId, Some "ada", [||], none)
          let mutable writes = 0

          let store =
              { new ForwardingStore(memory) with
                  override _.Replace(record, expected, cancel) =
                      ValueTask<WriteResult>(
                          task =
                              task {
                                  let! result = memory.Replace(record, expected, cancel)
                                  writes <- writes + 1
                                  return if writes = 1 then WriteResult.Unknown else result
                              }
                      ) }

          let here = engineWith store { settings with Protector = keys 1uy }
          let! ended = here.Destroy((ok theirs).Snapshot.Id, Revoked, none)
          Expect.equal (ended, writes) (Ok true, 2) "once more"

          // A store that refuses is not asked over and over.
          let! other = there.Create(Token.newId, Some "ada", [||], none)
          let mutable asked = 0

          let refusing =
              { new ForwardingStore(memory) with
                  override _.Replace(_, _, _) =
                      asked <- asked + 1
                      raise (InvalidOperationException "READONLY") }

          let here = engineWith refusing { settings with Protector = keys 1uy }
          let! ended = here.Destroy((ok other).Snapshot.Id, Revoked, none)

          match ended with
          | Error(SessionError.Unsure _) -> ()
          | other -> failtestf "%A" other

          Expect.equal asked 2 "and once more"
      }
      testTask "end all: as long as a store answers, a subject has as many pages as it has" {
          let memory, clock = MemoryStore(), FakeTimeProvider t0

          let slow =
              { new ForwardingStore(memory) with
                  override _.BySubject(subject, after, limit, cancel) =
                      ValueTask<StoredPage>(
                          task =
                              task {
                                  do! Task.Delay(TimeSpan.FromSeconds 3L, clock)
                                  return! (memory :> ISessionStore).BySubject(subject, after, limit, cancel)
                              }
                      ) }

          let waits = { WaitLimits.Default with Timer = clock }
          let engine = SessionEngine(slow, settings, waits, TimeProvider.System, NullLogger.Instance, silent)

          for _ in 1..601 do
              let! _ = engine.Create(Token.newId, Some "ada", [||], none)
              ()

          let ending = engine.DestroyAll("ada", None, Revoked, none)

          while not ending.IsCompleted do
              clock.Advance(TimeSpan.FromSeconds 1L)
              do! Task.Delay 1

          let! ended = ending
          Expect.equal ended (Ok 601) "all"
      } ]
