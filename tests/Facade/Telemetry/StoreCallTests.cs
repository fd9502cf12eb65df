using System.Diagnostics;
using System.Diagnostics.Metrics;
using System.Reflection;
using Microsoft.Extensions.DependencyInjection;
using Session.AspNetCore;
using Session.Engine;
using Xunit;

namespace Facade.Telemetry;

/// <summary>Each way to the store is measured and traced: one that is not would be a store that nobody sees being slow.</summary>
[Collection(Alone.Name)]
public class StoreCallTests
{
    /// <summary>No request waits for them: at start, in the application's own transaction, and the hints between nodes.</summary>
    private static readonly string[] _unmeasured = ["Prepare", "Join", "Publish", "Subscribe"];

    [Fact]
    public void No_verb_of_a_store_is_forgotten()
    {
        const BindingFlags Own = BindingFlags.Public | BindingFlags.Instance | BindingFlags.DeclaredOnly;
        var verbs = typeof(ForwardingStore)
            .GetMethods(Own)
            .Where(it => it.IsVirtual && !it.IsFinal && !it.IsSpecialName)
            .Select(it => it.Name)
            .Distinct(StringComparer.Ordinal)
            .Except(_unmeasured);
        var measured = typeof(MeteredStore).GetMethods(Own).Select(it => it.Name).ToHashSet(StringComparer.Ordinal);
        Assert.All(verbs, it => Assert.Contains(it, measured));
        Assert.Contains("LoadMany", verbs);
    }

    public enum Failing
    {
        ByThrowing,
        AtOnce,
        Cancelled,
        Later,
    }

    public static TheoryData<Failing, bool, bool> Failures
    {
        get
        {
            var all = new TheoryData<Failing, bool, bool>();
            foreach (var how in Enum.GetValues<Failing>())
            foreach (var isMeasured in new[] { true, false })
            foreach (var isTraced in new[] { true, false })
                all.Add(how, isMeasured, isTraced);

            return all;
        }
    }

    /// <summary>A store may fail before it has begun to wait, by throwing or with an answer that has failed already: that call has failed like any other.</summary>
    [Theory]
    [MemberData(nameof(Failures))]
    public async Task However_a_verb_fails_its_call_is_one_that_failed(Failing how, bool isMeasured, bool isTraced)
    {
        var expected = how == Failing.Cancelled ? typeof(TaskCanceledException) : typeof(IOException);
        using var meter = new Meter("Session");
        var failed = new List<string>();
        using var listener = new MeterListener
        {
            InstrumentPublished = (it, me) =>
            {
                if (isMeasured && it.Meter == meter && it.Name == "session.store.duration")
                    me.EnableMeasurementEvents(it);
            },
        };
        listener.SetMeasurementEventCallback<double>(
            (_, _, tags, _) =>
            {
                var all = tags.ToArray().ToDictionary(tag => tag.Key, tag => (string)tag.Value!);
                if (all.GetValueOrDefault("error.type") == expected.FullName)
                    failed.Add(all["session.store.operation"]);
            }
        );
        listener.Start();
        var spans = new List<string>();
        // What a test before has left behind is heard as well, and is of another trace.
        using var root = new Activity("test").SetIdFormat(ActivityIdFormat.W3C).Start();
        using var follower = new ActivityListener
        {
            ShouldListenTo = it => it.Name == "Session",
            Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllData,
            ActivityStopped = it =>
            {
                var (status, type) = (it.Status, it.GetTagItem("error.type") as string);
                if (it.TraceId == root.TraceId && status == ActivityStatusCode.Error && type == expected.FullName)
                    spans.Add(it.DisplayName);
            },
        };
        if (isTraced)
            ActivitySource.AddActivityListener(follower);

        var telemetry = new Session.Engine.Telemetry(new Measures(meter, "Cart"), "Cart", false);
        var store = new MeteredStore(new Away(how), telemetry);
        var (time, stop) = (DateTimeOffset.UnixEpoch, CancellationToken.None);
        StoredRecord record = new("a", 1, RecordKind.Live, time, time, null, 1, ReadOnlyMemory<byte>.Empty);
        var calls = new (string Verb, Func<Task> Call)[]
        {
            ("insert", () => store.Insert(record, stop).AsTask()),
            ("load", () => store.Load("a", stop).AsTask()),
            ("load_many", () => store.LoadMany(["a"], stop).AsTask()),
            ("replace", () => store.Replace(record, 1, stop).AsTask()),
            ("touch", () => store.Touch("a", time, stop).AsTask()),
            ("remove", () => store.Remove("a", stop).AsTask()),
            ("remove_version", () => store.RemoveVersion("a", 1, 1, stop).AsTask()),
            ("by_subject", () => store.BySubject("ada", null, 1, stop).AsTask()),
            ("enumerate", () => store.Enumerate(null, 1, stop).AsTask()),
            ("count", () => store.Count(stop).AsTask()),
            ("claim_overdue", () => store.ClaimOverdue(time, TimeSpan.Zero, 1, stop).AsTask()),
            ("reschedule", () => store.Reschedule("a", 1, time, stop).AsTask()),
        };
        foreach (var (_, call) in calls)
            await Assert.ThrowsAsync(expected, call);

        var verbs = calls.Select(it => it.Verb);
        Assert.Equal(isMeasured ? verbs : [], failed);
        Assert.Equal(isTraced ? verbs.Select(it => "session store " + it) : [], spans);
    }

