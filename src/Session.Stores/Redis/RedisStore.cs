using System.Globalization;
using System.Runtime.CompilerServices;
using Session.Engine;
using StackExchange.Redis;

namespace Session.Stores.Redis;

/// <summary>
/// Sessions in Redis: one node, Sentinel or Cluster. One key per record, and each change of it one atomic script.
/// The indexes (by subject, by time, of all) live in keys of their own: entries come first and the record second, so that
/// an entry may be stale, and none is ever missing.
/// </summary>
public sealed class RedisStore : ISessionStore, IAsyncDisposable
{
    private const int Shards = 16;

    // The script's answer besides the results: nothing was written, for the indexes have to change first.
    private const WriteResult NeedsIndexes = (WriteResult)3;

    // And this: nothing was written, for somebody loses the session, which has to be noted first.
    private const WriteResult LosesSubject = (WriteResult)4;

    // The head of no record.
    private const string NoHead = "-";

    // Scores are ticks since then: doubles hold them exactly until 2048, and to a few ticks for ever.
    private static readonly long Epoch = new DateTime(2020, 1, 1, 0, 0, 0, DateTimeKind.Utc).Ticks;
    private static readonly TimeSpan Longest = TimeSpan.FromDays(3650);

    // Than any operation takes.
    private static readonly TimeSpan Longer = TimeSpan.FromMinutes(10);

    private readonly RedisStoreOptions _options;
    private readonly SemaphoreSlim _connecting = new(1, 1);
    private IConnectionMultiplexer? _connection;

    // WAIT holds up whatever else goes over its connection: writes that wait have one of their own.
    private IConnectionMultiplexer? _waiting;
    private volatile IDatabase? _database;
    private volatile IDatabase? _waitingDatabase;
    private bool _ownsConnection;
    private bool _isCluster;
    private long _lookedAt;
    private volatile bool _disposed;

    /// <summary>Checks the settings; <c>Prepare</c>, or the first use, connects.</summary>
    /// <param name="options">The settings. Later changes of them have no effect.</param>
    /// <exception cref="ArgumentException">A setting is out of range.</exception>
    public RedisStore(RedisStoreOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        Require(
            options.Connect is not null || !string.IsNullOrWhiteSpace(options.Configuration),
            "RedisStoreOptions.Configuration must be a connection string, such as localhost:6379."
        );
        Require(
            options.KeyPrefix is { Length: <= 100 },
            "RedisStoreOptions.KeyPrefix must have at most 100 characters."
        );
        Require(
            options.OperationTimeout > TimeSpan.Zero && options.OperationTimeout <= TimeSpan.FromMinutes(10),
            "RedisStoreOptions.OperationTimeout must be more than zero and at most ten minutes."
        );
        Require(options.WaitForReplicas >= 0, "RedisStoreOptions.WaitForReplicas must not be negative.");
        Require(
            options.WaitTimeout > TimeSpan.Zero && options.WaitTimeout <= TimeSpan.FromMinutes(10),
            "RedisStoreOptions.WaitTimeout must be more than zero and at most ten minutes."
        );
        Require(
            options.JanitorMargin >= TimeSpan.FromMinutes(10) && options.JanitorMargin <= Longest,
            "RedisStoreOptions.JanitorMargin must be between ten minutes and ten years."
        );
        _options = options;

        static void Require(bool isRight, string sentence)
        {
            if (!isRight)
                throw new ArgumentException(sentence, nameof(options));
        }
    }

    async ValueTask<StoreReport> ISessionStore.Prepare(CancellationToken cancellationToken)
    {
        var connection = await Connection(cancellationToken).ConfigureAwait(false);
        var notes = await ServerProbe.RunAsync(connection, _options, cancellationToken).ConfigureAwait(false);
        var places = connection
            .GetEndPoints(configuredOnly: true)
            .Select(e => e.ToString())
            .Order(StringComparer.Ordinal);
        var database = connection.GetDatabase(_options.Database).Database;
        return new StoreReport($"redis:{string.Join(',', places)}/{database}/{_options.KeyPrefix}", true, true, notes);
    }

