using System.Collections.Concurrent;
using Session.Engine;
using Session.Stores.Sqlite;
using Session.Stores.Testing;
using Xunit;

namespace Facade;

/// <summary>The contract kit under xUnit, as the author of a store runs it: here on SQLite.</summary>
public sealed class ContractTests : IDisposable
{
    private static readonly ConcurrentDictionary<ISessionStore, string> Paths = new(ReferenceEqualityComparer.Instance);

    private readonly string _folder = Directory.CreateTempSubdirectory("session-contract-").FullName;

    private ISessionStore Open(string path)
    {
        var store = new SqliteStore(new SqliteStoreOptions { Path = path });
        Paths[store] = path;
        return store;
    }

    private StoreContract Contract() =>
        new(
            "Sqlite",
            _ => Task.FromResult(Open(Path.Combine(_folder, $"{Guid.NewGuid():N}.db"))),
            new StoreContractOptions
            {
                Commands = 500,
                Histories = 8,
                Reopen = (store, _) => Task.FromResult(Open(Paths[store])),
            }
        );

    public static TheoryData<string> Names =>
        [.. new StoreContract("Sqlite", _ => throw new NotSupportedException()).Tests.Select(test => test.Name)];

    [Theory, MemberData(nameof(Names))]
    public Task Sqlite_keeps(string name) => Contract().Tests.Single(test => test.Name == name).RunAsync();

    public void Dispose() => Directory.Delete(_folder, true);
}