    [Fact]
    public async Task Many_sessions_at_once_are_one_call_in_metrics_and_traces()
    {
        var spans = new List<string>();
        using var listener = new ActivityListener
        {
            ShouldListenTo = it => it.Name == "Session",
            Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllData,
            ActivityStopped = it =>
            {
                lock (spans)
                    spans.Add(it.DisplayName);
            },
        };
        await using var tale = await Tale.StartAsync();
        string[] ids =
        [
            Site.IdOf(await tale.Site.BeginAsync("ada")).Value,
            Site.IdOf(await tale.Site.BeginAsync("ada")).Value,
            new('A', 22),
        ];
        var engine = tale.Site.Services.GetRequiredService<SessionService<Cart>>().Engine;
        using var heard = new Heard(tale.Meters);

        Assert.Equal(2, (await engine.Look(ids)).Values.Count(it => it.IsOk && !it.ResultValue.State.IsAbsent));
        Assert.Equal(1, heard.Count("session.store.duration", "session.store.operation", "load_many"));
        Assert.Equal(1, heard.Count("session.store.duration", "session.store.name", "memory"));

        ActivitySource.AddActivityListener(listener);
        await engine.Look(ids);
        Assert.Equal(["session store load_many"], spans);
        Assert.Equal(2, heard.Count("session.store.duration", "session.store.operation", "load_many"));
    }

    /// <summary>Fails in this way, whatever it is asked.</summary>
    private sealed class Away(Failing how) : ForwardingStore(new MemoryStore())
    {
        private static IOException Failure => new("away");

        private ValueTask<TAnswer> Fail<TAnswer>() =>
            how switch
            {
                Failing.ByThrowing => throw Failure,
                Failing.AtOnce => ValueTask.FromException<TAnswer>(Failure),
                Failing.Cancelled => ValueTask.FromCanceled<TAnswer>(new CancellationToken(true)),
                _ => new ValueTask<TAnswer>(FailLaterAsync<TAnswer>()),
            };

        private ValueTask Fail() =>
            how switch
            {
                Failing.ByThrowing => throw Failure,
                Failing.AtOnce => ValueTask.FromException(Failure),
                Failing.Cancelled => ValueTask.FromCanceled(new CancellationToken(true)),
                _ => new ValueTask(FailLaterAsync<bool>()),
            };

        private static async Task<TAnswer> FailLaterAsync<TAnswer>()
        {
            await Task.Yield();
            throw Failure;
        }

        public override ValueTask<WriteResult> Insert(StoredRecord record, CancellationToken cancel) =>
            Fail<WriteResult>();

        public override ValueTask<StoredRecord?> Load(string id, CancellationToken cancel) => Fail<StoredRecord?>();

        public override ValueTask<IReadOnlyList<StoredRecord>> LoadMany(
            IReadOnlyList<string> ids,
            CancellationToken cancel
        ) => Fail<IReadOnlyList<StoredRecord>>();

        public override ValueTask<WriteResult> Replace(StoredRecord record, long expected, CancellationToken cancel) =>
            Fail<WriteResult>();

        public override ValueTask Touch(string id, DateTimeOffset at, CancellationToken cancel) => Fail();

        public override ValueTask Remove(string id, CancellationToken cancel) => Fail();

        public override ValueTask RemoveVersion(string id, long version, long operation, CancellationToken cancel) =>
            Fail();

        public override ValueTask<StoredPage> BySubject(
            string subject,
            string? after,
            int limit,
            CancellationToken cancel
        ) => Fail<StoredPage>();

        public override ValueTask<StoredPage> Enumerate(string? after, int limit, CancellationToken cancel) =>
            Fail<StoredPage>();

        public override ValueTask<long> Count(CancellationToken cancel) => Fail<long>();

        public override ValueTask<IReadOnlyList<StoredRecord>> ClaimOverdue(
            DateTimeOffset now,
            TimeSpan lease,
            int limit,
            CancellationToken cancel
        ) => Fail<IReadOnlyList<StoredRecord>>();

        public override ValueTask Reschedule(string id, long version, DateTimeOffset dueAt, CancellationToken cancel) =>
            Fail();
    }
}
