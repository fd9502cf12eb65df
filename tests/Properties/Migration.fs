/// Moving between stores: every place where a node can be stopped or held up is tried.
module Properties.Migration

open System
open System.Collections.Generic
open System.Threading
open System.Threading.Tasks
open Expecto
open Session.Domain
open Session.Engine

let private none = CancellationToken.None
let private t0 = DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero)
let private at (n: int) = t0.AddMinutes n

let private recordOf id version kind subject due =
    StoredRecord(id, version, kind, t0, at due, subject, Random.Shared.NextInt64(), ReadOnlyMemory [| byte version |])

let private live id version = recordOf id version RecordKind.Live "ada" 30
let private ended id version = recordOf id version RecordKind.Ended "ada" 90

/// One that has to last, as a renewal has.
let private lasting id version =
    let record = live id version

    StoredRecord(
        id,
        version,
        record.Kind,
        record.LastSeen,
        record.DueAt,
        record.Subject,
        record.Operation,
        record.Body,
        true
    )

exception private NodeDied

/// What befalls a node at its call number `Place`, counted over both stores.
type private Mishap =
    /// It dies before the call is sent.
    | DiesBefore
    /// It dies before the answer comes.
    | DiesAfter
    /// The call takes effect, and the answer is lost.
    | AnswerLost
    /// The call gets lost, and so does the answer.
    | CallLost
    /// It sleeps, until it is woken.
    | Sleeps
    /// It sleeps, is woken, makes this one call and dies.
    | SleepsAndDies

/// One node's way to both stores.
type private Node(place: int, mishap: Mishap) =
    let mutable calls = 0
    let mutable dead = false
    let asleep = TaskCompletionSource()
    let woken = TaskCompletionSource()
    new() = Node(-1, Sleeps)
    member _.Calls = calls
    /// Another node that meets the same mishap.
    member _.Again() = Node(place, mishap)
    /// Done when the node has fallen asleep.
    member _.Asleep: Task = asleep.Task
    member _.Wake() = woken.SetResult()

    member private _.Call(send: unit -> ValueTask<'a>, unknown: 'a voption) : Task<'a> =
        task {
            if dead then
                raise NodeDied

            let isPlace = calls = place
            calls <- calls + 1

            match mishap, unknown with
            | _ when not isPlace -> return! send ()
            | Sleeps, _ ->
                asleep.SetResult()
                do! woken.Task
                return! send ()
            | SleepsAndDies, _ ->
                dead <- true
                asleep.SetResult()
                do! woken.Task
                let! _ = send ()
                return raise NodeDied
            | AnswerLost, ValueSome answer ->
                let! _ = send ()
                return answer
            | CallLost, ValueSome answer -> return answer
            | DiesAfter, _ ->
                dead <- true
                let! _ = send ()
                return raise NodeDied
            | DiesBefore, _
            | AnswerLost, _
            | CallLost, _ ->
                dead <- true
                return raise NodeDied
        }

    member private node.Do(send: unit -> ValueTask) =
        ValueTask(
            task =
                task {
                    let send () =
                        ValueTask<unit>(
                            task =
                                task {
                                    do! send ()
                                    return ()
                                }
                        )

                    do! node.Call(send, ValueNone)
                }
        )

    member node.To(inner: ISessionStore) =
        let read send = ValueTask<_>(task = node.Call(send, ValueNone))
        let write send = ValueTask<_>(task = node.Call(send, ValueSome WriteResult.Unknown))

        { new ISessionStore with
            member _.Prepare cancel = inner.Prepare cancel
            member _.Insert(record, cancel) = write (fun () -> inner.Insert(record, cancel))
            member _.Load(id, cancel) = read (fun () -> inner.Load(id, cancel))
            member _.Replace(record, expected, cancel) = write (fun () -> inner.Replace(record, expected, cancel))
            member _.Touch(id, at, cancel) = node.Do(fun () -> inner.Touch(id, at, cancel))
            member _.Remove(id, cancel) = node.Do(fun () -> inner.Remove(id, cancel))

            member _.BySubject(subject, after, limit, cancel) =
                read (fun () -> inner.BySubject(subject, after, limit, cancel))

            member _.Enumerate(after, limit, cancel) = read (fun () -> inner.Enumerate(after, limit, cancel))
            member _.Count cancel = read (fun () -> inner.Count cancel)

            member _.ClaimOverdue(now, lease, limit, cancel) =
                read (fun () -> inner.ClaimOverdue(now, lease, limit, cancel))

            member _.Reschedule(id, version, dueAt, cancel) =
                node.Do(fun () -> inner.Reschedule(id, version, dueAt, cancel)) }

