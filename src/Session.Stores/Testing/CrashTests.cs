using Session.Engine;
using static Session.Stores.Testing.Sample;

namespace Session.Stores.Testing;

/// <summary>
/// A process that is stopped before each of the requests of a verb, one after the other: between an index and its record,
/// between a claim and what follows. Another node then finds the record as it was or as it was to be, and every index right.
/// </summary>
internal static class CrashTests
{
    private const int MostRequests = 100;

    /// <summary>What is there before, if anything; what the stopped process does; and what is there when it was done.</summary>
    private sealed record Crash(
        string Name,
        Func<string, StoredRecord?> Before,
        Func<string, StoredRecord?> After,
        Func<ISessionStore, string, CancellationToken, Task> Act
    );

    private static Crash Written(string name, Func<string, StoredRecord?> before, Func<string, StoredRecord> after) =>
        new(
            name,
            before,
            after,
            async (store, id, cancel) =>
            {
                var record = after(id);
                var answer = before(id) is { } stored
                    ? await store.Replace(record, stored.Version, cancel).ConfigureAwait(false)
                    : await store.Insert(record, cancel).ConfigureAwait(false);
                if (answer != WriteResult.Written)
                    throw new IOException($"The write is {answer}.");
            }
        );

    private static StoredRecord Durable(StoredRecord record) =>
        new(
            record.Id,
            record.Version,
            record.Kind,
            record.LastSeen,
            record.DueAt,
            record.Subject,
            record.Operation,
            record.Body,
            isDurable: true
        );

    private static readonly Crash[] Crashes =
    [
        Written("an anonymous session begins", _ => null, id => Record(id, kind: RecordKind.Unconfirmed, operation: 1)),
        Written("a sign-in begins a session", _ => null, id => Durable(Record(id, subject: "ada", operation: 1))),
        Written(
            "a sign-in",
            id => Record(id, operation: 1),
            id => Durable(Record(id, 2, subject: "ada", operation: 2))
        ),
        Written(
            "another user signs in",
            id => Record(id, subject: "bob", operation: 1),
            id => Durable(Record(id, 2, subject: "ada", operation: 2))
        ),
        Written(
            "an elevation",
            id => Record(id, subject: "ada", operation: 1),
            id => Durable(Record(id, 2, subject: "ada", operation: 2))
        ),
        Written(
            "a logout",
            id => Record(id, subject: "ada", operation: 1),
            id => Durable(Record(id, 2, kind: RecordKind.Ended, subject: "ada", due: 20, operation: 2))
        ),
        Written(
            "a write that is due sooner",
            id => Record(id, subject: "ada", operation: 1),
            id => Record(id, 2, subject: "ada", due: 5, operation: 2)
        ),
        new(
            "a removal",
            id => Record(id, kind: RecordKind.Ended, subject: "ada", due: 1, operation: 1),
            _ => null,
            (store, id, cancel) => store.Remove(id, cancel).AsTask()
        ),
        new(
            "a removal of one version",
            id => Record(id, kind: RecordKind.Ended, subject: "ada", due: 1, operation: 1),
            _ => null,
            (store, id, cancel) => SessionStore.removeVersion(store, Record(id, operation: 1), cancel).AsTask()
        ),
        new(
            "a claim",
            id => Record(id, subject: "ada", due: 1, operation: 1),
            id => Record(id, subject: "ada", due: 1, operation: 1),
            (store, _, cancel) => store.ClaimOverdue(At(2), Lease, 10, cancel).AsTask()
        ),
        new(
            "a reschedule",
            id => Record(id, subject: "ada", due: 1, operation: 1),
            id => Record(id, subject: "ada", due: 1, operation: 1),
            (store, id, cancel) => store.Reschedule(id, 1, At(9), cancel).AsTask()
        ),
    ];

    public static IEnumerable<ContractTest> Of(StoreContract contract)
    {
        if (!contract.Options.Lists || contract.Options.Crashing is null)
            yield break;

        foreach (var crash in Crashes)
            yield return new ContractTest(
                $"stopped between two requests: {crash.Name}",
                "Holds every session whose sign-in was acknowledged before the call. Never what never was.",
                cancel => contract.On(store => Run(contract, store, crash, cancel), cancel)
            );
    }

