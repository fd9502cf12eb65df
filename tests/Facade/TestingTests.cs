using System.Data.Common;
using System.Globalization;
using System.Net;
using System.Net.Http.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Mvc.Testing;
using Microsoft.AspNetCore.TestHost;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Time.Testing;
using Session.CSharp;
using Session.Engine;
using Session.Testing;
using Shop;
using Xunit;

namespace Facade;

/// <summary>The package for tests of applications, on the sample as it stands, and on a server of the test's own.</summary>
public class TestingTests
{
    private static WebApplicationFactory<global::Program> Sample(string environment = "Production") =>
        new WebApplicationFactory<global::Program>().WithWebHostBuilder(builder =>
        {
            builder.UseEnvironment(environment);
            builder.ConfigureTestServices(services => services.AddSession<Shop.Cart>().UseMemory());
        });

    [Theory, InlineData("Production"), InlineData("Development")]
    public async Task A_signed_in_client_works_over_the_plain_address_of_the_factory(string environment)
    {
        await using var factory = Sample(environment);
        using var ada = factory.CreateSignedInClient("ada", new Shop.Cart(["tea"], "admin"));
        using var bob = factory.CreateSignedInClient<Shop.Cart>("bob", Shop.Cart.Empty);
        using var nobody = factory.CreateClient();
        Assert.Equal(Uri.UriSchemeHttp, ada.BaseAddress!.Scheme);

        var profile = await ada.GetFromJsonAsync<Profile>("/profile");
        Assert.Equal(("ada", "admin"), (profile!.User, profile.Role));
        Assert.Equal("bob", (await bob.GetFromJsonAsync<Profile>("/profile"))!.User);
        Assert.Equal(
            HttpStatusCode.Unauthorized,
            (await nobody.GetAsync(new Uri("/profile", UriKind.Relative))).StatusCode
        );

        // What a browser does with the cookies it does, too: a sign-in replaces them, and a sign-out takes them away.
        (await ada.PostAsJsonAsync("/login", new Login("eve", null))).EnsureSuccessStatusCode();
        Assert.Equal("eve", (await ada.GetFromJsonAsync<Profile>("/profile"))!.User);
        (await ada.PostAsync(new Uri("/logout", UriKind.Relative), null)).EnsureSuccessStatusCode();
        Assert.Equal(
            HttpStatusCode.Unauthorized,
            (await ada.GetAsync(new Uri("/profile", UriKind.Relative))).StatusCode
        );
        Assert.Equal("bob", (await bob.GetFromJsonAsync<Profile>("/profile"))!.User);
    }

    [Fact]
    public async Task Time_is_the_test_s_to_move()
    {
        await using var factory = Sample().WithFakeClock(out var clock);
        using var ada = factory.CreateSignedInClient("ada", Shop.Cart.Empty);
        var manager = factory.Services.GetRequiredService<SessionManager<Shop.Cart>>();
        for (var minute = 0; minute < 470; minute += 20)
        {
            Assert.Equal(HttpStatusCode.OK, (await ada.GetAsync(new Uri("/profile", UriKind.Relative))).StatusCode);
            clock.Advance(TimeSpan.FromMinutes(20));
        }

        // The absolute timeout, in spite of all activity; and silence.
        Assert.Equal(
            HttpStatusCode.Unauthorized,
            (await ada.GetAsync(new Uri("/profile", UriKind.Relative))).StatusCode
        );
        using var bob = factory.CreateSignedInClient("bob", Shop.Cart.Empty);
        clock.Advance(TimeSpan.FromMinutes(30));
        Assert.Equal(
            HttpStatusCode.Unauthorized,
            (await bob.GetAsync(new Uri("/profile", UriKind.Relative))).StatusCode
        );
    }

    // -- a server of the test's own

    private sealed class Host : IAsyncDisposable
    {
        private readonly WebApplication _app;

        private Host(WebApplication app) => _app = app;

        public TestServer Server => _app.GetTestServer();
        public SessionManager<Cart> Manager => _app.Services.GetRequiredService<SessionManager<Cart>>();
        public FailingStore Store => _app.Services.GetFailingStore<Cart>();

        /// <summary>What a handler has caught.</summary>
        public SessionUnavailableException? Caught { get; private set; }

