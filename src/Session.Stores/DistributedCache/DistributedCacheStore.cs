using Microsoft.Extensions.Caching.Distributed;
using Session.Engine;

namespace Session.Stores.DistributedCache;

/// <summary>
/// Sessions in whatever cache the application has. A cache neither compares and swaps nor lists: in one process no write
/// is lost, between processes the last one wins. <c>Prepare</c> says so.
/// </summary>
public sealed class DistributedCacheStore : ISessionStore, IRemovesVersion
{
    private const string CannotList =
        "A distributed cache cannot list sessions: neither those of a subject nor those that are overdue. Choose UseRedis or UseSqlite for that.";

    private const string InThisProcess = "Microsoft.Extensions.Caching.Distributed.MemoryDistributedCache";

    private readonly string _cacheName;
    private readonly CacheEntries _entries;
    private readonly WriteGates _gates;
    private readonly string _prefix;
    private readonly TimeSpan _timeout;
    private readonly TimeSpan _keepFor;
    private readonly TimeSpan _margin;

    /// <summary>Checks the settings; nothing is sent to the cache.</summary>
    /// <param name="cache">The cache: whoever made it closes it.</param>
    /// <param name="options">The settings. Later changes of them have no effect.</param>
    /// <exception cref="ArgumentException">A setting is out of range.</exception>
    public DistributedCacheStore(IDistributedCache cache, DistributedCacheStoreOptions options)
    {
        ArgumentNullException.ThrowIfNull(cache);
        ArgumentNullException.ThrowIfNull(options);
        OptionChecks.Require(
            options.KeyPrefix is { Length: <= 100 },
            "DistributedCacheStoreOptions.KeyPrefix must have at most 100 characters."
        );
        OptionChecks.RequireOperationTimeout(options.OperationTimeout, nameof(DistributedCacheStoreOptions));
        OptionChecks.Require(
            options.KeepFor > TimeSpan.Zero && options.KeepFor <= Lifetime.Longest,
            "DistributedCacheStoreOptions.KeepFor must be more than zero and at most ten years."
        );
        Lifetime.RequireMargin(options.JanitorMargin, nameof(DistributedCacheStoreOptions));

        _cacheName = cache.GetType().FullName ?? cache.GetType().Name;
        _entries = new CacheEntries(cache, dropsSilently: _cacheName == InThisProcess);
        _gates = WriteGates.Of(cache);
        _prefix = options.KeyPrefix;
        _timeout = options.OperationTimeout;
        _keepFor = options.KeepFor;
        _margin = options.JanitorMargin;
    }

    ValueTask<StoreReport> ISessionStore.Prepare(CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        List<string> notes =
        [
            "A distributed cache has no compare-and-swap: parallel updates from two nodes can lose one, and a late save on one node can undo a logout on another. On one node nothing is lost. For several nodes choose UseRedis, for one machine UseSqlite.",
            "A distributed cache cannot list sessions: no list of a subject's sessions, no DestroyAllAsync, no limit of sessions, and OnExpired is never told.",
            $"A session is dropped {Words(_keepFor + _margin)} after its last write, and whenever the cache needs room: set DistributedCacheStoreOptions.KeepFor to at least AbsoluteTimeout, and give the cache enough memory.",
        ];
        if (_cacheName == InThisProcess)
            notes.Add(
                "The registered cache is MemoryDistributedCache, the memory of this process: its sessions end with it, and no other node sees them. UseMemory says the same and keeps every promise on one node."
            );

        return ValueTask.FromResult(
            new StoreReport($"cache:{_cacheName}/{_gates.Name}/{_prefix}", false, false, notes)
        );
    }

    ValueTask<WriteResult> ISessionStore.Insert(StoredRecord record, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(record);
        var head = RecordEnvelope.Head(record);
        return Write(
            record.Id,
            async (write, cancel) =>
            {
                if (await _entries.Get(Key(record.Id), cancel).ConfigureAwait(false) is not null)
                    return WriteResult.Conflict;

                write.Send();
                await _entries.Set(Key(record.Id), head, record.Body, TimeToLive(record)).ConfigureAwait(false);
                return WriteResult.Written;
            },
            WriteResult.Unknown,
            cancellationToken
        );
    }