/// Two stores, and the nodes between them.
type private Place() =
    member val Old = MemoryStore() :> ISessionStore
    member val New = MemoryStore() :> ISessionStore
    member place.Through(node: Node) = MigratingStore(node.To place.New, node.To place.Old) :> ISessionStore
    /// A node that nothing befalls.
    member place.Store = MigratingStore(place.New, place.Old) :> ISessionStore

let private load (store: ISessionStore) id =
    task {
        let! found = store.Load(id, none)
        return Option.ofObj found
    }

let private show (record: StoredRecord option) =
    match record with
    | None -> "nothing"
    | Some record -> $"v{record.Version} {record.Kind}"

/// All that a listing holds, page by page.
let private listed (limit: int) (read: string | null -> ValueTask<StoredPage>) =
    task {
        let found = List<string>()
        let mutable after: string | null = null
        let mutable more = true

        while more do
            let! page = read after

            if page.Records.Count > limit then
                failtestf "%d on a page of %d" page.Records.Count limit

            for record in page.Records do
                if record.Version < 1L then
                    failtestf "a placeholder is listed: %s" record.Id

                found.Add record.Id

            after <- page.Next
            more <- not (isNull after)

        return List.ofSeq found
    }

let private bySubject limit (store: ISessionStore) =
    listed limit (fun after -> store.BySubject("ada", after, limit, none))

let private enumerate limit (store: ISessionStore) = listed limit (fun after -> store.Enumerate(after, limit, none))

let private withVersion version (record: StoredRecord) =
    StoredRecord(
        record.Id,
        version,
        record.Kind,
        record.LastSeen,
        record.DueAt,
        record.Subject,
        record.Operation,
        record.Body
    )

let private placeholder = StoredRecord("a", -77L, RecordKind.Ended, t0, at 30, null, 1L, ReadOnlyMemory [| 0uy |])

/// What movers that were stopped can have left of a session at version 1.
let private beginnings =
    let place (old: StoredRecord list) (current: StoredRecord list) =
        fun () ->
            task {
                let place = Place()

                for record in old do
                    let! _ = place.Old.Insert(record, none)
                    ()

                for record in current do
                    let! _ = place.New.Insert(record, none)
                    ()

                return place
            }

    let first = live "a" 1L
    let fenced = withVersion -1L first

    [ "as it was", place [ first ] []
      "staged", place [ first ] [ placeholder ]
      "fenced", place [ fenced ] []
      "fenced and staged", place [ fenced ] [ placeholder ]
      "copied", place [ fenced ] [ first ] ]

/// What a client does; true when it was told that it took effect.
let private replace (record: StoredRecord) (store: ISessionStore) =
    task {
        let! answer = store.Replace(record, record.Version - 1L, none)
        return answer = WriteResult.Written
    }

let private remove id (store: ISessionStore) =
    task {
        do! store.Remove(id, none)
        return true
    }

