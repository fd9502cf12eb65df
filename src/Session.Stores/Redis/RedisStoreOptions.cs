using StackExchange.Redis;

namespace Session.Stores.Redis;

/// <summary>Settings of the Redis store.</summary>
public sealed class RedisStoreOptions
{
    /// <summary>A connection string of StackExchange.Redis: <c>localhost:6379</c>, the nodes of a cluster, or Sentinels with <c>serviceName=…</c>. Not used when <see cref="Connect"/> is set.</summary>
    public string Configuration { get; set; } = "localhost:6379";

    /// <summary>
    /// Hands over the application's own connection, which it keeps and closes. Default null: one is made from
    /// <see cref="Configuration"/>. Give yours <c>SocketManager = SocketManager.ThreadPool</c> if nothing blocks on it: a
    /// request takes less CPU then, which the driver's own threads cost.
    /// </summary>
    public Func<Task<IConnectionMultiplexer>>? Connect { get; set; }

    /// <summary>The start of every key. Default <c>session:</c>. Two kinds of sessions, or two applications, need two prefixes.</summary>
    public string KeyPrefix { get; set; } = "session:";

    /// <summary>The database. Default -1: the one of the connection (0).</summary>
    public int Database { get; set; } = -1;

    /// <summary>How long an operation waits for the server. Default 2 seconds; then the answer is 503.</summary>
    public TimeSpan OperationTimeout { get; set; } = TimeSpan.FromSeconds(2);

    /// <summary>
    /// How many replicas must have a write that ends a session or changes its token before it is acknowledged (WAIT).
    /// Default 0: none, and a failover can undo the logouts of its last moments. With 1 or more, fewer replicas in time
    /// make the operation a 503.
    /// </summary>
    public int WaitForReplicas { get; set; }

    /// <summary>How long such a write waits for its replicas. Default 1 second.</summary>
    public TimeSpan WaitTimeout { get; set; } = TimeSpan.FromSeconds(1);

    /// <summary>How long after its time a record stays when no sweeper ever comes for it. Default 1 day.</summary>
    public TimeSpan JanitorMargin { get; set; } = TimeSpan.FromDays(1);
}
