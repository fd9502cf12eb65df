/// What the tests of the MongoDB store share: a store over the stand-in, records as tests write them, notes of a start.
module Integration.MongoWorld

open System
open System.Text
open System.Threading
open System.Threading.Tasks
open Expecto
open MongoDB.Bson
open MongoDB.Driver
open Integration.MongoServer
open Integration.World
open Session.Engine
open Session.Stores.Mongo

let none = CancellationToken.None

let start = DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero)

let record id version isDurable =
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

let loaded (store: ISessionStore) id =
    task {
        match! store.Load(id, none) with
        | null -> return failtestf "%s is gone" id
        | found -> return found
    }

/// With short deadlines.
let openAt (address: string) configure =
    openMongoAt address "sessions" (fun options ->
        options.OperationTimeout <- TimeSpan.FromSeconds 2L
        configure options)

/// A server of its own, and a store on it.
let on configure (body: StandIn -> ISessionStore -> Task<unit>) =
    task {
        use server = new StandIn()
        use store = openAt server.Address configure
        do! body server store
    }

let test name (body: StandIn -> ISessionStore -> Task<unit>) =
    testCaseTask name (fun () ->
        on ignore (fun server store ->
            task {
                let! _ = store.Prepare none
                server.Forget()
                do! body server store
                Expect.isEmpty server.Refused "the stand-in knows all that was sent"
            }))

let names (server: StandIn) = server.Commands |> List.map (fun command -> command.GetElement(0).Name)

/// The first command of this name meets this fault, and no other.
let once (server: StandIn) name fault =
    let mutable left = 1

    server.Fault <-
        fun command ->
            if command.GetElement(0).Name = name && Interlocked.Exchange(&left, 0) = 1 then Some fault else None

/// As somebody does by hand, or another program.
let put (client: MongoClient) (id: string) (name: string) (value: BsonValue) =
    task {
        let filter = BsonDocumentFilterDefinition<BsonDocument>(BsonDocument("_id", BsonString id))

        let change = BsonDocumentUpdateDefinition<BsonDocument>(BsonDocument("$set", BsonDocument(name, value)))

        let sessions = client.GetDatabase("session-tests").GetCollection<BsonDocument>("sessions")
        let! result = sessions.UpdateOneAsync(filter, change)
        Expect.equal result.MatchedCount 1L "it is there"
    }

/// What another program may have put in a field of a record.
let strange: (string * BsonValue) list =
    [ "kind", BsonInt32 9
      "due", BsonInt64(-1L)
      "seen", BsonInt64 Int64.MaxValue
      "op", BsonString "x"
      "subject", BsonInt32 5
      "body", BsonString "x"
      "v", BsonDouble 1.5 ]

let isMajority (command: BsonDocument) =
    command.Contains "writeConcern"
    && command["writeConcern"].AsBsonDocument.GetValue("w", BsonNull.Value).Equals(BsonString "majority")

let notes (configure: StandIn -> unit) (address: string -> string) =
    task {
        use server = new StandIn()
        configure server
        use store = openMongoAt (address server.Address) "sessions" ignore
        let! report = (store :> ISessionStore).Prepare none
        return String.Join('\n', report.Notes)
    }
