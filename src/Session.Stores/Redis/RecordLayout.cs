using System.Buffers.Binary;
using Session.Engine;

namespace Session.Stores.Redis;

/// <summary>A record as the value of its key. The high bit of its kind says that the due index was moved since the record was written.</summary>
internal static class RecordLayout
{
    private const byte Moved = 0x80;

    public static byte[] Write(StoredRecord record) => BinaryRecord.Write(record, withBody: true);

    /// <summary>The first bytes of a record that was loaded. No other write has the same ones, and a claim changes them.</summary>
    public static ReadOnlyMemory<byte> Head(RecordHead record) => BinaryRecord.WriteHead(record);

    /// <summary>Whether one record can take the place of another one while all entries of the indexes stay as they are.</summary>
    public static bool KeepsIndexes(RecordHead before, StoredRecord after) =>
        before.Kind != RecordKind.Ended
        && after.Kind != RecordKind.Ended
        && before.Subject == after.Subject
        && after.DueAt >= before.DueAt
        && after.LastSeen >= before.LastSeen;

    /// <summary>The record; or, of a value that is none of ours, what <see cref="Unreadable"/> makes of it.</summary>
    public static StoredRecord Read(string id, byte[] bytes, string? presumed = null) =>
        BinaryRecord.Read(id, bytes, Moved) ?? Unreadable(id, bytes, presumed);

    /// <summary>
    /// In place of what another program has written, or a later version of this one: a record without a body, which the engine
    /// cannot read. It opens nothing and can be ended, and it keeps no sweep, no list and no logout from the others.
    /// </summary>
    /// <param name="id">The session that has the value.</param>
    /// <param name="bytes">The value.</param>
    /// <param name="presumed">Whose index has led to it: it may be theirs, and stays among theirs.</param>
    public static StoredRecord Unreadable(string id, ReadOnlySpan<byte> bytes, string? presumed)
    {
        // The scripts compare them where they are, whatever the rest is.
        var isLong = bytes.Length >= BinaryRecord.HeadBytes;
        var version = isLong ? BinaryPrimitives.ReadInt64BigEndian(bytes[2..]) : 1;
        var operation = isLong ? BinaryPrimitives.ReadInt64BigEndian(bytes[26..]) : 0;
        // Nobody knows how old it is, and a sweep removes what is old.
        var now = DateTimeOffset.UtcNow;
        return new StoredRecord(
            id,
            version,
            RecordKind.Live,
            now,
            now,
            presumed,
            operation,
            ReadOnlyMemory<byte>.Empty
        );
    }

    public static byte[] Number(long value) => BinaryRecord.Number(value);
}
