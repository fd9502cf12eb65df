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
    private readonly Dictionary<string, Gate> _gates = new(StringComparer.Ordinal);

    /// <summary>Names the cache object: an interface does not say which server is behind it.</summary>
    public Guid Name { get; } = Guid.NewGuid();

    public static WriteGates Of(IDistributedCache cache) => All.GetValue(cache, static _ => new WriteGates());

    /// <summary>Waits for its turn with this key, and with no other: a cache that never answers one write holds up those to the same session alone.</summary>
    public async Task<Gate> EnterAsync(string key, Deadline deadline)
    {
        Gate gate;
        lock (_gates)
        {
            if (!_gates.TryGetValue(key, out gate!))
                _gates.Add(key, gate = new Gate(this, key));

            gate.Holders++;
        }

        try
        {
            await deadline.Enter(gate.Turn).ConfigureAwait(false);
            return gate;
        }
        catch
        {
            Forget(gate);
            throw;
        }
    }

    private void Forget(Gate gate)
    {
        lock (_gates)
        {
            gate.Holders--;
            if (gate.Holders == 0)
                _gates.Remove(gate.Key);
        }
    }

    /// <summary>One key that somebody writes to, or waits to write to.</summary>
    internal sealed class Gate(WriteGates gates, string key)
    {
        public string Key => key;

        public SemaphoreSlim Turn { get; } = new(1, 1);

        /// <summary>Under the lock of the gates.</summary>
        public int Holders { get; set; }

        public void Leave()
        {
            Turn.Release();
            gates.Forget(this);
        }
    }
}
