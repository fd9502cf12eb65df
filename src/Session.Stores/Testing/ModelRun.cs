using Session.Engine;
using static Session.Stores.Testing.Sample;

namespace Session.Stores.Testing;

/// <summary>A store and the model, side by side.</summary>
internal sealed class ModelRun(ISessionStore store, bool lists, TimeSpan patience, CancellationToken cancel)
{
    private readonly Model _model = new();
    private readonly List<string> _story = [];

    // As they were loaded last: what a replace was decided on. Some are outdated by now, as those of other clients would be.
    private readonly Dictionary<string, RecordHead> _heads = new(StringComparer.Ordinal);
    private DateTimeOffset _now = Start;
    private long _writes;

    public string Story => string.Join('\n', _story.Select((line, i) => $"  {i + 1}. {line}"));

    /// <summary>False when the answers differ, or the store throws.</summary>
    public async Task<bool> Does(Command command)
    {
        string expected,
            actual;
        try
        {
            (expected, actual) = await Answers(command).ConfigureAwait(false);
        }
        catch (Exception error) when (!cancel.IsCancellationRequested)
        {
            return Threw($"{command}", error);
        }

        _story.Add(
            expected == actual
                ? $"{command} -> {actual}"
                : $"{command}\n       model: {expected}\n       store: {actual}"
        );
        return expected == actual;
    }

    /// <summary>Removes all that is there, for the next sequence. False when something is left, or the store throws.</summary>
    public async Task<bool> Clears()
    {
        try
        {
            return await RemovesAll().ConfigureAwait(false);
        }
        catch (Exception error) when (!cancel.IsCancellationRequested)
        {
            return Threw("remove everything, and look whether something is left", error);
        }
    }

    private bool Threw(string what, Exception error)
    {
        _story.Add($"{what}\n       store: {error}");
        return false;
    }

    private async Task<bool> RemovesAll()
    {
        foreach (var id in _model.All().ToArray())
        {
            _model.Remove(id);
            await store.Remove(id, cancel).ConfigureAwait(false);
            _story.Add($"remove {id}");
            if (await store.Load(id, cancel).ConfigureAwait(false) is { } left)
                return Left($"load {id}", Show(left));
        }
        if (!lists)
            return true;

        var count = await store.Count(cancel).ConfigureAwait(false);
        if (count != 0)
            return Left("count", $"{count}");
        foreach (var subject in (string[])["ada", "bob"])
            if (
                await Pages(after => store.BySubject(subject, after, 5, cancel)).ConfigureAwait(false)
                is not "[]"
                    and var some
            )
                return Left($"by subject {subject}", some);
        if (await Pages(after => store.Enumerate(after, 5, cancel)).ConfigureAwait(false) is not "[]" and var all)
            return Left("enumerate", all);
        var overdue = await store.ClaimOverdue(_now.AddYears(1), Lease, 10, cancel).ConfigureAwait(false);
        return overdue.Count == 0 || Left("claim", Join(overdue.Select(record => record.Id)));

        bool Left(string what, string answer)
        {
            _story.Add($"{what}, after everything was removed\n       store: {answer}");
            return false;
        }
    }

