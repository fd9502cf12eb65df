using Microsoft.Extensions.DependencyInjection;
using Session.CSharp;
using Xunit;

namespace Facade;

public class EventTests
{
    private sealed record Heard(
        string What,
        SessionId Id,
        string? Subject,
        Cart? Data,
        string Reason,
        DateTimeOffset At
    );

    private sealed class Ear
    {
        private readonly List<Heard> _heard = [];

        public void Listen(SessionOptions<Cart> o)
        {
            Func<SessionEventContext<Cart>, Task> To(string what) =>
                it =>
                {
                    Assert.NotNull(it.Services);
                    lock (_heard)
                        _heard.Add(new Heard(what, it.Id, it.Subject, it.Data, ReasonOf(it), it.At));

                    return Task.CompletedTask;
                };

            o.Events.OnCreated = To("created");
            o.Events.OnRegenerated = To("regenerated");
            o.Events.OnSignedIn = To("signed in");
            o.Events.OnDestroyed = To("destroyed");
            o.Events.OnExpired = To("expired");
            o.Events.OnReplayed = To("replayed");
            o.Events.OnOutdated = To("outdated");
            o.Events.OnRefused = To("refused");
            o.Events.OnUnreadable = To("unreadable");
        }

        private static string ReasonOf(SessionEventContext<Cart> it) =>
            it switch
            {
                SessionRegeneratedContext<Cart> regenerated => regenerated.Reason.ToString(),
                SessionDestroyedContext<Cart> destroyed => destroyed.Reason.ToString(),
                SessionExpiredContext<Cart> expired => expired.Reason.ToString(),
                SessionRefusedContext<Cart> refused => refused.Reason.ToString(),
                SessionUnreadableContext<Cart> unreadable => unreadable.Reason,
                _ => "",
            };

        /// <summary>What the sweeper tells, sooner or later.</summary>
        public async Task<Heard[]> WaitAsync(Site site)
        {
            Heard[] heard = [];
            for (var i = 0; i < 200 && heard.Length == 0; i++)
            {
                await Task.Delay(20);
                heard = Take();
                if (heard.Length == 0)
                    site.Clock.Advance(TimeSpan.FromSeconds(72));
            }

            return heard;
        }

        public Heard[] Take()
        {
            lock (_heard)
            {
                Heard[] all = [.. _heard];
                _heard.Clear();
                return all;
            }
        }
    }

    private static (string, string)[] Names(Ear ear) => [.. ear.Take().Select(it => (it.What, it.Reason))];

    /// <summary>What is stored of an end has no data any more: whoever wants to write a cart down hears it with the end.</summary>
    [Fact]
    public async Task An_end_is_told_with_the_data_that_it_ended()
    {
        var ear = new Ear();
        await using var site = await Site.StartAsync(ear.Listen);
        var token = await site.BeginAsync("ada");
        ear.Take();
        await site.Manager.DestroyAllAsync("ada");
        Assert.Equal(
            ("destroyed", "ada", new Cart("tea")),
            ear.Take().Select(it => (it.What, it.Subject, it.Data)).Single()
        );
        token = await site.BeginAsync("ada");
        ear.Take();
        await site.WithAsync(session => session.DestroyAsync(), token);
        Assert.Equal(
            ("destroyed", "ada", new Cart("tea")),
            ear.Take().Select(it => (it.What, it.Subject, it.Data)).Single()
        );
    }

    [Fact]
    public async Task A_life_is_told_with_its_reasons()
    {
        var ear = new Ear();
        await using var site = await Site.StartAsync(ear.Listen);
        var start = site.Clock.GetUtcNow();
        var token = await site.BeginAsync();
        var id = Site.IdOf(token);
        Assert.Equal([new Heard("created", id, null, new Cart("tea"), "", start)], ear.Take());

        var signedIn = await site.WithAsync(session => session.SignInAsync("ada", new Cart("hers")), token);
        Assert.Equal(
            [
                new Heard("regenerated", id, "ada", new Cart("hers"), "SignIn", start),
                new Heard("signed in", id, "ada", new Cart("hers"), "", start),
            ],
            ear.Take()
        );
        await site.WithAsync(_ => Task.CompletedTask, token);
        Assert.Equal([("outdated", "")], Names(ear));

        var elevated = await site.WithAsync(session => session.RegenerateAsync(), signedIn.Token);
        Assert.Equal([("regenerated", "Elevation")], Names(ear));

        await site.WithAsync(session => session.DestroyAsync(), elevated.Token);
        Assert.Equal([("destroyed", "SignedOut")], Names(ear));
    }

