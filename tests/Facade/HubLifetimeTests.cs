using System.Net;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Connections;
using Microsoft.AspNetCore.SignalR;
using Microsoft.AspNetCore.SignalR.Client;
using Microsoft.Extensions.DependencyInjection;
using Session.CSharp;
using Session.Engine;
using Session.Testing;
using Xunit;

namespace Facade;

/// <summary>Connections of hubs end together with their session, whatever carries them.</summary>
public class HubLifetimeTests
{
    private sealed class Desk : Hub
    {
        public override Task OnConnectedAsync() =>
            Context.GetHttpContext()!.Request.Headers.ContainsKey("X-Unwelcome")
                ? throw new HubException("Not today.")
                : base.OnConnectedAsync();

        public async Task<string?> Read() => (await Context.GetSessionAsync<Cart>()).Data?.Item;

        public async Task<string> Write(string item) =>
            (await (await Context.GetSessionAsync<Cart>()).UpdateAsync(_ => new Cart(item))).Item;

        public async Task End() => await (await Context.GetSessionAsync<Cart>()).DestroyAsync();

        public Task<string> Nothing() => Task.FromResult("nothing");
    }

    private static Task<Site> StartAsync(ISessionStore? store = null) =>
        Site.StartAsync(
            store: () => store ?? new MemoryStore(),
            add: services => services.AddSignalR().AddSessionLifetime<Cart>().AddSessionLifetime<Cart>(),
            map: app => app.MapHub<Desk>("/desk")
        );

    private static async Task<(HubConnection Connection, Task Closed)> ConnectAsync(
        Site site,
        HttpTransportType transport,
        string? token,
        bool isWelcome = true
    )
    {
        var connection = new HubConnectionBuilder()
            .WithUrl(
                new Uri(site.Address, "/desk"),
                o =>
                {
                    o.Transports = transport;
                    if (token is not null)
                        o.Headers["Cookie"] = "__Host-sid=" + token;
                    if (!isWelcome)
                        o.Headers["X-Unwelcome"] = "yes";
                }
            )
            .Build();
        var closed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        connection.Closed += _ =>
        {
            closed.TrySetResult();
            return Task.CompletedTask;
        };
        await connection.StartAsync();
        Assert.Equal("nothing", await connection.InvokeAsync<string>("Nothing"));
        return (connection, closed.Task);
    }

    public static TheoryData<HttpTransportType> Transports =>
        [HttpTransportType.LongPolling, HttpTransportType.WebSockets, HttpTransportType.ServerSentEvents];

    [Theory]
    [MemberData(nameof(Transports))]
    public async Task A_logout_on_another_node_closes_every_connection_of_the_session_and_no_other(
        HttpTransportType transport
    )
    {
        var store = new MemoryStore();
        await using var one = await StartAsync(store);
        await using var other = await StartAsync(store);
        var ada = await one.BeginAsync("ada");
        var (first, firstClosed) = await ConnectAsync(one, transport, ada);
        var (second, secondClosed) = await ConnectAsync(one, transport, ada);
        var (eves, evesClosed) = await ConnectAsync(one, transport, await one.BeginAsync("eve"));
        var (nobodys, nobodysClosed) = await ConnectAsync(one, transport, null);
        Assert.Equal(2, Held.Count(one));
        Assert.Equal(1, await other.Manager.DestroyAllAsync("ada"));
        await Task.WhenAll(firstClosed, secondClosed).WaitAsync(Held.Patience);
        Assert.Equal("nothing", await eves.InvokeAsync<string>("Nothing"));
        Assert.Equal("nothing", await nobodys.InvokeAsync<string>("Nothing"));
        Assert.False(evesClosed.IsCompleted || nobodysClosed.IsCompleted);
        foreach (var connection in new[] { first, second, eves, nobodys })
            await connection.DisposeAsync();
        await Held.UntilAsync(() => Held.Count(one) == 0, "nothing is watched any more");
    }