        public static async Task<Host> StartAsync(
            Action<SessionOptions<Cart>>? configure = null,
            bool fails = true,
            FakeTimeProvider? clock = null
        )
        {
            var builder = WebApplication.CreateSlimBuilder();
            builder.WebHost.UseTestServer();
            builder.Services.AddSession(configure).UseMemory();
            if (fails)
                builder.Services.UseFailingStore<Cart>();

            if (clock is not null)
                builder.Services.UseFakeClock(clock);

            var app = builder.Build();
            var host = new Host(app);
            app.UseSession<Cart>();
            app.MapGet("/item", (Session<Cart> session) => $"{session.Subject} {session.Data?.Item}");
            app.MapPost(
                "/item/{item}",
                (string item, Session<Cart> s) => s.UpdateAsync(cart => cart! with { Item = item })
            );
            app.MapPost(
                "/careful/{item}",
                async (string item, Session<Cart> session) =>
                {
                    try
                    {
                        await session.UpdateAsync(cart => cart! with { Item = item });
                    }
                    catch (SessionUnavailableException caught)
                    {
                        host.Caught = caught;
                    }
                }
            );
            app.MapGet("/cookies", (HttpContext context) => context.Request.Headers.Cookie.ToString());
            app.MapPost(
                "/set",
                (string line, HttpContext context) =>
                {
                    context.Response.Headers.Append("Set-Cookie", "unreadable");
                    context.Response.Headers.Append("Set-Cookie", line);
                }
            );
            await app.StartAsync();
            return host;
        }

        public async ValueTask DisposeAsync() => await _app.DisposeAsync();
    }

    private static async Task<HttpStatusCode> PostAsync(HttpClient client, string path) =>
        (await client.PostAsync(new Uri(path, UriKind.Relative), null)).StatusCode;

    [Fact]
    public async Task A_store_that_is_unavailable_is_a_503_and_works_again_afterwards()
    {
        await using var host = await Host.StartAsync();
        using var ada = host.Server.CreateSignedInClient("ada", new Cart("tea"));
        Assert.Equal(HttpStatusCode.OK, await PostAsync(ada, "/item/milk"));
        host.Store.Failure = StoreFailure.Unavailable;
        Assert.Equal(HttpStatusCode.ServiceUnavailable, await PostAsync(ada, "/item/rum"));
        var error = Assert.Throws<Session.AspNetCore.SessionFailedException>(() =>
            host.Server.CreateSignedInClient("bob", new Cart("tea"))
        );
        Assert.Equal(503, error.StatusCode);
        host.Store.Failure = StoreFailure.None;
        Assert.Equal("ada milk", await ada.GetStringAsync(new Uri("/item", UriKind.Relative)));
    }

    /// <summary>Known by its type alone.</summary>
    private sealed class Own() : ForwardingStore(new MemoryStore());

    /// <summary>Whatever was registered before it, and however: as the container has it, the last one counts.</summary>
    [Theory, InlineData("by a function"), InlineData("as it is"), InlineData("by its type")]
    public async Task It_fails_around_the_store_that_was_chosen_last(string how)
    {
        ISessionStore former = new MemoryStore();
        ISessionStore chosen = new MemoryStore();
        var services = new ServiceCollection();
        services.AddKeyedSingleton<ISessionStore>(typeof(Cart), (_, _) => former);
        if (how == "by a function")
            services.AddKeyedSingleton<ISessionStore>(typeof(Cart), (_, _) => chosen);
        else if (how == "as it is")
            services.AddKeyedSingleton<ISessionStore>(typeof(Cart), chosen);
        else
            services.AddKeyedSingleton<ISessionStore, Own>(typeof(Cart));

        services.UseFailingStore<Cart>();
        await using var provider = services.BuildServiceProvider();
        var at = DateTimeOffset.UtcNow;
        var record = new StoredRecord("a", 1, RecordKind.Live, at, at.AddDays(1), null, 1, new byte[] { 1 }, false);
        var failing = provider.GetFailingStore<Cart>();
        if (failing.Inner is Own own)
            chosen = own;

        Assert.Equal(how == "by its type", failing.Inner is Own);
        Assert.Equal(WriteResult.Written, await failing.Insert(record, default));
        Assert.NotNull(await chosen.Load("a", default));
        Assert.Null(await former.Load("a", default));
    }

    /// <summary>A store that is closed with the container that made it.</summary>
    private sealed class Closing() : ForwardingStore(new MemoryStore()), IDisposable
    {
        public int Closed { get; private set; }

        public void Dispose() => Closed++;
    }

