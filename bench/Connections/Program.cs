// Connections [--quick]                         long connections whose sessions are ended: what is still open, how late, at what cost
// Connections --render [--quick]                the text again, from the figures that are there
// Connections node VARIANT PORT REDIS SECONDS   one server of it, with this LiveCheck
using System.Globalization;
using Bench.Connections;
using Bench.Shared;

CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
if (args is ["node", var variant, var port, var redis, var seconds])
{
    await NodeProgram.RunAsync(variant, int.Parse(port), redis, TimeSpan.FromSeconds(double.Parse(seconds)));
    return 0;
}

Leftovers.Watch();
if (!Tool.Exists("redis-server"))
{
    Console.Error.WriteLine("\n*** MISSING: redis-server. Open connections are not measured. ***\n");
    return 1;
}

var quick = args.Contains("--quick");
using var workshop = new Workshop(quick);
var file = Path.Combine(workshop.Fragments, "connections.json");
if (!args.Contains("--render"))
    JsonFile.Write(file, await new Measuring(quick ? Scale.Quick : Scale.Full).RunAsync());
var figures = JsonFile.Read<ConnectionFigures>(file);
var text = Report.Of(figures);
File.WriteAllText(Path.Combine(workshop.Fragments, "connections.md"), text);
Console.WriteLine(text);
if (!figures.IsRight)
    Console.Error.WriteLine("*** Connections outlived their sessions, or were closed although theirs live. ***");
return figures.IsRight ? 0 : 1;
