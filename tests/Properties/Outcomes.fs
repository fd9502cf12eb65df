/// What is said of an operation whose write is shared, given up or overtaken, of a data size at its limit, of a session that
/// changed while a long request ran, and of a token when the store cannot be asked.
module Properties.Outcomes

open System
open System.Threading
open System.Threading.Tasks
open Expecto
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

/// A store that removes by id alone is asked what it has before.
let private removing =
    [ testTask "a tombstone is removed from a store without RemoveVersion, and what began in its place is not" {
          for same in [ true; false ] do
              let memory = MemoryStore() :> ISessionStore
              let plain = ForwardingStore(memory)

              let byIdAlone =
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
      } ]

let all = testList "outcomes" (waiting @ overtaken @ sizes @ long @ asked @ removing)
