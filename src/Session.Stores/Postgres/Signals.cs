using System.Security.Cryptography;
using System.Text;
using Npgsql;

namespace Session.Stores.Postgres;

/// <summary>
/// Which sessions have ended, said from node to node: NOTIFY on one channel of the table's own, and LISTEN on a connection that is
/// kept for it.
/// </summary>
internal sealed class Signals(Link link, Names names, TimeSpan operationTimeout)
{
    // A message has at most 8,000 bytes, and an id at most 64.
    private const int MostIds = 100;

    // A connection that was cut without a word is found out by asking.
    private static readonly TimeSpan Silence = TimeSpan.FromSeconds(15);
    private static readonly TimeSpan Rest = TimeSpan.FromSeconds(1);

    // A channel's name has at most 63 bytes.
    private readonly string _channel =
        "session_ended_"
        + Convert.ToHexStringLower(
            SHA256.HashData(Encoding.UTF8.GetBytes($"{names.Schema}.{names.Table}")).AsSpan(0, 8)
        );

    public async ValueTask PublishAsync(IReadOnlyList<string> ids, CancellationToken cancellationToken)
    {
        foreach (var some in ids.Chunk(MostIds))
        {
            var reply = await link.ExecuteAsync(
                    "SELECT pg_notify($1, $2)",
                    [Parameter.Of(_channel), Parameter.Of(string.Join(' ', some))],
                    false,
                    cancellationToken
                )
                .ConfigureAwait(false);
            if (!reply.HasCome)
                throw new TimeoutException(
                    "PostgreSQL did not say whether it has told the other nodes: the connection broke, or PostgresStoreOptions.OperationTimeout was over."
                );
        }
    }

    public async ValueTask<IAsyncDisposable> SubscribeAsync(Action<string?> heard, CancellationToken cancellationToken)
    {
        // The first one here: whoever cannot listen at all is told so.
        var connection = await ListenAsync(heard, cancellationToken).ConfigureAwait(false);
        return new Listener(this, heard, connection);
    }

    private async Task<NpgsqlConnection> ListenAsync(Action<string?> heard, CancellationToken cancellationToken)
    {
        await link.ReadyAsync(cancellationToken).ConfigureAwait(false);
        var connection = await link.Source.OpenConnectionAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            var process = (int?)
                await AskAsync(connection, "SELECT pg_backend_pid()", cancellationToken).ConfigureAwait(false);
            if (process != connection.ProcessID)
                throw new NotSupportedException(
                    "A pooler stands between the application and PostgreSQL, and LISTEN needs a connection of its own: let the data source lead to the server itself, or do with LiveCheck alone."
                );

            connection.Notification += (_, message) =>
            {
                if (message.Channel == _channel)
                    foreach (var id in message.Payload.Split(' ', StringSplitOptions.RemoveEmptyEntries))
                        heard(id);
            };
            await AskAsync(connection, $"LISTEN \"{_channel}\"", cancellationToken).ConfigureAwait(false);
            heard(null);
            return connection;
        }
        catch
        {
            await connection.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    private async Task<object?> AskAsync(NpgsqlConnection connection, string sql, CancellationToken cancellationToken)
    {
        await using var command = new NpgsqlCommand(sql, connection)
        {
            CommandTimeout = DataSources.Seconds(operationTimeout),
        };
        return await command.ExecuteScalarAsync(cancellationToken).ConfigureAwait(false);
    }

    private async Task HearAsync(NpgsqlConnection connection, CancellationToken cancellationToken)
    {
        while (true)
            if (!await connection.WaitAsync(Silence, cancellationToken).ConfigureAwait(false))
                await AskAsync(connection, "SELECT 1", cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Until it is disposed of: after a failure on another connection.</summary>
    private sealed class Listener : IAsyncDisposable
    {
        private readonly CancellationTokenSource _stop = new();
        private readonly Task _running;

        public Listener(Signals signals, Action<string?> heard, NpgsqlConnection connection) =>
            _running = Task.Run(() => RunAsync(signals, heard, connection));

        private async Task RunAsync(Signals signals, Action<string?> heard, NpgsqlConnection first)
        {
            NpgsqlConnection? connection = first;
            while (!_stop.IsCancellationRequested)
                try
                {
                    connection ??= await signals.ListenAsync(heard, _stop.Token).ConfigureAwait(false);
                    await signals.HearAsync(connection, _stop.Token).ConfigureAwait(false);
                }
                catch (Exception error) when (!_stop.IsCancellationRequested && IsOfTheServer(error))
                {
                    // It goes on after a rest. Meanwhile the looks at the store find what is not heard.
                    if (connection is not null)
                        await connection.DisposeAsync().ConfigureAwait(false);
                    connection = null;
                    await Task.Delay(Rest, _stop.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                }
                // It is over, or the store's connections are.
                catch (Exception error)
                    when (error is OperationCanceledException or NpgsqlException or ObjectDisposedException)
                {
                    break;
                }

            if (connection is not null)
                await LeaveAsync(signals, connection).ConfigureAwait(false);
        }

        /// <summary>The next one to get this connection from the pool hears nothing.</summary>
        private static async Task LeaveAsync(Signals signals, NpgsqlConnection connection)
        {
            try
            {
                if (connection.State == System.Data.ConnectionState.Open)
                    await signals.AskAsync(connection, "UNLISTEN *", CancellationToken.None).ConfigureAwait(false);
            }
            catch (Exception error) when (IsOfTheServer(error) || error is ObjectDisposedException)
            {
                // It is broken, and goes to nobody.
            }
            finally
            {
                await connection.DisposeAsync().ConfigureAwait(false);
            }
        }

        private static bool IsOfTheServer(Exception error) =>
            error is NpgsqlException or TimeoutException or System.IO.IOException or NotSupportedException;

        public async ValueTask DisposeAsync()
        {
            // Whoever disposes of it twice is told of no failure.
            if (!_stop.IsCancellationRequested)
                await _stop.CancelAsync().ConfigureAwait(false);
            await _running.ConfigureAwait(false);
            _stop.Dispose();
        }
    }
}
