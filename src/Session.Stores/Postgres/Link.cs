using System.Data;
using System.Runtime.CompilerServices;
using Npgsql;

namespace Session.Stores.Postgres;

/// <summary>
/// The connections of the store: each statement is a transaction of its own. The first one sees to it that the tables are
/// there. A write is sent once; what is known to be rolled back is sent again.
/// </summary>
internal sealed class Link(
    NpgsqlDataSource source,
    NpgsqlDataSource? own,
    Place place,
    bool? prepares,
    TimeSpan operationTimeout
) : IStatementRunner, IAsyncDisposable
{
    private const int MostTries = 10;
    private const int MostConnections = 3;

    private readonly SemaphoreSlim _preparing = new(1);
    private readonly int _seconds = DataSources.Seconds(operationTimeout);
    private volatile bool _isReady;
    private volatile bool _prepares;

    /// <summary>Of the application, or of the store (and then <c>own</c>, or a view of it: what the store closes).</summary>
    public NpgsqlDataSource Source => source;

    /// <summary>The random number of the place.</summary>
    public async ValueTask<long> MarkAsync(CancellationToken cancellationToken)
    {
        await ReadyAsync(cancellationToken).ConfigureAwait(false);
        return place.Mark;
    }

    /// <summary>Its database, once <see cref="MarkAsync"/> has answered.</summary>
    public string Database => place.Database;

    /// <summary>Makes the tables if they are not there, and finds out whether statements can be prepared.</summary>
    public ValueTask ReadyAsync(CancellationToken cancellationToken) =>
        _isReady ? ValueTask.CompletedTask : GetReadyAsync(cancellationToken);

    private ValueTask<NpgsqlConnection> OpenAsync(CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return source.OpenConnectionAsync(cancellationToken);
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<T> QueryAsync<T>(
        string sql,
        NpgsqlParameter[] parameters,
        Func<NpgsqlDataReader, ValueTask<T>> read,
        CancellationToken cancellationToken
    )
    {
        await ReadyAsync(cancellationToken).ConfigureAwait(false);
        for (var tries = 1; ; tries++)
        {
            await using var connection = await OpenAsync(cancellationToken).ConfigureAwait(false);
            await using var command = Command(connection, sql, parameters);
            try
            {
                if (_prepares)
                    await command.PrepareAsync(CancellationToken.None).ConfigureAwait(false);
                await using var reader = await command.ExecuteReaderAsync(CancellationToken.None).ConfigureAwait(false);
                return await read(reader).ConfigureAwait(false);
            }
            catch (NpgsqlException error) when (MayTryAgain(error, tries))
            {
                // A connection from before a restart or a failover: another one may work.
            }
            catch (NpgsqlException error) when (Failures.IsTransient(error) && tries < MostTries)
            {
                await Pause(tries).ConfigureAwait(false);
            }
            finally
            {
                command.Parameters.Clear();
            }
        }
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<WriteReply> ExecuteAsync(
        string sql,
        NpgsqlParameter[] parameters,
        bool mustLast,
        CancellationToken cancellationToken
    )
    {
        await ReadyAsync(cancellationToken).ConfigureAwait(false);
        for (var tries = 1; ; tries++)
        {
            await using var connection = await OpenAsync(cancellationToken).ConfigureAwait(false);
            await using var command = Command(connection, sql, parameters);
            var warning = mustLast ? StandbyWarning.ListenTo(connection) : null;
            var isSent = false;
            try
            {
                if (_prepares)
                    await command.PrepareAsync(CancellationToken.None).ConfigureAwait(false);
                isSent = true;
                var rows = await command.ExecuteNonQueryAsync(CancellationToken.None).ConfigureAwait(false);
                return new WriteReply(Math.Max(0, rows), warning is not { HasCome: true });
            }
            catch (NpgsqlException error) when (!isSent && MayTryAgain(error, tries)) { }
            catch (PostgresException error) when (IsStrangerToStatement(error) && tries < MostTries)
            {
                // A pooler stands between, and was not seen: the statement was refused before it was carried out.
                StopPreparing();
            }
            catch (NpgsqlException error) when (Failures.IsTransient(error) && tries < MostTries)
            {
                await Pause(tries).ConfigureAwait(false);
            }
            catch (Exception error) when (isSent && Failures.HasNoAnswer(error))
            {
                // One that waited too long for a lock says nothing of the connections, not even of its own.
                if (Failures.IsBroken(error) || connection.State != ConnectionState.Open)
                    Renew();
                return WriteReply.Unknown;
            }
            catch (NpgsqlException error) when (Failures.IsReadOnly(error) && MayTryAgain(error, tries))
            {
                // It was the primary: nothing was changed, and another connection may lead to the one of now.
            }
            finally
            {
                command.Parameters.Clear();
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (own is not null)
            await own.DisposeAsync().ConfigureAwait(false);
        _preparing.Dispose();
    }

    private async ValueTask GetReadyAsync(CancellationToken cancellationToken)
    {
        // As long as a server answers nothing, each one here waits for the one before. Who would wait longer than a statement
        // may take is not heard any more: a write of theirs must not come when the server is back.
        if (!await _preparing.WaitAsync(TimeSpan.FromSeconds(_seconds), cancellationToken).ConfigureAwait(false))
            throw new TimeoutException(
                "PostgreSQL has not answered yet, and others wait for its first answer: nothing was sent to it."
            );
        try
        {
            if (_isReady)
                return;
            await using var connection = await OpenAsync(cancellationToken).ConfigureAwait(false);
            await place.PrepareAsync(connection, _seconds, cancellationToken).ConfigureAwait(false);
            _prepares = prepares ?? !await IsPooledAsync(connection, cancellationToken).ConfigureAwait(false);
            _isReady = true;
        }
        finally
        {
            _preparing.Release();
        }
    }

    /// <summary>Whether a pooler stands between: it says another process id at the start than the server does.</summary>
    private async Task<bool> IsPooledAsync(NpgsqlConnection connection, CancellationToken cancellationToken)
    {
        await using var command = Command(connection, "SELECT pg_backend_pid()", []);
        var process = (int?)await command.ExecuteScalarAsync(cancellationToken).ConfigureAwait(false);
        return process != connection.ProcessID;
    }

    private NpgsqlCommand Command(NpgsqlConnection connection, string sql, NpgsqlParameter[] parameters)
    {
        var command = new NpgsqlCommand(sql, connection) { CommandTimeout = _seconds };
        foreach (var parameter in parameters)
            command.Parameters.Add(parameter);
        return command;
    }

    /// <summary>Of what changed nothing: whether another connection may do better.</summary>
    private bool MayTryAgain(NpgsqlException error, int tries)
    {
        if (tries >= MostConnections)
            return false;
        if (IsStrangerToStatement(error))
        {
            StopPreparing();
            return true;
        }
        if (!Failures.IsBroken(error))
            return false;
        Renew();
        return true;
    }

    private static bool IsStrangerToStatement(NpgsqlException error) =>
        error
            is PostgresException
            {
                SqlState: PostgresErrorCodes.InvalidSqlStatementName or PostgresErrorCodes.DuplicatePreparedStatement
            };

    private void StopPreparing()
    {
        _prepares = false;
        source.Clear();
    }

    // The application's own may serve others, too.
    private void Renew()
    {
        own?.Clear();
    }

    private static Task Pause(int tries) => Task.Delay(Random.Shared.Next(1, 2 << Math.Min(tries, 6)));
}
