using System.Security.Claims;
using System.Text.Encodings.Web;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Identity;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Session.CSharp;
using Xunit;

namespace Facade.Tickets;

/// <summary>Which scheme a request's ticket is of, and whose it is, where there are more schemes than one.</summary>
public class TicketSchemeTests
{
    /// <summary>Knows nobody, and has no cookie: as "Bearer" to a request without a header.</summary>
    private sealed class Deaf(
        IOptionsMonitor<AuthenticationSchemeOptions> options,
        ILoggerFactory logger,
        UrlEncoder encoder
    ) : AuthenticationHandler<AuthenticationSchemeOptions>(options, logger, encoder)
    {
        protected override Task<AuthenticateResult> HandleAuthenticateAsync() =>
            Task.FromResult(AuthenticateResult.NoResult());
    }

    /// <summary>Asks the cookie in a way of its own, as Identity's handler of tokens and cookies does.</summary>
    private sealed class Asking(
        IOptionsMonitor<AuthenticationSchemeOptions> options,
        ILoggerFactory logger,
        UrlEncoder encoder
    ) : AuthenticationHandler<AuthenticationSchemeOptions>(options, logger, encoder)
    {
        protected override Task<AuthenticateResult> HandleAuthenticateAsync() => Context.AuthenticateAsync("Cookies");
    }

    /// <summary>An identity provider at which somebody is "42".</summary>
    private sealed class Provider(
        IOptionsMonitor<RemoteAuthenticationOptions> options,
        ILoggerFactory logger,
        UrlEncoder encoder
    ) : RemoteAuthenticationHandler<RemoteAuthenticationOptions>(options, logger, encoder)
    {
        protected override Task<HandleRequestResult> HandleRemoteAuthenticateAsync() =>
            Task.FromResult(
                HandleRequestResult.Success(
                    new AuthenticationTicket(TicketSite.Principal("42"), new AuthenticationProperties(), Scheme.Name)
                )
            );
    }

    private static AuthenticationBuilder AddProvider(AuthenticationBuilder schemes, string? signInScheme) =>
        schemes.AddRemoteScheme<RemoteAuthenticationOptions, Provider>(
            "Provider",
            null,
            o =>
            {
                o.CallbackPath = "/signin-provider";
                o.SignInScheme = signInScheme;
            }
        );

    private static Action<IServiceCollection> Default(string scheme) =>
        services => services.Configure<AuthenticationOptions>(it => it.DefaultScheme = scheme);

    /// <summary>"A token or a cookie", as in many an application: by what the request brings.</summary>
    private static Task<TicketSite> WithEitherAsync() =>
        TicketSite.StartAsync(plan =>
        {
            plan.Schemes = it =>
                it.AddScheme<AuthenticationSchemeOptions, Deaf>("Bearer", null)
                    .AddPolicyScheme(
                        "Either",
                        null,
                        o =>
                            o.ForwardDefaultSelector = context =>
                                context.Request.Headers.ContainsKey("Authorization") ? "Bearer" : "Cookies"
                    );
            plan.Services = Default("Either");
        });

    private static async Task<SessionId> CurrentAsync(TicketSite site, TicketBrowser browser, string? scheme = null)
    {
        SessionId current = default;
        await browser.RunAsync(site, async context => current = await context.GetTicketSessionIdAsync(scheme));
        return current;
    }

    [Fact]
    public async Task A_scheme_that_passes_requests_on_to_a_cookie_has_its_ticket()
    {
        await using var site = await WithEitherAsync();
        var browser = new TicketBrowser();
        await browser.SignInAsync(site, "ada");
        Assert.Equal((await site.ListAsync("ada")).Single().Id, await CurrentAsync(site, browser));
    }

