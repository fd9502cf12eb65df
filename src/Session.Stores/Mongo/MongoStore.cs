using MongoDB.Bson;
using MongoDB.Driver;
using Session.Engine;

namespace Session.Stores.Mongo;

/// <summary>
/// Sessions in MongoDB: one document each, and each change of it one update whose filter has the version. The indexes are
/// the server's own, so they change with the document.
/// </summary>
public sealed class MongoStore : ISessionStore, IRemovesVersion, IReadsMany, ISessionSignals, IDisposable
{
    /// <summary>How many records one command claims at most: their ids are in the command.</summary>
    private const int MostClaimedAtOnce = 1000;

    private static readonly SortDefinition<BsonDocument> ById = new BsonDocument(RecordDocument.Id, 1);
    private static readonly SortDefinition<BsonDocument> ByDue = new BsonDocument(RecordDocument.DueAt, 1);

    private readonly MongoStoreOptions _options;
    private readonly bool _ownsClient;
    private readonly IMongoClient _client;
    private readonly SessionCollection _sessions;
    private readonly Signals _signals;
    private volatile bool _hasIndexes;

    /// <summary>Checks the settings; <c>Prepare</c>, or the first use, connects.</summary>
    /// <param name="options">The settings. Later changes of them have no effect.</param>
    /// <exception cref="ArgumentException">A setting is out of range, or no database is named.</exception>
    public MongoStore(MongoStoreOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        options = options.Copy();
        OptionChecks.RequireOperationTimeout(options.OperationTimeout, nameof(MongoStoreOptions));
        Lifetime.RequireMargin(options.JanitorMargin, nameof(MongoStoreOptions));
        OptionChecks.Require(
            !string.IsNullOrWhiteSpace(options.Collection),
            "MongoStoreOptions.Collection must name a collection, such as sessions."
        );

        _options = options;
        _ownsClient = options.Client is null;
        var url = options.Client is null ? ClientFactory.Parse(options.ConnectionString) : null;
        var database = options.Database.Length == 0 ? url?.DatabaseName ?? "" : options.Database;
        OptionChecks.Require(
            database.Length > 0,
            "The MongoDB store needs the name of a database: mongodb://localhost/app, or MongoStoreOptions.Database."
        );
        // Last: a client of a store that is refused would be closed by nobody.
        _client = options.Client ?? ClientFactory.Open(url!, options.OperationTimeout);
        _sessions = new SessionCollection(_client, database, options);
        _signals = new Signals(new NoticeBoard(_client, database, options));
    }

    async ValueTask<StoreReport> ISessionStore.Prepare(CancellationToken cancellationToken)
    {
        List<string> notes;
        try
        {
            notes = await ServerProbe.RunAsync(_client, _options, cancellationToken).ConfigureAwait(false);
            await CreateIndexes(cancellationToken).ConfigureAwait(false);
        }
        catch (Exception error)
            when (!cancellationToken.IsCancellationRequested && FinalTrouble.Of(error, _client) is { } sentence)
        {
            throw new InvalidOperationException(sentence, error);
        }
        catch (Exception error)
            when (error
                    is TimeoutException
                        or MongoConnectionException
                        or MongoConnectionPoolPausedException
                        or OperationCanceledException
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
            $"mongodb:{string.Join(',', servers)}/{_sessions.Name}",
            true,
            true,
            notes,
            _options.JanitorMargin
        );
    }

    async ValueTask<WriteResult> ISessionStore.Insert(StoredRecord record, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(record);
        cancellationToken.ThrowIfCancellationRequested();
        var deadline = _sessions.Begin();
        try
        {
            var document = RecordDocument.Write(record, JanitorAt(record.LastSeen, record.DueAt));
            await _sessions.InsertAsync(document, record.IsDurable, deadline).ConfigureAwait(false);
            return WriteResult.Written;
        }
        catch (MongoWriteException error) when (WriteFailures.IsDuplicate(error))
        {
            return WriteResult.Conflict;
        }
        catch (Exception error) when (WriteFailures.WasDoneButNotConfirmed(error) is true)
        {
            return WriteResult.Unacknowledged;
        }
        catch (Exception error) when (WriteFailures.HasNoAnswer(error))
        {
            return await ResultWithoutAnswer(record, deadline).ConfigureAwait(false);
        }
    }

