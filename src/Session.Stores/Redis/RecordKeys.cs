using System.Globalization;
using StackExchange.Redis;

namespace Session.Stores.Redis;

/// <summary>The names of all keys, and the scores of the due index. Nodes of all versions have to agree on them.</summary>
internal sealed class RecordKeys(string prefix)
{
    /// <summary>How many parts each index of all records has: in a cluster they are on different nodes.</summary>
    public const int Shards = 16;

    // Scores are ticks since then: doubles hold them exactly until 2048, and to a few ticks for ever.
    private static readonly long Epoch = new DateTime(2020, 1, 1, 0, 0, 0, DateTimeKind.Utc).Ticks;

    // So many ticks a double may have lost of a score that is far from the epoch.
    private const int LostTicks = 64;

    public static IEnumerable<int> AllShards => Enumerable.Range(0, Shards);

    public RedisKey Record(string id) => string.Concat(prefix, "r:", id);

    /// <summary>The index of one subject's sessions.</summary>
    public RedisKey Subject(string subject) => string.Concat(prefix, "s:", subject);

    /// <summary>The due index, in which an id has its due time as its score.</summary>
    public RedisKey Due(int shard) => $"{prefix}d:{shard}";

    public RedisKey Due(string id) => Due(ShardOf(id));

    /// <summary>The list of all records that are no tombstones.</summary>
    public RedisKey Live(int shard) => $"{prefix}l:{shard}";

    public RedisKey Live(string id) => Live(ShardOf(id));

    /// <summary>The list of all tombstones.</summary>
    public RedisKey Ended(int shard) => $"{prefix}e:{shard}";

    public RedisKey Ended(string id) => Ended(ShardOf(id));

    /// <summary>FNV-1a of the id: the same on every node and in every version.</summary>
    private static int ShardOf(string id)
    {
        var hash = 2166136261u;
        foreach (var c in id)
            hash = unchecked((hash ^ c) * 16777619u);
        return (int)(hash % Shards);
    }

    /// <summary>The score of a due time.</summary>
    public static double Score(DateTimeOffset at) => at.UtcTicks - Epoch;

    /// <summary>The latest due time, in ticks, that may have this score.</summary>
    public static long LatestDue(double score) =>
        (long)Math.Clamp(score, -Epoch, DateTime.MaxValue.Ticks - Epoch - 1000) + Epoch + LostTicks;

    /// <summary>A score as Redis reads it, to the last bit.</summary>
    public static string Text(double score) => score.ToString("R", CultureInfo.InvariantCulture);
}