    [Theory]
    [MemberData(nameof(Transports))]
    public async Task An_elevation_time_and_the_hub_itself_close_the_connection(HttpTransportType transport)
    {
        await using var site = await StartAsync();
        var token = await site.BeginAsync("ada");
        var (elevated, elevatedClosed) = await ConnectAsync(site, transport, token);
        var next = (await site.WithAsync(session => session.RegenerateAsync(), token)).Token!;
        await elevatedClosed.WaitAsync(Held.Patience);

        var (ending, endingClosed) = await ConnectAsync(site, transport, next);
        await Assert.ThrowsAnyAsync<Exception>(() => EndAsync(ending)).WaitAsync(Held.Patience);
        await endingClosed.WaitAsync(Held.Patience);

        var (idle, idleClosed) = await ConnectAsync(site, transport, await site.BeginAsync("ada"));
        site.Clock.Advance(site.Settings.IdleTimeout);
        await idleClosed.WaitAsync(Held.Patience);
        foreach (var connection in new[] { elevated, ending, idle })
            await connection.DisposeAsync();

        // The answer may come before the end of the connection does.
        static async Task EndAsync(HubConnection connection)
        {
            await connection.InvokeAsync("End");
            while (true)
                await connection.InvokeAsync<string>("Nothing");
        }
    }

    [Theory]
    [MemberData(nameof(Transports))]
    public async Task A_hub_method_gets_the_session_as_it_is_and_its_old_token_is_no_replay(HttpTransportType transport)
    {
        await using var site = await StartAsync();
        var token = await site.BeginAsync("ada");
        var (connection, closed) = await ConnectAsync(site, transport, token);
        await site.WithAsync(session => session.UpdateAsync(_ => new Cart("milk")), token);
        Assert.Equal("milk", await connection.InvokeAsync<string?>("Read"));

        site.Clock.Advance(TimeSpan.FromMinutes(16));
        var next = (await site.WithAsync(_ => Task.CompletedTask, token)).Token!;
        await site.WithAsync(_ => Task.CompletedTask, next);
        site.Clock.Advance(TimeSpan.FromMinutes(1));
        Assert.Equal("milk", await connection.InvokeAsync<string?>("Read"));
        Assert.Equal("bread", await connection.InvokeAsync<string>("Write", "bread"));
        string? read = null;
        await site.WithAsync(
            session =>
            {
                read = session.Data?.Item;
                return Task.CompletedTask;
            },
            next
        );
        Assert.Equal("bread", read);
        Assert.False(closed.IsCompleted);
        await connection.DisposeAsync();
    }

    [Theory]
    [MemberData(nameof(Transports))]
    public async Task A_connection_that_the_hub_refuses_leaves_nothing_behind(HttpTransportType transport)
    {
        await using var site = await StartAsync();
        var token = await site.BeginAsync("ada");
        await Assert
            .ThrowsAnyAsync<Exception>(() => ConnectAsync(site, transport, token, isWelcome: false))
            .WaitAsync(Held.Patience);
        await Held.UntilAsync(() => Held.Count(site) == 0, "nothing is watched any more");
    }

    public enum Farewell
    {
        OfTheHub,
        OfTheClient,
        OfTheSession,
        BeforeTheHubHeardOfIt,
    }

