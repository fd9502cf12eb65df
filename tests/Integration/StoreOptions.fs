/// What each option of a store does: a test for each, here or where its server is at hand, and one that finds an option
/// without. What is said of MongoDB is shown on a stand-in of its server.
module Integration.StoreOptions

open System
open System.Diagnostics
open System.IO
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.Data.Sqlite
open Microsoft.Extensions.Caching.Distributed
open Microsoft.Extensions.Caching.Memory
open Microsoft.Extensions.Options
open MongoDB.Driver
open Npgsql
open Integration.MongoServer
open Integration.World
open Session.Engine
open Session.Stores.DistributedCache
open Session.Stores.Mongo
open Session.Stores.Postgres
open Session.Stores.Redis
open Session.Stores.Sqlite

let private none = CancellationToken.None

let private record id isDurable =
    let at = DateTimeOffset.UtcNow

    StoredRecord(
        id,
        1L,
        RecordKind.Live,
        at,
        at.AddHours 1.0,
        "ann",
        Random.Shared.NextInt64(),
        ReadOnlyMemory [| 1uy |],
        isDurable
    )

type private Shown =
    | Here of (unit -> Task<unit>)
    /// The test of that file.
    | In of file: string * test: string

// ------------------------------------------------------------------------------------------------------------ SQLite

let private sqlite (options: SqliteStoreOptions) (body: ISessionStore -> Task<unit>) =
    task {
        use store = new SqliteStore(options)
        let! _ = (store :> ISessionStore).Prepare none
        do! body store
    }

let private inFolder (body: string -> Task<unit>) () =
    task {
        let folder = temporaryFolder ()

        try
            do! body folder
        finally
            SqliteConnection.ClearAllPools()
            Directory.Delete(folder, true)
    }

let private path folder =
    task {
        let file = Path.Combine(folder, "of-its-own.db")

        do!
            sqlite (SqliteStoreOptions(Path = file)) (fun store ->
                task {
                    let! _ = store.Insert(record "a" false, none)
                    Expect.isTrue (File.Exists file) "the file"
                })
    }

let private directory folder =
    task {
        do!
            sqlite (SqliteStoreOptions(Path = "relative.db", Directory = folder)) (fun store ->
                task {
                    let! _ = store.Insert(record "a" false, none)
                    Expect.isTrue (File.Exists(Path.Combine(folder, "relative.db"))) "the file in it"
                })
    }

let private table folder =
    let options name = SqliteStoreOptions(Path = Path.Combine(folder, "shared.db"), Table = name)

    sqlite (options "one") (fun one ->
        task {
            let! _ = one.Insert(record "a" false, none)

            do!
                sqlite (options "other") (fun other ->
                    task {
                        let! found = other.Load("a", none)
                        Expect.isNull found "not in the other one"
                    })

            let! found = one.Load("a", none)
            Expect.isNotNull found "in its own"
        })

/// While another connection writes, for a second and a half: whether a write is stored after it.
let private busy folder =
    task {
        let file = Path.Combine(folder, "busy.db")

        let write (timeout: TimeSpan) =
            task {
                let mutable isStored = false

                do!
                    sqlite (SqliteStoreOptions(Path = file, BusyTimeout = timeout)) (fun store ->
                        task {
                            use other = new SqliteConnection $"Data Source={file};Pooling=False"
                            other.Open()
                            use command = other.CreateCommand()
                            command.CommandText <- "BEGIN IMMEDIATE"
                            command.ExecuteNonQuery() |> ignore

                            try
                                // Its thread may wait for the file.
                                let insert () = store.Insert(record $"{timeout.Ticks}" false, none).AsTask()
                                let writing = Task.Run<WriteResult>(Func<Task<WriteResult>> insert)
                                let! _ = Task.WhenAny(writing, Task.Delay 1500)
                                command.CommandText <- "ROLLBACK"
                                command.ExecuteNonQuery() |> ignore
                                let! result = writing
                                isStored <- (result = WriteResult.Written)
                            with _ ->
                                ()
                        })

                return isStored
            }

        let! patient = write (TimeSpan.FromMinutes 1L)
        let! hasty = write (TimeSpan.FromMilliseconds 100L)
        Expect.equal (patient, hasty) (true, false) "whoever waits, and who does not"
    }

// ------------------------------------------------------------------------------------------------- Redis, PostgreSQL

