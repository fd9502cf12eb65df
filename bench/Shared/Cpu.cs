using System.Globalization;

namespace Bench.Shared;

/// <summary>Processor time by /proc, where one tick is 10 ms on every Linux.</summary>
public static class Cpu
{
    private const double TicksPerSecond = 100;

    public static double SecondsOf(int process) => Sum($"/proc/{process}/stat", 11);

    /// <summary>Of the programs this one has started and seen the end of: the difference around a run of wrk is wrk's.</summary>
    public static double SecondsOfEnded() => Sum("/proc/self/stat", 13);

    // The name, in parentheses, may have spaces: count from behind it.
    private static double Sum(string file, int field)
    {
        var text = File.ReadAllText(file);
        var fields = text[(text.LastIndexOf(')') + 2)..].Split(' ');
        return (Number(fields[field]) + Number(fields[field + 1])) / TicksPerSecond;
    }

    private static double Number(string text) => double.Parse(text, CultureInfo.InvariantCulture);
}
