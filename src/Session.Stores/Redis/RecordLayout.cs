using Session.Engine;

namespace Session.Stores.Redis;

/// <summary>A record as the value of its key. The high bit of its kind: the due index was moved since the record was written.</summary>
internal static class RecordLayout
{
    private const byte Moved = 0x80;

    public static byte[] Write(StoredRecord record) => BinaryRecord.Write(record, withBody: true);

    /// <summary>The head of a record as it was loaded, if no claim has marked it since: no two writes have the same one.</summary>
    public static ReadOnlyMemory<byte> Head(StoredRecord record) =>
        BinaryRecord.Write(record, withBody: false).AsMemory(0, BinaryRecord.HeadBytes);

    /// <summary>Whether a record can take the place of another one with no entry of an index to move.</summary>
    public static bool KeepsIndexes(StoredRecord before, StoredRecord after) =>
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
