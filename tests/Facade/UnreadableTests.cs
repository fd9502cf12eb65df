using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Session.AspNetCore;
using Session.CSharp;
using Session.Engine;
using Session.Testing;
using Xunit;

namespace Facade;

/// <summary>Data that this node cannot read: of a newer version, sealed with a key that it has not, damaged.</summary>
public class UnreadableTests
{
    [Fact]
    public async Task A_session_that_could_not_be_read_is_read_again_by_a_reload()
    {
        var store = new FailingStore(new MemoryStore());
        await using var site = await Site.StartAsync(o => o.ContinueWithoutStore = true, store: () => store);
        var token = await site.BeginAsync("ada");
        store.Failure = StoreFailure.Unavailable;
        await site.WithAsync(
            async session =>
            {
                Assert.Null(session.Subject);
                await session.ReloadAsync();
                Assert.Null(session.Subject);
                store.Failure = StoreFailure.None;
                await session.ReloadAsync();
                Assert.Equal(("ada", new Cart("tea")), (session.Subject, session.Data));
            },
            token
        );
    }

    [Fact]
    public async Task What_cannot_be_read_here_is_signed_out_by_nobody()
    {
        ISessionStore store = new MemoryStore();
        await using var site = await Site.StartAsync(store: () => store);
        var token = await site.BeginAsync("ada");
        await Damaged.RecordAsync(store, Site.IdOf(token));
        var reply = await site.WithAsync(
            session => Assert.ThrowsAsync<SessionEndedException>(() => session.DestroyAsync()),
            token
        );
        Assert.Empty(reply.SetCookies);
    }

    [Fact]
    public async Task What_cannot_be_read_here_is_kept_until_no_session_can_live_any_more()
    {
        ISessionStore store = new MemoryStore();
        await using var site = await Site.StartAsync(o => o.SweepInterval = TimeSpan.FromDays(9), store: () => store);
        var id = Site.IdOf(await site.BeginAsync("ada"));
        await Damaged.RecordAsync(store, id);
        var engine = site.Services.GetRequiredService<SessionService<Cart>>().Engine;

        // Eight hours of AbsoluteTimeout, and a day.
        for (var hours = 0; hours < 32; hours++)
        {
            site.Clock.Advance(TimeSpan.FromHours(1));
            await engine.Sweep(100, CancellationToken.None);
            Assert.NotNull(await store.Load(id.Value, CancellationToken.None));
        }

        site.Clock.Advance(TimeSpan.FromHours(1));
        await engine.Sweep(100, CancellationToken.None);
        Assert.Null(await store.Load(id.Value, CancellationToken.None));
    }

    [Fact]
    public async Task Data_of_a_newer_version_is_left_alone()
    {
        var store = new MemoryStore();
        string token;
        await using (
            var newer = await Site.StartAsync(
                o =>
                {
                    o.DataVersion = 2;
                    o.Upcasters[1] = json => json;
                },
                store: () => store
            )
        )
            token = await newer.BeginAsync();

        await using var site = await Site.StartAsync(store: () => store);
        await site.InRequestAsync(
            async context =>
            {
                var error = await Assert.ThrowsAsync<SessionUnavailableException>(async () =>
                    await context.GetSessionAsync<Cart>()
                );
                Assert.Equal(503, error.StatusCode);
                Assert.Contains("newer version", error.Message);
            },
            token
        );
    }

    /// <summary>Its record of a session cannot be read here: a key that another node has, say.</summary>
    private sealed class Sealed() : ForwardingStore(new MemoryStore())
    {
        public override async ValueTask<IReadOnlyList<StoredRecord>> ClaimOverdue(
            DateTimeOffset now,
            TimeSpan lease,
            int limit,
            CancellationToken cancel
        ) =>
            [
                .. (await base.ClaimOverdue(now, lease, limit, cancel)).Select(it => new StoredRecord(
                    it.Id,
                    it.Version,
                    it.Kind,
                    it.LastSeen,
                    it.DueAt,
                    it.Subject,
                    it.Operation,
                    new byte[] { 255, 255 }
                )),
            ];
    }

    /// <summary>Somebody else may read it, and it may live as long as the longest.</summary>
    [Fact]
    public async Task What_cannot_be_read_here_is_left_as_long_as_a_session_may_live()
    {
        var store = new Sealed();
        await using var site = await Site.StartAsync(
            o =>
            {
                o.IdleTimeout = TimeSpan.FromMinutes(30);
                o.AbsoluteTimeout = TimeSpan.FromDays(20);
                o.SweepInterval = TimeSpan.FromDays(30);
            },
            store: () => store
        );
        var id = Site.IdOf(await site.BeginAsync("ada")).Value;
        var engine = site.Services.GetRequiredService<SessionService<Cart>>().Engine;
        foreach (var (days, isThere) in new[] { (5, true), (10, true), (4, true), (3, false) })
        {
            site.Clock.Advance(TimeSpan.FromDays(days));
            await engine.Sweep(100, CancellationToken.None);
            Assert.Equal(isThere, await ((ISessionStore)store).Load(id, CancellationToken.None) is not null);
        }
    }
}
