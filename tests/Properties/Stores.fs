/// The engine on the memory store: concurrency, destroy all, limits, the sweeper, and the sentences of the port.
module Properties.Stores

open System
open System.Collections.Concurrent
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.Extensions.Logging.Abstractions
open Microsoft.Extensions.Time.Testing
open Session.Domain
open Session.Engine
open Properties.Histories

let private none = CancellationToken.None

let private settings =
    { Policy = policy
      MaxDataBytes = 1024
      MaxSessionsPerSubject = None
      ServerKey = null }

type private World(settings: EngineSettings, store: ISessionStore) =
    let clock = FakeTimeProvider t0
    let notices = ConcurrentQueue<Notice>()
    member val FailsToHear = false with get, set
    member _.Clock = clock
    member _.Notices = notices
    member _.Store = store

    member world.Engine =
        let board =
            { new INoticeBoard with
                member _.Post notice =
                    if world.FailsToHear then
                        raise (TimeoutException())

                    notices.Enqueue notice
                    ValueTask.CompletedTask }

        SessionEngine(store, settings, clock, NullLogger.Instance, board)

let private world () = World(settings, MemoryStore())

let private get (answer: Task<Result<'a, SessionError>>) : Task<'a> =
    task {
        match! answer with
        | Ok value -> return value
        | Error error -> return (failtestf "%A" error: 'a)
    }

let private token (engine: SessionEngine) (opened: Opened) =
    (Token.tryParse engine.Hasher (opened.Issued.Value.Reveal().AsSpan())).Value

let private create (engine: SessionEngine) subject = get (engine.Create(Token.newId, subject, [| 0uy |], none))

let private record id version kind (due: DateTimeOffset) (subject: string | null) =
    StoredRecord(id, version, kind, t0, due, subject, 1L, ReadOnlyMemory<byte> [| 1uy |])

let all =
    testList
        "engine and memory store"
        [ testCaseTask "9 no lost update: 100 parallel updates are all in the result" (fun () ->
              task {
                  let engine = world().Engine
                  let! opened = create engine None
                  let! first = get (engine.Present(token engine opened, false, none))

                  let! answers =
                      Task.WhenAll
                          [ for _ in 1..100 ->
                                Task.Run<Opened>(
                                    Func<Task<Opened>>(fun () ->
                                        get (engine.Update(first, (fun data -> [| data[0] + 1uy |]), none)))
                                ) ]

                  let! last = get (engine.Present(token engine opened, false, none))
                  Expect.equal answers.Length 100 "all accepted"
                  Expect.equal last.Live.Data [| 100uy |] "all there"
              })

          testCaseTask "3 time and version only grow: each accepted write adds one to the version" (fun () ->
              task {
                  let engine = world().Engine
                  let! opened = create engine None
                  let! first = get (engine.Present(token engine opened, false, none))
                  let! second = get (engine.Update(first, id, none))
                  let! third = get (engine.Regenerate(second, none))

                  Expect.equal
                      ([ opened; first; second; third ] |> List.map _.Snapshot.Version)
                      [ 1L; 2L; 3L; 4L ]
                      "by one"
              })

          testCaseTask "6 no resurrection: a write that was opened before the end is refused" (fun () ->
              task {
                  let engine = world().Engine
                  let! opened = create engine None
                  let! held = get (engine.Present(token engine opened, false, none))
                  let! _ = get (engine.SignOut(held, none))
                  let! late = engine.Update(held, id, none)
                  Expect.isError late "refused"
                  let! again = engine.Present(token engine opened, false, none)
                  Expect.isError again "still over"
              })

          testCaseTask "15 destroy all is all: none that was begun before lives, the excepted one does" (fun () ->
              task {
                  let engine = world().Engine
                  let mutable ids = []

                  for _ in 1..250 do
                      let! opened = create engine (Some "ada")
                      ids <- opened.Snapshot.Id :: ids

                  let! _ = create engine (Some "bob")
                  let! ended = get (engine.DestroyAll("ada", Some ids.Head, Revoked, none))
                  let! left = get (engine.List("ada", none))
                  let! others = get (engine.List("bob", none))
                  Expect.equal ended 249 "ended"
                  Expect.equal (left |> List.map _.Id) [ ids.Head ] "left"
                  Expect.equal others.Length 1 "others"
              })

          testCaseTask "15 destroy all is all: 100 parallel sign-ins with a limit of 3 leave exactly 3" (fun () ->
              task {
                  let limited = World({ settings with MaxSessionsPerSubject = Some 3 }, MemoryStore()).Engine

                  let! _ =
                      Task.WhenAll
                          [ for _ in 1..100 ->
                                Task.Run<Result<Opened, SessionError>>(
                                    Func<Task<Result<Opened, SessionError>>>(fun () ->
                                        limited.Create(Token.newId, Some "ada", [||], none))
                                ) ]

                  let! left = get (limited.List("ada", none))
                  Expect.equal left.Length 3 "left"
              })

          testCaseTask "11 nothing from strangers: an unknown id opens nothing and creates nothing" (fun () ->
              task {
                  let world = world ()
                  let engine = world.Engine
                  let! opened = create engine None
                  let stranger = { token engine opened with Id = "made-up" }
                  let! answer = engine.Present(stranger, true, none)
                  Expect.equal answer (Error SessionError.NoSession) "no session"
                  let! count = world.Store.Count none
                  Expect.equal count 1L "nothing new"
              })

          testCaseTask "an id that is taken is never overwritten" (fun () ->
              task {
                  let engine = world().Engine
                  let! _ = get (engine.Create((fun () -> "same"), None, [||], none))

                  let mutable refused = false

                  try
                      let! _ = engine.Create((fun () -> "same"), None, [||], none)
                      ()
                  with :? InvalidOperationException ->
                      refused <- true

                  Expect.isTrue refused "refused, with what to change"
              })

          testCaseTask "data over the limit changes nothing" (fun () ->
              task {
                  let engine = world().Engine
                  let! opened = create engine None
                  let! answer = engine.Update(opened, (fun _ -> Array.zeroCreate 2000), none)
                  Expect.equal answer (Error(SessionError.TooLarge(2000, 1024))) "too large"
                  let! found = get (engine.Find(opened.Snapshot.Id, none))
                  Expect.equal found.Value.Version 1L "as before"
              })

          testCaseTask "expiry is told once, and its tombstone goes after the retention" (fun () ->
              task {
                  let world = world ()
                  let! opened = create world.Engine (Some "ada")
                  world.Clock.Advance(minutes 3)
                  let! _ = world.Engine.Sweep(100, none)
                  let! _ = world.Engine.Sweep(100, none)
                  let told = world.Notices |> Seq.filter (fun notice -> notice.Kind = ExpiredNotice ExpiryKind.Idle)
                  Expect.equal (Seq.length told) 1 "told once"
                  Expect.equal (Seq.head told).Data [| 0uy |] "with its data"
                  world.Clock.Advance(minutes 6)
                  let! _ = world.Engine.Sweep(100, none)
                  let! gone = world.Store.Load(opened.Snapshot.Id, none)
                  Expect.isNull (box gone) "gone"
              })

          testCaseTask "a handler that fails is told again" (fun () ->
              task {
                  let world = world ()
                  let! _ = create world.Engine (Some "ada")
                  world.FailsToHear <- true
                  world.Clock.Advance(minutes 3)
                  let! _ = world.Engine.Sweep(100, none)
                  world.FailsToHear <- false
                  world.Clock.Advance(minutes 3)
                  let! _ = world.Engine.Sweep(100, none)
                  let told = world.Notices |> Seq.filter (fun notice -> notice.Kind = ExpiredNotice ExpiryKind.Idle)
                  Expect.equal (Seq.length told) 1 "told in the end"
              })

          testCaseTask "a session that was seen since is re-scheduled, not ended" (fun () ->
              task {
                  let world = world ()
                  let! opened = create world.Engine (Some "ada")
                  world.Clock.Advance(minutes 2)
                  let! _ = get (world.Engine.Present(token world.Engine opened, false, none))
                  world.Clock.Advance(minutes 2)
                  let! handled = world.Engine.Sweep(100, none)
                  let! found = get (world.Engine.Find(opened.Snapshot.Id, none))
                  Expect.isSome found "lives"
                  ignore handled
              })

          testCaseTask "14 destroy is total: a handler that throws does not stop it" (fun () ->
              task {
                  let world = world ()
                  let! opened = create world.Engine None
                  world.FailsToHear <- true
                  let! destroyed = get (world.Engine.Destroy(opened.Snapshot.Id, Revoked, none))
                  Expect.isTrue destroyed "destroyed"
                  let! found = get (world.Engine.Find(opened.Snapshot.Id, none))
                  Expect.isNone found "over"
              })

          testCaseTask "insert, replace, touch and remove as the port says" (fun () ->
              task {
                  let store = MemoryStore() :> ISessionStore
                  let one = record "a" 1L RecordKind.Live t0 "ada"
                  let! inserted = store.Insert(one, none)
                  let! again = store.Insert(one, none)
                  let! absent = store.Replace(record "b" 2L RecordKind.Live t0 null, 1L, none)
                  let! stale = store.Replace(record "a" 9L RecordKind.Live t0 null, 8L, none)
                  do! store.Touch("a", t0 + minutes 1, none)
                  do! store.Touch("a", t0, none)
                  let! replaced = store.Replace(record "a" 2L RecordKind.Ended t0 null, 1L, none)
                  do! store.Touch("a", t0 + minutes 9, none)
                  let! found = store.Load("a", none)

                  Expect.equal
                      [ inserted; again; absent; stale; replaced ]
                      [ WriteResult.Written
                        WriteResult.Conflict
                        WriteResult.Absent
                        WriteResult.Conflict
                        WriteResult.Written ]
                      "answers"

                  Expect.equal
                      (nonNull found).LastSeen
                      (t0 + minutes 1)
                      "the later time is kept, a tombstone is not touched"

                  do! store.Remove("a", none)
                  do! store.Remove("a", none)
                  let! gone = store.Load("a", none)
                  Expect.isNull (box gone) "gone"
              })

          testCaseTask "claim overdue hands each record to one caller, until the lease is over" (fun () ->
              task {
                  let store = MemoryStore() :> ISessionStore

                  for i in 1..10 do
                      let! _ = store.Insert(record $"id{i}" 1L RecordKind.Live (t0 + minutes i) null, none)
                      ()

                  let! first = store.ClaimOverdue(t0 + minutes 5, minutes 1, 3, none)
                  let! second = store.ClaimOverdue(t0 + minutes 5, minutes 1, 100, none)
                  let! third = store.ClaimOverdue(t0 + minutes 5, minutes 1, 100, none)
                  let! later = store.ClaimOverdue(t0 + minutes 6, minutes 1, 100, none)
                  Expect.equal (first |> Seq.map _.Id |> List.ofSeq) [ "id1"; "id2"; "id3" ] "longest overdue first"
                  Expect.equal (second.Count, third.Count, later.Count) (2, 0, 6) "once, and again after the lease"
              })

          testCaseTask "by subject is paged in the order of ids" (fun () ->
              task {
                  let store = MemoryStore() :> ISessionStore

                  for i in 10..19 do
                      let! _ = store.Insert(record $"id{i}" 1L RecordKind.Live t0 "ada", none)
                      ()

                  let! first = store.BySubject("ada", null, 4, none)
                  let! second = store.BySubject("ada", first.Next, 100, none)
                  Expect.equal (first.Records.Count, second.Records.Count) (4, 6) "pages"
                  Expect.isNull second.Next "the last one"
              })

          testCaseTask "a full store drops what nobody confirmed, and nothing else" (fun () ->
              task {
                  let store = MemoryStore(MemoryStoreOptions(Capacity = 2)) :> ISessionStore
                  let! _ = store.Insert(record "live" 1L RecordKind.Live t0 null, none)
                  let! _ = store.Insert(record "new1" 1L RecordKind.Unconfirmed t0 null, none)
                  let! third = store.Insert(record "live2" 1L RecordKind.Live t0 null, none)
                  let! dropped = store.Load("new1", none)
                  Expect.equal third WriteResult.Written "room was made"
                  Expect.isNull (box dropped) "the unconfirmed one"

                  Expect.throwsT<StoreFullException>
                      (fun () -> store.Insert(record "live3" 1L RecordKind.Live t0 null, none) |> ignore)
                      "refused"
              }) ]
