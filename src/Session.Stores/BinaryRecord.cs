using System.Buffers.Binary;
using System.Text;
using Session.Engine;

namespace Session.Stores;

/// <summary>
/// A record as bytes, for stores that keep values: u8 format = 1 | u8 kind | i64 version | i64 last seen | i64 due |
/// i64 operation | u16 length of the subject, 65535: none | subject in UTF-8 | body. Numbers are big-endian, so that they
/// compare byte by byte; times are UTC ticks of 100 ns since the year 1.
/// </summary>
internal static class BinaryRecord
{
    /// <summary>What comes before the subject.</summary>
    public const int HeadBytes = 36;

    private const byte Format = 1;
    private const ushort NoSubject = ushort.MaxValue;

    /// <summary>The record; without its body where that is sent from where it is.</summary>
    public static byte[] Write(StoredRecord record, bool withBody)
    {
        var subjectBytes = record.Subject is null ? 0 : Encoding.UTF8.GetByteCount(record.Subject);
        if (subjectBytes >= NoSubject)
            throw new ArgumentException("The subject is too long for the store.", nameof(record));

        var bytes = new byte[HeadBytes + subjectBytes + (withBody ? record.Body.Length : 0)];
        WriteHead(
            bytes,
            record.Kind,
            record.Version,
            record.LastSeen,
            record.DueAt,
            record.Operation,
            record.Subject is null ? NoSubject : (ushort)subjectBytes
        );
        if (record.Subject is not null)
            Encoding.UTF8.GetBytes(record.Subject, bytes.AsSpan(HeadBytes));
        if (withBody)
            record.Body.Span.CopyTo(bytes.AsSpan(HeadBytes + subjectBytes));
        return bytes;
    }

    /// <summary>What comes before the subject, of a record that was loaded.</summary>
    public static byte[] WriteHead(RecordHead head)
    {
        var bytes = new byte[HeadBytes];
        var length = head.Subject is null ? NoSubject : (ushort)Encoding.UTF8.GetByteCount(head.Subject);
        WriteHead(bytes, head.Kind, head.Version, head.LastSeen, head.DueAt, head.Operation, length);
        return bytes;
    }

    private static void WriteHead(
        Span<byte> bytes,
        RecordKind kind,
        long version,
        DateTimeOffset lastSeen,
        DateTimeOffset dueAt,
        long operation,
        ushort subjectLength
    )
    {
        bytes[0] = Format;
        bytes[1] = (byte)kind;
        BinaryPrimitives.WriteInt64BigEndian(bytes[2..], version);
        BinaryPrimitives.WriteInt64BigEndian(bytes[10..], lastSeen.UtcTicks);
        BinaryPrimitives.WriteInt64BigEndian(bytes[18..], dueAt.UtcTicks);
        BinaryPrimitives.WriteInt64BigEndian(bytes[26..], operation);
        BinaryPrimitives.WriteUInt16BigEndian(bytes[34..], subjectLength);
    }

    /// <summary>The record, its body a part of <paramref name="value"/>; null: this is none. The bits of <paramref name="flags"/> are not the kind's.</summary>
    public static StoredRecord? Read(string id, ReadOnlyMemory<byte> value, byte flags = 0)
    {
        var bytes = value.Span;
        if (bytes.Length < HeadBytes || bytes[0] != Format || (bytes[1] & ~flags) > (byte)RecordKind.Ended)
            return null;

        var length = BinaryPrimitives.ReadUInt16BigEndian(bytes[34..]);
        var subjectBytes = length == NoSubject ? 0 : length;
        if (
            bytes.Length < HeadBytes + subjectBytes
            || Time(bytes[10..]) is not { } lastSeen
            || Time(bytes[18..]) is not { } dueAt
        )
            return null;

        return new StoredRecord(
            id,
            BinaryPrimitives.ReadInt64BigEndian(bytes[2..]),
            (RecordKind)(bytes[1] & ~flags),
            lastSeen,
            dueAt,
            length == NoSubject ? null : Encoding.UTF8.GetString(bytes.Slice(HeadBytes, subjectBytes)),
            BinaryPrimitives.ReadInt64BigEndian(bytes[26..]),
            value[(HeadBytes + subjectBytes)..]
        );
    }

    /// <summary>A number of 8 bytes, as in a record.</summary>
    public static byte[] Number(long value)
    {
        var bytes = new byte[sizeof(long)];
        BinaryPrimitives.WriteInt64BigEndian(bytes, value);
        return bytes;
    }

    /// <summary>The time in the first 8 bytes; null: there is none.</summary>
    public static DateTimeOffset? Time(ReadOnlySpan<byte> bytes)
    {
        var ticks = bytes.Length < sizeof(long) ? -1 : BinaryPrimitives.ReadInt64BigEndian(bytes);
        return ticks < 0 || ticks > DateTime.MaxValue.Ticks ? null : new DateTimeOffset(ticks, TimeSpan.Zero);
    }
}
