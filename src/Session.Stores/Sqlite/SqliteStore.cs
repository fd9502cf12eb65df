using System.Collections.Concurrent;
using System.Globalization;
using System.Runtime.InteropServices;
using Microsoft.Data.Sqlite;
using Session.Engine;

namespace Session.Stores.Sqlite;

/// <summary>
/// Sessions in one SQLite file: they survive a restart and a kill of the process. Several processes on one machine can
/// share the file.
/// </summary>
public sealed class SqliteStore : ISessionStore, IDisposable
{
    private const int SchemaVersion = 2;
    private const int MaxIdleReaders = 64;

    // SQLite's result codes: the primary ones, which SqliteException.SqliteErrorCode holds.
    private const int Denied = 3;
    private const int Busy = 5;
    private const int ReadOnly = 8;
    private const int Corrupt = 11;
    private const int CannotOpen = 14;
    private const int NotADatabase = 26;

    // While one store creates its file, no other store of this process may open it: closing the handle of the creator
    // would drop the locks that SQLite holds on it (POSIX).
    private static readonly Lock Creation = new();

    private readonly string _path;
    private readonly string _table;
    private readonly SqliteDurability _durability;
    private readonly TimeSpan _busyTimeout;
    private readonly string _connectionString;

    // Guards _writer and _location. A write in this process waits here, and not in SQLite, which polls.
    private readonly SemaphoreSlim _gate = new(1, 1);
    private Writer? _writer;
    private string? _location;

    private readonly ConcurrentStack<Reader> _idle = new();
    private int _idleCount;
    private volatile bool _ready;
    private volatile bool _disposed;

    /// <summary>Checks the settings; the file is opened by <c>Prepare</c>, or at first use.</summary>
    /// <param name="options">The settings. Later changes of them have no effect.</param>
    /// <exception cref="ArgumentException">A setting is out of range.</exception>
    public SqliteStore(SqliteStoreOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        if (string.IsNullOrWhiteSpace(options.Path))
            throw Invalid("SqliteStoreOptions.Path must name the database file.");
        if (
            options.Table is not { Length: >= 1 and <= 40 } table
            || !table.All(c => char.IsAsciiLetterOrDigit(c) || c == '_')
        )
            throw Invalid("SqliteStoreOptions.Table must be 1 to 40 of A-Z a-z 0-9 _.");
        if (table.StartsWith("sqlite_", StringComparison.OrdinalIgnoreCase))
            throw Invalid("SqliteStoreOptions.Table must not start with sqlite_: SQLite keeps these names for itself.");
        if (options.BusyTimeout <= TimeSpan.Zero || options.BusyTimeout > TimeSpan.FromHours(1))
            throw Invalid("SqliteStoreOptions.BusyTimeout must be more than zero and at most one hour.");
        if (!Enum.IsDefined(options.Durability))
            throw Invalid("SqliteStoreOptions.Durability must be Normal or Full.");

        _path = options.Path;
        _table = table;
        _durability = options.Durability;
        _busyTimeout = options.BusyTimeout;

        if (!IsNoFile(_path))
            _path = Path.GetFullPath(_path);

        _connectionString = new SqliteConnectionStringBuilder
        {
            DataSource = _path,
            Mode = SqliteOpenMode.ReadWriteCreate,
            Cache = SqliteCacheMode.Private,
            Pooling = false,
            // The driver polls on when SQLite gave up: it shall not, once busy_timeout is over.
            DefaultTimeout = Math.Max(1, (int)_busyTimeout.TotalSeconds - 1),
        }.ToString();
    }

    ValueTask<StoreReport> ISessionStore.Prepare(CancellationToken cancellationToken) =>
        Write(this, static (_, store) => new StoreReport(store._location!, true, true, []), cancellationToken);

    ValueTask<WriteResult> ISessionStore.Insert(StoredRecord record, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(record);
        return Write(
            record,
            static (writer, record) =>
                writer
                    .Insert.With(
                        record.Id,
                        record.Version,
                        (long)record.Kind,
                        record.LastSeen.UtcTicks,
                        record.DueAt.UtcTicks,
                        record.Subject,
                        record.Operation,
                        Bytes(record.Body)
                    )
                    .Run() == 1
                    ? WriteResult.Written
                    : WriteResult.Conflict,
            cancellationToken
        );
    }

    ValueTask<StoredRecord?> ISessionStore.Load(string id, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(id);
        return Read(
            id,
            static (reader, id) =>
            {
                using var row = reader.Load.With(id).Read();
                return row.Read() ? Record(row) : null;
            },
            cancellationToken
        );
    }

