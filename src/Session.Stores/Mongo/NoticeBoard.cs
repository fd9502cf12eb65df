using MongoDB.Bson;
using MongoDB.Driver;

namespace Session.Stores.Mongo;

/// <summary>
/// One document in a collection beside the sessions' own. Whoever has something to say changes it, and whoever listens follows its
/// changes by a change stream. It is there as long as somebody listens: else a notice changes nothing, and nothing is kept of it.
/// </summary>
internal sealed class NoticeBoard
{
    private const string Name = "ended";
    private const string Heard = "heard";
    private const string Said = "said";

    /// <summary>What a server answers that is no member of a replica set.</summary>
    private const int OnlyOnReplicaSets = 40573;

    /// <summary>How long the server waits for a change before it answers that there is none.</summary>
    public static readonly TimeSpan Silence = TimeSpan.FromSeconds(1);

    /// <summary>For so long after somebody last said to listen the document stays. Counted by the server's own clock.</summary>
    public static readonly TimeSpan Lease = TimeSpan.FromMinutes(2);

    private static readonly BsonDocument TheOne = new("_id", Name);

    // Of one field, and a text: of an array the server would tell what has changed in it.
    private static readonly PipelineDefinition<ChangeStreamDocument<BsonDocument>, BsonDocument> WhatIsSaid =
        PipelineDefinition<ChangeStreamDocument<BsonDocument>, BsonDocument>.Create(
            new BsonDocument(
                "$match",
                new BsonDocument
                {
                    { "operationType", "update" },
                    { "updateDescription.updatedFields." + Said, new BsonDocument("$exists", true) },
                }
            )
        );

    private readonly IMongoCollection<BsonDocument> _board;
    private readonly TimeSpan _timeout;

    public NoticeBoard(IMongoClient client, string database, MongoStoreOptions options)
    {
        _timeout = options.OperationTimeout;
        _board = client
            .GetDatabase(database)
            .GetCollection<BsonDocument>(options.Collection + ".notices")
            .WithReadPreference(ReadPreference.Primary)
            // A change stream knows no other one, whatever the client has.
            .WithReadConcern(ReadConcern.Majority)
            // A hint waits for nobody.
            .WithWriteConcern(WriteConcern.W1);
    }

    /// <summary>One update: of nothing, where nobody listens.</summary>
    public Task SayAsync(string ids, CancellationToken cancellationToken) =>
        WithinDeadline(
            deadline =>
                // The number makes each notice another one: who says the same twice changes the document twice.
                _board.UpdateOneAsync(
                    TheOne,
                    new BsonDocument("$set", new BsonDocument(Said, $"{Guid.NewGuid():N} {ids}")),
                    null,
                    deadline
                ),
            cancellationToken
        );

    /// <summary>That somebody listens, until the lease is over.</summary>
    public async Task EnterAsync(CancellationToken cancellationToken)
    {
        try
        {
            await WithinDeadline(
                    deadline =>
                        _board.UpdateOneAsync(
                            TheOne,
                            new BsonDocument("$currentDate", new BsonDocument(Heard, true)),
                            new UpdateOptions { IsUpsert = true },
                            deadline
                        ),
                    cancellationToken
                )
                .ConfigureAwait(false);
        }
        catch (MongoWriteException error) when (WriteFailures.IsDuplicate(error))
        {
            // Another node has made it at this moment.
        }
    }

    /// <summary>What is said from now on.</summary>
    /// <exception cref="NotSupportedException">The server is no member of a replica set.</exception>
    public async Task<IChangeStreamCursor<BsonDocument>> FollowAsync(CancellationToken cancellationToken)
    {
        await WithinDeadline(
                deadline =>
                    _board.Indexes.CreateOneAsync(
                        new CreateIndexModel<BsonDocument>(
                            new BsonDocument(Heard, 1),
                            new CreateIndexOptions { Name = Heard, ExpireAfter = Lease }
                        ),
                        null,
                        deadline
                    ),
                cancellationToken
            )
            .ConfigureAwait(false);
        try
        {
            return await WithinDeadline(
                    deadline =>
                        _board.WatchAsync(WhatIsSaid, new ChangeStreamOptions { MaxAwaitTime = Silence }, deadline),
                    cancellationToken
                )
                .ConfigureAwait(false);
        }
        catch (MongoCommandException error) when (error.Code == OnlyOnReplicaSets)
        {
            throw new NotSupportedException(
                "MongoDB is one node and no replica set, and only a replica set has change streams: start it with --replSet, or do with LiveCheck alone.",
                error
            );
        }
    }

    /// <summary>What was said since the last answer, as soon as there is something; or nothing, after a while.</summary>
    public async Task<IEnumerable<string>> HearAsync(
        IChangeStreamCursor<BsonDocument> stream,
        CancellationToken cancellationToken
    )
    {
        // A connection that was cut without a word would be waited for, for ever.
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        deadline.CancelAfter(Silence + _timeout);
        if (!await stream.MoveNextAsync(deadline.Token).ConfigureAwait(false))
            throw new MongoException("The change stream has come to its end.");
        return stream.Current.SelectMany(IdsOf).ToArray();
    }

    // What another program has put there is no notice, and keeps nobody from the next one.
    private static IEnumerable<string> IdsOf(BsonDocument change) =>
        change["updateDescription"]["updatedFields"][Said] is BsonString said
            ? said.Value.Split(' ', StringSplitOptions.RemoveEmptyEntries).Skip(1)
            : [];

    private Task<T> WithinDeadline<T>(Func<CancellationToken, Task<T>> work, CancellationToken cancellationToken) =>
        new Deadline(_timeout).Of(work, cancellationToken);
}
