/// A small server that speaks MongoDB's wire protocol (OP_MSG) for the commands that the store sends, so that the real
/// driver, its BSON and its error paths run where no MongoDB can be installed. It refuses whatever it does not know: it never
/// answers by guessing. `SESSION_MONGO` names a real server to run the same tests on.
module Integration.MongoServer

open System
open System.Collections.Concurrent
open System.Collections.Generic
open System.IO
open System.Net
open System.Net.Sockets
open System.Threading
open System.Threading.Tasks
open MongoDB.Bson
open MongoDB.Bson.IO
open MongoDB.Bson.Serialization
open MongoDB.Bson.Serialization.Serializers
open Integration.MongoStreams

/// What goes wrong with a command.
type Fault =
    /// The connection breaks before the server has done it.
    | LostRequest
    /// The server does it, and the connection breaks before the answer.
    | LostAnswer
    /// The server answers so, and has not done it.
    | Refused of code: int * name: string
    /// The server does it, and then says that no majority has it.
    | NoMajority
    /// The server does it after this time.
    | Late of TimeSpan
    /// The server answers that somebody else was faster with the same id, and has not done it.
    | Taken

exception private Unknown of string

let private unknown text = raise (Unknown text)

let private doc (fields: (string * obj) list) =
    BsonDocument([ for name, value in fields -> BsonElement(name, BsonValue.Create value) ])

// -- values, filters, updates: what the store uses, by MongoDB's rules

let private isNumber (value: BsonValue) = value.IsInt32 || value.IsInt64 || value.IsDouble

/// Values of two kinds are not compared: a number is neither less nor more than a text.
let private compared (a: BsonValue) (b: BsonValue) =
    if isNumber a && isNumber b then Some(compare (a.ToInt64()) (b.ToInt64()))
    elif a.IsString && b.IsString then Some(String.CompareOrdinal(a.AsString, b.AsString))
    elif a.BsonType = b.BsonType then Some(a.CompareTo b)
    else None

let private meets (name: string) (operand: BsonValue) (value: BsonValue | null) =
    let test isRight =
        match value with
        | null -> false
        | value -> compared value operand |> Option.exists isRight

    match name with
    | "$eq" -> test ((=) 0)
    | "$lt" -> test (fun c -> c < 0)
    | "$lte" -> test (fun c -> c <= 0)
    | "$gt" -> test (fun c -> c > 0)
    | "$gte" -> test (fun c -> c >= 0)
    | "$in" ->
        match value with
        | null -> false
        | value -> operand.AsBsonArray |> Seq.exists (fun one -> compared value one = Some 0)
    | "$exists" -> (not (isNull value)) = operand.ToBoolean()
    | other -> unknown $"the filter {other}"

let private matches (filter: BsonDocument) (document: BsonDocument) =
    filter
    |> Seq.forall (fun wanted ->
        if wanted.Name.StartsWith '$' then
            unknown $"the filter {wanted.Name}"

        let value = field wanted.Name document

        if wanted.Value.IsBsonDocument then
            wanted.Value.AsBsonDocument |> Seq.forall (fun test -> meets test.Name test.Value value)
        else
            meets "$eq" wanted.Value value)

/// Whether the document is another one now.
let private change (update: BsonDocument) (document: BsonDocument) =
    let before = document.DeepClone()

    for part in update do
        for field in part.Value.AsBsonDocument do
            if field.Name = "_id" || field.Name.Contains '.' then
                unknown $"an update of {field.Name}"

            match part.Name with
            | "$set" -> document[field.Name] <- field.Value
            | "$unset" -> document.Remove field.Name
            | "$currentDate" when field.Value.Equals BsonBoolean.True ->
                document[field.Name] <- BsonDateTime DateTime.UtcNow
            | "$max" ->
                match document.TryGetValue field.Name with
                | true, value when (compared value field.Value).IsNone -> unknown $"$max over two types in {field.Name}"
                | true, value when (compared value field.Value).Value >= 0 -> ()
                | _ -> document[field.Name] <- field.Value
            | other -> unknown $"the update {other}"

    not (before.Equals document)

