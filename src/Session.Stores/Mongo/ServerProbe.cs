using MongoDB.Bson;
using MongoDB.Driver;

namespace Session.Stores.Mongo;

/// <summary>What the servers say of themselves at start, and what it means for sessions.</summary>
internal static class ServerProbe
{
    public static async Task<List<string>> RunAsync(
        IMongoClient client,
        MongoStoreOptions options,
        CancellationToken cancellationToken
    )
    {
        var admin = client.GetDatabase("admin");
        var notes = new List<string>();
        var before = DateTimeOffset.UtcNow;
        var hello = await Run("hello").ConfigureAwait(false);
        if (
            hello is not null
            && hello.TryGetValue("localTime", out var time)
            && time.IsBsonDateTime
            && Clocks.NoteOf("MongoDB", time.ToUniversalTime(), before) is { } note
        )
            notes.Add(note);

        if (hello is not null && hello.GetValue("msg", "") != "isdbgrid")
            OfOneSet(hello, notes);
        if (options.LinearizableReads && hello is not null && !hello.Contains("setName") && !hello.Contains("msg"))
            throw new InvalidOperationException(
                "MongoStoreOptions.LinearizableReads asks a majority, and this MongoDB is one node and no replica set: it refuses such reads. Leave LinearizableReads off, or start it with --replSet."
            );
        if (hello is not null && hello.Contains("setName"))
            OfItsSettings(await Run("replSetGetConfig").ConfigureAwait(false), notes);
        if (!client.Settings.RetryWrites)
            notes.Add(
                "retryWrites is false: while another primary is elected, writes are 503 that the driver would have sent again."
            );
        if (!client.Settings.WriteConcern.IsAcknowledged)
            notes.Add(
                "The client's write concern is w=0: sessions are written with w=1 at least, for nobody could tell a logout that failed."
            );
        return notes;

        async Task<BsonDocument?> Run(string command)
        {
            try
            {
                using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
                deadline.CancelAfter(options.OperationTimeout);
                return await admin
                    .RunCommandAsync<BsonDocument>(new BsonDocument(command, 1), ReadPreference.Primary, deadline.Token)
                    .ConfigureAwait(false);
            }
            catch (MongoCommandException)
            {
                // Not allowed to ask, or nothing that this server knows: there is nothing to say then.
                return null;
            }
        }
    }

    private static void OfOneSet(BsonDocument hello, List<string> notes)
    {
        if (!hello.Contains("setName"))
        {
            notes.Add(
                "MongoDB is one node and no replica set: while it is down, requests that need a session are 503, and what it acknowledged is as safe as its disk. It has no change streams either: where a session ends on another node, its open connections are closed by the next LiveCheck."
            );
            return;
        }

        var members = Count("hosts") + Count("passives");
        if (members == 1)
            notes.Add(
                "The replica set has one member with data: while it is down, requests that need a session are 503. Three members survive the loss of one."
            );
        else if (members == 2)
            notes.Add(
                "The replica set has two members with data: when one is away, logouts, sign-ins and elevations are 503, because no majority can confirm them. Three members survive the loss of one."
            );

        int Count(string name) =>
            hello.TryGetValue(name, out var list) && list.IsBsonArray ? list.AsBsonArray.Count : 0;
    }

    private static void OfItsSettings(BsonDocument? answer, List<string> notes)
    {
        if (
            answer is not null
            && answer.TryGetValue("config", out var config)
            && config.IsBsonDocument
            && config.AsBsonDocument.TryGetValue("writeConcernMajorityJournalDefault", out var journal)
            && journal == BsonBoolean.False
        )
            notes.Add(
                "writeConcernMajorityJournalDefault is false: a majority acknowledges a logout before it is on disk, so a power failure of several nodes can undo it. Set it to true."
            );
    }
}
