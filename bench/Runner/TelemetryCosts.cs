using Bench.Shared;

namespace Bench.Runner;

/// <summary>
/// One process of a server, that is listened to and then not, second by second: two processes of one program differ by more
/// than telemetry costs, and so does one process from one minute to the next.
/// </summary>
internal sealed class TelemetryCosts(Plan plan, Workshop workshop, int rounds)
{
    private const int Seconds = 1;

    public static IReadOnlyList<string> Modes { get; } = ["off", "metrics", "app", "sampled", "all"];

    /// <summary>What a mode is compared with; null: it is what others are compared with.</summary>
    public static string? Beside(string mode) =>
        mode switch
        {
            "off" or "app" => null,
            "sampled" => "app",
            _ => "off",
        };

    public static IReadOnlyList<string> Endpoints { get; } = ["read", "write"];

    public async Task<TelemetryFigures> RunAsync()
    {
        if (!Tool.Exists("wrk"))
            throw new InvalidOperationException("wrk is missing: there is nothing to measure with.");

        await using var redis = Tool.Exists("redis-server") ? await RedisServer.StartAsync(workshop.Scratch) : null;
        var places = new Places(redis, null);
        var figures = new List<TelemetryFigure>();
        foreach (var variant in Variant.All.Where(it => it.Name is "ours-memory" or "ours-redis"))
        {
            if (variant.Keeps == Variant.Store.Redis && redis is null)
            {
                Console.Error.WriteLine("\n*** MISSING: redis-server. Telemetry over Redis is not measured. ***\n");
                continue;
            }

            await using var server = await Server.StartAsync(variant, workshop, places);
            await Browser.CheckAsync(server);
            var cookies = await Browser.BeginSessionsAsync(server, plan.Sessions);
            foreach (var endpoint in Endpoints)
            {
                foreach (var mode in Modes)
                    await OneAsync(server, endpoint, mode, 0, cookies, plan.WarmUpSeconds);
                for (var round = 1; round <= rounds; round++)
                {
                    // Forth and back, so that nobody always comes after the same one.
                    foreach (var mode in round % 2 == 1 ? Modes : Modes.Reverse())
                        figures.Add(await OneAsync(server, endpoint, mode, round, cookies, Seconds));
                }
            }
        }

        return new TelemetryFigures(
            DateTime.UtcNow.ToString("yyyy-MM-dd"),
            [.. await Machine.DescribeAsync()],
            rounds,
            figures
        );
    }

    private async Task<TelemetryFigure> OneAsync(
        Server server,
        string endpoint,
        string mode,
        int round,
        IReadOnlyList<string> cookies,
        int seconds
    )
    {
        await server.Client.GetStringAsync("/listening/" + mode);
        var (allocated, cpu) = (await server.AllocatedAsync(), server.CpuSeconds);
        var load = await Wrk.RunAsync(workshop, server, endpoint, cookies, seconds);
        var (spent, bytes) = (server.CpuSeconds - cpu, await server.AllocatedAsync() - allocated);
        if (!load.IsValid)
            throw new InvalidOperationException($"{server.Variant.Name} /{endpoint}: {load}");

        return new TelemetryFigure(
            server.Variant.Name,
            endpoint,
            mode,
            round,
            load.Requests * 1e6 / load.Microseconds,
            spent * 1e6 / load.Requests,
            (double)bytes! / load.Requests
        );
    }
}
