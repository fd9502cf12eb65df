using System.Net;
using System.Security.Claims;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authentication.Cookies;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Session.Engine;
using Xunit;

namespace Facade.Tickets;

public class TicketRenewalTests
{
    private static readonly AuthenticationProperties Persistent = new() { IsPersistent = true };

    private static async Task<DateTimeOffset> ExpiryAsync(TicketSite site) =>
        (await site.ListAsync("ada")).Single().ExpiresAt;

    [Fact]
    public async Task A_ticket_lives_as_long_as_it_says_sliding()
    {
        await using var site = await TicketSite.StartAsync();
        var start = site.Clock.GetUtcNow();
        var browser = new TicketBrowser();
        await browser.SignInAsync(site, "ada");
        Assert.Equal(start.AddDays(14), await ExpiryAsync(site));
        site.Clock.Advance(TimeSpan.FromDays(6));
        Assert.Equal("ada", await browser.WhoAsync(site));
        Assert.Equal(start.AddDays(14), await ExpiryAsync(site));
        site.Clock.Advance(TimeSpan.FromDays(2));
        var extended = await browser.RunAsync(
            site,
            context =>
            {
                Assert.Equal("ada", TicketBrowser.Name(context.User));
                return Task.CompletedTask;
            }
        );
        // The browser has all that it needs: one cookie less that could cross with that of a sign-in.
        Assert.Empty(extended.SetCookies);
        Assert.Equal(start.AddDays(22), await ExpiryAsync(site));
        site.Clock.Advance(TimeSpan.FromDays(14) - TimeSpan.FromSeconds(1));
        Assert.Equal("ada", await browser.Copy().WhoAsync(site));
        site.Clock.Advance(TimeSpan.FromDays(14) + TimeSpan.FromSeconds(2));
        Assert.Equal("nobody", await browser.WhoAsync(site));
        Assert.Empty(await site.ListAsync("ada"));
    }

    [Theory]
    [InlineData(5)]
    [InlineData(60 * 24 * 90)]
    public async Task A_ticket_lives_as_long_as_its_sign_in_says(int minutes)
    {
        await using var site = await TicketSite.StartAsync(plan =>
            plan.Cookie = cookie => cookie.SlidingExpiration = false
        );
        var end = site.Clock.GetUtcNow().AddMinutes(minutes);
        var browser = new TicketBrowser();
        await browser.SignInAsync(site, "ada", properties: new() { ExpiresUtc = end, IsPersistent = true });
        Assert.Equal(end, await ExpiryAsync(site));
        site.Clock.Advance(TimeSpan.FromMinutes(minutes) - TimeSpan.FromSeconds(1));
        Assert.Equal("ada", await browser.WhoAsync(site));
        site.Clock.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal("nobody", await browser.WhoAsync(site));
        Assert.Empty(await site.ListAsync("ada"));
    }

    [Fact]
    public async Task What_has_expired_is_swept()
    {
        ISessionStore store = new MemoryStore();
        var ended = new List<string?>();
        await using var site = await TicketSite.StartAsync(plan =>
        {
            plan.Store = store;
            plan.Tickets = it =>
                it.Events.OnExpired = context =>
                {
                    ended.Add(context.Data!.Principal.FindFirstValue(ClaimTypes.NameIdentifier));
                    return Task.CompletedTask;
                };
        });
        await new TicketBrowser().SignInAsync(site, "ada");
        await new TicketBrowser().SignInAsync(
            site,
            "bob",
            properties: new() { ExpiresUtc = site.Clock.GetUtcNow().AddDays(30) }
        );
        site.Clock.Advance(TimeSpan.FromDays(14) + TimeSpan.FromMinutes(1));
        var engine = site
            .Services.GetRequiredService<global::Session.AspNetCore.SessionService<AuthenticationTicket>>()
            .Engine;
        await engine.Sweep(100, default);
        Assert.Equal(["ada"], ended);
        site.Clock.Advance(TimeSpan.FromHours(2));
        await engine.Sweep(100, default);
        Assert.Equal(1, await store.Count(default));
    }

