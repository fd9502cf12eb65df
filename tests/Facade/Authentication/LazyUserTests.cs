using System.Security.Claims;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Session.CSharp;
using Xunit;

namespace Facade.Authentication;

/// <summary>The store is read for those who ask who the user is, once, and for nobody else.</summary>
public class LazyUserTests
{
    private static readonly Dictionary<string, Action<WebApplication>> s_pipelines = new()
    {
        ["by itself"] = app => app.UseSession<Cart>(),
        ["in order"] = app =>
        {
            app.UseRouting();
            app.UseAuthentication();
            app.UseSession<Cart>();
            app.UseAuthorization();
        },
        ["session first"] = app =>
        {
            app.UseRouting();
            app.UseSession<Cart>();
            app.UseAuthentication();
            app.UseAuthorization();
        },
        ["before routing"] = app =>
        {
            app.UseAuthentication();
            app.UseRouting();
            app.UseSession<Cart>();
            app.UseAuthorization();
        },
    };

    private static readonly Dictionary<string, Action<IServiceCollection>> s_schemes = new()
    {
        ["alone"] = services => services.AddAuthentication().AddSession<Cart>(SchemeSite.Usual),
        ["default beside cookies"] = services =>
            services.AddAuthentication("Session").AddSession<Cart>(SchemeSite.Usual).AddCookie(),
        ["through a policy scheme"] = services =>
            services
                .AddAuthentication("either")
                .AddPolicyScheme(
                    "either",
                    null,
                    o =>
                        o.ForwardDefaultSelector = context =>
                            context.Request.Headers.ContainsKey("Authorization") ? "BearerToken" : "Session"
                )
                .AddBearerToken("BearerToken")
                .AddSession<Cart>(SchemeSite.Usual),
    };

    private static readonly (string Path, int Loads)[] s_costs =
    [
        ("/health", 0),
        ("/nothing-there", 0),
        ("/me", 1),
        ("/minimal/admin", 1),
        ("/mvc/admin", 1),
        ("/pages/admin", 1),
        ("/principal", 1),
        ("/context", 1),
        ("/awaited", 1),
        ("/both", 1),
        ("/mvc/anybody", 1),
        ("/blazor/anybody", 1),
    ];

    public static TheoryData<string, string> Arrangements
    {
        get
        {
            var all = new TheoryData<string, string>();
            foreach (var pipeline in s_pipelines.Keys)
            foreach (var scheme in s_schemes.Keys)
                all.Add(pipeline, scheme);

            return all;
        }
    }

    [Theory, MemberData(nameof(Arrangements))]
    public async Task A_request_that_asks_for_no_user_reads_no_store_and_others_read_it_once(
        string pipeline,
        string scheme
    )
    {
        var store = new Watched();
        await using var site = await SchemeSite.StartAsync(s_schemes[scheme], store, s_pipelines[pipeline]);
        var token = await site.SignInAsync();
        foreach (var (path, expected) in s_costs)
        {
            var before = store.Loads;
            var answer = await site.GetAsync(path, token);
            Assert.Equal((path, expected), (path, store.Loads - before));
            if (expected > 0)
                Assert.Contains("ada", answer.Body, StringComparison.Ordinal);

            // Without a token there is nothing to read.
            before = store.Loads;
            await site.GetAsync(path);
            Assert.Equal(0, store.Loads - before);
        }
    }

    [Fact]
    public async Task Beside_a_default_scheme_of_another_kind_it_is_read_where_it_is_named()
    {
        var store = new Watched();
        await using var site = await SchemeSite.StartAsync(
            services => services.AddAuthentication("Cookies").AddCookie().AddSession<Cart>(SchemeSite.Usual),
            store,
            map: app =>
                app.MapGet(
                    "/named",
                    [Authorize(AuthenticationSchemes = "Cookies,Session")]
                    (ClaimsPrincipal user) => user.Identity!.Name
                )
        );
        var token = await site.SignInAsync();
        var before = store.Loads;
        Assert.Equal("nobody", (await site.GetAsync("/context", token)).Body);
        Assert.NotEqual(System.Net.HttpStatusCode.OK, (await site.GetAsync("/me", token)).Status);
        Assert.Equal(0, store.Loads - before);
        Assert.Equal("ada", (await site.GetAsync("/named", token)).Body);
        Assert.Equal(1, store.Loads - before);
    }