    async ValueTask<StoredRecord?> ISessionStore.Load(string id, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(id);
        cancellationToken.ThrowIfCancellationRequested();
        return await _sessions.LoadAsync(id, _sessions.Begin()).ConfigureAwait(false);
    }

    async ValueTask<WriteResult> ISessionStore.Replace(
        StoredRecord record,
        long expected,
        CancellationToken cancellationToken
    )
    {
        ArgumentNullException.ThrowIfNull(record);
        cancellationToken.ThrowIfCancellationRequested();
        var deadline = _sessions.Begin();
        var filter = AtVersion(record.Id, expected);
        var change = RecordDocument.Update(record, JanitorAt(record.LastSeen, record.DueAt));
        while (true)
        {
            try
            {
                // Never an upsert: a late save must not bring back what is gone.
                if (await _sessions.UpdateAsync(filter, change, deadline, record.IsDurable).ConfigureAwait(false))
                    return WriteResult.Written;
            }
            catch (Exception error) when (WriteFailures.WasDoneButNotConfirmed(error) is { } wasThere)
            {
                if (wasThere)
                    return WriteResult.Unacknowledged;
            }
            catch (Exception error) when (WriteFailures.HasNoAnswer(error))
            {
                return await ResultWithoutAnswer(record, deadline).ConfigureAwait(false);
            }

            var stored = await _sessions.LoadAsync(record.Id, deadline).ConfigureAwait(false);
            if (stored is null)
                return WriteResult.Absent;
            if (stored.Version != expected)
                return WriteResult.Conflict;
            // It came between the two, and is the one that was meant.
        }
    }

    async ValueTask ISessionStore.Touch(string id, DateTimeOffset at, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(id);
        cancellationToken.ThrowIfCancellationRequested();
        await _sessions
            .UpdateAsync(
                new BsonDocument { { RecordDocument.Id, id }, RecordDocument.IsNotEnded },
                new BsonDocument("$max", new BsonDocument(RecordDocument.LastSeen, at.UtcTicks)),
                _sessions.Begin()
            )
            .ConfigureAwait(false);
    }

    async ValueTask ISessionStore.Remove(string id, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(id);
        cancellationToken.ThrowIfCancellationRequested();
        await _sessions.DeleteAsync(new BsonDocument(RecordDocument.Id, id)).ConfigureAwait(false);
    }

