using Session.Engine;

namespace Session.Stores.Testing;

/// <summary>Records and times to try things with.</summary>
internal static class Sample
{
    public static readonly DateTimeOffset Start = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);
    public static readonly TimeSpan Lease = TimeSpan.FromMinutes(2);

    public static DateTimeOffset At(double minutes) => Start.AddTicks((long)(minutes * TimeSpan.TicksPerMinute));

    public static StoredRecord Record(
        string id,
        long version = 1,
        RecordKind kind = RecordKind.Live,
        double seen = 0,
        double due = 30,
        string? subject = null,
        long? operation = null,
        byte[]? body = null
    ) =>
        new(
            id,
            version,
            kind,
            At(seen),
            At(due),
            subject,
            operation ?? Random.Shared.NextInt64(),
            body ?? [(byte)version, 0, 255]
        );

    /// <summary>Without its due time where that is not fixed: a claim may have moved it.</summary>
    public static string Show(StoredRecord? record, bool withDue = true) =>
        record is null
            ? "nothing"
            : ShowWith($"seen {record.LastSeen:HH:mm:ss.fffffff} " + (withDue ? $"due {record.DueAt:o} " : ""), record);

    /// <summary>
    /// Its id, if it is the record as last written, or if nothing is known of that; else all of it that only a write changes.
    /// </summary>
    public static string Named(StoredRecord record, StoredRecord? written)
    {
        var content = ShowWith("", record);
        return written is null || ShowWith("", written) == content ? record.Id : $"({content})";
    }

    private static string ShowWith(string times, StoredRecord record) =>
        $"{record.Id} v{record.Version} {record.Kind} {times}subject {record.Subject ?? "-"} op {record.Operation} body {Convert.ToHexString(record.Body.Span[..Math.Min(8, record.Body.Length)])}({record.Body.Length} bytes, {Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(record.Body.Span))[..8]})";
}
