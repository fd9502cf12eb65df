using System.ComponentModel;
using System.Reflection;
using Bench.Shared;
using BenchmarkDotNet.Columns;
using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Diagnosers;
using BenchmarkDotNet.Filters;
using BenchmarkDotNet.Jobs;
using BenchmarkDotNet.Loggers;
using BenchmarkDotNet.Reports;
using BenchmarkDotNet.Running;
using BenchmarkDotNet.Toolchains.InProcess.Emit;
using Perfolizer.Horology;

namespace Bench.Micro;

/// <summary>The run of BenchmarkDotNet, each operation in a process of its own; what it says at length goes to a log.</summary>
internal static class Measuring
{
    private static readonly Type[] s_groups =
    [
        typeof(Decisions),
        typeof(Tokens),
        typeof(Cookies),
        typeof(Records),
        typeof(Sealing),
        typeof(Engines),
        typeof(InMemory),
        typeof(InSqlite),
    ];

    public static async Task<MicroFigures> RunAsync(Workshop workshop, bool quick, string filter)
    {
        var job = Job
            .Default.WithWarmupCount(quick ? 2 : 6)
            .WithIterationCount(quick ? 3 : 15)
            .WithIterationTime(TimeInterval.FromMilliseconds(quick ? 30 : 250));
        // A process for each needs a build of its own, which a short run does not wait for.
        if (quick)
            job = job.WithToolchain(InProcessEmitToolchain.Instance);
        Console.WriteLine("measuring, for some minutes (artifacts/bench/micro.log says how far it is)");
        var log = Path.Combine(workshop.Artifacts, "micro.log");
        using var logger = new StreamLogger(log);
        var config = ManualConfig
            .CreateEmpty()
            .AddJob(job)
            .AddDiagnoser(MemoryDiagnoser.Default)
            .AddColumnProvider(DefaultColumnProviders.Instance)
            .AddLogger(logger)
            .AddFilter(new GlobFilter([filter]))
            .WithBuildTimeout(TimeSpan.FromMinutes(10))
            .WithArtifactsPath(Path.Combine(workshop.Artifacts, "micro"));

        var rows = new List<MicroFigure>();
        var isComplete = true;
        // All at once: one build for all of them.
        foreach (var report in BenchmarkRunner.Run(s_groups, config).SelectMany(summary => summary.Reports))
            if (Row(report) is { } row)
                rows.Add(row);
            else
                isComplete = false;
        logger.Flush();
        if (!isComplete || rows.Count == 0)
            Console.Error.WriteLine(
                $"\n*** Not all was measured: see {Path.GetFileName(log)} in artifacts/bench. ***\n"
            );
        return new MicroFigures(await Machine.SayAsync(), rows, isComplete && rows.Count > 0);
    }

    private static MicroFigure? Row(BenchmarkReport report) =>
        report.ResultStatistics is { } statistics && report.Success
            ? new MicroFigure(
                report.BenchmarkCase.Descriptor.Type.GetCustomAttribute<DisplayNameAttribute>()!.DisplayName,
                report.BenchmarkCase.Descriptor.WorkloadMethodDisplayInfo.Trim('\''),
                statistics.Mean,
                statistics.StandardError,
                report.GcStats.GetBytesAllocatedPerOperation(report.BenchmarkCase) ?? 0
            )
            : null;
}