let private prepareStatements () =
    task {
        let prepared (choice: Nullable<bool>) =
            task {
                // One connection, which the store gives back: what it has prepared is still there.
                use source = NpgsqlDataSource.Create(PostgresServer.shared.Force().Address + ";Maximum Pool Size=1")

                let options =
                    PostgresStoreOptions(
                        DataSource = source,
                        Table = PostgresServer.newTable (),
                        PrepareStatements = choice
                    )

                use store = new PostgresStore(options)

                for i in 1..5 do
                    let! _ = (store :> ISessionStore).Load($"x{i}", none)
                    ()

                use command = source.CreateCommand "SELECT count(*) FROM pg_prepared_statements"
                return Convert.ToInt64(command.ExecuteScalar(): objnull)
            }

        let! on = prepared (Nullable true)
        let! off = prepared (Nullable false)
        Expect.isGreaterThan on 0L "asked for"
        Expect.equal off 0L "not asked for"
    }

let private postgresTable () =
    task {
        use one = openPostgres ()
        use other = openPostgres ()
        let! _ = (one :> ISessionStore).Insert(record "a" false, none)
        let! found = (other :> ISessionStore).Load("a", none)
        Expect.isNull found "not in the other one"
    }

// ------------------------------------------------------------------------------------------ MongoDB, distributed caches

let private mongoClient () =
    task {
        use server = new StandIn()
        let client = new MongoClient(server.Address)
        let options = MongoStoreOptions(Client = client, Database = "of-the-client", Collection = "theirs")

        do!
            task {
                use store = new MongoStore(options)
                let! _ = (store :> ISessionStore).Insert(record "a" false, none)
                ()
            }

        // It stays open, and what was stored is where the options say.
        let found = client.GetDatabase("of-the-client").GetCollection<MongoDB.Bson.BsonDocument>("theirs")
        let! count = found.CountDocumentsAsync(FilterDefinition<MongoDB.Bson.BsonDocument>.Empty)
        Expect.equal count 1L "there"
    }

let private mongoPlaces () =
    task {
        use server = new StandIn()

        let at database collection =
            new MongoStore(
                MongoStoreOptions(ConnectionString = server.Address, Database = database, Collection = collection)
            )

        use one = at "shop" "sessions"
        let! _ = (one :> ISessionStore).Insert(record "a" false, none)

        for database, collection, isThere in
            [ "shop", "sessions", true; "shop", "other", false; "other", "sessions", false ] do
            use store = at database collection
            let! found = (store :> ISessionStore).Load("a", none)
            Expect.equal (not (isNull found)) isThere $"{database}.{collection}"
    }

let private cachePrefix () =
    task {
        let cache = MemoryDistributedCache(Options.Create(MemoryDistributedCacheOptions()))

        let on prefix = DistributedCacheStore(cache, DistributedCacheStoreOptions(KeyPrefix = prefix)) :> ISessionStore

        let! _ = (on "one:").Insert(record "a" false, none)
        let! found = (on "other:").Load("a", none)
        Expect.isNull found "not under the other one"
        Expect.isNotNull (cache.Get "one:a") "under its own"
    }

/// The shortest and the longest time that a server's own clean-up may leave a record, and what is beyond them.
let private margins =
    let opened (margin: TimeSpan) =
        let cache = MemoryDistributedCache(Options.Create(MemoryDistributedCacheOptions()))

        [ "Redis",
          fun () ->
              RedisStoreOptions(Configuration = "localhost,abortConnect=false", JanitorMargin = margin)
              |> fun options -> new RedisStore(options) :> obj
          "MongoDB",
          fun () ->
              MongoStoreOptions(ConnectionString = "mongodb://localhost/app", JanitorMargin = margin)
              |> fun options -> new MongoStore(options) :> obj
          "a cache", fun () -> DistributedCacheStore(cache, DistributedCacheStoreOptions(JanitorMargin = margin)) :> obj ]
        |> Map.ofList

    let close (store: obj) =
        match store with
        | :? IDisposable as store -> store.Dispose()
        | _ -> ()

    let tick = TimeSpan.FromTicks 1L
    let shortest, longest = TimeSpan.FromMinutes 10L, TimeSpan.FromDays 3650

    [ for name in [ "Redis"; "MongoDB"; "a cache" ] ->
          testCase
              $"JanitorMargin of {name}: ten minutes and ten years are taken, and what is beyond them is refused"
              (fun () ->
                  for margin in [ shortest; shortest + tick; longest - tick; longest ] do
                      close ((opened margin)[name]())

                  for margin in [ TimeSpan.Zero; shortest - tick; longest + tick ] do
                      Expect.throwsC (fun () -> close ((opened margin)[name]())) (fun refused ->
                          Expect.stringContains refused.Message "JanitorMargin" $"{margin}")) ]

