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

    private static StoredRecord Record(SqliteDataReader row) =>
        new(
            row.GetString(0),
            row.GetInt64(1),
            (RecordKind)row.GetInt32(2),
            new DateTimeOffset(row.GetInt64(3), TimeSpan.Zero),
            new DateTimeOffset(row.GetInt64(4), TimeSpan.Zero),
            row.IsDBNull(5) ? null : row.GetString(5),
            row.GetInt64(6),
            row.GetFieldValue<byte[]>(7)
        );
}
