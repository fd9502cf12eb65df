/// The MongoDB store beside its contract: what it sends, what it survives, and what it says at start. These tests look into
/// the server and break it, so they run on the stand-in, whatever SESSION_MONGO says.
module Integration.Mongo

open System
open System.Threading.Tasks
open Expecto
open MongoDB.Bson
open MongoDB.Driver
open Integration.MongoServer
open Integration.World
open Integration.MongoWorld
open Integration.MongoFaults
open Integration.MongoStarts
open Session.Engine
open Session.Stores.Mongo

let private costs =
    testList
        "what it sends"
        [ test "a read is one command, a write one more, and nothing is an upsert" (fun server store ->
              task {
                  let! _ = store.Insert(record "a" 1L false, none)
                  Expect.equal (names server) [ "insert" ] "an insert"
                  server.Forget()
                  let! _ = store.Load("a", none)
                  Expect.equal (names server) [ "find" ] "a read"
                  server.Forget()
                  let! written = store.Replace(record "a" 2L false, 1L, none)
                  Expect.equal written WriteResult.Written "a write"
                  Expect.equal (names server) [ "update" ] "a write"
                  server.Forget()
                  do! store.Touch("a", start.AddMinutes 1.0, none)
                  Expect.equal (names server) [ "update" ] "a touch"
              })

          test
              "what ends a session or changes its token asks for a majority, and routine writes do not"
              (fun server store ->
                  task {
                      let! _ = store.Insert(record "a" 1L false, none)
                      let! _ = store.Replace(record "a" 2L false, 1L, none)
                      Expect.isFalse (List.exists isMajority server.Commands) "routine"
                      server.Forget()
                      let! _ = store.Insert(record "b" 1L true, none)
                      let! _ = store.Replace(record "a" 3L true, 2L, none)
                      Expect.equal (List.map isMajority server.Commands) [ true; true ] "what must last"
                  })

          testCaseTask
              "what the client asks to be confirmed is asked for by all that is routine; what must last asks a majority"
              (fun () ->
                  task {
                      use server = new StandIn()
                      use opened = openAt (server.Address + "&w=2") ignore
                      let store = opened :> ISessionStore
                      let! _ = store.Prepare none
                      server.Forget()
                      let! _ = store.Insert(record "a" 1L false, none)
                      let! _ = store.Replace(record "a" 2L false, 1L, none)
                      do! store.Touch("a", start.AddMinutes 1.0, none)
                      let! _ = store.ClaimOverdue(start.AddHours 2.0, TimeSpan.FromMinutes 1L, 10, none)
                      do! store.Reschedule("a", 2L, start.AddHours 3.0, none)
                      do! store.Remove("a", none)

                      let writes =
                          server.Commands
                          |> List.filter (fun command ->
                              List.contains (command.GetElement(0).Name) [ "insert"; "update"; "delete" ])

                      Expect.equal writes.Length 6 "an insert, four updates and a removal"

                      for command: BsonDocument in writes do
                          let concern = command["writeConcern"].AsBsonDocument
                          Expect.equal (concern["w"].ToInt32()) 2 $"{command}"

                      server.Forget()
                      let! _ = store.Insert(record "b" 1L true, none)
                      Expect.equal (List.map isMajority server.Commands) [ true ] "what must last"
                  })

          testCaseTask "whatever the client prefers, each session is read from the primary" (fun () ->
              task {
                  for preferred in [ "secondary"; "secondaryPreferred"; "nearest" ] do
                      use server = new StandIn()
                      use store = openAt (server.Address + $"&readPreference={preferred}") ignore
                      let store = store :> ISessionStore
                      let! _ = store.Prepare none
                      let! _ = store.Insert(record "a" 1L true, none)
                      server.Forget()
                      let! _ = loaded store "a"
                      let! several = (store :?> IReadsMany).LoadMany([| "a" |], none)
                      Expect.equal several.Count 1 "read"
                      let! theirs = store.BySubject("ada", null, 10, none)
                      Expect.equal theirs.Records.Count 1 "listed"
                      let! all = store.Enumerate(null, 10, none)
                      Expect.equal all.Records.Count 1 "listed"
                      let! count = store.Count none
                      Expect.equal count 1L "counted"
                      let! claimed = store.ClaimOverdue(start.AddHours 2.0, TimeSpan.FromMinutes 1L, 10, none)
                      Expect.equal claimed.Count 1 "claimed"
                      Expect.isNonEmpty server.Commands "asked"

                      for command in server.Commands do
                          match command.TryGetValue "$readPreference" with
                          | true, asked -> Expect.equal (asked["mode"].AsString) "primary" $"{preferred}: {command}"
                          | _ -> ()
              })

          test "the removal of a version is one command" (fun server store ->
              task {
                  let first = record "a" 1L false
                  let! _ = store.Insert(first, none)
                  server.Forget()
                  do! SessionStore.removeVersion store first none
                  Expect.equal (names server) [ "delete" ] "no look before it"
                  let! found = store.Load("a", none)
                  Expect.isNull found "gone"
              })

          test "a claim without a limit takes all, some thousand at once" (fun server store ->
              task {
                  for i in 1..1100 do
                      let! _ = store.Insert(record $"id-%04d{i}" 1L false, none)
                      ()

                  server.Forget()

                  let! claimed = store.ClaimOverdue(start.AddHours 2.0, TimeSpan.FromMinutes 1L, Int32.MaxValue, none)

                  Expect.equal (claimed |> Seq.distinctBy _.Id |> Seq.length) 1100 "all, each once"
                  Expect.equal (names server |> List.filter ((=) "update") |> List.length) 2 "in two turns"
              })

          test "no command looks at every document" (fun server store ->
              task {
                  for i in 1..250 do
                      let! _ = store.Insert(record $"id-%03d{i}" 1L false, none)
                      ()

                  server.Forget()
                  let! page = store.BySubject("ada", null, 200, none)
                  Expect.equal (page.Records.Count, page.Next) (200, "id-200") "a page over several batches"
                  let! page = store.BySubject("ada", page.Next, 200, none)
                  Expect.equal (page.Records.Count, page.Next) (50, null) "the last page"
                  let! _ = store.Enumerate(null, 10, none)
                  let! count = store.Count none
                  Expect.equal count 250L "the count"
                  let! claimed = store.ClaimOverdue(start.AddHours 2.0, TimeSpan.FromMinutes 1L, 100, none)
                  Expect.equal claimed.Count 100 "a claim"
                  do! store.Reschedule("id-001", 1L, start.AddHours 3.0, none)

                  let indexed =
                      "_id"
                      :: [ for index in server.Indexes "session-tests.sessions" ->
                               (index.GetElement "key").Value.AsBsonDocument.GetElement(0).Name ]

                  let isServed (filter: BsonDocument) (sort: BsonDocument) =
                      if filter.ElementCount = 0 then
                          sort.Names |> Seq.contains "_id"
                      else
                          filter.Names |> Seq.exists (fun name -> List.contains name indexed)

                  for command in server.Commands do
                      let filters =
                          match command.GetElement(0).Name with
                          | "find" ->
                              let sort =
                                  match command.TryGetValue "sort" with
                                  | true, sort -> sort.AsBsonDocument
                                  | _ -> BsonDocument()

                              let filter =
                                  match command.TryGetValue "filter" with
                                  | true, filter -> filter.AsBsonDocument
                                  | _ -> BsonDocument()

                              [ filter, sort ]
                          | "update" ->
                              [ for one in command["updates"].AsBsonArray -> one["q"].AsBsonDocument, BsonDocument() ]
                          | "aggregate" ->
                              let stage: BsonDocument = (command["pipeline"].AsBsonArray[0]).AsBsonDocument
                              [ stage.GetElement("$match").Value.AsBsonDocument, BsonDocument() ]
                          | _ -> []

                      for filter, sort in filters do
                          Expect.isTrue (isServed filter sort) $"an index serves {command}"
              })

          test "the server's own clean-up comes long after the lifecycle's" (fun server store ->
              task {
                  let! _ = store.Insert(record "a" 1L false, none)
                  // Its hour, and the margin of a day, from now on: the server's clock counts here.
                  server.CleanUp "session-tests.sessions" (DateTime.UtcNow.AddHours 24.9)
                  let! found = store.Load("a", none)
                  Expect.isNotNull found "within the margin"
                  do! store.Reschedule("a", 1L, start.AddDays 3.0, none)
                  server.CleanUp "session-tests.sessions" (DateTime.UtcNow.AddDays 3.9)
                  let! found = store.Load("a", none)
                  Expect.isNotNull found "moved with the due time"
                  server.CleanUp "session-tests.sessions" (DateTime.UtcNow.AddDays 4.1)
                  let! found = store.Load("a", none)
                  Expect.isNull found "after it"

                  let! _ = store.Insert(record "b" 1L false, none)
                  let later = (record "b" 2L false).Due(start.AddDays 3.0)
                  let! written = store.Replace(later, 1L, none)
                  Expect.equal written WriteResult.Written "written"
                  server.CleanUp "session-tests.sessions" (DateTime.UtcNow.AddDays 3.9)
                  let! found = store.Load("b", none)
                  Expect.isNotNull found "a write moves it, too"
                  server.CleanUp "session-tests.sessions" (DateTime.UtcNow.AddDays 4.1)
                  let! found = store.Load("b", none)
                  Expect.isNull found "after it"
              }) ]

