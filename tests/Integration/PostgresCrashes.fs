/// What an acknowledged sign-in and an acknowledged logout survive in PostgreSQL: a server that is killed, and the failover to a
/// synchronous standby, under load.
module Integration.PostgresCrashes

open System
open System.Collections.Concurrent
open System.Diagnostics
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.Extensions.Logging.Abstractions
open Integration.Engines
open Integration.PostgresRecords
open Integration.PostgresServer
open Integration.World
open Session.Domain
open Session.Engine

let private none = CancellationToken.None
let private isLong = not (String.IsNullOrEmpty(Environment.GetEnvironmentVariable "SESSION_LONG"))

// Hundreds of kills take longer than a session is idle.
let private patient =
    { settings with
        Policy =
            { settings.Policy with
                Idle = TimeSpan.FromHours 4
                Confirm = TimeSpan.FromHours 4
                Retention = TimeSpan.FromHours 4 } }

let private engineOn store = Engines.engineOn store patient TimeProvider.System silent

/// Signs in and out, until it is told to stop; what was acknowledged is written down.
[<Sealed>]
type private Load(engine: SessionEngine) =
    let stop = new CancellationTokenSource()
    let signedIn = ConcurrentQueue<string>()
    let loggedOut = ConcurrentQueue<string>()
    let failures = ConcurrentQueue<SessionError>()

    let client n =
        task {
            let mutable i = 0

            while not stop.IsCancellationRequested do
                i <- i + 1

                match! engine.Create(Token.newId, Some $"user-{n}", [| 1uy |], none) with
                | Error error ->
                    failures.Enqueue error
                    do! Task.Delay 20
                | Ok opened ->
                    let token = opened.Issued.Value.Reveal()
                    // A cart, which may be lost, goes before and between.
                    let! changed = engine.Update(opened, (fun _ -> Ok [| 2uy |]), none)

                    if i % 2 = 1 then
                        signedIn.Enqueue token
                    else
                        match! engine.SignOut(opened, none) with
                        | Ok _ -> loggedOut.Enqueue token
                        | Error error -> failures.Enqueue error

                    match changed with
                    | Error error -> failures.Enqueue error
                    | Ok _ -> ()
        }

    let running = [ for n in 1..6 -> Task.Run<unit>(fun () -> client n) ]
    member _.SignedIn = List.ofSeq signedIn
    member _.LoggedOut = List.ofSeq loggedOut
    member _.Failures = List.ofSeq failures

    /// Until so many more logouts are acknowledged.
    member _.Goes(count: int) =
        task {
            let clock = Stopwatch.StartNew()
            let before = loggedOut.Count

            while loggedOut.Count < before + count do
                if clock.Elapsed > TimeSpan.FromSeconds 60L then
                    failtest "the store does not come back"

                do! Task.Delay 5
        }

    member _.Stop() =
        task {
            stop.Cancel()
            let! _ = Task.WhenAll running
            ()
        }

/// How many of them are open, once the server answers.
let private openAmong (engine: SessionEngine) (tokens: string list) =
    task {
        let mutable count = 0

        for token in tokens do
            let clock = Stopwatch.StartNew()
            let mutable answer = Error(SessionError.Unavailable(TimeoutException()))

            while (match answer with
                   | Error error -> isUnavailable error && clock.Elapsed < TimeSpan.FromSeconds 30L
                   | Ok _ -> false) do
                let! found = engine.Present((Token.tryParse engine.Hasher (token.AsSpan())).Value, false, none)
                answer <- found

            match answer with
            | Ok _ -> count <- count + 1
            | Error error when isUnavailable error -> failtestf "not found again: %A" error
            | Error _ -> ()

        return count
    }

let private judge what (engine: SessionEngine) (load: Load) =
    task {
        do! load.Stop()
        let signedIn, loggedOut = load.SignedIn, load.LoggedOut
        let! alive = openAmong engine signedIn
        let! undone = openAmong engine loggedOut

        printfn
            "Postgres, %s: %d acknowledged logouts, %d undone; %d acknowledged sign-ins, %d lost; %d requests got 503"
            what
            loggedOut.Length
            undone
            signedIn.Length
            (signedIn.Length - alive)
            load.Failures.Length

        Expect.isGreaterThan loggedOut.Length 20 "logouts"
        Expect.all load.Failures isUnavailable "errors are 503"
        Expect.equal undone 0 "no acknowledged logout is undone"
        Expect.equal (signedIn.Length - alive) 0 "no acknowledged sign-in is lost"
    }

let private kills =
    testCaseTask
        "kill -9 of the server under load: no acknowledged logout is undone, no acknowledged sign-in lost"
        (fun () ->
            task {
                let rounds = if isLong then 200 else 4
                use server = startOne []
                use store = openPostgresAt server.Address "sessions" ignore
                let engine = engineOn store
                let load = Load engine

                for _ in 1..rounds do
                    do! load.Goes 10
                    do! Task.Delay(Random.Shared.Next 50)
                    server.Kill()
                    server.Start()

                do! load.Goes 10
                do! judge $"{rounds} kills" engine load
            })

let private failovers =
    testCaseTask
        "failover to a synchronous standby under load: no acknowledged logout is undone, no acknowledged sign-in lost"
        (fun () ->
            task {
                let rounds = if isLong then 20 else 3
                use pair = new PostgresPair()
                pair.Start()

                use store =
                    openPostgresAt pair.Address "sessions" (fun o -> o.OperationTimeout <- TimeSpan.FromSeconds 2L)

                let engine = engineOn store
                let load = Load engine

                for _ in 1..rounds do
                    do! load.Goes 20
                    do! Task.Delay(Random.Shared.Next 50)
                    pair.FailOver()
                    do! Task.Delay 500
                    pair.Repair()

                do! load.Goes 20
                do! judge $"{rounds} failovers" engine load
            })

