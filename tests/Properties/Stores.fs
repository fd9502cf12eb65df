/// The memory store against the sentences of the port.
module Properties.Stores

open System
open System.Threading
open System.Threading.Tasks
open Expecto
open Session.Engine
open Properties.Histories

let private none = CancellationToken.None
let private body (n: int) = ReadOnlyMemory [| byte n |]

let private record id version due =
    StoredRecord(id, version, RecordKind.Live, at 0, at due, "ada", int64 version, body (int version))

let private ofKind kind id due = StoredRecord(id, 1L, kind, at 0, at due, null, 1L, body 1)
let private full capacity = MemoryStore(MemoryStoreOptions(Capacity = capacity)) :> ISessionStore
let private empty () = full 1000
let private wait (task: ValueTask<'a>) = task.AsTask().GetAwaiter().GetResult()
let private finish (task: ValueTask) = task.AsTask().GetAwaiter().GetResult()
let private insert (store: ISessionStore) record = store.Insert(record, none) |> wait
let private load (store: ISessionStore) id = store.Load(id, none) |> wait |> Option.ofObj
let private replace (store: ISessionStore) record expected = store.Replace(record, expected, none) |> wait

let private claim (store: ISessionStore) now limit =
    [ for record in store.ClaimOverdue(at now, minutes 2, limit, none) |> wait do
          record.Id ]

let private ids (page: StoredPage) =
    [ for record in page.Records do
          record.Id ]

/// All pages, one after the other.
let private pages (read: string | null -> ValueTask<StoredPage>) =
    let rec go (after: string | null) : string list list =
        let page = wait (read after)

        match page.Next with
        | null -> [ ids page ]
        | next -> ids page :: go next

    go null

let private bySubject (store: ISessionStore) subject =
    pages (fun after -> store.BySubject(subject, after, 100, none)) |> List.concat

let all =
    testList
        "the memory store"
        [ testCase "what is inserted is loaded as it was" (fun () ->
              let store = empty ()
              Expect.equal (insert store (record "a" 1L 5)) WriteResult.Written "written"
              let found = (load store "a").Value

              Expect.equal
                  (found.Id, found.Version, found.DueAt, found.Subject, found.Operation)
                  ("a", 1L, at 5, "ada", 1L)
                  "all of it"

              Expect.equal (found.Body.ToArray()) [| 1uy |] "the body"
              Expect.isNone (load store "A") "ids are compared ordinally")

          testCase "an id is inserted once, also under a tombstone" (fun () ->
              let store = empty ()
              insert store (ofKind RecordKind.Ended "a" 1) |> ignore
              Expect.equal (insert store (record "a" 9L 5)) WriteResult.Conflict "conflict"
              Expect.equal (load store "a").Value.Version 1L "nothing was changed")

          testCase "a replace needs the version that is stored, and never creates" (fun () ->
              let store = empty ()
              Expect.equal (replace store (record "a" 2L 5) 1L) WriteResult.Absent "absent"
              Expect.isNone (load store "a") "not created"
              insert store (record "a" 1L 5) |> ignore
              Expect.equal (replace store (record "a" 3L 5) 2L) WriteResult.Conflict "conflict"
              Expect.equal (load store "a").Value.Version 1L "nothing was changed"
              Expect.equal (replace store (record "a" 2L 5) 1L) WriteResult.Written "written"
              Expect.equal (replace store (record "a" 2L 5) 1L) WriteResult.Conflict "once"
              Expect.equal (load store "a").Value.Version 2L "the second version")

          testCase "of 50 replaces at once one is written" (fun () ->
              let store = empty ()
              insert store (record "a" 1L 5) |> ignore
              let answers = Array.Parallel.map (fun _ -> replace store (record "a" 2L 5) 1L) [| 1..50 |]
              Expect.equal (answers |> Array.filter ((=) WriteResult.Written) |> Array.length) 1 "one")

          testCase "touch moves last seen forward, never back, and nothing else" (fun () ->
              let store = empty ()
              let touch id n = store.Touch(id, at n, none) |> finish
              insert store (record "a" 1L 5) |> ignore
              touch "a" 3
              touch "a" 2
              let found = (load store "a").Value
              Expect.equal (found.LastSeen, found.Version, found.DueAt) (at 3, 1L, at 5) "only last seen"
              touch "b" 3
              Expect.isNone (load store "b") "does not create"
              insert store (ofKind RecordKind.Ended "c" 1) |> ignore
              touch "c" 3
              Expect.equal (load store "c").Value.LastSeen (at 0) "not a tombstone")

          testCase "a replace keeps the later last seen" (fun () ->
              let store = empty ()
              insert store (record "a" 1L 5) |> ignore
              store.Touch("a", at 3, none) |> finish
              replace store (record "a" 2L 5) 1L |> ignore
              Expect.equal (load store "a").Value.LastSeen (at 3) "the touch is kept"
              replace store ((record "a" 3L 5).SeenAt(at 4)) 2L |> ignore
              Expect.equal (load store "a").Value.LastSeen (at 4) "the later one counts")

          testCase "remove removes record and indexes, also twice" (fun () ->
              let store = empty ()
              insert store (record "a" 1L 5) |> ignore
              store.Remove("a", none) |> finish
              store.Remove("a", none) |> finish
              Expect.isNone (load store "a") "the record"
              Expect.isEmpty (bySubject store "ada") "the subject"
              Expect.isEmpty (claim store 9 10) "the due index"
              Expect.equal (store.Count none |> wait) 0L "the count"
              Expect.equal (insert store (record "a" 1L 5)) WriteResult.Written "the id is free")

          testCase "the subject index follows the record" (fun () ->
              let store = empty ()
              insert store (ofKind RecordKind.Live "a" 5) |> ignore
              Expect.isEmpty (bySubject store "ada") "no subject"
              replace store (record "a" 2L 5) 1L |> ignore
              Expect.equal (bySubject store "ada") [ "a" ] "signed in"
              replace store (StoredRecord("a", 3L, RecordKind.Live, at 0, at 5, "bob", 1L, body 3)) 2L |> ignore
              Expect.isEmpty (bySubject store "ada") "no more"
              Expect.equal (bySubject store "bob") [ "a" ] "another subject"
              Expect.isEmpty (bySubject store "BOB") "compared ordinally")

          testCase "pages hold every record once, in the order of ids, whatever the limit" (fun () ->
              let store = empty ()

              let all =
                  [ for i in 1..25 do
                        $"id-{i:D2}" ]
                  @ [ "A"; "_"; "z" ]

              let sorted = all |> List.sortWith (fun a b -> String.CompareOrdinal(a, b))

              for id in List.rev all do
                  insert store (record id 1L 5) |> ignore

              for limit in [ 1; 2; 7; 14; 27; 28; 29; 100 ] do
                  let subject = pages (fun after -> store.BySubject("ada", after, limit, none))
                  let every = pages (fun after -> store.Enumerate(after, limit, none))
                  Expect.equal (List.concat subject) sorted $"by subject, {limit}"
                  Expect.equal (List.concat every) sorted $"enumerate, {limit}"
                  Expect.all (subject @ every) (fun page -> page.Length <= limit) $"at most {limit}")

          testCase "a page goes on behind a record that was removed meanwhile" (fun () ->
              let store = empty ()

              for id in [ "a"; "b"; "c" ] do
                  insert store (record id 1L 5) |> ignore

              let first = store.Enumerate(null, 2, none) |> wait
              store.Remove("b", none) |> finish
              Expect.equal (ids (store.Enumerate(first.Next, 2, none) |> wait)) [ "c" ] "the rest")

          testCase "so it does when another walk has begun meanwhile, or come to its end" (fun () ->
              for limit in [ 1; 9 ] do
                  let store = empty ()

                  for id in [ "a"; "b"; "c"; "d" ] do
                      insert store (record id 1L 5) |> ignore

                  let first = store.Enumerate(null, 2, none) |> wait
                  let firstOf = store.BySubject("ada", null, 2, none) |> wait
                  store.Remove("b", none) |> finish
                  store.Enumerate(null, limit, none) |> wait |> ignore
                  store.BySubject("ada", null, limit, none) |> wait |> ignore
                  let rest = store.Enumerate(first.Next, 9, none) |> wait
                  let restOf = store.BySubject("ada", firstOf.Next, 9, none) |> wait
                  Expect.equal (ids rest, ids restOf) ([ "c"; "d" ], [ "c"; "d" ]) $"beside a page of {limit}")

          testCase "what is stored before a walk begins is found by it, whoever else walks" (fun () ->
              let store = full 100_000

              for n in 1..2000 do
                  insert store (record $"a{n}" 1L 5) |> ignore

              use isOver = new CancellationTokenSource()

              let begin' () =
                  while not isOver.IsCancellationRequested do
                      store.Enumerate(null, 1, none) |> wait |> ignore

              let others = [| for _ in 1..4 -> Task.Factory.StartNew(Action begin', TaskCreationOptions.LongRunning) |]

              try
                  for n in 1..200 do
                      let id = $"z{n}"
                      insert store (record id 1L 5) |> ignore
                      let first = store.Enumerate(null, 1, none) |> wait
                      // What others began before the insert comes to its end now.
                      Thread.Sleep 1
                      let rest = store.Enumerate(first.Next, Int32.MaxValue, none) |> wait
                      Expect.isTrue (List.contains id (ids rest)) $"{id} was there before"
              finally
                  isOver.Cancel()
                  Task.WaitAll(others))

          testCase "tombstones are not counted, but loaded and listed" (fun () ->
              let store = empty ()
              insert store (record "a" 1L 5) |> ignore
              insert store (StoredRecord("b", 1L, RecordKind.Ended, at 0, at 5, "ada", 1L, body 1)) |> ignore
              insert store (ofKind RecordKind.Unconfirmed "c" 5) |> ignore
              Expect.equal (store.Count none |> wait) 2L "count"
              Expect.equal (bySubject store "ada") [ "a"; "b" ] "listed"
              Expect.isSome (load store "b") "loaded")

          testCase "overdue records are claimed longest overdue first, at their time and not before" (fun () ->
              let store = empty ()

              for id, due in [ "a", 3; "b", 1; "c", 2; "d", 4 ] do
                  insert store (record id 1L due) |> ignore

              Expect.isEmpty (store.ClaimOverdue((at 1).AddTicks -1L, minutes 2, 9, none) |> wait) "one tick before"
              Expect.equal (claim store 3 2) [ "b"; "c" ] "two at most"
              Expect.equal (claim store 3 9) [ "a" ] "at its time, and none twice"
              Expect.isEmpty (claim store 3 9) "claimed")

          testCase "a claim lasts as long as its lease" (fun () ->
              let store = empty ()
              insert store (record "a" 1L 1) |> ignore
              Expect.equal (claim store 1 9) [ "a" ] "claimed"
              Expect.isEmpty (store.ClaimOverdue((at 3).AddTicks -1L, minutes 2, 9, none) |> wait) "one tick before"
              Expect.equal (claim store 3 9) [ "a" ] "over")

          testCase "16 callers at once share 200 overdue records" (fun () ->
              let store = empty ()

              for i in 1..200 do
                  insert store (record (string i) 1L 1) |> ignore

              let claimed =
                  Array.Parallel.map
                      (fun _ ->
                          [ for _ in 1..10 do
                                yield! claim store 1 3 ])
                      [| 1..16 |]
                  |> List.concat

              Expect.equal (List.distinct claimed).Length claimed.Length "each to one"
              Expect.equal claimed.Length 200 "all of them")

          testCase "a replaced record is due when it says so, not at the end of the lease" (fun () ->
              let store = empty ()
              insert store (record "a" 1L 1) |> ignore
              claim store 1 9 |> ignore
              replace store (record "a" 2L 2) 1L |> ignore
              Expect.equal (claim store 2 9) [ "a" ] "the lease is gone")

          testCase "reschedule moves what is still at this version, and nothing else" (fun () ->
              let store = empty ()
              insert store (record "a" 1L 1) |> ignore
              claim store 1 9 |> ignore
              store.Reschedule("a", 1L, at 2, none) |> finish
              Expect.equal (load store "a").Value.Version 1L "the version stays"
              store.Reschedule("a", 7L, at 9, none) |> finish
              store.Reschedule("b", 1L, at 2, none) |> finish
              Expect.equal (claim store 2 9) [ "a" ] "another version, or none, does nothing"
              Expect.isNone (load store "b") "does not create")

          testCase "a full store drops the unconfirmed that is due first" (fun () ->
              let store = full 3
              insert store (ofKind RecordKind.Unconfirmed "late" 9) |> ignore
              insert store (ofKind RecordKind.Unconfirmed "early" 2) |> ignore
              insert store (record "kept" 1L 1) |> ignore
              Expect.equal (insert store (record "new" 1L 5)) WriteResult.Written "room was made"
              Expect.isNone (load store "early") "dropped"
              Expect.isSome (load store "late") "not yet"
              insert store (record "newer" 1L 5) |> ignore
              Expect.isNone (load store "late") "dropped, too"
              Expect.equal (store.Count none |> wait) 3L "as many as it holds")

          testCase "a store full of confirmed sessions refuses, and loses none" (fun () ->
              let store = full 2
              insert store (ofKind RecordKind.Unconfirmed "a" 2) |> ignore
              replace store (record "a" 2L 5) 1L |> ignore
              insert store (record "b" 1L 5) |> ignore
              Expect.throwsT<StoreFullException> (fun () -> insert store (record "c" 1L 5) |> ignore) "full"
              Expect.equal (bySubject store "ada") [ "a"; "b" ] "none is lost"
              Expect.equal (insert store (record "a" 1L 5)) WriteResult.Conflict "a taken id is a conflict still"
              Expect.equal (replace store (record "b" 2L 5) 1L) WriteResult.Written "a replace needs no room")

          testCase "a capacity below 1 is refused" (fun () ->
              Expect.throwsT<ArgumentException> (fun () -> full 0 |> ignore) "0")

          testCase "the report says what the store can, and where it is" (fun () ->
              let report (store: ISessionStore) = store.Prepare none |> wait
              let a, b = empty (), empty ()
              Expect.isTrue ((report a).ComparesAndSwaps && (report a).Lists) "all of it"
              Expect.equal (report a).Location (report a).Location "the same place"
              Expect.notEqual (report a).Location (report b).Location "another place") ]
