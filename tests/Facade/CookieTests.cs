using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.TestHost;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Session.CSharp;
using Session.Engine;
using Xunit;

namespace Facade;

/// <summary>What a browser keeps, drops, or does not send.</summary>
public class CookieTests
{
    private static void Map(WebApplication app)
    {
        app.UseSession<Cart>();
        app.MapGet("/me", (Session<Cart> session) => session.Subject ?? "nobody");
        app.Map("/write", (Session<Cart> session) => session.UpdateAsync(_ => new Cart("tea")));
        app.Map("/save", (Session<Cart> session) => session.SaveAsync(new Cart("tea")));
        app.Map("/create", (Session<Cart> session) => session.CreateAsync(new Cart("tea")));
        app.Map("/login", (Session<Cart> session) => session.SignInAsync("ada", new Cart("tea")));
        app.Map("/logout", (Session<Cart> session) => session.DestroyAsync());
    }

    /// <summary>Whatever stands where, and however long it is.</summary>
    [Theory]
    [InlineData("__Host-sid")]
    [InlineData("__Host-sid=")]
    [InlineData("theme=dark")]
    [InlineData("a=1; theme=dark")]
    [InlineData("a=1; __Host-sid")]
    [InlineData("a=1;__Host-sid=")]
    [InlineData("; ;;")]
    [InlineData("_")]
    public async Task A_cookie_header_without_a_token_is_nobodys(string header)
    {
        await using var site = await EdgeSite.StartAsync(Map);
        var answer = await site.SendAsync("GET", "/me", ("Cookie", header));
        Assert.Equal((HttpStatusCode.OK, "nobody"), (answer.Status, answer.Body));
    }

    // -- Partitioned, switched on and off

    private static Task<EdgeSite> StartAsync(ISessionStore store, bool isPartitioned) =>
        EdgeSite.StartAsync(
            Map,
            configure: o =>
            {
                o.Cookie.SameSite = SameSiteMode.None;
                o.Partitioned = isPartitioned;
            },
            store: store
        );

    [Theory, InlineData(false), InlineData(true)]
    public async Task Partitioned_switched_on_or_off_signs_nobody_out(bool isOnAtFirst)
    {
        var store = new MemoryStore();
        await using var before = await StartAsync(store, isOnAtFirst);
        await using var after = await StartAsync(store, !isOnAtFirst);
        var (formerName, name) = isOnAtFirst ? ("__Host-sid-p", "__Host-sid") : ("__Host-sid", "__Host-sid-p");

        var begun = await before.SendAsync("POST", "/login");
        Assert.StartsWith(formerName + "=", Assert.Single(begun.SetCookies), StringComparison.Ordinal);
        var former = $"{formerName}={begun.Token}";
        Assert.Equal("ada", (await after.SendAsync("GET", "/me", ("Cookie", former))).Body);

        // The next token is under the other name, and the former cookie goes: first, since browsers without Partitioned
        // take the last word.
        var again = await after.SendAsync("POST", "/login", ("Cookie", former));
        Assert.Equal(2, again.SetCookies.Length);
        Assert.StartsWith(formerName + "=;", again.SetCookies[0], StringComparison.Ordinal);
        Assert.Equal(isOnAtFirst, again.SetCookies[0].Contains("partitioned", StringComparison.Ordinal));
        Assert.StartsWith($"{name}={again.Token}", again.SetCookies[1], StringComparison.Ordinal);
        Assert.Equal(!isOnAtFirst, again.SetCookies[1].Contains("partitioned", StringComparison.Ordinal));

        // Where both are there the name that counts does.
        var both = $"{former}; {name}={again.Token}";
        Assert.Equal("ada", (await after.SendAsync("GET", "/me", ("Cookie", both))).Body);
        var logout = await after.SendAsync("POST", "/logout", ("Cookie", both));
        Assert.Equal([formerName + "=", name + "="], logout.SetCookies.Select(it => it.Split(';')[0]));
        Assert.Equal("nobody", (await after.SendAsync("GET", "/me", ("Cookie", both))).Body);
    }

