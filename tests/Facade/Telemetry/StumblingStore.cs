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

    public override ValueTask<StoredRecord?> Load(string id, CancellationToken cancel) =>
        IsAway ? throw new IOException("away") : base.Load(id, cancel);

    public override ValueTask<WriteResult> Replace(StoredRecord record, long expected, CancellationToken cancel) =>
        Interlocked.Decrement(ref _conflicts) >= 0
            ? ValueTask.FromResult(WriteResult.Conflict)
            : base.Replace(record, expected, cancel);
}
