namespace Session.Stores.Postgres;

/// <summary>
/// The statements, one for each verb. How a write commits is a part of it: <c>set_config</c> with its third argument true
/// lasts until the end of the transaction, which is the end of the statement.
/// </summary>
internal sealed class Statements
{
    private const string Columns = "id, version, kind, last_seen, due_at, subject, operation, body";

    // Never less than what the server is set to.
    private const string Flushed = """
        set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, true) <> ''
        """;

    private const string Applied = "set_config('synchronous_commit', 'remote_apply', true) <> ''";

    // Beside it: a warning is all that tells of a commit which no standby has, and a role or a database may have turned warnings
    // off.
    private const string Warned = """
        set_config('client_min_messages', CASE WHEN current_setting('client_min_messages') IN ('error', 'fatal', 'panic') THEN 'warning' ELSE current_setting('client_min_messages') END, true) <> ''
        """;

    private const string NotFlushed = "set_config('synchronous_commit', 'off', true) <> ''";

    // The last one that a time can have.
    private const string LastTick = "3155378975999999999";

    private readonly string[] _inserts;
    private readonly string[] _replaces;

    public Statements(Names names, PostgresDurability durability, bool flushRoutineWrites)
    {
        Names = names;
        var lasting = $"{(durability == PostgresDurability.Applied ? Applied : Flushed)} AND {Warned}";
        var routine = flushRoutineWrites ? "true" : NotFlushed;

        Load = $"SELECT {Columns} FROM {names.Sessions} WHERE id = $1";
        LoadMany = $"SELECT {Columns} FROM {names.Sessions} WHERE id = ANY(string_to_array($1, ' '))";
        Exists = $"SELECT version FROM {names.Sessions} WHERE id = $1";
        BySubject = $"SELECT {Columns} FROM {names.Sessions} WHERE subject = $1 AND id > $2 ORDER BY id LIMIT $3";
        Enumerate = $"SELECT {Columns} FROM {names.Sessions} WHERE id > $1 ORDER BY id LIMIT $2";
        Count = $"SELECT count(*) FROM {names.Sessions} WHERE kind <> 2";

        _inserts = [.. Kinds().Select(kind => InsertWith(kind.Commit, kind.IsSignIn))];
        _replaces = [.. Kinds().Select(kind => ReplaceWith(kind.Commit, kind.IsSignIn))];

        Touch =
            $"UPDATE {names.Sessions} SET last_seen = $2 WHERE id = $1 AND kind <> 2 AND last_seen < $2 AND {routine}";
        Remove = $"DELETE FROM {names.Sessions} WHERE id = $1 AND {lasting}";
        RemoveVersion = $"DELETE FROM {names.Sessions} WHERE id = $1 AND version = $2 AND operation = $3 AND {lasting}";
        Reschedule =
            $"UPDATE {names.Sessions} SET due_at = $3, look_at = $3 WHERE id = $1 AND version = $2 AND {routine}";

        Straighten = $"""
            WITH first AS (
                SELECT id FROM {names.Sessions} WHERE look_at <= $1 ORDER BY look_at LIMIT $2 FOR UPDATE SKIP LOCKED
            )
            UPDATE {names.Sessions} AS s SET look_at = s.due_at FROM first
            WHERE s.id = first.id AND s.look_at < s.due_at AND {routine}
            """;
        Claim = $"""
            WITH first AS (
                SELECT id, due_at AS was_due FROM {names.Sessions} WHERE look_at <= $1 AND due_at <= $1
                ORDER BY look_at LIMIT $2 FOR UPDATE SKIP LOCKED
            )
            UPDATE {names.Sessions} AS s SET due_at = $3, look_at = $3 FROM first
            WHERE s.id = first.id AND {routine}
            RETURNING s.id, s.version, s.kind, s.last_seen, first.was_due, s.subject, s.operation, s.body
            """;

        Mark =
            $"SELECT mark, (SELECT count(*) FROM {names.Locks}), current_database()::text FROM {names.Locks} WHERE stripe = -1";
        Join = $"""
            SELECT (SELECT mark FROM {names.Locks} WHERE stripe = -1), current_setting('transaction_isolation'),
                current_database()::text
            FROM {names.Locks} WHERE stripe = $1 FOR UPDATE
            """;

        IEnumerable<(string Commit, bool IsSignIn)> Kinds() =>
            [(routine, false), (lasting, false), (routine, true), (lasting, true)];
    }