    /// <summary>Of each connection something is kept that tells whose it is: kept for good, it would fill the node's memory.</summary>
    [Theory]
    [InlineData(Farewell.OfTheHub, HttpTransportType.LongPolling)]
    [InlineData(Farewell.OfTheHub, HttpTransportType.WebSockets)]
    [InlineData(Farewell.OfTheClient, HttpTransportType.LongPolling)]
    [InlineData(Farewell.OfTheClient, HttpTransportType.WebSockets)]
    [InlineData(Farewell.OfTheSession, HttpTransportType.LongPolling)]
    [InlineData(Farewell.OfTheSession, HttpTransportType.WebSockets)]
    [InlineData(Farewell.BeforeTheHubHeardOfIt, HttpTransportType.WebSockets)]
    public async Task Of_a_connection_that_is_over_nobody_knows_whose_it_was(
        Farewell farewell,
        HttpTransportType transport
    )
    {
        var ids = new System.Collections.Concurrent.ConcurrentQueue<string>();
        await using var site = await Site.StartAsync(
            add: services => services.AddSignalR().AddSessionLifetime<Cart>(),
            map: app =>
            {
                app.Use(
                    async (context, next) =>
                    {
                        var id = context.Request.Query["id"].ToString();
                        if (id.Length > 0)
                            ids.Enqueue(id);

                        var isOpening = context.Request.Headers.Upgrade.Count > 0;
                        if (isOpening && farewell == Farewell.BeforeTheHubHeardOfIt)
                        {
                            var session = await context.GetSessionAsync<Cart>();
                            var ended = session.Ended;
                            var manager = context.RequestServices.GetRequiredService<SessionManager<Cart>>();
                            await manager.DestroySessionAsync(session.Id);
                            await Held.UntilAsync(() => ended.IsCancellationRequested, "it has ended");
                        }

                        await next(context);
                    }
                );
                app.MapHub<Desk>("/desk");
            }
        );
        var (ada, eve) = (await site.BeginAsync("ada"), await site.BeginAsync("eve"));
        if (farewell is Farewell.OfTheHub or Farewell.BeforeTheHubHeardOfIt)
        {
            var isWelcome = farewell != Farewell.OfTheHub;
            await Assert
                .ThrowsAnyAsync<Exception>(() => ConnectAsync(site, transport, ada, isWelcome))
                .WaitAsync(Held.Patience);
        }
        else
        {
            var (connection, closed) = await ConnectAsync(site, transport, ada);
            if (farewell == Farewell.OfTheSession)
            {
                await site.Manager.DestroyAllAsync("ada");
                await closed.WaitAsync(Held.Patience);
            }

            await connection.DisposeAsync();
        }

        var known = ids.Distinct().ToArray();
        Assert.NotEmpty(known);
        using var client = new HttpClient(new SocketsHttpHandler { UseCookies = false });
        foreach (var id in known)
        {
            // Where it is known still, whoever is not of its session is refused, and not told that there is none.
            var status = HttpStatusCode.Forbidden;
            var end = DateTime.UtcNow + Held.Patience;
            while (status != HttpStatusCode.NotFound && DateTime.UtcNow < end)
            {
                var address = new Uri(site.Address, "/desk?id=" + Uri.EscapeDataString(id));
                using var request = new HttpRequestMessage(HttpMethod.Get, address);
                request.Headers.Add("Cookie", "__Host-sid=" + eve);
                using var response = await client.SendAsync(request).WaitAsync(Held.Patience);
                status = response.StatusCode;
                await Task.Delay(10);
            }

            Assert.Equal(HttpStatusCode.NotFound, status);
        }
    }

    [Fact]
    public async Task A_session_that_is_over_opens_no_connection()
    {
        await using var site = await StartAsync();
        var token = await site.BeginAsync("ada");
        await site.Manager.DestroyAllAsync("ada");
        await Assert
            .ThrowsAnyAsync<Exception>(() => ConnectAsync(site, HttpTransportType.WebSockets, token))
            .WaitAsync(Held.Patience);
    }

