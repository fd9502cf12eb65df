using Npgsql;

namespace Session.Stores.Postgres;

/// <summary>Settings of the PostgreSQL store.</summary>
public sealed class PostgresStoreOptions
{
    /// <summary>A connection string of Npgsql: <c>Host=localhost;Database=app</c>; several hosts for a primary and its standbys. Not used when <see cref="DataSource"/> is set.</summary>
    public string ConnectionString { get; set; } = "";

    /// <summary>The application's own data source, which it keeps and closes. Default null: one is made from <see cref="ConnectionString"/>.</summary>
    public NpgsqlDataSource? DataSource { get; set; }

    /// <summary>The schema of the tables: 1 to 63 of <c>A-Z a-z 0-9 _</c>. It has to exist. Default: <c>public</c>.</summary>
    public string Schema { get; set; } = "public";

    /// <summary>
    /// The table of the sessions: 1 to 40 of <c>A-Z a-z 0-9 _</c>. A second, small one beside it has the same name and
    /// <c>_locks</c>. Two kinds of sessions, or two applications, need two. Default: <c>sessions</c>; <c>UsePostgres</c> has <c>tickets</c>
    /// for tickets and <c>httpsessions</c> for <c>HttpContext.Session</c>.
    /// </summary>
    public string Table { get; set; } = "sessions";

    /// <summary>Whether missing tables are created at start. False: run <c>Session.Postgres.sql</c>, which is in the package. Default true.</summary>
    public bool CreateTables { get; set; } = true;

    /// <summary>What a sign-in, an elevation, a renewal and a logout have reached before they are acknowledged. Default: <see cref="PostgresDurability.Flushed"/>.</summary>
    public PostgresDurability Durability { get; set; } = PostgresDurability.Flushed;

    /// <summary>
    /// Whether routine writes (a cart) wait for the disk, too. Default false: they commit with
    /// <c>synchronous_commit = off</c>, and a crash of the server may undo those of its last moments (less than a second
    /// with PostgreSQL's defaults), as if they had not been made. True: they commit as the server's own setting says.
    /// </summary>
    public bool FlushRoutineWrites { get; set; }

    /// <summary>
    /// Whether statements are prepared on the server. Default null: they are, unless a pooler stands between (pgbouncer in
    /// transaction mode hands each transaction to another connection). True: also behind a pooler, which then must keep
    /// prepared statements itself (<c>max_prepared_statements</c>).
    /// </summary>
    public bool? PrepareStatements { get; set; }

    /// <summary>How long a statement may take, rounded up to whole seconds. Default 5 seconds; at most ten minutes.</summary>
    public TimeSpan OperationTimeout { get; set; } = TimeSpan.FromSeconds(5);

    /// <summary>For a store: what is changed later has no effect on it.</summary>
    internal PostgresStoreOptions Copy() => (PostgresStoreOptions)MemberwiseClone();
}
