using StackExchange.Redis;

namespace Session.Stores.Redis;

/// <summary>
/// Which server of a Cluster has a key, by the word of most primaries. One that was stopped for a while and goes on answers
/// for its slots until it hears of its successor; and the driver may not have heard of that either.
/// </summary>
internal sealed class ClusterVote
{
    private readonly IConnectionMultiplexer _connection;
    private readonly TimeSpan _timeout;
    private readonly Rounds<ClusterVerdict?> _rounds;

    public ClusterVote(IConnectionMultiplexer connection, TimeSpan timeout)
    {
        _connection = connection;
        _timeout = timeout;
        _rounds = new Rounds<ClusterVerdict?>(Round);
    }

    /// <summary>Asks now. Null: this is no Cluster.</summary>
    public Task<ClusterVerdict?> Ask() => _rounds.Ask();

    private async Task<ClusterVerdict?> Round()
    {
        var servers = _connection.GetServers().Where(server => server.ServerType == ServerType.Cluster).ToArray();
        if (servers.Length == 0)
            return null;

        var words = new List<ClusterWord>();
        // The replicas, too: one of them may be a primary by now.
        await Poll.HearAsync(
                servers.Select(AskOne),
                _timeout,
                answer =>
                {
                    if (answer.GetAwaiter().GetResult() is { } word)
                        words.Add(word);
                    return new ClusterVerdict(words).HasMajority;
                }
            )
            .ConfigureAwait(false);
        return new ClusterVerdict(words);
    }

    /// <summary>Null: it cannot be asked.</summary>
    private static async Task<ClusterWord?> AskOne(IServer server)
    {
        try
        {
            // As text: the driver keeps its own method for connections that allow administration.
            var text = (string?)await server.ExecuteAsync("CLUSTER", "NODES").ConfigureAwait(false);
            return text is null ? null : ClusterWord.Parse(server.EndPoint, text);
        }
        catch (Exception error) when (error is RedisException or TimeoutException)
        {
            return null;
        }
    }
}
