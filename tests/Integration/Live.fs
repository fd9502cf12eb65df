/// What is open for a session on one node ends with it on another one: what servers carry between the nodes.
module Integration.Live

open System
open System.Collections.Concurrent
open System.Diagnostics
open System.Net.Http
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.AspNetCore.Builder
open Microsoft.AspNetCore.Hosting
open Microsoft.AspNetCore.Http
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.Logging
open Npgsql
open Integration.Engines
open Integration.Http
open Integration.World
open Session.AspNetCore
open Session.Engine

let private none = CancellationToken.None

type Seat = { Number: int }

/// Says nothing to other nodes, and hears nothing of them.
type private Deaf(inner: ISessionStore) =
    inherit ForwardingStore(inner)
    override _.Publish(_, _) = ValueTask.CompletedTask
    override _.Subscribe(_, cancel) = base.Subscribe(ignore, cancel)

let private said (handler: HttpContext -> Task) = RequestDelegate handler

let private signIn (context: HttpContext) : Task =
    task {
        match! Session.signIn "ada" { Number = 1 } context with
        | Ok _ -> ()
        | Error error -> failtestf "%A" error
    }

let private signOut (context: HttpContext) : Task =
    task {
        match! Session.destroy<Seat> context with
        | Ok _ -> ()
        | Error error -> failtestf "%A" error
    }

/// Says that it is open, and in the end why it is not any more.
let private hold (context: HttpContext) : Task =
    task {
        let! ended = Session.ended<Seat> context
        do! context.Response.WriteAsync "open "
        do! context.Response.Body.FlushAsync()

        use either = CancellationTokenSource.CreateLinkedTokenSource(ended, context.RequestAborted)

        do!
            (Task.Delay(Timeout.Infinite, either.Token))
                .ContinueWith(ignore<Task>, TaskContinuationOptions.ExecuteSynchronously)

        do! context.Response.WriteAsync(string (Session.endedBecause<Seat> context |> Option.get))
    }

let private node (store: unit -> ISessionStore) (liveCheck: TimeSpan) =
    task {
        let builder = WebApplication.CreateSlimBuilder()
        builder.Logging.ClearProviders() |> ignore
        builder.WebHost.UseUrls "http://127.0.0.1:0" |> ignore

        builder.Services.AddSession<Seat>(fun s -> { s with LiveCheck = liveCheck }).UseStore(fun _ -> store ())
        |> ignore

        let app = builder.Build()
        app.UseSession<Seat>() |> ignore
        app.MapPost("/login", said signIn) |> ignore
        app.MapPost("/logout", said signOut) |> ignore
        app.MapGet("/hold", said hold) |> ignore
        do! app.StartAsync()
        return app
    }

let private addressOf (app: WebApplication) = Uri(Seq.head app.Urls)

/// What a connection on one node says when its session has been ended on another one, and how long that took.
/// `between`: what happens while it is open, before the session ends.
let endedElsewhere (store: unit -> ISessionStore) liveCheck (between: unit -> Task<unit>) =
    task {
        let! one = node store liveCheck
        let! other = node store liveCheck
        use client = newClient ()

        try
            let! login = send client (addressOf one) "POST" "/login" []
            let cookie = "__Host-sid=" + token login
            use request = new HttpRequestMessage(HttpMethod.Get, Uri(addressOf one, "/hold"))
            request.Headers.TryAddWithoutValidation("Cookie", cookie) |> ignore
            use! response = client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead)
            let! body = response.Content.ReadAsStreamAsync()
            let buffer = Array.zeroCreate<byte> 5
            do! body.ReadExactlyAsync buffer
            // Until it listens.
            do! Task.Delay 500
            do! between ()
            let! logout = send client (addressOf other) "POST" "/logout" [ "Cookie", cookie ]
            Expect.equal logout.Status 200 "the logout"
            let clock = Stopwatch.StartNew()
            use reader = new IO.StreamReader(body)
            let! why = reader.ReadToEndAsync().WaitAsync(TimeSpan.FromSeconds 20L)
            return why, clock.Elapsed
        finally
            for app in [ one; other ] do
                app.DisposeAsync().AsTask().GetAwaiter().GetResult()
    }