    private static async Task Run(StoreContract contract, ISessionStore store, Crash crash, CancellationToken cancel)
    {
        for (var requests = 0; ; requests++)
        {
            if (requests > MostRequests)
                throw contract.Violated($"  {crash.Name}: not done after {MostRequests} requests.");

            var isDone = false;
            // A listing may mend what it finds: then also without one, the sweeps alone have to.
            foreach (var isListed in contract.Options.Entries is null ? (bool[])[true] : [true, false])
            {
                var id = $"c-{requests}-{(isListed ? 1 : 0)}";
                if (crash.Before(id) is { } before)
                    await store.Insert(before, cancel).ConfigureAwait(false);
                var ending = await Stopped(contract, store, crash, id, requests, cancel).ConfigureAwait(false);
                isDone = ending == Ending.Done;
                await Judge(contract, store, crash, id, requests, ending, isListed, cancel).ConfigureAwait(false);
                contract.Count(crashes: isDone ? 0 : 1);
            }
            if (isDone)
                return;
        }
    }

    /// <summary>What the store says of it.</summary>
    private enum Ending
    {
        Done,
        Stopped,

        /// <summary>Stopped, and the store says that it has changed nothing.</summary>
        Refused,
    }

    private static async Task<Ending> Stopped(
        StoreContract contract,
        ISessionStore store,
        Crash crash,
        string id,
        int requests,
        CancellationToken cancel
    )
    {
        var stopping = await contract.Options.Crashing!(store, requests, cancel).ConfigureAwait(false);
        try
        {
            await crash.Act(stopping, id, cancel).ConfigureAwait(false);
            return Ending.Done;
        }
        catch (StoreRefusedException)
        {
            return Ending.Refused;
        }
        catch (Exception) when (!cancel.IsCancellationRequested)
        {
            return Ending.Stopped;
        }
        finally
        {
            await StoreContract.Close(stopping).ConfigureAwait(false);
        }
    }

    private static async Task Judge(
        StoreContract contract,
        ISessionStore store,
        Crash crash,
        string id,
        int requests,
        Ending ending,
        bool isListed,
        CancellationToken cancel
    )
    {
        var found = await store.Load(id, cancel).ConfigureAwait(false);
        var (before, after) = (Show(crash.Before(id), false), Show(crash.After(id), false));
        Demand(
            ending switch
            {
                Ending.Done => Show(found, false) == after,
                Ending.Refused => Show(found, false) == before,
                _ => Show(found, false) == before || Show(found, false) == after,
            },
            "the record",
            ending switch
            {
                Ending.Done => after,
                Ending.Refused => before,
                _ => $"{before}, or {after}",
            },
            Show(found, false)
        );

        if (isListed)
        {
            foreach (var subject in (string[])["ada", "bob"])
            {
                var expected = found?.Subject == subject ? id : "";
                Same(
                    $"by subject {subject}",
                    expected,
                    await Ids(after => store.BySubject(subject, after, 2, cancel)).ConfigureAwait(false)
                );
            }
            Same(
                "enumerate",
                found?.Id ?? "",
                await Ids(after => store.Enumerate(after, 2, cancel)).ConfigureAwait(false)
            );
        }

        // Sweepers come, and come again: whatever is there is handed out, and nothing stays.
        var claimed = new HashSet<string>(StringComparer.Ordinal);
        for (var round = 1; round <= 4; round++)
            foreach (var record in await store.ClaimOverdue(At(60 * round), Lease, 10, cancel).ConfigureAwait(false))
            {
                claimed.Add(record.Id);
                await store.Remove(record.Id, cancel).ConfigureAwait(false);
            }
        Same("claimed, sooner or later", found?.Id ?? "", string.Join(' ', claimed));
        Same("count, after the sweeps", "0", $"{await store.Count(cancel).ConfigureAwait(false)}");
        if (contract.Options.Entries is { } entries)
            Same(
                "entries in all indexes, after the sweeps",
                "0",
                $"{await entries(store, cancel).ConfigureAwait(false)}"
            );

        void Same(string what, string expected, string actual) => Demand(expected == actual, what, expected, actual);

        void Demand(bool isRight, string what, string expected, string actual)
        {
            if (!isRight)
                throw contract.Violated(
                    $"  {crash.Name}, {ending.ToString().ToLowerInvariant()} after {requests} requests\n  {what}: {actual}\n  expected: {expected}"
                );
        }
    }

    private static async Task<string> Ids(Func<string?, ValueTask<StoredPage>> read)
    {
        var ids = new List<string>();
        string? after = null;
        do
        {
            var page = await read(after).ConfigureAwait(false);
            ids.AddRange(page.Records.Select(record => record.Id));
            after = page.Next;
        } while (after is not null);
        return string.Join(' ', ids);
    }
}
