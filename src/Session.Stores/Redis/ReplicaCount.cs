using System.Collections.Concurrent;
using System.Net;
using StackExchange.Redis;

namespace Session.Stores.Redis;

/// <summary>How many replicas of a server keep up with it, as it was a moment ago.</summary>
internal sealed class ReplicaCount(RedisStoreOptions options)
{
    // One that hangs is online until the server has given it up: asked for seldom, it holds up one write at a time.
    private static readonly TimeSpan GoodFor = TimeSpan.FromSeconds(1);

    private readonly ConcurrentDictionary<EndPoint, (int Count, long Until)> _known = new();

    /// <summary>Those that are online. 0 where the server does not say so.</summary>
    public async ValueTask<int> Of(IServer server)
    {
        if (_known.TryGetValue(server.EndPoint, out var known) && Environment.TickCount64 < known.Until)
            return known.Count;

        try
        {
            var asking = server.ExecuteAsync("INFO", "replication");
            RedisLink.ObserveFailure(asking);
            var info = (string?)await asking.WaitAsync(options.OperationTimeout).ConfigureAwait(false) ?? "";
            var count = info.Split('\n').Count(IsOnline);
            Note(server, count);
            return count;
        }
        catch (RedisServerException)
        {
            // The user may not ask: it is not asked for again.
            _known[server.EndPoint] = (0, long.MaxValue);
            return 0;
        }
    }

    private static bool IsOnline(string line) =>
        line.StartsWith("slave", StringComparison.Ordinal) && line.Contains("state=online", StringComparison.Ordinal);

    /// <summary>So many have kept up; it is looked at again in a second.</summary>
    public void Note(IServer server, int count) =>
        _known[server.EndPoint] = (count, Environment.TickCount64 + (long)GoodFor.TotalMilliseconds);
}
