using System.Collections.Concurrent;
using Session.Engine;

namespace Facade.Dashboard;

/// <summary>The memory store, which counts what it is asked by name, says that it counts cheaply, and can be down.</summary>
internal sealed class AskedStore() : ForwardingStore(new MemoryStore()), ICountsCheaply
{
    private ConcurrentDictionary<string, int> _asked = new();

    public bool Fails { get; set; }

    /// <summary>Its index is behind: of this subject it lists what is somebody else's by now.</summary>
    public (string Of, string IsNow)? Behind { get; set; }

    public IReadOnlyDictionary<string, int> Take() => Interlocked.Exchange(ref _asked, new());

    private void Note(string verb)
    {
        _asked.AddOrUpdate(verb, 1, (_, count) => count + 1);
        if (Fails)
            throw new IOException("down");
    }

    public override ValueTask<StoreReport> Prepare(CancellationToken cancellationToken)
    {
        Note("Prepare");
        return base.Prepare(cancellationToken);
    }

    public override ValueTask<StoredRecord?> Load(string id, CancellationToken cancellationToken)
    {
        Note("Load");
        return base.Load(id, cancellationToken);
    }

    public override ValueTask<IReadOnlyList<StoredRecord>> LoadMany(
        IReadOnlyList<string> ids,
        CancellationToken cancellationToken
    )
    {
        Note("LoadMany");
        return base.LoadMany(ids, cancellationToken);
    }

    public override ValueTask<StoredPage> BySubject(
        string subject,
        string? after,
        int limit,
        CancellationToken cancellationToken
    )
    {
        Note("BySubject");
        return base.BySubject(
            Behind is { } it && it.Of == subject ? it.IsNow : subject,
            after,
            limit,
            cancellationToken
        );
    }

    public override ValueTask<StoredPage> Enumerate(string? after, int limit, CancellationToken cancellationToken)
    {
        Note("Enumerate");
        return base.Enumerate(after, limit, cancellationToken);
    }

    public override ValueTask<long> Count(CancellationToken cancellationToken)
    {
        Note("Count");
        return base.Count(cancellationToken);
    }

    public override ValueTask<WriteResult> Insert(StoredRecord record, CancellationToken cancellationToken)
    {
        Note("Insert");
        return base.Insert(record, cancellationToken);
    }

    public override ValueTask<WriteResult> Replace(
        StoredRecord record,
        long expected,
        CancellationToken cancellationToken
    )
    {
        Note("Replace");
        return base.Replace(record, expected, cancellationToken);
    }

    public override ValueTask Remove(string id, CancellationToken cancellationToken)
    {
        Note("Remove");
        return base.Remove(id, cancellationToken);
    }
}
