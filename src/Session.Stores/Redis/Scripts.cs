using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;

namespace Session.Stores.Redis;

/// <summary>
/// Constant text, so that the driver can send hashes and come back with the text when a server has forgotten it. Each
/// but <see cref="LoadMany"/> touches one key: that of a record, or one shard of the due index.
/// </summary>
internal static class Scripts
{
    // Compares numbers of 8 bytes. Not with <, which orders strings as the server's locale does.
    private const string Before = """
        local function before(a, b)
          for i = 1, 8 do
            local x, y = string.byte(a, i), string.byte(b, i)
            if x ~= y then return x < y end
          end
          return false
        end

        """;

    /// <summary>
    /// KEYS 1 the record; ARGV 1 the expected version, 2 the new value, 3 its time to live in ms, 4 '1': the indexes have
    /// the entries of the new value already, 5 the head of the record that this one was made from, no index of which
    /// changes, 6 the subject that loses the session, once the caller has noted that. Answers with a number of
    /// <see cref="ScriptAnswer"/>; with 0 and 1 when it has written and the subject is another one than before; with 4 and the
    /// subject that would lose the session. It writes nothing unless it answers 0. Of a value of another format, or one
    /// whose time seen is none (no time begins with a byte above 43), it believes the version alone.
    /// </summary>
    public const string Replace =
        // As a rule nobody has changed the record since it was read: this is checked first, because it costs least.
        """
            local old = redis.call('GETRANGE', KEYS[1], 0, 35)
            if old == ARGV[5] then
              redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
              return 0
            end
            if #old < 36 then return 2 end
            if string.sub(old, 3, 10) ~= ARGV[1] then return 1 end

            """
        + Before
        + """
            local new = ARGV[2]
            local isOurs = string.byte(old, 1) == 1 and string.byte(old, 11) < 44
            local moved = string.byte(old, 2) >= 128
            local wasEnded = string.byte(old, 2) % 128 == 2
            local isEnded = string.byte(new, 2) == 2
            local subject = false
            local length = string.byte(old, 35) * 256 + string.byte(old, 36)
            if isOurs and length < 65535 then subject = redis.call('GETRANGE', KEYS[1], 36, 35 + length) end
            local newSubject = false
            local newLength = string.byte(new, 35) * 256 + string.byte(new, 36)
            if newLength < 65535 then newSubject = string.sub(new, 37, 36 + newLength) end
            if isOurs and length == 0 then subject = '' end
            if ARGV[4] ~= '1' and (moved or wasEnded ~= isEnded or subject ~= newSubject
                or before(string.sub(new, 19, 26), string.sub(old, 19, 26))) then return 3 end
            if subject and subject ~= newSubject and subject ~= ARGV[6] then return {4, subject} end
            if isOurs and before(string.sub(new, 11, 18), string.sub(old, 11, 18)) then
              new = string.sub(new, 1, 10) .. string.sub(old, 11, 18) .. string.sub(new, 19)
            end
            redis.call('SET', KEYS[1], new, 'PX', ARGV[3])
            if subject == newSubject then return 0 end
            return {0, 1}
            """;

    /// <summary>The hash by which a server knows the script of each write: the driver would compute it from the text each time.</summary>
    public static readonly byte[] ReplaceHash = Hash(Replace);

    private static readonly ConcurrentDictionary<string, string> Hashes = new(StringComparer.Ordinal);

    /// <summary>The hash of one of these scripts, as the server writes it.</summary>
    public static string HashOf(string script) =>
        Hashes.GetOrAdd(script, static text => Convert.ToHexStringLower(Hash(text)));

    /// <summary>KEYS 1 the record; ARGV 1 the time seen. Moves it forward only, and never on a tombstone.</summary>
    public const string Touch =
        Before
        + """
            local old = redis.call('GETRANGE', KEYS[1], 0, 17)
            if #old < 18 or string.byte(old, 2) % 128 == 2 then return 0 end
            if before(string.sub(old, 11, 18), ARGV[1]) then redis.call('SETRANGE', KEYS[1], 10, ARGV[1]) end
            return 1
            """;

    /// <summary>KEYS 1 the record. Answers with its subject, if it had one.</summary>
    public const string Remove = """
        local old = redis.call('GETRANGE', KEYS[1], 34, 35)
        if #old < 2 then
          redis.call('DEL', KEYS[1])
          return false
        end
        local length = string.byte(old, 1) * 256 + string.byte(old, 2)
        local subject = false
        if length < 65535 then subject = redis.call('GETRANGE', KEYS[1], 36, 35 + length) end
        if length == 0 then subject = '' end
        redis.call('DEL', KEYS[1])
        return subject
        """;

    /// <summary>
    /// KEYS 1 the record; ARGV 1 its version, 2 its operation. Removes the record if it has both, and answers 1; else 0.
    /// </summary>
    public const string RemoveVersion = """
        local old = redis.call('GETRANGE', KEYS[1], 0, 33)
        if #old < 34 or string.sub(old, 3, 10) ~= ARGV[1] or string.sub(old, 27, 34) ~= ARGV[2] then return 0 end
        redis.call('DEL', KEYS[1])
        return 1
        """;

