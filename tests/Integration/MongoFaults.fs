/// What the MongoDB store survives: answers that never come, elections, values of strangers.
module Integration.MongoFaults

open System
open System.Diagnostics
open System.Text
open System.Threading
open System.Threading.Tasks
open Expecto
open MongoDB.Bson
open MongoDB.Driver
open Integration.MongoServer
open Integration.World
open Integration.MongoWorld
open Session.Engine
open Session.Stores.Mongo

let faults =
    testList
        "what it survives"
        [ for isDurable in [ false; true ] do
              let kind = if isDurable then "that must last" else "of routine"

              for name, fault in
                  [ "a lost request", LostRequest
                    "a lost answer", LostAnswer
                    "a primary that steps down", Fault.Refused(10107, "NotWritablePrimary") ] do
                  test
                      $"a write {kind}, and {name}: the driver sends it again, and it takes effect once"
                      (fun server store ->
                          task {
                              once server "insert" fault
                              let! written = store.Insert(record "a" 1L isDurable, none)
                              Expect.equal written WriteResult.Written "inserted"
                              once server "update" fault
                              let! written = store.Replace(record "a" 2L isDurable, 1L, none)
                              Expect.equal written WriteResult.Written "replaced"
                              let! found = loaded store "a"
                              Expect.equal found.Version 2L "once"
                          })

          test
              "a routine write without an answer is unknown, and the record shows what became of it"
              (fun server store ->
                  task {
                      let! _ = store.Insert(record "a" 1L false, none)
                      once server "update" (Late(TimeSpan.FromSeconds 3L))
                      let ours = record "a" 2L false
                      let clock = Stopwatch.StartNew()
                      let! written = store.Replace(ours, 1L, none)
                      Expect.equal written WriteResult.Unknown "unknown"
                      Expect.isLessThan clock.Elapsed.TotalSeconds 2.9 "one deadline"
                      do! Task.Delay 1200
                      let! found = loaded store "a"
                      Expect.equal found.Operation ours.Operation "it took effect, later"
                  })

          testCaseTask
              "a server that changes its part or runs out of time during a write leaves it unknown, which is no failure"
              (fun () ->
                  let trial code name =
                      task {
                          use server = new StandIn()

                          // The driver sends nothing again: the first answer is what counts.
                          use opened = openAt (server.Address + "&retryWrites=false") ignore
                          let store = opened :> ISessionStore
                          let! _ = store.Insert(record "a" 1L false, none)

                          server.Fault <-
                              fun command ->
                                  match command.GetElement(0).Name with
                                  | "insert"
                                  | "update" -> Some(Fault.Refused(code, name))
                                  | _ -> None

                          let! inserted = store.Insert(record "b" 1L false, none)
                          Expect.equal inserted WriteResult.Unknown $"{name}: of routine"
                          let! replaced = store.Replace(record "a" 2L true, 1L, none)
                          Expect.equal replaced WriteResult.Unknown $"{name}: that must last"
                      }

                  let answers =
                      [ 10107, "NotWritablePrimary"
                        189, "PrimarySteppedDown"
                        11602, "InterruptedDueToReplStateChange"
                        50, "MaxTimeMSExpired" ]

                  task {
                      let! _ = Task.WhenAll [ for code, name in answers -> trial code name ]
                      ()
                  })

          testCaseTask
              "a client that asks for no acknowledgement: what becomes of a write is known all the same"
              (fun () ->
                  task {
                      use server = new StandIn()
                      use opened = openAt (server.Address + "&w=0") ignore
                      let store = opened :> ISessionStore
                      let! _ = store.Prepare none

                      for isDurable in [ false; true ] do
                          let of' version = record $"of-{isDurable}" version isDurable
                          let! absent = store.Replace(of' 2L, 1L, none)
                          Expect.equal absent WriteResult.Absent "nothing is there"
                          let! inserted = store.Insert(of' 1L, none)
                          Expect.equal inserted WriteResult.Written "inserted"
                          let! again = store.Insert(of' 1L, none)
                          Expect.equal again WriteResult.Conflict "the id is taken"
                          let! replaced = store.Replace(of' 2L, 1L, none)
                          Expect.equal replaced WriteResult.Written "replaced"
                          let! conflict = store.Replace(of' 3L, 1L, none)
                          Expect.equal conflict WriteResult.Conflict "another version"
                  })

          test
              "a write that must last and has no answer is confirmed by a majority, or it is no success"
              (fun server store ->
                  task {
                      let! _ = store.Insert(record "a" 1L false, none)
                      let mutable updates = 0

                      // Done, and never answered, nor is its retry; the confirmation is.
                      server.Fault <-
                          fun command ->
                              if command.GetElement(0).Name = "update" && Interlocked.Increment &updates <= 2 then
                                  Some LostAnswer
                              else
                                  None

                      server.Forget()
                      let! written = store.Replace(record "a" 2L true, 1L, none)
                      Expect.equal written WriteResult.Written "confirmed"
                      Expect.isTrue (server.Commands |> List.forall isMajority) "by a majority"

                      // Done, and no answer; and then the primary alone has it.
                      updates <- 0

                      server.Fault <-
                          fun command ->
                              if command.GetElement(0).Name <> "update" then None
                              elif Interlocked.Increment &updates <= 2 then Some LostAnswer
                              else Some NoMajority

                      let! answer = store.Replace(record "a" 3L true, 2L, none)
                      Expect.equal answer WriteResult.Unacknowledged "it is there, and no majority has it"

                      // Never done: what is looked for then is not there, and may come yet.
                      updates <- 0

                      server.Fault <-
                          fun command ->
                              if command.GetElement(0).Name = "update" && Interlocked.Increment &updates <= 2 then
                                  Some LostRequest
                              else
                                  None

                      let! answer = store.Replace(record "a" 4L true, 3L, none)
                      Expect.equal answer WriteResult.Unknown "nobody knows"
                      let! found = loaded store "a"
                      Expect.equal found.Version 3L "not done"
                  })

          test "a write that is done and that no majority has is unacknowledged, and can be loaded" (fun server store ->
              task {
                  server.Fault <-
                      fun command ->
                          match command.GetElement(0).Name with
                          | "insert"
                          | "update" -> Some NoMajority
                          | _ -> None

                  let clock = Stopwatch.StartNew()

                  for isDurable, id in [ true, "a"; false, "b" ] do
                      let! inserted = store.Insert(record id 1L isDurable, none)
                      Expect.equal inserted WriteResult.Unacknowledged "inserted"
                      let! found = loaded store id
                      Expect.equal found.Version 1L "it is there"
                      let! again = store.Insert(record id 1L isDurable, none)
                      Expect.equal again WriteResult.Conflict "the id is taken"
                      let! replaced = store.Replace(record id 2L isDurable, 1L, none)
                      Expect.equal replaced WriteResult.Unacknowledged "replaced"
                      let! found = loaded store id
                      Expect.equal found.Version 2L "it is there"
                      let! conflict = store.Replace(record id 2L isDurable, 1L, none)
                      Expect.equal conflict WriteResult.Conflict "nothing was changed"

                  let! absent = store.Replace(record "c" 2L true, 1L, none)
                  Expect.equal absent WriteResult.Absent "nothing was there"
                  Expect.isLessThan clock.Elapsed.TotalSeconds 2.0 "nobody waits"
              })

          test "the server gives up on a majority before the store gives up on the server" (fun server store ->
              task {
                  let! _ = store.Insert(record "a" 1L true, none)
                  let command: BsonDocument = List.exactlyOne server.Commands
                  let concern = command["writeConcern"].AsBsonDocument
                  Expect.equal (concern["wtimeout"].ToInt32()) 1500 "three quarters of OperationTimeout"
              })

          test
              "a server that is away is an exception within one deadline, and all goes on when it is back"
              (fun server store ->
                  task {
                      let! _ = store.Insert(record "a" 1L false, none)
                      server.Away <- true
                      let clock = Stopwatch.StartNew()
                      let! answer = Async.Catch(store.Load("a", none).AsTask() |> Async.AwaitTask) |> Async.StartAsTask

                      match answer with
                      | Choice1Of2 found -> failtestf "an answer: %A" found
                      | Choice2Of2 _ -> ()

                      Expect.isLessThan clock.Elapsed.TotalSeconds 4.0 "one deadline"
                      server.Away <- false
                      let! found = loaded store "a"
                      Expect.equal found.Version 1L "back"
                  })

          test "a write that must last, and the look for it, have one deadline together" (fun server store ->
              task {
                  let! _ = store.Insert(record "a" 1L false, none)

                  server.Fault <-
                      fun command ->
                          if command.GetElement(0).Name = "update" then Some(Late(TimeSpan.FromSeconds 5L)) else None

                  let clock = Stopwatch.StartNew()
                  let! written = store.Replace(record "a" 2L true, 1L, none)
                  Expect.equal written WriteResult.Unknown "nobody knows"
                  Expect.isLessThan clock.Elapsed.TotalSeconds 2.9 "one deadline, of two seconds"

                  server.Fault <- fun _ -> None
                  server.Away <- true
                  clock.Restart()

                  let! written =
                      task {
                          try
                              let! inserted = store.Insert(record "b" 1L true, none)
                              return inserted
                          with :? TimeoutException ->
                              return WriteResult.Unknown
                      }

                  Expect.equal written WriteResult.Unknown "nobody can be asked"
                  Expect.isLessThan clock.Elapsed.TotalSeconds 2.9 "one deadline, though it was never sent"
              })

          test "a replace that finds another version, and its look, have one deadline together" (fun server store ->
              task {
                  let! _ = store.Insert(record "a" 1L false, none)

                  server.Fault <-
                      fun command ->
                          match command.GetElement(0).Name with
                          | "update" -> Some(Late(TimeSpan.FromSeconds 1.5))
                          | "find" -> Some(Late(TimeSpan.FromSeconds 5L))
                          | _ -> None

                  let clock = Stopwatch.StartNew()

                  let! isLate =
                      task {
                          try
                              let! _ = store.Replace(record "a" 9L false, 8L, none)
                              return false
                          with :? TimeoutException ->
                              return true
                      }

                  Expect.isTrue isLate "nobody knows which version is there"
                  Expect.isLessThan clock.Elapsed.TotalSeconds 2.9 "one deadline, of two seconds"
              })

          test "a read whose caller has gone before is not sent" (fun server store ->
              task {
                  let! _ = store.Insert(record "a" 1L false, none)
                  server.Forget()
                  do! Engines.cancelledReadsAreNotSent store
                  Expect.isEmpty server.Commands "nothing"
              })

          test "whoever goes while the server is silent is told so at once, and of no time-out" (fun server store ->
              task {
                  server.Fault <-
                      fun command ->
                          if command.GetElement(0).Name = "aggregate" then
                              Some(Late(TimeSpan.FromSeconds 5L))
                          else
                              None

                  use caller = new CancellationTokenSource(TimeSpan.FromMilliseconds 200L)
                  let clock = Stopwatch.StartNew()

                  let! said =
                      task {
                          try
                              let! count = store.Count caller.Token
                              return $"{count}"
                          with
                          | :? OperationCanceledException -> return "cancelled"
                          | error -> return string error
                      }

                  Expect.equal said "cancelled" "it was the caller who did not wait"
                  Expect.isLessThan clock.Elapsed.TotalSeconds 1.8 "before the deadline of two seconds"
              })

          test "numbers of another type are read: as a shell and an import write them" (fun server store ->
              task {
                  for id in [ "a"; "b"; "c" ] do
                      let! _ = store.Insert(record id 1L false, none)
                      ()

                  use client = new MongoClient(server.Address)

                  let changes: (string * BsonValue) list =
                      [ "due", BsonInt32 0
                        "v", BsonInt32 1
                        "kind", BsonInt64 1L
                        "seen", BsonDouble(float start.UtcTicks) ]

                  for name, value in changes do
                      do! put client "a" name value

                  let! claimed = store.ClaimOverdue(start.AddHours 2.0, TimeSpan.FromMinutes 1L, 10, none)
                  Expect.equal [ for one in claimed -> one.Id ] [ "a"; "b"; "c" ] "the longest overdue first"
                  let! found = loaded store "a"
                  Expect.equal (found.Version, found.Kind) (1L, RecordKind.Live) "as it was"
                  Expect.equal (found.Body.ToArray()) "body"B "with what is in it"
                  let! written = store.Replace(record "a" 2L false, 1L, none)
                  Expect.equal written WriteResult.Written "and it goes on"
              })

          test
              "a document that is no record of ours keeps no sweep, list or logout from the others"
              (fun server store ->
                  task {
                      use client = new MongoClient(server.Address)

                      for name, value in strange do
                          let ids = [ for one in [ "a"; "b"; "c" ] -> $"{name}-{one}" ]

                          for id in ids do
                              let! _ = store.Insert(record id 1L false, none)
                              ()

                          do! put client ids[1] name value
                          let! several = (store :?> IReadsMany).LoadMany(Array.ofList ids, none)
                          let found = several |> Seq.find (fun one -> one.Id = ids[1])

                          Expect.equal
                              (several.Count, found.Body.Length)
                              (3, 0)
                              $"{name}: there is nothing in it to read"

                          let! claimed = store.ClaimOverdue(start.AddHours 2.0, TimeSpan.FromHours 9, 10, none)
                          Expect.equal (List.sort [ for one in claimed -> one.Id ]) ids $"{name}: claimed"

                      let every = [ for name, _ in strange -> $"{name}-b" ]
                      let! all = store.Enumerate(null, 100, none)
                      Expect.equal all.Records.Count (3 * every.Length) "all are listed"
                      let! theirs = store.BySubject("ada", null, 100, none)
                      Expect.equal theirs.Records.Count (3 * every.Length - 1) "and of the subject all whose it is"

                      for id in List.except [ "v-b" ] every do
                          let! one = loaded store id
                          Expect.equal one.Kind RecordKind.Live $"{id} is loaded, and cannot be read"

                      let engine = Engines.engineOn store Engines.settings TimeProvider.System Engines.silent
                      let! ended = engine.DestroyEvery(Session.Domain.Revoked, none)
                      Expect.isError ended "one of them has no version, and cannot be ended"
                      let! all = store.Enumerate(null, 100, none)

                      let living =
                          [ for one in all.Records do
                                if one.Kind <> RecordKind.Ended then
                                    one.Id ]

                      Expect.equal living [ "v-b" ] "all others are"
                  })

          testCaseTask
              "where each read asks a majority, a document that is no record of ours keeps no look at several from the others"
              (fun () ->
                  on (fun options -> options.LinearizableReads <- true) (fun server store ->
                      task {
                          use client = new MongoClient(server.Address)

                          for name, value in strange do
                              let ids = [ for one in [ "a"; "b"; "c" ] -> $"{name}-{one}" ]

                              for id in ids do
                                  let! _ = store.Insert(record id 1L false, none)
                                  ()

                              do! put client ids[1] name value
                              let! several = (store :?> IReadsMany).LoadMany(Array.ofList ids, none)
                              Expect.equal (List.sort [ for one in several -> one.Id ]) ids $"{name}: all are found"
                              let found = several |> Seq.find (fun one -> one.Id = ids[1])
                              Expect.equal found.Body.Length 0 $"{name}: there is nothing in it to read"

                          // More than are asked for side by side.
                          let every =
                              [| for name, _ in strange do
                                     for one in [ "a"; "b"; "c" ] -> $"{name}-{one}" |]

                          let! all = (store :?> IReadsMany).LoadMany(every, none)
                          Expect.equal (Set.ofList [ for one in all -> one.Id ]) (Set.ofArray every) "all of them"
                      }))

          test "a document whose id is no text keeps no sweep and no list from the others" (fun server store ->
              task {
                  use client = new MongoClient(server.Address)

                  // Overdue for longer than all others: a sweep would come across it first.
                  let theirs =
                      BsonDocument(
                          [ BsonElement("_id", BsonObjectId(ObjectId.GenerateNewId()))
                            BsonElement("v", BsonInt64 1L)
                            BsonElement("kind", BsonInt32 1)
                            BsonElement("due", BsonInt64 0L)
                            BsonElement("subject", BsonString "ada") ]
                      )

                  do!
                      client
                          .GetDatabase("session-tests")
                          .GetCollection<BsonDocument>("sessions")
                          .InsertOneAsync(theirs)

                  for id in [ "a"; "b" ] do
                      let! _ = store.Insert(record id 1L false, none)
                      ()

                  let! all = store.Enumerate(null, 10, none)
                  Expect.equal [ for one in all.Records -> one.Id ] [ "a"; "b" ] "all others are listed"
                  let! hers = store.BySubject("ada", null, 10, none)
                  Expect.equal [ for one in hers.Records -> one.Id ] [ "a"; "b" ] "and those of a subject"

                  // One at a time: what comes first must not be the same one for ever.
                  let claim () = store.ClaimOverdue(start.AddHours 2.0, TimeSpan.FromMinutes 1L, 1, none)
                  let! first = claim ()
                  let! second = claim ()
                  Expect.equal [ for one in Seq.append first second -> one.Id ] [ "a"; "b" ] "and claimed"
              })

          test "a tombstone that somebody has changed stays one" (fun server store ->
              task {
                  use client = new MongoClient(server.Address)
                  let changes = strange |> List.filter (fun (name, _) -> name <> "kind" && name <> "v")

                  for name, value in changes do
                      let body = ReadOnlyMemory(Encoding.UTF8.GetBytes "body")
                      let due = start.AddHours 1.0
                      let ended = StoredRecord(name, 1L, RecordKind.Ended, start, due, "ada", 7L, body, false)
                      let! written = store.Insert(ended, none)
                      Expect.equal written WriteResult.Written name
                      do! put client name name value
                      let! found = loaded store name
                      Expect.equal found.Kind RecordKind.Ended $"{name}: nobody's session any more"

                  let! all = store.Enumerate(null, 100, none)
                  Expect.equal all.Records.Count changes.Length "all are listed"
                  Expect.all all.Records (fun one -> one.Kind = RecordKind.Ended) "as what they are"
                  let! count = store.Count none
                  Expect.equal count 0L "and none is counted"
              })

          test "a document of another program is an error that says so, and no session" (fun server store ->
              task {
                  use client = new MongoClient(server.Address)

                  do!
                      client
                          .GetDatabase("session-tests")
                          .GetCollection<BsonDocument>("sessions")
                          .InsertOneAsync(
                              BsonDocument([ BsonElement("_id", BsonString "a"); BsonElement("v", BsonString "1") ])
                          )

                  let! answer = Async.Catch(store.Load("a", none).AsTask() |> Async.AwaitTask) |> Async.StartAsTask

                  match answer with
                  | Choice2Of2 error -> Expect.stringContains (string error) "no record of this library" "the sentence"
                  | Choice1Of2 found -> failtestf "opened: %A" found
              }) ]
