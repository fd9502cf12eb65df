using System.Reflection;
using System.Text.Json;
using System.Xml.Linq;
using Xunit.Runner.InProc.SystemConsole;

namespace Facade;

/// <summary>
/// Several seeded bugs of one assembly, each asked of one test, in one process: its start takes longer than the tests. First and
/// last all these tests pass without a bug, or nothing that was seen between counts; only first, where one of them never ends.
/// </summary>
internal static class SeededBugs
{
    /// <summary>A bug may make a loop endless: it and those behind it are asked otherwise.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    /// <summary>Lines of <paramref name="file"/>: a bug's number and a test, with a tab between.</summary>
    internal static async Task<int> AskAsync(string file, string results)
    {
        var bugs = File.ReadAllLines(file).Select(line => line.Split('\t')).ToArray();
        string[] all = [.. bugs.Select(it => it[1]).Distinct()];
        var found = new Dictionary<string, string[]>();

        if (await FailedAsync("0", all) is not { Length: 0 })
            return 1;
        foreach (var bug in bugs)
        {
            if (await FailedAsync(bug[0], [bug[1]]) is not { } failed)
                break;
            found[bug[0]] = failed;
        }
        if (found.Count == bugs.Length && await FailedAsync("0", all) is not { Length: 0 })
            return 1;

        await File.WriteAllTextAsync(results, JsonSerializer.Serialize(found));
        // What a bug has left behind may keep the process.
        Environment.Exit(0);
        return 0;
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
