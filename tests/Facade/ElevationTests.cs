using Microsoft.AspNetCore.Builder;
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

    /// <summary>Whichever answer the browser hears last: fixation is impossible (ASVS 7.2.4), so the renewal from before gives way.</summary>
    [Fact]
    public async Task A_renewal_from_before_an_elevation_is_dead_after_it_and_a_poll_is_issued_none()
    {
        await using var site = await Site.StartAsync(map: app =>
            app.MapGet("/poll", (Session<Cart> session) => session.Subject ?? "nobody").NoTouch()
        );
        var token = await site.BeginAsync("ada");
        await site.WithAsync(_ => Task.CompletedTask, token);
        site.Clock.Advance(TimeSpan.FromMinutes(16));
        var poll = await site.SendAsync("/poll", token);
        Assert.Equal(("ada", null), (poll.Body, poll.Token));
        var renewal = await site.WithAsync(_ => Task.CompletedTask, token);
        var elevation = await site.WithAsync(session => session.RegenerateAsync(), token);
        Assert.NotNull(renewal.Token);
        Assert.Equal("nobody", (await site.SendAsync("/poll", renewal.Token)).Body);
        Assert.Equal("ada", (await site.SendAsync("/poll", elevation.Token)).Body);
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

    /// <summary>A request in flight with the token of before a renewal may not elevate, and keeps its session for all else.</summary>
    [Fact]
    public async Task A_predecessors_request_that_may_not_elevate_goes_on_with_its_session()
    {
        await using var site = await Site.StartAsync();
        var first = await site.BeginAsync("ada");
        await site.WithAsync(_ => Task.CompletedTask, first);
        site.Clock.Advance(TimeSpan.FromMinutes(16));
        var second = (await site.WithAsync(_ => Task.CompletedTask, first)).Token;
        Assert.NotNull(second);
        Assert.NotEqual(first, second);
        await site.WithAsync(_ => Task.CompletedTask, second);
        await site.WithAsync(
            async session =>
            {
                await Assert.ThrowsAsync<SessionEndedException>(() => session.RegenerateAsync());
                Assert.Equal("ada", session.Subject);
                Assert.Equal(new Cart("late"), await session.UpdateAsync(_ => new Cart("late")));
            },
            first
        );
        await site.WithAsync(
            session =>
            {
                Assert.Equal(new Cart("late"), session.Data);
                return Task.CompletedTask;
            },
            second
        );
    }

    /// <summary>Else it would go on with the rights of before, for as long as a connection that it has opened.</summary>
    [Theory]
    [InlineData("reload", "ada")]
    [InlineData("reload", "bob")]
    [InlineData("update", "ada")]
    [InlineData("save", "ada")]
    [InlineData("logout", "bob")]
    public async Task A_predecessors_request_has_no_session_any_more_once_another_one_has_elevated_it(
        string then,
        string subject
    )
    {
        await using var site = await Site.StartAsync();
        var first = await site.BeginAsync("ada");
        await site.WithAsync(_ => Task.CompletedTask, first);
        site.Clock.Advance(TimeSpan.FromMinutes(16));
        var second = (await site.WithAsync(_ => Task.CompletedTask, first)).Token;
        await site.WithAsync(_ => Task.CompletedTask, second);
        await site.WithAsync(
            async session =>
            {
                Assert.Equal("ada", session.Subject);
                await site.WithAsync(
                    other =>
                        subject == "ada"
                            ? other.RegenerateAsync(new Cart("no admin"))
                            : other.SignInAsync(subject, new Cart("another user's")),
                    second
                );
                if (then == "reload")
                    await session.ReloadAsync();
                else
                    await Assert.ThrowsAsync<SessionEndedException>(() =>
                        then switch
                        {
                            "update" => session.UpdateAsync(_ => new Cart("late")),
                            "save" => session.SaveAsync(new Cart("late")),
                            _ => session.DestroyAsync(),
                        }
                    );

                Assert.Null(session.Subject);
                Assert.Null(session.Data);
                Assert.Equal(SessionState.None, session.State);
                Assert.True(session.Ended.IsCancellationRequested);
            },
            first
        );
        Assert.Equal(subject, (await site.Manager.FindAsync(Site.IdOf(first)))?.Subject);
    }

    /// <summary>Its client may have a newer session by the time a slow answer is there: the token of one that has ended takes the place of none.</summary>
    [Fact]
    public async Task A_slow_sign_in_whose_session_has_ended_meanwhile_hands_out_nothing()
    {
        await using var site = await Site.StartAsync();
        var slow = await site.WithAsync(async session =>
        {
            await session.SignInAsync("ada", new Cart("tea"));
            Assert.Equal(1, await site.Manager.DestroyAllAsync("ada"));
            await Task.Delay(TimeSpan.FromSeconds(1.2));
        });
        Assert.Empty(slow.SetCookies);

        var stands = await site.WithAsync(async session =>
        {
            await session.SignInAsync("ada", new Cart("tea"));
            await Task.Delay(TimeSpan.FromSeconds(1.2));
        });
        Assert.Equal("ada", (await site.Manager.FindAsync(Site.IdOf(stands.Token!)))?.Subject);
    }
}