    async ValueTask<StoredRecord?> ISessionStore.Load(string id, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(id);
        cancellationToken.ThrowIfCancellationRequested();
        using var deadline = new Deadline(_timeout, cancellationToken);
        return await deadline.Of(Find(id, deadline.Token)).ConfigureAwait(false);
    }

    ValueTask<WriteResult> ISessionStore.Replace(
        StoredRecord record,
        long expected,
        CancellationToken cancellationToken
    )
    {
        ArgumentNullException.ThrowIfNull(record);
        return Write(
            record.Id,
            async (write, cancel) =>
            {
                var stored = await Find(record.Id, cancel).ConfigureAwait(false);
                if (stored is null)
                    return WriteResult.Absent;
                if (stored.Version != expected)
                    return WriteResult.Conflict;

                var head = RecordEnvelope.Head(record.SeenAt(stored.LastSeen));
                write.Send();
                await _entries.Set(Key(record.Id), head, record.Body, TimeToLive(record)).ConfigureAwait(false);
                return WriteResult.Written;
            },
            WriteResult.Unknown,
            cancellationToken
        );
    }

    // Under a key of its own: a touch that wrote the record again could undo a logout that another node takes meanwhile.
    async ValueTask ISessionStore.Touch(string id, DateTimeOffset at, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(id);
        await Write(
                id,
                async (write, cancel) =>
                {
                    var stored = await Find(id, cancel).ConfigureAwait(false);
                    if (stored is null || stored.Kind == RecordKind.Ended || stored.LastSeen >= at)
                        return true;

                    write.Send();
                    await _entries
                        .Set(SeenKey(id), RecordEnvelope.Write(at), default, TimeToLive(stored))
                        .ConfigureAwait(false);
                    return true;
                },
                true,
                cancellationToken
            )
            .ConfigureAwait(false);
    }

    ValueTask ISessionStore.Remove(string id, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(id);
        return RemoveIf(id, _ => Task.FromResult(true), cancellationToken);
    }

    // The cache compares nothing: what another process writes between the look and the removal is removed.
    ValueTask IRemovesVersion.RemoveVersion(
        string id,
        long version,
        long operation,
        CancellationToken cancellationToken
    )
    {
        ArgumentNullException.ThrowIfNull(id);
        return RemoveIf(id, IsStillThis, cancellationToken);

        async Task<bool> IsStillThis(CancellationToken cancel) =>
            await Find(id, cancel).ConfigureAwait(false) is { } stored
            && stored.Version == version
            && stored.Operation == operation;
    }

    ValueTask<StoredPage> ISessionStore.BySubject(
        string subject,
        string? after,
        int limit,
        CancellationToken cancellationToken
    ) => throw new NotSupportedException(CannotList);

    ValueTask<StoredPage> ISessionStore.Enumerate(string? after, int limit, CancellationToken cancellationToken) =>
        throw new NotSupportedException(CannotList);

    ValueTask<long> ISessionStore.Count(CancellationToken cancellationToken) =>
        throw new NotSupportedException(CannotList);

    ValueTask<IReadOnlyList<StoredRecord>> ISessionStore.ClaimOverdue(
        DateTimeOffset now,
        TimeSpan lease,
        int limit,
        CancellationToken cancellationToken
    ) => throw new NotSupportedException(CannotList);

    ValueTask ISessionStore.Reschedule(
        string id,
        long version,
        DateTimeOffset dueAt,
        CancellationToken cancellationToken
    ) => throw new NotSupportedException(CannotList);

    private string Key(string id) => _prefix + id;

    // Ids have no colon.
    private string SeenKey(string id) => string.Concat(_prefix, id, ":seen");

