using Session.Engine;

namespace Session.Stores.Redis;

/// <summary>
/// Sessions in Redis: one node, Sentinel or Cluster. Each record is one key, and each change of it one atomic script. The
/// indexes (by subject, by due time, of all) are keys of their own.
/// </summary>
public sealed class RedisStore
    : ISessionStore,
        IRemovesVersion,
        ICountsCheaply,
        IReadsMany,
        ISessionSignals,
        IAsyncDisposable,
        IDisposable
{
    private readonly RedisStoreOptions _options;
    private readonly RedisLink _link;
    private readonly Records _records;
    private readonly ManyRecords _many;
    private readonly RecordWrites _writes;
    private readonly RecordRemovals _removals;
    private readonly Listings _listings;
    private readonly OverdueClaims _claims;
    private readonly Signals _signals;

    /// <summary>Checks the settings; <c>Prepare</c>, or the first use, connects.</summary>
    /// <param name="options">The settings. Later changes of them have no effect.</param>
    /// <exception cref="ArgumentException">A setting is out of range.</exception>
    public RedisStore(RedisStoreOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        _options = options.Checked();
        var keys = new RecordKeys(_options.Prefix);
        _link = new RedisLink(_options);
        _records = new Records(_link, keys, _options.JanitorMargin);
        _many = new ManyRecords(_link, keys, _records);
        var indexes = new RecordIndexes(_link, keys, _records);
        var replicas = _options.WaitForReplicas > 0 ? new ReplicaWait(_link, keys, _options) : null;
        _writes = new RecordWrites(_link, _records, indexes, replicas);
        _removals = new RecordRemovals(_link, _records, indexes);
        _listings = new Listings(_link, keys, _records);
        _claims = new OverdueClaims(_link, keys, _records, indexes);
        _signals = new Signals(_link, _options.Prefix);
    }

    async ValueTask<StoreReport> ISessionStore.Prepare(CancellationToken cancellationToken)
    {
        await _link.Connect(cancellationToken).ConfigureAwait(false);
        var notes = await ServerProbe.RunAsync(_link, _options, cancellationToken).ConfigureAwait(false);
        return new StoreReport($"redis:{_link.Place}/{_options.Prefix}", true, true, notes, _options.JanitorMargin);
    }

    ValueTask<WriteResult> ISessionStore.Insert(StoredRecord record, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(record);
        return _writes.Insert(record, cancellationToken);
    }

    ValueTask<StoredRecord?> ISessionStore.Load(string id, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(id);
        cancellationToken.ThrowIfCancellationRequested();
        return _link.Database is { } db && !_link.IsWatched
            ? _records.Load(db, id)
            : LoadWatched(id, cancellationToken);
    }

    private async ValueTask<StoredRecord?> LoadWatched(string id, CancellationToken cancellationToken)
    {
        var db = _link.Database ?? (await _link.Ready(cancellationToken).ConfigureAwait(false)).Database;
        var found = await _records.Load(db, id).ConfigureAwait(false);
        // A primary that the others have left without this node's having noticed knows nothing of what came since.
        if (found is null)
            await _link.RequirePrimary(db, cancellationToken).ConfigureAwait(false);
        return found;
    }

    ValueTask<WriteResult> ISessionStore.Replace(
        StoredRecord record,
        long expected,
        CancellationToken cancellationToken
    )
    {
        ArgumentNullException.ThrowIfNull(record);
        return _writes.Replace(record, expected, cancellationToken);
    }

    async ValueTask ISessionStore.Touch(string id, DateTimeOffset at, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(id);
        var db = (await _link.Ready(cancellationToken).ConfigureAwait(false)).Database;
        _records.Touch(db, id, at);
    }

    ValueTask ISessionStore.Remove(string id, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(id);
        return _removals.Remove(id, cancellationToken);
    }

    ValueTask IRemovesVersion.RemoveVersion(
        string id,
        long version,
        long operation,
        CancellationToken cancellationToken
    )
    {
        ArgumentNullException.ThrowIfNull(id);
        return _removals.RemoveVersion(id, version, operation, cancellationToken);
    }

    ValueTask<StoredPage> ISessionStore.BySubject(
        string subject,
        string? after,
        int limit,
        CancellationToken cancellationToken
    )
    {
        ArgumentNullException.ThrowIfNull(subject);
        ArgumentOutOfRangeException.ThrowIfLessThan(limit, 1);
        return _listings.BySubject(subject, after, limit, cancellationToken);
    }

    ValueTask<StoredPage> ISessionStore.Enumerate(string? after, int limit, CancellationToken cancellationToken)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(limit, 1);
        return _listings.Enumerate(after, limit, cancellationToken);
    }

    ValueTask<long> ISessionStore.Count(CancellationToken cancellationToken) => _listings.Count(cancellationToken);

    ValueTask<IReadOnlyList<StoredRecord>> ISessionStore.ClaimOverdue(
        DateTimeOffset now,
        TimeSpan lease,
        int limit,
        CancellationToken cancellationToken
    )
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(limit, 1);
        return _claims.ClaimOverdue(now, lease, limit, cancellationToken);
    }

    ValueTask ISessionStore.Reschedule(
        string id,
        long version,
        DateTimeOffset dueAt,
        CancellationToken cancellationToken
    )
    {
        ArgumentNullException.ThrowIfNull(id);
        return _claims.Reschedule(id, version, dueAt, cancellationToken);
    }

    async ValueTask<IReadOnlyList<StoredRecord>> IReadsMany.LoadMany(
        IReadOnlyList<string> ids,
        CancellationToken cancellationToken
    )
    {
        ArgumentNullException.ThrowIfNull(ids);
        var db = (await _link.Ready(cancellationToken).ConfigureAwait(false)).Database;
        await _signals.FollowAsync().ConfigureAwait(false);
        var found = await _many.Load(db, ids).ConfigureAwait(false);
        if (found.Count < ids.Count && _link.IsWatched)
            await _link.RequirePrimary(db, cancellationToken).ConfigureAwait(false);
        return found;
    }

    ValueTask ISessionSignals.Publish(IReadOnlyList<string> ids, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(ids);
        return _signals.PublishAsync(ids, cancellationToken);
    }

    ValueTask<IAsyncDisposable> ISessionSignals.Subscribe(Action<string?> heard, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(heard);
        return _signals.SubscribeAsync(heard, cancellationToken);
    }

    /// <summary>Closes the connections, if the store made them.</summary>
    public ValueTask DisposeAsync() => _link.DisposeAsync();

    /// <summary>Closes the connections, if the store made them: for a container that is disposed without awaiting.</summary>
    public void Dispose() => _link.Dispose();
}
