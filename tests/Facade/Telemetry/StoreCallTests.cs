using System.Diagnostics;
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
}
