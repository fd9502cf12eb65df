using Microsoft.Data.Sqlite;

namespace Session.Stores.Sqlite;

/// <summary>
/// The table of the sessions with its indexes, and in which version it is. The versions of all tables of a file are in a
/// table of their own.
/// </summary>
internal sealed class Schema(string path, string table)
{
    private const int Current = 2;

    /// <summary>Makes the table, or brings an older one to this version.</summary>
    /// <exception cref="InvalidOperationException">The table is another program's, or of a newer version.</exception>
    public void Migrate(SqliteConnection connection)
    {
        // The hyphen in the names of our own tables: no table that the options allow has one.
        // Not deferred: BEGIN IMMEDIATE. Processes that start together migrate one after the other.
        using var transaction = connection.BeginTransaction();
        Sql.Execute(
            connection,
            """
            CREATE TABLE IF NOT EXISTS "session-schema" (name TEXT PRIMARY KEY COLLATE NOCASE, version INTEGER NOT NULL)
            """
        );
        var version =
            Sql.Scalar(connection, $"""SELECT version FROM "session-schema" WHERE name = '{table}'""") as long? ?? 0;
        if (version > Current)
            throw new InvalidOperationException(
                $"The table '{table}' in '{path}' was made by a newer version of Session.Stores.Sqlite: update the package, or give SqliteStoreOptions.Table another name."
            );

        if (version == 0)
        {
            if (
                Sql.Scalar(connection, $"SELECT 1 FROM sqlite_master WHERE name = '{table}' COLLATE NOCASE") is not null
            )
                throw new InvalidOperationException(
                    $"The table '{table}' in '{path}' belongs to something else: give SqliteStoreOptions.Table another name."
                );

            CreateTable(connection);
        }

        if (version == 1)
        {
            // It was WITHOUT ROWID: what was longer than a quarter of a page had pages of its own.
            Sql.Execute(
                connection,
                $"""
                DROP INDEX "{table}-due";
                DROP INDEX "{table}-subject";
                ALTER TABLE "{table}" RENAME TO "{table}-1"
                """
            );
            CreateTable(connection);
            Sql.Execute(
                connection,
                $"""
                INSERT INTO "{table}" ({Sql.Columns}) SELECT {Sql.Columns} FROM "{table}-1";
                DROP TABLE "{table}-1"
                """
            );
        }

        // Written at each start: a file that cannot be written is found now.
        Sql.Execute(
            connection,
            $"""
            INSERT INTO "session-schema" (name, version) VALUES ('{table}', {Current})
            ON CONFLICT (name) DO UPDATE SET version = excluded.version
            """
        );
        transaction.Commit();
    }

    // The due index has kind too, so that a count need not read the records.
    private void CreateTable(SqliteConnection connection) =>
        Sql.Execute(
            connection,
            $"""
            CREATE TABLE "{table}" (
                id TEXT NOT NULL PRIMARY KEY,
                version INTEGER NOT NULL,
                kind INTEGER NOT NULL,
                last_seen INTEGER NOT NULL,
                due_at INTEGER NOT NULL,
                subject TEXT,
                operation INTEGER NOT NULL,
                body BLOB NOT NULL
            );
            CREATE INDEX "{table}-due" ON "{table}" (due_at, kind);
            CREATE INDEX "{table}-subject" ON "{table}" (subject, id) WHERE subject IS NOT NULL
            """
        );
}
