using System.Diagnostics;
using System.Diagnostics.Metrics;
using Microsoft.FSharp.Collections;
using Microsoft.FSharp.Core;
using Session.Domain;
using Session.Engine;
using Xunit;
using Happening = Session.Domain.Event;

namespace Facade.Telemetry;

/// <summary>Nobody listens: nothing is allocated.</summary>
[Collection(Alone.Name)]
public class OffTests
{
    private const int Times = 2000;

    private static long Bytes(Action work)
    {
        for (var i = 0; i < 200; i++)
            work();

        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < Times; i++)
            work();

        return GC.GetAllocatedBytesForCurrentThread() - before;
    }

    private static StoredRecord Record(string id) =>
        new(id, 1, RecordKind.Live, DateTimeOffset.UnixEpoch, DateTimeOffset.MaxValue, null, 1, new byte[10]);

    private static void IsFree()
    {
        Assert.False(Session.Engine.Telemetry.IsTraced);
        var measures = new Measures(new Meter("Session"), "Cart");
        var telemetry = new Session.Engine.Telemetry(measures, "Cart", false);
        ISessionStore bare = new MemoryStore();
        ISessionStore metered = new MeteredStore(bare, telemetry);
        var record = Record("one");
        string[] several = ["one", "two"];
        Assert.True(bare.Insert(record, CancellationToken.None).IsCompletedSuccessfully);

        long Of(ISessionStore store) =>
            Bytes(() =>
            {
                _ = store.Load("one", CancellationToken.None).Result;
                _ = ((IReadsMany)store).LoadMany(several, CancellationToken.None).Result;
                _ = store.Insert(record, CancellationToken.None).Result;
                _ = store.Replace(record, 9, CancellationToken.None).Result;
                _ = store.Touch("two", DateTimeOffset.UnixEpoch, CancellationToken.None).IsCompletedSuccessfully;
                _ = store.Remove("two", CancellationToken.None).IsCompletedSuccessfully;
                _ = store.Count(CancellationToken.None).Result;
            });

        Assert.Equal(Of(bare), Of(metered));

        var events = ListModule.OfSeq(
            new[]
            {
                Happening.NewWasCreated(default, FSharpOption<string>.Some("ada"), [1], DateTimeOffset.UnixEpoch),
                Happening.NewWasWritten([1, 2]),
                Happening.NewWasDestroyed(DestroyReason.SignedOut, DateTimeOffset.UnixEpoch),
                Happening.NewHasExpired(ExpiryKind.Idle, DateTimeOffset.UnixEpoch),
            }
        );
        Assert.Equal(
            0,
            Bytes(() =>
            {
                measures.Stored(events);
                measures.Refused("guessed");
                measures.Conflicted();
                measures.Retried();
                measures.StoreFailed();
                measures.Swept(DateTimeOffset.UnixEpoch, DateTimeOffset.UnixEpoch);
            })
        );
    }

    [Fact]
    public void Without_listeners_no_byte_is_allocated_for_telemetry() => IsFree();

    [Fact]
    public void Nor_once_they_are_gone()
    {
        using (var listener = new ActivityListener { ShouldListenTo = it => it.Name == "Session" })
        using (var meters = new MeterListener { InstrumentPublished = (it, me) => me.EnableMeasurementEvents(it) })
        {
            ActivitySource.AddActivityListener(listener);
            meters.Start();
            Assert.True(Session.Engine.Telemetry.IsTraced);
        }

        IsFree();
    }

    /// <summary>Most traces are not followed: nothing is made of their spans but what calls the store.</summary>
    [Theory, InlineData(true), InlineData(false)]
    public void What_is_not_sampled_costs_one_closure_a_call_and_leaves_the_trace_alone(bool isRequestRecorded)
    {
        var (asked, spans) = (0, 0);
        using var listener = new ActivityListener
        {
            ShouldListenTo = it => it.Name == "Session",
            Sample = (ref _) =>
            {
                asked++;
                return ActivitySamplingResult.None;
            },
            ActivityStarted = _ => spans++,
        };
        ActivitySource.AddActivityListener(listener);
        using var request = new Activity("request") { IsAllDataRequested = isRequestRecorded }.Start();
        Assert.True(Session.Engine.Telemetry.IsTraced);
        ISessionStore bare = new MemoryStore();
        ISessionStore metered = new MeteredStore(
            bare,
            new Session.Engine.Telemetry(new Measures(new Meter("Session"), "Cart"), "Cart", false)
        );
        Assert.True(bare.Insert(Record("one"), CancellationToken.None).IsCompletedSuccessfully);

        static long Of(ISessionStore store) => Bytes(() => _ = store.Load("one", CancellationToken.None).Result);

        Assert.InRange(Of(metered) - Of(bare), 0, Times * 64);
        Assert.Same(request, Activity.Current);
        Assert.Equal((isRequestRecorded, 0), (asked > 0, spans));
    }
}
