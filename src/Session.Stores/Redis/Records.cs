using System.Runtime.CompilerServices;
using Session.Engine;
using StackExchange.Redis;

namespace Session.Stores.Redis;

/// <summary>
/// The records themselves: one key each, and every change of one is one command or one atomic script. Scripts go to primaries,
/// too: the driver would send them to a replica while the primary is away, and that says "there is no such session" of what it
/// has not got yet.
/// </summary>
internal sealed class Records(RedisLink link, RecordKeys keys, TimeSpan janitorMargin)
{
    /// <summary>The longest time that a record is kept for, its margin not counted.</summary>
    public static readonly TimeSpan MaxTimeToLive = TimeSpan.FromDays(3650);

    // In place of the head of the record that a write was decided on: no record has it.
    private static readonly RedisValue NoHead = "-";

    /// <summary>The record, or null.</summary>
    /// <param name="db">Where from.</param>
    /// <param name="id">Its session.</param>
    /// <param name="presumed">Whose it is if it cannot be read: the subject whose index has led to it.</param>
    // The path of every request: its state machines come from a pool.
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<StoredRecord?> Load(IDatabase db, string id, string? presumed = null)
    {
        try
        {
            // From the primary: a replica may not have heard of a logout yet.
            var value = (byte[]?)
                await link.WithinDeadline(db.StringGetAsync(keys.Record(id), CommandFlags.DemandMaster))
                    .ConfigureAwait(false);
            // A primary of a Cluster that has been followed by another one knows nothing of what came since.
            if (
                value is null
                && link.MayBeCluster
                && await link.OwnerOf(db, keys.Record(id)).ConfigureAwait(false) is { } owner
            )
                value = (byte[]?)
                    await link.WithinDeadline(owner.ExecuteAsync("GET", keys.Record(id))).ConfigureAwait(false);
            return value is null ? null : RecordLayout.Read(id, value, presumed);
        }
        catch (RedisServerException error) when (IsNoValue(error))
        {
            return RecordLayout.Unreadable(id, [], presumed);
        }
    }

    /// <summary>Whether the key has a list, or a set: another program's.</summary>
    private static bool IsNoValue(RedisServerException error) =>
        error.Message.Contains("WRONGTYPE", StringComparison.Ordinal);

    public Task<StoredRecord?[]> LoadAll(IDatabase db, string[] ids, string? presumed = null) =>
        Task.WhenAll(ids.Select(id => Load(db, id, presumed).AsTask()));

    /// <summary>Writes the record if its id is free. True: it was.</summary>
    /// <param name="db">Where to.</param>
    /// <param name="line">The way there, if replicas have to have the write; else null.</param>
    /// <param name="record">What to write.</param>
    public ValueTask<Reply<bool>> Insert(IDatabase db, DirectLine? line, StoredRecord record) =>
        link.ReplyTo(
            line is null
                ? db.StringSetAsync(
                    keys.Record(record.Id),
                    RecordLayout.Write(record),
                    TimeToLive(record),
                    When.NotExists
                )
                : line.SetIfAbsent(RecordLayout.Write(record), Milliseconds(TimeToLive(record)))
        );

    /// <summary>Writes the record if that changes no index.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<Reply<ReplaceAnswer>> ReplaceInPlace(IDatabase db, StoredRecord record, long expected)
    {
        RedisKey[] key = [keys.Record(record.Id)];
        RedisValue basis =
            record.Basis is { } head && head.Version == expected && RecordLayout.KeepsIndexes(head, record)
                ? RecordLayout.Head(head)
                : NoHead;
        RedisValue[] arguments =
        [
            RecordLayout.Number(expected),
            RecordLayout.Write(record),
            Milliseconds(TimeToLive(record)),
            0,
            basis,
        ];

        Reply<RedisResult> reply;
        try
        {
            reply = await link.ReplyTo(
                    db.ScriptEvaluateAsync(Scripts.ReplaceHash, key, arguments, CommandFlags.DemandMaster)
                )
                .ConfigureAwait(false);
        }
        catch (RedisServerException error) when (error.Message.StartsWith("NOSCRIPT", StringComparison.Ordinal))
        {
            // The server has refused it, so nothing was written, and it may be sent again with the script's text.
            reply = await link.ReplyTo(
                    db.ScriptEvaluateAsync(Scripts.Replace, key, arguments, CommandFlags.DemandMaster)
                )
                .ConfigureAwait(false);
        }

        return reply.HasCome(out var answer) ? new Reply<ReplaceAnswer>(ReplaceAnswer.From(answer)) : default;
    }

    /// <summary>Writes the record; the indexes have its entries already.</summary>
    /// <param name="db">Where to.</param>
    /// <param name="line">The way there, if replicas have to have the write; else null.</param>
    /// <param name="record">What to write.</param>
    /// <param name="expected">The version that has to be there.</param>
    /// <param name="losing">The subject that loses the session by this write, as the server has it, once a sweep can find that out; else null.</param>
    public async ValueTask<Reply<ReplaceAnswer>> Replace(
        IDatabase db,
        DirectLine? line,
        StoredRecord record,
        long expected,
        RedisValue losing
    )
    {
        RedisValue[] arguments =
        [
            RecordLayout.Number(expected),
            RecordLayout.Write(record),
            Milliseconds(TimeToLive(record)),
            1,
            NoHead,
            losing.IsNull ? RedisValue.EmptyString : losing,
        ];
        var reply = await link.ReplyTo(Evaluate(db, line, Scripts.Replace, record, arguments)).ConfigureAwait(false);
        return reply.HasCome(out var answer) ? new Reply<ReplaceAnswer>(ReplaceAnswer.From(answer)) : default;
    }

