/// Notices between nodes by change streams of MongoDB. On the stand-in, which has them as the documentation says; no real
/// server's were ever heard here, unless SESSION_MONGO names a replica set: then the contract of the store has tried them.
module Integration.SignalsMongo

open System
open System.Collections.Concurrent
open System.Diagnostics
open System.Threading
open System.Threading.Tasks
open Expecto
open MongoDB.Bson
open MongoDB.Driver
open Integration.MongoServer
open Integration.World
open Session.Engine
open Session.Stores.Mongo

let private none = CancellationToken.None
let private openOn (server: StandIn) () = openMongoAt server.Address "sessions" ignore :> ISessionStore

let private test name (body: StandIn -> Task<unit>) =
    testCaseTask $"MongoDB (the stand-in): {name}" (fun () ->
        task {
            use server = new StandIn()
            do! body server
        })

let private until (what: string) (isTrue: unit -> bool) =
    task {
        let clock = Stopwatch.StartNew()

        while not (isTrue ()) do
            if clock.Elapsed > TimeSpan.FromSeconds 20L then
                failtestf "never came: %s" what

            do! Task.Delay 10
    }

let private publish (store: ISessionStore) (ids: string list) =
    (store :?> ISessionSignals).Publish(Array.ofList ids, none).AsTask()

let private names (server: StandIn) = server.Commands |> List.map (fun command -> command.GetElement(0).Name)
let private notices = "session-tests.sessions.notices"