    [Fact]
    public async Task Another_session_cannot_take_up_a_connection()
    {
        var store = new FailingStore(new MemoryStore());
        await using var site = await StartAsync(store);
        var (ada, eve) = (await site.BeginAsync("ada"), await site.BeginAsync("eve"));
        using var client = new HttpClient(new SocketsHttpHandler { UseCookies = false });

        async Task<(HttpStatusCode Status, string Body)> SendAsync(
            HttpMethod method,
            string query,
            string? token,
            string? body = null
        )
        {
            using var request = new HttpRequestMessage(method, new Uri(site.Address, "/desk" + query));
            if (token is not null)
                request.Headers.Add("Cookie", "__Host-sid=" + token);
            if (body is not null)
                request.Content = new StringContent(body, Encoding.UTF8, "text/plain");
            using var response = await client.SendAsync(request).WaitAsync(Held.Patience);
            return (response.StatusCode, await response.Content.ReadAsStringAsync());
        }

        var (_, negotiated) = await SendAsync(HttpMethod.Post, "/negotiate?negotiateVersion=1", ada);
        var query = "?id=" + JsonDocument.Parse(negotiated).RootElement.GetProperty("connectionToken").GetString();
        Assert.Equal(HttpStatusCode.OK, (await SendAsync(HttpMethod.Get, query, ada)).Status);
        const string Handshake = "{\"protocol\":\"json\",\"version\":1}\u001e";
        Assert.Equal(HttpStatusCode.OK, (await SendAsync(HttpMethod.Post, query, ada, Handshake)).Status);
        await Held.UntilAsync(() => Held.Count(site) == 1, "connected");

        // A session's id is public.
        var forged = ada[..^8] + (ada[^8] == 'A' ? 'B' : 'A') + ada[^7..];
        foreach (var token in new[] { eve, null, ada + "|" + eve, forged })
        foreach (var method in new[] { HttpMethod.Get, HttpMethod.Post, HttpMethod.Delete })
            Assert.Equal(HttpStatusCode.Forbidden, (await SendAsync(method, query, token, "x")).Status);

        var (status, answer) = await SendAsync(HttpMethod.Get, query, ada);
        Assert.Equal(HttpStatusCode.OK, status);
        Assert.StartsWith("{}", answer, StringComparison.Ordinal);

        // Its own token is renewed while it is open: the new one takes it up, and so does what was sent with the old one.
        site.Clock.Advance(TimeSpan.FromMinutes(16));
        var renewed = (await site.WithAsync(_ => Task.CompletedTask, ada)).Token;
        Assert.NotNull(renewed);
        Assert.NotEqual(ada, renewed);
        foreach (var token in new[] { renewed, ada, renewed })
            Assert.Equal(
                HttpStatusCode.OK,
                (await SendAsync(HttpMethod.Post, query, token, "{\"type\":6}\u001e")).Status
            );

        // So it does once its grace is over: what came with it was sent by whoever has the connection, and is no theft.
        site.Clock.Advance(TimeSpan.FromMinutes(1));
        foreach (var token in new[] { ada, renewed })
            Assert.Equal(
                HttpStatusCode.OK,
                (await SendAsync(HttpMethod.Post, query, token, "{\"type\":6}\u001e")).Status
            );
        Assert.NotNull(await site.Manager.FindAsync(Site.IdOf(ada)));

        // While the store is away nobody can tell whose a new one is; those that were seen are known without it.
        store.Failure = StoreFailure.Unavailable;
        foreach (
            var (token, expected) in new[]
            {
                (forged, HttpStatusCode.ServiceUnavailable),
                (eve, HttpStatusCode.Forbidden),
                (renewed, HttpStatusCode.OK),
            }
        )
            Assert.Equal(expected, (await SendAsync(HttpMethod.Post, query, token, "{\"type\":6}\u001e")).Status);
    }

