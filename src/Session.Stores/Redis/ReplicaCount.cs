using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using StackExchange.Redis;

namespace Session.Stores.Redis;

/// <summary>How many replicas of a server keep up with it, as it was a moment ago.</summary>
internal sealed class ReplicaCount(RedisStoreOptions options)
{
    private const string Connected = "connected_slaves:";

    // One that hangs is online until the server has given it up: asked for seldom, it holds up one write at a time. And one
    // that is back is seen so soon.
    private static readonly TimeSpan GoodFor = TimeSpan.FromSeconds(1);

    // They are sent the whole data first: WAIT does not count them before they have it.
    private static readonly string[] CatchingUp =
    [
        "state=wait_bgsave",
        "state=send_bulk",
        "state=bg_transfer",
        "state=rdb_transmitted",
    ];

    private readonly ConcurrentDictionary<EndPoint, (int? Count, long Until)> _known = new();

    /// <summary>Those that are online. Null: the server does not say so.</summary>
    public async ValueTask<int?> Of(IServer server)
    {
        if (_known.TryGetValue(server.EndPoint, out var known) && Environment.TickCount64 < known.Until)
            return known.Count;

        try
        {
            var asking = server.ExecuteAsync("INFO", "replication");
            RedisLink.ObserveFailure(asking);
            var info = (string?)await asking.WaitAsync(options.OperationTimeout).ConfigureAwait(false) ?? "";
            var count = CountIn(info);
            Note(server, count);
            return count;
        }
        catch (Exception error) when (Refusal.Is(error))
        {
            // It is not asked for again.
            _known[server.EndPoint] = (null, long.MaxValue);
            return null;
        }
        catch (RedisServerException)
        {
            Note(server, null);
            return null;
        }
    }

    private static int? CountIn(string info)
    {
        var lines = info.Split('\n', StringSplitOptions.TrimEntries);
        var connected = lines.FirstOrDefault(line => line.StartsWith(Connected, StringComparison.Ordinal));
        return int.TryParse(
            connected?[Connected.Length..],
            NumberStyles.None,
            CultureInfo.InvariantCulture,
            out var all
        )
            ? all - lines.Count(IsCatchingUp)
            : null;
    }

    private static bool IsCatchingUp(string line) =>
        line.StartsWith("slave", StringComparison.Ordinal)
        && CatchingUp.Any(state => line.Contains(state, StringComparison.Ordinal));

    /// <summary>So many have kept up; it is looked at again in a second.</summary>
    public void Note(IServer server, int? count) =>
        _known[server.EndPoint] = (count, Environment.TickCount64 + (long)GoodFor.TotalMilliseconds);
}
