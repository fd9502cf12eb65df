using Npgsql;

namespace Session.Stores.Postgres;

/// <summary>The tables: whether they are there and whole, and how they come to be.</summary>
internal sealed class Place(Names names, Statements statements, bool createTables)
{
    private const int Current = 1;
    private const string Signature = "Session.Stores.Postgres ";

    /// <summary>The random number of this place, once it is prepared.</summary>
    public long Mark { get; private set; }

    /// <summary>Its database, as the server calls it: one that was made from this one has the same number.</summary>
    public string Database { get; private set; } = "";

    /// <summary>Makes the tables if they are not there, or brings older ones to this version.</summary>
    /// <exception cref="InvalidOperationException">The tables are not there and may not be made, or are another program's; the message says what to change.</exception>
    public async Task PrepareAsync(NpgsqlConnection connection, int seconds, CancellationToken cancellationToken)
    {
        var version = await VersionAsync(connection, seconds, cancellationToken).ConfigureAwait(false);
        if (version == 0)
        {
            await CreateAsync(connection, seconds, cancellationToken).ConfigureAwait(false);
            version = await VersionAsync(connection, seconds, cancellationToken).ConfigureAwait(false);
            if (version == 0)
                throw new InvalidOperationException(
                    $"The table {names.Sessions} is not in database '{connection.Database}', and cannot be made, because something of its script is there: DROP TABLE {names.Locks}, and whatever else has a name of Session.Postgres.sql, and start again."
                );
        }
        if (version > Current)
            throw new InvalidOperationException(
                $"The table {names.Sessions} in database '{connection.Database}' was made by a newer version of Session.Stores.Postgres: update the package, or give PostgresStoreOptions.Table another name."
            );

        await using var command = Command(connection, statements.Mark, seconds);
        try
        {
            await using var row = await command.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
            if (!await row.ReadAsync(cancellationToken).ConfigureAwait(false) || row.GetInt64(1) != Stripes.Count + 1)
                throw NotWhole(connection, null);
            Mark = row.GetInt64(0);
            Database = row.GetString(2);
        }
        catch (PostgresException error) when (error.SqlState == PostgresErrorCodes.UndefinedTable)
        {
            throw NotWhole(connection, error);
        }
        catch (PostgresException error) when (Failures.IsForbidden(error))
        {
            throw MayNotUse(connection, error);
        }
    }

    /// <summary>Which version the table says that it is; zero: there is none.</summary>
    private async Task<int> VersionAsync(NpgsqlConnection connection, int seconds, CancellationToken cancellationToken)
    {
        await using var command = Command(
            connection,
            """
            SELECT c.relpersistence::text, obj_description(c.oid, 'pg_class')
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2
            """,
            seconds
        );
        command.Parameters.Add(Parameter.Of(names.Schema));
        command.Parameters.Add(Parameter.Of(names.Table));
        await using var row = await command.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
        if (!await row.ReadAsync(cancellationToken).ConfigureAwait(false))
            return 0;
        if (row.GetString(0) == "u")
            throw new InvalidOperationException(
                $"The table {names.Sessions} in database '{connection.Database}' is UNLOGGED: a crash of the server empties it, and a standby never has it. ALTER TABLE {names.Sessions} SET LOGGED."
            );
        if (
            await row.IsDBNullAsync(1, cancellationToken).ConfigureAwait(false)
            || !row.GetString(1).StartsWith(Signature, StringComparison.Ordinal)
            || !int.TryParse(row.GetString(1).AsSpan(Signature.Length), out var version)
        )
            throw new InvalidOperationException(
                $"The table {names.Sessions} in database '{connection.Database}' belongs to something else: give PostgresStoreOptions.Table another name. (This library's has a comment that says so, see Session.Postgres.sql.)"
            );
        return version;
    }

    private async Task CreateAsync(NpgsqlConnection connection, int seconds, CancellationToken cancellationToken)
    {
        if (!createTables)
            throw Missing(connection, "PostgresStoreOptions.CreateTables is false", null);

        try
        {
            await using var transaction = await connection
                .BeginTransactionAsync(cancellationToken)
                .ConfigureAwait(false);
            // Nodes that start together take turns: who comes second finds the table.
            await RunAsync(
                    connection,
                    "SELECT pg_advisory_xact_lock(hashtext('Session.Stores.Postgres'))",
                    seconds,
                    cancellationToken
                )
                .ConfigureAwait(false);
            if (await VersionAsync(connection, seconds, cancellationToken).ConfigureAwait(false) == 0)
            {
                await RunAsync(connection, names.Apply(Script()), seconds, cancellationToken).ConfigureAwait(false);
                await transaction.CommitAsync(cancellationToken).ConfigureAwait(false);
            }
        }
        catch (PostgresException error) when (Failures.IsThere(error))
        {
            // Where the lock is none, the catalogue is: somebody was faster.
        }
        catch (PostgresException error) when (Failures.IsReadOnly(error))
        {
            throw Missing(connection, ReadOnly, error);
        }
        catch (PostgresException error) when (error.SqlState == PostgresErrorCodes.InvalidSchemaName)
        {
            throw new InvalidOperationException(
                $"There is no schema \"{names.Schema}\" in database '{connection.Database}': CREATE SCHEMA \"{names.Schema}\", or give PostgresStoreOptions.Schema another name.",
                error
            );
        }
        catch (PostgresException error) when (Failures.IsForbidden(error))
        {
            var role = new NpgsqlConnectionStringBuilder(connection.ConnectionString).Username;
            throw Missing(connection, $"the role '{role}' may not create it", error);
        }
    }

    private const string ReadOnly =
        "nothing can be made there, because it takes no writes (it is a standby, or default_transaction_read_only is on)";

    private InvalidOperationException Missing(NpgsqlConnection connection, string why, Exception? error) =>
        new(
            $"The table {names.Sessions} is not in database '{connection.Database}', and {why}: run Session.Postgres.sql, which is in the package, as the owner of the schema, or GRANT CREATE ON SCHEMA \"{names.Schema}\".",
            error
        );

    private InvalidOperationException NotWhole(NpgsqlConnection connection, Exception? error) =>
        new(
            $"The table {names.Locks} in database '{connection.Database}' is not whole, or not there: remove both tables, or make and fill it as Session.Postgres.sql does.",
            error
        );

    private InvalidOperationException MayNotUse(NpgsqlConnection connection, Exception error)
    {
        var role = new NpgsqlConnectionStringBuilder(connection.ConnectionString).Username;
        return new InvalidOperationException(
            $"The role '{role}' may not use the tables of the sessions in database '{connection.Database}': GRANT SELECT, INSERT, UPDATE, DELETE ON {names.Sessions} TO \"{role}\"; GRANT SELECT, UPDATE ON {names.Locks} TO \"{role}\".",
            error
        );
    }

    private static string Script()
    {
        using var stream = typeof(Place).Assembly.GetManifestResourceStream("Session.Postgres.sql")!;
        using var reader = new StreamReader(stream);
        return reader.ReadToEnd();
    }

    private static async Task RunAsync(
        NpgsqlConnection connection,
        string sql,
        int seconds,
        CancellationToken cancellationToken
    )
    {
        await using var command = Command(connection, sql, seconds);
        await command.ExecuteNonQueryAsync(cancellationToken).ConfigureAwait(false);
    }

    private static NpgsqlCommand Command(NpgsqlConnection connection, string sql, int seconds) =>
        new(sql, connection) { CommandTimeout = seconds };
}
