using Microsoft.Data.Sqlite;

namespace Session.Stores.Sqlite;

/// <summary>
/// A connection that hears of notices. SQLite wakes nobody, and a watcher of the file would be woken by each write of anybody (and
/// there are few of them on a machine); so it is asked whether anything was written, which reads no page of the file, and only
/// then for notices.
/// </summary>
internal sealed class Ear : IDisposable
{
    private readonly Statement _version;
    private readonly Statement _last;
    private readonly Statement _since;
    private long _seenVersion;
    private long _heard;

    /// <summary>Hears what is said from now on.</summary>
    public Ear(SqliteConnection connection, NoticeBoard board)
    {
        Connection = connection;
        _version = new Statement(connection, "PRAGMA data_version");
        _last = board.Last(connection);
        _since = board.Since(connection);
        _seenVersion = Number(_version);
        _heard = Number(_last);
    }

    /// <summary>The open connection.</summary>
    public SqliteConnection Connection { get; }

    /// <summary>When it was last asked whether the file still is where it was.</summary>
    public ref long LookedAt => ref _lookedAt;

    private long _lookedAt = Environment.TickCount64;

    /// <summary>Calls back with each id that was said since the last time, and with null if some are gone already.</summary>
    public void Hear(Action<string?> heard)
    {
        var version = Number(_version);
        if (version == _seenVersion)
            return;

        var last = Number(_last);
        if (last < _heard)
        {
            // An older file was restored into this one: its numbers are given out again.
            heard(null);
            _heard = last;
        }
        else if (last != _heard)
        {
            var next = _heard + 1;
            var isWhole = true;
            using (var row = _since.With(_heard).Read())
                while (row.Read())
                {
                    isWhole &= row.GetInt64(0) == next;
                    next = row.GetInt64(0) + 1;
                    foreach (var id in row.GetString(1).Split(' ', StringSplitOptions.RemoveEmptyEntries))
                        heard(id);
                }

            if (!isWhole || next <= last)
                heard(null);
            _heard = Math.Max(last, next - 1);
        }

        _seenVersion = version;
    }

    private static long Number(Statement statement)
    {
        using var row = statement.Read();
        return row.Read() ? row.GetInt64(0) : 0;
    }

    public void Dispose()
    {
        foreach (var statement in (ReadOnlySpan<Statement>)[_version, _last, _since])
            statement.Dispose();

        Connection.Dispose();
    }
}
