using MongoDB.Bson;
using MongoDB.Driver;
using Session.Engine;

namespace Session.Stores.Mongo;

/// <summary>
/// Sessions in MongoDB: one document each, and each change of it one update whose filter has the version. The indexes are
/// the server's own, so they change with the document.
/// </summary>
public sealed class MongoStore : ISessionStore, IDisposable
{
    private static readonly TimeSpan Longest = TimeSpan.FromDays(3650);
    private static readonly SortDefinition<BsonDocument> ById = new BsonDocument(RecordDocument.Id, 1);
    private static readonly SortDefinition<BsonDocument> ByDue = new BsonDocument(RecordDocument.DueAt, 1);
    private static readonly ProjectionDefinition<BsonDocument, StoredRecord> AsRecord =
        Builders<BsonDocument>.Projection.As(RecordDocument.Instance);

    private readonly MongoStoreOptions _options;
    private readonly bool _ownsClient;
    private readonly IMongoClient _client;

    // Routine writes, as the client has them; those that must last; and reads of one record.
    private readonly IMongoCollection<BsonDocument> _routine;
    private readonly IMongoCollection<BsonDocument> _lasting;
    private readonly IMongoCollection<BsonDocument> _single;
    private volatile bool _hasIndexes;

    /// <summary>Checks the settings; <c>Prepare</c>, or the first use, connects.</summary>
    /// <param name="options">The settings. Later changes of them have no effect.</param>
    /// <exception cref="ArgumentException">A setting is out of range, or no database is named.</exception>
    public MongoStore(MongoStoreOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        Require(
            options.OperationTimeout > TimeSpan.Zero && options.OperationTimeout <= TimeSpan.FromMinutes(10),
            "MongoStoreOptions.OperationTimeout must be more than zero and at most ten minutes."
        );
        Require(
            options.JanitorMargin >= TimeSpan.FromMinutes(10) && options.JanitorMargin <= Longest,
            "MongoStoreOptions.JanitorMargin must be between ten minutes and ten years."
        );
        Require(
            !string.IsNullOrWhiteSpace(options.Collection),
            "MongoStoreOptions.Collection must name a collection, such as sessions."
        );

        _options = options;
        _ownsClient = options.Client is null;
        var database = options.Database;
        if (options.Client is { } client)
            _client = client;
        else
        {
            var url = Parse(options.ConnectionString);
            if (database.Length == 0)
                database = url.DatabaseName ?? "";
            _client = Open(url);
        }
        Require(
            database.Length > 0,
            "The MongoDB store needs the name of a database: mongodb://localhost/app, or MongoStoreOptions.Database."
        );

        var concern = _client.Settings.WriteConcern;
        _routine = _client
            .GetDatabase(database)
            .GetCollection<BsonDocument>(options.Collection)
            // Whatever the client prefers: a secondary may not have heard of a logout yet.
            .WithReadPreference(ReadPreference.Primary)
            .WithReadConcern(ReadConcern.Local)
            .WithWriteConcern(concern.IsAcknowledged ? concern : WriteConcern.W1);
        _lasting = _routine.WithWriteConcern(WriteConcern.WMajority);
        _single = options.LinearizableReads ? _routine.WithReadConcern(ReadConcern.Linearizable) : _routine;

        static void Require(bool isRight, string sentence)
        {
            if (!isRight)
                throw new ArgumentException(sentence, nameof(options));
        }
    }

    async ValueTask<StoreReport> ISessionStore.Prepare(CancellationToken cancellationToken)
    {
        List<string> notes;
        try
        {
            notes = await ServerProbe.RunAsync(_client, _options, cancellationToken).ConfigureAwait(false);
            await MakeIndexes(cancellationToken).ConfigureAwait(false);
        }
        catch (Exception error)
            when (error is TimeoutException or MongoConnectionException or OperationCanceledException
                && !cancellationToken.IsCancellationRequested
            )
        {
            notes =
            [
                $"MongoDB does not answer: requests that need a session are 503 until it does. {error.Message.Split('\n')[0]}",
            ];
        }

        var servers = _client.Settings.Servers.Select(server => server.ToString()).Order(StringComparer.Ordinal);
        return new StoreReport(
            $"mongodb:{string.Join(',', servers)}/{_routine.CollectionNamespace.FullName}",
            true,
            true,
            notes
        );
    }

