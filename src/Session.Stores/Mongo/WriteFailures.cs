using MongoDB.Bson;
using MongoDB.Driver;

namespace Session.Stores.Mongo;

/// <summary>What an exception says of the write that it came out of.</summary>
internal static class WriteFailures
{
    /// <summary>Whether the id is taken.</summary>
    public static bool IsDuplicate(Exception error) =>
        error is MongoWriteException { WriteError.Category: ServerErrorCategory.DuplicateKey };

    /// <summary>Whether the answer never came: the write may have taken effect, now or later.</summary>
    public static bool HasNoAnswer(Exception error) =>
        error
            is TimeoutException
                or MongoConnectionException
                or MongoExecutionTimeoutException
                or MongoNotPrimaryException
                or MongoNodeIsRecoveringException;

    /// <summary>
    /// For a write that the server has carried out, and of which it then said that not enough members have confirmed it
    /// (the write concern failed): whether there was anything to write. Null: the exception is another one.
    /// </summary>
    public static bool? WasDoneButNotConfirmed(Exception error) =>
        error switch
        {
            MongoWriteException
            {
                WriteError: null,
                WriteConcernError: not null,
                InnerException: MongoBulkWriteException<BsonDocument> { Result: { IsAcknowledged: true } result }
            } => result.InsertedCount + result.MatchedCount > 0,
            MongoWriteConcernException { WriteConcernResult.Response: { } answer }
                when answer.TryGetValue("n", out var count) => count.ToInt64() > 0,
            _ => null,
        };
}
