using MongoDB.Bson;
using MongoDB.Driver;
using Session.Engine;

namespace Session.Stores.Mongo;

/// <summary>
/// The collection of the sessions: every command that is sent to it. Each has a deadline (OperationTimeout) of its own, or that of
/// the operation that it is a part of; a write that was sent is waited for, whatever its caller does.
/// </summary>
internal sealed class SessionCollection
{
    private static readonly ProjectionDefinition<BsonDocument, StoredRecord> AsRecord =
        Builders<BsonDocument>.Projection.As(RecordDocument.Lenient);

    private static readonly ProjectionDefinition<BsonDocument, StoredRecord> AsOneRecord =
        Builders<BsonDocument>.Projection.As(RecordDocument.Strict);

    private const int AtOnce = 16;

    // What a server sends without being told is 101.
    private const int MostInOneAnswer = 1000;

    private readonly TimeSpan _timeout;

    // The same collection, for routine writes and lists; for writes that a majority has to have; for reads of one record.
    private readonly IMongoCollection<BsonDocument> _routine;
    private readonly IMongoCollection<BsonDocument> _durable;
    private readonly IMongoCollection<BsonDocument> _single;

    public SessionCollection(IMongoClient client, string database, MongoStoreOptions options)
    {
        _timeout = options.OperationTimeout;
        var concern = client.Settings.WriteConcern;
        _routine = client
            .GetDatabase(database)
            .GetCollection<BsonDocument>(options.Collection)
            // Whatever the client prefers: a secondary may not have heard of a logout yet.
            .WithReadPreference(ReadPreference.Primary)
            .WithReadConcern(ReadConcern.Local)
            .WithWriteConcern(concern.IsAcknowledged ? concern : WriteConcern.W1);
        // The server gives up waiting for a majority before the deadline, and so can say that it has done the write.
        var patience = TimeSpan.FromMilliseconds(Math.Max(1, _timeout.TotalMilliseconds * 3 / 4));
        _durable = _routine.WithWriteConcern(WriteConcern.WMajority.With(wTimeout: patience));
        _single = options.LinearizableReads ? _routine.WithReadConcern(ReadConcern.Linearizable) : _routine;
    }

    /// <summary>With its database.</summary>
    public string Name => _routine.CollectionNamespace.FullName;

    /// <summary>For an operation of several commands, which begins now.</summary>
    public Deadline Begin() => new(_timeout);

    public Task InsertAsync(BsonDocument document, bool isDurable, Deadline within) =>
        within.Of(
            async deadline =>
            {
                await For(isDurable).InsertOneAsync(document, null, deadline).ConfigureAwait(false);
                return true;
            },
            CancellationToken.None
        );

    /// <summary>Whether there was a document to change.</summary>
    public async Task<bool> UpdateAsync(
        BsonDocument filter,
        BsonDocument change,
        Deadline within,
        bool isDurable = false
    )
    {
        var result = await within
            .Of(deadline => For(isDurable).UpdateOneAsync(filter, change, null, deadline), CancellationToken.None)
            .ConfigureAwait(false);
        return result.MatchedCount == 1;
    }

    public Task UpdateAllAsync(BsonDocument filter, BsonDocument change) =>
        Begin().Of(deadline => _routine.UpdateManyAsync(filter, change, null, deadline), CancellationToken.None);

    public Task DeleteAsync(BsonDocument filter) =>
        Begin().Of(deadline => _routine.DeleteOneAsync(filter, deadline), CancellationToken.None);

    /// <summary>The record of this id as it is now, or null.</summary>
    public Task<StoredRecord?> LoadAsync(string id, Deadline within) => LoadAsync(id, AsOneRecord, within);