    [Fact]
    public async Task A_scheme_that_passes_requests_on_has_the_ticket_of_the_sign_in_before()
    {
        await using var site = await WithEitherAsync();
        SessionId current = default;
        await new TicketBrowser().RunAsync(
            site,
            async context =>
            {
                await context.SignInAsync(TicketSite.Principal("ada"));
                current = await context.GetTicketSessionIdAsync();
            }
        );
        Assert.Equal((await site.ListAsync("ada")).Single().Id, current);
    }

    [Fact]
    public async Task A_scheme_that_passes_requests_on_has_no_ticket_of_a_stranger()
    {
        await using var site = await WithEitherAsync();
        Assert.True((await CurrentAsync(site, new TicketBrowser())).IsEmpty);
    }

    [Theory, InlineData("Bearer"), InlineData("Elsewhere")]
    public async Task A_scheme_without_a_cookie_is_no_scheme_of_tickets(string scheme)
    {
        await using var site = await WithEitherAsync();
        var error = await Assert.ThrowsAsync<InvalidOperationException>(() =>
            CurrentAsync(site, new TicketBrowser(), scheme)
        );
        Assert.Contains($"'{scheme}' has no server-side tickets", error.Message, StringComparison.Ordinal);
    }

    /// <summary>As the framework does it: first what is said of this one question, then who chooses by the request, then the rest.</summary>
    [Theory]
    [InlineData("Cookies", "Bearer", "Bearer")]
    [InlineData("Cookies", null, "Bearer")]
    [InlineData(null, "Cookies", "Bearer")]
    [InlineData(null, "", "Cookies")]
    [InlineData(null, null, "Cookies")]
    public async Task A_request_is_passed_on_in_the_order_of_the_framework(
        string? authenticate,
        string? chosen,
        string? otherwise
    )
    {
        void Forward(AuthenticationSchemeOptions options)
        {
            options.ForwardAuthenticate = authenticate;
            options.ForwardSignIn = "Bearer";
            options.ForwardDefault = otherwise;
            if (chosen is not null)
                options.ForwardDefaultSelector = _ => chosen.Length > 0 ? chosen : null;
        }

        await using var site = await TicketSite.StartAsync(plan =>
            plan.Schemes = it =>
                it.AddScheme<AuthenticationSchemeOptions, Deaf>("Bearer", null)
                    .AddCookie("Staff", o => Forward(o))
                    .AddPolicyScheme("Either", null, o => Forward(o))
        );
        foreach (var scheme in new[] { "Staff", "Either" })
        {
            SessionId current = default;
            await new TicketBrowser().RunAsync(
                site,
                async context =>
                {
                    // No ticket has answered yet that could say which scheme it is of.
                    await context.SignInAsync("Cookies", TicketSite.Principal(scheme));
                    current = await context.GetTicketSessionIdAsync(scheme);
                }
            );
            Assert.Equal((await site.ListAsync(scheme)).Single().Id, current);
        }
    }

