using Npgsql;
using NpgsqlTypes;
using Session.Engine;
using Session.Stores.Postgres;

namespace Bench.Web;

/// <summary>
/// The limit for PostgreSQL: a SELECT by key, and a SELECT and a versioned UPDATE, in the same table with the same indexes as
/// the store's, committed as the store's routine writes are, with nothing around it.
/// </summary>
internal sealed class BarePostgres(NpgsqlDataSource source)
{
    /// <summary>The table is the store's own.</summary>
    /// <param name="address">Of the database.</param>
    /// <param name="isTuned">Whether statements are prepared, and connections not reset; else the driver as it comes.</param>
    public static async Task<BarePostgres> OpenAsync(string address, bool isTuned)
    {
        await using (var store = new PostgresStore(new PostgresStoreOptions { ConnectionString = address }))
            await ((ISessionStore)store).Prepare(CancellationToken.None);
        var commit = address + ";Options=-c synchronous_commit=off";
        return new BarePostgres(
            NpgsqlDataSource.Create(isTuned ? commit + ";No Reset On Close=true;Max Auto Prepare=20" : commit)
        );
    }

    public async Task InsertAsync(string key, byte[] body)
    {
        await using var command = source.CreateCommand(
            "INSERT INTO sessions (id, version, kind, last_seen, due_at, look_at, operation, body) VALUES ($1, 1, 1, $2, $3, $3, $4, $5)"
        );
        var now = DateTime.UtcNow.Ticks;
        Add(command, key);
        Add(command, now);
        Add(command, now + TimeSpan.FromMinutes(30).Ticks);
        Add(command, Random.Shared.NextInt64());
        Add(command, body);
        await command.ExecuteNonQueryAsync();
    }

    public async Task<(long Version, byte[] Body)> ReadAsync(string key)
    {
        await using var command = source.CreateCommand("SELECT version, body FROM sessions WHERE id = $1");
        Add(command, key);
        await using var row = await command.ExecuteReaderAsync();
        await row.ReadAsync();
        return (row.GetInt64(0), row.GetFieldValue<byte[]>(1));
    }

    public async Task SwapAsync(string key, long version, byte[] body)
    {
        await using var command = source.CreateCommand(
            "UPDATE sessions SET version = $2 + 1, last_seen = $3, due_at = $4, operation = $5, body = $6 WHERE id = $1 AND version = $2"
        );
        var now = DateTime.UtcNow.Ticks;
        Add(command, key);
        Add(command, version);
        Add(command, now);
        Add(command, now + TimeSpan.FromMinutes(30).Ticks);
        Add(command, Random.Shared.NextInt64());
        Add(command, body);
        await command.ExecuteNonQueryAsync();
    }

    private static void Add(NpgsqlCommand command, string value) =>
        command.Parameters.Add(new NpgsqlParameter<string> { TypedValue = value, NpgsqlDbType = NpgsqlDbType.Text });

    private static void Add(NpgsqlCommand command, long value) =>
        command.Parameters.Add(new NpgsqlParameter<long> { TypedValue = value });

    private static void Add(NpgsqlCommand command, byte[] value) =>
        command.Parameters.Add(new NpgsqlParameter<byte[]> { TypedValue = value });
}
