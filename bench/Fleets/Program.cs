// Simulation [--quick] [--ASSUMPTION VALUE]...   a fleet by the measured costs; needs the figures of peers and growth
using System.Globalization;
using Bench.Shared;
using Bench.Simulation;

CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
Leftovers.Watch();
Assumptions given;
try
{
    given = new Assumptions(args);
}
catch (ArgumentException error)
{
    Console.Error.WriteLine(error.Message);
    return 2;
}

using var workshop = new Workshop(args.Contains("--quick"));
var (peers, growth, micro) = (workshop.Find("peers.json"), workshop.Find("growth.json"), workshop.Find("micro.json"));
if (peers is null || growth is null)
{
    Console.Error.WriteLine("*** MISSING: the figures of peers and growth. Measure them first. ***");
    return 1;
}

var text = Report.Of(
    JsonFile.Read<Results>(peers),
    JsonFile.Read<GrowthFigures>(growth),
    micro is null ? null : JsonFile.Read<MicroFigures>(micro),
    given
);
File.WriteAllText(Path.Combine(workshop.Fragments, "simulation.md"), text);
Console.WriteLine(text);
return 0;