let private operations: (string * (ISessionStore -> Task<bool>)) list =
    [ "write", replace (live "a" 2L)
      "logout", replace (ended "a" 2L)
      "remove", remove "a"
      "touch",
      (fun store ->
          task {
              do! store.Touch("a", at 1, none)
              return true
          })
      "insert",
      (fun store ->
          task {
              let! answer = store.Insert(live "a" 1L, none)
              Expect.notEqual answer WriteResult.Written "the id is taken"
              return false
          })
      "sweep",
      (fun store ->
          task {
              let! claimed = store.ClaimOverdue(at 60, TimeSpan.FromMinutes 2L, 10, none)

              for record in claimed do
                  do! store.Reschedule(record.Id, record.Version, at 61, none)

              return true
          }) ]

/// Every place of an operation, with each mishap: until a node gets through without it.
let private everywhere mishaps (attempt: Node -> string -> Task<unit>) =
    task {
        let mutable tried = 0

        for mishap in mishaps do
            let mutable place = 0
            let mutable more = true

            while more do
                let node = Node(place, mishap)
                do! attempt node $"{mishap} at call {place}"
                tried <- tried + 1
                more <- node.Calls > place
                place <- place + 1

        return tried
    }

let private deaths = [ DiesBefore; DiesAfter; AnswerLost; CallLost ]

/// Runs until it is done, or the node has died. None: nobody was told anything.
let private run (operation: ISessionStore -> Task<bool>) store =
    task {
        try
            let! told = operation store
            return Some told
        with
        | NodeDied
        | :? StoreRefusedException -> return None
    }

/// What is said by the exception that a call ends with; "" where it ends without one of this kind.
let private refusal<'error when 'error :> exn> (call: unit -> Task) : Task<string> =
    task {
        try
            do! call ()
            return ""
        with :? 'error as error ->
            return error.Message
    }

/// The session ends, is acknowledged as ended, and stays so: also when the target's own janitor clears it away.
let private endsForGood (place: Place) why =
    task {
        match! load place.Store "a" with
        | None -> ()
        | Some found ->
            if found.Kind <> RecordKind.Ended then
                let! told = replace (ended "a" (found.Version + 1L)) place.Store
                Expect.isTrue told $"{why}: the next node signs out"

            let! found = load place.Store "a"
            Expect.equal (found.Value.Kind) RecordKind.Ended $"{why}: it is over"

            if found.Value.Version > 1L then
                do! place.New.Remove("a", none)
                let! found = load place.Store "a"
                Expect.isNone found $"{why}: and stays so without its tombstone"
    }

let private dies (name: string, operation: ISessionStore -> Task<bool>) =
    [ for how, begun in beginnings do
          testCaseTask $"{name}, {how}: a node dies, or an answer is lost, at every call, twice" (fun () ->
              task {
                  let! tried =
                      everywhere deaths (fun first why ->
                          task {
                              let! alone = begun ()
                              let! _ = run operation (alone.Through first)

                              let! _ =
                                  everywhere deaths (fun second again ->
                                      task {
                                          let why = $"{name}: {why}, then {again}"
                                          let! place = begun ()
                                          let! told = run operation (place.Through(first.Again()))
                                          let! again = run operation (place.Through second)
                                          let! found = load place.Store "a"
                                          let wasTold = List.contains (Some true) [ told; again ]

                                          match name, found with
                                          | "remove", found ->
                                              if wasTold then
                                                  Expect.isNone found why
                                          | _, None -> failtestf "%s: the session is lost" why
                                          | "write", Some found when wasTold -> Expect.equal found.Version 2L why
                                          | "logout", Some found when wasTold ->
                                              Expect.equal found.Kind RecordKind.Ended why
                                          | ("write" | "logout"), _ -> ()
                                          | _, Some found -> Expect.equal found.Version 1L why

                                          let! ids = enumerate 10 place.Store

                                          Expect.equal
                                              ids
                                              (if found.IsSome then [ "a" ] else [])
                                              $"{why}: listed once"

                                          do! endsForGood place why
                                      })

                              ()
                          })

                  Expect.isGreaterThan tried 3 "it was tried"
              }) ]