    [Fact]
    public async Task A_handler_that_fails_keeps_the_next_event_from_nobody()
    {
        var ear = new Ear();
        await using var site = await Site.StartAsync(o =>
        {
            ear.Listen(o);
            o.Events.OnCreated = _ => throw new IOException("the mail server is down");
            o.Events.OnRegenerated = _ => Task.FromException(new IOException("the mail server is down"));
        });
        var token = await site.BeginAsync("ada");
        Assert.Equal([("signed in", "")], Names(ear));
        await site.WithAsync(session => session.SignInAsync("ada", new Cart("hers")), token);
        Assert.Equal([("signed in", "")], Names(ear));
    }

    [Fact]
    public async Task A_sign_in_without_a_session_is_told_after_its_creation()
    {
        var ear = new Ear();
        await using var site = await Site.StartAsync(ear.Listen);
        await site.BeginAsync("ada");
        Assert.Equal([("created", ""), ("signed in", "")], Names(ear));
    }

    [Fact]
    public async Task A_renewal_and_its_replay_are_told()
    {
        var ear = new Ear();
        await using var site = await Site.StartAsync(ear.Listen);
        var token = await site.BeginAsync();
        site.Clock.Advance(TimeSpan.FromMinutes(16));
        var renewed = await site.WithAsync(_ => Task.CompletedTask, token);
        ear.Take();
        await site.WithAsync(_ => Task.CompletedTask, renewed.Token);
        Assert.Equal([("regenerated", "Renewal")], Names(ear));
        site.Clock.Advance(TimeSpan.FromMinutes(1));
        await site.WithAsync(_ => Task.CompletedTask, token);
        Assert.Equal([("replayed", ""), ("destroyed", "Replayed")], Names(ear));
    }

    [Fact]
    public async Task A_replay_need_not_end_the_session()
    {
        await using var site = await Site.StartAsync(o => o.DestroyOnReplay = false);
        var token = await site.BeginAsync();
        site.Clock.Advance(TimeSpan.FromMinutes(16));
        var renewed = await site.WithAsync(_ => Task.CompletedTask, token);
        await site.WithAsync(_ => Task.CompletedTask, renewed.Token);
        site.Clock.Advance(TimeSpan.FromMinutes(1));
        await site.WithAsync(_ => Task.CompletedTask, token);
        Assert.NotNull(await site.Manager.FindAsync(Site.IdOf(token)));
    }

    [Fact]
    public async Task An_operator_and_a_limit_are_told_as_what_they_are()
    {
        var ear = new Ear();
        await using var site = await Site.StartAsync(o =>
        {
            ear.Listen(o);
            o.MaxSessionsPerSubject = 1;
        });
        var first = await site.BeginAsync("ada");
        site.Clock.Advance(TimeSpan.FromSeconds(1));
        var second = await site.BeginAsync("ada");
        Assert.Contains(ear.Take(), it => it is { What: "destroyed", Reason: "Limit" } && it.Id == Site.IdOf(first));
        await site.Manager.DestroySessionAsync(Site.IdOf(second));
        Assert.Equal([("destroyed", "Revoked")], Names(ear));

        await site.BeginAsync("ada");
        ear.Take();
        await site.Manager.DestroyAllAsync("ada");
        Assert.Equal([("destroyed", "Revoked")], Names(ear));
        await site.BeginAsync("ada");
        ear.Take();
        await site.Manager.DestroyEverySessionAsync();
        Assert.Equal([("destroyed", "Revoked")], Names(ear));
    }

    [Fact]
    public async Task What_opens_nothing_is_told_with_its_reason()
    {
        var ear = new Ear();
        await using var site = await Site.StartAsync(ear.Listen);
        var token = await site.BeginAsync();
        var other = await site.BeginAsync();
        ear.Take();
        await site.WithAsync(_ => Task.CompletedTask, "nonsense");
        Assert.Equal([("refused", "Malformed")], Names(ear));
        await site.WithAsync(_ => Task.CompletedTask, $"{token}|{other}");
        Assert.Equal([("refused", "Duplicate")], Names(ear));
        await site.WithAsync(_ => Task.CompletedTask, $"{token.Split('.')[0]}.{other.Split('.')[1]}");
        var guess = Assert.Single(ear.Take());
        Assert.Equal(("refused", "Guess", Site.IdOf(token)), (guess.What, guess.Reason, guess.Id));
    }

