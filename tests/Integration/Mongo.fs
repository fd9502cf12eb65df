/// The MongoDB store beside its contract: what it sends, what it survives, and what it says at start. These tests look into
/// the server and break it, so they run on the stand-in, whatever SESSION_MONGO says.
module Integration.Mongo

open System
open System.Diagnostics
open System.Text
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.Extensions.DependencyInjection
open MongoDB.Bson
open MongoDB.Driver
open Integration.MongoServer
open Integration.World
open Session.Engine
open Session.Stores.Mongo

let private none = CancellationToken.None
let private start = DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero)

let private record id version isDurable =
    StoredRecord(
        id,
        version,
        RecordKind.Live,
        start,
        start.AddHours 1.0,
        "ada",
        Random.Shared.NextInt64(),
        ReadOnlyMemory(Encoding.UTF8.GetBytes "body"),
        isDurable
    )

let private loaded (store: ISessionStore) id =
    task {
        match! store.Load(id, none) with
        | null -> return failtestf "%s is gone" id
        | found -> return found
    }

/// With short deadlines.
let private openAt (address: string) configure =
    openMongoAt address "sessions" (fun options ->
        options.OperationTimeout <- TimeSpan.FromSeconds 2L
        configure options)

/// A server of its own, and a store on it.
let private on configure (body: StandIn -> ISessionStore -> Task<unit>) =
    task {
        use server = new StandIn()
        use store = openAt server.Address configure
        do! body server store
    }

let private test name (body: StandIn -> ISessionStore -> Task<unit>) =
    testCaseTask name (fun () ->
        on ignore (fun server store ->
            task {
                let! _ = store.Prepare none
                server.Forget()
                do! body server store
                Expect.isEmpty server.Refused "the stand-in knows all that was sent"
            }))

let private names (server: StandIn) = server.Commands |> List.map (fun command -> command.GetElement(0).Name)

/// The first command of this name meets this fault, and no other.
let private once (server: StandIn) name fault =
    let mutable left = 1

    server.Fault <-
        fun command ->
            if command.GetElement(0).Name = name && Interlocked.Exchange(&left, 0) = 1 then Some fault else None

/// As somebody does by hand, or another program.
let private put (client: MongoClient) (id: string) (name: string) (value: BsonValue) =
    task {
        let filter = BsonDocumentFilterDefinition<BsonDocument>(BsonDocument("_id", BsonString id))

        let change = BsonDocumentUpdateDefinition<BsonDocument>(BsonDocument("$set", BsonDocument(name, value)))

        let sessions = client.GetDatabase("session-tests").GetCollection<BsonDocument>("sessions")
        let! result = sessions.UpdateOneAsync(filter, change)
        Expect.equal result.MatchedCount 1L "it is there"
    }

/// What another program may have put in a field of a record.
let private strange: (string * BsonValue) list =
    [ "kind", BsonInt32 9
      "due", BsonInt64(-1L)
      "seen", BsonInt64 Int64.MaxValue
      "op", BsonString "x"
      "subject", BsonInt32 5
      "body", BsonString "x"
      "v", BsonDouble 1.5 ]

let private isMajority (command: BsonDocument) =
    command.Contains "writeConcern"
    && command["writeConcern"].AsBsonDocument.GetValue("w", BsonNull.Value).Equals(BsonString "majority")

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

let private faults =
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

let private notes (configure: StandIn -> unit) (address: string -> string) =
    task {
        use server = new StandIn()
        configure server
        use store = openMongoAt (address server.Address) "sessions" ignore
        let! report = (store :> ISessionStore).Prepare none
        return String.Join('\n', report.Notes)
    }

