using Microsoft.Data.Sqlite;
using Session.Engine;

namespace Snippets;

/// <summary>A complete store: one table, one statement a verb.</summary>
public sealed class TableStore(string file) : ISessionStore
{
    private const string Columns = "id, version, kind, last_seen, due_at, subject, operation, body";
    private readonly string _connectionString = $"Data Source={file};Default Timeout=10";

    public async ValueTask<StoreReport> Prepare(CancellationToken cancellationToken)
    {
        // IF NOT EXISTS: several nodes come here at the same moment, and each of them perhaps more than once.
        await Run(
            $"""
            PRAGMA journal_mode = WAL;
            CREATE TABLE IF NOT EXISTS session (id TEXT PRIMARY KEY, version INTEGER NOT NULL, kind INTEGER NOT NULL,
                last_seen INTEGER NOT NULL, due_at INTEGER NOT NULL, subject TEXT, operation INTEGER NOT NULL, body BLOB NOT NULL);
            CREATE INDEX IF NOT EXISTS session_due ON session (due_at);
            CREATE INDEX IF NOT EXISTS session_subject ON session (subject, id) WHERE subject IS NOT NULL;
            """,
            cancellationToken
        );
        return new StoreReport($"table:{Path.GetFullPath(file)}", comparesAndSwaps: true, lists: true, notes: []);
    }

    public async ValueTask<WriteResult> Insert(StoredRecord record, CancellationToken cancellationToken)
    {
        var taken = await Run(
            $"""
            INSERT INTO session ({Columns}) VALUES (@id, @version, @kind, @seen, @due, @subject, @operation, @body)
            ON CONFLICT (id) DO NOTHING
            """,
            cancellationToken,
            Values(record)
        );
        return taken == 1 ? WriteResult.Written : WriteResult.Conflict;
    }

    public async ValueTask<StoredRecord?> Load(string id, CancellationToken cancellationToken) =>
        (
            await Select($"SELECT {Columns} FROM session WHERE id = @id", cancellationToken, ("@id", id))
        ).SingleOrDefault();

    public async ValueTask<WriteResult> Replace(StoredRecord record, long expected, CancellationToken cancellationToken)
    {
        // One answer for both questions, of one moment: was it there, and was it this version?
        var found = await Select(
            $"""
            BEGIN IMMEDIATE;
            SELECT {Columns} FROM session WHERE id = @id;
            UPDATE session SET version = @version, kind = @kind, last_seen = max(last_seen, @seen), due_at = @due,
                subject = @subject, operation = @operation, body = @body WHERE id = @id AND version = @expected;
            COMMIT;
            """,
            cancellationToken,
            [.. Values(record), ("@expected", expected)]
        );
        return found switch
        {
            [] => WriteResult.Absent,
            [var stored] when stored.Version == expected => WriteResult.Written,
            _ => WriteResult.Conflict,
        };
    }

    public async ValueTask Touch(string id, DateTimeOffset at, CancellationToken cancellationToken) =>
        await Run(
            "UPDATE session SET last_seen = @at WHERE id = @id AND kind <> 2 AND last_seen < @at",
            cancellationToken,
            ("@id", id),
            ("@at", at.UtcTicks)
        );

    public async ValueTask Remove(string id, CancellationToken cancellationToken) =>
        await Run("DELETE FROM session WHERE id = @id", cancellationToken, ("@id", id));

    public async ValueTask<StoredPage> BySubject(
        string subject,
        string? after,
        int limit,
        CancellationToken cancellationToken
    ) =>
        Page(
            await Select(
                $"SELECT {Columns} FROM session WHERE subject = @subject AND id > @after ORDER BY id LIMIT @limit",
                cancellationToken,
                ("@subject", subject),
                ("@after", after ?? ""),
                ("@limit", limit + 1L)
            ),
            limit
        );

    public async ValueTask<StoredPage> Enumerate(string? after, int limit, CancellationToken cancellationToken) =>
        Page(
            await Select(
                $"SELECT {Columns} FROM session WHERE id > @after ORDER BY id LIMIT @limit",
                cancellationToken,
                ("@after", after ?? ""),
                ("@limit", limit + 1L)
            ),
            limit
        );

