/// What the engine says and does when stores fail, forget, answer late or answer twice, and when handlers call back. The
/// faults come at random from a seed: each kind of operation meets each kind of fault at each of its steps.
module Properties.EngineFaults

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

let private none = CancellationToken.None

/// What becomes of one write.
type private Fate =
    | Fine
    /// No answer, and it was taken; it was lost; it arrives when another write has come, or later.
    | UnknownTaken
    | UnknownLost
    | UnknownLate
    /// An exception, and it was taken; it was lost.
    | ThrowsTaken
    | ThrowsLost
    /// The store says no to it.
    | Refused
    /// Taken, but not kept as widely as it has to be.
    | NotAcknowledged

let private fates =
    [| Fine
       UnknownTaken
       UnknownLost
       UnknownLate
       ThrowsTaken
       ThrowsLost
       Refused
       NotAcknowledged |]

/// A store whose writes have the fates that `next` gives them, one after another.
type private Faulty(inner: ISessionStore, next: unit -> Fate) =
    inherit ForwardingStore(inner)
    let late = Queue<unit -> Task>()

    let arrive () =
        task {
            while late.Count > 0 do
                do! late.Dequeue () ()
        }

    let write (send: unit -> ValueTask<WriteResult>) =
        ValueTask<WriteResult>(
            task =
                task {
                    let fate = next ()

                    match fate with
                    | UnknownLate ->
                        late.Enqueue(fun () ->
                            task {
                                let! _ = send ()
                                ()
                            })

                        return WriteResult.Unknown
                    | UnknownLost -> return WriteResult.Unknown
                    | ThrowsLost -> return raise (InvalidOperationException "lost")
                    | Refused -> return raise (StoreRefusedException("refused", null))
                    | Fine
                    | UnknownTaken
                    | ThrowsTaken
                    | NotAcknowledged ->
                        // Those that were on their way come first: they are older.
                        do! arrive ()
                        let! result = send ()

                        match fate, result with
                        | UnknownTaken, _ -> return WriteResult.Unknown
                        | ThrowsTaken, _ -> return raise (InvalidOperationException "taken, and no answer")
                        | NotAcknowledged, WriteResult.Written -> return WriteResult.Unacknowledged
                        | _, result -> return result
                }
        )

    member _.Arrive() = arrive ()
    override _.Insert(record, cancel) = write (fun () -> inner.Insert(record, cancel))
    override _.Replace(record, expected, cancel) = write (fun () -> inner.Replace(record, expected, cancel))

let private dataOf (found: Result<Snapshot option, SessionError>) =
    match ok found |> Option.bind (fun session -> Lifecycle.liveOf session.State) with
    | Some live -> Some(int live.Data[0])
    | None -> None

let private opens (engine: SessionEngine) (token: IssuedToken) =
    task {
        let presented = (Token.tryParse engine.Hasher (token.Reveal().AsSpan())).Value
        let! (answer: Result<Opened, SessionError>) = engine.Present(presented, false, none)
        return answer.IsOk
    }

/// An engine on a store that has its faults, and one on the same records without any: the judge.
let private pair (settings: EngineSettings) clock next =
    let memory = MemoryStore()
    let faulty = Faulty(memory, next)

    faulty,
    SessionEngine(faulty, settings, clock, NullLogger.Instance, silent),
    SessionEngine(memory, settings, clock, NullLogger.Instance, silent)

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

let private hangs =
    { new INoticeBoard with
        member _.Post _ = ValueTask(TaskCompletionSource().Task) }

/// Takes the calls that `isSlow` chooses a while.
type private Slow(store: ISessionStore, delay: TimeSpan) =
    inherit ForwardingStore(store)

    let late (answer: unit -> ValueTask<'a>) =
        ValueTask<'a>(
            task =
                task {
                    do! Task.Delay delay
                    return! answer ()
                }
        )

    override _.Load(id, cancel) = late (fun () -> store.Load(id, cancel))
    override _.Replace(record, expected, cancel) = late (fun () -> store.Replace(record, expected, cancel))

    override _.BySubject(subject, after, limit, cancel) =
        late (fun () -> store.BySubject(subject, after, limit, cancel))

/// Fails what it is told to fail.
type private Failing(store: ISessionStore) =
    inherit ForwardingStore(store)
    member val Lists = true with get, set
    member val Loads = true with get, set
    member val Broken: string option = None with get, set
    member val Replaced = 0 with get, set

    override failing.Load(id, cancel) =
        if failing.Loads then store.Load(id, cancel) else raise (TimeoutException "no answer")

    override failing.Replace(record, expected, cancel) =
        failing.Replaced <- failing.Replaced + 1

        if failing.Broken = Some record.Id then
            raise (TimeoutException "no answer")
        else
            store.Replace(record, expected, cancel)

    override failing.BySubject(subject, after, limit, cancel) =
        if failing.Lists then store.BySubject(subject, after, limit, cancel) else raise (TimeoutException "no answer")

[<Sealed>]
type private Lines() =
    let lines = List<string>()
    member _.Count = lock lines (fun () -> lines.Count)
    member _.Last = lock lines (fun () -> lines[lines.Count - 1])

    interface ILogger with
        member _.BeginScope _ = null
        member _.IsEnabled _ = true
        member _.Log(_, _, state, error, format) = lock lines (fun () -> lines.Add(format.Invoke(state, error)))

/// As a request asks for it: what waits for its turn shares a write.
let private update (engine: SessionEngine) (from: Opened, change: byte[] -> Result<byte[], SessionError>, cancel) =
    task {
        let change data = change data |> Result.map (fun data -> struct (data, ()))

        match! engine.Requests.Update(from, change, engine.NewErrand(), cancel) with
        | Reply.Done(struct (opened, ())) -> return Ok opened
        | Reply.Failed error
        | Reply.Partly(_, error) -> return Error error
    }

/// Nodes with other keys: one cannot read what the other has written.
let private keys (key: byte) =
    { new IRecordProtector with
        member _.Protect record = Array.append [| key |] record
        member _.Unprotect stored = if stored[0] = key then stored[1..] else null }

let private within (limit: TimeSpan) (work: Task<'a>) : Task<'a> = work.WaitAsync limit

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

      testTask "waiting: one request waits for all its operations no longer than its limit, and what it says is true" {
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

      testTask "sign-in: stored, and the limit cannot be counted: its token is handed over with the failure" {
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

      testTask "sign-in: whoever signs in again in a session of their own needs no room for another" {
          let one = limitedTo 1 RefuseNew
          let engine = engineWith (MemoryStore()) one
          let! created = engine.Create(Token.newId, Some "ada", [||], none)
          let! again = engine.SignIn(ok created, "ada", [| 1uy |], none)
          Expect.isOk again "their own"
          let! another = engine.Create(Token.newId, Some "ada", [||], none)
          Expect.isError another "another"
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

let all = testList "faults" [ testList "at random" storms; testList "one by one" cases ]
