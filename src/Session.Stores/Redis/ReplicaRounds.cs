using StackExchange.Redis;

namespace Session.Stores.Redis;

/// <summary>
/// WAIT over one connection to a server, for all writes that went over it. Until it is answered the server reads nothing else of
/// that connection: so there is one at a time, which counts for all that was written before it; none lasts so long that the
/// writes behind it come too late; and there is none where too few replicas are there.
/// </summary>
internal sealed class ReplicaRounds
{
    private readonly IServer _server;
    private readonly ReplicaCount _keepingUp;
    private readonly RedisStoreOptions _options;
    private readonly Rounds<long?> _rounds;

    // How long replicas were waited for in a row, and none, or too few, came. Only a round changes it.
    private TimeSpan _inVain;

    public ReplicaRounds(IServer server, ReplicaCount keepingUp, RedisStoreOptions options)
    {
        _server = server;
        _keepingUp = keepingUp;
        _options = options;
        _rounds = new Rounds<long?>(Round);
    }

    /// <summary>
    /// How many replicas have all that was written over this connection before this call. Null: fewer than must have it are
    /// there, as the server said a moment ago, or as it took too long to find out.
    /// </summary>
    public Task<long?> Ask() => _rounds.Ask();

    private async Task<long?> Round()
    {
        var needed = _options.WaitForReplicas;
        var all = await _keepingUp.Of(_server).ConfigureAwait(false);
        if (all < needed)
        {
            // The server itself says how many have it, at once: what INFO says may be a moment old, or somebody else's words.
            var now = await Wait(needed, TimeSpan.Zero).ConfigureAwait(false);
            return now >= needed ? Reached(now) : null;
        }

        // A failover may promote any replica, so all that keep up are given a moment, beyond those that must have the write.
        if (all > needed)
        {
            var most = await Wait(all.Value, AtMost(_options.WaitTimeout / 10)).ConfigureAwait(false);
            if (most < all)
                _keepingUp.Note(_server, Math.Max((int)most, needed));
            if (most >= needed)
                return Reached(most);
        }

        var limit = AtMost(_options.WaitTimeout - _inVain);
        var reached = await Wait(needed, limit).ConfigureAwait(false);
        if (reached >= needed)
            return Reached(reached);

        _inVain += limit;
        if (_inVain >= _options.WaitTimeout)
        {
            // Whoever writes in the next second is told so at once.
            _inVain = TimeSpan.Zero;
            _keepingUp.Note(_server, (int)reached);
        }

        return reached;
    }

    private long Reached(long count)
    {
        _inVain = TimeSpan.Zero;
        return count;
    }

    /// <summary>A write that comes behind a WAIT has to be answered within its own deadline.</summary>
    private TimeSpan AtMost(TimeSpan limit)
    {
        var most = _options.OperationTimeout / 2;
        return limit < most ? limit : most;
    }

    private async Task<long> Wait(int count, TimeSpan limit)
    {
        // No milliseconds would be no limit.
        var wait = _server.ExecuteAsync("WAIT", count, Math.Max(1, (long)limit.TotalMilliseconds));
        RedisLink.ObserveFailure(wait);
        return (long)await wait.WaitAsync(limit + _options.OperationTimeout).ConfigureAwait(false);
    }
}
