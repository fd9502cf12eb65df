using Microsoft.Data.Sqlite;

namespace Session.Stores.Sqlite;

/// <summary>Statements that are run once, and what the prepared ones have in common.</summary>
internal static class Sql
{
    /// <summary>In the order in which <see cref="Rows"/> reads a record.</summary>
    public const string Columns = "id, version, kind, last_seen, due_at, subject, operation, body";

    public static void Execute(SqliteConnection connection, string sql)
    {
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        command.ExecuteNonQuery();
    }

    /// <summary>The first column of the first row; null if there is no row.</summary>
    public static object? Scalar(SqliteConnection connection, string sql)
    {
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        return command.ExecuteScalar();
    }
}
