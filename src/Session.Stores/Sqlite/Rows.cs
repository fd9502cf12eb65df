using Microsoft.Data.Sqlite;
using Session.Engine;

namespace Session.Stores.Sqlite;

/// <summary>Records as rows of <see cref="Sql.Columns"/>. A time is its UTC ticks.</summary>
internal static class Rows
{
    /// <summary>The record of the one row that the statement selects, or null.</summary>
    public static StoredRecord? One(Statement select)
    {
        using var row = select.Read();
        return row.Read() ? Record(row) : null;
    }

    /// <summary>The records of all rows that the statement selects.</summary>
    public static List<StoredRecord> All(Statement select)
    {
        var records = new List<StoredRecord>();
        using var row = select.Read();
        while (row.Read())
            records.Add(Record(row));
        return records;
    }

    /// <summary>
    /// What no store of ours has written is a record that the engine cannot read, and no exception: one row must not keep a
    /// sweep, or a logout everywhere, from all others.
    /// </summary>
    private static StoredRecord Record(SqliteDataReader row)
    {
        var (kind, lastSeen, dueAt) = (row.GetInt64(2), row.GetInt64(3), row.GetInt64(4));
        var isOurs =
            kind is >= 0 and <= (long)RecordKind.Ended && StoredTicks.IsTime(lastSeen) && StoredTicks.IsTime(dueAt);
        return new(
            row.GetString(0),
            row.GetInt64(1),
            isOurs ? (RecordKind)kind : RecordKind.Live,
            StoredTicks.Time(lastSeen),
            StoredTicks.Time(dueAt),
            row.IsDBNull(5) ? null : row.GetString(5),
            row.GetInt64(6),
            isOurs ? row.GetFieldValue<byte[]>(7) : []
        );
    }
}