    /// <summary>Two under the name of before, one of them planted: neither tells whose it is, and a logout or a sign-in ends each.</summary>
    [Theory, InlineData("/logout"), InlineData("/login")]
    public async Task Two_under_the_former_name_end_as_two_under_this_one(string path)
    {
        var store = new MemoryStore();
        await using var before = await StartAsync(store, true);
        await using var after = await StartAsync(store, false);
        var (one, other) = (await before.SendAsync("POST", "/login"), await before.SendAsync("POST", "/login"));
        var cookies = $"__Host-sid-p={one.Token}; __Host-sid-p={other.Token}";
        var answer = await after.SendAsync("POST", path, ("Cookie", cookies));
        Assert.Equal(HttpStatusCode.OK, answer.Status);
        Assert.StartsWith("__Host-sid-p=;", answer.SetCookies[0], StringComparison.Ordinal);
        foreach (var token in new[] { one.Token, other.Token })
            Assert.Equal("nobody", (await before.SendAsync("GET", "/me", ("Cookie", "__Host-sid-p=" + token))).Body);
    }

    [Fact]
    public async Task An_answer_that_takes_the_cookie_away_is_kept_by_no_cache()
    {
        await using var site = await EdgeSite.StartAsync(Map);
        var begun = await site.SendAsync("POST", "/login");
        var logout = await site.SendAsync("POST", "/logout", ("Cookie", $"__Host-sid={begun.Token}"));
        Assert.Single(logout.SetCookies);
        Assert.Equal("no-store", logout["Cache-Control"]);
    }

    // -- what would be lost in silence is refused at start

    private static string Refused(Action<SessionOptions<Cart>> configure)
    {
        var services = new ServiceCollection();
        services.AddSession(configure).UseMemory();
        using var provider = services.BuildServiceProvider();
        var error = Assert.Throws<OptionsValidationException>(() =>
            provider.GetRequiredService<Session.AspNetCore.SessionService<Cart>>()
        );
        return string.Join("\n", error.Failures);
    }

    [Theory]
    [InlineData("example.com:8443")]
    [InlineData("https://example.com")]
    [InlineData("example.com/shop")]
    [InlineData("*.example.com")]
    [InlineData("example..com")]
    [InlineData("..example.com")]
    [InlineData("example.com.")]
    [InlineData("-shop.example.com")]
    [InlineData("192.168.1.7")]
    [InlineData("[::1].x")]
    [InlineData("user@example.com")]
    [InlineData("exam_ple.com")]
    public void A_domain_that_browsers_drop_is_refused(string domain) =>
        Assert.Contains("Cookie.Domain", Refused(o => o.Cookie.Domain = domain), StringComparison.Ordinal);

    /// <summary>Browsers know the prefixes in any case (RFC 6265bis 5.7), and drop what does not keep to them.</summary>
    [
        Theory,
        InlineData("__Host-sid"),
        InlineData("__host-sid"),
        InlineData("__Secure-sid"),
        InlineData("__SECURE-sid")
    ]
    public void A_name_that_promises_Secure_needs_it_in_any_case(string name) =>
        Assert.Contains(
            "Cookie.SecurePolicy",
            Refused(o =>
            {
                o.Cookie.Name = name;
                o.Cookie.SecurePolicy = CookieSecurePolicy.SameAsRequest;
            }),
            StringComparison.Ordinal
        );

