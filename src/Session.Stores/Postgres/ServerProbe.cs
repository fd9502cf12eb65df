using Npgsql;

namespace Session.Stores.Postgres;

/// <summary>Asks the server for what matters to sessions, and says what it means.</summary>
internal static class ServerProbe
{
    private const string Question = """
        SELECT pg_is_in_recovery(), current_setting('fsync'), current_setting('full_page_writes'),
            current_setting('synchronous_standby_names'),
            (SELECT count(*) FROM pg_stat_replication WHERE application_name NOT LIKE 'pg\_%'),
            current_setting('default_transaction_read_only'), clock_timestamp()
        """;

    public static async Task<List<string>> RunAsync(Link link, CancellationToken cancellationToken)
    {
        var before = DateTimeOffset.UtcNow;
        var found = await link.QueryAsync(
                Question,
                [],
                static async row =>
                {
                    await row.ReadAsync().ConfigureAwait(false);
                    return (
                        IsStandby: row.GetBoolean(0),
                        Fsync: row.GetString(1),
                        FullPages: row.GetString(2),
                        Synchronous: row.GetString(3),
                        Standbys: row.GetInt64(4),
                        ReadOnly: row.GetString(5),
                        Time: row.GetFieldValue<DateTimeOffset>(6)
                    );
                },
                cancellationToken
            )
            .ConfigureAwait(false);

        var notes = new List<string>();
        if (Clocks.NoteOf("PostgreSQL", found.Time, before) is { } note)
            notes.Add(note);
        if (found.IsStandby)
            notes.Add(
                "PostgreSQL is a standby: it takes no sign-in, and may not have heard of a logout. Name the primary, or all servers in one connection string (Host=a,b): the primary among them is used."
            );
        if (found is { IsStandby: false, ReadOnly: "on" })
            notes.Add(
                "PostgreSQL takes no writes of this role or in this database: it takes no sign-in, and no logout. ALTER ROLE (or DATABASE) … SET default_transaction_read_only = off."
            );
        if (found.Fsync == "off" || found.FullPages == "off")
            notes.Add(
                "PostgreSQL runs with fsync or full_page_writes off: a crash of the machine can undo logouts, and damage the database. Set both on."
            );
        if (found is { Synchronous: "", Standbys: > 0 })
            notes.Add(
                "PostgreSQL has standbys, and none of them is synchronous: a failover can undo the logouts of its last moments. Set synchronous_standby_names."
            );
        return notes;
    }
}