    /// <summary>The record, seen as late as its touches say: two reads at once.</summary>
    private async Task<StoredRecord?> Find(string id, CancellationToken cancellationToken)
    {
        var value = _entries.Get(Key(id), cancellationToken);
        var seen = _entries.Get(SeenKey(id), cancellationToken);
        await Task.WhenAll(value, seen).ConfigureAwait(false);
        if (await value.ConfigureAwait(false) is not { } bytes)
            return null;

        var record = RecordEnvelope.Read(id, bytes);
        return record.Kind != RecordKind.Ended && await seen.ConfigureAwait(false) is { } time
            ? record.SeenAt(RecordEnvelope.Time(id, time.Span))
            : record;
    }

    private async ValueTask RemoveIf(
        string id,
        Func<CancellationToken, Task<bool>> isWanted,
        CancellationToken cancellationToken
    )
    {
        var isDone = await Write(
                id,
                async (write, cancel) =>
                {
                    if (!await isWanted(cancel).ConfigureAwait(false))
                        return true;

                    write.Send();
                    await _entries.Remove(Key(id)).ConfigureAwait(false);
                    await _entries.Remove(SeenKey(id)).ConfigureAwait(false);
                    return true;
                },
                false,
                cancellationToken
            )
            .ConfigureAwait(false);
        if (!isDone)
            throw Deadline.Passed(_timeout);
    }

    /// <summary>
    /// Runs the work, alone in this process with the id. It sends one write at most, and that one once. A write that was
    /// sent keeps its turn until the cache has answered, even when its caller has gone: it may still take effect, and must
    /// not do so behind a later one.
    /// </summary>
    /// <param name="id">The id of the record.</param>
    /// <param name="work">Looks, and then says <see cref="PendingWrite.Send"/> before it writes.</param>
    /// <param name="whenUnknown">The answer when the write was sent, and the cache's answer has not come in time.</param>
    /// <param name="cancellationToken">Stops what was not sent yet.</param>
    private async ValueTask<T> Write<T>(
        string id,
        Func<PendingWrite, CancellationToken, Task<T>> work,
        T whenUnknown,
        CancellationToken cancellationToken
    )
    {
        cancellationToken.ThrowIfCancellationRequested();
        using var deadline = new Deadline(_timeout, cancellationToken);
        var gate = await _gates.EnterAsync(Key(id), deadline).ConfigureAwait(false);
        var write = new PendingWrite();
        var turn = Turn(deadline.Token);
        try
        {
            return await deadline.Of(turn).ConfigureAwait(false);
        }
        catch (Exception) when (!turn.IsFaulted && !turn.IsCanceled)
        {
            if (turn.IsCompletedSuccessfully)
                return await turn.ConfigureAwait(false);

            _ = turn.ContinueWith(
                static turn => _ = turn.Exception,
                CancellationToken.None,
                TaskContinuationOptions.OnlyOnFaulted,
                TaskScheduler.Default
            );
            if (write.GiveUp())
                throw;
            return whenUnknown;
        }

        async Task<T> Turn(CancellationToken cancel)
        {
            try
            {
                return await work(write, cancel).ConfigureAwait(false);
            }
            catch (OperationCanceledException) when (write.WasSent)
            {
                // The cache gave up by itself. To the caller a cancelled call would mean that nothing was changed.
                return whenUnknown;
            }
            finally
            {
                gate.Leave();
            }
        }
    }

    /// <summary>When the cache may clear the record away. Sessions end by the deadlines in their records, and reads do not prolong this.</summary>
    private TimeSpan TimeToLive(StoredRecord record)
    {
        var rest = Lifetime.Between(record.LastSeen, record.DueAt);
        return (record.Kind == RecordKind.Live && rest < _keepFor ? _keepFor : rest) + _margin;
    }

    private static string Words(TimeSpan time) =>
        time.TotalHours < 48 ? $"{time.TotalHours:0.#} hours" : $"{time.TotalDays:0.#} days";
}
