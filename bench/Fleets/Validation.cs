using Bench.Shared;

namespace Bench.Simulation;

/// <summary>One prediction of requests per second on this machine, and what was measured.</summary>
internal sealed record Validation(string What, string Endpoint, double Predicted, double Measured, string Limit)
{
    public double Ratio => Predicted / Measured;

    private static readonly string[] s_variants =
    [
        "none",
        "ours-memory",
        "ours-sqlite",
        "redis-bare",
        "ours-redis",
        "builtin-redis",
        "express",
    ];

    /// <summary>Costs of the odd rounds, requests per second of the even ones: the utilisation law alone.</summary>
    public static IEnumerable<Validation> ByRounds(Results peers)
    {
        var cores = Cores(peers);
        foreach (var variant in s_variants)
        foreach (var endpoint in Plan.Endpoints)
        {
            double? Of(Func<Measurement, double?> figure, int odd) =>
                peers.Of(variant, endpoint, m => m.Round % 2 == odd ? figure(m) : null)?.Median;

            if (
                Of(m => m.CpuMicrosecondsPerRequest, 1) is { } server
                && Of(m => m.WrkCpuMicrosecondsPerRequest, 1) is { } wrk
                && Of(m => m.PerSecond, 0) is { } measured
            )
            {
                var redis = UsesRedis(variant) ? Of(m => m.RedisCpuMicrosecondsPerRequest, 1) ?? 0 : 0;
                var (predicted, limit) = Bound(cores, server, redis, wrk, variant == "express");
                yield return new Validation($"`{variant}`", endpoint, predicted, measured, limit);
            }
        }
    }

    /// <summary>Costs put together from parts that were measured elsewhere: do the costs add up?</summary>
    public static IEnumerable<Validation> ByParts(Results peers, MicroFigures micro)
    {
        var parts = new (string Variant, string Base, string Endpoint, string[] Parts)[]
        {
            ("ours-memory", "none", "read", [MicroFigures.Read, MicroFigures.FromJson]),
            ("ours-memory", "none", "write", [MicroFigures.Write, MicroFigures.FromJson, MicroFigures.ToJson]),
            ("ours-redis", "redis-swap", "read", [MicroFigures.Read, MicroFigures.Decode]),
            ("ours-redis", "redis-swap", "write", [MicroFigures.Write, MicroFigures.Decode]),
        };
        foreach (var (variant, from, endpoint, names) in parts)
        {
            double? Of(string variant, Func<Measurement, double?> figure) =>
                peers.Of(variant, endpoint, figure)?.Median;

            var sum = names.Sum(name => micro.Microseconds(name) ?? double.NaN);
            if (
                Of(from, m => m.CpuMicrosecondsPerRequest) is { } server
                && Of(from, m => m.WrkCpuMicrosecondsPerRequest) is { } wrk
                && Of(variant, m => m.PerSecond) is { } measured
                && !double.IsNaN(sum)
            )
            {
                var redis = UsesRedis(variant) ? Of(from, m => m.RedisCpuMicrosecondsPerRequest) ?? 0 : 0;
                var (predicted, limit) = Bound(Cores(peers), server + sum, redis, wrk, false);
                yield return new Validation(
                    $"`{variant}` as `{from}` and {sum:0.0} µs of parts",
                    endpoint,
                    predicted,
                    measured,
                    limit
                );
            }
        }
    }

    /// <summary>All cores for all of them; one core for each of those that have one thread.</summary>
    private static (double PerSecond, string Limit) Bound(
        int cores,
        double server,
        double redis,
        double wrk,
        bool serverHasOneThread
    )
    {
        (double PerSecond, string Limit)[] bounds =
        [
            (cores * 1e6 / (server + redis + wrk), "all cores"),
            (1e6 / wrk, "wrk's thread"),
            (redis > 0 ? 1e6 / redis : double.PositiveInfinity, "Redis' thread"),
            (serverHasOneThread ? 1e6 / server : double.PositiveInfinity, "Node's thread"),
        ];
        return bounds.MinBy(bound => bound.PerSecond);
    }

    private static bool UsesRedis(string variant) =>
        variant is "express" || variant.Contains("redis", StringComparison.Ordinal);

    private static int Cores(Results peers) => int.Parse(peers.Machine["cores"]);
}
