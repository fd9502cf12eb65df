using System.Net;
using StackExchange.Redis;

namespace Session.Stores.Redis;

/// <summary>Somebody who listens, until it is disposed of. In a Cluster to both channels: not every node may use the sharded one.</summary>
internal sealed class SignalListener(Signals signals, Action<string?> heard) : IAsyncDisposable
{
    private static readonly TimeSpan Rest = TimeSpan.FromSeconds(1);

    private volatile bool _isDisposed;
    private volatile bool _mayHaveMissed;
    private int _isSettling;

    // The server that the sharded channel is heard from.
    private EndPoint? _place;

    public IConnectionMultiplexer? Connection { get; private set; }

    public async ValueTask MoveAsync(CancellationToken cancellationToken)
    {
        var route = await signals.Link.Ready(cancellationToken).ConfigureAwait(false);
        var subscriber = route.Connection.GetSubscriber();
        await signals.Link.WithinDeadline(subscriber.SubscribeAsync(signals.Plain, Hear)).ConfigureAwait(false);
        if (signals.IsSharded(route.Connection))
            await HearShardAsync(subscriber).ConfigureAwait(false);
        Watch(route.Connection);
        heard(null);
    }

    private async ValueTask HearShardAsync(ISubscriber subscriber)
    {
        try
        {
            await signals.Link.WithinDeadline(subscriber.SubscribeAsync(signals.Sharded, Hear)).ConfigureAwait(false);
            _place = subscriber.SubscribedEndpoint(signals.Sharded);
        }
        catch (Exception error) when (Signals.IsRefusal(error))
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
            await signals
                .Link.WithinDeadline(subscriber.SubscribeAsync(signals.Sharded, HearNothing))
                .ConfigureAwait(false);
            await signals
                .Link.WithinDeadline(subscriber.UnsubscribeAsync(signals.Sharded, HearNothing))
                .ConfigureAwait(false);
        }
        catch (Exception error) when (error is RedisException or TimeoutException or OperationCanceledException)
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
        Unwatch();
        if (Connection is not { } connection)
            return;

        var subscriber = connection.GetSubscriber();
        foreach (var channel in (RedisChannel[])[signals.Plain, signals.Sharded])
            await signals.Link.WithinDeadline(subscriber.UnsubscribeAsync(channel, Hear)).ConfigureAwait(false);
    }
}
