using StackExchange.Redis;

namespace Session.Stores.Redis;

/// <summary>
/// Leads to the primary that most Sentinels name, and to no other server. They are asked all the time, and after each
/// failure at once; what they said is good for a short time only, so that a node that cannot hear them stops rather than go on
/// with a primary that the others have left.
/// </summary>
internal sealed class PrimaryWatch : IDisposable
{
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan Trust = TimeSpan.FromSeconds(3);

    private readonly Sentinels _sentinels;
    private readonly Func<string, Task<Route>> _open;
    private readonly Action<Route> _close;
    private readonly Rounds<SentinelVerdict> _rounds;
    private readonly CancellationTokenSource _over = new();
    private volatile Route? _route;
    private long _trustedUntil;

    /// <param name="sentinels">Who is asked.</param>
    /// <param name="open">Connects to a primary.</param>
    /// <param name="close">Closes what led to another one.</param>
    public PrimaryWatch(Sentinels sentinels, Func<string, Task<Route>> open, Action<Route> close)
    {
        _sentinels = sentinels;
        _open = open;
        _close = close;
        _rounds = new Rounds<SentinelVerdict>(Round);
        _ = Task.Run(Watch);
    }

    /// <summary>Null: at this moment nobody can say who is primary.</summary>
    public Route? Route => Environment.TickCount64 < Volatile.Read(ref _trustedUntil) ? _route : null;

    /// <summary>Asks the Sentinels now.</summary>
    public Task<SentinelVerdict> Ask() => _rounds.Ask();

    /// <summary>After a failure nothing is sent before the Sentinels have named the primary again.</summary>
    public void Doubt()
    {
        Volatile.Write(ref _trustedUntil, 0);
        RedisLink.ObserveFailure(Ask());
    }

    // One at a time: only this changes the route.
    private async Task<SentinelVerdict> Round()
    {
        var asked = Environment.TickCount64;
        var verdict = await _sentinels.Ask().ConfigureAwait(false);
        if (verdict.IsContested)
            Volatile.Write(ref _trustedUntil, 0);
        else if (verdict.Primary is { } primary)
        {
            if (_route is not { } route || route.Primary != primary)
            {
                Volatile.Write(ref _trustedUntil, 0);
                var former = _route;
                _route = null;
                if (former is not null)
                    _close(former);
                _route = await _open(primary).ConfigureAwait(false);
            }

            Volatile.Write(ref _trustedUntil, asked + (long)Trust.TotalMilliseconds);
        }

        return verdict;
    }

    private async Task Watch()
    {
        using var timer = new PeriodicTimer(Pause);
        try
        {
            while (await timer.WaitForNextTickAsync(_over.Token).ConfigureAwait(false))
                try
                {
                    await Ask().ConfigureAwait(false);
                }
                catch (Exception error) when (error is not OperationCanceledException && !_over.IsCancellationRequested)
                {
                    // Whoever needs the primary asks again, and is told why it cannot be had.
                }
        }
        catch (OperationCanceledException)
        {
            // The store is disposed.
        }
    }

    public void Dispose()
    {
        _over.Cancel();
        Volatile.Write(ref _trustedUntil, 0);
        _route = null;
    }

    /// <summary>One server: the driver is not to look for others.</summary>
    public static ConfigurationOptions SettingsFor(ConfigurationOptions sentinels, string primary)
    {
        var settings = sentinels.Clone();
        settings.ServiceName = null;
        settings.EndPoints.Clear();
        settings.EndPoints.Add(primary);
        settings.TieBreaker = "";
        settings.ConfigurationChannel = "";
        settings.ReconnectRetryPolicy = new LinearRetry(500);
        return settings;
    }
}
