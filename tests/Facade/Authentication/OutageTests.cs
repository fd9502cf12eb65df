using System.Net;
using System.Security.Claims;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features.Authentication;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.FSharp.Core;
using Session.AspNetCore;
using Session.CSharp;
using Xunit;

namespace Facade.Authentication;

/// <summary>A store that does not answer: nobody is let in, nobody taken for a stranger, and what needs no user goes on.</summary>
public class OutageTests
{
    public static TheoryData<string, string> Arrangements =>
        new()
        {
            { "Session", "Session" },
            // People are sent to an identity provider: not because the store is down.
            { "Session", "provider" },
            { "Cookies", "Cookies" },
        };

    private static readonly string[] s_needAUser =
    [
        .. SchemeSite.ForAdmins,
        "/me",
        "/principal",
        "/context",
        "/mvc/anybody",
        "/pages/anybody",
        "/blazor/anybody",
        "/assertion",
        "/named",
        "/guarded",
    ];

    private static Task<EdgeSite> StartAsync(
        Watched store,
        string scheme,
        string challenge,
        Action<SessionOptions<Cart>>? configure = null,
        string environment = "Production"
    ) =>
        SchemeSite.StartAsync(
            services =>
                services
                    .AddAuthentication(o => (o.DefaultScheme, o.DefaultChallengeScheme) = (scheme, challenge))
                    .AddCookie()
                    .AddCookie("provider", o => o.LoginPath = "/provider")
                    .AddSession<Cart>(SchemeSite.Usual),
            store,
            map: app =>
            {
                // Everybody may, unless it is known of them that they may not.
                app.MapGet("/assertion", () => "in")
                    .RequireAuthorization(policy => policy.RequireAssertion(it => !it.User.IsInRole("banned")));
                app.MapGet(
                    "/named",
                    [Authorize(AuthenticationSchemes = "Session")]
                    (ClaimsPrincipal user) => user.Identity!.Name
                );
                app.MapGet("/guarded", () => "in").RequireSignIn<Cart>();
                app.MapGet("/anonymous", () => "in").RequireSession<Cart>();
                var write = FuncConvert.FromFunc((HttpContext context) => context.Response.WriteAsync("in"));
                app.MapGet("/fsharp", (RequestDelegate)SessionEndpoint.requireSession<Cart>(write).Invoke);
                app.MapGet("/fsharp/signed-in", (RequestDelegate)SessionEndpoint.requireSignIn<Cart>(write).Invoke);
                app.MapGet("/open", [Authorize] [AllowAnonymous] () => "open");
                app.MapGet(
                    "/caught",
                    async (HttpContext context) =>
                        (await context.AuthenticateAsync("Session")).Failure is SessionUnavailableException failure
                            ? "failed " + failure.StatusCode
                            : "none"
                );
            },
            configure: configure,
            environment: environment
        );

    [Theory, MemberData(nameof(Arrangements))]
    public async Task What_needs_a_user_is_a_503_and_what_needs_none_is_as_before(string scheme, string challenge)
    {
        var store = new Watched();
        await using var site = await StartAsync(store, scheme, challenge);
        var token = await site.SignInAsync();
        store.IsAway = true;
        var paths = scheme == "Session" ? s_needAUser : ["/named", "/guarded"];
        foreach (var path in paths)
        {
            var answer = await site.GetAsync(path, token);
            Assert.Equal((path, HttpStatusCode.ServiceUnavailable), (path, answer.Status));
            Assert.Null(answer["Location"]);
            Assert.Equal("1", answer["Retry-After"]);
            Assert.Equal("no-store", answer["Cache-Control"]);
            Assert.Empty(answer.SetCookies);
        }

        Assert.Equal("ok", (await site.GetAsync("/health", token)).Body);
        Assert.Equal("open", (await site.GetAsync("/open", token)).Body);
        Assert.Equal("failed 503", (await site.GetAsync("/caught", token)).Body);

        // Who brings no token is a stranger, store or no store.
        Assert.NotEqual(HttpStatusCode.ServiceUnavailable, (await site.GetAsync("/named")).Status);
        store.IsAway = false;
        foreach (var path in paths)
            Assert.Equal((path, HttpStatusCode.OK), (path, (await site.GetAsync(path, token)).Status));
    }

