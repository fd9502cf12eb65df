using System.Collections.Concurrent;
using System.Data.Common;
using Session.Engine;

namespace Session.Testing;

/// <summary>A store that works until a test has it fail: <c>store.Failure = StoreFailure.Unavailable</c>.</summary>
/// <remarks>
/// Around any other one. It can be switched while requests are under way; what they have asked before fails as it was then. What
/// is asked at start (<c>Prepare</c>) never fails: a store that is not there then says so in a note.
/// </remarks>
public sealed class FailingStore : ForwardingStore
{
    // Of the whole store and its transactions together: a write that is lost inside of one is looked up from outside.
    private readonly ConcurrentDictionary<string, bool> _lost;
    private readonly FailingStore? _whole;
    private volatile StoreFailure _failure;

    /// <summary>Around the store that keeps the sessions.</summary>
    public FailingStore(ISessionStore inner)
        : base(inner) => _lost = new(StringComparer.Ordinal);

    // Inside a transaction of the application's: it fails as the whole store does.
    private FailingStore(ISessionStore joined, FailingStore whole)
        : base(joined) => (_whole, _lost) = (whole, whole._lost);

    /// <summary>How it fails from now on. Default: not.</summary>
    public StoreFailure Failure
    {
        get => _whole?.Failure ?? _failure;
        set
        {
            _lost.Clear();
            _failure = value;
        }
    }

    /// <summary>How long a call takes while the store is <see cref="StoreFailure.Slow"/>. Default 1 second, in real time.</summary>
    public TimeSpan Delay { get; set; } = TimeSpan.FromSeconds(1);

    /// <inheritdoc />
    public override ValueTask<WriteResult> Insert(StoredRecord record, CancellationToken cancel) =>
        WriteAsync(record.Id, () => base.Insert(record, cancel), cancel);

    /// <inheritdoc />
    public override ValueTask<WriteResult> Replace(StoredRecord record, long expected, CancellationToken cancel) =>
        WriteAsync(record.Id, () => base.Replace(record, expected, cancel), cancel);

    /// <inheritdoc />
    public override ValueTask<StoredRecord?> Load(string id, CancellationToken cancel) =>
        ReadAsync(id, () => base.Load(id, cancel), cancel);

    /// <inheritdoc />
    public override ValueTask<IReadOnlyList<StoredRecord>> LoadMany(
        IReadOnlyList<string> ids,
        CancellationToken cancel
    ) => ReadAsync(ids.FirstOrDefault(_lost.ContainsKey), () => base.LoadMany(ids, cancel), cancel);

    /// <inheritdoc />
    public override async ValueTask Touch(string id, DateTimeOffset at, CancellationToken cancel) =>
        await WriteAsync(id, () => Done(base.Touch(id, at, cancel)), cancel).ConfigureAwait(false);

    /// <inheritdoc />
    public override async ValueTask Remove(string id, CancellationToken cancel) =>
        await WriteAsync(id, () => Done(base.Remove(id, cancel)), cancel).ConfigureAwait(false);

    /// <inheritdoc />
    public override async ValueTask RemoveVersion(string id, long version, long operation, CancellationToken cancel) =>
        await WriteAsync(id, () => Done(base.RemoveVersion(id, version, operation, cancel)), cancel)
            .ConfigureAwait(false);

    /// <inheritdoc />
    public override ValueTask<StoredPage> BySubject(
        string subject,
        string? after,
        int limit,
        CancellationToken cancel
    ) => ReadAsync(null, () => base.BySubject(subject, after, limit, cancel), cancel);

    /// <inheritdoc />
    public override ValueTask<StoredPage> Enumerate(string? after, int limit, CancellationToken cancel) =>
        ReadAsync(null, () => base.Enumerate(after, limit, cancel), cancel);

    /// <inheritdoc />
    public override ValueTask<long> Count(CancellationToken cancel) =>
        ReadAsync(null, () => base.Count(cancel), cancel);

    /// <inheritdoc />
    public override ValueTask<IReadOnlyList<StoredRecord>> ClaimOverdue(
        DateTimeOffset now,
        TimeSpan lease,
        int limit,
        CancellationToken cancel
    ) => ReadAsync(null, () => base.ClaimOverdue(now, lease, limit, cancel), cancel);

    /// <inheritdoc />
    public override async ValueTask Reschedule(
        string id,
        long version,
        DateTimeOffset dueAt,
        CancellationToken cancel
    ) => await WriteAsync(id, () => Done(base.Reschedule(id, version, dueAt, cancel)), cancel).ConfigureAwait(false);

    /// <inheritdoc />
    public override ValueTask<ISessionStore> Join(
        DbTransaction transaction,
        string subject,
        CancellationToken cancel
    ) =>
        ReadAsync<ISessionStore>(
            null,
            async () => new FailingStore(await base.Join(transaction, subject, cancel).ConfigureAwait(false), this),
            cancel
        );

    /// <inheritdoc />
    public override async ValueTask Publish(IReadOnlyList<string> ids, CancellationToken cancel) =>
        await ReadAsync(null, () => Done(base.Publish(ids, cancel)), cancel).ConfigureAwait(false);

    /// <inheritdoc />
    public override ValueTask<IAsyncDisposable> Subscribe(Action<string?> heard, CancellationToken cancel) =>
        ReadAsync(null, () => base.Subscribe(heard, cancel), cancel);

    private static IOException Failed() => new("The store fails because the test said so.");

    private static async ValueTask<bool> Done(ValueTask call)
    {
        await call.ConfigureAwait(false);
        return true;
    }

    private async ValueTask<TAnswer> ReadAsync<TAnswer>(
        string? id,
        Func<ValueTask<TAnswer>> read,
        CancellationToken cancel
    )
    {
        await BeforeAsync(cancel).ConfigureAwait(false);
        if (id is not null && _lost.ContainsKey(id))
            throw Failed();

        return await read().ConfigureAwait(false);
    }

    private async ValueTask<TAnswer> WriteAsync<TAnswer>(
        string id,
        Func<ValueTask<TAnswer>> write,
        CancellationToken cancel
    )
    {
        var isUnsure = Failure == StoreFailure.Unsure;
        await BeforeAsync(cancel).ConfigureAwait(false);
        if (isUnsure)
            _lost[id] = true;

        var answer = await write().ConfigureAwait(false);
        return isUnsure ? throw Failed() : answer;
    }

    private Task BeforeAsync(CancellationToken cancel) =>
        Failure switch
        {
            StoreFailure.Unavailable => Task.FromException(Failed()),
            StoreFailure.Slow => Task.Delay(_whole?.Delay ?? Delay, cancel),
            _ => Task.CompletedTask,
        };
}