    [Fact]
    public async Task Limits_of_the_sessions_end_a_ticket_earlier_where_they_are_set()
    {
        await using var site = await TicketSite.StartAsync(plan =>
            plan.Tickets = it => it.AbsoluteTimeout = TimeSpan.FromDays(30)
        );
        var browser = new TicketBrowser();
        await browser.SignInAsync(site, "ada");
        for (var day = 0; day < 29; day++)
        {
            site.Clock.Advance(TimeSpan.FromDays(1));
            Assert.Equal("ada", await browser.WhoAsync(site));
        }

        site.Clock.Advance(TimeSpan.FromDays(1));
        Assert.Equal("nobody", await browser.WhoAsync(site));

        await using var idle = await TicketSite.StartAsync(plan =>
            plan.Tickets = it => it.IdleTimeout = TimeSpan.FromMinutes(20)
        );
        var other = new TicketBrowser();
        await other.SignInAsync(idle, "ada");
        idle.Clock.Advance(TimeSpan.FromMinutes(20));
        Assert.Equal("nobody", await other.WhoAsync(idle));
    }

    [Fact]
    public async Task A_persistent_cookie_is_sent_again_when_its_ticket_is_extended()
    {
        await using var site = await TicketSite.StartAsync();
        var browser = new TicketBrowser();
        await browser.SignInAsync(site, "ada", properties: Persistent.Clone());
        var copy = browser.Copy();
        site.Clock.Advance(TimeSpan.FromDays(8));
        var answer = await browser.RunAsync(site, _ => Task.CompletedTask);
        Assert.Contains("expires=Fri, 23 Jan 2026", Assert.Single(answer.SetCookies), StringComparison.Ordinal);
        Assert.Equal("ada", await browser.WhoAsync(site));
        Assert.Equal("ada", await copy.WhoAsync(site));
    }

    [Theory, InlineData(true), InlineData(false)]
    public async Task A_slow_request_that_would_extend_the_ticket_does_not_undo_a_sign_out(bool isPersistent)
    {
        await using var site = await TicketSite.StartAsync();
        var browser = new TicketBrowser();
        await browser.SignInAsync(site, "ada", properties: isPersistent ? Persistent.Clone() : null);
        site.Clock.Advance(TimeSpan.FromDays(8));
        var slow = browser.Copy();
        var answer = await slow.RunAsync(
            site,
            async context =>
            {
                Assert.Equal("ada", TicketBrowser.Name(context.User));
                await browser.SignOutAsync(site);
                await browser.SignInAsync(site, "bob");
            }
        );
        // Its work is done; and its answer does not take the cookie of whoever has signed in since.
        Assert.Equal(HttpStatusCode.OK, answer.Status);
        Assert.Empty(answer.SetCookies);
        Assert.Equal("nobody", await slow.WhoAsync(site));
        Assert.Equal("bob", await browser.WhoAsync(site));
        Assert.Empty(await site.ListAsync("ada"));
    }

    [Fact]
    public async Task Extensions_beside_sign_outs_bring_nobody_back()
    {
        var seed = Random.Shared.Next(1, 1_000_000_000);
        Console.WriteLine($"tickets: races of renewals and sign-outs, seed {seed}");
        await using var site = await TicketSite.StartAsync(plan => plan.Store = new SlowStore(plan.Store, seed));
        for (var round = 0; round < 50; round++)
        {
            var browsers = Enumerable.Range(0, 20).Select(_ => new TicketBrowser()).ToArray();
            await Task.WhenAll(browsers.Select(it => it.SignInAsync(site, "ada", properties: Persistent.Clone())));
            site.Clock.Advance(TimeSpan.FromDays(8));
            var copies = browsers.Select(it => it.Copy()).ToArray();
            await Task.WhenAll(
                copies
                    .Select(it => it.RunAsync(site, _ => Task.CompletedTask))
                    .Concat(browsers.Select(it => it.SignOutAsync(site)))
            );
            Assert.Empty(await site.ListAsync("ada"));
            foreach (var copy in copies)
                Assert.Equal("nobody", await copy.WhoAsync(site));
        }
    }