    /// <summary>What would choose by the request is never asked who the user is.</summary>
    [Fact]
    public async Task A_cookie_whose_users_a_token_names_in_each_request_is_no_scheme_of_tickets()
    {
        await using var site = await TicketSite.StartAsync(plan =>
            plan.Schemes = it =>
                it.AddScheme<AuthenticationSchemeOptions, Deaf>("Bearer", null)
                    .AddCookie(
                        "Staff",
                        o =>
                        {
                            o.ForwardAuthenticate = "Bearer";
                            o.ForwardDefaultSelector = _ => "Cookies";
                        }
                    )
        );
        var error = await Assert.ThrowsAsync<InvalidOperationException>(() =>
            CurrentAsync(site, new TicketBrowser(), "Staff")
        );
        Assert.Contains("'Staff' has no server-side tickets", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_handler_that_asks_a_cookie_by_itself_has_its_ticket()
    {
        await using var site = await TicketSite.StartAsync(plan =>
            plan.Schemes = it => it.AddScheme<AuthenticationSchemeOptions, Asking>("Asking", null)
        );
        var browser = new TicketBrowser();
        await browser.SignInAsync(site, "ada");
        Assert.Equal((await site.ListAsync("ada")).Single().Id, await CurrentAsync(site, browser, "Asking"));
    }

    [Fact]
    public async Task The_default_scheme_of_Identitys_endpoints_has_the_ticket_of_its_cookie()
    {
        await using var site = await TicketSite.StartAsync(plan =>
            plan.Services = services =>
            {
                services.AddIdentityApiEndpoints<IdentityUser>();
                // Its validator needs a database of users.
                services.ConfigureApplicationCookie(cookie => cookie.Events = new());
            }
        );
        var browser = new TicketBrowser();
        Assert.True((await CurrentAsync(site, browser)).IsEmpty);
        await browser.SignInAsync(site, "ada", scheme: IdentityConstants.ApplicationScheme);
        Assert.Equal((await site.ListAsync("ada")).Single().Id, await CurrentAsync(site, browser));
    }

    [Fact]
    public async Task Whom_a_provider_calls_42_is_not_user_42_of_this_application()
    {
        await using var site = await TicketSite.StartAsync(plan =>
        {
            plan.Tickets = it => it.MaxSessionsPerSubject = 1;
            plan.Schemes = it => AddProvider(it.AddCookie("External"), "External");
        });
        var local = new TicketBrowser();
        await local.SignInAsync(site, "42");
        var stranger = new TicketBrowser();
        await stranger.GetAsync(site, "/signin-provider");
        Assert.Equal("42", await stranger.WhoAsync(site, "External"));
        Assert.Equal("42", await local.WhoAsync(site));
        Assert.Single(await site.ListAsync("42"));
    }

    /// <summary>The scheme that a provider signs in to is the default one where it says nothing.</summary>
    [Fact]
    public async Task A_step_is_told_by_the_scheme_that_providers_sign_in_to_by_default()
    {
        await using var site = await TicketSite.StartAsync(plan =>
        {
            plan.Schemes = it => AddProvider(it.AddCookie("External"), null);
            plan.Services = services =>
                services.Configure<AuthenticationOptions>(it => it.DefaultSignInScheme = "External");
        });
        var stranger = new TicketBrowser();
        await stranger.GetAsync(site, "/signin-provider");
        Assert.Equal("42", await stranger.WhoAsync(site, "External"));
        Assert.Empty(await site.ListAsync("42"));
    }

    /// <summary>A provider may sign in to a scheme that passes that on: what counts is where its answer is put.</summary>
    [Fact]
    public async Task A_step_is_told_by_where_the_sign_in_is_passed_on_to()
    {
        await using var site = await TicketSite.StartAsync(plan =>
            plan.Schemes = it =>
            {
                it.AddCookie("External").AddPolicyScheme("Via", null, o => o.ForwardSignIn = "External");
                AddProvider(it, "Via");
            }
        );
        var stranger = new TicketBrowser();
        await stranger.GetAsync(site, "/signin-provider");
        Assert.Equal("42", await stranger.WhoAsync(site, "External"));
        Assert.Empty(await site.ListAsync("42"));
    }

    /// <summary>Neither who chooses by the request nor what is said of other questions has a say in it.</summary>
    [Theory, InlineData("Policy"), InlineData("Cookie")]
    public async Task A_step_is_told_by_where_sign_ins_go_whatever_else_is_passed_on(string via)
    {
        static void Forward(AuthenticationSchemeOptions options)
        {
            options.ForwardSignIn = "External";
            options.ForwardAuthenticate = options.ForwardDefault = "Cookies";
            options.ForwardDefaultSelector = _ => "Cookies";
        }

        await using var site = await TicketSite.StartAsync(plan =>
            plan.Schemes = it =>
            {
                it.AddCookie("External")
                    .AddPolicyScheme("Policy", null, o => Forward(o))
                    .AddCookie("Cookie", o => Forward(o));
                AddProvider(it, via);
            }
        );
        var stranger = new TicketBrowser();
        await stranger.GetAsync(site, "/signin-provider");
        Assert.Equal("42", await stranger.WhoAsync(site, "External"));
        Assert.Empty(await site.ListAsync("42"));
    }

    /// <summary>When it slides it is still nobody's, and still the same session.</summary>
    [Fact]
    public async Task A_step_that_is_extended_stays_nobodys()
    {
        await using var site = await TicketSite.StartAsync(plan =>
            plan.Schemes = it =>
                AddProvider(it.AddCookie("External", o => o.ExpireTimeSpan = TimeSpan.FromMinutes(10)), "External")
        );
        var stranger = new TicketBrowser();
        await stranger.GetAsync(site, "/signin-provider");
        for (var i = 0; i < 3; i++)
        {
            site.Clock.Advance(TimeSpan.FromMinutes(6));
            Assert.Equal("42", await stranger.WhoAsync(site, "External"));
        }

        Assert.Empty(await site.ListAsync("42"));
    }

    [Theory, InlineData("Cookies"), InlineData("Either")]
    public async Task A_provider_that_signs_in_to_the_default_scheme_signs_users_in(string defaultScheme)
    {
        await using var site = await TicketSite.StartAsync(plan =>
        {
            plan.Schemes = it =>
                AddProvider(it.AddPolicyScheme("Either", null, o => o.ForwardDefault = "Cookies"), "Cookies");
            plan.Services = Default(defaultScheme);
        });
        var browser = new TicketBrowser();
        await browser.GetAsync(site, "/signin-provider");
        Assert.Equal("42", await browser.WhoAsync(site));
        Assert.Single(await site.ListAsync("42"));
    }

    /// <summary>Whoever is let in by it is a user, whichever scheme is the default one, and wherever that is said.</summary>
    [Theory]
    [InlineData("a policy by its name")]
    [InlineData("a scheme by its name")]
    [InlineData("a policy of the endpoint's own")]
    [InlineData("the default policy")]
    [InlineData("the fallback policy")]
    public async Task A_provider_that_signs_in_to_a_scheme_that_lets_somebody_in_signs_users_in(string by)
    {
        var staff = new AuthorizationPolicyBuilder("Staff").RequireAuthenticatedUser().Build();
        await using var site = await TicketSite.StartAsync(plan =>
        {
            plan.Schemes = it => AddProvider(it.AddCookie("Staff"), "Staff");
            plan.Services = services =>
            {
                var authorization = services.AddAuthorizationBuilder().AddPolicy("Staff", staff);
                if (by == "the default policy")
                    authorization.SetDefaultPolicy(staff);
                else if (by == "the fallback policy")
                    authorization.SetFallbackPolicy(staff);
            };
            plan.Pipeline = app =>
            {
                var page = app.MapGet("/staff", () => "staff");
                if (by == "a policy by its name")
                    page.RequireAuthorization(new AuthorizeAttribute("Staff"));
                else if (by == "a scheme by its name")
                    page.RequireAuthorization(new AuthorizeAttribute { AuthenticationSchemes = "Other, Staff" });
                else if (by == "a policy of the endpoint's own")
                    page.RequireAuthorization(staff);
            };
        });
        await new TicketBrowser().GetAsync(site, "/signin-provider");
        Assert.Single(await site.ListAsync("42"));
    }

    /// <summary>Nobody can tell there which scheme is whose: as before.</summary>
    [Fact]
    public async Task Without_a_default_scheme_a_provider_signs_users_in()
    {
        await using var site = await TicketSite.StartAsync(plan =>
        {
            plan.Schemes = it => AddProvider(it.AddCookie("Members"), "Members");
            plan.Services = services => services.Configure<AuthenticationOptions>(it => it.DefaultScheme = null);
        });
        await new TicketBrowser().GetAsync(site, "/signin-provider");
        Assert.Single(await site.ListAsync("42"));
    }
}
