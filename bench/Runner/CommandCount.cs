using Bench.Shared;

namespace Bench.Runner;

/// <summary>
/// The commands that one server sends to Redis, by MONITOR: it tells who sent them, and what only runs inside a script.
/// </summary>
internal static class CommandCount
{
    /// <summary>The statements that reach PostgreSQL, by its own count. Each variant has a database to itself.</summary>
    public static async Task<double> PerRequestAsync(
        Server server,
        PostgresServer postgres,
        string endpoint,
        IReadOnlyList<string> cookies
    )
    {
        var count = await postgres.StatementsDuringAsync(
            server.Variant.Name,
            () => Browser.VisitAsync(server, endpoint, cookies)
        );
        return (double)count / cookies.Count;
    }

    public static async Task<double> PerRequestAsync(
        Server server,
        RedisServer redis,
        string endpoint,
        IReadOnlyList<string> cookies
    )
    {
        using var admin = await redis.ConnectAsync();
        using var monitor = await redis.ConnectAsync();
        var addresses = (await admin.AskAsync("CLIENT LIST"))
            .Split('\n')
            .Select(line => line.Split(' '))
            .Where(fields => fields.Contains("name=" + server.Variant.Name))
            .Select(fields => fields.Single(field => field.StartsWith("addr=", StringComparison.Ordinal))[5..])
            .ToHashSet();
        if (addresses.Count == 0)
            throw new InvalidOperationException($"Redis knows no connection of {server.Variant.Name}.");

        // What wrk has left unanswered is none of this.
        await Task.Delay(300);
        await monitor.AskAsync("MONITOR");
        await Browser.VisitAsync(server, endpoint, cookies);
        // Seen by the monitor behind all that came before.
        const string End = "end-of-the-count";
        await admin.AskAsync("GET " + End);

        var count = 0;
        while (true)
        {
            // +seconds [0 address] "command" "argument" …
            var line = await monitor.ReadLineAsync();
            if (line.Contains(End))
                return (double)count / cookies.Count;
            var from = line.IndexOf('[') + 1;
            var to = line.IndexOf(']');
            if (from == 0 || to < 0)
                continue;
            var address = line[from..to].Split(' ')[1];
            var command = line[(to + 3)..].Split('"')[0];
            if (addresses.Contains(address) && !RedisServer.IsChatter(command))
                count++;
        }
    }
}
