using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Time.Testing;
using Session.CSharp;
using Xunit;

namespace Facade;

/// <summary>
/// A request that ends in an error page is routed anew, and one may be waited for before it comes to the session middleware: it
/// is one request all the same, as old as it is, and what its first endpoint has said is no word about the page.
/// </summary>
public class ReroutedTests
{
    private static readonly TimeSpan s_slow = TimeSpan.FromMinutes(2);

    private sealed class Shop(WebApplication app, FakeTimeProvider clock) : IAsyncDisposable
    {
        private readonly HttpClient _client = new(new SocketsHttpHandler { UseCookies = false });

        public FakeTimeProvider Clock => clock;
        public int Replays { get; set; }
        public TaskCompletionSource Held { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
        public TaskCompletionSource MayGo { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
        public SessionManager<Cart> Manager => app.Services.GetRequiredService<SessionManager<Cart>>();

        public async Task HoldAsync()
        {
            Held.SetResult();
            await MayGo.Task;
        }

        public async Task<(HttpStatusCode Status, string Body, string? Token, HttpResponseMessage Response)> GetAsync(
            string path,
            string? token = null
        )
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, app.Urls.First() + path);
            if (token is not null)
                request.Headers.Add("Cookie", "__Host-sid=" + token);
            var response = await _client.SendAsync(request);
            var set = response.Headers.TryGetValues("Set-Cookie", out var lines) ? lines.Single() : null;
            return (
                response.StatusCode,
                await response.Content.ReadAsStringAsync(),
                set?.Split(';')[0].Split('=', 2)[1],
                response
            );
        }

        public async ValueTask DisposeAsync()
        {
            _client.Dispose();
            await app.DisposeAsync();
        }
    }

