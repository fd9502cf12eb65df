/// Sign-ins under a limit while the store fails, answers late or does not confirm: what is said is true, and no limit is passed.
module Properties.EngineSignIns

open System
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
    [ testTask "sign-in: stored, and the limit cannot be counted: its token is handed over with the failure" {
          let store = Failing(MemoryStore())
          let engine = engineWith store { settings with MaxSessionsPerSubject = Some 2 }
          let! created = engine.Create(Token.newId, None, [| 0uy |], none)
          let mutable lists = 0

          let counting =
              { new ForwardingStore(store) with
                  override _.BySubject(subject, after, limit, cancel) =
                      lists <- lists + 1

                      // Asked before the sign-in is stored, and after.
                      if lists = 2 then
                          raise (TimeoutException "no answer")
                      else
                          store.BySubject(subject, after, limit, cancel) }

          let failing = engineWith counting { settings with MaxSessionsPerSubject = Some 2 }
          let! reply = failing.Requests.SignIn(ok created, "ada", [| 1uy |], failing.NewErrand(), none)

          match reply with
          | Reply.Partly(opened, (SessionError.Unacknowledged _ as error)) ->
              Expect.equal (SessionError.outcome error) Changed "what is said"
              let! isOpen = opens engine opened.Issued.Value
              Expect.isTrue isOpen "the new token opens"
          | _ -> failtest "not handed over"
      }
      testTask "sign-in: stored and not acknowledged counts under the limit as well, for its token goes out" {
          for whenReached in [ EndOldest; RefuseNew ] do
              let memory = MemoryStore()
              let limited = limitedTo 2 whenReached

              // Of sign-ins alone: what ends is confirmed.
              let unconfirmed =
                  { new ForwardingStore(memory) with
                      override it.Insert(record, cancel) =
                          ValueTask<WriteResult>(
                              task =
                                  task {
                                      let! answer = it.Inner.Insert(record, cancel)
                                      return if answer = WriteResult.Written then WriteResult.Unacknowledged else answer
                                  }
                          ) }

              let mutable failures = []

              for second in 1..4 do
                  let clock = FakeTimeProvider(t0.AddSeconds(float second))
                  let engine = SessionEngine(unconfirmed, limited, clock, NullLogger.Instance, silent)
                  let! reply = engine.Requests.Create(Token.newId, Some "ada", [||], engine.NewErrand(), none)

                  match reply with
                  | Reply.Partly(_, SessionError.Unacknowledged _) -> ()
                  | Reply.Failed error -> failures <- error :: failures
                  | reply -> failtestf "%A" reply

              let judge =
                  SessionEngine(memory, limited, FakeTimeProvider(t0.AddSeconds 9.0), NullLogger.Instance, silent)

              let! (left: Result<Snapshot list, SessionError>) = judge.List("ada", none)
              Expect.equal (ok left).Length 2 $"{whenReached}: never more"

              match whenReached, failures with
              | EndOldest, []
              | RefuseNew, [ SessionError.LimitReached 2; SessionError.LimitReached 2 ] -> ()
              | _ -> failtestf "%A: %A" whenReached failures
      }
      testTask "sign-in: one that waits in vain for another of its subject has time left for the store" {
          let clock, memory = FakeTimeProvider t0, MemoryStore() :> ISessionStore
          let isHeld, isSlow = ref true, ref false
          let held = TaskCompletionSource TaskCreationOptions.RunContinuationsAsynchronously
          let asked = TaskCompletionSource TaskCreationOptions.RunContinuationsAsynchronously
          let listed = TaskCompletionSource TaskCreationOptions.RunContinuationsAsynchronously

          // The first insert takes its time, and later the first listing.
          let store =
              { new ForwardingStore(memory) with
                  override _.Insert(record, cancel) =
                      let isFirst = isHeld.Value
                      isHeld.Value <- false

                      ValueTask<WriteResult>(
                          task =
                              task {
                                  if isFirst then
                                      do! held.Task

                                  return! memory.Insert(record, cancel)
                              }
                      )

                  override _.BySubject(subject, after, limit, cancel) =
                      let isFirst = isSlow.Value
                      isSlow.Value <- false

                      ValueTask<StoredPage>(
                          task =
                              task {
                                  if isFirst then
                                      asked.SetResult()
                                      do! listed.Task

                                  return! memory.BySubject(subject, after, limit, cancel)
                              }
                      ) }

          let limited = limitedTo 2 RefuseNew
          let waits = { WaitLimits.Default with Timer = clock }
          let engine = SessionEngine(store, limited, waits, clock, NullLogger.Instance, silent)
          let first = engine.Create(Token.newId, Some "ada", [||], none)
          isSlow.Value <- true
          let second = engine.Create(Token.newId, Some "ada", [||], none)
          clock.Advance(waits.RequestTimeout / 2.0)
          do! asked.Task.WaitAsync(TimeSpan.FromSeconds 20L)
          clock.Advance(TimeSpan.FromSeconds 2L)
          listed.SetResult()
          let! later = second.WaitAsync(TimeSpan.FromSeconds 20L)
          Expect.isOk later "there is room for both"
          held.SetResult()
          let! earlier = first.WaitAsync(TimeSpan.FromSeconds 20L)
          Expect.isOk earlier "and the other one is stored, too"
      }
      testTask "sign-in: where its own session is one too many it is over, though another one could not be ended" {
          let store = Failing(MemoryStore())
          let limited = { settings with MaxSessionsPerSubject = Some 1 }

          let engineAt (seconds: int) =
              SessionEngine(store, limited, FakeTimeProvider(t0.AddSeconds seconds), NullLogger.Instance, silent)

          let! first = (engineAt 0).Create((fun () -> "oldest"), Some "ada", [||], none)
          ok first |> ignore
          store.Broken <- Some "oldest"
          let! _ = (engineAt 10).Requests.Create((fun () -> "ahead"), Some "ada", [||], (engineAt 10).NewErrand(), none)
          let behind = engineAt 5
          let! reply = behind.Requests.Create((fun () -> "own"), Some "ada", [||], behind.NewErrand(), none)

          match reply with
          | Reply.Failed(SessionError.LimitExceeded 1) -> ()
          | _ -> failtest "the token of a session that is over goes to nobody"
      }
      testTask "sign-in: where the limit cannot be counted before, nothing is changed, whatever it does" {
          for whenReached in [ EndOldest; RefuseNew ] do
              let store = Failing(MemoryStore())
              let limited = limitedTo 2 whenReached
              let engine = engineWith store limited
              let! created = engine.Create(Token.newId, None, [| 0uy |], none)
              store.Lists <- false

              match! engine.Requests.SignIn(ok created, "ada", [| 1uy |], engine.NewErrand(), none) with
              | Reply.Failed error -> Expect.equal (SessionError.outcome error) NothingChanged $"{whenReached}"
              | _ -> failtestf "%A: signed in" whenReached

              let! isOpen = opens engine (ok created).Issued.Value
              Expect.isTrue isOpen "its token is what it was"
      }
      testTask "sign-in: one that was over when it was listed, and is seen before it is ended, counts under the limit" {
          for whenReached, left in [ EndOldest, "second"; RefuseNew, "first" ] do
              let memory, clock, lists = MemoryStore() :> ISessionStore, FakeTimeProvider t0, ref 0

              let store =
                  { new ForwardingStore(memory) with
                      override _.BySubject(subject, after, limit, cancel) =
                          ValueTask<StoredPage>(
                              task =
                                  task {
                                      let! page = memory.BySubject(subject, after, limit, cancel)
                                      lists.Value <- lists.Value + 1

                                      // The sign-in is stored, and a node whose clock is behind lets somebody in.
                                      if lists.Value = 2 then
                                          do! memory.Touch("first", t0.AddMinutes(15.0), none)

                                      return page
                                  }
                          ) }

              let limited = limitedTo 1 whenReached
              let quick = SessionEngine(memory, settings, clock, NullLogger.Instance, silent)
              let! first = quick.Create((fun () -> "first"), Some "ada", [||], none)
              ok first |> ignore
              clock.Advance(TimeSpan.FromMinutes 30.0)
              let engine = SessionEngine(store, limited, clock, NullLogger.Instance, silent)
              let! second = engine.Create((fun () -> "second"), Some "ada", [||], none)
              Expect.equal (Result.isOk second) (left = "second") "what is said"
              let! (found: Result<Snapshot list, SessionError>) = quick.List("ada", none)
              Expect.equal (ok found |> List.map _.Id) [ left ] $"{whenReached}: no more than one"
      }
      testTask "sign-in: where one that is over cannot be ended, and another node may still open it, that is said" {
          for whenReached in [ EndOldest; RefuseNew ] do
              let store, clock = Failing(MemoryStore()), FakeTimeProvider t0
              let limited = limitedTo 1 whenReached
              let engine = SessionEngine(store, limited, clock, NullLogger.Instance, silent)
              let! first = engine.Create((fun () -> "first"), Some "ada", [||], none)
              ok first |> ignore
              clock.Advance settings.Policy.Idle
              store.Broken <- Some "first"

              match! engine.Requests.Create((fun () -> "second"), Some "ada", [||], engine.NewErrand(), none) with
              | Reply.Partly(_, error) -> Expect.equal (SessionError.outcome error) Changed $"{whenReached}"
              | Reply.Done _ -> failtestf "%A: acknowledged" whenReached
              | Reply.Failed error -> failtestf "%A: its token is lost: %A" whenReached error
      }
      testTask "sign-in: one that waits for a later one to step back, which never does, steps back itself" {
          let clock, memory, lists = FakeTimeProvider t0, MemoryStore() :> ISessionStore, ref 0

          // A node that has stored its sign-in, and died before it counted.
          let later = FakeTimeProvider(t0.AddSeconds 1.0)
          let dying = SessionEngine(memory, settings, later, NullLogger.Instance, silent)

          let store =
              { new ForwardingStore(memory) with
                  override _.BySubject(subject, after, limit, cancel) =
                      ValueTask<StoredPage>(
                          task =
                              task {
                                  lists.Value <- lists.Value + 1

                                  if lists.Value = 2 then
                                      let! other = dying.Create((fun () -> "other"), Some subject, [||], none)
                                      ok other |> ignore

                                  return! memory.BySubject(subject, after, limit, cancel)
                              }
                      ) }

          let limited = limitedTo 1 RefuseNew
          let waits = { WaitLimits.Default with Timer = clock }
          let engine = SessionEngine(store, limited, waits, clock, NullLogger.Instance, silent)
          let signing = engine.Create((fun () -> "own"), Some "ada", [||], none)
          let mutable rounds = 0

          while not signing.IsCompleted && rounds < 200 do
              rounds <- rounds + 1
              clock.Advance(TimeSpan.FromMilliseconds 20L)
              do! Task.Delay 1

          Expect.isTrue signing.IsCompleted "it does not wait for ever"
          let! answer = signing
          Expect.equal answer (Error(SessionError.LimitExceeded 1)) "it is over"
          let! (left: Result<Snapshot list, SessionError>) = engine.List("ada", none)
          Expect.equal (ok left |> List.map _.Id) [ "other" ] "and the other one stays"
      }
      testTask "sign-in: whoever signs in again in a session of their own needs no room for another" {
          let one = limitedTo 1 RefuseNew
          let engine = engineWith (MemoryStore()) one
          let! created = engine.Create(Token.newId, Some "ada", [||], none)
          let! again = engine.SignIn(ok created, "ada", [| 1uy |], none)
          Expect.isOk again "their own"
          let! another = engine.Create(Token.newId, Some "ada", [||], none)
          Expect.isError another "another"
      } ]
