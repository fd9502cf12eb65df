using StackExchange.Redis;

namespace Session.Stores.Redis;

/// <summary>What the store opened, and has to close.</summary>
internal sealed class OwnConnections(RedisStoreOptions options) : IAsyncDisposable, IDisposable
{
    private readonly Lock _gate = new();
    private readonly List<object> _open = [];
    private bool _isDisposed;

    /// <summary>The driver's settings for the connections that the store makes.</summary>
    public ConfigurationOptions Settings() =>
        Adapted(options.ConfigurationOptions?.Clone() ?? ConfigurationOptions.Parse(options.Configuration));

    /// <summary>The same, where the application made a connection: as far as its connection string says.</summary>
    public ConfigurationOptions SettingsOf(IConnectionMultiplexer connection) =>
        options.ConfigurationOptions is null
            ? Adapted(ConfigurationOptions.Parse(connection.Configuration))
            : Settings();

    private ConfigurationOptions Adapted(ConfigurationOptions settings)
    {
        settings.AbortOnConnectFail = false;
        // A request waits for its own deadline, not in a queue for a server that is away.
        settings.BacklogPolicy = BacklogPolicy.FailFast;
        settings.AsyncTimeout = (int)options.OperationTimeout.TotalMilliseconds;
        // The driver looks for what is overdue so often: a timer for each operation costs more than all of that.
        settings.HeartbeatInterval = TimeSpan.FromMilliseconds(
            Math.Clamp(options.OperationTimeout.TotalMilliseconds / 10, 20, 1000)
        );
        // The driver's own threads are for callers who block the pool's, which nothing here does; each answer would
        // change threads twice more.
        if (!options.UseDedicatedThreads)
            settings.SocketManager ??= SocketManager.ThreadPool;
        settings.ClientName ??= "session-store";
        return settings;
    }

    /// <summary>Connects. A server that is not there yet is no error.</summary>
    public async Task<IConnectionMultiplexer> Open(ConfigurationOptions settings)
    {
        var opened = await ConnectionMultiplexer.ConnectAsync(settings).ConfigureAwait(false);
        await Keep(opened).ConfigureAwait(false);
        return opened;
    }

    /// <summary>To the Sentinels that these settings name.</summary>
    public async Task<Sentinels> OpenSentinels(ConfigurationOptions settings)
    {
        var opened = await Sentinels.Open(settings, options.OperationTimeout).ConfigureAwait(false);
        await Keep(opened).ConfigureAwait(false);
        return opened;
    }

    private async Task Keep(IAsyncDisposable opened)
    {
        lock (_gate)
            if (!_isDisposed)
            {
                _open.Add(opened);
                return;
            }

        // The store was disposed while it connected: nobody else would close this connection.
        await opened.DisposeAsync().ConfigureAwait(false);
        throw new ObjectDisposedException(nameof(RedisStore));
    }

    /// <summary>Closes one that is no longer used; what is under way on it fails.</summary>
    public void Close(IConnectionMultiplexer connection)
    {
        lock (_gate)
            if (!_open.Remove(connection))
                return;
        RedisLink.ObserveFailure(connection.CloseAsync(allowCommandsToComplete: false));
    }

    public void ThrowIfDisposed()
    {
        lock (_gate)
            ObjectDisposedException.ThrowIf(_isDisposed, typeof(RedisStore));
    }

    /// <summary>Closes the connections that the store made; what the application handed over stays open.</summary>
    public async ValueTask DisposeAsync()
    {
        foreach (var connection in Detach())
            await ((IAsyncDisposable)connection).DisposeAsync().ConfigureAwait(false);
    }

    /// <summary>As <see cref="DisposeAsync"/>, for a container that is disposed without awaiting.</summary>
    public void Dispose()
    {
        foreach (var connection in Detach())
            ((IDisposable)connection).Dispose();
    }

    private object[] Detach()
    {
        lock (_gate)
        {
            _isDisposed = true;
            object[] open = [.. _open];
            _open.Clear();
            return open;
        }
    }
}
