using Bench.Shared;

namespace Bench.Growth;

/// <summary>The course of the run: one store at a time, so that no two take memory together.</summary>
internal sealed class Measuring(Scale scale)
{
    private readonly List<OperationFigure> _operations = [];
    private readonly List<FootprintFigure> _footprints = [];
    private readonly List<SweepFigure> _sweeps = [];
    private readonly List<HotFigure> _hot = [];
    private readonly List<PageFigure> _pages = [];
    private readonly List<string> _missing = [];

    public async Task<GrowthFigures> RunAsync()
    {
        foreach (var store in Stores())
        {
            await ByCountAsync(store);
            await BySizeAsync(store);
            await ByClientsAsync(store);
            await HotAsync(store);
            await PagesAsync(store);
        }
        return new GrowthFigures(await Machine.SayAsync(), _operations, _footprints, _sweeps, _hot, _pages, _missing);
    }

    /// <summary>The dashboard alone.</summary>
    public async Task<IReadOnlyList<PageFigure>> PagesAsync()
    {
        foreach (var store in Stores())
            await PagesAsync(store);
        return _pages;
    }

    private IEnumerable<string> Stores()
    {
        foreach (var store in Place.All)
            if (store == "redis" && !Tool.Exists("redis-server"))
            {
                _missing.Add("Redis: without redis-server");
                Console.Error.WriteLine("\n*** MISSING: redis-server. Redis is not measured. ***\n");
            }
            else
            {
                yield return store;
            }
    }

    /// <summary>Many clients on one session alone.</summary>
    public async Task HotAsync(string store)
    {
        _hot.Add(await HotSession.MeasureAsync(store, 1, scale.Time));
        if (store != "memory")
            _hot.Add(await HotSession.MeasureAsync(store, 4, scale.Time));
    }

    /// <summary>The dashboard over the most sessions.</summary>
    private async Task PagesAsync(string store)
    {
        await using var town = await Town.NewAsync(store, Scale.SmallData, signedIn: true);
        await town.GrowToAsync(scale.Counts[^1]);
        _pages.AddRange(await DashboardReading.MeasureAsync(town, scale.Pages));
    }

    private async Task ByCountAsync(string store)
    {
        await using var town = await Town.NewAsync(store, Scale.SmallData);
        foreach (var count in scale.Counts)
        {
            _footprints.Add(await town.GrowToAsync(count));
            _operations.Add(await town.MeasureAsync(Varied.Sessions, "read", 1, scale.Time));
            _operations.Add(await town.MeasureAsync(Varied.Sessions, "write", 1, scale.Time));
            _sweeps.Add(await town.SweepAsync(scale.Overdue));
        }
    }

    private async Task BySizeAsync(string store)
    {
        foreach (var size in scale.Sizes)
        {
            await using var town = await Town.NewAsync(store, size);
            _footprints.Add(await town.GrowToAsync(scale.SessionsOfASize));
            _operations.Add(await town.MeasureAsync(Varied.Size, "read", 1, scale.Time));
            _operations.Add(await town.MeasureAsync(Varied.Size, "write", 1, scale.Time));
        }
        await using var signedIn = await Town.NewAsync(store, Scale.SmallData, signedIn: true);
        _footprints.Add(await signedIn.GrowToAsync(scale.SessionsForClients));
    }

    private async Task ByClientsAsync(string store)
    {
        await using var town = await Town.NewAsync(store, Scale.SmallData);
        await town.GrowToAsync(scale.SessionsForClients);
        foreach (var clients in scale.Clients)
        foreach (var operation in new[] { "read", "write" })
            _operations.Add(await town.MeasureAsync(Varied.Clients, operation, clients, scale.Time));
        // These last: the clock goes on, the store grows.
        _operations.Add(await town.MeasureAsync(Varied.Clients, "read and touch", Scale.ManyClients, scale.Time));
        _operations.Add(await town.MeasureAsync(Varied.Clients, "begin", Scale.ManyClients, scale.Time));
    }
}
