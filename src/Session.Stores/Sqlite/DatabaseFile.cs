using System.Globalization;
using Microsoft.Data.Sqlite;

namespace Session.Stores.Sqlite;

/// <summary>The database file: makes it, opens connections to it, and says what to change when that fails.</summary>
internal sealed class DatabaseFile : IDisposable
{
    // SQLite's result codes: the primary ones, which SqliteException.SqliteErrorCode holds.
    private const int Denied = 3;
    private const int Busy = 5;
    private const int Locked = 6;
    private const int ReadOnly = 8;
    private const int Corrupt = 11;
    private const int CannotOpen = 14;
    private const int NotADatabase = 26;

    // While one store creates its file, no other store of this process may open it: closing the handle of the creator
    // would drop the locks that SQLite holds on it (POSIX).
    private static readonly Lock Creation = new();

    // Null: a name that SQLite has for no file.
    private readonly string? _path;
    private readonly string _named;
    private readonly string _table;
    private readonly SqliteDurability _durability;
    private readonly TimeSpan _busyTimeout;
    private readonly string _connectionString;
    private const long RestBetweenLooks = 500;

    // Null only the first time: what is gone afterwards was deleted, and an empty file in its place would end all sessions silently.
    // It stays open, and knows whether the path leads to the same file as then. Another one is not opened: the write-ahead log
    // that lies beside it is of the file before, and SQLite would mix the two.
    private SqliteConnection? _witness;

    /// <summary>Opens nothing yet.</summary>
    public DatabaseFile(string? path, string named, string table, SqliteDurability durability, TimeSpan busyTimeout)
    {
        _path = path;
        _named = named;
        _table = table;
        _durability = durability;
        _busyTimeout = busyTimeout;
        _connectionString = new SqliteConnectionStringBuilder
        {
            DataSource = path ?? named,
            // The file is made here, with a mode of its own, and never by SQLite.
            Mode = SqliteOpenMode.ReadWrite,
            Cache = SqliteCacheMode.Private,
            Pooling = false,
            // The driver polls on when SQLite gave up: it shall not, once busy_timeout is over.
            DefaultTimeout = Math.Max(1, (int)busyTimeout.TotalSeconds - 1),
        }.ToString();
    }

    /// <summary>Makes the file and the table if they are not there, and opens the connection that writes.</summary>
    /// <param name="location">Where the records are: equal for two stores that share them.</param>
    /// <exception cref="InvalidOperationException">The settings or the file are to blame; the message says what to change.</exception>
    public Writer OpenWriter(out string location)
    {
        if (_path is null)
            throw new InvalidOperationException(
                $"'{_named}' is no file: give UseSqlite the path of a database file, or keep the sessions in memory with UseMemory."
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
            if (_witness is null)
                CreateForThisUserOnly();
            else if (IsReplaced)
                throw Gone();
            connection = Connect();
            var mode = Sql.Scalar(connection, "PRAGMA journal_mode = WAL") as string;
            if (!string.Equals(mode, "wal", StringComparison.OrdinalIgnoreCase))
                throw new InvalidOperationException(
                    $"SQLite cannot keep a write-ahead log for '{_path}': put the session database on a local, writable disk."
                );

            new Schema(_path, _table).Migrate(connection);
            var file = Sql.Scalar(connection, "SELECT file FROM pragma_database_list WHERE name = 'main'") as string;
            var writer = new Writer(connection, _table, _durability);
            HideFromOthers();
            _witness ??= Witness();
            // SQLite's own name for the file: links are resolved. Names of tables are equal whatever their case.
            location = string.Concat("sqlite:", file ?? _path, "#", _table.ToLowerInvariant());
            return writer;
        }
        catch (Exception error)
        {
            connection?.Dispose();
            if (WhatToChange(error) is { } sentence)
                throw new InvalidOperationException(sentence, error);

            // No other kind of exception: it may pass by itself.
            if (error is SqliteException { SqliteErrorCode: Busy or Locked } locked)
                throw new SqliteException(
                    $"The session database '{_path}' is locked by another program, for longer than SqliteStoreOptions.BusyTimeout ({_busyTimeout}): close what has it open in a transaction, such as a tool or a backup, or give UseSqlite a file of its own. {locked.Message}",
                    locked.SqliteErrorCode,
                    locked.SqliteExtendedErrorCode
                );

            throw;
        }
    }

