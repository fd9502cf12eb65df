using System.Diagnostics;
using System.Runtime.CompilerServices;
using Session.Engine;
using StackExchange.Redis;

namespace Session.Stores.Redis;

/// <summary>
/// Inserts and replaces: entries of the indexes first, then the record, then what is left to do at the indexes, then the
/// replicas. A write that no reply came for is never sent again: it could count twice.
/// </summary>
internal sealed class RecordWrites(RedisLink link, Records records, RecordIndexes indexes, ReplicaWait? replicas)
{
    // A record that is due so soon after its insert may be claimed before it is there.
    private static readonly TimeSpan DueAtOnce = TimeSpan.FromMinutes(1);

    public async ValueTask<WriteResult> Insert(StoredRecord record, CancellationToken cancellationToken)
    {
        var route = await Ready(cancellationToken).ConfigureAwait(false);
        var line = replicas?.LineTo(route, record);
        var db = route.For(line is not null);
        var entering = indexes.EnterBeforeInsert(db, record);
        RedisLink.ObserveFailure(entering);
        if (link.MayBeCluster || IsSignIn(record))
            await WriteFailures.BeforeWrite(link.WithinDeadline(entering)).ConfigureAwait(false);

        var reply = await records.Insert(db, line, record).ConfigureAwait(false);
        var isLate = !reply.HasCome(out var isWritten) || isWritten && line is { HasMoved: true };
        if (isLate)
        {
            if (!await records.IsWritten(db, line, record).ConfigureAwait(false))
                return WriteResult.Unknown;
            isWritten = true;
        }

        var replicated = isWritten ? Replicated(line) : Task.FromResult(false);
        db = route.Database;
        // They went with the write, and their answers are as late.
        var isNew = !isLate && await link.WithinDeadline(entering).ConfigureAwait(false);
        if (!isWritten)
            return await Refused(WriteResult.Conflict, RemoveRefusedEntries(db, record)).ConfigureAwait(false);

        // The entries came before the record. A listing of the subject, a sweep, or the removal of an older record with the same
        // id may have taken them for stale and removed them: they are entered once more.
        if (record.Subject is not null || record.DueAt <= record.LastSeen + DueAtOnce || !isNew)
            await link.WithinDeadline(indexes.EnterAgain(db, record)).ConfigureAwait(false);
        return await Acknowledge(route, record, line, replicated).ConfigureAwait(false);
    }

    /// <summary>Nothing was written, also where what the write had entered cannot be cleared away.</summary>
    private static ValueTask<WriteResult> Refused(WriteResult answer, Task clearing)
    {
        return WriteFailures.BeforeWrite(Cleared());

        async ValueTask<WriteResult> Cleared()
        {
            await clearing.ConfigureAwait(false);
            return answer;
        }
    }

    /// <summary>Another record has the id: the entries that were made for this one must not lead to it.</summary>
    private async Task RemoveRefusedEntries(IDatabase db, StoredRecord refused)
    {
        if (await records.Load(db, refused.Id).ConfigureAwait(false) is not { } owner)
            return;
        await indexes.RemoveEndedFromLive(db, owner).ConfigureAwait(false);
        if (refused.Subject is { } subject && subject != owner.Subject)
            await indexes.PruneSubject(db, subject, refused.Id).ConfigureAwait(false);
    }

    public ValueTask<WriteResult> Replace(StoredRecord record, long expected, CancellationToken cancellationToken) =>
        // What ends a session or signs in changes the indexes, what is written all the time does not.
        record.IsDurable
        || record.Kind == RecordKind.Ended
            ? ReplaceWithIndexes(record, expected, cancellationToken)
            : ReplaceInPlace(record, expected, cancellationToken);

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<WriteResult> ReplaceInPlace(
        StoredRecord record,
        long expected,
        CancellationToken cancellationToken
    )
    {
        var db = (await Ready(cancellationToken).ConfigureAwait(false)).Database;
        var reply = await records.ReplaceInPlace(db, record, expected).ConfigureAwait(false);
        if (!reply.HasCome(out var replaced))
            return WriteResult.Unknown;
        return replaced.Answer == ScriptAnswer.NeedsIndexes
            ? await ReplaceWithIndexes(record, expected, cancellationToken).ConfigureAwait(false)
            : ResultOf(replaced.Answer);
    }