    /// <summary>
    /// Whether a write that no reply came for is found there. False: it is not there yet, or the server cannot be asked. Not a
    /// mere read: it writes a byte as it is, so that a WAIT which follows waits for the record, even if the write itself went over
    /// a connection that has broken since.
    /// </summary>
    public async ValueTask<bool> IsWritten(IDatabase db, DirectLine? line, StoredRecord record)
    {
        try
        {
            var asking = Evaluate(db, line, Scripts.ConfirmWrite, record, [RecordLayout.Number(record.Operation)]);
            return (int)await link.WithinDeadline(asking).ConfigureAwait(false) == 1;
        }
        catch (Exception error) when (error is RedisException or TimeoutException)
        {
            // Nothing is known of the write, as before.
            return false;
        }
    }

    private Task<RedisResult> Evaluate(
        IDatabase db,
        DirectLine? line,
        string script,
        StoredRecord record,
        RedisValue[] arguments
    ) =>
        line is null
            ? db.ScriptEvaluateAsync(script, [keys.Record(record.Id)], arguments, CommandFlags.DemandMaster)
            : line.Evaluate(script, arguments);

    /// <summary>Moves the time seen forward, some time later.</summary>
    public void Touch(IDatabase db, string id, DateTimeOffset at) =>
        // Not awaited: a lost touch ends a session a little early, and nothing worse.
        RedisLink.ObserveFailure(Touched(db, id, at));

    /// <summary>Moves the time seen forward, and says when that is done.</summary>
    public Task<RedisResult> Touched(IDatabase db, string id, DateTimeOffset at) =>
        db.ScriptEvaluateAsync(
            Scripts.Touch,
            [keys.Record(id)],
            [RecordLayout.Number(at.UtcTicks)],
            CommandFlags.DemandMaster
        );

    /// <summary>Removes the record, and answers with its subject.</summary>
    public async ValueTask<string?> Remove(IDatabase db, string id) =>
        (string?)
            await link.WithinDeadline(
                    db.ScriptEvaluateAsync(Scripts.Remove, [keys.Record(id)], flags: CommandFlags.DemandMaster)
                )
                .ConfigureAwait(false);

    /// <summary>Removes the record if it still is the one that this operation wrote as this version. True: it was.</summary>
    public ValueTask<bool> RemoveVersion(IDatabase db, string id, long version, long operation) =>
        Answers(
            db.ScriptEvaluateAsync(
                Scripts.RemoveVersion,
                [keys.Record(id)],
                [RecordLayout.Number(version), RecordLayout.Number(operation)],
                CommandFlags.DemandMaster
            ),
            ofNoValue: false
        );

    /// <summary>Says that the due index has another time for this version of the record. False: it is no longer there.</summary>
    public ValueTask<bool> Reschedule(IDatabase db, string id, long version, DateTimeOffset dueAt) =>
        Answers(
            db.ScriptEvaluateAsync(
                Scripts.Reschedule,
                [keys.Record(id)],
                [
                    RecordLayout.Number(version),
                    dueAt.UtcTicks / TimeSpan.TicksPerMillisecond,
                    Milliseconds(janitorMargin),
                ],
                CommandFlags.DemandMaster
            ),
            ofNoValue: true
        );

    /// <summary>Whether a script answers 1. What is no value must not end a sweep of others.</summary>
    private async ValueTask<bool> Answers(Task<RedisResult> script, bool ofNoValue)
    {
        try
        {
            return (int)await link.WithinDeadline(script).ConfigureAwait(false) == 1;
        }
        catch (RedisServerException error) when (IsNoValue(error))
        {
            return ofNoValue;
        }
    }

    /// <summary>
    /// The record that a sweep has claimed by its entry in the due index; or, if the entry was early, only the time at which the
    /// record is due; or neither, if there is no record.
    /// </summary>
    public async ValueTask<(StoredRecord? Record, DateTimeOffset? DueAt)> LoadClaimed(
        IDatabase db,
        string id,
        double score
    )
    {
        RedisResult answer;
        try
        {
            answer = await link.WithinDeadline(
                    db.ScriptEvaluateAsync(
                        Scripts.LoadClaimed,
                        [keys.Record(id)],
                        [RecordLayout.Number(RecordKeys.LatestDue(score))],
                        CommandFlags.DemandMaster
                    )
                )
                .ConfigureAwait(false);
        }
        catch (RedisServerException error) when (IsNoValue(error))
        {
            return (RecordLayout.Unreadable(id, [], presumed: null), null);
        }

        if (answer.Length >= 0)
            return (RecordLayout.Unreadable(id, (byte[]?)answer[0], presumed: null), null);
        return (byte[]?)answer switch
        {
            null => (null, null),
            { Length: 8 } due => BinaryRecord.Time(due) is { } time
                ? (null, time)
                : (await Load(db, id).ConfigureAwait(false), null),
            var value => (RecordLayout.Read(id, value), null),
        };
    }

    /// <summary>
    /// How long the server keeps a record that no sweep comes for: the time that its lifecycle leaves it, counted from when the
    /// session was last seen, and a margin.
    /// </summary>
    private TimeSpan TimeToLive(StoredRecord record)
    {
        var rest = record.DueAt - record.LastSeen;
        if (rest < TimeSpan.Zero)
            rest = TimeSpan.Zero;
        return (rest > MaxTimeToLive ? MaxTimeToLive : rest) + janitorMargin;
    }

    private static long Milliseconds(TimeSpan span) => (long)span.TotalMilliseconds;
}
