using Session.CSharp;
using Session.Engine;
using Session.Testing;
using Xunit;

namespace Facade;

/// <summary>What is open for a session closes when the session ends, on whatever node that happens.</summary>
public class EndedTests
{
    public static readonly TheoryData<SessionEndCause, string> Ends = new()
    {
        { SessionEndCause.SignedOut, "signed out" },
        { SessionEndCause.Revoked, "destroyed by its id" },
        { SessionEndCause.Revoked, "destroyed with all of its subject" },
        { SessionEndCause.Revoked, "destroyed with everybody's" },
        { SessionEndCause.Limit, "one sign-in too many" },
        { SessionEndCause.Replayed, "replayed" },
        { SessionEndCause.Elevated, "elevated" },
        { SessionEndCause.Elevated, "signed in again" },
        { SessionEndCause.OtherSubject, "signed in as another" },
    };

    /// <summary>A session of ada's, and what ends it on a node in this way.</summary>
    private static async Task<(string Token, Func<Site, Task> End)> PlanAsync(
        Site begins,
        string how,
        params Site[] all
    )
    {
        var token = await begins.BeginAsync("ada");
        if (how != "replayed")
            return (token, site => EndAsync(site, how, token));

        // A renewal, confirmed: the first token is the thief's.
        foreach (var site in all)
            site.Clock.Advance(TimeSpan.FromMinutes(16));
        var next = (await begins.WithAsync(_ => Task.CompletedTask, token)).Token!;
        await begins.WithAsync(_ => Task.CompletedTask, next);
        return (
            next,
            async site =>
            {
                site.Clock.Advance(TimeSpan.FromMinutes(1));
                await site.WithAsync(_ => Task.CompletedTask, token);
            }
        );
    }

    private static async Task EndAsync(Site site, string how, string token)
    {
        switch (how)
        {
            case "signed out":
                await site.WithAsync(session => session.DestroyAsync(), token);
                break;
            case "destroyed by its id":
                Assert.True(await site.Manager.DestroySessionAsync(Site.IdOf(token)));
                break;
            case "destroyed with all of its subject":
                Assert.Equal(1, await site.Manager.DestroyAllAsync("ada"));
                break;
            case "destroyed with everybody's":
                Assert.Equal(1, await site.Manager.DestroyEverySessionAsync());
                break;
            case "one sign-in too many":
                // The older one of the two has to go.
                site.Clock.Advance(TimeSpan.FromSeconds(1));
                await site.BeginAsync("ada");
                break;
            case "elevated":
                await site.WithAsync(session => session.RegenerateAsync(), token);
                break;
            case "signed in again":
                await site.WithAsync(session => session.SignInAsync("ada", new Cart("milk")), token);
                break;
            case "signed in as another":
                await site.WithAsync(session => session.SignInAsync("eve", new Cart("milk")), token);
                break;
            default:
                throw new ArgumentException(how);
        }
    }

    private static void LimitOne(SessionOptions<Cart> options) => options.MaxSessionsPerSubject = 1;

    private static Task<Site> NodeAsync(ISessionStore store) => Site.StartAsync(LimitOne, store: () => store);

    [Theory]
    [MemberData(nameof(Ends))]
    public async Task It_hears_at_once_of_an_end_in_its_own_process(SessionEndCause cause, string how)
    {
        await using var site = await Site.StartAsync(LimitOne);
        var (token, end) = await PlanAsync(site, how, site);
        await using var held = await Held.OpenAsync(site, token);
        await held.StaysAsync();
        await end(site);
        Assert.Equal(cause, await held.CauseAsync());
        await Held.UntilAsync(() => Held.Count(site) == 0, "nothing is watched any more");
    }

    [Theory]
    [MemberData(nameof(Ends))]
    public async Task It_hears_at_once_of_an_end_on_another_node(SessionEndCause cause, string how)
    {
        var store = new MemoryStore();
        await using var one = await NodeAsync(store);
        await using var other = await NodeAsync(store);
        var (token, end) = await PlanAsync(other, how, one, other);
        await using var held = await Held.OpenAsync(one, token);
        await held.StaysAsync();
        await end(other);
        Assert.Equal(cause, await held.CauseAsync());
    }