    public async ValueTask<long> Count(CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        await using var connection = await Open();
        await using var command = Command(connection, "SELECT count(*) FROM session WHERE kind <> 2");
        return (long)(await command.ExecuteScalarAsync(CancellationToken.None))!;
    }

    public async ValueTask<IReadOnlyList<StoredRecord>> ClaimOverdue(
        DateTimeOffset now,
        TimeSpan lease,
        int limit,
        CancellationToken cancellationToken
    ) =>
        // What is claimed is due again at the end of the lease: until then no other caller finds it.
        await Select(
            $"""
            BEGIN IMMEDIATE;
            SELECT {Columns} FROM session WHERE due_at <= @now ORDER BY due_at, id LIMIT @limit;
            UPDATE session SET due_at = @until WHERE id IN
                (SELECT id FROM session WHERE due_at <= @now ORDER BY due_at, id LIMIT @limit);
            COMMIT;
            """,
            cancellationToken,
            ("@now", now.UtcTicks),
            ("@until", (now + lease).UtcTicks),
            ("@limit", limit)
        );

    public async ValueTask Reschedule(
        string id,
        long version,
        DateTimeOffset dueAt,
        CancellationToken cancellationToken
    ) =>
        await Run(
            "UPDATE session SET due_at = @due WHERE id = @id AND version = @version",
            cancellationToken,
            ("@id", id),
            ("@version", version),
            ("@due", dueAt.UtcTicks)
        );

    // A time is its UTC ticks, to the last one; a subject and an id are compared by their bytes.
    private static (string, object?)[] Values(StoredRecord record) =>
        [
            ("@id", record.Id),
            ("@version", record.Version),
            ("@kind", (int)record.Kind),
            ("@seen", record.LastSeen.UtcTicks),
            ("@due", record.DueAt.UtcTicks),
            ("@subject", record.Subject),
            ("@operation", record.Operation),
            ("@body", record.Body.ToArray()),
        ];

    private static StoredPage Page(List<StoredRecord> found, int limit) =>
        found.Count <= limit ? new StoredPage(found, null) : new StoredPage(found[..limit], found[limit - 1].Id);

    private async Task<SqliteConnection> Open()
    {
        var connection = new SqliteConnection(_connectionString);
        await connection.OpenAsync(CancellationToken.None);
        return connection;
    }

    private static SqliteCommand Command(SqliteConnection connection, string sql, params (string, object?)[] values)
    {
        var command = connection.CreateCommand();
        command.CommandText = sql;
        foreach (var (name, value) in values)
            command.Parameters.AddWithValue(name, value ?? DBNull.Value);
        return command;
    }

    // Cancelled before it is sent, and never afterwards: a write that was sent is waited for.
    private async Task<int> Run(string sql, CancellationToken cancellationToken, params (string, object?)[] values)
    {
        cancellationToken.ThrowIfCancellationRequested();
        await using var connection = await Open();
        await using var command = Command(connection, sql, values);
        return await command.ExecuteNonQueryAsync(CancellationToken.None);
    }

    private async Task<List<StoredRecord>> Select(
        string sql,
        CancellationToken cancellationToken,
        params (string, object?)[] values
    )
    {
        cancellationToken.ThrowIfCancellationRequested();
        await using var connection = await Open();
        await using var command = Command(connection, sql, values);
        await using var row = await command.ExecuteReaderAsync(CancellationToken.None);
        var records = new List<StoredRecord>();
        while (await row.ReadAsync(CancellationToken.None))
            records.Add(
                new StoredRecord(
                    row.GetString(0),
                    row.GetInt64(1),
                    (RecordKind)row.GetInt32(2),
                    new DateTimeOffset(row.GetInt64(3), TimeSpan.Zero),
                    new DateTimeOffset(row.GetInt64(4), TimeSpan.Zero),
                    row.IsDBNull(5) ? null : row.GetString(5),
                    row.GetInt64(6),
                    row.GetFieldValue<byte[]>(7)
                )
            );

        // The statements behind the rows run as the reader goes on.
        while (await row.NextResultAsync(CancellationToken.None)) { }
        return records;
    }
}
