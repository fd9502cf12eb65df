using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Session.AspNetCore;
using Session.CSharp;
using Session.Engine;
using Session.Testing;
using Xunit;

namespace Facade.OpenIdConnect;

/// <summary>A logout at the identity provider ends just the sessions that it means, on every node.</summary>
public class BackChannelLogoutTests
{
    private const string Other = "https://other.example.com";

    private static async Task<string> WhoeverAsync(LogoutSite node, params string[] tokens)
    {
        var all = new List<string>();
        foreach (var token in tokens)
            all.Add(await node.WhoAsync(token) ?? "-");

        return string.Join(' ', all);
    }

    [Fact]
    public async Task A_session_of_the_provider_ends_the_sessions_here_that_came_from_it_and_no_other()
    {
        await using var provider = await IdentityProvider.StartAsync();
        var store = new MemoryStore();
        await using var node = await LogoutSite.StartAsync(provider, store);
        await using var second = await LogoutSite.StartAsync(provider, store);
        var one = await node.SignInAsync("ada", "A");
        var same = await second.SignInAsync("ada", "A");
        var other = await node.SignInAsync("ada", "B");
        var elsewhere = await node.SignInAsync("ada", "A", Other);
        var local = await node.Site.BeginAsync("ada");
        Assert.Equal(HttpStatusCode.OK, (await node.LogOutAsync("A", "ada")).Status);
        Assert.Equal("- - ada ada ada", await WhoeverAsync(second, one, same, other, elsewhere, local));
    }

    [Fact]
    public async Task A_user_of_the_provider_ends_all_sessions_that_came_from_there_and_no_other()
    {
        await using var provider = await IdentityProvider.StartAsync();
        using var ear = new LogEar();
        await using var node = await LogoutSite.StartAsync(provider, add: ear.Listen);
        var one = await node.SignInAsync("ada", "A");
        var two = await node.SignInAsync("ada", "B");
        var nameless = await node.SignInAsync("ada", null);
        var eve = await node.SignInAsync("eve", "E");
        var elsewhere = await node.SignInAsync("ada", "A", Other);
        var local = await node.Site.BeginAsync("ada");
        Assert.Equal(HttpStatusCode.OK, (await node.LogOutAsync(null, "ada")).Status);
        Assert.Equal("- - - eve ada ada", await WhoeverAsync(node, one, two, nameless, eve, elsewhere, local));
        Assert.Contains("A back-channel logout has ended 3 sessions.", ear.Take());

        // Whoever signs in again is not kept out.
        var again = await node.SignInAsync("ada", "C");
        Assert.Equal("ada", await node.WhoAsync(again));
    }

    [Fact]
    public async Task However_many_sessions_a_user_has_none_stays()
    {
        await using var provider = await IdentityProvider.StartAsync();
        await using var node = await LogoutSite.StartAsync(provider);

        // The store lists a few hundred at a time.
        var tokens = new List<string>();
        for (var i = 0; i < 450; i++)
            tokens.Add(await node.SignInAsync("ada", null));

        Assert.Equal(HttpStatusCode.OK, (await node.LogOutAsync(null, "ada")).Status);
        Assert.Empty(await node.Site.Manager.ListAsync("ada").ToListAsync());
        Assert.Null(await node.WhoAsync(tokens[0]));
        Assert.Null(await node.WhoAsync(tokens[^1]));
    }

    [Fact]
    public async Task Names_that_only_look_alike_when_they_are_joined_are_different_ones()
    {
        await using var provider = await IdentityProvider.StartAsync();
        await using var node = await LogoutSite.StartAsync(provider);
        var (shorter, rest) = (provider.Issuer[..^1], provider.Issuer[^1..]);
        var bySession = await node.SignInAsync("ada", rest + "A", shorter);
        var byUser = await node.SignInAsync(rest + "eve", null, shorter);
        Assert.Equal(HttpStatusCode.OK, (await node.LogOutAsync("A")).Status);
        Assert.Equal(HttpStatusCode.OK, (await node.LogOutAsync(null, "eve")).Status);
        Assert.Equal($"ada {rest}eve", await WhoeverAsync(node, bySession, byUser));

        // A session there may have the name of a user.
        var ada = await node.SignInAsync("ada", "bob");
        var bob = await node.SignInAsync("bob", "ada");
        Assert.Equal(HttpStatusCode.OK, (await node.LogOutAsync(null, "bob")).Status);
        Assert.Equal("ada -", await WhoeverAsync(node, ada, bob));
        bob = await node.SignInAsync("bob", "B");
        Assert.Equal(HttpStatusCode.OK, (await node.LogOutAsync("bob")).Status);
        Assert.Equal("- bob", await WhoeverAsync(node, ada, bob));
    }

