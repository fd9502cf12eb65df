using Session.Engine;

namespace Session.Stores.Testing;

/// <summary>
/// The contract of a session store, as tests: the sentences of <see cref="ISessionStore"/>, one example for each; random
/// commands against a model; histories of parallel clients; claims by several sweepers. Runs under any test framework.
/// </summary>
public sealed class StoreContract
{
    private readonly Func<CancellationToken, Task<ISessionStore>> _open;
    private long _commands;
    private long _histories;

    /// <summary>A contract for the stores that <paramref name="open"/> makes.</summary>
    /// <param name="name">The name of the store, for messages.</param>
    /// <param name="open">Makes a store on an empty place of its own: each test calls it. Disposed of afterwards, if it can be.</param>
    /// <param name="options">How much is tried, and what the store cannot do.</param>
    public StoreContract(
        string name,
        Func<CancellationToken, Task<ISessionStore>> open,
        StoreContractOptions? options = null
    )
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        ArgumentNullException.ThrowIfNull(open);
        (Name, _open, Options) = (name, open, options ?? new StoreContractOptions());
        Tests = [.. Sentences.Of(this), .. ModelTests.Of(this), .. HistoryTests.Of(this), .. ClaimTests.Of(this)];
    }

    /// <summary>The name of the store.</summary>
    public string Name { get; }

    /// <summary>How much is tried.</summary>
    public StoreContractOptions Options { get; }

    /// <summary>The tests. Each runs alone or beside others.</summary>
    public IReadOnlyList<ContractTest> Tests { get; }

    /// <summary>How many commands were compared with the model so far.</summary>
    public long Commands => Interlocked.Read(ref _commands);

    /// <summary>How many histories were checked so far.</summary>
    public long Histories => Interlocked.Read(ref _histories);

    /// <summary>Runs every test, one after the other.</summary>
    public async Task<ContractReport> RunAllAsync(CancellationToken cancellationToken = default)
    {
        var passed = new List<string>();
        var failures = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var test in Tests)
        {
            try
            {
                await test.RunAsync(cancellationToken).ConfigureAwait(false);
                passed.Add(test.Name);
            }
            catch (Exception error) when (!cancellationToken.IsCancellationRequested)
            {
                failures[test.Name] = error is ContractViolationException ? error.Message : error.ToString();
            }
        }
        return new ContractReport(Name, Options.Seed, Commands, Histories, passed, failures);
    }

    internal void Count(long commands, long histories)
    {
        Interlocked.Add(ref _commands, commands);
        Interlocked.Add(ref _histories, histories);
    }

    /// <summary>Runs on an empty place.</summary>
    internal async Task On(Func<ISessionStore, Task> body, CancellationToken cancellationToken)
    {
        var store = await _open(cancellationToken).ConfigureAwait(false);
        try
        {
            await store.Prepare(cancellationToken).ConfigureAwait(false);
            await body(store).ConfigureAwait(false);
        }
        finally
        {
            await Close(store).ConfigureAwait(false);
        }
    }

    /// <summary>Runs on an empty place with several handles.</summary>
    internal Task OnMany(int handles, Func<ISessionStore[], Task> body, CancellationToken cancellationToken) =>
        On(
            async store =>
            {
                var all = new List<ISessionStore> { store };
                try
                {
                    while (all.Count < handles)
                    {
                        if (Options.Reopen is null || !Options.ComparesAndSwaps)
                        {
                            all.Add(store);
                            continue;
                        }
                        var other = await Options.Reopen(store, cancellationToken).ConfigureAwait(false);
                        await other.Prepare(cancellationToken).ConfigureAwait(false);
                        all.Add(other);
                    }
                    await body([.. all]).ConfigureAwait(false);
                }
                finally
                {
                    foreach (var other in all.Skip(1).Where(other => !ReferenceEquals(other, store)))
                        await Close(other).ConfigureAwait(false);
                }
            },
            cancellationToken
        );

    internal ContractViolationException Violated(string story) =>
        new($"{Name} does not keep the contract. Replay: SESSION_CONTRACT_SEED={Options.Seed}\n{story}");

    private static async ValueTask Close(ISessionStore store)
    {
        if (store is IAsyncDisposable later)
            await later.DisposeAsync().ConfigureAwait(false);
        else
            (store as IDisposable)?.Dispose();
    }
}
