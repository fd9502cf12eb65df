using System.Globalization;
using System.Text;
using Bench.Shared;

namespace Bench.Growth;

/// <summary>The figures as a fragment of the results, and as a chart.</summary>
internal static class Report
{
    private const int MostMilliseconds = 50;

    public static void Write(GrowthFigures figures, Workshop workshop)
    {
        File.WriteAllText(Path.Combine(workshop.Fragments, "growth.md"), Text(figures));
        File.WriteAllText(Path.Combine(workshop.Output, "growth.svg"), Chart(figures));
    }

    private static string Text(GrowthFigures figures)
    {
        var text = new StringBuilder("## How cost grows\n\n");
        foreach (var missing in figures.Missing)
            text.Append(CultureInfo.InvariantCulture, $"**Not measured: {missing}.**\n\n");
        text.Append(
            """
            Through the engine, as a request does it, without HTTP and JSON. *Read*: parse and hash a token, load, present.
            *Touch*: the first read in a minute. *Write*: a read and an update of the data. *Begin*: a new session, and the first request that presents its token.
            Random sessions; clients send their next request when the last one is answered. Everything is on one machine:
            clients, engine and redis-server share its cores.

            ![Cost by number of sessions, by size of the data, throughput by clients](growth.svg)


            """
        );
        Counts(text, figures);
        Sweeps(text, figures);
        Sizes(text, figures);
        Footprints(text, figures);
        ManyClients(text, figures);
        Hot(text, figures);
        Pages(text, figures);
        return text.Append(CultureInfo.InvariantCulture, $"{figures.Machine}\n").ToString();
    }

    /// <summary>The lines of a table or panel.</summary>
    private static IEnumerable<IGrouping<(string Store, string Operation), OperationFigure>> Lines(
        GrowthFigures figures,
        Varied varied
    ) => figures.Operations.Where(f => f.Varied == varied).GroupBy(f => (f.Store, f.Operation));

    private static void Counts(StringBuilder text, GrowthFigures figures)
    {
        var counts = figures.Sweeps.Select(sweep => sweep.Sessions).Distinct().Order().ToArray();
        text.Append(
            "### The number of sessions\n\nOne client, 100 B of data; median (99th percentile), µs.\n\n| store | |"
        );
        foreach (var count in counts)
            text.Append(CultureInfo.InvariantCulture, $" {count:N0} |");
        text.Append(" last by first |\n| --- | --- |");
        text.Insert(text.Length, " ---: |", counts.Length).Append(" ---: |\n");
        foreach (var line in Lines(figures, Varied.Sessions))
        {
            text.Append(CultureInfo.InvariantCulture, $"| {line.Key.Store} | {line.Key.Operation} |");
            foreach (var figure in line)
                text.Append(CultureInfo.InvariantCulture, $" {Micros(figure.P50)} ({Micros(figure.P99)}) |");
            text.Append(CultureInfo.InvariantCulture, $" {line.Last().P50 / line.First().P50:0.00} |\n");
        }
        text.Append('\n');
    }

    private static void Sweeps(StringBuilder text, GrowthFigures figures)
    {
        text.Append(
            CultureInfo.InvariantCulture,
            $"### The sweeper\n\n{figures.Sweeps.FirstOrDefault()?.Overdue:N0} overdue sessions among as many live ones as the line says; µs for each of them: from live to a tombstone, the expiry being told; and the removal of the tombstone later.\n\n"
        );
        text.Append("| store | live sessions | end | its CPU | redis-server | remove | its CPU | redis-server |\n");
        text.Append("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n");
        foreach (var sweep in figures.Sweeps)
            text.Append(
                CultureInfo.InvariantCulture,
                $"| {sweep.Store} | {sweep.Sessions:N0} | {Micros(sweep.Expire)} | {Micros(sweep.ExpireCpu)} | {Server(sweep.Store, sweep.ExpireRedisCpu)} | {Micros(sweep.Remove)} | {Micros(sweep.RemoveCpu)} | {Server(sweep.Store, sweep.RemoveRedisCpu)} |\n"
            );
        text.Append('\n');
    }

    private static void Pages(StringBuilder text, GrowthFigures figures)
    {
        if (figures.Pages is not { Count: > 0 })
            return;

        text.Append(
            CultureInfo.InvariantCulture,
            $"### The dashboard\n\nOver {figures.Pages[0].Sessions:N0} signed-in sessions, one request after another over HTTP, each for another session; ms. The target is {MostMilliseconds} ms for 99 of 100.\n\n"
        );
        text.Append(
            "| store | page | median | 99th percentile | worst | |\n| --- | --- | ---: | ---: | ---: | --- |\n"
        );
        foreach (var page in figures.Pages)
            text.Append(
                CultureInfo.InvariantCulture,
                $"| {page.Store} | {page.Page} | {page.P50:0.0} | {page.P99:0.0} | {page.Worst:0.0} | {(page.P99 <= MostMilliseconds ? "met" : "missed")} |\n"
            );
        text.Append('\n');
    }

    private static void Sizes(StringBuilder text, GrowthFigures figures)
    {
        var lines = Lines(figures, Varied.Size).ToArray();
        var sizes = lines[0].Select(f => f.DataBytes).ToArray();
        text.Append(
            CultureInfo.InvariantCulture,
            $"### The size of the data\n\nOne client, {lines[0].First().Sessions:N0} sessions; median, µs.\n\n| store | |"
        );
        foreach (var size in sizes)
            text.Append(CultureInfo.InvariantCulture, $" {Bytes(size)} |");
        text.Append("\n| --- | --- |").Insert(text.Length, " ---: |", sizes.Length).Append('\n');
        foreach (var line in lines)
        {
            text.Append(CultureInfo.InvariantCulture, $"| {line.Key.Store} | {line.Key.Operation} |");
            foreach (var figure in line)
                text.Append(CultureInfo.InvariantCulture, $" {Micros(figure.P50)} |");
            text.Append('\n');
        }
        text.Append('\n');
    }

