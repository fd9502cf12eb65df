using Session.Engine;
using static Session.Stores.Testing.Sample;

namespace Session.Stores.Testing;

/// <summary>Calls a store and compares its answers; keeps the story for the message.</summary>
internal sealed class Verbs(ISessionStore store, StoreContract contract, CancellationToken cancel)
{
    private readonly List<string> _story = [];
    private readonly HashSet<string> _moved = new(StringComparer.Ordinal);
    private readonly Dictionary<string, StoredRecord> _written = new(StringComparer.Ordinal);

    /// <summary>Everything that was done so far.</summary>
    public string Story => string.Join('\n', _story.Select((line, i) => $"  {i + 1}. {line}"));

    public bool CanRemoveVersion => store is IRemovesVersion;

    public async Task Insert(StoredRecord record, WriteResult expected)
    {
        var answer = await store.Insert(record, cancel).ConfigureAwait(false);
        Same($"insert {Show(record)}", expected.ToString(), answer.ToString());
        if (answer == WriteResult.Written)
            await Stored(record).ConfigureAwait(false);
    }

    public async Task Replace(StoredRecord record, long version, WriteResult expected)
    {
        var answer = await store.Replace(record, version, cancel).ConfigureAwait(false);
        Same($"replace {Show(record)} expecting v{version}", expected.ToString(), answer.ToString());
        if (answer == WriteResult.Written)
            await Stored(record).ConfigureAwait(false);
    }

    private async Task Stored(StoredRecord record)
    {
        if (_written.TryGetValue(record.Id, out var before))
            record = record.SeenAt(before.LastSeen);
        _written[record.Id] = record;
        _moved.Remove(record.Id);
        await Loads(record).ConfigureAwait(false);
    }

    public async Task Loads(StoredRecord record, bool exists = true)
    {
        var found = await store.Load(record.Id, cancel).ConfigureAwait(false);
        var withDue = !_moved.Contains(record.Id);
        Same($"load {record.Id}", Show(exists ? record : null, withDue), Show(found, withDue));
    }

    public bool ReadsMany => store is IReadsMany;

    public async Task LoadsMany(IReadOnlyList<string> ids, IReadOnlyList<StoredRecord> expected)
    {
        var found = await ((IReadsMany)store).LoadMany(ids, cancel).ConfigureAwait(false);
        Same($"load {ids.Count} at once", Lines(expected), Lines(found));

        static string Lines(IEnumerable<StoredRecord> records) =>
            string.Join('\n', records.Select(record => Show(record)).Order(StringComparer.Ordinal));
    }

    /// <summary>A touch may take effect later: within five seconds.</summary>
    public async Task ComesToLoad(StoredRecord record)
    {
        StoredRecord? found = null;
        for (var i = 0; i < 250; i++)
        {
            found = await store.Load(record.Id, cancel).ConfigureAwait(false);
            if (found?.LastSeen >= record.LastSeen)
                break;
            await Task.Delay(20, cancel).ConfigureAwait(false);
        }
        Same($"load {record.Id} after a while", Show(record), Show(found));
    }

    public Task Touch(string id, double at) => Touch(id, At(at));

    public async Task Touch(string id, DateTimeOffset at)
    {
        _story.Add($"touch {id} at {at:HH:mm:ss.fffffff}");
        await store.Touch(id, at, cancel).ConfigureAwait(false);
        if (_written.TryGetValue(id, out var before) && before.Kind != RecordKind.Ended)
            _written[id] = before.SeenAt(at);
    }

    public async Task Remove(string id)
    {
        _story.Add($"remove {id}");
        await store.Remove(id, cancel).ConfigureAwait(false);
        _written.Remove(id);
    }

