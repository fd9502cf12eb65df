/// What the MongoDB store says at its start, and what it refuses.
module Integration.MongoStarts

open System
open System.Diagnostics
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.Extensions.DependencyInjection
open MongoDB.Bson
open MongoDB.Driver
open Integration.MongoServer
open Integration.World
open Integration.MongoWorld
open Session.Engine
open Session.Stores.Mongo

let starts =
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