    async ValueTask<WriteResult> ISessionStore.Insert(StoredRecord record, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(record);
        cancellationToken.ThrowIfCancellationRequested();
        try
        {
            var document = RecordDocument.Write(record, Janitor(record.DueAt, record.LastSeen));
            await Within(
                    async deadline =>
                    {
                        await For(record).InsertOneAsync(document, null, deadline).ConfigureAwait(false);
                        return true;
                    },
                    CancellationToken.None
                )
                .ConfigureAwait(false);
            return WriteResult.Written;
        }
        catch (MongoWriteException error) when (error.WriteError?.Category == ServerErrorCategory.DuplicateKey)
        {
            return WriteResult.Conflict;
        }
        catch (Exception error) when (MayHaveBeenSent(error))
        {
            return await Confirm(record).ConfigureAwait(false);
        }
    }

    async ValueTask<StoredRecord?> ISessionStore.Load(string id, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(id);
        cancellationToken.ThrowIfCancellationRequested();
        var found = await Find(_single, new BsonDocument(RecordDocument.Id, id), null, 1).ConfigureAwait(false);
        return found.Count == 0 ? null : found[0];
    }

    async ValueTask<WriteResult> ISessionStore.Replace(
        StoredRecord record,
        long expected,
        CancellationToken cancellationToken
    )
    {
        ArgumentNullException.ThrowIfNull(record);
        cancellationToken.ThrowIfCancellationRequested();
        while (true)
        {
            try
            {
                // Never an upsert: a late save must not bring back what is gone.
                var result = await Update(
                        For(record),
                        AtVersion(record.Id, expected),
                        RecordDocument.Update(record, Janitor(record.DueAt, record.LastSeen))
                    )
                    .ConfigureAwait(false);
                if (result.MatchedCount == 1)
                    return WriteResult.Written;
            }
            catch (Exception error) when (MayHaveBeenSent(error))
            {
                return await Confirm(record).ConfigureAwait(false);
            }

            var stored = await Find(_single, new BsonDocument(RecordDocument.Id, record.Id), null, 1)
                .ConfigureAwait(false);
            if (stored.Count == 0)
                return WriteResult.Absent;
            if (stored[0].Version != expected)
                return WriteResult.Conflict;
            // It came between the two, and is the one that was meant.
        }
    }

    async ValueTask ISessionStore.Touch(string id, DateTimeOffset at, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(id);
        cancellationToken.ThrowIfCancellationRequested();
        await Update(
                _routine,
                new BsonDocument
                {
                    { RecordDocument.Id, id },
                    { RecordDocument.Kind, new BsonDocument("$lt", (int)RecordKind.Ended) },
                },
                new BsonDocument("$max", new BsonDocument(RecordDocument.LastSeen, at.UtcTicks))
            )
            .ConfigureAwait(false);
    }

    async ValueTask ISessionStore.Remove(string id, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(id);
        cancellationToken.ThrowIfCancellationRequested();
        await Within(
                deadline => _routine.DeleteOneAsync(new BsonDocument(RecordDocument.Id, id), deadline),
                CancellationToken.None
            )
            .ConfigureAwait(false);
    }

    ValueTask<StoredPage> ISessionStore.BySubject(
        string subject,
        string? after,
        int limit,
        CancellationToken cancellationToken
    )
    {
        ArgumentNullException.ThrowIfNull(subject);
        return Page(new BsonDocument(RecordDocument.Subject, subject), after, limit, cancellationToken);
    }

    ValueTask<StoredPage> ISessionStore.Enumerate(string? after, int limit, CancellationToken cancellationToken) =>
        Page(new BsonDocument(), after, limit, cancellationToken);

    async ValueTask<long> ISessionStore.Count(CancellationToken cancellationToken) =>
        await Within(
                deadline =>
                    _routine.CountDocumentsAsync(
                        new BsonDocument(RecordDocument.Kind, new BsonDocument("$lt", (int)RecordKind.Ended)),
                        null,
                        deadline
                    ),
                cancellationToken
            )
            .ConfigureAwait(false);

    async ValueTask<IReadOnlyList<StoredRecord>> ISessionStore.ClaimOverdue(
        DateTimeOffset now,
        TimeSpan lease,
        int limit,
        CancellationToken cancellationToken
    )
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(limit, 1);
        cancellationToken.ThrowIfCancellationRequested();
        if (!_hasIndexes)
            await MakeIndexes(cancellationToken).ConfigureAwait(false);

