using System.Net;
using Session.AspNetCore;
using Session.CSharp;
using Session.Engine;
using Xunit;

namespace Facade;

/// <summary>A write whose answer never comes, or that the store does not confirm: what is said of it is true, and what is stored reaches its client.</summary>
public class UnsureTests
{
    [Fact]
    public async Task A_write_that_the_store_is_silent_about_may_be_stored()
    {
        var store = new Faulty();
        await using var site = await Site.StartAsync(store: () => store);
        var token = await site.BeginAsync();
        store.Fault = Fault.FailsBefore;
        var reply = await site.WithAsync(
            async session =>
            {
                var error = await Assert.ThrowsAsync<SessionUnavailableException>(() =>
                    session.UpdateAsync(_ => new Cart("lost"))
                );
                Assert.Equal(503, error.StatusCode);
                Assert.Contains("may be stored", error.Message);
                Assert.DoesNotContain("Nothing", error.Message);
                Assert.True(error.MayHaveChanged);
                Assert.IsType<IOException>(error.InnerException);
                await session.UpdateAsync(_ => new Cart("lost"));
            },
            token
        );
        Assert.Equal(HttpStatusCode.ServiceUnavailable, reply.Status);
    }

    [Theory, InlineData(Fault.FailsAfter), InlineData(Fault.IsNotConfirmed)]
    public async Task What_is_stored_and_not_confirmed_is_said_to_be_stored(Fault fault)
    {
        var store = new Faulty();
        await using var site = await Site.StartAsync(store: () => store);
        var token = await site.BeginAsync();
        store.Fault = fault;
        await site.WithAsync(
            async session =>
            {
                var error = await Assert.ThrowsAsync<SessionUnavailableException>(() =>
                    session.SaveAsync(new Cart("stored"))
                );
                Assert.Equal(503, error.StatusCode);
                Assert.Contains("is stored", error.Message);
                Assert.True(error.MayHaveChanged);
                Assert.NotNull(error.InnerException);
            },
            token
        );
        store.Fault = Fault.None;
        await site.WithAsync(
            session =>
            {
                Assert.Equal(new Cart("stored"), session.Data);
                return Task.CompletedTask;
            },
            token
        );
    }

    [Fact]
    public void Nothing_was_changed_is_said_only_where_it_is_true()
    {
        var down = new IOException("down");
        SessionError[] all =
        [
            SessionError.NoSession,
            SessionError.NewEnded(Session.Domain.Ending.NewByTime(Session.Domain.ExpiryKind.Idle), default),
            SessionError.NewRefused(Session.Domain.Refusal.Guess),
            SessionError.Conflict,
            SessionError.Contended,
            SessionError.NewLimitReached(1),
            SessionError.NewLimitExceeded(1),
            SessionError.NewTooLarge(2, 1),
            SessionError.NewUnwritable(down),
            SessionError.InvalidSubject,
            SessionError.NewUnreadable("damage"),
            SessionError.NewNewerData(2, 1),
            SessionError.ResponseStarted,
            SessionError.CrossSite,
            SessionError.NewUnavailable(down),
            SessionError.NewUnsure(down),
            SessionError.NewUnacknowledged(down),
            SessionError.NewIncomplete(3, 4, SessionError.Contended),
        ];
        Assert.Equal(all.Length, all.Select(it => it.Tag).Distinct().Count());
        Assert.Equal(all.Length, all.Max(it => it.Tag) + 1);
        foreach (var error in all)
        {
            var failed = (SessionFailedException)SessionFailure.toException(error);
            Assert.NotEmpty(failed.Message);
            if (failed.Message.Contains("Nothing was changed", StringComparison.Ordinal))
                Assert.True(SessionErrorModule.outcome(error).IsNothingChanged);
            else if (failed.StatusCode == 503 && !SessionErrorModule.outcome(error).IsNothingChanged)
                Assert.Contains("try again", failed.Message);
        }

        Assert.Equal(500, ((SessionFailedException)SessionFailure.toException(SessionError.InvalidSubject)).StatusCode);
        Assert.Same(down, SessionFailure.toException(SessionError.NewUnsure(down)).InnerException);
    }

    /// <summary>It is over, and was not kept as widely as it has to be: the user is told, and has no cookie of it any more.</summary>
    [Fact]
    public async Task A_sign_out_that_is_stored_and_not_confirmed_takes_the_cookie_all_the_same()
    {
        var store = new Faulty();
        await using var site = await Site.StartAsync(store: () => store);
        var token = await site.BeginAsync("ada");
        store.Fault = Fault.IsNotConfirmed;
        var reply = await site.WithAsync(
            async session =>
            {
                await Assert.ThrowsAsync<SessionUnavailableException>(() => session.DestroyAsync());
                Assert.Equal((SessionState.Destroyed, null), (session.State, session.Subject));
            },
            token
        );
        Assert.True(reply.IsCleared);
        store.Fault = Fault.None;
        await site.WithAsync(
            session =>
            {
                Assert.Null(session.Subject);
                return Task.CompletedTask;
            },
            token
        );
    }

