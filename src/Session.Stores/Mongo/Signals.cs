using MongoDB.Bson;
using MongoDB.Driver;

namespace Session.Stores.Mongo;

/// <summary>Which sessions have ended, said from node to node through a change stream: of a replica set, or a sharded cluster.</summary>
internal sealed class Signals(NoticeBoard board)
{
    private const int MostIds = 500;

    public async ValueTask PublishAsync(IReadOnlyList<string> ids, CancellationToken cancellationToken)
    {
        foreach (var some in ids.Chunk(MostIds))
            await board.SayAsync(string.Join(' ', some), cancellationToken).ConfigureAwait(false);
    }

    public async ValueTask<IAsyncDisposable> SubscribeAsync(Action<string?> heard, CancellationToken cancellationToken)
    {
        // The first time here: whoever cannot listen at all is told so. Followed first, so that nothing is said unheard.
        var stream = await board.FollowAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            await board.EnterAsync(cancellationToken).ConfigureAwait(false);
            return new Listener(board, heard, stream);
        }
        catch
        {
            stream.Dispose();
            throw;
        }
    }

    /// <summary>Until it is disposed of: after a failure by another stream.</summary>
    private sealed class Listener : IAsyncDisposable
    {
        private static readonly TimeSpan Rest = TimeSpan.FromSeconds(1);
        private const long Never = long.MinValue / 2;

        private readonly NoticeBoard _board;
        private readonly Action<string?> _heard;
        private readonly CancellationTokenSource _stop = new();
        private readonly Task _running;

        public Listener(NoticeBoard board, Action<string?> heard, IChangeStreamCursor<BsonDocument> stream)
        {
            _board = board;
            _heard = heard;
            _running = Task.Run(() => RunAsync(stream));
        }

        private async Task RunAsync(IChangeStreamCursor<BsonDocument> first)
        {
            var stream = first;
            var enteredAt = Environment.TickCount64;
            while (true)
                try
                {
                    if (stream is null)
                    {
                        stream = await _board.FollowAsync(_stop.Token).ConfigureAwait(false);
                        enteredAt = Never;
                    }
                    var sinceEntered = Environment.TickCount64 - enteredAt;
                    if (sinceEntered >= NoticeBoard.Lease.TotalMilliseconds / 4)
                    {
                        var mayHaveMissed = sinceEntered >= NoticeBoard.Lease.TotalMilliseconds;
                        await _board.EnterAsync(_stop.Token).ConfigureAwait(false);
                        enteredAt = Environment.TickCount64;
                        if (mayHaveMissed)
                            _heard(null);
                    }

                    foreach (var id in await _board.HearAsync(stream, _stop.Token).ConfigureAwait(false))
                        _heard(id);
                }
                catch (Exception error) when (_stop.IsCancellationRequested || error is ObjectDisposedException)
                {
                    // Nobody listens any more, or the client is closed.
                    stream?.Dispose();
                    return;
                }
                catch (Exception error)
                    when (error
                            is MongoException
                                or TimeoutException
                                or OperationCanceledException
                                or NotSupportedException
                    )
                {
                    // It goes on after a rest. Meanwhile the looks at the store find what is not heard.
                    stream?.Dispose();
                    stream = null;
                    await Task.Delay(Rest, _stop.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                }
        }

        public async ValueTask DisposeAsync()
        {
            // Whoever disposes of it twice is told of no failure.
            if (!_stop.IsCancellationRequested)
                await _stop.CancelAsync().ConfigureAwait(false);
            await _running.ConfigureAwait(false);
            _stop.Dispose();
        }
    }
}