    private async ValueTask<WriteResult> ReplaceWithIndexes(
        StoredRecord record,
        long expected,
        CancellationToken cancellationToken
    )
    {
        var route = await Ready(cancellationToken).ConfigureAwait(false);
        var line = replicas?.LineTo(route, record);
        var db = route.For(line is not null);
        var entering = indexes.EnterBeforeReplace(db, record);
        RedisLink.ObserveFailure(entering);
        if (link.MayBeCluster || IsSignIn(record))
            await WriteFailures.BeforeWrite(link.WithinDeadline(entering)).ConfigureAwait(false);

        var reply = await records.Replace(db, line, record, expected, losing: RedisValue.Null).ConfigureAwait(false);

        // Nothing was written: first a sweep has to be able to find the entry of the subject that loses the session, if this
        // process is stopped before it has removed that entry. The subject may have changed once more meanwhile.
        var losing = RedisValue.Null;
        while (reply.HasCome(out var refused) && refused.Answer == ScriptAnswer.LosesSubject)
        {
            losing = refused.LosingSubject;
            await WriteFailures
                .BeforeWrite(link.WithinDeadline(indexes.NotePendingChange(db, record, (string)losing!)))
                .ConfigureAwait(false);
            reply = await records.Replace(db, line, record, expected, losing).ConfigureAwait(false);
        }

        var isLate =
            !reply.HasCome(out var replaced) || replaced.Answer == ScriptAnswer.Written && line is { HasMoved: true };
        if (isLate)
        {
            if (!await records.IsWritten(db, line, record).ConfigureAwait(false))
                return WriteResult.Unknown;
            // Nobody knows whether the subject is a new one: settling it is right in both cases.
            replaced = new ReplaceAnswer(ScriptAnswer.Written, HasNewSubject: true, LosingSubject: RedisValue.Null);
        }

        var isReplaced = replaced.Answer == ScriptAnswer.Written;
        var replicated = isReplaced ? Replicated(line) : Task.FromResult(false);
        db = route.Database;
        // They went with the write, and their answers are as late.
        var isNewlyListed = await link.WithinDeadline(isLate ? indexes.EnterBeforeReplace(db, record) : entering)
            .ConfigureAwait(false);
        if (!isReplaced)
            return await Refused(
                    ResultOf(replaced.Answer),
                    isNewlyListed ? indexes.LeaveList(db, record) : Task.CompletedTask
                )
                .ConfigureAwait(false);

        await link.WithinDeadline(indexes.SettleAfterReplace(db, record, replaced.HasNewSubject)).ConfigureAwait(false);
        if (!losing.IsNull)
            await indexes.PruneSubject(db, (string)losing!, record.Id).ConfigureAwait(false);
        await indexes.RemoveEndedFromLive(db, record).ConfigureAwait(false);
        return await Acknowledge(route, record, line, replicated).ConfigureAwait(false);
    }

    /// <summary>
    /// "End all of this user" has to find it: a server that is full may refuse the entry, and take the record that comes right
    /// behind it. So the entry is waited for.
    /// </summary>
    private static bool IsSignIn(StoredRecord record) =>
        record.Subject is not null && record.Kind != RecordKind.Ended && record.Basis?.Subject != record.Subject;

    private ValueTask<Route> Ready(CancellationToken cancellationToken) =>
        WriteFailures.BeforeWrite(link.Ready(cancellationToken));

    private static WriteResult ResultOf(ScriptAnswer answer) =>
        answer switch
        {
            ScriptAnswer.Written => WriteResult.Written,
            ScriptAnswer.Conflict => WriteResult.Conflict,
            ScriptAnswer.Absent => WriteResult.Absent,
            _ => throw new UnreachableException($"The script that replaces a record answered {answer}."),
        };

    /// <summary>
    /// Sends WAIT right behind the write, on its connection. What is left to do at the indexes goes over the other one
    /// meanwhile: WAIT would hold it up.
    /// </summary>
    private Task<bool> Replicated(DirectLine? line) =>
        line is null || replicas is null ? Task.FromResult(true) : replicas.IsReplicated(line);

    /// <summary>
    /// The record is written; where it must outlast a failover, its replicas are waited for, and no failover may have come between.
    /// </summary>
    private async ValueTask<WriteResult> Acknowledge(
        Route route,
        StoredRecord record,
        DirectLine? line,
        Task<bool> replicated
    )
    {
        if (await replicated.ConfigureAwait(false))
            return !record.IsDurable || await link.IsStillPrimary(route.Database).ConfigureAwait(false)
                ? WriteResult.Written
                : WriteResult.Unacknowledged;
        // An old primary may have taken the write, and does not keep it.
        return line is { HasMoved: true } ? WriteResult.Unknown : WriteResult.Unacknowledged;
    }
}
