using System.Net;
using System.Text.Json;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authentication.Cookies;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Session.CSharp;
using Xunit;

namespace Facade.Authentication;

/// <summary>People are sent to a page, programs get a status code, as the framework's cookies decide it.</summary>
public class ChallengeTests
{
    private static void Map(WebApplication app)
    {
        app.MapGet("/allowed", [Authorize(Roles = "admin")] () => new Who("x")).AllowCookieRedirect();
        app.MapGet("/disabled", [Authorize(Roles = "admin")] () => "x").DisableCookieRedirect();
    }

    private static readonly (string Verb, string Path, string Name, string Value)[] s_requests =
    [
        .. SchemeSite.ForAdmins.Select(path => ("GET", path, "Accept", "text/html")),
        .. SchemeSite.ForAdmins.Select(path => ("GET", path + "?x=1&y=a%20b", "Accept", "application/json")),
        ("GET", "/minimal/admin", "X-Requested-With", "XMLHttpRequest"),
        ("GET", "/minimal/admin", "X-Requested-With", "somebody"),
        ("GET", "/minimal/admin?X-Requested-With=XMLHttpRequest", "Accept", "*/*"),
        ("GET", "/allowed", "Accept", "*/*"),
        ("GET", "/allowed", "X-Requested-With", "XMLHttpRequest"),
        ("GET", "/disabled", "Accept", "text/html"),
        ("POST", "/hub/negotiate", "Accept", "*/*"),
        ("GET", "/me", "Accept", "text/html"),
    ];

    [Fact]
    public async Task It_is_decided_as_the_frameworks_cookies_decide_it()
    {
        await using var ours = await SchemeSite.StartAsync(map: Map);
        await using var theirs = await SchemeSite.StartAsync(
            services =>
                services
                    .AddAuthentication(CookieAuthenticationDefaults.AuthenticationScheme)
                    .AddCookie(o => (o.LoginPath, o.AccessDeniedPath) = ("/signin", "/denied"))
                    .AddSession<Cart>(),
            map: app =>
            {
                Map(app);
                app.MapPost(
                    "/cookie",
                    () =>
                        Results.SignIn(
                            new System.Security.Claims.ClaimsPrincipal(
                                new System.Security.Claims.ClaimsIdentity([new("role", "customer")], "test")
                            )
                        )
                );
            }
        );
        var customer = "__Host-sid=" + await ours.SignInAsync("customer");
        var cookie = (await theirs.SendAsync("POST", "/cookie")).SetCookies.Single().Split(';')[0];
        foreach (var (verb, path, name, value) in s_requests)
        foreach (var isSignedIn in new[] { false, true })
        {
            async Task<(HttpStatusCode, string?)> Of(EdgeSite site, string cookies)
            {
                var answer = isSignedIn
                    ? await site.SendAsync(verb, path, (name, value), ("Cookie", cookies))
                    : await site.SendAsync(verb, path, (name, value));
                return (answer.Status, answer["Location"]?.Replace(site.Address.ToString().TrimEnd('/'), ""));
            }

            if (isSignedIn && (path.StartsWith("/hub", StringComparison.Ordinal) || path == "/me"))
                continue;

            var expected = await Of(theirs, cookie);
            Assert.NotEqual(HttpStatusCode.OK, expected.Item1);
            Assert.Equal((path, expected), (path, await Of(ours, customer)));
        }
    }

    /// <summary>Whatever its messages are written in, and over whichever HTTP.</summary>
    [Theory]
    [InlineData("application/grpc")]
    [InlineData("application/grpc+proto")]
    [InlineData("application/grpc-web")]
    [InlineData("application/grpc-web-text")]
    [InlineData("Application/gRPC")]
    public async Task GRPC_gets_a_status_code(string type)
    {
        await using var site = await SchemeSite.StartAsync(map: app =>
            app.MapPost("/shop.Cart/Add", () => "in").RequireAuthorization()
        );
        using var client = new HttpClient(new SocketsHttpHandler { AllowAutoRedirect = false });
        using var content = new ByteArrayContent([]);
        content.Headers.ContentType = new(type);
        var answer = await client.PostAsync(new Uri(site.Address, "/shop.Cart/Add"), content);
        Assert.Equal(HttpStatusCode.Unauthorized, answer.StatusCode);
    }

