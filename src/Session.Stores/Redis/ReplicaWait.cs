using Session.Engine;
using StackExchange.Redis;

namespace Session.Stores.Redis;

/// <summary>
/// WAIT: until replicas have a write. It asks for the writes of its own connection only, so on a connection that was opened
/// after the write it would count replicas that have never heard of it.
/// </summary>
internal sealed class ReplicaWait(RedisLink link, RecordKeys keys, RedisStoreOptions options)
{
    private readonly ReplicaCount _keepingUp = new(options);

    /// <summary>The way of a write that replicas have to have; null: this one need not outlast a failover.</summary>
    public DirectLine? LineTo(Route route, StoredRecord record) =>
        record.IsDurable ? new DirectLine(link, route, keys.Record(record.Id)) : null;

    /// <summary>
    /// Right behind a write that went over <paramref name="line"/>. True: enough replicas of the server that has carried it out
    /// have it.
    /// </summary>
    public async Task<bool> IsReplicated(DirectLine line)
    {
        if (line.Sender is not { } sender)
            return false;
        try
        {
            var reached = await Reached(sender.Server).ConfigureAwait(false);
            return reached >= options.WaitForReplicas && !line.HasMoved;
        }
        catch (Exception error) when (error is RedisException or TimeoutException or InvalidOperationException)
        {
            // The record is written all the same.
            return false;
        }
    }

    /// <summary>
    /// A failover may promote any replica, so all that keep up are given a moment, beyond those that must have the write.
    /// </summary>
    private async Task<long> Reached(IServer server)
    {
        var all = await _keepingUp.Of(server).ConfigureAwait(false);
        if (all > options.WaitForReplicas)
        {
            var reached = await Wait(server, all, options.WaitTimeout / 10).ConfigureAwait(false);
            if (reached < all)
                _keepingUp.Note(server, (int)reached);
            if (reached >= options.WaitForReplicas)
                return reached;
        }

        return await Wait(server, options.WaitForReplicas, options.WaitTimeout).ConfigureAwait(false);
    }

    private async Task<long> Wait(IServer server, int count, TimeSpan limit)
    {
        // No milliseconds would be no limit.
        var wait = server.ExecuteAsync("WAIT", count, Math.Max(1, (long)limit.TotalMilliseconds));
        RedisLink.ObserveFailure(wait);
        return (long)await wait.WaitAsync(limit + options.OperationTimeout).ConfigureAwait(false);
    }
}
