using System.Runtime.CompilerServices;
using StackExchange.Redis;

namespace Session.Stores.Redis;

/// <summary>
/// The connections to the servers: made at first use, closed with the store. Whatever waits for a server waits here, and for
/// no longer than <see cref="RedisStoreOptions.OperationTimeout"/>.
/// </summary>
internal sealed class RedisLink(RedisStoreOptions options) : IAsyncDisposable, IDisposable
{
    private static readonly TimeSpan RestBetweenSearches = TimeSpan.FromMilliseconds(500);

    private readonly SemaphoreSlim _connecting = new(1, 1);
    private readonly Lock _gate = new();

    // What the store opened and has to close. The gate guards it, and the flag.
    private readonly List<IConnectionMultiplexer> _own = [];
    private bool _isDisposed;

    private IConnectionMultiplexer? _connection;

    // WAIT holds up whatever else goes over its connection: writes that wait have one of their own.
    private IConnectionMultiplexer? _waitingConnection;
    private volatile IDatabase? _database;
    private volatile IDatabase? _waitingDatabase;
    private volatile bool _mayBeCluster = true;
    private long _searchedAt;

    /// <summary>Null until the store is connected.</summary>
    public IDatabase? Database => _database;

    /// <summary>
    /// False: all keys are on one node, which carries out what it is sent in that order. True: an answer has to come before
    /// the next command is sent, for their keys may be on different nodes.
    /// </summary>
    public bool MayBeCluster => _mayBeCluster;

    public ValueTask<IDatabase> Ready(CancellationToken cancellationToken) =>
        Ready(waitsForReplicas: false, cancellationToken);

    /// <summary>The database. A write that waits for replicas, and its WAIT, go over another connection than all others.</summary>
    public async ValueTask<IDatabase> Ready(bool waitsForReplicas, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        if ((waitsForReplicas ? _waitingDatabase : _database) is { } database)
            return database;

        await Connect(cancellationToken).ConfigureAwait(false);
        return (waitsForReplicas ? _waitingDatabase : _database)
            ?? throw new ObjectDisposedException(nameof(RedisStore));
    }

