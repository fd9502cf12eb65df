using System.Net;
using System.Security.Claims;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authentication.Cookies;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.OutputCaching;
using Microsoft.Extensions.DependencyInjection;
using Session.CSharp;
using Xunit;

namespace Facade;

/// <summary>Caches in the application, and answers that are somebody's by a ticket, by a look at the session behind the first byte, or within other middleware.</summary>
public class CachedPageTests
{
    /// <summary>As in many an answer on the web: it asks for no user, and allows storage once more at the end.</summary>
    private sealed class Everything : IOutputCachePolicy
    {
        public ValueTask CacheRequestAsync(OutputCacheContext context, CancellationToken cancellation)
        {
            context.EnableOutputCaching = true;
            context.AllowCacheLookup = true;
            context.AllowCacheStorage = true;
            context.AllowLocking = true;
            return ValueTask.CompletedTask;
        }

        public ValueTask ServeFromCacheAsync(OutputCacheContext context, CancellationToken cancellation) =>
            ValueTask.CompletedTask;

        public ValueTask ServeResponseAsync(OutputCacheContext context, CancellationToken cancellation)
        {
            context.AllowCacheStorage = true;
            return ValueTask.CompletedTask;
        }
    }

    private static void AddCaches(IServiceCollection services) =>
        services.AddResponseCaching().AddOutputCache(o => o.AddPolicy("everything", new Everything()));

    private static Task<EdgeSite> WithTicketsAsync(bool isCacheFirst) =>
        EdgeSite.StartAsync(
            app =>
            {
                if (!isCacheFirst)
                    app.UseAuthentication();
                app.UseResponseCaching();
                app.UseOutputCache();
                if (isCacheFirst)
                    app.UseAuthentication();
                app.MapPost(
                    "/in/{name}",
                    (HttpContext context, string name) =>
                        context.SignInAsync(new ClaimsPrincipal(new ClaimsIdentity([new(ClaimTypes.Name, name)], "x")))
                );
                string Name(HttpContext context) => context.User.Identity?.Name ?? "nobody";
                app.MapGet("/plain", Name);
                // As files are sent, whose endpoint there is none.
                app.Use(
                    (context, next) =>
                    {
                        if (context.Request.Path != "/site.css")
                            return next(context);
                        var headers = context.Response.Headers;
                        (headers.ETag, headers.LastModified, headers.AcceptRanges) = ("\"1\"", "now", "bytes");
                        headers.CacheControl = context.Request.Query["said"];
                        return context.Response.WriteAsync("body {}");
                    }
                );
                app.MapGet("/own", Name).CacheOutput("everything");
                app.MapGet("/shared", () => "all").CacheOutput("everything").AllowSharedCaching();
                app.MapGet(
                    "/public",
                    (HttpContext context) =>
                    {
                        context.Response.Headers.CacheControl = "public, max-age=60";
                        return Name(context);
                    }
                );
            },
            services =>
            {
                AddCaches(services);
                services.AddAuthentication("Cookies").AddCookie("Cookies", o => o.ClaimsIssuer = "x");
                services.AddServerSideTickets().UseMemory();
            }
        );

    [Theory, InlineData(true), InlineData(false)]
    public async Task What_a_ticket_was_opened_for_is_nobody_elses(bool isCacheFirst)
    {
        await using var site = await WithTicketsAsync(isCacheFirst);
        async Task<string> CookieOf(string name) =>
            (await site.SendAsync("POST", "/in/" + name)).SetCookies.Single().Split(';')[0];
        var (alice, bob) = (await CookieOf("alice"), await CookieOf("bob"));

        var plain = await site.SendAsync("GET", "/plain", ("Cookie", alice));
        Assert.Equal(("alice", "private", "Cookie"), (plain.Body, plain["Cache-Control"], plain["Vary"]));
        plain = await site.SendAsync("GET", "/plain");
        Assert.Equal(("nobody", null), (plain.Body, plain["Cache-Control"]));

        foreach (var path in new[] { "/own", "/public" })
        foreach (var (cookie, name) in new[] { (alice, "alice"), (bob, "bob"), ("", "nobody"), (bob, "bob") })
        {
            // What a cache has of nobody is for whoever comes, where it has not heard of anybody yet, or is told "public".
            if (name == "nobody" && (isCacheFirst || path == "/public"))
                continue;
            var answer =
                cookie == ""
                    ? await site.SendAsync("GET", path)
                    : await site.SendAsync("GET", path, ("Cookie", cookie));
            Assert.Equal((path, name), (path, answer.Body));
        }

        foreach (var path in new[] { "/own", "/public" })
            Assert.Equal("nobody", (await site.SendAsync("GET", path)).Body);
        Assert.Null((await site.SendAsync("GET", "/shared", ("Cookie", alice)))["Vary"]);
    }