    [Theory]
    [MemberData(nameof(Ends))]
    public async Task Where_no_notice_comes_through_one_interval_passes_and_no_more(SessionEndCause cause, string how)
    {
        var store = new MemoryStore();
        await using var one = await NodeAsync(new LiveStore(store, isCut: true));
        await using var other = await NodeAsync(store);
        var (token, end) = await PlanAsync(other, how, one, other);
        await using var held = await Held.OpenAsync(one, token);
        await held.StaysAsync();
        await end(other);
        await held.StaysAsync();
        one.Clock.Advance(one.Settings.LiveCheck);
        Assert.Equal(cause, await held.CauseAsync());
    }

    [Fact]
    public async Task While_sessions_move_to_another_store_nodes_of_before_and_after_hear_each_other()
    {
        var (source, target) = (new MemoryStore(), new MemoryStore());
        await using var before = await NodeAsync(source);
        await using var after = await NodeAsync(new MigratingStore(target, source));
        var (ada, eve) = (await before.BeginAsync("ada"), await before.BeginAsync("eve"));
        await using var adas = await Held.OpenAsync(after, ada);
        await using var eves = await Held.OpenAsync(before, eve);
        await adas.StaysAsync();
        await before.Manager.DestroyAllAsync("ada");
        await after.Manager.DestroyAllAsync("eve");
        Assert.Equal(SessionEndCause.Revoked, await adas.CauseAsync());
        // It has moved away, and what the former store has left of it is a tombstone or nothing.
        Assert.NotNull(await eves.CauseAsync());
    }

    [Fact]
    public async Task Renewals_writes_and_the_ends_of_others_end_nothing()
    {
        await using var site = await Site.StartAsync();
        var token = await site.BeginAsync("ada");
        var another = await site.BeginAsync("ada");
        await using var held = await Held.OpenAsync(site, token);
        await site.WithAsync(session => session.UpdateAsync(_ => new Cart("milk")), token);
        await site.Manager.UpdateAsync(Site.IdOf(token), _ => new Cart("bread"));
        site.Clock.Advance(TimeSpan.FromMinutes(16));
        var next = (await site.WithAsync(_ => Task.CompletedTask, token)).Token!;
        await site.WithAsync(_ => Task.CompletedTask, next);
        site.Clock.Advance(TimeSpan.FromMinutes(1));
        await site.WithAsync(session => session.DestroyAsync(), another);
        await held.StaysAsync();

        // The token that the connection came with is long superseded: it is watched by its id, and that is no replay.
        await site.WithAsync(session => session.DestroyAsync(), next);
        Assert.Equal(SessionEndCause.SignedOut, await held.CauseAsync());
    }

    [Fact]
    public async Task Time_ends_it_by_the_clock_of_its_own_node()
    {
        await using var site = await Site.StartAsync();
        var token = await site.BeginAsync("ada");
        await using var held = await Held.OpenAsync(site, token);
        site.Clock.Advance(site.Settings.IdleTimeout - TimeSpan.FromSeconds(1));
        await held.StaysAsync();
        site.Clock.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal(SessionEndCause.Idle, await held.CauseAsync());
    }

    [Fact]
    public async Task The_absolute_timeout_and_a_token_that_never_came_back_end_it_as_well()
    {
        await using var site = await Site.StartAsync(o => o.AbsoluteTimeout = TimeSpan.FromMinutes(30));
        var token = await site.BeginAsync("ada");
        await using var held = await Held.OpenAsync(site, token);
        site.Clock.Advance(TimeSpan.FromMinutes(30));
        Assert.Equal(SessionEndCause.Absolute, await held.CauseAsync());

        var cause = new TaskCompletionSource<SessionEndCause?>();
        var begun = site.WithAsync(async session =>
        {
            await session.CreateAsync(new Cart("tea"));
            session.Ended.Register(() => cause.SetResult(session.EndedBecause));
            await cause.Task;
        });
        await Held.UntilAsync(() => Held.Count(site) == 1, "watched");
        site.Clock.Advance(TimeSpan.FromMinutes(10));
        await begun.WaitAsync(Held.Patience);
        Assert.Equal(SessionEndCause.Unconfirmed, await cause.Task);
    }

