using Session.Engine;

namespace Facade.Telemetry;

/// <summary>A store that another write comes before, or that is away.</summary>
internal sealed class StumblingStore(ISessionStore inner) : ForwardingStore(inner), ICountsCheaply
{
    private int _conflicts;

    /// <summary>How many of the next replaces meet a conflict.</summary>
    public int Conflicts
    {
        get => Volatile.Read(ref _conflicts);
        set => Volatile.Write(ref _conflicts, value);
    }

    public bool IsAway { get; set; }

    /// <summary>No replica confirms what it writes.</summary>
    public bool IsAlone { get; set; }

    public override ValueTask<StoredRecord?> Load(string id, CancellationToken cancel) =>
        IsAway ? throw new IOException("away") : base.Load(id, cancel);

    public override async ValueTask<WriteResult> Replace(StoredRecord record, long expected, CancellationToken cancel)
    {
        if (Interlocked.Decrement(ref _conflicts) >= 0)
            return WriteResult.Conflict;

        var written = await base.Replace(record, expected, cancel);
        return IsAlone && written == WriteResult.Written ? WriteResult.Unacknowledged : written;
    }
}