/// What is behind an address may change: a connection of before leads to what is a standby now. A role whose connections were
/// made read-only, and whose next ones are not, is the same to the store.
let private standbys =
    testCaseTask "connections that lead to a standby are given up for others, whatever finds it out" (fun () ->
        task {
            use server = startOne []
            server.Execute "CREATE ROLE app LOGIN"
            server.Execute "GRANT CREATE ON SCHEMA public TO app"
            use opened = openPostgresAt (server.AddressOf "app") "sessions" ignore
            let store = opened :> ISessionStore
            let! _ = store.Prepare none
            let! inserted = store.Insert(record "a" 1L "ada" true, none)
            Expect.equal inserted WriteResult.Written "while it is the primary"

            let becomesStandby () =
                task {
                    server.Execute "ALTER ROLE app SET default_transaction_read_only = on"
                    server.Execute "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'"
                    let! found = store.Load("a", none)
                    Expect.isNotNull found "a standby can be read"
                    // The next connections lead to the primary.
                    server.Execute "ALTER ROLE app RESET default_transaction_read_only"
                }

            let written (answer: ValueTask<WriteResult>) : Task =
                task {
                    let! result = answer
                    Expect.equal result WriteResult.Written "written"
                }

            for name, work in
                [ "a claim",
                  fun () ->
                      task {
                          let! claimed = store.ClaimOverdue(at.AddDays 1, TimeSpan.FromMinutes 1L, 10, none)
                          Expect.equal claimed.Count 1 "claimed"
                      }
                      :> Task
                  "a later due time", (fun () -> store.Reschedule("a", 1L, at.AddDays 1, none).AsTask())
                  "a replace", (fun () -> written (store.Replace(record "a" 2L "ada" true, 1L, none)))
                  "an insert", (fun () -> written (store.Insert(record "b" 1L "bob" true, none)))
                  "a touch", (fun () -> store.Touch("a", at.AddMinutes 1, none).AsTask())
                  "a removal", (fun () -> store.Remove("b", none).AsTask()) ] do
                do! becomesStandby ()

                try
                    do! work ()
                with error ->
                    failtestf "%s: %O" name error
        })

/// A standby may not have heard of a logout: what it says of a session is nothing.
let private standbyAlone =
    testCaseTask
        "connections that lead to a standby alone are none: nothing is read until the primary is back"
        (fun () ->
            task {
                use pair = new PostgresPair()
                pair.Start()

                let opened =
                    [ for settings in [ ""; ";Target Session Attributes=any" ] ->
                          openPostgresAt (pair.Address + settings) "sessions" (fun o ->
                              o.OperationTimeout <- TimeSpan.FromSeconds 2L) ]

                try
                    let stores = [ for store in opened -> store :> ISessionStore ]
                    let! _ = stores.Head.Insert(record "a" 1L "ada" true, none)

                    for store in stores do
                        let! found = store.Load("a", none)
                        Expect.isNotNull found "while the primary is there"

                    pair.Primary.Kill()
                    let clock = Stopwatch.StartNew()

                    while clock.Elapsed < TimeSpan.FromSeconds 3L do
                        for store in stores do
                            let! answer =
                                task {
                                    try
                                        let! _ = store.Load("a", none)
                                        return "an answer"
                                    with error ->
                                        return "none"
                                }

                            Expect.equal answer "none" $"after {clock.Elapsed.TotalSeconds:F1} s"

                        do! Task.Delay 100

                    pair.Primary.Start()

                    for store in stores do
                        do!
                            eventually "the primary" (fun () ->
                                try
                                    store.Load("a", none).AsTask().GetAwaiter().GetResult() |> isNull |> not
                                with _ ->
                                    false)
                finally
                    for store in opened do
                        (store :> IDisposable).Dispose()
            })

/// A machine that is lost does not even say that nobody listens there. Whatever the connection string has for a time, there is
/// one that is shorter than a request's, and none that the driver takes for no limit at all.
let private silentHost =
    testCaseTask
        "the first of two hosts takes connections and says nothing: no read fails, and none waits for long"
        (fun () ->
            task {
                let server, table = shared.Force(), newTable ()
                use silent = new SilentHost(server.Port)
                let hosts = $"Host=127.0.0.1:{silent.Port},127.0.0.1:{server.Port}"

                let opened =
                    [ for limit in [ ""; ";Timeout=0"; ";Timeout=1"; ";Timeout=30" ] ->
                          limit, openPostgresAt $"{hosts};Username=postgres;Database=postgres{limit}" table ignore ]

                try
                    let first = snd opened.Head :> ISessionStore
                    let! inserted = first.Insert(record "a" 1L "ada" true, none)
                    Expect.equal inserted WriteResult.Written "written by the second one"

                    let load (limit: string) (store: ISessionStore) =
                        task {
                            let clock = Stopwatch.StartNew()
                            let! found = store.Load("a", none).AsTask().WaitAsync(TimeSpan.FromSeconds 20L)
                            Expect.isNotNull found $"found, with '{limit}'"
                            return limit, clock.Elapsed
                        }

                    let loads = ResizeArray<Task<string * TimeSpan>>()

                    for _ in 1..40 do
                        for limit, store in opened do
                            loads.Add(load limit store)

                        do! Task.Delay 200

                    let! took = Task.WhenAll loads

                    // The driver's own time would be fifteen seconds for each host.
                    for limit, longest in took do
                        Expect.isLessThan longest (TimeSpan.FromSeconds 8L) $"in a request's time, with '{limit}'"
                finally
                    for _, store in opened do
                        (store :> IDisposable).Dispose()
            })

let all = testList "Postgres crashes" [ kills; failovers; standbys; standbyAlone; silentHost ]