    private static void Footprints(StringBuilder text, GrowthFigures figures)
    {
        text.Append(
            """
            ### Bytes per session

            Indexes included. Memory: of the managed heap, each session having been opened once. SQLite: of the file. Redis: of
            `used_memory`.

            | store | sessions | data | | bytes per session | above the data |
            | --- | ---: | ---: | --- | ---: | ---: |

            """
        );
        foreach (var figure in figures.Footprints)
            text.Append(
                CultureInfo.InvariantCulture,
                $"| {figure.Store} | {figure.Sessions:N0} | {Bytes(figure.DataBytes)} | {(figure.SignedIn ? "signed in" : "anonymous")} | {figure.Bytes:N0} | {figure.Bytes - figure.DataBytes:N0} |\n"
            );
        text.Append('\n');
    }

    private static void ManyClients(StringBuilder text, GrowthFigures figures)
    {
        var all = Lines(figures, Varied.Clients).SelectMany(line => line).ToArray();
        text.Append(
            CultureInfo.InvariantCulture,
            $"### Clients at once\n\n{all[0].Sessions:N0} sessions of 100 B. CPU: of engine and clients, and of redis-server, for each operation.\n\n"
        );
        text.Append("| store | | clients | per second | p50 µs | p99 µs | CPU µs | redis-server µs |\n");
        text.Append("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n");
        foreach (var figure in all)
            text.Append(
                CultureInfo.InvariantCulture,
                $"| {figure.Store} | {figure.Operation} | {figure.Clients} | {figure.PerSecond:N0} | {Micros(figure.P50)} | {Micros(figure.P99)} | {Micros(figure.Cpu)} | {Server(figure.Store, figure.RedisCpu)} |\n"
            );
        text.Append('\n');
    }

    private static void Hot(StringBuilder text, GrowthFigures figures)
    {
        text.Append(
            CultureInfo.InvariantCulture,
            $"""
            ### One session, {Scale.HotClients} clients

            All clients update the same session at once, each counting in a place of its own; afterwards each accepted update has
            to be in the data. On many: the same clients and updates on {Scale.BesideHot:N0} sessions, just before and just after. An attempt is one computation of new data: what is more than accepted was computed again after a
            conflict. Refused: given up after many conflicts (503), not in the data.

            | store | nodes | accepted per second | on many | ratio | accepted | attempts for each | refused | p50 µs | p99 µs | all there |
            | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |

            """
        );
        foreach (var hot in figures.Hot)
            text.Append(
                CultureInfo.InvariantCulture,
                $"| {hot.Store} | {hot.Nodes} | {hot.PerSecond:N0} | {hot.PerSecondOnMany:N0} | **{hot.PerSecond / hot.PerSecondOnMany:0.00}** | {hot.Accepted:N0} | {(double)hot.Attempts / hot.Accepted:0.00} | {hot.Refused:N0} | {Micros(hot.P50)} | {Micros(hot.P99)} | {(hot.IsAllThere ? "yes" : "**NO**")} |\n"
            );
        text.Append('\n');
    }

    private static string Chart(GrowthFigures figures)
    {
        static Line Draw(
            IGrouping<(string Store, string Operation), OperationFigure> line,
            Func<OperationFigure, double> x,
            Func<OperationFigure, double> y
        ) =>
            new(
                $"{line.Key.Store}, {line.Key.Operation}",
                Class(line.Key.Store) + (line.Key.Operation == "write" ? " dash" : ""),
                [.. line.Select(figure => (x(figure), y(figure)))]
            );

        return LineChart.Of(
            "Cost by number of sessions, by size of the data, throughput by clients",
            [
                new Panel(
                    "Cost by the number of sessions",
                    "live sessions",
                    "median, µs; dashed: writes",
                    [.. Lines(figures, Varied.Sessions).Select(l => Draw(l, f => f.Sessions, f => f.P50))]
                ),
                new Panel(
                    "Cost by the size of the data",
                    "data",
                    "median, µs; dashed: writes",
                    [.. Lines(figures, Varied.Size).Select(l => Draw(l, f => f.DataBytes, f => f.P50))],
                    bytes => Bytes((int)bytes)
                ),
                new Panel(
                    "Throughput by the clients at once",
                    "clients",
                    "operations per second; dashed: writes",
                    [
                        .. Lines(figures, Varied.Clients)
                            .Where(l => l.Key.Operation is "read" or "write")
                            .Select(l => Draw(l, f => f.Clients, f => f.PerSecond)),
                    ]
                ),
            ]
        );
    }

    private static string Class(string store) =>
        store switch
        {
            "memory" => "first",
            "sqlite" => "second",
            _ => "third",
        };

    private static string Server(string store, double micros) => store == "redis" ? Micros(micros) : "";

    private static string Micros(double micros) =>
        micros.ToString(micros < 100 ? "0.0" : "N0", CultureInfo.InvariantCulture);

    private static string Bytes(int bytes) => bytes >= 1024 ? $"{bytes / 1024} KiB" : $"{bytes} B";
}
