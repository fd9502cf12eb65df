using Session.Engine;
using StackExchange.Redis;

namespace Session.Stores.Redis;

/// <summary>
/// The index of one subject is a sorted set. Its member for a session is the id alone until the record is written; then it is the
/// id and a mark of the write that named the subject. Whoever finds that a record is not the subject's removes exactly the
/// member that was read before that record: a sign-in that comes meanwhile makes another member, which stays.
/// </summary>
internal static class SubjectIndex
{
    // Before every character of an id, so that members sort as ids do.
    private const char Mark = ' ';
    private const char BehindMarks = '!';

    /// <summary>The member of a session from the write on that named the subject.</summary>
    public static RedisValue Member(StoredRecord record) =>
        string.Concat(record.Id, Mark.ToString(), unchecked((uint)record.Operation).ToString("x8", null));

    /// <summary>The id of a member.</summary>
    public static string IdOf(RedisValue member)
    {
        var text = (string)member!;
        var end = text.IndexOf(Mark, StringComparison.Ordinal);
        return end < 0 ? text : text[..end];
    }

    /// <summary>Up to <paramref name="count"/> members behind the session <paramref name="after"/>, in the order of their ids.</summary>
    public static Task<RedisValue[]> After(IDatabase db, RedisKey key, string? after, long count) =>
        db.SortedSetRangeByValueAsync(
            key,
            after is null ? RedisValue.Null : after + BehindMarks,
            RedisValue.Null,
            Exclude.None,
            Order.Ascending,
            0,
            // Not every server takes a limit that is no int: -1 is none.
            count > int.MaxValue
                ? -1
                : count,
            // A replica may not have heard of a sign-in yet, and "end all" ends what is listed.
            CommandFlags.DemandMaster
        );

    /// <summary>All members of one session.</summary>
    public static Task<RedisValue[]> Of(IDatabase db, RedisKey key, string id) =>
        db.SortedSetRangeByValueAsync(key, id, id + BehindMarks, Exclude.Stop, flags: CommandFlags.DemandMaster);

    /// <summary>
    /// Before the record is written: gives the session a member, unless it has one. Where it is the subject's already, a marked
    /// one: a sign-in whose answer was lost has left the id alone, and somebody who has read that before the record may remove it yet.
    /// </summary>
    public static Task Enter(IDatabase db, RedisKey key, StoredRecord record)
    {
        var isTheirs = record.Basis is { } basis && basis.Subject == record.Subject;
        RedisValue marked = isTheirs ? Member(record) : RedisValue.EmptyString;
        return db.ScriptEvaluateAsync(
            Scripts.Enter,
            [key],
            [record.Id, record.Id + BehindMarks, marked],
            CommandFlags.DemandMaster
        );
    }

    /// <summary>After the write that made the record the subject's: puts the marked member in the place of the id alone.</summary>
    public static Task Settle(IDatabase db, RedisKey key, StoredRecord record) =>
        Task.WhenAll(db.SortedSetAddAsync(key, Member(record), 0), db.SortedSetRemoveAsync(key, record.Id));

    // -- a change that is not finished: a member of the due index, so that a sweep finds what a crash has left

    /// <summary>The member that says that the index of this subject is about to get, or to lose, this session.</summary>
    public static RedisValue PendingChange(string id, string subject) => string.Concat(id, Mark.ToString(), subject);

    /// <summary>Whether a member of the due index is a pending change. If not, it is the id of a record.</summary>
    public static bool IsPendingChange(RedisValue member, out string id, out string subject)
    {
        var text = (string)member!;
        var end = text.IndexOf(Mark, StringComparison.Ordinal);
        (id, subject) = end < 0 ? (text, "") : (text[..end], text[(end + 1)..]);
        return end >= 0;
    }
}