    [Theory, InlineData(true), InlineData(false)]
    public async Task Many_requests_at_once_extend_a_ticket_and_none_of_them_is_signed_out(bool isPersistent)
    {
        var seed = Random.Shared.Next(1, 1_000_000_000);
        Console.WriteLine($"tickets: requests at once, seed {seed}");
        await using var site = await TicketSite.StartAsync(plan => plan.Store = new SlowStore(plan.Store, seed));
        var start = site.Clock.GetUtcNow();
        var browser = new TicketBrowser();
        await browser.SignInAsync(site, "ada", properties: isPersistent ? Persistent.Clone() : null);
        site.Clock.Advance(TimeSpan.FromDays(8));
        var all = await Task.WhenAll(Enumerable.Range(0, 60).Select(_ => browser.WhoAsync(site)));
        Assert.All(all, who => Assert.Equal("ada", who));
        Assert.Equal(start.AddDays(22), await ExpiryAsync(site));
        Assert.Equal("ada", await browser.WhoAsync(site));
    }

    [Fact]
    public async Task A_role_that_is_taken_away_does_not_come_back_with_an_extension()
    {
        await using var site = await TicketSite.StartAsync();
        var start = site.Clock.GetUtcNow();
        var browser = new TicketBrowser();
        await browser.SignInAsync(site, "ada", "admin");
        var id = (await site.ListAsync("ada")).Single().Id;
        site.Clock.Advance(TimeSpan.FromDays(8));
        await browser.RunAsync(
            site,
            async context =>
            {
                Assert.Equal("ada admin", TicketBrowser.Name(context.User));
                await site.Manager.UpdateAsync(
                    id,
                    ticket => new AuthenticationTicket(
                        TicketSite.Principal("ada"),
                        ticket!.Properties,
                        ticket.AuthenticationScheme
                    )
                );
            }
        );
        Assert.Equal("ada", await browser.WhoAsync(site));
        Assert.Equal(start.AddDays(22), await ExpiryAsync(site));
    }

    [Fact]
    public async Task A_principal_that_a_request_has_replaced_is_stored_unless_another_change_came_first()
    {
        SessionIdHolder held = new();
        TicketSite? node = null;
        await using var site = await TicketSite.StartAsync(plan =>
            plan.Cookie = cookie =>
                cookie.Events.OnValidatePrincipal = async context =>
                {
                    if (held.Replaces is not { } role)
                        return;

                    context.ReplacePrincipal(TicketSite.Principal("ada", role));
                    context.ShouldRenew = true;
                    if (held.Meanwhile)
                        await node!.Manager.UpdateAsync(
                            held.Id,
                            ticket => new AuthenticationTicket(
                                TicketSite.Principal("ada", "meanwhile"),
                                ticket!.Properties,
                                ticket.AuthenticationScheme
                            )
                        );
                }
        );
        node = site;
        var browser = new TicketBrowser();
        await browser.SignInAsync(site, "ada");
        held.Id = (await site.ListAsync("ada")).Single().Id;
        held.Replaces = "clerk";
        await browser.WhoAsync(site);
        held.Replaces = null;
        Assert.Equal("ada clerk", await browser.WhoAsync(site));
        (held.Replaces, held.Meanwhile) = ("stale", true);
        await browser.WhoAsync(site);
        held.Replaces = null;
        Assert.Equal("ada meanwhile", await browser.WhoAsync(site));
    }

    /// <summary>What an application says of the expiry counts where nobody else has said anything since: shorter, too.</summary>
    [Theory, InlineData(1), InlineData(40)]
    public async Task An_expiry_that_a_request_has_moved_is_stored(int days)
    {
        var moves = false;
        await using var site = await TicketSite.StartAsync(plan =>
            plan.Cookie = cookie =>
                cookie.Events.OnValidatePrincipal = context =>
                {
                    if (moves)
                    {
                        context.Properties.ExpiresUtc = context.Properties.IssuedUtc!.Value.AddDays(days);
                        context.ShouldRenew = true;
                    }

                    return Task.CompletedTask;
                }
        );
        var start = site.Clock.GetUtcNow();
        var browser = new TicketBrowser();
        await browser.SignInAsync(site, "ada");
        moves = true;
        await browser.WhoAsync(site);
        moves = false;
        Assert.Equal(start.AddDays(days), await ExpiryAsync(site));
        Assert.Equal("ada", await browser.WhoAsync(site));
    }

