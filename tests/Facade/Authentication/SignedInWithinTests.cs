using System.Net;
using System.Text.Json;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Mvc;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Microsoft.Extensions.Time.Testing;
using Session.CSharp;
using Xunit;

namespace Facade.Authentication;

[RequireSession<Cart>(SignedInWithinMinutes = 5)]
public class VaultController : Controller
{
    [HttpGet("/vault/attribute")]
    public string Open() => "in";
}

/// <summary>The dangerous page: a sign-in of a moment ago, else another one, and the client is told why.</summary>
public class SignedInWithinTests
{
    private static readonly TimeSpan s_five = TimeSpan.FromMinutes(5);

    private static readonly string[] s_paths =
    [
        "/vault/minimal",
        "/vault/group",
        "/vault/attribute",
        "/vault/lambda",
        "/vault/shorter",
        "/vault/longer",
        "/vault/before",
    ];

    private static void Map(WebApplication app)
    {
        app.MapGet("/vault/minimal", () => "in").RequireSignIn<Cart>().SignedInWithin(s_five).WithName("vault");
        app.MapGroup("/vault").RequireSignIn<Cart>().SignedInWithin(s_five).MapGet("/group", () => "in");
        app.MapGet("/vault/lambda", [RequireSession<Cart>(SignedInWithinMinutes = 5)] () => "in");

        // The shorter time counts, wherever it is said; and in whatever order.
        app.MapGroup("/vault")
            .RequireSignIn<Cart>()
            .SignedInWithin(TimeSpan.FromHours(1))
            .MapGet("/shorter", () => "in")
            .SignedInWithin(s_five);
        app.MapGroup("/vault")
            .RequireSignIn<Cart>()
            .SignedInWithin(s_five)
            .MapGet("/longer", () => "in")
            .SignedInWithin(TimeSpan.FromHours(1));
        app.MapGet("/vault/before", () => "in").SignedInWithin(s_five).RequireSignIn<Cart>();
        app.MapGet("/vault/json", () => new Who("in")).RequireSignIn<Cart>().SignedInWithin(s_five);
        app.MapGet("/vault/open", () => "open").RequireSignIn<Cart>().SignedInWithin(s_five).AllowAnonymous();
    }

    private static Task<EdgeSite> StartAsync(
        FakeTimeProvider clock,
        Action<IServiceCollection>? authentication = null
    ) => SchemeSite.StartAsync(authentication ?? (_ => { }), clock: clock, map: Map);

    private static void WithScheme(IServiceCollection services) =>
        services.AddAuthentication().AddSession<Cart>(SchemeSite.Usual);

    [Fact]
    public async Task It_is_open_until_just_before_that_age_and_after_another_sign_in()
    {
        var clock = new FakeTimeProvider(SchemeSite.Start);
        await using var site = await StartAsync(clock);
        var token = await site.SignInAsync();
        clock.Advance(s_five - TimeSpan.FromTicks(1));
        foreach (var path in s_paths)
            Assert.Equal((path, "in"), (path, (await site.GetAsync(path, token)).Body));

        clock.Advance(TimeSpan.FromTicks(1));
        foreach (var path in s_paths)
            Assert.Equal((path, HttpStatusCode.Unauthorized), (path, (await site.GetAsync(path, token)).Status));

        // The session lives all the same, and another sign-in opens the door.
        Assert.Equal("ada", (await site.GetAsync("/both", token)).Body.Split(' ')[0]);
        Assert.Equal("open", (await site.GetAsync("/vault/open", token)).Body);
        token = (await site.SendAsync("POST", "/login?user=ada&role=x", ("Cookie", "__Host-sid=" + token))).Token;
        foreach (var path in s_paths)
            Assert.Equal((path, "in"), (path, (await site.GetAsync(path, token)).Body));
    }