    [Fact]
    public async Task Without_pages_the_answers_are_401_and_403()
    {
        await using var site = await SchemeSite.StartAsync(services =>
            services
                .AddAuthentication()
                .AddSession<Cart>(o => o.Claims = (_, cart) => [new(System.Security.Claims.ClaimTypes.Role, cart.Item)])
        );
        var customer = await site.SignInAsync("customer");
        foreach (var path in SchemeSite.ForAdmins)
        {
            var stranger = await site.GetAsync(path);
            Assert.Equal((HttpStatusCode.Unauthorized, null), (stranger.Status, stranger["Location"]));
            var refused = await site.GetAsync(path, customer);
            Assert.Equal((HttpStatusCode.Forbidden, null), (refused.Status, refused["Location"]));
        }
    }

    /// <summary>Whichever middleware is the inner one: whose operation has failed decides.</summary>
    [Theory, InlineData(true), InlineData(false)]
    public async Task Of_two_kinds_of_sessions_each_has_its_own_page(bool isOtherInside)
    {
        await using var site = await EdgeSite.StartAsync(
            app =>
            {
                app.UseAuthentication();
                if (isOtherInside)
                {
                    app.UseSession<Cart>();
                    app.UseSession<Other>();
                }
                else
                {
                    app.UseSession<Other>();
                    app.UseSession<Cart>();
                }

                app.MapPost("/login", (Session<Cart> session) => session.SignInAsync("ada", new Cart("tea")));
                app.MapPost("/enter", (Session<Other> session) => session.SignInAsync("eve", new Other("it")));
                app.MapPost(
                    "/cart",
                    async context => await (await context.GetSessionAsync<Cart>()).UpdateAsync(_ => new Cart("more"))
                );
                app.MapPost(
                    "/other",
                    async context => await (await context.GetSessionAsync<Other>()).UpdateAsync(_ => new Other("more"))
                );
            },
            services =>
            {
                services.AddSession<Other>(o => o.Cookie.Name = "__Host-other").UseMemory();
                services
                    .AddAuthentication()
                    .AddSession<Cart>(o => o.LoginPath = "/sign-in")
                    .AddSession<Other>("others", o => o.LoginPath = "/others/sign-in");
            }
        );

        // What an elevation has superseded opens nothing any more: a write with it is refused.
        foreach (
            var (begin, use, page) in new[] { ("/login", "/cart", "/sign-in"), ("/enter", "/other", "/others/sign-in") }
        )
        {
            var old = (await site.SendAsync("POST", begin)).SetCookies.Single().Split(';')[0];
            await site.SendAsync("POST", begin, ("Cookie", old));
            var refused = await site.SendAsync("POST", use, ("Cookie", old), ("Accept", "text/html"));
            Assert.Equal(HttpStatusCode.Redirect, refused.Status);
            Assert.StartsWith(
                page + "?",
                refused["Location"]!.Replace(
                    site.Address.GetLeftPart(UriPartial.Authority),
                    "",
                    StringComparison.Ordinal
                ),
                StringComparison.Ordinal
            );
        }
    }

    [Fact]
    public async Task The_way_back_is_a_path_of_this_site_whatever_host_the_request_names()
    {
        await using var site = await SchemeSite.StartAsync(services =>
            services
                .AddAuthentication()
                .AddSession<Cart>(o => (o.LoginPath, o.ReturnUrlParameter) = ("/sign in", "back"))
        );
        var answer = await site.SendAsync("GET", "/me?next=//evil.example", ("Host", "evil.example"));
        Assert.Equal("/sign%20in?back=%2Fme%3Fnext%3D%2F%2Fevil.example", answer["Location"]);
    }

    [Fact]
    public async Task Behind_a_path_base_both_paths_have_it()
    {
        await using var site = await SchemeSite.StartAsync(pipeline: app =>
        {
            app.UsePathBase("/shop");
            app.UseRouting();
            app.UseAuthentication();
            app.UseSession<Cart>();
            app.UseAuthorization();
        });
        Assert.Equal("/shop/signin?ReturnUrl=%2Fshop%2Fme", (await site.GetAsync("/shop/me"))["Location"]);
    }

