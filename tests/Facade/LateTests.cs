using System.Net;
using System.Security.Claims;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authentication.Cookies;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Session.CSharp;
using Session.Engine;
using Xunit;

namespace Facade;

/// <summary>
/// An operation that nobody has waited for outlives its request. The server uses the same HttpContext for the next request of the
/// connection, which behind a proxy is somebody else's: it must neither carry the token of the one before nor lose its own.
/// </summary>
public class LateTests
{
    private sealed class Gate
    {
        private volatile TaskCompletionSource? _closed;

        public Task Passed => _closed?.Task ?? Task.CompletedTask;

        /// <summary>The id of the session that reads wait for, too.</summary>
        public string? Reads { get; set; }

        public void Close() => _closed = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public void Open()
        {
            _closed!.SetResult();
            _closed = null;
        }
    }

    /// <summary>Its writes wait while the gate is closed.</summary>
    private sealed class Gated(Gate gate) : ForwardingStore(new MemoryStore())
    {
        public override async ValueTask<StoredRecord?> Load(string id, CancellationToken cancel)
        {
            if (id == gate.Reads)
                await gate.Passed;
            return await base.Load(id, cancel);
        }

        public override async ValueTask<WriteResult> Insert(StoredRecord record, CancellationToken cancel)
        {
            await gate.Passed;
            return await base.Insert(record, cancel);
        }

        public override async ValueTask<WriteResult> Replace(
            StoredRecord record,
            long expected,
            CancellationToken cancel
        )
        {
            await gate.Passed;
            return await base.Replace(record, expected, cancel);
        }
    }

    /// <summary>What a handler begins and does not wait for; whether it has a session, and whether it is to say that it failed.</summary>
    private sealed record Beginning(Func<HttpContext, Task> Begin, bool HasSession, bool Fails);

    private static async Task<Session<Cart>> Of(HttpContext context) => await context.GetSessionAsync<Cart>();

    private static readonly ClaimsPrincipal s_ann = new(
        new ClaimsIdentity(
            [new Claim(ClaimTypes.NameIdentifier, "ann")],
            CookieAuthenticationDefaults.AuthenticationScheme
        )
    );

    private static readonly Dictionary<string, Beginning> s_beginnings = new()
    {
        ["a sign-in"] = new(async it => await (await Of(it)).SignInAsync("ann", new Cart("tea")), false, true),
        ["another sign-in"] = new(async it => await (await Of(it)).SignInAsync("ann", new Cart("tea")), true, true),
        ["a new session"] = new(async it => await (await Of(it)).CreateAsync(new Cart("tea")), true, true),
        ["a first write"] = new(async it => await (await Of(it)).UpdateAsync(_ => new Cart("tea")), false, true),
        ["a write"] = new(async it => await (await Of(it)).UpdateAsync(_ => new Cart("tea")), true, false),
        ["an elevation"] = new(async it => await (await Of(it)).RegenerateAsync(), true, true),
        ["a sign-out"] = new(async it => await (await Of(it)).DestroyAsync(), true, false),
        ["a sign-out by the scheme that leads away"] = new(
            it => it.SignOutAsync("Session", new AuthenticationProperties { RedirectUri = "/nowhere" }),
            true,
            false
        ),
        ["a ticket"] = new(it => it.SignInAsync(s_ann), false, true),
        ["the end of a ticket"] = new(it => it.SignOutAsync(), true, true),
    };

    public static TheoryData<string> Beginnings => [.. s_beginnings.Keys];

