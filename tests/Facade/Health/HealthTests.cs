using System.Diagnostics;
using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Session.AspNetCore;
using Session.CSharp;
using Session.Engine;
using Session.Stores.Sqlite;
using Session.Testing;
using Xunit;

namespace Facade.Health;

/// <summary>AddHealthChecks().AddSessions: what it finds of a store, what it leaves there, and how long it takes.</summary>
public class HealthTests
{
    private const string Name = "sessions:Cart";
    private static readonly string[] _verbs = ["insert", "load", "replace", "remove"];

    private static Task<Site> StartAsync(
        Func<ISessionStore>? store = null,
        Action<SessionOptions<Cart>>? configure = null,
        Action<IServiceCollection>? add = null
    ) =>
        Site.StartAsync(
            configure,
            app => app.MapHealthChecks("/health"),
            store,
            services =>
            {
                services.AddHealthChecks().AddSessions<Cart>();
                add?.Invoke(services);
            }
        );

    private static async Task<HealthReportEntry> CheckAsync(Site site) =>
        (await site.Services.GetRequiredService<HealthCheckService>().CheckHealthAsync()).Entries[Name];

    /// <summary>Everything that a store has, tombstones included.</summary>
    private static async Task<IReadOnlyList<StoredRecord>> RecordsAsync(ISessionStore store) =>
        (await store.Enumerate(null, 1000, CancellationToken.None)).Records;

    private static async Task IsHealthyAsync(ISessionStore store)
    {
        await using var site = await StartAsync(() => store);
        var token = await site.BeginAsync("ada");
        var entry = await CheckAsync(site);
        Assert.Equal((HealthStatus.Healthy, "The session store works."), (entry.Status, entry.Description));
        foreach (var verb in _verbs)
            Assert.StartsWith("ok, ", (string)entry.Data[verb], StringComparison.Ordinal);

        Assert.Empty((string[])entry.Data["notes"]);
        Assert.NotEmpty((string)entry.Data["store"]);
        var reply = await site.SendAsync("/health");
        Assert.Equal((HttpStatusCode.OK, "Healthy"), (reply.Status, reply.Body));
        Assert.Equal([Site.IdOf(token).ToString()], (await RecordsAsync(store)).Select(it => it.Id));
    }

    [Fact]
    public Task Memory_is_healthy_and_nothing_of_the_probe_stays() => IsHealthyAsync(new MemoryStore());

    [Fact]
    public async Task A_file_is_healthy_and_nothing_of_the_probe_stays()
    {
        var folder = Directory.CreateTempSubdirectory("session-health-").FullName;
        try
        {
            await IsHealthyAsync(
                new SqliteStore(new SqliteStoreOptions { Path = Path.Combine(folder, "sessions.db") })
            );
        }
        finally
        {
            Directory.Delete(folder, true);
        }
    }

    [Fact]
    public async Task Records_under_a_protector_and_sealed_data_are_probed_as_well()
    {
        await using var site = await StartAsync(add: services =>
            new SessionBuilder(services, typeof(Cart)).UseMemory().SealToBearer()
        );
        Assert.Equal(HealthStatus.Healthy, (await CheckAsync(site)).Status);

        await using var other = await StartAsync(add: services =>
            new SessionBuilder(services, typeof(Cart)).UseMemory().ProtectWith(_ => new Turning())
        );
        Assert.Equal(HealthStatus.Healthy, (await CheckAsync(other)).Status);
    }

    [Fact]
    public async Task A_store_that_does_not_answer_is_unhealthy_and_is_healthy_again_when_it_does()
    {
        var store = new FailingStore(new MemoryStore());
        await using var site = await StartAsync(() => store);
        foreach (var failure in new[] { StoreFailure.Unavailable, StoreFailure.Unsure })
        {
            store.Failure = failure;
            var entry = await CheckAsync(site);
            Assert.Equal(HealthStatus.Unhealthy, entry.Status);
            Assert.IsType<IOException>(entry.Exception);
            Assert.Equal("failed (IOException)", entry.Data["load"]);
            Assert.Equal(HttpStatusCode.ServiceUnavailable, (await site.SendAsync("/health")).Status);
            store.Failure = StoreFailure.None;
            Assert.Equal(HealthStatus.Healthy, (await CheckAsync(site)).Status);
        }
    }

