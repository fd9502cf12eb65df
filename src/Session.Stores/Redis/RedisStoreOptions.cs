using StackExchange.Redis;

namespace Session.Stores.Redis;

/// <summary>Settings of the Redis store.</summary>
public sealed class RedisStoreOptions
{
    /// <summary>A connection string of StackExchange.Redis: <c>localhost:6379</c>, the nodes of a cluster, or all Sentinels with <c>serviceName=…</c>. Not used when <see cref="ConfigurationOptions"/> or <see cref="Connect"/> is set.</summary>
    public string Configuration { get; set; } = "localhost:6379";

    /// <summary>
    /// The driver's settings, where a connection string cannot hold them: callbacks for certificates, token providers. Default
    /// null: those of <see cref="Configuration"/>. Every connection that the store makes has them.
    /// </summary>
    public ConfigurationOptions? ConfigurationOptions { get; set; }

    /// <summary>
    /// Hands over the application's own connection, which it keeps and closes. Default null: one is made from
    /// <see cref="ConfigurationOptions"/> or <see cref="Configuration"/>. Behind Sentinels, and with
    /// <see cref="WaitForReplicas"/>, the store needs connections of its own, which it makes from the connection string of
    /// yours: hand over <see cref="ConfigurationOptions"/> if that does not hold all they need. Give yours <c>SocketManager = SocketManager.ThreadPool</c> if nothing blocks on it: a
    /// request takes less CPU then, which the driver's own threads cost.
    /// </summary>
    public Func<Task<IConnectionMultiplexer>>? Connect { get; set; }

    /// <summary>
    /// The start of every key. Default null: <c>session:</c>, the application's name (<c>IHostEnvironment.ApplicationName</c>) and
    /// a colon, which is the same on all its nodes; without such a name <c>session:</c> alone; for tickets <c>ticket:</c> and for
    /// <c>HttpContext.Session</c> <c>httpsession:</c> in place of <c>session:</c>. Two kinds of data in one application need two prefixes. With another prefix none of the sessions are found that are there under the former one.
    /// </summary>
    public string? KeyPrefix { get; set; }

    /// <summary>The database. Default -1: the one of the connection (0).</summary>
    public int Database { get; set; } = -1;

    /// <summary>
    /// Lets the driver read answers on threads of its own. Default false: on the thread pool, which costs less CPU. Set it
    /// where handlers block threads of the pool: answers that wait for a free thread there come too late (503).
    /// </summary>
    public bool UseDedicatedThreads { get; set; }

    /// <summary>How long an operation waits for the server. Default 2 seconds; then the answer is 503.</summary>
    public TimeSpan OperationTimeout { get; set; } = TimeSpan.FromSeconds(2);

    /// <summary>
    /// How many replicas must have a write that ends a session, signs in, elevates or renews a token before it is
    /// acknowledged (WAIT). Default 0: none, and a failover can undo the logouts of its last moments. With 1 or more, a write
    /// that fewer replicas have in time is not acknowledged (503, and the client of a renewal keeps its token), though it can
    /// be loaded. Other replicas that keep up are given a tenth of
    /// <see cref="WaitTimeout"/> to have it, too. One that was slower may be promoted, and undo it: only the number of all
    /// replicas excludes that.
    /// </summary>
    public int WaitForReplicas { get; set; }

    /// <summary>
    /// How long such a write waits for its replicas. Default 1 second. It does not wait for what is not there: a server that says
    /// that it has fewer replicas, or has just waited for them in vain, is believed for a second.
    /// </summary>
    public TimeSpan WaitTimeout { get; set; } = TimeSpan.FromSeconds(1);

    /// <summary>How long after its time a record stays when no sweeper ever comes for it. Default 1 day.</summary>
    public TimeSpan JanitorMargin { get; set; } = TimeSpan.FromDays(1);

    /// <summary>The start of every key, whoever chose it.</summary>
    internal string Prefix => KeyPrefix ?? DefaultPrefix;

    /// <summary>That of an application without a name, until <c>UseRedis</c> knows its name.</summary>
    internal string DefaultPrefix { get; set; } = "session:";

    /// <summary>A copy, which the application cannot change any more.</summary>
    /// <exception cref="ArgumentException">A setting is out of range.</exception>
    internal RedisStoreOptions Checked()
    {
        Require(
            Connect is not null || ConfigurationOptions is not null || !string.IsNullOrWhiteSpace(Configuration),
            "RedisStoreOptions.Configuration must be a connection string, such as localhost:6379."
        );
        if (Connect is null && ConfigurationOptions is null)
            RequireConnectionString(Configuration);
        Require(Database >= -1, "RedisStoreOptions.Database must be the number of a database, from 0.");
        Require(
            KeyPrefix is null or { Length: <= 100 },
            "RedisStoreOptions.KeyPrefix must have at most 100 characters."
        );
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
        var copy = (RedisStoreOptions)MemberwiseClone();
        copy.ConfigurationOptions = ConfigurationOptions?.Clone();
        return copy;

        static void RequireConnectionString(string text)
        {
            try
            {
                _ = ConfigurationOptions.Parse(text);
            }
            catch (Exception error) when (error is ArgumentException or FormatException)
            {
                throw new ArgumentException(
                    "RedisStoreOptions.Configuration is no connection string of StackExchange.Redis: servers and settings with commas between, such as localhost:6379,ssl=true.",
                    "options",
                    error
                );
            }
        }

        static void Require(bool isRight, string sentence)
        {
            if (!isRight)
                throw new ArgumentException(sentence, "options");
        }
    }
}
