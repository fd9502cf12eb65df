using System.Runtime.CompilerServices;
using System.Text;
using Npgsql;
using Session.Engine;

namespace Session.Stores.Postgres;

/// <summary>Records as rows. A time is its UTC ticks, a subject its UTF-8.</summary>
internal static class Rows
{
    public static readonly Func<NpgsqlDataReader, ValueTask<StoredRecord?>> One = ReadOne;
    public static readonly Func<NpgsqlDataReader, ValueTask<List<StoredRecord>>> All = ReadAll;
    public static readonly Func<NpgsqlDataReader, ValueTask<long?>> Number = ReadNumber;

    public static byte[]? Bytes(string? subject) => subject is null ? null : Encoding.UTF8.GetBytes(subject);

    /// <summary>The columns of a record, $1 to $8.</summary>
    public static NpgsqlParameter[] Parameters(StoredRecord record, byte[]? subject, int more)
    {
        var parameters = new NpgsqlParameter[8 + more];
        parameters[0] = Parameter.Of(record.Id);
        parameters[1] = Parameter.Of(record.Version);
        parameters[2] = Parameter.Of((short)record.Kind);
        parameters[3] = Parameter.Of(record.LastSeen.UtcTicks);
        parameters[4] = Parameter.Of(record.DueAt.UtcTicks);
        parameters[5] = Parameter.Of(subject);
        parameters[6] = Parameter.Of(record.Operation);
        parameters[7] = Parameter.Of(RecordBody.AsArray(record.Body));
        return parameters;
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private static async ValueTask<StoredRecord?> ReadOne(NpgsqlDataReader row) =>
        await row.ReadAsync().ConfigureAwait(false) ? Record(row) : null;

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private static async ValueTask<List<StoredRecord>> ReadAll(NpgsqlDataReader row)
    {
        var records = new List<StoredRecord>();
        while (await row.ReadAsync().ConfigureAwait(false))
            records.Add(Record(row));
        return records;
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private static async ValueTask<long?> ReadNumber(NpgsqlDataReader row) =>
        await row.ReadAsync().ConfigureAwait(false) ? row.GetInt64(0) : null;

    /// <summary>
    /// The record in a row. Of one that is none of ours (somebody has changed it) without its body: such a record opens nothing,
    /// and is listed, ended and removed as one that cannot be read. It must not hold up the others of its page.
    /// </summary>
    private static StoredRecord Record(NpgsqlDataReader row)
    {
        var kind = (RecordKind)row.GetInt16(2);
        var lastSeen = row.GetInt64(3);
        var dueAt = row.GetInt64(4);
        var isOurs =
            kind is RecordKind.Unconfirmed or RecordKind.Live or RecordKind.Ended
            && StoredTicks.IsTime(lastSeen)
            && StoredTicks.IsTime(dueAt);
        return new StoredRecord(
            row.GetString(0),
            row.GetInt64(1),
            isOurs || kind is RecordKind.Ended ? kind : RecordKind.Live,
            StoredTicks.Time(lastSeen),
            StoredTicks.Time(dueAt),
            row.IsDBNull(5) ? null : Encoding.UTF8.GetString(row.GetFieldValue<byte[]>(5)),
            row.GetInt64(6),
            isOurs ? row.GetFieldValue<byte[]>(7) : []
        );
    }
}
