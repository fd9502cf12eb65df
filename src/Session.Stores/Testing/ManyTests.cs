using Session.Engine;
using static Session.Stores.Testing.Sample;

namespace Session.Stores.Testing;

/// <summary>Several records by one command, where a store can do that.</summary>
internal static class ManyTests
{
    private const int Most = 500;

    public static IEnumerable<ContractTest> Of(StoreContract contract)
    {
        yield return Sentences.Example(
            contract,
            "several at once are what each is by itself",
            "Those that are there, in any order; each as by Load. Asked for at most 500 ids at once.",
            async s =>
            {
                // Not every store can: SessionStore.loadMany asks the others for one after another.
                if (!s.ReadsMany)
                    return;

                await s.LoadsMany(["a", "b"], []);
                var longest = new string('x', 63) + "_";
                List<StoredRecord> records =
                [
                    Record("a", subject: "ada"),
                    Record("A", subject: "日本 \" ' { } $ . : \0 *"),
                    Record("-", body: []),
                    Record("ended", kind: RecordKind.Ended, subject: "ada"),
                    Record("new", kind: RecordKind.Unconfirmed),
                    Record("overdue", due: -99),
                    Record(longest, body: new byte[65_536]),
                ];
                for (var i = records.Count; i < Most / 2; i++)
                    records.Add(Record($"r-{i}"));
                foreach (var record in records)
                    await s.Insert(record, WriteResult.Written);
                var absent = Enumerable.Range(0, Most - records.Count).Select(i => $"absent-{i}");
                await s.LoadsMany([.. absent, .. records.Select(record => record.Id)], records);

                var second = Record("a", 2, subject: "bob");
                await s.Replace(second, 1, WriteResult.Written);
                await s.Remove("A");
                await s.LoadsMany(["A", "a", "none", "-"], [second, records[2]]);
                await s.LoadsMany(["none"], []);
            }
        );
    }
}
