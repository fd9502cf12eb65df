// Growth [--quick]     how the cost of a session grows: with their number, their size, the clients at once
// Growth --pages [--quick]   the dashboard over a million sessions alone; the rest stays as it was
// Growth --hot STORE   one session that many update at once, on the screen alone
using System.Globalization;
using Bench.Growth;
using Bench.Shared;

CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
Leftovers.Watch();
var quick = args.Contains("--quick");
var scale = quick ? Scale.Quick : Scale.Full;
if (args is ["--hot", var store])
{
    await new Measuring(scale).HotAsync(store);
    return 0;
}
using var workshop = new Workshop(quick);
var file = Path.Combine(workshop.Fragments, "growth.json");
if (args.Contains("--pages"))
    JsonFile.Write(file, JsonFile.Read<GrowthFigures>(file) with { Pages = await new Measuring(scale).PagesAsync() });
else if (!args.Contains("--render"))
    JsonFile.Write(file, await new Measuring(scale).RunAsync());
var figures = JsonFile.Read<GrowthFigures>(file);
Report.Write(figures, workshop);
var isRight = figures.Hot.All(hot => hot.IsAllThere) && figures.Missing.Count == 0;
if (!isRight)
    Console.Error.WriteLine("*** Updates were lost, or a store was not measured. ***");
return isRight ? 0 : 1;
