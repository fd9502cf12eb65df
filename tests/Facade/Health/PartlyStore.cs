using Session.Engine;

namespace Facade.Health;

/// <summary>A store some of whose calls fail, or that says things at start.</summary>
internal sealed class PartlyStore(ISessionStore inner) : ForwardingStore(inner)
{
    private int _prepared;

    /// <summary>Verbs that throw.</summary>
    public HashSet<string> Failing { get; } = [];

    /// <summary>Writes that no replica confirms, where they have to last. What need not waits for none.</summary>
    public HashSet<string> Alone { get; } = [];

    /// <summary>What an insert answers in place of Written.</summary>
    public WriteResult Written { get; set; } = WriteResult.Written;

    /// <summary>Whether a load finds nothing, as on a replica that has not heard of the write.</summary>
    public bool ReadsBehind { get; set; }

    /// <summary>Whether a load finds what another write has left under the same version.</summary>
    public bool ReadsAnothers { get; set; }

    public string[] Notes { get; set; } = [];
    public string? Refusal { get; set; }
    public int Prepared => Volatile.Read(ref _prepared);
    public List<string> Calls { get; } = [];

    public override async ValueTask<StoreReport> Prepare(CancellationToken cancel)
    {
        Interlocked.Increment(ref _prepared);
        if (Refusal is not null)
            throw new InvalidOperationException(Refusal);

        var report = await base.Prepare(cancel);
        return new StoreReport(report.Location, report.ComparesAndSwaps, report.Lists, Notes);
    }

    public override async ValueTask<WriteResult> Insert(StoredRecord record, CancellationToken cancel)
    {
        Note("insert");
        var result = Confirmed("insert", record, await base.Insert(record, cancel));
        return result == WriteResult.Written ? Written : result;
    }

    public override async ValueTask<StoredRecord?> Load(string id, CancellationToken cancel)
    {
        Note("load");
        var found = ReadsBehind ? null : await base.Load(id, cancel);
        return found is null || !ReadsAnothers
            ? found
            : new StoredRecord(
                found.Id,
                found.Version,
                found.Kind,
                found.LastSeen,
                found.DueAt,
                found.Subject,
                found.Operation + 1,
                found.Body
            );
    }

    public override async ValueTask<WriteResult> Replace(StoredRecord record, long expected, CancellationToken cancel)
    {
        Note("replace");
        return Confirmed("replace", record, await base.Replace(record, expected, cancel));
    }

    public override ValueTask Remove(string id, CancellationToken cancel)
    {
        Note("remove");
        return base.Remove(id, cancel);
    }

    private WriteResult Confirmed(string verb, StoredRecord record, WriteResult result) =>
        result == WriteResult.Written && record.IsDurable && Alone.Contains(verb) ? WriteResult.Unacknowledged : result;

    private void Note(string verb)
    {
        lock (Calls)
            Calls.Add(verb);

        if (Failing.Contains(verb))
            throw new IOException("server-42.internal does not do that");
    }
}
