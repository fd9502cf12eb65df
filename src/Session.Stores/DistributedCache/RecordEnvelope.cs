using System.Buffers.Binary;
using System.Text;
using Session.Engine;

namespace Session.Stores.DistributedCache;

/// <summary>
/// A record as the value of its key, big-endian: u8 format = 1 | u8 kind | i64 version | i64 last seen | i64 due |
/// i64 operation | u16 length of the subject, 65535: none | subject in UTF-8 | body.
/// Times are UTC ticks of 100 ns since the year 1.
/// </summary>
internal static class RecordEnvelope
{
    public const int TimeBytes = 8;
    private const int FixedBytes = 36;
    private const byte Format = 1;
    private const ushort NoSubject = ushort.MaxValue;

    /// <summary>Everything before the body.</summary>
    public static byte[] Head(StoredRecord record)
    {
        var subjectBytes = record.Subject is null ? 0 : Encoding.UTF8.GetByteCount(record.Subject);
        if (subjectBytes >= NoSubject)
            throw new ArgumentException("The subject is too long for the store.", nameof(record));

        var head = new byte[FixedBytes + subjectBytes];
        head[0] = Format;
        head[1] = (byte)record.Kind;
        BinaryPrimitives.WriteInt64BigEndian(head.AsSpan(2), record.Version);
        BinaryPrimitives.WriteInt64BigEndian(head.AsSpan(10), record.LastSeen.UtcTicks);
        BinaryPrimitives.WriteInt64BigEndian(head.AsSpan(18), record.DueAt.UtcTicks);
        BinaryPrimitives.WriteInt64BigEndian(head.AsSpan(26), record.Operation);
        BinaryPrimitives.WriteUInt16BigEndian(
            head.AsSpan(34),
            record.Subject is null ? NoSubject : (ushort)subjectBytes
        );
        if (record.Subject is not null)
            Encoding.UTF8.GetBytes(record.Subject, head.AsSpan(FixedBytes));
        return head;
    }

    /// <summary>The record; its body is a part of <paramref name="value"/>.</summary>
    public static StoredRecord Read(string id, ReadOnlyMemory<byte> value)
    {
        var bytes = value.Span;
        if (bytes.Length < FixedBytes || bytes[0] != Format || bytes[1] > (byte)RecordKind.Ended)
            throw Unreadable(id);

        var length = BinaryPrimitives.ReadUInt16BigEndian(bytes[34..]);
        var subjectBytes = length == NoSubject ? 0 : length;
        if (bytes.Length < FixedBytes + subjectBytes)
            throw Unreadable(id);

        return new StoredRecord(
            id,
            BinaryPrimitives.ReadInt64BigEndian(bytes[2..]),
            (RecordKind)bytes[1],
            Time(id, bytes[10..]),
            Time(id, bytes[18..]),
            length == NoSubject ? null : Encoding.UTF8.GetString(bytes.Slice(FixedBytes, subjectBytes)),
            BinaryPrimitives.ReadInt64BigEndian(bytes[26..]),
            value[(FixedBytes + subjectBytes)..]
        );
    }

    public static byte[] Write(DateTimeOffset time)
    {
        var bytes = new byte[TimeBytes];
        BinaryPrimitives.WriteInt64BigEndian(bytes, time.UtcTicks);
        return bytes;
    }

    public static DateTimeOffset Time(string id, ReadOnlySpan<byte> bytes)
    {
        var ticks = bytes.Length < TimeBytes ? -1 : BinaryPrimitives.ReadInt64BigEndian(bytes);
        return ticks < 0 || ticks > DateTime.MaxValue.Ticks
            ? throw Unreadable(id)
            : new DateTimeOffset(ticks, TimeSpan.Zero);
    }

    private static InvalidDataException Unreadable(string id) =>
        new(
            $"The value of session {id} in the cache is no record of this library: do other programs write under its prefix?"
        );
}
