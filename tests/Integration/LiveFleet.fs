/// Some hundred WebSockets on three nodes with one Redis: those of ended sessions are closed, also where no notice comes through,
/// and no others; and what the looks cost. `bench/Connections` measures the same with thousands.
module Integration.LiveFleet

open System
open System.Collections.Concurrent
open System.Diagnostics
open System.Net.Http
open System.Net.Sockets
open System.Net.WebSockets
open System.Text.RegularExpressions
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.AspNetCore.Builder
open Microsoft.AspNetCore.Hosting
open Microsoft.AspNetCore.Http
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.Logging
open StackExchange.Redis
open Integration.Http
open Integration.Relays
open Integration.World
open Session.AspNetCore
open Session.Engine

let private none = CancellationToken.None
let private sessionsOfUser, linesOfSession = 2, 5

type Chair = { Number: int }

/// Between a node and Redis. Once it is cut, nothing that Redis says on the node's notice channel arrives: the connection hangs.
[<Sealed>]
type private ChannelRelay(server: int) =
    let cut = TaskCompletionSource()
    let mutable held = 0
    let mutable isCut = false

    let serve (client: TcpClient) =
        task {
            let upstream = new TcpClient(NoDelay = true)
            do! upstream.ConnectAsync("127.0.0.1", server)
            let isChannel = ref false

            let requests (bytes: byte array) =
                if ReadOnlySpan(bytes).IndexOf("SUBSCRIBE"B.AsSpan()) >= 0 then
                    isChannel.Value <- true

                Task.CompletedTask

            let answers (bytes: byte array) : Task =
                if bytes.Length > 0 && isChannel.Value && Volatile.Read &isCut then
                    Interlocked.Increment(&held) |> ignore
                    cut.Task
                else
                    Task.CompletedTask

            let toServer, toClient = upstream.GetStream(), client.GetStream()
            let! _ = Task.WhenAll(pump toClient toServer requests, pump toServer toClient answers)
            ()
        }

    let relay = new Relay(serve)
    member _.Address = $"127.0.0.1:{relay.Port}"
    member _.Cut() = Volatile.Write(&isCut, true)
    member _.Held = Volatile.Read &held

    interface IDisposable with
        member _.Dispose() =
            cut.TrySetResult() |> ignore
            (relay :> IDisposable).Dispose()

let private said (handler: HttpContext -> Task) = RequestDelegate handler

