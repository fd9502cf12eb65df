using System.Buffers.Binary;
using System.Text;
using Session.Engine;

namespace Session.Stores.Redis;

/// <summary>
/// A record as the value of its key. Big-endian, so that scripts compare numbers byte by byte:
/// u8 format = 1 | u8 kind, its high bit: the due index was moved since the record was written | i64 version |
/// i64 last seen | i64 due | i64 operation | u16 length of the subject, 65535: none | subject in UTF-8 | body.
/// Times are UTC ticks of 100 ns since the year 1.
/// </summary>
internal static class RecordLayout
{
    public const int HeadBytes = 36;
    private const byte Format = 1;
    private const byte Moved = 0x80;
    private const ushort NoSubject = ushort.MaxValue;

    public static byte[] Write(StoredRecord record)
    {
        var subjectBytes = record.Subject is null ? 0 : Encoding.UTF8.GetByteCount(record.Subject);
        if (subjectBytes >= NoSubject)
            throw new ArgumentException("The subject is too long for the Redis store.", nameof(record));

        var bytes = new byte[HeadBytes + subjectBytes + record.Body.Length];
        WriteHead(bytes, record, subjectBytes);
        if (record.Subject is not null)
            Encoding.UTF8.GetBytes(record.Subject, bytes.AsSpan(HeadBytes));
        record.Body.Span.CopyTo(bytes.AsSpan(HeadBytes + subjectBytes));
        return bytes;
    }

    /// <summary>The head of a record as it was loaded, if no claim has marked it since: no two writes have the same one.</summary>
    public static byte[] Head(StoredRecord record)
    {
        var bytes = new byte[HeadBytes];
        WriteHead(bytes, record, record.Subject is null ? 0 : Encoding.UTF8.GetByteCount(record.Subject));
        return bytes;
    }

    /// <summary>Whether a record can take the place of another one with no entry of an index to move.</summary>
    public static bool KeepsIndexes(StoredRecord before, StoredRecord after) =>
        before.Kind != RecordKind.Ended
        && after.Kind != RecordKind.Ended
        && before.Subject == after.Subject
        && after.DueAt >= before.DueAt
        && after.LastSeen >= before.LastSeen;

    private static void WriteHead(Span<byte> bytes, StoredRecord record, int subjectBytes)
    {
        bytes[0] = Format;
        bytes[1] = (byte)record.Kind;
        BinaryPrimitives.WriteInt64BigEndian(bytes[2..], record.Version);
        BinaryPrimitives.WriteInt64BigEndian(bytes[10..], record.LastSeen.UtcTicks);
        BinaryPrimitives.WriteInt64BigEndian(bytes[18..], record.DueAt.UtcTicks);
        BinaryPrimitives.WriteInt64BigEndian(bytes[26..], record.Operation);
        BinaryPrimitives.WriteUInt16BigEndian(bytes[34..], record.Subject is null ? NoSubject : (ushort)subjectBytes);
    }

    public static StoredRecord Read(string id, byte[] bytes)
    {
        if (bytes.Length < HeadBytes || bytes[0] != Format)
            throw Unreadable(id);

        var length = BinaryPrimitives.ReadUInt16BigEndian(bytes.AsSpan(34));
        var subjectBytes = length == NoSubject ? 0 : length;
        if (bytes.Length < HeadBytes + subjectBytes)
            throw Unreadable(id);

        return new StoredRecord(
            id,
            BinaryPrimitives.ReadInt64BigEndian(bytes.AsSpan(2)),
            (RecordKind)(bytes[1] & ~Moved),
            Time(bytes.AsSpan(10), id),
            Time(bytes.AsSpan(18), id),
            length == NoSubject ? null : Encoding.UTF8.GetString(bytes, HeadBytes, subjectBytes),
            BinaryPrimitives.ReadInt64BigEndian(bytes.AsSpan(26)),
            bytes.AsMemory(HeadBytes + subjectBytes)
        );
    }

    public static byte[] Number(long value)
    {
        var bytes = new byte[8];
        BinaryPrimitives.WriteInt64BigEndian(bytes, value);
        return bytes;
    }

    private static DateTimeOffset Time(ReadOnlySpan<byte> bytes, string id)
    {
        var ticks = BinaryPrimitives.ReadInt64BigEndian(bytes);
        return ticks < 0 || ticks > DateTime.MaxValue.Ticks
            ? throw Unreadable(id)
            : new DateTimeOffset(ticks, TimeSpan.Zero);
    }

    private static InvalidDataException Unreadable(string id) =>
        new(
            $"The value of session {id} in Redis is no record of this library: do other programs write under its prefix?"
        );
}
