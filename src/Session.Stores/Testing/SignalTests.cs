using System.Collections.Concurrent;
using Session.Engine;

namespace Session.Stores.Testing;

/// <summary>What nodes tell each other, where a store carries such.</summary>
internal static class SignalTests
{
    private const int Ids = 1_200;
    private static readonly TimeSpan Latest = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan Aftermath = TimeSpan.FromMilliseconds(300);

    public static IEnumerable<ContractTest> Of(StoreContract contract)
    {
        if (!contract.Options.Signals)
            yield break;

        yield return new ContractTest(
            "what one node says every node hears, until it stops to listen",
            "Says to every node, this one included, that these sessions have ended. Until what this returns is disposed of.",
            cancel => contract.OnMany(2, stores => Hear(contract, stores, cancel), cancel)
        );
    }

    private static async Task Hear(StoreContract contract, ISessionStore[] stores, CancellationToken cancel)
    {
        if (stores is not [ISessionSignals here, ISessionSignals there] || stores.Any(IsSilent))
            return;

        ConcurrentQueue<string> own = new(),
            others = new(),
            former = new();
        IAsyncDisposable first;
        try
        {
            first = await here.Subscribe(Into(own), cancel).ConfigureAwait(false);
        }
        catch (NotSupportedException)
        {
            // Not on this server, and it says so.
            return;
        }

        var second = await there.Subscribe(Into(others), cancel).ConfigureAwait(false);
        var third = await there.Subscribe(Into(former), cancel).ConfigureAwait(false);

        // As long as an id may be, and more than one message has room for.
        var ids = Enumerable
            .Range(0, Ids)
            .Select(i => $"{new string('x', 60)}{i:0000}")
            .ToHashSet(StringComparer.Ordinal);
        await here.Publish([.. ids], cancel).ConfigureAwait(false);
        await Comes("the node that says it", own, ids).ConfigureAwait(false);
        await Comes("another node", others, ids).ConfigureAwait(false);
        await Comes("another listener on that node", former, ids).ConfigureAwait(false);

        await third.DisposeAsync().ConfigureAwait(false);
        HashSet<string> one = new(StringComparer.Ordinal) { "one" };
        await there.Publish(["one"], cancel).ConfigureAwait(false);
        await Comes("the first node", own, one).ConfigureAwait(false);
        await Comes("the node that says it, which has another listener no more", others, one).ConfigureAwait(false);
        // The same again is another notice.
        own.Clear();
        await there.Publish(["one"], cancel).ConfigureAwait(false);
        await Comes("the first node, once more", own, one).ConfigureAwait(false);

        await first.DisposeAsync().ConfigureAwait(false);
        await second.DisposeAsync().ConfigureAwait(false);
        await here.Publish(["unheard"], cancel).ConfigureAwait(false);
        await Task.Delay(Aftermath, cancel).ConfigureAwait(false);
        if (former.Contains("one", StringComparer.Ordinal))
            throw contract.Violated("  A listener that was disposed of hears what is said afterwards.");
        if (own.Concat(others).Contains("unheard", StringComparer.Ordinal))
            throw contract.Violated("  Listeners that were disposed of hear what is said afterwards.");
        ids.Add("one");
        var made = own.Concat(others).Concat(former).Distinct(StringComparer.Ordinal).Where(id => !ids.Contains(id));
        if (made.FirstOrDefault() is { } id)
            throw contract.Violated($"  '{id}' was heard, and nobody said so.");

        async Task Comes(string who, ConcurrentQueue<string> heard, HashSet<string> said)
        {
            var clock = System.Diagnostics.Stopwatch.StartNew();
            while (!said.IsSubsetOf(heard))
            {
                if (clock.Elapsed > Latest)
                    throw contract.Violated(
                        $"  {said.Except(heard).Count()} of {said.Count} ids that were published did not come within {Latest.TotalSeconds} s to {who}."
                    );
                await Task.Delay(10, cancel).ConfigureAwait(false);
            }
        }
    }

    private static Action<string?> Into(ConcurrentQueue<string> heard) =>
        id =>
        {
            if (id is not null)
                heard.Enqueue(id);
        };

    // It hands on to a store that has no signals.
    private static bool IsSilent(ISessionStore store) => store is ForwardingStore { Inner: not ISessionSignals };
}
