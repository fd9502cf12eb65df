using Session.Engine;
using StackExchange.Redis;

namespace Session.Stores.Redis;

/// <summary>The records by the indexes: of one subject, all, and how many.</summary>
internal sealed class Listings(RedisLink link, RecordKeys keys, Records records)
{
    public async ValueTask<StoredPage> BySubject(
        string subject,
        string? after,
        int limit,
        CancellationToken cancellationToken
    )
    {
        var db = (await link.Ready(cancellationToken).ConfigureAwait(false)).Database;
        var index = keys.Subject(subject);
        // One more than wanted says whether another page follows.
        var found = await link.FromOwners(db, [index], () => SubjectIndex.After(db, index, after, limit + 1L))
            .ConfigureAwait(false);
        var members = found.Take(limit).ToArray();
        var ids = members.Select(SubjectIndex.IdOf).Distinct(StringComparer.Ordinal).ToArray();
        var loaded = await records.LoadAll(db, ids, presumed: subject).ConfigureAwait(false);
        var theirs = loaded.OfType<StoredRecord>().Where(record => record.Subject == subject).ToArray();

        // The record of a stale entry is gone, or not the subject's, or not yet: a sign-in that is under way makes another entry.
        var known = theirs.Select(record => record.Id).ToHashSet(StringComparer.Ordinal);
        var stale = members.Where(member => !known.Contains(SubjectIndex.IdOf(member))).ToArray();
        if (stale.Length > 0)
            await link.WithinDeadline(db.SortedSetRemoveAsync(index, stale)).ConfigureAwait(false);

        // "End all" ends what is listed: a list of a primary that is none any more would leave some out.
        await link.RequirePrimary(db, cancellationToken).ConfigureAwait(false);
        return new StoredPage(theirs, found.Length > limit ? Next(ids[^1], after) : null);
    }

    public async ValueTask<StoredPage> Enumerate(string? after, int limit, CancellationToken cancellationToken)
    {
        var db = (await link.Ready(cancellationToken).ConfigureAwait(false)).Database;
        var lists = RecordKeys.AllShards.SelectMany(shard => new[] { keys.Live(shard), keys.Ended(shard) }).ToArray();
        // One more than wanted says whether another page follows.
        var found = await link.FromOwners(
                db,
                lists,
                () => Task.WhenAll(lists.Select(list => SubjectIndex.After(db, list, after, limit + 1L)))
            )
            .ConfigureAwait(false);
        var ids = found
            .SelectMany(members => members)
            .Select(member => (string)member!)
            .Distinct(StringComparer.Ordinal)
            .Order(StringComparer.Ordinal)
            .ToArray();
        string[] page = [.. ids.Take(limit)];
        var loaded = await records.LoadAll(db, page).ConfigureAwait(false);
        await link.RequirePrimary(db, cancellationToken).ConfigureAwait(false);
        return new StoredPage([.. loaded.OfType<StoredRecord>()], ids.Length > limit ? Next(page[^1], after) : null);
    }

    /// <summary>A server that reads the bounds of a range in its own way must not keep a listing going for ever.</summary>
    private static string? Next(string last, string? after) =>
        after is null || string.CompareOrdinal(last, after) > 0 ? last : null;

    public async ValueTask<long> Count(CancellationToken cancellationToken)
    {
        var db = (await link.Ready(cancellationToken).ConfigureAwait(false)).Database;
        var counts = await link.WithinDeadline(
                Task.WhenAll(
                    RecordKeys.AllShards.Select(shard =>
                        db.SortedSetLengthAsync(keys.Live(shard), flags: CommandFlags.DemandMaster)
                    )
                )
            )
            .ConfigureAwait(false);
        return counts.Sum();
    }
}
