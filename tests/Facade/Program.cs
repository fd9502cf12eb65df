using System.Globalization;
using System.Reflection;
using System.Text.Json;
using Xunit.Abstractions;
using Xunit.Sdk;

namespace Facade;

/// <summary>Runs every test in this process and ends with the sum: <c>./test facade [--seed N] [--only TEXT]... [--except TEXT] [--results FILE]</c>.</summary>
internal static class Program
{
    private static int Main(string[] args)
    {
        IEnumerable<string> Arguments(string name) =>
            args.Zip(args.Skip(1)).Where(it => it.First == name).Select(it => it.Second);
        string? Argument(string name) => Arguments(name).FirstOrDefault();

        // The contract kit's: nothing else here is random.
        var seed = Argument("--seed") ?? Random.Shared.Next(1, 1_000_000_000).ToString(CultureInfo.InvariantCulture);
        Environment.SetEnvironmentVariable("SESSION_CONTRACT_SEED", seed);
        Console.WriteLine($"seed {seed}");

        using var framework = new XunitTestFramework(new NullMessageSink());
        var options = new Options();
        var assembly = Reflector.Wrap(Assembly.GetExecutingAssembly());
        using var discoverer = framework.GetDiscoverer(assembly);
        using var discovery = new Listener();
        discoverer.Find(false, discovery, options);
        discovery.Wait();

        bool Has(ITestCase it, string text) => it.DisplayName.Contains(text, StringComparison.Ordinal);
        var (only, except) = (Arguments("--only").ToList(), Argument("--except"));
        var cases = discovery.Cases.Where(it =>
            (only.Count == 0 || only.Any(text => Has(it, text))) && (except is null || !Has(it, except))
        );
        using var executor = framework.GetExecutor(new AssemblyName(Assembly.GetExecutingAssembly().FullName!));
        using var run = new Listener();
        executor.RunTests(cases, run, options);
        run.Wait();

        foreach (var failed in run.Failed)
            Console.WriteLine($"FAILED {failed.Test.DisplayName}\n{failed.Messages[0]}\n{failed.StackTraces[0]}\n");

        foreach (var skipped in run.Skipped)
            Console.WriteLine($"SKIPPED {skipped.Test.DisplayName}: {skipped.Reason}");

        if (Argument("--results") is { } file)
            File.WriteAllText(file, JsonSerializer.Serialize(new { properties = run.Results() }));

        var more = run.Skipped.Count > 0 ? $", {run.Skipped.Count} skipped" : "";
        Console.WriteLine($"{run.Passed.Count} passed, {run.Failed.Count} failed{more}");
        return run.Failed.Count == 0 ? 0 : 1;
    }

    /// <summary>xUnit's defaults.</summary>
    private sealed class Options : ITestFrameworkDiscoveryOptions, ITestFrameworkExecutionOptions
    {
        public TValue GetValue<TValue>(string name) => default!;

        public void SetValue<TValue>(string name, TValue value) { }
    }

    private sealed class Listener : IMessageSink, IDisposable
    {
        private readonly ManualResetEventSlim _done = new();

        public List<ITestCase> Cases { get; } = [];
        public List<ITestPassed> Passed { get; } = [];
        public List<ITestFailed> Failed { get; } = [];
        public List<ITestSkipped> Skipped { get; } = [];

        public bool OnMessage(IMessageSinkMessage message)
        {
            lock (Cases)
                switch (message)
                {
                    case ITestCaseDiscoveryMessage found:
                        Cases.Add(found.TestCase);
                        break;
                    case ITestPassed passed:
                        Passed.Add(passed);
                        break;
                    case ITestFailed failed:
                        Failed.Add(failed);
                        break;
                    case ITestSkipped skipped:
                        Skipped.Add(skipped);
                        break;
                    case IErrorMessage error:
                        Console.WriteLine($"FAILED outside of a test\n{error.Messages[0]}");
                        Environment.ExitCode = 1;
                        break;
                    case IDiscoveryCompleteMessage or ITestAssemblyFinished:
                        _done.Set();
                        break;
                }

            return true;
        }

        public void Wait() => _done.Wait();

        public void Dispose() => _done.Dispose();

        public IEnumerable<object> Results() =>
            Passed
                .Cast<ITestResultMessage>()
                .Concat(Failed)
                .Concat(Skipped)
                .Select(it => new
                {
                    name = it.Test.DisplayName,
                    passed = it is ITestPassed,
                    skipped = it is ITestSkipped,
                    seconds = it.ExecutionTime,
                });
    }
}
