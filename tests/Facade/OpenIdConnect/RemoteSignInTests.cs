using System.Net;
using System.Security.Claims;
using Facade.Tickets;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.TestHost;
using Microsoft.Extensions.DependencyInjection;
using Session.AspNetCore;
using Session.CSharp;
using Session.Engine;
using Xunit;

namespace Facade.OpenIdConnect;

/// <summary>
/// A handler of the framework that leaves the site for a sign-in (<c>AddOpenIdConnect</c>) signs in by a scheme, and names no session
/// of the provider's: its logouts find what it has begun all the same.
/// </summary>
public class RemoteSignInTests
{
    /// <summary>What such a handler hands to the scheme: each claim has the provider for issuer.</summary>
    private static (ClaimsPrincipal User, AuthenticationProperties Properties) Back(
        string issuer,
        string user,
        string? sid,
        bool isRemote = true,
        string subjectClaim = "sub",
        string? sidIssuer = null
    )
    {
        var identity = new ClaimsIdentity(
            [new Claim(subjectClaim, user, ClaimValueTypes.String, issuer)],
            "AuthenticationTypes.Federation"
        );
        if (sid is not null)
            identity.AddClaim(new Claim("sid", sid, ClaimValueTypes.String, sidIssuer ?? issuer));

        var properties = new AuthenticationProperties();
        if (isRemote)
            properties.Items[".AuthScheme"] = "OpenIdConnect";

        return (new ClaimsPrincipal(identity), properties);
    }

    /// <summary>A node whose cookie scheme obeys the provider's logouts.</summary>
    private static Task<TicketSite> TicketsAsync(
        IdentityProvider provider,
        ISessionStore store,
        Action<SessionOptions<AuthenticationTicket>>? tickets = null
    ) =>
        TicketSite.StartAsync(plan =>
        {
            plan.Store = store;
            plan.Tickets = tickets;
            plan.Pipeline = app =>
                app.MapBackChannelLogout<AuthenticationTicket>(
                    "/signout-backchannel",
                    o =>
                    {
                        o.Authority = provider.Issuer;
                        o.Audience = IdentityProvider.Client;
                        o.RequireHttpsMetadata = false;
                    }
                );
        });

    /// <summary>Somebody who comes back from the provider, with a ticket.</summary>
    private static async Task<TicketBrowser> BackAsync(
        IdentityProvider provider,
        TicketSite site,
        string user,
        string? sid
    )
    {
        var browser = new TicketBrowser();
        var (principal, properties) = Back(provider.Issuer, user, sid, subjectClaim: ClaimTypes.NameIdentifier);
        await browser.RunAsync(site, context => context.SignInAsync(null, principal, properties));
        return browser;
    }

    [Fact]
    public async Task What_it_begins_by_the_scheme_of_the_session_ends_with_a_logout_of_the_provider()
    {
        await using var provider = await IdentityProvider.StartAsync();
        await using var node = await LogoutSite.StartAsync(
            provider,
            add: services =>
                services.AddAuthentication().AddSession<Cart>(o => o.Data = (_, cart) => cart ?? new Cart("tea")),
            before: app =>
                app.MapGet(
                    "/back",
                    (HttpContext context, string user, string? sid, bool remote, string claim, string? of) =>
                    {
                        var (principal, properties) = Back(provider.Issuer, user, sid, remote, claim, of);
                        return context.SignInAsync("Session", principal, properties);
                    }
                )
        );
        async Task<string> BackAsync(string query) => (await node.Site.SendAsync("/back?" + query)).Token!;

        var ada = await BackAsync("user=ada&sid=A&remote=true&claim=sub");
        var mapped = await BackAsync(
            "user=ada&sid=B&remote=true&claim=" + Uri.EscapeDataString(ClaimTypes.NameIdentifier)
        );
        var nameless = await BackAsync("user=eve&remote=true&claim=sub");
        var password = await BackAsync("user=eve&sid=A&remote=false&claim=sub");
        Assert.Equal(HttpStatusCode.OK, (await node.LogOutAsync("A")).Status);
        Assert.Null(await node.WhoAsync(ada));
        Assert.Equal("ada", await node.WhoAsync(mapped));
        Assert.Equal(HttpStatusCode.OK, (await node.LogOutAsync(null, "ada")).Status);
        Assert.Null(await node.WhoAsync(mapped));
        Assert.Equal("eve", await node.WhoAsync(nameless));
        Assert.Equal(HttpStatusCode.OK, (await node.LogOutAsync(null, "eve")).Status);
        Assert.Null(await node.WhoAsync(nameless));
        // Nobody has left the site for this one.
        Assert.Equal("eve", await node.WhoAsync(password));

        // What somebody else calls so, such as the application or another provider, is no session of this one.
        var others = await BackAsync("user=zoe&sid=D&remote=true&claim=sub&of=elsewhere");
        Assert.Equal(HttpStatusCode.OK, (await node.LogOutAsync("D")).Status);
        Assert.Equal("zoe", await node.WhoAsync(others));
        Assert.Equal(HttpStatusCode.OK, (await node.LogOutAsync(null, "zoe")).Status);
        Assert.Null(await node.WhoAsync(others));
    }

