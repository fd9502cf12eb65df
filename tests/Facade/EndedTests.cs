using System.Runtime.CompilerServices;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.FSharp.Core;
using Session.AspNetCore;
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
    public async Task A_hint_of_nobodys_making_ends_nothing()
    {
        var store = new MemoryStore();
        var signals = (ISessionSignals)store;
        await using var site = await NodeAsync(store);
        var token = await site.BeginAsync("ada");
        await using var held = await Held.OpenAsync(site, token);
        await signals.Publish([Site.IdOf(token).Value, "nobody"], CancellationToken.None);
        await held.StaysAsync();
        Assert.Equal(1, Held.Count(site));
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

    [Fact]
    public async Task Nothing_is_asked_and_nobody_listens_before_somebody_asks_for_it()
    {
        var store = new LiveStore(new MemoryStore());
        await using var site = await NodeAsync(store);
        var token = await site.BeginAsync("ada");
        await site.WithAsync(session => session.UpdateAsync(_ => new Cart("milk")), token);
        site.Clock.Advance(TimeSpan.FromMinutes(5));
        Assert.Equal((0, 0, 0, 0), (store.Many, store.Subscriptions, Held.Count(site), store.Published));
        await using var held = await Held.OpenAsync(site, token);
        await Held.UntilAsync(() => store.Subscriptions == 1, "listens");
    }

    [Fact]
    public async Task Connections_that_close_by_themselves_leave_nothing_behind()
    {
        await using var site = await Site.StartAsync();
        var tokens = new[] { await site.BeginAsync("ada"), await site.BeginAsync("ada"), await site.BeginAsync("eve") };
        var held = new List<Held>();
        foreach (var token in tokens.Concat(tokens))
            held.Add(await Held.OpenAsync(site, token));
        // Two connections of one session share what is known of it.
        Assert.Equal(3, Held.Count(site));

        // Of two tabs of one session the one that closes leaves the other one what is known.
        foreach (var one in held.Take(3))
            await one.DisposeAsync();
        await held[3].StaysAsync();
        Assert.Equal(3, Held.Count(site));
        Assert.Equal(2, await site.Manager.DestroyAllAsync("ada"));
        Assert.Equal(SessionEndCause.Revoked, await held[3].CauseAsync());
        Assert.Equal(SessionEndCause.Revoked, await held[4].CauseAsync());
        foreach (var one in held.Skip(3))
            await one.DisposeAsync();
        await Held.UntilAsync(() => Held.Count(site) == 0, "nothing is watched any more");
    }

    /// <summary>A store that is slow to listen to, and is told when nobody does any more.</summary>
    private sealed class Slow(ISessionStore inner) : ForwardingStore(inner)
    {
        public TaskCompletionSource MayListen { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public TaskCompletionSource HasLeft { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public override async ValueTask<IAsyncDisposable> Subscribe(Action<string?> heard, CancellationToken cancel)
        {
            await MayListen.Task;
            return new Leaving(await base.Subscribe(heard, cancel), HasLeft);
        }

        private sealed class Leaving(IAsyncDisposable inner, TaskCompletionSource hasLeft) : IAsyncDisposable
        {
            public async ValueTask DisposeAsync()
            {
                await inner.DisposeAsync();
                hasLeft.TrySetResult();
            }
        }
    }

    /// <summary>It may take a while until a server takes a listener: what ended meanwhile was said to nobody.</summary>
    [Fact]
    public async Task What_ended_before_anybody_listened_is_heard_of_once_somebody_does()
    {
        var store = new MemoryStore();
        var slow = new Slow(store);
        await using var one = await NodeAsync(slow);
        await using var other = await NodeAsync(store);
        var token = await other.BeginAsync("ada");
        await using var held = await Held.OpenAsync(one, token);
        // Until it was looked at for the first time.
        await held.StaysAsync();
        Assert.Equal(1, await other.Manager.DestroyAllAsync("ada"));
        await held.StaysAsync();
        slow.MayListen.SetResult();
        Assert.Equal(SessionEndCause.Revoked, await held.CauseAsync());
    }

    /// <summary>A server that takes no listener and no notice, for now or ever.</summary>
    private sealed class Deaf(ISessionStore inner) : ForwardingStore(inner)
    {
        private int _asked;

        public int Asked => Volatile.Read(ref _asked);

        public Exception? Refusal { get; set; }

        public override ValueTask<IAsyncDisposable> Subscribe(Action<string?> heard, CancellationToken cancel)
        {
            Interlocked.Increment(ref _asked);
            return Refusal is { } refusal ? throw refusal : base.Subscribe(heard, cancel);
        }

        public override ValueTask Publish(IReadOnlyList<string> ids, CancellationToken cancel) =>
            Refusal is { } refusal ? throw refusal : base.Publish(ids, cancel);
    }

    /// <summary>Counts how often it was said that notices do not come through.</summary>
    private sealed class Silence : IDisposable
    {
        private readonly LogEar _ear = new();
        private int _said;

        public void Listen(IServiceCollection services) => _ear.Listen(services);

        public int Said
        {
            get
            {
                _said += _ear.Take()
                    .Count(line => line.StartsWith("Notices of ended sessions", StringComparison.Ordinal));
                return _said;
            }
        }

        public void Dispose() => _ear.Dispose();
    }

    /// <summary>It is asked again, and not for each look and each connection; it is said once, and again only once it had worked. What ended while nobody listened is heard of as soon as somebody does.</summary>
    [Fact]
    public async Task A_server_that_takes_no_listener_for_a_while_is_listened_to_as_soon_as_it_does()
    {
        var store = new MemoryStore();
        var deaf = new Deaf(store) { Refusal = new IOException("away") };
        using var silence = new Silence();
        await using var one = await Site.StartAsync(
            o => o.IdleTimeout = TimeSpan.FromHours(8),
            store: () => deaf,
            add: silence.Listen
        );
        await using var other = await NodeAsync(store);
        var begun = new List<string>();
        foreach (var subject in new[] { "ada", "bob", "cid", "dan", "eve" })
            begun.Add(await one.BeginAsync(subject));
        var since = DateTime.UtcNow;
        await using var held = await Held.OpenAsync(one, begun[0]);
        for (var looks = 0; deaf.Asked < 3; looks++)
        {
            Assert.True(looks < 500, "it is asked again");
            one.Clock.Advance(one.Settings.LiveCheck);
            await Task.Delay(100);
            var asked = deaf.Asked;
            Assert.True(asked <= 2 + (DateTime.UtcNow - since).TotalSeconds, "and has a second's rest each time");
        }

        // Until the last refusal is one.
        await Task.Delay(300);
        Assert.Equal(1, silence.Said);
        await held.StaysAsync();
        Assert.Equal(1, await other.Manager.DestroyAllAsync("ada"));
        deaf.Refusal = null;

        // No look comes: what has it tried again is the next connection.
        var others = new List<Held>();
        foreach (var token in begun.Skip(1))
        {
            await Task.Delay(1100);
            others.Add(await Held.OpenAsync(one, token));
        }

        Assert.Equal(SessionEndCause.Revoked, await held.CauseAsync());
        Assert.Equal(1, silence.Said);

        // Nor can it tell others now, and that is another time that it is away.
        deaf.Refusal = new IOException("away");
        foreach (var subject in new[] { "bob", "cid" })
            Assert.Equal(1, await one.Manager.DestroyAllAsync(subject));
        await Held.UntilAsync(() => silence.Said == 2, "said again");
        await Task.Delay(200);
        Assert.Equal(2, silence.Said);
        foreach (var it in others)
            await it.DisposeAsync();
    }

    /// <summary>A server that carries no notices never will: it is not asked for each connection, and ends are found by looking.</summary>
    [Fact]
    public async Task A_server_that_carries_no_notices_is_asked_once()
    {
        var store = new MemoryStore();
        var deaf = new Deaf(store) { Refusal = new NotSupportedException("none") };
        using var silence = new Silence();
        await using var one = await Site.StartAsync(
            o => o.IdleTimeout = TimeSpan.FromHours(8),
            store: () => deaf,
            add: silence.Listen
        );
        await using var other = await NodeAsync(store);
        var token = await one.BeginAsync("ada");
        await using var held = await Held.OpenAsync(one, token);
        for (var looks = 0; looks < 25; looks++)
        {
            one.Clock.Advance(one.Settings.LiveCheck);
            await Task.Delay(100);
        }

        await using var another = await Held.OpenAsync(one, token);
        await held.StaysAsync();
        Assert.Equal((1, 1), (deaf.Asked, silence.Said));
        Assert.Equal(1, await other.Manager.DestroyAllAsync("ada"));
        one.Clock.Advance(one.Settings.LiveCheck);
        Assert.Equal(SessionEndCause.Revoked, await held.CauseAsync());
        Assert.Equal(SessionEndCause.Revoked, await another.CauseAsync());
    }

    /// <summary>So that nothing of it is on the stack any more.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Watch(SessionService<Cart> service, Opened opened) => _ = service.OpenSessions.Watch(opened);

    /// <summary>The context that a hub has over long polling never says that it is over.</summary>
    [Fact]
    public async Task What_is_forgotten_without_a_word_is_watched_no_more()
    {
        await using var site = await Site.StartAsync();
        var service = site.Services.GetRequiredService<SessionService<Cart>>();
        var next = FuncConvert.FromFunc((Unit? _) => Token.newId());
        var made = await service.Engine.Create(
            next!,
            FSharpOption<string>.Some("ada"),
            [(byte)'{', (byte)'}'],
            CancellationToken.None
        );
        Watch(service, made.ResultValue);
        await Held.UntilAsync(
            () =>
            {
                GC.Collect();
                GC.WaitForPendingFinalizers();
                return service.OpenSessions.Count == 0;
            },
            "nothing is watched any more"
        );
    }

    /// <summary>What a server has for a listener is given back to it.</summary>
    [Fact]
    public async Task A_node_that_stops_listens_no_more()
    {
        var slow = new Slow(new MemoryStore());
        slow.MayListen.SetResult();
        await using var site = await NodeAsync(slow);
        await using (var held = await Held.OpenAsync(site, await site.BeginAsync("ada")))
            await held.StaysAsync();

        Assert.False(slow.HasLeft.Task.IsCompleted);
        await site.Services.GetRequiredService<IHost>().StopAsync();
        await slow.HasLeft.Task.WaitAsync(Held.Patience);
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
    public async Task A_look_at_all_sessions_of_a_node_is_one_command_for_each_five_hundred()
    {
        var store = new LiveStore(new MemoryStore());
        await using var site = await Site.StartAsync(store: () => store);
        var service = site.Services.GetRequiredService<SessionService<Cart>>();
        var leases = new List<SessionLease>();
        for (var i = 0; i < 1200; i++)
        {
            var id = $"session-{i}";
            var next = FuncConvert.FromFunc((Unit? _) => id);
            var made = await service.Engine.Create(
                next!,
                FSharpOption<string>.Some("ada"),
                [(byte)'{', (byte)'}'],
                CancellationToken.None
            );
            leases.Add(service.OpenSessions.Watch(made.ResultValue));
        }

        await Task.Delay(300);
        var before = store.Many;
        site.Clock.Advance(service.Settings.LiveCheck);
        await Held.UntilAsync(() => store.Many == before + 3, "three looks");
        await Task.Delay(100);
        Assert.Equal(before + 3, store.Many);
        Assert.Equal(1200, await site.Manager.DestroyAllAsync("ada"));
        Assert.All(leases, lease => Assert.True(lease.Token.IsCancellationRequested));
        foreach (var lease in leases)
            lease.Dispose();
        Assert.Equal(0, service.OpenSessions.Count);
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
