using System.Security.Claims;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Identity;
using Microsoft.Extensions.DependencyInjection;
using Session.Engine;
using Xunit;

namespace Facade.Tickets;

/// <summary>Identity's four cookies. Its own pages, with a database, are samples/Identity.</summary>
public class TicketIdentityTests
{
    private static readonly string[] Schemes =
    [
        IdentityConstants.ApplicationScheme,
        IdentityConstants.ExternalScheme,
        IdentityConstants.TwoFactorRememberMeScheme,
        IdentityConstants.TwoFactorUserIdScheme,
    ];

    [Theory, InlineData(true), InlineData(false)]
    public async Task All_four_of_them_keep_their_tickets_on_the_server(bool ticketsFirst)
    {
        ISessionStore store = new MemoryStore();
        await using var site = await TicketSite.StartAsync(plan =>
        {
            plan.Store = store;
            plan.TicketsFirst = ticketsFirst;
            // Its validators need a database of users.
            plan.Schemes = it =>
                it.AddIdentityCookies(cookies => cookies.ApplicationCookie!.Configure(cookie => cookie.Events = new()));
            plan.Services = services =>
                services.Configure<Microsoft.AspNetCore.Authentication.Cookies.CookieAuthenticationOptions>(
                    IdentityConstants.TwoFactorRememberMeScheme,
                    cookie => cookie.Events = new()
                );
        });
        var browser = new TicketBrowser();
        for (var i = 0; i < Schemes.Length; i++)
        {
            await browser.SignInAsync(site, "user" + i, scheme: Schemes[i]);
            Assert.Equal(i + 1, await store.Count(default));
        }

        Assert.Equal(Schemes.Length, browser.Cookies.Count);
        for (var i = 0; i < Schemes.Length; i++)
            Assert.Equal("user" + i, await browser.WhoAsync(site, Schemes[i]));

        // Only the first of them signs somebody in.
        for (var i = 0; i < Schemes.Length; i++)
            Assert.Equal(i == 0 ? 1 : 0, (await site.ListAsync("user" + i)).Count);

        // Each lives as long as Identity says: two of them five minutes.
        site.Clock.Advance(TimeSpan.FromMinutes(6));
        Assert.Equal(
            ["user0", "nobody", "user2", "nobody"],
            await Task.WhenAll(Schemes.Select(it => browser.WhoAsync(site, it)))
        );
        await browser.SignOutAsync(site, IdentityConstants.ApplicationScheme);
        Assert.Equal("nobody", await browser.WhoAsync(site, IdentityConstants.ApplicationScheme));
        Assert.Equal("user2", await browser.WhoAsync(site, IdentityConstants.TwoFactorRememberMeScheme));
    }
}