    async ValueTask IRemovesVersion.RemoveVersion(
        string id,
        long version,
        long operation,
        CancellationToken cancellationToken
    )
    {
        ArgumentNullException.ThrowIfNull(id);
        cancellationToken.ThrowIfCancellationRequested();
        var filter = AtVersion(id, version).Add(RecordDocument.Operation, operation);
        await _sessions.DeleteAsync(filter).ConfigureAwait(false);
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
        await _sessions
            .CountAsync(new BsonDocument { RecordDocument.IsNotEnded }, cancellationToken)
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
            await CreateIndexes(cancellationToken).ConfigureAwait(false);

        var claimed = new List<StoredRecord>();
        var overdue = new BsonElement(RecordDocument.DueAt, new BsonDocument("$lte", now.UtcTicks));
        while (claimed.Count < limit)
        {
            var count = Math.Min(limit - claimed.Count, MostClaimedAtOnce);
            var seen = await _sessions
                .FindAsync(new BsonDocument { overdue, RecordDocument.HasTextId }, ByDue, count, _sessions.Begin())
                .ConfigureAwait(false);
            if (seen.Count == 0)
                break;

            // Each document is taken only if it is still overdue when its turn comes: one claim wins it.
            var claim = Random.Shared.NextInt64();
            var ids = new BsonDocument("$in", new BsonArray(seen.Select(record => record.Id)));
            var take = new BsonDocument
            {
                { RecordDocument.DueAt, (now + lease).UtcTicks },
                { RecordDocument.Claim, claim },
            };
            await _sessions
                .UpdateAllAsync(
                    new BsonDocument { overdue, { RecordDocument.Id, ids } },
                    new BsonDocument("$set", take)
                )
                .ConfigureAwait(false);
            var won = await _sessions
                .FindAsync(
                    new BsonDocument { { RecordDocument.Id, ids }, { RecordDocument.Claim, claim } },
                    null,
                    seen.Count,
                    _sessions.Begin()
                )
                .ConfigureAwait(false);
            var wonById = won.ToDictionary(record => record.Id, StringComparer.Ordinal);
            claimed.AddRange(seen.Where(one => wonById.ContainsKey(one.Id)).Select(one => wonById[one.Id]));
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
        var deadline = _sessions.Begin();
        var found = await _sessions.FindAsync(AtVersion(id, version), null, 1, deadline).ConfigureAwait(false);
        if (found.Count == 0)
            return;

        await _sessions
            .UpdateAsync(
                AtVersion(id, version),
                new BsonDocument
                {
                    { "$set", new BsonDocument(RecordDocument.DueAt, dueAt.UtcTicks) },
                    { "$unset", new BsonDocument(RecordDocument.Claim, "") },
                    { "$max", new BsonDocument(RecordDocument.Janitor, JanitorAt(found[0].LastSeen, dueAt)) },
                },
                deadline
            )
            .ConfigureAwait(false);
    }

    async ValueTask<IReadOnlyList<StoredRecord>> IReadsMany.LoadMany(
        IReadOnlyList<string> ids,
        CancellationToken cancellationToken
    )
    {
        ArgumentNullException.ThrowIfNull(ids);
        cancellationToken.ThrowIfCancellationRequested();
        return await _sessions.LoadManyAsync(ids).ConfigureAwait(false);
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

    /// <summary>Closes the client, if the store made it.</summary>
    public void Dispose()
    {
        if (_ownsClient)
            _client.Dispose();
    }

    private static BsonDocument AtVersion(string id, long version) =>
        new() { { RecordDocument.Id, id }, { RecordDocument.Version, version } };

    /// <summary>When the server's own clean-up may come: the lifecycle's time, counted from when the session was last seen, and a margin.</summary>
    private DateTime JanitorAt(DateTimeOffset lastSeen, DateTimeOffset dueAt) =>
        DateTime.UtcNow + Lifetime.Between(lastSeen, dueAt) + _options.JanitorMargin;

    private async ValueTask<StoredPage> Page(
        BsonDocument filter,
        string? after,
        int limit,
        CancellationToken cancellationToken
    )
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(limit, 1);
        cancellationToken.ThrowIfCancellationRequested();
        if (after is null)
            filter.Add(RecordDocument.HasTextId);
        else
            filter.Add(RecordDocument.Id, new BsonDocument("$gt", after));
        var found = await _sessions
            .FindAsync(filter, ById, Paging.OneMoreThan(limit), _sessions.Begin())
            .ConfigureAwait(false);
        return Paging.Page(found, limit);
    }

    /// <summary>
    /// After a write without an answer. A routine one is the caller's to look up. One that must last is looked for by a
    /// majority: what only the primary has is not acknowledged, for the next primary may not have it. In the time that is left.
    /// </summary>
    private async Task<WriteResult> ResultWithoutAnswer(StoredRecord record, Deadline deadline)
    {
        if (!record.IsDurable || deadline.IsOver)
            return WriteResult.Unknown;

        var mine = new BsonDocument
        {
            { RecordDocument.Id, record.Id },
            { RecordDocument.Operation, record.Operation },
        };
        // Changes nothing, and a majority still has to have what it saw.
        var same = new BsonDocument("$set", new BsonDocument(RecordDocument.Operation, record.Operation));
        try
        {
            var isThere = await _sessions.UpdateAsync(mine, same, deadline, isDurable: true).ConfigureAwait(false);
            return isThere ? WriteResult.Written : WriteResult.Unknown;
        }
        catch (Exception error) when (WriteFailures.WasDoneButNotConfirmed(error) is { } isThere)
        {
            return isThere ? WriteResult.Unacknowledged : WriteResult.Unknown;
        }
        catch (Exception error) when (WriteFailures.HasNoAnswer(error))
        {
            return WriteResult.Unknown;
        }
    }

    private async Task CreateIndexes(CancellationToken cancellationToken)
    {
        await Indexes.CreateAsync(_sessions, cancellationToken).ConfigureAwait(false);
        _hasIndexes = true;
    }
}
