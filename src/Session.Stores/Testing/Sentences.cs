using Session.Engine;
using static Session.Stores.Testing.Sample;

namespace Session.Stores.Testing;

/// <summary>What the port says of single records, sentence by sentence: one example for each.</summary>
internal static class Sentences
{
    /// <summary>An example on an empty place. An exception out of the store is told together with what was done before.</summary>
    public static ContractTest Example(StoreContract contract, string name, string sentence, Func<Verbs, Task> body) =>
        new(
            name,
            sentence,
            cancel =>
                contract.On(
                    async store =>
                    {
                        var verbs = new Verbs(store, contract, cancel);
                        try
                        {
                            await body(verbs).ConfigureAwait(false);
                        }
                        catch (Exception error)
                            when (error is not ContractViolationException && !cancel.IsCancellationRequested)
                        {
                            throw contract.Violated($"{verbs.Story}\n  and then an exception came:\n{error}", error);
                        }
                    },
                    cancel
                )
        );

    public static IEnumerable<ContractTest> Of(StoreContract contract)
    {
        ContractTest Test(string name, string sentence, Func<Verbs, Task> body) =>
            Example(contract, name, sentence, body);

        yield return Test(
            "insert and load",
            "The record as last written.",
            async s =>
            {
                await s.Insert(Record("a", subject: "ada"), WriteResult.Written);
                await s.Loads(Record("A"), exists: false);
                await s.Loads(Record("b"), exists: false);
            }
        );
        yield return Test(
            "fields at their limits",
            "The record as last written.",
            async s =>
            {
                var longId = new string('x', 63) + "_";
                StoredRecord[] records =
                [
                    Record(longId, subject: string.Concat(Enumerable.Repeat("ü", 512)), operation: long.MinValue),
                    Record("-", body: [], operation: long.MaxValue),
                    Record("big", body: new byte[65_536], kind: RecordKind.Unconfirmed),
                    Record("ended", kind: RecordKind.Ended, subject: "日本 \" ' { } $ . : \0 *"),
                    new(
                        "far",
                        1,
                        RecordKind.Live,
                        Start,
                        DateTimeOffset.MaxValue.ToUniversalTime(),
                        null,
                        0,
                        new byte[] { 0 }
                    ),
                    new("tick", 1, RecordKind.Live, Start.AddTicks(1), Start.AddTicks(3), "s", 1, new byte[] { 1 }),
                ];
                Random.Shared.NextBytes(System.Runtime.InteropServices.MemoryMarshal.AsMemory(records[2].Body).Span);
                foreach (var record in records)
                    await s.Insert(record, WriteResult.Written);
                foreach (var record in records)
                    await s.Loads(record);
            }
        );
        yield return Test(
            "a body that is a part of an array",
            "The record as last written.",
            async s =>
            {
                // What lies around it is no part of the record.
                var around = new byte[48];
                Random.Shared.NextBytes(around);

                StoredRecord Part(string id, long version, int start, int length) =>
                    new(id, version, RecordKind.Live, Start, At(30), "ada", version, around.AsMemory(start, length));

                foreach (var (start, length) in ((int, int)[])[(0, 48), (0, 5), (43, 5), (7, 5), (3, 0)])
                {
                    var id = $"from-{start}-{length}";
                    await s.Insert(Part(id, 1, start, length), WriteResult.Written);
                    await s.Replace(Part(id, 2, start, length), 1, WriteResult.Written);
                }
            }
        );
        yield return Test(
            "an id is inserted once",
            "Written only if the id is absent; else Conflict, also when a tombstone has the id.",
            async s =>
            {
                var first = Record("a", kind: RecordKind.Ended, subject: "ada");
                await s.Insert(first, WriteResult.Written);
                await s.Insert(Record("a", version: 9), WriteResult.Conflict);
                await s.Loads(first);
            }
        );
        yield return Test(
            "replace needs the stored version, and never creates",
            "Written only if the stored version is expected; else Conflict, or Absent. Never creates.",
            async s =>
            {
                await s.Replace(Record("a", 2), 1, WriteResult.Absent);
                await s.Loads(Record("a"), exists: false);
                var first = Record("a");
                await s.Insert(first, WriteResult.Written);
                await s.Replace(Record("a", 3), 2, WriteResult.Conflict);
                await s.Replace(Record("a", 1), 0, WriteResult.Conflict);
                await s.Loads(first);
                var second = Record("a", 2, subject: "ada", due: 20);
                await s.Replace(second, 1, WriteResult.Written);
                await s.Replace(Record("a", 2), 1, WriteResult.Conflict);
                await s.Loads(second);
                await s.Remove("a");
                await s.Replace(Record("a", 3), 2, WriteResult.Absent);
                await s.Loads(second, exists: false);
            }
        );
        yield return Test(
            "versions are compared whole",
            "Written only if the stored version is expected.",
            async s =>
            {
                // Numbers that a double, or a string, would take for one another.
                var big = (1L << 53) + 1;
                await s.Insert(Record("a", big), WriteResult.Written);
                await s.Replace(Record("a", big), big - 1, WriteResult.Conflict);
                await s.Replace(Record("a", big + 1), big, WriteResult.Written);
            }
        );
        yield return Test(
            "a version is kept as it is given",
            "Whoever writes numbers the versions: while sessions move between two stores there are negative ones, and a replace may go back.",
            async s =>
            {
                var staged = Record("a", -77, RecordKind.Ended);
                await s.Insert(staged, WriteResult.Written);
                await s.Loads(staged);
                var moved = Record("a", 5, subject: "ada");
                await s.Replace(moved, 77, WriteResult.Conflict);
                await s.Replace(moved, -77, WriteResult.Written);
                await s.Loads(moved);
                var fenced = Record("a", -5, subject: "ada");
                await s.Replace(fenced, 5, WriteResult.Written);
                await s.Loads(fenced);
            }
        );
        yield return Test(
            "a replace keeps the later time of the last request",
            "The later LastSeen of the stored and the new record is kept.",
            async s =>
            {
                await s.Insert(Record("a", seen: 5), WriteResult.Written);
                await s.Replace(Record("a", 2, seen: 3, operation: 7), 1, WriteResult.Written);
                await s.Loads(Record("a", 2, seen: 5, operation: 7));
                await s.Replace(Record("a", 3, seen: 9, operation: 8), 2, WriteResult.Written);
                await s.Loads(Record("a", 3, seen: 9, operation: 8));
            }
        );
        yield return Test(
            "a record past its time is there",
            "Whatever the clock or the store's own time-to-live says: a record is there until it is removed.",
            async s =>
            {
                var past = new StoredRecord(
                    "a",
                    1,
                    RecordKind.Live,
                    DateTimeOffset.UtcNow.AddHours(-3),
                    DateTimeOffset.UtcNow.AddHours(-2),
                    "ada",
                    1,
                    new byte[] { 1 }
                );
                await s.Insert(past, WriteResult.Written);
                await Task.Delay(1500);
                await s.Loads(past);
                var again = new StoredRecord("a", 2, past.Kind, past.LastSeen, past.DueAt, "ada", 2, new byte[] { 2 });
                await s.Replace(again, 1, WriteResult.Written);
                await Task.Delay(1500);
                await s.Loads(again);
            }
        );
        yield return Test(
            "remove is idempotent, and frees the id",
            "Removes the record and its index entries. Idempotent.",
            async s =>
            {
                await s.Remove("never");
                await s.Insert(Record("a", subject: "ada"), WriteResult.Written);
                await s.Remove("a");
                await s.Remove("a");
                await s.Loads(Record("a"), exists: false);
                await s.Insert(Record("a"), WriteResult.Written);
            }
        );
        yield return Test(
            "the removal of a version removes nothing else",
            "Removes the record and its index entries if it still has this version and this operation. Idempotent.",
            async s =>
            {
                // Not every store can: SessionStore.removeVersion asks the others in two steps.
                if (!s.CanRemoveVersion)
                    return;

                var first = Record("a", subject: "ada", operation: 7, due: 1);
                await s.RemoveVersion("a", 1, 7);
                await s.Insert(first, WriteResult.Written);
                await s.RemoveVersion("a", 2, 7);
                await s.RemoveVersion("a", 1, 8);
                await s.RemoveVersion("b", 1, 7);
                await s.Stops(store =>
                    ((IRemovesVersion)store).RemoveVersion("a", 1, 7, new CancellationToken(canceled: true)).AsTask()
                );
                await s.Loads(first);
                var second = Record("a", 2, RecordKind.Ended, subject: "ada", operation: long.MinValue, due: 2);
                await s.Replace(second, 1, WriteResult.Written);
                await s.RemoveVersion("a", 1, 7);
                await s.RemoveVersion("a", 2, long.MinValue + 1);
                await s.Loads(second);
                await s.RemoveVersion("a", 2, long.MinValue);
                await s.Loads(second, exists: false);
                if (contract.Options.Lists)
                {
                    await s.BySubject("ada", []);
                    await s.Enumerates([]);
                    await s.Claims(99, 10, []);
                    await s.Counts(0);
                }

                // The id is given out again: whoever removes the record before it is late.
                var next = Record("a", 2, subject: "ada", operation: 9);
                await s.Insert(next, WriteResult.Written);
                await s.RemoveVersion("a", 2, long.MinValue);
                await s.Loads(next);
                await s.Replace(Record("a", 3, operation: 10), 2, WriteResult.Written);
                await s.RemoveVersion("a", 3, 10);
                await s.Replace(Record("a", 4), 3, WriteResult.Absent);
            }
        );
        yield return Test(
            "a cancelled call changes nothing",
            "A cancelled token stops an operation that has not been sent yet.",
            async s =>
            {
                var first = Record("a", subject: "ada");
                await s.Insert(first, WriteResult.Written);
                var cancelled = new CancellationToken(canceled: true);
                await s.Stops(store => store.Insert(Record("b"), cancelled).AsTask());
                await s.Stops(store => store.Replace(Record("a", 2), 1, cancelled).AsTask());
                await s.Stops(store => store.Remove("a", cancelled).AsTask());
                if (contract.Options.Touches)
                    await s.Stops(store => store.Touch("a", At(9), cancelled).AsTask());
                await s.Loads(first);
                if (!contract.Options.Lists)
                    return;
                await s.Stops(store => store.Reschedule("a", 1, At(90), cancelled).AsTask());
                await s.Stops(store => store.ClaimOverdue(At(40), Lease, 10, cancelled).AsTask());
                await s.Loads(first);
                await s.Claims(40, 10, ["a"]);
            }
        );
        if (contract.Options.Touches)
        {
            yield return Test(
                "touch moves one thing, one way",
                "Moves LastSeen forward, never back, and nothing else. Does nothing on a tombstone or an absent record.",
                async s =>
                {
                    await s.Insert(Record("a", seen: 1, operation: 1, subject: "ada"), WriteResult.Written);
                    await s.Touch("a", 3);
                    await s.ComesToLoad(Record("a", seen: 3, operation: 1, subject: "ada"));
                    await s.Touch("a", 2);
                    await s.Touch("none", 3);
                    var ended = Record("e", kind: RecordKind.Ended, seen: 1);
                    await s.Insert(ended, WriteResult.Written);
                    await s.Touch("e", 3);
                    // Behind the touches: one that went too far would have taken effect by now.
                    await s.Touch("a", 4);
                    await s.ComesToLoad(Record("a", seen: 4, operation: 1, subject: "ada"));
                    await s.Loads(Record("none"), exists: false);
                    await s.Loads(ended);
                }
            );
            yield return Test(
                "touch is kept to the tick",
                "Like every time here it is kept to the tick of 100 ns.",
                async s =>
                {
                    StoredRecord Seen(long version, long ticks) =>
                        new("a", version, RecordKind.Live, Start.AddTicks(ticks), At(30), null, version, new byte[1]);

                    await s.Insert(Seen(1, 1_234_567), WriteResult.Written);
                    await s.Touch("a", Start.AddTicks(1_234_568));
                    await s.ComesToLoad(Seen(1, 1_234_568));
                    // One tick earlier: the touch stays.
                    await s.Replace(Seen(2, 1_234_567), 1, WriteResult.Written);
                    await s.Loads(Seen(2, 1_234_568));
                    await s.Replace(Seen(3, 1_234_569), 2, WriteResult.Written);
                }
            );
        }
    }
}
