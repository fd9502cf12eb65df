using System.ComponentModel;
using Bench.Shared;
using BenchmarkDotNet.Attributes;
using Session.Engine;
using Session.Stores.Sqlite;

namespace Bench.Micro;

/// <summary>The verbs of a store, among a thousand sessions with 100 bytes of data.</summary>
public abstract class Stores
{
    private const int Sessions = 1000;
    private static readonly DateTimeOffset s_begin = DateTimeOffset.UtcNow;
    private readonly Population _population = new("stores", 100, s_begin, Population.Settings);
    private readonly string[] _ids;
    private readonly StoredRecord _replaced;
    private readonly StoredRecord _new;
    private readonly ISessionStore _store;
    private int _next;
    private long _version = 1;
    private DateTimeOffset _seen = s_begin;

    private protected Stores(ISessionStore store)
    {
        _store = store;
        _store.Prepare(CancellationToken.None).AsTask().Wait();
        _ids = [.. Enumerable.Range(0, Sessions).Select(_population.Id)];
        for (var i = 0; i < Sessions; i++)
            _store.Insert(_population.Record(i), CancellationToken.None).AsTask().Wait();
        _replaced = _population.Record(0);
        _new = _population.Record(Sessions);
    }

    [Benchmark(Description = "load")]
    public ValueTask<StoredRecord?> Load() => _store.Load(_ids[_next++ % Sessions], CancellationToken.None);

    [Benchmark(Description = "replace")]
    public async ValueTask Replace()
    {
        var record = new StoredRecord(
            _replaced.Id,
            _version + 1,
            _replaced.Kind,
            _replaced.LastSeen,
            _replaced.DueAt,
            null,
            _version,
            _replaced.Body
        );
        Expect(await _store.Replace(record, _version, CancellationToken.None));
        _version++;
    }

    [Benchmark(Description = "touch")]
    public ValueTask Touch() => _store.Touch(_ids[1], _seen = _seen.AddTicks(1), CancellationToken.None);

    /// <summary>Both, or the store would grow from one iteration to the next.</summary>
    [Benchmark(Description = "insert, and remove")]
    public async ValueTask InsertAndRemove()
    {
        Expect(await _store.Insert(_new, CancellationToken.None));
        await _store.Remove(_new.Id, CancellationToken.None);
    }

    private static void Expect(WriteResult result)
    {
        if (result != WriteResult.Written)
            throw new InvalidOperationException($"The store answers {result}.");
    }
}

[DisplayName("The memory store, 1,000 sessions, 100 B of data")]
public class InMemory() : Stores(new MemoryStore());

[DisplayName("The SQLite store, 1,000 sessions, 100 B of data")]
public class InSqlite : Stores
{
    private readonly string _folder;

    public InSqlite()
        : this(Leftovers.NewFolder()) { }

    private InSqlite(string folder)
        : base(new SqliteStore(new SqliteStoreOptions { Path = Path.Combine(folder, "sessions.db") })) =>
        _folder = folder;

    [GlobalCleanup]
    public void Clean() => Leftovers.Remove(_folder);
}
