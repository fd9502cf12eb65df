using System.Net;
using Integration.App;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Session.CSharp;
using Xunit;

namespace Facade;

/// <summary>Whose a response is: what a session was opened for is nobody else's.</summary>
public class CacheTests
{
    public static TheoryData<Keeper, bool> Caches()
    {
        var all = new TheoryData<Keeper, bool>();
        foreach (var keeper in new[] { Keeper.Output, Keeper.OutputOfAll, Keeper.OutputByForce, Keeper.Response })
        {
            all.Add(keeper, true);
            all.Add(keeper, false);
        }

        return all;
    }

    [Theory, MemberData(nameof(Caches))]
    public async Task No_cache_in_the_application_gives_one_user_the_answer_of_another(Keeper keeper, bool isCacheFirst)
    {
        await using var app = await CacheApp.StartAsync(keeper, isCacheFirst, isBuiltIn: false);
        var found = await new CacheMatrix(app, app.Address, keeper, isCacheFirst).RunAsync();
        Assert.Equal(48, found.Count);
        Assert.DoesNotContain(found, it => it.Wrong is not null);
    }

    /// <summary>Not even where nobody would be given it.</summary>
    [Theory, MemberData(nameof(Caches))]
    public async Task What_is_somebodys_is_not_stored_at_all(Keeper keeper, bool isCacheFirst)
    {
        await using var app = await CacheApp.StartAsync(keeper, isCacheFirst, isBuiltIn: false);
        using var client = new HttpClient(new SocketsHttpHandler { UseCookies = false });
        using var begin = new HttpRequestMessage(HttpMethod.Post, new Uri(app.Address, "/begin"));
        begin.Headers.Add("X-Who", "alice");
        using var begun = await client.SendAsync(begin);
        var cookie = begun.Headers.GetValues("Set-Cookie").Single().Split(';')[0];
        foreach (var path in new[] { "/read", "/guarded", "/empty", "/tagged", "/write", "/login" })
        foreach (var verb in new[] { HttpMethod.Get, HttpMethod.Head })
        {
            using var request = new HttpRequestMessage(verb, new Uri(app.Address, path + "?early=true"));
            request.Headers.Add("Cookie", cookie);
            request.Headers.Add("X-Who", "alice");
            using var answer = await client.SendAsync(request);
            Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
            if (answer.Headers.TryGetValues("Set-Cookie", out var lines))
                cookie = lines.Single().Split(';')[0];

            Assert.Equal((path, 0), (path, app.Stored));
        }
    }

