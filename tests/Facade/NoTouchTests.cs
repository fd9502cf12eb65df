using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.FSharp.Core;
using Session.AspNetCore;
using Session.CSharp;
using Session.Engine;
using Xunit;

namespace Facade;

/// <summary>Endpoints that a page asks by itself keep no session alive.</summary>
public class NoTouchTests
{
    [NoTouch]
    private static string Attributed(Session<Cart> session) => session.Subject ?? "nobody";

    private static void Map(WebApplication app)
    {
        app.MapGet("/poll", (Session<Cart> session) => session.Subject ?? "nobody").NoTouch();
        app.MapGet("/attribute", Attributed);
        Session.AspNetCore.SessionEndpoint.noTouch(
            app.MapGet("/fsharp", (Session<Cart> session) => session.Subject ?? "nobody")
        );
        app.MapGet("/guarded", (Session<Cart> session) => session.Subject ?? "nobody").RequireSignIn<Cart>().NoTouch();
        app.MapGet(
                "/write",
                async (Session<Cart> session) =>
                {
                    await session.UpdateAsync(cart => cart! with { Count = cart.Count + 1 });
                    return session.Subject ?? "nobody";
                }
            )
            .NoTouch();
        app.MapGet("/seen", (Session<Cart> session) => session.Subject ?? "nobody");
        app.MapSessionStatus<Cart>("/session");
    }

    private static Task<Site> StartAsync(Action<SessionOptions<Cart>>? configure = null) =>
        Site.StartAsync(configure, Map);

    [Theory]
    [InlineData("/poll", true)]
    [InlineData("/attribute", true)]
    [InlineData("/fsharp", true)]
    [InlineData("/guarded", true)]
    [InlineData("/write", true)]
    [InlineData("/session", true)]
    [InlineData("/seen", false)]
    public async Task Polling_keeps_no_session_alive_and_a_visit_does(string path, bool isPolling)
    {
        await using var site = await StartAsync(o => o.RotateEvery = null);
        var token = await site.BeginAsync("ada");
        var begun = await site.Manager.FindAsync(Site.IdOf(token));
        for (var minute = 10; minute < 30; minute += 10)
        {
            site.Clock.Advance(TimeSpan.FromMinutes(10));
            var answer = await site.SendAsync(path, token);
            Assert.Contains(path == "/session" ? "true" : "ada", answer.Body, StringComparison.Ordinal);
        }

        var later = await site.Manager.FindAsync(Site.IdOf(token));
        Assert.Equal(isPolling, begun!.LastSeen == later!.LastSeen);
        Assert.Equal(isPolling, begun.ExpiresAt == later.ExpiresAt);
        site.Clock.Advance(TimeSpan.FromMinutes(10));
        Assert.Equal(isPolling, await site.Manager.FindAsync(Site.IdOf(token)) is null);
    }

    [Theory, InlineData("/poll"), InlineData("/session")]
    public async Task The_first_look_confirms_the_token_and_issues_none(string path)
    {
        await using var site = await StartAsync();
        var begun = await site.WithAsync(session => session.CreateAsync(new Cart("tea")));
        site.Clock.Advance(TimeSpan.FromMinutes(5));
        Assert.Empty((await site.SendAsync(path, begun.Token)).SetCookies);

        // It was confirmed: the ten minutes for that are over.
        site.Clock.Advance(TimeSpan.FromMinutes(6));
        Assert.NotNull(await site.Manager.FindAsync(Site.IdOf(begun.Token!)));

        // A renewal is due, and comes with the next visit. A poll with its token confirms it.
        site.Clock.Advance(TimeSpan.FromMinutes(5));
        Assert.Empty((await site.SendAsync(path, begun.Token)).SetCookies);
        var renewed = (await site.SendAsync("/seen", begun.Token)).Token;
        Assert.NotNull(renewed);
        Assert.Empty((await site.SendAsync(path, renewed)).SetCookies);

        // And a stolen one that comes back to it is found out.
        site.Clock.Advance(TimeSpan.FromMinutes(2));
        await site.SendAsync(path, begun.Token);
        Assert.Null(await site.Manager.FindAsync(Site.IdOf(begun.Token!)));
    }

    /// <summary>A poll that stores something by itself, since it brings a token for the first time, is a poll all the same.</summary>
    [Theory, InlineData(false), InlineData(true)]
    public async Task A_poll_that_confirms_a_token_and_writes_keeps_no_session_alive(bool isRenewed)
    {
        await using var site = await StartAsync();
        var token = (await site.WithAsync(session => session.SignInAsync("ada", new Cart("tea")))).Token!;
        if (isRenewed)
        {
            await site.SendAsync("/seen", token);
            site.Clock.Advance(TimeSpan.FromMinutes(16));
            token = (await site.SendAsync("/seen", token)).Token!;
        }

        var before = await site.Manager.FindAsync(Site.IdOf(token));
        site.Clock.Advance(TimeSpan.FromMinutes(10));
        Assert.Equal("ada", (await site.SendAsync("/write", token)).Body);
        var after = await site.Manager.FindAsync(Site.IdOf(token));
        Assert.Equal((before!.LastSeen, before.ExpiresAt), (after!.LastSeen, after.ExpiresAt));
    }

