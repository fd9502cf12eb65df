using System.Diagnostics;
using Session.Engine;

namespace Session.Stores.Testing;

/// <summary>Random commands, each answer compared with the model's. What diverges is shrunk to the fewest commands.</summary>
internal static class ModelTests
{
    private const int Batch = 250;
    private static readonly TimeSpan LongestShrinking = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(2);

    public static IEnumerable<ContractTest> Of(StoreContract contract)
    {
        yield return new ContractTest(
            "random commands answer as the model does",
            "All of them.",
            cancel => Run(contract, cancel)
        );
    }

    private static Task Run(StoreContract contract, CancellationToken cancel)
    {
        var next = -1;
        return contract.OnPlaces(
            1,
            async (stores, stop) =>
            {
                while (!stop.IsCancellationRequested)
                {
                    var from = (long)Interlocked.Increment(ref next) * Batch;
                    if (from >= contract.Options.Commands)
                        return;
                    await One(contract, stores[0], (int)from, cancel).ConfigureAwait(false);
                }
            },
            cancel
        );
    }

    /// <summary>One sequence on an empty place, which it leaves empty.</summary>
    private static async Task One(StoreContract contract, ISessionStore store, int from, CancellationToken cancel)
    {
        var options = contract.Options;
        var random = new Random(unchecked(options.Seed * 31 + from));
        var commands = Enumerable
            .Range(0, Math.Min(Batch, options.Commands - from))
            .Select(_ => Command.Random(random, options.Lists, options.Touches, store is IRemovesVersion))
            .ToArray();
        if (await Try(contract, store, commands, Patience, cancel).ConfigureAwait(false) is not { } divergence)
        {
            contract.Count(commands: commands.Length);
            return;
        }

        contract.Count(divergences: 1);
        // Does it also on a place that nobody has used before?
        string? again;
        try
        {
            again = await TryAnew(contract, commands, Patience, cancel).ConfigureAwait(false);
        }
        catch (Exception error) when (!cancel.IsCancellationRequested)
        {
            throw contract.Violated($"{divergence}\n  It could not be tried again: {error}", error);
        }

        throw contract.Violated(
            again is null
                ? $"On a place that other sequences had used, and emptied:\n{divergence}"
                : await Shrink(contract, commands, again, cancel).ConfigureAwait(false)
        );
    }

    /// <summary>Leaves out as much as it can, as long as something still diverges, and as long as there is time.</summary>
    private static async Task<string> Shrink(
        StoreContract contract,
        Command[] commands,
        string divergence,
        CancellationToken cancel
    )
    {
        var tries = 300;
        var began = Stopwatch.GetTimestamp();

        bool IsOver() => tries <= 0 || Stopwatch.GetElapsedTime(began) > LongestShrinking;

        for (var size = commands.Length / 2; size >= 1 && !IsOver(); )
        {
            var shrunk = false;
            for (var start = 0; start < commands.Length && !IsOver(); start += size)
            {
                tries--;
                Command[] fewer = [.. commands[..start], .. commands[Math.Min(start + size, commands.Length)..]];
                if (await StillDiverges(fewer).ConfigureAwait(false) is not { } still)
                    continue;
                (commands, divergence, shrunk) = (fewer, still, true);
                break;
            }
            if (!shrunk)
                size /= 2;
        }
        return $"The shortest sequence found, of {commands.Length} commands:\n{divergence}";

        async Task<string?> StillDiverges(Command[] fewer)
        {
            try
            {
                return await TryAnew(contract, fewer, TimeSpan.FromMilliseconds(30), cancel).ConfigureAwait(false);
            }
            catch (Exception) when (!cancel.IsCancellationRequested)
            {
                // No place could be opened or closed: that says nothing of these commands.
                return null;
            }
        }
    }

    /// <summary>Null, or the story up to where the store throws, or answers something else than the model.</summary>
    private static async Task<string?> Try(
        StoreContract contract,
        ISessionStore store,
        Command[] commands,
        TimeSpan patience,
        CancellationToken cancel
    )
    {
        var run = new ModelRun(store, contract.Options.Lists, patience, cancel);
        foreach (var command in commands)
            if (!await run.Does(command).ConfigureAwait(false))
                return run.Story;
        return await run.Clears().ConfigureAwait(false) ? null : run.Story;
    }

    /// <summary>The same on an empty place of its own.</summary>
    private static async Task<string?> TryAnew(
        StoreContract contract,
        Command[] commands,
        TimeSpan patience,
        CancellationToken cancel
    )
    {
        string? divergence = null;
        await contract
            .On(
                async store =>
                    divergence = await Try(contract, store, commands, patience, cancel).ConfigureAwait(false),
                cancel
            )
            .ConfigureAwait(false);
        return divergence;
    }
}
