using System.Globalization;
using System.Runtime.InteropServices;

namespace Bench.Shared;

/// <summary>What the figures belong to.</summary>
public static class Machine
{
    public static async Task<IReadOnlyDictionary<string, string>> DescribeAsync()
    {
        var about = new Dictionary<string, string>
        {
            ["CPU"] = Line("/proc/cpuinfo", "model name"),
            ["cores"] = Environment.ProcessorCount.ToString(CultureInfo.InvariantCulture),
            ["memory"] =
                (GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / (1 << 30)).ToString(CultureInfo.InvariantCulture)
                + " GiB",
            ["system"] = RuntimeInformation.OSDescription,
            ["kernel"] = File.ReadAllText("/proc/sys/kernel/osrelease").Trim(),
            ["runtime"] = RuntimeInformation.FrameworkDescription,
            ["redis-server"] = Word(await Tool.FirstLineAsync("redis-server", "--version"), "v="),
            ["wrk"] = (await Tool.FirstLineAsync("wrk", "-v")).Replace("wrk ", "").Split(" Copyright")[0],
            ["node"] = await Tool.FirstLineAsync("node", "--version"),
        };
        return about.Where(line => line.Value.Length > 0).ToDictionary(line => line.Key, line => line.Value);
    }

    /// <summary>The same in one line, with the date.</summary>
    public static async Task<string> SayAsync()
    {
        var about = await DescribeAsync();
        var parts = new[] { "CPU", "memory", "system", "kernel", "runtime", "redis-server" }
            .Where(about.ContainsKey)
            .Select(name =>
                name switch
                {
                    "CPU" => $"{about["cores"]} cores of {about[name]}",
                    "kernel" or "redis-server" => $"{name} {about[name]}",
                    _ => about[name],
                }
            );
        return $"Measured {DateTime.UtcNow:yyyy-MM-dd} on {string.Join(", ", parts)}.";
    }

    private static string Line(string file, string name) =>
        File.ReadLines(file)
            .FirstOrDefault(line => line.StartsWith(name, StringComparison.Ordinal))
            ?.Split(':', 2)[1]
            .Trim()
        ?? RuntimeInformation.ProcessArchitecture.ToString();

    private static string Word(string text, string start) =>
        text.Split(' ').FirstOrDefault(word => word.StartsWith(start, StringComparison.Ordinal))?[start.Length..] ?? "";
}
