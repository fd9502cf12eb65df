using System.Globalization;
using StackExchange.Redis;

namespace Session.Stores.Redis;

/// <summary>What the servers' settings mean for sessions: asked once, at start.</summary>
internal static class ServerProbe
{
    /// <summary>Sentences for the log.</summary>
    /// <exception cref="InvalidOperationException">A setting would lose logouts silently.</exception>
    public static async Task<IReadOnlyList<string>> RunAsync(
        IConnectionMultiplexer connection,
        RedisStoreOptions options,
        CancellationToken cancellationToken
    )
    {
        var notes = new List<string>();
        var primaries = connection.GetServers().Where(server => server.IsConnected && !server.IsReplica).ToArray();
        if (primaries.Length == 0)
        {
            notes.Add(
                "No Redis primary can be reached yet: requests that need a session get 503 until one is. Its settings were not checked."
            );
            return notes;
        }

        foreach (var server in primaries)
        {
            cancellationToken.ThrowIfCancellationRequested();
            await Check(server, connection, options, notes).ConfigureAwait(false);
        }

        return [.. notes.Distinct()];
    }

    private static async Task Check(
        IServer server,
        IConnectionMultiplexer connection,
        RedisStoreOptions options,
        List<string> notes
    )
    {
        var info = Lines((string?)await Ask(server, options, "INFO").ConfigureAwait(false) ?? "");
        var where = server.EndPoint.ToString();

        switch (
            await Setting(server, "maxmemory-policy", options).ConfigureAwait(false)
            ?? info.GetValueOrDefault("maxmemory_policy")
        )
        {
            case null:
                notes.Add(
                    $"The settings of Redis at {where} cannot be read: see to it that maxmemory-policy is noeviction."
                );
                break;
            case "noeviction":
                break;
            // All sessions have a time to live, so "volatile" policies take them as well.
            case var policy when info.GetValueOrDefault("maxmemory") is { } most && most != "0":
                throw new InvalidOperationException(
                    $"Redis at {where} evicts keys when its memory is full (maxmemory-policy {policy}): it would drop sessions, and the "
                        + "tombstones that keep a logout final. Set maxmemory-policy to noeviction, or give sessions a server of their own."
                );
            case var policy:
                notes.Add(
                    $"Redis at {where} has maxmemory-policy {policy}, and no maxmemory yet: once it has one, it would drop sessions. Set the policy to noeviction."
                );
                break;
        }

        var appends = info.GetValueOrDefault("aof_enabled") == "1";
        var saves = await Setting(server, "save", options).ConfigureAwait(false);
        if (!appends && saves is "")
            notes.Add(
                $"Redis at {where} keeps nothing on disk: a restart ends every session. Set appendonly yes to keep them."
            );
        else if (!appends && saves is not null)
            notes.Add(
                $"Redis at {where} writes snapshots only: a crash undoes the last minutes, logouts among them. Set appendonly yes."
            );

        if (options.WaitForReplicas > 0)
        {
            var replicas = int.Parse(info.GetValueOrDefault("connected_slaves") ?? "0", CultureInfo.InvariantCulture);
            if (replicas < options.WaitForReplicas)
                notes.Add(
                    $"WaitForReplicas is {options.WaitForReplicas} and Redis at {where} has {replicas} replicas: logouts and sign-ins take effect, but are not acknowledged (503) until there are more."
                );
        }
        else if (info.GetValueOrDefault("connected_slaves") is { } count && count != "0")
            notes.Add(
                $"Redis at {where} has replicas, and WaitForReplicas is 0: a failover can undo the logouts of its last moments. Set it to 1 to wait for one."
            );

        if (info.ContainsKey("garnet_version") || info.GetValueOrDefault("redis_version") is null)
            await CheckScripts(server, connection, options, where).ConfigureAwait(false);
    }

    /// <summary>Four clients in one script each, at once: in Redis no command comes between two of a script.</summary>
    private static async Task CheckScripts(
        IServer server,
        IConnectionMultiplexer connection,
        RedisStoreOptions options,
        string? where
    )
    {
        RedisKey key = options.KeyPrefix + "probe";
        var torn = 0L;
        var configuration = ConfigurationOptions.Parse(connection.Configuration);
        configuration.EndPoints.Clear();
        configuration.EndPoints.Add(server.EndPoint);
        var clients = await Task.WhenAll(
                Enumerable.Range(0, 4).Select(_ => ConnectionMultiplexer.ConnectAsync(configuration))
            )
            .ConfigureAwait(false);
        try
        {
            var answers = await Task.WhenAll(
                    clients.SelectMany(client =>
                        Enumerable
                            .Range(0, 50)
                            .Select(_ =>
                                client.GetDatabase(options.Database).ScriptEvaluateAsync(Scripts.Atomic, [key], [20])
                            )
                    )
                )
                .ConfigureAwait(false);
            torn = answers.Sum(answer => (long)answer);
        }
        finally
        {
            await clients[0].GetDatabase(options.Database).KeyDeleteAsync(key).ConfigureAwait(false);
            foreach (var client in clients)
                await client.DisposeAsync().ConfigureAwait(false);
        }

        if (torn > 0)
            throw new InvalidOperationException(
                $"The server at {where} interrupts scripts, so it would lose updates and logouts. Start Garnet with --lua --lua-transaction-mode."
            );
    }

    /// <summary>Null where CONFIG is not allowed, as on many managed servers.</summary>
    private static async Task<string?> Setting(IServer server, string name, RedisStoreOptions options)
    {
        try
        {
            var found = (RedisResult[]?)await Ask(server, options, "CONFIG", "GET", name).ConfigureAwait(false);
            return found is { Length: > 1 } ? (string?)found[1] : null;
        }
        catch (RedisServerException)
        {
            return null;
        }
    }

    /// <summary>As text: the driver keeps its own methods for connections that allow administration.</summary>
    private static Task<RedisResult> Ask(
        IServer server,
        RedisStoreOptions options,
        string command,
        params object[] rest
    ) => server.ExecuteAsync(command, rest).WaitAsync(options.OperationTimeout);

    private static Dictionary<string, string> Lines(string info)
    {
        var found = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var line in info.Split('\n', StringSplitOptions.TrimEntries))
            if (line.IndexOf(':', StringComparison.Ordinal) is var colon and > 0)
                found[line[..colon]] = line[(colon + 1)..];
        return found;
    }
}