    [Fact]
    public async Task A_bearer_token_goes_past_the_session()
    {
        var store = new Watched();
        await using var site = await SchemeSite.StartAsync(
            s_schemes["through a policy scheme"],
            store,
            map: app =>
                app.MapGet(
                    "/token",
                    () =>
                        TypedResults.SignIn(
                            new ClaimsPrincipal(new ClaimsIdentity([new Claim(ClaimTypes.Name, "robot")], "robots")),
                            authenticationScheme: "BearerToken"
                        )
                )
        );
        var body = (await site.GetAsync("/token")).Body;
        var bearer = System.Text.Json.JsonDocument.Parse(body).RootElement.GetProperty("accessToken").GetString();
        var before = store.Loads;
        var token = "__Host-sid=" + await site.SignInAsync();
        before = store.Loads;
        foreach (var path in new[] { "/me", "/principal", "/context" })
            Assert.Equal(
                "robot",
                (await site.SendAsync("GET", path, ("Cookie", token), ("Authorization", "Bearer " + bearer))).Body
            );

        Assert.Equal(0, store.Loads - before);
    }

    [Fact]
    public async Task A_thread_that_waits_is_told_of_once_and_how_to_let_it_go()
    {
        using var ear = new LogEar();
        await using var site = await SchemeSite.StartAsync(
            store: new Watched { IsFar = true },
            map: app =>
                app.MapGet("/marked", (HttpContext context) => context.User.Identity!.Name)
                    .WithMetadata(new SessionMetadata(typeof(Cart))),
            log: logging => logging.AddProvider(ear)
        );
        int Said() =>
            ear.Take().Count(line => line.StartsWith("HttpContext.User was asked for", StringComparison.Ordinal));

        var token = await site.SignInAsync();
        foreach (var path in new[] { "/me", "/minimal/admin", "/principal", "/awaited", "/both", "/marked", "/health" })
            await site.GetAsync(path, token);

        Assert.Equal(0, Said());
        Assert.Equal("ada", (await site.GetAsync("/context", token)).Body);
        await site.GetAsync("/context", token);
        Assert.Equal(1, Said());
    }

    [Fact]
    public async Task A_user_that_the_application_sets_stays()
    {
        await using var site = await SchemeSite.StartAsync(pipeline: app =>
        {
            app.UseRouting();
            app.UseAuthentication();
            app.Use(
                (context, next) =>
                {
                    context.User = new ClaimsPrincipal(new ClaimsIdentity([new Claim(ClaimTypes.Name, "set")], "test"));
                    return next(context);
                }
            );
            app.UseSession<Cart>();
            app.UseAuthorization();
        });
        var token = await site.SignInAsync();
        foreach (var path in new[] { "/me", "/context", "/principal" })
            Assert.Equal("set", (await site.GetAsync(path, token)).Body);
    }

    [Fact]
    public async Task A_user_from_before_stays_where_the_session_has_none()
    {
        await using var site = await SchemeSite.StartAsync(pipeline: app =>
        {
            app.UseRouting();
            app.Use(
                (context, next) =>
                {
                    context.User = new ClaimsPrincipal(
                        new ClaimsIdentity([new Claim(ClaimTypes.Name, "before")], "test")
                    );
                    return next(context);
                }
            );
            app.UseAuthentication();
            app.UseSession<Cart>();
            app.UseAuthorization();
        });
        Assert.Equal("before", (await site.GetAsync("/context")).Body);
        Assert.Equal("ada", (await site.GetAsync("/context", await site.SignInAsync())).Body);
    }

    /// <summary>As an identity provider's callback: it asks for the user before the framework does.</summary>
    private sealed class Callback(
        IOptionsMonitor<AuthenticationSchemeOptions> options,
        ILoggerFactory logger,
        System.Text.Encodings.Web.UrlEncoder encoder
    ) : AuthenticationHandler<AuthenticationSchemeOptions>(options, logger, encoder), IAuthenticationRequestHandler
    {
        public async Task<bool> HandleRequestAsync()
        {
            if (Request.Path != "/callback")
                return false;

            var result = await Context.AuthenticateAsync("Session");
            await Response.WriteAsync(result.Principal?.Identity?.Name ?? "nobody");
            return true;
        }

        protected override Task<AuthenticateResult> HandleAuthenticateAsync() =>
            Task.FromResult(AuthenticateResult.NoResult());
    }

    [Theory, InlineData(true), InlineData(false)]
    public async Task Callbacks_of_other_schemes_hear_who_the_user_is(bool isFirst)
    {
        await using var site = await SchemeSite.StartAsync(services =>
        {
            var authentication = services.AddAuthentication("Session");
            if (isFirst)
                authentication.AddScheme<AuthenticationSchemeOptions, Callback>("callback", null);

            authentication.AddSession<Cart>(SchemeSite.Usual);
            if (!isFirst)
                authentication.AddScheme<AuthenticationSchemeOptions, Callback>("callback", null);
        });
        Assert.Equal("nobody", (await site.GetAsync("/callback")).Body);
        Assert.Equal("ada", (await site.GetAsync("/callback", await site.SignInAsync())).Body);
    }
}
