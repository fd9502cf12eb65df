using MongoDB.Bson;
using MongoDB.Bson.IO;
using MongoDB.Bson.Serialization;
using MongoDB.Bson.Serialization.Serializers;
using Session.Engine;

namespace Session.Stores.Mongo;

/// <summary>
/// A record as a document. Times are UTC ticks of 100 ns since the year 1: a BSON date keeps milliseconds only, and a
/// deadline must come back as it went.
/// </summary>
internal sealed class RecordDocument : SerializerBase<StoredRecord>
{
    public const string Id = "_id";
    public const string Version = "v";
    public const string Kind = "kind";
    public const string LastSeen = "seen";
    public const string DueAt = "due";
    public const string Subject = "subject";
    public const string Operation = "op";
    public const string Body = "body";

    /// <summary>The number of the claim under which a sweeper has it: it goes with the next write.</summary>
    public const string Claim = "claim";

    /// <summary>A BSON date, for the TTL index.</summary>
    public const string Janitor = "janitor";

    /// <summary>The part of a filter that leaves out tombstones.</summary>
    public static BsonElement IsNotEnded => new(Kind, new BsonDocument("$lt", (int)RecordKind.Ended));

    public static RecordDocument Instance { get; } = new();

    public static BsonDocument Write(StoredRecord record, DateTime janitor)
    {
        var document = new BsonDocument
        {
            { Id, record.Id },
            { Version, record.Version },
            { Kind, (int)record.Kind },
            { LastSeen, record.LastSeen.UtcTicks },
            { DueAt, record.DueAt.UtcTicks },
            { Operation, record.Operation },
            { Body, RecordBody.AsArray(record.Body) },
            { Janitor, janitor },
        };
        if (record.Subject is not null)
            document.Add(Subject, record.Subject);
        return document;
    }

    /// <summary>The update that puts this record in the place of the one before.</summary>
    public static BsonDocument Update(StoredRecord record, DateTime janitor)
    {
        var set = new BsonDocument
        {
            { Version, record.Version },
            { Kind, (int)record.Kind },
            { DueAt, record.DueAt.UtcTicks },
            { Operation, record.Operation },
            { Body, RecordBody.AsArray(record.Body) },
            { Janitor, janitor },
        };
        var unset = new BsonDocument(Claim, "");
        if (record.Subject is null)
            unset.Add(Subject, "");
        else
            set.Add(Subject, record.Subject);

        return new BsonDocument
        {
            { "$set", set },
            { "$unset", unset },
            // A touch may have been faster: the later time stays.
            { "$max", new BsonDocument(LastSeen, record.LastSeen.UtcTicks) },
        };
    }

    public override StoredRecord Deserialize(BsonDeserializationContext context, BsonDeserializationArgs args)
    {
        var reader = context.Reader;
        string? id = null,
            subject = null;
        long? version = null,
            seen = null,
            due = null,
            operation = null;
        int? kind = null;
        byte[]? body = null;

        try
        {
            reader.ReadStartDocument();
            while (reader.ReadBsonType() != BsonType.EndOfDocument)
            {
                switch (reader.ReadName())
                {
                    case Id:
                        id = reader.ReadString();
                        break;
                    case Version:
                        version = reader.ReadInt64();
                        break;
                    case Kind:
                        kind = reader.ReadInt32();
                        break;
                    case LastSeen:
                        seen = reader.ReadInt64();
                        break;
                    case DueAt:
                        due = reader.ReadInt64();
                        break;
                    case Subject:
                        subject = reader.ReadString();
                        break;
                    case Operation:
                        operation = reader.ReadInt64();
                        break;
                    case Body:
                        body = reader.ReadBytes();
                        break;
                    default:
                        reader.SkipValue();
                        break;
                }
            }
            reader.ReadEndDocument();
        }
        catch (InvalidOperationException error)
        {
            throw Unreadable(id, error);
        }

        return id is not null && version is { } v && kind is { } k && operation is { } op && body is not null
            ? new StoredRecord(id, v, (RecordKind)k, Time(seen, id), Time(due, id), subject, op, body)
            : throw Unreadable(id, null);
    }

    private static DateTimeOffset Time(long? ticks, string id) =>
        ticks is >= 0 and var known && known <= DateTime.MaxValue.Ticks
            ? new DateTimeOffset(known, TimeSpan.Zero)
            : throw Unreadable(id, null);

    private static InvalidDataException Unreadable(string? id, Exception? error) =>
        new(
            $"The document of session {id} in MongoDB is no record of this library: do other programs write to its collection?",
            error
        );
}
