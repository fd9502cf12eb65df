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

    public static StoredRecord Read(string id, byte[] bytes) =>
        BinaryRecord.Read(id, bytes, Moved)
        ?? throw new InvalidDataException(
            $"The value of session {id} in Redis is no record of this library: do other programs write under its prefix?"
        );

    public static byte[] Number(long value) => BinaryRecord.Number(value);
}