/// What others do while a node sleeps.
let private meanwhile: (string * (Place -> Task<unit>)) list =
    let signOut (place: Place) =
        task {
            let! found = load place.Store "a"

            match found with
            | Some found when found.Kind <> RecordKind.Ended ->
                let! told = replace (ended "a" (found.Version + 1L)) place.Store
                Expect.isTrue told "signed out"
            | _ -> ()
        }

    [ "a logout", signOut
      "a logout, and the end of its tombstone",
      (fun place ->
          task {
              do! signOut place
              do! place.Store.Remove("a", none)
          })
      "a logout, and the target's janitor",
      (fun place ->
          task {
              do! signOut place
              do! place.New.Remove("a", none)
          })
      "a write",
      (fun place ->
          task {
              let! _ = replace (live "a" 2L) place.Store
              ()
          }) ]

let private sleeps (name: string, operation: ISessionStore -> Task<bool>) =
    testList
        name
        [ for how, begun in beginnings do
              for what, others in meanwhile do
                  testCaseTask $"{how}: a node sleeps at every call through {what}" (fun () ->
                      task {
                          let! _ =
                              everywhere [ Sleeps ] (fun node why ->
                                  task {
                                      let! place = begun ()
                                      let running = run operation (place.Through node)
                                      let! _ = Task.WhenAny(node.Asleep, running)
                                      do! others place
                                      node.Wake()
                                      let! told = running
                                      let! found = load place.Store "a"

                                      match found with
                                      | Some found when found.Kind <> RecordKind.Ended ->
                                          // A write that is told to its client is lost by no more than an end.
                                          if what <> "a write" || (name = "remove" && told = Some true) then
                                              failtestf "%s, %s: back as %s" name why (show (Some found))
                                      | _ -> ()

                                      let! ids = enumerate 10 place.Store

                                      Expect.equal
                                          ids
                                          (if found.IsSome then [ "a" ] else [])
                                          "what is listed is there"
                                  })

                          ()
                      }) ]

/// Two at once: one may take up what the other one left.
let private sleepTogether =
    [ for how, begun in beginnings do
          for second in [ Sleeps; SleepsAndDies ] do
              testCaseTask
                  $"{how}: two movers sleep, each at every call, through a logout and its end: {second}"
                  (fun () ->
                      task {
                          let mutable tried = 0

                          for isFirst in [ true; false ] do
                              let! _ =
                                  everywhere [ Sleeps ] (fun one why ->
                                      task {
                                          let! alone = begun ()
                                          one.Wake()
                                          let! _ = run (replace (live "a" 2L)) (alone.Through one)

                                          let! _ =
                                              everywhere [ second ] (fun other again ->
                                                  task {
                                                      let one = one.Again()
                                                      let! place = begun ()
                                                      let first = run (replace (live "a" 2L)) (place.Through one)
                                                      let! _ = Task.WhenAny(one.Asleep, first)
                                                      let second = run (replace (live "a" 2L)) (place.Through other)
                                                      let! _ = Task.WhenAny(other.Asleep, second)
                                                      let! found = load place.Store "a"

                                                      match found with
                                                      | Some found when found.Kind <> RecordKind.Ended ->
                                                          let last = ended "a" (found.Version + 1L)
                                                          let! told = replace last place.Store
                                                          Expect.isTrue told "signed out"
                                                      | _ -> ()

                                                      do! place.Store.Remove("a", none)

                                                      if isFirst then
                                                          one.Wake()
                                                          let! _ = first
                                                          other.Wake()
                                                      else
                                                          other.Wake()
                                                          let! _ = second
                                                          one.Wake()

                                                      let! _ = first
                                                      let! _ = second
                                                      tried <- tried + 1
                                                      let! found = load place.Store "a"
                                                      Expect.isNone found $"{why}, {again}: back as {show found}"
                                                  })

                                          ()
                                      })

                              ()

                          Expect.isGreaterThan tried 20 "it was tried"
                      }) ]