    /// <summary>The records of these ids that are there: by one command, but where each read has to ask a majority.</summary>
    public async Task<List<StoredRecord>> LoadManyAsync(IReadOnlyList<string> ids)
    {
        if (_single == _routine)
        {
            var filter = new BsonDocument(RecordDocument.Id, new BsonDocument("$in", new BsonArray(ids)));
            return await FindAsync(filter, null, ids.Count, Begin()).ConfigureAwait(false);
        }

        // A linearizable read is one of a single document.
        var found = new List<StoredRecord>();
        var deadline = Begin();
        foreach (var some in ids.Chunk(AtOnce))
        {
            var loading = some.Select(id => LoadAsync(id, AsRecord, deadline));
            found.AddRange((await Task.WhenAll(loading).ConfigureAwait(false)).OfType<StoredRecord>());
        }
        return found;
    }

    public Task<List<StoredRecord>> FindAsync(
        BsonDocument filter,
        SortDefinition<BsonDocument>? sort,
        int limit,
        Deadline within
    ) => FindAsync(_routine, filter, AsRecord, sort, limit, within);

    public Task<long> CountAsync(BsonDocument filter, CancellationToken cancellationToken) =>
        Begin().Of(deadline => _routine.CountDocumentsAsync(filter, null, deadline), cancellationToken);

    /// <summary>
    /// The language by which the collection compares texts, if whoever made it gave it one; null: it compares them by their bytes,
    /// or does not say.
    /// </summary>
    public async Task<string?> CollationAsync(CancellationToken cancellationToken)
    {
        var name = _routine.CollectionNamespace.CollectionName;
        var question = new BsonDocument { { "listCollections", 1 }, { "filter", new BsonDocument("name", name) } };
        try
        {
            var answer = await Begin()
                .Of(
                    deadline =>
                        _routine.Database.RunCommandAsync<BsonDocument>(question, ReadPreference.Primary, deadline),
                    cancellationToken
                )
                .ConfigureAwait(false);
            var found = answer["cursor"]["firstBatch"].AsBsonArray.OfType<BsonDocument>().FirstOrDefault();
            return found is null ? null : LocaleOf(found);
        }
        catch (MongoCommandException)
        {
            // Not allowed to ask.
            return null;
        }
    }

    private static string? LocaleOf(BsonDocument collection) =>
        collection.TryGetValue("options", out var options)
        && options.IsBsonDocument
        && options.AsBsonDocument.TryGetValue("collation", out var collation)
        && collation.IsBsonDocument
        && collation.AsBsonDocument.GetValue("locale", "simple").AsString is { } locale and not "simple"
            ? locale
            : null;

    public Task CreateIndexesAsync(
        IEnumerable<CreateIndexModel<BsonDocument>> indexes,
        CancellationToken cancellationToken
    ) => Begin().Of(deadline => _routine.Indexes.CreateManyAsync(indexes, deadline), cancellationToken);

    private IMongoCollection<BsonDocument> For(bool isDurable) => isDurable ? _durable : _routine;

    private async Task<StoredRecord?> LoadAsync(
        string id,
        ProjectionDefinition<BsonDocument, StoredRecord> reading,
        Deadline within
    )
    {
        var filter = new BsonDocument(RecordDocument.Id, id);
        var found = await FindAsync(_single, filter, reading, null, 1, within).ConfigureAwait(false);
        return found.Count == 0 ? null : found[0];
    }

    private static Task<List<StoredRecord>> FindAsync(
        IMongoCollection<BsonDocument> collection,
        BsonDocument filter,
        ProjectionDefinition<BsonDocument, StoredRecord> reading,
        SortDefinition<BsonDocument>? sort,
        int limit,
        Deadline within
    )
    {
        var options = new FindOptions<BsonDocument, StoredRecord>
        {
            Projection = reading,
            Sort = sort,
            Limit = limit,
            BatchSize = Math.Min(limit, MostInOneAnswer),
        };
        return within.Of(
            async deadline =>
            {
                using var cursor = await collection.FindAsync(filter, options, deadline).ConfigureAwait(false);
                return await cursor.ToListAsync(deadline).ConfigureAwait(false);
            },
            CancellationToken.None
        );
    }
}