        var claimed = new List<StoredRecord>();
        var overdue = new BsonDocument(RecordDocument.DueAt, new BsonDocument("$lte", now.UtcTicks));
        while (claimed.Count < limit)
        {
            var seen = await Find(_routine, overdue, ByDue, limit - claimed.Count).ConfigureAwait(false);
            if (seen.Count == 0)
                break;

            // Each document is taken only if it is still overdue when its turn comes: one claim wins it.
            var claim = Random.Shared.NextInt64();
            var ids = new BsonDocument("$in", new BsonArray(seen.Select(record => record.Id)));
            var take = new BsonDocument(
                "$set",
                new BsonDocument { { RecordDocument.DueAt, (now + lease).UtcTicks }, { RecordDocument.Claim, claim } }
            );
            await Within(
                    deadline =>
                        _routine.UpdateManyAsync(
                            new BsonDocument(overdue) { { RecordDocument.Id, ids } },
                            take,
                            null,
                            deadline
                        ),
                    CancellationToken.None
                )
                .ConfigureAwait(false);
            var ours = (
                await Find(
                        _routine,
                        new BsonDocument { { RecordDocument.Id, ids }, { RecordDocument.Claim, claim } },
                        null,
                        seen.Count
                    )
                    .ConfigureAwait(false)
            ).ToDictionary(record => record.Id, StringComparer.Ordinal);
            claimed.AddRange(seen.Where(one => ours.ContainsKey(one.Id)).Select(one => ours[one.Id]));
        }