    async ValueTask<WriteResult> ISessionStore.Insert(StoredRecord record, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(record);
        var db = await Ready(cancellationToken, record.IsDurable).ConfigureAwait(false);
        var indexed = Task.WhenAll(EnterLists(db, record), EnterSubject(db, record));
        if (_isCluster)
            await Within(indexed).ConfigureAwait(false);

        var result = await Write(
                db.StringSetAsync(Key(record.Id), RecordLayout.Write(record), TimeToLive(record), When.NotExists),
                static written => written ? WriteResult.Written : WriteResult.Conflict
            )
            .ConfigureAwait(false);
        await Within(indexed).ConfigureAwait(false);
        if (result == WriteResult.Unknown)
            result = await Confirm(db, record).ConfigureAwait(false);

        if (result == WriteResult.Written)
        {
            // Once more: a listing or a sweep may have found the entries before the record was there, and dropped them.
            if (record.Subject is not null || record.DueAt <= record.LastSeen + TimeSpan.FromMinutes(1))
                await Within(Task.WhenAll(EnterLists(db, record), SettleSubject(db, record))).ConfigureAwait(false);
            await Last(db, record).ConfigureAwait(false);
        }
        else if (result == WriteResult.Conflict && await Fetch(db, record.Id).ConfigureAwait(false) is { } taken)
        {
            await Within(Leave(db, taken)).ConfigureAwait(false);
            if (record.Subject is not null && record.Subject != taken.Subject)
                await Prune(db, record.Subject, record.Id).ConfigureAwait(false);
        }

        return result;
    }

    ValueTask<StoredRecord?> ISessionStore.Load(string id, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(id);
        cancellationToken.ThrowIfCancellationRequested();
        return _database is { } db ? Fetch(db, id) : LoadLater(id, cancellationToken);

        async ValueTask<StoredRecord?> LoadLater(string id, CancellationToken cancellationToken) =>
            await Fetch(await Ready(cancellationToken).ConfigureAwait(false), id).ConfigureAwait(false);
    }

