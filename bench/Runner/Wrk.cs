using System.Text.Json;
using Bench.Shared;

namespace Bench.Runner;

/// <summary>The load generator.</summary>
internal static class Wrk
{
    public static async Task<Load> RunAsync(
        Workshop workshop,
        Server server,
        string endpoint,
        IReadOnlyList<string> cookies,
        int seconds
    )
    {
        var file = Path.Combine(workshop.Scratch, "cookies-" + server.Variant.Name);
        await File.WriteAllLinesAsync(file, cookies);
        var start = Tool.Start(
            "wrk",
            "-t1",
            $"-c{Plan.Connections}",
            $"-d{seconds}s",
            "-s",
            workshop.CookiesScript,
            $"http://127.0.0.1:{server.Port}/{endpoint}"
        );
        start.Environment["BENCH_COOKIES"] = file;
        var said = await Tool.SayAsync(start);
        var sum =
            said.Split('\n').LastOrDefault(line => line.StartsWith('{'))
            ?? throw new InvalidOperationException("wrk says:\n" + said);
        return JsonSerializer.Deserialize<Load>(sum, JsonSerializerOptions.Web)!;
    }
}
