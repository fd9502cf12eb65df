/// What is said of an operation whose write is shared, given up or overtaken, of a data size at its limit, of a session that
/// changed while a long request ran, and of a token when the store cannot be asked.
module Properties.Outcomes

open System
open System.Collections.Generic
open System.Reflection
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.Extensions.Logging.Abstractions
open Microsoft.Extensions.Time.Testing
open Session.Domain
open Session.Engine
open Properties.Engines
open Properties.Histories

let private none = CancellationToken.None

let private after (work: unit -> Task<'answer>) : ValueTask<'answer> = ValueTask<'answer>(task = work ())

/// What becomes of the n-th replacement of a record; the first is 1.
[<Sealed>]
type private Replacing(store: ISessionStore, fate: int -> (unit -> ValueTask<WriteResult>) -> Task<WriteResult>) =
    inherit ForwardingStore(store)
    let mutable calls = 0

    override _.Replace(record, expected, cancel) =
        let call = Interlocked.Increment &calls
        after (fun () -> fate call (fun () -> store.Replace(record, expected, cancel)))

/// A store that is there, or not.
[<Sealed>]
type private Switched(store: ISessionStore) =
    inherit ForwardingStore(store)
    member val IsThere = true with get, set

    override it.Load(id, cancel) = if it.IsThere then store.Load(id, cancel) else raise (TimeoutException "no answer")

let private add (data: byte[]) = Ok(struct ([| data[0] + 1uy |], ()))

let private update (engine: SessionEngine) (from: Opened) cancel =
    engine.Requests.Update(from, add, engine.NewErrand(), cancel)

let private begin' (engine: SessionEngine) =
    task {
        let! created = engine.Create(Token.newId, Some "ada", [| 0uy |], none)
        return ok created
    }

let private dataOf (engine: SessionEngine) (id: string) =
    task {
        let! found = engine.Find(id, none)
        return (Lifecycle.liveOf (ok found).Value.State).Value.Data
    }

let private secretOf (engine: SessionEngine) (opened: Opened) =
    (Token.tryParse engine.Hasher (opened.Issued.Value.Reveal().AsSpan())).Value.Hash

/// The first write is held until somebody waits behind it; `second` is what becomes of the one that they share.
let private sharing second =
    let isTaken = TaskCompletionSource TaskCreationOptions.RunContinuationsAsynchronously
    let mayGo = TaskCompletionSource TaskCreationOptions.RunContinuationsAsynchronously

    let fate call (send: unit -> ValueTask<WriteResult>) =
        task {
            if call = 1 then
                isTaken.SetResult()
                do! mayGo.Task

            return! if call = 2 then second send else (send ()).AsTask()
        }

    Replacing(MemoryStore(), fate), isTaken.Task, mayGo.SetResult

let private waiting =
    [ testTask "18 outcomes are true: who shares a write that is stored and not confirmed hears of that" {
          let unconfirmed (send: unit -> ValueTask<WriteResult>) =
              task {
                  let! _ = send ()
                  return WriteResult.Unacknowledged
              }

          let store, isTaken, go = sharing unconfirmed
          let engine = engineWith store settings
          let! opened = begin' engine
          let first = update engine opened none
          do! isTaken
          let others = [ for _ in 1..3 -> update engine opened none ]
          go ()
          let! _ = first

          for other in others do
              match! other with
              | Reply.Partly(_, (SessionError.Unacknowledged _ as error)) ->
                  Expect.equal (SessionError.outcome error) Changed "what is said"
              | _ -> failtest "told as confirmed"

          let! data = dataOf engine opened.Snapshot.Id
          Expect.equal data [| 4uy |] "each once"
      }

      testTask "18 outcomes are true: who gives up while the write that it shares is under way cannot know" {
          let isSent = TaskCompletionSource TaskCreationOptions.RunContinuationsAsynchronously
          let mayGo = TaskCompletionSource TaskCreationOptions.RunContinuationsAsynchronously

          let slow (send: unit -> ValueTask<WriteResult>) =
              task {
                  isSent.SetResult()
                  do! mayGo.Task
                  return! send ()
              }

          let store, isTaken, go = sharing slow
          let engine = engineWith store settings
          let! opened = begin' engine
          let first = update engine opened none
          do! isTaken
          let givesUp = new CancellationTokenSource()
          let other: Task<Reply<_>> = update engine opened givesUp.Token
          go ()
          let! _ = first
          do! isSent.Task.WaitAsync(TimeSpan.FromSeconds 20L)
          givesUp.Cancel()

          match! other.WaitAsync(TimeSpan.FromSeconds 20L) with
          | Reply.Failed(SessionError.Unsure _ as error) ->
              Expect.equal (SessionError.outcome error) MayHaveChanged "what is said"
          | _ -> failtest "nobody can tell"

          mayGo.SetResult()
          // Behind what was under way.
          let! last = update engine opened none

          match last with
          | Reply.Done _ -> ()
          | _ -> failtest "the session goes on"

          let! data = dataOf engine opened.Snapshot.Id
          Expect.equal data [| 3uy |] "and it was stored"
      }

      testTask "18 outcomes are true: who gives up before its turn has changed nothing" {
          let store, isTaken, go = sharing (fun send -> (send ()).AsTask())
          let engine = engineWith store settings
          let! opened = begin' engine
          let first = update engine opened none
          do! isTaken
          let givesUp = new CancellationTokenSource()
          let other: Task<Reply<_>> = update engine opened givesUp.Token
          givesUp.Cancel()
          let! (gaveUp: Task) = Task.WhenAny(other :> Task, Task.Delay(TimeSpan.FromSeconds 20L))
          Expect.isTrue gaveUp.IsCanceled "at once"
          go ()
          let! _ = first
          let! data = dataOf engine opened.Snapshot.Id
          Expect.equal data [| 1uy |] "the first alone"
      } ]

let private overtaken =
    [ testTask "9 no lost update: a write that never arrived, and that another came before, is decided again" {
          let memory = MemoryStore()
          let there = engineWith memory settings
          let! opened = begin' there

          let fate call (send: unit -> ValueTask<WriteResult>) =
              task {
                  if call > 1 then
                      return! send ()
                  else
                      // Lost on its way, and another node is faster than the next attempt.
                      let! other = there.Update(opened, (fun _ -> Ok [| 10uy |]), none)
                      ok other |> ignore
                      return WriteResult.Unknown
              }

          let here = engineWith (Replacing(memory, fate)) settings
          let! answer = here.Update(opened, (fun data -> Ok [| data[0] + 1uy |]), none)
          Expect.isOk answer "whose version another write has it cannot arrive any more"
          let! data = dataOf there opened.Snapshot.Id
          Expect.equal data [| 11uy |] "both count"
      }

      testTask "9 no lost update: a write that may have arrived, and been overwritten, is decided no second time" {
          let memory = MemoryStore()
          let there = engineWith memory settings
          let! opened = begin' there

          let fate call (send: unit -> ValueTask<WriteResult>) =
              task {
                  let! result = send ()

                  if call > 1 then
                      return result
                  else
                      let! other = there.Update(opened, (fun data -> Ok [| data[0] + 10uy |]), none)
                      ok other |> ignore
                      return WriteResult.Unknown
              }

          let here = engineWith (Replacing(memory, fate)) settings
          let! answer = here.Update(opened, (fun data -> Ok [| data[0] + 1uy |]), none)

          match answer with
          | Error(SessionError.Unsure _) -> ()
          | answer -> failtestf "%A" answer

          let! data = dataOf there opened.Snapshot.Id
          Expect.equal data [| 11uy |] "once"
      } ]

let private sizes =
    [ for size, isStored in [ settings.MaxDataBytes, true; settings.MaxDataBytes + 1, false ] ->
          testTask $"{size} bytes where {settings.MaxDataBytes} may be: every way of writing says the same" {
              let engine = engineWith (MemoryStore()) settings
              let! opened = begin' engine
              let data: byte[] = Array.zeroCreate size
              let said answer = Expect.equal (Result.isOk answer) isStored
              let! (updated: Result<Opened, SessionError>) = engine.Update(opened, (fun _ -> Ok data), none)
              said updated "update"

              let! (byId: Result<unit, SessionError>) =
                  task {
                      let! answer = engine.UpdateById(opened.Snapshot.Id, (fun _ -> Ok(struct (data, ()))), none)

                      return Result.map ignore answer
                  }

              said byId "update by id"
              let! (reloaded: Result<Opened option, SessionError>) = engine.Reload(opened, none)
              let! (saved: Result<Opened, SessionError>) = engine.Save((ok reloaded).Value, data, none)
              said saved "save"
              let! (reloaded: Result<Opened option, SessionError>) = engine.Reload(opened, none)
              let! (signedIn: Result<Opened, SessionError>) = engine.SignIn((ok reloaded).Value, "ada", data, none)
              said signedIn "sign-in"
              let! (created: Result<Opened, SessionError>) = engine.Create(Token.newId, None, data, none)
              said created "create"
          } ]

let private long =
    [ testTask "a long request does not see what an elevation elsewhere has made of its session" {
          let engine = engineWith (MemoryStore()) settings
          let! opened = begin' engine
          let! elsewhere = engine.Regenerate(opened, none)
          ok elsewhere |> ignore
          let! answer = engine.Requests.Reload(opened, engine.NewErrand(), none)
          Expect.equal answer (Error(SessionError.Refused Outdated)) "its token is dead"
      } ]

/// Asked when the headers of a response are written.
let private asked =
    [ testTask "where the store cannot be asked, the token of a renewal stays back, and a new session's is handed over" {
          let store = Switched(MemoryStore())
          let engine = engineWith store settings
          let! opened = begin' engine
          let id, secret = opened.Snapshot.Id, secretOf engine opened

          let ask () =
              task {
                  let! mayHand = engine.Requests.MayHand(id, secret, engine.NewErrand())
                  let! stands = engine.Requests.Stands(id, secret, engine.NewErrand())
                  return mayHand, stands
              }

          let! answers = ask ()
          Expect.equal answers (true, true) "the store is there"
          store.IsThere <- false
          let! answers = ask ()

          Expect.equal
              answers
              (false, true)
              "the old token of a renewal works on; every other one of an elevation is dead"
      }

      testTask "where the store cannot be asked, nobody is said to be without a new session, and no cookie is taken" {
          let store = Switched(MemoryStore())
          let engine = engineWith store settings
          let! opened = begin' engine
          let! ended = engine.SignOut(opened, none)
          ok ended |> ignore
          let ask () = engine.Requests.IsLeftAlone(opened.Snapshot.Id, secretOf engine opened, engine.NewErrand())
          let! isLeft = ask ()
          Expect.isTrue isLeft "the store is there"
          store.IsThere <- false
          let! isLeft = ask ()
          Expect.isFalse isLeft "nobody can tell"
      } ]

/// A store of the application's that can do what it has to, and nothing besides.
let private bare (plain: ForwardingStore) =
    { new ISessionStore with
        member _.Prepare cancel = plain.Prepare cancel
        member _.Insert(record, cancel) = plain.Insert(record, cancel)
        member _.Load(id, cancel) = plain.Load(id, cancel)
        member _.Replace(record, expected, cancel) = plain.Replace(record, expected, cancel)
        member _.Touch(id, at, cancel) = plain.Touch(id, at, cancel)
        member _.Remove(id, cancel) = plain.Remove(id, cancel)
        member _.BySubject(subject, after, limit, cancel) = plain.BySubject(subject, after, limit, cancel)
        member _.Enumerate(after, limit, cancel) = plain.Enumerate(after, limit, cancel)
        member _.Count cancel = plain.Count cancel
        member _.ClaimOverdue(now, lease, limit, cancel) = plain.ClaimOverdue(now, lease, limit, cancel)
        member _.Reschedule(id, version, dueAt, cancel) = plain.Reschedule(id, version, dueAt, cancel) }

/// A store that removes by id alone is asked what it has before.
let private removing =
    [ testTask "a tombstone is removed from a store without RemoveVersion, and what began in its place is not" {
          for same in [ true; false ] do
              let memory = MemoryStore() :> ISessionStore
              let plain = ForwardingStore(memory)

              let byIdAlone = bare plain
              let engine = engineWith memory settings
              let! opened = begin' engine
              let! found = memory.Load(opened.Snapshot.Id, none)
              let found = nonNull found

              // Of the same version, by another operation: begun under the same id since.
              let named =
                  if same then
                      found
                  else
                      StoredRecord(
                          found.Id,
                          found.Version,
                          found.Kind,
                          found.LastSeen,
                          found.DueAt,
                          found.Subject,
                          found.Operation + 1L,
                          found.Body
                      )

              do! SessionStore.removeVersion byIdAlone named none
              let! left = memory.Load(opened.Snapshot.Id, none)
              Expect.equal (isNull left) same "this very record, and no other"
      }

      testTask "a store that loads one by one is asked for sixteen at a time, by itself and within another one" {
          let memory = MemoryStore() :> ISessionStore
          let ids = [| for n in 1..40 -> $"s{n}" |]

          for id in ids do
              let record = StoredRecord(id, 1L, RecordKind.Live, t0, t0, null, 1L, ReadOnlyMemory [| 1uy |])
              let! _ = memory.Insert(record, none)
              ()

          let gate, asked, most = obj (), ref 0, ref 0

          let counted change =
              lock gate (fun () ->
                  asked.Value <- asked.Value + change
                  most.Value <- max most.Value asked.Value)

          let slow =
              { new ForwardingStore(memory) with
                  override _.Load(id, cancel) =
                      counted 1

                      ValueTask<StoredRecord | null>(
                          task =
                              task {
                                  do! Task.Delay 20
                                  counted -1
                                  return! memory.Load(id, cancel)
                              }
                      ) }

          for store in [ bare slow; ForwardingStore(bare slow) :> ISessionStore ] do
              let wanted = Array.append ids [| "nobody" |]
              let! (records: Collections.Generic.IReadOnlyList<StoredRecord>) = SessionStore.loadMany store wanted none
              let found = [| for record in records -> record.Id |]
              Expect.equal (Array.sort found) (Array.sort ids) "all that there are"
              Expect.isLessThanOrEqual most.Value 16 "others need the store as well"
      } ]

/// What fails, or gives up, stands in nobody's way.
let private inNobodysWay =
    [ testTask "a change that throws when it is decided again holds up nobody" {
          let memory = MemoryStore()
          let there = engineWith memory settings
          let! opened = begin' there

          let fate call (send: unit -> ValueTask<WriteResult>) =
              task {
                  if call = 1 then
                      let! other = there.Update(opened, (fun _ -> Ok [| 100uy |]), none)
                      ok other |> ignore

                  return! send ()
              }

          let here = engineWith (Replacing(memory, fate)) settings
          let picky (data: byte[]) = if data[0] = 100uy then invalidOp "not this one" else Ok [| 1uy |]
          let mutable said = ""

          try
              let! _ = here.Update(opened, picky, none)
              ()
          with :? InvalidOperationException as error ->
              said <- error.Message

          Expect.equal said "not this one" "it has failed by itself"
          let! next = (here.Update(opened, (fun _ -> Ok [| 2uy |]), none)).WaitAsync(TimeSpan.FromSeconds 20L)
          Expect.isOk next "and the next one has its turn"
      }

      testTask "a turn goes to nobody who has given up waiting for it" {
          let clock, turn = FakeTimeProvider t0, Turn()
          Expect.isTrue (turn.TryTake()) "the first"
          let late = turn.Take(TimeSpan.FromSeconds 1L, clock)
          clock.Advance(TimeSpan.FromSeconds 1L)
          let! isLate = late
          Expect.isFalse isLate "it did not come in time"
          turn.Leave()
          Expect.isTrue (turn.TryTake()) "it is free"
      }

      testTask "a session that is over and not swept takes no place under a limit that refuses" {
          let clock = FakeTimeProvider t0

          let one =
              { settings with
                  MaxSessionsPerSubject = Some 1
                  WhenLimitReached = RefuseNew }

          let engine = SessionEngine(MemoryStore(), one, clock, NullLogger.Instance, silent)
          let! _ = begin' engine
          let! second = engine.Create(Token.newId, Some "ada", [| 0uy |], none)
          Expect.equal second (Error(SessionError.LimitReached 1)) "while it lives"
          clock.Advance settings.Policy.Idle
          let! third = engine.Create(Token.newId, Some "ada", [| 0uy |], none)
          Expect.isOk third "and when it is over"
      }

      testTask "of many sessions one that cannot be read keeps none of the others back" {
          let memory = MemoryStore() :> ISessionStore
          let quick = engineWith memory settings
          let mutable n = 0

          let next () =
              n <- n + 1
              $"s{n}"

          for _ in 1..40 do
              let! created = quick.Create(next, None, [| 0uy |], none)
              ok created |> ignore

          let broken =
              { new ForwardingStore(memory) with
                  override _.LoadMany(_, _) = raise (TimeoutException "no answer")

                  override _.Load(id, cancel) =
                      if id = "s1" then raise (TimeoutException "no answer") else memory.Load(id, cancel) }

          let look = (engineWith broken settings).Look [| for n in 1..40 -> $"s{n}" |]
          let! (found: Collections.Generic.Dictionary<string, Result<Snapshot, SessionError>>) = look
          let unread = [ for it in found |> Seq.filter (fun it -> it.Value.IsError) -> it.Key ]
          Expect.equal (found.Count, unread) (40, [ "s1" ]) "all but one"
      }

      testTask "a request's operations have their time together" {
          let clock = FakeTimeProvider t0

          let waits =
              { WaitLimits.Default with
                  RequestTimeout = TimeSpan.FromSeconds 5L
                  Timer = clock }

          let errand = Errand waits

          for _ in 1..3 do
              let slow = TaskCompletionSource<int>()
              let waiting = errand.Await(ValueTask<int> slow.Task)
              clock.Advance(TimeSpan.FromSeconds 1.5)
              slow.SetResult 1
              let! _ = waiting
              errand.Pause()
              // What the application does between costs nothing.
              clock.Advance(TimeSpan.FromSeconds 60L)

          Expect.equal errand.Left (TimeSpan.FromSeconds 0.5) "what is left"
      } ]

/// Kept as widely as it has to be before it is acknowledged: what takes a token's power away.
let private lasting =
    [ testTask "sign-ins, elevations, renewals and ends are to last; what is lost with a node otherwise is not" {
          let memory, lasts = MemoryStore() :> ISessionStore, Collections.Generic.List<bool>()

          let watched =
              { new ForwardingStore(memory) with
                  override _.Insert(record, cancel) =
                      lasts.Add record.IsDurable
                      memory.Insert(record, cancel)

                  override _.Replace(record, expected, cancel) =
                      lasts.Add record.IsDurable
                      memory.Replace(record, expected, cancel) }

          let clock = FakeTimeProvider t0
          let engine = SessionEngine(watched, settings, WaitLimits.Default, clock, NullLogger.Instance, silent)
          let! anonymous = engine.Create(Token.newId, None, [| 0uy |], none)

          let present (opened: Opened) =
              let token = (Token.tryParse engine.Hasher (opened.Issued.Value.Reveal().AsSpan())).Value
              engine.Present(token, true, none)

          let! confirmed = present (ok anonymous)
          ok confirmed |> ignore
          clock.Advance settings.Policy.RotateEvery.Value
          let! renewed = present (ok anonymous)
          let! arrived = present (ok renewed)
          let! elevated = engine.Regenerate(ok arrived, none)
          let! updated = engine.Update(ok elevated, Ok, none)
          let! signedIn = engine.SignIn(ok updated, "ada", [| 0uy |], none)
          let! another = engine.Create(Token.newId, Some "ada", [| 0uy |], none)
          ok another |> ignore
          let! ended = engine.SignOut(ok signedIn, none)
          ok ended |> ignore

          let expected =
              [ "created", false
                "confirmed", false
                "renewed", true
                "its token has arrived", false
                "elevated", true
                "updated", false
                "signed in", true
                "another one", true
                "ended", true ]

          Expect.equal (List.ofSeq lasts) (List.map snd expected) $"%A{List.map fst expected}"
      }

      testTask "the end of what this node cannot read is an end only when it is stored" {
          let memory = MemoryStore() :> ISessionStore

          let key (first: byte) =
              { new IRecordProtector with
                  member _.Protect record = Array.append [| first |] record
                  member _.Unprotect stored = if stored[0] = first then stored[1..] else null }

          let lost call (send: unit -> ValueTask<WriteResult>) =
              task { if call = 1 then return WriteResult.Unknown else return! send () }

          let there = engineWith memory { settings with Protector = key 2uy }
          let here = engineWith (Replacing(memory, lost)) { settings with Protector = key 1uy }
          let! opened = begin' there
          let! ended = here.DestroyAll("ada", None, Revoked, none)
          Expect.equal ended (Ok 1) "said to be ended"
          let! found = here.Find(opened.Snapshot.Id, none)
          Expect.isNone (ok found) "and its tombstone is there"
      }

      testTask "what has ended before an operation was given up is told all the same" {
          let told = Collections.Generic.List<string>()
          let givesUp = new CancellationTokenSource()

          let board =
              { new INoticeBoard with
                  member _.Post notice =
                      match notice.Kind with
                      | DestroyedNotice _ -> told.Add notice.Id
                      | _ -> ()

                      ValueTask.CompletedTask }

          let ending call (send: unit -> ValueTask<WriteResult>) =
              task {
                  let! result = send ()

                  if call = 2 then
                      givesUp.Cancel()

                  return result
              }

          let store = Replacing(MemoryStore(), ending)
          let engine = SessionEngine(store, settings, TimeProvider.System, NullLogger.Instance, board)

          for _ in 1..4 do
              let! _ = begin' engine
              ()

          let mutable isGivenUp = false

          try
              let! _ = engine.DestroyAll("ada", None, Revoked, givesUp.Token)
              ()
          with :? OperationCanceledException ->
              isGivenUp <- true

          Expect.isTrue isGivenUp "given up"
          Expect.equal told.Count 2 "the two that have ended"
      } ]

let private walks =
    [ testTask "a walk through the sessions in this process begins with those of now, whatever became of the one before" {
          let store = MemoryStore() :> ISessionStore
          let engine = engineWith store settings
          let create id = engine.Create((fun () -> id), None, [| 0uy |], none)

          for id in [ "a"; "b"; "c" ] do
              let! created = create id
              ok created |> ignore

          let! page = store.Enumerate(null, 2, none)
          Expect.isNotNull page.Next "broken off"
          let! created = create "d"
          ok created |> ignore
          let! page = store.Enumerate(null, 10, none)
          Expect.equal [ for record in page.Records -> record.Id ] [ "a"; "b"; "c"; "d" ] "all of them"
      } ]

/// Notes within whose transaction it is asked, at once and when it has waited.
[<Sealed>]
type private Enlisting(store: ISessionStore) =
    inherit ForwardingStore(store)
    let asked = System.Collections.Concurrent.ConcurrentQueue<string>()
    let joined = System.Collections.Concurrent.ConcurrentQueue<string>()

    let note (verb: string) =
        try
            if not (isNull System.Transactions.Transaction.Current) then
                joined.Enqueue verb
        with :? InvalidOperationException ->
            joined.Enqueue verb

    let watch verb (ask: unit -> ValueTask<'a>) =
        asked.Enqueue verb
        note verb

        after (fun () ->
            task {
                do! Task.Delay 1
                note verb
                return! ask ()
            })

    let watchDone verb (ask: unit -> ValueTask) =
        ValueTask(
            task =
                (watch verb (fun () ->
                    after (fun () ->
                        task {
                            do! ask ()
                            return ()
                        })))
                    .AsTask()
        )

    member _.Asked = List.ofSeq asked
    member _.Joined = List.ofSeq joined
    override _.Prepare cancel = watch "prepare" (fun () -> store.Prepare cancel)
    override _.Insert(record, cancel) = watch "insert" (fun () -> store.Insert(record, cancel))
    override _.Load(id, cancel) = watch "load" (fun () -> store.Load(id, cancel))
    override _.Replace(record, expected, cancel) = watch "replace" (fun () -> store.Replace(record, expected, cancel))
    override _.Touch(id, at, cancel) = watchDone "touch" (fun () -> store.Touch(id, at, cancel))
    override _.Remove(id, cancel) = watchDone "remove" (fun () -> store.Remove(id, cancel))

    override it.RemoveVersion(id, version, operation, cancel) =
        watchDone "remove version" (fun () -> it.HandOn(id, version, operation, cancel))

    override _.BySubject(subject, after, limit, cancel) =
        watch "by subject" (fun () -> store.BySubject(subject, after, limit, cancel))

    override _.Enumerate(after, limit, cancel) = watch "enumerate" (fun () -> store.Enumerate(after, limit, cancel))
    override _.Count cancel = watch "count" (fun () -> store.Count cancel)

    override _.ClaimOverdue(now, lease, limit, cancel) =
        watch "claim" (fun () -> store.ClaimOverdue(now, lease, limit, cancel))

    override _.Reschedule(id, version, dueAt, cancel) =
        watchDone "reschedule" (fun () -> store.Reschedule(id, version, dueAt, cancel))

    override _.LoadMany(ids, cancel) = watch "load many" (fun () -> SessionStore.loadMany store ids cancel)
    override it.Publish(ids, cancel) = watchDone "publish" (fun () -> it.HandOn(ids, cancel))
    override it.Subscribe(heard, cancel) = watch "subscribe" (fun () -> it.HandOn(heard, cancel))

    member private _.HandOn(id, version, operation, cancel) : ValueTask =
        base.RemoveVersion(id, version, operation, cancel)

    member private _.HandOn(ids, cancel) : ValueTask = base.Publish(ids, cancel)

    member private _.HandOn(heard: Action<string | null>, cancel) : ValueTask<IAsyncDisposable> =
        base.Subscribe(heard, cancel)

/// But for those that are within a transaction because the application asks for it.
let private verbsApart =
    let own = BindingFlags.Public ||| BindingFlags.Instance ||| BindingFlags.DeclaredOnly

    typeof<ForwardingStore>.GetMethods(own)
    |> Array.filter (fun it -> it.IsVirtual && not it.IsFinal && not it.IsSpecialName && it.Name <> "Join")
    |> Array.map _.Name
    |> Array.distinct

let private scope () =
    new System.Transactions.TransactionScope(
        System.Transactions.TransactionScopeOption.Required,
        System.Transactions.TransactionScopeAsyncFlowOption.Enabled
    )

/// A TransactionScope of the application's, which its drivers of databases join by themselves.
let private apart =
    [ testTask
          "18 outcomes are true: what is acknowledged within a transaction of the application's is none of its writes" {
          let store = Enlisting(MemoryStore())
          let clock = FakeTimeProvider t0

          let engine = SessionEngine(store, settings, WaitLimits.Default, clock, NullLogger.Instance, silent)

          let transaction = scope ()
          let! opened = begin' engine
          let! _ = update engine opened none
          let! found = engine.Find(opened.Snapshot.Id, none)
          Expect.isOk found "read"
          let! _ = engine.List("ada", none)
          let! (looked: Dictionary<string, Result<Snapshot, SessionError>>) = engine.Look [| opened.Snapshot.Id |]
          Expect.equal looked.Count 1 "looked at"
          clock.Advance(TimeSpan.FromMinutes 2.0)
          let text = opened.Issued.Value.Reveal()
          let! _ = engine.Present((Token.tryParse engine.Hasher (text.AsSpan())).Value, false, none)
          let! _ = engine.DestroyAll("ada", None, Revoked, none)
          let! _ = engine.DestroyEvery(Revoked, none)
          let! other = begin' engine
          let! _ = engine.SignOut(other, none)
          clock.Advance(TimeSpan.FromDays 2.0)
          let! _ = engine.Sweep(10, none)
          Expect.isEmpty store.Joined "no call to the store was within it"
          Expect.isNotNull System.Transactions.Transaction.Current "which goes on"

          // Between its completion and its end nobody may ask for it.
          transaction.Complete()
          let! later = begin' engine
          let! found = engine.Find(later.Snapshot.Id, none)
          Expect.isOk found "read"
          let! ended = engine.SignOut(later, none)
          Expect.isOk ended "and ended"
          Expect.isEmpty store.Joined "and nobody did"
          transaction.Dispose()
      }

      testTask "18 outcomes are true: no verb of a store is within a transaction of the application's" {
          for isComplete in [ false; true ] do
              let store = Enlisting(MemoryStore())
              let outside = ApartStore(store)
              let transaction = scope ()

              if isComplete then
                  transaction.Complete()

              let record version =
                  StoredRecord("a", version, RecordKind.Live, t0, t0, null, version, ReadOnlyMemory<byte>.Empty)

              let! _ = outside.Prepare none
              let! inserted = outside.Insert(record 1L, none)
              Expect.equal inserted WriteResult.Written "inserted"
              let! loaded = outside.Load("a", none)
              Expect.isNotNull loaded "loaded"
              let! many = outside.LoadMany([| "a" |], none)
              Expect.equal many.Count 1 "loaded with others"
              let! replaced = outside.Replace(record 2L, 1L, none)
              Expect.equal replaced WriteResult.Written "replaced"
              do! outside.Touch("a", t0, none)
              let! _ = outside.BySubject("ada", null, 10, none)
              let! _ = outside.Enumerate(null, 10, none)
              let! _ = outside.Count none
              let! _ = outside.ClaimOverdue(t0, TimeSpan.FromMinutes 1.0, 10, none)
              do! outside.Reschedule("a", 2L, t0, none)
              do! outside.Publish([| "a" |], none)
              let! subscription = outside.Subscribe(Action<string | null>(fun _ -> ()), none)
              do! subscription.DisposeAsync()
              do! outside.RemoveVersion("a", 2L, 2L, none)
              do! outside.Remove("a", none)
              Expect.isEmpty store.Joined "no call to the store was within it"
              Expect.hasLength (List.distinct store.Asked) verbsApart.Length "each of them was asked"
              transaction.Dispose()
      } ]

let all =
    testList "outcomes" (waiting @ overtaken @ sizes @ long @ asked @ removing @ inNobodysWay @ lasting @ walks @ apart)
