using System.Globalization;
using System.Text;
using Bench.Shared;

namespace Bench.Runner;

/// <summary>The comparison as text: ratios first, then what they were made of.</summary>
internal static class Fragment
{
    public static string Of(Results results, MicroFigures? micro)
    {
        var text = new StringBuilder("## Peers\n\n");
        if (!results.IsValid)
            text.Append(
                "**INVALID: some requests were refused or failed (see the log of the run). These figures mean nothing.**\n\n"
            );
        foreach (var missing in results.Missing)
            text.Append(CultureInfo.InvariantCulture, $"**Not measured: {missing}.**\n\n");

        Ratios(text, results, micro);
        text.Append("![Requests per second by variant and endpoint](peers.svg)\n\n");
        Raw(text, results);
        About(text, results);
        return text.ToString();
    }

    private static void Ratios(StringBuilder text, Results results, MicroFigures? micro)
    {
        text.Append("### Targets\n\n");
        text.Append("| | target | measured | half of the rounds | all rounds | | the built-in session |\n");
        text.Append("| --- | ---: | ---: | --- | --- | --- | ---: |\n");
        foreach (var target in Target.All(results))
            text.Append(
                CultureInfo.InvariantCulture,
                $"| {target.What} | {target.Bound} | **{Figure(target.Measured)}** | {Half(target.Rounds)} | {Range(target.Rounds)} | {target.Verdict} | {Figure(target.BuiltIn)} |\n"
            );
        if (micro?.Decision is { } decision)
            text.Append(
                CultureInfo.InvariantCulture,
                $"| {MicroFigures.DecisionName} (Micro) | {MicroFigures.DecisionBound} | **{decision.Nanoseconds:0} ns, {decision.Bytes} B** | | | {MicroFigures.Verdict(decision)} | |\n"
            );
        if (micro?.Rows.FirstOrDefault(row => row.What == MicroFigures.FromJson) is { } json)
            text.Append(
                CultureInfo.InvariantCulture,
                $"\nOf the bytes of a read, {json.Bytes:N0} are what `System.Text.Json` allocates to make the cart of its JSON (measured alone, see Micro).\n"
            );

        text.Append("\n### Ratios\n\n");
        text.Append("| | requests/s | half of the rounds | all rounds | server CPU per request |\n");
        text.Append("| --- | ---: | --- | --- | ---: |\n");
        foreach (var (endpoint, variant, other) in s_pairs)
            Pair(text, results, endpoint, variant, other);
        text.Append(
            """

            - Requests per second: the ratio of the medians of all rounds; then the ratios within one round, where the two ran seconds
              apart. Half of the rounds: from the lower quartile to the upper one.
            - Server, redis-server and wrk share the machine's cores, so a ratio of requests per second is one of all the CPU that
              a request takes, wrk's and Redis' own share included: what a user of such a machine sees. Server CPU per request is
              the server process alone.
            - `none` answers from a constant: it reads, deserializes and writes nothing. `json` reads the JSON of the cart from a
              constant (and makes it again for /write): what the data costs without any session. `redis-bare` gets (and sets) the JSON of
              the same cart under a key from a cookie, (de)serializes it with the same generated code, and sets the same time to
              live; it checks, hashes and versions nothing. `redis-swap` is that with what ours has too: it sets by a script that first
              looks whether it is what was read, as whoever loses no update has to, and the driver does its I/O on the thread
              pool instead of threads of its own. `postgres-bare` selects (and updates, where the version is still the same) a row of
              a table with the columns and indexes of ours, with the driver as it comes, and commits as our routine writes do; `postgres-tuned` is
              that with prepared statements and without the reset of a connection that goes back to its pool, as ours. All answer the same JSON.
            - Every server has its default settings, but for a cookie that plain HTTP may carry. Node runs as one process with one
              thread, as its documentation starts it; the ASP.NET Core servers use all cores that wrk leaves.


            """
        );
    }

