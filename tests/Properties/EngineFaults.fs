/// What the engine says and does when stores fail, forget, answer late or answer twice, and when handlers call back. The
/// faults come at random from a seed: each kind of operation meets each kind of fault at each of its steps.
module Properties.EngineFaults

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

let private seeds () = if isQuick then 60 else 400

/// Faults for three of four writes; the seed is in the message.
let private eachSeed name (story: Random -> (unit -> Fate) -> Task) =
    testTask name {
        for seed in 1 .. seeds () do
            let random = Random seed
            let next () = if random.Next 4 = 0 then Fine else fates[random.Next fates.Length]

            try
                do! story random next
            with error ->
                failtestf "seed %d: %s" seed error.Message
    }

let private storms =
    [ eachSeed
          "18 outcomes are true: an update counts as often as it is said to, whatever its writes meet"
          (fun _ next ->
              task {
                  let mutable isFaulty = false

                  let faulty, engine, judge =
                      pair settings TimeProvider.System (fun () -> if isFaulty then next () else Fine)

                  let! created = engine.Create(Token.newId, Some "ada", [| 0uy |], none)
                  let opened = ok created
                  isFaulty <- true
                  let mutable least, most = 0, 0

                  for _ in 1..4 do
                      let! answer = engine.Update(opened, (fun data -> Ok [| data[0] + 1uy |]), none)

                      match answer |> Result.mapError SessionError.outcome with
                      | Ok _
                      | Error Changed ->
                          least <- least + 1
                          most <- most + 1
                      | Error MayHaveChanged -> most <- most + 1
                      | Error NothingChanged -> ()

                  isFaulty <- false
                  do! faulty.Arrive()
                  let! found = judge.Find(opened.Snapshot.Id, none)
                  let count = dataOf found |> Option.get
                  Expect.isTrue (least <= count && count <= most) $"counted {count}, said {least} to {most}"
              })

      eachSeed "17 no crossed answer: a token that is handed out opens the session that is stored" (fun random next ->
          task {
              let clock = FakeTimeProvider t0
              let mutable isFaulty = false

              let rotating =
                  { settings with
                      Policy = { settings.Policy with OnReplay = RefuseToken } }

              let faulty, engine, judge = pair rotating clock (fun () -> if isFaulty then next () else Fine)
              let parse (token: IssuedToken) = (Token.tryParse engine.Hasher (token.Reveal().AsSpan())).Value
              let! created = engine.Create(Token.newId, None, [| 0uy |], none)
              let mutable token = (ok created).Issued.Value

              for _ in 1..6 do
                  clock.Advance(minutes 2)
                  isFaulty <- true

                  let! handed =
                      task {
                          match! engine.Present(parse token, true, none) with
                          | Error _ -> return None
                          | Ok opened when random.Next 3 = 0 ->
                              let! elevated = engine.Requests.Regenerate(opened, None, engine.NewErrand(), none)

                              match elevated with
                              | Reply.Done opened
                              | Reply.Partly(opened, _) -> return opened.Issued
                              // Its token may be stored, and nobody has it: the browser is told that nothing is sure.
                              | Reply.Failed(SessionError.Unsure _) -> return Some token
                              | Reply.Failed _ -> return opened.Issued
                          | Ok opened -> return opened.Issued
                      }

                  isFaulty <- false

                  match handed with
                  | Some next when not (obj.ReferenceEquals(next, token)) ->
                      let! isOpen = opens judge next
                      Expect.isTrue isOpen "the token that was handed out"
                      token <- next
                  | _ -> ()

                  do! faulty.Arrive()
          })

      eachSeed
          "18 outcomes are true: a session that is created, signed in to and ended is what its answers say"
          (fun _ next ->
              task {
                  let mutable isFaulty = true

                  let faulty, engine, judge =
                      pair settings TimeProvider.System (fun () -> if isFaulty then next () else Fine)

                  let mutable id = ""

                  let nextId () =
                      id <- Token.newId ()
                      id

                  let inner = engine.Requests
                  let! created = inner.Create(nextId, None, [| 0uy |], engine.NewErrand(), none)

                  match created with
                  | Reply.Failed error when SessionError.outcome error = NothingChanged ->
                      isFaulty <- false
                      do! faulty.Arrive()
                      let! found = judge.Find(id, none)
                      Expect.equal (ok found) None "refused, so there is none"
                  | Reply.Failed _ -> ()
                  | Reply.Done opened
                  | Reply.Partly(opened, _) ->
                      let! signedIn = inner.SignIn(opened, "ada", [| 1uy |], engine.NewErrand(), none)

                      match signedIn with
                      | Reply.Failed error when SessionError.outcome error = NothingChanged ->
                          isFaulty <- false
                          do! faulty.Arrive()
                          let! still = opens judge opened.Issued.Value
                          Expect.isTrue still "refused, so the token is what it was"
                      | Reply.Failed _ -> ()
                      | Reply.Done signedIn
                      | Reply.Partly(signedIn, _) ->
                          let! isOpen = opens judge signedIn.Issued.Value
                          Expect.isTrue isOpen "the new token"
                          let! wasOpen = opens judge opened.Issued.Value
                          Expect.isFalse wasOpen "the old one"
                          let! ended = engine.SignOut(signedIn, none)
                          isFaulty <- false
                          do! faulty.Arrive()
                          let! found = judge.Find(signedIn.Snapshot.Id, none)

                          match ended |> Result.mapError SessionError.outcome with
                          | Ok _
                          | Error Changed -> Expect.equal (ok found) None "ended"
                          | Error NothingChanged -> Expect.isSome (ok found) "not ended"
                          | Error MayHaveChanged -> ()
              }) ]