    /// <summary>A token that was revoked and taken out must not come back; and what another request has put in stays.</summary>
    [Fact]
    public async Task Properties_that_a_request_takes_out_changes_or_adds_are_stored_so()
    {
        SessionIdHolder held = new();
        TicketSite? node = null;
        await using var site = await TicketSite.StartAsync(plan =>
            plan.Cookie = cookie =>
                cookie.Events.OnValidatePrincipal = async context =>
                {
                    if (!held.Meanwhile)
                        return;

                    var its = context.Properties.Items;
                    its.Remove("taken out");
                    its["changed"] = "after";
                    its["added"] = "after";
                    context.ShouldRenew = true;
                    await node!.Manager.UpdateAsync(
                        held.Id,
                        ticket =>
                        {
                            ticket!.Properties.Items["another's"] = "meanwhile";
                            return ticket;
                        }
                    );
                }
        );
        node = site;
        var browser = new TicketBrowser();
        var properties = new AuthenticationProperties();
        foreach (var name in new[] { "taken out", "changed", "left" })
            properties.Items[name] = "before";

        await browser.SignInAsync(site, "ada", properties: properties);
        held.Id = (await site.ListAsync("ada")).Single().Id;
        held.Meanwhile = true;
        await browser.WhoAsync(site);
        held.Meanwhile = false;
        await browser.RunAsync(
            site,
            async context =>
            {
                var items = (await context.AuthenticateAsync()).Properties!.Items;
                Assert.DoesNotContain("taken out", items.Keys);
                Assert.Equal(("after", "after"), (items["changed"], items["added"]));
                Assert.Equal(("before", "meanwhile"), (items["left"], items["another's"]));
            }
        );
    }

    [Fact]
    public async Task An_extension_that_the_store_does_not_take_fails_no_request()
    {
        var store = new FailingStore();
        using var ear = new LogEar();
        await using var site = await TicketSite.StartAsync(plan =>
        {
            plan.Store = store;
            plan.Services = ear.Listen;
        });
        var browser = new TicketBrowser();
        await browser.SignInAsync(site, "ada", properties: Persistent.Clone());
        await browser.WhoAsync(site);
        var before = await ExpiryAsync(site);
        site.Clock.Advance(TimeSpan.FromDays(8));
        ear.Take();
        var answer = await browser.RunAsync(
            site,
            context =>
            {
                store.TakesNoWrites = true;
                return context.Response.WriteAsync(TicketBrowser.Name(context.User));
            }
        );
        Assert.Equal((HttpStatusCode.OK, "ada"), (answer.Status, answer.Body));
        Assert.Empty(answer.SetCookies);
        Assert.Contains(ear.Take(), line => line.Contains("was not extended", StringComparison.Ordinal));
        store.TakesNoWrites = false;
        Assert.Equal(before, await ExpiryAsync(site));
        Assert.Equal("ada", await browser.WhoAsync(site));
        Assert.True(await ExpiryAsync(site) > before);
    }

    [Fact]
    public async Task A_ticket_that_is_not_to_be_extended_is_not()
    {
        await using var site = await TicketSite.StartAsync();
        var browser = new TicketBrowser();
        await browser.SignInAsync(site, "ada", properties: new() { AllowRefresh = false });
        var before = await ExpiryAsync(site);
        site.Clock.Advance(TimeSpan.FromDays(8));
        Assert.Equal("ada", await browser.WhoAsync(site));
        Assert.Equal(before, await ExpiryAsync(site));
    }

    private sealed class SessionIdHolder
    {
        public global::Session.CSharp.SessionId Id { get; set; }
        public string? Replaces { get; set; }
        public bool Meanwhile { get; set; }
    }
}
