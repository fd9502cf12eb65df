using Bench.Shared;

namespace Bench.Runner;

/// <summary>
/// All servers side by side, one of them under load at a time, in rounds: what changes on the machine meets them all. Each
/// round with processes of its own: two of the same program differ by more than one does from one moment to the next.
/// </summary>
internal sealed class Peers(Plan plan, Workshop workshop, IReadOnlyList<string> only)
{
    private readonly List<Measurement> _measurements = [];
    private readonly List<CommandsSent> _commands = [];
    private readonly List<string> _missing = [];
    private bool _isBroken;

    public async Task<Results> RunAsync()
    {
        if (!Tool.Exists("wrk"))
            throw new InvalidOperationException("wrk is missing: there is nothing to measure with.");

        await using var redis = Tool.Exists("redis-server") ? await RedisServer.StartAsync(workshop.Scratch) : null;
        await using var postgres = PostgresServer.Programs is null ? null : await PostgresServer.StartAsync();
        var places = new Places(redis, postgres);
        var variants = Variant
            .All.Where(variant => only.Count == 0 || only.Contains(variant.Name))
            .Where(variant => IsPossible(variant, places))
            .ToList();
        for (var round = 1; round <= plan.Rounds; round++)
            await RoundAsync(round, variants, places);

        return new Results(
            DateTime.UtcNow.ToString("yyyy-MM-dd"),
            await Machine.DescribeAsync(),
            plan,
            _measurements,
            _commands,
            _missing,
            !_isBroken
        );
    }

    private bool IsPossible(Variant variant, Places places)
    {
        var needs =
            variant.Keeps == Variant.Store.Redis && places.Redis is null ? "redis-server"
            : variant.Keeps == Variant.Store.Postgres && places.Postgres is null ? "postgresql"
            : variant.OnNode && !Tool.Exists("node") ? "node"
            : variant.OnNode && !Directory.Exists(workshop.NodeModules) ? "its npm packages (npm ci in bench/node)"
            : null;
        if (needs is null)
            return true;

        _missing.Add($"{variant.Name}: without {needs}");
        Console.Error.WriteLine($"\n*** MISSING: {variant.Name} is not measured, for want of {needs}. ***\n");
        return false;
    }

    private async Task RoundAsync(int round, IReadOnlyList<Variant> variants, Places places)
    {
        var servers = new List<Server>();
        try
        {
            // New sessions in each round: none is old enough for a renewal, which would be another thing to measure.
            var cookies = new Dictionary<Server, IReadOnlyList<string>>();
            foreach (var variant in variants)
            {
                servers.Add(await Server.StartAsync(variant, workshop, places));
                await Browser.CheckAsync(servers[^1]);
                cookies[servers[^1]] = await Browser.BeginSessionsAsync(servers[^1], plan.Sessions);
            }

            foreach (var endpoint in Plan.Endpoints)
            {
                // Forth and back, so that nobody always comes after the same one.
                foreach (var server in round % 2 == 1 ? servers : servers.AsEnumerable().Reverse())
                    await OneAsync(round, server, endpoint, cookies[server], places);
            }
        }
        finally
        {
            foreach (var server in servers)
                await server.DisposeAsync();
        }
    }

    private async Task OneAsync(int round, Server server, string endpoint, IReadOnlyList<string> cookies, Places places)
    {
        // Long enough that the code of the endpoint is compiled for good.
        Note(await Wrk.RunAsync(workshop, server, endpoint, cookies, plan.WarmUpSeconds), server, endpoint);
        if (round == 1 && server.Variant.Keeps is Variant.Store.Redis or Variant.Store.Postgres)
        {
            var sent =
                server.Variant.Keeps == Variant.Store.Redis
                    ? await CommandCount.PerRequestAsync(server, places.Redis!, endpoint, cookies)
                    : await CommandCount.PerRequestAsync(server, places.Postgres!, endpoint, cookies);
            _commands.Add(new CommandsSent(server.Variant.Name, endpoint, sent));
        }

        var measured = await MeasureAsync(round, server, endpoint, cookies, places.Redis);
        Note(measured.Load, server, endpoint);
        _measurements.Add(measured);
        Console.WriteLine(
            $"round {round}/{plan.Rounds} {server.Variant.Name} /{endpoint}: {measured.PerSecond:F0}/s, {measured.CpuMicrosecondsPerRequest:F1} us CPU"
        );
    }

    private async Task<Measurement> MeasureAsync(
        int round,
        Server server,
        string endpoint,
        IReadOnlyList<string> cookies,
        RedisServer? redis
    )
    {
        var usesRedis = server.Variant.Keeps == Variant.Store.Redis;
        var commands = usesRedis ? await redis!.CommandsRunAsync() : (long?)null;
        var allocated = await server.AllocatedAsync();
        var (cpu, redisCpu, wrkCpu) = (server.CpuSeconds, redis?.CpuSeconds ?? 0, Cpu.SecondsOfEnded());
        var load = await Wrk.RunAsync(workshop, server, endpoint, cookies, plan.Seconds);
        return new Measurement(
            server.Variant.Name,
            endpoint,
            round,
            load,
            server.CpuSeconds - cpu,
            (redis?.CpuSeconds ?? 0) - redisCpu,
            Cpu.SecondsOfEnded() - wrkCpu,
            await server.AllocatedAsync() - allocated,
            usesRedis ? await redis!.CommandsRunAsync() - commands : null
        );
    }

    private void Note(Load load, Server server, string endpoint)
    {
        if (load.IsValid)
            return;

        _isBroken = true;
        Console.Error.WriteLine($"\n*** INVALID: {server.Variant.Name} /{endpoint}: {load} ***\n");
    }
}
