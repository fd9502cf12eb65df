using System.Collections.Concurrent;
using Microsoft.Extensions.Caching.Distributed;

namespace Facade.Compatibility;

/// <summary>A distributed cache in this process, on a clock of the test's, that can be made to fail.</summary>
internal sealed class ClockedCache(TimeProvider clock) : IDistributedCache
{
    private readonly ConcurrentDictionary<string, Entry> _entries = new();

    public bool Fails { get; set; }

    public Func<Task>? BeforeRemove { get; set; }

    public Func<Task>? BeforeGet { get; set; }

    public ICollection<string> Keys => _entries.Keys;

    public byte[]? Get(string key)
    {
        Check();
        if (!_entries.TryGetValue(key, out var entry))
            return null;

        if (clock.GetUtcNow() - entry.SeenAt >= entry.Sliding)
        {
            _entries.TryRemove(key, out _);
            return null;
        }

        _entries[key] = entry with { SeenAt = clock.GetUtcNow() };
        return entry.Value;
    }

    public async Task<byte[]?> GetAsync(string key, CancellationToken token = default)
    {
        if (Fails)
            throw new IOException("down");

        if (BeforeGet is { } before)
            await before();
        return Get(key);
    }

    public void Set(string key, byte[] value, DistributedCacheEntryOptions options)
    {
        Check();
        var sliding = options.SlidingExpiration ?? TimeSpan.MaxValue;
        _entries[key] = new Entry(value, sliding, clock.GetUtcNow());
    }

    public Task SetAsync(
        string key,
        byte[] value,
        DistributedCacheEntryOptions options,
        CancellationToken token = default
    )
    {
        if (Fails)
            return Task.FromException(new IOException("down"));

        Set(key, value, options);
        return Task.CompletedTask;
    }

    public void Refresh(string key) => Get(key);

    public Task RefreshAsync(string key, CancellationToken token = default) => GetAsync(key, token);

    public void Remove(string key)
    {
        Check();
        _entries.TryRemove(key, out _);
    }

    public async Task RemoveAsync(string key, CancellationToken token = default)
    {
        if (BeforeRemove is { } before)
            await before();

        Remove(key);
    }

    private void Check()
    {
        if (Fails)
            throw new IOException("down");
    }

    private sealed record Entry(byte[] Value, TimeSpan Sliding, DateTimeOffset SeenAt);
}
