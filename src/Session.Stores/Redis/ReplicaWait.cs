using StackExchange.Redis;

namespace Session.Stores.Redis;

/// <summary>
/// WAIT: until replicas have a write. It asks for the writes of its own connection only, so on a connection that was opened
/// after the write it would count replicas that have never heard of it.
/// </summary>
internal sealed class ReplicaWait(RecordKeys keys, RedisStoreOptions options)
{
    /// <summary>How often there has been a connection to each server. Asked before the write.</summary>
    public static Dictionary<IServer, long> CountConnections(IDatabase db) =>
        db.Multiplexer.GetServers().ToDictionary(server => server, ConnectionsTo);

    private static long ConnectionsTo(IServer server) => server.GetCounters().Interactive.SocketCount;

    /// <summary>
    /// Right behind the write of this record. True: enough replicas have it, and it went over the connection that was asked
    /// about since <paramref name="before"/>.
    /// </summary>
    public async Task<bool> IsReplicated(IDatabase db, string id, Dictionary<IServer, long> before)
    {
        try
        {
            // Where the driver sends this key now: where it sent the write, or was redirected to.
            var server = db.Multiplexer.GetServer(keys.Record(id), flags: CommandFlags.DemandMaster);
            var wait = server.ExecuteAsync(
                "WAIT",
                options.WaitForReplicas,
                (long)options.WaitTimeout.TotalMilliseconds
            );
            RedisLink.ObserveFailure(wait);
            var reached = (long)
                await wait.WaitAsync(options.WaitTimeout + options.OperationTimeout).ConfigureAwait(false);
            return reached >= options.WaitForReplicas
                && before.Any(one => Equals(one.Key.EndPoint, server.EndPoint) && one.Value == ConnectionsTo(server));
        }
        catch (Exception error) when (error is RedisException or TimeoutException)
        {
            // The record is written all the same.
            return false;
        }
    }
}
