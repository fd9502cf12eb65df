using System.Net;
using Microsoft.Extensions.Time.Testing;
using Session.CSharp;
using Session.Engine;
using Xunit;

namespace Facade;

/// <summary>A user has no more sessions than the settings say, whoever signs in at once, and whatever the store does meanwhile.</summary>
public class LimitTests
{
    [Fact]
    public async Task A_limit_refuses_the_next_sign_in()
    {
        await using var site = await Site.StartAsync(o =>
        {
            o.MaxSessionsPerSubject = 1;
            o.WhenLimitReached = SessionLimitBehavior.RefuseNew;
        });
        await site.BeginAsync("ada");
        var reply = await site.WithAsync(async session =>
        {
            var error = await Assert.ThrowsAsync<SessionLimitException>(() =>
                session.SignInAsync("ada", new Cart("two"))
            );
            Assert.Equal(409, error.StatusCode);
        });
        Assert.Empty(reply.SetCookies);
    }

    [Fact]
    public async Task A_limit_ends_whoever_signed_in_first_and_not_who_was_silent_longest()
    {
        await using var site = await Site.StartAsync(o => o.MaxSessionsPerSubject = 2);
        var first = await site.BeginAsync("ada");
        site.Clock.Advance(TimeSpan.FromMinutes(1));
        var second = await site.BeginAsync("ada");
        site.Clock.Advance(TimeSpan.FromMinutes(1));
        await site.WithAsync(_ => Task.CompletedTask, first);
        var third = await site.BeginAsync("ada");
        Assert.Null(await site.Manager.FindAsync(Site.IdOf(first)));
        Assert.NotNull(await site.Manager.FindAsync(Site.IdOf(second)));
        Assert.NotNull(await site.Manager.FindAsync(Site.IdOf(third)));
    }

    /// <summary>On nodes whose clocks differ the own sign-in may be the one too many: the session that it was made in is over with it, and its request knows.</summary>
    [Fact]
    public async Task A_sign_in_that_was_one_too_many_leaves_its_request_no_session()
    {
        var store = new MemoryStore();
        await using var behind = await Site.StartAsync(o => o.MaxSessionsPerSubject = 1, store: () => store);
        await using var ahead = await Site.StartAsync(o => o.MaxSessionsPerSubject = 1, store: () => store);
        ahead.Clock.Advance(TimeSpan.FromMinutes(1));
        var later = await ahead.BeginAsync("ada");
        var token = await behind.BeginAsync();
        var reply = await behind.WithAsync(
            async session =>
            {
                await Assert.ThrowsAsync<SessionEndedException>(() => session.SignInAsync("ada", new Cart("milk")));
                Assert.Null(session.Data);
                Assert.Null(session.Subject);
                Assert.Equal(SessionState.Destroyed, session.State);
                Assert.True(session.Ended.IsCancellationRequested);
                Assert.Equal(SessionEndCause.Limit, session.EndedBecause);
                await Assert.ThrowsAsync<SessionEndedException>(() => session.UpdateAsync(_ => new Cart("late")));
            },
            token
        );
        Assert.Empty(reply.SetCookies);
        Assert.Null(await behind.Manager.FindAsync(Site.IdOf(token)));
        Assert.NotNull(await ahead.Manager.FindAsync(Site.IdOf(later)));
    }

    /// <summary>A session may begin long before somebody signs in to it, and they may sign in to it again: the last sign-in counts.</summary>
    [Fact]
    public async Task A_limit_ends_whoever_signed_in_first_and_not_whose_session_began_first()
    {
        await using var site = await Site.StartAsync(o => o.MaxSessionsPerSubject = 2);
        var begun = await site.BeginAsync();
        site.Clock.Advance(TimeSpan.FromMinutes(1));
        var first = await site.BeginAsync("ada");
        site.Clock.Advance(TimeSpan.FromMinutes(1));
        var second = await site.BeginAsync("ada");
        site.Clock.Advance(TimeSpan.FromMinutes(1));
        await site.WithAsync(session => session.SignInAsync("ada", new Cart("milk")), first);
        site.Clock.Advance(TimeSpan.FromMinutes(1));
        var last = await site.WithAsync(session => session.SignInAsync("ada", new Cart("tea")), begun);
        Assert.NotNull(last.Token);
        Assert.Equal(Site.IdOf(begun), Site.IdOf(last.Token));
        Assert.NotNull(await site.Manager.FindAsync(Site.IdOf(begun)));
        Assert.NotNull(await site.Manager.FindAsync(Site.IdOf(first)));
        Assert.Null(await site.Manager.FindAsync(Site.IdOf(second)));
    }

    /// <summary>Of sign-ins at once those stay that come last by the clocks of their nodes: whoever is none of them is told so, and has no session.</summary>
    [Theory, InlineData(false), InlineData(true)]
    public async Task A_sign_in_that_a_limit_ends_again_is_a_401_and_takes_no_other_with_it(bool hadSession)
    {
        static void Limit(SessionOptions<Cart> options) => options.MaxSessionsPerSubject = 1;

        var store = new MemoryStore();
        await using var behind = await Site.StartAsync(Limit, store: () => store);
        var later = new FakeTimeProvider(behind.Clock.GetUtcNow().AddSeconds(10));
        await using var ahead = await Site.StartAsync(Limit, store: () => store, clock: later);
        var before = hadSession ? await behind.BeginAsync() : null;
        var last = await ahead.BeginAsync("ada", "milk");
        var reply = await behind.WithAsync(
            async session =>
            {
                var error = await Assert.ThrowsAsync<SessionEndedException>(() =>
                    session.SignInAsync("ada", new Cart("bread"))
                );
                Assert.Equal(401, error.StatusCode);
                Assert.Contains("was ended again", error.Message, StringComparison.Ordinal);
                SessionEndCause? cause = hadSession ? SessionEndCause.Limit : null;
                Assert.Null(session.Subject);
                Assert.Null(session.Data);
                Assert.Equal(hadSession ? SessionState.Destroyed : SessionState.None, session.State);
                Assert.Equal(hadSession, session.Ended.IsCancellationRequested);
                Assert.Equal(cause, session.EndedBecause);
                if (hadSession)
                {
                    // It is over, and no other one comes in its place unless somebody asks for it.
                    await Assert.ThrowsAsync<SessionEndedException>(() => session.SaveAsync(new Cart("bread")));
                    await Assert.ThrowsAsync<SessionEndedException>(() => session.RegenerateAsync());
                }

                throw error;
            },
            before
        );
        Assert.Equal((HttpStatusCode.Unauthorized, null), (reply.Status, reply.Token));
        if (before is not null)
            Assert.Null(await behind.Manager.FindAsync(Site.IdOf(before)));

        // Nor any other one that was begun with the sign-in.
        await foreach (var info in behind.Manager.ListAsync("ada"))
            Assert.Equal(Site.IdOf(last), info.Id);

        await ahead.WithAsync(
            session =>
            {
                Assert.Equal(("ada", new Cart("milk")), (session.Subject, session.Data));
                return Task.CompletedTask;
            },
            last
        );
    }
}