    ValueTask<WriteResult> ISessionStore.Replace(
        StoredRecord record,
        long expected,
        CancellationToken cancellationToken
    )
    {
        ArgumentNullException.ThrowIfNull(record);
        cancellationToken.ThrowIfCancellationRequested();
        // What ends or elevates a session changes the indexes as a rule, what else is written does not.
        return record.IsDurable || record.Kind == RecordKind.Ended
            ? ReplaceIndexed(record, expected, cancellationToken)
            : ReplaceInPlace(record, expected, cancellationToken);
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<WriteResult> ReplaceInPlace(
        StoredRecord record,
        long expected,
        CancellationToken cancellationToken
    )
    {
        var db = await Ready(cancellationToken).ConfigureAwait(false);
        RedisKey[] keys = [Key(record.Id)];
        RedisValue version = RecordLayout.Number(expected);
        RedisValue value = RecordLayout.Write(record);
        RedisValue ttl = Milliseconds(TimeToLive(record));
        RedisValue[] values =
            record.Basis is { } basis && basis.Version == expected && RecordLayout.KeepsIndexes(basis, record)
                ? [version, value, ttl, 0, RecordLayout.Head(basis)]
                : [version, value, ttl, 0, NoHead];

        WriteResult result;
        try
        {
            result = Code(
                await Within(db.ScriptEvaluateAsync(Scripts.ReplaceHash, keys, values)).ConfigureAwait(false)
            );
        }
        catch (RedisServerException error) when (error.Message.StartsWith("NOSCRIPT", StringComparison.Ordinal))
        {
            result = await Write(db.ScriptEvaluateAsync(Scripts.Replace, keys, values), Code).ConfigureAwait(false);
        }
        catch (Exception error) when (MayHaveTakenEffect(error))
        {
            return WriteResult.Unknown;
        }

        return result == NeedsIndexes
            ? await ReplaceIndexed(record, expected, cancellationToken).ConfigureAwait(false)
            : result;
    }

    /// <summary>The indexes first, then the record, then the indexes for good.</summary>
    private async ValueTask<WriteResult> ReplaceIndexed(
        StoredRecord record,
        long expected,
        CancellationToken cancellationToken
    )
    {
        var db = await Ready(cancellationToken, record.IsDurable).ConfigureAwait(false);
        var indexed = Task.WhenAll(EnterList(db, record), EnterSubject(db, record));
        if (_isCluster)
            await Within(indexed).ConfigureAwait(false);

        string? left = null;
        WriteResult result;
        bool isNew;
        while (true)
        {
            string? loses = null;
            isNew = false;
            result = await Write(
                    db.ScriptEvaluateAsync(
                        Scripts.Replace,
                        [Key(record.Id)],
                        [
                            RecordLayout.Number(expected),
                            RecordLayout.Write(record),
                            Milliseconds(TimeToLive(record)),
                            1,
                            NoHead,
                            left ?? "",
                        ]
                    ),
                    answer =>
                    {
                        var code = Code(answer);
                        isNew = code == WriteResult.Written && answer.Length > 1;
                        loses = code == LosesSubject ? (string?)answer[1] : null;
                        return code;
                    }
                )
                .ConfigureAwait(false);
            await Within(indexed).ConfigureAwait(false);
            if (loses is null)
                break;

            // Noted first: a sweep finds their entry if this process is stopped before it has removed it.
            left = loses;
            await Within(Intend(db, record.Id, left, Score(record.LastSeen + Longer))).ConfigureAwait(false);
        }

        if (result == WriteResult.Unknown)
        {
            result = await Confirm(db, record).ConfigureAwait(false);
            isNew = true;
        }

        if (result != WriteResult.Written)
            return result;

        // Never later than it was: a sweep that comes early looks at the record, and one that comes late cannot.
        await Within(
                Task.WhenAll(
                    isNew ? SettleSubject(db, record) : EndIntent(db, record),
                    db.SortedSetAddAsync(
                        DueKey(Shard(record.Id)),
                        record.Id,
                        Score(record.DueAt),
                        SortedSetWhen.LessThan
                    )
                )
            )
            .ConfigureAwait(false);
        if (left is not null)
            await Prune(db, left, record.Id).ConfigureAwait(false);
        await Within(Leave(db, record)).ConfigureAwait(false);
        await Last(db, record).ConfigureAwait(false);
        return result;
    }

    /// <summary>What <see cref="Scripts.Replace"/> answered.</summary>
    private static WriteResult Code(RedisResult answer) =>
        (WriteResult)(answer.Length < 0 ? (int)answer : (int)answer[0]);

    async ValueTask ISessionStore.Touch(string id, DateTimeOffset at, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(id);
        var db = await Ready(cancellationToken).ConfigureAwait(false);

        // Not awaited: a lost touch ends a session a little early, and nothing worse.
        Ignore(db.ScriptEvaluateAsync(Scripts.Touch, [Key(id)], [RecordLayout.Number(at.UtcTicks)]));
    }

    async ValueTask ISessionStore.Remove(string id, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(id);
        var db = await Ready(cancellationToken).ConfigureAwait(false);
        // Whose it is, noted first: a sweep finds the entries of what was removed by somebody who was stopped here.
        var before = (await Fetch(db, id).ConfigureAwait(false))?.Subject;
        if (before is not null)
            await Within(Intend(db, id, before, 0)).ConfigureAwait(false);
        var subject = (string?)await Within(db.ScriptEvaluateAsync(Scripts.Remove, [Key(id)])).ConfigureAwait(false);
        foreach (var one in new[] { before, subject }.OfType<string>().Distinct(StringComparer.Ordinal))
            await Prune(db, one, id).ConfigureAwait(false);
        await Forget(db, id).ConfigureAwait(false);
    }

    async ValueTask<StoredPage> ISessionStore.BySubject(
        string subject,
        string? after,
        int limit,
        CancellationToken cancellationToken
    )
    {
        ArgumentNullException.ThrowIfNull(subject);
        ArgumentOutOfRangeException.ThrowIfLessThan(limit, 1);
        var db = await Ready(cancellationToken).ConfigureAwait(false);
        var members = await Within(SubjectIndex.After(db, SubjectKey(subject), after, limit + 1L))
            .ConfigureAwait(false);
        var ids = members.Take(limit).Select(SubjectIndex.IdOf).Distinct(StringComparer.Ordinal).ToArray();
        var records = await FetchAll(db, ids).ConfigureAwait(false);

        // An entry whose record is gone, or not yet or no longer this subject's. A sign-in that is under way makes another.
        var theirs = records.Where(record => record?.Subject == subject).Select(record => record!).ToArray();
        var known = theirs.Select(record => record.Id).ToHashSet(StringComparer.Ordinal);
        var stale = members.Take(limit).Where(member => !known.Contains(SubjectIndex.IdOf(member))).ToArray();
        if (stale.Length > 0)
            await Within(db.SortedSetRemoveAsync(SubjectKey(subject), stale)).ConfigureAwait(false);

        return new StoredPage(theirs, members.Length > limit ? ids[^1] : null);
    }

    async ValueTask<StoredPage> ISessionStore.Enumerate(string? after, int limit, CancellationToken cancellationToken)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(limit, 1);
        var db = await Ready(cancellationToken).ConfigureAwait(false);
        var found = await Within(
                Task.WhenAll(
                    Enumerable
                        .Range(0, Shards)
                        .SelectMany(shard =>
                            new[]
                            {
                                IdsAfter(db, LiveKey(shard), after, limit),
                                IdsAfter(db, EndedKey(shard), after, limit),
                            }
                        )
                )
            )
            .ConfigureAwait(false);
        var ids = found.SelectMany(Texts).Distinct().Order(StringComparer.Ordinal).Take(limit + 1).ToArray();
        var page = ids.Take(limit).ToArray();
        var records = await FetchAll(db, page).ConfigureAwait(false);
        return new StoredPage([.. records.OfType<StoredRecord>()], ids.Length > limit ? page[^1] : null);
    }

