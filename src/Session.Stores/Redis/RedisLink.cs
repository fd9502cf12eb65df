using System.Net;
using System.Runtime.CompilerServices;
using Session.Engine;
using StackExchange.Redis;

namespace Session.Stores.Redis;

/// <summary>
/// What leads to the servers: made at first use, closed with the store. Whatever waits for a server waits here, and for no
/// longer than <see cref="RedisStoreOptions.OperationTimeout"/>.
/// </summary>
internal sealed class RedisLink : IAsyncDisposable, IDisposable
{
    private const int MostReadings = 3;

    // From the socket to whoever waits for it an answer goes through the queue of the pool a few times.
    private const int TurnsOfAnAnswer = 8;

    private static readonly TimeSpan RestBetweenSearches = TimeSpan.FromMilliseconds(500);

    private readonly RedisStoreOptions _options;
    private readonly OwnConnections _own;
    private readonly SemaphoreSlim _connecting = new(1, 1);

    // One of the two: a route that stays, or whoever finds the one to the primary.
    private volatile Route? _route;
    private volatile PrimaryWatch? _watch;
    private volatile ClusterVote? _vote;
    private ConfigurationOptions? _settings;
    private volatile bool _isDisposed;
    private volatile bool _mayBeCluster = true;
    private volatile bool _isKindKnown;
    private long _searchedAt;

    public RedisLink(RedisStoreOptions options)
    {
        _options = options;
        _own = new OwnConnections(options);
    }

    /// <summary>The driver's settings, once the store has connected.</summary>
    public ConfigurationOptions Settings =>
        _settings ?? throw new InvalidOperationException("The store is not connected.");

    /// <summary>Where the records are, in a form that is equal on all nodes.</summary>
    public string Place
    {
        get
        {
            var settings = Settings;
            var servers = settings.EndPoints.Select(NameOf).Order(StringComparer.Ordinal);
            var service = string.IsNullOrEmpty(settings.ServiceName) ? "" : "/" + settings.ServiceName;
            var database = _options.Database >= 0 ? _options.Database : settings.DefaultDatabase ?? 0;
            return $"{string.Join(',', servers)}{service}/{database}";
        }
    }

    /// <summary>This machine has several names, and all lead to the same place.</summary>
    private static string NameOf(EndPoint server)
    {
        var (host, port) = server switch
        {
            DnsEndPoint named => (named.Host.ToLowerInvariant(), named.Port),
            IPEndPoint numbered => (numbered.Address.ToString(), numbered.Port),
            _ => (server.ToString() ?? "", 0),
        };
        return host is "127.0.0.1" or "::1" ? $"localhost:{port}" : $"{host}:{port}";
    }

    /// <summary>What leads to the records at this moment; null until the store is connected, or while nobody can say who is primary.</summary>
    public Route? Route => _route ?? _watch?.Route;

    /// <summary>Null until the store is connected, or while nobody can say who is primary.</summary>
    public IDatabase? Database => Route?.Database;

    /// <summary>Whether there are Sentinels, and so somebody who knows whether a record that is not there is really gone.</summary>
    public bool IsWatched => _watch is not null;

    /// <summary>
    /// False: all keys are on one node, which carries out what it is sent in that order. True: an answer has to come before
    /// the next command is sent, for their keys may be on different nodes.
    /// </summary>
    public bool MayBeCluster
    {
        get
        {
            // A server that was away at the start may have come since.
            if (!_isKindKnown && _route is { } route)
                FindKind(route.Connection);
            return _mayBeCluster;
        }
    }

    /// <summary>Known once a server was reached. Waiting for each answer, as a cluster needs it, is right until then.</summary>
    private void FindKind(IConnectionMultiplexer connection)
    {
        var reached = connection.GetServers().Where(server => server.IsConnected).ToArray();
        if (reached.Length == 0)
            return;
        if (reached.Any(server => server.ServerType != ServerType.Cluster))
        {
            _mayBeCluster = false;
            _vote = null;
        }
        _isKindKnown = true;
    }

    /// <summary>Connects if need be. An exception: nobody can say who is primary.</summary>
    public ValueTask<Route> Ready(CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return Route is { } route ? new ValueTask<Route>(route) : new ValueTask<Route>(Find(cancellationToken));
    }

    private async Task<Route> Find(CancellationToken cancellationToken)
    {
        await Connect(cancellationToken).ConfigureAwait(false);
        if (_watch is { } watch && watch.Route is null)
            await Ask(watch, cancellationToken).ConfigureAwait(false);
        ThrowIfDisposed();
        return Route ?? throw Unknown();
    }

    private Task<SentinelVerdict> Ask(PrimaryWatch watch, CancellationToken cancellationToken)
    {
        var asking = watch.Ask();
        ObserveFailure(asking);
        return asking.WaitAsync(_options.OperationTimeout, cancellationToken);
    }

    private static PrimaryUnknownException Unknown() =>
        new(
            "The Sentinels do not name a Redis primary: most of them have to be there, and to agree. Until then nothing can be said of any session."
        );