/// In the place of null, where what is heard is kept: all may have ended.
let everySession = "(all)"

/// What is heard of a store's notices from now on, until what comes with it is disposed of.
let listen (store: ISessionStore) =
    task {
        let heard = System.Collections.Concurrent.ConcurrentQueue<string>()

        let! subscription =
            (store :?> ISessionSignals)
                .Subscribe(
                    Action<string | null>(fun id ->
                        heard.Enqueue(id |> Option.ofObj |> Option.defaultValue everySession)),
                    CancellationToken.None
                )

        return heard, subscription
    }

let private never = TimeSpan.FromHours 1
let private nothing () = Task.FromResult()

/// By a notice, or by a look each so often.
let endsByNotice (open': unit -> ISessionStore) (liveCheck: TimeSpan) =
    task {
        let! why, _ = endedElsewhere open' liveCheck nothing
        Expect.stringContains why "SignedOut" "why"
    }

let endsByLook (open': unit -> ISessionStore) =
    endsByNotice (fun () -> Deaf(open' ()) :> ISessionStore) (TimeSpan.FromSeconds 1L)

/// Without a look of its own, though this has happened to the channel.
let endsAfter (open': unit -> ISessionStore) (cut: unit -> Task<unit>) =
    task {
        let! why, _ = endedElsewhere open' never cut
        Expect.stringContains why "SignedOut" "why"
    }

/// Records of the engine under these ids, and what `LoadMany` has of them.
let severalAtOnce (store: ISessionStore) =
    task {
        let! _ = store.Prepare none
        let engine = engineOn store settings TimeProvider.System silent
        let ids = [| for i in 1..500 -> $"id-{i}" |]

        for id in ids[..9] do
            let! _ = engine.Create((fun () -> id), Some "ada", [| 1uy |], none)
            ()

        return!
            task {
                let! found = (store :?> IReadsMany).LoadMany(ids, none)
                let! single = store.Load("id-3", none)
                let several = found |> Seq.find (fun record -> record.Id = "id-3")

                Expect.equal
                    (Set.ofList [ for record in found -> record.Id ])
                    (Set.ofArray ids[..9])
                    "those that are there"

                Expect.equal several.Operation (nonNull single).Operation "as by Load"
                Expect.equal (several.Body.ToArray()) ((nonNull single).Body.ToArray()) "as by Load"
            }
    }

let hears (open': unit -> ISessionStore) =
    task {
        let one, other = open' (), open' ()
        let! _ = one.Prepare none
        let! _ = other.Prepare none
        let heard = ConcurrentQueue<string>()
        let hear (id: string | null) = Option.iter heard.Enqueue (Option.ofObj id)
        let! subscription = (one :?> ISessionSignals).Subscribe(Action<string | null> hear, none)
        let ids = [| for i in 1..1200 -> String.Concat(String('x', 55), string i) |]
        do! (other :?> ISessionSignals).Publish(ids, none)
        let clock = Stopwatch.StartNew()

        while heard.Count < ids.Length && clock.Elapsed < TimeSpan.FromSeconds 20L do
            do! Task.Delay 10

        Expect.equal (Set.ofSeq heard) (Set.ofArray ids) "all of them"
        // Once more is no failure.
        do! subscription.DisposeAsync()
        do! subscription.DisposeAsync()
        do! (other :?> ISessionSignals).Publish([| "late" |], none)
        do! Task.Delay 300
        Expect.isFalse (Seq.contains "late" heard) "nothing after that"

        for store in [ one; other ] do
            (store :?> IDisposable).Dispose()
    }

let private onStore name (open': unit -> ISessionStore) (cut: unit -> Task<unit>) =
    [ testCaseTask $"{name}: with no notice coming through, the next look ends it" (fun () -> endsByLook open')
      testCaseTask $"{name}: a channel that was cut looks at all when it is back" (fun () -> endsAfter open' cut)
      testCaseTask $"{name}: what one node says all hear, until they stop to listen" (fun () -> hears open') ]

let hearsOfIt (open': unit -> ISessionStore) =
    task {
        let! why, took = endedElsewhere open' never nothing
        Expect.stringContains why "SignedOut" "why"
        Expect.isLessThan took (TimeSpan.FromSeconds 5L) "at once"
    }

let private redis () =
    let prefix = Guid.NewGuid().ToString("N") + ":"
    let open' () = openRedisAt (RedisServer.shared.Force().Address) prefix ignore :> ISessionStore

    let cut () =
        task {
            use! admin = RedisServer.connect (RedisServer.shared.Force().Address)
            let server = admin.GetServer(RedisServer.shared.Force().Address)
            let! _ = server.ExecuteAsync("CLIENT", "KILL", "TYPE", "pubsub")
            ()
        }

    open', cut

let private postgres () =
    let table = PostgresServer.newTable ()
    let address = PostgresServer.shared.Force().Address
    let open' () = openPostgresAt address table ignore :> ISessionStore

    let cut () =
        task {
            use source = NpgsqlDataSource.Create address

            use command =
                source.CreateCommand
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN %' AND pid <> pg_backend_pid()"

            let! _ = command.ExecuteNonQueryAsync()
            ()
        }

    open', cut

let all =
    // The servers start with the first test that needs them.
    let later (place: unit -> (unit -> ISessionStore) * (unit -> Task<unit>)) =
        let made = lazy (place ())
        (fun () -> (fst (made.Force())) ()), (fun () -> (snd (made.Force())) ())

    testSequenced (
        testList
            "open connections"
            [ testCaseTask "Redis: a logout on another node ends what is open, without a look" (fun () ->
                  hearsOfIt (fst (redis ())))
              testCaseTask "PostgreSQL: a logout on another node ends what is open, without a look" (fun () ->
                  hearsOfIt (fst (postgres ())))
              yield! later redis ||> onStore "Redis"
              yield! later postgres ||> onStore "PostgreSQL"
              testCaseTask "Redis: five hundred sessions are looked at by one command" (fun () ->
                  task {
                      use server = RedisServer.startOne []
                      use store = openRedisAt server.Address "many:" ignore
                      do! severalAtOnce store
                      use! admin = RedisServer.connect server.Address
                      let! stats = admin.GetServer(server.Address).InfoRawAsync "commandstats"
                      Expect.stringContains (string stats) "cmdstat_mget:calls=1," "commands"
                  })
              testCaseTask
                  "Redis: a user with the README's first line looks one after another, with the second hears at once"
                  (fun () ->
                      task {
                          use server = RedisServer.startOne []
                          use! admin = RedisServer.connect server.Address

                          let lines =
                              IO.File.ReadLines(Repository.under [ "src"; "Session.Stores"; "Redis"; "README.md" ])
                              |> Seq.filter _.StartsWith("ACL SETUSER")
                              |> Seq.map _.Replace("…", "secret").Replace("session:Shop:", "session:")
                              |> List.ofSeq

                          let grant (line: string) =
                              task {
                                  let words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries)
                                  let arguments = words[1..] |> Array.map (fun word -> word :> obj)
                                  let! _ = admin.GetServer(server.Address).ExecuteAsync(words[0], arguments)
                                  ()
                              }

                          let open' () =
                              openRedisAt $"{server.Address},user=sessions,password=secret" "session:" ignore
                              :> ISessionStore

                          Expect.equal lines.Length 2 "lines"
                          do! grant lines[0]
                          let! why, _ = endedElsewhere open' (TimeSpan.FromSeconds 1L) nothing
                          Expect.stringContains why "SignedOut" "by a look"
                          do! grant lines[1]
                          do! hearsOfIt open'
                      })
              testCaseTask "PostgreSQL: five hundred sessions are looked at by one statement" (fun () ->
                  task {
                      use store = openPostgres ()
                      do! severalAtOnce store
                  }) ]
    )