    [Fact]
    public async Task What_its_user_does_on_another_node_keeps_it_open()
    {
        var store = new MemoryStore();
        await using var one = await NodeAsync(store);
        await using var other = await NodeAsync(store);
        var token = await other.BeginAsync("ada");
        await using var held = await Held.OpenAsync(one, token);
        var half = one.Settings.IdleTimeout / 2;
        foreach (var site in new[] { other, one })
            site.Clock.Advance(half);
        var next = (await other.WithAsync(_ => Task.CompletedTask, token)).Token!;
        await other.WithAsync(_ => Task.CompletedTask, next);
        one.Clock.Advance(half);
        await held.StaysAsync();
        one.Clock.Advance(half);
        Assert.Equal(SessionEndCause.Idle, await held.CauseAsync());
    }

    [Theory]
    [InlineData(0)]
    [InlineData(10)]
    public async Task A_store_that_does_not_answer_ends_nothing_before_the_deadline_and_all_then(int usedAt)
    {
        var store = new FailingStore(new MemoryStore());
        await using var site = await NodeAsync(store);
        async Task PassAsync(int minutes)
        {
            for (var passed = 0; passed < minutes; passed++)
            {
                site.Clock.Advance(TimeSpan.FromMinutes(1));
                await Task.Delay(5);
            }
        }

        var token = await site.BeginAsync("ada");
        await using var held = await Held.OpenAsync(site, token);
        await held.StaysAsync();
        // The deadline that counts is the last one that the store has told.
        await PassAsync(usedAt);
        if (usedAt > 0)
        {
            await site.WithAsync(_ => Task.CompletedTask, token);
            await PassAsync(1);
            await held.StaysAsync();
        }

        store.Failure = StoreFailure.Unavailable;
        await PassAsync(usedAt > 0 ? 28 : 29);

        await held.StaysAsync();
        site.Clock.Advance(TimeSpan.FromMinutes(1));
        Assert.Equal(SessionEndCause.Idle, await held.CauseAsync());
    }

    /// <summary>Use moves the idle timeout past the absolute one: what the store said last is what ends it, also where it says nothing more.</summary>
    [Theory]
    [InlineData("it does not answer")]
    [InlineData("it has nothing of it any more")]
    public async Task Where_the_store_cannot_say_why_it_ended_the_deadline_that_was_seen_last_does(string how)
    {
        var store = new FailingStore(new MemoryStore());
        await using var site = await Site.StartAsync(
            o => o.AbsoluteTimeout = TimeSpan.FromMinutes(35),
            store: () => store
        );
        async Task PassAsync(int minutes)
        {
            for (var passed = 0; passed < minutes; passed++)
            {
                site.Clock.Advance(TimeSpan.FromMinutes(1));
                await Task.Delay(5);
            }
        }

        var token = await site.BeginAsync("ada");
        await using var held = await Held.OpenAsync(site, token);
        await held.StaysAsync();
        await PassAsync(10);
        await site.WithAsync(_ => Task.CompletedTask, token);
        await PassAsync(1);
        await held.StaysAsync();
        if (how == "it does not answer")
            store.Failure = StoreFailure.Unavailable;

        await PassAsync(23);
        await held.StaysAsync();
        if (how != "it does not answer")
            await ((ISessionStore)store).Remove(Site.IdOf(token).Value, CancellationToken.None);

        site.Clock.Advance(TimeSpan.FromMinutes(1));
        Assert.Equal(SessionEndCause.Absolute, await held.CauseAsync());
    }