    /// <summary>Connects, unless the store is connected. A server that is not there yet is no error.</summary>
    public async Task<IConnectionMultiplexer> Connect(CancellationToken cancellationToken)
    {
        await _connecting.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            ThrowIfDisposed();
            var connection = _connection ??= options.Connect is { } connect
                ? await connect().ConfigureAwait(false)
                : await Open(options.Configuration, options.OperationTimeout).ConfigureAwait(false);

            // Known once a server was reached. Waiting for each answer, as a cluster needs it, is right until then.
            _mayBeCluster = !connection
                .GetServers()
                .Any(server => server.IsConnected && server.ServerType != ServerType.Cluster);

            if (options.WaitForReplicas > 0)
                _waitingConnection ??= await Open(
                        options.Connect is null ? options.Configuration : connection.Configuration,
                        // WAIT is answered when its own time is over, and not before.
                        options.WaitTimeout + options.OperationTimeout
                    )
                    .ConfigureAwait(false);

            lock (_gate)
            {
                ThrowIfDisposed();
                _waitingDatabase = _waitingConnection?.GetDatabase(options.Database);
                _database = connection.GetDatabase(options.Database);
            }

            return connection;
        }
        finally
        {
            _connecting.Release();
        }
    }

    private async Task<IConnectionMultiplexer> Open(string connectionString, TimeSpan timeout)
    {
        var configuration = ConfigurationOptions.Parse(connectionString);
        configuration.AbortOnConnectFail = false;
        // A request waits for its own deadline, not in a queue for a server that is away.
        configuration.BacklogPolicy = BacklogPolicy.FailFast;
        configuration.AsyncTimeout = (int)timeout.TotalMilliseconds;
        // The driver's own threads are for callers who block the pool's, which nothing here does; each answer would
        // change threads twice more.
        configuration.SocketManager = SocketManager.ThreadPool;
        configuration.ClientName ??= "session-store";
        var opened = await ConnectionMultiplexer.ConnectAsync(configuration).ConfigureAwait(false);

        lock (_gate)
            if (!_isDisposed)
            {
                _own.Add(opened);
                return opened;
            }

        // The store was disposed while it connected: nobody else would close this connection.
        await opened.DisposeAsync().ConfigureAwait(false);
        throw new ObjectDisposedException(nameof(RedisStore));
    }

    private void ThrowIfDisposed()
    {
        lock (_gate)
            ObjectDisposedException.ThrowIf(_isDisposed, typeof(RedisStore));
    }

    /// <summary>Closes the connections that the store made; what the application handed over stays open.</summary>
    public async ValueTask DisposeAsync()
    {
        foreach (var connection in Detach())
            await connection.DisposeAsync().ConfigureAwait(false);
    }

    /// <summary>As <see cref="DisposeAsync"/>, for a container that is disposed without awaiting.</summary>
    public void Dispose()
    {
        foreach (var connection in Detach())
            connection.Dispose();
    }

    /// <summary>What has to be closed; from now on every operation fails.</summary>
    private IConnectionMultiplexer[] Detach()
    {
        lock (_gate)
        {
            _isDisposed = true;
            (_connection, _waitingConnection) = (null, null);
            (_database, _waitingDatabase) = (null, null);
            IConnectionMultiplexer[] own = [.. _own];
            _own.Clear();
            return own;
        }
    }

    public ValueTask<bool> WithinDeadline(Task work) => WithinDeadline(WithResult(work));

    private static async Task<bool> WithResult(Task work)
    {
        await work.ConfigureAwait(false);
        return true;
    }

    /// <summary>The answer of the server, or an exception when it does not come in time.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<T> WithinDeadline<T>(Task<T> work)
    {
        try
        {
            return await work.WaitAsync(options.OperationTimeout).ConfigureAwait(false);
        }
        catch (Exception error) when (error is RedisConnectionException or TimeoutException)
        {
            ObserveFailure(work);
            SearchPrimaries();
            throw;
        }
    }

    /// <summary>The reply to a write. An exception says that nothing was written.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<Reply<T>> ReplyTo<T>(Task<T> write)
    {
        try
        {
            return new Reply<T>(await WithinDeadline(write).ConfigureAwait(false));
        }
        catch (Exception error) when (MayHaveTakenEffect(error))
        {
            return default;
        }
    }

    private static bool MayHaveTakenEffect(Exception error) =>
        error switch
        {
            RedisTimeoutException late => !IsUnsent(late.Commandstatus),
            TimeoutException => true,
            RedisConnectionException lost => !IsUnsent(lost.CommandStatus)
                && lost.FailureType is not ConnectionFailureType.UnableToConnect,
            _ => false,
        };

    private static bool IsUnsent(CommandStatus status) =>
        status is CommandStatus.WaitingToBeSent or CommandStatus.WaitingInBacklog;

    /// <summary>After a failure asks the servers who is primary now: by itself the driver asks once a minute only.</summary>
    private void SearchPrimaries()
    {
        var now = Environment.TickCount64;
        var last = Interlocked.Read(ref _searchedAt);
        if (
            now - last < RestBetweenSearches.TotalMilliseconds
            || Interlocked.CompareExchange(ref _searchedAt, now, last) != last
        )
            return;

        foreach (var connection in (ReadOnlySpan<IConnectionMultiplexer?>)[_connection, _waitingConnection])
            if (connection is not null)
                ObserveFailure(connection.ConfigureAsync());
    }

    /// <summary>For work that is perhaps never awaited: its failure is not reported as one that nobody looked at.</summary>
    public static void ObserveFailure(Task work) =>
        _ = work.ContinueWith(
            static failed => _ = failed.Exception,
            CancellationToken.None,
            TaskContinuationOptions.OnlyOnFaulted | TaskContinuationOptions.ExecuteSynchronously,
            TaskScheduler.Default
        );
}
