namespace Session.Stores.Redis;

/// <summary>A write that must outlast a failover reached fewer replicas in time than <see cref="RedisStoreOptions.WaitForReplicas"/> asks for.</summary>
public sealed class RedisReplicationException : Exception
{
    internal RedisReplicationException(long reached, int wanted)
        : base(
            $"The write reached {reached} of {wanted} replicas in time, so it is not acknowledged. Look after the replicas, or lower WaitForReplicas."
        ) { }
}