    [Theory, InlineData(true, "Unconfirmed", 10), InlineData(false, "Idle", 30)]
    public async Task The_end_by_time_is_told_by_the_sweeper(bool isUnconfirmed, string reason, int minutes)
    {
        var ear = new Ear();
        await using var site = await Site.StartAsync(ear.Listen);
        if (isUnconfirmed)
            await site.WithAsync(session => session.CreateAsync(new Cart("tea")));
        else
            await site.BeginAsync();

        ear.Take();
        site.Clock.Advance(TimeSpan.FromMinutes(minutes));
        var heard = await ear.WaitAsync(site);
        Assert.Equal(("expired", reason), (heard.Single().What, heard.Single().Reason));
    }

    /// <summary>Where more of them end between two sweeps than one command takes, whoever hears of them does not fall behind for ever.</summary>
    [Fact]
    public async Task One_sweep_tells_of_all_that_is_over()
    {
        const int Count = 120;
        var ear = new Ear();
        await using var site = await Site.StartAsync(o =>
        {
            ear.Listen(o);
            o.SweepInterval = TimeSpan.FromMinutes(40);
        });
        for (var i = 0; i < Count; i++)
            await site.WithAsync(session => session.CreateAsync(new Cart("tea")));
        ear.Take();

        // A pause is a fifth more or less: one of them is over, and the next is not.
        site.Clock.Advance(TimeSpan.FromMinutes(49));
        var told = 0;
        for (var i = 0; i < 200 && told < Count; i++)
        {
            await Task.Delay(20);
            told += ear.Take().Count(it => it.What == "expired");
        }

        Assert.Equal(Count, told);
    }

    [Fact]
    public async Task The_absolute_end_is_told_as_such()
    {
        var ear = new Ear();
        await using var site = await Site.StartAsync(o =>
        {
            ear.Listen(o);
            o.IdleTimeout = o.AbsoluteTimeout = TimeSpan.FromMinutes(30);
        });
        await site.BeginAsync();
        ear.Take();
        site.Clock.Advance(TimeSpan.FromMinutes(30));
        var heard = await ear.WaitAsync(site);
        Assert.Equal(("expired", "Absolute"), (heard.Single().What, heard.Single().Reason));
    }

    [Fact]
    public async Task What_one_handler_throws_stops_neither_the_other_nor_the_session()
    {
        var told = 0;
        await using var site = await Site.StartAsync(o =>
        {
            o.Events.OnCreated = _ => throw new InvalidOperationException("a handler of the application failed");
            o.Events.OnSignedIn = _ => Task.FromResult(told++);
        });
        Assert.NotNull(await site.BeginAsync("ada"));
        Assert.Equal(1, told);
    }

    [Fact]
    public async Task A_sign_in_is_told_where_nobody_hears_of_the_rest()
    {
        var told = new List<string?>();
        await using var site = await Site.StartAsync(o =>
            o.Events.OnSignedIn = it =>
            {
                told.Add(it.Subject);
                return Task.CompletedTask;
            }
        );
        var token = await site.BeginAsync();
        await site.WithAsync(session => session.SignInAsync("ada", new Cart("tea")), token);
        Assert.Equal(["ada"], told);
    }

    [Fact]
    public async Task Data_that_this_version_cannot_read_is_told_and_opens_nothing()
    {
        var store = new Session.Engine.MemoryStore();
        string token;
        await using (var old = await Site.StartAsync(o => o.Serializer = new Nonsense(), store: () => store))
            token = await old.BeginAsync();

        var ear = new Ear();
        await using var site = await Site.StartAsync(ear.Listen, store: () => store);
        await site.WithAsync(
            session =>
            {
                Assert.Null(session.Data);
                Assert.Equal(SessionOrigin.Invalid, session.Origin);
                return Task.CompletedTask;
            },
            token
        );
        var heard = Assert.Single(ear.Take());
        Assert.Equal(("unreadable", Site.IdOf(token)), (heard.What, heard.Id));
        Assert.NotEqual("", heard.Reason);

        // The event still matters where its data does not fit.
        await site.Manager.DestroySessionAsync(Site.IdOf(token));
        var ended = Assert.Single(ear.Take());
        Assert.Equal(("destroyed", "Revoked", null), (ended.What, ended.Reason, ended.Data));
    }

