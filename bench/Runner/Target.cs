using System.Globalization;
using Bench.Shared;

namespace Bench.Runner;

/// <summary>What was promised, and what came of it.</summary>
internal sealed record Target(string What, string Bound, double? Measured, Spread? Rounds, Func<double, bool> IsMet)
{
    public string Verdict =>
        Measured is not { } measured ? "not measured"
        : IsMet(measured) ? "pass"
        : "**missed**";

    public static IReadOnlyList<Target> All(Results results) =>
        [
            Ratio(results, "memory, read", "ours-memory", "none", "read", 0.95),
            Ratio(results, "memory, untouched (the cookie is sent)", "ours-memory", "none", "plain", 0.98),
            Ratio(results, "Redis, read", "ours-redis", "redis-bare", "read", 0.92),
            Ratio(results, "Redis, write", "ours-redis", "redis-bare", "write", 0.85),
            Ratio(results, "Redis, untouched (the cookie is sent)", "ours-redis", "none", "plain", 0.98),
            Ratio(results, "Redis, read", "ours-redis", "express", "read", 4),
            Bytes(results),
            Commands(results, "read", 1),
            Commands(results, "write", 2),
            Commands(results, "plain", 0),
        ];

    /// <summary>Requests per second of one by those of the other: medians, and round by round.</summary>
    public static Target Ratio(
        Results results,
        string what,
        string variant,
        string other,
        string endpoint,
        double bound
    )
    {
        var (its, others) = (
            results.Of(variant, endpoint, m => m.PerSecond),
            results.Of(other, endpoint, m => m.PerSecond)
        );
        var name = $"{what}: req/s of `{variant}` by `{other}`";
        return its is null || others is null
            ? new Target(name, $"≥ {Number(bound)}", null, null, _ => false)
            : new Target(
                name,
                $"≥ {Number(bound)}",
                its.Median / others.Median,
                its.Zip(others, (a, b) => a / b),
                measured => measured >= bound
            );
    }

    private static Target Bytes(Results results)
    {
        var (ours, none) = (
            results.Of("ours-memory", "read", m => m.BytesPerRequest),
            results.Of("none", "read", m => m.BytesPerRequest)
        );
        const string Name = "memory, read: bytes allocated per request above `none`";
        return ours is null || none is null
            ? new Target(Name, "≤ 1024", null, null, _ => false)
            : new Target(
                Name,
                "≤ 1024",
                ours.Median - none.Median,
                ours.Zip(none, (a, b) => a - b),
                bytes => bytes <= 1024
            );
    }

    // Commands of the background (the sweeper's) may fall into the count: they are no request's.
    private static Target Commands(Results results, string endpoint, int expected) =>
        new(
            $"Redis, {(endpoint == "plain" ? "untouched" : endpoint)}: commands per request",
            $"= {expected}",
            results.Sent("ours-redis", endpoint),
            null,
            sent => Math.Abs(sent - expected) < 0.02
        );

    private static string Number(double number) => number.ToString("0.##", CultureInfo.InvariantCulture);
}
