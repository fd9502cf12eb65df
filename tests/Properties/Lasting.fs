/// What a crash or a failover of the store leaves: of each record what had to last, and of what came after it as much as chance
/// has kept. Whoever has signed in is signed in then, with the token that they were given last, and whoever has left is out. And
/// what it costs that a renewal lasts: no request fails for it, and none waits for long.
module Properties.Lasting

open System
open System.Collections.Generic
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

/// Keeps of each record what a crash may leave. `acknowledges`: whether a write that is to last is kept as widely as that takes.
[<Sealed>]
type private Lossy(store: ISessionStore, chance: Random, acknowledges: unit -> bool) =
    inherit ForwardingStore(store)

    /// The last one that had to last, if there is one, and all after it: the newest first.
    let kept = Dictionary<string, StoredRecord option list>(StringComparer.Ordinal)

    let note (record: StoredRecord) result =
        if result <> WriteResult.Written then
            result
        else
            let isSafe = record.IsDurable && acknowledges ()
            let before = if isSafe then [] else kept.GetValueOrDefault(record.Id, [ None ])
            kept[record.Id] <- Some record :: before
            if record.IsDurable && not isSafe then WriteResult.Unacknowledged else result

    override _.Insert(record, cancel) =
        ValueTask<WriteResult>(
            task =
                task {
                    let! result = store.Insert(record, cancel)
                    return note record result
                }
        )

    override _.Replace(record, expected, cancel) =
        ValueTask<WriteResult>(
            task =
                task {
                    let! result = store.Replace(record, expected, cancel)
                    return note record result
                }
        )

    /// Lost like any other write that need not last.
    override _.Remove(id, cancel) =
        ValueTask(
            task =
                task {
                    do! store.Remove(id, cancel)

                    if kept.ContainsKey id then
                        kept[id] <- None :: kept[id]
                }
        )

    /// A primary that did not get as far, or a disk without the last moments.
    member _.Crash() =
        task {
            for KeyValue(id, records) in List.ofSeq kept do
                let left = records |> List.skip (chance.Next records.Length)
                do! store.Remove(id, none)

                match left.Head with
                | None -> ()
                | Some record ->
                    let! _ = store.Insert(record, none)
                    ()

                kept[id] <- left
        }

let private engineOf store settings (clock: FakeTimeProvider) log =
    SessionEngine(store, settings, { WaitLimits.Default with Timer = clock }, clock, log, silent)

let private tokenOf (engine: SessionEngine) (text: string) = (Token.tryParse engine.Hasher (text.AsSpan())).Value

/// A browser: the token that it was given last.
type private Client =
    { mutable Token: string
      mutable IsSignedIn: bool
      mutable Steps: string list }

