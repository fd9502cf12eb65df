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
    private long _divergences;
    private long _histories;
    private long _violations;
    private long _undecided;
    private long _crashes;

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
        Tests =
        [
            .. Sentences.Of(this),
            .. ListingSentences.Of(this),
            .. ModelTests.Of(this),
            .. HistoryTests.Of(this),
            .. ClaimTests.Of(this),
            .. CrashTests.Of(this),
            .. ManyTests.Of(this),
            .. SignalTests.Of(this),
        ];
    }

    /// <summary>The name of the store.</summary>
    public string Name { get; }

    /// <summary>How much is tried.</summary>
    public StoreContractOptions Options { get; }

    /// <summary>The tests. Each runs alone or beside others.</summary>
    public IReadOnlyList<ContractTest> Tests { get; }

    /// <summary>How many commands were compared with the model so far.</summary>
    public long Commands => Interlocked.Read(ref _commands);

    /// <summary>How many sequences of commands got another answer than the model gives.</summary>
    public long Divergences => Interlocked.Read(ref _divergences);

    /// <summary>How many histories were checked so far.</summary>
    public long Histories => Interlocked.Read(ref _histories);

    /// <summary>How many histories cannot be put in any order.</summary>
    public long Violations => Interlocked.Read(ref _violations);

    /// <summary>On how many keys of histories the search gave up.</summary>
    public long Undecided => Interlocked.Read(ref _undecided);

    /// <summary>How often a process was stopped between two requests.</summary>
    public long Crashes => Interlocked.Read(ref _crashes);

    /// <summary>What was tried so far and what was found, as one line.</summary>
    public override string ToString() =>
        $"{Name}: {Commands} commands, {Divergences} divergences from the model; {Histories} histories of {Options.Clients} parallel clients, {Violations} violations of linearizability, {Undecided} undecided; {Crashes} crash points; seed {Options.Seed}";

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
        return new ContractReport(Name, Options.Seed, Commands, Divergences, Histories, Violations, passed, failures);
    }

    internal void Count(
        long commands = 0,
        long divergences = 0,
        long histories = 0,
        long violations = 0,
        long undecided = 0,
        long crashes = 0
    )
    {
        Interlocked.Add(ref _commands, commands);
        Interlocked.Add(ref _divergences, divergences);
        Interlocked.Add(ref _histories, histories);
        Interlocked.Add(ref _violations, violations);
        Interlocked.Add(ref _undecided, undecided);
        Interlocked.Add(ref _crashes, crashes);
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
                        all.Add(other);
                        await other.Prepare(cancellationToken).ConfigureAwait(false);
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

    /// <summary>Runs on several empty places at once. What fails on one stops the others.</summary>
    internal async Task OnPlaces(
        int handles,
        Func<ISessionStore[], CancellationToken, Task> body,
        CancellationToken cancellationToken
    )
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);

        async Task OnOne()
        {
            try
            {
                await OnMany(handles, stores => body(stores, stop.Token), cancellationToken).ConfigureAwait(false);
            }
            catch
            {
                await stop.CancelAsync().ConfigureAwait(false);
                throw;
            }
        }

        await Task.WhenAll(Enumerable.Range(0, Options.Places).Select(_ => Task.Run(OnOne, cancellationToken)))
            .ConfigureAwait(false);
    }

    internal ContractViolationException Violated(string story, Exception? cause = null) =>
        new($"{Name} does not keep the contract. Replay: SESSION_CONTRACT_SEED={Options.Seed}\n{story}", cause);

    internal static async ValueTask Close(ISessionStore store)
    {
        if (store is IAsyncDisposable later)
            await later.DisposeAsync().ConfigureAwait(false);
        else
            (store as IDisposable)?.Dispose();
    }
}