    /// <summary>The clock comes to the deadline after so many readings of a look that began before it, or as the look asks to be woken, and never moves again.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(null)]
    public async Task A_deadline_that_passes_during_a_look_ends_it(int? readings)
    {
        var clock = new LeapingClock();
        var asked = 0;
        void Answering()
        {
            if (Interlocked.Increment(ref asked) != 1)
                return;
            if (readings is { } some)
                clock.LeapAfter(some, TimeSpan.FromMinutes(30));
            else
                clock.LeapAtTimer(TimeSpan.FromMinutes(30));
        }

        await using var site = await Site.StartAsync(
            LimitOne,
            store: () => new AnsweringStore(new MemoryStore(), Answering),
            clock: clock
        );
        await using var held = await Held.OpenAsync(site, await site.BeginAsync("ada"));
        // So few readings may be left that a look does not make.
        await Held.UntilAsync(() => asked > 0, "looked");
        await Task.Delay(100);
        clock.Leap();
        Assert.Equal(SessionEndCause.Idle, await held.CauseAsync());
    }

    [Fact]
    public async Task Without_a_session_it_never_ends_and_after_its_end_it_has_ended()
    {
        await using var site = await Site.StartAsync();
        await site.WithAsync(session =>
        {
            Assert.False(session.Ended.CanBeCanceled);
            Assert.Null(session.EndedBecause);
            return Task.CompletedTask;
        });

        var token = await site.BeginAsync("ada");
        await site.WithAsync(
            async session =>
            {
                var before = session.Ended;
                Assert.False(before.IsCancellationRequested);
                await session.SignInAsync("eve", new Cart("tea"));
                var after = session.Ended;
                // The one before ends with the sign-in.
                Assert.NotEqual(before, after);
                await session.DestroyAsync();
                Assert.True(after.IsCancellationRequested);
                Assert.True(session.Ended.IsCancellationRequested);
                Assert.Equal(SessionEndCause.SignedOut, session.EndedBecause);
            },
            token
        );
        var ended = await site.BeginAsync("ada");
        await site.Manager.DestroySessionAsync(Site.IdOf(ended));
        await site.WithAsync(
            session =>
            {
                Assert.True(session.Ended.IsCancellationRequested);
                Assert.Equal(SessionEndCause.Revoked, session.EndedBecause);
                return Task.CompletedTask;
            },
            ended
        );
        Assert.Equal(0, Held.Count(site));
    }

    /// <summary>Whatever was begun under the first one hears of it, however late the store answers.</summary>
    [Fact]
    public async Task What_was_handed_out_before_a_sign_in_ends_though_it_is_asked_for_again()
    {
        var store = new AnsweringStore(new MemoryStore(), () => Thread.Sleep(300));
        await using var site = await NodeAsync(store);
        var token = await site.BeginAsync("ada");
        await site.WithAsync(
            async session =>
            {
                var hasEnded = new TaskCompletionSource();
                using var _ = session.Ended.Register(hasEnded.SetResult);
                await session.SignInAsync("ada", new Cart("milk"));
                var second = session.Ended;
                await hasEnded.Task.WaitAsync(Held.Patience);
                Assert.False(second.IsCancellationRequested);
                Assert.Null(session.EndedBecause);
            },
            token
        );
        await Held.UntilAsync(() => Held.Count(site) == 0, "nothing is watched any more");
    }

    /// <summary>An id of the application's own may come again once nothing is left of the session before: that is another session, and may be another user's.</summary>
    [Fact]
    public async Task A_new_session_under_the_id_of_one_that_is_gone_keeps_nothing_open_of_that()
    {
        ISessionStore store = new MemoryStore();
        var id = Token.newId();
        await using var site = await Site.StartAsync(o => o.GenerateId = _ => id, store: () => store);
        await using var held = await Held.OpenAsync(site, await site.BeginAsync("ada"));
        await held.StaysAsync();
        await store.Remove(id, CancellationToken.None);
        site.Clock.Advance(TimeSpan.FromSeconds(1));
        await site.BeginAsync("eve");
        site.Clock.Advance(site.Settings.LiveCheck);
        Assert.Equal(SessionEndCause.Removed, await held.CauseAsync());
    }