    /// <summary>The site, with something around its sessions.</summary>
    private static async Task<Shop> StartAsync(
        Action<WebApplication, Func<Shop>> around,
        Action<WebApplication, Func<Shop>>? map = null,
        Action<IServiceCollection>? add = null
    )
    {
        var clock = new FakeTimeProvider(new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero));
        Shop? shop = null;
        var builder = WebApplication.CreateSlimBuilder();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        builder.Logging.ClearProviders();
        builder.Services.AddSingleton<TimeProvider>(clock);
        builder
            .Services.AddSession<Cart>(o =>
                o.Events.OnReplayed = _ =>
                {
                    shop!.Replays++;
                    return Task.CompletedTask;
                }
            )
            .UseMemory();
        add?.Invoke(builder.Services);
        var app = builder.Build();
        shop = new Shop(app, clock);
        around(app, () => shop);
        app.UseSession<Cart>();
        app.MapGet(
            "/login/{name}",
            async (string name, Session<Cart> session) =>
            {
                await session.SignInAsync(name, new Cart("tea"));
                return "in";
            }
        );
        app.MapGet("/me", (Session<Cart> session) => session.Subject ?? "nobody");
        // The page of the site, with the name of its user, in place of whatever went wrong.
        app.Map(
            "/page/{code}",
            async (HttpContext context) =>
            {
                var session = await context.GetSessionAsync<Cart>();
                if (context.Request.Query.ContainsKey("soft"))
                    context.Response.StatusCode = 200;
                await context.Response.WriteAsync("hello " + (session.Subject ?? "nobody"));
            }
        );
        map?.Invoke(app, () => shop);
        await app.StartAsync();
        return shop;
    }

    public static TheoryData<string> Ways => ["status page", "exception page", "waits before", "passes twice"];

    private static Task<Shop> StartSlowAsync(string way) =>
        StartAsync(
            (app, shop) =>
            {
                switch (way)
                {
                    case "status page":
                        app.UseStatusCodePagesWithReExecute("/page/{0}");
                        break;
                    case "exception page":
                        app.UseExceptionHandler("/page/500");
                        break;
                    case "passes twice":
                        app.UseSession<Cart>();
                        break;
                }

                if (way is "waits before" or "passes twice")
                    app.Use(
                        async (context, next) =>
                        {
                            if (context.Request.Path == "/slow")
                                await shop().HoldAsync();
                            await next(context);
                        }
                    );
            },
            (app, shop) =>
                app.MapGet(
                    "/slow",
                    async (HttpContext context) =>
                    {
                        if (way is "waits before" or "passes twice")
                            return Results.Text(
                                "hello " + ((await context.GetSessionAsync<Cart>()).Subject ?? "nobody")
                            );
                        await shop().HoldAsync();
                        return way == "status page"
                            ? Results.NotFound()
                            : throw new InvalidOperationException("broken");
                    }
                )
        );

    [Theory, MemberData(nameof(Ways))]
    public async Task A_slow_request_is_judged_as_of_its_arrival_wherever_its_session_is_read(string way)
    {
        await using var shop = await StartSlowAsync(way);
        var first = (await shop.GetAsync("/login/ada")).Token!;
        Assert.Equal("ada", (await shop.GetAsync("/me", first)).Body);
        shop.Clock.Advance(TimeSpan.FromMinutes(16));
        var slow = shop.GetAsync("/slow", first);
        await shop.Held.Task;

        // Another tab is given the next token, and uses it.
        var second = (await shop.GetAsync("/me", first)).Token!;
        Assert.Equal("ada", (await shop.GetAsync("/me", second)).Body);
        shop.Clock.Advance(s_slow);
        shop.MayGo.SetResult();
        Assert.Equal("hello nobody", (await slow).Body);
        Assert.Equal(0, shop.Replays);
        Assert.Equal("ada", (await shop.GetAsync("/me", second)).Body);
    }

    [Theory, MemberData(nameof(Ways))]
    public async Task It_was_seen_when_it_came_and_not_when_its_page_was_made(string way)
    {
        await using var shop = await StartSlowAsync(way);
        var token = (await shop.GetAsync("/login/ada")).Token!;
        Assert.Equal("ada", (await shop.GetAsync("/me", token)).Body);
        shop.Clock.Advance(TimeSpan.FromMinutes(5));
        var came = shop.Clock.GetUtcNow();
        var slow = shop.GetAsync("/slow", token);
        await shop.Held.Task;
        shop.Clock.Advance(s_slow);
        shop.MayGo.SetResult();
        Assert.Equal("hello ada", (await slow).Body);
        Assert.Equal(came, (await shop.Manager.FindAsync(Site.IdOf(token)))!.LastSeen);
    }

    [Theory, InlineData(false), InlineData(true)]
    public async Task The_page_of_an_endpoint_that_does_not_count_as_activity_does_not_either(bool throws)
    {
        await using var shop = await StartAsync(
            (app, _) => app.UseStatusCodePagesWithReExecute("/page/{0}").UseExceptionHandler("/page/500"),
            (app, _) =>
                app.MapGet(
                        "/poll",
                        IResult () => throws ? throw new InvalidOperationException("broken") : Results.NotFound()
                    )
                    .NoTouch()
        );
        var token = (await shop.GetAsync("/login/ada")).Token!;
        Assert.Equal("ada", (await shop.GetAsync("/me", token)).Body);
        var seen = (await shop.Manager.FindAsync(Site.IdOf(token)))!.LastSeen;
        shop.Clock.Advance(TimeSpan.FromMinutes(16));
        var poll = await shop.GetAsync("/poll", token);
        Assert.Equal(("hello ada", null), (poll.Body, poll.Token));
        Assert.Equal(seen, (await shop.Manager.FindAsync(Site.IdOf(token)))!.LastSeen);
    }

    [Theory]
    [InlineData("status page", true)]
    [InlineData("status page", false)]
    [InlineData("exception page", true)]
    [InlineData("exception page", false)]
    public async Task What_is_everybodys_is_the_endpoints_answer_and_not_the_page_in_its_place(string way, bool looks)
    {
        await using var shop = await StartAsync(
            (app, _) =>
            {
                app.UseOutputCache();
                if (way == "status page")
                    app.UseStatusCodePagesWithReExecute("/page/{0}", "?soft=1");
                else
                    app.UseExceptionHandler("/page/500");
            },
            (app, _) =>
                app.MapGet(
                        "/shared",
                        async (HttpContext context) =>
                        {
                            if (looks)
                                await context.GetSessionAsync<Cart>();
                            return way == "status page"
                                ? Results.NotFound()
                                : throw new InvalidOperationException("broken");
                        }
                    )
                    .AllowSharedCaching()
                    .CacheOutput(policy => policy.AddPolicy<EvenWithCookies>()),
            services => services.AddOutputCache()
        );
        var token = (await shop.GetAsync("/login/ada")).Token!;
        var hers = await shop.GetAsync("/shared", token);
        Assert.Equal("hello ada", hers.Body);
        Assert.Contains("Cookie", hers.Response.Headers.Vary);
        Assert.True(hers.Response.Headers.CacheControl is { Private: true } or { NoStore: true });
        Assert.Equal("hello nobody", (await shop.GetAsync("/shared")).Body);
    }

    /// <summary>An application's own: whatever the response is, it is kept.</summary>
    private sealed class EvenWithCookies : Microsoft.AspNetCore.OutputCaching.IOutputCachePolicy
    {
        public ValueTask CacheRequestAsync(
            Microsoft.AspNetCore.OutputCaching.OutputCacheContext context,
            CancellationToken cancellation
        )
        {
            context.EnableOutputCaching = context.AllowCacheLookup = context.AllowCacheStorage = true;
            context.ResponseExpirationTimeSpan = TimeSpan.FromMinutes(10);
            return ValueTask.CompletedTask;
        }

        public ValueTask ServeFromCacheAsync(
            Microsoft.AspNetCore.OutputCaching.OutputCacheContext context,
            CancellationToken cancellation
        ) => ValueTask.CompletedTask;

        public ValueTask ServeResponseAsync(
            Microsoft.AspNetCore.OutputCaching.OutputCacheContext context,
            CancellationToken cancellation
        ) => ValueTask.CompletedTask;
    }
}