    /// <summary>Opens a connection that cannot write. The table has to be there.</summary>
    public Reader OpenReader() => OpenReading(connection => new Reader(connection, _table));

    /// <summary>Opens a connection that hears of notices. Their table has to be there.</summary>
    public Ear OpenEar(NoticeBoard board) => OpenReading(connection => new Ear(connection, board));

    /// <summary>Whether the path leads to another file than it did, or to none.</summary>
    public bool IsReplaced => _witness is { } witness && (!File.Exists(_path) || FileControl.HasMoved(witness));

    private T OpenReading<T>(Func<SqliteConnection, T> use)
    {
        if (IsReplaced)
            throw Gone();
        var connection = Connect();
        try
        {
            Sql.Execute(connection, "PRAGMA query_only = 1");
            return use(connection);
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    /// <summary>The sentence for a file that is no longer where it was.</summary>
    public InvalidOperationException Gone() =>
        new(
            File.Exists(_path)
                ? $"Another file is in the place of the session database '{_path}', which was deleted or moved while this program used it: move the one from before back, or stop the program, remove '{_path}-wal' and '{_path}-shm', which are of the file before, and start it again."
                : $"The session database '{_path}' was deleted or moved while this program used it: move it back, or start the program again, which makes a new one without any session."
        );

    private SqliteConnection Witness()
    {
        var witness = Connect();
        try
        {
            // SQLite opens the file with the first statement.
            Sql.Execute(witness, "PRAGMA query_only = 1; SELECT count(*) FROM sqlite_master");
            return witness;
        }
        catch
        {
            witness.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Whether an open connection leads to another file than the path, or to one that is deleted. Looks at most twice a second.
    /// </summary>
    public bool IsGone(SqliteConnection connection, ref long lookedAt)
    {
        var now = Environment.TickCount64;
        if (now - lookedAt < RestBetweenLooks)
            return false;

        lookedAt = now;
        return !File.Exists(_path) || FileControl.HasMoved(connection);
    }

    public void Dispose() => _witness?.Dispose();

    private SqliteConnection Connect()
    {
        var connection = new SqliteConnection(_connectionString);
        try
        {
            connection.Open();
            var timeout = ((long)Math.Ceiling(_busyTimeout.TotalMilliseconds)).ToString(CultureInfo.InvariantCulture);
            var synchronous = _durability == SqliteDurability.Full ? "FULL" : "NORMAL";
            Sql.Execute(connection, $"PRAGMA busy_timeout = {timeout}; PRAGMA synchronous = {synchronous}");
            return connection;
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    /// <summary>Creates the file if it is absent. SQLite gives its companions the same mode.</summary>
    private void CreateForThisUserOnly()
    {
        lock (Creation)
        {
            if (File.Exists(_path))
                return;

            var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write };
            if (!OperatingSystem.IsWindows())
                options.UnixCreateMode = OwnerOnly;
            try
            {
                new FileStream(_path!, options).Dispose();
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // Another process was faster, or SQLite is about to say that it cannot create the file either.
            }
        }
    }

    /// <summary>A sentence, when the settings or the file are to blame; else null.</summary>
    private string? WhatToChange(Exception error) =>
        error is not SqliteException { SqliteErrorCode: var code }
            ? null
            : code switch
            {
                Denied or ReadOnly or CannotOpen =>
                    $"The session database '{_path}' cannot be written: give this process write access to the file and its directory, or give UseSqlite another path.",
                NotADatabase =>
                    $"'{_path}' is no SQLite database: give UseSqlite the path of another file, or remove this one.",
                Corrupt =>
                    $"The session database '{_path}' is damaged: restore it, or remove it, which ends all sessions.",
                _ => null,
            };

    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    /// <summary>Also where somebody else has made the file, or its companions, readable.</summary>
    private void HideFromOthers()
    {
        if (OperatingSystem.IsWindows())
            return;

        foreach (var name in (string[])[_path!, _path + "-wal", _path + "-shm"])
            try
            {
                if (File.Exists(name) && (File.GetUnixFileMode(name) & ~OwnerOnly) != 0)
                    File.SetUnixFileMode(name, OwnerOnly);
            }
            catch (Exception error) when (error is UnauthorizedAccessException or IOException)
            {
                // It belongs to another user, who shares it with this one on purpose.
            }
    }
}