    /// <summary>Else each test would leave the connections of its application open, or close those of another one.</summary>
    [Theory, InlineData("by a function", 1), InlineData("as it is", 0), InlineData("by its type", 1)]
    public async Task The_store_inside_is_closed_once_by_the_container_that_has_made_it(string how, int closed)
    {
        using var chosen = new Closing();
        var services = new ServiceCollection();
        if (how == "by a function")
            services.AddKeyedSingleton<ISessionStore>(typeof(Cart), (_, _) => chosen);
        else if (how == "as it is")
            services.AddKeyedSingleton<ISessionStore>(typeof(Cart), chosen);
        else
            services.AddKeyedSingleton<ISessionStore, Closing>(typeof(Cart));

        services.UseFailingStore<Cart>();
        Closing inner;
        await using (var provider = services.BuildServiceProvider())
        {
            var failing = provider.GetFailingStore<Cart>();
            Assert.Same(failing, provider.GetFailingStore<Cart>());
            inner = Assert.IsType<Closing>(failing.Inner);
            Assert.Equal(0, inner.Closed);
        }

        Assert.Equal(closed, inner.Closed);
    }

    /// <summary>Each kind of sessions has a store of its own: that of the other kind stays what it was, whichever was registered first.</summary>
    [Theory, InlineData(true), InlineData(false)]
    public async Task It_fails_around_the_store_of_its_own_kind(bool isFirst)
    {
        ISessionStore carts = new MemoryStore();
        ISessionStore others = new MemoryStore();
        var services = new ServiceCollection();
        foreach (var isCart in new[] { isFirst, !isFirst })
            services.AddKeyedSingleton<ISessionStore>(
                isCart ? typeof(Cart) : typeof(Shop.Cart),
                isCart ? carts : others
            );

        services.UseFailingStore<Cart>();
        await using var provider = services.BuildServiceProvider();
        Assert.Same(carts, provider.GetFailingStore<Cart>().Inner);
        Assert.Same(others, provider.GetRequiredKeyedService<ISessionStore>(typeof(Shop.Cart)));
    }

    /// <summary>With transactions of the application's.</summary>
    private sealed class Joined() : ForwardingStore(new MemoryStore())
    {
        public override ValueTask<ISessionStore> Join(
            DbTransaction transaction,
            string subject,
            CancellationToken cancellationToken
        ) => new(Inner);
    }

    /// <summary>In a transaction of the application's as outside of it, and what the nodes tell each other.</summary>
    [Fact]
    public async Task Transactions_and_notices_fail_as_all_else_does()
    {
        var store = new FailingStore(new Joined());
        var joined = await store.Join(null!, "ada", default);
        await joined.Load("a", default);
        await (await store.Subscribe(_ => { }, default)).DisposeAsync();
        await store.Publish(["a"], default);
        store.Failure = StoreFailure.Unavailable;
        await Assert.ThrowsAsync<IOException>(() => joined.Load("a", default).AsTask());
        await Assert.ThrowsAsync<IOException>(() => store.Join(null!, "ada", default).AsTask());
        await Assert.ThrowsAsync<IOException>(() => store.Publish(["a"], default).AsTask());
        await Assert.ThrowsAsync<IOException>(() => store.Subscribe(_ => { }, default).AsTask());
        // What says at start that nobody is there does so in a note.
        await store.Prepare(default);
    }