    /// <summary>
    /// KEYS 1 the record; ARGV 1 an operation. Answers 1 if the record was written by it, and writes the first byte as it is:
    /// WAIT counts the replicas that have the last write of its own connection, and this is one.
    /// </summary>
    public const string ConfirmWrite = """
        local old = redis.call('GETRANGE', KEYS[1], 0, 33)
        if #old < 34 or string.sub(old, 27, 34) ~= ARGV[1] then return 0 end
        redis.call('SETRANGE', KEYS[1], 0, string.sub(old, 1, 1))
        return 1
        """;

    /// <summary>
    /// KEYS 1 the index of a subject; ARGV 1 an id, 2 a text that sorts behind its members, 3 a marked member or nothing. With
    /// nothing it enters the id alone, unless the session has a member; else the marked one, unless it has such a one.
    /// </summary>
    public const string Enter = """
        local found = redis.call('ZRANGEBYLEX', KEYS[1], '[' .. ARGV[1], '(' .. ARGV[2], 'LIMIT', 0, 2)
        if ARGV[3] == '' then
          if #found == 0 then redis.call('ZADD', KEYS[1], 0, ARGV[1]) end
        elseif #found == 0 or (#found == 1 and found[1] == ARGV[1]) then
          redis.call('ZADD', KEYS[1], 0, ARGV[3])
        end
        return #found
        """;

    /// <summary>
    /// KEYS 1 a shard of the due index; ARGV 1 the score at the end of the lease, then pairs of member and score: a member is
    /// claimed only if its score still is the one that was read. Answers with the members that are claimed.
    /// </summary>
    public const string Claim = """
        local claimed = {}
        for i = 2, #ARGV, 2 do
          local score = redis.call('ZSCORE', KEYS[1], ARGV[i])
          if score and tonumber(score) == tonumber(ARGV[i + 1]) then
            redis.call('ZADD', KEYS[1], ARGV[1], ARGV[i])
            claimed[#claimed + 1] = ARGV[i]
          end
        end
        return claimed
        """;

    /// <summary>
    /// KEYS 1 the record; ARGV 1 the latest due time that its entry in the due index may stand for. Answers with the record, and
    /// marks it as moved in the due index; or, if the record is due later, with its due time alone (8 bytes); or, if there is
    /// no record, with nothing; or with an array of the value, if that is no record of ours.
    /// </summary>
    public const string LoadClaimed =
        Before
        + """
            local value = redis.call('GET', KEYS[1])
            if not value then return false end
            if #value < 36 or string.byte(value, 1) ~= 1 then return {value} end
            local kind = string.byte(value, 2)
            local due = string.sub(value, 19, 26)
            if kind < 128 then
              if before(ARGV[1], due) then return due end
              redis.call('SETRANGE', KEYS[1], 1, string.char(kind + 128))
            end
            return value
            """;

    /// <summary>
    /// KEYS 1 the record; ARGV 1 its version, 2 the new due time in ms since the year 1, 3 the margin in ms. Marks this version as
    /// moved in the due index, lets it live as long as the new time needs, and answers 1; answers 0 if it is no longer there. Of
    /// what is no record of ours it changes nothing, and answers 1: that is looked at again at that time.
    /// </summary>
    public const string Reschedule = """
        local old = redis.call('GETRANGE', KEYS[1], 0, 17)
        if #old > 0 and (#old < 18 or string.byte(old, 1) ~= 1) then return 1 end
        if #old == 0 or string.sub(old, 3, 10) ~= ARGV[1] then return 0 end
        local kind = string.byte(old, 2)
        if kind < 128 then redis.call('SETRANGE', KEYS[1], 1, string.char(kind + 128)) end
        local seen = 0
        for i = 11, 18 do seen = seen * 256 + string.byte(old, i) end
        local rest = math.max(tonumber(ARGV[2]) - seen / 10000, 0) + tonumber(ARGV[3])
        if rest > redis.call('PTTL', KEYS[1]) then redis.call('PEXPIRE', KEYS[1], string.format('%.0f', rest)) end
        return 1
        """;

    /// <summary>
    /// KEYS 1 a record; ARGV the keys of others that this server of a Cluster has, too. Answers with their values. A key of
    /// another server is an error, and so is, on some servers, any key that is not among KEYS; which in a Cluster have to be of one slot.
    /// </summary>
    public const string LoadMany = """
        local values = {redis.call('GET', KEYS[1])}
        for i, key in ipairs(ARGV) do values[i + 1] = redis.call('GET', key) end
        return values
        """;

    /// <summary>KEYS 1 any; ARGV 1 a number of steps. Answers how often another client's command came between two of the script's own.</summary>
    public const string Atomic = """
        local torn = 0
        for i = 1, tonumber(ARGV[1]) do
          local before = redis.call('INCR', KEYS[1])
          if redis.call('INCR', KEYS[1]) ~= before + 1 then torn = torn + 1 end
        end
        return torn
        """;

#pragma warning disable CA5350 // SHA-1 is how Redis names a script; nothing rests on it
    private static byte[] Hash(string script) => SHA1.HashData(Encoding.UTF8.GetBytes(script));
#pragma warning restore CA5350
}
