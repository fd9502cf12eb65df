using Session.Engine;

namespace Session.Stores.DistributedCache;

/// <summary>A record as the value of its key, and the time of the last request as that of another.</summary>
internal static class RecordEnvelope
{
    /// <summary>Everything before the body.</summary>
    public static byte[] Head(StoredRecord record) => BinaryRecord.Write(record, withBody: false);

    /// <summary>The record; its body is a part of <paramref name="value"/>.</summary>
    public static StoredRecord Read(string id, ReadOnlyMemory<byte> value) =>
        BinaryRecord.Read(id, value) ?? throw Unreadable(id);

    public static byte[] Write(DateTimeOffset time) => BinaryRecord.Number(time.UtcTicks);

    public static DateTimeOffset Time(string id, ReadOnlySpan<byte> bytes) =>
        BinaryRecord.Time(bytes) ?? throw Unreadable(id);

    private static InvalidDataException Unreadable(string id) =>
        new(
            $"The value of session {id} in the cache is no record of this library: do other programs write under its prefix?"
        );
}
