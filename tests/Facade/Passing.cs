using Session.Engine;

namespace Facade;

/// <summary>The memory store, of which a test takes something away.</summary>
internal abstract class Passing : ISessionStore
{
    private readonly ISessionStore _inner = new MemoryStore();

    public virtual ValueTask<StoreReport> Prepare(CancellationToken cancel) => _inner.Prepare(cancel);

    public virtual ValueTask<WriteResult> Insert(StoredRecord record, CancellationToken cancel) =>
        _inner.Insert(record, cancel);

    public virtual ValueTask<StoredRecord?> Load(string id, CancellationToken cancel) => _inner.Load(id, cancel);

    public virtual ValueTask<WriteResult> Replace(StoredRecord record, long expected, CancellationToken cancel) =>
        _inner.Replace(record, expected, cancel);

    public ValueTask Touch(string id, DateTimeOffset at, CancellationToken cancel) => _inner.Touch(id, at, cancel);

    public ValueTask Remove(string id, CancellationToken cancel) => _inner.Remove(id, cancel);

    public virtual ValueTask<StoredPage> BySubject(
        string subject,
        string? after,
        int limit,
        CancellationToken cancel
    ) => _inner.BySubject(subject, after, limit, cancel);

    public virtual ValueTask<StoredPage> Enumerate(string? after, int limit, CancellationToken cancel) =>
        _inner.Enumerate(after, limit, cancel);

    public ValueTask<long> Count(CancellationToken cancel) => _inner.Count(cancel);

    public virtual ValueTask<IReadOnlyList<StoredRecord>> ClaimOverdue(
        DateTimeOffset now,
        TimeSpan lease,
        int limit,
        CancellationToken cancel
    ) => _inner.ClaimOverdue(now, lease, limit, cancel);

    public ValueTask Reschedule(string id, long version, DateTimeOffset dueAt, CancellationToken cancel) =>
        _inner.Reschedule(id, version, dueAt, cancel);
}

/// <summary>A store that looks at the token of each read, as those do whose server is far away.</summary>
internal sealed class Careful : Passing
{
    public override ValueTask<StoredRecord?> Load(string id, CancellationToken cancel)
    {
        cancel.ThrowIfCancellationRequested();
        return base.Load(id, cancel);
    }

    public override ValueTask<StoredPage> BySubject(string subject, string? after, int limit, CancellationToken cancel)
    {
        cancel.ThrowIfCancellationRequested();
        return base.BySubject(subject, after, limit, cancel);
    }
}
