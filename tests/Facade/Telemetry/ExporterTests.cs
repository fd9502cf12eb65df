using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using OpenTelemetry.Metrics;
using Xunit;

namespace Facade.Telemetry;

/// <summary>What OpenTelemetry's own exporter makes of it for Prometheus, and that the dashboard asks for nothing else.</summary>
[Collection(Alone.Name)]
public partial class ExporterTests
{
    private static async Task<(string Text, IReadOnlySet<string> Secrets)> ScrapeAsync()
    {
        await using var tale = await Tale.StartAsync(
            services =>
                services.AddOpenTelemetry().WithMetrics(metrics => metrics.AddMeter("Session").AddPrometheusExporter()),
            app => app.MapPrometheusScrapingEndpoint("/metrics")
        );
        await tale.TellAsync();
        return ((await tale.Site.SendAsync("/metrics")).Body, tale.Secrets);
    }

    [Fact]
    public async Task Prometheus_reads_each_instrument_with_its_unit_and_no_secret()
    {
        var (text, secrets) = await ScrapeAsync();
        double Of(string series)
        {
            var line = text.Split('\n').SingleOrDefault(it => Series(it) == series);
            Assert.True(line is not null, $"{series} is not in\n{text}");
            return double.Parse(line.Split("} ")[1].Split(' ')[0], CultureInfo.InvariantCulture);
        }

        Assert.Equal(10, Of("session_created_total{session_type=\"Cart\"}"));
        Assert.Equal(1, Of("session_ended_total{session_end_reason=\"replayed\",session_type=\"Cart\"}"));
        Assert.Equal(1, Of("session_live{session_type=\"Cart\"}"));
        Assert.Equal(1, Of("session_store_failures_total{session_type=\"Cart\"}"));
        Assert.True(
            Of(
                "session_store_duration_seconds_count{session_store_name=\"memory\",session_store_operation=\"load\",session_type=\"Cart\"}"
            ) > 10
        );
        foreach (
            var type in new[]
            {
                "session_live gauge",
                "session_created_total counter",
                "session_store_duration_seconds histogram",
                "session_sweep_lag_seconds histogram",
                "session_data_size_bytes histogram",
            }
        )
            Assert.Contains($"# TYPE {type}\n", text, StringComparison.Ordinal);

        // Short names, such as subjects, are parts of other words.
        foreach (var secret in secrets)
            Assert.DoesNotContain(secret.Length > 5 ? secret : $"\"{secret}\"", text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_dashboard_asks_only_for_what_there_is()
    {
        var (text, _) = await ScrapeAsync();
        var found = text.Split('\n')
            .Where(it => it.Length > 0 && it[0] != '#')
            .Select(it => it.Split('{', ' ')[0])
            .ToHashSet(StringComparer.Ordinal);
        var labels = Label().Matches(text).Select(it => it.Groups[1].Value).ToHashSet(StringComparer.Ordinal);
        using var json = JsonDocument.Parse(
            await File.ReadAllTextAsync(Repository.Under("docs", "grafana", "sessions.json"))
        );
        var queries = (
            from panel in json.RootElement.GetProperty("panels").EnumerateArray()
            from target in panel.GetProperty("targets").EnumerateArray()
            select target.GetProperty("expr").GetString()!
        ).ToArray();
        Assert.True(queries.Length >= 10);
        var asked = new HashSet<string>(StringComparer.Ordinal);
        foreach (var query in queries)
        {
            var metrics = Metric().Matches(query).Select(it => it.Groups[1].Value).ToArray();
            Assert.NotEmpty(metrics);
            Assert.All(metrics, it => Assert.Contains(it, found));
            asked.UnionWith(metrics);
            foreach (var label in By().Matches(query).SelectMany(it => it.Groups[1].Value.Split(", ")))
                Assert.Contains(label, labels);
        }

        // And leaves nothing out.
        string Base(string name) => Part().Replace(name, "");
        var own = found.Where(it => it.StartsWith("session_", StringComparison.Ordinal)).Select(Base).ToHashSet();
        Assert.Equal(own.Order(), asked.Select(Base).Distinct().Order());
    }

    /// <summary>A line without value, and without the labels that the exporter adds of its own.</summary>
    private static string Series(string line)
    {
        var at = line.IndexOf('{', StringComparison.Ordinal);
        var end = line.LastIndexOf('}');
        if (at < 0 || end < at)
            return line;

        var labels = line[(at + 1)..end]
            .Split(',')
            .Where(it => it.Split('_')[0] is "session" or "error")
            .Order(StringComparer.Ordinal);
        return $"{line[..at]}{{{string.Join(',', labels)}}}";
    }

    [GeneratedRegex(@"\b(session_[a-z_]+)\{")]
    private static partial Regex Metric();

    [GeneratedRegex(@"by \(([a-z_, ]+)\)")]
    private static partial Regex By();

    [GeneratedRegex("([a-z_]+)=\"")]
    private static partial Regex Label();

    [GeneratedRegex("_(bucket|count|sum)$")]
    private static partial Regex Part();
}
