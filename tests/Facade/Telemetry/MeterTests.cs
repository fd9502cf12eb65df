using System.Diagnostics.Metrics;
using System.Text.RegularExpressions;
using Microsoft.FSharp.Collections;
using Microsoft.FSharp.Core;
using Session.Domain;
using Session.Engine;
using Xunit;
using Happening = Session.Domain.Event;

namespace Facade.Telemetry;

/// <summary>Each instrument of the meter <c>Session</c>: what it hears, what it says of it, and that the document lists it.</summary>
[Collection(Alone.Name)]
public partial class MeterTests
{
    /// <summary>Every value that a tag may have.</summary>
    private static readonly Dictionary<string, string[]> _values = new(StringComparer.Ordinal)
    {
        ["session.type"] = ["Cart"],
        ["session.end.reason"] = ["signed_out", "revoked", "replayed", "limit"],
        ["session.expiry.kind"] = ["unconfirmed", "idle", "absolute"],
        ["session.refusal.reason"] = ["guessed", "duplicated", "malformed", "outdated", "cross_site", "unreadable"],
        ["session.store.name"] = ["memory"],
        ["session.store.operation"] =
        [
            "insert",
            "load",
            "load_many",
            "replace",
            "touch",
            "remove",
            "remove_version",
            "by_subject",
            "enumerate",
            "count",
            "claim_overdue",
            "reschedule",
        ],
        ["error.type"] = ["System.IO.IOException"],
    };

    [Fact]
    public async Task Every_instrument_hears_what_happens_with_its_tags_and_no_others()
    {
        await using var tale = await Tale.StartAsync();
        using var heard = new Heard(tale.Meters);
        await tale.TellAsync();
        heard.Look();

        Assert.Equal(10, heard.Sum("session.created"));
        Assert.Equal(9, heard.Sum("session.sign_ins"));
        foreach (var (tag, values) in _values.Where(it => it.Key is "session.end.reason" or "session.expiry.kind"))
        foreach (var value in values)
        {
            var name = tag == "session.end.reason" ? "session.ended" : "session.expired";
            Assert.True(heard.Sum(name, tag, value) >= 1, $"{name} {value}");
        }

        Assert.Equal(1, heard.Sum("session.ended", "session.end.reason", "signed_out"));
        Assert.Equal(1, heard.Sum("session.ended", "session.end.reason", "replayed"));
        Assert.Equal(1, heard.Sum("session.replays"));
        Assert.True(heard.Sum("session.renewals") >= 1);
        foreach (var reason in _values["session.refusal.reason"].Except(["unreadable"]))
            Assert.Equal(1, heard.Sum("session.refusals", "session.refusal.reason", reason));

        Assert.Equal(1, heard.Sum("session.conflicts"));
        Assert.Equal(1, heard.Sum("session.retries"));
        Assert.Equal(1, heard.Sum("session.store.failures"));
        Assert.Equal(1, heard.Count("session.store.duration", "error.type", "System.IO.IOException"));
        foreach (var call in new[] { "insert", "load", "replace", "by_subject", "claim_overdue", "count" })
            Assert.True(heard.Count("session.store.duration", "session.store.operation", call) > 0, call);

        Assert.All(heard.All.Where(it => it.Name == "session.store.duration"), it => Assert.InRange(it.Value, 0, 10));
        Assert.Equal(1, heard.All.Last(it => it.Name == "session.live").Value);
        Assert.Contains(heard.All, it => it.Name == "session.sweep.lag" && it.Value > 3600);
        Assert.All(heard.All.Where(it => it.Name == "session.data.size"), it => Assert.InRange(it.Value, 2, 100));

        foreach (var (key, value) in heard.All.SelectMany(it => it.Tags))
        {
            Assert.Contains(value, _values[key]);
            Assert.DoesNotContain(value, tale.Secrets);
        }
    }

    /// <summary>An alert for theft alone must not depend on who else listens.</summary>
    [Fact]
    public void An_instrument_hears_its_own_though_nobody_follows_the_others()
    {
        var events = ListModule.OfSeq(
            new[]
            {
                Happening.NewWasCreated(default, FSharpOption<string>.Some("ada"), [1], DateTimeOffset.UnixEpoch),
                Happening.NewRenewalConfirmed(default, DateTimeOffset.UnixEpoch, DateTimeOffset.UnixEpoch),
                Happening.NewWasReplayed(default),
                Happening.NewWasDestroyed(DestroyReason.SignedOut, DateTimeOffset.UnixEpoch),
                Happening.NewHasExpired(ExpiryKind.Idle, DateTimeOffset.UnixEpoch),
            }
        );
        string[] names =
        [
            "session.created",
            "session.sign_ins",
            "session.ended",
            "session.expired",
            "session.renewals",
            "session.replays",
            "session.data.size",
        ];
        foreach (var name in names)
        {
            using var meter = new Meter("Session");
            var (measures, heard) = (new Measures(meter, "Cart"), 0);
            using var listener = new MeterListener
            {
                InstrumentPublished = (it, me) =>
                {
                    if (it.Meter == meter && it.Name == name)
                        me.EnableMeasurementEvents(it);
                },
            };
            listener.SetMeasurementEventCallback<long>((_, _, _, _) => heard++);
            listener.Start();
            measures.Stored(events);
            Assert.Equal((name, 1), (name, heard));
        }
    }

