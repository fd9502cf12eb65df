using Session.Engine;
using StackExchange.Redis;

namespace Session.Stores.Redis;

/// <summary>
/// The members of a subject's index, one sorted set each. Before its record is written a session is there under its id
/// alone; once the record names the subject, under its id and the mark of that write. Whoever finds an entry stale removes
/// exactly the member that was read before the record was, so an entry that a sign-in makes meanwhile stays.
/// </summary>
internal static class SubjectIndex
{
    // Before every character of an id, so that members sort as ids do.
    private const char Mark = ' ';
    private const char BehindMarks = '!';

    /// <summary>The member of a session whose record has this subject since this write.</summary>
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
            count
        );

    /// <summary>All members of one session.</summary>
    public static Task<RedisValue[]> Of(IDatabase db, RedisKey key, string id) =>
        db.SortedSetRangeByValueAsync(key, id, id + BehindMarks, Exclude.Stop);

    /// <summary>Before a write: the session is in the index, under one member at least.</summary>
    public static Task Enter(IDatabase db, RedisKey key, string id) =>
        db.ScriptEvaluateAsync(Scripts.Enter, [key], [id, id + BehindMarks]);

    /// <summary>After the write that made the record the subject's.</summary>
    public static Task Settle(IDatabase db, RedisKey key, StoredRecord record) =>
        Task.WhenAll(db.SortedSetAddAsync(key, Member(record), 0), db.SortedSetRemoveAsync(key, record.Id));

    // -- what is under way: a member of the due index, so that a sweep finds what a crash has left

    /// <summary>The member that says: this session is being entered to, or taken from, the index of this subject.</summary>
    public static RedisValue Intent(string id, string subject) => string.Concat(id, Mark.ToString(), subject);

    /// <summary>False: an id and nothing more.</summary>
    public static bool IsIntent(RedisValue member, out string id, out string subject)
    {
        var text = (string)member!;
        var end = text.IndexOf(Mark, StringComparison.Ordinal);
        (id, subject) = end < 0 ? (text, "") : (text[..end], text[(end + 1)..]);
        return end >= 0;
    }
}
