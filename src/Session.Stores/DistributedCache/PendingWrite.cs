namespace Session.Stores.DistributedCache;

/// <summary>Whether a write may still be sent, was sent, or was given up before: exactly one of the last two happens.</summary>
internal sealed class PendingWrite
{
    private const int Sent = 1;
    private const int GivenUp = 2;
    private int _state;

    /// <summary>Whether it may have taken effect, or still may.</summary>
    public bool WasSent => Volatile.Read(ref _state) == Sent;

    /// <summary>Before the first byte that changes anything.</summary>
    public void Send()
    {
        if (Interlocked.CompareExchange(ref _state, Sent, 0) == GivenUp)
            throw new OperationCanceledException("The caller has gone.");
    }

    /// <summary>True: nothing was sent, and nothing will be. False: it may take effect, now or later.</summary>
    public bool GiveUp() => Interlocked.CompareExchange(ref _state, GivenUp, 0) != Sent;
}
