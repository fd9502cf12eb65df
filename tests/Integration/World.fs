/// One running application, its clock, its store, and what the application was told.
module Integration.World

open System
open System.Collections.Concurrent
open System.IO
open System.Net.Http
open System.Threading
open System.Threading.Tasks
open Microsoft.AspNetCore.DataProtection
open Microsoft.Extensions.Caching.Distributed
open Microsoft.Extensions.Caching.Memory
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.Options
open Microsoft.Extensions.Time.Testing
open Expecto
open Integration.App
open Integration.Http
open Session.CSharp
open Session.Engine
open Session.Stores.DistributedCache
open Session.Stores.Mongo
open Session.Stores.Postgres
open Session.Stores.Redis
open Session.Stores.Sqlite

type StoreKind =
    | Memory
    | Sqlite
    | Redis
    | Mongo
    | Postgres
    /// A distributed cache: no lists.
    | Cache
    /// Memory, with every record under Data Protection keys.
    | Protected
    /// Sqlite, with the data sealed to its bearer.
    | Sealed

/// What an application with this kind of store says after `AddSession`.
let protection kind (sessions: SessionBuilder) =
    match kind with
    | Memory
    | Sqlite
    | Redis
    | Mongo
    | Postgres
    | Cache -> ()
    | Protected ->
        // Keys of this run, and none in the folder of whoever runs it.
        sessions.Services.AddSingleton<IDataProtectionProvider>(EphemeralDataProtectionProvider()) |> ignore

        sessions.ProtectWithDataProtection() |> ignore
    | Sealed -> sessions.SealToBearer() |> ignore

let temporaryFolder () = Directory.CreateTempSubdirectory("session-integration-").FullName

let openSqlite folder = new SqliteStore(SqliteStoreOptions(Path = Path.Combine(folder, "sessions.db")))

let openRedisAt (address: string) (prefix: string) configure =
    let options = RedisStoreOptions(Configuration = address, KeyPrefix = prefix)
    configure options
    new RedisStore(options)

/// What a store says at start, or the sentence that stops it. The store is closed then.
let startNotes (store: RedisStore) : Task<Result<string list, string>> =
    task {
        try
            try
                let! report = (store :> ISessionStore).Prepare CancellationToken.None
                return Ok(List.ofSeq report.Notes)
            with :? InvalidOperationException as refusal ->
                return Error refusal.Message
        finally
            (store :> IDisposable).Dispose()
    }

/// A place of its own on the server that the tests share.
let openRedis () = openRedisAt (RedisServer.shared.Force().Address) (Guid.NewGuid().ToString("N") + ":") ignore

let openMongoAt (address: string) (collection: string) configure =
    let options = MongoStoreOptions(ConnectionString = address, Database = "session-tests", Collection = collection)
    configure options
    new MongoStore(options)

let openPostgresAt (address: string) (table: string) configure =
    let options = PostgresStoreOptions(ConnectionString = address, Table = table)
    configure options
    new PostgresStore(options)

/// A table of its own on the server that the tests share.
let openPostgres () = openPostgresAt (PostgresServer.shared.Force().Address) (PostgresServer.newTable ()) ignore

/// Every other write has to last, as one that ends a session, or signs in: it goes another way than the rest, and both meet
/// on one record.
[<Sealed>]
type Lasting(inner: ISessionStore) =
    inherit ForwardingStore(inner)

    let lasting (record: StoredRecord) =
        if record.Operation % 2L = 0L then
            record
        else
            StoredRecord(
                record.Id,
                record.Version,
                record.Kind,
                record.LastSeen,
                record.DueAt,
                record.Subject,
                record.Operation,
                record.Body,
                true
            )
                .BasedOn(record.Basis)

    override _.Insert(record, cancel) = inner.Insert(lasting record, cancel)
    override _.Replace(record, expected, cancel) = inner.Replace(lasting record, expected, cancel)

    interface IAsyncDisposable with
        member _.DisposeAsync() =
            match box inner with
            | :? IAsyncDisposable as store -> store.DisposeAsync()
            | :? IDisposable as store ->
                store.Dispose()
                ValueTask.CompletedTask
            | _ -> ValueTask.CompletedTask

let minutes (n: float) = TimeSpan.FromMinutes n

