// Runner peers [--quick] [--rounds N] [--seconds N]   measures the peers, writes their figures, text and chart
//   [--warm-up N] and, with --quick, [--only NAME,NAME]: some of the variants
// Runner telemetry [--quick]                          measures what it costs that somebody listens
// Runner render [--quick]                             text and chart again, from the figures that are there
// Runner assemble [--quick]                           RESULTS.md from the fragments
using System.Globalization;
using Bench.Runner;
using Bench.Shared;

CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
Leftovers.Watch();
var quick = args.Contains("--quick");
string[] only = [];
var plan = quick ? Plan.Quick : Plan.Full;
for (var i = 1; i < args.Length; i++)
{
    if (args[i] == "--rounds")
        plan = plan with { Rounds = int.Parse(args[++i]) };
    else if (args[i] == "--seconds")
        plan = plan with { Seconds = int.Parse(args[++i]) };
    else if (args[i] == "--warm-up")
        plan = plan with { WarmUpSeconds = int.Parse(args[++i]) };
    // What is published is of all variants in one run.
    else if (args[i] == "--only" && quick)
        only = args[++i].Split(',');
    else if (args[i] != "--quick")
    {
        Console.Error.WriteLine($"Unknown: {args[i]}");
        return 2;
    }
}

using var workshop = new Workshop(quick);
var figures = Path.Combine(workshop.Fragments, "peers.json");
switch (args.FirstOrDefault())
{
    case "peers":
        var results = await new Peers(plan, workshop, only).RunAsync();
        JsonFile.Write(figures, results);
        Report.Render(results, workshop);
        foreach (var target in Target.All(results))
            Console.WriteLine($"{target.Verdict, -12} {target.What}: {target.Measured:0.###} ({target.Bound})");
        if (!results.IsValid)
            Console.Error.WriteLine("*** INVALID: requests failed, the figures mean nothing. ***");
        return results.IsValid ? 0 : 1;
    case "telemetry":
        var costs = await new TelemetryCosts(plan, workshop, quick ? 3 : 15).RunAsync();
        JsonFile.Write(Path.Combine(workshop.Fragments, "telemetry.json"), costs);
        File.WriteAllText(Path.Combine(workshop.Fragments, "telemetry.md"), TelemetryFragment.Of(costs));
        return 0;
    case "render":
        Report.Render(JsonFile.Read<Results>(figures), workshop);
        return 0;
    case "assemble":
        // Once more: other parts may have come since.
        if (File.Exists(figures))
            Report.Render(JsonFile.Read<Results>(figures), workshop);
        Console.WriteLine(Report.Assemble(workshop));
        return 0;
    default:
        Console.Error.WriteLine("Runner peers|telemetry|render|assemble [--quick] [--rounds N] [--seconds N]");
        return 2;
}
