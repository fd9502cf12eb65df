using Session.Engine;
using StackExchange.Redis;

namespace Session.Stores.Redis;

/// <summary>
/// The entries that lead to a record: in the due index, in the list of the living or of the tombstones, in the index of its
/// subject. They are made before the record is written, and removed after it has gone: so an entry may be stale, and none is
/// ever missing.
/// </summary>
internal sealed class RecordIndexes(RedisLink link, RecordKeys keys, Records records)
{
    // How long a sweep leaves a change of a subject's index to its writer: longer than any operation takes.
    private static readonly TimeSpan PendingTime = TimeSpan.FromMinutes(10);

    /// <summary>Before an insert. False: the due index, or its list, has had an entry of this id already.</summary>
    public async Task<bool> EnterBeforeInsert(IDatabase db, StoredRecord record)
    {
        var lists = EnterLists(db, record);
        await Task.WhenAll(lists, EnterSubject(db, record)).ConfigureAwait(false);
        return await lists.ConfigureAwait(false);
    }

    /// <summary>Before a replace, which finds an entry in the due index. True: its list has had no entry of this id.</summary>
    public async Task<bool> EnterBeforeReplace(IDatabase db, StoredRecord record)
    {
        var list = EnterList(db, record);
        await Task.WhenAll(list, EnterSubject(db, record)).ConfigureAwait(false);
        return await list.ConfigureAwait(false);
    }

    /// <summary>
    /// After a replace that was refused, and whose entry in the list was a new one: it would be counted for good. An insert that has
    /// found it there enters its record once more.
    /// </summary>
    public async Task LeaveList(IDatabase db, StoredRecord refused)
    {
        if (await records.Load(db, refused.Id).ConfigureAwait(false) is { } owner)
        {
            await RemoveEndedFromLive(db, owner).ConfigureAwait(false);
            return;
        }

        await link.WithinDeadline(db.SortedSetRemoveAsync(ListOf(refused), refused.Id)).ConfigureAwait(false);
        // Or it has done so before this was removed.
        await EnterSuccessor(db, refused.Id).ConfigureAwait(false);
    }

    /// <summary>After an insert, if somebody may have removed the entries before the record was there.</summary>
    public Task EnterAgain(IDatabase db, StoredRecord record) =>
        Task.WhenAll(EnterLists(db, record), SettleSubject(db, record));

    /// <summary>After a replace.</summary>
    /// <param name="db">Where the indexes are.</param>
    /// <param name="record">The record that was written.</param>
    /// <param name="hasNewSubject">The record before it had another subject, or perhaps had.</param>
    public Task SettleAfterReplace(IDatabase db, StoredRecord record, bool hasNewSubject) =>
        Task.WhenAll(
            hasNewSubject ? SettleSubject(db, record) : DropPendingChange(db, record),
            // Never later than it was: a sweep that comes too early sees by the record that it has to come again, but nothing
            // calls a sweep that is too late.
            db.SortedSetAddAsync(keys.Due(record.Id), record.Id, RecordKeys.Score(record.DueAt), SortedSetWhen.LessThan)
        );

    /// <summary>True: both entries are new ones.</summary>
    private async Task<bool> EnterLists(IDatabase db, StoredRecord record)
    {
        // An entry that is there already stays: it belongs to the record as it is, and this write may be refused.
        var due = db.SortedSetAddAsync(
            keys.Due(record.Id),
            record.Id,
            RecordKeys.Score(record.DueAt),
            SortedSetWhen.NotExists
        );
        var list = EnterList(db, record);
        await Task.WhenAll(due, list).ConfigureAwait(false);
        return await due.ConfigureAwait(false) && await list.ConfigureAwait(false);
    }

    private Task<bool> EnterList(IDatabase db, StoredRecord record) =>
        db.SortedSetAddAsync(ListOf(record), record.Id, 0);