    ValueTask<WriteResult> ISessionStore.Replace(
        StoredRecord record,
        long expected,
        CancellationToken cancellationToken
    )
    {
        ArgumentNullException.ThrowIfNull(record);
        return Write(
            (record, expected),
            static (writer, work) =>
            {
                var (record, expected) = work;
                var replace = writer.Replace.With(
                    record.Id,
                    record.Version,
                    (long)record.Kind,
                    record.LastSeen.UtcTicks,
                    record.DueAt.UtcTicks,
                    record.Subject,
                    record.Operation,
                    Bytes(record.Body),
                    expected
                );
                if (replace.Run() == 1)
                    return WriteResult.Written;

                // Once more, in a transaction: another process may have changed the record since.
                return writer.InTransaction(writer =>
                {
                    if (replace.Run() == 1)
                        return WriteResult.Written;

                    using var row = writer.Exists.With(record.Id).Read();
                    return row.Read() ? WriteResult.Conflict : WriteResult.Absent;
                });
            },
            cancellationToken
        );
    }

    async ValueTask ISessionStore.Touch(string id, DateTimeOffset at, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(id);
        await Write(
                (id, at.UtcTicks),
                static (writer, work) => writer.Touch.With(work.id, work.UtcTicks).Run(),
                cancellationToken
            )
            .ConfigureAwait(false);
    }

    async ValueTask ISessionStore.Remove(string id, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(id);
        await Write(id, static (writer, id) => writer.Remove.With(id).Run(), cancellationToken).ConfigureAwait(false);
    }

    ValueTask<StoredPage> ISessionStore.BySubject(
        string subject,
        string? after,
        int limit,
        CancellationToken cancellationToken
    )
    {
        ArgumentNullException.ThrowIfNull(subject);
        ArgumentOutOfRangeException.ThrowIfLessThan(limit, 1);
        return Read(
            (subject, after: after ?? "", limit),
            static (reader, page) => Page(reader.BySubject.With(page.subject, page.after, page.limit + 1L), page.limit),
            cancellationToken
        );
    }

