using Session.Engine;
using StackExchange.Redis;

namespace Session.Stores.Redis;

/// <summary>Removals: the record first, then the entries that led to it.</summary>
internal sealed class RecordRemovals(RedisLink link, Records records, RecordIndexes indexes)
{
    public async ValueTask Remove(string id, CancellationToken cancellationToken)
    {
        var db = (await link.Ready(cancellationToken).ConfigureAwait(false)).Database;
        var subject = (await records.Load(db, id).ConfigureAwait(false))?.Subject;
        await NoteRemoval(db, id, subject).ConfigureAwait(false);
        var removedSubject = await records.Remove(db, id).ConfigureAwait(false);

        foreach (var one in new[] { subject, removedSubject }.OfType<string>().Distinct(StringComparer.Ordinal))
            await indexes.PruneSubject(db, one, id).ConfigureAwait(false);
        await indexes.RemoveEntries(db, id).ConfigureAwait(false);
    }

    public async ValueTask RemoveVersion(string id, long version, long operation, CancellationToken cancellationToken)
    {
        var db = (await link.Ready(cancellationToken).ConfigureAwait(false)).Database;
        var record = await records.Load(db, id).ConfigureAwait(false);
        if (record is not null)
        {
            if (record.Version != version || record.Operation != operation)
                return;
            await NoteRemoval(db, id, record.Subject).ConfigureAwait(false);
            var isRemoved = await records.RemoveVersion(db, id, version, operation).ConfigureAwait(false);
            if (record.Subject is { } subject)
                await indexes.PruneSubject(db, subject, id).ConfigureAwait(false);
            if (!isRemoved)
                return;
        }

        // Also when it was gone: whoever removed it may have been stopped before the entries were.
        await indexes.RemoveEntries(db, id).ConfigureAwait(false);
    }

    /// <summary>A sweep finds the entry of the subject's index if this process is stopped between record and entry.</summary>
    private async Task NoteRemoval(IDatabase db, string id, string? subject)
    {
        if (subject is not null)
            await link.WithinDeadline(indexes.NotePendingRemoval(db, id, subject)).ConfigureAwait(false);
    }
}