    /// <summary>Data grows from write to write: its size at the beginning shows none of that.</summary>
    [Fact]
    public void The_size_of_data_is_measured_wherever_it_is_written()
    {
        var events = ListModule.OfSeq(
            new[]
            {
                Happening.NewWasCreated(default, FSharpOption<string>.Some("ada"), [1], DateTimeOffset.UnixEpoch),
                Happening.NewWasWritten([1, 2]),
                Happening.NewWasSignedIn("ada", [1, 2, 3], default, DateTimeOffset.UnixEpoch),
            }
        );
        using var meter = new Meter("Session");
        var (measures, sizes) = (new Measures(meter, "Cart"), new List<long>());
        using var listener = new MeterListener
        {
            InstrumentPublished = (it, me) =>
            {
                if (it.Meter == meter && it.Name == "session.data.size")
                    me.EnableMeasurementEvents(it);
            },
        };
        listener.SetMeasurementEventCallback<long>((_, size, _, _) => sizes.Add(size));
        listener.Start();
        measures.Stored(events);
        Assert.Equal([1L, 2L, 3L], sizes);
    }

    [Fact]
    public async Task The_document_lists_each_instrument_and_its_tags()
    {
        await using var tale = await Tale.StartAsync();
        using var heard = new Heard(tale.Meters);
        await tale.TellAsync();
        heard.Look();
        var found =
            from it in heard.Instruments.Values
            let kind = it.GetType().Name.Split('`')[0]
            let tags = heard.All.Where(one => one.Name == it.Name).SelectMany(one => one.Tags.Keys).Distinct()
            select $"{it.Name} {kind} {it.Unit} {it.Description} {string.Join(' ', tags.Order(StringComparer.Ordinal))}";

        var listed =
            from row in Row().Matches(File.ReadAllText(Repository.Under("docs", "TELEMETRY.md")))
            let cell = row.Groups
            let tags = cell[5].Value.Replace("`", "", StringComparison.Ordinal).Split(", ").Append("session.type")
            select $"{cell[1]} {cell[2]} {cell[3]} {cell[4]} {string.Join(' ', tags.Where(it => it.Trim() is not ("" or "–")).Order(StringComparer.Ordinal))}";

        Assert.Equal(found.Order(StringComparer.Ordinal), listed.Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task The_document_names_every_value_of_a_tag()
    {
        var text = await File.ReadAllTextAsync(Repository.Under("docs", "TELEMETRY.md"));
        foreach (var (key, values) in _values.Where(it => it.Key is not ("session.type" or "error.type")))
        foreach (var value in values)
            Assert.True(text.Contains($"`{value}`", StringComparison.Ordinal), $"{key}: {value}");
    }

    [Theory]
    [InlineData(typeof(MemoryStore), "memory")]
    [InlineData(typeof(Session.Stores.Sqlite.SqliteStore), "sqlite")]
    [InlineData(typeof(MigratingTestStore), "migrating_test")]
    public void A_store_is_named_by_its_type(Type store, string name) => Assert.Equal(name, StoreName.ofType(store));

    [Fact]
    public async Task A_store_that_does_not_count_cheaply_is_not_asked_to()
    {
        await using var site = await Site.StartAsync(store: () => new ForwardingStore(new MemoryStore()));
        var meters = (IMeterFactory)site.Services.GetService(typeof(IMeterFactory))!;
        using var heard = new Heard(meters);
        await site.BeginAsync("ada");
        var service = (Session.AspNetCore.SessionService<Cart>)
            site.Services.GetService(typeof(Session.AspNetCore.SessionService<Cart>))!;
        await service.Engine.CountLive(CancellationToken.None);
        heard.Look();
        Assert.DoesNotContain(heard.All, it => it.Name == "session.live");
        Assert.Contains("session.live", heard.Instruments.Keys);
    }

    [GeneratedRegex(@"(?m)^\| `(session\.[a-z_.]+)` \| (\w+) \| `([^`]+)` \| ([^|]+) \| ([^|]*) \|$")]
    private static partial Regex Row();

    private sealed class MigratingTestStore;
}
