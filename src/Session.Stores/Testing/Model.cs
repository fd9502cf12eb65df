using Session.Engine;

namespace Session.Stores.Testing;

/// <summary>What the port says, as a map: the pure model that a store is compared with.</summary>
internal sealed class Model
{
    private readonly SortedDictionary<string, (StoredRecord Record, DateTimeOffset Due)> _records = new(
        StringComparer.Ordinal
    );

    /// <summary>Whether a claim or a reschedule has moved it since it was written.</summary>
    public bool IsMoved(string id) => _records.TryGetValue(id, out var found) && found.Due != found.Record.DueAt;

    public StoredRecord? Load(string id) => _records.TryGetValue(id, out var found) ? found.Record : null;

    public WriteResult Insert(StoredRecord record)
    {
        if (_records.ContainsKey(record.Id))
            return WriteResult.Conflict;
        _records[record.Id] = (record, record.DueAt);
        return WriteResult.Written;
    }

    public WriteResult Replace(StoredRecord record, long expected)
    {
        if (Load(record.Id) is not { } stored)
            return WriteResult.Absent;
        if (stored.Version != expected)
            return WriteResult.Conflict;
        _records[record.Id] = (record.SeenAt(stored.LastSeen), record.DueAt);
        return WriteResult.Written;
    }

    public void Touch(string id, DateTimeOffset at)
    {
        if (_records.TryGetValue(id, out var found) && found.Record.Kind != RecordKind.Ended)
            _records[id] = (found.Record.SeenAt(at), found.Due);
    }

    public void Remove(string id) => _records.Remove(id);

    public void RemoveVersion(string id, long version, long operation)
    {
        if (Load(id) is { } stored && stored.Version == version && stored.Operation == operation)
            Remove(id);
    }

    public void Reschedule(string id, long version, DateTimeOffset due)
    {
        if (_records.TryGetValue(id, out var found) && found.Record.Version == version)
            _records[id] = (found.Record, due);
    }

    public IEnumerable<string> BySubject(string subject) =>
        _records.Values.Where(found => found.Record.Subject == subject).Select(found => found.Record.Id);

    public IEnumerable<string> All() => _records.Keys;

    public long Count() => _records.Values.LongCount(found => found.Record.Kind != RecordKind.Ended);

    /// <summary>What a claim hands out; of what is due at the same tick, any order, which is taken from the answer.</summary>
    public string[] Claim(DateTimeOffset now, TimeSpan lease, int limit, IReadOnlyList<string> answer)
    {
        int Place(string id)
        {
            for (var i = 0; i < answer.Count; i++)
                if (answer[i] == id)
                    return i;
            return int.MaxValue;
        }

        var claimed = _records
            .Values.Where(found => found.Due <= now)
            .OrderBy(found => found.Due)
            .ThenBy(found => Place(found.Record.Id))
            .Take(limit)
            .Select(found => found.Record)
            .ToArray();
        foreach (var record in claimed)
            _records[record.Id] = (record, now + lease);
        return [.. claimed.Select(record => record.Id)];
    }
}
