/// The invariants that speak of many requests and many sessions, and of bytes: they need an engine, or its codec.
module Properties.EngineInvariants

open System
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.Extensions.Logging.Abstractions
open Session.Engine
open Session.Domain
open Properties.Engines
open Properties.Histories

/// Asked of every step of every history, like those of Invariants.fs.
let ofSteps: (string * (Step -> bool)) list =
    [ "16 one decoder: every state is read back as it was written",
      fun step ->
          step.After = Absent
          || Codec.decode "id" 7L (ReadOnlyMemory(Codec.encode "id" 7L step.After)) = Ok step.After ]

let private ada = Some "ada"
let private none = CancellationToken.None

/// A store some of whose answers never come: of each three writes one is taken and one is lost, unknown to the writer.
type private Forgetful(store: ISessionStore) =
    inherit ForwardingStore(store)
    let mutable writes = 0

    override _.Replace(record, expected, cancel) =
        match Interlocked.Increment &writes % 3 with
        | 0 ->
            store.Replace(record, expected, cancel).AsTask().Wait()
            ValueTask.FromResult WriteResult.Unknown
        | 1 -> ValueTask.FromResult WriteResult.Unknown
        | _ -> store.Replace(record, expected, cancel)

    override _.Insert(record, cancel) =
        store.Insert(record, cancel).AsTask().Wait()
        ValueTask.FromResult WriteResult.Unknown

/// A store where two inserts wait for each other: what is asked before them is asked before both.
type private Meeting(store: ISessionStore) =
    inherit ForwardingStore(store)
    let mutable waiting: TaskCompletionSource option = None
    let gate = obj ()

    let meet () =
        lock gate (fun () ->
            match waiting with
            | Some first ->
                waiting <- None
                first.SetResult()
                Task.CompletedTask
            | None ->
                let first = TaskCompletionSource TaskCreationOptions.RunContinuationsAsynchronously
                waiting <- Some first
                first.Task)

    override _.Insert(record, cancel) =
        ValueTask<WriteResult>(
            task =
                task {
                    do! meet ()
                    return! store.Insert(record, cancel)
                }
        )

    /// A sign-in to a session that is there.
    override _.Replace(record, expected, cancel) =
        ValueTask<WriteResult>(
            task =
                task {
                    if record.Kind <> RecordKind.Ended then
                        do! meet ()

                    return! store.Replace(record, expected, cancel)
                }
        )