    private async Task<(string Expected, string Actual)> Answers(Command command)
    {
        var id = command.Id;
        var stored = _model.Load(id);
        var version = (stored?.Version ?? 0) + command.Off;
        switch (command.Verb)
        {
            case Verb.Insert:
                var first = New(command, 1);
                return ($"{_model.Insert(first)}", $"{await store.Insert(first, cancel).ConfigureAwait(false)}");
            case Verb.Replace:
                // The engine says what it has decided on; other programs need not.
                if (command.Body % 2 == 0)
                    await Load(id).ConfigureAwait(false);
                var next = New(command, version + 1);
                if (_heads.TryGetValue(id, out var head) && head.Version == version)
                    next = next.BasedOn(head);
                return (
                    $"{_model.Replace(next, version)}",
                    $"{await store.Replace(next, version, cancel).ConfigureAwait(false)}"
                );
            case Verb.Load:
                var withDue = !_model.IsMoved(id);
                return (Show(stored, withDue), Show(await Load(id).ConfigureAwait(false), withDue));
            case Verb.Touch:
                var at = Start.AddTicks(command.Ticks);
                _model.Touch(id, at);
                await store.Touch(id, at, cancel).ConfigureAwait(false);
                return (Show(_model.Load(id), !_model.IsMoved(id)), await Settled(id).ConfigureAwait(false));
            case Verb.Remove:
                _model.Remove(id);
                await store.Remove(id, cancel).ConfigureAwait(false);
                return ("done", "done");
            case Verb.RemoveVersion:
                var operation = unchecked((stored?.Operation ?? 0) + (command.IsOfAnother ? 1 : 0));
                _model.RemoveVersion(id, version, operation);
                await ((IRemovesVersion)store).RemoveVersion(id, version, operation, cancel).ConfigureAwait(false);
                var isLeft = await store.Load(id, cancel).ConfigureAwait(false) is not null;
                return (_model.Load(id) is null ? "gone" : "left", isLeft ? "left" : "gone");
            case Verb.BySubject:
                var subject = command.Subject ?? "ada";
                return (
                    Join(_model.BySubject(subject)),
                    await Pages(after => store.BySubject(subject, after, command.Limit, cancel)).ConfigureAwait(false)
                );
            case Verb.Enumerate:
                return (
                    Join(_model.All()),
                    await Pages(after => store.Enumerate(after, command.Limit, cancel)).ConfigureAwait(false)
                );
            case Verb.Count:
                return ($"{_model.Count()}", $"{await store.Count(cancel).ConfigureAwait(false)}");
            case Verb.Claim:
                _now = _now.AddTicks(command.Ticks / 4);
                var claimed = await store.ClaimOverdue(_now, Lease, command.Limit, cancel).ConfigureAwait(false);
                var ids = claimed.Select(record => record.Id).ToArray();
                return (Join(_model.Claim(_now, Lease, command.Limit, ids)), Join(Names(claimed)));
            case Verb.Reschedule:
                var due = _now.AddTicks(command.Ticks);
                _model.Reschedule(id, version, due);
                await store.Reschedule(id, version, due, cancel).ConfigureAwait(false);
                return ("done", "done");
            default:
                throw new InvalidOperationException($"{command.Verb}");
        }
    }

    private async Task<StoredRecord?> Load(string id)
    {
        var found = await store.Load(id, cancel).ConfigureAwait(false);
        if (found is not null)
            _heads[id] = found.Head;
        return found;
    }

    /// <summary>A touch may take effect later: what the record becomes in a while.</summary>
    private async Task<string> Settled(string id)
    {
        var withDue = !_model.IsMoved(id);
        var expected = Show(_model.Load(id), withDue);
        var started = System.Diagnostics.Stopwatch.GetTimestamp();
        while (true)
        {
            var actual = Show(await store.Load(id, cancel).ConfigureAwait(false), withDue);
            if (actual == expected || System.Diagnostics.Stopwatch.GetElapsedTime(started) > patience)
                return actual;
            await Task.Delay(5, cancel).ConfigureAwait(false);
        }
    }

    private StoredRecord New(Command command, long version)
    {
        var body = new byte[command.Body % 64];
        new Random(command.Body).NextBytes(body);
        // Each due time of a run is another one, so that the order of claims is fixed.
        var due = _now.AddTicks(command.Ticks + _writes++);
        return new StoredRecord(
            command.Id,
            version,
            (RecordKind)command.Kind,
            Start.AddTicks(command.Ticks / 2),
            due,
            command.Subject,
            command.Body,
            body
        );
    }

    private IEnumerable<string> Names(IEnumerable<StoredRecord> records) =>
        records.Select(record => Named(record, _model.Load(record.Id)));

    private async Task<string> Pages(Func<string?, ValueTask<StoredPage>> read)
    {
        var ids = new List<string>();
        string? after = null;
        for (var pages = 0; pages < 1000; pages++)
        {
            var page = await read(after).ConfigureAwait(false);
            ids.AddRange(Names(page.Records));
            if (page.Next is null)
                return Join(ids);
            after = page.Next;
        }
        return "pages without an end";
    }

    private static string Join(IEnumerable<string> ids) => "[" + string.Join(' ', ids) + "]";
}
