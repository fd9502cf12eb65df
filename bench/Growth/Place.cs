using Bench.Shared;
using Microsoft.Data.Sqlite;
using Session.Engine;
using Session.Stores.Redis;
using Session.Stores.Sqlite;

namespace Bench.Growth;

/// <summary>A store of its own for one measurement, and what it takes.</summary>
internal abstract class Place : IAsyncDisposable
{
    public static IReadOnlyList<string> All { get; } = ["memory", "sqlite", "redis"];

    public abstract ISessionStore Store { get; }

    /// <summary>How many inserts at once fill it fastest.</summary>
    public virtual int Inserters => 1;

    /// <summary>Of redis-server, where there is one.</summary>
    public virtual double ServerCpuSeconds => 0;

    public abstract Task<long> BytesAsync();

    /// <summary>The same store for another node: where nodes can share one.</summary>
    public virtual ISessionStore OfAnotherNode() => Store;

    public abstract ValueTask DisposeAsync();

    public static async Task<Place> NewAsync(string name)
    {
        Place place = name switch
        {
            "memory" => new OfMemory(),
            "sqlite" => new OfSqlite(),
            "redis" => await OfRedis.StartAsync(),
            _ => throw new ArgumentException(name),
        };
        await place.Store.Prepare(CancellationToken.None);
        return place;
    }

    private sealed class OfMemory : Place
    {
        public override ISessionStore Store { get; } = new MemoryStore(new MemoryStoreOptions { Capacity = 4_000_000 });

        public override async Task<long> BytesAsync()
        {
            // On another stack: what was measured before may still be on this one, and would be counted.
            await Task.Delay(100);
            GC.Collect();
            GC.WaitForPendingFinalizers();
            return GC.GetTotalMemory(forceFullCollection: true);
        }

        public override ValueTask DisposeAsync() => ValueTask.CompletedTask;
    }

    private sealed class OfSqlite : Place
    {
        private readonly string _folder = Leftovers.NewFolder();
        private readonly List<SqliteStore> _stores = [];

        public OfSqlite() => Store = OfAnotherNode();

        public override ISessionStore Store { get; }

        private string File => Path.Combine(_folder, "sessions.db");

        public override ISessionStore OfAnotherNode()
        {
            _stores.Add(new SqliteStore(new SqliteStoreOptions { Path = File }));
            return _stores[^1];
        }

        public override async Task<long> BytesAsync()
        {
            // What is in the log so far goes to the file first.
            await using var connection = new SqliteConnection($"Data Source={File};Pooling=False");
            await connection.OpenAsync();
            await using var command = connection.CreateCommand();
            command.CommandText = "PRAGMA wal_checkpoint(TRUNCATE)";
            await command.ExecuteNonQueryAsync();
            return new FileInfo(File).Length;
        }

        public override ValueTask DisposeAsync()
        {
            foreach (var store in _stores)
                store.Dispose();
            Leftovers.Remove(_folder);
            return ValueTask.CompletedTask;
        }
    }

    private sealed class OfRedis(RedisServer server, string folder) : Place
    {
        private readonly List<RedisStore> _stores = [];
        private ISessionStore? _store;

        public static async Task<OfRedis> StartAsync()
        {
            var folder = Leftovers.NewFolder();
            return new OfRedis(await RedisServer.StartAsync(folder), folder);
        }

        public override ISessionStore Store => _store ??= OfAnotherNode();
        public override int Inserters => 64;
        public override double ServerCpuSeconds => server.CpuSeconds;

        public override ISessionStore OfAnotherNode()
        {
            _stores.Add(new RedisStore(new RedisStoreOptions { Configuration = server.Address }));
            return _stores[^1];
        }

        public override Task<long> BytesAsync() => server.UsedBytesAsync();

        public override async ValueTask DisposeAsync()
        {
            foreach (var store in _stores)
                await store.DisposeAsync();
            await server.DisposeAsync();
            Leftovers.Remove(folder);
        }
    }
}