    /// <summary>What the store said of its surroundings before an outage, such as a failover, holds no longer.</summary>
    [Fact]
    public async Task After_an_outage_the_store_is_asked_anew_how_it_is_set_up()
    {
        var store = new PartlyStore(new MemoryStore()) { Notes = [] };
        await using var site = await StartAsync(() => store);
        Assert.Equal(HealthStatus.Healthy, (await CheckAsync(site)).Status);
        foreach (var verb in _verbs)
            store.Failing.Add(verb);
        Assert.Equal(HealthStatus.Unhealthy, (await CheckAsync(site)).Status);
        store.Failing.Clear();
        store.Notes = ["Its replica is gone."];
        var entry = await CheckAsync(site);
        Assert.Equal((HealthStatus.Degraded, "Its replica is gone."), (entry.Status, entry.Description));
    }

    [Fact]
    public async Task A_store_that_hangs_is_unhealthy_within_the_time_of_a_request()
    {
        var store = new FailingStore(new MemoryStore());
        await using var site = await StartAsync(() => store, o => o.RequestTimeout = TimeSpan.FromMilliseconds(500));
        Assert.Equal(HealthStatus.Healthy, (await CheckAsync(site)).Status);
        store.Delay = TimeSpan.FromMinutes(10);
        store.Failure = StoreFailure.Slow;
        var began = Stopwatch.GetTimestamp();
        var entry = await CheckAsync(site);
        Assert.InRange(Stopwatch.GetElapsedTime(began), TimeSpan.FromSeconds(0.4), TimeSpan.FromSeconds(5));
        Assert.Equal(HealthStatus.Unhealthy, entry.Status);
        Assert.StartsWith("no answer after ", (string)entry.Data["insert"], StringComparison.Ordinal);
    }

    /// <summary>It answers each command, and does not say how it is set up: a check that waits for that is worth nothing.</summary>
    [Fact]
    public async Task A_store_that_does_not_say_how_it_is_set_up_is_degraded_within_the_time_of_a_request()
    {
        var store = new Silent();
        await using var site = await StartAsync(() => store, o => o.RequestTimeout = TimeSpan.FromMilliseconds(500));
        store.IsSilent = true;
        var began = Stopwatch.GetTimestamp();
        var entry = await CheckAsync(site);
        Assert.InRange(Stopwatch.GetElapsedTime(began), TimeSpan.FromSeconds(0.3), TimeSpan.FromSeconds(4));
        Assert.Equal(HealthStatus.Degraded, entry.Status);
        Assert.Contains("did not say in time", entry.Description, StringComparison.Ordinal);
    }

    /// <summary>What is given up has not been found to be well, nor set up wrongly: it is what the application has said of a failure.</summary>
    [Fact]
    public async Task A_check_that_takes_longer_than_its_own_timeout_has_failed()
    {
        var store = new Silent();
        await using var site = await Site.StartAsync(
            store: () => store,
            add: services =>
                services
                    .AddHealthChecks()
                    .AddSessions<Cart>(Name, HealthStatus.Unhealthy, [], TimeSpan.FromMilliseconds(500))
        );
        store.IsSilent = true;
        var began = Stopwatch.GetTimestamp();
        var entry = await CheckAsync(site);
        Assert.Equal(HealthStatus.Unhealthy, entry.Status);
        Assert.InRange(Stopwatch.GetElapsedTime(began), TimeSpan.Zero, TimeSpan.FromSeconds(4));
    }

    private sealed class Silent() : ForwardingStore(new MemoryStore())
    {
        public bool IsSilent { get; set; }

        public override ValueTask<StoreReport> Prepare(CancellationToken cancellationToken) =>
            IsSilent
                ? new ValueTask<StoreReport>(new TaskCompletionSource<StoreReport>().Task)
                : base.Prepare(cancellationToken);
    }