    /// <summary>By the token of a poll a renewal is confirmed, a guess is made, a theft is found: the application hears of it, and what is open for the session ends with it.</summary>
    [Fact]
    public async Task What_the_token_of_a_poll_comes_to_is_told_as_of_any_other_request()
    {
        var told = new System.Collections.Concurrent.ConcurrentQueue<string>();
        Task Hear(string what)
        {
            told.Enqueue(what);
            return Task.CompletedTask;
        }

        string[] Told()
        {
            var all = told.ToArray();
            told.Clear();
            return all;
        }

        await using var site = await Site.StartAsync(
            o =>
            {
                o.Events.OnRegenerated = it => Hear($"regenerated: {it.Reason}");
                o.Events.OnReplayed = _ => Hear("replayed");
                o.Events.OnDestroyed = it => Hear($"destroyed: {it.Reason}");
                o.Events.OnRefused = it => Hear($"refused: {it.Reason}");
            },
            add: services =>
            {
                // Nobody polls any more: by itself it would be over after seconds, whatever becomes of its session.
                services.Configure<ConnectionOptions>(o => o.DisconnectTimeout = TimeSpan.FromMinutes(5));
                services.Configure<HubOptions>(o => o.ClientTimeoutInterval = TimeSpan.FromMinutes(5));
                services.AddSignalR().AddSessionLifetime<Cart>();
            },
            map: app => app.MapHub<Desk>("/desk")
        );
        using var client = new HttpClient(new SocketsHttpHandler { UseCookies = false });

        async Task<(HttpStatusCode Status, string Body)> SendAsync(
            HttpMethod method,
            string query,
            string token,
            string? body = null
        )
        {
            using var request = new HttpRequestMessage(method, new Uri(site.Address, "/desk" + query));
            request.Headers.Add("Cookie", "__Host-sid=" + token);
            if (body is not null)
                request.Content = new StringContent(body, Encoding.UTF8, "text/plain");
            using var response = await client.SendAsync(request).WaitAsync(Held.Patience);
            return (response.StatusCode, await response.Content.ReadAsStringAsync());
        }

        // The next token, by a visit to a page.
        async Task<string> DueAsync(string token)
        {
            site.Clock.Advance(TimeSpan.FromMinutes(16));
            return (await site.WithAsync(_ => Task.CompletedTask, token)).Token!;
        }

        const string Ping = "{\"type\":6}\u001e";
        var first = await site.BeginAsync("ada");
        var (_, negotiated) = await SendAsync(HttpMethod.Post, "/negotiate?negotiateVersion=1", first);
        var query = "?id=" + JsonDocument.Parse(negotiated).RootElement.GetProperty("connectionToken").GetString();
        Assert.Equal(HttpStatusCode.OK, (await SendAsync(HttpMethod.Get, query, first)).Status);
        const string Handshake = "{\"protocol\":\"json\",\"version\":1}\u001e";
        Assert.Equal(HttpStatusCode.OK, (await SendAsync(HttpMethod.Post, query, first, Handshake)).Status);
        await Held.UntilAsync(() => Held.Count(site) == 1, "connected");
        Assert.Empty(Told());

        var second = await DueAsync(first);
        Assert.Equal(HttpStatusCode.OK, (await SendAsync(HttpMethod.Post, query, second, Ping)).Status);
        Assert.Equal(["regenerated: Renewal"], Told());
        var guess = first.Split('.')[0] + "." + new string('A', 43);
        Assert.Equal(HttpStatusCode.Forbidden, (await SendAsync(HttpMethod.Post, query, guess, Ping)).Status);
        Assert.Equal(["refused: Guess"], Told());

        // One that the connection has never had, and that is old by now.
        var third = await DueAsync(second);
        await site.WithAsync(_ => Task.CompletedTask, third);
        var fourth = await DueAsync(third);
        await site.WithAsync(_ => Task.CompletedTask, fourth);
        site.Clock.Advance(TimeSpan.FromMinutes(1));
        Told();
        Assert.Equal(HttpStatusCode.Forbidden, (await SendAsync(HttpMethod.Post, query, third, Ping)).Status);
        Assert.Equal(["replayed", "destroyed: Replayed"], Told());
        await Held.UntilAsync(() => Held.Count(site) == 0, "what was open for it is over");
    }

    /// <summary>A page may have a session of each kind: whichever of them ends takes the connection with it.</summary>
    [Theory]
    [InlineData(true, HttpTransportType.LongPolling)]
    [InlineData(false, HttpTransportType.LongPolling)]
    [InlineData(true, HttpTransportType.WebSockets)]
    [InlineData(false, HttpTransportType.WebSockets)]
    public async Task A_connection_under_sessions_of_two_kinds_ends_with_either(
        bool isFirst,
        HttpTransportType transport
    )
    {
        await using var site = await Site.StartAsync(
            add: services =>
            {
                services.AddSession<Other>(o => o.Cookie.Name = "__Host-other").UseMemory();
                services.AddSignalR().AddSessionLifetime<Cart>().AddSessionLifetime<Other>();
            },
            map: app =>
            {
                app.UseSession<Other>();
                app.MapGet("/other", (Session<Other> session) => session.SignInAsync("eve", new Other("it")));
                app.MapHub<Desk>("/desk");
            }
        );
        var ada = await site.BeginAsync("ada");
        var eve = (await site.SendAsync("/other")).Token;
        var (connection, closed) = await ConnectAsync(site, transport, $"{ada}; __Host-other={eve}");
        var others = site.Services.GetRequiredService<Session.AspNetCore.SessionService<Other>>().OpenSessions;
        Assert.Equal((1, 1), (Held.Count(site), others.Count));
        Assert.False(closed.IsCompleted);
        var ended = isFirst
            ? await site.Manager.DestroyAllAsync("ada")
            : await site.Services.GetRequiredService<SessionManager<Other>>().DestroyAllAsync("eve");
        Assert.Equal(1, ended);
        await closed.WaitAsync(Held.Patience);
        await connection.DisposeAsync();
        await Held.UntilAsync(() => Held.Count(site) + others.Count == 0, "nothing is watched any more");
    }

