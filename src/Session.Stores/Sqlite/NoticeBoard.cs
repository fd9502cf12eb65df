using System.Globalization;
using Microsoft.Data.Sqlite;

namespace Session.Stores.Sqlite;

/// <summary>
/// Two small tables beside the sessions' own: which processes listen, and what was said to them of late. They are made by the first
/// process that listens; where nobody does they are not there, or empty.
/// </summary>
internal sealed class NoticeBoard(string table)
{
    /// <summary>Whoever has been heard of within this time listens.</summary>
    public static readonly TimeSpan Lease = TimeSpan.FromMinutes(1);

    // Nobody who listens is further behind: who is, is told that some may have been missed.
    private const int MostNotices = 1000;

    // The hyphen: no table of sessions has one in its name.
    private readonly string _listeners = table + "-listeners";
    private readonly string _notices = table + "-notices";

    /// <summary>The number of the notice that was said last.</summary>
    public Statement Last(SqliteConnection connection) =>
        new(connection, $"SELECT seq FROM sqlite_sequence WHERE name = '{_notices}' COLLATE NOCASE");

    /// <summary>What was said behind a number.</summary>
    public Statement Since(SqliteConnection connection) =>
        new(connection, $"""SELECT number, ids FROM "{_notices}" WHERE number > @number ORDER BY number""", "@number");

    /// <summary>Whether anybody listens, in this process or another one.</summary>
    public bool IsHeard(SqliteConnection connection) =>
        Sql.Scalar(connection, $"SELECT 1 FROM sqlite_master WHERE name = '{_listeners}' COLLATE NOCASE") is not null
        && Sql.Scalar(connection, $"""SELECT 1 FROM "{_listeners}" WHERE until > {Ticks(DateTime.UtcNow)} LIMIT 1""")
            is not null;

    /// <summary>Says it to all who listen, in the transaction of the caller.</summary>
    public void Say(SqliteConnection connection, string ids)
    {
        using var say = new Statement(
            connection,
            $"""INSERT INTO "{_notices}" (ids, at) VALUES (@ids, @at)""",
            "@ids",
            "@at"
        );
        say.With(ids, DateTime.UtcNow.Ticks).Run();
        Sql.Execute(
            connection,
            $"""DELETE FROM "{_notices}" WHERE number <= (SELECT max(number) FROM "{_notices}") - {MostNotices}"""
        );
    }

    /// <summary>That this one listens, until the lease is over. What is older than a lease goes.</summary>
    public void Enter(SqliteConnection connection, string listener)
    {
        var now = DateTime.UtcNow;
        Sql.Execute(
            connection,
            $"""
            CREATE TABLE IF NOT EXISTS "{_listeners}" (listener TEXT NOT NULL PRIMARY KEY, until INTEGER NOT NULL);
            CREATE TABLE IF NOT EXISTS "{_notices}" (
                number INTEGER PRIMARY KEY AUTOINCREMENT,
                ids TEXT NOT NULL,
                at INTEGER NOT NULL
            );
            DELETE FROM "{_listeners}" WHERE until < {Ticks(now)};
            INSERT INTO "{_listeners}" (listener, until) VALUES ('{listener}', {Ticks(now + Lease)})
            ON CONFLICT (listener) DO UPDATE SET until = excluded.until;
            DELETE FROM "{_notices}" WHERE at < {Ticks(now - Lease)} OR at > {Ticks(now + Lease)}
            """
        );
    }

    /// <summary>That this one listens no more. The last one leaves nothing behind.</summary>
    public void Leave(SqliteConnection connection, string listener) =>
        Sql.Execute(
            connection,
            $"""
            DELETE FROM "{_listeners}" WHERE listener = '{listener}';
            DELETE FROM "{_notices}" WHERE NOT EXISTS (SELECT 1 FROM "{_listeners}")
            """
        );

    private static string Ticks(DateTime at) => at.Ticks.ToString(CultureInfo.InvariantCulture);
}
