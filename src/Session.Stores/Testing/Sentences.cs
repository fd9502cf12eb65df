using Session.Engine;
using static Session.Stores.Testing.Sample;

namespace Session.Stores.Testing;

/// <summary>Each sentence of the port, by example.</summary>
internal static class Sentences
{
    public static IEnumerable<ContractTest> Of(StoreContract contract)
    {
        ContractTest Test(string name, string sentence, Func<Verbs, Task> body) =>
            new(name, sentence, cancel => contract.On(store => body(new Verbs(store, contract, cancel)), cancel));

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
                await s.Loads(first);
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
        }
        if (!contract.Options.Lists)
            yield break;

        yield return Test(
            "the subject index follows the record",
            "The records of a subject, each once. Never what never was.",
            async s =>
            {
                await s.Insert(Record("a"), WriteResult.Written);
                await s.BySubject("ada", []);
                await s.Replace(Record("a", 2, subject: "ada"), 1, WriteResult.Written);
                await s.BySubject("ada", ["a"]);
                await s.Replace(Record("a", 3, subject: "bob"), 2, WriteResult.Written);
                await s.BySubject("ada", []);
                await s.BySubject("bob", ["a"]);
                await s.BySubject("BOB", []);
                await s.Replace(Record("a", 4, kind: RecordKind.Ended, subject: "bob"), 3, WriteResult.Written);
                await s.BySubject("bob", ["a"]);
                await s.Remove("a");
                await s.BySubject("bob", []);
            }
        );
        yield return Test(
            "a refused write leaves no trace in the indexes",
            "Nothing was changed.",
            async s =>
            {
                await s.Insert(Record("a", subject: "ada", due: 5), WriteResult.Written);
                await s.Insert(Record("a", subject: "bob", due: 1), WriteResult.Conflict);
                await s.Replace(
                    Record("a", 7, kind: RecordKind.Ended, subject: "bob", due: 1),
                    6,
                    WriteResult.Conflict
                );
                await s.Replace(Record("x", 2, subject: "bob", due: 1), 1, WriteResult.Absent);
                await s.BySubject("bob", []);
                await s.BySubject("ada", ["a"]);
                await s.Enumerates(["a"]);
                await s.Claims(4, 10, []);
                await s.Claims(5, 10, ["a"]);
            }
        );
        yield return Test(
            "pages hold every record once, in the order of ids",
            "Each once, in the order of their ids; after: null, or Next of the page before.",
            async s =>
            {
                string[] ids = [.. Enumerable.Range(1, 25).Select(i => $"id-{i:D2}"), "A", "_", "z", "-", "Z9"];
                foreach (var id in ids.Reverse())
                    await s.Insert(Record(id, subject: "ada"), WriteResult.Written);
                var sorted = ids.Order(StringComparer.Ordinal).ToArray();
                foreach (var limit in (int[])[1, 2, 7, 29, 30, 31, 100])
                {
                    await s.BySubject("ada", sorted, limit);
                    await s.Enumerates(sorted, limit);
                }
            }
        );
        yield return Test(
            "a page goes on behind what was removed",
            "After: null, or Next of the page before.",
            async s =>
            {
                foreach (var id in (string[])["a", "b", "c", "d"])
                    await s.Insert(Record(id, subject: "ada"), WriteResult.Written);
                await s.GoesOn("b");
            }
        );
        yield return Test(
            "tombstones are not counted, but loaded and listed",
            "How many records are no tombstones.",
            async s =>
            {
                await s.Insert(Record("a"), WriteResult.Written);
                await s.Insert(Record("b", kind: RecordKind.Unconfirmed), WriteResult.Written);
                await s.Insert(Record("c", kind: RecordKind.Ended), WriteResult.Written);
                await s.Counts(2);
                await s.Enumerates(["a", "b", "c"]);
                await s.Replace(Record("a", 2, kind: RecordKind.Ended), 1, WriteResult.Written);
                await s.Counts(1);
                await s.Remove("b");
                await s.Counts(0);
            }
        );
        yield return Test(
            "overdue records, longest overdue first",
            "Up to limit records whose DueAt has come, longest overdue first.",
            async s =>
            {
                foreach (var (id, due) in ((string, int)[])[("a", 3), ("b", 1), ("c", 2), ("d", 4)])
                    await s.Insert(Record(id, due: due), WriteResult.Written);
                await s.Claims(1 - 1.0 / TimeSpan.TicksPerMinute, 10, []);
                await s.Claims(3, 2, ["b", "c"]);
                await s.Claims(3, 10, ["a"]);
                await s.Claims(3, 10, []);
            }
        );
        yield return Test(
            "a claim lasts as long as its lease",
            "Until lease is over no other caller on any node gets it.",
            async s =>
            {
                await s.Insert(Record("a", due: 1), WriteResult.Written);
                await s.Claims(1, 10, ["a"]);
                await s.Claims(3 - 1.0 / TimeSpan.TicksPerMinute, 10, []);
                await s.Claims(3, 10, ["a"]);
            }
        );
        yield return Test(
            "a replaced record is due when it says so",
            "Or the record is replaced or rescheduled.",
            async s =>
            {
                await s.Insert(Record("a", due: 1), WriteResult.Written);
                await s.Claims(1, 10, ["a"]);
                await s.Replace(Record("a", 2, due: 2), 1, WriteResult.Written);
                await s.Claims(2 - 1.0 / TimeSpan.TicksPerMinute, 10, []);
                await s.Claims(2, 10, ["a"]);
                await s.Replace(Record("a", 3, due: 50), 2, WriteResult.Written);
                await s.Claims(49, 10, []);
                await s.Claims(50, 10, ["a"]);
            }
        );
        yield return Test(
            "reschedule moves what is still at this version",
            "Gives a claimed record, still at this version, another place in the due index. Nothing else changes.",
            async s =>
            {
                var first = Record("a", due: 1);
                await s.Insert(first, WriteResult.Written);
                await s.Claims(1, 10, ["a"]);
                await s.Reschedule("a", 7, 1);
                await s.Reschedule("none", 1, 1);
                await s.Claims(2, 10, []);
                await s.Reschedule("a", 1, 2);
                await s.Loads(first);
                await s.Claims(2, 10, ["a"]);
                await s.Reschedule("a", 1, 9);
                await s.Claims(8, 10, []);
                await s.Claims(9, 10, ["a"]);
                await s.Loads(Record("none"), exists: false);
            }
        );
        yield return Test(
            "indexes do not grow",
            "Removes the record and its index entries.",
            async s =>
            {
                for (var round = 0; round < 30; round++)
                {
                    var id = $"id-{round}";
                    await s.Insert(Record(id, subject: "ada", due: 1), WriteResult.Written);
                    await s.Replace(Record(id, 2, subject: "bob", due: 2), 1, WriteResult.Written);
                    await s.Replace(
                        Record(id, 3, kind: RecordKind.Ended, subject: "bob", due: 3),
                        2,
                        WriteResult.Written
                    );
                    await s.Remove(id);
                }
                await s.BySubject("ada", []);
                await s.BySubject("bob", []);
                await s.Enumerates([]);
                await s.Claims(99, 100, []);
                await s.Counts(0);
            }
        );
    }
}
