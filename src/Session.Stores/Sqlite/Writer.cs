using Microsoft.Data.Sqlite;

namespace Session.Stores.Sqlite;

/// <summary>The one connection that writes, with its statements.</summary>
internal sealed class Writer(SqliteConnection connection, string table, SqliteDurability durability) : IDisposable
{
    private bool _syncs = durability == SqliteDurability.Full;

    private readonly Statement _begin = new(connection, "BEGIN IMMEDIATE");
    private readonly Statement _commit = new(connection, "COMMIT");

    public Statement Insert { get; } =
        new(
            connection,
            $"""
            INSERT INTO "{table}" ({Sql.Columns})
            VALUES (@id, @version, @kind, @last_seen, @due_at, @subject, @operation, @body)
            ON CONFLICT (id) DO NOTHING
            """,
            "@id",
            "@version",
            "@kind",
            "@last_seen",
            "@due_at",
            "@subject",
            "@operation",
            "@body"
        );

    public Statement Replace { get; } =
        new(
            connection,
            $"""
            UPDATE "{table}" SET version = @version, kind = @kind,
            last_seen = CASE WHEN last_seen BETWEEN @last_seen AND {DateTime.MaxValue.Ticks} THEN last_seen ELSE @last_seen END,
            due_at = @due_at, subject = @subject, operation = @operation, body = @body
            WHERE id = @id AND version = @expected
            """,
            "@id",
            "@version",
            "@kind",
            "@last_seen",
            "@due_at",
            "@subject",
            "@operation",
            "@body",
            "@expected"
        );

    public Statement Exists { get; } = new(connection, $"""SELECT 1 FROM "{table}" WHERE id = @id""", "@id");

    public Statement Touch { get; } =
        new(
            connection,
            $"""UPDATE "{table}" SET last_seen = @at WHERE id = @id AND kind <> 2 AND last_seen < @at""",
            "@id",
            "@at"
        );

    public Statement Remove { get; } = new(connection, $"""DELETE FROM "{table}" WHERE id = @id""", "@id");

    public Statement RemoveVersion { get; } =
        new(
            connection,
            $"""DELETE FROM "{table}" WHERE id = @id AND version = @version AND operation = @operation""",
            "@id",
            "@version",
            "@operation"
        );

    public Statement Overdue { get; } =
        new(
            connection,
            $"""SELECT {Sql.Columns} FROM "{table}" WHERE due_at <= @now ORDER BY due_at LIMIT @limit""",
            "@now",
            "@limit"
        );

    public Statement Reschedule { get; } =
        new(
            connection,
            $"""UPDATE "{table}" SET due_at = @due_at WHERE id = @id AND version = @version""",
            "@id",
            "@version",
            "@due_at"
        );

    /// <summary>The open connection.</summary>
    public SqliteConnection Connection => connection;

    /// <summary>When it was last asked whether the file still is where it was.</summary>
    public ref long LookedAt => ref _lookedAt;

    private long _lookedAt = Environment.TickCount64;

    /// <summary>Sets what the next commits survive. A commit that is synchronized takes all before it to the disk, too.</summary>
    public Writer Committing(bool isDurable)
    {
        if (durability == SqliteDurability.Selective && isDurable != _syncs)
        {
            // Not prepared: SQLite carries this out when it compiles it, and not when it runs it.
            Sql.Execute(connection, isDurable ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL");
            _syncs = isDurable;
        }

        return this;
    }

    /// <summary>
    /// Runs the work in one transaction that a power failure may undo: its commit waits for no disk, whatever the settings say of
    /// all others. When it throws, the connection has to be closed.
    /// </summary>
    public void Hinting(Action<SqliteConnection> work)
    {
        Committing(isDurable: false);
        if (durability == SqliteDurability.Full)
            Sql.Execute(connection, "PRAGMA synchronous = NORMAL");
        InTransaction(_ =>
        {
            work(connection);
            return true;
        });
        if (durability == SqliteDurability.Full)
            Sql.Execute(connection, "PRAGMA synchronous = FULL");
    }

    /// <summary>Runs the work in one transaction. When it throws, the connection has to be closed.</summary>
    public T InTransaction<T>(Func<Writer, T> work)
    {
        _begin.Run();
        var result = work(this);
        _commit.Run();
        return result;
    }

    public void Dispose()
    {
        foreach (
            var statement in (ReadOnlySpan<Statement>)
                [_begin, _commit, Insert, Replace, Exists, Touch, Remove, RemoveVersion, Overdue, Reschedule]
        )
            statement.Dispose();

        connection.Dispose();
    }
}