    ValueTask<StoredPage> ISessionStore.Enumerate(string? after, int limit, CancellationToken cancellationToken)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(limit, 1);
        return Read(
            (after: after ?? "", limit),
            static (reader, page) => Page(reader.Enumerate.With(page.after, page.limit + 1L), page.limit),
            cancellationToken
        );
    }

    ValueTask<long> ISessionStore.Count(CancellationToken cancellationToken) =>
        Read(
            0,
            static (reader, _) =>
            {
                using var row = reader.Count.Read();
                row.Read();
                return row.GetInt64(0);
            },
            cancellationToken
        );

    ValueTask<IReadOnlyList<StoredRecord>> ISessionStore.ClaimOverdue(
        DateTimeOffset now,
        TimeSpan lease,
        int limit,
        CancellationToken cancellationToken
    )
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(limit, 1);
        return Write<(long now, long until, long limit), IReadOnlyList<StoredRecord>>(
            (now.UtcTicks, (now + lease).UtcTicks, limit),
            static (writer, work) =>
                writer.InTransaction(writer =>
                {
                    var claimed = new List<StoredRecord>();
                    using (var row = writer.Overdue.With(work.now, work.limit).Read())
                        while (row.Read())
                            claimed.Add(Record(row));

                    foreach (var record in claimed)
                        writer.Reschedule.With(record.Id, record.Version, work.until).Run();

                    return claimed;
                }),
            cancellationToken
        );
    }

    async ValueTask ISessionStore.Reschedule(
        string id,
        long version,
        DateTimeOffset dueAt,
        CancellationToken cancellationToken
    )
    {
        ArgumentNullException.ThrowIfNull(id);
        await Write(
                (id, version, dueAt.UtcTicks),
                static (writer, work) => writer.Reschedule.With(work.id, work.version, work.UtcTicks).Run(),
                cancellationToken
            )
            .ConfigureAwait(false);
    }

    /// <summary>
    /// Lets the write that runs end, and closes the file; the last one to close it folds the write-ahead log into it.
    /// </summary>
    public void Dispose()
    {
        if (_disposed)
            return;

        _disposed = true;
        CloseIdle();
        _gate.Wait();
        try
        {
            _writer?.Dispose();
            _writer = null;
        }
        finally
        {
            _gate.Release();
        }
    }

    private async ValueTask<T> Write<TWork, T>(
        TWork work,
        Func<Writer, TWork, T> run,
        CancellationToken cancellationToken
    )
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (!await _gate.WaitAsync(_busyTimeout, cancellationToken).ConfigureAwait(false))
            throw new SqliteException("The writes before this one in this process took longer than BusyTimeout.", Busy);

        try
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            cancellationToken.ThrowIfCancellationRequested();
            var writer = _writer ??= OpenWriter();
            try
            {
                return run(writer, work);
            }
            catch
            {
                // Rolls back what is open. The next write starts with another connection.
                _writer = null;
                writer.Dispose();
                throw;
            }
        }
        finally
        {
            _gate.Release();
        }
    }

    private async ValueTask<T> Read<TWork, T>(
        TWork work,
        Func<Reader, TWork, T> run,
        CancellationToken cancellationToken
    )
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        cancellationToken.ThrowIfCancellationRequested();
        if (!_ready)
            await ((ISessionStore)this).Prepare(cancellationToken).ConfigureAwait(false);

        var reader = RentReader();
        T result;
        try
        {
            result = run(reader, work);
        }
        catch
        {
            reader.Dispose();
            throw;
        }

        if (Interlocked.Increment(ref _idleCount) > MaxIdleReaders)
        {
            Interlocked.Decrement(ref _idleCount);
            reader.Dispose();
        }
        else
        {
            _idle.Push(reader);
            if (_disposed)
                CloseIdle();
        }

        return result;
    }

    private Reader RentReader()
    {
        if (_idle.TryPop(out var idle))
        {
            Interlocked.Decrement(ref _idleCount);
            return idle;
        }

        var connection = Connect();
        try
        {
            Execute(connection, "PRAGMA query_only = 1");
            return new Reader(connection, _table);
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    private void CloseIdle()
    {
        while (_idle.TryPop(out var reader))
        {
            Interlocked.Decrement(ref _idleCount);
            reader.Dispose();
        }
    }

    private Writer OpenWriter()
    {
        if (IsNoFile(_path))
            throw new InvalidOperationException(
                $"'{_path}' is no file: give UseSqlite the path of a database file, or keep the sessions in memory with UseMemory."
            );
        if (Path.GetDirectoryName(_path) is { } directory && !Directory.Exists(directory))
            throw new InvalidOperationException(
                $"The directory '{directory}' of the session database does not exist: create it, or give UseSqlite another path."
            );
        if (Directory.Exists(_path))
            throw new InvalidOperationException($"'{_path}' is a directory: give UseSqlite the path of a file in it.");

        SqliteConnection? connection = null;
        try
        {
            CreateFile();
            connection = Connect();
            var mode = Scalar(connection, "PRAGMA journal_mode = WAL") as string;
            if (!string.Equals(mode, "wal", StringComparison.OrdinalIgnoreCase))
                throw new InvalidOperationException(
                    $"SQLite cannot keep a write-ahead log for '{_path}': put the session database on a local, writable disk."
                );

            Migrate(connection);
            var file = Scalar(connection, "SELECT file FROM pragma_database_list WHERE name = 'main'") as string;
            var writer = new Writer(connection, _table);
            // SQLite's own name for the file: links are resolved. Names of tables are equal whatever their case.
            _location = string.Concat("sqlite:", file ?? _path, "#", _table.ToLowerInvariant());
            _ready = true;
            return writer;
        }
        catch (Exception e)
        {
            connection?.Dispose();
            if (Explained(e) is { } explained)
                throw explained;

            throw;
        }
    }

    /// <summary>What to change, when the settings or the file are to blame.</summary>
    private InvalidOperationException? Explained(Exception e) =>
        e switch
        {
            SqliteException { SqliteErrorCode: Denied or ReadOnly or CannotOpen } => new InvalidOperationException(
                $"The session database '{_path}' cannot be written: give this process write access to the file and its directory, or give UseSqlite another path.",
                e
            ),
            SqliteException { SqliteErrorCode: NotADatabase } => new InvalidOperationException(
                $"'{_path}' is no SQLite database: give UseSqlite the path of another file, or remove this one.",
                e
            ),
            SqliteException { SqliteErrorCode: Corrupt } => new InvalidOperationException(
                $"The session database '{_path}' is damaged: restore it, or remove it, which ends all sessions.",
                e
            ),
            _ => null,
        };

    /// <summary>A new file is for this user only; SQLite gives its companions the same mode.</summary>
    private void CreateFile()
    {
        lock (Creation)
        {
            if (OperatingSystem.IsWindows() || File.Exists(_path))
                return;

            var options = new FileStreamOptions
            {
                Mode = FileMode.CreateNew,
                Access = FileAccess.Write,
                UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
            };
            try
            {
                new FileStream(_path, options).Dispose();
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // Another process was faster, or SQLite is about to say that it cannot create the file either.
            }
        }
    }

    private SqliteConnection Connect()
    {
        var connection = new SqliteConnection(_connectionString);
        try
        {
            connection.Open();
            var timeout = ((long)Math.Ceiling(_busyTimeout.TotalMilliseconds)).ToString(CultureInfo.InvariantCulture);
            var synchronous = _durability == SqliteDurability.Full ? "FULL" : "NORMAL";
            Execute(connection, $"PRAGMA busy_timeout = {timeout}; PRAGMA synchronous = {synchronous}");
            return connection;
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    // The hyphen keeps these names apart from every table that the options allow.
    private void Migrate(SqliteConnection connection)
    {
        // Not deferred: BEGIN IMMEDIATE. Processes that start together migrate one after the other.
        using var transaction = connection.BeginTransaction();
        Execute(
            connection,
            """
            CREATE TABLE IF NOT EXISTS "session-schema" (name TEXT PRIMARY KEY COLLATE NOCASE, version INTEGER NOT NULL)
            """
        );
        var version =
            Scalar(connection, $"""SELECT version FROM "session-schema" WHERE name = '{_table}'""") as long? ?? 0;
        if (version > SchemaVersion)
            throw new InvalidOperationException(
                $"The table '{_table}' in '{_path}' was made by a newer version of Session.Stores.Sqlite: update the package, or give SqliteStoreOptions.Table another name."
            );

        if (version == 0)
        {
            if (Scalar(connection, $"SELECT 1 FROM sqlite_master WHERE name = '{_table}' COLLATE NOCASE") is not null)
                throw new InvalidOperationException(
                    $"The table '{_table}' in '{_path}' belongs to something else: give SqliteStoreOptions.Table another name."
                );

            CreateTable(connection);
        }

        if (version == 1)
        {
            // It was WITHOUT ROWID: what was longer than a quarter of a page had pages of its own.
            Execute(
                connection,
                $"""
                DROP INDEX "{_table}-due";
                DROP INDEX "{_table}-subject";
                ALTER TABLE "{_table}" RENAME TO "{_table}-1"
                """
            );
            CreateTable(connection);
            Execute(
                connection,
                $"""
                INSERT INTO "{_table}" ({Sql.Columns}) SELECT {Sql.Columns} FROM "{_table}-1";
                DROP TABLE "{_table}-1"
                """
            );
        }

        // Written at each start: a file that cannot be written is found now.
        Execute(
            connection,
            $"""
            INSERT INTO "session-schema" (name, version) VALUES ('{_table}', {SchemaVersion})
            ON CONFLICT (name) DO UPDATE SET version = excluded.version
            """
        );
        transaction.Commit();
    }

    // The due index has kind too, so that a count need not read the records.
    private void CreateTable(SqliteConnection connection) =>
        Execute(
            connection,
            $"""
            CREATE TABLE "{_table}" (
                id TEXT NOT NULL PRIMARY KEY,
                version INTEGER NOT NULL,
                kind INTEGER NOT NULL,
                last_seen INTEGER NOT NULL,
                due_at INTEGER NOT NULL,
                subject TEXT,
                operation INTEGER NOT NULL,
                body BLOB NOT NULL
            );
            CREATE INDEX "{_table}-due" ON "{_table}" (due_at, kind);
            CREATE INDEX "{_table}-subject" ON "{_table}" (subject, id) WHERE subject IS NOT NULL
            """
        );

    private static void Execute(SqliteConnection connection, string sql)
    {
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        command.ExecuteNonQuery();
    }

    private static object? Scalar(SqliteConnection connection, string sql)
    {
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        return command.ExecuteScalar();
    }

    private static StoredPage Page(Statement select, int limit)
    {
        var records = new List<StoredRecord>();
        using var row = select.Read();
        while (row.Read())
        {
            if (records.Count == limit)
                return new StoredPage(records, records[^1].Id);

            records.Add(Record(row));
        }

        return new StoredPage(records, null);
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

    private static byte[] Bytes(ReadOnlyMemory<byte> body) =>
        MemoryMarshal.TryGetArray(body, out var array)
        && array is { Offset: 0, Array: { } bytes }
        && bytes.Length == array.Count
            ? bytes
            : body.ToArray();

    private static bool IsNoFile(string path) =>
        path.StartsWith(':') || path.StartsWith("file:", StringComparison.OrdinalIgnoreCase);

    private static ArgumentException Invalid(string sentence) => new(sentence);
}