    [Theory, InlineData("example.com"), InlineData(".example.com"), InlineData("a-b.xn--bcher-kva.example")]
    public async Task A_domain_that_browsers_take_is_none_of_it(string domain)
    {
        await using var site = await EdgeSite.StartAsync(Map, configure: o => o.Cookie.Domain = domain);
        var begun = await site.SendAsync("POST", "/login");
        Assert.Contains($"; domain={domain};", Assert.Single(begun.SetCookies), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(10, 15, false)]
    [InlineData(44, 15, false)]
    [InlineData(45, 15, true)]
    [InlineData(479, null, false)]
    [InlineData(480, null, true)]
    [InlineData(480, 470, true)]
    public void A_cookie_that_renewals_do_not_send_again_in_time_is_refused(int age, int? rotate, bool isRight)
    {
        void Configure(SessionOptions<Cart> o)
        {
            o.Cookie.MaxAge = TimeSpan.FromMinutes(age);
            o.RotateEvery = rotate is { } minutes ? TimeSpan.FromMinutes(minutes) : null;
        }

        if (isRight)
        {
            using var provider = new ServiceCollection()
                .AddSession<Cart>(Configure)
                .UseMemory()
                .Services.BuildServiceProvider();
            Assert.NotNull(provider.GetRequiredService<SessionManager<Cart>>());
        }
        else
            Assert.Contains("Cookie.MaxAge is shorter", Refused(Configure), StringComparison.Ordinal);
    }

    // -- plain HTTP

    [Fact]
    public async Task In_Development_a_Secure_cookie_over_plain_HTTP_is_explained()
    {
        var ear = new LogEar();
        await using var site = await EdgeSite.StartAsync(
            Map,
            environment: "Development",
            log: log => log.AddProvider(ear)
        );
        for (var i = 0; i < 3; i++)
        {
            var begun = await site.SendAsync("POST", "/write", ("Host", "shop.lan:8080"));
            Assert.Contains("new session", begun["X-Session-Explain"], StringComparison.Ordinal);
            Assert.Contains("plain HTTP", begun["X-Session-Explain"], StringComparison.Ordinal);
        }

        var line = Assert.Single(ear.Take(), it => it.Contains("over plain HTTP", StringComparison.Ordinal));
        Assert.Contains("shop.lan:8080", line, StringComparison.Ordinal);
    }

    /// <summary>A proxy that ends TLS is no reason: browsers send such a cookie over plain HTTP as well.</summary>
    [Theory, InlineData("Production", true), InlineData("Staging", true), InlineData("Development", false)]
    public async Task A_cookie_that_is_not_always_Secure_is_told_where_it_matters(string environment, bool isTold)
    {
        using var ear = new LogEar();
        await using var site = await EdgeSite.StartAsync(
            app => app.UseSession<Cart>(),
            configure: o => (o.Cookie.Name, o.Cookie.SecurePolicy) = ("sid", CookieSecurePolicy.SameAsRequest),
            environment: environment,
            log: logging => logging.AddProvider(ear)
        );
        Assert.Equal(isTold, ear.Take().Any(it => it.Contains("is not Always", StringComparison.Ordinal)));
    }

    /// <summary>As the client of a WebApplicationFactory: an in-process server, `http://localhost`, and .NET's cookie container.</summary>
    [Theory, InlineData("Development", true), InlineData("Production", false)]
    public async Task A_test_server_works_as_it_is(string environment, bool works)
    {
        var builder = WebApplication.CreateSlimBuilder(
            new Microsoft.AspNetCore.Builder.WebApplicationOptions { EnvironmentName = environment }
        );
        builder.Logging.ClearProviders();
        builder.WebHost.UseTestServer();
        builder.Services.AddSession<Cart>().UseMemory();
        await using var app = builder.Build();
        Map(app);
        await app.StartAsync();
        var jar = new CookieContainer();
        var address = new Uri("http://localhost/");
        using var client = app.GetTestClient();

        async Task<string> AskAsync(HttpMethod verb, string path)
        {
            using var request = new HttpRequestMessage(verb, path);
            if (jar.GetCookieHeader(address) is { Length: > 0 } cookies)
                request.Headers.Add("Cookie", cookies);

            using var answer = await client.SendAsync(request);
            if (answer.Headers.TryGetValues("Set-Cookie", out var lines))
                foreach (var line in lines)
                    jar.SetCookies(address, line);

            return await answer.Content.ReadAsStringAsync();
        }

        await AskAsync(HttpMethod.Post, "/login");
        Assert.Equal(works ? "ada" : "nobody", await AskAsync(HttpMethod.Get, "/me"));
        await AskAsync(HttpMethod.Post, "/logout");
        Assert.Equal("nobody", await AskAsync(HttpMethod.Get, "/me"));
    }

    // -- a response that no client receives

    /// <summary>As the context of a hub over long polling: its response never starts, and goes nowhere.</summary>
    [Fact]
    public async Task Where_no_response_carries_the_token_none_is_given()
    {
        ISessionStore store = new MemoryStore();
        await using var site = await EdgeSite.StartAsync(Map, store: store);
        await using var scope = site.Services.CreateAsyncScope();
        var context = new DefaultHttpContext { RequestServices = scope.ServiceProvider };
        var session = await context.GetSessionAsync<Cart>();
        foreach (
            var begin in new Func<Task>[]
            {
                () => session.SignInAsync("ada", new Cart("tea")),
                () => session.CreateAsync(new Cart("tea")),
                () => session.UpdateAsync(_ => new Cart("tea")),
            }
        )
        {
            var error = await Assert.ThrowsAsync<InvalidOperationException>(begin);
            Assert.Contains("could not reach the client", error.Message, StringComparison.Ordinal);
        }

        Assert.Equal(0, await store.Count(CancellationToken.None));

        // A session that is there is read and written as before.
        var token = (await site.SendAsync("POST", "/login")).Token;
        var other = new DefaultHttpContext { RequestServices = scope.ServiceProvider };
        other.Request.Headers.Cookie = "__Host-sid=" + token;
        var mine = await other.GetSessionAsync<Cart>();
        Assert.Equal("milk", (await mine.UpdateAsync(_ => new Cart("milk"))).Item);
        await Assert.ThrowsAsync<InvalidOperationException>(() => mine.RegenerateAsync());
        Assert.Equal("ada", (await site.GetAsync("/me", token)).Body);
    }

    /// <summary>The one reads what the other one's browsers hold, and would take its cookie from them.</summary>
    [Fact]
    public async Task Two_kinds_of_sessions_may_not_share_the_name_of_before_Partitioned_either()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        builder.Services.AddSession<Cart>(o =>
        {
            o.Cookie.Name = "__Host-shop";
            o.Cookie.SameSite = SameSiteMode.None;
            o.Partitioned = true;
        });
        builder.Services.AddSession<Other>(o => o.Cookie.Name = "__Host-shop");
        await using var app = builder.Build();
        var error = await Assert.ThrowsAsync<OptionsValidationException>(() => app.StartAsync());
        Assert.Contains("same cookie name", error.Message, StringComparison.Ordinal);
    }

