using System.Diagnostics;

namespace Bench.Shared;

/// <summary>Programs of the system.</summary>
public static class Tool
{
    public static bool Exists(string name) =>
        (Environment.GetEnvironmentVariable("PATH") ?? "")
            .Split(Path.PathSeparator)
            .Any(folder => File.Exists(Path.Combine(folder, name)));

    public static ProcessStartInfo Start(params string[] command) =>
        new(command[0], command[1..]) { RedirectStandardOutput = true, RedirectStandardError = true };

    /// <summary>Runs it to its end; what it said, errors included.</summary>
    public static async Task<string> SayAsync(ProcessStartInfo start)
    {
        var process = Leftovers.Start(start);
        var (said, complained) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        await process.WaitForExitAsync();
        await Leftovers.EndAsync(process);
        return await said + await complained;
    }

    /// <summary>The first line of its answer; empty when it is not there.</summary>
    public static async Task<string> FirstLineAsync(params string[] command) =>
        Exists(command[0]) ? (await SayAsync(Start(command))).Split('\n')[0].Trim() : "";
}