    [Fact]
    public async Task A_callback_that_fails_stops_no_other_one_and_not_the_logout()
    {
        await using var site = await Site.StartAsync();
        var token = await site.BeginAsync("ada");
        var called = new TaskCompletionSource();
        var open = new TaskCompletionSource();
        var request = site.WithAsync(
            async session =>
            {
                session.Ended.Register(() => called.SetResult());
                session.Ended.Register(() => throw new InvalidOperationException("of the application"));
                open.SetResult();
                await called.Task;
            },
            token
        );
        await open.Task.WaitAsync(Held.Patience);
        await site.Manager.DestroyAllAsync("ada");
        await request.WaitAsync(Held.Patience);
    }

    [Fact]
    public async Task What_is_open_keeps_its_session_where_the_settings_say_so_but_not_for_ever()
    {
        await using var site = await Site.StartAsync(o => o.ConnectionsExtendIdle = true);
        var token = await site.BeginAsync("ada");
        var watched = site.Clock.GetUtcNow();
        await using (await Held.OpenAsync(site, token))
            while (site.Clock.GetUtcNow() - watched < TimeSpan.FromHours(2))
            {
                site.Clock.Advance(TimeSpan.FromMinutes(1));
                await Task.Delay(10);
            }

        // Nothing is open any more.
        Assert.NotNull(await site.Manager.FindAsync(Site.IdOf(token)));
        site.Clock.Advance(TimeSpan.FromMinutes(30));
        Assert.Null(await site.Manager.FindAsync(Site.IdOf(token)));
        var second = await site.BeginAsync("ada");
        watched = site.Clock.GetUtcNow();
        await using var held = await Held.OpenAsync(site, second);
        while (site.Clock.GetUtcNow() - watched < TimeSpan.FromHours(8))
        {
            site.Clock.Advance(TimeSpan.FromMinutes(2));
            await Task.Delay(10);
        }

        Assert.Equal(SessionEndCause.Absolute, await held.CauseAsync());
    }

    /// <summary>Keeps what it is asked to touch waiting.</summary>
    private sealed class HangingTouches() : ForwardingStore(new MemoryStore())
    {
        private int _touches;

        public bool Hangs { get; set; }

        public int Touches => Volatile.Read(ref _touches);

        public override ValueTask Touch(string id, DateTimeOffset at, CancellationToken cancel)
        {
            if (!Hangs)
                return base.Touch(id, at, cancel);

            Interlocked.Increment(ref _touches);
            return new ValueTask(Task.Delay(Timeout.Infinite, CancellationToken.None));
        }
    }

    /// <summary>That they are kept alive is a convenience: a store that hangs on it delays no end.</summary>
    [Fact]
    public async Task A_store_that_hangs_when_sessions_are_kept_delays_the_end_of_none()
    {
        var store = new HangingTouches();
        await using var site = await Site.StartAsync(
            o =>
            {
                o.ConnectionsExtendIdle = true;
                o.RequestTimeout = TimeSpan.FromMilliseconds(400);
            },
            store: () => store
        );
        var held = new List<Held>();
        var (before, last) = ("", "");
        for (var n = 0; n < 20; n++)
        {
            before = last.Split('.')[0];
            last = await site.BeginAsync($"u{n}");
            held.Add(await Held.OpenAsync(site, last));
        }

        // Past half of the idle timeout all of them are to be kept. The last one is gone meanwhile, and nobody was told.
        await ((ISessionStore)store).Remove(Site.IdOf(last).Value, CancellationToken.None);
        store.Hangs = true;
        site.Clock.Advance(TimeSpan.FromMinutes(16));
        Assert.Equal(SessionEndCause.Removed, await held[^1].CauseAsync().WaitAsync(TimeSpan.FromSeconds(4)));
        await Held.UntilAsync(() => store.Touches > 0, "the others were to be kept");
        held.RemoveAt(held.Count - 1);

        // Nor of one that goes while they are.
        await ((ISessionStore)store).Remove(before, CancellationToken.None);
        site.Clock.Advance(site.Settings.LiveCheck);
        Assert.Equal(SessionEndCause.Removed, await held[^1].CauseAsync().WaitAsync(TimeSpan.FromSeconds(4)));
        held.RemoveAt(held.Count - 1);
        foreach (var one in held)
            await one.DisposeAsync();
    }