    [Fact]
    public async Task In_Development_it_is_a_503_as_well()
    {
        var store = new Watched();
        await using var site = await StartAsync(store, "Session", "Session", environment: "Development");
        var token = await site.SignInAsync();
        store.IsAway = true;
        foreach (var path in s_needAUser)
            Assert.Equal((path, 503), (path, (int)(await site.GetAsync(path, token)).Status));
    }

    /// <summary>Pages that only read go on, and what needs a user or a session sends nobody to sign in, whom nobody knows.</summary>
    [Fact]
    public async Task An_application_may_go_on_without_the_store_and_what_needs_a_user_is_a_503_all_the_same()
    {
        var store = new Watched();
        await using var site = await StartAsync(store, "Session", "Session", o => o.ContinueWithoutStore = true);
        var token = await site.SignInAsync();
        store.IsAway = true;
        Assert.Equal("nobody", (await site.GetAsync("/context", token)).Body);
        Assert.Equal("open", (await site.GetAsync("/open", token)).Body);
        // The fourth asks its user to sign in by itself.
        foreach (
            var path in new[]
            {
                "/me",
                "/named",
                "/guarded",
                "/filter/admin",
                "/anonymous",
                "/fsharp",
                "/fsharp/signed-in",
            }
        )
        {
            var answer = await site.GetAsync(path, token);
            Assert.Equal((path, HttpStatusCode.ServiceUnavailable), (path, answer.Status));
            Assert.Null(answer["Location"]);
            Assert.Equal("1", answer["Retry-After"]);
        }

        // Who brings no token is a stranger, store or no store.
        Assert.StartsWith("/signin", (await site.GetAsync("/me"))["Location"], StringComparison.Ordinal);
        store.IsAway = false;
        Assert.Equal("in", (await site.GetAsync("/guarded", token)).Body);
    }

    /// <summary>Also where another scheme asks for the sign-in, and whatever the policy makes of strangers.</summary>
    [Theory, InlineData("Session"), InlineData("provider")]
    public async Task An_application_that_goes_on_sends_nobody_to_an_identity_provider(string challenge)
    {
        var store = new Watched();
        await using var site = await StartAsync(store, "Session", challenge, o => o.ContinueWithoutStore = true);
        var token = await site.SignInAsync();
        store.IsAway = true;
        foreach (var path in new[] { "/me", "/named", "/assertion", "/minimal/admin", "/mvc/admin", "/blazor/admin" })
        {
            var answer = await site.GetAsync(path, token);
            Assert.Equal((path, HttpStatusCode.ServiceUnavailable), (path, answer.Status));
            Assert.Null(answer["Location"]);
        }

        Assert.Equal("open", (await site.GetAsync("/open", token)).Body);
        foreach (var path in new[] { "/context", "/principal", "/awaited", "/mvc/anybody" })
            Assert.Equal((path, "nobody"), (path, (await site.GetAsync(path, token)).Body));

        Assert.Equal("in", (await site.GetAsync("/assertion")).Body);
        Assert.Equal(HttpStatusCode.Redirect, (await site.GetAsync("/me")).Status);
    }

    /// <summary>A rate limit for each user, or the output cache, asks before the session middleware, where no answer can say it.</summary>
    [Theory]
    [InlineData("user")]
    [InlineData("feature")]
    public async Task Who_asks_for_the_user_before_the_session_middleware_makes_no_stranger_of_him(string reader)
    {
        var store = new Watched();
        await using var site = await SchemeSite.StartAsync(
            services => services.AddAuthentication("Session").AddCookie().AddSession<Cart>(SchemeSite.Usual),
            store,
            pipeline: app =>
            {
                app.UseRouting();
                app.UseAuthentication();
                app.Use(
                    (context, next) =>
                    {
                        var user =
                            reader == "feature"
                                ? context.Features.Get<IHttpAuthenticationFeature>()!.User
                                : context.User;
                        Assert.False(store.IsAway && user?.Identity?.IsAuthenticated == true);
                        return next(context);
                    }
                );
                app.UseSession<Cart>();
                app.UseAuthorization();
            },
            map: app =>
            {
                app.MapGet("/open", [Authorize] [AllowAnonymous] () => "open");
                app.MapGet("/theirs", [Authorize(AuthenticationSchemes = "Cookies")] () => "in");
            }
        );
        var token = await site.SignInAsync();
        store.IsAway = true;
        foreach (var path in new[] { "/context", "/principal", "/me", "/minimal/admin", "/filter/admin" })
        {
            var answer = await site.GetAsync(path, token);
            Assert.Equal((path, HttpStatusCode.ServiceUnavailable), (path, answer.Status));
            Assert.Equal("1", answer["Retry-After"]);
        }

        // What does not ask goes on, and so does what asks another scheme.
        Assert.Equal("ok", (await site.GetAsync("/health", token)).Body);
        Assert.Equal("open", (await site.GetAsync("/open", token)).Body);
        Assert.Contains(
            "/Account/Login",
            (await site.GetAsync("/theirs", token))["Location"],
            StringComparison.Ordinal
        );
        Assert.Equal("nobody", (await site.GetAsync("/context")).Body);
        store.IsAway = false;
        Assert.Equal("ada", (await site.GetAsync("/context", token)).Body);
        Assert.Equal("nobody", (await site.GetAsync("/context")).Body);
    }