    private static readonly (string Endpoint, string Variant, string Other)[] s_pairs =
    [
        ("read", "ours-memory", "none"),
        ("read", "json", "none"),
        ("read", "ours-memory", "json"),
        ("read", "builtin-memory", "none"),
        ("read", "ours-memory", "builtin-memory"),
        ("read", "ours-sqlite", "none"),
        ("read", "ours-redis", "redis-bare"),
        ("read", "redis-swap", "redis-bare"),
        ("read", "ours-redis", "redis-swap"),
        ("read", "builtin-redis", "redis-bare"),
        ("read", "ours-redis", "builtin-redis"),
        ("read", "compat-redis", "builtin-redis"),
        ("read", "compat-redis", "ours-redis"),
        ("read", "ours-redis", "express"),
        ("read", "ours-postgres", "postgres-bare"),
        ("read", "postgres-tuned", "postgres-bare"),
        ("read", "ours-postgres", "postgres-tuned"),
        ("read", "ours-postgres", "express-pg"),
        ("write", "ours-memory", "none"),
        ("write", "ours-memory", "json"),
        ("write", "builtin-memory", "none"),
        ("write", "ours-memory", "builtin-memory"),
        ("write", "ours-sqlite", "none"),
        ("write", "ours-redis", "redis-bare"),
        ("write", "redis-swap", "redis-bare"),
        ("write", "ours-redis", "redis-swap"),
        ("write", "builtin-redis", "redis-bare"),
        ("write", "ours-redis", "builtin-redis"),
        ("write", "compat-redis", "builtin-redis"),
        ("write", "compat-redis", "ours-redis"),
        ("write", "ours-redis", "express"),
        ("write", "ours-postgres", "postgres-bare"),
        ("write", "postgres-tuned", "postgres-bare"),
        ("write", "ours-postgres", "postgres-tuned"),
        ("write", "ours-postgres", "express-pg"),
        ("plain", "ours-memory", "none"),
        ("plain", "builtin-memory", "none"),
        ("plain", "ours-sqlite", "none"),
        ("plain", "ours-redis", "none"),
        ("plain", "builtin-redis", "none"),
        ("plain", "compat-redis", "builtin-redis"),
        ("plain", "ours-redis", "express"),
        ("plain", "ours-postgres", "none"),
    ];

    private static void Pair(StringBuilder text, Results results, string endpoint, string variant, string other)
    {
        if (Target.Ratio(results, variant, other, endpoint) is not var (measured, rounds))
            return;

        var cpu =
            results.Of(variant, endpoint, m => m.CpuMicrosecondsPerRequest)!.Median
            / results.Of(other, endpoint, m => m.CpuMicrosecondsPerRequest)!.Median;
        text.Append(
            CultureInfo.InvariantCulture,
            $"| /{endpoint}: `{variant}` by `{other}` | **{Figure(measured)}** | {Half(rounds)} | {Range(rounds)} | {Figure(cpu)} |\n"
        );
    }

    private static void Raw(StringBuilder text, Results results)
    {
        text.Append("### Raw figures\n\nMedian over the rounds (smallest–largest).\n\n");
        text.Append(
            "| endpoint | variant | req/s | p50 ms | p99 ms | server CPU µs/req | bytes/req | commands sent/req | run in Redis/req | wrk's core |\n"
        );
        text.Append("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
        foreach (var endpoint in Plan.Endpoints)
        foreach (var variant in Variant.In(results))
        {
            string Cell(Func<Measurement, double?> figure, string format) =>
                results.Of(variant.Name, endpoint, figure) is { } spread
                    ? $"{spread.Median.ToString(format, CultureInfo.InvariantCulture)} ({Between(spread, format)})"
                    : "";

            // Then it is wrk that was measured, and not the server.
            string Saturated(string cell) =>
                results.Of(variant.Name, endpoint, m => m.WrkShare)?.Median >= 0.95
                    ? $"**{cell}: wrk is the limit**"
                    : cell;

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
                Saturated(Middle(m => m.WrkShare, "0%")),
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
            forth and back, each after {plan.WarmUpSeconds} s of warm-up, and each round with newly started servers, for two processes of one
            program differ by some percent for as long as they live; `wrk -t1 -c{Plan.Connections}` over the loopback, {plan.Sessions} sessions in turn,
            begun anew in each round and each presented once before. A run with a refused request, a socket error or a timeout is invalid. CPU is
            the server process's by /proc; bytes by `GC.GetTotalAllocatedBytes`; commands sent by `MONITOR` over {plan.Sessions} single
            requests (who sent them is told apart, what runs inside scripts does not count); those of PostgreSQL by its own
            count of statements in the variant's database (`pg_stat_statements`); commands run in Redis by `INFO
            commandstats` over the whole measurement (inside scripts too). "wrk's core" near 100% means that wrk was the
            limit: the server could do more, and only the CPU per request tells by how much.

            `./bench.sh peers` measures all this again; the figures are in `results/peers.json`.


            """
        );
        text.Append("| | |\n| --- | --- |\n");
        text.Append(CultureInfo.InvariantCulture, $"| date | {results.Date} |\n");
        foreach (var (name, value) in results.Machine)
            text.Append(
                CultureInfo.InvariantCulture,
                $"| {name} | {value}{(name == "runtime" ? ", server GC" : "")} |\n"
            );
    }

    private static string Figure(double? number) =>
        number switch
        {
            null => "",
            >= 100 or <= -100 => number.Value.ToString("N0", CultureInfo.InvariantCulture),
            _ => number.Value.ToString("0.00", CultureInfo.InvariantCulture),
        };

    private static string Range(Spread? spread) => spread is null ? "" : $"{Figure(spread.Min)}–{Figure(spread.Max)}";

    private static string Half(Spread? spread) =>
        spread is null ? "" : $"{Figure(spread.LowerQuartile)}–{Figure(spread.UpperQuartile)}";

    private static string Between(Spread spread, string format) =>
        spread.Min.ToString(format, CultureInfo.InvariantCulture)
        + "–"
        + spread.Max.ToString(format, CultureInfo.InvariantCulture);
}