    [Fact]
    public async Task A_store_that_is_slow_is_degraded()
    {
        var store = new FailingStore(new MemoryStore());
        await using var site = await StartAsync(() => store, o => o.RequestTimeout = TimeSpan.FromSeconds(1.5));
        store.Delay = TimeSpan.FromSeconds(0.35);
        store.Failure = StoreFailure.Slow;
        var entry = await CheckAsync(site);
        Assert.Equal(HealthStatus.Degraded, entry.Status);
        Assert.Contains("load is slow", entry.Description, StringComparison.Ordinal);
        Assert.Equal("Degraded", (await site.SendAsync("/health")).Body);
    }

    [Theory, InlineData("insert"), InlineData("load"), InlineData("replace"), InlineData("remove")]
    public async Task A_store_some_of_whose_calls_fail_is_degraded_and_says_which(string verb)
    {
        var store = new PartlyStore(new MemoryStore());
        await using var site = await StartAsync(() => store);
        store.Failing.Add(verb);
        var entry = await CheckAsync(site);
        Assert.Equal(HealthStatus.Degraded, entry.Status);
        Assert.Contains($"{verb}: failed (IOException)", entry.Description, StringComparison.Ordinal);
        Assert.DoesNotContain("server-42", entry.Description + string.Join(' ', entry.Data), StringComparison.Ordinal);
        Assert.IsType<IOException>(entry.Exception);
    }

    [Fact]
    public async Task What_is_written_and_not_kept_or_not_read_is_degraded()
    {
        var store = new PartlyStore(new MemoryStore());
        await using var site = await StartAsync(() => store);
        foreach (
            var (result, words) in new[]
            {
                (WriteResult.Unacknowledged, "failover"),
                (WriteResult.Unknown, "insert: no answer"),
                (WriteResult.Conflict, "refuses"),
            }
        )
        {
            store.Written = result;
            var entry = await CheckAsync(site);
            Assert.Equal(HealthStatus.Degraded, entry.Status);
            Assert.Contains(words, entry.Description, StringComparison.Ordinal);

            // A write that was not confirmed may be there all the same: each check would leave one more.
            Assert.Empty(await RecordsAsync(store));
        }

        store.Written = WriteResult.Written;
        store.ReadsBehind = true;
        Assert.Contains("is not there", (await CheckAsync(site)).Description, StringComparison.Ordinal);
        (store.ReadsBehind, store.ReadsAnothers) = (false, true);
        Assert.Contains("is not what is read", (await CheckAsync(site)).Description, StringComparison.Ordinal);
    }

    /// <summary>Sign-ins and logouts wait for the replicas: a probe that did not would say that all is well while they fail.</summary>
    [Theory, InlineData("insert"), InlineData("replace")]
    public async Task Where_no_replica_confirms_what_has_to_last_it_is_degraded(string verb)
    {
        var store = new PartlyStore(new MemoryStore());
        await using var site = await StartAsync(() => store);
        Assert.Equal(HealthStatus.Healthy, (await CheckAsync(site)).Status);
        store.Alone.Add(verb);
        var entry = await CheckAsync(site);
        Assert.Equal(HealthStatus.Degraded, entry.Status);
        Assert.Contains($"{verb}: it is written, but not kept as widely", entry.Description, StringComparison.Ordinal);
        store.Alone.Clear();
        Assert.Equal(HealthStatus.Healthy, (await CheckAsync(site)).Status);
    }

