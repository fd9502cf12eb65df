using System.Net;
using Microsoft.AspNetCore.Authentication.Cookies;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Session.CSharp;
using Xunit;

namespace Facade.Tickets;

/// <summary>Endpoints that a page asks by itself keep nobody signed in.</summary>
public class TicketNoTouchTests
{
    private static Task<TicketSite> StartAsync(Action<TicketPlan> change) =>
        TicketSite.StartAsync(plan =>
        {
            change(plan);
            plan.Pipeline = app =>
            {
                // Within services of its own, where the ticket is read once more.
                app.UseExceptionHandler("/seen", createScopeForErrors: true);
                string Who(HttpContext context) => TicketBrowser.Name(context.User);
                app.MapGet("/poll", Who).NoTouch();
                app.MapGet("/seen", Who);
                app.MapGet("/fails", string () => throw new InvalidOperationException("poll")).NoTouch();
            };
        });

    [Theory]
    [InlineData("/poll", "nobody")]
    [InlineData("/fails", "nobody")]
    [InlineData("/seen", "ada")]
    public async Task Polling_does_not_keep_the_idle_timeout_away(string path, string who)
    {
        await using var site = await StartAsync(plan => plan.Tickets = it => it.IdleTimeout = TimeSpan.FromMinutes(15));
        await IsAfterHalfAnHourOfAsync(site, path, who);
    }

    [Theory]
    [InlineData("/poll", "nobody")]
    [InlineData("/seen", "ada")]
    public async Task Polling_does_not_extend_the_ticket(string path, string who)
    {
        await using var site = await StartAsync(plan =>
            plan.Cookie = it => it.ExpireTimeSpan = TimeSpan.FromMinutes(20)
        );
        await IsAfterHalfAnHourOfAsync(site, path, who);
    }

    /// <summary>An application that writes a new principal at each request, as the security stamp has it at some.</summary>
    [Fact]
    public async Task A_principal_that_a_poll_changes_is_kept_and_its_ticket_ends_when_it_would_have()
    {
        await using var site = await StartAsync(plan =>
            plan.Cookie = it =>
            {
                it.ExpireTimeSpan = TimeSpan.FromMinutes(20);
                it.Events = new CookieAuthenticationEvents
                {
                    OnValidatePrincipal = context =>
                    {
                        context.ReplacePrincipal(
                            TicketSite.Principal("ada", "poll" + context.Request.Path.Value!.Length)
                        );
                        context.ShouldRenew = context.Request.Path == "/poll";
                        return Task.CompletedTask;
                    },
                };
            }
        );
        var browser = new TicketBrowser();
        await browser.SignInAsync(site, "ada");
        var ends = (await site.ListAsync("ada")).Single().ExpiresAt;
        site.Clock.Advance(TimeSpan.FromMinutes(15));
        await browser.GetAsync(site, "/poll");
        var session = (await site.ListAsync("ada")).Single();
        Assert.Equal(ends, session.ExpiresAt);
        var kept = await site.Manager.UpdateAsync(session.Id, ticket => ticket!);
        Assert.Equal("ada poll5", TicketBrowser.Name(kept!.Principal));
    }

    private static async Task IsAfterHalfAnHourOfAsync(TicketSite site, string path, string who)
    {
        var browser = new TicketBrowser();
        await browser.SignInAsync(site, "ada");
        // Its token came back: from now on it is not new.
        Assert.Equal("ada", (await browser.GetAsync(site, "/seen")).Body);
        for (var i = 0; i < 3; i++)
        {
            site.Clock.Advance(TimeSpan.FromMinutes(i == 0 ? 12 : 9));
            await browser.GetAsync(site, path);
        }

        var last = await browser.GetAsync(site, "/poll");
        Assert.Equal((HttpStatusCode.OK, who), (last.Status, last.Body));
    }
}
