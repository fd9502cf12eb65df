using System.Diagnostics;
using System.Runtime.CompilerServices;
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

    // By the server as one connection knows it.
    private readonly ConditionalWeakTable<IServer, ReplicaRounds> _rounds = new();

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

        var rounds = _rounds.GetValue(sender.Server, server => new ReplicaRounds(server, _keepingUp, options));
        var since = Stopwatch.GetTimestamp();
        try
        {
            while (true)
            {
                var reached = await rounds.Ask().ConfigureAwait(false);
                if (reached >= options.WaitForReplicas)
                    return !line.HasMoved;
                if (reached is null || Stopwatch.GetElapsedTime(since) >= options.WaitTimeout)
                    return false;
            }
        }
        catch (Exception error)
            when (error is RedisException or RedisCommandException or TimeoutException or InvalidOperationException)
        {
            // The record is written all the same.
            return false;
        }
    }
}
