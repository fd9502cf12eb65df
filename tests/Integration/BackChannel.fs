/// An identity provider ends sessions on real stores: two nodes and a server between them.
module Integration.BackChannel

open System
open System.Collections.Concurrent
open System.Diagnostics
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.AspNetCore.Builder
open Microsoft.Data.Sqlite
open Microsoft.Extensions.DependencyInjection
open Integration.BackChannelNodes
open Integration.Http
open Integration.Bridges
open Integration.World
open Session.AspNetCore
open Session.Engine

// -- what holds on every store

let private bothNodes store =
    nodes [ onStore store; onStore store ] (fun apps ->
        task {
            let one, other = apps[0], apps[1]
            let! first = came one "ada" "A"
            let! same = came other "ada" "A"
            let! second = came other "ada" "B"
            let! eve = came one "eve" "E"
            let bySid = logoutToken "sid" "A"
            let! answer = posts other bySid
            Expect.equal answer (200, "") "by sid"

            for app in apps do
                let! users = open' app [ first; same; second; eve ]
                Expect.equal users "- - ada eve" "by sid"

            let! refused = comes one "ada" "A"
            Expect.isNone refused "what is over there begins nothing here"
            let bySub = logoutToken "sub" "ada"
            let! answer = posts one bySub
            Expect.equal answer (200, "") "by sub"
            let! again = came other "ada" "C"

            for app, token in List.allPairs apps [ bySid; bySub ] do
                let! status, body = posts app token
                Expect.equal status 400 "a token does its work once, wherever"
                Expect.stringContains body "jti" "why"

            for app in apps do
                let! users = open' app [ second; eve; again ]
                Expect.equal users "- eve ada" "by sub"
        })

let private manyOfOne store =
    nodes [ onStore store; onStore store ] (fun apps ->
        task {
            // More than the page of a list.
            let tokens = ConcurrentBag<string>()
            let options = ParallelOptions(MaxDegreeOfParallelism = 16)

            do!
                Parallel.ForAsync(
                    0,
                    230,
                    options,
                    fun i _ ->
                        ValueTask(
                            task =
                                task {
                                    let! token = came apps[i % 2] "ada" $"many {i}"
                                    tokens.Add token
                                }
                        )
                )

            do! logsOut apps[0] "sub" "ada"
            let! users = open' apps[1] (List.ofSeq tokens)
            Expect.equal (users.Replace(" ", "").Trim '-') "" "of 230 nobody is left"
        })

let private races store =
    nodes [ onStore store; onStore store ] (fun apps ->
        task {
            let seed = Random.Shared.Next()
            let chance = Random seed
            let headStarts = [| for _ in 1..200 -> chance.Next(-4000, 4000) |]

            let race i =
                task {
                    let headStart = headStarts[i]
                    let sid = $"race {i}"

                    let ending =
                        task {
                            do! after headStart
                            return! posts apps[1] (logoutToken "sid" sid)
                        }

                    do! after -headStart
                    let! token = comes apps[0] $"ada {i}" sid
                    let! ended = ending
                    Expect.equal ended (200, "") "the logout"

                    match token with
                    | None -> ()
                    | Some token ->
                        let! user = opens apps[1] token
                        Expect.equal user "-" $"seed {seed}, race {i}: a survivor"
                }

            do!
                Parallel.ForAsync(
                    0,
                    headStarts.Length,
                    ParallelOptions(MaxDegreeOfParallelism = 4),
                    fun i _ -> ValueTask(task = race i)
                )
        })

/// `goes`: takes the store away, and brings it back.
let private whileAway store (goes: (unit -> Task) * (unit -> Task)) =
    nodes [ onStore store; onStore store ] (fun apps ->
        task {
            let! token = came apps[0] "ada" "away"
            let logout = logoutToken "sid" "away"
            do! fst goes ()
            let! status, body = posts apps[1] logout
            do! snd goes ()
            Expect.equal status 400 "no 200 that is not true"
            Expect.stringContains body "temporarily_unavailable" "the provider may send it again"
            let clock = Stopwatch.StartNew()
            let mutable isTaken = false

            while not isTaken do
                match! posts apps[1] logout with
                | 200, _ -> isTaken <- true
                | _, body ->
                    Expect.stringContains body "temporarily_unavailable" "not yet"

                    if clock.Elapsed > TimeSpan.FromSeconds 20L then
                        failtest "it is not taken"

                    do! Task.Delay 100

            let! user = opens apps[0] token
            Expect.equal user "-" "it has done its work"
        })

