using StackExchange.Redis;

namespace Session.Stores.Redis;

/// <summary>
/// WAIT: until replicas have a write. It asks for the writes of its own connection only, so on a connection that was opened
/// after the write it would count replicas that have never heard of it.
/// </summary>
internal sealed class ReplicaWait(RecordKeys keys, RedisStoreOptions options)
{
    private readonly ReplicaCount _keepingUp = new(options);

    /// <summary>What a write of this record is sent over at this moment. Null: no server can be reached.</summary>
    public Sender? SenderOf(IDatabase db, string id)
    {
        try
        {
            var server = ServerOf(db, id);
            return new Sender(server.EndPoint, server.GetCounters().Interactive.SocketCount);
        }
        catch (Exception error) when (error is RedisException or InvalidOperationException)
        {
            return null;
        }
    }

    private IServer ServerOf(IDatabase db, string id) =>
        db.Multiplexer.GetServer(keys.Record(id), flags: CommandFlags.DemandMaster);

    /// <summary>
    /// Right behind the write of this record, which went over <paramref name="sender"/>. True: enough replicas of the server that
    /// has carried it out have it.
    /// </summary>
    public async Task<bool> IsReplicated(IDatabase db, string id, Sender sender)
    {
        try
        {
            var server = ServerOf(db, id);
            if (!Equals(server.EndPoint, sender.Server))
                return false;
            var reached = await Reached(server).ConfigureAwait(false);
            return reached >= options.WaitForReplicas && SenderOf(db, id) == sender;
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