    /// <summary>The output cache tells those with a token from those without, and no more: what a token of long ago gets is for nobody else either.</summary>
    [Theory, MemberData(nameof(Caches))]
    public async Task A_token_that_opens_nothing_takes_the_place_of_none(Keeper keeper, bool isCacheFirst)
    {
        await using var app = await CacheApp.StartAsync(keeper, isCacheFirst, isBuiltIn: false);
        using var client = new HttpClient(new SocketsHttpHandler { UseCookies = false });
        using var begin = new HttpRequestMessage(HttpMethod.Post, new Uri(app.Address, "/begin"));
        begin.Headers.Add("X-Who", "alice");
        using var begun = await client.SendAsync(begin);
        var alice = begun.Headers.GetValues("Set-Cookie").Single().Split(';')[0];
        var stranger = "sid=F8PBtq23XT5kGSuG0XXJ3g." + alice.Split('.')[1];
        foreach (
            var (cookie, user) in new[]
            {
                (stranger, "nobody"),
                (alice, "alice"),
                ("sid=garbage", "nobody"),
                (alice, "alice"),
                (stranger, "nobody"),
            }
        )
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(app.Address, "/read?early=true"));
            request.Headers.Add("Cookie", cookie);
            using var answer = await client.SendAsync(request);
            Assert.Equal(user, await answer.Content.ReadAsStringAsync());
        }
    }

    /// <summary>So that the tests above are about caches that keep something.</summary>
    [Theory, MemberData(nameof(Caches))]
    public async Task What_is_for_everybody_is_kept_where_the_application_says_so(Keeper keeper, bool isCacheFirst)
    {
        await using var app = await CacheApp.StartAsync(keeper, isCacheFirst, isBuiltIn: false);
        using var client = new HttpClient(new SocketsHttpHandler { UseCookies = false });
        client.DefaultRequestHeaders.Add("X-Who", "alice");
        using var begun = await client.PostAsync(new Uri(app.Address, "/begin"), null);
        var cookie = begun.Headers.GetValues("Set-Cookie").Single().Split(';')[0];
        // The token is presented once, so that no answer has one to hand out.
        for (var i = 0; i < 6; i++)
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(app.Address, "/shared?early=true"));
            if (i != 1)
                request.Headers.Add("Cookie", cookie);

            using var answer = await client.SendAsync(request);
            Assert.Equal("all", await answer.Content.ReadAsStringAsync());
            Assert.False(answer.Headers.Contains("Vary"));
            Assert.Equal("public, max-age=60", answer.Headers.CacheControl!.ToString());
        }

        Assert.Equal(1, app.SharedRuns);
    }

    private static async Task<EdgeSite> StartAsync(string? header = null) =>
        await EdgeSite.StartAsync(
            app =>
            {
                app.UseSession<Cart>();
                app.MapGet("/none", () => "none");
                app.MapGet("/read", (Session<Cart> session) => session.Subject ?? "nobody");
                app.MapGet(
                    "/own",
                    (Session<Cart> session, HttpResponse response, string said) =>
                    {
                        response.Headers.CacheControl = said;
                        response.Headers.Vary = "Accept-Language";
                        return session.Subject;
                    }
                );
                app.MapGet("/begin", (Session<Cart> session) => session.SignInAsync("ada", new Cart("tea")));
                app.MapGet("/during", (Delegate)WriteAsync);
                app.MapGet("/shared", (Session<Cart> session) => "all").AllowSharedCaching();
                app.MapGet("/attribute", [AllowSharedCaching] (Session<Cart> session) => "all");
            },
            configure: o => o.HeaderName = header
        );

    /// <summary>The headers as they are when the operation has succeeded, and nothing was written.</summary>
    private static async Task<string> WriteAsync(HttpContext context)
    {
        context.Response.Headers.CacheControl = "public, max-age=60";
        var session = await context.GetSessionAsync<Cart>();
        await session.UpdateAsync(_ => new Cart("tea"));
        return $"{context.Response.Headers.CacheControl}|{context.Response.Headers.SetCookie.Count}|{context.Response.Headers.Vary}";
    }

    [Fact]
    public async Task What_a_session_was_opened_for_is_private_where_nothing_is_said()
    {
        await using var site = await StartAsync();
        var token = (await site.GetAsync("/begin")).Token;
        await site.GetAsync("/read", token);
        var read = await site.GetAsync("/read", token);
        Assert.Equal(("ada", "private", "Cookie"), (read.Body, read["Cache-Control"], read["Vary"]));

        // Without a session it is for all who have none.
        var nobody = await site.GetAsync("/read");
        Assert.Equal(("nobody", null, "Cookie"), (nobody.Body, nobody["Cache-Control"], nobody["Vary"]));

        // What looks at none says nothing.
        var none = await site.GetAsync("/none", token);
        Assert.Equal((null, null), (none["Cache-Control"], none["Vary"]));
    }

    /// <summary>A name that has ours in it is another one; and of what the application says the stricter part stays.</summary>
    [Fact]
    public async Task Other_names_and_stricter_words_stay_beside_ours()
    {
        await using var site = await Site.StartAsync();
        var reply = await site.InRequestAsync(async context =>
        {
            context.Response.Headers.CacheControl = "private, no-cache, max-age=60";
            context.Response.Headers.Vary = "X-Cookie-Consent";
            await (await context.GetSessionAsync<Cart>()).SignInAsync("ada", new Cart("tea"));
            context.Response.Headers["X-Said"] =
                context.Response.Headers.CacheControl + "|" + context.Response.Headers.Vary;
            await context.Response.WriteAsync(context.Response.Headers["X-Said"]!);
        });
        Assert.NotNull(reply.Token);
        Assert.Equal("no-store, private, no-cache|X-Cookie-Consent,Cookie", reply.Body);
    }

    [Theory, InlineData("public, max-age=60"), InlineData("no-store"), InlineData("private, max-age=5")]
    public async Task What_the_application_says_stays(string said)
    {
        await using var site = await StartAsync();
        var token = (await site.GetAsync("/begin")).Token;
        await site.GetAsync("/read", token);
        var own = await site.GetAsync("/own?said=" + Uri.EscapeDataString(said), token);
        Assert.Equal((said, "Accept-Language, Cookie"), (own["Cache-Control"], own["Vary"]));
    }

    [Fact]
    public async Task The_header_that_carries_the_token_is_named_too()
    {
        await using var site = await StartAsync("X-Token");
        var begun = await site.SendAsync("GET", "/begin", ("X-Token", ""));
        var read = await site.SendAsync("GET", "/read", ("X-Token", begun["X-Token"]!));
        Assert.Equal(("ada", "private", "Cookie, X-Token"), (read.Body, read["Cache-Control"], read["Vary"]));
    }

    [Fact]
    public async Task The_headers_of_a_token_are_there_when_the_operation_has_succeeded()
    {
        await using var site = await StartAsync();
        Assert.Equal("no-store|1|Cookie", (await site.GetAsync("/during")).Body);
    }

    /// <summary>The cookie comes when the headers are written; caches in the application have looked at them by then.</summary>
    [Fact]
    public async Task A_token_that_is_due_is_no_longer_public_when_the_session_is_read()
    {
        await using var site = await Site.StartAsync();
        var token = await site.BeginAsync("ada");
        site.Clock.Advance(TimeSpan.FromMinutes(16));
        var reply = await site.InRequestAsync(
            async context =>
            {
                context.Response.Headers.CacheControl = "public, max-age=60";
                await context.GetSessionAsync<Cart>();
                Assert.Equal("no-store", context.Response.Headers.CacheControl);
            },
            token
        );
        Assert.NotNull(reply.Token);
    }

    [Theory, InlineData("/shared"), InlineData("/attribute")]
    public async Task An_endpoint_that_is_for_everybody_says_nothing(string path)
    {
        await using var site = await StartAsync();
        var token = (await site.GetAsync("/begin")).Token;
        await site.GetAsync("/read", token);
        var shared = await site.GetAsync(path, token);
        Assert.Equal(("all", null, null), (shared.Body, shared["Cache-Control"], shared["Vary"]));
    }

    /// <summary>That a token is over, for it was never confirmed, reaches nobody else, even where the answer is for everybody.</summary>
    [Fact]
    public async Task An_answer_that_takes_a_token_back_is_kept_by_nobody()
    {
        await using var app = await CacheApp.StartAsync(Keeper.OutputByForce, true, false);
        using var client = new HttpClient(new SocketsHttpHandler { UseCookies = false });
        client.DefaultRequestHeaders.Add("X-Who", "alice");
        using var begun = await client.PostAsync(new Uri(app.Address, "/begin"), null);
        var cookie = begun.Headers.GetValues("Set-Cookie").Single().Split(';')[0];
        app.Time.Advance(TimeSpan.FromMinutes(16));
        for (var i = 0; i < 2; i++)
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(app.Address, "/shared?early=true"));
            if (i == 0)
                request.Headers.Add("Cookie", cookie);

            using var answer = await client.SendAsync(request);
            Assert.Equal(i == 0, answer.Headers.Contains("Set-Cookie"));
        }

        Assert.Equal(2, app.SharedRuns);
    }

    /// <summary>The same of a renewal: it is handed over when the headers are written, which is too late for a cache that looks at them.</summary>
    [Theory, InlineData(true), InlineData(false)]
    public async Task An_answer_with_the_token_of_a_renewal_is_kept_by_nobody(bool isCacheFirst)
    {
        await using var app = await CacheApp.StartAsync(Keeper.OutputByForce, isCacheFirst, isBuiltIn: false);
        using var client = new HttpClient(new SocketsHttpHandler { UseCookies = false });
        client.DefaultRequestHeaders.Add("X-Who", "alice");
        using var begun = await client.PostAsync(new Uri(app.Address, "/begin"), null);
        var cookie = begun.Headers.GetValues("Set-Cookie").Single().Split(';')[0];

        async Task<string?> GetAsync(string path, string? sent)
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(app.Address, path + "?early=true"));
            if (sent is not null)
                request.Headers.Add("Cookie", sent);

            using var answer = await client.SendAsync(request);
            Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
            return answer.Headers.TryGetValues("Set-Cookie", out var set) ? set.Single().Split(';')[0] : null;
        }

        // Confirmed: what is due later is a renewal, and not the end of what its client never came back with.
        Assert.Null(await GetAsync("/read", cookie));
        app.Time.Advance(TimeSpan.FromMinutes(16));
        var renewed = await GetAsync("/shared", cookie);
        Assert.NotNull(renewed);
        Assert.StartsWith(cookie.Split('.')[0] + ".", renewed, StringComparison.Ordinal);
        Assert.NotEqual(cookie, renewed);
        Assert.Null(await GetAsync("/shared", null));
        Assert.Equal(2, app.SharedRuns);
    }
}
