using Npgsql;
using Session.Engine;

namespace Session.Stores.Postgres;

/// <summary>How a transaction of the application's comes to end all sessions of a subject.</summary>
internal static class TransactionGate
{
    /// <summary>
    /// From here to the end of the transaction no sign-in of the subject is stored: it waits. Those that were stored before are
    /// seen by what comes next, for each statement of READ COMMITTED looks anew.
    /// </summary>
    /// <exception cref="InvalidOperationException">The transaction is in another database, over, or looks only once.</exception>
    public static async Task EnterAsync(
        IStatementRunner runner,
        NpgsqlTransaction transaction,
        Names names,
        Statements statements,
        long mark,
        string database,
        string subject,
        CancellationToken cancellationToken
    )
    {
        if (IsOver(transaction))
            throw new InvalidOperationException(
                "The transaction is over: end the sessions in it before it is committed."
            );

        (long Mark, string Isolation, string Database)? found;
        try
        {
            found = await runner
                .QueryAsync(statements.Join, [Parameter.Of(Stripes.Of(Rows.Bytes(subject)!))], Read, cancellationToken)
                .ConfigureAwait(false);
        }
        catch (PostgresException error) when (error.SqlState == PostgresErrorCodes.UndefinedTable)
        {
            throw Elsewhere(names, error);
        }

        // A copy of the database has the same number.
        if (found is not { } place || place.Mark != mark || place.Database != database)
            throw Elsewhere(names, null);
        if (place.Isolation != "read committed")
            throw new InvalidOperationException(
                $"A transaction that ends sessions must be READ COMMITTED, and this one is {place.Isolation.ToUpperInvariant()}: it would not see who has signed in since it began."
            );
    }

    private static async ValueTask<(long Mark, string Isolation, string Database)?> Read(NpgsqlDataReader row) =>
        await row.ReadAsync().ConfigureAwait(false) ? (row.GetInt64(0), row.GetString(1), row.GetString(2)) : null;

    private static bool IsOver(NpgsqlTransaction transaction)
    {
        try
        {
            // Asked of one that is over, the driver throws.
            _ = transaction.IsolationLevel;
            return transaction.Connection is null;
        }
        catch (Exception error) when (error is InvalidOperationException or ObjectDisposedException)
        {
            return true;
        }
    }

    private static InvalidOperationException Elsewhere(Names names, Exception? error) =>
        new(
            $"The transaction is not in the database that has the sessions ({names.Sessions}): both must be in the same one.",
            error
        );
}