let all =
    testSequenced (
        testList
            "notices on MongoDB"
            [ test "a logout on another node ends what is open, without a look" (fun server ->
                  task {
                      do! Live.hearsOfIt (openOn server)
                      Expect.isEmpty server.Refused "the stand-in knows all that was sent"
                  })
              test "with no notice coming through, the next look ends it" (fun server ->
                  task { do! Live.endsByLook (openOn server) })
              test "a stream that was cut looks at all when it is back" (fun server ->
                  task {
                      let cut () =
                          task {
                              server.Away <- true
                              do! Task.Delay 300
                              server.Away <- false
                          }

                      do! Live.endsAfter (openOn server) cut
                  })
              test "what one node says all hear, until they stop to listen" (fun server ->
                  task {
                      do! Live.hears (openOn server)
                      do! until "no stream" (fun () -> server.Streams = 0)
                  })
              test "a stream that the server has forgotten is followed anew, and all are looked at" (fun server ->
                  task {
                      use store = openMongoAt server.Address "sessions" ignore
                      let! heard, subscription = Live.listen store
                      do! publish store [ "before" ]
                      do! until "a notice" (fun () -> Seq.contains "before" heard)
                      Expect.isFalse (Seq.contains Live.everySession heard) "nothing is missed until now"
                      server.ForgetStreams()
                      do! until "that some may be missed" (fun () -> Seq.contains Live.everySession heard)
                      do! publish store [ "after" ]
                      do! until "a notice" (fun () -> Seq.contains "after" heard)
                      do! subscription.DisposeAsync()
                  })
              test "a stream that has no answer any more is followed anew, and all are looked at" (fun server ->
                  task {
                      use store =
                          openMongoAt server.Address "sessions" (fun options ->
                              options.OperationTimeout <- TimeSpan.FromSeconds 1L)

                      let! heard, subscription = Live.listen store
                      do! publish store [ "before" ]
                      do! until "a notice" (fun () -> Seq.contains "before" heard)
                      Expect.isFalse (Seq.contains Live.everySession heard) "nothing is missed until now"

                      // The connection stays open, and its server says nothing over it.
                      let mutable left = 1

                      server.Fault <-
                          fun command ->
                              if command.GetElement(0).Name = "getMore" && Interlocked.Exchange(&left, 0) = 1 then
                                  Some(Late(TimeSpan.FromMinutes 2L))
                              else
                                  None

                      do! until "that some may be missed" (fun () -> Seq.contains Live.everySession heard)
                      do! publish store [ "after" ]
                      do! until "a notice" (fun () -> Seq.contains "after" heard)
                      do! subscription.DisposeAsync()
                  })
              test "what another program writes in the place of a notice keeps nobody from the next one" (fun server ->
                  task {
                      use store = openMongoAt server.Address "sessions" ignore
                      let! heard, subscription = Live.listen store
                      use client = new MongoClient(server.Address)
                      let board = client.GetDatabase("session-tests").GetCollection<BsonDocument>("sessions.notices")
                      let theOne = BsonDocumentFilterDefinition<BsonDocument>(BsonDocument("_id", BsonString "ended"))

                      let strange: BsonValue list = [ BsonInt32 5; BsonString "" ]

                      for value in strange do
                          let said = BsonDocument("$set", BsonDocument("said", value))
                          let! changed = board.UpdateOneAsync(theOne, BsonDocumentUpdateDefinition<BsonDocument>(said))
                          Expect.equal changed.ModifiedCount 1L "it was written"

                      do! publish store [ "after" ]
                      do! until "a notice" (fun () -> Seq.contains "after" heard)
                      Expect.equal (List.ofSeq heard) [ "after" ] "and nothing else was said"
                      do! subscription.DisposeAsync()
                  })
              test "of two that begin to listen at the same moment both hear" (fun server ->
                  task {
                      use one = openMongoAt server.Address "sessions" ignore
                      use other = openMongoAt server.Address "sessions" ignore
                      let! heardByOne, first = Live.listen one
                      // It has found no document to change either, and comes second with its own.
                      let isFirst = ref true

                      server.Fault <-
                          fun command ->
                              if isFirst.Value && command.GetElement(0).Name = "update" then
                                  isFirst.Value <- false
                                  Some Taken
                              else
                                  None

                      let! heardByOther, second = Live.listen other
                      Expect.isFalse isFirst.Value "the other one was faster"
                      do! publish one [ "a" ]

                      for heard in [ heardByOne; heardByOther ] do
                          do! until "a notice" (fun () -> Seq.contains "a" heard)

                      do! second.DisposeAsync()
                      do! first.DisposeAsync()
                  })
              test "who may not say that it listens is told so, and leaves no stream behind" (fun server ->
                  task {
                      use store = openMongoAt server.Address "sessions" ignore
                      let! _ = (store :> ISessionStore).Prepare none

                      server.Fault <-
                          fun command ->
                              if command.GetElement(0).Name = "update" then
                                  Some(Fault.Refused(13, "Unauthorized"))
                              else
                                  None

                      let mutable said = ""

                      try
                          let! _, _ = Live.listen store
                          ()
                      with error ->
                          said <- string error

                      Expect.stringContains said "Unauthorized" "why"
                      do! until "no stream" (fun () -> server.Streams = 0)
                      server.Fault <- fun _ -> None
                      let! heard, subscription = Live.listen store
                      do! publish store [ "afterwards" ]
                      do! until "a notice" (fun () -> Seq.contains "afterwards" heard)
                      do! subscription.DisposeAsync()
                  })
              test "who stops to listen once the client is closed is told of no failure" (fun server ->
                  task {
                      for isCut in [ true; false ] do
                          let store = openMongoAt server.Address "sessions" ignore
                          let! _, subscription = Live.listen store
                          (store :> IDisposable).Dispose()

                          if isCut then
                              server.ForgetStreams()
                              // After a second it would follow another one.
                              do! Task.Delay 2500

                          do! subscription.DisposeAsync().AsTask().WaitAsync(TimeSpan.FromSeconds 10L)
                  })
              test "a listener says again that it is there long before its lease ends" (fun server ->
                  task {
                      use store = openMongoAt server.Address "sessions" ignore
                      let! heard, subscription = Live.listen store
                      server.Forget()

                      let isSaid () =
                          server.Commands
                          |> List.exists (fun command ->
                              command.GetElement(0).Name = "update" && (string command).Contains "$currentDate")

                      let clock = Stopwatch.StartNew()

                      // After a quarter of two minutes.
                      while not (isSaid ()) && clock.Elapsed < TimeSpan.FromSeconds 45L do
                          do! Task.Delay 500

                      Expect.isTrue (isSaid ()) "that it is there"
                      Expect.isFalse (Seq.contains Live.everySession heard) "and nothing is missed"
                      do! subscription.DisposeAsync()
                  })
              test "a notice is one update, and of nothing where nobody listens" (fun server ->
                  task {
                      use store = openMongoAt server.Address "sessions" ignore
                      let! _ = (store :> ISessionStore).Prepare none
                      server.Forget()
                      do! publish store [ "a"; "b" ]
                      Expect.equal (names server) [ "update" ] "one command"
                      Expect.isEmpty (server.Documents notices) "and nothing is kept"
                      let! heard, subscription = Live.listen store

                      for i in 1..100 do
                          do! publish store [ $"id-{i}" ]

                      do! until "the last one" (fun () -> Seq.contains "id-100" heard)
                      Expect.equal (server.Documents notices).Length 1 "one document, whatever is said"
                      do! subscription.DisposeAsync()
                      server.CleanUp notices (DateTime.UtcNow.AddSeconds 100.0)
                      Expect.equal (server.Documents notices).Length 1 "it stays as long as somebody may listen"
                      server.CleanUp notices (DateTime.UtcNow.AddSeconds 130.0)
                      Expect.isEmpty (server.Documents notices) "and goes by itself"
                  })
              test "five hundred sessions are looked at by one command" (fun server ->
                  task {
                      use store = openMongoAt server.Address "sessions" ignore
                      do! Live.severalAtOnce store
                      let ids = [| for i in 1..500 -> $"many-{i}" |]

                      for id in ids do
                          let at = DateTimeOffset.UtcNow

                          let! _ =
                              (store :> ISessionStore)
                                  .Insert(
                                      StoredRecord(id, 1L, RecordKind.Live, at, at, null, 1L, ReadOnlyMemory [| 1uy |]),
                                      none
                                  )

                          ()

                      server.Forget()
                      let! found = (store :> IReadsMany).LoadMany(ids, none)
                      Expect.equal found.Count 500 "all of them"
                      Expect.equal (names server) [ "find" ] "one command"
                  })
              test "reads that ask a majority are of one document each" (fun server ->
                  task {
                      use store =
                          openMongoAt server.Address "sessions" (fun options -> options.LinearizableReads <- true)

                      do! Live.severalAtOnce store
                      server.Forget()
                      let! _ = (store :> IReadsMany).LoadMany([| "id-1"; "id-2" |], none)

                      for command: BsonDocument in server.Commands do
                          Expect.equal
                              (command["readConcern"].AsBsonDocument["level"])
                              (BsonString "linearizable")
                              "each asks a majority"

                          Expect.isTrue (command["filter"].AsBsonDocument["_id"].IsString) "for one"
                  })
              testCaseTask
                  "MongoDB (the stand-in): one node and no replica set has no notices, and the start says so"
                  (fun () ->
                      task {
                          use server = new StandIn(Alone = true)
                          use store = openMongoAt server.Address "sessions" ignore
                          let! report = (store :> ISessionStore).Prepare none
                          Expect.exists report.Notes _.Contains("LiveCheck") "the start"
                          do! publish store [ "a" ]
                          let mutable sentence = ""

                          try
                              let! _, _ = Live.listen store
                              ()
                          with :? NotSupportedException as refusal ->
                              sentence <- refusal.Message

                          Expect.stringContains sentence "--replSet" "what to change"
                          do! Live.endsByNotice (openOn server) (TimeSpan.FromSeconds 1L)
                      }) ]
    )