    /// <summary>Each would take the other one's token for a stranger's, and hand out one of its own in its place.</summary>
    [Fact]
    public async Task Two_kinds_of_sessions_may_not_share_a_header()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        builder.Services.AddSession<Cart>(o => o.HeaderName = "X-Session-Token");
        builder.Services.AddSession<Other>(o => (o.Cookie.Name, o.HeaderName) = ("__Host-other", "x-session-token"));
        await using var app = builder.Build();
        var error = await Assert.ThrowsAsync<OptionsValidationException>(() => app.StartAsync());
        Assert.Contains("same header", error.Message, StringComparison.Ordinal);
    }

    /// <summary>What the one ends, counts and sweeps would be the other one's.</summary>
    [Fact]
    public async Task Two_kinds_of_sessions_may_not_share_a_place_in_a_store()
    {
        var store = new MemoryStore();
        var builder = WebApplication.CreateSlimBuilder();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        builder.Services.AddSession<Cart>().UseStore(_ => store);
        builder.Services.AddSession<Other>(o => o.Cookie.Name = "__Host-other").UseStore(_ => store);
        await using var app = builder.Build();
        var error = await Assert.ThrowsAsync<OptionsValidationException>(() => app.StartAsync());
        Assert.Contains("share one place in a store", error.Message, StringComparison.Ordinal);
    }

    /// <summary>A browser full of planted cookies: not all of them are looked at, and the logout does not say that it has ended what it has not seen.</summary>
    [Theory]
    [InlineData(16, HttpStatusCode.OK)]
    [InlineData(17, HttpStatusCode.Unauthorized)]
    public async Task A_logout_that_has_not_looked_at_every_token_is_none(int count, HttpStatusCode expected)
    {
        await using var site = await EdgeSite.StartAsync(Map);
        var ada = (await site.SendAsync("POST", "/login")).Token;
        var planted = Enumerable.Range(0, count - 1).Select(n => $"__Host-sid={n:D4}planted." + new string('A', 43));
        var cookies = string.Join("; ", planted.Append("__Host-sid=" + ada));
        Assert.Equal(expected, (await site.SendAsync("POST", "/logout", ("Cookie", cookies))).Status);
    }

    /// <summary>The store does not answer for one session.</summary>
    private sealed class AwayForOne : Passing
    {
        public string Id { get; set; } = "";

        public override ValueTask<StoredRecord?> Load(string id, CancellationToken cancel) =>
            id == Id ? throw new IOException("away") : base.Load(id, cancel);
    }

    /// <summary>Beside a planted token, before it or behind: that the store did not answer for the user's own is what has to be done again.</summary>
    [Theory, InlineData(true), InlineData(false)]
    public async Task A_logout_of_several_tokens_says_that_the_store_did_not_answer_for_one(bool isFirst)
    {
        var store = new AwayForOne();
        await using var site = await EdgeSite.StartAsync(Map, store: store);
        var ada = (await site.SendAsync("POST", "/login")).Token;
        var eve = (await site.SendAsync("POST", "/login")).Token;
        var guess = eve.Split('.')[0] + "." + new string('A', 43);
        store.Id = ada.Split('.')[0];
        string[] tokens = isFirst ? [ada, guess] : [guess, ada];
        var cookies = string.Join("; ", tokens.Select(it => "__Host-sid=" + it));
        var answer = await site.SendAsync("POST", "/logout", ("Cookie", cookies));
        Assert.Equal(HttpStatusCode.ServiceUnavailable, answer.Status);
        Assert.Empty(answer.SetCookies);
        store.Id = "";
        foreach (var token in new[] { ada, eve })
            Assert.Equal("ada", (await site.GetAsync("/me", token)).Body);
    }
}