// ----------------------------------------------------------------------------------------------------------- all of them

let private layout = In("RedisIndexes.fs", "the layout of a value, read by another program")

let private commits =
    In("Postgres.fs", "how a write commits: what must last synchronously, the rest as the settings say")

let private keeps =
    In(
        "DistributedCache.fs",
        "the cache keeps a live session for KeepFor, others for the rest of their time, and nothing slides"
    )

let private options =
    [ typeof<SqliteStoreOptions>,
      [ "Path", Here(inFolder path)
        "Directory", Here(inFolder directory)
        "Durability", In("Sqlite.fs", "Full: all is committed with synchronous FULL")
        "Table", Here(inFolder table)
        "BusyTimeout", Here(inFolder busy) ]
      typeof<RedisStoreOptions>,
      [ "Configuration", In("RedisRuns.fs", "a database of the connection string")
        "ConfigurationOptions", In("RedisProbes.fs", "mutual TLS by callbacks works with WaitForReplicas")
        "Connect",
        In(
            "RedisProbes.fs",
            "a connection that was made through Sentinels: they are asked for the primary all the same"
        )
        "KeyPrefix",
        In(
            "RedisProbes.fs",
            "two applications on one Redis do not see each other's sessions: the prefix has the application's name"
        )
        "Database", In("RedisRuns.fs", "two databases of one server do not see each other's sessions")
        // Which threads read the answers is inside the driver: that all works with its own is what can be seen.
        "UseDedicatedThreads", In("RedisRuns.fs", "threads of the driver's own")
        "OperationTimeout",
        In("RedisWrites.fs", "a server that answers no more is an error within the deadline, and nothing is lost")
        "WaitForReplicas", In("RedisWaits.fs", "a write that no replica confirms is there, and not acknowledged")
        "WaitTimeout", In("RedisReplicas.fs", "WaitTimeout is how long a write waits for a replica that hangs")
        "JanitorMargin", layout ]
      typeof<PostgresStoreOptions>,
      [ "ConnectionString",
        In("PostgresStart.fs", "a server that is not there is a note; when it is, the store makes its table and works")
        "DataSource", In("PostgresStart.fs", "the registered NpgsqlDataSource is used, and its absence is named")
        "Schema",
        In("PostgresStart.fs", "a role that may not create is told to run the script; with it, the store works")
        "Table", Here postgresTable
        "CreateTables", In("PostgresStart.fs", "CreateTables = false creates nothing, and says so")
        "Durability", commits
        "FlushRoutineWrites", commits
        "PrepareStatements", Here prepareStatements
        "OperationTimeout",
        In("Postgres.fs", "a time-out after sending is unknown; so is a connection that breaks then") ]
      typeof<MongoStoreOptions>,
      [ "ConnectionString", In("Mongo.fs", "works, and is sent nothing that needs a set")
        "Client", Here mongoClient
        "Database", Here mongoPlaces
        "Collection", Here mongoPlaces
        "OperationTimeout",
        In("MongoFaults.fs", "the server gives up on a majority before the store gives up on the server")
        "LinearizableReads", In("Mongo.fs", "reads that ask a majority are refused at start")
        "JanitorMargin", In("Mongo.fs", "the server's own clean-up comes long after the lifecycle's") ]
      typeof<DistributedCacheStoreOptions>,
      [ "KeyPrefix", Here cachePrefix
        "OperationTimeout", In("DistributedCache.fs", "a cache that hangs is no store: the request is a 503, in time")
        "KeepFor", keeps
        "JanitorMargin", keeps ] ]

let all =
    testList
        "the effect of an option of a store"
        [ yield! margins

          for of', shown in options do
              for name, shown in shown do
                  let title = $"option {of'.Name}.{name}: the store or its server sees it"

                  match shown with
                  | Here effect -> testTask title { do! effect () }
                  | In(file, test) ->
                      testCase title (fun () ->
                          let text = File.ReadAllText(Repository.under [ "tests"; "Integration"; file ])
                          Expect.stringContains text $"\"{test}\"" $"shown by {file}")

              testCase $"every option of {of'.Name} has a test of its effect" (fun () ->
                  let all = of'.GetProperties() |> Array.filter _.CanWrite |> Array.map _.Name |> List.ofArray
                  let named = List.map fst shown
                  Expect.equal (all |> List.except named) [] "options without a test"
                  Expect.equal (named |> List.except all) [] "tests without an option") ]
