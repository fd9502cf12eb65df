using Microsoft.Data.Sqlite;

namespace Session.Stores.Sqlite;

/// <summary>Which sessions have ended, said from process to process through the file that they share.</summary>
internal sealed class Signals(DatabaseFile file, Connections connections, NoticeBoard board) : IDisposable
{
    private const int MostIds = 100;

    // A store that is closed while somebody still listens closes that, too.
    private readonly Lock _gate = new();
    private readonly List<Listener> _listeners = [];

    public async ValueTask PublishAsync(IReadOnlyList<string> ids, CancellationToken cancellationToken)
    {
        // A read, where nobody listens: then nothing is written.
        var isHeard = await connections
            .ReadAsync(board, static (reader, board) => board.IsHeard(reader.Connection), cancellationToken)
            .ConfigureAwait(false);
        if (!isHeard)
            return;

        foreach (var some in ids.Chunk(MostIds))
            await WriteAsync(connection => board.Say(connection, string.Join(' ', some)), cancellationToken)
                .ConfigureAwait(false);
    }

    public async ValueTask<IAsyncDisposable> SubscribeAsync(Action<string?> heard, CancellationToken cancellationToken)
    {
        var listener = new Listener(this, heard);
        // The first time here: whoever cannot listen at all is told so.
        await listener.BeginAsync(cancellationToken).ConfigureAwait(false);
        lock (_gate)
            _listeners.Add(listener);
        return listener;
    }

    /// <summary>Nobody hears anything any more.</summary>
    public void Dispose()
    {
        Listener[] left;
        lock (_gate)
            left = [.. _listeners];
        foreach (var listener in left)
            listener.Stop();
    }

    // Like a routine write: it waits for no disk, and in this process for the writes before it.
    private async ValueTask WriteAsync(Action<SqliteConnection> work, CancellationToken cancellationToken) =>
        await connections
            .WriteAsync(
                work,
                static (writer, work) =>
                {
                    writer.Hinting(work);
                    return true;
                },
                cancellationToken
            )
            .ConfigureAwait(false);

    /// <summary>Looks for notices until it is disposed of, and says now and then that it is there.</summary>
    private sealed class Listener(Signals signals, Action<string?> heard) : IAsyncDisposable
    {
        private static readonly TimeSpan Beat = TimeSpan.FromMilliseconds(50);
        private static readonly TimeSpan Rest = TimeSpan.FromSeconds(1);
        private static readonly TimeSpan LongestStop = TimeSpan.FromSeconds(5);

        private readonly string _name = Guid.NewGuid().ToString("N");
        private readonly CancellationTokenSource _stop = new();
        private Task _running = Task.CompletedTask;
        private Ear? _ear;
        private DateTime _enteredAt;

        public async Task BeginAsync(CancellationToken cancellationToken)
        {
            await EnterAsync(cancellationToken).ConfigureAwait(false);
            _ear = signals.OpenEar();
            _running = Task.Run(RunAsync, CancellationToken.None);
        }

        private async Task EnterAsync(CancellationToken cancellationToken)
        {
            await signals
                .WriteAsync(connection => signals.Board.Enter(connection, _name), cancellationToken)
                .ConfigureAwait(false);
            _enteredAt = DateTime.UtcNow;
        }

        private async Task RunAsync()
        {
            using var beat = new PeriodicTimer(Beat);
            try
            {
                while (await beat.WaitForNextTickAsync(_stop.Token).ConfigureAwait(false))
                    if (!await HearAsync().ConfigureAwait(false))
                        await Task.Delay(Rest, _stop.Token).ConfigureAwait(false);
            }
            catch (Exception error) when (error is OperationCanceledException or ObjectDisposedException)
            {
                // Nobody listens any more, or the store is closed.
            }
            finally
            {
                _ear?.Dispose();
            }
        }

        /// <summary>False: the file cannot be read. Meanwhile the looks at the store find what is not heard.</summary>
        private async Task<bool> HearAsync()
        {
            try
            {
                var sinceEntered = DateTime.UtcNow - _enteredAt;
                var mayHaveMissed = _ear is null || sinceEntered >= NoticeBoard.Lease;
                if (sinceEntered >= NoticeBoard.Lease / 3 || sinceEntered < TimeSpan.Zero)
                    await EnterAsync(_stop.Token).ConfigureAwait(false);
                var ear = _ear ??= signals.OpenEar();
                if (mayHaveMissed)
                    heard(null);
                if (signals.IsGone(ear))
                    throw signals.Gone();
                ear.Hear(heard);
                return true;
            }
            catch (Exception error)
                when (error is SqliteException or InvalidOperationException and not ObjectDisposedException)
            {
                _ear?.Dispose();
                _ear = null;
                _enteredAt = default;
                return false;
            }
        }

        /// <summary>Waits for what is being heard, and no longer.</summary>
        public void Stop()
        {
            _stop.Cancel();
            _running.Wait(LongestStop);
        }

        public async ValueTask DisposeAsync()
        {
            lock (signals._gate)
                if (!signals._listeners.Remove(this))
                    return;

            await _stop.CancelAsync().ConfigureAwait(false);
            await _running.ConfigureAwait(false);
            try
            {
                await signals
                    .WriteAsync(connection => signals.Board.Leave(connection, _name), CancellationToken.None)
                    .ConfigureAwait(false);
            }
            catch (Exception error) when (error is SqliteException or InvalidOperationException)
            {
                // Its lease runs out by itself.
            }
        }
    }

    private NoticeBoard Board => board;

    private Ear OpenEar() => file.OpenEar(board);

    private bool IsGone(Ear ear) => file.IsGone(ear.Connection, ref ear.LookedAt);

    private InvalidOperationException Gone() => file.Gone();
}
