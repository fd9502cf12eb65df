using Session.Engine;
using static Session.Stores.Testing.Sample;

namespace Session.Stores.Testing;

/// <summary>Several sweepers, and sign-ins while somebody lists.</summary>
internal static class ClaimTests
{
    public static IEnumerable<ContractTest> Of(StoreContract contract)
    {
        if (!contract.Options.Lists)
            yield break;

        yield return new ContractTest(
            "three sweepers share what is overdue",
            "Hands each to one caller: until lease is over no other caller on any node gets it.",
            cancel => contract.OnMany(3, stores => Sweep(contract, stores, cancel), cancel)
        );
        yield return new ContractTest(
            "who was signed in before a listing is in it",
            "Holds every session whose sign-in was acknowledged before the call. Never what never was.",
            cancel => contract.OnMany(2, stores => List(contract, stores, cancel), cancel)
        );
    }

    private static async Task Sweep(StoreContract contract, ISessionStore[] stores, CancellationToken cancel)
    {
        const int Records = 150;
        for (var i = 0; i < Records; i++)
            await stores[0].Insert(Record($"r-{i}", due: 1 + i / 1000.0), cancel).ConfigureAwait(false);

        for (var round = 0; round < 2; round++)
        {
            // The second time the leases of the first are over.
            var now = At(10 + round * 2);
            var claimed = await Task.WhenAll(
                    Enumerable
                        .Range(0, 6)
                        .Select(n =>
                            Task.Run(
                                async () =>
                                {
                                    var mine = new List<string>();
                                    while (mine.Count <= Records)
                                    {
                                        var some = await stores[n % stores.Length]
                                            .ClaimOverdue(now, Lease, 7, cancel)
                                            .ConfigureAwait(false);
                                        if (some.Count == 0)
                                            return mine;
                                        mine.AddRange(some.Select(record => record.Id));
                                    }
                                    return mine;
                                },
                                cancel
                            )
                        )
                )
                .ConfigureAwait(false);
            var all = claimed.SelectMany(ids => ids).ToArray();
            var twice = all.GroupBy(id => id).Where(group => group.Count() > 1).Select(group => group.Key).ToArray();
            if (twice.Length > 0)
                throw contract.Violated($"  Handed out twice within one lease: {string.Join(' ', twice)}");
            if (all.Length != Records)
                throw contract.Violated($"  {all.Length} of {Records} overdue records were handed out.");
        }
    }

    private static async Task List(StoreContract contract, ISessionStore[] stores, CancellationToken cancel)
    {
        const int SignIns = 60;
        var acknowledged = new System.Collections.Concurrent.ConcurrentDictionary<string, bool>();
        using var done = new CancellationTokenSource();

        async Task SignIn(int client)
        {
            for (var i = 0; i < SignIns; i++)
            {
                var id = $"s-{client}-{i}";
                await stores[0].Insert(Record(id), cancel).ConfigureAwait(false);
                await stores[0].Replace(Record(id, 2, subject: "ada"), 1, cancel).ConfigureAwait(false);
                acknowledged[id] = true;
            }
        }

        async Task Watch()
        {
            while (!done.IsCancellationRequested && !cancel.IsCancellationRequested)
            {
                var before = acknowledged.Keys.ToHashSet(StringComparer.Ordinal);
                var found = new HashSet<string>(StringComparer.Ordinal);
                string? after = null;
                do
                {
                    var page = await stores[^1].BySubject("ada", after, 20, cancel).ConfigureAwait(false);
                    found.UnionWith(page.Records.Select(record => record.Id));
                    if (page.Records.Any(record => record.Subject != "ada"))
                        throw contract.Violated("  A listing holds a record of somebody else.");
                    after = page.Next;
                } while (after is not null);
                before.ExceptWith(found);
                if (before.Count > 0)
                    throw contract.Violated(
                        $"  Signed in before the listing began, and not in it: {string.Join(' ', before)}"
                    );
            }
        }

        var watching = Enumerable.Range(0, 2).Select(_ => Task.Run(Watch, cancel)).ToArray();
        try
        {
            await Task.WhenAll(Enumerable.Range(0, 4).Select(n => Task.Run(() => SignIn(n), cancel)))
                .ConfigureAwait(false);
        }
        finally
        {
            await done.CancelAsync().ConfigureAwait(false);
        }
        await Task.WhenAll(watching).ConfigureAwait(false);
    }
}
