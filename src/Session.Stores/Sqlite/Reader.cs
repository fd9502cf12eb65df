using Microsoft.Data.Sqlite;

namespace Session.Stores.Sqlite;

/// <summary>A connection that only reads, with its statements.</summary>
internal sealed class Reader(SqliteConnection connection, string table) : IDisposable
{
    public Statement Load { get; } = new(connection, $"""SELECT {Sql.Columns} FROM "{table}" WHERE id = @id""", "@id");

    // Made when it is asked for first: most connections never are.
    private Statement? _loadMany;

    /// <summary>The ids come as one JSON array of strings.</summary>
    public Statement LoadMany =>
        _loadMany ??= new(
            connection,
            $"""SELECT {Sql.Columns} FROM "{table}" WHERE id IN (SELECT value FROM json_each(@ids))""",
            "@ids"
        );

    public Statement BySubject { get; } =
        new(
            connection,
            $"""
            SELECT {Sql.Columns} FROM "{table}" WHERE subject = @subject AND id > @after ORDER BY id LIMIT @limit
            """,
            "@subject",
            "@after",
            "@limit"
        );

    public Statement Enumerate { get; } =
        new(
            connection,
            $"""SELECT {Sql.Columns} FROM "{table}" WHERE id > @after ORDER BY id LIMIT @limit""",
            "@after",
            "@limit"
        );

    public Statement Count { get; } = new(connection, $"""SELECT count(*) FROM "{table}" WHERE kind <> 2""");

    /// <summary>The open connection.</summary>
    public SqliteConnection Connection => connection;

    /// <summary>When it was last asked whether the file still is where it was.</summary>
    public ref long LookedAt => ref _lookedAt;

    private long _lookedAt = Environment.TickCount64;

    public void Dispose()
    {
        foreach (var statement in (ReadOnlySpan<Statement>)[Load, BySubject, Enumerate, Count])
            statement.Dispose();

        _loadMany?.Dispose();
        connection.Dispose();
    }
}