    async ValueTask<long> ISessionStore.Count(CancellationToken cancellationToken)
    {
        var db = await Ready(cancellationToken).ConfigureAwait(false);
        var counts = await Within(
                Task.WhenAll(Enumerable.Range(0, Shards).Select(shard => db.SortedSetLengthAsync(LiveKey(shard))))
            )
            .ConfigureAwait(false);
        return counts.Sum();
    }

    async ValueTask<IReadOnlyList<StoredRecord>> ISessionStore.ClaimOverdue(
        DateTimeOffset now,
        TimeSpan lease,
        int limit,
        CancellationToken cancellationToken
    )
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(limit, 1);
        var db = await Ready(cancellationToken).ConfigureAwait(false);
        var claimed = new List<(double Score, StoredRecord Record)>();
        var until = Score(now + lease);

        while (claimed.Count < limit)
        {
            var overdue = await Within(
                    Task.WhenAll(
                        Enumerable
                            .Range(0, Shards)
                            .Select(shard =>
                                db.SortedSetRangeByScoreWithScoresAsync(
                                    DueKey(shard),
                                    double.NegativeInfinity,
                                    Score(now),
                                    take: limit - claimed.Count
                                )
                            )
                    )
                )
                .ConfigureAwait(false);
            var wanted = overdue
                .SelectMany((entries, shard) => entries.Select(entry => (shard, entry)))
                .OrderBy(due => due.entry.Score)
                .Take(limit - claimed.Count)
                .ToArray();
            if (wanted.Length == 0)
                break;

            var taken = await Within(
                    Task.WhenAll(
                        wanted
                            .GroupBy(due => due.shard)
                            .Select(group =>
                                db.ScriptEvaluateAsync(
                                    Scripts.Claim,
                                    [DueKey(group.Key)],
                                    [
                                        Text(until),
                                        .. group.SelectMany(due =>
                                            new RedisValue[] { due.entry.Element, Text(due.entry.Score) }
                                        ),
                                    ]
                                )
                            )
                    )
                )
                .ConfigureAwait(false);
            var ours = taken.SelectMany(ids => (string[])ids!).ToHashSet(StringComparer.Ordinal);
            var found = await Task.WhenAll(
                    wanted.Where(due => ours.Contains((string)due.entry.Element!)).Select(due => LookAt(db, due.entry))
                )
                .ConfigureAwait(false);
            foreach (var (score, record, _) in found)
                if (record is not null)
                    claimed.Add((score, record));

            // The index may be early: then the record is put where it belongs, and what comes after that place waits.
            var earliest = found.Where(one => one.DueAt <= now).Min(one => (double?)Score(one.DueAt!.Value));
            var waiting = claimed.Where(one => one.Score > earliest).ToArray();
            await Within(
                    Task.WhenAll(
                        waiting.Select(one =>
                            db.SortedSetUpdateAsync(DueKey(Shard(one.Record.Id)), one.Record.Id, one.Score)
                        )
                    )
                )
                .ConfigureAwait(false);
            claimed.RemoveAll(one => one.Score > earliest);
        }