/// `isMoving`: sessions begin in another store, and move to the one that crashes.
let private crashes name isAlwaysAcknowledged isMoving =
    testTask name {
        let mutable renewals, heldBack = 0, 0

        for seed in 1 .. (if isQuick then 40 else 400) do
            let chance, clock = Random seed, FakeTimeProvider t0
            let store = Lossy(MemoryStore(), chance, (fun () -> isAlwaysAcknowledged || chance.Next 3 > 0))

            let settings =
                { settings with
                    Policy =
                        { settings.Policy with
                            Idle = TimeSpan.FromHours 8.0
                            RotateEvery = Some(TimeSpan.FromMinutes 10L) } }

            let former = MemoryStore()

            let engine, beginning =
                if isMoving then
                    engineOf (MigratingStore(store, former)) settings clock NullLogger.Instance,
                    engineOf former settings clock NullLogger.Instance
                else
                    let engine = engineOf store settings clock NullLogger.Instance
                    engine, engine

            let clients = List<Client>()

            let present (client: Client) = engine.Present(tokenOf engine client.Token, true, none)

            /// What its answer carries, its cookie becomes.
            let take (client: Client) (opened: Opened) =
                opened.Issued
                |> Option.iter (fun token ->
                    client.Token <- token.Reveal()

                    if opened.IsRenewal then
                        renewals <- renewals + 1)

            let failed (client: Client) what =
                failtestf "seed %d: %s after %s" seed what (String.Join(", ", List.rev client.Steps))

            // None: it is told to come again, for what has not moved is not written to while the copy is not acknowledged.
            let mustOpen (client: Client) =
                task {
                    match! present client with
                    | Error(SessionError.Unavailable(:? StoreRefusedException)) when
                        isMoving && not isAlwaysAcknowledged
                        ->
                        return None
                    | Ok opened ->
                        match opened.Snapshot.State with
                        | Regenerated(_, Renewal.Issued(_, at)) when opened.Issued.IsNone && at = clock.GetUtcNow() ->
                            heldBack <- heldBack + 1
                        | _ -> ()

                        take client opened
                        return Some opened
                    | Error error -> return failed client $"signed out (%A{error})"
                }

            for _ in 1..40 do
                clock.Advance(TimeSpan.FromMinutes(float (chance.Next 9)))

                match chance.Next 8 with
                | 0 ->
                    match! beginning.Create(Token.newId, Some "ada", [| 0uy |], none) with
                    | Ok opened ->
                        clients.Add
                            { Token = opened.Issued.Value.Reveal()
                              IsSignedIn = true
                              Steps = [ "a sign-in" ] }
                    // Said to be perhaps undone, and so it may be.
                    | Error _ -> ()
                | 1 ->
                    do! store.Crash()

                    for client in clients do
                        client.Steps <- "a crash" :: client.Steps
                | _ when clients.Count = 0 -> ()
                | step ->
                    let client = clients[chance.Next clients.Count]

                    if client.IsSignedIn then
                        let! opened = mustOpen client
                        client.Steps <- "a request" :: client.Steps

                        match step, opened with
                        | _, None -> ()
                        | 2, Some opened ->
                            match! engine.Update(opened, (fun data -> Ok [| data[0] + 1uy |]), none) with
                            | Ok _ -> ()
                            | Error(SessionError.Unavailable(:? StoreRefusedException)) when isMoving -> ()
                            | Error error -> failed client $"not written to (%A{error})"
                        | 3, Some opened ->
                            match! engine.Regenerate(opened, none) with
                            | Ok elevated -> take client elevated
                            // Nothing was changed.
                            | Error(SessionError.Unavailable(:? StoreRefusedException)) -> ()
                            | Error _ -> clients.Remove client |> ignore

                            client.Steps <- "an elevation" :: client.Steps
                        | 4, Some opened when chance.Next 4 = 0 ->
                            match! engine.SignOut(opened, none) with
                            | Ok _ -> client.IsSignedIn <- false
                            | Error _ -> clients.Remove client |> ignore

                            client.Steps <- "a logout" :: client.Steps
                        | _ -> ()
                    else
                        match! present client with
                        | Ok _ -> failed client "signed in again"
                        | Error _ -> ()

        let least = if isQuick then 20 else 200
        Expect.isGreaterThan renewals least "tokens that were renewed"

        if not isAlwaysAcknowledged then
            Expect.isGreaterThan heldBack least "and not handed out"
    }

/// Its writes that are to last are answered when the test says so.
[<Sealed>]
type private Waiting(store: ISessionStore) =
    inherit ForwardingStore(store)
    let mutable asked = 0
    let held = HashSet<string>()
    member val Answer: Task<WriteResult> | null = null with get, set
    /// Whether nobody else writes to a record that is being written.
    member val Holds = false with get, set
    member _.Asked = asked

    override it.Insert(record, cancel) = it.Send(record, (fun () -> store.Insert(record, cancel)))
    override it.Replace(record, expected, cancel) = it.Send(record, (fun () -> store.Replace(record, expected, cancel)))

    /// Those are held until they are answered.
    override it.Touch(id, at, cancel) =
        match it.Answer with
        | NonNull answer when held.Contains id -> ValueTask(answer: Task)
        | _ -> store.Touch(id, at, cancel)

    member private it.Send(record: StoredRecord, send: unit -> ValueTask<WriteResult>) =
        match it.Answer with
        | NonNull answer when record.IsDurable ->
            asked <- asked + 1

            if it.Holds then
                held.Add record.Id |> ignore

            ValueTask<WriteResult> answer
        | _ -> send ()

let private silence () = TaskCompletionSource<WriteResult>().Task