let private sorted (order: BsonDocument) (documents: BsonDocument seq) =
    match List.ofSeq order with
    | [] -> documents
    | [ by ] when by.Value.ToInt32() = 1 ->
        let order =
            Comparer<BsonValue>.Create(fun a b -> compared a b |> Option.defaultWith (fun () -> unknown "a sort"))

        System.Linq.Enumerable.OrderBy(documents, (fun document -> document[by.Name]), order)
    | _ -> unknown $"the sort {order}"

/// A field of a command, or nothing.
let private part (name: string) (command: BsonDocument) =
    match command.TryGetValue name with
    | true, value -> value.AsBsonDocument
    | _ -> BsonDocument()

let private number (name: string) (command: BsonDocument) =
    match command.TryGetValue name with
    | true, value -> value.ToInt32()
    | _ -> 0

let private isSet (name: string) (command: BsonDocument) =
    match command.TryGetValue name with
    | true, value -> value.ToBoolean()
    | _ -> false

/// What a document is kept under: an id that is no text must not be taken for one.
let private keyOf (document: BsonDocument) =
    let id: BsonValue = document["_id"]
    if id.IsString then id.AsString else $"\u0000{id.BsonType}:{id}"

/// What every command may have, and what is its own.
let private known =
    let all =
        [ "$db"
          "lsid"
          "txnNumber"
          "writeConcern"
          "readConcern"
          "$readPreference"
          "$clusterTime"
          "maxTimeMS"
          "ordered" ]

    dict
        [ for name, own in
              [ "insert", [ "documents" ]
                "update", [ "updates" ]
                "delete", [ "deletes" ]
                "find", [ "filter"; "sort"; "limit"; "singleBatch"; "batchSize" ]
                "getMore", [ "collection"; "batchSize" ]
                "killCursors", [ "cursors" ]
                "aggregate", [ "pipeline"; "cursor" ]
                "createIndexes", [ "indexes" ]
                "create", [ "collation" ]
                "listCollections", [ "filter" ]
                "drop", []
                "ping", []
                "buildInfo", []
                "endSessions", []
                "replSetGetConfig", [] ] do
              name, HashSet(name :: own @ all) ]

let private batch = 101

