using System.Buffers;
using Microsoft.Extensions.Caching.Distributed;

namespace Session.Stores.DistributedCache;

/// <summary>Values in a cache, with as few copies as the cache allows.</summary>
/// <param name="cache">The application's.</param>
/// <param name="dropsSilently">Whether it is one in this process that drops what it has no room for, and says nothing.</param>
internal sealed class CacheEntries(IDistributedCache cache, bool dropsSilently)
{
    private const int UsualBytes = 1024;
    private readonly IBufferDistributedCache? _buffered = cache as IBufferDistributedCache;

    public async Task<ReadOnlyMemory<byte>?> Get(string key, CancellationToken cancellationToken)
    {
        if (_buffered is null)
        {
            var bytes = await cache.GetAsync(key, cancellationToken).ConfigureAwait(false);
            return Value(bytes is not null, bytes);
        }

        var writer = new ArrayBufferWriter<byte>(UsualBytes);
        var isThere = await _buffered.TryGetAsync(key, writer, cancellationToken).ConfigureAwait(false);
        return Value(isThere, writer.WrittenMemory);

        // Said in so many words: a null becomes an empty memory by itself.
        static ReadOnlyMemory<byte>? Value(bool isThere, ReadOnlyMemory<byte> value) =>
            isThere ? new ReadOnlyMemory<byte>?(value) : default(ReadOnlyMemory<byte>?);
    }

    public async Task Set(string key, byte[] head, ReadOnlyMemory<byte> body, TimeSpan timeToLive)
    {
        await Send(key, head, body, timeToLive).ConfigureAwait(false);
        if (
            dropsSilently
            && !(await Get(key, CancellationToken.None).ConfigureAwait(false) is { } kept && kept.Span.StartsWith(head))
        )
            throw new InvalidOperationException(
                "The cache has not kept what it was given: it is full. Give it more room (MemoryDistributedCacheOptions.SizeLimit), or choose another store."
            );
    }

    private Task Send(string key, byte[] head, ReadOnlyMemory<byte> body, TimeSpan timeToLive)
    {
        var entry = new DistributedCacheEntryOptions { AbsoluteExpirationRelativeToNow = timeToLive };
        if (_buffered is not null)
        {
            var first = new Segment(head);
            var last = first.Then(body);
            return _buffered
                .SetAsync(key, new ReadOnlySequence<byte>(first, 0, last, body.Length), entry, CancellationToken.None)
                .AsTask();
        }

        var value = head;
        if (!body.IsEmpty)
        {
            value = new byte[head.Length + body.Length];
            head.CopyTo(value, 0);
            body.CopyTo(value.AsMemory(head.Length));
        }

        return cache.SetAsync(key, value, entry, CancellationToken.None);
    }

    public Task Remove(string key) => cache.RemoveAsync(key, CancellationToken.None);

    private sealed class Segment : ReadOnlySequenceSegment<byte>
    {
        public Segment(ReadOnlyMemory<byte> memory) => Memory = memory;

        public Segment Then(ReadOnlyMemory<byte> next)
        {
            var segment = new Segment(next) { RunningIndex = Memory.Length };
            Next = segment;
            return segment;
        }
    }
}
