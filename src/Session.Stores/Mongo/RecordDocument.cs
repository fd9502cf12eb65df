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

    private const double TwoTo63 = 9223372036854775808d;

    /// <summary>The part of a filter that leaves out tombstones.</summary>
    public static BsonElement IsNotEnded => new(Kind, new BsonDocument("$lt", (int)RecordKind.Ended));

    /// <summary>
    /// The part of a filter that leaves out what has no text for an id. Nobody can load or end it; and a sweep could not claim it,
    /// and would find it first for ever.
    /// </summary>
    public static BsonElement HasTextId => new(Id, new BsonDocument("$gte", ""));

    /// <summary>For one of many: what is no record of ours keeps nobody from the others.</summary>
    public static RecordDocument Lenient { get; } = new(isAlone: false);

    /// <summary>For one that was asked for by its id: of what has no version the cause is said.</summary>
    public static RecordDocument Strict { get; } = new(isAlone: true);

    private readonly bool _isAlone;

    private RecordDocument(bool isAlone) => _isAlone = isAlone;

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

    /// <summary>
    /// The record. Numbers may have become others: a shell writes small ones as int32, and so does an import. What is no record
    /// of ours is one without a body, which the engine cannot read: it opens nothing, is listed and can be ended.
    /// </summary>
    public override StoredRecord Deserialize(BsonDeserializationContext context, BsonDeserializationArgs args)
    {
        var reader = context.Reader;
        string? id = null,
            subject = null;
        long? version = null,
            kind = null,
            seen = null,
            due = null,
            operation = null;
        byte[]? body = null;
        var isSubjectText = true;

        reader.ReadStartDocument();
        while (reader.ReadBsonType() != BsonType.EndOfDocument)
        {
            switch (reader.ReadName())
            {
                case Id:
                    id = Text(reader);
                    break;
                case Version:
                    version = Number(reader);
                    break;
                case Kind:
                    kind = Number(reader);
                    break;
                case LastSeen:
                    seen = Number(reader);
                    break;
                case DueAt:
                    due = Number(reader);
                    break;
                case Subject:
                    subject = Text(reader);
                    isSubjectText = subject is not null;
                    break;
                case Operation:
                    operation = Number(reader);
                    break;
                case Body:
                    body = Bytes(reader);
                    break;
                default:
                    reader.SkipValue();
                    break;
            }
        }
        reader.ReadEndDocument();

        if (id is null || _isAlone && version is null)
            throw new InvalidDataException(
                $"The document of session {id} in MongoDB is no record of this library: do other programs write to its collection?"
            );
        var isOurs =
            version is not null
            && kind is >= 0 and <= (long)RecordKind.Ended
            && IsTime(seen)
            && IsTime(due)
            && operation is not null
            && isSubjectText
            && body is not null;
        return new StoredRecord(
            id,
            version ?? 1,
            isOurs || kind is (long)RecordKind.Ended ? (RecordKind)kind! : RecordKind.Live,
            Time(seen),
            Time(due),
            subject,
            operation ?? 0,
            isOurs ? body : []
        );
    }

    private static string? Text(IBsonReader reader)
    {
        if (reader.CurrentBsonType == BsonType.String)
            return reader.ReadString();
        reader.SkipValue();
        return null;
    }

    private static byte[]? Bytes(IBsonReader reader)
    {
        if (reader.CurrentBsonType == BsonType.Binary)
            return reader.ReadBinaryData().Bytes;
        reader.SkipValue();
        return null;
    }

    private static long? Number(IBsonReader reader)
    {
        switch (reader.CurrentBsonType)
        {
            case BsonType.Int64:
                return reader.ReadInt64();
            case BsonType.Int32:
                return reader.ReadInt32();
            case BsonType.Double:
                var value = reader.ReadDouble();
                return value >= -TwoTo63 && value < TwoTo63 && Math.Truncate(value) == value ? (long)value : null;
            default:
                reader.SkipValue();
                return null;
        }
    }

    private static bool IsTime(long? ticks) => ticks is { } known && StoredTicks.IsTime(known);

    // Of what says nothing nobody knows how old it is, and a sweep removes what is old.
    private static DateTimeOffset Time(long? ticks) =>
        ticks is { } known ? StoredTicks.Time(known) : DateTimeOffset.UtcNow;
}
