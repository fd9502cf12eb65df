using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authentication.Cookies;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;
using Session.AspNetCore;
using Session.CSharp;
using Session.Engine;
using Xunit;

namespace Facade.Tickets;

public class TicketSettingsTests
{
    private static async Task<string> RefusalAsync(Action<TicketPlan> change)
    {
        var error = await Assert.ThrowsAsync<OptionsValidationException>(() => TicketSite.StartAsync(change));
        return error.Message;
    }

    /// <summary>What tickets have a use for. Each other setting that there is, or will be, has to be refused.</summary>
    private static readonly string[] OfTickets =
    [
        "IdleTimeout",
        "AbsoluteTimeout",
        "ConfirmTimeout",
        "TombstoneRetention",
        "MaxSessionsPerSubject",
        "WhenLimitReached",
        "MaxDataBytes",
        "GenerateId",
        "ServerKey",
        "FormerServerKeys",
        "SweepInterval",
        "RequestTimeout",
        "EventTimeout",
        "ContinueWithoutStore",
        "Events",
    ];

    private static readonly (string Name, Action<SessionOptions<AuthenticationTicket>> Set)[] OfNoUse =
    [
        ("Cookie", it => it.Cookie.Name = "__Host-mine"),
        ("Cookie", it => it.Cookie.SameSite = SameSiteMode.Strict),
        ("Cookie", it => it.Cookie.SecurePolicy = CookieSecurePolicy.SameAsRequest),
        ("Cookie", it => it.Cookie.MaxAge = TimeSpan.FromDays(1)),
        ("Cookie", it => it.Cookie.Path = "/shop"),
        ("Cookie", it => it.Cookie.Domain = "example.com"),
        ("Cookie", it => it.Cookie.HttpOnly = false),
        ("Cookie", it => it.Cookie.IsEssential = true),
        ("Cookie", it => it.Cookie.Expiration = TimeSpan.FromDays(1)),
        ("Cookie", it => it.Cookie.Extensions.Add("Partitioned")),
        ("Cookie", it => it.Cookie = new CookieBuilder()),
        ("Cookie", it => it.Cookie = null!),
        ("Partitioned", it => it.Partitioned = true),
        ("HeaderName", it => it.HeaderName = "X-Ticket"),
        ("TrustedOrigins", it => it.TrustedOrigins.Add("https://app.example.com")),
        ("AllowCrossSiteWrites", it => it.AllowCrossSiteWrites = true),
        ("RotateEvery", it => it.RotateEvery = TimeSpan.FromMinutes(5)),
        ("RotationGrace", it => it.RotationGrace = TimeSpan.FromMinutes(1)),
        ("DestroyOnReplay", it => it.DestroyOnReplay = false),
        ("LiveCheck", it => it.LiveCheck = TimeSpan.FromMinutes(1)),
        ("ConnectionsExtendIdle", it => it.ConnectionsExtendIdle = true),
        ("DataVersion", it => it.DataVersion = 2),
        ("Upcasters", it => it.Upcasters[1] = json => json),
        ("Serializer", it => it.Serializer = new Unused()),
    ];

    [Fact]
    public void Each_setting_is_of_use_to_tickets_or_is_refused() =>
        Assert.Equal(
            typeof(SessionOptions<AuthenticationTicket>).GetProperties().Select(it => it.Name).Order(),
            OfTickets.Concat(OfNoUse.Select(it => it.Name).Distinct()).Order()
        );