    private static async Task<(
        WebApplication App,
        Func<string, string?, Task<(string Body, string[] Set)>> Get
    )> StartAsync(Gate gate, Action<WebApplication> map)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        builder.Logging.ClearProviders();
        builder.Services.AddSession<Cart>().UseStore(_ => new Gated(gate));
        builder.Services.AddServerSideTickets().UseStore(_ => new Gated(gate));
        builder
            .Services.AddAuthentication(CookieAuthenticationDefaults.AuthenticationScheme)
            .AddCookie(o => o.Cookie.Name = "ticket")
            .AddSession<Cart>(_ => { });
        var app = builder.Build();
        app.UseSession<Cart>();
        app.MapGet(
            "/login/{name}",
            async (string name, HttpContext context) =>
            {
                await (await Of(context)).SignInAsync(name, new Cart("tea"));
                await context.SignInAsync(
                    new ClaimsPrincipal(
                        new ClaimsIdentity(
                            [new Claim(ClaimTypes.NameIdentifier, name)],
                            CookieAuthenticationDefaults.AuthenticationScheme
                        )
                    )
                );
            }
        );
        app.MapGet("/me", async (HttpContext context) => (await Of(context)).Subject ?? "nobody");
        map(app);
        await app.StartAsync();
        // One connection, as a proxy has.
        var client = new HttpClient(new SocketsHttpHandler { UseCookies = false, MaxConnectionsPerServer = 1 });
        return (
            app,
            async (path, cookies) =>
            {
                using var request = new HttpRequestMessage(HttpMethod.Get, app.Urls.First() + path);
                if (cookies is not null)
                    request.Headers.Add("Cookie", cookies);
                using var response = await client.SendAsync(request);
                return (
                    await response.Content.ReadAsStringAsync(),
                    response.Headers.TryGetValues("Set-Cookie", out var set) ? [.. set] : []
                );
            }
        );
    }

    private static string CookiesOf(string[] set) => string.Join("; ", set.Select(it => it.Split(';')[0]));

    [Theory, MemberData(nameof(Beginnings))]
    public async Task What_outlives_its_request_touches_nothing_of_the_next_one(string what)
    {
        var beginning = s_beginnings[what];
        var gate = new Gate();
        Task? late = null;
        TaskCompletionSource came = new(TaskCreationOptions.RunContinuationsAsynchronously);
        TaskCompletionSource goes = new(TaskCreationOptions.RunContinuationsAsynchronously);
        var (app, get) = await StartAsync(
            gate,
            app =>
            {
                app.MapGet(
                    "/begin",
                    async (HttpContext context) =>
                    {
                        await Of(context);
                        late = beginning.Begin(context);
                        return "soon";
                    }
                );
                app.MapGet(
                    "/wait",
                    async (HttpContext context) =>
                    {
                        came.SetResult();
                        await goes.Task;
                        return (await Of(context)).Subject ?? "nobody";
                    }
                );
            }
        );
        await using var _ = app;
        var anns = beginning.HasSession ? CookiesOf((await get("/login/ann", null)).Set) : null;
        var bobs = CookiesOf((await get("/login/bob", null)).Set);
        Assert.Equal("bob", (await get("/me", bobs)).Body);
        if (anns is not null)
            Assert.Equal("ann", (await get("/me", anns)).Body);

        gate.Close();
        Assert.Equal("soon", (await get("/begin", anns)).Body);
        var next = get("/wait", bobs);
        await came.Task;
        gate.Open();
        var failure = await Record.ExceptionAsync(() => late!);
        Assert.Equal(beginning.Fails, failure is not null);
        goes.SetResult();
        var (body, set) = await next;
        Assert.Equal(("bob", ""), (body, string.Join("; ", set)));
        Assert.Equal("bob", (await get("/me", bobs)).Body);
    }

    [Fact]
    public async Task A_session_that_is_first_read_after_its_request_is_nobody_elses()
    {
        var gate = new Gate();
        Func<Task>? late = null;
        TaskCompletionSource came = new(TaskCreationOptions.RunContinuationsAsynchronously);
        TaskCompletionSource goes = new(TaskCreationOptions.RunContinuationsAsynchronously);
        var (app, get) = await StartAsync(
            gate,
            app =>
            {
                app.MapGet(
                    "/begin",
                    (HttpContext context) =>
                    {
                        var request = global::Session.AspNetCore.RequestSession.find<Cart>(context);
                        late = async () =>
                        {
                            await request.Load(CancellationToken.None);
                            Assert.Fail($"it was read: {request.Live}");
                        };
                    }
                );
                app.MapGet(
                    "/wait",
                    async () =>
                    {
                        came.SetResult();
                        await goes.Task;
                    }
                );
            }
        );
        await using var _ = app;
        var bobs = CookiesOf((await get("/login/bob", null)).Set);
        await get("/begin", null);
        var next = get("/wait", bobs);
        await came.Task;
        var failure = await Assert.ThrowsAsync<InvalidOperationException>(late!);
        Assert.Contains("The request is over", failure.Message, StringComparison.Ordinal);
        goes.SetResult();
        Assert.Empty((await next).Set);
    }

    [Theory, InlineData(true), InlineData(false)]
    public async Task HttpContext_Session_after_its_request_is_nobody_elses(bool isRead)
    {
        Func<Task>? late = null;
        TaskCompletionSource came = new(TaskCreationOptions.RunContinuationsAsynchronously);
        TaskCompletionSource goes = new(TaskCreationOptions.RunContinuationsAsynchronously);
        var builder = WebApplication.CreateSlimBuilder();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        builder.Logging.ClearProviders();
        builder.Services.AddSessionCompatibility().UseMemory();
        await using var app = builder.Build();
        app.UseSessionCompatibility();
        app.MapGet("/name/{name}", (string name, HttpContext context) => context.Session.SetString("name", name));
        app.MapGet(
            "/begin",
            (HttpContext context) =>
            {
                var session = context.Session;
                if (isRead)
                    session.GetString("name");
                late = async () =>
                {
                    if (isRead)
                        session.SetString("name", "ann");
                    await session.LoadAsync();
                    Assert.Fail($"it was read: {session.GetString("name")}");
                };
            }
        );
        app.MapGet(
            "/wait",
            async () =>
            {
                came.SetResult();
                await goes.Task;
                return "waited";
            }
        );
        await app.StartAsync();
        using var client = new HttpClient(new SocketsHttpHandler { UseCookies = false, MaxConnectionsPerServer = 1 })
        {
            BaseAddress = new Uri(app.Urls.First()),
        };
        using var named = await client.GetAsync(new Uri("/name/bob", UriKind.Relative));
        var cookie = CookiesOf([.. named.Headers.GetValues("Set-Cookie")]);
        using var begun = await client.GetAsync(new Uri("/begin", UriKind.Relative));
        using var request = new HttpRequestMessage(HttpMethod.Get, "/wait");
        request.Headers.Add("Cookie", cookie);
        var next = client.SendAsync(request);
        await came.Task;
        var failure = await Assert.ThrowsAsync<InvalidOperationException>(late!);
        Assert.Contains("is over", failure.Message, StringComparison.Ordinal);
        goes.SetResult();
        using var answer = await next;
        Assert.False(answer.Headers.Contains("Set-Cookie"));
        Assert.Equal("waited", await answer.Content.ReadAsStringAsync());
    }

    [Theory, InlineData(true), InlineData(false)]
    public async Task A_session_that_is_still_read_when_its_request_is_over_is_nobody_elses(bool isOtherReadBefore)
    {
        var gate = new Gate();
        Task<Session<Cart>>? late = null;
        TaskCompletionSource came = new(TaskCreationOptions.RunContinuationsAsynchronously);
        TaskCompletionSource goes = new(TaskCreationOptions.RunContinuationsAsynchronously);
        var (app, get) = await StartAsync(
            gate,
            app =>
            {
                app.MapGet(
                    "/begin",
                    (HttpContext context) =>
                    {
                        late = context.GetSessionAsync<Cart>().AsTask();
                        return "soon";
                    }
                );
                app.MapGet(
                    "/wait",
                    async (HttpContext context) =>
                    {
                        if (isOtherReadBefore)
                            await Of(context);
                        came.SetResult();
                        await goes.Task;
                        return (await Of(context)).Subject;
                    }
                );
            }
        );
        await using var _ = app;
        var anns = CookiesOf((await get("/login/ann", null)).Set);
        var bobs = CookiesOf((await get("/login/bob", null)).Set);
        foreach (var cookies in new[] { anns, bobs })
            await get("/me", cookies);
        gate.Reads = anns.Split("__Host-sid=")[1].Split('.')[0];
        gate.Close();
        Assert.Equal("soon", (await get("/begin", anns)).Body);
        var next = get("/wait", bobs);
        await came.Task;
        gate.Open();
        var session = await late!;
        Assert.Equal("ann", session.Subject);
        await Assert.ThrowsAnyAsync<InvalidOperationException>(() => session.SignInAsync("eve", new Cart("x")));
        goes.SetResult();
        var (body, set) = await next;
        Assert.Equal(("bob", ""), (body, string.Join("; ", set)));
        Assert.Equal("bob", (await get("/me", bobs)).Body);
    }

    /// <summary>The token is lost, and so is the session: it would stand among the user's devices, open to nobody.</summary>
    [Theory, InlineData(true), InlineData(false)]
    public async Task A_sign_in_whose_response_starts_meanwhile_is_no_success_and_leaves_no_session(bool isOver)
    {
        var gate = new Gate();
        Task? late = null;
        Exception? said = null;
        var (app, get) = await StartAsync(
            gate,
            app =>
                app.MapGet(
                    "/begin",
                    async (HttpContext context) =>
                    {
                        var session = await Of(context);
                        late = session.SignInAsync("ann", new Cart("tea"));
                        await context.Response.WriteAsync("begun");
                        if (isOver)
                            return;
                        gate.Open();
                        said = await Record.ExceptionAsync(() => late);
                        // What comes after is judged by itself.
                        await session.DestroyAsync();
                    }
                )
        );
        await using var _ = app;
        gate.Close();
        Assert.Equal(("begun", 0), ((await get("/begin", null)) is var (body, set) ? (body, set.Length) : default));
        if (isOver)
        {
            gate.Open();
            said = await Record.ExceptionAsync(() => late!);
        }

        Assert.Contains("no response carries its token", Assert.IsType<SessionUnavailableException>(said).Message);
        var manager = app.Services.GetRequiredService<SessionManager<Cart>>();
        await foreach (var info in manager.ListAsync("ann"))
            Assert.Fail($"it lives: {info.Id}");
    }

    /// <summary>What an application registers for the end of the response still is of this request.</summary>
    [Theory, InlineData(true), InlineData(false)]
    public async Task Who_asks_when_the_response_is_complete_still_asks_for_this_request(bool hasBody)
    {
        TaskCompletionSource<string?> subject = new(TaskCreationOptions.RunContinuationsAsynchronously);
        var (app, get) = await StartAsync(
            new Gate(),
            app =>
                app.MapGet(
                    "/audited",
                    async (HttpContext context) =>
                    {
                        context.Response.OnCompleted(async () => subject.SetResult((await Of(context)).Subject));
                        if (hasBody)
                            await context.Response.WriteAsync("body");
                        else
                            context.Response.StatusCode = 204;
                    }
                )
        );
        await using var _ = app;
        var anns = CookiesOf((await get("/login/ann", null)).Set);
        await get("/audited", anns);
        Assert.Equal("ann", await subject.Task.WaitAsync(TimeSpan.FromSeconds(20)));
    }

    /// <summary>A hub's method may go on when its connection is gone: whether another site began that is known from before.</summary>
    [Theory, InlineData(true), InlineData(false)]
    public async Task A_request_of_another_site_changes_nothing_when_it_is_over_either(bool isFork)
    {
        global::Session.AspNetCore.RequestSession<Cart>? request = null;
        var (app, get) = await StartAsync(
            new Gate(),
            app =>
                app.MapPost(
                    "/hub",
                    async (HttpContext context) =>
                    {
                        var mine = global::Session.AspNetCore.RequestSession.find<Cart>(context);
                        await mine.Load(CancellationToken.None);
                        request = isFork ? mine.Fork() : mine;
                    }
                )
        );
        await using var _ = app;
        var anns = CookiesOf((await get("/login/ann", null)).Set);
        await get("/me", anns);
        foreach (var (site, isRefused) in new[] { ("same-site", true), ("same-origin", false) })
        {
            using var client = new HttpClient(new SocketsHttpHandler { UseCookies = false });
            using var message = new HttpRequestMessage(HttpMethod.Post, app.Urls.First() + "/hub");
            message.Headers.Add("Cookie", anns);
            message.Headers.Add("Sec-Fetch-Site", site);
            using var answer = await client.SendAsync(message);
            await Task.Delay(50);
            var written = await request!.Destroy(CancellationToken.None);
            Assert.Equal((site, isRefused), (site, written.IsError && written.ErrorValue.IsCrossSite));
            Assert.Equal(isRefused ? "ann" : "nobody", (await get("/me", anns)).Body);
        }
    }
}