    /// <summary>An invoice looks like a style sheet: only the application knows which of them is everybody's.</summary>
    [Theory]
    [InlineData("", "private", "Cookie")]
    [InlineData("max-age=60", "max-age=60", "Cookie")]
    [InlineData("private, immutable", "private, immutable", "Cookie")]
    [InlineData("no-store, public", "no-store, public", "Cookie")]
    [InlineData("public, max-age=60", "public, max-age=60", null)]
    [InlineData("max-age=60, immutable", "max-age=60, immutable", null)]
    public async Task A_file_from_a_middleware_is_everybodys_only_if_the_application_says_so(
        string said,
        string cacheControl,
        string? vary
    )
    {
        await using var site = await WithTicketsAsync(true);
        var cookie = (await site.SendAsync("POST", "/in/alice")).SetCookies.Single().Split(';')[0];
        var file = await site.SendAsync("GET", "/site.css?said=" + Uri.EscapeDataString(said), ("Cookie", cookie));
        Assert.Equal(("body {}", cacheControl, vary), (file.Body, file["Cache-Control"], file["Vary"]));
    }

    /// <summary>Middleware that keeps the body back, to look at it or to change it, and adds to the answer when all is done.</summary>
    private static async Task KeepBackAsync(HttpContext context, RequestDelegate next)
    {
        var outside = context.Response.Body;
        using var kept = new MemoryStream();
        context.Response.Body = kept;
        try
        {
            await next(context);
        }
        finally
        {
            context.Response.Body = outside;
        }

        context.Response.Headers["X-Kept"] = $"{kept.Length}";
        if (kept.Length > 0)
            await outside.WriteAsync(kept.ToArray());
        else if (context.Response.StatusCode == StatusCodes.Status404NotFound)
            await context.Response.WriteAsync("the page for what is not there");
    }

    [Theory, InlineData(true), InlineData(false)]
    public async Task Whoever_is_around_a_cache_finds_the_answer_as_it_was(bool isForced)
    {
        await using var site = await EdgeSite.StartAsync(
            app =>
            {
                app.Use(KeepBackAsync);
                app.UseOutputCache();
                app.UseSession<Cart>();
                void Cached(RouteHandlerBuilder endpoint) =>
                    _ = isForced ? endpoint.CacheOutput("everything") : endpoint.CacheOutput();
                Cached(app.MapGet("/begin", (Session<Cart> session) => session.SignInAsync("ada", new Cart("tea"))));
                Cached(app.MapGet("/text", (Session<Cart> session) => session.Subject ?? "nobody"));
                Cached(app.MapGet("/json", (Session<Cart> session) => new { session.Subject }));
                Cached(
                    app.MapGet(
                        "/write",
                        async (Session<Cart> session) => $"{await session.UpdateAsync(_ => new Cart("2"))}"
                    )
                );
                Cached(
                    app.MapGet(
                        "/none",
                        (Session<Cart> session) => Results.NotFound(session.Subject is null ? "" : null)
                    )
                );
                Cached(
                    app.MapGet(
                        "/empty",
                        (Session<Cart> session) => Results.StatusCode(session.Subject is null ? 201 : 202)
                    )
                );
            },
            AddCaches
        );
        var begun = await site.GetAsync("/begin");
        var token = begun.Token;
        Assert.Equal("0", begun["X-Kept"]);
        for (var i = 0; i < 2; i++)
        {
            Assert.Equal("ada", (await site.GetAsync("/text", token)).Body);
            Assert.Equal("""{"subject":"ada"}""", (await site.GetAsync("/json", token)).Body);
            Assert.Equal(HttpStatusCode.OK, (await site.GetAsync("/write", token)).Status);
            var none = await site.GetAsync("/none", token);
            Assert.Equal((HttpStatusCode.NotFound, "the page for what is not there"), (none.Status, none.Body));
            var empty = await site.GetAsync("/empty", token);
            Assert.Equal((HttpStatusCode.Accepted, "0"), (empty.Status, empty["X-Kept"]));
            Assert.Equal("nobody", (await site.GetAsync("/text")).Body);
        }
    }