let private withEngine: Test list =
    [ testTask "9 no lost update: a write whose answer is lost counts once, taken or not" {
          let engine = engineWith (Forgetful(Late(MemoryStore()))) settings
          let! created = engine.Create(Token.newId, ada, [| 0uy |], none)
          let mutable opened = ok created

          for _ in 1..20 do
              let! answer = engine.Update(opened, (fun data -> Ok [| data[0] + 1uy |]), none)
              opened <- ok answer

          let! found = engine.Find(opened.Snapshot.Id, none)

          match ok found |> Option.bind (fun snapshot -> Lifecycle.liveOf snapshot.State) with
          | Some live -> Expect.equal (live.Data, live.Revision) ([| 20uy |], 21L) "each once"
          | None -> failtest "the session is gone"
      }

      testTask "3 time and version only grow: the version grows by one with each write" {
          let engine = engineWith (Late(MemoryStore())) settings
          let! created = engine.Create(Token.newId, ada, [| 0uy |], none)
          let opened = ok created
          Expect.equal opened.Snapshot.Version 1L "at first"

          for i in 2L .. 9L do
              let! answer = engine.Update(opened, Ok, none)
              Expect.equal (ok answer).Snapshot.Version i "the next"
      }

      testTask "9 no lost update: 100 parallel updates all count" {
          let engine = engineWith (Late(MemoryStore())) settings
          let! created = engine.Create(Token.newId, ada, [| 0uy |], none)
          let opened = ok created

          let! answers =
              [ for _ in 1..100 ->
                    Task.Run<Result<Opened, SessionError>>(fun () ->
                        engine.Update(opened, (fun data -> Ok [| data[0] + 1uy |]), none)) ]
              |> Task.WhenAll

          for answer in answers do
              ok answer |> ignore

          let! found = engine.Find(opened.Snapshot.Id, none)

          match ok found |> Option.bind (fun snapshot -> Lifecycle.liveOf snapshot.State) with
          | Some live ->
              Expect.equal live.Data [| 100uy |] "the sum"
              Expect.equal live.Revision 101L "the revision"
          | None -> failtest "the session is gone"

      }

      testTask "9 no lost update: of two saves of the same reading one is a conflict" {
          let engine = engineWith (Late(MemoryStore())) settings
          let! created = engine.Create(Token.newId, ada, [| 0uy |], none)
          let opened = ok created
          let! first = engine.Save(opened, [| 1uy |], none)
          let! second = engine.Save(opened, [| 2uy |], none)
          Expect.isOk first "the first"
          Expect.equal second (Error SessionError.Conflict) "the second"
      }

      testTask "6 no resurrection: saves and updates in parallel with a sign-out never bring it back" {
          for _ in 1..50 do
              let engine = engineWith (Late(MemoryStore())) settings
              let! created = engine.Create(Token.newId, ada, [| 0uy |], none)
              let opened = ok created

              let update () : Task = engine.Update(opened, (fun data -> Ok [| data[0] + 1uy |]), none)

              let signOut () : Task = engine.SignOut(opened, none)

              do! [ for i in 1..12 -> Task.Run(if i = 6 then signOut else update) ] |> Task.WhenAll

              let! found = engine.Find(opened.Snapshot.Id, none)
              Expect.equal (ok found) None "it is over"
              let! late = engine.Update(opened, Ok, none)
              Expect.isError late "a late update"
      }

      testTask "6 no resurrection: a write to a record that was removed meanwhile is refused, and creates none" {
          let store = Late(MemoryStore()) :> ISessionStore
          let engine = engineWith store settings
          let! created = engine.Create(Token.newId, ada, [| 0uy |], none)
          let opened = ok created
          do! store.Remove(opened.Snapshot.Id, none)
          let! save = engine.Save(opened, [| 1uy |], none)
          let! update = engine.Update(opened, Ok, none)
          let! signIn = engine.SignIn(opened, "ada", [| 1uy |], none)
          let! regenerate = engine.Regenerate(opened, none)
          let! signOut = engine.SignOut(opened, none)

          for answer in [ save; update; signIn; regenerate ] do
              Expect.equal answer (Error SessionError.NoSession) "refused"

          Expect.equal signOut (Error SessionError.NoSession) "nothing to end"
          let! count = store.Count none
          Expect.equal count 0L "none"
      }

      testTask "11 nothing from strangers: another secret, another id and another key open nothing" {
          let store = Late(MemoryStore())
          let engine = engineWith store settings
          let! created = engine.Create(Token.newId, ada, [||], none)
          let! other = engine.Create(Token.newId, ada, [||], none)
          let text = (ok created).Issued.Value.Reveal()
          let parse (hasher: SecretHasher) (text: string) = (Token.tryParse hasher (text.AsSpan())).Value
          let mixed = (ok created).Snapshot.Id + (ok other).Issued.Value.Reveal().Substring 22
          let! guessed = engine.Present(parse engine.Hasher mixed, true, none)
          Expect.equal guessed (Error(SessionError.Refused Guess)) "the secret of another session"
          let! unknown = engine.Present(parse engine.Hasher (Token.newId () + text.Substring 22), true, none)
          Expect.equal unknown (Error SessionError.NoSession) "an unknown id"
          let keyed = engineWith store { settings with ServerKey = ServerKeys(Array.create 32 7uy) }
          let! foreign = keyed.Present(parse keyed.Hasher text, true, none)
          Expect.equal foreign (Error(SessionError.Refused Guess)) "under another key"
          let! mine = engine.Present(parse engine.Hasher text, true, none)
          Expect.isOk mine "the token itself"
      }

      testTask "11 nothing from strangers: server keys are copied, and one that is wiped then is no key of zeros" {
          let key (first: byte) = Array.init 32 (fun i -> first + byte i)
          let mine, former = key 1uy, [ key 50uy; key 100uy ]
          let store = MemoryStore()
          let engineOf keys = engineWith store { settings with ServerKey = keys }
          let engine = engineOf (ServerKeys(mine, former))
          Array.Clear mine

          for old in former do
              Array.Clear old

          for own, isOpen in [ key 1uy, true; key 50uy, true; key 100uy, true; Array.zeroCreate 32, false ] do
              let! created = (engineOf (ServerKeys own)).Create(Token.newId, ada, [||], none)
              let text = (ok created).Issued.Value.Reveal()
              let! found = engine.Present((Token.tryParse engine.Hasher (text.AsSpan())).Value, false, none)
              Expect.equal (Result.isOk found) isOpen $"the key that begins with {own[0]}"
      }

      testTask "5 no fixation: a sign-out from before the sign-in is refused, and the session stays as it is" {
          let store = Late(MemoryStore()) :> ISessionStore
          let engine = engineWith store settings
          let! created = engine.Create(Token.newId, None, [| 0uy |], none)
          let before = ok created
          let! signedIn = engine.SignIn(before, "ada", [| 1uy |], none)
          let! stored = store.Load((ok signedIn).Snapshot.Id, none)
          let! signOut = engine.SignOut(before, none)
          Expect.isError signOut "from before the sign-in"
          let! found = store.Load((ok signedIn).Snapshot.Id, none)
          Expect.equal ((nonNull found).Body.ToArray()) ((nonNull stored).Body.ToArray()) "the record"
      }

      testTask "7 a refusal changes nothing: the record stays as it is, byte for byte" {
          let store = Late(MemoryStore()) :> ISessionStore
          let engine = engineWith store settings
          let! created = engine.Create(Token.newId, None, [| 0uy |], none)
          let text = (ok created).Issued.Value.Reveal()
          let parse (text: string) = (Token.tryParse engine.Hasher (text.AsSpan())).Value
          let! present = engine.Present(parse text, true, none)
          let opened = ok present
          let id = opened.Snapshot.Id
          let! signedIn = engine.SignIn(opened, "ada", [| 1uy |], none)
          let now = ok signedIn
          let! other = engine.Create(Token.newId, ada, [||], none)
          let! before = store.Load(id, none)

          let! guess = engine.Present(parse (id + (ok other).Issued.Value.Reveal().Substring 22), true, none)
          let! outdated = engine.Present(parse text, true, none)
          let! save = engine.Save(opened, [| 2uy |], none)
          let! update = engine.Update(opened, (fun _ -> Ok [| 3uy |]), none)
          let! large = engine.Save(now, Array.zeroCreate 1001, none)
          let! largeSignIn = engine.SignIn(now, "bob", Array.zeroCreate 1001, none)
          let! failing = engine.Update(now, (fun _ -> Error SessionError.NoSession), none)
          let! regenerate = engine.Regenerate(opened, none)
          let! unknown = engine.Present(parse (Token.newId () + text.Substring 22), true, none)

          for refused in
              [ guess
                outdated
                save
                update
                large
                largeSignIn
                failing
                regenerate
                unknown ] do
              Expect.isError refused "refused"

          let! after = store.Load(id, none)

          let facts (record: StoredRecord | null) =
              (nonNull record).Version, (nonNull record).Body.ToArray(), (nonNull record).LastSeen

          Expect.equal (facts after) (facts before) "the record"
          let! count = store.Count none
          Expect.equal count 2L "and no other session began"
      }

      testTask
          "10 renewal keeps the session: the next token is issued to whom it is due, and where a response can carry it" {
          let clock = Microsoft.Extensions.Time.Testing.FakeTimeProvider(t0)
          let store = Late(MemoryStore())

          let rotating =
              { settings with
                  Policy = { settings.Policy with OnReplay = RefuseToken } }

          let engine = SessionEngine(store, rotating, clock, NullLogger.Instance, silent)

          let present (text: string) mayIssue : Task<Result<Opened, SessionError>> =
              engine.Present((Token.tryParse engine.Hasher (text.AsSpan())).Value, mayIssue, none).AsTask()

          let! created = engine.Create(Token.newId, None, [| 7uy |], none)
          let first = (ok created).Issued.Value.Reveal()
          let! (confirmed: Result<Opened, SessionError>) = present first true
          Expect.isNone (ok confirmed).Issued "none is due"
          clock.Advance(minutes 2)
          let! (late: Result<Opened, SessionError>) = present first false
          Expect.equal ((ok late).Issued, (ok late).Snapshot.State.IsActive) (None, true) "no response to carry it"
          let! (due: Result<Opened, SessionError>) = present first true
          let second = (ok due).Issued.Value
          Expect.equal second.Id (ok created).Snapshot.Id "the same session"
          let! (renewed: Result<Opened, SessionError>) = present (second.Reveal()) true
          let live = (ok renewed).Live
          Expect.equal (live.Data, live.CreatedAt, live.Revision) ([| 7uy |], t0, 1L) "and all that is in it"
          // Long after its grace, and when the next one is due: a thief has the old one.
          clock.Advance(minutes 3)
          let! replay = present first true
          Expect.equal replay (Error(SessionError.Refused Outdated)) "the old token"
          let! (found: Result<Snapshot option, SessionError>) = engine.Find(second.Id, none)
          Expect.isTrue (ok found).Value.State.IsActive "no renewal began with it"
          let! (next: Result<Opened, SessionError>) = present (second.Reveal()) true
          Expect.isSome (ok next).Issued "the holder gets the next one"
      }

      testTask
          "16 one decoder: a record that was tampered with, or of another session, opens nothing and stays as it is" {
          let store = Late(MemoryStore()) :> ISessionStore
          let engine = engineWith store settings
          let! created = engine.Create(Token.newId, ada, [| 0uy |], none)
          let! other = engine.Create(Token.newId, ada, [| 0uy |], none)
          let token = (ok created).Issued.Value
          let parse (text: string) = (Token.tryParse engine.Hasher (text.AsSpan())).Value
          let! mine = store.Load(token.Id, none)
          let! theirs = store.Load((ok other).Snapshot.Id, none)
          let mine, theirs = nonNull mine, nonNull theirs
          let flipped = mine.Body.ToArray()
          flipped[flipped.Length / 2] <- flipped[flipped.Length / 2] ^^^ 1uy
          let mutable version = mine.Version

          for body in [ flipped; theirs.Body.ToArray(); [||]; mine.Body.ToArray() ] do
              let changed =
                  StoredRecord(
                      mine.Id,
                      version + 1L,
                      mine.Kind,
                      mine.LastSeen,
                      mine.DueAt,
                      mine.Subject,
                      mine.Operation,
                      ReadOnlyMemory body,
                      false
                  )

              let! written = store.Replace(changed, version, none)
              Expect.equal written WriteResult.Written "the attacker writes"
              version <- version + 1L
              let! presented = engine.Present(parse (token.Reveal()), true, none)

              match presented with
              | Error(SessionError.Unreadable _) -> ()
              | answer -> failtestf "opened: %A" answer

              let! found = engine.Find(token.Id, none)
              Expect.notEqual (found |> Result.map Option.isSome) (Ok true) "no session"
              let! after = store.Load(token.Id, none)
              Expect.equal ((nonNull after).Body.ToArray()) body "as it is"
      }

      testTask "14 destroy is total: a throwing event handler stops nothing" {
          let throwing =
              { new INoticeBoard with
                  member _.Post _ = invalidOp "a handler of the application failed" }

          let engine = SessionEngine(Late(MemoryStore()), settings, TimeProvider.System, NullLogger.Instance, throwing)
          let! created = engine.Create(Token.newId, ada, [||], none)
          let id = (ok created).Snapshot.Id
          let! first = engine.Destroy(id, Revoked, none)
          let! again = engine.Destroy(id, Revoked, none)
          let! never = engine.Destroy("nobody", Revoked, none)
          let! found = engine.Find(id, none)
          Expect.equal (first, again, never) (Ok true, Ok false, Ok false) "the answers"
          Expect.equal (ok found) None "it is over"
      }

      testTask "everybody: every session of everybody is ended, over several pages, and stops when it is told to" {
          let engine = engineWith (Late(MemoryStore())) settings

          for i in 1..450 do
              let! created = engine.Create(Token.newId, (if i % 3 = 0 then None else Some $"user {i % 7}"), [||], none)
              ok created |> ignore

          let stopped = new CancellationTokenSource()
          stopped.Cancel()
          let mutable wasStopped = false

          try
              let! _ = engine.DestroyEvery(Revoked, stopped.Token)
              ()
          with :? OperationCanceledException ->
              wasStopped <- true

          Expect.isTrue wasStopped "cancelled"
          let! ended = engine.DestroyEvery(Revoked, none)
          Expect.equal ended (Ok 450) "all"
          let! again = engine.DestroyEvery(Revoked, none)
          Expect.equal again (Ok 0) "none is left"
      }

      testTask "15 destroy all is all: 450 sessions of a subject on two nodes, and none of another" {
          let store = Late(MemoryStore())
          let engine, node = engineWith store settings, engineWith store settings

          for i in 1..450 do
              let! created = (if i % 2 = 0 then engine else node).Create(Token.newId, ada, [||], none)
              ok created |> ignore

          let! bob = engine.Create(Token.newId, Some "bob", [||], none)
          let! (before: Result<Snapshot list, SessionError>) = engine.List("ada", none)
          let kept = (ok before).Head.Id
          let! most = node.DestroyAll("ada", Some kept, Revoked, none)
          Expect.equal most (Ok 449) "all but one"
          let! (one: Result<Snapshot list, SessionError>) = engine.List("ada", none)
          Expect.equal (ok one |> List.map _.Id) [ kept ] "the one"
          let! last = engine.DestroyAll("ada", None, Revoked, none)
          Expect.equal last (Ok 1) "the last"
          let! (left: Result<Snapshot list, SessionError>) = node.List("ada", none)
          Expect.isEmpty (ok left) "none is left"
          let! (bobs: Result<Snapshot list, SessionError>) = engine.List("bob", none)
          Expect.equal (ok bobs |> List.map _.Id) [ (ok bob).Snapshot.Id ] "the other subject's"
      }

      testTask "15 destroy all is all: no sign-in acknowledged before it lives, whatever runs in parallel" {
          for _ in 1..20 do
              let store = Late(MemoryStore())
              let engine = engineWith store settings

              let! created = [ for _ in 1..10 -> engine.Create(Token.newId, None, [||], none) ] |> Task.WhenAll

              let sessions = created |> Array.map ok
              let! _ = [ for opened in sessions[..4] -> engine.SignIn(opened, "ada", [||], none) ] |> Task.WhenAll

              let late =
                  [ for opened in sessions[5..] ->
                        Task.Run<Result<Opened, SessionError>>(fun () -> engine.SignIn(opened, "ada", [||], none)) ]

              let! ended = engine.DestroyAll("ada", None, Revoked, none)
              let! _ = Task.WhenAll late
              Expect.isGreaterThanOrEqual (ok ended) 5 "those before"

              for opened in sessions[..4] do
                  let! found = engine.Find(opened.Snapshot.Id, none)
                  Expect.equal (ok found) None "begun before"
      }

      testTask "15 destroy all is all: with a limit of 3, no acknowledged sign-in leaves more than 3" {
          for _ in 1..10 do
              let engine = engineWith (Late(MemoryStore())) { settings with MaxSessionsPerSubject = Some 3 }

              for _ in 1..5 do
                  let! created = engine.Create(Token.newId, ada, [||], none)
                  ok created |> ignore
                  let! (found: Result<Snapshot list, SessionError>) = engine.List("ada", none)
                  Expect.isLessThanOrEqual (ok found).Length 3 "one after the other"

              let! _ =
                  [ for _ in 1..12 ->
                        Task.Run<Result<Opened, SessionError>>(fun () -> engine.Create(Token.newId, ada, [||], none)) ]
                  |> Task.WhenAll

              let! (found: Result<Snapshot list, SessionError>) = engine.List("ada", none)
              Expect.isLessThanOrEqual (ok found).Length 3 "all at once"
      }

      testTask "15 destroy all is all: where a limit of 1 refuses, two nodes at once let in 1 at most" {
          for _ in 1..5 do
              let store = Meeting(Late(MemoryStore()))
              let limited = limitedTo 1 RefuseNew
              let nodes = [| engineWith store limited; engineWith store limited |]

              let! (answers: Result<Opened, SessionError> array) =
                  [ for node in nodes ->
                        Task.Run<Result<Opened, SessionError>>(fun () -> node.Create(Token.newId, ada, [||], none)) ]
                  |> Task.WhenAll

              let! (found: Result<Snapshot list, SessionError>) = nodes[0].List("ada", none)
              let letIn = answers |> Array.filter Result.isOk |> Array.length
              Expect.isLessThanOrEqual (ok found).Length 1 "live"
              Expect.equal letIn (ok found).Length "who was let in is in"
      }

      testTask "18 outcomes are true: of a sign-in that a limit takes back nobody hears that nothing has changed" {
          for whenReached in [ RefuseNew; EndOldest ] do
              let mutable takenBack = 0

              for _ in 1..10 do
                  let inner = Late(MemoryStore())
                  let limited = limitedTo 1 whenReached
                  let before = engineWith inner limited
                  let! created = [ for _ in 1..2 -> before.Create(Token.newId, None, [||], none) ] |> Task.WhenAll
                  let store = Meeting inner

                  let! answers =
                      [ for session in created ->
                            let node = engineWith store limited

                            Task.Run<Result<Opened, SessionError>>(fun () -> node.SignIn(ok session, "ada", [||], none)) ]
                      |> Task.WhenAll

                  for session, answer in Array.zip created answers do
                      let! found = before.Find((ok session).Snapshot.Id, none)

                      match answer with
                      | Ok _ -> ()
                      | Error error when SessionError.outcome error = NothingChanged ->
                          Expect.isSome (ok found) $"nothing has changed, it says: {error}"
                      | Error error ->
                          Expect.equal error (SessionError.LimitExceeded 1) "why"
                          Expect.isNone (ok found) "the session is over"
                          takenBack <- takenBack + 1

              Expect.isGreaterThan takenBack 0 $"{whenReached}: sign-ins that were taken back"
      } ]

let all seed = testList "with an engine" [ yield! ofSteps |> List.map (Invariants.ofEvery seed); yield! withEngine ]

/// How many histories a property was asked of; 1 for those that are asked once.
let casesOf (name: string) =
    if List.contains name (List.map fst ofSteps) then Invariants.histories else Invariants.casesOf name