    [Fact]
    public async Task Half_a_minute_is_a_time_too()
    {
        var clock = new FakeTimeProvider(SchemeSite.Start);
        await using var site = await SchemeSite.StartAsync(
            _ => { },
            clock: clock,
            map: app => app.MapGet("/vault/half", [RequireSession<Cart>(SignedInWithinMinutes = 0.5)] () => "in")
        );
        var token = await site.SignInAsync();
        clock.Advance(TimeSpan.FromSeconds(29));
        Assert.Equal("in", (await site.GetAsync("/vault/half", token)).Body);
        clock.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal(HttpStatusCode.Unauthorized, (await site.GetAsync("/vault/half", token)).Status);
    }

    [Theory, InlineData(-5), InlineData(1e-12), InlineData(double.NaN), InlineData(1e300)]
    public void What_is_no_time_is_refused(double minutes)
    {
        var error = Assert.Throws<ArgumentOutOfRangeException>(() =>
            new RequireSessionAttribute { SignedInWithinMinutes = minutes }
        );
        Assert.Contains("SignedInWithinMinutes has to be above 0", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Neither_a_stranger_nor_an_anonymous_session_gets_in()
    {
        await using var site = await StartAsync(new FakeTimeProvider(SchemeSite.Start));
        var anonymous = (await site.SendAsync("POST", "/begin")).Token;
        foreach (var path in s_paths)
        foreach (var token in new[] { null, anonymous })
            Assert.Equal((path, HttpStatusCode.Unauthorized), (path, (await site.GetAsync(path, token)).Status));
    }

    [Theory, InlineData(true), InlineData(false)]
    public async Task A_program_is_told_the_reason(bool hasScheme)
    {
        var clock = new FakeTimeProvider(SchemeSite.Start);
        await using var site = await StartAsync(clock, hasScheme ? WithScheme : null);
        var token = await site.SignInAsync();
        clock.Advance(s_five);
        var answer = await site.GetAsync("/vault/json", token);
        Assert.Equal(HttpStatusCode.Unauthorized, answer.Status);
        Assert.Equal("Session error=\"insufficient_user_authentication\", max_age=300", answer["WWW-Authenticate"]);
        Assert.Empty(answer.SetCookies);
        using (var problem = JsonDocument.Parse(answer.Body))
        {
            Assert.Equal("insufficient_user_authentication", problem.RootElement.GetProperty("reason").GetString());
            Assert.Contains("too long ago", problem.RootElement.GetProperty("detail").GetString());
        }

        // Who is not signed in at all is told something else.
        var stranger = await site.GetAsync("/vault/json");
        Assert.Null(stranger["WWW-Authenticate"]);
        Assert.DoesNotContain("reason", stranger.Body, StringComparison.Ordinal);
    }

    /// <summary>A scheme that is asked names itself, and the reason stands beside that: a client may know the one or the other.</summary>
    [Theory, InlineData("/vault/json"), InlineData("/vault/either")]
    public async Task The_reason_takes_no_other_schemes_challenge_away(string path)
    {
        var clock = new FakeTimeProvider(SchemeSite.Start);
        await using var site = await SchemeSite.StartAsync(
            services =>
                services
                    .AddAuthentication(o => o.DefaultChallengeScheme = "BearerToken")
                    .AddBearerToken("BearerToken")
                    .AddSession<Cart>(SchemeSite.Usual),
            clock: clock,
            map: app =>
            {
                Map(app);
                app.MapGet(
                        "/vault/either",
                        [Authorize(AuthenticationSchemes = "Session,BearerToken")]
                        () => new Who("in")
                    )
                    .RequireSignIn<Cart>()
                    .SignedInWithin(s_five);
            }
        );
        var token = await site.SignInAsync();
        clock.Advance(s_five);
        var answer = await site.GetAsync(path, token);
        Assert.Equal(HttpStatusCode.Unauthorized, answer.Status);
        Assert.Equal(
            "Bearer, Session error=\"insufficient_user_authentication\", max_age=300",
            answer["WWW-Authenticate"]
        );
    }

    [Fact]
    public async Task The_applications_problem_details_have_it_too()
    {
        var clock = new FakeTimeProvider(SchemeSite.Start);
        await using var site = await StartAsync(clock, services => services.AddProblemDetails());
        var token = await site.SignInAsync();
        clock.Advance(s_five);
        using var problem = JsonDocument.Parse((await site.GetAsync("/vault/json", token)).Body);
        Assert.Equal("insufficient_user_authentication", problem.RootElement.GetProperty("reason").GetString());
    }

    [Fact]
    public async Task A_person_is_sent_to_the_login_page_with_the_reason()
    {
        var clock = new FakeTimeProvider(SchemeSite.Start);
        await using var site = await StartAsync(clock, WithScheme);
        var token = await site.SignInAsync();
        clock.Advance(s_five);
        var answer = await site.GetAsync("/vault/minimal", token);
        Assert.Equal(
            (HttpStatusCode.Redirect, "/signin?ReturnUrl=%2Fvault%2Fminimal&reason=insufficient_user_authentication"),
            (answer.Status, answer["Location"])
        );
        Assert.Equal("/signin?ReturnUrl=%2Fvault%2Fminimal", (await site.GetAsync("/vault/minimal"))["Location"]);
    }

    private sealed class Provider(
        IOptionsMonitor<AuthenticationSchemeOptions> options,
        ILoggerFactory logger,
        System.Text.Encodings.Web.UrlEncoder encoder
    ) : AuthenticationHandler<AuthenticationSchemeOptions>(options, logger, encoder)
    {
        protected override Task<AuthenticateResult> HandleAuthenticateAsync() =>
            Task.FromResult(AuthenticateResult.NoResult());

        protected override Task HandleChallengeAsync(AuthenticationProperties properties)
        {
            // As OpenIdConnectChallengeProperties.MaxAge reads it.
            Response.Redirect($"/provider?max_age={properties.GetParameter<TimeSpan?>("max_age")?.TotalSeconds}");
            return Task.CompletedTask;
        }
    }

    [Fact]
    public async Task An_identity_provider_is_asked_for_a_fresh_sign_in()
    {
        var clock = new FakeTimeProvider(SchemeSite.Start);
        await using var site = await StartAsync(
            clock,
            services =>
                services
                    .AddAuthentication(o => (o.DefaultScheme, o.DefaultChallengeScheme) = ("Session", "provider"))
                    .AddScheme<AuthenticationSchemeOptions, Provider>("provider", null)
                    .AddSession<Cart>(SchemeSite.Usual)
        );
        var token = await site.SignInAsync();
        clock.Advance(s_five);
        Assert.Equal("/provider?max_age=300", (await site.GetAsync("/vault/minimal", token))["Location"]);
        Assert.Equal("/provider?max_age=", (await site.GetAsync("/vault/minimal"))["Location"]);
    }

    [Fact]
    public async Task Without_a_sign_in_that_is_required_nothing_is_let_in()
    {
        foreach (
            var map in new Action<WebApplication>[]
            {
                app => app.MapGet("/forgotten", () => "in").SignedInWithin(s_five),
                app => app.MapGet("/forgotten", () => "in").RequireSession<Cart>().SignedInWithin(s_five),
            }
        )
        {
            var error = await Assert.ThrowsAsync<InvalidOperationException>(() => SchemeSite.StartAsync(map: map));
            Assert.Contains("call RequireSignIn<T>()", error.Message, StringComparison.Ordinal);
        }

        // Where nothing else looks at the endpoints before the first request.
        var builder = WebApplication.CreateSlimBuilder();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        builder.Services.AddSession<Cart>().UseMemory();
        await using var alone = builder.Build();
        alone.UseSession<Cart>();
        alone.MapGet("/forgotten", () => "in").SignedInWithin(s_five);
        var refused = await Assert.ThrowsAsync<InvalidOperationException>(() => alone.StartAsync());
        Assert.Contains("call RequireSignIn<T>()", refused.Message, StringComparison.Ordinal);

        await using var plain = WebApplication.CreateSlimBuilder().Build();
        Assert.Throws<ArgumentException>(() => plain.MapGet("/never", () => "in").SignedInWithin(TimeSpan.Zero));
    }
}
