using System.Globalization;
using Bench.Shared;

namespace Bench.Runner;

/// <summary>What was promised, and what came of it; the same of the built-in session, in the same run.</summary>
internal sealed record Target(
    string What,
    string Bound,
    double? Measured,
    Spread? Rounds,
    double? BuiltIn,
    double Limit,
    Func<double, bool> IsMet
)
{
    public string Verdict
    {
        get
        {
            if (Measured is not { } measured)
                return "not measured";
            var verdict = IsMet(measured) ? "pass" : "**missed**";
            // Half of the rounds lie between the quartiles.
            return Rounds is not null && Rounds.LowerQuartile <= Limit && Limit <= Rounds.UpperQuartile
                ? verdict + ", by less than the spread"
                : verdict;
        }
    }

    public static IReadOnlyList<Target> All(Results results) =>
        [
            Rate(results, "memory, read", "ours-memory", "none", "read", 0.95, "builtin-memory"),
            Rate(
                results,
                "memory, session untouched, cookie sent",
                "ours-memory",
                "none",
                "plain",
                0.98,
                "builtin-memory"
            ),
            Rate(results, "Redis, read", "ours-redis", "redis-bare", "read", 0.92, "builtin-redis"),
            Rate(results, "Redis, write", "ours-redis", "redis-bare", "write", 0.85, "builtin-redis"),
            Rate(
                results,
                "Redis, session untouched, cookie sent",
                "ours-redis",
                "none",
                "plain",
                0.98,
                "builtin-redis"
            ),
            Rate(results, "Redis, read", "ours-redis", "express", "read", 4, "builtin-redis"),
            Rate(results, "HttpContext.Session on Redis, read", "compat-redis", "builtin-redis", "read", 2),
            Rate(results, "HttpContext.Session on Redis, write", "compat-redis", "builtin-redis", "write", 2),
            Commands(results, "Redis", "read", 1),
            Commands(results, "Redis", "write", 2),
            Commands(results, "Redis", "plain", 0),
            Rate(results, "PostgreSQL, read", "ours-postgres", "postgres-bare", "read", 0.92),
            Rate(results, "PostgreSQL, write", "ours-postgres", "postgres-bare", "write", 0.85),
            Rate(results, "PostgreSQL, read", "ours-postgres", "express-pg", "read", 4),
            Commands(results, "PostgreSQL", "read", 1),
            Commands(results, "PostgreSQL", "write", 2),
            Commands(results, "PostgreSQL", "plain", 0),
            Bytes(results),
        ];

    /// <summary>Requests per second of one by those of the other: medians, and round by round.</summary>
    public static (double Measured, Spread Rounds)? Ratio(
        Results results,
        string variant,
        string other,
        string endpoint
    ) =>
        results.Of(variant, endpoint, m => m.PerSecond) is { } its
        && results.Of(other, endpoint, m => m.PerSecond) is { } others
            ? (its.Median / others.Median, its.Zip(others, (a, b) => a / b))
            : null;

    private static Target Rate(
        Results results,
        string what,
        string variant,
        string other,
        string endpoint,
        double bound,
        string? builtIn = null
    )
    {
        var ratio = Ratio(results, variant, other, endpoint);
        return new Target(
            $"{what}: requests/s of `{variant}` by those of `{other}`",
            $"≥ {Number(bound)}",
            ratio?.Measured,
            ratio?.Rounds,
            builtIn is null ? null : Ratio(results, builtIn, other, endpoint)?.Measured,
            bound,
            measured => measured >= bound
        );
    }

    private static Target Bytes(Results results)
    {
        Spread? Of(string variant) => results.Of(variant, "read", m => m.BytesPerRequest);

        var none = Of("none");
        Spread? Above(string variant) => none is null ? null : Of(variant)?.Zip(none, (a, b) => a - b);

        return new Target(
            "memory, read: bytes allocated per request above `none`, which reads no data",
            "≤ 1024",
            Above("ours-memory")?.Median,
            Above("ours-memory"),
            Above("builtin-memory")?.Median,
            1024,
            bytes => bytes <= 1024
        );
    }

    // Commands of the background (the sweeper's) may fall into the count: they are no request's.
    private static Target Commands(Results results, string store, string endpoint, int expected) =>
        new(
            $"{store}, {(endpoint == "plain" ? "session untouched" : endpoint)}: round trips per request",
            $"= {expected}",
            results.Sent(store == "Redis" ? "ours-redis" : "ours-postgres", endpoint),
            null,
            store == "Redis" ? results.Sent("builtin-redis", endpoint) : null,
            expected,
            sent => Math.Abs(sent - expected) < 0.02
        );

    private static string Number(double number) => number.ToString("0.##", CultureInfo.InvariantCulture);
}
