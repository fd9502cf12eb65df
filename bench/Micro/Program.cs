// Micro [--quick] [--filter GLOB]   measures the parts of a request one by one
using System.Globalization;
using Bench.Micro;
using Bench.Shared;

CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
Leftovers.Watch();
var quick = args.Contains("--quick");
var at = Array.IndexOf(args, "--filter");
var filter = at >= 0 ? args[at + 1] : "*";
using var workshop = new Workshop(quick);
var figures = await Measuring.RunAsync(workshop, quick, filter);

// Some of it is no result.
if (filter == "*")
    Text.Write(figures, workshop);
foreach (var figure in figures.Rows)
    Console.WriteLine($"{figure.Nanoseconds, 14:N1} ns {figure.Bytes, 8:N0} B  {figure.What}   [{figure.Group}]");
return figures.IsComplete ? 0 : 1;
