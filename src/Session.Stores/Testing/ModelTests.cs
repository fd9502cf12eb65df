using Session.Engine;
using static Session.Stores.Testing.Sample;

namespace Session.Stores.Testing;

/// <summary>Random commands, each answer compared with the model's. What diverges is shrunk to the fewest commands.</summary>
internal static class ModelTests
{
    private const int Batch = 250;

    public static IEnumerable<ContractTest> Of(StoreContract contract)
    {
        yield return new ContractTest(
            "random commands answer as the model does",
            "All of them.",
            cancel => Run(contract, cancel)
        );
    }

    private static async Task Run(StoreContract contract, CancellationToken cancel)
    {
        var options = contract.Options;
        for (var done = 0; done < options.Commands; done += Batch)
        {
            cancel.ThrowIfCancellationRequested();
            var random = new Random(unchecked(options.Seed * 31 + done));
            var commands = Enumerable
                .Range(0, Math.Min(Batch, options.Commands - done))
                .Select(_ => Command.Random(random, options.Lists, options.Touches))
                .ToArray();
            var divergence = await Try(contract, commands, TimeSpan.FromSeconds(2), cancel).ConfigureAwait(false);
            if (divergence is not null)
                throw contract.Violated(await Shrink(contract, commands, divergence, cancel).ConfigureAwait(false));
            contract.Count(commands.Length, 0);
        }
    }

    /// <summary>Leaves out as much as it can, as long as something still diverges.</summary>
    private static async Task<string> Shrink(
        StoreContract contract,
        Command[] commands,
        string divergence,
        CancellationToken cancel
    )
    {
        var budget = 300;
        for (var size = commands.Length / 2; size >= 1 && budget > 0; )
        {
            var shrunk = false;
            for (var start = 0; start < commands.Length && budget-- > 0; start += size)
            {
                Command[] fewer = [.. commands[..start], .. commands[Math.Min(start + size, commands.Length)..]];
                if (
                    await Try(contract, fewer, TimeSpan.FromMilliseconds(30), cancel).ConfigureAwait(false)
                    is not { } still
                )
                    continue;
                (commands, divergence, shrunk) = (fewer, still, true);
                break;
            }
            if (!shrunk)
                size /= 2;
        }
        return $"The shortest sequence found, of {commands.Length} commands:\n{divergence}";
    }

    /// <summary>Null, or the story up to where the store's answer is another than the model's.</summary>
    private static async Task<string?> Try(
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
                {
                    var run = new ModelRun(store, patience, cancel);
                    foreach (var command in commands)
                        if (!await run.Does(command).ConfigureAwait(false))
                        {
                            divergence = run.Story;
                            return;
                        }
                },
                cancel
            )
            .ConfigureAwait(false);
        return divergence;
    }
}
