namespace Session.Stores.Sqlite;

/// <summary>Settings of the SQLite store.</summary>
public sealed class SqliteStoreOptions
{
    /// <summary>
    /// The database file, or a connection string that names it (<c>Data Source=sessions.db</c>) and says nothing else that
    /// matters here. The file is created at start if it is absent, its directory is not. A relative path is relative to
    /// <see cref="Directory"/>. <c>UseSqlite</c> sets it.
    /// </summary>
    public string Path { get; set; } = "";

    /// <summary>
    /// What a relative <see cref="Path"/> is relative to. Default: the current directory; <c>UseSqlite</c> sets it to the content
    /// root of the application, if there is one.
    /// </summary>
    public string? Directory { get; set; }

    /// <summary>What an acknowledged write survives. Default: <see cref="SqliteDurability.Selective"/>.</summary>
    public SqliteDurability Durability { get; set; } = SqliteDurability.Selective;

    /// <summary>
    /// The table that holds the sessions: 1 to 40 of <c>A-Z a-z 0-9 _</c>, upper and lower case being the same. Stores
    /// with tables of their own can share a file. Default: <c>sessions</c>; <c>UseSqlite</c> has <c>tickets</c> for tickets and <c>httpsessions</c> for <c>HttpContext.Session</c>.
    /// </summary>
    public string Table { get; set; } = "sessions";

    /// <summary>
    /// How long a write waits for other writers, in this process and in others, before it fails. More than zero, at
    /// most one hour. Default: 5 seconds.
    /// </summary>
    /// <remarks>The thread of the request waits, whatever RequestTimeout says: where that is shorter, make this shorter, too.</remarks>
    public TimeSpan BusyTimeout { get; set; } = TimeSpan.FromSeconds(5);
}
