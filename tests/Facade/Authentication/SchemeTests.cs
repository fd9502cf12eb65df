using System.Net;
using System.Security.Claims;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Authorization.Policy;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.FSharp.Core;
using Session.CSharp;
using Xunit;

namespace Facade.Authentication;

/// <summary>The user of a request is the subject of its session, everywhere.</summary>
public class SchemeTests
{
    public static TheoryData<string> ForAdmins => [.. SchemeSite.ForAdmins];

    [Fact]
    public async Task The_only_scheme_is_the_default_one()
    {
        await using var site = await SchemeSite.StartAsync();
        var schemes = site.Services.GetRequiredService<IAuthenticationSchemeProvider>();
        Assert.Equal("Session", (await schemes.GetDefaultAuthenticateSchemeAsync())!.Name);
        Assert.Equal("Session", (await schemes.GetDefaultSignInSchemeAsync())!.Name);
        Assert.Equal("ada", (await site.GetAsync("/me", await site.SignInAsync())).Body);
    }

    /// <summary>The framework's ways to hand a request on to another scheme: each counts here, too.</summary>
    [Theory, InlineData("selector"), InlineData("default"), InlineData("authenticate")]
    public async Task A_request_that_is_forwarded_is_the_other_scheme_s(string way)
    {
        await using var site = await SchemeSite.StartAsync(services =>
            services
                .AddAuthentication("Session")
                .AddBearerToken("BearerToken")
                .AddSession<Cart>(o =>
                {
                    SchemeSite.Usual(o);
                    switch (way)
                    {
                        case "selector":
                            o.ForwardDefaultSelector = context =>
                                context.Request.Headers.ContainsKey("Authorization") ? "BearerToken" : null;
                            break;
                        case "default":
                            o.ForwardDefault = "BearerToken";
                            break;
                        default:
                            o.ForwardAuthenticate = "BearerToken";
                            break;
                    }
                })
        );
        var token = await site.SignInAsync();
        var forwarded = await site.SendAsync(
            "GET",
            "/context",
            ("Cookie", "__Host-sid=" + token),
            ("Authorization", "Bearer none")
        );
        Assert.Contains("nobody", forwarded.Body, StringComparison.Ordinal);
        var own = await site.GetAsync("/context", token);
        Assert.Contains(way == "selector" ? "ada" : "nobody", own.Body, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Its_claims_have_the_issuer_that_its_options_name()
    {
        await using var site = await SchemeSite.StartAsync(
            services =>
                services
                    .AddAuthentication()
                    .AddSession<Cart>(o =>
                    {
                        SchemeSite.Usual(o);
                        o.ClaimsIssuer = "shop";
                    }),
            map: app =>
                app.MapGet("/issuers", (ClaimsPrincipal user) => user.FindFirst(ClaimTypes.NameIdentifier)!.Issuer)
        );
        Assert.Equal("shop", (await site.GetAsync("/issuers", await site.SignInAsync())).Body);
    }

    /// <summary>Nobody would ever call its events, or come to such a page.</summary>
    [Theory, InlineData("Events"), InlineData("EventsType"), InlineData("ReturnUrlParameter")]
    public async Task What_is_wrong_or_has_no_effect_stops_the_start(string setting)
    {
        var error = await Assert.ThrowsAnyAsync<ArgumentException>(() =>
            SchemeSite.StartAsync(services =>
                services
                    .AddAuthentication()
                    .AddSession<Cart>(o =>
                    {
                        switch (setting)
                        {
                            case "Events":
                                o.Events = new object();
                                break;
                            case "EventsType":
                                o.EventsType = typeof(object);
                                break;
                            default:
                                o.ReturnUrlParameter = "";
                                break;
                        }
                    })
            )
        );
        Assert.Contains(
            setting == "ReturnUrlParameter" ? "needs a name" : "has no events",
            error.Message,
            StringComparison.Ordinal
        );
    }

    /// <summary>In F# they are text; in C# they cannot be anything else.</summary>
    [Theory, InlineData("signin", "/denied"), InlineData("/signin", "denied")]
    public async Task A_page_that_is_no_path_of_this_site_stops_the_start(string login, string denied)
    {
        var usual = Session.AspNetCore.SessionScheme.defaults<Cart>();
        var wrong = new Session.AspNetCore.SessionScheme<Cart>(
            usual.Name,
            usual.Claims,
            usual.Data,
            FSharpOption<string>.Some(login),
            FSharpOption<string>.Some(denied),
            usual.ReturnUrlParameter,
            usual.Configure
        );
        var error = await Assert.ThrowsAnyAsync<ArgumentException>(() =>
            SchemeSite.StartAsync(services =>
                Session.AspNetCore.SessionAuthentication.add(wrong, services.AddAuthentication())
            )
        );
        Assert.Contains("begin with '/'", error.Message, StringComparison.Ordinal);
    }

    /// <summary>An application's own answer to whoever may not go on.</summary>
    private sealed class Teapot : IAuthorizationMiddlewareResultHandler
    {
        public Task HandleAsync(
            RequestDelegate next,
            HttpContext context,
            AuthorizationPolicy policy,
            PolicyAuthorizationResult authorizeResult
        )
        {
            if (authorizeResult.Succeeded)
                return next(context);

            context.Response.StatusCode = StatusCodes.Status418ImATeapot;
            return Task.CompletedTask;
        }
    }

    [Theory, InlineData("type"), InlineData("instance"), InlineData("factory")]
    public async Task What_the_application_has_for_whoever_may_not_go_on_is_asked_as_before(string way)
    {
        await using var site = await SchemeSite.StartAsync(services =>
        {
            switch (way)
            {
                case "type":
                    services.AddSingleton<IAuthorizationMiddlewareResultHandler, Teapot>();
                    break;
                case "instance":
                    services.AddSingleton<IAuthorizationMiddlewareResultHandler>(new Teapot());
                    break;
                default:
                    services.AddSingleton<IAuthorizationMiddlewareResultHandler>(_ => new Teapot());
                    break;
            }

            services.AddAuthentication().AddSession<Cart>(SchemeSite.Usual);
        });
        Assert.Equal(StatusCodes.Status418ImATeapot, (int)(await site.GetAsync("/me")).Status);
        Assert.Equal("ada", (await site.GetAsync("/me", await site.SignInAsync())).Body);
    }

    [Theory, MemberData(nameof(ForAdmins))]
    public async Task Roles_policies_and_groups_let_in_who_has_the_role(string path)
    {
        await using var site = await SchemeSite.StartAsync();
        var stranger = await site.GetAsync(path);
        Assert.Contains(stranger.Status, new[] { HttpStatusCode.Redirect, HttpStatusCode.Unauthorized });
        Assert.StartsWith("/signin?ReturnUrl=", stranger["Location"], StringComparison.Ordinal);

        // A session that nobody has signed in to is nobody's.
        var anonymous = (await site.SendAsync("POST", "/begin")).Token;
        Assert.Equal(stranger.Status, (await site.GetAsync(path, anonymous)).Status);

        var customer = await site.GetAsync(path, await site.SignInAsync("customer"));
        Assert.Contains(customer.Status, new[] { HttpStatusCode.Redirect, HttpStatusCode.Forbidden });
        Assert.StartsWith("/denied?ReturnUrl=", customer["Location"], StringComparison.Ordinal);

        var admin = await site.GetAsync(path, await site.SignInAsync("admin"));
        Assert.Equal(HttpStatusCode.OK, admin.Status);
        Assert.Contains("ada", admin.Body, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("/principal")]
    [InlineData("/context")]
    [InlineData("/awaited")]
    [InlineData("/mvc/anybody")]
    [InlineData("/pages/anybody")]
    [InlineData("/blazor/anybody")]
    public async Task Whoever_asks_for_the_user_is_told(string path)
    {
        var store = new Watched { IsFar = true };
        await using var site = await SchemeSite.StartAsync(store: store);
        Assert.Contains("nobody", (await site.GetAsync(path)).Body, StringComparison.Ordinal);
        Assert.Contains("ada", (await site.GetAsync(path, await site.SignInAsync())).Body, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_subject_is_name_and_name_identifier_unless_the_function_says_otherwise()
    {
        async Task<string> ClaimsOf(Func<string, Cart, IEnumerable<Claim>>? claims)
        {
            await using var site = await SchemeSite.StartAsync(
                services => services.AddAuthentication().AddSession<Cart>(o => o.Claims = claims),
                map: app =>
                    app.MapGet(
                        "/claims",
                        (ClaimsPrincipal user) =>
                            string.Join(
                                ';',
                                user.Claims.Where(it => it.Type != SessionAuthenticationDefaults.SessionIdClaimType)
                                    .Select(it => $"{it.Type.Split('/')[^1]}={it.Value}")
                                    .Order()
                            )
                    )
            );
            return (await site.GetAsync("/claims", await site.SignInAsync("customer"))).Body;
        }

        Assert.Equal("name=ada;nameidentifier=ada", await ClaimsOf(null));
        Assert.Equal(
            "name=Ada of customer;nameidentifier=ada",
            await ClaimsOf((subject, cart) => [new Claim(ClaimTypes.Name, $"Ada of {cart.Item}")])
        );
    }

    [Fact]
    public async Task The_result_says_which_session_and_until_when()
    {
        AuthenticateResult? result = null;
        SessionId id = default;
        DateTimeOffset? ends = null;
        await using var site = await SchemeSite.StartAsync(map: app =>
            app.MapGet(
                "/result",
                async (HttpContext context, Session<Cart> session) =>
                {
                    result = await context.AuthenticateAsync();
                    (id, ends) = (session.Id, session.ExpiresAt);
                }
            )
        );
        await site.GetAsync("/result", await site.SignInAsync());
        Assert.Equal(id.Value, result!.Principal!.FindFirstValue(SessionAuthenticationDefaults.SessionIdClaimType));

        // A ticket knows whole seconds.
        Assert.Equal(ends!.Value.ToUnixTimeSeconds(), result.Properties!.ExpiresUtc!.Value.ToUnixTimeSeconds());
        Assert.NotNull(result.Properties.IssuedUtc);
        Assert.Equal("Session", result.Ticket!.AuthenticationScheme);
    }

    [Fact]
    public async Task Claims_transformations_of_the_application_are_applied()
    {
        await using var site = await SchemeSite.StartAsync(services =>
        {
            services.AddAuthentication().AddSession<Cart>(SchemeSite.Usual);
            services.AddTransient<IClaimsTransformation, Promoting>();
        });
        var token = await site.SignInAsync("customer");
        foreach (var path in new[] { "/minimal/admin", "/filter/admin" })
            Assert.Equal("ada", (await site.GetAsync(path, token)).Body);
    }

    [Fact]
    public async Task Sessions_of_two_kinds_are_two_schemes()
    {
        await using var site = await SchemeSite.StartAsync(
            services =>
            {
                services.AddSession<Other>(o => o.Cookie.Name = "__Host-other").UseMemory();
                services
                    .AddAuthentication("Session")
                    .AddSession<Cart>(SchemeSite.Usual)
                    .AddSession<Other>("others", o => o.LoginPath = "/others");
            },
            pipeline: app =>
            {
                app.UseSession<Cart>();
                app.UseSession<Other>();
            },
            map: app =>
            {
                app.MapPost("/other", (Session<Other> session) => session.SignInAsync("eve", new Other("eve")));
                app.MapGet(
                    "/other/me",
                    [Microsoft.AspNetCore.Authorization.Authorize(AuthenticationSchemes = "others")]
                    (ClaimsPrincipal user) => user.Identity!.Name
                );
                app.MapGet("/other/guarded", () => "in").RequireSignIn<Other>();
            }
        );
        var ada = "__Host-sid=" + await site.SignInAsync();
        var eve = "__Host-other=" + (await site.SendAsync("POST", "/other")).Token;
        var both = ("Cookie", $"{ada}; {eve}");
        Assert.Equal("ada", (await site.SendAsync("GET", "/me", both)).Body);
        Assert.Equal("eve", (await site.SendAsync("GET", "/other/me", both)).Body);
        Assert.Equal("in", (await site.SendAsync("GET", "/other/guarded", both)).Body);
        foreach (var path in new[] { "/other/me", "/other/guarded" })
            Assert.StartsWith(
                "/others?ReturnUrl",
                (await site.SendAsync("GET", path, ("Cookie", ada)))["Location"],
                StringComparison.Ordinal
            );
    }

    private sealed class Promoting : IClaimsTransformation
    {
        public Task<ClaimsPrincipal> TransformAsync(ClaimsPrincipal principal)
        {
            principal.AddIdentity(new ClaimsIdentity([new Claim(ClaimTypes.Role, "admin")]));
            return Task.FromResult(principal);
        }
    }

    [Fact]
    public void What_stands_around_the_schemes_is_registered_once()
    {
        var services = new ServiceCollection();
        services.AddAuthentication().AddSession<Cart>().AddSession<Cart>("second").AddSession<Other>("third");
        services.AddAuthorization();
        Assert.Single(
            services,
            it => it.ServiceType == typeof(Microsoft.AspNetCore.Authorization.Policy.IPolicyEvaluator)
        );
        Assert.Single(
            services,
            it => it.ServiceType == typeof(Microsoft.AspNetCore.Authorization.IAuthorizationMiddlewareResultHandler)
        );
    }

    /// <summary>Writes down what it is asked to do.</summary>
    private sealed class Noting : IAuthenticationHandler, IAuthenticationSignInHandler
    {
        private string _name = "";
        private HttpContext? _context;

        public Task InitializeAsync(AuthenticationScheme scheme, HttpContext context)
        {
            (_name, _context) = (scheme.Name, context);
            return Task.CompletedTask;
        }

        private Task Note(string what)
        {
            _context!.Response.Headers.Append("X-Asked", what + " by " + _name);
            return Task.CompletedTask;
        }

        public async Task<AuthenticateResult> AuthenticateAsync()
        {
            await Note("authenticate");
            return AuthenticateResult.NoResult();
        }

        public Task ChallengeAsync(AuthenticationProperties? properties) => Note("challenge");

        public Task ForbidAsync(AuthenticationProperties? properties) => Note("forbid");

        public Task SignInAsync(ClaimsPrincipal user, AuthenticationProperties? properties) => Note("sign-in");

        public Task SignOutAsync(AuthenticationProperties? properties) => Note("sign-out");
    }

    /// <summary>Each of the five by itself.</summary>
    [Fact]
    public async Task Each_operation_is_handed_on_to_the_scheme_that_it_was_told()
    {
        string[] operations = ["authenticate", "challenge", "forbid", "sign-in", "sign-out"];
        await using var site = await EdgeSite.StartAsync(
            app =>
            {
                app.UseSession<Cart>();
                app.MapPost(
                    "/authenticate",
                    async (HttpContext context) =>
                    {
                        await context.AuthenticateAsync("Session");
                    }
                );
                app.MapPost("/challenge", (HttpContext context) => context.ChallengeAsync("Session"));
                app.MapPost("/forbid", (HttpContext context) => context.ForbidAsync("Session"));
                app.MapPost(
                    "/sign-in",
                    (HttpContext context) =>
                        context.SignInAsync(
                            "Session",
                            new ClaimsPrincipal(new ClaimsIdentity([new Claim("sub", "ada")], "test"))
                        )
                );
                app.MapPost("/sign-out", (HttpContext context) => context.SignOutAsync("Session"));
            },
            add: services =>
            {
                var authentication = services.AddAuthentication();
                foreach (var operation in operations)
                    authentication.Services.Configure<AuthenticationOptions>(o =>
                        o.AddScheme<Noting>("of " + operation, null)
                    );

                authentication.AddSession<Cart>(o =>
                {
                    o.ForwardAuthenticate = "of authenticate";
                    o.ForwardChallenge = "of challenge";
                    o.ForwardForbid = "of forbid";
                    o.ForwardSignIn = "of sign-in";
                    o.ForwardSignOut = "of sign-out";
                });
                services.AddTransient<Noting>();
            }
        );
        foreach (var operation in operations)
        {
            var answer = await site.SendAsync("POST", "/" + operation);
            Assert.Equal($"{operation} by of {operation}", answer["X-Asked"]);
        }
    }
}