    [Fact]
    public async Task What_polling_writes_is_stored()
    {
        await using var site = await StartAsync();
        var token = await site.BeginAsync("ada");
        await site.SendAsync("/write", token);
        await site.WithAsync(
            session =>
            {
                Assert.Equal(2, session.Data!.Count);
                return Task.CompletedTask;
            },
            token
        );
    }

    // -- the status

    [Fact]
    public async Task The_status_counts_down_extends_nothing_and_is_never_cached()
    {
        await using var site = await StartAsync();
        Assert.Equal("""{"signedIn":false,"expiresIn":0}""", (await site.SendAsync("/session")).Body);
        Assert.Equal("""{"signedIn":false,"expiresIn":0}""", (await site.SendAsync("/session", "nonsense")).Body);

        var anonymous = await site.BeginAsync();
        Assert.Equal("""{"signedIn":false,"expiresIn":1800}""", (await site.SendAsync("/session", anonymous)).Body);
        var token = await site.BeginAsync("ada");
        Assert.Equal("""{"signedIn":true,"expiresIn":1800}""", (await site.SendAsync("/session", token)).Body);
        site.Clock.Advance(TimeSpan.FromSeconds(1387.5));
        Assert.Equal("""{"signedIn":true,"expiresIn":412}""", (await site.SendAsync("/session", token)).Body);
        Assert.Equal("""{"signedIn":true,"expiresIn":412}""", (await site.SendAsync("/session", token)).Body);
        site.Clock.Advance(TimeSpan.FromSeconds(412.5));
        var over = await site.SendAsync("/session", token);
        Assert.Equal("""{"signedIn":false,"expiresIn":0}""", over.Body);
        Assert.Equal(HttpStatusCode.OK, over.Status);
    }

    [Fact]
    public async Task The_status_is_json_for_nobody_else_and_503_without_a_store()
    {
        var store = new Session.Testing.FailingStore(new MemoryStore());
        await using var site = await EdgeSite.StartAsync(
            app =>
            {
                app.UseSession<Cart>();
                app.UseOutputCache();
                app.MapGet("/login", (Session<Cart> session) => session.SignInAsync("ada", new Cart("tea")));
                app.MapSessionStatus<Cart>("/session").CacheOutput();
            },
            services => services.AddOutputCache(),
            store: store
        );
        var token = (await site.SendAsync("GET", "/login")).Token;
        foreach (var own in new[] { null, token, null })
        {
            var answer = await site.GetAsync("/session", own);
            Assert.Equal(own is not null, answer.Body.Contains("true", StringComparison.Ordinal));
            Assert.Equal("no-store", answer["Cache-Control"]);
            Assert.Equal("application/json", answer["Content-Type"]);
        }

        store.Failure = Session.Testing.StoreFailure.Unavailable;
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await site.GetAsync("/session", token)).Status);
    }

    [Fact]
    public async Task The_status_of_an_application_that_goes_on_without_the_store_is_503_too()
    {
        var store = new Session.Testing.FailingStore(new MemoryStore());
        await using var site = await Site.StartAsync(o => o.ContinueWithoutStore = true, Map, () => store);
        var token = await site.BeginAsync("ada");
        store.Failure = Session.Testing.StoreFailure.Unavailable;
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await site.SendAsync("/session", token)).Status);
        Assert.Equal("""{"signedIn":false,"expiresIn":0}""", (await site.SendAsync("/session")).Body);

        // Whose session it is nobody can say, either.
        await site.InRequestAsync(
            async context =>
            {
                var own = await Sessions.findOwn<Cart>(Site.IdOf(token).Value, context);
                Assert.True(own is { IsError: true, ErrorValue.IsUnavailable: true });
            },
            token
        );
        store.Failure = Session.Testing.StoreFailure.None;
        Assert.Contains("true", (await site.SendAsync("/session", token)).Body, StringComparison.Ordinal);
    }

    // -- F#: a session without its request

    [Fact]
    public async Task From_FSharp_a_role_is_taken_away_without_ending_the_session()
    {
        await using var site = await StartAsync();
        var token = await site.BeginAsync("ada");
        await site.InRequestAsync(async context =>
        {
            Task<FSharpResult<FSharpOption<Cart>?, SessionError>> Update(string id) =>
                Sessions.update(
                    id,
                    FuncConvert.FromFunc((FSharpOption<Cart>? cart) => cart!.Value with { Item = "none" }),
                    context
                );
            Assert.Equal("none", (await Update(Site.IdOf(token).Value)).ResultValue!.Value.Item);
            Assert.Null((await Update("nobody")).ResultValue);
            Assert.Null((await Update("no id at all")).ResultValue);
        });
        await site.WithAsync(
            session =>
            {
                Assert.Equal(("ada", "none"), (session.Subject, session.Data!.Item));
                return Task.CompletedTask;
            },
            token
        );
    }
}