    /// <summary>Where an endpoint names its schemes the framework sets a nobody of its own.</summary>
    [Fact]
    public async Task An_endpoint_that_names_the_scheme_and_lets_anybody_in_makes_no_stranger_of_its_user()
    {
        var store = new Watched();
        await using var site = await SchemeSite.StartAsync(
            store: store,
            map: app =>
                app.MapGet(
                    "/greeting",
                    [Authorize(AuthenticationSchemes = "Session")]
                    [AllowAnonymous]
                    (HttpContext context) => context.User.Identity!.Name ?? "stranger"
                )
        );
        var token = await site.SignInAsync();
        Assert.Equal("ada", (await site.GetAsync("/greeting", token)).Body);
        store.IsAway = true;
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await site.GetAsync("/greeting", token)).Status);
        Assert.Equal("stranger", (await site.GetAsync("/greeting")).Body);
    }

    [Fact]
    public async Task Another_schemes_user_does_not_need_the_store()
    {
        var store = new Watched();
        await using var site = await SchemeSite.StartAsync(
            services => services.AddAuthentication("Session").AddCookie().AddSession<Cart>(SchemeSite.Usual),
            store,
            map: app =>
            {
                app.MapGet(
                    "/either",
                    [Authorize(AuthenticationSchemes = "Cookies,Session")]
                    (ClaimsPrincipal user) => user.Identity!.Name
                );
                app.MapGet("/theirs", [Authorize(AuthenticationSchemes = "Cookies")] () => "in");
                app.MapPost(
                    "/cookie",
                    () =>
                        Results.SignIn(
                            new ClaimsPrincipal(new ClaimsIdentity([new Claim(ClaimTypes.Name, "eve")], "test")),
                            authenticationScheme: "Cookies"
                        )
                );
            }
        );
        var cookie = (await site.SendAsync("POST", "/cookie")).SetCookies.Single().Split(';')[0];
        var token = await site.SignInAsync();
        store.IsAway = true;
        var both = await site.SendAsync("GET", "/either", ("Cookie", $"{cookie}; __Host-sid={token}"));
        Assert.Equal("eve", both.Body);

        // Nor does its endpoint to ask a stranger to sign in: there.
        var stranger = await site.SendAsync("GET", "/theirs", ("Cookie", "__Host-sid=" + token));
        Assert.Equal(HttpStatusCode.Redirect, stranger.Status);
        Assert.Contains("/Account/Login", stranger["Location"], StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_middleware_around_everything_that_writes_down_the_user_takes_nothing_down()
    {
        var store = new Watched();
        var names = new List<string?>();
        await using var site = await SchemeSite.StartAsync(
            store: store,
            pipeline: app =>
            {
                app.UseRouting();
                app.UseAuthentication();
                app.Use(
                    async (context, next) =>
                    {
                        await next(context);
                        names.Add(context.User.Identity?.Name);
                    }
                );
                app.UseSession<Cart>();
                app.UseAuthorization();
            }
        );
        var token = await site.SignInAsync();
        names.Clear();
        await site.GetAsync("/health", token);
        store.IsAway = true;
        var answer = await site.GetAsync("/health", token);
        Assert.Equal((HttpStatusCode.OK, "ok"), (answer.Status, answer.Body));
        Assert.Equal(["ada", null], names);
    }
}
