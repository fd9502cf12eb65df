using StackExchange.Redis;

namespace Session.Stores.Redis;

/// <summary>What the servers' settings mean for sessions: asked once, at start.</summary>
internal static class ServerProbe
{
    /// <summary>Sentences for the log.</summary>
    /// <exception cref="InvalidOperationException">A setting would lose logouts silently.</exception>
    public static async Task<IReadOnlyList<string>> RunAsync(
        RedisLink link,
        RedisStoreOptions options,
        CancellationToken cancellationToken
    )
    {
        var notes = new List<string>();
        try
        {
            await Ask(link, options, notes, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception error) when (error is RedisException or TimeoutException)
        {
            notes.Add(
                $"Redis went away while its settings were asked for ({error.Message}): requests that need a session get 503 until it is back."
            );
        }

        return [.. notes.Distinct()];
    }

    private static async Task Ask(
        RedisLink link,
        RedisStoreOptions options,
        List<string> notes,
        CancellationToken cancellationToken
    )
    {
        if (await link.AskSentinels(cancellationToken).ConfigureAwait(false) is { } verdict)
        {
            if (AboutSentinels(verdict) is { } sentence)
                notes.Add(sentence);
            if (verdict.Trouble is { } trouble && ConnectionTrouble.IsFinalCause(trouble))
            {
                if (verdict.Primary is null)
                    throw new InvalidOperationException(notes[^1], trouble);
                notes.Add(
                    $"One of the Sentinels that the connection string names refuses this application, and is counted as one that is away: {trouble.Message}"
                );
            }
        }

        if (link.Route is not { } route)
            return;
        if (!await IsReached(link, route.Connection, options, notes).ConfigureAwait(false))
            return;
        if (route.Waiting is { } waiting && !waiting.GetServers().Any(server => server.IsConnected))
        {
            var cause = await ConnectionTrouble.Find(link.Settings).ConfigureAwait(false);
            if (options.Connect is not null)
                throw new InvalidOperationException(
                    $"WaitForReplicas needs a connection of its own, and the connection string of yours does not suffice for it ({cause?.Sentence}). Set RedisStoreOptions.ConfigurationOptions: it holds callbacks and token providers, too."
                );
        }

        var where = ConnectionTrouble.Name(route.Connection.GetEndPoints(configuredOnly: true)[0]);
        if (await new WorkProbe(link, options).Run(where, cancellationToken).ConfigureAwait(false) is { } missing)
            notes.Add(missing);
        foreach (var server in route.Connection.GetServers().Where(server => server.IsConnected && !server.IsReplica))
        {
            cancellationToken.ThrowIfCancellationRequested();
            await ServerSettings.Check(server, link.Settings, options, notes).ConfigureAwait(false);
        }
    }

    /// <summary>Whether there is a primary; if not, a note says why, or an exception where waiting helps nobody.</summary>
    private static async Task<bool> IsReached(
        RedisLink link,
        IConnectionMultiplexer connection,
        RedisStoreOptions options,
        List<string> notes
    )
    {
        var reached = connection.GetServers().Where(server => server.IsConnected).ToArray();
        if (reached.Any(server => !server.IsReplica))
            return true;
        if (reached.Length > 0)
        {
            notes.Add(
                $"Redis at {ConnectionTrouble.Name(reached[0].EndPoint)} is a replica, and no primary can be reached: sessions need the primary. Name it, or the Sentinels with serviceName=, in the connection string. Until then requests that need a session get 503."
            );
            return false;
        }

        if (options.Connect is not null)
        {
            notes.Add(
                "No Redis primary can be reached yet through the application's connection: requests that need a session get 503 until one is. Its settings were not checked."
            );
            return false;
        }

        var settings = link.Settings.Clone();
        settings.EndPoints.Clear();
        foreach (var place in connection.GetEndPoints(configuredOnly: true))
            settings.EndPoints.Add(place);
        settings.ServiceName = null;
        if (await ConnectionTrouble.Find(settings).ConfigureAwait(false) is not { } trouble)
            return connection.IsConnected;
        if (trouble.IsFinal)
            throw new InvalidOperationException(trouble.Sentence);
        notes.Add(trouble.Sentence);
        return false;
    }

    private static string? AboutSentinels(SentinelVerdict verdict) =>
        verdict switch
        {
            { Primary: null } =>
                $"{verdict.Answered} of {verdict.All} Sentinels can be reached, and most of them have to name one primary: requests that need a session get 503 until they do. {verdict.Trouble?.Message}".TrimEnd(),
            _ when verdict.Known > verdict.All =>
                $"The connection string names {verdict.All} of {verdict.Known} Sentinels: name them all, for most of those that it names have to be reached.",
            _ => null,
        };
}
