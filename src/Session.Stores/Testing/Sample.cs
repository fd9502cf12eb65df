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

    /// <summary>What only a write changes: all but its times.</summary>
    public static string ShowContent(StoredRecord record) =>
        $"{record.Id} v{record.Version} {record.Kind} subject {record.Subject ?? "-"} op {record.Operation} body {Convert.ToHexString(record.Body.Span)}";

    /// <summary>Without its due time where that is not fixed: a claim may have moved it.</summary>
    public static string Show(StoredRecord? record, bool withDue = true) =>
        record is null
            ? "nothing"
            : $"{record.Id} v{record.Version} {record.Kind} seen {record.LastSeen:HH:mm:ss.fffffff} "
                + (withDue ? $"due {record.DueAt:o} " : "")
                + $"subject {record.Subject ?? "-"} op {record.Operation} body {Convert.ToHexString(record.Body.Span[..Math.Min(8, record.Body.Length)])}({record.Body.Length} bytes, {Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(record.Body.Span))[..8]})";
}
