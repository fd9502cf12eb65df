using System.Globalization;
using System.Text;
using Bench.Shared;

namespace Bench.Micro;

/// <summary>The figures as a fragment of the results.</summary>
internal static class Text
{
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
        text.Append(
            figures.Decision is { } decision
                ? $"| {decision.What} | {MicroFigures.DecisionBound} | {Time(decision.Nanoseconds)}, {decision.Bytes} B | {MicroFigures.Verdict(decision)} |\n"
                : $"| {MicroFigures.DecisionName} | {MicroFigures.DecisionBound} | | not measured |\n"
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
