using Session.Engine;
using StackExchange.Redis;

namespace Session.Stores.Redis;

/// <summary>Many records at once, for looks at all sessions that something is open for.</summary>
internal sealed class ManyRecords(RedisLink link, RecordKeys keys, Records records)
{
    /// <summary>Those that are there: by one command, and in a Cluster by one for each primary.</summary>
    public async ValueTask<List<StoredRecord>> Load(IDatabase db, IReadOnlyList<string> ids)
    {
        if (!link.MayBeCluster)
            return await LoadTogether(db, ids).ConfigureAwait(false);

        var parts = ids.GroupBy(id => RedisLink.ServerOf(db, keys.Record(id)));
        var found = await Task.WhenAll(parts.Select(part => LoadFromOne(db, [.. part]))).ConfigureAwait(false);
        return [.. found.SelectMany(part => part)];
    }

    private async ValueTask<List<StoredRecord>> LoadTogether(IDatabase db, IReadOnlyList<string> ids)
    {
        RedisKey[] wanted = [.. ids.Select(keys.Record)];
        RedisValue[] values;
        try
        {
            values = await link.WithinDeadline(db.StringGetAsync(wanted, CommandFlags.DemandMaster))
                .ConfigureAwait(false);
        }
        catch (Exception error) when (Refusal.Is(error))
        {
            // A user that was given no more than a store needs without open connections.
            return await LoadSingly(db, ids).ConfigureAwait(false);
        }

        var found = new List<StoredRecord>(ids.Count);
        for (var i = 0; i < values.Length; i++)
            if ((byte[]?)values[i] is { } value)
                found.Add(RecordLayout.Read(ids[i], value));
        return found;
    }

    /// <summary>Of one primary: MGET takes keys of one slot only, and the records are spread over all of them.</summary>
    private async Task<List<StoredRecord>> LoadFromOne(IDatabase db, string[] ids)
    {
        RedisKey[] first = [keys.Record(ids[0])];
        RedisValue[] others = [.. ids[1..].Select(id => (RedisValue)(string?)keys.Record(id))];
        RedisResult[] values;
        try
        {
            var answer = await link.WithinDeadline(
                    db.ScriptEvaluateAsync(Scripts.LoadMany, first, others, CommandFlags.DemandMaster)
                )
                .ConfigureAwait(false);
            values = (RedisResult[])answer!;
        }
        catch (RedisServerException)
        {
            // Slots move to another primary, or this server lets a script read declared keys only.
            return await LoadSingly(db, ids).ConfigureAwait(false);
        }

        var found = new List<StoredRecord>(ids.Length);
        var missing = new List<string>();
        for (var i = 0; i < ids.Length; i++)
            if ((byte[]?)values[i] is { } value)
                found.Add(RecordLayout.Read(ids[i], value));
            else
                missing.Add(ids[i]);
        // What a primary does not know counts once the others say that the key is its own.
        if (missing.Count > 0)
            found.AddRange(await LoadSingly(db, missing).ConfigureAwait(false));
        return found;
    }

    private async Task<List<StoredRecord>> LoadSingly(IDatabase db, IReadOnlyList<string> ids) =>
        [.. (await records.LoadAll(db, [.. ids]).ConfigureAwait(false)).OfType<StoredRecord>()];
}
