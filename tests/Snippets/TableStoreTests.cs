using Session.Engine;
using Session.Stores.Testing;

namespace Snippets;

/// <summary>How the example of docs/WRITING-A-STORE.md is tested.</summary>
public static class TableStoreTests
{
    public static Task<ContractReport> Contract(string folder) =>
        new StoreContract(
            "TableStore",
            open: _ => Task.FromResult<ISessionStore>(new TableStore(Path.Combine(folder, $"{Guid.NewGuid():N}.db")))
        ).RunAllAsync();
}
