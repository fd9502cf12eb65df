using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Session.AspNetCore;
using Session.CSharp;
using Session.Engine;
using Xunit;

namespace Facade;

/// <summary>Each sentence has an id and a name that stay, and never a token in it.</summary>
public class LogTests
{
    private sealed record Line(string Category, LogLevel Level, EventId Id, string Text);

    /// <summary>Everything that anybody logs, from this level on.</summary>
    private sealed class Ear(LogLevel from) : ILoggerProvider
    {
        public ConcurrentQueue<Line> Lines { get; } = new();

        public IEnumerable<Line> Own => Lines.Where(it => it.Category == "Session");

        public ILogger CreateLogger(string categoryName) => new One(this, categoryName, from);

        public void Dispose() { }

        private sealed class One(Ear ear, string category, LogLevel from) : ILogger
        {
            public IDisposable? BeginScope<TState>(TState state)
                where TState : notnull => null;

            public bool IsEnabled(LogLevel logLevel) => logLevel >= from;

            public void Log<TState>(
                LogLevel logLevel,
                EventId eventId,
                TState state,
                Exception? exception,
                Func<TState, Exception?, string> formatter
            )
            {
                if (IsEnabled(logLevel))
                    ear.Lines.Enqueue(
                        new Line(category, logLevel, eventId, $"{formatter(state, exception)} {exception}")
                    );
            }
        }
    }

    private sealed class Away : Passing
    {
        public bool IsAway { get; set; }

        public override ValueTask<StoredRecord?> Load(string id, CancellationToken cancel) =>
            IsAway ? throw new IOException("away") : base.Load(id, cancel);
    }

    private static Task<EdgeSite> StartAsync(Ear ear, LogLevel from, ISessionStore? store = null) =>
        EdgeSite.StartAsync(
            app =>
            {
                app.UseSession<Cart>();
                app.MapGet("/me", (Session<Cart> session) => session.Subject ?? "nobody");
                app.MapPost("/write", (Session<Cart> session) => session.UpdateAsync(_ => new Cart("tea")));
                app.MapPost("/login", (Session<Cart> session) => session.SignInAsync("ada", new Cart("tea")));
                app.MapPost("/logout", (Session<Cart> session) => session.DestroyAsync());
            },
            store: store,
            log: log => log.SetMinimumLevel(from).AddProvider(ear)
        );

    [Fact]
    public void Ids_and_names_are_given_once()
    {
        var all = LogSentences.all.ToList();
        Assert.Equal(all.Count, all.Select(it => it.Id).Distinct().Count());
        Assert.Equal(all.Count, all.Select(it => it.Name).Distinct().Count());
        Assert.All(all, it => Assert.InRange(it.Id, 1, 69));
    }

    [Fact]
    public async Task In_Production_each_decision_is_explained_once_Debug_is_on()
    {
        var ear = new Ear(LogLevel.Debug);
        await using var site = await StartAsync(ear, LogLevel.Debug);
        await site.GetAsync("/me");
        var begun = await site.SendAsync("POST", "/login");
        await site.GetAsync("/me", begun.Token);
        await site.SendAsync("POST", "/logout", ("Cookie", "__Host-sid=" + begun.Token));
        var after = await site.GetAsync("/me", begun.Token);
        Assert.Null(after["X-Session-Explain"]);
        var said = ear.Own.Where(it => it.Id.Id == 50).ToList();
        Assert.All(said, it => Assert.Equal((LogLevel.Debug, "SessionDecision"), (it.Level, it.Id.Name)));
        var id = begun.Token.Split('.')[0];
        Assert.Equal(
            [
                "Session of /me: no session: the request has no token (id: none)",
                "Session of /login: no session: the request has no token (id: none)",
                $"Session of /login: new session: it is created, and the response carries its token (id: {id})",
                $"Session of /me: live session (id: {id})",
                $"Session of /logout: live session (id: {id})",
                $"Session of /me: no session: it was ended (id: {id})",
            ],
            said.Select(it => it.Text.Trim())
        );
    }

