using System.Globalization;
using System.Text;
using Bench.Shared;

namespace Bench.Runner;

/// <summary>The costs of telemetry as text.</summary>
internal static class TelemetryFragment
{
    private const double MostOfThroughput = 0.01;

    public static string Of(TelemetryFigures figures)
    {
        var text = new StringBuilder("## Telemetry\n\n");
        text.Append(
            CultureInfo.InvariantCulture,
            $"""
            One server process, which OpenTelemetry's SDK listens to in different ways, second by second, {figures.Rounds} times each. `metrics` by
            `off`: our meter, collected once a second, by nobody listening. `sampled` by `app`: the framework's spans of one trace of a
            hundred, with our meter and our spans within these, by the same without ours. `all` by `off`: our meter, and every span
            of ours of every request. What is collected goes nowhere. Ratios are those of two seconds of one round: median, then half
            of the rounds. The target is at most {MostOfThroughput:P0} of the throughput; for all spans there is none, for that is the SDK's work at
            two to four spans a request. An application that does more in a request than these do loses less.

            | | requests/s without | requests/s with by without | | server CPU with by without | bytes/req without | bytes/req more |
            | --- | ---: | ---: | --- | ---: | ---: | ---: |

            """
        );
        foreach (var of in figures.Figures.GroupBy(it => (it.Variant, it.Endpoint)))
        foreach (var mode in TelemetryCosts.Modes)
        {
            if (TelemetryCosts.Beside(mode) is not { } without)
                continue;

            Spread In(string mode, Func<TelemetryFigure, double> figure) =>
                new([.. of.Where(it => it.Mode == mode).OrderBy(it => it.Round).Select(figure)]);

            Spread By(Func<TelemetryFigure, double> figure) =>
                In(mode, figure).Zip(In(without, figure), (on, off) => on / off);

            var (speed, cpu) = (By(it => it.PerSecond), By(it => it.CpuMicroseconds));
            var (bytes, most) = (In(without, it => it.Bytes).Median, In(mode, it => it.Bytes).Median);
            var verdict =
                mode == "all" ? ""
                : 1 - speed.Median <= MostOfThroughput ? "met"
                : "missed";
            text.Append(
                CultureInfo.InvariantCulture,
                $"| /{of.Key.Endpoint}, `{of.Key.Variant}`, `{mode}` by `{without}` | {In(without, it => it.PerSecond).Median:N0} | **{speed.Median:0.000}** ({speed.LowerQuartile:0.000}–{speed.UpperQuartile:0.000}) | {verdict} | {cpu.Median:0.000} ({cpu.LowerQuartile:0.000}–{cpu.UpperQuartile:0.000}) | {bytes:N0} | {most - bytes:N0} |\n"
            );
        }

        text.Append(
            """

            While nobody listens nothing is allocated: `tests/Facade/Telemetry/OffTests.cs`.

            | | |
            | --- | --- |

            """
        );
        text.Append(CultureInfo.InvariantCulture, $"| date | {figures.Date} |\n");
        foreach (var (name, value) in figures.Machine)
            text.Append(CultureInfo.InvariantCulture, $"| {name} | {value} |\n");

        return text.Append('\n').ToString();
    }
}
