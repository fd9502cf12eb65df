using System.Reflection;
using System.Text.Json;
using System.Xml.Linq;
using Xunit.Runner.InProc.SystemConsole;

namespace Facade;

/// <summary>
/// Several seeded bugs of one assembly, each asked of one test, in one process: its start takes longer than the tests. First and
/// last all these tests are asked without a bug: one that fails then says nothing of any bug, and is left to be asked elsewhere.
/// </summary>
internal static class SeededBugs
{
    /// <summary>A bug may make a loop endless: it and those behind it are asked otherwise.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private readonly record struct Asked(string Bug, string Test);

    /// <summary>Lines of <paramref name="file"/>: a bug's number and a test, with a tab between.</summary>
    internal static async Task<int> AskAsync(string file, string results)
    {
        var bugs = File.ReadAllLines(file)
            .Select(line => line.Split('\t'))
            .Select(it => new Asked(it[0], it[1]))
            .ToArray();
        if (await SoundAsync(bugs) is not { } sound)
            return 1;

        var found = new Dictionary<Asked, string[]>();
        var isWhole = true;
        foreach (var bug in sound)
        {
            if (await FailedAsync(bug.Bug, [bug.Test]) is not { } failed)
            {
                isWhole = false;
                break;
            }

            found[bug] = failed;
        }

        // Where one of them never ends there is no last time.
        if ((isWhole ? await SoundAsync(sound) : sound) is not { } still)
            return 1;

        var told = found.Where(it => still.Contains(it.Key)).ToDictionary(it => it.Key.Bug, it => it.Value);
        await File.WriteAllTextAsync(results, JsonSerializer.Serialize(told));
        // What a bug has left behind may keep the process.
        Environment.Exit(0);
        return 0;
    }

    /// <summary>Those whose tests pass without a bug, or null where that cannot be told.</summary>
    private static async Task<Asked[]?> SoundAsync(Asked[] bugs)
    {
        string[] tests = [.. bugs.Select(it => it.Test).Distinct()];
        if (tests.Length == 0)
            return [];

        if (await FailedAsync("0", tests) is not { } failed)
            return null;

        var methods = failed.Select(Program.Method).ToHashSet();
        foreach (var name in failed)
            Console.WriteLine($"{name} fails without a bug");

        return [.. bugs.Where(it => !methods.Contains(Program.Method(it.Test)))];
    }

    /// <summary>The tests that fail with this bug, or null where they do not end or nothing is run.</summary>
    private static async Task<string[]?> FailedAsync(string bug, string[] tests)
    {
        Choose(bug);
        var report = Path.GetTempFileName();
        try
        {
            string[] asked =
            [
                .. Program.Quiet,
                report,
                .. tests.SelectMany(it => new[] { "-method", Program.Method(it) }),
            ];
            var run = Task.Run(() => RunAsync(asked));
            if (await Task.WhenAny(run, Task.Delay(Patience * tests.Length)) != run)
                return null;

            var ran = XDocument.Load(report).Descendants("test").ToList();
            return ran.Count == 0
                ? null
                :
                [
                    .. ran.Where(it => (string?)it.Attribute("result") == "Fail")
                        .Select(it => (string)it.Attribute("name")!),
                ];
        }
        finally
        {
            File.Delete(report);
        }
    }

    /// <summary>What xUnit's Main calls ends the process ten seconds after its first run.</summary>
    private static async Task RunAsync(string[] asked)
    {
        using var runner = new ConsoleRunner(asked);
        await runner.EntryPoint();
    }

    /// <summary>In the assembly that has the bugs, which may not be loaded yet: then it reads the setting.</summary>
    private static void Choose(string bug)
    {
        Environment.SetEnvironmentVariable("SESSION_SEEDED_BUG", bug);
        foreach (var assembly in AppDomain.CurrentDomain.GetAssemblies())
            if (
                assembly
                    .GetType("SeededBug")
                    ?.GetMethod("read", BindingFlags.Static | BindingFlags.NonPublic | BindingFlags.Public) is
                { } read
            )
                read.Invoke(null, null);
    }
}
