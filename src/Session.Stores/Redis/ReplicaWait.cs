using System.Net;
using StackExchange.Redis;

namespace Session.Stores.Redis;

/// <summary>
/// WAIT: until replicas have a write. It asks for the writes of its own connection only, so on a connection that was opened
/// after the write it would count replicas that have never heard of it.
/// </summary>
internal sealed class ReplicaWait(RedisLink link, RecordKeys keys, RedisStoreOptions options)
{
    /// <summary>How many connections there have been to each server. Asked before the write.</summary>
    public static Dictionary<EndPoint, long> CountConnections(IDatabase db) =>
        db.Multiplexer.GetServers().ToDictionary(server => server.EndPoint, ConnectionsTo);

    private static long ConnectionsTo(IServer server) => server.GetCounters().Interactive.SocketCount;

    /// <summary>True: enough replicas have the record that was written to this database since <paramref name="before"/>.</summary>
    public async Task<bool> IsReplicated(IDatabase db, string id, Dictionary<EndPoint, long> before)
    {
        try
        {
            var primary = await link.WithinDeadline(
                    db.IdentifyEndpointAsync(keys.Record(id), CommandFlags.DemandMaster)
                )
                .ConfigureAwait(false);
            if (primary is null)
                return false;

            var server = db.Multiplexer.GetServer(primary);
            var wait = server.ExecuteAsync(
                "WAIT",
                options.WaitForReplicas,
                (long)options.WaitTimeout.TotalMilliseconds
            );
            RedisLink.ObserveFailure(wait);
            var reached = (long)
                await wait.WaitAsync(options.WaitTimeout + options.OperationTimeout).ConfigureAwait(false);
            return reached >= options.WaitForReplicas
                && before.TryGetValue(primary, out var connections)
                && connections == ConnectionsTo(server);
        }
        catch (Exception error) when (error is RedisException or TimeoutException)
        {
            // The record is written all the same.
            return false;
        }
    }
}