    [Fact]
    public async Task An_end_by_time_is_told_once_whatever_the_serializer_throws()
    {
        var log = new LogEar();
        var ear = new Ear();
        await using var site = await Site.StartAsync(
            o =>
            {
                o.Serializer = new Broken();
                ear.Listen(o);
            },
            add: log.Listen
        );
        var begun = await site.WithAsync(session => session.CreateAsync(new Cart("tea")));
        ear.Take();
        log.Take();
        site.Clock.Advance(TimeSpan.FromMinutes(10));
        var heard = Assert.Single(await ear.WaitAsync(site));
        Assert.Equal(("expired", "Unconfirmed", null), (heard.What, heard.Reason, heard.Data));
        Assert.Equal(Site.IdOf(begun.Token!), heard.Id);

        // It has been told, and is not told again.
        for (var i = 0; i < 10; i++)
        {
            site.Clock.Advance(TimeSpan.FromSeconds(72));
            await Task.Delay(20);
        }

        Assert.Empty(ear.Take());
        Assert.Single(log.Take(), line => line.Contains("cannot be read", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Each_event_has_services_of_its_own_until_its_handlers_are_done()
    {
        var (given, open) = (new List<Scoped>(), new List<bool>());
        async Task Hear(SessionEventContext<Cart> it)
        {
            var mine = it.Services.GetRequiredService<Scoped>();
            await Task.Yield();
            given.Add(mine);
            open.Add(!mine.IsDisposed);
        }

        await using var site = await Site.StartAsync(
            o =>
            {
                o.Events.OnCreated = Hear;
                o.Events.OnSignedIn = Hear;
                o.Events.OnDestroyed = Hear;
            },
            add: services => services.AddScoped<Scoped>()
        );
        var token = await site.BeginAsync("ada");
        await site.Manager.DestroySessionAsync(Site.IdOf(token));
        Assert.Equal([true, true, true], open);
        Assert.Same(given[0], given[1]);
        Assert.NotSame(given[0], given[2]);
        Assert.All(given, it => Assert.True(it.IsDisposed));
    }

    [Fact]
    public async Task A_handler_is_not_waited_for_longer_than_said()
    {
        var log = new LogEar();
        var end = new TaskCompletionSource();
        Scoped? mine = null;
        await using var site = await Site.StartAsync(
            o =>
            {
                o.EventTimeout = TimeSpan.FromMilliseconds(100);
                o.Events.OnCreated = it =>
                {
                    mine = it.Services.GetRequiredService<Scoped>();
                    return end.Task;
                };
            },
            add: services =>
            {
                services.AddScoped<Scoped>();
                log.Listen(services);
            }
        );
        Assert.NotNull(await site.BeginAsync());
        Assert.Contains(log.Take(), line => line.Contains("is not done after", StringComparison.Ordinal));

        // It goes on by itself, with its services.
        Assert.False(mine!.IsDisposed);
        end.SetResult();
        for (var i = 0; i < 200 && !mine.IsDisposed; i++)
            await Task.Delay(10);

        Assert.True(mine.IsDisposed);
    }

    [Fact]
    public async Task A_handler_may_call_back_into_the_library()
    {
        var seen = new List<SessionInfo?>();
        SessionManager<Cart>? manager = null;
        await using var site = await Site.StartAsync(o =>
            o.Events.OnSignedIn = async it =>
            {
                seen.Add(await manager!.FindAsync(it.Id));
                await manager.UpdateAsync(it.Id, cart => cart! with { Count = 7 });
            }
        );
        manager = site.Manager;
        var token = await site.BeginAsync("ada");
        Assert.Equal("ada", Assert.Single(seen)!.Subject);
        await site.WithAsync(
            session =>
            {
                Assert.Equal(7, session.Data!.Count);
                return Task.CompletedTask;
            },
            token
        );
    }

    private sealed class Scoped : IDisposable
    {
        public bool IsDisposed { get; private set; }

        public void Dispose() => IsDisposed = true;
    }

    /// <summary>Throws what no library would expect.</summary>
    private sealed class Broken : Session.AspNetCore.ISessionSerializer<Cart>
    {
        public byte[] Serialize(Cart value) => [1, 2, 3];

        public Cart Deserialize(ReadOnlyMemory<byte> data) => throw new InvalidOperationException("no such shape");
    }

    private sealed class Nonsense : Session.AspNetCore.ISessionSerializer<Cart>
    {
        public byte[] Serialize(Cart value) => [1, 2, 3];

        public Cart Deserialize(ReadOnlyMemory<byte> data) => new("nonsense");
    }
}