let private alone =
    let opened configure (body: StandIn -> ISessionStore -> Task<unit>) =
        task {
            use server = new StandIn(Alone = true)
            use store = openMongoAt server.Address "sessions" configure
            do! body server store
        }

    testList
        "one node and no replica set"
        [ testCaseTask "works, and is sent nothing that needs a set" (fun () ->
              opened ignore (fun server store ->
                  task {
                      let! report = store.Prepare none
                      Expect.exists report.Notes _.Contains("no replica set") "the note"
                      let! inserted = store.Insert(record "a" 1L true, none)
                      let! replaced = store.Replace(record "a" 2L true, 1L, none)
                      Expect.equal (inserted, replaced) (WriteResult.Written, WriteResult.Written) "what must last"
                      do! store.Touch("a", start.AddMinutes 1.0, none)
                      let! claimed = store.ClaimOverdue(start.AddHours 2.0, TimeSpan.FromMinutes 1L, 5, none)
                      Expect.equal claimed.Count 1 "claimed"
                      do! store.Reschedule("a", 2L, start.AddHours 3.0, none)
                      let! found = store.Insert(record "a" 1L false, none)
                      Expect.equal found WriteResult.Conflict "once"
                      do! store.Remove("a", none)
                      let! count = store.Count none
                      Expect.equal count 0L "gone"
                      Expect.equal server.Refused [] "nothing that it refuses"
                  }))

          testCaseTask "a lost answer is looked up: nobody sends the write again" (fun () ->
              opened ignore (fun server store ->
                  task {
                      let! _ = store.Prepare none
                      let! _ = store.Insert(record "a" 1L false, none)
                      once server "update" LostAnswer
                      let! lasting = store.Replace(record "a" 2L true, 1L, none)
                      Expect.equal lasting WriteResult.Written "asked again whether it is there"
                      once server "update" LostAnswer
                      let! routine = store.Replace(record "a" 3L false, 2L, none)
                      Expect.equal routine WriteResult.Unknown "the caller looks it up"
                      let! found = loaded store "a"
                      Expect.equal found.Version 3L "once"
                  }))

          testCaseTask "reads that ask a majority are refused at start" (fun () ->
              opened (fun options -> options.LinearizableReads <- true) (fun _ store ->
                  task {
                      let! answer = Async.Catch(store.Prepare(none).AsTask() |> Async.AwaitTask) |> Async.StartAsTask

                      match answer with
                      | Choice2Of2 error -> Expect.stringContains (string error) "--replSet" "what to change"
                      | Choice1Of2 _ -> failtest "started"
                  })) ]

let all = testList "MongoDB" [ costs; faults; starts; alone ]