    [Fact]
    public async Task A_server_side_ticket_that_it_begins_ends_with_a_logout_of_the_provider()
    {
        await using var provider = await IdentityProvider.StartAsync();
        await using var site = await TicketSite.StartAsync(plan =>
            plan.Pipeline = app =>
                app.MapBackChannelLogout<AuthenticationTicket>(
                    "/signout-backchannel",
                    o =>
                    {
                        o.Authority = provider.Issuer;
                        o.Audience = IdentityProvider.Client;
                        o.RequireHttpsMetadata = false;
                    }
                )
        );
        async Task<HttpStatusCode> LogOutAsync(string? sid, string? sub)
        {
            using var client = ((TestServer)site.Services.GetRequiredService<IServer>()).CreateClient();
            using var form = new FormUrlEncodedContent([
                new("logout_token", provider.Draft(site.Clock.GetUtcNow(), sid, sub).Write()),
            ]);
            using var answer = await client.PostAsync("/signout-backchannel", form);
            return answer.StatusCode;
        }

        async Task<TicketBrowser> BackAsync(string user, string sid, TicketBrowser? browser = null)
        {
            browser ??= new TicketBrowser();
            var (principal, properties) = Back(provider.Issuer, user, sid, subjectClaim: ClaimTypes.NameIdentifier);
            await browser.RunAsync(site, context => context.SignInAsync(null, principal, properties));
            return browser;
        }

        var one = await BackAsync("ada", "A");
        var again = await BackAsync("ada", "C", await BackAsync("ada", "B"));
        var password = new TicketBrowser();
        await password.SignInAsync(site, "ada");
        Assert.Equal(HttpStatusCode.OK, await LogOutAsync("A", null));
        Assert.Equal("nobody", await one.WhoAsync(site));
        Assert.Equal("ada", await again.WhoAsync(site));
        Assert.Equal(HttpStatusCode.OK, await LogOutAsync("C", null));
        Assert.Equal("nobody", await again.WhoAsync(site));
        Assert.Equal("ada", await password.WhoAsync(site));

        // One that is over there begins nothing here.
        var late = new TicketBrowser();
        var (user, from) = Back(provider.Issuer, "ada", "A", subjectClaim: ClaimTypes.NameIdentifier);
        await late.RunAsync(
            site,
            async context =>
                await Assert.ThrowsAsync<SessionEndedException>(() => context.SignInAsync(null, user, from))
        );
        Assert.Equal("nobody", await late.WhoAsync(site));
    }

    /// <summary>A ticket says itself when it ends. What the store keeps of it besides must not stay for as long as any may last.</summary>
    [Fact]
    public async Task What_leads_to_a_ticket_goes_with_it_and_not_before()
    {
        await using var provider = await IdentityProvider.StartAsync();
        ISessionStore store = new MemoryStore();
        await using var site = await TicketsAsync(provider, store);
        var engine = site.Services.GetRequiredService<SessionService<AuthenticationTicket>>().Engine;
        Task<TicketBrowser> BackAsync(string user, string? sid) =>
            RemoteSignInTests.BackAsync(provider, site, user, sid);

        async Task PassAsync(int days, TicketBrowser? inUse = null)
        {
            for (var day = 0; day < days; day++)
            {
                site.Clock.Advance(TimeSpan.FromDays(1));
                await engine.Sweep(1000, CancellationToken.None);
                if (inUse is not null)
                    Assert.Equal("zoe", await inUse.WhoAsync(site));
            }
        }

        async Task<int> CountAsync() => (await store.Enumerate(null, 100, CancellationToken.None)).Records.Count;

        var zoe = await BackAsync("zoe", "C");
        Assert.Equal(3, await CountAsync());
        var ada = await BackAsync("ada", "A");
        await ada.SignOutAsync(site);
        await BackAsync("eve", null);
        await PassAsync(60, zoe);
        Assert.Equal(3, await CountAsync());

        using var client = ((TestServer)site.Services.GetRequiredService<IServer>()).CreateClient();
        using var form = new FormUrlEncodedContent([
            new("logout_token", provider.Draft(site.Clock.GetUtcNow(), "C", null).Write()),
        ]);
        using var answer = await client.PostAsync("/signout-backchannel", form);
        Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
        Assert.Equal("nobody", await zoe.WhoAsync(site));
        await PassAsync(60);
        Assert.Equal(0, await CountAsync());
    }

    /// <summary>A sweeper behind slow handlers comes to what it has claimed when another one has removed it.</summary>
    [Fact]
    public async Task What_leads_to_a_ticket_stays_where_a_late_sweeper_removes_an_older_one_of_the_same_id()
    {
        await using var provider = await IdentityProvider.StartAsync();
        var store = new LateSweeps(new MemoryStore());
        await using var site = await TicketsAsync(provider, store, o => o.GenerateId = _ => "one");
        var engine = site.Services.GetRequiredService<SessionService<AuthenticationTicket>>().Engine;
        async Task<int> CountAsync() => (await store.Enumerate(null, 100, CancellationToken.None)).Records.Count;

        var zoe = await BackAsync(provider, site, "zoe", "C");
        await zoe.SignOutAsync(site);
        for (var day = 0; day < 60; day++)
        {
            site.Clock.Advance(TimeSpan.FromDays(1));
            await engine.Sweep(1000, CancellationToken.None);
        }

        Assert.Equal(0, await CountAsync());
        var ada = await BackAsync(provider, site, "ada", "A");
        store.AreLate = true;
        Assert.Equal(1, await engine.Sweep(1000, CancellationToken.None));
        Assert.Equal("ada", await ada.WhoAsync(site));
        Assert.Equal(3, await CountAsync());
    }

    /// <summary>Once they are late they hand out again what was claimed last.</summary>
    private sealed class LateSweeps(ISessionStore inner) : ForwardingStore(inner)
    {
        private IReadOnlyList<StoredRecord> _claimed = [];

        public bool AreLate { get; set; }

        public override async ValueTask<IReadOnlyList<StoredRecord>> ClaimOverdue(
            DateTimeOffset now,
            TimeSpan lease,
            int limit,
            CancellationToken cancel
        )
        {
            if (AreLate)
                return _claimed;
            var claimed = await base.ClaimOverdue(now, lease, limit, cancel);
            if (claimed.Count > 0)
                _claimed = claimed;
            return claimed;
        }
    }
}
