using System.Net;
using StackExchange.Redis;

namespace Session.Stores.Redis;

/// <summary>Somebody who listens, until it is disposed of. In a Cluster to both channels: not every node may use the sharded one.</summary>
internal sealed class SignalListener(Signals signals, Action<string?> heard) : IAsyncDisposable
{
    private static readonly TimeSpan Rest = TimeSpan.FromSeconds(1);

    // Two looks at once would both move there, and each message would be heard twice.
    private readonly SemaphoreSlim _moving = new(1, 1);

    private volatile bool _isDisposed;
    private volatile bool _mayHaveMissed;
    private int _isSettling;

    // The server that the sharded channel is heard from.
    private EndPoint? _place;

    public IConnectionMultiplexer? Connection { get; private set; }

    public async ValueTask MoveAsync(CancellationToken cancellationToken)
    {
        // Whoever moves it already says so when it is there.
        if (!await _moving.WaitAsync(TimeSpan.Zero, cancellationToken).ConfigureAwait(false))
            return;
        try
        {
            var route = await signals.Link.Ready(cancellationToken).ConfigureAwait(false);
            if (!_isDisposed && !ReferenceEquals(Connection, route.Connection))
                await ListenAtAsync(route.Connection).ConfigureAwait(false);
        }
        finally
        {
            _moving.Release();
        }
    }

    private async ValueTask ListenAtAsync(IConnectionMultiplexer connection)
    {
        var subscriber = connection.GetSubscriber();
        try
        {
            await signals.Link.WithinDeadline(subscriber.SubscribeAsync(signals.Plain, Hear)).ConfigureAwait(false);
            if (signals.IsSharded(connection))
                await HearShardAsync(subscriber).ConfigureAwait(false);
        }
        catch
        {
            // The driver keeps whoever has asked, also where the server has refused: each attempt would leave one behind.
            RedisLink.ObserveFailure(LeaveAsync(subscriber));
            throw;
        }

        Watch(connection);
        heard(null);
    }

    /// <summary>The driver forgets this one at once, and tells the server if nobody else listens over the connection.</summary>
    private async Task LeaveAsync(ISubscriber subscriber) =>
        await Task.WhenAll(
                subscriber.UnsubscribeAsync(signals.Plain, Hear),
                subscriber.UnsubscribeAsync(signals.Sharded, Hear)
            )
            .ConfigureAwait(false);

    private async ValueTask HearShardAsync(ISubscriber subscriber)
    {
        try
        {
            await signals.Link.WithinDeadline(subscriber.SubscribeAsync(signals.Sharded, Hear)).ConfigureAwait(false);
            _place = subscriber.SubscribedEndpoint(signals.Sharded);
        }
        catch (Exception error) when (Refusal.Is(error))
        {
            signals.Refused();
            // Else the driver would ask for it again and again.
            await signals.Link.WithinDeadline(subscriber.UnsubscribeAsync(signals.Sharded, Hear)).ConfigureAwait(false);
        }
    }

    /// <summary>
    /// Has the driver look whether the shard still is where it is listened to: it does so when it subscribes, and sends nothing
    /// where all is right. False: that cannot be said now.
    /// </summary>
    public async ValueTask<bool> StayAsync()
    {
        if (Connection is not { } connection || !signals.IsSharded(connection))
            return true;

        var subscriber = connection.GetSubscriber();
        try
        {
            try
            {
                await signals
                    .Link.WithinDeadline(subscriber.SubscribeAsync(signals.Sharded, HearNothing))
                    .ConfigureAwait(false);
            }
            finally
            {
                // Also where the server has not answered: the driver keeps whoever has asked.
                await signals
                    .Link.WithinDeadline(subscriber.UnsubscribeAsync(signals.Sharded, HearNothing))
                    .ConfigureAwait(false);
            }
        }
        catch (Exception error)
            when (error is RedisException or RedisCommandException or TimeoutException or OperationCanceledException)
        {
            return false;
        }

        var place = subscriber.SubscribedEndpoint(signals.Sharded);
        if (!Equals(place, _place))
        {
            _place = place;
            heard(null);
        }
        return place is not null && subscriber.IsConnected(signals.Sharded);
    }

    private void Hear(RedisChannel channel, RedisValue message)
    {
        foreach (var id in ((string?)message ?? "").Split(' ', StringSplitOptions.RemoveEmptyEntries))
            heard(id);
    }

    private static void HearNothing(RedisChannel channel, RedisValue message) { }

    private void Watch(IConnectionMultiplexer connection)
    {
        Unwatch();
        Connection = connection;
        connection.ConnectionRestored += Restored;
        connection.ConnectionFailed += Failed;
        connection.ConfigurationChanged += Changed;
        connection.HashSlotMoved += Moved;
    }

    private void Unwatch()
    {
        if (Connection is not { } connection)
            return;

        connection.ConnectionRestored -= Restored;
        connection.ConnectionFailed -= Failed;
        connection.ConfigurationChanged -= Changed;
        connection.HashSlotMoved -= Moved;
    }

    // Of either kind: with RESP3 messages come over the connection that commands go over.
    private void Restored(object? sender, ConnectionFailedEventArgs connection)
    {
        heard(null);
        Settle();
    }

    private void Failed(object? sender, ConnectionFailedEventArgs connection)
    {
        _mayHaveMissed = true;
        Settle();
    }

    private void Changed(object? sender, EndPointEventArgs server) => Settle();

    private void Moved(object? sender, HashSlotMovedEventArgs slot) => Settle();

    /// <summary>In a Cluster another node takes over, and no connection is restored: until that is so, each second.</summary>
    private void Settle()
    {
        if (signals.Link.MayBeCluster && Interlocked.Exchange(ref _isSettling, 1) == 0)
            RedisLink.ObserveFailure(Task.Run(SettleAsync));
    }

    private async Task SettleAsync()
    {
        try
        {
            do await Task.Delay(Rest).ConfigureAwait(false);
            while (!_isDisposed && !await StayAsync().ConfigureAwait(false));
        }
        finally
        {
            Volatile.Write(ref _isSettling, 0);
        }
        if (!_mayHaveMissed || _isDisposed)
            return;
        _mayHaveMissed = false;
        heard(null);
    }

    public async ValueTask DisposeAsync()
    {
        _isDisposed = true;
        signals.Forget(this);
        await _moving.WaitAsync().ConfigureAwait(false);
        try
        {
            Unwatch();
            if (Connection is { } connection)
                await signals.Link.WithinDeadline(LeaveAsync(connection.GetSubscriber())).ConfigureAwait(false);
        }
        catch (Exception error)
            when (error is RedisException or TimeoutException or OperationCanceledException or ObjectDisposedException)
        {
            // Over a connection that is gone nothing is heard any more, and the driver has forgotten who listened.
        }
        finally
        {
            _moving.Release();
        }
    }
}