    [Fact]
    public async Task Providers_name_their_tokens_each_by_itself()
    {
        await using var first = await IdentityProvider.StartAsync();
        await using var second = await IdentityProvider.StartAsync();
        var store = new MemoryStore();
        await using var node = await LogoutSite.StartAsync(first, store);
        await using var other = await LogoutSite.StartAsync(second, store);
        var (ada, eve) = (await node.SignInAsync("ada", "A"), await other.SignInAsync("eve", "E"));
        foreach (var (site, sid) in new[] { (node, "A"), (other, "E") })
        {
            var draft = site.Draft(sid);
            draft.Claims["jti"] = "1";
            Assert.Equal(HttpStatusCode.OK, (await site.PostAsync(draft.Write())).Status);
        }

        Assert.Equal("- -", await WhoeverAsync(node, ada, eve));
    }

    [Fact]
    public async Task A_user_may_have_another_name_there()
    {
        await using var provider = await IdentityProvider.StartAsync();
        await using var node = await LogoutSite.StartAsync(provider);
        var external = new ExternalSession(provider.Issuer, "A", "user 7");
        var token = (
            await node.Site.WithAsync(session => session.SignInAsync("ada", new Cart("tea"), external))
        ).Token!;
        Assert.Equal(HttpStatusCode.OK, (await node.LogOutAsync(null, "ada")).Status);
        Assert.Equal("ada", await node.WhoAsync(token));
        Assert.Equal(HttpStatusCode.OK, (await node.LogOutAsync(null, "user 7")).Status);
        Assert.Null(await node.WhoAsync(token));
    }

    [Fact]
    public async Task Who_signs_in_later_in_the_same_browser_is_not_meant()
    {
        await using var provider = await IdentityProvider.StartAsync();
        await using var node = await LogoutSite.StartAsync(provider);
        var token = await node.SignInAsync("ada", "A");
        var bob = (await node.Site.WithAsync(session => session.SignInAsync("bob", new Cart("milk")), token)).Token!;
        Assert.Equal(HttpStatusCode.OK, (await node.LogOutAsync("A")).Status);
        Assert.Equal(HttpStatusCode.OK, (await node.LogOutAsync(null, "ada")).Status);
        Assert.Equal("bob", await node.WhoAsync(bob));

        // And a sign-in with another session of the provider's counts as that one.
        var next = await node.SignInAsync("bob", "B", token: bob);
        next = await node.SignInAsync("bob", "C", token: next);
        Assert.Equal(HttpStatusCode.OK, (await node.LogOutAsync("B")).Status);
        Assert.Equal("bob", await node.WhoAsync(next));
        Assert.Equal(HttpStatusCode.OK, (await node.LogOutAsync("C")).Status);
        Assert.Null(await node.WhoAsync(next));
    }

    [Fact]
    public async Task Nor_is_whoever_that_is_where_the_record_cannot_be_read_here()
    {
        await using var provider = await IdentityProvider.StartAsync();
        ISessionStore store = new MemoryStore();
        await using var node = await LogoutSite.StartAsync(provider, store);
        var token = await node.SignInAsync("ada", "A");
        var bob = (await node.Site.WithAsync(session => session.SignInAsync("bob", new Cart("milk")), token)).Token!;
        await Damaged.RecordAsync(store, Site.IdOf(bob));
        Assert.Equal("temporarily_unavailable", (await node.LogOutAsync("A")).Error);
        var left = await store.Load(Site.IdOf(bob).Value, default);
        Assert.NotEqual(RecordKind.Ended, left!.Kind);
    }

    [Fact]
    public async Task A_session_that_is_open_hears_of_it()
    {
        await using var provider = await IdentityProvider.StartAsync();
        var store = new MemoryStore();
        await using var one = await LogoutSite.StartAsync(provider, store);
        await using var other = await LogoutSite.StartAsync(provider, store);
        var token = await one.SignInAsync("ada", "A");
        await using var held = await Held.OpenAsync(one.Site, token);
        Assert.Equal(HttpStatusCode.OK, (await other.LogOutAsync("A")).Status);
        Assert.Equal(SessionEndCause.Revoked, await held.CauseAsync());
    }