    /// <summary>Browsers ask before each request of another origin, and never with cookies: what is asked is nobody's, and takes nothing up.</summary>
    [Fact]
    public async Task A_browser_may_ask_whether_a_page_of_another_origin_may_send_to_an_open_connection()
    {
        const string Page = "https://app.example.com";
        await using var site = await Site.StartAsync(
            add: services =>
            {
                services.AddSignalR().AddSessionLifetime<Cart>();
                services.AddCors(o =>
                    o.AddDefaultPolicy(policy =>
                        policy.WithOrigins(Page).AllowAnyHeader().AllowAnyMethod().AllowCredentials()
                    )
                );
            },
            map: app =>
            {
                app.UseCors();
                app.MapHub<Desk>("/desk");
            }
        );
        var ada = await site.BeginAsync("ada");
        using var client = new HttpClient(new SocketsHttpHandler { UseCookies = false });

        async Task<(HttpStatusCode Status, string? Allowed, string Body)> SendAsync(
            string method,
            string query,
            string? token,
            params (string, string)[] headers
        )
        {
            using var request = new HttpRequestMessage(new HttpMethod(method), new Uri(site.Address, "/desk" + query));
            if (token is not null)
                request.Headers.Add("Cookie", "__Host-sid=" + token);
            foreach (var (name, value) in headers)
                request.Headers.Add(name, value);
            using var response = await client.SendAsync(request).WaitAsync(Held.Patience);
            var allowed = response.Headers.TryGetValues("Access-Control-Allow-Origin", out var said) ? said : [];
            return (response.StatusCode, allowed.SingleOrDefault(), await response.Content.ReadAsStringAsync());
        }

        var (_, _, negotiated) = await SendAsync("POST", "/negotiate?negotiateVersion=1", ada, ("Origin", Page));
        var query = "?id=" + JsonDocument.Parse(negotiated).RootElement.GetProperty("connectionToken").GetString();
        Assert.Equal(HttpStatusCode.OK, (await SendAsync("GET", query, ada, ("Origin", Page))).Status);
        using var handshake = new HttpRequestMessage(HttpMethod.Post, new Uri(site.Address, "/desk" + query))
        {
            Content = new StringContent("{\"protocol\":\"json\",\"version\":1}\u001e", Encoding.UTF8, "text/plain"),
        };
        handshake.Headers.Add("Cookie", "__Host-sid=" + ada);
        using var shaken = await client.SendAsync(handshake).WaitAsync(Held.Patience);
        (string, string)[] asking =
        [
            ("Origin", Page),
            ("Access-Control-Request-Method", "POST"),
            ("Access-Control-Request-Headers", "x-requested-with,x-signalr-user-agent"),
        ];
        // Nothing else gets in by these headers, once it is connected.
        for (var again = 0; again < 500; again++)
            if ((await SendAsync("POST", query, null, asking)).Status == HttpStatusCode.Forbidden)
                break;

        var asked = await SendAsync("OPTIONS", query, null, asking);
        Assert.Equal((HttpStatusCode.NoContent, Page), (asked.Status, asked.Allowed));
        Assert.Equal(HttpStatusCode.Forbidden, (await SendAsync("POST", query, null, asking)).Status);
        Assert.Equal(HttpStatusCode.Forbidden, (await SendAsync("GET", query, null, asking)).Status);
        Assert.Equal(HttpStatusCode.Forbidden, (await SendAsync("OPTIONS", query, null, ("Origin", Page))).Status);
        Assert.Equal(HttpStatusCode.Forbidden, (await SendAsync("OPTIONS", query, null, asking[1])).Status);
    }

    private sealed class Counting : Hub
    {
        private static int s_began;
        private static int s_over;

        public static (int Began, int Over) Seen => (Volatile.Read(ref s_began), Volatile.Read(ref s_over));

        public override Task OnConnectedAsync()
        {
            Interlocked.Increment(ref s_began);
            return base.OnConnectedAsync();
        }

        public override Task OnDisconnectedAsync(Exception? exception)
        {
            Interlocked.Increment(ref s_over);
            return base.OnDisconnectedAsync(exception);
        }
    }

