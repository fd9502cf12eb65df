using System.Data;
using System.Data.Common;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Session.CSharp;
using Session.Engine;
using Xunit;
using Sessions = Session.AspNetCore.Sessions;
using SessionServices = Session.AspNetCore.SessionServices;

namespace Facade;

public class ManagerTests
{
    private static async Task<List<SessionInfo>> ListAsync(Site site, string subject)
    {
        var found = new List<SessionInfo>();
        await foreach (var info in site.Manager.ListAsync(subject))
            found.Add(info);

        return found;
    }

    [Fact]
    public async Task It_finds_a_session_and_says_all_but_its_data()
    {
        await using var site = await Site.StartAsync();
        var start = site.Clock.GetUtcNow();
        var anonymous = await site.BeginAsync();
        site.Clock.Advance(TimeSpan.FromMinutes(2));
        var signedIn = await site.WithAsync(session => session.SignInAsync("ada", new Cart("hers")), anonymous);
        site.Clock.Advance(TimeSpan.FromMinutes(3));
        await site.WithAsync(_ => Task.CompletedTask, signedIn.Token);

        var info = await site.Manager.FindAsync(Site.IdOf(anonymous));
        Assert.Equal(
            new SessionInfo(
                Site.IdOf(anonymous),
                "ada",
                SessionState.Active,
                start,
                start + TimeSpan.FromMinutes(2),
                start + TimeSpan.FromMinutes(5),
                start + TimeSpan.FromMinutes(35)
            ),
            info
        );
        Assert.Equal([info!], await ListAsync(site, "ada"));
        Assert.Empty(await ListAsync(site, "bob"));
    }

    [Fact]
    public async Task It_says_where_in_its_life_a_session_is()
    {
        await using var site = await Site.StartAsync();
        var token = (await site.WithAsync(session => session.CreateAsync(new Cart("tea")))).Token!;
        var id = Site.IdOf(token);
        async Task<SessionState?> StateAsync() => (await site.Manager.FindAsync(id))?.State;

        Assert.Equal(SessionState.Created, await StateAsync());
        Assert.Null((await site.Manager.FindAsync(id))!.AuthenticatedAt);
        await site.WithAsync(_ => Task.CompletedTask, token);
        Assert.Equal(SessionState.Active, await StateAsync());
        site.Clock.Advance(TimeSpan.FromMinutes(16));
        var renewed = (await site.WithAsync(_ => Task.CompletedTask, token)).Token!;
        Assert.Equal(SessionState.Regenerated, await StateAsync());
        await site.WithAsync(_ => Task.CompletedTask, renewed);
        Assert.Equal(SessionState.Regenerated, await StateAsync());
        // When the grace of the token of before is over.
        site.Clock.Advance(TimeSpan.FromMinutes(2));
        await site.WithAsync(_ => Task.CompletedTask, renewed);
        Assert.Equal(SessionState.Active, await StateAsync());
        await site.Manager.DestroySessionAsync(id);
        Assert.Null(await StateAsync());
    }

    [Fact]
    public async Task What_is_not_there_is_null_and_not_ended()
    {
        await using var site = await Site.StartAsync();
        Assert.Null(await site.Manager.FindAsync(SessionId.Empty));
        Assert.Null(await site.Manager.FindAsync(SessionId.Parse("nobody")));
        Assert.False(await site.Manager.DestroySessionAsync(SessionId.Empty));
        Assert.False(await site.Manager.DestroySessionAsync(SessionId.Parse("nobody")));
    }

    [Fact]
    public async Task It_ends_one_session_whoever_holds_it()
    {
        await using var site = await Site.StartAsync();
        var token = await site.BeginAsync();
        Assert.True(await site.Manager.DestroySessionAsync(Site.IdOf(token)));
        Assert.False(await site.Manager.DestroySessionAsync(Site.IdOf(token)));
        Assert.Null(await site.Manager.FindAsync(Site.IdOf(token)));
    }

    [Fact]
    public async Task It_ends_all_of_a_subject_but_one_and_then_all()
    {
        await using var site = await Site.StartAsync();
        var kept = await site.BeginAsync("ada");
        await site.BeginAsync("ada");
        await site.BeginAsync("ada");
        var other = await site.BeginAsync("bob");
        Assert.Equal(2, await site.Manager.DestroyAllAsync("ada", Site.IdOf(kept)));
        Assert.Equal([Site.IdOf(kept)], (await ListAsync(site, "ada")).Select(info => info.Id));
        Assert.Equal(1, await site.Manager.DestroyAllAsync("ada", SessionId.Empty));
        Assert.Equal(0, await site.Manager.DestroyAllAsync("ada"));
        Assert.Equal(0, await site.Manager.DestroyAllAsync("ada", null));
        Assert.NotNull(await site.Manager.FindAsync(Site.IdOf(other)));
    }