    [Fact]
    public async Task What_is_odd_about_tokens_is_said_at_Information()
    {
        var ear = new Ear(LogLevel.Information);
        await using var site = await StartAsync(ear, LogLevel.Information);
        async Task<(int, string?, LogLevel)> SaidAsync(string verb, string path, string cookie)
        {
            ear.Lines.Clear();
            await site.SendAsync(verb, path, ("Cookie", cookie));
            var line = Assert.Single(ear.Own);
            return (line.Id.Id, line.Id.Name, line.Level);
        }

        var one = (await site.SendAsync("POST", "/login")).Token;
        var two = (await site.SendAsync("POST", "/login")).Token;
        var guess = one.Split('.')[0] + "." + two.Split('.')[1];
        var stranger = "F8PBtq23XT5kGSuG0XXJ3g." + two.Split('.')[1];
        Assert.Equal(
            (33, "TokenDoubled", LogLevel.Information),
            await SaidAsync("GET", "/me", $"__Host-sid={one}; __Host-sid={two}")
        );
        Assert.Equal((32, "TokenGuessed", LogLevel.Information), await SaidAsync("GET", "/me", "__Host-sid=" + guess));
        Assert.Equal(
            (34, "TokenOfNobody", LogLevel.Information),
            await SaidAsync("POST", "/write", "__Host-sid=" + stranger)
        );

        // A visit with an old cookie is nothing to speak of.
        ear.Lines.Clear();
        await site.GetAsync("/me", stranger);
        Assert.Empty(ear.Own);
    }

    [Fact]
    public async Task No_token_is_in_the_log_whatever_is_switched_on()
    {
        var ear = new Ear(LogLevel.Trace);
        var store = new Away();
        await using var site = await StartAsync(ear, LogLevel.Trace, store);
        var secrets = new List<string>();
        async Task DoAsync(string verb, string path, string? cookie = null)
        {
            var answer = await site.SendAsync(verb, path, [.. cookie is null ? [] : new[] { ("Cookie", cookie) }]);
            if (answer.SetCookies.Length > 0 && answer.Token.Length > 0)
                secrets.Add(answer.Token.Split('.')[1]);
        }

        await DoAsync("POST", "/write");
        var first = (await site.SendAsync("POST", "/login")).Token;
        secrets.Add(first.Split('.')[1]);
        await DoAsync("POST", "/login", "__Host-sid=" + first);
        await DoAsync("GET", "/me", "__Host-sid=" + first);
        await DoAsync("GET", "/me", "__Host-sid=" + first + "x");
        await DoAsync("GET", "/me", $"__Host-sid={first}; __Host-sid=other");
        store.IsAway = true;
        await DoAsync("GET", "/me", "__Host-sid=" + first);
        store.IsAway = false;
        await DoAsync("POST", "/logout", "__Host-sid=" + first);
        Assert.True(secrets.Count >= 3);
        Assert.NotEmpty(ear.Own);
        foreach (var secret in secrets)
            Assert.DoesNotContain(ear.Lines, it => it.Text.Contains(secret, StringComparison.Ordinal));
    }

    /// <summary>A store that has found something out about its server.</summary>
    private sealed class Noted() : ForwardingStore(new MemoryStore())
    {
        public override ValueTask<StoreReport> Prepare(CancellationToken cancel) =>
            ValueTask.FromResult(new StoreReport("elsewhere", true, true, ["maxmemory-policy is allkeys-lru."]));
    }

