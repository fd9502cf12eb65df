using System.Text;
using Bench.Shared;

namespace Bench.Runner;

/// <summary>RESULTS.md: the fragments one behind the other, each as its tool has written it.</summary>
internal static class Report
{
    private static readonly string[] s_parts =
    [
        "peers",
        "micro",
        "growth",
        "connections",
        "telemetry",
        "simulation",
        "notes",
    ];

    public static void Render(Results results, Workshop workshop)
    {
        var micro = workshop.Find("micro.json") is { } file ? JsonFile.Read<MicroFigures>(file) : null;
        File.WriteAllText(Path.Combine(workshop.Fragments, "peers.md"), Fragment.Of(results, micro));
        File.WriteAllText(Path.Combine(workshop.Output, "peers.svg"), Chart.Of(results));
    }

    public static string Assemble(Workshop workshop)
    {
        var text = new StringBuilder(
            """
            # Results

            Made by `./bench.sh`, which measures everything again and writes this page (`./bench.sh peers`, `micro`, `growth`, `connections`,
            `telemetry` or `simulation`: one part; the others stay as they were; `--quick`: short rounds that check the tool and leave this
            page alone). The parts are in [results](results).


            """
        );
        foreach (var part in s_parts)
        {
            if (workshop.Find(part + ".md") is { } file)
                text.Append(File.ReadAllText(file).Trim()).Append("\n\n");
        }
        var page = Path.Combine(workshop.Output, "RESULTS.md");
        File.WriteAllText(page, text.ToString().TrimEnd() + "\n");
        return page;
    }
}
