using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using Facade.Telemetry;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Time.Testing;
using Session.CSharp;
using Session.Engine;
using Xunit;

namespace Facade.Guides;

/// <summary>The table "Why was this user logged out?" of docs/OPERATING.md: each row, brought about and read.</summary>
public class LoggedOutTests
{
    private sealed class Ear : ILoggerProvider, ILogger
    {
        public ConcurrentQueue<int> Ids { get; } = new();

        public ILogger CreateLogger(string categoryName) => this;

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Information;

        public void Log<TState>(
            LogLevel logLevel,
            EventId eventId,
            TState state,
            Exception? exception,
            Func<TState, Exception?, string> formatter
        ) => Ids.Enqueue(eventId.Id);

        public void Dispose() { }
    }

    /// <summary>A store that can lose everything, as one that was emptied has.</summary>
    private sealed class Emptied : Passing
    {
        public bool IsEmpty { get; set; }

        public override ValueTask<StoredRecord?> Load(string id, CancellationToken cancel) =>
            IsEmpty ? ValueTask.FromResult<StoredRecord?>(null) : base.Load(id, cancel);
    }

    /// <summary>What a user has who comes back, and what can be seen of it.</summary>
    private sealed class Visit(EdgeSite site, FakeTimeProvider clock, Emptied store)
    {
        public FakeTimeProvider Clock => clock;
        public Emptied Store => store;
        public SessionManager<Cart> Manager => site.Services.GetRequiredService<SessionManager<Cart>>();

        public Task<Answer> SendAsync(string verb, string path, params string[] tokens) =>
            site.SendAsync(
                verb,
                path,
                [
                    .. tokens.Length == 0
                        ? []
                        : new[] { ("Cookie", string.Join("; ", tokens.Select(it => "__Host-sid=" + it))) },
                ]
            );

        public async Task<string> SignInAsync()
        {
            var token = (await SendAsync("POST", "/login")).Token;
            await SendAsync("GET", "/me", token);
            return token;
        }
    }

    /// <summary>For each cause: what leads to it, and the request after it.</summary>
    private static readonly Dictionary<string, Func<Visit, Task<Answer>>> s_causes = new()
    {
        ["signed out"] = async it =>
        {
            var token = await it.SignInAsync();
            await it.SendAsync("POST", "/logout", token);
            return await it.SendAsync("GET", "/me", token);
        },
        ["logged out everywhere, or by an operator"] = async it =>
        {
            var token = await it.SignInAsync();
            await it.Manager.DestroyAllAsync("ada");
            return await it.SendAsync("GET", "/me", token);
        },
        ["one sign-in too many"] = async it =>
        {
            var first = await it.SignInAsync();
            it.Clock.Advance(TimeSpan.FromSeconds(1));
            await it.SignInAsync();
            it.Clock.Advance(TimeSpan.FromSeconds(1));
            await it.SignInAsync();
            return await it.SendAsync("GET", "/me", first);
        },
        ["a token came back after its grace"] = async it =>
        {
            var old = await it.SignInAsync();
            it.Clock.Advance(TimeSpan.FromMinutes(16));
            var next = (await it.SendAsync("GET", "/me", old)).Token;
            await it.SendAsync("GET", "/me", next);
            it.Clock.Advance(TimeSpan.FromMinutes(2));
            await it.SendAsync("GET", "/me", old);
            return await it.SendAsync("GET", "/me", next);
        },
        ["silent for too long"] = async it =>
        {
            var token = await it.SignInAsync();
            it.Clock.Advance(TimeSpan.FromMinutes(31));
            return await it.SendAsync("GET", "/me", token);
        },
        ["signed in too long ago"] = async it =>
        {
            var token = await it.SignInAsync();
            for (var minutes = 0; minutes < 8 * 60; minutes += 10)
            {
                it.Clock.Advance(TimeSpan.FromMinutes(10));
                var answer = await it.SendAsync("GET", "/me", token);
                if (answer.SetCookies.Length > 0 && answer.Token.Length > 0)
                    token = answer.Token;
                else if (answer.SetCookies.Length > 0)
                    return answer;
            }

            return await it.SendAsync("GET", "/me", token);
        },
        ["the cookie never came back in time"] = async it =>
        {
            var token = (await it.SendAsync("POST", "/write")).Token;
            it.Clock.Advance(TimeSpan.FromMinutes(11));
            return await it.SendAsync("GET", "/me", token);
        },
        ["the store lost it, or another application has the cookie name"] = async it =>
        {
            var token = await it.SignInAsync();
            it.Store.IsEmpty = true;
            await it.SendAsync("POST", "/write", token);
            return await it.SendAsync("GET", "/me", token);
        },
        ["two cookies of one name"] = async it =>
        {
            var one = await it.SignInAsync();
            var other = await it.SignInAsync();
            return await it.SendAsync("GET", "/me", one, other);
        },
        ["a token of before the sign-in"] = async it =>
        {
            var before = (await it.SendAsync("POST", "/write")).Token;
            await it.SendAsync("POST", "/login", before);
            return await it.SendAsync("GET", "/me", before);
        },
        ["a token that is a guess"] = async it =>
        {
            var one = await it.SignInAsync();
            var other = await it.SignInAsync();
            return await it.SendAsync("GET", "/me", one.Split('.')[0] + "." + other.Split('.')[1]);
        },
        ["the browser sent no cookie"] = async it =>
        {
            await it.SignInAsync();
            return await it.SendAsync("GET", "/me");
        },
    };