let private promises name (store: unit -> ISessionStore) goes =
    [ testCaseTask $"{name}: ends by session and by user hold on both nodes, and a token does its work once" (fun () ->
          bothNodes store)
      testCaseTask $"{name}: a user has more sessions than a page of a list" (fun () -> manyOfOne store)
      testCaseTask $"{name}: of 200 races between sign-ins and logouts nobody stays" (fun () -> races store)
      testCaseTask
          $"{name}: a logout while the store is away is no 200, and does its work when it comes again"
          (fun () -> whileAway store goes) ]

// -- the stores

let private overRedis =
    let bridge = lazy (new Bridge(RedisServer.shared.Force().Port))
    let prefix = Guid.NewGuid().ToString "N" + ":"

    let store () = openRedisAt $"127.0.0.1:{bridge.Force().Port}" prefix ignore :> ISessionStore

    promises "Redis" store ((fun () -> bridge.Force().Cut()), (fun () -> bridge.Force().Join()))

let private overPostgres =
    let bridge = lazy (new Bridge(PostgresServer.shared.Force().Port))
    let table = PostgresServer.newTable ()

    let store () =
        let address = $"Host=127.0.0.1;Port={bridge.Force().Port};Username=postgres;Database=postgres"
        openPostgresAt address table ignore :> ISessionStore

    promises "PostgreSQL" store ((fun () -> bridge.Force().Cut()), (fun () -> bridge.Force().Join()))

let private overSqlite =
    let folder =
        lazy
            (let folder = temporaryFolder ()

             AppDomain.CurrentDomain.ProcessExit.Add(fun _ ->
                 if IO.Directory.Exists folder then
                     IO.Directory.Delete(folder, true))

             folder)

    let mutable holder: SqliteConnection | null = null

    let away () : Task =
        task {
            let file = IO.Path.Combine(folder.Force(), "sessions.db")
            let connection = new SqliteConnection($"Data Source={file};Pooling=false")

            connection.Open()
            use command = connection.CreateCommand()
            command.CommandText <- "BEGIN EXCLUSIVE"
            command.ExecuteNonQuery() |> ignore
            holder <- connection
        }

    let back () : Task =
        task {
            match holder with
            | null -> ()
            | connection -> connection.Dispose()
        }

    promises "SQLite" (fun () -> openSqlite (folder.Force())) (away, back)

let private overReplica =
    testCaseTask "Redis: a logout that no replica has is no 200, and does its work when it comes again" (fun () ->
        task {
            use server = RedisServer.startOne []
            use replica = RedisServer.replicaOf server.Port

            let store () =
                openRedisAt server.Address "waits:" (fun options ->
                    options.WaitForReplicas <- 1
                    options.WaitTimeout <- TimeSpan.FromSeconds 1L)
                :> ISessionStore

            use! admin = RedisServer.connect server.Address
            let clock = Stopwatch.StartNew()
            let mutable reached = 0L

            // Online it is before it answers for a write.
            while reached < 1L do
                let! _ = admin.GetDatabase().StringSetAsync("settled", "1")
                let! answer = admin.GetServer(server.Address).ExecuteAsync("WAIT", 1, 200)
                reached <- StackExchange.Redis.RedisResult.op_Explicit answer

                if clock.Elapsed > TimeSpan.FromSeconds 20L then
                    failtest "the replica does not follow"

            let away () : Task =
                replica.Freeze()
                Task.CompletedTask

            let back () : Task =
                replica.Thaw()
                Task.CompletedTask

            do! whileAway store (away, back)
        })

let all = testSequenced (testList "back-channel logout" (overSqlite @ overRedis @ [ overReplica ] @ overPostgres))