    [Theory, InlineData(false), InlineData(true)]
    public async Task A_new_session_that_is_stored_and_not_acknowledged_is_its_clients(bool isSignIn)
    {
        await using var site = await Site.StartAsync(store: () => new Unacknowledging());
        var begun = await site.WithAsync(session =>
            Assert.ThrowsAsync<SessionUnavailableException>(() =>
                isSignIn ? session.SignInAsync("ada", new Cart("tea")) : session.CreateAsync(new Cart("tea"))
            )
        );
        Assert.NotNull(begun.Token);
        await site.WithAsync(
            session =>
            {
                Assert.Equal((isSignIn ? "ada" : null, new Cart("tea")), (session.Subject, session.Data));
                return Task.CompletedTask;
            },
            begun.Token
        );

        // Whoever asks for another one leaves this one behind, as where all is acknowledged.
        var next = await site.WithAsync(
            session => Assert.ThrowsAsync<SessionUnavailableException>(() => session.CreateAsync(new Cart("milk"))),
            begun.Token
        );
        Assert.NotNull(next.Token);
        Assert.NotEqual(begun.Token!.Split('.')[0], next.Token!.Split('.')[0]);
        await site.WithAsync(
            session =>
            {
                Assert.NotEqual(SessionState.Active, session.State);
                return Task.CompletedTask;
            },
            begun.Token
        );
    }

    private sealed class Unacknowledging : Passing
    {
        public override async ValueTask<WriteResult> Insert(StoredRecord record, CancellationToken cancel) =>
            await base.Insert(record, cancel) == WriteResult.Written
                ? WriteResult.Unacknowledged
                : WriteResult.Conflict;
    }

    /// <summary>Says nothing of its writes, and has not taken the first.</summary>
    private sealed class Mute() : ForwardingStore(new MemoryStore())
    {
        public Action? OnWrite { get; set; }

        public override ValueTask<WriteResult> Replace(StoredRecord record, long expected, CancellationToken cancel)
        {
            if (OnWrite is null)
                return base.Replace(record, expected, cancel);

            OnWrite();
            return new ValueTask<WriteResult>(WriteResult.Unknown);
        }
    }

    /// <summary>What was sent may be stored, whoever has gone since: a cancellation would say that nothing was changed.</summary>
    [Fact]
    public async Task Once_a_write_was_sent_a_cancellation_is_none()
    {
        var store = new Mute();
        await using var site = await Site.StartAsync(
            o => o.RequestTimeout = TimeSpan.FromSeconds(1),
            store: () => store
        );
        var token = await site.BeginAsync("ada");
        using var gone = new CancellationTokenSource();
        store.OnWrite = gone.Cancel;
        await site.WithAsync(
            async session =>
            {
                var error = await Assert.ThrowsAsync<SessionUnavailableException>(() =>
                    session.UpdateAsync(_ => new Cart("x"), gone.Token)
                );
                Assert.True(error.MayHaveChanged);
            },
            token
        );
    }

    private sealed class Durable() : ForwardingStore(new MemoryStore())
    {
        public List<bool> Writes { get; } = [];

        public override ValueTask<WriteResult> Replace(StoredRecord record, long expected, CancellationToken cancel)
        {
            Writes.Add(record.IsDurable);
            return base.Replace(record, expected, cancel);
        }
    }

    /// <summary>What takes rights from a token must outlive a failover; what a failover may undo costs less.</summary>
    [Fact]
    public async Task What_makes_a_token_worth_nothing_has_to_last()
    {
        var store = new Durable();
        await using var site = await Site.StartAsync(store: () => store);
        var token = await site.BeginAsync();
        async Task<bool> LastsAsync(Func<Session<Cart>, Task> work)
        {
            store.Writes.Clear();
            token = (await site.WithAsync(work, token)).Token ?? token;
            return store.Writes[^1];
        }

        Assert.False(await LastsAsync(session => session.UpdateAsync(_ => new Cart("x"))));
        Assert.True(await LastsAsync(session => session.RegenerateAsync()));
        Assert.True(await LastsAsync(session => session.RegenerateAsync(new Cart("y"))));
        Assert.True(await LastsAsync(session => session.SignInAsync("ada", new Cart("z"))));
        Assert.False(await LastsAsync(session => session.SaveAsync(new Cart("w"))));
        Assert.True(await LastsAsync(session => session.DestroyAsync()));
    }

    /// <summary>The client would have the new token alone, and nothing once a failover has undone it.</summary>
    [Theory]
    [InlineData(Fault.IsNotConfirmed)]
    [InlineData(Fault.FailsAfter)]
    public async Task A_renewal_that_may_be_undone_leaves_its_client_the_token_that_it_has(Fault fault)
    {
        var store = new Faulty();
        await using var site = await Site.StartAsync(store: () => store);
        var token = await site.BeginAsync("ada");
        async Task<string?> RenewedAsync(Site at)
        {
            site.Clock.Advance(TimeSpan.FromMinutes(15));
            var reply = await at.WithAsync(
                session =>
                {
                    Assert.Equal("ada", session.Subject);
                    return Task.CompletedTask;
                },
                token
            );
            return reply.Token;
        }

        store.Fault = fault;
        Assert.Null(await RenewedAsync(site));
        store.Fault = Fault.None;
        Assert.Null(await RenewedAsync(site));

        // A node that has not just seen one come to nothing.
        await using var other = await Site.StartAsync(store: () => store, clock: site.Clock);
        token = await RenewedAsync(other);
        Assert.NotNull(token);
        await RenewedAsync(other);
    }
}