    public static TheoryData<string> Causes => [.. s_causes.Keys];

    private static string[] Row(string cause) =>
        File.ReadAllLines(Repository.Under("docs", "OPERATING.md"))
            .Single(line => line.StartsWith($"| {cause} |", StringComparison.Ordinal))
            .Split('|')
            .Select(it => it.Trim())
            .ToArray();

    [Theory]
    [MemberData(nameof(Causes))]
    public async Task Each_cause_is_told_as_the_page_says(string cause)
    {
        var clock = new FakeTimeProvider(new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero));
        var store = new Emptied();
        var ear = new Ear();
        await using var site = await EdgeSite.StartAsync(
            app =>
            {
                app.UseSession<Cart>();
                app.MapGet("/me", (Session<Cart> session) => session.Subject ?? "nobody");
                app.MapPost("/write", (Session<Cart> session) => session.UpdateAsync(_ => new Cart("tea")));
                app.MapPost("/login", (Session<Cart> session) => session.SignInAsync("ada", new Cart("tea")));
                app.MapPost("/logout", (Session<Cart> session) => session.DestroyAsync());
            },
            services => services.AddSingleton<TimeProvider>(clock),
            o =>
            {
                o.MaxSessionsPerSubject = 2;
                // Not before the request that asks: what was never confirmed is forgotten then.
                o.SweepInterval = TimeSpan.FromDays(1);
            },
            "Development",
            store,
            log => log.AddProvider(ear)
        );
        using var heard = new Heard(site.Services.GetRequiredService<IMeterFactory>());
        var row = Row(cause);
        ear.Ids.Clear();
        var answer = await s_causes[cause](new Visit(site, clock, store));
        Assert.Equal("nobody", answer.Body);
        Assert.Equal(row[2].Trim('`'), answer["X-Session-Explain"]);

        // Not what the rows have in common: that the cookie is Secure and this is plain HTTP.
        var said = ear.Ids.Where(id => id is >= 30 and < 40).Distinct().Select(id => $"{id}");
        Assert.Equal(row[3] == "" ? [] : row[3].Split(", "), said);
        if (row[4] == "")
            return;

        clock.Advance(TimeSpan.FromDays(2));
        var parts = row[4].Split('`', StringSplitOptions.RemoveEmptyEntries);
        var (instrument, value) = (parts[0], parts[2]);
        await Held.UntilAsync(
            () => heard.All.Any(it => it.Name == instrument && it.Tags.ContainsValue(value)),
            $"{instrument} {value} of: {string.Join("; ", heard.All.Select(it => it.Name + " " + string.Join(",", it.Tags.Values)))}"
        );
    }
}