let private races =
    [ testCaseTask "an application that does not know of the move: its logout sticks, wherever the mover is" (fun () ->
          task {
              let mutable acknowledged = 0
              let mutable refused = 0

              let! _ =
                  everywhere [ Sleeps ] (fun node why ->
                      task {
                          let place = Place()
                          let! _ = place.Old.Insert(live "a" 1L, none)
                          let running = run (replace (live "a" 2L)) (place.Through node)
                          let! _ = Task.WhenAny(node.Asleep, running)
                          // It reads the body of version 1 only under version 1.
                          let! told = replace (ended "a" 2L) place.Old
                          node.Wake()
                          let! moved = running
                          let! found = load place.Store "a"

                          if told then
                              acknowledged <- acknowledged + 1
                              Expect.notEqual moved (Some true) $"{why}: one of the two"
                              Expect.equal (show found) "v2 Ended" why
                          else
                              refused <- refused + 1
                              Expect.equal moved (Some true) $"{why}: one of the two"
                              Expect.equal (show found) "v2 Live" why
                      })

              Expect.isGreaterThan acknowledged 0 "before the fence it is acknowledged"
              Expect.isGreaterThan refused 0 "behind it no more"
          })

      testCaseTask "a reader that sleeps anywhere finds a session that is moved meanwhile" (fun () ->
          task {
              let! _ =
                  everywhere [ Sleeps ] (fun node why ->
                      task {
                          let place = Place()
                          let! _ = place.Old.Insert(live "a" 1L, none)
                          let store = place.Through node
                          let reading = load store "a"
                          let! _ = Task.WhenAny(node.Asleep, reading)
                          let! _ = replace (live "a" 2L) place.Store
                          node.Wake()
                          let! found = reading
                          Expect.isSome found why
                      })

              ()
          })

      testCaseTask
          "who reads many and sleeps anywhere finds those that are moved meanwhile, each as it is, and once"
          (fun () ->
              task {
                  let! _ =
                      everywhere [ Sleeps ] (fun node why ->
                          task {
                              let place = Place()

                              for id in [ "a"; "b"; "c" ] do
                                  let! _ = place.Old.Insert(live id 1L, none)
                                  ()

                              let! _ = replace (live "c" 2L) place.Store
                              let! _ = place.New.Insert(placeholder, none)
                              let ids = [| "a"; "b"; "c"; "nobody's" |]
                              let reading = (SessionStore.loadMany (place.Through node) ids none).AsTask()
                              let! _ = Task.WhenAny(node.Asleep, reading)
                              let! _ = replace (live "b" 2L) place.Store
                              node.Wake()
                              let! found = reading

                              let ofId id =
                                  [ for record in found do
                                        if record.Id = id then
                                            record.Version ]

                              Expect.equal found.Count 3 $"{why}: each once, and nobody else"

                              Expect.equal
                                  (ofId "a", ofId "c")
                                  ([ 1L ], [ 2L ])
                                  $"{why}: beside a placeholder, and moved before"

                              Expect.isTrue (ofId "b" = [ 1L ] || ofId "b" = [ 2L ]) $"{why}: moved meanwhile"
                          })

                  ()
              })

      testCaseTask "a touch that sleeps anywhere reaches a session that is moved meanwhile" (fun () ->
          task {
              for how, begun in beginnings do
                  let! tried =
                      everywhere [ Sleeps ] (fun node why ->
                          task {
                              let! place = begun ()
                              let touching = (place.Through node).Touch("a", at 7, none).AsTask()
                              let! _ = Task.WhenAny(node.Asleep, touching)
                              let! moved = replace (live "a" 2L) place.Store
                              Expect.isTrue moved $"{how}, {why}: moved"
                              node.Wake()
                              do! touching
                              let! found = load place.Store "a"
                              Expect.equal (found |> Option.map _.LastSeen) (Some(at 7)) $"{how}, {why}: it was seen"
                          })

                  Expect.isGreaterThan tried 2 "it was tried at both stores"
          })

      for limit in [ 1; 2; 10 ] do
          testCaseTask $"a listing, {limit} a page, misses none that is moved meanwhile, wherever who sleeps" (fun () ->
              task {
                  let place () =
                      task {
                          let place = Place()

                          for id in [ "a"; "c" ] do
                              let! _ = place.Old.Insert(live id 1L, none)
                              ()

                          let! _ = place.New.Insert(live "b" 1L, none)
                          return place
                      }

                  for list in [ bySubject limit; enumerate limit ] do
                      let! _ =
                          everywhere [ Sleeps ] (fun node why ->
                              task {
                                  let! place = place ()
                                  let listing = list (place.Through node)
                                  let! _ = Task.WhenAny(node.Asleep, listing)
                                  let! _ = replace (live "a" 2L) place.Store
                                  let! _ = replace (live "c" 2L) place.Store
                                  node.Wake()
                                  let! ids = listing
                                  Expect.equal ids [ "a"; "b"; "c" ] $"the listing: {why}"
                              })

                      let! _ =
                          everywhere [ Sleeps ] (fun node why ->
                              task {
                                  let! place = place ()
                                  let moving = replace (live "a" 2L) (place.Through node)
                                  let! _ = Task.WhenAny(node.Asleep, moving)
                                  let! ids = list place.Store
                                  Expect.equal ids [ "a"; "b"; "c" ] $"the mover: {why}"
                                  node.Wake()
                                  let! told = moving
                                  Expect.isTrue told "moved"
                              })

                      ()
              })

      testCaseTask "each overdue record is claimed once, wherever a mover died, and nothing is left behind" (fun () ->
          task {
              let! _ =
                  everywhere deaths (fun node why ->
                      task {
                          let place = Place()

                          for id in [ "a"; "c" ] do
                              let! _ = place.Old.Insert(live id 1L, none)
                              ()

                          let! _ = place.New.Insert(live "b" 1L, none)
                          let! _ = run (replace (live "a" 2L)) (place.Through node)
                          let! claimed = place.Store.ClaimOverdue(at 60, TimeSpan.FromMinutes 2L, 10, none)
                          let ids = claimed |> Seq.map _.Id |> Seq.sort |> List.ofSeq
                          Expect.equal ids [ "a"; "b"; "c" ] why
                          let! again = place.Store.ClaimOverdue(at 61, TimeSpan.FromMinutes 2L, 10, none)
                          Expect.isEmpty again $"{why}: until the lease is over"

                          for record in claimed do
                              do! place.Store.Remove(record.Id, none)

                          // Placeholders go with the next sweeps.
                          let! _ = place.Store.ClaimOverdue(at 90, TimeSpan.FromMinutes 2L, 10, none)
                          let! left = place.New.Enumerate(null, 10, none)
                          let! old = place.Old.Enumerate(null, 10, none)
                          Expect.equal (left.Records.Count + old.Records.Count) 0 $"{why}: empty"
                      })

              ()
          })

      testCaseTask "a placeholder of a sleeper is cleared away, and the id is free again" (fun () ->
          task {
              let! _ =
                  everywhere [ Sleeps ] (fun node why ->
                      task {
                          let place = Place()
                          let! _ = place.Old.Insert(live "a" 1L, none)
                          let running = run (replace (live "a" 2L)) (place.Through node)
                          let! _ = Task.WhenAny(node.Asleep, running)
                          do! place.Store.Remove("a", none)
                          node.Wake()
                          let! _ = running
                          let! _ = place.Store.ClaimOverdue(at 60, TimeSpan.FromMinutes 2L, 10, none)
                          let! answer = place.Store.Insert(live "a" 1L, none)
                          Expect.equal answer WriteResult.Written why
                      })

              ()
          })

      testCaseTask "a reschedule reaches a record wherever its mover died" (fun () ->
          task {
              let! _ =
                  everywhere deaths (fun node why ->
                      task {
                          let place = Place()
                          let! _ = place.Old.Insert(live "a" 1L, none)
                          let! _ = run (replace (live "a" 2L)) (place.Through node)
                          let! claimed = place.Store.ClaimOverdue(at 60, TimeSpan.FromMinutes 2L, 10, none)
                          let record = Seq.exactlyOne claimed
                          do! place.Store.Reschedule("a", record.Version, at 70, none)
                          let! early = place.Store.ClaimOverdue(at 69, TimeSpan.FromMinutes 2L, 10, none)
                          Expect.isEmpty early why
                          let! due = place.Store.ClaimOverdue(at 70, TimeSpan.FromMinutes 2L, 10, none)
                          Expect.equal (due |> Seq.map _.Id |> List.ofSeq) [ "a" ] why
                      })

              ()
          }) ]

