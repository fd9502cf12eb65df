using MongoDB.Bson;
using MongoDB.Driver;

namespace Session.Stores.Mongo;

/// <summary>The indexes of the collection.</summary>
internal static class Indexes
{
    private const int IndexOptionsConflict = 85;
    private const int IndexKeySpecsConflict = 86;

    private static readonly CreateIndexModel<BsonDocument>[] All =
    [
        new(
            Keys(RecordDocument.Subject, RecordDocument.Id),
            new CreateIndexOptions<BsonDocument>
            {
                Name = "subject",
                PartialFilterExpression = new BsonDocument(RecordDocument.Subject, new BsonDocument("$exists", true)),
            }
        ),
        new(Keys(RecordDocument.DueAt), new CreateIndexOptions { Name = "due" }),
        new(Keys(RecordDocument.Kind), new CreateIndexOptions { Name = "kind" }),
        new(Keys(RecordDocument.Janitor), new CreateIndexOptions { Name = "janitor", ExpireAfter = TimeSpan.Zero }),
    ];

    /// <summary>Makes those that are not there.</summary>
    /// <exception cref="InvalidOperationException">The collection is another program's.</exception>
    public static async Task CreateAsync(SessionCollection collection, CancellationToken cancellationToken)
    {
        if (await collection.CollationAsync(cancellationToken).ConfigureAwait(false) is { } collation)
            throw new InvalidOperationException(
                $"The collection {collection.Name} has a collation of its own ({collation}): two users, or two ids, that it takes for one text would be one to the store, and who logs out everywhere would end the sessions of both. Give MongoStoreOptions.Collection the name of one without."
            );

        try
        {
            await collection.CreateIndexesAsync(All, cancellationToken).ConfigureAwait(false);
        }
        catch (MongoCommandException error) when (error.Code is IndexOptionsConflict or IndexKeySpecsConflict)
        {
            throw new InvalidOperationException(
                $"The collection {collection.Name} has indexes of the same names that are not this library's: give MongoStoreOptions.Collection another name. ({error.Message})",
                error
            );
        }
    }

    private static BsonDocument Keys(params ReadOnlySpan<string> fields)
    {
        var keys = new BsonDocument();
        foreach (var field in fields)
            keys.Add(field, 1);
        return keys;
    }
}