    [Fact]
    public async Task A_sign_in_with_a_session_that_is_over_there_is_refused()
    {
        await using var provider = await IdentityProvider.StartAsync();
        await using var node = await LogoutSite.StartAsync(provider);
        Assert.Equal(HttpStatusCode.OK, (await node.LogOutAsync("A")).Status);
        var began = await node.Site.WithAsync(session =>
            Assert.ThrowsAsync<SessionEndedException>(() =>
                session.SignInAsync("ada", new Cart("tea"), (provider.Issuer, "A"))
            )
        );
        Assert.Null(began.Token);
        Assert.Empty(await node.Site.Manager.ListAsync("ada").ToListAsync());

        // Of somebody who had a session before.
        var token = await node.Site.BeginAsync();
        var elevated = await node.Site.WithAsync(
            session =>
                Assert.ThrowsAsync<SessionEndedException>(() =>
                    session.SignInAsync("ada", new Cart("tea"), (provider.Issuer, "A"))
                ),
            token
        );
        Assert.Null(elevated.Token);
        Assert.Null(await node.WhoAsync(token));
    }

    /// <summary>Nobody gets its token, but it is stored: whoever lists sessions finds it.</summary>
    [Fact]
    public async Task A_refused_sign_in_that_the_store_does_not_let_go_of_is_not_said_to_be_over()
    {
        await using var provider = await IdentityProvider.StartAsync();
        var store = new Endless();
        await using var node = await LogoutSite.StartAsync(provider, store);
        Assert.Equal(HttpStatusCode.OK, (await node.LogOutAsync("A")).Status);
        store.IsEndless = true;
        var began = await node.Site.WithAsync(session =>
            Assert.ThrowsAsync<SessionUnavailableException>(() =>
                session.SignInAsync("ada", new Cart("tea"), (provider.Issuer, "A"))
            )
        );
        Assert.Null(began.Token);
        store.IsEndless = false;
        Assert.Single(await node.Site.Manager.ListAsync("ada").ToListAsync());
        Assert.Equal(1, await node.Site.Manager.DestroyAllAsync("ada"));
    }

    /// <summary>Takes everything but the end of a session.</summary>
    private sealed class Endless() : ForwardingStore(new MemoryStore())
    {
        public bool IsEndless { get; set; }

        public override ValueTask<WriteResult> Replace(StoredRecord record, long expected, CancellationToken cancel) =>
            IsEndless && record.Kind == RecordKind.Ended
                ? throw new IOException("no answer")
                : base.Replace(record, expected, cancel);
    }

    [Fact]
    public async Task A_store_that_fails_is_no_200_and_the_same_token_does_its_work_later()
    {
        await using var provider = await IdentityProvider.StartAsync();
        var store = new FailingStore(new MemoryStore());
        await using var node = await LogoutSite.StartAsync(provider, store);
        var token = await node.SignInAsync("ada", "A");
        var logout = node.Draft("A").Write();
        store.Failure = StoreFailure.Unavailable;
        var failed = await node.PostAsync(logout);
        Assert.Equal((HttpStatusCode.BadRequest, "temporarily_unavailable"), (failed.Status, failed.Error));
        store.Failure = StoreFailure.None;
        Assert.Equal("ada", await node.WhoAsync(token));
        Assert.Equal(HttpStatusCode.OK, (await node.PostAsync(logout)).Status);
        Assert.Null(await node.WhoAsync(token));
    }

    /// <summary>The provider alone hears the answers: whoever runs the application reads in the log what became of its logouts.</summary>
    [Fact]
    public async Task The_log_has_what_became_of_each_logout()
    {
        using var ear = new LogEar();
        await using var provider = await IdentityProvider.StartAsync();
        var store = new FailingStore(new MemoryStore());
        await using var node = await LogoutSite.StartAsync(provider, store, add: ear.Listen);
        await node.SignInAsync("ada", null);
        await node.SignInAsync("ada", null);

        async Task<string> SaidAsync(string token)
        {
            ear.Take();
            await node.PostAsync(token);
            return Assert.Single(
                ear.Take(),
                line => line.StartsWith("A back-channel logout ", StringComparison.Ordinal)
            );
        }

        var logout = node.Draft(null, "ada").Write();
        Assert.Contains("has ended 2 sessions", await SaidAsync(logout), StringComparison.Ordinal);
        var refused = await SaidAsync(logout);
        Assert.Contains("was refused, and nobody was signed out", refused, StringComparison.Ordinal);
        Assert.Contains("used before (jti)", refused, StringComparison.Ordinal);
        Assert.Contains("was refused", await SaidAsync("no token"), StringComparison.Ordinal);
        Assert.Contains("was refused", await SaidAsync(""), StringComparison.Ordinal);
        store.Failure = StoreFailure.Unavailable;
        Assert.Contains(
            "failed: the session store",
            await SaidAsync(node.Draft("A").Write()),
            StringComparison.Ordinal
        );
        store.Failure = StoreFailure.None;
        provider.IsDown = true;
        node.Site.Clock.Advance(TimeSpan.FromHours(1));
        Assert.Contains("failed: the keys", await SaidAsync(node.Draft("A").Write()), StringComparison.Ordinal);
    }

