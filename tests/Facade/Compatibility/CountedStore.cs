using Session.Engine;

namespace Facade.Compatibility;

/// <summary>The memory store, which counts what it is asked, and can be slow, or down.</summary>
internal sealed class CountedStore : Passing
{
    private int _loads;
    private int _writes;

    public int Loads => _loads;
    public int Writes => _writes;
    public bool Fails { get; set; }
    public bool FailsWrites { get; set; }
    public bool IsSlow { get; set; }

    public (int Loads, int Writes) Take() =>
        (Interlocked.Exchange(ref _loads, 0), Interlocked.Exchange(ref _writes, 0));

    public override async ValueTask<StoredRecord?> Load(string id, CancellationToken cancel)
    {
        Interlocked.Increment(ref _loads);
        if (Fails)
            throw new IOException("down");

        if (IsSlow)
            await Task.Delay(5, cancel);

        return await base.Load(id, cancel);
    }

    public override ValueTask<WriteResult> Insert(StoredRecord record, CancellationToken cancel)
    {
        Interlocked.Increment(ref _writes);
        return Fails || FailsWrites ? throw new IOException("down") : base.Insert(record, cancel);
    }

    public override ValueTask<WriteResult> Replace(StoredRecord record, long expected, CancellationToken cancel)
    {
        Interlocked.Increment(ref _writes);
        return Fails || FailsWrites ? throw new IOException("down") : base.Replace(record, expected, cancel);
    }
}