        return claimed;
    }

    async ValueTask ISessionStore.Reschedule(
        string id,
        long version,
        DateTimeOffset dueAt,
        CancellationToken cancellationToken
    )
    {
        ArgumentNullException.ThrowIfNull(id);
        cancellationToken.ThrowIfCancellationRequested();
        var found = await Find(_routine, AtVersion(id, version), null, 1).ConfigureAwait(false);
        if (found.Count == 0)
            return;

        await Update(
                _routine,
                AtVersion(id, version),
                new BsonDocument
                {
                    { "$set", new BsonDocument(RecordDocument.DueAt, dueAt.UtcTicks) },
                    { "$unset", new BsonDocument(RecordDocument.Claim, "") },
                    { "$max", new BsonDocument(RecordDocument.Janitor, Janitor(dueAt, found[0].LastSeen)) },
                }
            )
            .ConfigureAwait(false);
    }

    /// <summary>Closes the client, if the store made it.</summary>
    public void Dispose()
    {
        if (_ownsClient)
            _client.Dispose();
    }

    // -- documents

    private IMongoCollection<BsonDocument> For(StoredRecord record) => record.IsDurable ? _lasting : _routine;

    private Task<UpdateResult> Update(
        IMongoCollection<BsonDocument> collection,
        BsonDocument filter,
        BsonDocument change
    ) => Within(deadline => collection.UpdateOneAsync(filter, change, null, deadline), CancellationToken.None);

    private static BsonDocument AtVersion(string id, long version) =>
        new() { { RecordDocument.Id, id }, { RecordDocument.Version, version } };

    /// <summary>When the server's own clean-up may come: the lifecycle's time, counted from when the session was last seen, and a margin.</summary>
    private DateTime Janitor(DateTimeOffset dueAt, DateTimeOffset seen)
    {
        var rest = dueAt - seen;
        return DateTime.UtcNow
            + (
                rest < TimeSpan.Zero ? TimeSpan.Zero
                : rest > Longest ? Longest
                : rest
            )
            + _options.JanitorMargin;
    }

    private Task<List<StoredRecord>> Find(
        IMongoCollection<BsonDocument> collection,
        BsonDocument filter,
        SortDefinition<BsonDocument>? sort,
        int limit
    )
    {
        var options = new FindOptions<BsonDocument, StoredRecord>
        {
            Projection = AsRecord,
            Sort = sort,
            Limit = limit,
        };
        return Within(
            async deadline =>
            {
                using var cursor = await collection.FindAsync(filter, options, deadline).ConfigureAwait(false);
                return await cursor.ToListAsync(deadline).ConfigureAwait(false);
            },
            CancellationToken.None
        );
    }

    private async ValueTask<StoredPage> Page(
        BsonDocument filter,
        string? after,
        int limit,
        CancellationToken cancellationToken
    )
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(limit, 1);
        cancellationToken.ThrowIfCancellationRequested();
        if (after is not null)
            filter.Add(RecordDocument.Id, new BsonDocument("$gt", after));
        var found = await Find(_routine, filter, ById, limit == int.MaxValue ? limit : limit + 1).ConfigureAwait(false);
        if (found.Count <= limit)
            return new StoredPage(found, null);

        found.RemoveAt(limit);
        return new StoredPage(found, found[^1].Id);
    }

    /// <summary>
    /// After a write without an answer. A routine one is the caller's to look up. One that must last is looked for by a
    /// majority: what only the primary has is not acknowledged, for the next primary may not have it.
    /// </summary>
    private async Task<WriteResult> Confirm(StoredRecord record)
    {
        if (!record.IsDurable)
            return WriteResult.Unknown;

        var mine = new BsonDocument
        {
            { RecordDocument.Id, record.Id },
            { RecordDocument.Operation, record.Operation },
        };
        // Changes nothing, and a majority still has to have what it saw.
        var same = new BsonDocument("$set", new BsonDocument(RecordDocument.Operation, record.Operation));
        var result = await Update(_lasting, mine, same).ConfigureAwait(false);
        return result.MatchedCount == 1 ? WriteResult.Written : WriteResult.Unknown;
    }

    private static bool MayHaveBeenSent(Exception error) =>
        error
            is TimeoutException
                or MongoConnectionException
                or MongoExecutionTimeoutException
                or MongoNotPrimaryException
                or MongoNodeIsRecoveringException;

    /// <summary>One deadline for the search of a server, the operation and its retries.</summary>
    private async Task<T> Within<T>(Func<CancellationToken, Task<T>> work, CancellationToken cancellationToken)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        deadline.CancelAfter(_options.OperationTimeout);
        try
        {
            return await work(deadline.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException error) when (!cancellationToken.IsCancellationRequested)
        {
            throw new TimeoutException(
                $"MongoDB did not answer within {_options.OperationTimeout.TotalSeconds} s (MongoStoreOptions.OperationTimeout).",
                error
            );
        }
    }

    // -- the server

    private async Task MakeIndexes(CancellationToken cancellationToken)
    {
        var keys = Builders<BsonDocument>.IndexKeys;
        try
        {
            CreateIndexModel<BsonDocument>[] indexes =
            [
                new(
                    keys.Ascending(RecordDocument.Subject).Ascending(RecordDocument.Id),
                    new CreateIndexOptions<BsonDocument>
                    {
                        Name = "subject",
                        PartialFilterExpression = new BsonDocument(
                            RecordDocument.Subject,
                            new BsonDocument("$exists", true)
                        ),
                    }
                ),
                new(keys.Ascending(RecordDocument.DueAt), new CreateIndexOptions { Name = "due" }),
                new(keys.Ascending(RecordDocument.Kind), new CreateIndexOptions { Name = "kind" }),
                new(
                    keys.Ascending(RecordDocument.Janitor),
                    new CreateIndexOptions { Name = "janitor", ExpireAfter = TimeSpan.Zero }
                ),
            ];
            await Within(deadline => _routine.Indexes.CreateManyAsync(indexes, deadline), cancellationToken)
                .ConfigureAwait(false);
            _hasIndexes = true;
        }
        catch (MongoCommandException error) when (error.Code is 85 or 86)
        {
            throw new InvalidOperationException(
                $"The collection {_routine.CollectionNamespace} has indexes of the same names that are not this library's: give MongoStoreOptions.Collection another name. ({error.Message})",
                error
            );
        }
    }

    private MongoClient Open(MongoUrl url)
    {
        var settings = MongoClientSettings.FromUrl(url);
        settings.ApplicationName ??= "session-store";
        // A request waits for its own deadline, not for the driver's 30 seconds.
        if (settings.ServerSelectionTimeout > _options.OperationTimeout)
            settings.ServerSelectionTimeout = _options.OperationTimeout;
        if (settings.ConnectTimeout > _options.OperationTimeout)
            settings.ConnectTimeout = _options.OperationTimeout;
        return new MongoClient(settings);
    }

    private static MongoUrl Parse(string connectionString)
    {
        try
        {
            return new MongoUrl(connectionString);
        }
        catch (Exception error) when (error is MongoConfigurationException or FormatException)
        {
            // Without the string: it may have a password in it.
            throw new ArgumentException(
                "MongoStoreOptions.ConnectionString is no connection string of MongoDB, such as mongodb://localhost/app.",
                error
            );
        }
    }
}