    private static async Task<IConnectionMultiplexer> FromApplication(Func<Task<IConnectionMultiplexer>> connect) =>
        await connect().ConfigureAwait(false)
        ?? throw new InvalidOperationException(
            "RedisStoreOptions.Connect has given null: give the connection, or leave it unset and name the server in Configuration."
        );

    /// <summary>Connects, unless the store is connected. A server that is not there yet is no error.</summary>
    public async Task Connect(CancellationToken cancellationToken)
    {
        await _connecting.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            ThrowIfDisposed();
            if (_watch is not null)
                return;

            var connection =
                _route?.Connection
                ?? (_options.Connect is { } connect ? await FromApplication(connect).ConfigureAwait(false) : null);
            var settings = _settings ??= connection is null ? _own.Settings() : _own.SettingsOf(connection);
            if (!string.IsNullOrEmpty(settings.ServiceName))
            {
                var sentinels = await _own.OpenSentinels(settings).ConfigureAwait(false);
                _mayBeCluster = false;
                _isKindKnown = true;
                _watch = new PrimaryWatch(
                    sentinels,
                    async primary =>
                        await Lead(PrimaryWatch.SettingsFor(settings, primary), primary, null).ConfigureAwait(false),
                    Leave
                );
            }
            else if (_route is null)
            {
                var route = await Lead(settings, null, connection).ConfigureAwait(false);
                // Before the route: whoever finds that finds the vote, too, or that there is no Cluster.
                _vote = new ClusterVote(route.Connection, _options.OperationTimeout);
                _route = route;
            }

            if (_isDisposed)
            {
                Forget();
                ThrowIfDisposed();
            }
        }
        finally
        {
            _connecting.Release();
        }
    }

    private async Task<Route> Lead(ConfigurationOptions settings, string? primary, IConnectionMultiplexer? given)
    {
        var connection = given ?? await _own.Open(settings).ConfigureAwait(false);
        IConnectionMultiplexer? waiting = null;
        if (_options.WaitForReplicas > 0)
        {
            var patient = settings.Clone();
            // WAIT is answered when its own time is over, and not before.
            patient.AsyncTimeout = (int)(_options.WaitTimeout + _options.OperationTimeout).TotalMilliseconds;
            // Where a key has moved to is one of them.
            patient.IncludeDetailInExceptions = true;
            waiting = await _own.Open(patient).ConfigureAwait(false);
        }

        return new Route(
            primary,
            connection,
            waiting,
            connection.GetDatabase(_options.Database),
            waiting?.GetDatabase(_options.Database),
            // The one that waits for replicas gives up later than all else may take.
            IsTimed: given is null && waiting is null
        );
    }

    private void Leave(Route route)
    {
        _own.Close(route.Connection);
        if (route.Waiting is { } waiting)
            _own.Close(waiting);
    }

    /// <summary>What the Sentinels say now; null: there are none.</summary>
    public async Task<SentinelVerdict?> AskSentinels(CancellationToken cancellationToken) =>
        _watch is { } watch ? await Ask(watch, cancellationToken).ConfigureAwait(false) : null;

    /// <summary>
    /// Whether the primary that was spoken to before this call still is the primary. Where nobody can be asked, it is.
    /// </summary>
    public async ValueTask<bool> IsStillPrimary(IDatabase db, CancellationToken cancellationToken = default)
    {
        if (_watch is not { } watch)
            return true;

        SentinelVerdict verdict;
        try
        {
            verdict = await Ask(watch, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception error) when (error is RedisException or TimeoutException)
        {
            return false;
        }

        // What they said a moment ago is not enough: a failover may have begun since, and they may be out of reach.
        return watch.Route is { } route
            && verdict.Primary == route.Primary
            && (ReferenceEquals(route.Connection, db.Multiplexer) || ReferenceEquals(route.Waiting, db.Multiplexer));
    }

    /// <summary>As <see cref="IsStillPrimary"/>; an exception: nobody knows.</summary>
    public async ValueTask RequirePrimary(IDatabase db, CancellationToken cancellationToken)
    {
        if (!await IsStillPrimary(db, cancellationToken).ConfigureAwait(false))
            throw Unknown();
    }

    /// <summary>
    /// What is read from the servers that have these keys, and, in a Cluster, still have them afterwards. While slots move, the
    /// driver learns from the answers where they are; so it is tried again before it is an exception: nobody knows.
    /// </summary>
    public async ValueTask<T> FromOwners<T>(IDatabase db, RedisKey[] keys, Func<Task<T>> read)
    {
        for (var left = MostReadings; _vote is { } vote && left > 0; left--)
        {
            var asked = keys.Select(key => ServerOf(db, key)).ToArray();
            var found = await WithinDeadline(read()).ConfigureAwait(false);
            var verdict = await WithinDeadline(vote.Ask()).ConfigureAwait(false);
            if (verdict is null || keys.Zip(asked).All(one => verdict.Has(one.Second, SlotOf(db, one.First))))
                return found;
            SearchPrimaries();
        }

        return _vote is null ? await WithinDeadline(read()).ConfigureAwait(false) : throw NoOwner();
    }

    /// <summary>The server of a Cluster that has this key; null: there is no Cluster. An exception: nobody knows.</summary>
    public async ValueTask<IServer?> OwnerOf(IDatabase db, RedisKey key)
    {
        if (_vote is not { } vote || await WithinDeadline(vote.Ask()).ConfigureAwait(false) is not { } verdict)
            return null;

        var owner = verdict.OwnerOf(SlotOf(db, key));
        if (owner is null || !owner.Equals(ServerOf(db, key)))
            SearchPrimaries();
        return db.Multiplexer.GetServers().FirstOrDefault(server => server.EndPoint.Equals(owner)) ?? throw NoOwner();
    }

    private static int SlotOf(IDatabase db, RedisKey key) => db.Multiplexer.HashSlot(key);

    /// <summary>The server that the driver takes for the one that has this key.</summary>
    public static EndPoint ServerOf(IDatabase db, RedisKey key) =>
        db.Multiplexer.GetServer(key, flags: CommandFlags.DemandMaster).EndPoint;

    private static PrimaryUnknownException NoOwner() =>
        new(
            "The primaries of the Redis Cluster do not agree with the server that was asked: a failover is under way. Until it is over nothing can be said of this session."
        );

    private void ThrowIfDisposed() => ObjectDisposedException.ThrowIf(_isDisposed, typeof(RedisStore));

    /// <summary>Closes the connections that the store made; what the application handed over stays open.</summary>
    public async ValueTask DisposeAsync()
    {
        Forget();
        await _own.DisposeAsync().ConfigureAwait(false);
    }

    /// <summary>As <see cref="DisposeAsync"/>, for a container that is disposed without awaiting.</summary>
    public void Dispose()
    {
        Forget();
        _own.Dispose();
    }

    private void Forget()
    {
        _isDisposed = true;
        _watch?.Dispose();
        _route = null;
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
        var route = Route;
        try
        {
            T answer;
            try
            {
                answer = route is { IsTimed: true }
                    ? await work.ConfigureAwait(false)
                    : await work.WaitAsync(_options.OperationTimeout).ConfigureAwait(false);
            }
            catch (TimeoutException) when (!work.IsFaulted)
            {
                answer = await HandedOver(work).ConfigureAwait(false);
            }

            // An answer may have been under way for long: it counts only if it is the primary's.
            if (_watch is { } watch && (route is null || !ReferenceEquals(watch.Route, route)))
                await RequireSame(watch, route).ConfigureAwait(false);
            return answer;
        }
        catch (Exception error) when (error is RedisConnectionException or TimeoutException)
        {
            ObserveFailure(work);
            SearchPrimaries();
            throw;
        }
    }

    /// <summary>
    /// An answer that has come is not late. Where handlers block the threads of the pool it waits in their queue, and timers do
    /// not: so the time is over only when what was in the queue before has had its turn.
    /// </summary>
    private static async Task<T> HandedOver<T>(Task<T> work)
    {
        for (var turn = 0; turn < TurnsOfAnAnswer && !work.IsCompleted; turn++)
            await Task.Yield();
        return work.IsCompleted
            ? await work.ConfigureAwait(false)
            : throw new TimeoutException("Redis has not answered in time.");
    }

    private async Task RequireSame(PrimaryWatch watch, Route? route)
    {
        await Ask(watch, CancellationToken.None).ConfigureAwait(false);
        if (route is null || !ReferenceEquals(watch.Route, route))
            throw Unknown();
    }

    /// <summary>The reply to the write of a record. An exception of the write's own says that nothing was written.</summary>
    /// <exception cref="StoreRefusedException">It was not sent, or a server has refused it: out of memory, a replica, without the right to.</exception>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<Reply<T>> ReplyTo<T>(Task<T> write)
    {
        try
        {
            return new Reply<T>(await WithinDeadline(write).ConfigureAwait(false));
        }
        catch (Exception error) when (WriteFailures.MayHaveTakenEffect(error))
        {
            return default;
        }
        catch (Exception error) when (write.IsFaulted && WriteFailures.IsRefusal(error))
        {
            throw new StoreRefusedException(error.Message, error);
        }
    }

    /// <summary>
    /// After a failure asks who is primary now: the Sentinels, or else the servers, which the driver by itself asks once a
    /// minute only.
    /// </summary>
    public void SearchPrimaries()
    {
        _watch?.Doubt();
        var now = Environment.TickCount64;
        var last = Interlocked.Read(ref _searchedAt);
        if (
            now - last < RestBetweenSearches.TotalMilliseconds
            || Interlocked.CompareExchange(ref _searchedAt, now, last) != last
            || Route is not { } route
        )
            return;

        foreach (var connection in (ReadOnlySpan<IConnectionMultiplexer?>)[route.Connection, route.Waiting])
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
