using Session.Engine;
using StackExchange.Redis;

namespace Session.Stores.Redis;

/// <summary>
/// The due index, by which sweeps find what to look at. A sweep claims an entry by moving it to the end of its lease: no other
/// sweep sees it until then, and if this one is stopped, another one does.
/// </summary>
internal sealed class OverdueClaims(RedisLink link, RecordKeys keys, Records records, RecordIndexes indexes)
{
    /// <summary>An entry that was claimed: its score before, and the record, or else the time at which that is due.</summary>
    private readonly record struct Claimed(double Score, StoredRecord? Record, DateTimeOffset? DueAt);

    /// <summary>An entry of the due index, and the shard that it is in.</summary>
    private readonly record struct Entry(int Shard, RedisValue Member, double Score);

    public async ValueTask<IReadOnlyList<StoredRecord>> ClaimOverdue(
        DateTimeOffset now,
        TimeSpan lease,
        int limit,
        CancellationToken cancellationToken
    )
    {
        var db = (await link.Ready(cancellationToken).ConfigureAwait(false)).Database;
        var ours = new List<(double Score, StoredRecord Record)>();
        while (ours.Count < limit)
        {
            var overdue = await FindOverdue(db, now, limit - ours.Count).ConfigureAwait(false);
            if (overdue.Length == 0)
                break;

            var claimed = await Claim(db, overdue, now + lease).ConfigureAwait(false);
            var resolved = await Task.WhenAll(claimed.Select(entry => Resolve(db, entry))).ConfigureAwait(false);
            foreach (var (score, record, _) in resolved)
                if (record is not null)
                    ours.Add((score, record));

            // An entry may have said an earlier time than its record: it has been moved to the record's own time. If that is
            // overdue too, it comes before all claims with a later time: those are given back, and found again in order.
            var earliest = resolved.Where(one => one.DueAt <= now).Min(one => one.DueAt);
            if (earliest is not { } misplaced)
                continue;
            var before = RecordKeys.Score(misplaced);
            await GiveBack(db, ours.Where(one => one.Score > before)).ConfigureAwait(false);
            ours.RemoveAll(one => one.Score > before);
        }

        return [.. ours.OrderBy(one => one.Score).Select(one => one.Record)];
    }

    /// <summary>The entries that are overdue the longest, over all shards.</summary>
    private async Task<Entry[]> FindOverdue(IDatabase db, DateTimeOffset now, int count)
    {
        var shards = await link.WithinDeadline(
                Task.WhenAll(
                    RecordKeys.AllShards.Select(shard =>
                        db.SortedSetRangeByScoreWithScoresAsync(
                            keys.Due(shard),
                            double.NegativeInfinity,
                            RecordKeys.Score(now),
                            take: count,
                            flags: CommandFlags.DemandMaster
                        )
                    )
                )
            )
            .ConfigureAwait(false);
        return
        [
            .. shards
                .SelectMany((entries, shard) => entries.Select(entry => new Entry(shard, entry.Element, entry.Score)))
                .OrderBy(entry => entry.Score)
                .Take(count),
        ];
    }

    /// <summary>Moves the entries to the end of the lease; those that another sweep was faster with are left out.</summary>
    private async Task<IEnumerable<Entry>> Claim(IDatabase db, Entry[] entries, DateTimeOffset until)
    {
        var end = RecordKeys.Text(RecordKeys.Score(until));
        var answers = await link.WithinDeadline(
                Task.WhenAll(
                    entries
                        .GroupBy(entry => entry.Shard)
                        .Select(group =>
                            db.ScriptEvaluateAsync(
                                Scripts.Claim,
                                [keys.Due(group.Key)],
                                [
                                    end,
                                    .. group.SelectMany(entry =>
                                        new RedisValue[] { entry.Member, RecordKeys.Text(entry.Score) }
                                    ),
                                ],
                                CommandFlags.DemandMaster
                            )
                        )
                )
            )
            .ConfigureAwait(false);
        var claimed = answers.SelectMany(members => (string[])members!).ToHashSet(StringComparer.Ordinal);
        return entries.Where(entry => claimed.Contains((string)entry.Member!));
    }

    /// <summary>Finds what a claimed entry stands for, and finishes what somebody else was stopped at.</summary>
    private async Task<Claimed> Resolve(IDatabase db, Entry entry)
    {
        if (SubjectIndex.IsPendingChange(entry.Member, out var id, out var subject))
        {
            if (await records.Load(db, id).ConfigureAwait(false) is { } changed)
                await indexes.RemoveEndedFromLive(db, changed).ConfigureAwait(false);
            await indexes.PruneSubject(db, subject, id).ConfigureAwait(false);
            return new Claimed(entry.Score, null, null);
        }

        var (record, dueAt) = await records.LoadClaimed(db, id, entry.Score).ConfigureAwait(false);
        if (dueAt is { } later)
            await MoveTo(db, id, RecordKeys.Score(later)).ConfigureAwait(false);
        else if (record is null)
            await indexes.RemoveEntries(db, id).ConfigureAwait(false);
        return new Claimed(entry.Score, record, dueAt);
    }

    private Task<bool[]> GiveBack(IDatabase db, IEnumerable<(double Score, StoredRecord Record)> claimed) =>
        Task.WhenAll(claimed.Select(one => MoveTo(db, one.Record.Id, one.Score).AsTask()));

    /// <summary>Moves an entry, if it is still there.</summary>
    private ValueTask<bool> MoveTo(IDatabase db, string id, double score) =>
        link.WithinDeadline(db.SortedSetUpdateAsync(keys.Due(id), id, score));

    public async ValueTask Reschedule(
        string id,
        long version,
        DateTimeOffset dueAt,
        CancellationToken cancellationToken
    )
    {
        var db = (await link.Ready(cancellationToken).ConfigureAwait(false)).Database;
        if (await records.Reschedule(db, id, version, dueAt).ConfigureAwait(false))
            await MoveTo(db, id, RecordKeys.Score(dueAt)).ConfigureAwait(false);
    }
}