let private cases =
    [ testTask
          "handlers: one that ends and updates the session that it hears of hangs nobody, on a store that takes its time" {
          let store = Late(MemoryStore())
          let mutable engine: SessionEngine option = None

          let board =
              { new INoticeBoard with
                  member _.Post notice =
                      match notice.Kind, engine with
                      | ElevatedNotice, Some engine ->
                          ValueTask(
                              task =
                                  task {
                                      let! _ = engine.UpdateById(notice.Id, (fun data -> Ok(struct (data, ()))), none)

                                      let! _ = engine.Destroy(notice.Id, Revoked, none)
                                      ()
                                  }
                          )
                      | _ -> ValueTask.CompletedTask }

          let it = SessionEngine(store, settings, TimeProvider.System, NullLogger.Instance, board)
          engine <- Some it

          let one () : Task =
              task {
                  let! created = it.Create(Token.newId, Some "ada", [| 0uy |], none)
                  let opened = ok created
                  let updates = [ for _ in 1..4 -> it.Update(opened, (fun data -> Ok [| data[0] + 1uy |]), none) ]
                  let! _ = it.Regenerate(opened, none)
                  let! _ = Task.WhenAll updates
                  ()
              }

          do! Task.WhenAll([ for _ in 1..16 -> one () ]).WaitAsync(TimeSpan.FromSeconds 20L)
      }
      testTask "handlers: of two events of one operation the second is told when the first has been heard" {
          let heard = Collections.Concurrent.ConcurrentQueue<string>()
          let mutable isHeard = false

          let board =
              { new INoticeBoard with
                  member _.Post notice =
                      ValueTask(
                          task =
                              task {
                                  if isHeard then
                                      heard.Enqueue $"{notice.Id} begins"
                                      do! Task.Delay 20
                                      heard.Enqueue $"{notice.Id} ends"
                              }
                      ) }

          let engine = SessionEngine(MemoryStore(), settings, TimeProvider.System, NullLogger.Instance, board)

          for id in [ "a"; "b"; "c" ] do
              let! created = engine.Create((fun () -> id), Some "ada", [||], none)
              ok created |> ignore

          isHeard <- true
          let! ended = engine.DestroyAll("ada", None, Revoked, none)
          Expect.equal ended (Ok 3) "all"

          Expect.equal
              (List.ofSeq heard)
              [ for id in [ "a"; "b"; "c" ] do
                    $"{id} begins"
                    $"{id} ends" ]
              "one after another"
      }
      testTask "handlers: one that never returns holds up neither a sign-out nor the sweeper for longer than its limit" {
          let engine = impatient (MemoryStore()) settings (TimeSpan.FromMilliseconds 100.0) hangs
          let! created = within (TimeSpan.FromSeconds 10L) (engine.Create(Token.newId, Some "ada", [||], none))
          let! ended = within (TimeSpan.FromSeconds 10L) (engine.SignOut(ok created, none))
          Expect.isOk ended "ended"
      }
      testTask
          "handlers: one that takes seconds or a minute for an end by time is told once, and one that takes longer than ten minutes again" {
          for seconds, isAgain in [ 20, false; 45, false; 1800, true ] do
              let clock, heard = FakeTimeProvider t0, ref 0

              let slowly =
                  { new INoticeBoard with
                      member _.Post notice =
                          match notice.Kind with
                          | ExpiredNotice _ ->
                              heard.Value <- heard.Value + 1
                              ValueTask(Task.Delay(TimeSpan.FromSeconds(int64 seconds), clock))
                          | _ -> ValueTask.CompletedTask }

              let waits = { WaitLimits.Default with Timer = clock }
              let engine = SessionEngine(MemoryStore(), settings, waits, clock, NullLogger.Instance, slowly)
              let! created = engine.Create(Token.newId, Some "ada", [||], none)
              ok created |> ignore
              clock.Advance(settings.Policy.Idle)

              for _ in 1..6 do
                  let sweeping = engine.Sweep(100, none)

                  while not sweeping.IsCompleted do
                      do! Task.Delay 2
                      clock.Advance(TimeSpan.FromSeconds 1L)

                  let! _ = sweeping
                  clock.Advance(TimeSpan.FromMinutes 3L)

              Expect.equal (heard.Value > 1) isAgain $"{seconds} seconds"
      }
      testTask "outcomes: a write without an answer that another one has excluded leaves nothing unsure" {
          let memory = MemoryStore() :> ISessionStore
          let whole = engineWith memory settings
          let! created = whole.Create(Token.newId, Some "ada", [| 0uy |], none)
          let mutable writes = 0

          let overtaken =
              { new ForwardingStore(memory) with
                  override _.Replace(record, expected, cancel) =
                      writes <- writes + 1

                      if writes = 1 then
                          // Lost, and another node's comes first.
                          ValueTask<WriteResult>(
                              task =
                                  task {
                                      let! other = whole.Update(ok created, (fun _ -> Ok [| 100uy |]), none)
                                      Expect.isOk other "the other one"
                                      return WriteResult.Unknown
                                  }
                          )
                      else
                          memory.Replace(record, expected, cancel) }

          let decline (data: byte[]) = if data[0] = 100uy then Error SessionError.Conflict else Ok data
          let! answer = (engineWith overtaken settings).Update(ok created, decline, none)
          Expect.equal answer (Error SessionError.Conflict) "it declines, and nothing of it can come any more"
      }
      testTask "outcomes: a store that refuses a write has changed nothing, unless it was silent about one of before" {
          for isSilentFirst in [ false; true ] do
              let memory = MemoryStore() :> ISessionStore

              // What this node cannot read, and what an identity provider calls a session.
              let! _ = memory.Insert(StoredRecord("torn", 1L, RecordKind.Live, t0, t0, "ada", 1L, [| 255uy |]), none)
              let whole = engineWith memory settings
              let! created = whole.Create(Token.newId, None, [| 0uy |], none)
              let mutable writes = 0

              // A silent write may arrive when the engine has long said what became of it.
              let refuse () =
                  writes <- writes + 1

                  if isSilentFirst && writes = 1 then
                      ValueTask.FromResult WriteResult.Unknown
                  else
                      raise (StoreRefusedException("no room", null))

              let full =
                  { new ForwardingStore(memory) with
                      override _.Insert(_, _) = refuse ()
                      override _.Replace(_, _, _) = refuse () }

              let engine = engineWith full settings

              let outcomeOf (answer: Result<'a, SessionError>) =
                  writes <- 0

                  match answer with
                  | Ok _ -> failtest "nothing can be stored"
                  | Error(SessionError.Incomplete(_, _, error))
                  | Error error -> SessionError.outcome error

              let expected = if isSilentFirst then MayHaveChanged else NothingChanged
              let! updated = engine.Update(ok created, Ok, none)
              Expect.equal (outcomeOf updated) expected "a write of a session"
              let! ended = engine.DestroyAll("ada", None, Revoked, none)
              Expect.equal (outcomeOf ended) expected "the end of what cannot be read"

              let! left =
                  engine.EndExternal
                      { Issuer = "https://id.example.com"
                        SessionId = Some "theirs"
                        Subject = None
                        TokenId = "one"
                        TokenUntil = DateTimeOffset.MaxValue }

              Expect.equal (outcomeOf left) expected "the mark of a logout"
      }
      testTask
          "18 outcomes are true: a logout that is found stored is stored once more, for whoever has to acknowledge it" {
          // What the store says of each of its writes, all of which it has taken; the last also of those that follow.
          for answers, expected in
              [ [ WriteResult.Unknown; WriteResult.Written ], (2, true)
                [ WriteResult.Unknown; WriteResult.Unacknowledged ], (2, false)
                [ WriteResult.Unknown; WriteResult.Unknown; WriteResult.Written ], (3, true)
                // Not for ever, though it never says.
                [ WriteResult.Unknown ], (5, false) ] do
              let memory, durable = MemoryStore() :> ISessionStore, ref 0

              let unsure =
                  { new ForwardingStore(memory) with
                      override _.Replace(record, expected, cancel) =
                          ValueTask<WriteResult>(
                              task =
                                  task {
                                      let! result = memory.Replace(record, expected, cancel)

                                      if not record.IsDurable || result <> WriteResult.Written then
                                          return result
                                      else
                                          let answer = answers |> List.item (min durable.Value (answers.Length - 1))
                                          durable.Value <- durable.Value + 1
                                          return if durable.Value > 20 then WriteResult.Written else answer
                                  }
                          ) }

              let engine = engineWith unsure settings
              let! created = engine.Create(Token.newId, Some "ada", [||], none)
              let! ended = engine.SignOut(ok created, none)
              Expect.equal (durable.Value, Result.isOk ended) expected $"%A{answers}"
      }
      // A store that was written to by somebody else, or one whose clock has gone wrong: no deadline can be counted from that.
      testTask "a record that was seen at no possible time opens nothing, and keeps no sweep from the others" {
          let store, clock = MemoryStore() :> ISessionStore, FakeTimeProvider t0
          let engine = SessionEngine(store, settings, clock, NullLogger.Instance, silent)

          for seen in [ DateTimeOffset.MaxValue; DateTimeOffset.MaxValue.AddMinutes(-1.0) ] do
              let! created = engine.Create(Token.newId, Some "ada", [| 0uy |], none)
              let! beside = engine.Create(Token.newId, Some "ada", [| 0uy |], none)
              let opened, other = ok created, (ok beside).Snapshot.Id
              do! store.Touch(opened.Snapshot.Id, seen, none).AsTask()
              let text = opened.Issued.Value.Reveal()
              let token = (Token.tryParse engine.Hasher (text.AsSpan())).Value
              let! (answer: Result<Opened, SessionError>) = engine.Present(token, false, none)

              match answer with
              | Error(SessionError.Unreadable _) -> ()
              | Error error -> failtestf "%O: %A" seen error
              | Ok _ -> failtestf "%O: it opens" seen

              // It comes to both of them.
              clock.Advance settings.Policy.Idle
              let! _ = engine.Sweep(100, none)
              let! (swept: StoredRecord | null) = store.Load(other, none)
              Expect.equal (nonNull swept).Kind RecordKind.Ended $"{seen}: the other one is over"
              let! (ended: Result<int, SessionError>) = engine.DestroyAll("ada", None, Revoked, none)
              Expect.equal ended (Ok 1) $"{seen}: and this one can be ended"
      }
      testTask "a cancelled operation that has sent nothing changes nothing" {
          let memory = MemoryStore()
          let engine = engineWith memory settings
          let! created = engine.Create(Token.newId, Some "ada", [| 0uy |], none)
          let opened = ok created
          let! (before: StoredRecord | null) = (memory :> ISessionStore).Load(opened.Snapshot.Id, none)
          let source = new CancellationTokenSource()
          source.Cancel()
          let stopped = source.Token

          let operations: (string * (unit -> Task)) list =
              [ "create", (fun () -> engine.Create(Token.newId, None, [||], stopped))
                "update", (fun () -> engine.Update(opened, Ok, stopped))
                "save", (fun () -> engine.Save(opened, [| 1uy |], stopped))
                "sign in", (fun () -> engine.SignIn(opened, "bob", [||], stopped))
                "regenerate", (fun () -> engine.Regenerate(opened, stopped))
                "sign out", (fun () -> engine.SignOut(opened, stopped))
                "destroy", (fun () -> engine.Destroy(opened.Snapshot.Id, Revoked, stopped))
                "destroy all", (fun () -> engine.DestroyAll("ada", None, Revoked, stopped))
                "destroy every", (fun () -> engine.DestroyEvery(Revoked, stopped)) ]

          for name, operation in operations do
              let mutable wasStopped = false

              try
                  do! operation ()
              with :? OperationCanceledException ->
                  wasStopped <- true

              Expect.isTrue wasStopped name

          let! (after: StoredRecord | null) = (memory :> ISessionStore).Load(opened.Snapshot.Id, none)
          Expect.equal (nonNull after).Operation (nonNull before).Operation "the record"
      }
      testTask "9 no lost update: writers of one session in one process share their writes, each with its own outcome" {
          let store = Failing(Slow(MemoryStore(), TimeSpan.FromMilliseconds 1.0))
          let engine = engineWith store settings
          let! created = engine.Create(Token.newId, Some "ada", [| 0uy |], none)
          let opened = ok created
          store.Replaced <- 0

          let! (answers: Result<Opened, SessionError> array) =
              [ for i in 1..64 ->
                    update
                        engine
                        (opened,
                         (fun data -> if i % 8 = 0 then Error SessionError.InvalidSubject else Ok [| data[0] + 1uy |]),
                         none) ]
              |> Task.WhenAll

          for i in 1..64 do
              if i % 8 = 0 then
                  Expect.equal answers[i - 1] (Error SessionError.InvalidSubject) "its own refusal"
              else
                  Expect.isOk answers[i - 1] "stored"

          let! found = engine.Find(opened.Snapshot.Id, none)
          Expect.equal (dataOf found) (Some 56) "each once"
          Expect.isLessThan store.Replaced 16 "writes to the store"
      }
      testTask "9 no lost update: who shares a write, and saves later, has not read what the others have written" {
          let engine = engineWith (Slow(MemoryStore(), TimeSpan.FromMilliseconds 1.0)) settings
          let! created = engine.Create(Token.newId, Some "ada", [| 0uy |], none)
          let opened = ok created

          let! answers =
              [ for _ in 1..8 -> update engine (opened, (fun data -> Ok [| data[0] + 1uy |]), none) ]
              |> Task.WhenAll

          let mutable saved = 0

          for answer in answers do
              let mine = ok answer
              let! save = engine.Save(mine, [| mine.Live.Data[0] + 100uy |], none)

              match save with
              | Ok _ -> saved <- saved + 1
              | Error error -> Expect.equal error SessionError.Conflict "has read an older one"

          Expect.isLessThanOrEqual saved 1 "only the last one has read what is stored"
      }
      testTask
          "13 grace is the last: a token is judged as of the arrival of its request, and a reload asks for no token" {
          let clock = FakeTimeProvider t0
          let engine = SessionEngine(MemoryStore(), settings, clock, NullLogger.Instance, silent)
          let parse (token: IssuedToken) = (Token.tryParse engine.Hasher (token.Reveal().AsSpan())).Value
          let! created = engine.Create(Token.newId, None, [| 7uy |], none)
          let first = (ok created).Issued.Value
          let! (socket: Result<Opened, SessionError>) = engine.Present(parse first, true, none)
          clock.Advance(minutes 2)
          let slow = clock.GetUtcNow()
          let! (due: Result<Opened, SessionError>) = engine.Present(parse first, true, none)
          let second = (ok due).Issued.Value
          let! (confirmed: Result<Opened, SessionError>) = engine.Present(parse second, true, none)
          clock.Advance(minutes 2)
          // A body that took its time: its request came when the first token still was the one.
          let! late = engine.Presenting.Present(parse first, slow, false, engine.NewErrand(), none)
          Expect.equal late (Error(SessionError.Refused Outdated)) "refused, and no replay"
          let! again = engine.Reload(ok socket, none)
          Expect.isSome (ok again) "the socket's session goes on"
          let! (holder: Result<Opened, SessionError>) = engine.Present(parse second, false, none)
          Expect.isOk holder "and nobody is out"
          let! ended = engine.SignOut(ok confirmed, none)
          Expect.isOk ended "a sign-out"
          let! gone = engine.Reload(ok socket, none)
          Expect.isNone (ok gone) "is seen by the socket"
      }
      testTask
          "13 grace is the last: a request of the predecessor's gets no token and moves no deadline, whenever it asks" {
          let clock = FakeTimeProvider t0
          let engine = SessionEngine(MemoryStore(), settings, clock, NullLogger.Instance, silent)
          let parse (token: IssuedToken) = (Token.tryParse engine.Hasher (token.Reveal().AsSpan())).Value
          let! created = engine.Create(Token.newId, Some "ada", [| 7uy |], none)
          let first = (ok created).Issued.Value
          let! (_: Result<Opened, SessionError>) = engine.Present(parse first, true, none)
          clock.Advance(minutes 2)
          let! (due: Result<Opened, SessionError>) = engine.Present(parse first, true, none)
          let second = (ok due).Issued.Value
          let! (_: Result<Opened, SessionError>) = engine.Present(parse second, true, none)
          clock.Advance(TimeSpan.FromSeconds 20L)
          let! (thief: Result<Opened, SessionError>) = engine.Present(parse first, true, none)
          let thief = ok thief

          for wait in [ TimeSpan.Zero; minutes 5 ] do
              clock.Advance wait
              let! before = engine.Find(first.Id, none)
              let! written = engine.Update(thief, Ok, none)
              Expect.isOk written "it may write"
              let! after = engine.Find(first.Id, none)

              let seen (found: Result<Snapshot option, SessionError>) =
                  (Lifecycle.liveOf (ok found).Value.State).Value.LastSeen

              Expect.equal (seen after) (seen before) "and moves nothing"
              let! elevated = engine.Regenerate(thief, none)
              Expect.equal elevated (Error(SessionError.Refused Outdated)) "no token"
              let! signedIn = engine.SignIn(thief, "eve", [||], none)
              Expect.equal signedIn (Error(SessionError.Refused Outdated)) "no sign-in"
              let! holder = opens engine second
              Expect.isTrue holder "the owner is in"
      } ]

let all =
    testList
        "faults"
        [ testList "at random" storms
          testList "one by one" (cases @ EngineSignIns.all @ EngineEnds.all @ EngineOutages.all) ]
