using Session.Engine;

namespace Session.Stores.Testing;

/// <summary>How much is tried, and what a store cannot do.</summary>
public sealed class StoreContractOptions
{
    /// <summary>The seed of everything random. Default: the environment variable <c>SESSION_CONTRACT_SEED</c>, else a random one. It is in every message.</summary>
    public int Seed { get; set; } = Variable("SESSION_CONTRACT_SEED") ?? Random.Shared.Next(1, 1_000_000_000);

    /// <summary>How many commands are compared with the model. Default 2,000, or <c>SESSION_CONTRACT_COMMANDS</c>.</summary>
    public int Commands { get; set; } = Variable("SESSION_CONTRACT_COMMANDS") ?? 2_000;

    /// <summary>How many histories of parallel clients are checked. Default 40, or <c>SESSION_CONTRACT_HISTORIES</c>.</summary>
    public int Histories { get; set; } = Variable("SESSION_CONTRACT_HISTORIES") ?? 40;

    /// <summary>How many clients run in parallel in each history. Default 8.</summary>
    public int Clients { get; set; } = 8;

    /// <summary>On how many places, each of its own, sequences of commands and histories run at once. Default 4.</summary>
    public int Places { get; set; } = 4;

    /// <summary>False: <c>replace</c> is atomic in this process only. Then only one handle is used. Default true.</summary>
    public bool ComparesAndSwaps { get; set; } = true;

    /// <summary>False: by subject, enumerate, count and claim overdue are not there, and not tried. Default true.</summary>
    public bool Lists { get; set; } = true;

    /// <summary>Whether touch does anything. Default true.</summary>
    public bool Touches { get; set; } = true;

    /// <summary>False: nodes cannot tell each other anything here, though the store is an <c>ISessionSignals</c>; it is not tried. Default true.</summary>
    public bool Signals { get; set; } = true;

    /// <summary>Another handle on the place of a store, as another node of the fleet has one. Default null: the same handle is used.</summary>
    public Func<ISessionStore, CancellationToken, Task<ISessionStore>>? Reopen { get; set; }

    /// <summary>
    /// Another handle on the place of a store, whose process is stopped after so many requests to the server: the next one
    /// is not carried out, and every call from then on throws. Default null: crash points are not tried.
    /// </summary>
    public Func<ISessionStore, int, CancellationToken, Task<ISessionStore>>? Crashing { get; set; }

    /// <summary>How many entries there are in the place of a store, records and all indexes together. Default null: nobody counts them.</summary>
    public Func<ISessionStore, CancellationToken, Task<long>>? Entries { get; set; }

    private static int? Variable(string name) =>
        int.TryParse(Environment.GetEnvironmentVariable(name), out var value) ? value : null;
}
