using Session.Engine;
using static Session.Stores.Testing.Sample;

namespace Session.Stores.Testing;

/// <summary>What the port says of listings, counts and claims, sentence by sentence: one example for each.</summary>
internal static class ListingSentences
{
    public static IEnumerable<ContractTest> Of(StoreContract contract)
    {
        ContractTest Test(string name, string sentence, Func<Verbs, Task> body) =>
            Sentences.Example(contract, name, sentence, body);

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
            "a listing without a limit holds everything",
            "Up to limit records.",
            async s =>
            {
                string[] ids = ["a", "b", "c", "d", "e"];
                foreach (var (id, due) in ids.Zip([1, 2, 3, 3.25, 3.5]))
                    await s.Insert(Record(id, subject: "ada", due: due), WriteResult.Written);
                foreach (var limit in (int[])[int.MaxValue, int.MaxValue - 1])
                {
                    await s.BySubject("ada", ids, limit);
                    await s.Enumerates(ids, limit);
                    await s.BySubject("ada", ["d", "e"], limit, after: "c");
                    await s.Enumerates(["d", "e"], limit, after: "c");
                }
                await s.Claims(2, int.MaxValue - 1, ["a", "b"]);
                await s.Claims(3.5, int.MaxValue, ["c", "d", "e"]);
            }
        );
        yield return Test(
            "subjects are compared by their bytes",
            "Any Unicode text of at most 1,024 bytes of UTF-8, U+0000 included, compared by its bytes.",
            async s =>
            {
                var longest = string.Concat(Enumerable.Repeat("😀", 255));
                string[] subjects =
                [
                    "a",
                    "A",
                    "a ",
                    "a\0",
                    "a\0b",
                    "a\0c",
                    "\0",
                    // The same text for who normalizes, folds or compares by a culture.
                    "\u00e9",
                    "e\u0301",
                    "ss",
                    "\u00df",
                    "a\u200d",
                    // Beyond the basic plane: alike in their first half, or in their second.
                    "\U0001F600",
                    "\U0001F601",
                    "\U0001FA00",
                    "\ufffd",
                    longest + "abcd",
                    longest + "abce",
                ];
                var records = subjects.Select((subject, i) => Record($"s-{i}", subject: subject)).ToArray();
                foreach (var record in records)
                    await s.Insert(record, WriteResult.Written);
                foreach (var record in records)
                {
                    await s.Loads(record);
                    await s.BySubject(record.Subject!, [record.Id]);
                }
                await s.BySubject("", []);
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
                // Replaced meanwhile: a reschedule of the version before does nothing.
                await s.Replace(Record("a", 2, due: 20), 1, WriteResult.Written);
                await s.Reschedule("a", 1, 12);
                await s.Claims(19, 10, []);
                await s.Claims(20, 10, ["a"]);
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