    [Fact]
    public async Task Each_note_of_the_store_is_told_until_it_is_true_no_more()
    {
        var store = new PartlyStore(new MemoryStore()) { Notes = ["It forgets.", "It is far away."] };
        await using var site = await StartAsync(() => store);
        var entry = await CheckAsync(site);
        Assert.Equal((HealthStatus.Degraded, "It forgets. It is far away."), (entry.Status, entry.Description));
        Assert.Equal(store.Notes, entry.Data["notes"]);
        store.Notes = [];
        Assert.Equal(HealthStatus.Healthy, (await CheckAsync(site)).Status);

        // Nobody has to ask for them with every check.
        var asked = store.Prepared;
        for (var i = 0; i < 5; i++)
            await CheckAsync(site);

        Assert.Equal(asked, store.Prepared);
        store.Failing.Add("load");
        await CheckAsync(site);
        store.Failing.Clear();
        store.Refusal = "Let nothing be evicted: maxmemory-policy noeviction.";
        entry = await CheckAsync(site);
        Assert.Equal(HealthStatus.Degraded, entry.Status);
        Assert.Contains(store.Refusal, entry.Description, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_probe_is_no_session_to_anybody_even_where_it_stays()
    {
        var inner = new MemoryStore();
        var store = new PartlyStore(inner);
        var told = 0;
        await using var site = await StartAsync(
            () => store,
            o =>
            {
                o.Events.OnExpired = _ => Count();
                o.Events.OnDestroyed = _ => Count();
                o.Events.OnCreated = _ => Count();
            }
        );
        store.Failing.Add("remove");
        await CheckAsync(site);
        var left = Assert.Single(await RecordsAsync(inner));
        Assert.Equal((RecordKind.Ended, null), (left.Kind, left.Subject));
        Assert.Equal(0L, await ((ISessionStore)inner).Count(CancellationToken.None));
        Assert.Null(await site.Manager.FindAsync(SessionId.Parse(left.Id)));
        Assert.Equal(0, await site.Manager.DestroyEverySessionAsync());

        // The sweeper takes it along, and says nothing.
        site.Clock.Advance(TimeSpan.FromMinutes(2));
        await site.Services.GetRequiredService<SessionService<Cart>>().Engine.Sweep(10, CancellationToken.None);
        Assert.Empty(await RecordsAsync(inner));
        Assert.Equal(0, told);

        Task Count()
        {
            Interlocked.Increment(ref told);
            return Task.CompletedTask;
        }
    }

    [Fact]
    public async Task Checks_at_once_do_not_meet()
    {
        var store = new PartlyStore(new MemoryStore());
        await using var site = await StartAsync(() => store);
        var entries = await Task.WhenAll(Enumerable.Range(0, 50).Select(_ => Task.Run(() => CheckAsync(site))));
        Assert.All(entries, entry => Assert.Equal(HealthStatus.Healthy, entry.Status));
        Assert.Empty(await RecordsAsync(store));
    }

    [Fact]
    public async Task Name_status_and_tags_are_the_application_s()
    {
        var store = new FailingStore(new MemoryStore()) { Failure = StoreFailure.None };
        await using var site = await Site.StartAsync(
            store: () => store,
            add: services =>
                services
                    .AddHealthChecks()
                    .AddSessions<Cart>("baskets", HealthStatus.Degraded, ["ready"], TimeSpan.FromSeconds(30))
        );
        store.Failure = StoreFailure.Unavailable;
        var checks = site.Services.GetRequiredService<HealthCheckService>();
        var report = await checks.CheckHealthAsync(it => it.Tags.Contains("ready"));
        Assert.Equal(HealthStatus.Degraded, Assert.Single(report.Entries, it => it.Key == "baskets").Value.Status);
    }

    [Fact]
    public async Task Sessions_that_nobody_registered_have_a_sentence()
    {
        var services = new ServiceCollection();
        services.AddLogging().AddHealthChecks().AddSessions<Cart>();
        await using var provider = services.BuildServiceProvider();
        var error = await Assert.ThrowsAsync<InvalidOperationException>(() =>
            provider.GetRequiredService<HealthCheckService>().CheckHealthAsync()
        );
        Assert.Contains("services.AddSession<Cart>()", error.Message, StringComparison.Ordinal);
    }

    private sealed class Turning : IRecordProtector
    {
        public byte[] Protect(byte[] record) => [.. record.Select(it => (byte)(it ^ 0x5a))];

        public byte[] Unprotect(byte[] stored) => Protect(stored);
    }
}