    /// <summary>A part of the site in a branch of the pipeline: the way back is the address that the browser knows.</summary>
    [Theory, InlineData(true), InlineData(false)]
    public async Task In_a_branch_the_way_back_has_its_name(bool isAuthenticationOutside)
    {
        await using var site = await SchemeSite.StartAsync(pipeline: app =>
        {
            if (isAuthenticationOutside)
                app.UseAuthentication();
            app.Map(
                "/admin",
                branch =>
                {
                    branch.UseRouting();
                    if (!isAuthenticationOutside)
                        branch.UseAuthentication();
                    branch.UseSession<Cart>();
                    branch.UseAuthorization();
                    branch.UseEndpoints(endpoints => endpoints.MapGet("/page", () => "in").RequireSignIn<Cart>());
                }
            );
            app.UseRouting();
            app.UseAuthentication();
            app.UseSession<Cart>();
            app.UseAuthorization();
        });
        var way = (await site.SendAsync("GET", "/admin/page?x=1", ("Accept", "text/html")))["Location"];
        Assert.EndsWith("?ReturnUrl=%2Fadmin%2Fpage%3Fx%3D1", way, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_application_may_say_where_to_go_afterwards_and_forward_to_another_scheme()
    {
        await using var site = await SchemeSite.StartAsync(
            services =>
                services
                    .AddAuthentication("Session")
                    .AddCookie("elsewhere", o => o.LoginPath = "/elsewhere")
                    .AddSession<Cart>(o =>
                    {
                        SchemeSite.Usual(o);
                        o.ForwardForbid = "elsewhere";
                    })
                    .AddSession<Cart>("forwarding", o => o.ForwardChallenge = "elsewhere"),
            map: app =>
            {
                app.MapGet(
                    "/challenge",
                    () => Results.Challenge(new AuthenticationProperties { RedirectUri = "/after" })
                );
                app.MapGet("/forwarding", () => Results.Challenge(authenticationSchemes: ["forwarding"]));
            }
        );
        Assert.Equal("/signin?ReturnUrl=%2Fafter", (await site.GetAsync("/challenge"))["Location"]);
        Assert.Contains("/elsewhere?", (await site.GetAsync("/forwarding"))["Location"], StringComparison.Ordinal);
        var refused = await site.GetAsync("/minimal/admin", await site.SignInAsync("customer"));
        Assert.Contains("/Account/AccessDenied?", refused["Location"], StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("Session", null, "/signin?")]
    [InlineData("Cookies", null, "/signin?")]
    [InlineData("Cookies", "Cookies", "/cookies?")]
    public async Task Guards_ask_by_the_scheme_of_their_sessions(string scheme, string? challenge, string page)
    {
        await using var site = await SchemeSite.StartAsync(
            services =>
                services
                    .AddAuthentication(o => (o.DefaultScheme, o.DefaultChallengeScheme) = (scheme, challenge))
                    .AddCookie(o => o.LoginPath = "/cookies")
                    .AddSession<Cart>(SchemeSite.Usual),
            map: app =>
            {
                app.MapGet("/guarded", () => "in").RequireSignIn<Cart>();
                app.MapGet("/any", () => "in").RequireSession<Cart>();
                app.MapGet("/guarded-json", () => new Who("in")).RequireSignIn<Cart>();
                app.MapGet("/attribute", [RequireSession(SignedIn = true)] () => "in");
            }
        );
        foreach (var path in new[] { "/guarded", "/any", "/attribute" })
        {
            var answer = await site.GetAsync(path);
            Assert.Equal(HttpStatusCode.Redirect, answer.Status);
            Assert.Contains(page, answer["Location"], StringComparison.Ordinal);
            Assert.Equal("in", (await site.GetAsync(path, await site.SignInAsync())).Body);
        }

        // What is asked of a program has a body that says why.
        var json = await site.GetAsync("/guarded-json");
        Assert.Equal(HttpStatusCode.Unauthorized, json.Status);
        Assert.Equal("application/problem+json", json["Content-Type"]);
        using var problem = JsonDocument.Parse(json.Body);
        Assert.Equal("There is no live session.", problem.RootElement.GetProperty("detail").GetString());
    }

    [Fact]
    public async Task A_fallback_policy_guards_every_endpoint_that_says_nothing()
    {
        var store = new Watched();
        await using var site = await SchemeSite.StartAsync(
            store: store,
            add: services =>
                services
                    .AddAuthorizationBuilder()
                    .SetFallbackPolicy(new AuthorizationPolicyBuilder().RequireAuthenticatedUser().Build()),
            map: app =>
            {
                app.MapPost("/open-login", (Session<Cart> s) => s.SignInAsync("ada", new Cart("admin")))
                    .AllowAnonymous();
                app.MapGet("/open", () => "open").AllowAnonymous();
            }
        );
        Assert.Equal(HttpStatusCode.Redirect, (await site.GetAsync("/health")).Status);
        Assert.Equal("open", (await site.GetAsync("/open")).Body);
        var token = (await site.SendAsync("POST", "/open-login")).Token;
        await site.GetAsync("/health", token);
        var before = store.Loads;
        Assert.Equal("ok", (await site.GetAsync("/health", token)).Body);
        Assert.Equal(1, store.Loads - before);
        store.IsAway = true;
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await site.GetAsync("/health", token)).Status);
        Assert.Equal("open", (await site.GetAsync("/open", token)).Body);
    }
}