    [Fact]
    public async Task What_would_change_nothing_for_tickets_is_refused_at_start()
    {
        foreach (var (name, set) in OfNoUse)
        {
            var sentence = await RefusalAsync(plan => plan.Tickets = set);
            Assert.Contains("AddServerSideTickets has no use for " + name, sentence, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task What_the_first_line_says_of_tickets_a_second_one_leaves_as_it_is()
    {
        await using var site = await TicketSite.StartAsync(plan =>
        {
            plan.Tickets = it => it.IdleTimeout = TimeSpan.FromMinutes(15);
            plan.Services = services => services.AddServerSideTickets(it => it.MaxSessionsPerSubject = 3);
        });
        var settings = site.Services.GetRequiredService<SessionService<AuthenticationTicket>>().Settings;
        Assert.Equal((TimeSpan.FromMinutes(15), 3), (settings.IdleTimeout, settings.MaxSessionsPerSubject?.Value));
    }

    [Fact]
    public async Task What_is_configured_before_the_first_line_counts_for_tickets()
    {
        var services = new ServiceCollection().AddLogging();
        services.Configure<SessionOptions<AuthenticationTicket>>(it => it.IdleTimeout = TimeSpan.FromMinutes(15));
        services.AddServerSideTickets().UseMemory();
        await using var provider = services.BuildServiceProvider();
        var settings = provider.GetRequiredService<SessionService<AuthenticationTicket>>().Settings;
        Assert.Equal(TimeSpan.FromMinutes(15), settings.IdleTimeout);
    }

    [Fact]
    public async Task Another_ticket_store_is_refused_at_start()
    {
        var own = await RefusalAsync(plan => plan.Cookie = cookie => cookie.SessionStore = new Nothing());
        Assert.Contains("'Cookies' has a SessionStore of its own", own, StringComparison.Ordinal);
        foreach (
            var change in new Action<CookieAuthenticationOptions>[]
            {
                it => it.SessionStore = new Nothing(),
                it => it.CookieManager = new ChunkingCookieManager(),
            }
        )
        {
            var later = await RefusalAsync(plan =>
                plan.Services = services => services.PostConfigure("Cookies", change)
            );
            Assert.Contains("'Cookies' gets another SessionStore or CookieManager", later, StringComparison.Ordinal);
        }
    }

    /// <summary>Each kind of sessions has a place of its own in a database; so it has in the one that it moves from.</summary>
    [Fact]
    public void What_moves_is_looked_for_where_it_was()
    {
        var services = new ServiceCollection();
        var places = new List<string>();
        foreach (
            var sessions in new[]
            {
                services.AddSession<Cart>(),
                services.AddServerSideTickets(),
                services.AddSessionCompatibility(),
            }
        )
            sessions
                .UseMemory()
                .MigrateFrom(former =>
                {
                    places.Add(former.Place);
                    Assert.Equal(sessions.DataType, former.DataType);
                    return former.UseMemory();
                });
        Assert.Equal(["session", "ticket", "httpsession"], places);
    }

    /// <summary>The store that is named last counts, whatever was said of one before.</summary>
    [Fact]
    public async Task A_store_that_is_named_later_takes_the_place_of_a_move_and_may_begin_another_one()
    {
        var services = new ServiceCollection();
        foreach (var sessions in new[] { services.AddSession<Cart>(), services.AddServerSideTickets() })
            sessions.UseMemory().MigrateFrom(former => former.UseMemory()).UseMemory();

        new SessionBuilder(services, typeof(Cart)).MigrateFrom(former => former.UseMemory());
        await using var provider = services.BuildServiceProvider();
        Assert.IsType<MigratingStore>(provider.GetRequiredKeyedService<ISessionStore>(typeof(Cart)));
        Assert.IsType<MemoryStore>(provider.GetRequiredKeyedService<ISessionStore>(typeof(AuthenticationTicket)));
    }

    [Fact]
    public async Task A_cookie_manager_and_a_format_of_the_applications_own_are_used()
    {
        var manager = new Counting();
        await using var site = await TicketSite.StartAsync(plan =>
        {
            plan.TicketsFirst = true;
            plan.Cookie = cookie => cookie.CookieManager = manager;
        });
        var browser = new TicketBrowser();
        await browser.SignInAsync(site, "ada");
        await browser.SignInAsync(site, "ada", "admin");
        Assert.Equal("ada admin", await browser.WhoAsync(site));
        await browser.SignOutAsync(site);
        Assert.Equal((2, 1), (manager.Set, manager.Deleted));
    }

    private static ITicketStore StoreOf(TicketSite site) =>
        site.Services.GetRequiredService<IOptionsMonitor<CookieAuthenticationOptions>>().Get("Cookies").SessionStore!;

    [Fact]
    public async Task The_methods_without_a_request_keep_find_and_remove_a_ticket()
    {
        await using var site = await TicketSite.StartAsync();
        var store = StoreOf(site);
        var ticket = new AuthenticationTicket(TicketSite.Principal("ada"), "Cookies");
        var key = await store.StoreAsync(ticket);
        Assert.Equal("ada", TicketBrowser.Name((await store.RetrieveAsync(key))!.Principal));
        await Assert.ThrowsAsync<NotSupportedException>(() => store.RenewAsync(key, ticket));
        Assert.Null(await store.RetrieveAsync(key[..^2] + "AA"));
        Assert.Null(await store.RetrieveAsync("nonsense"));
        await store.RemoveAsync("nonsense");
        await store.RemoveAsync(key);
        Assert.Null(await store.RetrieveAsync(key));
    }

    /// <summary>That the store says nothing of a ticket is no word about its user, and what it has not taken is no success.</summary>
    [Theory, InlineData(false), InlineData(true)]
    public async Task The_methods_without_a_request_fail_with_the_store(bool goesOn)
    {
        var failing = new FailingStore();
        await using var site = await TicketSite.StartAsync(plan =>
        {
            plan.Store = failing;
            plan.Tickets = it => it.ContinueWithoutStore = goesOn;
        });
        var store = StoreOf(site);
        var ticket = new AuthenticationTicket(TicketSite.Principal("ada"), "Cookies");
        var key = await store.StoreAsync(ticket);
        Assert.NotNull(await store.RetrieveAsync(key));
        failing.IsDown = true;
        if (goesOn)
            Assert.Null(await store.RetrieveAsync(key));
        else
            await Assert.ThrowsAsync<SessionUnavailableException>(() => store.RetrieveAsync(key));

        await Assert.ThrowsAsync<SessionUnavailableException>(() => store.StoreAsync(ticket));
        await Assert.ThrowsAsync<SessionUnavailableException>(() => store.RemoveAsync(key));
        (failing.IsDown, failing.TakesNoWrites) = (false, true);
        await Assert.ThrowsAsync<SessionUnavailableException>(() => store.StoreAsync(ticket));
        await Assert.ThrowsAsync<SessionUnavailableException>(() => store.RemoveAsync(key));
        (failing.TakesNoWrites, failing.ConfirmsNoneThatBegins) = (false, true);
        var error = await Assert.ThrowsAsync<SessionUnavailableException>(() => store.StoreAsync(ticket));
        Assert.True(error.MayHaveChanged);
        Assert.NotNull(await store.RetrieveAsync(key));
    }

    /// <summary>The key is all that a ticket store is given: of another request's it would change who is signed in there.</summary>
    [Fact]
    public async Task A_ticket_is_renewed_by_the_request_that_brought_it_alone()
    {
        await using var site = await TicketSite.StartAsync();
        var store = StoreOf(site);
        var (browser, other) = (new TicketBrowser(), new TicketBrowser());
        await browser.SignInAsync(site, "ada");
        await other.SignInAsync(site, "bob");
        var key = site.KeyIn(other.Cookies.Single().Value);
        var ticket = new AuthenticationTicket(TicketSite.Principal("bob", "admin"), "Cookies");
        foreach (var one in new[] { browser, new TicketBrowser() })
            await one.RunAsync(
                site,
                async context =>
                {
                    var error = await Assert.ThrowsAsync<InvalidOperationException>(() =>
                        store.RenewAsync(key, ticket, context, CancellationToken.None)
                    );
                    Assert.Contains("by no other", error.Message, StringComparison.Ordinal);
                }
            );

        Assert.Equal(("ada", "bob"), (await browser.WhoAsync(site), await other.WhoAsync(site)));
    }

    /// <summary>What a newer node has written is left alone, and is a 503 here; what is no ticket at all is nobody's.</summary>
    [Fact]
    public async Task A_ticket_of_a_newer_version_is_told_from_what_is_none()
    {
        await using var site = await TicketSite.StartAsync();
        var serializer = site.Services.GetRequiredService<SessionService<AuthenticationTicket>>().Serializer;
        var bytes = serializer.Serialize(new AuthenticationTicket(TicketSite.Principal("ada"), "Cookies"));
        Assert.Equal("ada", TicketBrowser.Name(serializer.Deserialize(bytes).Principal));
        foreach (byte version in new byte[] { 2, byte.MaxValue })
        {
            byte[] newer = [version, .. bytes[1..]];
            Assert.Throws<NewerSessionDataException>(() => serializer.Deserialize(newer));
        }

        foreach (var none in new byte[][] { [0, .. bytes[1..]], bytes[..9], [1] })
            Assert.Throws<FormatException>(() => serializer.Deserialize(none));
    }

    private sealed class Unused : ISessionSerializer<AuthenticationTicket>
    {
        public byte[] Serialize(AuthenticationTicket value) => [];

        public AuthenticationTicket Deserialize(ReadOnlyMemory<byte> bytes) => throw new NotSupportedException();
    }

    private sealed class Nothing : ITicketStore
    {
        public Task<string> StoreAsync(AuthenticationTicket ticket) => Task.FromResult("");

        public Task RenewAsync(string key, AuthenticationTicket ticket) => Task.CompletedTask;

        public Task<AuthenticationTicket?> RetrieveAsync(string key) => Task.FromResult<AuthenticationTicket?>(null);

        public Task RemoveAsync(string key) => Task.CompletedTask;
    }

    private sealed class Counting : ICookieManager
    {
        private readonly ChunkingCookieManager _inner = new();

        public int Set { get; private set; }
        public int Deleted { get; private set; }

        public string? GetRequestCookie(HttpContext context, string key) => _inner.GetRequestCookie(context, key);

        public void AppendResponseCookie(HttpContext context, string key, string? value, CookieOptions options)
        {
            Set++;
            _inner.AppendResponseCookie(context, key, value, options);
        }

        public void DeleteCookie(HttpContext context, string key, CookieOptions options)
        {
            Deleted++;
            _inner.DeleteCookie(context, key, options);
        }
    }
}