    /// <summary>One of its records cannot be read: a shard that is away, or a damaged entry.</summary>
    private sealed class Damaged() : ForwardingStore(new MemoryStore())
    {
        public string Id { get; set; } = "";

        public override ValueTask<StoredRecord?> Load(string id, CancellationToken cancel) =>
            id == Id ? throw new IOException("damaged") : base.Load(id, cancel);

        public override ValueTask<IReadOnlyList<StoredRecord>> LoadMany(
            IReadOnlyList<string> ids,
            CancellationToken cancel
        ) => ids.Contains(Id) ? throw new IOException("damaged") : base.LoadMany(ids, cancel);
    }

    /// <summary>One session that cannot be read says nothing of the others that are looked at together with it.</summary>
    [Fact]
    public async Task A_session_that_cannot_be_read_keeps_no_other_one_open()
    {
        var store = new Damaged();
        await using var site = await Site.StartAsync(store: () => store);
        var held = new List<Held>();
        var last = "";
        for (var n = 0; n < 40; n++)
        {
            last = await site.BeginAsync($"u{n}");
            held.Add(await Held.OpenAsync(site, last));
            if (n == 0)
                store.Id = Site.IdOf(last).Value;
        }

        await Held.UntilAsync(() => Held.Count(site) == 40, "all are open");
        await ((ISessionStore)store).Remove(Site.IdOf(last).Value, CancellationToken.None);
        site.Clock.Advance(site.Settings.LiveCheck);
        Assert.Equal(SessionEndCause.Removed, await held[^1].CauseAsync());
        await held[0].StaysAsync();
        await held[1].StaysAsync();
        held.RemoveAt(held.Count - 1);
        foreach (var one in held)
            await one.DisposeAsync();
    }

    /// <summary>What was in flight at the end writes nothing; whoever comes later begins anew.</summary>
    [Fact]
    public async Task A_while_after_its_end_the_next_write_begins_a_new_session()
    {
        await using var site = await Site.StartAsync();
        var token = await site.BeginAsync("ada");
        await site.Manager.DestroyAllAsync("ada");
        await site.WithAsync(
            session => Assert.ThrowsAsync<SessionEndedException>(() => session.UpdateAsync(_ => new Cart("late"))),
            token
        );
        site.Clock.Advance(site.Settings.RotationGrace);
        var reply = await site.WithAsync(session => session.UpdateAsync(_ => new Cart("anew")), token);
        Assert.NotNull(reply.Token);
        Assert.NotEqual(Site.IdOf(token), Site.IdOf(reply.Token));
        Assert.Null((await site.Manager.FindAsync(Site.IdOf(reply.Token)))!.Subject);
    }

    /// <summary>A token that opens nothing, and may have opened something: what is open for it has no session to go on for.</summary>
    [Theory]
    [InlineData("a guess")]
    [InlineData("without the store")]
    public async Task What_is_refused_is_over_at_once(string how)
    {
        var store = new FailingStore(new MemoryStore());
        await using var site = await Site.StartAsync(o => o.ContinueWithoutStore = true, store: () => store);
        var token = await site.BeginAsync("ada");
        if (how == "a guess")
            token = Site.IdOf(token).Value + "." + new string('A', 43);
        else
            store.Failure = StoreFailure.Unavailable;

        await site.WithAsync(
            session =>
            {
                Assert.Null(session.Subject);
                Assert.True(session.Ended.IsCancellationRequested);
                return Task.CompletedTask;
            },
            token
        );
    }
}
