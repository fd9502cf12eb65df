/// Moving between stores: every place where a node can be stopped or held up is tried.
module Properties.Migration

open System
open System.Threading.Tasks
open Expecto
open Properties.MigrationWorld
open Properties.MigrationDeaths
open Properties.MigrationRaces
open Session.Domain
open Session.Engine

/// The same records behind another object.
type private Another(inner: ISessionStore) =
    inherit ForwardingStore(inner)

let private both =
    [ testCaseTask "a touch reaches what has moved, and what has not" (fun () ->
          task {
              let source, target = MemoryStore() :> ISessionStore, MemoryStore() :> ISessionStore
              let! _ = source.Insert(live "a" 1L, none)
              let! _ = source.Insert(live "b" 1L, none)
              let moving = MigratingStore(target, source) :> ISessionStore
              let! _ = moving.Replace(live "a" 2L, 1L, none)

              for id in [ "a"; "b" ] do
                  do! moving.Touch(id, at 7, none)
                  let! found = moving.Load(id, none)
                  Expect.equal (nonNull found).LastSeen (at 7) $"{id} was seen"
          })

      testCaseTask "a tombstone that a stopped mover has fenced is removed when its time has come" (fun () ->
          task {
              let target, source = MemoryStore() :> ISessionStore, MemoryStore() :> ISessionStore
              let tombstone = ended "a" 1L
              let! _ = source.Insert(tombstone, none)

              let fenced =
                  StoredRecord("a", -1L, RecordKind.Ended, t0, at 90, "ada", tombstone.Operation, tombstone.Body)

              let! fence = source.Replace(fenced, 1L, none)
              Expect.equal fence WriteResult.Written "fenced"
              let store = MigratingStore(target, source)
              let! found = (store :> ISessionStore).Load("a", none)
              Expect.equal (nonNull found).Version 1L "it is there"
              do! (store :> IRemovesVersion).RemoveVersion("a", 1L, tombstone.Operation + 1L, none)
              let! still = source.Load("a", none)
              Expect.isNotNull still "another one's is left"
              do! (store :> IRemovesVersion).RemoveVersion("a", 1L, tombstone.Operation, none)
              let! gone = source.Load("a", none)
              Expect.isNull gone "gone, and its id is free"
          })

      testCaseTask
          "a removal that the source has lost in a crash keeps nothing from being written, and revives nothing"
          (fun () ->
              task {
                  for sourceVersion in [ 3L; -3L ] do
                      let target, source = MemoryStore() :> ISessionStore, MemoryStore() :> ISessionStore
                      let! _ = target.Insert(live "a" 5L, none)
                      let! _ = source.Insert(live "a" sourceVersion, none)
                      let store = MigratingStore(target, source)
                      let! written = (store :> ISessionStore).Replace(live "a" 6L, 5L, none)
                      Expect.equal written WriteResult.Written "it goes on"
                      let! left = source.Load("a", none)
                      Expect.isNull left "and the source has it no more"

                      let tombstone = ended "b" 5L
                      let! _ = target.Insert(tombstone, none)
                      let! _ = source.Insert(live "b" sourceVersion, none)
                      do! (store :> IRemovesVersion).RemoveVersion("b", 5L, tombstone.Operation, none)
                      let! revived = (store :> ISessionStore).Load("b", none)
                      Expect.isNull revived "what has ended is over"
              })

      testCaseTask
          "the source keeps what the target's replicas do not confirm, and nothing but an end is stored before"
          (fun () ->
              task {
                  let source = MemoryStore() :> ISessionStore
                  let mutable confirms, isFull = false, false

                  let target =
                      { new ForwardingStore(MemoryStore()) with
                          override it.Replace(record, expected, cancel) =
                              ValueTask<WriteResult>(
                                  task =
                                      task {
                                          if isFull && record.Version = 2L then
                                              raise (StoreRefusedException("no space left", null))

                                          let! answer = it.Inner.Replace(record, expected, cancel)

                                          if record.IsDurable && not confirms && answer = WriteResult.Written then
                                              return WriteResult.Unacknowledged
                                          else
                                              return answer
                                      }
                              ) }

                  let store = MigratingStore(target, source) :> ISessionStore

                  let write record =
                      task {
                          try
                              let! answer = store.Replace(record, record.Version - 1L, none)
                              return string answer
                          with :? StoreRefusedException ->
                              return "refused"
                      }

                  let mustHave id version because =
                      task {
                          let! found = load source id
                          Expect.equal (found |> Option.map _.Version) version because
                      }

                  for id in [ "a"; "b"; "c"; "d" ] do
                      let! _ = source.Insert(live id 1L, none)

                      for record in [ live id 2L; lasting id 2L ] do
                          let! answer = write record
                          Expect.equal answer "refused" "a failover of the target would take the session with it"
                          do! mustHave id (Some -1L) "it keeps it"
                          let! found = load store id
                          Expect.equal (found |> Option.map _.Version) (Some 1L) "as it was"

                  // The sweeper leaves it there for as long as the session has.
                  let! claimed = store.ClaimOverdue(at 30, TimeSpan.FromMinutes 2L, 10, none)

                  Expect.equal
                      (claimed |> Seq.map _.Id |> Seq.sort |> List.ofSeq)
                      [ "a"; "b"; "c"; "d" ]
                      "the target's"

                  do!
                      mustHave "a" (Some -1L) "it is no session of its own"

                      // A tombstone that is there already, or a note, is no end.

                  let! _ = source.Insert(ended "note" 1L, none)
                  let! answer = write (ended "note" 2L)
                  Expect.equal answer "refused" "it has to last as well"
                  do! mustHave "note" (Some -1L) "kept"
                  do! source.Remove("note", none)
                  do! target.Remove("note", none)

                  // An end does not wait: what is lost with the target is over.
                  isFull <- true
                  let! answer = write (ended "a" 2L)
                  Expect.equal answer "refused" "an end that the target does not store"
                  do! mustHave "a" (Some -1L) "takes nothing away"
                  isFull <- false
                  let! answer = write (ended "b" 3L)
                  Expect.equal answer "Conflict" "an end that comes too late"
                  do! mustHave "b" (Some -1L) "ends nothing"
                  let! answer = write (ended "b" 2L)
                  Expect.equal answer "Written" "an end by its deadline, which need not last"
                  do! mustHave "b" None "let go of before"
                  let! answer = target.Replace(ended "c" 2L, 1L, none)
                  Expect.equal answer WriteResult.Written "an end of which the source has heard nothing"
                  let! _ = store.ClaimOverdue(at 60, TimeSpan.FromMinutes 2L, 10, none)
                  do! mustHave "c" None "swept away"
                  do! mustHave "d" (Some -1L) "as the one that goes on is not"

                  confirms <- true
                  let! answer = write (live "a" 2L)
                  Expect.equal answer "Written" "confirmed"
                  do! mustHave "a" None "let go of"
                  let! _ = store.ClaimOverdue(at 90, TimeSpan.FromMinutes 2L, 10, none)
                  do! mustHave "d" None "and by a sweep"
                  let! found = load store "d"
                  Expect.equal (found |> Option.map _.Version) (Some 1L) "which is all that it does"
              })

      testCaseTask
          "an end is no end of nobody where another node has moved the session meanwhile, wherever this one sleeps"
          (fun () ->
              task {
                  let! _ =
                      everywhere [ Sleeps ] (fun node why ->
                          task {
                              let place = Place()
                              let! _ = place.Old.Insert(live "a" 1L, none)

                              let ending =
                                  task {
                                      let! answer = (place.Through node).Replace(ended "a" 2L, 1L, none)
                                      return string answer
                                  }

                              let! _ = Task.WhenAny(node.Asleep, ending)
                              let! told = replace (live "a" 2L) place.Store
                              node.Wake()
                              let! answer = ending
                              let! found = load place.Store "a"

                              match told, answer with
                              | true, "Conflict"
                              | false, "Written" ->
                                  Expect.equal (show found) (if told then "v2 Live" else "v2 Ended") why
                              | _ -> failtestf "%s: %b, %s, and it is %s" why told answer (show found)
                          })

                  ()
              })

      testCaseTask "where the mover fails before the write itself nothing was changed, and that is said" (fun () ->
          task {
              let! tried =
                  everywhere [ DiesBefore ] (fun node why ->
                      task {
                          let place = Place()
                          let! _ = place.Old.Insert(live "a" 1L, none)

                          let! told =
                              task {
                                  try
                                      let! answer = (place.Through node).Replace(live "a" 2L, 1L, none)
                                      return string answer
                                  with
                                  | :? StoreRefusedException -> return "refused"
                                  | NodeDied -> return "died"
                              }

                          let! found = load place.Store "a"

                          match told, found |> Option.map _.Version with
                          | "Written", Some 2L
                          // The write itself: nobody knows.
                          | "died", _
                          | "refused", Some 1L -> ()
                          | _, version -> failtestf "%s: %s, and it is %A" why told version
                      })

              Expect.isGreaterThan tried 5 "at each call"
          })

      testCaseTask "a touch that comes while a session is moved is none that is lost, wherever the mover is" (fun () ->
          task {
              for how, begun in beginnings do
                  let! _ =
                      everywhere [ Sleeps ] (fun node why ->
                          task {
                              let! place = begun ()
                              // What moves it has seen nobody: it keeps the time of the last request.
                              let running = run (replace (live "a" 2L)) (place.Through node)
                              let! _ = Task.WhenAny(node.Asleep, running)
                              do! place.Store.Touch("a", at 7, none)
                              node.Wake()
                              let! told = running
                              Expect.equal told (Some true) "written"
                              let! found = load place.Store "a"
                              Expect.equal (found |> Option.map _.LastSeen) (Some(at 7)) $"{how}: {why}"
                          })

                  ()
          })

      testCaseTask "both are counted" (fun () ->
          task {
              let source, target = MemoryStore() :> ISessionStore, MemoryStore() :> ISessionStore
              let! _ = source.Insert(live "a" 1L, none)
              let moving = MigratingStore(target, source) :> ISessionStore
              let! _ = moving.Insert(live "b" 1L, none)
              let! count = moving.Count none
              Expect.equal count 2L "one in each"
          })

      testCaseTask "what either store says at start is told, and both have to list" (fun () ->
          task {
              for oldLists, newLists in [ true, true; true, false; false, true ] do
                  let store (name: string) lists =
                      { new ForwardingStore(MemoryStore()) with
                          override _.Prepare _ = ValueTask<_>(StoreReport(name, true, lists, [ $"a note of {name}" ])) }

                  let moving =
                      MigratingStore(store "the new one" newLists, store "the old one" oldLists) :> ISessionStore

                  let! report = moving.Prepare none
                  Expect.equal report.Location "the new one" "where they are"
                  Expect.equal report.Lists (oldLists && newLists) "lists"
                  let said = String.concat "\n" report.Notes

                  for note in
                      [ "a note of the new one"
                        "a note of the old one"
                        "the old one to the new one" ] do
                      Expect.stringContains said note "told"

              // Of what each of them promises the weaker one counts.
              for old, current in [ 1, 5; 5, 1 ] do
                  for compares in [ true; false ] do
                      let store (name: string) compares hours =
                          { new ForwardingStore(MemoryStore()) with
                              override _.Prepare _ =
                                  let keeps = TimeSpan.FromHours(float (hours: int))
                                  ValueTask<_>(StoreReport(name, compares, true, [||], keeps)) }

                      let moving =
                          MigratingStore(store "the new one" true current, store "the old one" compares old)
                          :> ISessionStore

                      let! report = moving.Prepare none
                      Expect.equal report.KeepsBeyond (TimeSpan.FromHours 1.0) $"{old} and {current} hours"
                      let isWarned = report.Notes |> Seq.exists (fun note -> note.Contains "stop every application")
                      Expect.equal isWarned (not compares) "a logout could be undone"
          })

      testCaseTask "a store is not moved to itself" (fun () ->
          task {
              let store = MemoryStore() :> ISessionStore

              for source in [ store; Another store ] do
                  let moving = MigratingStore(store, source) :> ISessionStore

                  let! said = refusal<InvalidOperationException>(fun () -> moving.Prepare(none).AsTask())
                  Expect.stringContains said "the store that the sessions move to" "refused at start"
          })

      testCaseTask "nor is one that has another name, and each session would be gone that is written to" (fun () ->
          task {
              let store = MemoryStore() :> ISessionStore
              let mutable isThere = true

              let renamed =
                  { new ForwardingStore(store) with
                      override _.Prepare cancel =
                          ValueTask<StoreReport>(
                              task =
                                  task {
                                      let! it = store.Prepare cancel
                                      return StoreReport("elsewhere", true, true, it.Notes, it.KeepsBeyond)
                                  }
                          )

                      override _.Load(id, cancel) =
                          if isThere then store.Load(id, cancel) else raise (TimeoutException "no answer") }

              let refused (call: unit -> Task) = refusal<InvalidOperationException> call
              let moving = MigratingStore(store, renamed) :> ISessionStore
              let! said = refused (fun () -> moving.Prepare(none).AsTask())
              Expect.stringContains said "by another name" "refused at start"
              let! page = store.Enumerate(null, 10, none)
              Expect.equal page.Records.Count 0 "and nothing is left of the question"

              // Where one of them is down at start, or the question may not have arrived, nothing moves before that is known.
              let mutable isLost = true

              let losing =
                  { new ForwardingStore(store) with
                      override _.Insert(record, cancel) =
                          if isLost then ValueTask.FromResult WriteResult.Unknown else store.Insert(record, cancel) }

              let moving' = MigratingStore(losing, renamed) :> ISessionStore
              let! _ = moving'.Prepare none
              let! _ = store.Insert(live "b" 1L, none)

              let! said = refusal<StoreRefusedException>(fun () -> moving'.Replace(live "b" 2L, 1L, none).AsTask())
              Expect.notEqual said "" "nobody knows yet"
              isLost <- false
              let! said = refused (fun () -> moving'.Replace(live "b" 2L, 1L, none).AsTask())
              Expect.stringContains said "by another name" "refused"
              let! found = store.Load("b", none)
              Expect.isNotNull found "and nothing is lost"

              isThere <- false
              let! said = refused (fun () -> moving.Prepare(none).AsTask())
              Expect.equal said "" "a start without it"
              isThere <- true
              let! _ = store.Insert(live "a" 1L, none)
              let! said = refused (fun () -> moving.Replace(live "a" 2L, 1L, none).AsTask())
              Expect.stringContains said "by another name" "refused"
              let! found = store.Load("a", none)
              Expect.isNotNull found "and nothing is lost"
          })

      testCaseTask "a server that carries no notices silences the other one for nobody" (fun () ->
          task {
              let heard = ref 0

              let signals carries =
                  { new ForwardingStore(MemoryStore()) with
                      override _.Subscribe(hear, cancel) =
                          if carries then
                              hear.Invoke "a"
                              ValueTask.FromResult SessionStore.silence
                          else
                              raise (NotSupportedException "none") }

              for target, source in [ true, false; false, true ] do
                  let moving = MigratingStore(signals target, signals source) :> ISessionSignals
                  let! held = moving.Subscribe((fun _ -> heard.Value <- heard.Value + 1), none)
                  do! held.DisposeAsync()

              Expect.equal heard.Value 2 "the other one's are heard"
              let neither = MigratingStore(signals false, signals false) :> ISessionSignals

              let! said = refusal<NotSupportedException>(fun () -> neither.Subscribe((fun _ -> ()), none).AsTask())
              Expect.notEqual said "" "where neither carries any that is said"
          })

      testCaseTask "what is said is said to both stores, though one of them fails at that" (fun () ->
          task {
              let said = ref 0

              let saying fails =
                  { new ForwardingStore(MemoryStore()) with
                      override _.Publish(_, _) =
                          said.Value <- said.Value + 1

                          if fails then
                              ValueTask.FromException(TimeoutException "no answer")
                          else
                              ValueTask.CompletedTask }

              for target, source in [ true, false; false, true ] do
                  said.Value <- 0
                  let moving = MigratingStore(saying target, saying source) :> ISessionSignals

                  let! why = refusal<TimeoutException>(fun () -> moving.Publish([| "a" |], none).AsTask())
                  Expect.equal (said.Value, why) (2, "no answer") "both, and the failure is told"
          })

      testCaseTask "who listens no more leaves both stores, though one of them fails at that" (fun () ->
          task {
              let left = ref 0

              let leaving fails =
                  { new ForwardingStore(MemoryStore()) with
                      override _.Subscribe(_, _) =
                          ValueTask<IAsyncDisposable>(
                              { new IAsyncDisposable with
                                  member _.DisposeAsync() =
                                      left.Value <- left.Value + 1

                                      if fails then
                                          ValueTask.FromException(TimeoutException "no answer")
                                      else
                                          ValueTask.CompletedTask }
                          ) }

              for target, source in [ true, false; false, true ] do
                  left.Value <- 0
                  let moving = MigratingStore(leaving target, leaving source) :> ISessionSignals
                  let! held = moving.Subscribe((fun _ -> ()), none)

                  let! said = refusal<TimeoutException>(fun () -> held.DisposeAsync().AsTask())
                  Expect.equal (left.Value, said) (2, "no answer") "both, and the failure is told"
          })

      testCaseTask "who has left hears neither store, nor does who was told that it cannot listen" (fun () ->
          task {
              let held = ref 0

              let signals answers =
                  { new ForwardingStore(MemoryStore()) with
                      override _.Subscribe(_, _) =
                          if not answers then
                              raise (TimeoutException "no answer")

                          held.Value <- held.Value + 1

                          ValueTask.FromResult
                              { new IAsyncDisposable with
                                  member _.DisposeAsync() =
                                      held.Value <- held.Value - 1
                                      ValueTask.CompletedTask } }

              let moving = MigratingStore(signals true, signals true) :> ISessionSignals
              let! listening = moving.Subscribe((fun _ -> ()), none)
              Expect.equal held.Value 2 "both are listened to"
              do! listening.DisposeAsync()
              Expect.equal held.Value 0 "and neither any more"

              for target, source in [ true, false; false, true ] do
                  let moving = MigratingStore(signals target, signals source) :> ISessionSignals

                  let! said = refusal<TimeoutException>(fun () -> moving.Subscribe((fun _ -> ()), none).AsTask())
                  // It is tried again and again: what was left each time would be heard as often.
                  Expect.equal (said, held.Value) ("no answer", 0) "nothing is left of what failed"
          })

      testCaseTask "a sweep gets no more than its limit from both together" (fun () ->
          task {
              let source, target = MemoryStore() :> ISessionStore, MemoryStore() :> ISessionStore

              for store, ids in [ source, [ "a"; "b" ]; target, [ "c"; "d" ] ] do
                  for id in ids do
                      let! _ = store.Insert(live id 1L, none)
                      ()

              let moving = MigratingStore(target, source) :> ISessionStore
              let! first = moving.ClaimOverdue(at 60, TimeSpan.FromMinutes 2L, 3, none)
              let! rest = moving.ClaimOverdue(at 60, TimeSpan.FromMinutes 2L, 3, none)
              Expect.equal (first.Count, rest.Count) (3, 1) "three, and the one that is left"
          })

      testCaseTask "while sessions move none ends in a transaction of the application's, which is said so" (fun () ->
          task {
              let moving = MigratingStore(MemoryStore(), MemoryStore())
              let engine = Engines.engineWith moving Engines.settings

              let ending () : Task = engine.DestroyAllIn(Unchecked.defaultof<_>, "ada", None, Revoked, none)
              let! said = refusal<NotSupportedException> ending
              Expect.stringContains said "MigrateFrom" "what stands in the way"
          })

      testCaseTask "a node that does not know of the move ends nothing that is moving, and says so" (fun () ->
          task {
              let old, current = MemoryStore() :> ISessionStore, MemoryStore() :> ISessionStore
              let before = Engines.engineWith old Engines.settings
              let! created = before.Create(Token.newId, Some "ada", [||], none)
              let id = (Engines.ok created).Snapshot.Id
              let! record = old.Load(id, none)
              let record = nonNull record

              // A mover has made its first step, and was stopped.
              let fence =
                  StoredRecord(
                      id,
                      -record.Version,
                      record.Kind,
                      record.LastSeen,
                      record.DueAt,
                      record.Subject,
                      record.Operation,
                      record.Body
                  )

              let! _ = old.Replace(fence, record.Version, none)
              let! ended = before.DestroyAll("ada", None, Revoked, none)
              Expect.isError ended "not said to be ended"
              let! one = before.Destroy(id, Revoked, none)
              Expect.isError one "nor alone"
              let after = Engines.engineWith (MigratingStore(current, old)) Engines.settings
              let! ended = after.DestroyAll("ada", None, Revoked, none)
              Expect.equal ended (Ok 1) "where it is known it ends"
              let! found = after.Find(id, none)
              Expect.isNone (Engines.ok found) "and is over"
          }) ]

let all seed =
    testList
        "moving between stores"
        [ testList "both stores" both
          testList "death" (List.collect dies operations)
          testList "sleep" (List.map sleeps (operations |> List.filter (fun (name, _) -> name <> "insert")))
          testList "two sleepers" sleepTogether
          testList "races" races
          together seed ]