    /// <summary>Who gives up waits no longer, inside of a transaction as outside; and what was given up is not done.</summary>
    [Theory, InlineData(true), InlineData(false)]
    public async Task A_slow_store_is_as_slow_inside_of_a_transaction_and_waits_no_longer_than_it_is_waited_for(
        bool isJoined
    )
    {
        var store = new FailingStore(new Joined());
        ISessionStore asked = isJoined ? await store.Join(null!, "ada", default) : store;
        var at = DateTimeOffset.UtcNow;
        var record = new StoredRecord("a", 1, RecordKind.Live, at, at.AddDays(1), null, 1, new byte[] { 1 }, false);
        store.Failure = StoreFailure.Slow;
        store.Delay = TimeSpan.FromMilliseconds(300);
        var begun = Environment.TickCount64;
        Assert.Null(await asked.Load("a", default));
        Assert.InRange(Environment.TickCount64 - begun, 250, long.MaxValue);

        store.Delay = TimeSpan.FromMinutes(10);
        using var soon = new CancellationTokenSource(TimeSpan.FromMilliseconds(50));
        var limit = TimeSpan.FromSeconds(30);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() =>
            asked.Load("a", soon.Token).AsTask().WaitAsync(limit)
        );
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() =>
            asked.Insert(record, soon.Token).AsTask().WaitAsync(limit)
        );
        store.Failure = StoreFailure.None;
        Assert.Null(await asked.Load("a", default));
    }

    /// <summary>Whatever is asked of it; and nothing is changed by what cannot be reached.</summary>
    [Theory, InlineData(StoreFailure.Unavailable), InlineData(StoreFailure.Unsure)]
    public async Task Every_verb_fails_and_what_an_unsure_store_was_told_it_has_taken(StoreFailure failure)
    {
        var store = new FailingStore(new MemoryStore());
        var at = DateTimeOffset.UtcNow;
        var (due, later) = (at.AddDays(1), at.AddMinutes(1));
        StoredRecord Of(string id, long version = 1) =>
            new(id, version, RecordKind.Live, at, due, "ada", 1, new byte[] { 1 }, false);

        foreach (var id in new[] { "replaced", "touched", "removed", "this-version", "rescheduled" })
            Assert.Equal(WriteResult.Written, await store.Insert(Of(id), default));

        store.Failure = failure;
        List<Func<Task>> calls =
        [
            () => store.Insert(Of("inserted"), default).AsTask(),
            () => store.Replace(Of("replaced", 2), 1, default).AsTask(),
            () => store.Touch("touched", later, default).AsTask(),
            () => store.Remove("removed", default).AsTask(),
            () => store.RemoveVersion("this-version", 1, 1, default).AsTask(),
            () => store.Reschedule("rescheduled", 1, later, default).AsTask(),
        ];
        if (failure == StoreFailure.Unavailable)
            calls.AddRange([
                () => store.Load("touched", default).AsTask(),
                () => store.LoadMany(["touched"], default).AsTask(),
                () => store.BySubject("ada", null, 10, default).AsTask(),
                () => store.Enumerate(null, 10, default).AsTask(),
                () => store.Count(default).AsTask(),
                () => store.ClaimOverdue(due.AddDays(1), TimeSpan.FromDays(1), 10, default).AsTask(),
            ]);

        foreach (var call in calls)
            await Assert.ThrowsAsync<IOException>(call);

        store.Failure = StoreFailure.None;
        var isTaken = failure == StoreFailure.Unsure;
        Assert.Equal(isTaken, await store.Load("inserted", default) is not null);
        Assert.Equal(isTaken ? 2 : 1, (await store.Load("replaced", default))!.Version);
        Assert.Equal(isTaken ? later : at, (await store.Load("touched", default))!.LastSeen);
        Assert.Equal(isTaken, await store.Load("removed", default) is null);
        Assert.Equal(isTaken, await store.Load("this-version", default) is null);
        var overdue = await store.ClaimOverdue(later, TimeSpan.FromDays(1), 10, default);
        Assert.Equal(isTaken ? "rescheduled" : null, overdue.SingleOrDefault()?.Id);
    }

    /// <summary>A store that is asked and does not answer before the test says so.</summary>
    private sealed class Waiting() : ForwardingStore(new MemoryStore())
    {
        public TaskCompletionSource Answers { get; } = new();

        public override async ValueTask<WriteResult> Insert(StoredRecord record, CancellationToken cancellationToken)
        {
            await Answers.Task;
            return await base.Insert(record, cancellationToken);
        }
    }

    /// <summary>How a call fails is decided when it is made.</summary>
    [Theory, InlineData(true), InlineData(false)]
    public async Task A_write_under_way_fails_as_it_was_when_it_began(bool isUnsureFirst)
    {
        var waiting = new Waiting();
        var store = new FailingStore(waiting);
        StoreFailure[] failures = [StoreFailure.Unsure, StoreFailure.None];
        store.Failure = failures[isUnsureFirst ? 0 : 1];
        var at = DateTimeOffset.UtcNow;
        var record = new StoredRecord("a", 1, RecordKind.Live, at, at.AddDays(1), null, 1, new byte[] { 1 }, false);
        var writing = store.Insert(record, default).AsTask();
        store.Failure = failures[isUnsureFirst ? 1 : 0];
        waiting.Answers.SetResult();
        if (isUnsureFirst)
            await Assert.ThrowsAsync<IOException>(() => writing);
        else
            Assert.Equal(WriteResult.Written, await writing);
    }

    [Fact]
    public async Task What_was_lost_on_an_unsure_store_is_found_as_soon_as_it_works()
    {
        await using var host = await Host.StartAsync();
        using var ada = host.Server.CreateSignedInClient("ada", new Cart("tea"));
        Assert.Equal("ada tea", await ada.GetStringAsync(new Uri("/item", UriKind.Relative)));
        host.Store.Failure = StoreFailure.Unsure;
        Assert.Equal(HttpStatusCode.OK, await PostAsync(ada, "/careful/milk"));
        host.Store.Failure = StoreFailure.None;
        Assert.Equal("ada milk", await ada.GetStringAsync(new Uri("/item", UriKind.Relative)));
    }

    /// <summary>Open connections look at many sessions at once: what became of an unsure write is not told that way either.</summary>
    [Fact]
    public async Task What_an_unsure_store_has_taken_is_read_neither_alone_nor_among_others()
    {
        var store = new FailingStore(new MemoryStore());
        var at = DateTimeOffset.UtcNow;
        StoredRecord Of(string id) => new(id, 1, RecordKind.Live, at, at.AddDays(1), null, 1, new byte[] { 1 }, false);

        Assert.Equal(WriteResult.Written, await store.Insert(Of("sure"), default));
        store.Failure = StoreFailure.Unsure;
        await Assert.ThrowsAsync<IOException>(() => store.Insert(Of("lost"), default).AsTask());
        await Assert.ThrowsAsync<IOException>(() => store.Load("lost", default).AsTask());
        foreach (var ids in new string[][] { ["lost"], ["sure", "lost"], ["lost", "sure"] })
            await Assert.ThrowsAsync<IOException>(() => store.LoadMany(ids, default).AsTask());

        // All else can be read, and all of it once the store works.
        Assert.Equal("sure", Assert.Single(await store.LoadMany(["sure"], default)).Id);
        store.Failure = StoreFailure.None;
        Assert.Equal(2, (await store.LoadMany(["sure", "lost"], default)).Count);
    }

    /// <summary>Whoever looks up what became of a write does so from outside of its transaction; and both work again together.</summary>
    [Fact]
    public async Task What_an_unsure_store_has_taken_inside_of_a_transaction_is_read_nowhere_until_it_works()
    {
        var store = new FailingStore(new Joined());
        var joined = await store.Join(null!, "ada", default);
        var at = DateTimeOffset.UtcNow;
        StoredRecord Of(string id) => new(id, 1, RecordKind.Live, at, at.AddDays(1), null, 1, new byte[] { 1 }, false);

        store.Failure = StoreFailure.Unsure;
        await Assert.ThrowsAsync<IOException>(() => joined.Insert(Of("inside"), default).AsTask());
        await Assert.ThrowsAsync<IOException>(() => store.Insert(Of("outside"), default).AsTask());
        (ISessionStore Asked, string Id)[] looks =
        [
            (store, "inside"),
            (store, "outside"),
            (joined, "inside"),
            (joined, "outside"),
        ];
        foreach (var (asked, id) in looks)
            await Assert.ThrowsAsync<IOException>(() => asked.Load(id, default).AsTask());

        store.Failure = StoreFailure.None;
        foreach (var (asked, id) in looks)
            Assert.NotNull(await asked.Load(id, default));
    }

    /// <summary>As a browser has it: a cookie that came with a redirect is sent to where that leads, and one that went is not.</summary>
    [Fact]
    public async Task Cookies_follow_redirects()
    {
        await using var factory = Sample()
            .WithWebHostBuilder(builder =>
                builder.ConfigureTestServices(services => services.AddSingleton<IStartupFilter, Redirecting>())
            );
        using var client = factory.CreateSignedInClient("ada", Shop.Cart.Empty);
        var ada = await client.GetStringAsync(new Uri("/who", UriKind.Relative));
        Assert.StartsWith("ada ", ada, StringComparison.Ordinal);
        var eve = await client.GetStringAsync(new Uri("/in/eve", UriKind.Relative));
        Assert.StartsWith("eve ", eve, StringComparison.Ordinal);
        Assert.Equal(eve, await client.GetStringAsync(new Uri("/who", UriKind.Relative)));
        Assert.Equal("nobody ", await client.GetStringAsync(new Uri("/out", UriKind.Relative)));
        Assert.Equal("nobody ", await client.GetStringAsync(new Uri("/who", UriKind.Relative)));

        // What a chain brings on from its first request is not sent behind the answer that cleared it either.
        using var other = factory.CreateSignedInClient("ada", Shop.Cart.Empty);
        var (name, value) = (await other.GetStringAsync(new Uri("/who", UriKind.Relative)))
            .Split(' ')[1]
            .Split('=') switch
        {
            var pair => (pair[0], pair[1]),
        };
        using var request = new HttpRequestMessage(HttpMethod.Get, new Uri("/out", UriKind.Relative));
        request.Headers.Add("Cookie", $"{name}={value}; theme=dark");
        using var answer = await other.SendAsync(request);
        Assert.Equal("nobody theme=dark", await answer.Content.ReadAsStringAsync());

        // The application's own, which it deletes as ASP.NET Core does: by a time that is over, and without Max-Age.
        Assert.Equal("nobody theme=dark", await other.GetStringAsync(new Uri("/dark", UriKind.Relative)));
        Assert.Equal("nobody ", await other.GetStringAsync(new Uri("/plain", UriKind.Relative)));

        // Or by any other time that is over; one that is not keeps it.
        Assert.Equal("nobody theme=light", await other.GetStringAsync(new Uri("/light", UriKind.Relative)));
        Assert.Equal("nobody ", await other.GetStringAsync(new Uri("/yesterday", UriKind.Relative)));

        // Where there is a Max-Age, the time says nothing.
        Assert.Equal("nobody theme=aged", await other.GetStringAsync(new Uri("/aged", UriKind.Relative)));
        Assert.Equal("nobody ", await other.GetStringAsync(new Uri("/over", UriKind.Relative)));
    }

    /// <summary>A browser drops a cookie when its time is over, and so does the client, whose time is the test's to move.</summary>
    [Theory, InlineData("/minute"), InlineData("/until")]
    public async Task Cookies_last_as_long_as_they_say_by_the_clock_of_the_test(string path)
    {
        await using var factory = Sample()
            .WithWebHostBuilder(builder =>
                builder.ConfigureTestServices(services => services.AddSingleton<IStartupFilter, Redirecting>())
            )
            .WithFakeClock(out var clock);
        using var ada = factory.CreateSignedInClient("ada", Shop.Cart.Empty);
        var who = new Uri("/who", UriKind.Relative);

        // It begins at a whole second: what a cookie says has no fractions.
        clock.Advance(TimeSpan.FromSeconds(1) - TimeSpan.FromTicks(clock.GetUtcNow().Ticks % TimeSpan.TicksPerSecond));
        var at = clock.GetUtcNow().AddMinutes(1).ToUnixTimeSeconds();
        var first = await ada.GetStringAsync(new Uri($"{path}?at={at}", UriKind.Relative));
        Assert.Contains("theme=red", first, StringComparison.Ordinal);
        clock.Advance(TimeSpan.FromSeconds(59));
        Assert.Contains("theme=red", await ada.GetStringAsync(who), StringComparison.Ordinal);
        clock.Advance(TimeSpan.FromSeconds(1));
        var after = await ada.GetStringAsync(who);
        Assert.DoesNotContain("theme", after, StringComparison.Ordinal);
        Assert.StartsWith("ada ", after, StringComparison.Ordinal);
    }

    /// <summary>As browsers have it: Max-Age counts before Expires, which is over by the application's own clock.</summary>
    [Theory]
    [InlineData("theme=dark", true)]
    [InlineData("theme=dark; Max-Age=60; Expires=Fri, 01 Jan 2038 00:00:00 GMT", true)]
    [InlineData("theme=dark; Max-Age=0; Expires=Wed, 01 Jan 2042 00:00:00 GMT", false)]
    [InlineData("theme=dark; Expires=Wed, 01 Jan 2042 00:00:00 GMT", true)]
    [InlineData("theme=dark; Expires=Fri, 01 Jan 2038 00:00:00 GMT", false)]
    [InlineData("theme=dark; Expires=Sun, 01 Jan 2040 00:00:00 GMT", false)]
    public async Task A_cookie_is_kept_until_it_is_over(string line, bool isKept)
    {
        var clock = new FakeTimeProvider(new DateTimeOffset(2040, 1, 1, 0, 0, 0, TimeSpan.Zero));
        await using var host = await Host.StartAsync(fails: false, clock: clock);
        using var ada = host.Server.CreateSignedInClient("ada", new Cart("tea"));
        foreach (var set in new[] { "theme=light", line })
            Assert.Equal(HttpStatusCode.OK, await PostAsync(ada, "/set?line=" + Uri.EscapeDataString(set)));

        var cookies = (await ada.GetStringAsync(new Uri("/cookies", UriKind.Relative))).Split("; ");
        Assert.Equal(isKept ? 2 : 1, cookies.Length);
        Assert.Equal(isKept, cookies.Contains("theme=dark"));
        Assert.Equal("ada tea", await ada.GetStringAsync(new Uri("/item", UriKind.Relative)));
    }

    /// <summary>Of a client that somebody has signed in with, too.</summary>
    [Fact]
    public async Task The_address_and_the_redirects_are_those_that_the_factory_says()
    {
        await using var factory = Sample()
            .WithWebHostBuilder(builder =>
                builder.ConfigureTestServices(services => services.AddSingleton<IStartupFilter, Redirecting>())
            );
        factory.ClientOptions.BaseAddress = new Uri("https://localhost/");
        factory.ClientOptions.AllowAutoRedirect = false;
        using var ada = factory.CreateSignedInClient("ada", Shop.Cart.Empty);
        Assert.Equal(factory.ClientOptions.BaseAddress, ada.BaseAddress);
        using var answer = await ada.GetAsync(new Uri("/in/eve", UriKind.Relative));
        Assert.Equal(HttpStatusCode.Redirect, answer.StatusCode);
        var eve = await ada.GetStringAsync(new Uri("/who", UriKind.Relative));
        Assert.StartsWith("eve ", eve, StringComparison.Ordinal);
    }

    /// <summary>As the failure that it is, and not as one of the call by reflection.</summary>
    [Fact]
    public async Task What_cannot_be_is_said_where_only_the_data_s_type_is_named()
    {
        await using var factory = Sample();
        Assert.Throws<ArgumentException>(() => factory.CreateSignedInClient<Shop.Cart>("", Shop.Cart.Empty));
        var unknown = Assert.Throws<InvalidOperationException>(() =>
            factory.CreateSignedInClient<Cart>("ada", new Cart("tea"))
        );
        Assert.Contains("AddSession<Cart>()", unknown.Message, StringComparison.Ordinal);
        await using var other = new ServiceCollection().BuildServiceProvider();
        var noFactory = Assert.Throws<ArgumentException>(() =>
            other.CreateSignedInClient<Shop.Cart>("ada", Shop.Cart.Empty)
        );
        Assert.Contains("is no WebApplicationFactory", noFactory.Message, StringComparison.Ordinal);
    }

    /// <summary>Before the sample's own pages: sign in and out, and go on to who is there.</summary>
    private sealed class Redirecting : IStartupFilter
    {
        public Action<IApplicationBuilder> Configure(Action<IApplicationBuilder> next) =>
            app =>
            {
                app.UseSession<Shop.Cart>();
                app.Use(
                    async (context, go) =>
                    {
                        var path = context.Request.Path.Value!;
                        var session = await context.GetSessionAsync<Shop.Cart>();
                        if (path == "/who")
                            await context.Response.WriteAsync(
                                $"{session.Subject ?? "nobody"} {context.Request.Headers.Cookie}"
                            );
                        else if (path == "/out")
                            await session.DestroyAsync();
                        else if (path == "/dark")
                            context.Response.Cookies.Append("theme", "dark");
                        else if (path == "/plain")
                            context.Response.Cookies.Delete("theme");
                        else if (path is "/light" or "/yesterday")
                            context.Response.Cookies.Append(
                                "theme",
                                "light",
                                new() { Expires = DateTimeOffset.UtcNow.AddDays(path == "/light" ? 1 : -1) }
                            );
                        else if (path is "/aged" or "/over")
                            context.Response.Cookies.Append(
                                "theme",
                                "aged",
                                new()
                                {
                                    MaxAge = TimeSpan.FromMinutes(path == "/aged" ? 1.0 : 0.0),
                                    Expires = DateTimeOffset.UtcNow.AddDays(path == "/aged" ? -1 : 1),
                                }
                            );
                        else if (path == "/minute")
                            context.Response.Cookies.Append("theme", "red", new() { MaxAge = TimeSpan.FromMinutes(1) });
                        else if (path == "/until")
                            context.Response.Cookies.Append(
                                "theme",
                                "red",
                                new()
                                {
                                    Expires = DateTimeOffset.FromUnixTimeSeconds(
                                        long.Parse(context.Request.Query["at"].ToString(), CultureInfo.InvariantCulture)
                                    ),
                                }
                            );
                        else if (path.StartsWith("/in/", StringComparison.Ordinal))
                            await session.SignInAsync(path[4..], Shop.Cart.Empty);
                        else
                            await go(context);

                        if (
                            path is "/out" or "/dark" or "/plain" or "/light" or "/yesterday"
                            || path is "/aged" or "/over" or "/minute" or "/until"
                            || path.StartsWith("/in/", StringComparison.Ordinal)
                        )
                            context.Response.Redirect("/who");
                    }
                );
                next(app);
            };
    }

    [Fact]
    public async Task The_ids_of_the_application_are_those_of_a_signed_in_client()
    {
        // Which may ask the services of the application, as in a request.
        string Next(HttpContext context)
        {
            Assert.NotNull(context.RequestServices.GetRequiredService<IServiceScopeFactory>());
            return "x" + Token.newId()[1..];
        }

        await using var host = await Host.StartAsync(o => o.GenerateId = Next, fails: false);
        using var ada = host.Server.CreateSignedInClient("ada", new Cart("tea"));
        var found = new List<SessionId>();
        await foreach (var session in host.Manager.ListAsync("ada"))
            found.Add(session.Id);

        Assert.StartsWith("x", Assert.Single(found).Value, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_store_that_is_slow_is_waited_for_until_the_request_s_time_is_over()
    {
        await using var host = await Host.StartAsync(o => o.RequestTimeout = TimeSpan.FromMilliseconds(700));
        using var ada = host.Server.CreateSignedInClient("ada", new Cart("tea"));
        host.Store.Failure = StoreFailure.Slow;
        host.Store.Delay = TimeSpan.FromMilliseconds(50);
        Assert.Equal(HttpStatusCode.OK, await PostAsync(ada, "/item/milk"));
        host.Store.Delay = TimeSpan.FromSeconds(30);
        Assert.Equal(HttpStatusCode.ServiceUnavailable, await PostAsync(ada, "/item/rum"));
        host.Store.Failure = StoreFailure.None;
        Assert.Equal("ada milk", await ada.GetStringAsync(new Uri("/item", UriKind.Relative)));
    }

    [Fact]
    public async Task A_store_that_is_unsure_has_taken_the_write_and_does_not_say_so()
    {
        await using var host = await Host.StartAsync();
        using var ada = host.Server.CreateSignedInClient("ada", new Cart("tea"));
        Assert.Equal("ada tea", await ada.GetStringAsync(new Uri("/item", UriKind.Relative)));
        host.Store.Failure = StoreFailure.Unsure;
        Assert.Equal(HttpStatusCode.OK, await PostAsync(ada, "/careful/milk"));
        Assert.True(host.Caught!.MayHaveChanged);

        host.Store.Failure = StoreFailure.Unavailable;
        host.Store.Failure = StoreFailure.None;
        Assert.Equal("ada milk", await ada.GetStringAsync(new Uri("/item", UriKind.Relative)));
    }

    [Fact]
    public async Task What_cannot_be_is_said()
    {
        await using var host = await Host.StartAsync(
            o =>
            {
                o.MaxSessionsPerSubject = 1;
                o.WhenLimitReached = SessionLimitBehavior.RefuseNew;
                o.GenerateId = _ => Token.newId().Replace('-', 'x');
            },
            fails: false
        );
        Assert.Throws<InvalidOperationException>(() => host.Store);
        Assert.Throws<ArgumentException>(() => host.Server.CreateSignedInClient("", new Cart("tea")));
        var other = Assert.Throws<InvalidOperationException>(() =>
            host.Server.CreateSignedInClient("ada", new Shop.Cart([]))
        );
        Assert.Contains("AddSession<Cart>()", other.Message, StringComparison.Ordinal);

        // The limits of the application count.
        using var ada = host.Server.CreateSignedInClient("ada", new Cart("tea"));
        var limit = Assert.Throws<Session.AspNetCore.SessionFailedException>(() =>
            host.Server.CreateSignedInClient("ada", new Cart("tea"))
        );
        Assert.Equal(409, limit.StatusCode);
    }
}
