using System.Globalization;
using System.Text;
using Bench.Shared;

namespace Bench.Micro;

/// <summary>The figures as a fragment of the results.</summary>
internal static class Text
{
    private const double MostNanoseconds = 100;
    private const long MostBytes = 128;

    public static void Write(MicroFigures figures, Workshop workshop)
    {
        JsonFile.Write(Path.Combine(workshop.Fragments, "micro.json"), figures);
        File.WriteAllText(Path.Combine(workshop.Fragments, "micro.md"), Of(figures));
    }

    private static string Of(MicroFigures figures)
    {
        var text = new StringBuilder(
            "## Micro\n\nThe parts of a request, one by one, in one thread (BenchmarkDotNet).\n\n"
        );
        if (!figures.IsComplete)
            text.Append("**INCOMPLETE: some of it could not be measured (see the log of the run).**\n\n");

        text.Append("| | target | measured | |\n| --- | --- | --- | --- |\n");
        if (figures.Rows.FirstOrDefault(row => row.What == Decisions.Target) is { } target)
        {
            var isMet = target.Nanoseconds < MostNanoseconds && target.Bytes <= MostBytes;
            text.Append(
                CultureInfo.InvariantCulture,
                $"| {target.What} | < {MostNanoseconds} ns, ≤ {MostBytes} B | {Time(target.Nanoseconds)}, {target.Bytes} B | {(isMet ? "pass" : "**missed**")} |\n"
            );
        }
        else
            text.Append(
                CultureInfo.InvariantCulture,
                $"| {Decisions.Target} | < {MostNanoseconds} ns, ≤ {MostBytes} B | | not measured |\n"
            );

        foreach (var group in figures.Rows.GroupBy(row => row.Group))
        {
            text.Append(
                CultureInfo.InvariantCulture,
                $"\n| {group.Key} | mean | ± standard error | allocated |\n| --- | ---: | ---: | ---: |\n"
            );
            foreach (var row in group)
                text.Append(
                    CultureInfo.InvariantCulture,
                    $"| {row.What} | {Time(row.Nanoseconds)} | {Time(row.Error)} | {row.Bytes:N0} B |\n"
                );
        }
        return text.Append(CultureInfo.InvariantCulture, $"\n{figures.Machine}\n").ToString();
    }

    private static string Time(double nanoseconds) =>
        nanoseconds switch
        {
            < 100 => Invariant($"{nanoseconds:0.0} ns"),
            < 10_000 => Invariant($"{nanoseconds:N0} ns"),
            _ => Invariant($"{nanoseconds / 1000:N1} µs"),
        };

    private static string Invariant(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