[<Sealed>]
type World(app: SubjectApp, clock: FakeTimeProvider, store: CountingStore, heard: ConcurrentQueue<string>) =
    let client = newClient ()
    member _.App = app
    member _.Clock = clock
    member _.Store = store
    member _.Client = client
    /// The events, as "Name reason data".
    member _.Heard = List.ofSeq heard

    member world.Count(prefix: string) =
        world.Heard |> List.filter _.StartsWith(prefix, StringComparison.Ordinal) |> List.length

    member _.Send(verb, path, headers) = send client app.Address verb path headers
    member world.Get(path) = world.Send("GET", path, [])
    member world.Get(path, token: string) = world.Send("GET", path, [ "Cookie", "sid=" + token ])
    member world.Post(path) = world.Send("POST", path, [])
    member world.Post(path, token: string) = world.Send("POST", path, [ "Cookie", "sid=" + token ])
    member world.Delete(path, token: string) = world.Send("DELETE", path, [ "Cookie", "sid=" + token ])

    /// A confirmed anonymous session whose cart holds `sku`; its token.
    member world.Begin(sku: string) =
        task {
            let! first = world.Post("/cart/" + sku)
            let token = token first
            let! _ = world.Get("/cart", token)
            return token
        }

    /// A confirmed signed-in session; its token.
    member world.SignIn(user: string) =
        task {
            let! first = world.Post("/login?user=" + user)
            let token = token first
            let! _ = world.Get("/cart", token)
            return token
        }

    member world.Cart(token: string) =
        task {
            let! answer = world.Get("/cart", token)
            Expect.equal answer.Status 200 "GET /cart answers"
            return answer.Body
        }

    member world.Profile(token: string) =
        task {
            let! answer = world.Get("/profile", token)
            return answer.Status
        }

let startWith (protect: SessionBuilder -> unit) (store: ISessionStore) (configure: SessionOptions<Cart> -> unit) =
    task {
        let clock = FakeTimeProvider(DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero))
        let heard = ConcurrentQueue<string>()
        let counting = CountingStore store

        let hear name (reasonOf: 'context -> string) =
            Func<'context, Task>(fun context ->
                let data = (context :> SessionEventContext<Cart>).Data
                heard.Enqueue(String.Join(" ", name, reasonOf context, string data))
                Task.CompletedTask)

        let none _ = ""

        let! app =
            SubjectApp.StartAsync(
                counting
                , clock
                , fun options ->
                    options.Events.OnCreated <- hear "Created" none
                    options.Events.OnRegenerated <- hear "Regenerated" (fun it -> string it.Reason)
                    options.Events.OnDestroyed <- hear "Destroyed" (fun it -> string it.Reason)
                    options.Events.OnExpired <- hear "Expired" (fun it -> string it.Reason)
                    options.Events.OnReplayed <- hear "Replayed" none
                    options.Events.OnOutdated <- hear "Outdated" none
                    options.Events.OnUnreadable <- hear "Unreadable" _.Reason
                    options.Events.OnSignedIn <- hear "SignedIn" none
                    options.Events.OnRefused <- hear "Refused" (fun it -> string it.Reason)
                    configure options
                , Action<SessionBuilder> protect
            )

        counting.Reset()
        return World(app, clock, counting, heard)
    }

let start store configure = startWith ignore store configure

let stop (world: World) =
    task {
        world.Client.Dispose()
        do! world.App.DisposeAsync()
    }

/// Runs with a store of this kind in a folder of its own, which is deleted afterwards.
let withStore kind (body: ISessionStore -> Task<unit>) =
    task {
        match kind with
        | Memory
        | Protected -> do! body (MemoryStore())
        | Cache ->
            let cache = MemoryDistributedCache(Options.Create(MemoryDistributedCacheOptions()))
            do! body (DistributedCacheStore(cache, DistributedCacheStoreOptions()))
        | Redis ->
            let store = openRedis ()

            try
                do! body store
            finally
                (store :> IAsyncDisposable).DisposeAsync().AsTask().GetAwaiter().GetResult()
        | Mongo ->
            use place = new MongoServer.Place()
            use store = openMongoAt (MongoServer.address ()) place.Collection ignore
            do! body store
        | Postgres ->
            use store = openPostgres ()
            do! body store
        | Sqlite
        | Sealed ->
            let folder = temporaryFolder ()

            try
                use store = openSqlite folder
                do! body store
            finally
                Directory.Delete(folder, true)
    }

let within kind configure (body: World -> Task<unit>) =
    let configure (options: SessionOptions<Cart>) =
        if kind = Cache then
            options.Events.OnExpired <- null

        configure options

    withStore kind (fun store ->
        task {
            let! world = startWith (protection kind) store configure

            try
                do! body world
            finally
                (stop world).GetAwaiter().GetResult()
        })

/// A story as a test, on a store of this kind, with these options.
let storyWith kind name configure body =
    testCaseAsync name (async { do! within kind configure body |> Async.AwaitTask })

/// Waits, for at most ten seconds, until the background has done its part.
let eventually (what: string) (isTrue: unit -> bool) =
    task {
        let mutable tries = 0

        while not (isTrue ()) do
            tries <- tries + 1

            if tries > 500 then
                failtestf "never came: %s" what

            do! Task.Delay 20
    }
