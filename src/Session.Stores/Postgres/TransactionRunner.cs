using Npgsql;

namespace Session.Stores.Postgres;

/// <summary>Sends statements inside the application's own transaction. A failure is the application's, too: it rolls back.</summary>
internal sealed class TransactionRunner(NpgsqlTransaction transaction, TimeSpan operationTimeout) : IStatementRunner
{
    public async ValueTask<T> QueryAsync<T>(
        string sql,
        NpgsqlParameter[] parameters,
        Func<NpgsqlDataReader, ValueTask<T>> read,
        CancellationToken cancellationToken
    )
    {
        cancellationToken.ThrowIfCancellationRequested();
        await using var command = Command(sql, parameters);
        await using var reader = await command.ExecuteReaderAsync(CancellationToken.None).ConfigureAwait(false);
        return await read(reader).ConfigureAwait(false);
    }

    public async ValueTask<WriteReply> ExecuteAsync(
        string sql,
        NpgsqlParameter[] parameters,
        bool mustLast,
        CancellationToken cancellationToken
    )
    {
        cancellationToken.ThrowIfCancellationRequested();
        await using var command = Command(sql, parameters);
        return new WriteReply(await command.ExecuteNonQueryAsync(CancellationToken.None).ConfigureAwait(false), true);
    }

    private NpgsqlCommand Command(string sql, NpgsqlParameter[] parameters)
    {
        var command = new NpgsqlCommand(sql, transaction.Connection, transaction)
        {
            CommandTimeout = DataSources.Seconds(operationTimeout),
        };
        foreach (var parameter in parameters)
            command.Parameters.Add(parameter);
        return command;
    }
}