/// One server: a replica set of one, as far as its client can see.
[<Sealed>]
type StandIn() =
    let listener = new TcpListener(IPAddress.Loopback, 0)
    let stopped = new CancellationTokenSource()
    let collections = Dictionary<string, SortedDictionary<string, BsonDocument>>()
    let indexes = Dictionary<string, Dictionary<string, BsonDocument>>()
    let collations = Dictionary<string, BsonDocument>()
    let cursors = Dictionary<int64, Queue<BsonDocument>>()
    let streams = Streams matches
    // What a session was answered last: a retry of the same number is answered the same, and not done again.
    let answered = Dictionary<string, struct (int64 * BsonDocument)>()
    let clients = ConcurrentDictionary<TcpClient, bool>()
    let log = ConcurrentQueue<BsonDocument>()
    let refused = ConcurrentQueue<string>()
    let mutable lastCursor = 0L
    let mutable settings = doc [ "writeConcernMajorityJournalDefault", true ]
    let mutable hosts = 1
    let mutable ahead = TimeSpan.Zero
    let mutable passives = 0
    let mutable fault: BsonDocument -> Fault option = fun _ -> None
    let mutable isAway = false
    let mutable isAlone = false
    let mutable remembers = true

    do listener.Start()

    let port = (listener.LocalEndpoint :?> IPEndPoint).Port

    let documents name =
        match collections.TryGetValue name with
        | true, found -> found
        | _ ->
            let made = SortedDictionary<string, BsonDocument>(StringComparer.Ordinal)
            collections[name] <- made
            made

    /// The documents that a filter meets: by their ids where it has them, as a server finds them.
    let found ns (filter: BsonDocument) =
        let all = documents ns

        let byId (id: string) =
            match all.TryGetValue id with
            | true, document -> Seq.singleton document
            | _ -> Seq.empty

        let candidates =
            match filter.TryGetValue "_id" with
            | true, id when id.IsBsonDocument && id.AsBsonDocument.Contains "$in" ->
                id.AsBsonDocument["$in"].AsBsonArray |> Seq.map _.AsString |> Seq.distinct |> Seq.collect byId
            | true, id when id.IsString -> byId id.AsString
            | _ -> all.Values

        Seq.filter (matches filter) candidates

    let indexesOf name =
        match indexes.TryGetValue name with
        | true, found -> found
        | _ ->
            let made = Dictionary<string, BsonDocument>()
            indexes[name] <- made
            made

    let ok () = doc [ "ok", 1.0 ]

    let failed code name message = doc [ "ok", 0.0; "errmsg", message; "code", code; "codeName", name ]

    let set () : (string * obj) list =
        if isAlone then
            []
        else
            [ "setName", "standin"
              "setVersion", 1
              "me", $"127.0.0.1:{port}"
              "primary", $"127.0.0.1:{port}"
              "hosts", BsonArray(List.replicate hosts $"127.0.0.1:{port}")
              if passives > 0 then
                  "passives", BsonArray(List.replicate passives $"127.0.0.1:{port}") ]

    let hello () =
        doc
            [ "ok", 1.0
              "helloOk", true
              "ismaster", true
              "isWritablePrimary", true
              yield! set ()
              "maxBsonObjectSize", 16777216
              "maxMessageSizeBytes", 48000000
              "maxWriteBatchSize", 100000
              "localTime", BsonDateTime(DateTime.UtcNow + ahead)
              "logicalSessionTimeoutMinutes", 30
              "minWireVersion", 0
              "maxWireVersion", 21
              "readOnly", false ]

    let cursor ns (all: BsonDocument seq) limit size single =
        let batch = if size > 0 then size else batch
        let rest = Queue all
        let first = BsonArray()

        while first.Count < batch && rest.Count > 0 do
            first.Add(rest.Dequeue()) |> ignore

        let id =
            if rest.Count = 0 || single then
                0L
            else
                lastCursor <- lastCursor + 1L
                cursors[lastCursor] <- rest
                lastCursor

        ignore limit

        doc [ "ok", 1.0; "cursor", doc [ "id", id; "ns", ns; "firstBatch", first ] ]

    let run (command: BsonDocument) =
        let name = command.GetElement(0).Name

        match known.TryGetValue name with
        | true, names ->
            for field in command do
                if not (names.Contains field.Name) then
                    unknown $"{name} with {field.Name}"
        | _ -> unknown $"the command {name}"

        let ns = command["$db"].AsString + "." + string (command[0].ToString())

        match name with
        | "insert" ->
            let errors = BsonArray()
            let all = documents ns
            let mutable n = 0

            for document in command["documents"].AsBsonArray do
                let document = document.AsBsonDocument

                if all.TryAdd(keyOf document, document) then
                    n <- n + 1
                else
                    errors.Add(
                        doc
                            [ "index", n
                              "code", 11000
                              "errmsg", $"E11000 duplicate key error collection: {ns}" ]
                    )
                    |> ignore

            let answer = (ok ()).Add("n", BsonInt32 n)
            if errors.Count > 0 then answer.Add("writeErrors", errors) else answer
        | "update" ->
            let mutable n = 0
            let mutable modified = 0
            let upserted = BsonArray()

            for one in command["updates"].AsBsonArray do
                let one = one.AsBsonDocument

                // A late save must bring back nobody.
                if isSet "upsert" one && not (ns.EndsWith ".notices") then
                    unknown "an upsert"

                let isMany = isSet "multi" one
                let found = Array.ofSeq (found ns (part "q" one))

                for document in (if isMany then found else Array.truncate 1 found) do
                    n <- n + 1
                    let before = document.DeepClone().AsBsonDocument

                    if change (part "u" one) document then
                        modified <- modified + 1
                        streams.Tell(ns, updated before document)

                if found.Length = 0 && isSet "upsert" one then
                    let document = (part "q" one).DeepClone().AsBsonDocument
                    change (part "u" one) document |> ignore
                    (documents ns)[keyOf document] <- document
                    n <- n + 1
                    upserted.Add(doc [ "index", 0; "_id", document["_id"] ]) |> ignore
                    streams.Tell(ns, inserted document)

            let answer = (ok ()).Add("n", BsonInt32 n).Add("nModified", BsonInt32 modified)
            if upserted.Count > 0 then answer.Add("upserted", upserted) else answer
        | "delete" ->
            let mutable n = 0

            for one in command["deletes"].AsBsonArray do
                let one = one.AsBsonDocument
                let found = Array.ofSeq (found ns (part "q" one))

                for document in (if number "limit" one = 1 then Array.truncate 1 found else found) do
                    (documents ns).Remove(keyOf document) |> ignore
                    n <- n + 1

            (ok ()).Add("n", BsonInt32 n)
        | "find" ->
            let limit = number "limit" command

            let found =
                found ns (part "filter" command)
                |> sorted (part "sort" command)
                |> Seq.truncate (if limit = 0 then Int32.MaxValue else limit)
                // As they are now: what comes later must not show in the answer.
                |> Seq.map (fun document -> document.DeepClone().AsBsonDocument)
                |> Array.ofSeq

            cursor ns found limit (number "batchSize" command) (isSet "singleBatch" command)
        | "getMore" when streams.Has(command[0].ToInt64()) -> streams.More(command[0].ToInt64())
        | "getMore" when not (cursors.ContainsKey(command[0].ToInt64())) ->
            failed 43 "CursorNotFound" "cursor id not found"
        | "getMore" ->
            let id = command[0].ToInt64()
            let rest = cursors[id]
            let next = BsonArray()

            while next.Count < batch && rest.Count > 0 do
                next.Add(rest.Dequeue()) |> ignore

            let isOver = rest.Count = 0

            if isOver then
                cursors.Remove id |> ignore

            (ok ())
                .Add(
                    "cursor",
                    doc
                        [ "id", (if isOver then 0L else id)
                          "ns", $"""{command["$db"].AsString}.{command["collection"].AsString}"""
                          "nextBatch", next ]
                )
        | "killCursors" ->
            for id in command["cursors"].AsBsonArray do
                streams.Close(id.ToInt64())

            ok ()
        | "aggregate" when (streams.FilterOf command["pipeline"].AsBsonArray).IsSome ->
            lastCursor <- lastCursor + 1L
            streams.Open(lastCursor, ns, (streams.FilterOf command["pipeline"].AsBsonArray).Value)
        | "aggregate" ->
            match [ for stage in command["pipeline"].AsBsonArray -> stage.AsBsonDocument ] with
            | [ only; group ] when only.GetElement(0).Name = "$match" && group.GetElement(0).Name = "$group" ->
                let n = Seq.length (found ns (part "$match" only))

                let found = if n = 0 then Seq.empty else Seq.singleton (doc [ "_id", 1; "n", n ])

                cursor ns found 0 0 false
            | _ -> unknown $"the pipeline {command}"
        | "createIndexes" ->
            let all = indexesOf ns

            let another =
                [ for index in command["indexes"].AsBsonArray do
                      let index = index.AsBsonDocument

                      match all.TryGetValue(index["name"].AsString) with
                      | true, found when not (found.Equals index) -> index["name"].AsString
                      | _ -> all[index["name"].AsString] <- index ]

            match another with
            | [] -> ok ()
            | name :: _ -> failed 86 "IndexKeySpecsConflict" ("An existing index has the same name: " + name)
        // What it was told of a collection is all that it knows: it compares by bytes.
        | "create" ->
            collations[ns] <- part "collation" command
            ok ()
        | "listCollections" ->
            let name = command["filter"].AsBsonDocument["name"].AsString
            let ns = command["$db"].AsString + "." + name

            let options =
                match collations.TryGetValue ns with
                | true, collation -> doc [ "collation", collation ]
                | _ -> BsonDocument()

            let isThere = collations.ContainsKey ns || collections.ContainsKey ns

            let found =
                if isThere then
                    Seq.singleton (doc [ "name", name; "type", "collection"; "options", options ])
                else
                    Seq.empty

            cursor (command["$db"].AsString + ".$cmd.listCollections") found 0 0 false
        | "drop" ->
            collections.Remove ns |> ignore
            collations.Remove ns |> ignore
            indexes.Remove ns |> ignore
            ok ()
        | "buildInfo" -> (ok ()).Add("version", BsonString "7.0.0")
        | "replSetGetConfig" -> (ok ()).Add("config", settings)
        | _ -> ok ()

    /// Does it once: a retry is recognised by its session and number.
    let once (command: BsonDocument) =
        match command.TryGetValue "txnNumber" with
        | true, txn ->
            let session = command["lsid"].ToJson()

            match answered.TryGetValue session with
            | true, struct (last, answer) when last = txn.ToInt64() -> answer
            | _ ->
                let answer = run command
                answered[session] <- struct (txn.ToInt64(), answer)
                answer
        | _ -> run command

    /// What a node without a replica set says to what needs one.
    let needsSet (command: BsonDocument) =
        let concern = part "readConcern" command

        if not isAlone then
            None
        elif command.Contains "txnNumber" then
            Some(failed 20 "IllegalOperation" "Transaction numbers are only allowed on a replica set member or mongos")
        elif concern.Contains "level" && concern["level"].Equals(BsonString "linearizable") then
            Some(failed 123 "NotAReplicaSet" "node needs to be a replica set member to use read concern")
        elif command.Contains "pipeline" && (streams.FilterOf command["pipeline"].AsBsonArray).IsSome then
            Some(failed 40573 "Location40573" "The $changeStream stage is only supported on replica sets")
        elif command.Contains "replSetGetConfig" then
            Some(failed 76 "NoReplicationEnabled" "not running with --replSet")
        else
            None

    let execute (command: BsonDocument) =
        lock collections (fun () ->
            try
                match needsSet command with
                | Some refusal ->
                    refused.Enqueue $"{command.GetElement(0).Name} without a replica set"
                    refusal
                | None -> once command
            with Unknown what ->
                refused.Enqueue what
                failed 59 "CommandNotFound" $"The stand-in does not know {what}.")

    /// The command of a message of the old form, behind its flags, the name of a collection and two numbers.
    let query (bytes: byte array) : BsonDocument =
        let from = Array.IndexOf(bytes, 0uy, 4) + 9
        BsonSerializer.Deserialize<BsonDocument>(ReadOnlySpan(bytes, from, bytes.Length - from).ToArray())

    /// What a connection begins with: the greeting, and who it is.
    let welcome (command: BsonDocument) =
        match command.GetElement(0).Name with
        | "hello"
        | "isMaster"
        | "ismaster"
        // Asked for the number of the connection alone.
        | "getLastError" -> hello ()
        | name ->
            match fault command with
            | Some(Refused(code, name)) -> failed code name $"{name}, as a test wants it"
            | _ ->
                refused.Enqueue name
                failed 59 "CommandNotFound" $"The stand-in does not know {name}."

    /// The command of a message: its body, and the sequences of documents beside it.
    let read (bytes: byte array) : BsonDocument =
        let document (from: int) =
            let size = BitConverter.ToInt32(bytes, from)
            BsonSerializer.Deserialize<BsonDocument>(ReadOnlySpan(bytes, from, size).ToArray()), from + size

        if BitConverter.ToUInt32(bytes, 0) &&& ~~~0x10000u <> 0u then
            failwith "the stand-in does not know these flags"

        let mutable at = 4
        let mutable command = BsonDocument()

        while at < bytes.Length do
            match bytes[at] with
            | 0uy ->
                let body, next = document (at + 1)
                command <- body.Merge command
                at <- next
            | 1uy ->
                let until = at + 1 + BitConverter.ToInt32(bytes, at + 1)
                let name = Text.Encoding.UTF8.GetString(bytes, at + 5, Array.IndexOf(bytes, 0uy, at + 5) - at - 5)
                let all = BsonArray()
                at <- at + 5 + Text.Encoding.UTF8.GetByteCount name + 1

                while at < until do
                    let one, next = document at
                    all.Add one |> ignore
                    at <- next

                command.Add(name, all) |> ignore
            | other -> failwith $"the stand-in does not know a section {other}"

        command

    let serve (client: TcpClient) : Task<unit> =
        task {
            let stream = client.GetStream()
            let head = Array.zeroCreate<byte> 16
            let mutable goesOn = true

            try
                try
                    while goesOn do
                        do! stream.ReadExactlyAsync(Memory head, stopped.Token)
                        let body = Array.zeroCreate<byte>(BitConverter.ToInt32(head, 0) - 16)
                        do! stream.ReadExactlyAsync(Memory body, stopped.Token)
                        let request = BitConverter.ToInt32(head, 4)

                        match BitConverter.ToInt32(head, 12) with
                        | 2004 ->
                            // The old form, for the first words of a connection only.
                            let reply = BsonExtensionMethods.ToBson(welcome (query body))

                            let head =
                                Array.concat
                                    [ BitConverter.GetBytes(36 + reply.Length)
                                      BitConverter.GetBytes 0
                                      BitConverter.GetBytes request
                                      BitConverter.GetBytes 1
                                      BitConverter.GetBytes 8
                                      BitConverter.GetBytes 0L
                                      BitConverter.GetBytes 0
                                      BitConverter.GetBytes 1 ]

                            do! stream.WriteAsync(ReadOnlyMemory(Array.append head reply), stopped.Token)
                        | 2013 ->
                            let command: BsonDocument = read body
                            let name = command.GetElement(0).Name

                            let isGreeting = name = "hello" || name = "isMaster" || name = "ismaster"

                            if remembers && not isGreeting && name <> "endSessions" then
                                log.Enqueue command

                            let wrong = if isGreeting then None else fault command

                            if not isGreeting then
                                do! streams.Wait command

                            match wrong with
                            | Some(Late span) -> do! Task.Delay(span, stopped.Token)
                            | _ -> ()

                            let answer: BsonDocument | null =
                                match wrong with
                                | Some LostRequest -> null
                                | Some(Refused(code, name)) ->
                                    let answer = failed code name $"{name}, as a test wants it"

                                    // As servers since 4.4 say it: drivers retry by this label, not by the code.
                                    if command.Contains "txnNumber" then
                                        answer.Add("errorLabels", BsonArray [ "RetryableWriteError" ])
                                    else
                                        answer
                                | Some NoMajority ->
                                    let concern =
                                        doc
                                            [ "code", 64
                                              "codeName", "WriteConcernFailed"
                                              "errmsg", "waiting for replication timed out" ]

                                    (execute command).Clone().AsBsonDocument.Add("writeConcernError", concern)
                                | Some Taken ->
                                    let errors = BsonArray()

                                    errors.Add(
                                        doc
                                            [ "index", 0
                                              "code", 11000
                                              "errmsg", "E11000 duplicate key error, as a test wants it" ]
                                    )
                                    |> ignore

                                    (ok ()).Add("n", BsonInt32 0).Add("writeErrors", errors)
                                | Some LostAnswer ->
                                    execute command |> ignore
                                    null
                                | _ -> if isGreeting then hello () else execute command

                            match answer with
                            | null -> goesOn <- false
                            | answer ->
                                let reply = BsonExtensionMethods.ToBson answer

                                let head =
                                    Array.concat
                                        [ BitConverter.GetBytes(21 + reply.Length)
                                          BitConverter.GetBytes 0
                                          BitConverter.GetBytes request
                                          BitConverter.GetBytes 2013
                                          BitConverter.GetBytes 0
                                          [| 0uy |] ]

                                do! stream.WriteAsync(ReadOnlyMemory(Array.append head reply), stopped.Token)
                        | other -> failwith $"the stand-in does not know the message {other}"
                with
                | :? IOException
                | :? EndOfStreamException
                | :? ObjectDisposedException
                | :? SocketException
                | :? OperationCanceledException -> ()
            finally
                clients.TryRemove client |> ignore
                client.Dispose()
        }

    let accept () =
        task {
            while not stopped.IsCancellationRequested do
                try
                    let! client = listener.AcceptTcpClientAsync stopped.Token

                    if isAway then
                        client.Dispose()
                    else
                        client.NoDelay <- true
                        clients[client] <- true
                        Task.Run<unit>(fun () -> serve client) |> ignore
                with
                | :? OperationCanceledException
                | :? ObjectDisposedException
                | :? SocketException -> ()
        }

    // Last: whoever connects finds all of the server.
    do Task.Run<unit>(accept) |> ignore

    member _.Address =
        if isAlone then $"mongodb://127.0.0.1:{port}/" else $"mongodb://127.0.0.1:{port}/?replicaSet=standin"

    /// One node and no replica set. Before anybody connects.
    member _.Alone
        with set value = isAlone <- value

    member _.Port = port
    /// The commands so far, but for what the driver says to itself.
    member _.Commands = List.ofSeq log
    member _.Forget() = log.Clear()

    /// Whether it keeps the commands.
    member _.Remembers
        with set value = remembers <- value

    /// What it did not know, and refused.
    member _.Refused = List.ofSeq refused

    member _.Fault
        with set value = fault <- value

    member _.Settings
        with set value = settings <- value

    /// As many members with data, by its own word.
    member _.Members
        with set value = hosts <- value

    /// How far its clock is ahead of the others'.
    member _.Ahead
        with set value = ahead <- value

    /// And as many with data that are never elected: of priority 0.
    member _.Passives
        with set value = passives <- value

    /// Stops answering, as a node does that is cut off; and comes back.
    member _.Away
        with set value =
            isAway <- value

            if value then
                for client in clients.Keys do
                    client.Close()

    /// How many change streams are open.
    member _.Streams = streams.Count

    /// The server forgets them, as one does that was started again.
    member _.ForgetStreams() = streams.CloseAll()

    member _.Indexes ns = lock collections (fun () -> List.ofSeq (indexesOf ns).Values)

    member _.Documents ns =
        lock collections (fun () -> [ for document in (documents ns).Values -> document.DeepClone().AsBsonDocument ])

    /// Every byte of every document.
    member _.Dump() =
        lock collections (fun () ->
            [| for all in collections.Values do
                   for document in all.Values do
                       yield! document.ToBson() |])

    /// The server's own clean-up, as of this time.
    member _.CleanUp ns (now: DateTime) =
        lock collections (fun () ->
            for index in (indexesOf ns).Values do
                if index.Contains "expireAfterSeconds" then
                    let field = index["key"].AsBsonDocument.GetElement(0).Name

                    let after = index["expireAfterSeconds"].ToDouble()

                    for document in List.ofSeq (documents ns).Values do
                        if
                            document.Contains field
                            && document[field].IsValidDateTime
                            && document[field].ToUniversalTime().AddSeconds after <= now
                        then
                            (documents ns).Remove(keyOf document) |> ignore)

    interface IDisposable with
        member _.Dispose() =
            stopped.Cancel()
            listener.Stop()

            for client in clients.Keys do
                client.Close()

let private outside =
    match Environment.GetEnvironmentVariable "SESSION_MONGO" with
    | null
    | "" -> None
    | address -> Some address

/// One for all tests that break nothing.
let standIn = lazy (new StandIn(Remembers = false))

/// Where the tests run that hold for every MongoDB.
let address () = outside |> Option.defaultWith (fun () -> standIn.Force().Address)

let isStandIn = outside.IsNone

/// For names of tests and reports: which of the two it was.
let name =
    match outside with
    | Some _ -> "MongoDB (the server of SESSION_MONGO)"
    | None -> "MongoDB (the stand-in: set SESSION_MONGO for a real one)"

/// A collection of its own, dropped afterwards.
[<Sealed>]
type Place() =
    let collection = "sessions-" + Guid.NewGuid().ToString "N"
    member _.Collection = collection

    interface IDisposable with
        member _.Dispose() =
            use client = new MongoDB.Driver.MongoClient(address ())
            let database = client.GetDatabase "session-tests"
            database.DropCollection collection
            database.DropCollection(collection + ".notices")
