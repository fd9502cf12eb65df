/// Change streams of the stand-in, by MongoDB's documentation: each change of a document is told to every stream on its
/// collection whose `$match` it meets, in order, and a `getMore` waits for one.
module Integration.MongoStreams

open System
open System.Collections.Concurrent
open System.Diagnostics
open System.Threading.Tasks
open MongoDB.Bson

let private doc (fields: (string * obj) list) =
    BsonDocument([ for name, value in fields -> BsonElement(name, BsonValue.Create value) ])

type private Stream =
    { Namespace: string
      Filter: BsonDocument
      Waiting: ConcurrentQueue<BsonDocument> }

/// A field of a document, or of one inside it: `a.b`.
let field (path: string) (document: BsonDocument) : BsonValue | null =
    let inside (value: BsonValue | null) (name: string) : BsonValue | null =
        match value with
        | null -> null
        | value when value.IsBsonDocument ->
            match value.AsBsonDocument.TryGetValue name with
            | true, found -> found
            | _ -> null
        | _ -> null

    let whole: BsonValue | null = document
    path.Split '.' |> Array.fold inside whole

/// What an update has done to a document.
let updated (before: BsonDocument) (after: BsonDocument) =
    let fields =
        [ for now in after do
              match before.TryGetValue now.Name with
              | true, was when was.Equals now.Value -> ()
              | _ -> now ]

    let removed = [ for was in before.Names |> Seq.filter (after.Contains >> not) -> BsonString was :> BsonValue ]

    doc
        [ "operationType", "update"
          "documentKey", doc [ "_id", after["_id"] ]
          "updateDescription",
          doc
              [ "updatedFields", BsonDocument fields
                "removedFields", BsonArray removed
                "truncatedArrays", BsonArray() ] ]

let inserted (document: BsonDocument) =
    doc
        [ "operationType", "insert"
          "documentKey", doc [ "_id", document["_id"] ]
          "fullDocument", document.DeepClone() ]

[<Sealed>]
type Streams(matches: BsonDocument -> BsonDocument -> bool) =
    let streams = ConcurrentDictionary<int64, Stream>()
    let mutable events = 0L

    let token () = doc [ "_data", events.ToString "X16" ]

    let answer id (ns: string) (name: string) (changes: BsonArray) =
        doc
            [ "ok", 1.0
              "cursor", doc [ "id", id; "ns", ns; name, changes; "postBatchResumeToken", token () ] ]

    /// What follows `$changeStream` in a pipeline. None: it is no such pipeline, or one that is not known here.
    member _.FilterOf(pipeline: BsonArray) =
        match [ for stage in pipeline -> stage.AsBsonDocument ] with
        | [ first; second ] when first.Contains "$changeStream" && second.Contains "$match" ->
            let options = first["$changeStream"].AsBsonDocument
            // Which one it goes on after: all events are kept for the streams that are open, and for no other one.
            if options.ElementCount = 0 then Some(second["$match"].AsBsonDocument) else None
        | _ -> None

    member _.Open(id: int64, ns: string, filter: BsonDocument) =
        streams[id] <- { Namespace = ns; Filter = filter; Waiting = ConcurrentQueue() }

        answer id ns "firstBatch" (BsonArray())

    member _.Close(id: int64) = streams.TryRemove id |> ignore
    member _.CloseAll() = streams.Clear()
    member _.Count = streams.Count
    member _.Has(id: int64) = streams.ContainsKey id

    /// By whoever holds the lock of the collections.
    member _.Tell(ns: string, change: BsonDocument) =
        events <- events + 1L
        let change = (doc [ "_id", token () ]).Merge change

        for stream in streams.Values do
            if stream.Namespace = ns && matches stream.Filter change then
                stream.Waiting.Enqueue change

    /// As long as there is nothing to answer, and the client waits.
    member _.Wait(command: BsonDocument) : Task =
        task {
            match command.TryGetValue "getMore" with
            | true, id when streams.ContainsKey(id.ToInt64()) ->
                let limit = if command.Contains "maxTimeMS" then command["maxTimeMS"].ToDouble() else 1000.0
                let clock = Stopwatch.StartNew()
                let waiting = streams[id.ToInt64()].Waiting

                while waiting.IsEmpty && clock.Elapsed.TotalMilliseconds < limit do
                    do! Task.Delay 5
            | _ -> ()
        }

    member _.More(id: int64) =
        let stream = streams[id]
        let changes = BsonArray()
        let mutable goesOn = true

        while goesOn do
            match stream.Waiting.TryDequeue() with
            | true, change -> changes.Add change |> ignore
            | _ -> goesOn <- false

        answer id stream.Namespace "nextBatch" changes
