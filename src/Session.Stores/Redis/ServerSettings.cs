using System.Globalization;
using StackExchange.Redis;

namespace Session.Stores.Redis;

/// <summary>What the settings of one server mean for sessions.</summary>
internal static class ServerSettings
{
    /// <summary>Adds sentences for the log.</summary>
    /// <exception cref="InvalidOperationException">A setting would lose logouts silently.</exception>
    public static async Task Check(
        IServer server,
        ConfigurationOptions settings,
        RedisStoreOptions options,
        List<string> notes
    )
    {
        var where = ConnectionTrouble.Name(server.EndPoint);
        var before = DateTimeOffset.UtcNow;
        if (await Info(server, options).ConfigureAwait(false) is not { } info)
        {
            notes.Add(
                $"Redis at {where} does not let its user ask with INFO: see to appendonly yes, maxmemory-policy noeviction and its replicas yourself."
            );
            return;
        }

        if (info.ContainsKey("garnet_version"))
            await AboutGarnet(server, settings, options, notes, where).ConfigureAwait(false);
        else
            await AboutRedis(server, options, notes, where, info).ConfigureAwait(false);
        AboutReplicas(info, options, notes, where);
        AboutItsClock(info, before, notes, where);
    }

    /// <summary>Redis says its time since 6.2.</summary>
    private static void AboutItsClock(
        Dictionary<string, string> info,
        DateTimeOffset before,
        List<string> notes,
        string where
    )
    {
        if (
            long.TryParse(
                info.GetValueOrDefault("server_time_usec"),
                NumberStyles.None,
                CultureInfo.InvariantCulture,
                out var time
            ) && Clocks.NoteOf($"Redis at {where}", DateTimeOffset.UnixEpoch.AddMicroseconds(time), before) is { } note
        )
            notes.Add(note);
    }

    private static async Task AboutRedis(
        IServer server,
        RedisStoreOptions options,
        List<string> notes,
        string where,
        Dictionary<string, string> info
    )
    {
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
        if (appends)
        {
            var sync = await Setting(server, "appendfsync", options).ConfigureAwait(false);
            if (sync is null)
                notes.Add(
                    $"The settings of Redis at {where} cannot be read: see to it that appendfsync is what you need."
                );
            else if (sync != "always")
                notes.Add(
                    $"Redis at {where} has appendfsync {sync}: when its process is killed or its machine fails, what it has acknowledged in the last second is undone, logouts among it. Set appendfsync always where that must not be."
                );
            return;
        }

        switch (await Setting(server, "save", options).ConfigureAwait(false))
        {
            // Where CONFIG is forbidden, INFO says that much.
            case null when info.GetValueOrDefault("aof_enabled") == "0":
                notes.Add(
                    $"Redis at {where} has appendonly off, and does not say whether it writes snapshots: a crash undoes the last minutes at least, logouts among them. Set appendonly yes."
                );
                break;
            case null:
                break;
            case "":
                notes.Add(
                    $"Redis at {where} keeps nothing on disk: a restart ends every session. Set appendonly yes to keep them."
                );
                break;
            default:
                notes.Add(
                    $"Redis at {where} writes snapshots only: a crash undoes the last minutes, logouts among them. Set appendonly yes."
                );
                break;
        }
    }

    /// <summary>Garnet evicts nothing, and has its settings on its command line.</summary>
    private static async Task AboutGarnet(
        IServer server,
        ConfigurationOptions settings,
        RedisStoreOptions options,
        List<string> notes,
        string where
    )
    {
        await CheckScripts(server, settings, options, where).ConfigureAwait(false);
        if (await Setting(server, "appendonly", options).ConfigureAwait(false) is not "yes")
            notes.Add(
                $"Garnet at {where} keeps nothing on disk: a restart ends every session. Start it with --aof --aof-commit-wait --recover."
            );
    }

    private static void AboutReplicas(
        Dictionary<string, string> info,
        RedisStoreOptions options,
        List<string> notes,
        string where
    )
    {
        var count = int.TryParse(
            info.GetValueOrDefault("connected_slaves"),
            NumberStyles.None,
            CultureInfo.InvariantCulture,
            out var found
        )
            ? found
            : 0;
        if (options.WaitForReplicas > count)
            notes.Add(
                $"WaitForReplicas is {options.WaitForReplicas} and Redis at {where} has {count} replicas: logouts and sign-ins take effect, but are not acknowledged (503) until there are more."
            );
        else if (options.WaitForReplicas == 0 && count > 0)
            notes.Add(
                $"Redis at {where} has replicas, and WaitForReplicas is 0: a failover can undo the logouts of its last moments. Set it to 1 to wait for one."
            );
        else if (count > options.WaitForReplicas)
            notes.Add(
                $"Redis at {where} has {count} replicas, and WaitForReplicas is {options.WaitForReplicas}: the others are given a moment. A failover to one of them that was slower than that can undo a logout. Set it to {count} to exclude that; logouts and sign-ins get 503 then while a replica is away."
            );
    }

    /// <summary>Null where INFO is not allowed.</summary>
    private static async Task<Dictionary<string, string>?> Info(IServer server, RedisStoreOptions options)
    {
        try
        {
            return Lines((string?)await Ask(server, options, "INFO").ConfigureAwait(false) ?? "");
        }
        catch (Exception error) when (error is RedisServerException or RedisCommandException)
        {
            return null;
        }
    }

    /// <summary>Four clients in one script each, at once: in Redis no command comes between two of a script.</summary>
    private static async Task CheckScripts(
        IServer server,
        ConfigurationOptions settings,
        RedisStoreOptions options,
        string where
    )
    {
        RedisKey key = options.Prefix + "probe";
        var torn = 0L;
        var configuration = settings.Clone();
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
        catch (Exception error) when (error is RedisServerException or RedisCommandException)
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