let private starts =
    testList
        "what it says at start"
        [ testCaseTask "how many members survive" (fun () ->
              task {
                  let! one = notes ignore id
                  Expect.stringContains one "one member with data" "one"
                  let! two = notes (fun server -> server.Members <- 2) id
                  Expect.stringContains two "no majority can confirm them" "two"
                  let! three = notes (fun server -> server.Members <- 3) id
                  Expect.equal three "" "three"

                  for members, passives, said in [ 1, 1, "no majority can confirm them"; 1, 2, ""; 2, 1, "" ] do
                      let! some =
                          notes
                              (fun server ->
                                  server.Members <- members
                                  server.Passives <- passives)
                              id

                      let what = $"{members}, and {passives} of priority 0, which count as well"
                      if said = "" then Expect.equal some "" what else Expect.stringContains some said what
              })

          testCaseTask "a clock that is not that of the server's is told, ahead and behind" (fun () ->
              task {
                  let ahead hours (server: StandIn) =
                      server.Members <- 3
                      server.Ahead <- TimeSpan.FromHours(float hours)

                  let! slow = notes (ahead -1) id
                  Expect.stringContains slow "ahead of that of MongoDB" "which way"
                  Expect.stringContains slow "01:00:0" "and by how much"
                  let! fast = notes (ahead 26) id
                  Expect.stringContains fast "1 days 0" "by how much"
                  Expect.stringContains fast "behind that of MongoDB" "and which way"

                  // Clocks that follow one time differ by less.
                  for seconds, isTold in [ -4.0, false; 4.0, false; -9.0, true; 9.0, true ] do
                      let! said =
                          notes
                              (fun server ->
                                  server.Members <- 3
                                  server.Ahead <- TimeSpan.FromSeconds seconds)
                              id

                      Expect.equal (said.Contains "that of MongoDB") isTold $"{seconds} s"
              })

          testCaseTask
              "a majority that is not on disk, retries that are off, writes that nobody acknowledges"
              (fun () ->
                  task {
                      let! journal =
                          notes
                              (fun server ->
                                  server.Members <- 3

                                  server.Settings <-
                                      BsonDocument("writeConcernMajorityJournalDefault", BsonBoolean.False))
                              id

                      Expect.stringContains journal "writeConcernMajorityJournalDefault is false" "the journal"

                      let! retries =
                          notes (fun server -> server.Members <- 3) (fun address -> address + "&retryWrites=false")

                      Expect.stringContains retries "retryWrites is false" "retries"
                      let! blind = notes (fun server -> server.Members <- 3) (fun address -> address + "&w=0")
                      Expect.stringContains blind "w=0" "acknowledgement"
                  })

          testCaseTask "a user that may not ask for the settings of the set starts, and nothing is said" (fun () ->
              task {
                  // Those of the set, and those of the collection.
                  for question in [ "replSetGetConfig"; "listCollections" ] do
                      let mutable asked = 0

                      let forbids (command: BsonDocument) =
                          if command.GetElement(0).Name = question then
                              Interlocked.Increment &asked |> ignore
                              Some(Fault.Refused(13, "Unauthorized"))
                          else
                              None

                      let! said =
                          notes
                              (fun server ->
                                  server.Members <- 3
                                  server.Fault <- forbids)
                              id

                      Expect.equal said "" $"{question}: nothing"
                      Expect.isGreaterThan asked 0 $"{question}: it was asked"
              })

          testCaseTask
              "stores that share their documents say the same place, in whichever order each names the servers"
              (fun () ->
                  task {
                      let placeOf (servers: string) (database: string) (collection: string) =
                          task {
                              // Nobody answers there: what a store says of its place, it knows by itself.
                              let options =
                                  MongoStoreOptions(
                                      ConnectionString = $"mongodb://{servers}/{database}",
                                      Collection = collection,
                                      OperationTimeout = TimeSpan.FromMilliseconds 100L
                                  )

                              use store = new MongoStore(options)
                              let! report = (store :> ISessionStore).Prepare none
                              return report.Location
                          }

                      let one, other = "127.0.0.1:1,127.0.0.1:2", "127.0.0.1:2,127.0.0.1:1"
                      let! place = placeOf one "shop" "sessions"
                      let! same = placeOf other "shop" "sessions"
                      Expect.equal same place "the same servers"

                      for servers, database, collection in
                          [ "127.0.0.1:1", "shop", "sessions"
                            other, "others", "sessions"
                            other, "shop", "others" ] do
                          let! another = placeOf servers database collection
                          Expect.notEqual another place $"{servers}/{database}.{collection}"
                  })

          testCaseTask
              "a server that is not there yet is a sentence, and no exception; the indexes come later"
              (fun () ->
                  on (fun options -> options.OperationTimeout <- TimeSpan.FromMilliseconds 500L) (fun server store ->
                      task {
                          server.Away <- true
                          let! report = store.Prepare none
                          Expect.stringContains (String.Join('\n', report.Notes)) "does not answer" "the sentence"
                          Expect.stringContains report.Location "/session-tests.sessions" "the place"
                          Expect.isFalse (report.Location.Contains '@') "no password"
                          server.Away <- false
                          let clock = Stopwatch.StartNew()

                          // The driver looks for it anew every half second, and this store waits no longer.
                          while (server.Indexes "session-tests.sessions").IsEmpty
                                && clock.Elapsed < TimeSpan.FromSeconds 20L do
                              try
                                  let! _ = store.ClaimOverdue(start, TimeSpan.FromMinutes 1L, 1, none)
                                  ()
                              with :? TimeoutException ->
                                  ()

                          Expect.equal (server.Indexes "session-tests.sessions").Length 4 "made by the sweeper"
                      }))

          testCaseTask "a user or a password that is refused stops the start, with what to change" (fun () ->
              task {
                  for code, name, isFinal in
                      [ 18, "AuthenticationFailed", true
                        11, "UserNotFound", true
                        334, "MechanismUnavailable", true
                        8000, "AtlasError", true
                        // A router that cannot ask for its users: that passes.
                        6, "HostUnreachable", false ] do
                      use server = new StandIn()

                      server.Fault <-
                          fun command ->
                              if command.GetElement(0).Name = "saslStart" then
                                  Some(Fault.Refused(code, name))
                              else
                                  None

                      let address = server.Address.Replace("mongodb://", "mongodb://ann:hunter2@")
                      use store = openAt address ignore

                      let! said =
                          task {
                              try
                                  let! report = (store :> ISessionStore).Prepare none
                                  return Ok(String.Join('\n', report.Notes))
                              with :? InvalidOperationException as refusal ->
                                  return Error refusal.Message
                          }

                      match said with
                      | Error sentence ->
                          Expect.isTrue isFinal $"{name} passes: {sentence}"

                          for word in [ $"127.0.0.1:{server.Port}"; "user ann"; "password"; "connection string" ] do
                              Expect.stringContains sentence word name

                          Expect.isFalse (sentence.Contains "hunter2") "no password"
                      | Ok notes ->
                          Expect.isFalse isFinal $"{name} does not pass: {notes}"
                          Expect.stringContains notes "does not answer" "a note"
              })

          testCaseTask "a certificate that nobody trusts stops the start" (fun () ->
              task {
                  // Of another kind, but no client says a word before it trusts a server.
                  use server = new RedisTls.TlsServer([])

                  use store =
                      openMongoAt $"mongodb://{server.Address}/?tls=true" "sessions" (fun options ->
                          options.OperationTimeout <- TimeSpan.FromSeconds 3L)

                  let! said =
                      task {
                          try
                              let! report = (store :> ISessionStore).Prepare none
                              return String.Join('\n', report.Notes)
                          with :? InvalidOperationException as refusal ->
                              return refusal.Message
                      }

                  Expect.stringContains said $"certificate of MongoDB at {server.Address}" "the cause"
              })

          testCaseTask "indexes of another program under our names are refused" (fun () ->
              on ignore (fun server store ->
                  task {
                      use client = new MongoClient(server.Address)

                      let! _ =
                          client
                              .GetDatabase("session-tests")
                              .GetCollection<BsonDocument>("sessions")
                              .Indexes.CreateOneAsync(
                                  CreateIndexModel<BsonDocument>(
                                      Builders<BsonDocument>.IndexKeys.Ascending "other",
                                      CreateIndexOptions(Name = "due")
                                  )
                              )

                      let! answer = Async.Catch(store.Prepare(none).AsTask() |> Async.AwaitTask) |> Async.StartAsTask

                      match answer with
                      | Choice2Of2 error -> Expect.stringContains (string error) "another name" "what to change"
                      | Choice1Of2 _ -> failtest "started"
                  }))

          testCaseTask "and so are such of another kind, whichever word the server has for it" (fun () ->
              task {
                  for code, word in [ 85, "IndexOptionsConflict"; 86, "IndexKeySpecsConflict" ] do
                      do!
                          on ignore (fun server store ->
                              task {
                                  server.Fault <-
                                      fun command ->
                                          if command.GetElement(0).Name = "createIndexes" then
                                              Some(Fault.Refused(code, word))
                                          else
                                              None

                                  let! answer =
                                      Async.Catch(store.Prepare(none).AsTask() |> Async.AwaitTask)
                                      |> Async.StartAsTask

                                  match answer with
                                  | Choice2Of2 error -> Expect.stringContains (string error) "another name" word
                                  | Choice1Of2 _ -> failtest "started"
                              })
              })

          testCaseTask
              "a collection that takes two texts for one is refused; one that was made beforehand without that is not"
              (fun () ->
                  task {
                      for collation, isTaken in
                          [ "{ locale: 'en', strength: 2 }", false
                            "{ locale: 'fr', strength: 1 }", false
                            "{ locale: 'simple' }", true ] do
                          let collation = Collation.FromBsonDocument(BsonDocument.Parse collation)
                          use server = new StandIn()
                          use client = new MongoClient(server.Address)
                          let options = CreateCollectionOptions(Collation = collation)
                          do! client.GetDatabase("session-tests").CreateCollectionAsync("sessions", options)
                          use store = openMongoAt server.Address "sessions" ignore

                          let! said =
                              task {
                                  try
                                      let! _ = (store :> ISessionStore).Prepare none
                                      return ""
                                  with :? InvalidOperationException as refusal ->
                                      return refusal.Message
                              }

                          Expect.isEmpty server.Refused "the stand-in knows all that was sent"

                          if isTaken then
                              Expect.equal said "" "it starts"
                          else
                              Expect.stringContains said $"collation of its own ({collation.Locale})" "the cause"
                              Expect.stringContains said "MongoStoreOptions.Collection" "what to change"
                  })

          testCaseTask
              "the registered client is used where none is named for these sessions, and its absence is said"
              (fun () ->
                  task {
                      let servicesWith (client: IMongoClient option) (configure: MongoStoreOptions -> unit) =
                          let services = ServiceCollection()

                          match client with
                          | Some client -> services.AddSingleton<IMongoClient>(client) |> ignore
                          | None -> ()

                          SessionBuilder(services, typeof<string>)
                              .UseMongo(fun options ->
                                  options.Database <- "shop"
                                  options.Collection <- "theirs"
                                  configure options)
                          |> ignore

                          services.BuildServiceProvider()

                      let theStore (provider: ServiceProvider) =
                          provider.GetRequiredKeyedService<ISessionStore> typeof<string>

                      use without = servicesWith None ignore

                      Expect.throwsC (fun () -> theStore without |> ignore) (fun error ->
                          Expect.stringContains error.Message "IMongoClient" "named")

                      use server = new StandIn()
                      use other = new StandIn()
                      use client = new MongoClient(server.Address)
                      let registered = Some(client :> IMongoClient)
                      use provider = servicesWith registered ignore
                      let! written = (theStore provider).Insert(record "a" 1L false, none)
                      Expect.equal written WriteResult.Written "through the registered one"
                      Expect.equal (server.Documents "shop.theirs").Length 1 "it is there"

                      // What is named for these sessions goes before it.
                      use otherClient = new MongoClient(other.Address)
                      let named = otherClient :> IMongoClient

                      for id, configure in
                          [ "by client", (fun (options: MongoStoreOptions) -> options.Client <- named)
                            "by address", (fun options -> options.ConnectionString <- other.Address) ] do
                          use provider = servicesWith registered configure
                          let! written = (theStore provider).Insert(record id 1L false, none)
                          Expect.equal written WriteResult.Written id

                      Expect.equal (other.Documents "shop.theirs").Length 2 "where these sessions are"
                      Expect.equal (server.Documents "shop.theirs").Length 1 "and nowhere else"
                  })

          testCase "wrong settings are refused with a sentence, and without the password" (fun () ->
              let refusal configure =
                  let options = MongoStoreOptions(ConnectionString = "mongodb://localhost/app")
                  configure options

                  try
                      (new MongoStore(options) :> IDisposable).Dispose()
                      failtest "made"
                  with :? ArgumentException as error ->
                      error.Message

              Expect.stringContains
                  (refusal (fun options -> options.ConnectionString <- "mongodb://localhost"))
                  "name of a database"
                  "no database"

              let wrong = refusal (fun options -> options.ConnectionString <- "mango://me:hunter2@localhost/app")
              Expect.stringContains wrong "no connection string" "no connection string"
              Expect.isFalse (wrong.Contains "hunter2") "no password"

              Expect.stringContains
                  (refusal (fun options -> options.OperationTimeout <- TimeSpan.Zero))
                  "OperationTimeout"
                  "the deadline"

              Expect.stringContains (refusal (fun options -> options.Collection <- "")) "Collection" "the collection") ]

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