    [Fact]
    public async Task It_ends_everybodys()
    {
        await using var site = await Site.StartAsync();
        await site.BeginAsync();
        await site.BeginAsync("ada");
        Assert.Equal(2, await site.Manager.DestroyEverySessionAsync());
        Assert.Equal(0, await site.Manager.DestroyEverySessionAsync());
    }

    [Fact]
    public async Task It_changes_the_data_of_a_session_and_nothing_else()
    {
        await using var site = await Site.StartAsync();
        var token = await site.BeginAsync("ada");
        var before = await site.Manager.FindAsync(Site.IdOf(token));
        site.Clock.Advance(TimeSpan.FromMinutes(1));
        Assert.Equal(
            new Cart("tea", 2),
            await site.Manager.UpdateAsync(Site.IdOf(token), it => it! with { Count = 2 })
        );
        Assert.Equal(before, await site.Manager.FindAsync(Site.IdOf(token)));
        var reply = await site.WithAsync(
            async session =>
            {
                Assert.Equal(new Cart("tea", 2), session.Data);
                // Another write came first: a save of what was read before is refused.
                await site.Manager.UpdateAsync(session.Id, it => it! with { Count = 3 });
                await Assert.ThrowsAsync<SessionConflictException>(() => session.SaveAsync(new Cart("mine")));
                Assert.Equal(new Cart("tea", 4), await session.UpdateAsync(it => it! with { Count = it.Count + 1 }));
            },
            token
        );
        Assert.Empty(reply.SetCookies);
    }

    [Fact]
    public async Task A_change_is_made_again_when_another_write_came_first()
    {
        var store = new Overtaken();
        await using var site = await Site.StartAsync(store: () => store);
        var token = await site.BeginAsync();
        store.Overtakes = 2;
        var calls = 0;
        var made = await site.Manager.UpdateAsync(
            Site.IdOf(token),
            it =>
            {
                calls++;
                return it! with { Count = it.Count + 1 };
            }
        );
        Assert.Equal((new Cart("tea", 2), 3), (made, calls));
    }

    [Fact]
    public async Task What_does_not_live_is_not_changed()
    {
        await using var site = await Site.StartAsync(o => o.MaxDataBytes = 60);
        Func<Cart?, Cart> never = _ => throw new Xunit.Sdk.XunitException("called for no session");
        Assert.Null(await site.Manager.UpdateAsync(SessionId.Empty, never));
        Assert.Null(await site.Manager.UpdateAsync(SessionId.Parse("nobody"), never));
        var token = await site.BeginAsync();
        var id = Site.IdOf(token);
        await Assert.ThrowsAsync<SessionDataException>(() =>
            site.Manager.UpdateAsync(id, _ => new Cart(new string('x', 60)))
        );
        await Assert.ThrowsAsync<ArgumentNullException>(() => site.Manager.UpdateAsync(id, null!));
        var other = Site.IdOf(await site.BeginAsync());
        await site.Manager.DestroySessionAsync(id);
        Assert.Null(await site.Manager.UpdateAsync(id, never));
        site.Clock.Advance(TimeSpan.FromMinutes(30));
        Assert.Null(await site.Manager.UpdateAsync(other, never));
    }

    [Fact]
    public async Task Sealed_data_is_changed_by_its_bearer_only()
    {
        var services = new ServiceCollection();
        services.AddSession<Cart>().UseMemory().SealToBearer();
        await using var provider = services.BuildServiceProvider();
        var manager = provider.GetRequiredService<SessionManager<Cart>>();
        await Assert.ThrowsAsync<NotSupportedException>(() =>
            manager.UpdateAsync(SessionId.Parse("any"), _ => new Cart("tea"))
        );
    }