/// Parallel movers that give way at random.
let private together seed =
    testCaseTask
        "parallel writers on four nodes: every acknowledged write counts, and nothing comes after the end"
        (fun () ->
            task {
                for round in 1..150 do
                    let place = Place()
                    let! _ = place.Old.Insert(live "a" 1L, none)

                    let yielding (n: int) (inner: ISessionStore) =
                        let random = Random(seed * 31 + round * 7 + n)

                        let away () =
                            task {
                                for _ in 1 .. random.Next 4 do
                                    do! Task.Yield()
                            }

                        let later (send: unit -> ValueTask<'a>) =
                            ValueTask<'a>(
                                task =
                                    task {
                                        do! away ()
                                        return! send ()
                                    }
                            )

                        { new ISessionStore with
                            member _.Prepare cancel = inner.Prepare cancel
                            member _.Insert(record, cancel) = later (fun () -> inner.Insert(record, cancel))
                            member _.Load(id, cancel) = later (fun () -> inner.Load(id, cancel))

                            member _.Replace(record, expected, cancel) =
                                later (fun () -> inner.Replace(record, expected, cancel))

                            member _.Touch(id, at, cancel) = inner.Touch(id, at, cancel)

                            member _.Remove(id, cancel) =
                                ValueTask(
                                    task =
                                        task {
                                            do! away ()
                                            do! inner.Remove(id, cancel)
                                        }
                                )

                            member _.BySubject(subject, after, limit, cancel) =
                                inner.BySubject(subject, after, limit, cancel)

                            member _.Enumerate(after, limit, cancel) = inner.Enumerate(after, limit, cancel)
                            member _.Count cancel = inner.Count cancel

                            member _.ClaimOverdue(now, lease, limit, cancel) =
                                inner.ClaimOverdue(now, lease, limit, cancel)

                            member _.Reschedule(id, version, dueAt, cancel) =
                                inner.Reschedule(id, version, dueAt, cancel) }

                    let mutable written = 0

                    let client n =
                        task {
                            let store =
                                MigratingStore(yielding n place.New, yielding (n + 4) place.Old) :> ISessionStore

                            let mutable left = 6

                            while left > 0 do
                                match! load store "a" with
                                | None -> failtestf "round %d: the session is lost" round
                                | Some found when found.Kind = RecordKind.Ended -> left <- 0
                                | Some found ->
                                    let next = found.Version + 1L
                                    // One of them ends it, sooner or later.
                                    let record = if n = 0 && left = 2 then ended "a" next else live "a" next
                                    let! told = replace record store

                                    if told then
                                        Interlocked.Increment &written |> ignore
                                        left <- left - 1
                        }

                    do! Task.WhenAll [| for n in 0..3 -> Task.Run(fun () -> client n :> Task) |]
                    let! found = load place.Store "a"
                    Expect.equal (show found) $"v{1 + written} Ended" $"round {round} of seed {seed}"
                    let! old = place.Old.Load("a", none)
                    Expect.isNull old "and nothing is left in the source"
            })

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