/// What one request has: its own time for the store.
let private inRequest (engine: SessionEngine) (work: Errand -> Task<'answer>) =
    let errand = engine.NewErrand()

    task {
        let! answer = work errand
        return answer, errand.Left
    }

let private due (engine: SessionEngine) count =
    task {
        let opened = List<string>()

        for _ in 1..count do
            let! created = engine.Create(Token.newId, Some "ada", [| 0uy |], none)
            let token = (ok created).Issued.Value.Reveal()
            let! confirmed = engine.Present(tokenOf engine token, true, none)
            ok confirmed |> ignore
            opened.Add token

        return List.ofSeq opened
    }

/// So long is a renewal waited for.
let private moment = WaitLimits.Default.RequestTimeout / 2.0

/// Of the test: what waits for longer waits for ever.
let private patience = TimeSpan.FromSeconds 10.0

/// Without its renewal, though one is due.
let private goesOn (answer: Result<Opened, SessionError>) because = Expect.isNone (ok answer).Issued because

let private costs =
    [ testTask "a store that never acknowledges a renewal holds a request up for a moment, and others not at all" {
          let clock, store = FakeTimeProvider t0, Waiting(MemoryStore())
          let said = List<int>()

          let log =
              { new ILogger with
                  member _.BeginScope _ = null
                  member _.IsEnabled _ = true
                  member _.Log(_, id, _, _, _) = said.Add id.Id }

          let engine = engineOf store settings clock log
          let! tokens = due engine 3
          store.Holds <- true
          clock.Advance settings.Policy.RotateEvery.Value
          store.Answer <- silence ()

          let present (token: string) errand =
              engine.Presenting.Present(tokenOf engine token, clock.GetUtcNow(), true, errand, none).AsTask()

          let first = inRequest engine (present (List.head tokens))
          Expect.isFalse first.IsCompleted "it waits"
          clock.Advance(moment)
          let! answer, left = first.WaitAsync patience
          goesOn answer "and goes on with its own token"
          Expect.equal left WaitLimits.Default.RequestTimeout "with all of its time"

          for token in List.tail tokens do
              let others = inRequest engine (present token)
              Expect.isTrue others.IsCompleted "the others wait for nothing"
              let! answer, _ = others
              goesOn answer "and go on"

          Expect.equal store.Asked 1 "nor do they ask for it"
          Expect.equal (List.ofSeq said) [ 8 ] "which is said once, and nothing of a store that fails"

          // One tries again.
          clock.Advance(TimeSpan.FromMinutes 1.0)
          let trying = tokens |> List.map (fun token -> inRequest engine (present token))
          clock.Advance(moment)
          let! answers = (Task.WhenAll trying).WaitAsync patience

          for answer, _ in answers do
              goesOn answer "still"

          Expect.equal store.Asked 2 "one of them"

          store.Answer <- null
          clock.Advance(TimeSpan.FromMinutes 1.0)

          for token in tokens do
              let! answer, _ = inRequest engine (present token)
              Expect.isSome (ok answer).Issued "once it works they are renewed"

          Expect.equal (List.ofSeq said) [ 8 ] "and no more is said"

          // Of another time, it is.
          clock.Advance(TimeSpan.FromMinutes 10.0)
          store.Answer <- silence ()
          let later = inRequest engine (present (List.head tokens))
          clock.Advance(moment)
          let! answer, _ = later.WaitAsync patience
          goesOn answer "put off once more"
          Expect.equal (List.ofSeq said) [ 8; 8 ] "which is said again"
      }

      testTask "a store that refuses a renewal is said to fail, and no request fails for it" {
          let clock, memory = FakeTimeProvider t0, MemoryStore() :> ISessionStore
          let isFull, said = ref false, List<int>()

          let log =
              { new ILogger with
                  member _.BeginScope _ = null
                  member _.IsEnabled _ = true
                  member _.Log(_, id, _, _, _) = said.Add id.Id }

          let store =
              { new ForwardingStore(memory) with
                  override _.Replace(record, expected, cancel) =
                      if isFull.Value then
                          raise (StoreRefusedException("no room", null))
                      else
                          memory.Replace(record, expected, cancel) }

          let engine = engineOf store settings clock log
          let! tokens = due engine 1
          clock.Advance settings.Policy.RotateEvery.Value
          isFull.Value <- true
          let! answer = engine.Present(tokenOf engine (List.head tokens), true, none)
          goesOn answer "it goes on with its own token"
          Expect.equal (List.ofSeq said) [ 1; 8 ] "the store takes no writes, and renewals are put off"
      }

      testTask "who could not try leaves that to the next one" {
          let clock, store = FakeTimeProvider t0, Waiting(MemoryStore())
          let engine = engineOf store settings clock NullLogger.Instance
          let! tokens = due engine 2
          let! busy = engine.Present(tokenOf engine (List.head tokens), false, none)
          clock.Advance settings.Policy.RotateEvery.Value
          store.Answer <- silence ()
          let failing = engine.Present(tokenOf engine (List.last tokens), true, none).AsTask()
          clock.Advance moment
          let! answer = failing.WaitAsync patience
          goesOn answer "put off"

          // The record of the first is being written when it may be tried again.
          clock.Advance(TimeSpan.FromMinutes 1.0)
          let ending = TaskCompletionSource<WriteResult>()
          store.Answer <- ending.Task
          let elevating = engine.Regenerate(ok busy, none)
          let! answer = engine.Present(tokenOf engine (List.head tokens), true, none)
          goesOn answer "it does not wait for that"
          store.Answer <- null
          let! answer = engine.Present(tokenOf engine (List.last tokens), true, none)
          Expect.isSome (ok answer).Issued "the next one is renewed"
          ending.SetResult WriteResult.Unacknowledged
          let! elevated = elevating
          Expect.isError elevated "not acknowledged"
      }

      testTask "who has tried, and learnt nothing of renewals, leaves that to the next one, and to no more than one" {
          let clock, memory = FakeTimeProvider t0, MemoryStore() :> ISessionStore
          let isQuicker = ref false

          let overtaken =
              { new ForwardingStore(memory) with
                  // An operator is quicker.
                  override _.Replace(record, expected, cancel) =
                      ValueTask<WriteResult>(
                          task =
                              task {
                                  if isQuicker.Value then
                                      let operator = engineOf memory settings clock NullLogger.Instance
                                      let! ended = operator.Destroy(record.Id, Revoked, none)
                                      Expect.equal ended (Ok true) "ended"

                                  return! memory.Replace(record, expected, cancel)
                              }
                      ) }

          let store = Waiting overtaken
          let engine = engineOf store settings clock NullLogger.Instance
          let! tokens = due engine 4
          let present n = engine.Present(tokenOf engine (List.item n tokens), true, none).AsTask()
          clock.Advance settings.Policy.RotateEvery.Value
          store.Answer <- silence ()
          let failing = present 0
          clock.Advance moment
          let! answer = failing.WaitAsync patience
          goesOn answer "put off"

          // They may work again, and whoever tries finds its session ended.
          clock.Advance(TimeSpan.FromMinutes 1.0)
          store.Answer <- null
          isQuicker.Value <- true

          match! present 1 with
          | Error(SessionError.Ended _) -> ()
          | answer -> failtestf "let in: %A" answer

          isQuicker.Value <- false
          store.Answer <- silence ()
          let trying = present 2
          Expect.isFalse trying.IsCompleted "the next one tries"
          let other = present 3
          Expect.isTrue other.IsCompleted "and holds up no other"
          let! answer = other
          goesOn answer "which goes on"
          clock.Advance moment
          let! answer = trying.WaitAsync patience
          goesOn answer "they do not work"
          Expect.equal store.Asked 2 "the first and the last that has tried"
      }

      testTask
          "what a renewal waits for is none of the time of its request, and nobody is let in by what it has outdated" {
          let clock, inner = FakeTimeProvider t0, MemoryStore() :> ISessionStore
          let isHeld = ref false
          let loads = ref 0

          let store =
              { new ForwardingStore(inner) with
                  // A second each; and the second one, which follows the conflict, not before its time is over.
                  override _.Load(id, cancel) =
                      ValueTask<StoredRecord | null>(
                          task =
                              task {
                                  if isHeld.Value then
                                      loads.Value <- loads.Value + 1

                                      let wait =
                                          if loads.Value = 2 then TimeSpan.FromHours 1.0 else TimeSpan.FromSeconds 1.0

                                      do! Task.Delay(wait, clock)

                                  return! inner.Load(id, cancel)
                              }
                      )

                  // An operator is quicker.
                  override _.Replace(record, expected, cancel) =
                      ValueTask<WriteResult>(
                          task =
                              task {
                                  if isHeld.Value then
                                      let! ended =
                                          (engineOf inner settings clock NullLogger.Instance)
                                              .Destroy(record.Id, Revoked, none)

                                      Expect.equal ended (Ok true) "ended"

                                  return! inner.Replace(record, expected, cancel)
                              }
                      ) }

          let engine = engineOf store settings clock NullLogger.Instance
          let! tokens = due engine 1
          clock.Advance settings.Policy.RotateEvery.Value
          isHeld.Value <- true

          let presenting =
              inRequest engine (fun errand ->
                  engine.Presenting
                      .Present(tokenOf engine (List.head tokens), clock.GetUtcNow(), true, errand, none)
                      .AsTask())

          while not presenting.IsCompleted do
              clock.Advance(TimeSpan.FromMilliseconds 100.0)
              do! Task.Delay 1

          let! answer, left = presenting

          match answer with
          | Error(SessionError.Ended _) -> ()
          | _ -> failtestf "let in: %A" answer

          Expect.isGreaterThan left (TimeSpan.FromSeconds 2.0) "two loads of five seconds"
      }

      testTask "a renewal waits for no other write to its session" {
          let clock, store = FakeTimeProvider t0, Waiting(MemoryStore())
          let engine = engineOf store settings clock NullLogger.Instance
          let! tokens = due engine 1
          let token = tokenOf engine (List.head tokens)
          let! opened = engine.Present(token, false, none)
          clock.Advance settings.Policy.RotateEvery.Value
          let ending = TaskCompletionSource<WriteResult>()
          store.Answer <- ending.Task
          let elevating = engine.Regenerate(ok opened, none)
          Expect.isFalse elevating.IsCompleted "an elevation is under way"
          let presenting = engine.Present(token, true, none).AsTask()
          Expect.isTrue presenting.IsCompleted "and a request beside it is not held up"
          let! answer = presenting
          goesOn answer "it goes on with its own token"
          Expect.equal store.Asked 1 "and nothing more is written"
          ending.SetResult WriteResult.Unacknowledged
          let! elevated = elevating
          Expect.isError elevated "which was not acknowledged"
      }

      testTask "what begins elsewhere goes on here, though the store does not acknowledge its first renewal" {
          for answer in [ silence (); Task.FromResult WriteResult.Unacknowledged ] do
              let clock, store = FakeTimeProvider t0, Waiting(MemoryStore())
              let engine = engineOf store settings clock NullLogger.Instance
              let former = tokenOf engine (IssuedToken(Token.newId (), Secret.Mint()).Reveal())
              store.Answer <- answer

              let adopting =
                  inRequest engine (fun errand -> engine.Requests.Adopt(former, [| 7uy |], true, errand, none))

              clock.Advance(moment)

              match! adopting.WaitAsync patience with
              | Reply.Done opened, left ->
                  Expect.isNone opened.Issued "under what its client holds"
                  Expect.equal left WaitLimits.Default.RequestTimeout "with all the time of its request"
              | reply, _ -> failtestf "%A" reply
      }

      testTask "what begins elsewhere is told, and has a token of its own, also where none is renewed later" {
          for every in [ settings.Policy.RotateEvery; None ] do
              let here =
                  { settings with
                      Policy = { settings.Policy with RotateEvery = every } }

              let engine = engineOf (MemoryStore()) here (FakeTimeProvider t0) NullLogger.Instance
              let former = tokenOf engine (IssuedToken(Token.newId (), Secret.Mint()).Reveal())
              let errand = engine.NewErrand()

              match! engine.Requests.Adopt(former, [| 7uy |], true, errand, none) with
              | Reply.Done opened ->
                  Expect.isSome opened.Issued $"{every}: a token that follows from nothing"
                  Expect.equal (errand.TakeNews() |> List.map _.Kind) [ CreatedNotice ] "its beginning"

                  let! (answer: Result<Opened, SessionError>) =
                      engine.Present(tokenOf engine (opened.Issued.Value.Reveal()), false, none)

                  Expect.equal (ok answer).Live.Data [| 7uy |] "it opens"
              | reply -> failtestf "%A: %A" every reply
      } ]

let all =
    testList
        "what lasts"
        [ yield! costs
          crashes "18 outcomes are true: a crash signs nobody out and nobody in" true false
          crashes "18 outcomes are true: nor does one where what is to last is often not acknowledged" false false
          crashes "18 outcomes are true: nor a crash of the store that sessions move to" true true
          crashes "18 outcomes are true: nor one of it where what is to last is often not acknowledged" false true ]