    [Theory, InlineData(true), InlineData(false)]
    public async Task It_says_how_many_it_has_ended_and_how_many_not(bool isEverybody)
    {
        var store = new Stuck();
        await using var site = await Site.StartAsync(store: () => store);
        var first = await site.BeginAsync("ada");
        store.Holds = Site.IdOf(await site.BeginAsync("ada")).Value;
        var last = await site.BeginAsync("ada");
        var error = await Assert.ThrowsAsync<SessionUnavailableException>(() =>
            isEverybody ? site.Manager.DestroyEverySessionAsync() : site.Manager.DestroyAllAsync("ada")
        );
        Assert.Equal(503, error.StatusCode);
        Assert.Contains("2 ended and at least 1 did not", error.Message);
        Assert.True(error.MayHaveChanged);
        Assert.IsType<IOException>(error.InnerException);
        Assert.Null(await site.Manager.FindAsync(Site.IdOf(first)));
        Assert.Null(await site.Manager.FindAsync(Site.IdOf(last)));
        store.Holds = null;
        Assert.Equal(1, await site.Manager.DestroyAllAsync("ada"));
    }

    [Fact]
    public async Task Nobody_is_called_what_cannot_be_stored()
    {
        await using var site = await Site.StartAsync();
        foreach (var subject in Site.NoSubjects)
        {
            var list = Assert.Throws<ArgumentException>(() => site.Manager.ListAsync(subject));
            var end = await Assert.ThrowsAsync<ArgumentException>(() => site.Manager.DestroyAllAsync(subject));
            Assert.Equal(("subject", "subject"), (list.ParamName, end.ParamName));
        }
    }

    [Fact]
    public async Task It_begins_a_session_for_a_request()
    {
        await using var site = await Site.StartAsync();
        var reply = await site.InRequestAsync(async context =>
        {
            var session = await site.Manager.CreateSessionAsync(new Cart("made"), context);
            Assert.Equal(new Cart("made"), session.Data);
            Assert.Same(session, await site.Manager.GetSessionAsync(context));
        });
        Assert.NotNull(await site.Manager.FindAsync(Site.IdOf(reply.Token!)));
    }

    [Fact]
    public async Task Missing_arguments_are_refused()
    {
        await using var site = await Site.StartAsync();
        var manager = site.Manager;
        await Assert.ThrowsAsync<ArgumentNullException>(() => manager.DestroyAllAsync(null!));
        await Assert.ThrowsAsync<ArgumentException>(() => manager.DestroyAllAsync(""));
        await Assert.ThrowsAsync<ArgumentException>(() => ListAsync(site, ""));
        await Assert.ThrowsAsync<ArgumentNullException>(() => manager.GetSessionAsync(null!));
        await Assert.ThrowsAsync<ArgumentNullException>(() => manager.CreateSessionAsync(new Cart("tea"), null!));
        Assert.Throws<ArgumentNullException>(() => new SessionManager<Cart>(null!));
    }

    [Fact]
    public async Task A_call_that_was_cancelled_ends_nothing()
    {
        await using var site = await Site.StartAsync();
        var token = await site.BeginAsync("ada");
        var id = Site.IdOf(token);
        var stop = new CancellationToken(true);
        Task Cancelled(Func<Task> call) => Assert.ThrowsAnyAsync<OperationCanceledException>(call);
        await Cancelled(() => site.Manager.DestroyEverySessionAsync(stop));
        await Cancelled(() => site.Manager.DestroyAllAsync("ada", null, stop));
        await Cancelled(() => site.Manager.UpdateAsync(id, _ => new Cart("late"), stop));
        await Cancelled(() => site.Manager.DestroySessionAsync(id, stop));
        await Cancelled(() => site.Manager.FindAsync(id, stop));
        await Cancelled(async () => await site.Manager.ListAsync("ada", stop).GetAsyncEnumerator(stop).MoveNextAsync());
        Assert.NotNull(await site.Manager.FindAsync(id));
    }

