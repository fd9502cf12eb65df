using System.Globalization;
using System.Text;
using Bench.Shared;

namespace Bench.Runner;

/// <summary>The comparison as text: ratios first, then what they were made of.</summary>
internal static class Fragment
{
    public static string Of(Results results)
    {
        var text = new StringBuilder("## Peers\n\n");
        if (!results.IsValid)
            text.Append(
                "**INVALID: some requests were refused or failed (see the log of the run). These figures mean nothing.**\n\n"
            );
        foreach (var missing in results.Missing)
            text.Append(CultureInfo.InvariantCulture, $"**Not measured: {missing}.**\n\n");

        Ratios(text, results);
        text.Append("![Requests per second by variant and endpoint](peers.svg)\n\n");
        Raw(text, results);
        About(text, results);
        return text.ToString();
    }

    private static void Ratios(StringBuilder text, Results results)
    {
        text.Append("### Targets\n\n");
        text.Append("| | target | measured | round by round | |\n| --- | --- | --- | --- | --- |\n");
        foreach (var target in Target.All(results))
            text.Append(
                CultureInfo.InvariantCulture,
                $"| {target.What} | {target.Bound} | {Figure(target.Measured)} | {Range(target.Rounds)} | {target.Verdict} |\n"
            );

        text.Append("\n### Ratios\n\nRequests per second, and processor time of the server process per request.\n\n");
        text.Append("| | req/s | round by round | CPU per request |\n| --- | --- | --- | --- |\n");
        foreach (var endpoint in new[] { "read", "write", "plain" })
        foreach (var (variant, other) in s_pairs)
            Pair(text, results, endpoint, variant, other);
        text.Append(
            """

            A ratio of requests per second is one of medians; "round by round" is the smallest and the largest of the ratios
            within one round, where the two ran seconds apart.


            """
        );
    }

    private static readonly (string, string)[] s_pairs =
    [
        ("ours-memory", "none"),
        ("builtin-memory", "none"),
        ("ours-memory", "builtin-memory"),
        ("ours-sqlite", "none"),
        ("ours-redis", "redis-bare"),
        ("builtin-redis", "redis-bare"),
        ("ours-redis", "builtin-redis"),
        ("ours-redis", "express"),
    ];

    private static void Pair(StringBuilder text, Results results, string endpoint, string variant, string other)
    {
        var rate = Target.Ratio(results, "", variant, other, endpoint, 0);
        if (rate.Measured is null)
            return;

        var cpu =
            results.Of(variant, endpoint, m => m.CpuMicrosecondsPerRequest)!.Median
            / results.Of(other, endpoint, m => m.CpuMicrosecondsPerRequest)!.Median;
        text.Append(
            CultureInfo.InvariantCulture,
            $"| /{endpoint}: `{variant}` by `{other}` | **{Figure(rate.Measured)}** | {Range(rate.Rounds)} | {Figure(cpu)} |\n"
        );
    }

    private static void Raw(StringBuilder text, Results results)
    {
        text.Append("### Raw figures\n\nMedian over the rounds (smallest–largest).\n\n");
        text.Append(
            "| endpoint | variant | req/s | p50 ms | p99 ms | server CPU µs/req | bytes/req | Redis commands sent/req | run in Redis/req | wrk's core |\n"
        );
        text.Append("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
        foreach (var endpoint in Plan.Endpoints)
        foreach (var variant in Variant.In(results))
        {
            string Cell(Func<Measurement, double?> figure, string format) =>
                results.Of(variant.Name, endpoint, figure) is { } spread
                    ? $"{spread.Median.ToString(format, CultureInfo.InvariantCulture)} ({Between(spread, format)})"
                    : "";

            string Middle(Func<Measurement, double?> figure, string format) =>
                results.Of(variant.Name, endpoint, figure)?.Median.ToString(format, CultureInfo.InvariantCulture) ?? "";

            string[] cells =
            [
                "/" + endpoint,
                $"`{variant.Name}`",
                Cell(m => m.PerSecond, "N0"),
                Cell(m => m.Load.P50 / 1e3, "0.00"),
                Cell(m => m.Load.P99 / 1e3, "0.00"),
                Cell(m => m.CpuMicrosecondsPerRequest, "0.0"),
                Cell(m => m.BytesPerRequest, "N0"),
                results.Sent(variant.Name, endpoint)?.ToString("0.###", CultureInfo.InvariantCulture) ?? "",
                Middle(m => m.CommandsRunPerRequest, "0.00"),
                Middle(m => m.WrkShare, "0%"),
            ];
            text.Append("| ").AppendJoin(" | ", cells).Append(" |\n");
        }
        text.Append('\n');
    }

    private static void About(StringBuilder text, Results results)
    {
        var plan = results.Plan;
        text.Append("### What was measured\n\n");
        foreach (var variant in Variant.In(results))
            text.Append(CultureInfo.InvariantCulture, $"- `{variant.Name}`: {variant.Title}\n");
        text.Append(
            CultureInfo.InvariantCulture,
            $"""

            /plain touches no session (the cookie is sent), /read reads a cart of three items, /write changes it. All servers are
            up at once, one of them under load at a time: {plan.Rounds} rounds of {plan.Seconds} s for each endpoint and variant, one after another,
            forth and back, each after {plan.WarmUpSeconds} s of warm-up; `wrk -t1 -c{Plan.Connections}` over the loopback, {plan.Sessions} sessions in turn, begun anew in each
            round and each presented once before. A run with a refused request, a socket error or a timeout is invalid. CPU is
            the server process's by /proc; bytes by `GC.GetTotalAllocatedBytes`; commands sent by `MONITOR` over {plan.Sessions} single
            requests (who sent them is told apart, what runs inside scripts does not count); commands run in Redis by `INFO
            commandstats` over the whole measurement (inside scripts too). "wrk's core" near 100% means that wrk was the
            limit: the server could do more, and only the CPU per request tells by how much. Node is one process, as
            `node server.js` starts it.

            `./bench.sh peers` measures all this again; the figures are in `results/peers.json`.


            """
        );
        text.Append("| | |\n| --- | --- |\n");
        text.Append(CultureInfo.InvariantCulture, $"| date | {results.Date} |\n");
        foreach (var (name, value) in results.Machine)
            text.Append(CultureInfo.InvariantCulture, $"| {name} | {value} |\n");
    }

    private static string Figure(double? number) =>
        number switch
        {
            null => "",
            >= 100 or <= -100 => number.Value.ToString("N0", CultureInfo.InvariantCulture),
            _ => number.Value.ToString("0.00", CultureInfo.InvariantCulture),
        };

    private static string Range(Spread? spread) => spread is null ? "" : $"{Figure(spread.Min)}–{Figure(spread.Max)}";

    private static string Between(Spread spread, string format) =>
        spread.Min.ToString(format, CultureInfo.InvariantCulture)
        + "–"
        + spread.Max.ToString(format, CultureInfo.InvariantCulture);
}