    /// <summary>A hub that counts who is there, or joins them to groups, hears of the end of those alone whose beginning it has heard of.</summary>
    [Fact]
    public async Task A_hub_hears_of_no_end_of_a_connection_that_it_was_spared()
    {
        var store = new FailingStore(new MemoryStore());
        await using var site = await Site.StartAsync(
            o => o.ContinueWithoutStore = true,
            store: () => store,
            add: services => services.AddSignalR().AddSessionLifetime<Cart>(),
            map: app => app.MapHub<Counting>("/counting")
        );
        var token = await site.BeginAsync("ada");
        store.Failure = StoreFailure.Unavailable;
        for (var again = 0; again < 3; again++)
        {
            await using var refused = new HubConnectionBuilder()
                .WithUrl(new Uri(site.Address, "/counting"), o => o.Headers["Cookie"] = "__Host-sid=" + token)
                .Build();
            var closed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            refused.Closed += _ =>
            {
                closed.TrySetResult();
                return Task.CompletedTask;
            };
            await refused.StartAsync();
            await closed.Task.WaitAsync(Held.Patience);
        }

        store.Failure = StoreFailure.None;
        await using (
            var welcome = new HubConnectionBuilder()
                .WithUrl(new Uri(site.Address, "/counting"), o => o.Headers["Cookie"] = "__Host-sid=" + token)
                .Build()
        )
        {
            await welcome.StartAsync();
            await Held.UntilAsync(() => Counting.Seen.Began == 1, "one is there");
        }

        await Held.UntilAsync(() => Counting.Seen.Over >= 1, "and has gone");
        Assert.Equal((1, 1), Counting.Seen);
    }