    [Theory, InlineData(true), InlineData(false)]
    public async Task What_has_ended_before_a_call_was_cancelled_is_told(bool isEverybody)
    {
        using var stop = new CancellationTokenSource();
        var store = new Stopping();
        var told = new List<SessionId>();
        await using var site = await Site.StartAsync(
            o =>
                o.Events.OnDestroyed = it =>
                {
                    told.Add(it.Id);
                    return Task.CompletedTask;
                },
            store: () => store
        );
        SessionId[] ids = [Site.IdOf(await site.BeginAsync("ada")), Site.IdOf(await site.BeginAsync("ada"))];
        store.Stop = stop;
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() =>
            isEverybody
                ? site.Manager.DestroyEverySessionAsync(stop.Token)
                : site.Manager.DestroyAllAsync("ada", null, stop.Token)
        );
        var ended = Assert.Single(told);
        Assert.Null(await site.Manager.FindAsync(ended));
        Assert.NotNull(await site.Manager.FindAsync(ids.Single(id => id != ended)));
    }

    /// <summary>What a transaction has ended is told though its caller has gone while it was committed.</summary>
    [Fact]
    public async Task In_a_transaction_one_may_stay_and_a_commit_that_was_sent_is_told()
    {
        using var gone = new CancellationTokenSource();
        var told = new List<(SessionId, SessionEndReason)>();
        await using var site = await Site.StartAsync(
            o =>
                o.Events.OnDestroyed = it =>
                {
                    // Nobody hears of an end that may yet be rolled back.
                    Assert.True(gone.IsCancellationRequested, "told before the commit");
                    told.Add((it.Id, it.Reason));
                    return Task.CompletedTask;
                },
            store: () => new Joining()
        );
        SessionId[] ids = [Site.IdOf(await site.BeginAsync("ada")), Site.IdOf(await site.BeginAsync("ada"))];
        await using var transaction = new Committing(gone.Cancel);
        var pending = await site.Manager.DestroyAllAsync("ada", transaction, ids[0]);
        Assert.Equal((1, 0), (pending.Count, told.Count));
        await pending.CommitAsync(gone.Token);
        // Not its holder has ended it: as without a transaction.
        Assert.Equal((ids[1], SessionEndReason.Revoked), Assert.Single(told));
        Assert.NotNull(await site.Manager.FindAsync(ids[0]));
        Assert.Null(await site.Manager.FindAsync(ids[1]));
    }

    /// <summary>Whoever changes the password stays signed in, by each of the ways that F# has for it.</summary>
    [Fact]
    public async Task From_FSharp_one_may_stay_in_a_transaction_as_well()
    {
        await using var site = await Site.StartAsync(store: () => new Joining());
        await using var transaction = new Committing(() => { });
        var kept = Site.IdOf(await site.BeginAsync("ada"));
        var other = Site.IdOf(await site.BeginAsync("ada"));
        await site.InRequestAsync(async context =>
        {
            var pending = await Sessions.destroyAllButIn<Cart>(transaction, kept.Value, "ada", context);
            Assert.Equal(1, pending.ResultValue.Count);
        });
        Assert.NotNull(await site.Manager.FindAsync(kept));
        Assert.Null(await site.Manager.FindAsync(other));

        other = Site.IdOf(await site.BeginAsync("ada"));
        var ends = await SessionServices.destroyAllButIn<Cart>(transaction, kept.Value, "ada", site.Services);
        Assert.Equal(1, ends.ResultValue.Count);
        Assert.NotNull(await site.Manager.FindAsync(kept));
        Assert.Null(await site.Manager.FindAsync(other));

        ends = await SessionServices.destroyAllIn<Cart>(transaction, "ada", site.Services);
        Assert.Equal(1, ends.ResultValue.Count);
        Assert.Null(await site.Manager.FindAsync(kept));

        other = Site.IdOf(await site.BeginAsync("ada"));
        await site.InRequestAsync(async context =>
        {
            var pending = await Sessions.destroyAllIn<Cart>(transaction, "ada", context);
            Assert.Equal(1, pending.ResultValue.Count);
        });
        Assert.Null(await site.Manager.FindAsync(other));
    }

    /// <summary>Who has gone before it was sent has committed nothing: nobody has ended, and nobody is told.</summary>
    [Fact]
    public async Task A_commit_that_was_cancelled_before_it_was_sent_is_none()
    {
        var (committed, told) = (0, 0);
        await using var site = await Site.StartAsync(
            o =>
                o.Events.OnDestroyed = _ =>
                {
                    told++;
                    return Task.CompletedTask;
                },
            store: () => new Joining()
        );
        await site.BeginAsync("ada");
        await using var transaction = new Committing(() => committed++);
        var pending = await site.Manager.DestroyAllAsync("ada", transaction);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => pending.CommitAsync(new CancellationToken(true)));
        Assert.Equal((0, 0), (committed, told));
    }

    /// <summary>A transaction that ended nobody was committed all the same; one that was rolled back ended nobody, and nobody is told.</summary>
    [Fact]
    public async Task What_became_of_a_transaction_is_said_as_it_is()
    {
        var told = 0;
        var store = new Undone();
        await using var site = await Site.StartAsync(
            o =>
                o.Events.OnDestroyed = _ =>
                {
                    told++;
                    return Task.CompletedTask;
                },
            store: () => store
        );
        await using var transaction = new Committing(() => { });
        var ofNobody = await site.Manager.DestroyAllAsync("nobody", transaction);
        Assert.Equal(0, ofNobody.Count);
        Assert.True(await ofNobody.CompleteAsync());

        var token = await site.BeginAsync("ada");
        var undone = await site.Manager.DestroyAllAsync("ada", transaction);
        Assert.Equal(1, undone.Count);
        Assert.False(await undone.CompleteAsync());
        Assert.Equal(0, told);
        var id = Site.IdOf(token);
        Assert.NotNull(await site.Manager.FindAsync(id));

        // Nor where the session was written to meanwhile: its version is as high by then as that of its end would be, or higher.
        var overtaken = await site.Manager.DestroyAllAsync("ada", transaction);
        for (var writes = 1; writes <= 3; writes++)
        {
            await site.Manager.UpdateAsync(id, _ => new Cart($"{writes}"));
            Assert.False(await overtaken.CompleteAsync(), $"after {writes} writes");
        }
        Assert.Equal(0, told);

        // Nor where another one has ended it meanwhile, by a tombstone of the very version that its own would have.
        var endedByAnother = await site.Manager.DestroyAllAsync("ada", transaction);
        Assert.Equal(1, endedByAnother.Count);
        await site.Manager.DestroySessionAsync(id);
        Assert.False(await endedByAnother.CompleteAsync());
        Assert.Equal(1, told);

        // Another kind of transaction, or one that is over: a mistake of the application's, and no outage.
        store.Mistake = new InvalidOperationException("This transaction is over.");
        await Assert.ThrowsAsync<InvalidOperationException>(() => site.Manager.DestroyAllAsync("ada", transaction));
        store.Mistake = new IOException("gone");
        await Assert.ThrowsAsync<SessionUnavailableException>(() => site.Manager.DestroyAllAsync("ada", transaction));
    }

    /// <summary>A tombstone is written to where its client goes on to a new session, and removed when its time has come.</summary>
    [Theory, InlineData(true), InlineData(false)]
    public async Task A_commit_is_one_though_what_it_has_ended_was_written_to_since(bool isRemoved)
    {
        var told = 0;
        var store = new Joining();
        await using var site = await Site.StartAsync(
            o =>
                o.Events.OnDestroyed = _ =>
                {
                    told++;
                    return Task.CompletedTask;
                },
            store: () => store
        );
        var id = Site.IdOf(await site.BeginAsync("ada")).ToString();
        await using var transaction = new Committing(() => { });
        var pending = await site.Manager.DestroyAllAsync("ada", transaction);
        var ended = (await store.Load(id, default))!;
        StoredRecord next = new(
            id,
            ended.Version + 1,
            ended.Kind,
            ended.LastSeen,
            ended.DueAt,
            ended.Subject,
            ended.Operation + 1,
            ended.Body
        );
        if (isRemoved)
            await store.Remove(id, default);
        else
            Assert.Equal(WriteResult.Written, await store.Replace(next, ended.Version, default));
        Assert.True(await pending.CompleteAsync());
        Assert.Equal(1, told);
    }

    /// <summary>Its transactions are rolled back.</summary>
    private sealed class Undone() : ForwardingStore(new MemoryStore()), IJoinsTransaction
    {
        public Exception? Mistake { get; set; }

        ValueTask<ISessionStore> IJoinsTransaction.Join(
            DbTransaction transaction,
            string subject,
            CancellationToken cancellationToken
        ) => Mistake is null ? new(new Within(this)) : throw Mistake;

        private sealed class Within(ISessionStore store) : ForwardingStore(store)
        {
            public override ValueTask<WriteResult> Replace(StoredRecord record, long expected, CancellationToken c) =>
                new(WriteResult.Written);
        }
    }

    private sealed class Joining() : ForwardingStore(new MemoryStore()), IJoinsTransaction
    {
        public override ValueTask<StoredRecord?> Load(string id, CancellationToken cancellationToken)
        {
            cancellationToken.ThrowIfCancellationRequested();
            return base.Load(id, cancellationToken);
        }

        ValueTask<ISessionStore> IJoinsTransaction.Join(
            DbTransaction transaction,
            string subject,
            CancellationToken cancellationToken
        ) => new(this);
    }

    private sealed class Committing(Action committed) : DbTransaction
    {
        public override IsolationLevel IsolationLevel => IsolationLevel.ReadCommitted;
        protected override DbConnection? DbConnection => null;

        public override void Commit() => committed();

        public override void Rollback() { }
    }

    [Fact]
    public async Task A_call_that_is_cancelled_while_the_store_is_silent_returns_at_once()
    {
        var store = new Silent();
        await using var site = await Site.StartAsync(
            o => o.RequestTimeout = TimeSpan.FromMinutes(1),
            store: () => store
        );
        var id = Site.IdOf(await site.BeginAsync("ada"));
        store.IsSilent = true;
        async Task Cancelled(Func<CancellationToken, Task> call)
        {
            using var stop = new CancellationTokenSource(TimeSpan.FromMilliseconds(50));
            await Assert
                .ThrowsAnyAsync<OperationCanceledException>(() => call(stop.Token))
                .WaitAsync(TimeSpan.FromSeconds(10));
        }

        await Cancelled(stop => site.Manager.FindAsync(id, stop));
        await Cancelled(stop => site.Manager.DestroySessionAsync(id, stop));
        await Cancelled(stop => site.Manager.UpdateAsync(id, it => it!, stop));
        await Cancelled(stop => site.Manager.DestroyAllAsync("ada", null, stop));
        await Cancelled(stop => site.Manager.DestroyEverySessionAsync(stop));
        await Cancelled(async stop =>
            await site.Manager.ListAsync("ada", stop).GetAsyncEnumerator(stop).MoveNextAsync()
        );
    }

    [Fact]
    public async Task It_is_one_for_the_application()
    {
        await using var site = await Site.StartAsync();
        Assert.Same(site.Manager, site.Services.GetRequiredService<SessionManager<Cart>>());
    }

    /// <summary>A store where somebody else is first, this many times.</summary>
    private sealed class Overtaken : Passing
    {
        public int Overtakes { get; set; }

        public override ValueTask<WriteResult> Replace(StoredRecord record, long expected, CancellationToken cancel) =>
            Overtakes-- > 0 ? ValueTask.FromResult(WriteResult.Conflict) : base.Replace(record, expected, cancel);
    }

    /// <summary>A store that cannot write to one record.</summary>
    private sealed class Stuck : Passing
    {
        public string? Holds { get; set; }

        public override ValueTask<WriteResult> Replace(StoredRecord record, long expected, CancellationToken cancel) =>
            record.Id == Holds ? throw new IOException("a bad block") : base.Replace(record, expected, cancel);
    }

    /// <summary>A store during whose first write somebody gives up.</summary>
    private sealed class Stopping : Passing
    {
        public CancellationTokenSource? Stop { get; set; }

        public override ValueTask<WriteResult> Replace(StoredRecord record, long expected, CancellationToken cancel)
        {
            Stop?.Cancel();
            return base.Replace(record, expected, cancel);
        }
    }

    /// <summary>A store that answers no read any more, and heeds no cancellation.</summary>
    private sealed class Silent : Passing
    {
        public bool IsSilent { get; set; }

        private static ValueTask<TAnswer> Never<TAnswer>() => new(new TaskCompletionSource<TAnswer>().Task);

        public override ValueTask<StoredRecord?> Load(string id, CancellationToken cancel) =>
            IsSilent ? Never<StoredRecord?>() : base.Load(id, cancel);

        public override ValueTask<StoredPage> BySubject(
            string subject,
            string? after,
            int limit,
            CancellationToken cancel
        ) => IsSilent ? Never<StoredPage>() : base.BySubject(subject, after, limit, cancel);

        public override ValueTask<StoredPage> Enumerate(string? after, int limit, CancellationToken cancel) =>
            IsSilent ? Never<StoredPage>() : base.Enumerate(after, limit, cancel);
    }

    [Fact]
    public async Task A_session_whose_time_is_over_is_not_found_though_no_sweeper_has_come()
    {
        await using var site = await Site.StartAsync(o => o.SweepInterval = TimeSpan.FromDays(1));
        var id = Site.IdOf(await site.BeginAsync("ada"));
        site.Clock.Advance(TimeSpan.FromMinutes(30) - TimeSpan.FromTicks(1));
        Assert.NotNull(await site.Manager.FindAsync(id));
        site.Clock.Advance(TimeSpan.FromTicks(1));
        Assert.Null(await site.Manager.FindAsync(id));
        Assert.Empty(await ListAsync(site, "ada"));
    }
}
