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
    /// Default 0: none, and a failover can undo the logouts of its last moments. With 1 or more, a write that fewer replicas
    /// have in time is not acknowledged (503), though it can be loaded.
    /// </summary>
    public int WaitForReplicas { get; set; }

    /// <summary>How long such a write waits for its replicas. Default 1 second.</summary>
    public TimeSpan WaitTimeout { get; set; } = TimeSpan.FromSeconds(1);

    /// <summary>How long after its time a record stays when no sweeper ever comes for it. Default 1 day.</summary>
    public TimeSpan JanitorMargin { get; set; } = TimeSpan.FromDays(1);

    /// <summary>A copy, which the application cannot change any more.</summary>
    /// <exception cref="ArgumentException">A setting is out of range.</exception>
    internal RedisStoreOptions Checked()
    {
        Require(
            Connect is not null || !string.IsNullOrWhiteSpace(Configuration),
            "RedisStoreOptions.Configuration must be a connection string, such as localhost:6379."
        );
        Require(KeyPrefix is { Length: <= 100 }, "RedisStoreOptions.KeyPrefix must have at most 100 characters.");
        Require(
            OperationTimeout > TimeSpan.Zero && OperationTimeout <= TimeSpan.FromMinutes(10),
            "RedisStoreOptions.OperationTimeout must be more than zero and at most ten minutes."
        );
        Require(WaitForReplicas >= 0, "RedisStoreOptions.WaitForReplicas must not be negative.");
        Require(
            WaitTimeout > TimeSpan.Zero && WaitTimeout <= TimeSpan.FromMinutes(10),
            "RedisStoreOptions.WaitTimeout must be more than zero and at most ten minutes."
        );
        Require(
            JanitorMargin >= TimeSpan.FromMinutes(10) && JanitorMargin <= Records.MaxTimeToLive,
            "RedisStoreOptions.JanitorMargin must be between ten minutes and ten years."
        );
        return (RedisStoreOptions)MemberwiseClone();

        static void Require(bool isRight, string sentence)
        {
            if (!isRight)
                throw new ArgumentException(sentence, "options");
        }
    }
}
