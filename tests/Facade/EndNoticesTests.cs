using System.Runtime.CompilerServices;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.FSharp.Core;
using Session.AspNetCore;
using Session.CSharp;
using Session.Engine;
using Xunit;

namespace Facade;

/// <summary>Nodes listen to what others say of ended sessions, look by themselves where nothing comes through, and leave nothing behind.</summary>
public class EndNoticesTests
{
    private static Task<Site> NodeAsync(ISessionStore store) => Site.StartAsync(store: () => store);

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

    private static Task<Site> DeafNodeAsync(Deaf deaf, Silence silence) =>
        Site.StartAsync(o => o.IdleTimeout = TimeSpan.FromHours(8), store: () => deaf, add: silence.Listen);

    /// <summary>It is asked again, and not for each look and each connection; it is said once, and again only once it had worked. What ended while nobody listened is heard of as soon as somebody does.</summary>
    [Fact]
    public async Task A_server_that_takes_no_listener_for_a_while_is_listened_to_as_soon_as_it_does()
    {
        var store = new MemoryStore();
        var deaf = new Deaf(store) { Refusal = new IOException("away") };
        using var silence = new Silence();
        await using var one = await DeafNodeAsync(deaf, silence);
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
        await using var one = await DeafNodeAsync(deaf, silence);
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
}