let private ok (answer: Task<Result<'a, SessionError>>) : Task =
    task {
        match! answer with
        | Ok _ -> ()
        | Error error -> failtestf "%A" error
    }

let private asked (context: HttpContext) name = string context.Request.Query[name]

/// As an application's: it answers each message, until the session is over.
let private talk (context: HttpContext) : Task =
    task {
        let! session = Session.ended<Chair> context
        use! socket = context.WebSockets.AcceptWebSocketAsync()
        use ended = CancellationTokenSource.CreateLinkedTokenSource(session, context.RequestAborted)
        let buffer = Array.zeroCreate<byte> 64

        try
            while socket.State = WebSocketState.Open do
                let! message = socket.ReceiveAsync(ArraySegment buffer, ended.Token)
                let bytes = ArraySegment(buffer, 0, message.Count)
                do! socket.SendAsync(bytes, WebSocketMessageType.Text, true, ended.Token)
        with
        | :? OperationCanceledException
        | :? WebSocketException -> ()
    }

let private node (address: string) prefix (liveCheck: TimeSpan) =
    task {
        let builder = WebApplication.CreateSlimBuilder()
        builder.Logging.ClearProviders() |> ignore
        builder.WebHost.UseUrls "http://127.0.0.1:0" |> ignore

        builder.Services
            .AddSession<Chair>(fun s ->
                { s with
                    LiveCheck = liveCheck
                    SecurePolicy = CookieSecurePolicy.SameAsRequest })
            .UseStore(fun _ -> openRedisAt address prefix ignore :> ISessionStore)
        |> ignore

        let app = builder.Build()
        app.UseSession<Chair>() |> ignore
        app.UseWebSockets() |> ignore

        app.MapPost("/login", said (fun it -> ok (Session.signIn (asked it "user") { Number = 1 } it)))
        |> ignore

        app.MapPost("/logout", said (fun it -> ok (Session.destroy<Chair> it))) |> ignore

        app.MapPost("/everywhere", said (fun it -> ok (Sessions.destroyAll<Chair> (asked it "user") it)))
        |> ignore

        app.MapPost("/destroy", said (fun it -> ok (Sessions.destroy<Chair> (asked it "id") it))) |> ignore

        app.MapGet("/talk", said talk) |> ignore
        do! app.StartAsync()
        return app
    }

/// One connection of a client: whether it is closed, and whether it answers.
[<Sealed>]
type private Line(socket: WebSocket) =
    let answers = ConcurrentQueue<unit>()
    let closed = TaskCompletionSource()

    let read () : Task =
        task {
            let buffer = Array.zeroCreate<byte> 64

            try
                while socket.State = WebSocketState.Open do
                    let! _ = socket.ReceiveAsync(ArraySegment buffer, none)
                    answers.Enqueue()
            with :? WebSocketException ->
                ()

            closed.SetResult()
        }

    let _reading = read ()
    member _.Closed: Task = closed.Task
    member _.IsClosed = closed.Task.IsCompleted

    member line.Answers() =
        task {
            do! socket.SendAsync(ArraySegment "tea"B, WebSocketMessageType.Text, true, none)
            let clock = Stopwatch.StartNew()

            while answers.IsEmpty && not line.IsClosed && clock.Elapsed < TimeSpan.FromSeconds 10L do
                do! Task.Delay 5

            return not answers.IsEmpty
        }

type private Seat = { User: string; Cookie: string; Id: string; Lines: Line array }

[<Sealed>]
type private Fleet(nodes: WebApplication array, client: HttpClient) =
    let address n = Uri(Seq.head nodes[n % nodes.Length].Urls)

    let dial (cookie: string) n =
        task {
            let socket = new ClientWebSocket()
            socket.Options.SetRequestHeader("Cookie", cookie)
            let place = UriBuilder(Uri(address n, "/talk"), Scheme = "ws")
            do! socket.ConnectAsync(place.Uri, client, none)
            return Line socket
        }

    /// Whose connections are spread over all nodes.
    member _.Open users =
        task {
            let seats = ResizeArray<Seat>()

            for user in 1..users do
                for number in 1..sessionsOfUser do
                    let! login = send client (address user) "POST" $"/login?user=user-{user}" []
                    let line = parseSetCookie (List.exactlyOne login.SetCookies)
                    let cookie = $"{line.Name}={line.Value}"
                    let! lines = all [ for n in 1..linesOfSession -> dial cookie (user + number + n) ]

                    seats.Add
                        { User = $"user-{user}"
                          Cookie = cookie
                          Id = idOf line.Value
                          Lines = lines }

            return seats.ToArray()
        }

    member private _.Post n path cookie =
        task {
            let! answer = send client (address n) "POST" path [ "Cookie", cookie ]
            Expect.equal answer.Status 200 path
        }

    /// Each user in one way of three, on one node: by a logout, everywhere, or by somebody else. Those whose sessions are over.
    member fleet.End(seats: Seat array) =
        task {
            let over = ResizeArray<Seat>()

            for n, (_, theirs) in Seq.indexed (Array.groupBy _.User seats) do
                let first = theirs[0]

                match n % 3 with
                | 0 ->
                    do! fleet.Post n "/logout" first.Cookie
                    over.Add first
                | 1 ->
                    do! fleet.Post n $"/everywhere?user={first.User}" first.Cookie
                    over.AddRange theirs
                | _ ->
                    do! fleet.Post n $"/destroy?id={first.Id}" ""
                    over.Add first

            return over.ToArray()
        }

let private withFleet (address: int -> string) liveCheck (run: Fleet -> Task<unit>) =
    task {
        let prefix = Guid.NewGuid().ToString "N" + ":"
        let! nodes = all [ for n in 0..2 -> node (address n) prefix liveCheck ]
        use client = newClient ()

        try
            do! run (Fleet(nodes, client))
        finally
            for app in nodes do
                app.DisposeAsync().AsTask().GetAwaiter().GetResult()
    }

/// How many connections of ended sessions are open after this time.
let private survivors (within: TimeSpan) (over: Seat array) =
    task {
        let closing =
            Task.WhenAll
                [| for seat in over do
                       for line in seat.Lines -> line.Closed |]

        let! _ = Task.WhenAny(closing, Task.Delay within)

        return
            over
            |> Array.sumBy (fun seat -> seat.Lines |> Seq.filter (fun line -> not line.IsClosed) |> Seq.length)
    }

let private othersAnswer (seats: Seat array) (over: Seat array) =
    task {
        let ended = set [ for seat in over -> seat.Id ]

        for seat in seats do
            if not (ended.Contains seat.Id) then
                let! answers = all [ for line in seat.Lines -> line.Answers() ]
                Expect.allEqual answers true "whose session lives is open, and answers"
    }

/// So long for a busy machine, beyond what is promised.
let private allowance = TimeSpan.FromSeconds 2L

let private stat (text: string) (pattern: string) =
    let found = Regex.Match(text, pattern)
    if found.Success then int64 found.Groups[1].Value else 0L

let private shared () = RedisServer.shared.Force()

let private withNotices =
    testCaseTask "Three nodes: every connection of an ended session is closed by a notice, and no other" (fun () ->
        // No look comes in that time.
        withFleet (fun _ -> shared().Address) (TimeSpan.FromHours 1) (fun fleet ->
            task {
                let! seats = fleet.Open 30
                let! over = fleet.End seats
                let! open' = survivors (TimeSpan.FromSeconds 5L) over

                Expect.equal
                    (over.Length, open')
                    (40, 0)
                    "sessions that were ended, connections of theirs that are open"

                do! othersAnswer seats over
            }))

let private withoutNotices =
    testCaseTask
        "Three nodes: with the channel cut, no connection of an ended session outlives one look, and no other ends"
        (fun () ->
            task {
                let relays = [| for _ in 0..2 -> new ChannelRelay(shared().Port) |]
                let liveCheck = TimeSpan.FromSeconds 2L

                try
                    do!
                        withFleet (fun n -> relays[n].Address) liveCheck (fun fleet ->
                            task {
                                let! seats = fleet.Open 30
                                // Until every node listens.
                                do! Task.Delay 500

                                for relay in relays do
                                    relay.Cut()

                                let! over = fleet.End seats
                                let! open' = survivors (liveCheck + allowance) over

                                Expect.equal
                                    (over.Length, open')
                                    (40, 0)
                                    "sessions that were ended, connections of theirs that are open"

                                Expect.all relays (fun relay -> relay.Held > 0) "no notice came through"
                                do! othersAnswer seats over
                            })
                finally
                    for relay in relays do
                        (relay :> IDisposable).Dispose()
            })

let private fewCommands =
    testCaseTask "Three nodes: each looks at all its open sessions by one command" (fun () ->
        task {
            use server = RedisServer.startOne []
            let liveCheck = TimeSpan.FromSeconds 1L

            do!
                withFleet (fun _ -> server.Address) liveCheck (fun fleet ->
                    task {
                        let! seats = fleet.Open 40
                        do! Task.Delay 500
                        use! admin = RedisServer.connect server.Address
                        let asked = admin.GetServer server.Address
                        let! _ = asked.ExecuteAsync("CONFIG", "RESETSTAT")
                        do! Task.Delay(4.0 * liveCheck)
                        let! commands = asked.InfoRawAsync "commandstats"
                        let! all = asked.InfoRawAsync "stats"
                        let looks = stat (string commands) "cmdstat_mget:calls=(\d+)"
                        let loads = stat (string commands) "cmdstat_get:calls=(\d+)"
                        let records = stat (string all) "keyspace_hits:(\d+)"
                        Expect.isGreaterThanOrEqual looks 6L "looks of three nodes in four intervals"
                        Expect.isLessThanOrEqual looks 15L "looks of three nodes in four intervals"

                        Expect.equal
                            (records, loads)
                            (looks * int64 seats.Length, 0L)
                            "all by each of them, and none by itself"
                    })
        })

/// So many sessions of a Cluster, stored.
let private stored (store: ISessionStore) count =
    task {
        let! _ = store.Prepare none
        let engine = Engines.engineOn store Engines.settings TimeProvider.System Engines.silent
        let ids = [| for i in 1..count -> $"id-{i}" |]

        for id in ids do
            let! _ = engine.Create((fun () -> id), Some "ada", [| 1uy |], none)
            ()

        return ids
    }

let private onACluster =
    testCaseTask
        "Cluster: five hundred sessions are looked at by one command for each primary, also after slots have moved"
        (fun () ->
            task {
                use cluster = new RedisServer.RedisCluster(5000)
                cluster.Start()
                use store = openRedisAt cluster.Addresses "many:" ignore
                let! ids = stored store 500
                let nodes = cluster.Nodes |> List.filter RedisServer.isPrimary
                use! admin = RedisServer.connect cluster.Addresses

                for node in nodes do
                    let! _ = admin.GetServer(node.Address).ExecuteAsync("CONFIG", "RESETSTAT")
                    ()

                let wanted = Array.append ids [| "id-0" |]
                let! found = (store :> IReadsMany).LoadMany(wanted, none)
                Expect.equal (set [ for it in found -> it.Id ]) (set ids) "those that are there"
                let mutable scripts, loads = [], 0L

                for node in nodes do
                    let! text = admin.GetServer(node.Address).InfoRawAsync "commandstats"
                    let scriptsOf name = stat (string text) (name + @":calls=(\d+)")
                    // By its text the first time, by its hash from then on.
                    scripts <- scriptsOf "cmdstat_eval" + scriptsOf "cmdstat_evalsha" :: scripts
                    loads <- loads + stat (string text) "cmdstat_get:calls=(\d+)"

                Expect.equal scripts [ 1L; 1L; 1L ] "commands"
                // One in a script for each, and two for the one that is not there: of its server, and of the owner by the others' word.
                Expect.equal loads 503L "reads"

                let move =
                    [ "--cluster"
                      "reshard"
                      nodes[0].Address
                      "--cluster-yes"
                      "--cluster-slots"
                      "2000"
                      "--cluster-from"
                      "all"
                      "--cluster-to" ]

                let! target = admin.GetServer(nodes[1].Address).ExecuteAsync("CLUSTER", "MYID")
                use moving = RedisServer.launch "redis-cli" (move @ [ string target ])
                do! moving.WaitForExitAsync()
                Expect.equal moving.ExitCode 0 "the slots have moved"
                let! found = (store :> IReadsMany).LoadMany(ids, none)
                Expect.equal (set [ for it in found -> it.Id ]) (set ids) "all, wherever they are now"
            })

let all =
    testSequenced (testList "open connections of a fleet" [ withNotices; withoutNotices; fewCommands; onACluster ])
