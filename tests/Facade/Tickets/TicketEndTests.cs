using Microsoft.AspNetCore.DataProtection;
using Microsoft.Extensions.DependencyInjection;
using Session.AspNetCore;
using Session.CSharp;
using Session.Engine;
using Xunit;

namespace Facade.Tickets;

public class TicketEndTests
{
    /// <summary>Three nodes with one store and one key ring.</summary>
    private static async Task<TicketSite[]> ThreeAsync(Action<TicketPlan>? change = null)
    {
        var store = new MemoryStore();
        var keys = new EphemeralDataProtectionProvider();
        var plan = new TicketPlan { Store = store, Keys = keys };
        change?.Invoke(plan);
        return
        [
            await TicketSite.StartAsync(plan),
            await TicketSite.StartAsync(plan),
            await TicketSite.StartAsync(plan),
        ];
    }

    [Fact]
    public async Task The_devices_of_a_user_are_listed_and_one_of_them_is_ended()
    {
        var nodes = await ThreeAsync();
        var devices = new TicketBrowser[5];
        for (var i = 0; i < devices.Length; i++)
        {
            devices[i] = new();
            await devices[i].SignInAsync(nodes[i % 3], "ada");
        }

        await new TicketBrowser().SignInAsync(nodes[0], "bob");
        var listed = await nodes[2].ListAsync("ada");
        Assert.Equal(5, listed.Count);
        Assert.All(listed, it => Assert.Equal("ada", it.Subject));
        var key = nodes[0].KeyIn(devices[3].Cookies[TicketBrowser.CookieName]);
        Assert.True(await nodes[1].Manager.DestroySessionAsync(SessionId.Parse(key.Split('.')[0])));
        foreach (var node in nodes)
            for (var i = 0; i < devices.Length; i++)
                Assert.Equal(i == 3 ? "nobody" : "ada", await devices[i].Copy().WhoAsync(node));

        Assert.Equal(4, (await nodes[0].ListAsync("ada")).Count);
        foreach (var node in nodes)
            await node.DisposeAsync();
    }

    [Fact]
    public async Task Log_out_everywhere_counts_at_the_next_request_on_every_node()
    {
        var nodes = await ThreeAsync();
        var devices = Enumerable.Range(0, 10).Select(_ => new TicketBrowser()).ToArray();
        for (var i = 0; i < devices.Length; i++)
            await devices[i].SignInAsync(nodes[i % 3], "ada");

        var bob = new TicketBrowser();
        await bob.SignInAsync(nodes[0], "bob");
        foreach (var node in nodes)
        foreach (var device in devices)
            Assert.Equal("ada", await device.WhoAsync(node));

        var kept = SessionId.Parse(nodes[0].KeyIn(devices[0].Cookies[TicketBrowser.CookieName]).Split('.')[0]);
        Assert.Equal(9, await nodes[1].Manager.DestroyAllAsync("ada", except: kept));
        foreach (var node in nodes)
        {
            for (var i = 0; i < devices.Length; i++)
                Assert.Equal(i == 0 ? "ada" : "nobody", await devices[i].Copy().WhoAsync(node));

            Assert.Equal("bob", await bob.WhoAsync(node));
            await node.DisposeAsync();
        }
    }

    [Fact]
    public async Task A_node_with_another_key_ring_knows_nobody_and_signs_nobody_out()
    {
        var store = new MemoryStore();
        await using var site = await TicketSite.StartAsync(plan => plan.Store = store);
        await using var stranger = await TicketSite.StartAsync(plan => plan.Store = store);
        var browser = new TicketBrowser();
        await browser.SignInAsync(site, "ada");
        Assert.Equal("nobody", await browser.WhoAsync(stranger));
        Assert.Equal("ada", await browser.WhoAsync(site));
        // It is known there whose the sessions are all the same.
        Assert.Equal(1, await stranger.Manager.DestroyAllAsync("ada"));
        Assert.Equal("nobody", await browser.WhoAsync(site));
    }

    [Fact]
    public async Task A_user_has_no_more_sessions_than_may_be_and_expired_ones_do_not_count()
    {
        await using var site = await TicketSite.StartAsync(plan =>
            plan.Tickets = it =>
            {
                it.MaxSessionsPerSubject = 2;
                it.WhenLimitReached = SessionLimitBehavior.RefuseNew;
            }
        );
        var browsers = Enumerable.Range(0, 4).Select(_ => new TicketBrowser()).ToArray();
        await browsers[0]
            .SignInAsync(site, "ada", properties: new() { ExpiresUtc = site.Clock.GetUtcNow().AddMinutes(5) });
        await browsers[1].SignInAsync(site, "ada");
        var refused = await browsers[2].SignInAsync(site, "ada");
        Assert.Equal(System.Net.HttpStatusCode.Conflict, refused.Status);
        Assert.Empty(refused.SetCookies);
        site.Clock.Advance(TimeSpan.FromMinutes(6));
        await browsers[3].SignInAsync(site, "ada");
        Assert.Equal("ada", await browsers[3].WhoAsync(site));
        Assert.Equal("ada", await browsers[1].WhoAsync(site));
    }

    [Theory, InlineData(true), InlineData(false)]
    public async Task Data_at_rest_can_be_protected(bool isSealed)
    {
        ISessionStore store = new MemoryStore();
        await using var site = await TicketSite.StartAsync(plan =>
        {
            plan.Store = store;
            plan.Services = services =>
            {
                var builder = new SessionBuilder(
                    services,
                    typeof(Microsoft.AspNetCore.Authentication.AuthenticationTicket)
                );
                if (isSealed)
                    builder.SealToBearer();
                else
                    builder.ProtectWithDataProtection();
            };
        });
        var browser = new TicketBrowser();
        await browser.SignInAsync(site, "ada", "a-role-that-is-nobodys-business");
        var record = (await store.Enumerate(null, 10, default)).Records.Single();
        Assert.DoesNotContain(
            "nobodys-business",
            System.Text.Encoding.UTF8.GetString(record.Body.Span),
            StringComparison.Ordinal
        );
        Assert.StartsWith("ada a-role", await browser.WhoAsync(site), StringComparison.Ordinal);
        await browser.SignInAsync(site, "ada", "another");
        Assert.Equal("ada another", await browser.WhoAsync(site));
        site.Clock.Advance(TimeSpan.FromDays(8));
        Assert.Equal("ada another", await browser.WhoAsync(site));
        site.Clock.Advance(TimeSpan.FromDays(8));
        Assert.Equal("ada another", await browser.WhoAsync(site));
        site.Clock.Advance(TimeSpan.FromDays(15));
        Assert.Equal("nobody", await browser.WhoAsync(site));
    }
}