    /// <summary>Takes everything, and finds nothing by whose it is.</summary>
    private sealed class Unlisted() : ForwardingStore(new MemoryStore())
    {
        public override ValueTask<StoredPage> BySubject(
            string subject,
            string? after,
            int limit,
            CancellationToken cancel
        ) => throw new NotSupportedException("no index");
    }

    [Theory]
    [InlineData("A", null)]
    [InlineData(null, "ada")]
    public async Task A_store_that_finds_no_session_is_no_200(string? sid, string? sub)
    {
        await using var provider = await IdentityProvider.StartAsync();
        await using var node = await LogoutSite.StartAsync(provider, new Unlisted());
        var failed = await node.LogOutAsync(sid, sub);
        Assert.Equal((HttpStatusCode.BadRequest, "temporarily_unavailable"), (failed.Status, failed.Error));
        Assert.Contains("cannot list sessions", failed.Description, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Whichever_call_of_the_store_fails_a_sign_in_is_found_or_is_none_and_a_200_is_true()
    {
        await using var provider = await IdentityProvider.StartAsync();
        var (store, failed) = (new Stepped(new MemoryStore()), 0);
        await using var node = await LogoutSite.StartAsync(provider, store);
        for (var call = 1; ; call++)
        {
            store.FailAt(call);
            string? token = null;
            var answer = await node.Site.WithAsync(async session =>
                await Record.ExceptionAsync(() =>
                    session.SignInAsync("ada", new Cart("tea"), external: (provider.Issuer, $"sid {call}"))
                )
            );
            token = answer.Token;
            var isOver = store.IsSpent;
            store.FailAt(0);
            Assert.Equal(HttpStatusCode.OK, (await node.LogOutAsync($"sid {call}")).Status);
            if (token is not null)
                Assert.Null(await node.WhoAsync(token));

            if (!isOver)
                break;

            failed++;
        }

        Assert.InRange(failed, 5, 100);
        for (var call = 1; ; call++)
        {
            var token = await node.SignInAsync("ada", $"and {call}");
            var logout = node.Draft($"and {call}").Write();
            store.FailAt(call);
            var status = (await node.PostAsync(logout)).Status;
            var isOver = store.IsSpent;
            store.FailAt(0);
            // What was not acknowledged may be sent again, and does its work then.
            if (status != HttpStatusCode.OK)
                Assert.Equal(HttpStatusCode.OK, (await node.PostAsync(logout)).Status);

            Assert.Null(await node.WhoAsync(token));

            if (!isOver)
                break;
        }
    }

    [Fact]
    public async Task A_sign_in_that_is_stored_and_not_acknowledged_is_found_by_a_logout()
    {
        await using var provider = await IdentityProvider.StartAsync();
        await using var node = await LogoutSite.StartAsync(provider, new Doubtful());
        var answer = await node.Site.WithAsync(session =>
            Assert.ThrowsAsync<SessionUnavailableException>(() =>
                session.SignInAsync("ada", new Cart("tea"), external: (provider.Issuer, "sid"))
            )
        );
        Assert.Equal("ada", await node.WhoAsync(answer.Token!));
        Assert.Equal(HttpStatusCode.OK, (await node.LogOutAsync("sid")).Status);
        Assert.Null(await node.WhoAsync(answer.Token!));
    }

    /// <summary>Takes each new session, and does not say whether its replicas have it.</summary>
    private sealed class Doubtful() : ForwardingStore(new MemoryStore())
    {
        public override async ValueTask<WriteResult> Insert(StoredRecord record, CancellationToken cancel) =>
            await base.Insert(record, cancel) is var answer && record.Kind == RecordKind.Live
                ? WriteResult.Unacknowledged
                : answer;
    }

    [Fact]
    public async Task What_is_kept_of_it_goes_when_its_time_has_come()
    {
        await using var provider = await IdentityProvider.StartAsync();
        ISessionStore store = new MemoryStore();
        await using var node = await LogoutSite.StartAsync(provider, store);
        await node.SignInAsync("ada", "A");
        var token = await node.SignInAsync("ada", "B");
        Assert.Equal(HttpStatusCode.OK, (await node.LogOutAsync("A")).Status);
        Assert.Equal("ada", await node.WhoAsync(token));
        var engine = node.Site.Services.GetRequiredService<SessionService<Cart>>().Engine;
        Assert.Equal(1, await store.Count(default));
        Assert.Single(await node.Site.Manager.ListAsync("ada").ToListAsync());
        for (var day = 0; day < 60; day++)
        {
            node.Site.Clock.Advance(TimeSpan.FromDays(1));
            await engine.Sweep(1000, default);
        }

        Assert.Empty((await store.Enumerate(null, 100, default)).Records);
    }

    [Fact]
    public async Task A_session_that_is_used_is_found_as_long_as_it_may_live()
    {
        await using var provider = await IdentityProvider.StartAsync();
        await using var node = await LogoutSite.StartAsync(provider, configure: o => o.RotateEvery = null);
        var engine = node.Site.Services.GetRequiredService<SessionService<Cart>>().Engine;
        var (bySession, byUser) = (await node.SignInAsync("ada", "A"), await node.SignInAsync("eve", null));
        var step = TimeSpan.FromMinutes(20);
        for (var age = step; age < node.Site.Settings.AbsoluteTimeout; age += step)
        {
            node.Site.Clock.Advance(step);
            await engine.Sweep(1000, default);
            Assert.Equal("ada eve", await WhoeverAsync(node, bySession, byUser));
        }

        Assert.Equal(HttpStatusCode.OK, (await node.LogOutAsync("A")).Status);
        Assert.Equal(HttpStatusCode.OK, (await node.LogOutAsync(null, "eve")).Status);
        Assert.Equal("- -", await WhoeverAsync(node, bySession, byUser));
    }

    [Fact]
    public async Task What_is_over_there_is_remembered_for_a_day()
    {
        await using var provider = await IdentityProvider.StartAsync();
        await using var node = await LogoutSite.StartAsync(provider);
        var engine = node.Site.Services.GetRequiredService<SessionService<Cart>>().Engine;
        Assert.Equal(HttpStatusCode.OK, (await node.LogOutAsync("A")).Status);
        node.Site.Clock.Advance(TimeSpan.FromDays(1) - TimeSpan.FromSeconds(1));
        await engine.Sweep(1000, default);
        await node.Site.WithAsync(session =>
            Assert.ThrowsAsync<SessionEndedException>(() =>
                session.SignInAsync("ada", new Cart("tea"), (provider.Issuer, "A"))
            )
        );
    }

    [Fact]
    public async Task A_policy_for_everything_else_does_not_keep_the_provider_out()
    {
        await using var provider = await IdentityProvider.StartAsync();
        await using var node = await LogoutSite.StartAsync(
            provider,
            before: app =>
            {
                app.UseAuthentication();
                app.UseAuthorization();
                app.MapGet("/closed", () => "open");
            },
            add: services =>
            {
                services.AddAuthentication().AddSession<Cart>();
                services.AddAuthorization(o => o.FallbackPolicy = o.DefaultPolicy);
            }
        );
        Assert.Equal(HttpStatusCode.Unauthorized, (await node.Site.SendAsync("/closed")).Status);
        Assert.Equal(HttpStatusCode.OK, (await node.LogOutAsync("A")).Status);
    }

    [Fact]
    public async Task Names_that_read_alike_one_after_the_other_are_of_two_providers()
    {
        await using var provider = await IdentityProvider.StartAsync();
        await using var node = await LogoutSite.StartAsync(provider);
        var near = await node.SignInAsync("eve", "A", provider.Issuer + "7");
        var meant = await node.SignInAsync("ada", "7A");
        Assert.Equal(HttpStatusCode.OK, (await node.LogOutAsync("7A")).Status);
        Assert.Equal("eve -", await WhoeverAsync(node, near, meant));

        meant = await node.SignInAsync("7eve", "B");
        Assert.Equal(HttpStatusCode.OK, (await node.LogOutAsync(null, "7eve")).Status);
        Assert.Equal("eve -", await WhoeverAsync(node, near, meant));
    }

    [Fact]
    public async Task A_sign_in_without_a_provider_asks_the_store_for_nothing_more()
    {
        await using var provider = await IdentityProvider.StartAsync();
        var store = new Stepped(new MemoryStore());
        await using var node = await LogoutSite.StartAsync(provider, store);
        store.FailAt(0);
        await node.Site.WithAsync(session => session.SignInAsync("ada", new Cart("tea")));
        Assert.Equal(1, store.Calls);
        store.FailAt(0);
        await node.SignInAsync("ada", "A");
        Assert.Equal(5, store.Calls);
    }
}