    public Names Names { get; }

    /// <summary>$1 id.</summary>
    public string Load { get; }

    // Not an array: the application's own data source need not know arrays.
    /// <summary>$1 ids, with spaces between them.</summary>
    public string LoadMany { get; }

    /// <summary>The version of a record: $1 id.</summary>
    public string Exists { get; }

    /// <summary>$1 subject, $2 after, $3 limit.</summary>
    public string BySubject { get; }

    /// <summary>$1 after, $2 limit.</summary>
    public string Enumerate { get; }
    public string Count { get; }

    /// <summary>$1 to $8: the columns; of a record that comes to a subject $9: its stripe.</summary>
    public string Insert(bool mustLast, bool isSignIn) => _inserts[Kind(mustLast, isSignIn)];

    /// <summary>$1 to $8: the columns, $9 the version that is expected; of a record that comes to a subject $10: its stripe.</summary>
    public string Replace(bool mustLast, bool isSignIn) => _replaces[Kind(mustLast, isSignIn)];

    /// <summary>$1 id, $2 time.</summary>
    public string Touch { get; }

    // Removals last: a record that came back could be taken for one that was never moved to another store.
    /// <summary>$1 id.</summary>
    public string Remove { get; }

    /// <summary>$1 id, $2 version, $3 operation.</summary>
    public string RemoveVersion { get; }

    /// <summary>$1 id, $2 version, $3 due.</summary>
    public string Reschedule { get; }

    /// <summary>Of the first in the order of <c>look_at</c>, those that are due later get their place: $1 now, $2 how many.</summary>
    public string Straighten { get; }

    /// <summary>$1 now, $2 how many, $3 the end of the lease.</summary>
    public string Claim { get; }

    /// <summary>The number of this place, how many rows the table of the locks has, and the database.</summary>
    public string Mark { get; }

    /// <summary>
    /// Holds up the sign-ins of a stripe until the end of the transaction: $1 stripe. What comes after it sees those that were
    /// stored before.
    /// </summary>
    public string Join { get; }

    private static int Kind(bool mustLast, bool isSignIn) => (mustLast ? 1 : 0) + (isSignIn ? 2 : 0);

    // The stripe first: whoever waits for a transaction that ends all sessions of a subject holds nothing which that needs.
    private string Turn(bool isSignIn, string stripe) =>
        isSignIn ? $"WITH turn AS (SELECT stripe FROM {Names.Locks} WHERE stripe = {stripe} FOR SHARE) " : "";

    private string InsertWith(string commit, bool isSignIn) =>
        $"""
            {Turn(isSignIn, "$9")}INSERT INTO {Names.Sessions} ({Columns}, look_at)
            SELECT $1, $2, $3, $4, $5, $6, $7, $8, $5{(isSignIn ? " FROM turn" : "")} WHERE {commit}
            ON CONFLICT (id) DO NOTHING
            """;

    // A time that is none, because somebody has changed the row, goes with the record that had it.
    private string ReplaceWith(string commit, bool isSignIn) =>
        $"""
            {Turn(isSignIn, "$10")}UPDATE {Names.Sessions} AS s SET
            version = $2, kind = $3, last_seen = GREATEST(LEAST(s.last_seen, {LastTick}), $4), due_at = $5,
            look_at = LEAST(s.look_at, $5), subject = $6, operation = $7, body = $8{(isSignIn ? " FROM turn" : "")}
            WHERE s.id = $1 AND s.version = $9 AND {commit}
            """;
}
