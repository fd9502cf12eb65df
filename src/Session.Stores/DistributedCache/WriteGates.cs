using System.Runtime.CompilerServices;
using Microsoft.Extensions.Caching.Distributed;

namespace Session.Stores.DistributedCache;

/// <summary>
/// The writes of this process to one cache take turns, id by id: the cache compares nothing, so whoever writes must be
/// alone between reading and writing. Shared by all stores on the same cache object.
/// </summary>
internal sealed class WriteGates
{
    private static readonly ConditionalWeakTable<IDistributedCache, WriteGates> All = [];
    private readonly SemaphoreSlim[] _gates = [.. Enumerable.Range(0, 256).Select(_ => new SemaphoreSlim(1, 1))];

    /// <summary>Names the cache object: an interface does not say which server is behind it.</summary>
    public Guid Name { get; } = Guid.NewGuid();

    public static WriteGates Of(IDistributedCache cache) => All.GetValue(cache, static _ => new WriteGates());

    public SemaphoreSlim Of(string key) =>
        _gates[(uint)string.GetHashCode(key, StringComparison.Ordinal) % (uint)_gates.Length];
}