    public async Task RemoveVersion(string id, long version, long operation)
    {
        _story.Add($"remove {id} if it is v{version} by {operation}");
        await ((IRemovesVersion)store).RemoveVersion(id, version, operation, cancel).ConfigureAwait(false);
        if (_written.TryGetValue(id, out var stored) && (stored.Version, stored.Operation) == (version, operation))
            _written.Remove(id);
    }

    public async Task Stops(Func<ISessionStore, Task> call)
    {
        var stopped = false;
        try
        {
            await call(store).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            stopped = true;
        }
        Same("a call with a cancelled token", "stopped", stopped ? "stopped" : "went on");
    }

    public async Task BySubject(string subject, string[] expected, int limit = 100, string? after = null) =>
        Same(
            $"by subject {subject}, {limit} a page{From(after)}",
            string.Join(' ', expected),
            string.Join(
                ' ',
                await Pages(from => store.BySubject(subject, from, limit, cancel), limit, after).ConfigureAwait(false)
            )
        );

    public async Task Enumerates(string[] expected, int limit = 100, string? after = null) =>
        Same(
            $"enumerate, {limit} a page{From(after)}",
            string.Join(' ', expected),
            string.Join(
                ' ',
                await Pages(from => store.Enumerate(from, limit, cancel), limit, after).ConfigureAwait(false)
            )
        );

    private static string From(string? after) => after is null ? "" : $", after {after}";

    public async Task GoesOn(string removed)
    {
        var first = await store.Enumerate(null, 2, cancel).ConfigureAwait(false);
        var firstOf = await store.BySubject("ada", null, 2, cancel).ConfigureAwait(false);
        await Remove(removed).ConfigureAwait(false);
        var rest = await store.Enumerate(first.Next, 9, cancel).ConfigureAwait(false);
        var restOf = await store.BySubject("ada", firstOf.Next, 9, cancel).ConfigureAwait(false);
        Same("the next page", "c d", string.Join(' ', rest.Records.Select(r => r.Id)));
        Same("the next page of the subject", "c d", string.Join(' ', restOf.Records.Select(r => r.Id)));
    }

    public async Task Counts(long expected) =>
        Same("count", $"{expected}", $"{await store.Count(cancel).ConfigureAwait(false)}");

    public Task Claims(double now, int limit, string[] expected) => Claims(At(now), limit, expected);

    public async Task Claims(DateTimeOffset now, int limit, string[] expected)
    {
        var claimed = await store.ClaimOverdue(now, Lease, limit, cancel).ConfigureAwait(false);
        _moved.UnionWith(claimed.Select(record => record.Id));
        Same($"claim {limit} at {now:HH:mm:ss.fffffff}", string.Join(' ', expected), string.Join(' ', Names(claimed)));
    }

    public Task Reschedule(string id, long version, double due) => Reschedule(id, version, At(due));

    public async Task Reschedule(string id, long version, DateTimeOffset due)
    {
        _story.Add($"reschedule {id} v{version} to {due:HH:mm:ss.fffffff}");
        await store.Reschedule(id, version, due, cancel).ConfigureAwait(false);
        _moved.Add(id);
    }

    private async Task<List<string>> Pages(Func<string?, ValueTask<StoredPage>> read, int limit, string? after = null)
    {
        var ids = new List<string>();
        for (var pages = 0; pages < 10_000; pages++)
        {
            var page = await read(after).ConfigureAwait(false);
            if (page.Records.Count > limit)
                Same("a page", $"at most {limit}", $"{page.Records.Count}");
            ids.AddRange(Names(page.Records));
            if (page.Next is null)
                return ids;
            after = page.Next;
        }
        throw contract.Violated("The pages do not end.");
    }

    private IEnumerable<string> Names(IEnumerable<StoredRecord> records) =>
        records.Select(record => Named(record, _written.GetValueOrDefault(record.Id)));

    private void Same(string what, string expected, string actual)
    {
        _story.Add($"{what} -> {actual}");
        if (expected != actual)
            throw contract.Violated($"{Story}\n     expected: {expected}");
    }
}