    private RedisKey ListOf(StoredRecord record) =>
        record.Kind == RecordKind.Ended ? keys.Ended(record.Id) : keys.Live(record.Id);

    private Task EnterSubject(IDatabase db, StoredRecord record) =>
        record.Subject is not { } subject
            ? Task.CompletedTask
            : Task.WhenAll(
                NotePendingChange(db, record, subject),
                SubjectIndex.Enter(db, keys.Subject(subject), record)
            );

    private Task SettleSubject(IDatabase db, StoredRecord record) =>
        record.Subject is not { } subject
            ? Task.CompletedTask
            : Task.WhenAll(SubjectIndex.Settle(db, keys.Subject(subject), record), DropPendingChange(db, record));

    /// <summary>Sees to it that a sweep looks at what the subject's index has of this record, should its writer be stopped.</summary>
    public Task NotePendingChange(IDatabase db, StoredRecord record, string subject) =>
        NotePendingChange(db, record.Id, subject, RecordKeys.Score(record.LastSeen + PendingTime));

    /// <summary>The same, for the next sweep: of a record that is about to be removed.</summary>
    public Task NotePendingRemoval(IDatabase db, string id, string subject) =>
        NotePendingChange(db, id, subject, score: 0);

    private Task<bool> NotePendingChange(IDatabase db, string id, string subject, double score) =>
        db.SortedSetAddAsync(keys.Due(id), SubjectIndex.PendingChange(id, subject), score);

    private Task DropPendingChange(IDatabase db, StoredRecord record) =>
        record.Subject is not { } subject
            ? Task.CompletedTask
            : db.SortedSetRemoveAsync(keys.Due(record.Id), SubjectIndex.PendingChange(record.Id, subject));

    /// <summary>Removes what a subject's index has of a session, unless the session is the subject's.</summary>
    public async Task PruneSubject(IDatabase db, string subject, string id)
    {
        var index = keys.Subject(subject);
        // The members are read before the record, so that a member which is made after the record was read stays.
        var members = await link.WithinDeadline(SubjectIndex.Of(db, index, id)).ConfigureAwait(false);
        if (members.Length > 0 && (await records.Load(db, id, subject).ConfigureAwait(false))?.Subject != subject)
            await link.WithinDeadline(db.SortedSetRemoveAsync(index, members)).ConfigureAwait(false);
        await link.WithinDeadline(db.SortedSetRemoveAsync(keys.Due(id), SubjectIndex.PendingChange(id, subject)))
            .ConfigureAwait(false);
    }

    /// <summary>Takes a tombstone out of the list of the living.</summary>
    public async Task RemoveEndedFromLive(IDatabase db, StoredRecord record)
    {
        if (record.Kind == RecordKind.Ended)
            await link.WithinDeadline(db.SortedSetRemoveAsync(keys.Live(record.Id), record.Id)).ConfigureAwait(false);
    }

    /// <summary>Removes the entries of a record that is gone, but for its subject's.</summary>
    public async Task RemoveEntries(IDatabase db, string id)
    {
        var lists = Task.WhenAll(
            db.SortedSetRemoveAsync(keys.Live(id), id),
            db.SortedSetRemoveAsync(keys.Ended(id), id)
        );
        RedisLink.ObserveFailure(lists);
        if (link.MayBeCluster)
            await link.WithinDeadline(lists).ConfigureAwait(false);

        // The due index last: if this process is stopped before, a sweep finds the id there and goes on.
        await link.WithinDeadline(Task.WhenAll(lists, db.SortedSetRemoveAsync(keys.Due(id), id))).ConfigureAwait(false);

        // An insert that found the old entry in the due index may have written a record of this id meanwhile.
        await EnterSuccessor(db, id).ConfigureAwait(false);
    }

    private async Task EnterSuccessor(IDatabase db, string id)
    {
        if (await records.Load(db, id).ConfigureAwait(false) is { } successor)
            await link.WithinDeadline(EnterLists(db, successor)).ConfigureAwait(false);
    }
}