        return [.. claimed.OrderBy(one => one.Score).Select(one => one.Record)];
    }

    async ValueTask ISessionStore.Reschedule(
        string id,
        long version,
        DateTimeOffset dueAt,
        CancellationToken cancellationToken
    )
    {
        ArgumentNullException.ThrowIfNull(id);
        var db = await Ready(cancellationToken).ConfigureAwait(false);
        var isThere = (int)
            await Within(
                    db.ScriptEvaluateAsync(
                        Scripts.Reschedule,
                        [Key(id)],
                        [
                            RecordLayout.Number(version),
                            dueAt.UtcTicks / TimeSpan.TicksPerMillisecond,
                            Milliseconds(_options.JanitorMargin),
                        ]
                    )
                )
                .ConfigureAwait(false);
        if (isThere == 1)
            await Within(db.SortedSetUpdateAsync(DueKey(Shard(id)), id, Score(dueAt))).ConfigureAwait(false);
    }

    /// <summary>Closes the connection, if the store made it.</summary>
    public async ValueTask DisposeAsync()
    {
        _disposed = true;
        _database = null;
        _waitingDatabase = null;
        if (_ownsConnection && _connection is { } connection)
            await connection.DisposeAsync().ConfigureAwait(false);
        if (_waiting is { } waiting)
            await waiting.DisposeAsync().ConfigureAwait(false);
        (_connection, _waiting) = (null, null);
    }

    // -- one record

    // The path of every request: its state machines come from a pool.
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<StoredRecord?> Fetch(IDatabase db, string id)
    {
        // From the primary: a replica may not have heard of a logout yet.
        var value = (byte[]?)await Within(db.StringGetAsync(Key(id), CommandFlags.DemandMaster)).ConfigureAwait(false);
        return value is null ? null : RecordLayout.Read(id, value);
    }

    private Task<StoredRecord?[]> FetchAll(IDatabase db, string[] ids) =>
        Task.WhenAll(ids.Select(id => Fetch(db, id).AsTask()));

    /// <summary>What an entry of the due index, which this sweep has claimed, stands for.</summary>
    private async Task<(double Score, StoredRecord? Record, DateTimeOffset? DueAt)> LookAt(
        IDatabase db,
        SortedSetEntry entry
    )
    {
        if (!SubjectIndex.IsIntent(entry.Element, out var id, out var subject))
        {
            var (record, dueAt) = await Take(db, id, entry.Score).ConfigureAwait(false);
            return (entry.Score, record, dueAt);
        }

        if (await Fetch(db, id).ConfigureAwait(false) is { Kind: RecordKind.Ended } ended)
            await Within(Leave(db, ended)).ConfigureAwait(false);
        await Prune(db, subject, id).ConfigureAwait(false);
        return (entry.Score, null, null);
    }

    private async Task<(StoredRecord? Record, DateTimeOffset? DueAt)> Take(IDatabase db, string id, double score)
    {
        var value = (byte[]?)
            await Within(db.ScriptEvaluateAsync(Scripts.Take, [Key(id)], [RecordLayout.Number(IndexedDue(score))]))
                .ConfigureAwait(false);
        switch (value)
        {
            case null:
                await Forget(db, id).ConfigureAwait(false);
                return (null, null);
            case { Length: 8 }:
                var due = new DateTimeOffset(
                    System.Buffers.Binary.BinaryPrimitives.ReadInt64BigEndian(value),
                    TimeSpan.Zero
                );
                await Within(db.SortedSetUpdateAsync(DueKey(Shard(id)), id, Score(due))).ConfigureAwait(false);
                return (null, due);
            default:
                return (RecordLayout.Read(id, value), null);
        }
    }

    /// <summary>The janitor's: the lifecycle's time, counted from when the session was last seen, and a margin.</summary>
    private TimeSpan TimeToLive(StoredRecord record)
    {
        var rest = record.DueAt - record.LastSeen;
        return (
                rest < TimeSpan.Zero ? TimeSpan.Zero
                : rest > Longest ? Longest
                : rest
            ) + _options.JanitorMargin;
    }

    // -- indexes

    private Task<bool[]> EnterLists(IDatabase db, StoredRecord record)
    {
        // An entry that is there already belongs to the record as it is, and this write may be refused.
        var due = DueKey(Shard(record.Id));
        return Task.WhenAll(
            db.SortedSetAddAsync(due, record.Id, Score(record.DueAt), SortedSetWhen.NotExists),
            EnterList(db, record)
        );
    }

    private Task<bool> EnterList(IDatabase db, StoredRecord record)
    {
        var shard = Shard(record.Id);
        return db.SortedSetAddAsync(record.Kind == RecordKind.Ended ? EndedKey(shard) : LiveKey(shard), record.Id, 0);
    }

    private Task EnterSubject(IDatabase db, StoredRecord record) =>
        record.Subject is not { } subject
            ? Task.CompletedTask
            : Task.WhenAll(
                Intend(db, record.Id, subject, Score(record.LastSeen + Longer)),
                SubjectIndex.Enter(db, SubjectKey(subject), record.Id)
            );

    private Task SettleSubject(IDatabase db, StoredRecord record) =>
        record.Subject is not { } subject
            ? Task.CompletedTask
            : Task.WhenAll(SubjectIndex.Settle(db, SubjectKey(subject), record), EndIntent(db, record));

    /// <summary>A sweep shall look at this entry, if nobody says before that it is settled.</summary>
    private Task<bool> Intend(IDatabase db, string id, string subject, double score) =>
        db.SortedSetAddAsync(DueKey(Shard(id)), SubjectIndex.Intent(id, subject), score);

    private Task EndIntent(IDatabase db, StoredRecord record) =>
        record.Subject is not { } subject
            ? Task.CompletedTask
            : db.SortedSetRemoveAsync(DueKey(Shard(record.Id)), SubjectIndex.Intent(record.Id, subject));

    /// <summary>Removes what the index of a subject has of a session that is not the subject's.</summary>
    private async Task Prune(IDatabase db, string subject, string id)
    {
        var key = SubjectKey(subject);
        // In this order: what is entered after the record was read stays.
        var members = await Within(SubjectIndex.Of(db, key, id)).ConfigureAwait(false);
        if (members.Length > 0 && (await Fetch(db, id).ConfigureAwait(false))?.Subject != subject)
            await Within(db.SortedSetRemoveAsync(key, members)).ConfigureAwait(false);
        await Within(db.SortedSetRemoveAsync(DueKey(Shard(id)), SubjectIndex.Intent(id, subject)))
            .ConfigureAwait(false);
    }

    /// <summary>Takes a tombstone out of the list of the living.</summary>
    private static Task LeaveLiving(IDatabase db, RedisKey living, StoredRecord record) =>
        record.Kind == RecordKind.Ended ? db.SortedSetRemoveAsync(living, record.Id) : Task.CompletedTask;

    private Task Leave(IDatabase db, StoredRecord record) => LeaveLiving(db, LiveKey(Shard(record.Id)), record);

    /// <summary>The due index last: whoever is stopped before it is followed by another sweep.</summary>
    private async Task Forget(IDatabase db, string id)
    {
        var shard = Shard(id);
        var lists = Task.WhenAll(
            db.SortedSetRemoveAsync(LiveKey(shard), id),
            db.SortedSetRemoveAsync(EndedKey(shard), id)
        );
        if (_isCluster)
            await Within(lists).ConfigureAwait(false);
        await Within(Task.WhenAll(lists, db.SortedSetRemoveAsync(DueKey(shard), id))).ConfigureAwait(false);
    }

    private static Task<RedisValue[]> IdsAfter(IDatabase db, RedisKey key, string? after, int limit) =>
        db.SortedSetRangeByValueAsync(
            key,
            after is null ? RedisValue.Null : after,
            RedisValue.Null,
            after is null ? Exclude.None : Exclude.Start,
            Order.Ascending,
            0,
            limit + 1L
        );

    private static string[] Texts(RedisValue[] values) => Array.ConvertAll(values, value => (string)value!);

    private RedisKey Key(string id) => string.Concat(_options.KeyPrefix, "r:", id);

    private RedisKey SubjectKey(string subject) => string.Concat(_options.KeyPrefix, "s:", subject);

    private RedisKey DueKey(int shard) => $"{_options.KeyPrefix}d:{shard}";

    private RedisKey LiveKey(int shard) => $"{_options.KeyPrefix}l:{shard}";

    private RedisKey EndedKey(int shard) => $"{_options.KeyPrefix}e:{shard}";

    /// <summary>FNV-1a of the id: the same on every node and in every version.</summary>
    private static int Shard(string id)
    {
        var hash = 2166136261u;
        foreach (var c in id)
            hash = unchecked((hash ^ c) * 16777619u);
        return (int)(hash % Shards);
    }

    private static double Score(DateTimeOffset at) => at.UtcTicks - Epoch;

    /// <summary>The due time of a score, and as many ticks as a double may have lost of it.</summary>
    private static long IndexedDue(double score) =>
        (long)Math.Clamp(score, -Epoch, DateTime.MaxValue.Ticks - Epoch - 1000) + Epoch + 64;

    private static string Text(double score) => score.ToString("R", CultureInfo.InvariantCulture);

    private static long Milliseconds(TimeSpan span) => (long)span.TotalMilliseconds;

    // -- the connection

    private async ValueTask<IDatabase> Ready(CancellationToken cancellationToken, bool isDurable = false)
    {
        cancellationToken.ThrowIfCancellationRequested();
        var waits = isDurable && _options.WaitForReplicas > 0;
        if ((waits ? _waitingDatabase : _database) is { } database)
            return database;
        await Connection(cancellationToken).ConfigureAwait(false);
        return waits ? _waitingDatabase! : _database!;
    }

    private async Task<IConnectionMultiplexer> Connection(CancellationToken cancellationToken)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        await _connecting.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            if (_connection is null)
            {
                _ownsConnection = _options.Connect is null;
                _connection = await (_options.Connect?.Invoke() ?? Open(_options.Configuration)).ConfigureAwait(false);
            }

            // Known once a server was reached: until then the answers come one after the other, which is always right.
            _isCluster = !_connection
                .GetServers()
                .Any(server => server.IsConnected && server.ServerType != ServerType.Cluster);
            if (_options.WaitForReplicas > 0)
            {
                _waiting ??= await Open(_options.Connect is null ? _options.Configuration : _connection.Configuration)
                    .ConfigureAwait(false);
                _waitingDatabase = _waiting.GetDatabase(_options.Database);
            }

            _database = _connection.GetDatabase(_options.Database);
            return _connection;
        }
        finally
        {
            _connecting.Release();
        }
    }

    private async Task<IConnectionMultiplexer> Open(string connectionString)
    {
        var configuration = ConfigurationOptions.Parse(connectionString);
        configuration.AbortOnConnectFail = false;
        // A request waits for its own deadline, not in a queue for a server that is away.
        configuration.BacklogPolicy = BacklogPolicy.FailFast;
        configuration.AsyncTimeout = (int)_options.OperationTimeout.TotalMilliseconds;
        // The driver's own threads are for callers who block the pool's, which nothing here does; each answer would
        // change threads twice more.
        configuration.SocketManager = SocketManager.ThreadPool;
        configuration.ClientName ??= "session-store";
        return await ConnectionMultiplexer.ConnectAsync(configuration).ConfigureAwait(false);
    }

    private ValueTask<bool> Within(Task work) => Within(Result(work));

    private static async Task<bool> Result(Task work)
    {
        await work.ConfigureAwait(false);
        return true;
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<T> Within<T>(Task<T> work)
    {
        try
        {
            return await work.WaitAsync(_options.OperationTimeout).ConfigureAwait(false);
        }
        catch (Exception error) when (error is RedisConnectionException or TimeoutException)
        {
            LookAround();
            throw;
        }
    }

    /// <summary>After a failure: who is the primary now? The driver asks by itself once a minute only.</summary>
    private void LookAround()
    {
        var now = Environment.TickCount64;
        var last = Interlocked.Read(ref _lookedAt);
        if (now - last < 500 || Interlocked.CompareExchange(ref _lookedAt, now, last) != last)
            return;

        foreach (var connection in (ReadOnlySpan<IConnectionMultiplexer?>)[_connection, _waiting])
            if (connection is not null)
                Ignore(connection.ConfigureAsync());
    }

    private static void Ignore(Task work) =>
        _ = work.ContinueWith(
            static failed => _ = failed.Exception,
            CancellationToken.None,
            TaskContinuationOptions.OnlyOnFaulted | TaskContinuationOptions.ExecuteSynchronously,
            TaskScheduler.Default
        );

    /// <summary>A write: unknown, once it may have been sent and no answer came.</summary>
    private async Task<WriteResult> Write<T>(Task<T> work, Func<T, WriteResult> read)
    {
        try
        {
            return read(await Within(work).ConfigureAwait(false));
        }
        catch (Exception error) when (MayHaveTakenEffect(error))
        {
            return WriteResult.Unknown;
        }
    }

    private static bool MayHaveTakenEffect(Exception error) =>
        error switch
        {
            RedisTimeoutException late => !IsUnsent(late.Commandstatus),
            TimeoutException => true,
            RedisConnectionException lost => !IsUnsent(lost.CommandStatus)
                && lost.FailureType is not ConnectionFailureType.UnableToConnect,
            _ => false,
        };

    private static bool IsUnsent(CommandStatus status) =>
        status is CommandStatus.WaitingToBeSent or CommandStatus.WaitingInBacklog;

    /// <summary>A write without an answer whose record is there: its indexes are this call's to finish.</summary>
    private async Task<WriteResult> Confirm(IDatabase db, StoredRecord record) =>
        (await Fetch(db, record.Id).ConfigureAwait(false))?.Operation == record.Operation
            ? WriteResult.Written
            : WriteResult.Unknown;

    /// <summary>Waits for the replicas, where the write must last.</summary>
    private async Task Last(IDatabase db, StoredRecord record)
    {
        if (!record.IsDurable || _options.WaitForReplicas == 0)
            return;

        // WAIT asks for the writes of its own connection: the one that the driver has to the primary of this key.
        var primary =
            await Within(db.IdentifyEndpointAsync(Key(record.Id), CommandFlags.DemandMaster)).ConfigureAwait(false)
            ?? throw new RedisReplicationException(0, _options.WaitForReplicas);
        var reached = (long)
            await db
                .Multiplexer.GetServer(primary)
                .ExecuteAsync("WAIT", _options.WaitForReplicas, Milliseconds(_options.WaitTimeout))
                .WaitAsync(_options.WaitTimeout + _options.OperationTimeout)
                .ConfigureAwait(false);
        if (reached < _options.WaitForReplicas)
            throw new RedisReplicationException(reached, _options.WaitForReplicas);
    }
}
