using StackExchange.Redis;

namespace Session.Stores.Redis;

/// <summary>
/// Which sessions have ended, said from node to node: one channel under the store's prefix. Messages are lost while a connection
/// is down, and whoever listens is told so when it is up again.
/// </summary>
internal sealed class Signals(RedisLink link, string prefix)
{
    private const int MostIds = 500;

    private readonly Lock _gate = new();
    private readonly List<SignalListener> _listeners = [];

    // An answer said so: the user may not, or the service has none.
    private volatile bool _isRefused;

    /// <summary>Every node of a Cluster hands it on to all others, whatever slots move.</summary>
    public RedisChannel Plain { get; } = RedisChannel.Literal(prefix + "ended");

    /// <summary>In a Cluster only the nodes of its shard have to do with it.</summary>
    public RedisChannel Sharded { get; } = RedisChannel.Sharded(prefix + "ended");

    public RedisLink Link => link;

    public async ValueTask PublishAsync(IReadOnlyList<string> ids, CancellationToken cancellationToken)
    {
        var route = await link.Ready(cancellationToken).ConfigureAwait(false);
        foreach (var some in ids.Chunk(MostIds))
        {
            RedisValue message = string.Join(' ', some);
            // Where nobody hears it in the shard, somebody may on the plain channel: an older version, or another user.
            if (await PublishShardedAsync(route.Connection, message).ConfigureAwait(false) == 0)
                await link.WithinDeadline(route.Connection.GetSubscriber().PublishAsync(Plain, message))
                    .ConfigureAwait(false);
        }
    }

    private async ValueTask<long> PublishShardedAsync(IConnectionMultiplexer connection, RedisValue message)
    {
        if (!IsSharded(connection))
            return 0;

        try
        {
            return await link.WithinDeadline(connection.GetSubscriber().PublishAsync(Sharded, message))
                .ConfigureAwait(false);
        }
        catch (Exception error) when (Refusal.Is(error))
        {
            Refused();
            return 0;
        }
    }

    public async ValueTask<IAsyncDisposable> SubscribeAsync(Action<string?> heard, CancellationToken cancellationToken)
    {
        var listener = new SignalListener(this, heard);
        await listener.MoveAsync(cancellationToken).ConfigureAwait(false);
        lock (_gate)
            _listeners.Add(listener);
        return listener;
    }

    public void Forget(SignalListener listener)
    {
        lock (_gate)
            _listeners.Remove(listener);
    }

    /// <summary>
    /// Behind Sentinels another primary is another connection, and in a Cluster the channel's shard may have another server:
    /// whoever listens moves there.
    /// </summary>
    public async ValueTask FollowAsync()
    {
        SignalListener[] all;
        lock (_gate)
            all = [.. _listeners];
        foreach (var one in all)
            try
            {
                if (!ReferenceEquals(one.Connection, link.Route?.Connection))
                    await one.MoveAsync(CancellationToken.None).ConfigureAwait(false);
                else
                    await one.StayAsync().ConfigureAwait(false);
            }
            catch (Exception error)
                when (error
                        is RedisException
                            or RedisCommandException
                            or TimeoutException
                            or OperationCanceledException
                            or ObjectDisposedException
                )
            {
                // The look at the store finds what nobody hears, and must not fail for that. The next one tries it again.
            }
    }

    /// <summary>Whether there is a Cluster, all of whose nodes have sharded channels (Redis 7), and nobody has refused them.</summary>
    public bool IsSharded(IConnectionMultiplexer connection)
    {
        if (_isRefused || !link.MayBeCluster)
            return false;

        var nodes = connection
            .GetServers()
            .Where(server => server.IsConnected && server.ServerType == ServerType.Cluster)
            .ToArray();
        return nodes.Length > 0 && nodes.All(node => node.Features.ShardedPubSub);
    }

    /// <summary>From now on this node does with the plain channel.</summary>
    public void Refused() => _isRefused = true;
}