    /// <summary>Nobody waits for an answer there: whoever runs the application knows of it by these lines, or not at all.</summary>
    [Fact]
    public async Task What_goes_wrong_behind_all_requests_is_said_and_of_which_session()
    {
        var ear = new Ear(LogLevel.Information);
        ISessionStore store = new Noted();
        await using var site = await Site.StartAsync(
            o =>
            {
                o.SweepInterval = TimeSpan.FromDays(9);
                o.Events.OnDestroyed = _ => throw new InvalidOperationException("a handler of the application failed");
                o.Events.OnExpired = _ => throw new InvalidOperationException("a handler of the application failed");
            },
            store: () => store,
            add: services => services.AddLogging(log => log.AddProvider(ear))
        );
        var engine = site.Services.GetRequiredService<SessionService<Cart>>().Engine;
        (int, string, LogLevel)[] Taken(string part)
        {
            var lines = ear.Own.ToArray();
            ear.Lines.Clear();
            Assert.All(lines, it => Assert.Contains(part, it.Text, StringComparison.Ordinal));
            return [.. lines.Select(it => (it.Id.Id, $"{it.Id.Name}", it.Level))];
        }

        async Task<(int, string, LogLevel)[]> SweptAsync(TimeSpan later, SessionId id)
        {
            site.Clock.Advance(later);
            await engine.Sweep(100, CancellationToken.None);
            return Taken(id.Value);
        }

        var handlerFailed = (4, "EventHandlerFailed", LogLevel.Error);
        var unreadable = (5, "RecordUnreadable", LogLevel.Error);
        Assert.Equal([(23, "StoreNote", LogLevel.Warning)], Taken("maxmemory-policy is allkeys-lru."));
        var ended = Site.IdOf(await site.BeginAsync("ada"));
        Assert.True(await site.Manager.DestroySessionAsync(ended));
        Assert.Equal([handlerFailed], Taken(ended.Value));

        // A handler that fails for a day after the tombstone's time will not do better.
        var silent = Site.IdOf(await site.BeginAsync("ada"));
        Assert.Equal([handlerFailed], await SweptAsync(TimeSpan.FromMinutes(31), silent));
        Assert.Equal(
            [handlerFailed, (6, "ExpiryNotTold", LogLevel.Error)],
            await SweptAsync(TimeSpan.FromHours(26), silent)
        );

        // What cannot be read is looked at again, until no session can live any more.
        var damaged = Site.IdOf(await site.BeginAsync("ada"));
        await Damaged.RecordAsync(store, damaged);
        Assert.Equal([unreadable], await SweptAsync(TimeSpan.FromMinutes(31), damaged));
        Assert.Equal(
            [unreadable, (7, "UnreadableRemoved", LogLevel.Error)],
            await SweptAsync(TimeSpan.FromHours(33), damaged)
        );
    }

    [Fact]
    public async Task An_outage_is_two_lines_and_a_counter()
    {
        var counted = 0L;
        using var meter = new MeterListener();
        meter.InstrumentPublished = (instrument, listener) =>
        {
            if (instrument is { Name: "session.store.failures", Meter.Name: "Session" })
                listener.EnableMeasurementEvents(instrument);
        };
        meter.SetMeasurementEventCallback<long>((_, value, _, _) => Interlocked.Add(ref counted, value));
        meter.Start();

        var ear = new Ear(LogLevel.Information);
        var store = new Away();
        await using var site = await StartAsync(ear, LogLevel.Information, store);
        var token = (await site.SendAsync("POST", "/login")).Token;
        store.IsAway = true;
        for (var i = 0; i < 100; i++)
            Assert.Equal(HttpStatusCode.ServiceUnavailable, (await site.GetAsync("/me", token)).Status);

        store.IsAway = false;
        // It is back when nothing has failed for a second.
        await Task.Delay(TimeSpan.FromSeconds(1.1));
        Assert.Equal("ada", (await site.GetAsync("/me", token)).Body);

        // And a store that fails every other time is no line for each.
        for (var i = 0; i < 100; i++)
        {
            store.IsAway = i % 2 == 0;
            await site.GetAsync("/me", token);
        }

        Assert.Equal([1, 2], ear.Own.Select(it => it.Id.Id));
        Assert.Contains("calls failed", ear.Own.Last().Text, StringComparison.Ordinal);
        Assert.DoesNotContain(ear.Lines, it => it.Level >= LogLevel.Error && it.Category != "Session");
        Assert.True(Interlocked.Read(ref counted) >= 150);
    }
}
