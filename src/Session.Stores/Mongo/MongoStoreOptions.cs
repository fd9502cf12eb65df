using MongoDB.Driver;

namespace Session.Stores.Mongo;

/// <summary>Settings of the MongoDB store.</summary>
public sealed class MongoStoreOptions
{
    /// <summary>A connection string of MongoDB: <c>mongodb://localhost/app</c>, the path naming the database. Not used when <see cref="Client"/> is set.</summary>
    public string ConnectionString { get; set; } = "mongodb://localhost/app";

    /// <summary>The application's own client, which it keeps and closes. Default null: one is made from <see cref="ConnectionString"/>.</summary>
    public IMongoClient? Client { get; set; }

    /// <summary>The database. Default: the one that <see cref="ConnectionString"/> names.</summary>
    public string Database { get; set; } = "";

    /// <summary>The collection. Default <c>sessions</c>; <c>UseMongo</c> has <c>tickets</c> for tickets and <c>httpsessions</c> for <c>HttpContext.Session</c>. Two kinds of sessions, or two applications, need two.</summary>
    public string Collection { get; set; } = "sessions";

    /// <summary>How long an operation may take, with the driver's retries and its search for a primary. Default 5 seconds; then the answer is 503.</summary>
    public TimeSpan OperationTimeout { get; set; } = TimeSpan.FromSeconds(5);

    /// <summary>
    /// Whether each read of a session by its id asks a majority if the node that answers still is the primary. Default false: a primary that was cut
    /// off may answer from its own documents until it steps down (10 seconds, by MongoDB's settings), and not know of
    /// logouts that the new one took. True costs each of them a round trip between the nodes. Lists of a user's sessions are not
    /// confirmed: on such a primary they may lack a sign-in that the new one took.
    /// </summary>
    public bool LinearizableReads { get; set; }

    /// <summary>How long after its time a document stays when no sweeper ever comes for it. Default 1 day.</summary>
    public TimeSpan JanitorMargin { get; set; } = TimeSpan.FromDays(1);

    /// <summary>For a store: what is changed later has no effect on it.</summary>
    internal MongoStoreOptions Copy() => (MongoStoreOptions)MemberwiseClone();
}