    /// <summary>What became of a connection and its calls.</summary>
    private sealed class Diary
    {
        public TaskCompletionSource HasBegun { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
        public TaskCompletionSource IsGone { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
        public bool HasActed { get; set; }
    }

    private sealed class Waiting(Diary diary) : Hub
    {
        /// <summary>Until the connection is told to end.</summary>
        public async Task Wait()
        {
            var over = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            await using var told = Context.ConnectionAborted.Register(over.SetResult);
            diary.HasBegun.SetResult();
            await over.Task.WaitAsync(Held.Patience);
        }

        public void Act() => diary.HasActed = true;

        public override Task OnDisconnectedAsync(Exception? exception)
        {
            diary.IsGone.SetResult();
            return base.OnDisconnectedAsync(exception);
        }
    }

    /// <summary>Calls of one connection are made one after the other: what stands behind a slow one was sent before the logout, and acts for nobody after it.</summary>
    [Fact]
    public async Task A_call_that_waits_for_its_turn_is_not_made_once_the_session_is_over()
    {
        const string Handshake = "{\"protocol\":\"json\",\"version\":1}\u001e";
        const string Calls =
            "{\"type\":1,\"target\":\"Wait\",\"arguments\":[]}\u001e"
            + "{\"type\":1,\"target\":\"Act\",\"arguments\":[]}\u001e";
        var diary = new Diary();
        await using var site = await Site.StartAsync(
            add: services =>
            {
                services.AddSignalR().AddSessionLifetime<Cart>();
                services.AddSingleton(diary);
            },
            map: app => app.MapHub<Waiting>("/waiting")
        );
        var ada = await site.BeginAsync("ada");
        using var client = new HttpClient(new SocketsHttpHandler { UseCookies = false });

        async Task<string> SendAsync(HttpMethod method, string query, string? body = null)
        {
            using var request = new HttpRequestMessage(method, new Uri(site.Address, "/waiting" + query));
            request.Headers.Add("Cookie", "__Host-sid=" + ada);
            if (body is not null)
                request.Content = new StringContent(body, Encoding.UTF8, "text/plain");
            using var response = await client.SendAsync(request).WaitAsync(Held.Patience);
            Assert.Equal(HttpStatusCode.OK, response.StatusCode);
            return await response.Content.ReadAsStringAsync();
        }

        var negotiated = await SendAsync(HttpMethod.Post, "/negotiate?negotiateVersion=1");
        var query = "?id=" + JsonDocument.Parse(negotiated).RootElement.GetProperty("connectionToken").GetString();
        await SendAsync(HttpMethod.Get, query);
        await SendAsync(HttpMethod.Post, query, Handshake);
        await Held.UntilAsync(() => Held.Count(site) == 1, "connected");
        // Both at once: the second one is there when the first one begins.
        await SendAsync(HttpMethod.Post, query, Calls);
        await diary.HasBegun.Task.WaitAsync(Held.Patience);
        await site.Manager.DestroySessionAsync(Site.IdOf(ada));
        await diary.IsGone.Task.WaitAsync(Held.Patience);
        Assert.False(diary.HasActed);
    }

    private sealed class Clerk : Hub
    {
        public static TaskCompletionSource HasRead { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public static TaskCompletionSource MaySave { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        /// <summary>Saves what it makes of what it read.</summary>
        public async Task<string> Save()
        {
            var session = await Context.GetSessionAsync<Cart>();
            var item = session.Data!.Item;
            HasRead.SetResult();
            await MaySave.Task;
            try
            {
                await session.SaveAsync(new Cart(item + " of long ago"));
                return "saved";
            }
            catch (SessionConflictException)
            {
                return "conflict";
            }
        }

        public async Task<string?> Read() => (await Context.GetSessionAsync<Cart>()).Data?.Item;
    }

    /// <summary>Calls of one connection may run side by side: what one of them has read is no basis for what another one saves.</summary>
    [Fact]
    public async Task A_call_beside_another_one_makes_nobody_lose_an_update()
    {
        await using var site = await Site.StartAsync(
            add: services =>
                services.AddSignalR(o => o.MaximumParallelInvocationsPerClient = 2).AddSessionLifetime<Cart>(),
            map: app => app.MapHub<Clerk>("/clerk")
        );
        var token = await site.BeginAsync("ada");
        await using var connection = new HubConnectionBuilder()
            .WithUrl(new Uri(site.Address, "/clerk"), o => o.Headers["Cookie"] = "__Host-sid=" + token)
            .Build();
        await connection.StartAsync();
        var saving = connection.InvokeAsync<string>("Save");
        await Clerk.HasRead.Task.WaitAsync(Held.Patience);
        await site.WithAsync(session => session.UpdateAsync(_ => new Cart("acknowledged")), token);
        Assert.Equal("acknowledged", await connection.InvokeAsync<string?>("Read"));
        Clerk.MaySave.SetResult();
        Assert.Equal("conflict", await saving.WaitAsync(Held.Patience));
        Assert.Equal("acknowledged", await connection.InvokeAsync<string?>("Read"));
    }

    /// <summary>It goes on over another request when the network drops (stateful reconnect): that its first request is over says nothing.</summary>
    [Fact]
    public async Task A_connection_that_another_request_takes_up_still_ends_with_its_session()
    {
        await using var site = await Site.StartAsync(
            add: services => services.AddSignalR().AddSessionLifetime<Cart>(),
            map: app => app.MapHub<Desk>("/desk", o => o.AllowStatefulReconnects = true)
        );
        var token = await site.BeginAsync("ada");
        var sockets = new System.Collections.Concurrent.ConcurrentQueue<System.Net.WebSockets.ClientWebSocket>();
        await using var connection = new HubConnectionBuilder()
            .WithUrl(
                new Uri(site.Address, "/desk"),
                o =>
                {
                    o.Transports = HttpTransportType.WebSockets;
                    o.Headers["Cookie"] = "__Host-sid=" + token;
                    o.WebSocketFactory = async (context, cancel) =>
                    {
                        var socket = new System.Net.WebSockets.ClientWebSocket();
                        socket.Options.SetRequestHeader("Cookie", "__Host-sid=" + token);
                        await socket.ConnectAsync(context.Uri, cancel);
                        sockets.Enqueue(socket);
                        return socket;
                    };
                }
            )
            .WithStatefulReconnect()
            .Build();
        var closed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        connection.Closed += _ =>
        {
            closed.TrySetResult();
            return Task.CompletedTask;
        };
        await connection.StartAsync();
        Assert.Equal("nothing", await connection.InvokeAsync<string>("Nothing"));
        sockets.First().Abort();
        for (var again = 0; again < 500 && sockets.Count < 2; again++)
            await Task.Delay(20);

        Assert.Equal(2, sockets.Count);
        Assert.Equal("nothing", await connection.InvokeAsync<string>("Nothing"));
        Assert.False(closed.Task.IsCompleted);
        await site.Manager.DestroySessionAsync(Site.IdOf(token));
        await closed.Task.WaitAsync(TimeSpan.FromSeconds(15));
    }
}