    [Fact]
    public async Task A_session_that_is_looked_at_behind_the_first_byte_keeps_its_answer_out_of_the_output_cache()
    {
        await using var site = await EdgeSite.StartAsync(
            app =>
            {
                app.UseOutputCache();
                app.UseSession<Cart>();
                app.MapGet("/begin", (HttpContext context, string name) => SignInAsync(context, name));
                app.MapGet("/late", (Delegate)LateAsync).CacheOutput("everything");
            },
            AddCaches
        );
        var alice = (await site.GetAsync("/begin?name=alice")).Token;
        var bob = (await site.GetAsync("/begin?name=bob")).Token;
        foreach (var (token, name) in new[] { (alice, "alice"), (bob, "bob"), (alice, "alice"), (null, "nobody") })
            Assert.Equal("hello " + name, (await site.GetAsync("/late", token)).Body);
    }

    /// <summary>What was kept for those who have a token of one kind of sessions is not for those who have one of another kind.</summary>
    [Fact]
    public async Task A_token_of_other_sessions_takes_the_place_of_none()
    {
        await using var site = await EdgeSite.StartAsync(
            app =>
            {
                app.UseOutputCache();
                app.UseSession<Cart>();
                app.UseSession<Other>();
                app.MapPost("/cart", (Session<Cart> session) => session.SignInAsync("ada", new Cart("tea")));
                app.MapPost("/other", (Session<Other> session) => session.SignInAsync("bob", new Other("it")));
                // No metadata says which sessions they look at.
                app.MapGet("/carts", (Delegate)NameAsync<Cart>).CacheOutput("everything");
                app.MapGet("/others", (Delegate)NameAsync<Other>).CacheOutput("everything");
            },
            services =>
            {
                AddCaches(services);
                services.AddSession<Other>(o => o.Cookie.Name = "__Host-other").UseMemory();
            }
        );
        async Task<string> CookieAsync(string path) =>
            (await site.SendAsync("POST", path)).SetCookies.Single().Split(';')[0];
        var (cart, other) = (await CookieAsync("/cart"), await CookieAsync("/other"));
        foreach (
            var (path, cookie, name) in new[]
            {
                ("/others", cart, "nobody"),
                ("/others", other, "bob"),
                ("/others", cart, "nobody"),
                ("/carts", other, "nobody"),
                ("/carts", cart, "ada"),
                ("/carts", other, "nobody"),
            }
        )
        {
            var answer = await site.SendAsync("GET", path, ("Cookie", cookie));
            Assert.Equal((path, name), (path, answer.Body));
        }
    }

    private static async Task<string> NameAsync<T>(HttpContext context)
        where T : class => (await context.GetSessionAsync<T>()).Subject ?? "nobody";

    private static async Task SignInAsync(HttpContext context, string name)
    {
        var session = await context.GetSessionAsync<Cart>();
        await session.SignInAsync(name, new Cart("tea"));
    }

    private static async Task LateAsync(HttpContext context)
    {
        await context.Response.WriteAsync("hello ");
        await context.Response.Body.FlushAsync();
        var session = await context.GetSessionAsync<Cart>();
        await context.Response.WriteAsync(session.Subject ?? "nobody");
    }
}
