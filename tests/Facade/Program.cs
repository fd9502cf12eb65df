using System.Globalization;
using System.Text.Json;
using System.Xml.Linq;
using Xunit.Runner.InProc.SystemConsole;

namespace Facade;

/// <summary>
/// xUnit's own runner, asked in the words of <c>./test</c>: <c>./test facade [--seed N] [--only TEXT]... [--except TEXT] [--stop] [--results FILE]</c>.
/// Whoever knows xUnit's options, as <c>dotnet test</c> does, uses these.
/// </summary>
internal static class Program
{
    /// <summary>A file's name comes next.</summary>
    internal static readonly string[] Quiet = ["-noLogo", "-noColor", "-reporter", "silent", "-result-xml"];

    /// <summary>A row of a theory is asked with its theory: xUnit knows methods by name.</summary>
    internal static string Method(string text) => $"*{text.Split('(')[0]}*";

    private static async Task<int> Main(string[] args)
    {
        if (args.Length > 0 && !args[0].StartsWith("--", StringComparison.Ordinal))
            return await ConsoleRunner.Run(args);

        if (args is ["--bugs", var bugs, "--results", var found, ..])
            return await SeededBugs.AskAsync(bugs, found);

        IEnumerable<string> Arguments(string name) =>
            args.Zip(args.Skip(1)).Where(it => it.First == name).Select(it => it.Second);
        string? Argument(string name) => Arguments(name).FirstOrDefault();

        // The contract kit's: nothing else here is random.
        var seed = Argument("--seed") ?? Random.Shared.Next(1, 1_000_000_000).ToString(CultureInfo.InvariantCulture);
        Environment.SetEnvironmentVariable("SESSION_CONTRACT_SEED", seed);
        Console.WriteLine($"seed {seed}");

        var report = Path.GetTempFileName();
        try
        {
            // Many tests wait for a timer or a process: one more at once than there are cores for two of them.
            List<string> asked = [.. Quiet, report, "-maxThreads", "1.5x"];
            foreach (var text in Arguments("--only"))
                asked.AddRange(["-method", Method(text)]);
            foreach (var text in Arguments("--except"))
                asked.AddRange(["-method-", Method(text)]);

            // At the first that fails.
            if (args.Contains("--stop"))
                asked.Add("-stopOnFail");

            var exit = await ConsoleRunner.Run([.. asked]);
            return Tell(XDocument.Load(report), Argument("--results"), exit);
        }
        finally
        {
            File.Delete(report);
        }
    }

    private static int Tell(XDocument report, string? results, int exit)
    {
        var tests = report.Descendants("test").ToList();
        string? Of(XElement test, string attribute) => test.Attribute(attribute)?.Value;
        List<XElement> With(string result) => [.. tests.Where(test => Of(test, "result") == result)];
        var (passed, failed, skipped) = (With("Pass"), With("Fail"), With("Skip"));
        foreach (var test in failed)
            Console.WriteLine(
                $"FAILED {Of(test, "name")}\n{test.Descendants("message").FirstOrDefault()?.Value}\n{test.Descendants("stack-trace").FirstOrDefault()?.Value}\n"
            );

        if (tests.Count == 0)
            Console.WriteLine("FAILED no test has such a name");

        foreach (var error in report.Descendants("error"))
            Console.WriteLine($"FAILED outside of a test\n{error.Value}");

        foreach (var test in skipped)
            Console.WriteLine($"SKIPPED {Of(test, "name")}: {test.Element("reason")?.Value}");

        if (results is not null)
            File.WriteAllText(
                results,
                JsonSerializer.Serialize(
                    new
                    {
                        properties = tests.Select(test => new
                        {
                            name = Of(test, "name"),
                            passed = Of(test, "result") == "Pass",
                            skipped = Of(test, "result") == "Skip",
                            seconds = double.Parse(Of(test, "time") ?? "0", CultureInfo.InvariantCulture),
                        }),
                    }
                )
            );

        var more = skipped.Count > 0 ? $", {skipped.Count} skipped" : "";
        Console.WriteLine($"{passed.Count} passed, {(tests.Count == 0 ? 1 : failed.Count)} failed{more}");
        return failed.Count == 0 && tests.Count > 0 ? exit : 1;
    }
}
