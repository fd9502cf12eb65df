using Session.CSharp;
using Xunit;

namespace Facade;

public class ElevationTests
{
    [Fact]
    public async Task An_elevation_can_bring_new_data_in_the_same_write()
    {
        var store = new Counting();
        await using var site = await Site.StartAsync(store: () => store);
        var token = await site.BeginAsync("ada");
        var before = await site.Manager.FindAsync(Site.IdOf(token));
        site.Clock.Advance(TimeSpan.FromMinutes(5));
        await site.WithAsync(_ => Task.CompletedTask, token);
        var writes = store.Writes;
        var reply = await site.WithAsync(
            async session =>
            {
                await session.RegenerateAsync(new Cart("second factor"));
                Assert.Equal(new Cart("second factor"), session.Data);
            },
            token
        );
        Assert.Equal(writes + 1, store.Writes);
        Assert.NotEqual(token, reply.Token);
        await site.WithAsync(
            session =>
            {
                Assert.Equal(new Cart("second factor"), session.Data);
                Assert.Equal(("ada", SessionState.Active), (session.Subject, session.State));
                Assert.Equal(before!.AuthenticatedAt, session.AuthenticatedAt);
                return Task.CompletedTask;
            },
            reply.Token
        );
        await site.WithAsync(
            async session =>
            {
                Assert.Equal((SessionState.None, null), (session.State, session.Data));
                await Assert.ThrowsAsync<SessionEndedException>(() => session.RegenerateAsync(new Cart("late")));
                await Assert.ThrowsAsync<ArgumentNullException>(() => session.RegenerateAsync(null!));
            },
            token
        );
    }

    [Fact]
    public async Task It_does_not_put_off_the_absolute_end()
    {
        await using var site = await Site.StartAsync(o => o.IdleTimeout = o.AbsoluteTimeout = TimeSpan.FromMinutes(30));
        var token = await site.BeginAsync("ada");
        site.Clock.Advance(TimeSpan.FromMinutes(14));
        var reply = await site.WithAsync(session => session.RegenerateAsync(new Cart("second factor")), token);
        site.Clock.Advance(TimeSpan.FromMinutes(16));
        await site.WithAsync(
            session =>
            {
                Assert.Equal(SessionOrigin.Expired, session.Origin);
                return Task.CompletedTask;
            },
            reply.Token
        );
    }

    [Fact]
    public async Task Too_much_data_elevates_nothing()
    {
        await using var site = await Site.StartAsync(o => o.MaxDataBytes = 60);
        var token = await site.BeginAsync();
        var reply = await site.WithAsync(
            session =>
                Assert.ThrowsAsync<SessionDataException>(() => session.RegenerateAsync(new Cart(new string('x', 60)))),
            token
        );
        Assert.Empty(reply.SetCookies);
        await site.WithAsync(
            session =>
            {
                Assert.Equal(new Cart("tea"), session.Data);
                return Task.CompletedTask;
            },
            token
        );
    }

    private sealed class Counting : Passing
    {
        public int Writes { get; private set; }

        public override ValueTask<Session.Engine.WriteResult> Replace(
            Session.Engine.StoredRecord record,
            long expected,
            CancellationToken cancel
        )
        {
            Writes++;
            return base.Replace(record, expected, cancel);
        }
    }
}
