using System.Collections.Concurrent;
using Microsoft.Data.Sqlite;

namespace Session.Stores.Sqlite;

/// <summary>
/// The open connections to one file: one that writes, and as many that read as there are reads at once. A connection on
/// which something failed is closed, and the next call opens another one.
/// </summary>
internal sealed class Connections(DatabaseFile file, TimeSpan busyTimeout) : IDisposable
{
    private const int MaxIdleReaders = 64;

    /// <summary>SQLite's result code for a lock that somebody else holds.</summary>
    private const int Busy = 5;

    // Guards _writer and _location. A write in this process waits here, and not in SQLite, which polls.
    private readonly SemaphoreSlim _writerGate = new(1, 1);
    private Writer? _writer;
    private string? _location;
    private int _writerGeneration;

    private readonly ConcurrentStack<Reader> _idleReaders = new();
    private int _idleCount;
    private volatile bool _isTableThere;
    private volatile bool _disposed;

    // Grows when the file turned out to be gone: what was opened before leads nowhere.
    private volatile int _generation;

    /// <summary>Opens the file if it is not open, and says where the records are.</summary>
    public ValueTask<string> OpenAsync(CancellationToken cancellationToken) =>
        WriteAsync(this, static (_, connections) => connections._location!, cancellationToken);

    /// <summary>Runs the work on the connection that writes, alone in this process.</summary>
    public async ValueTask<T> WriteAsync<TArgs, T>(
        TArgs args,
        Func<Writer, TArgs, T> work,
        CancellationToken cancellationToken
    )
    {
        ObjectDisposedException.ThrowIf(_disposed, typeof(SqliteStore));
        if (!await _writerGate.WaitAsync(busyTimeout, cancellationToken).ConfigureAwait(false))
            throw new SqliteException("The writes before this one in this process took longer than BusyTimeout.", Busy);

        try
        {
            ObjectDisposedException.ThrowIf(_disposed, typeof(SqliteStore));
            cancellationToken.ThrowIfCancellationRequested();
            if (_writer is { } stale && _writerGeneration != _generation)
            {
                _writer = null;
                stale.Dispose();
            }

            var writer = _writer ??= OpenWriter();
            try
            {
                if (file.IsGone(writer.Connection, ref writer.LookedAt))
                    throw Lost();
                return work(writer, args);
            }
            catch
            {
                // Closing rolls back what is open.
                _writer = null;
                writer.Dispose();
                throw;
            }
        }
        finally
        {
            _writerGate.Release();
        }
    }

    /// <summary>Runs the work on a connection that only reads.</summary>
    public async ValueTask<T> ReadAsync<TArgs, T>(
        TArgs args,
        Func<Reader, TArgs, T> work,
        CancellationToken cancellationToken
    )
    {
        ObjectDisposedException.ThrowIf(_disposed, typeof(SqliteStore));
        cancellationToken.ThrowIfCancellationRequested();
        if (!_isTableThere)
            await OpenAsync(cancellationToken).ConfigureAwait(false);

        var generation = _generation;
        var reader = TakeReader();
        T result;
        try
        {
            if (file.IsGone(reader.Connection, ref reader.LookedAt))
                throw Lost();
            result = work(reader, args);
        }
        catch
        {
            reader.Dispose();
            throw;
        }

        if (generation == _generation)
            GiveBack(reader);
        else
            reader.Dispose();
        return result;
    }

    /// <summary>From now on a call opens the file anew: it fails until there is one again.</summary>
    private InvalidOperationException Lost()
    {
        Interlocked.Increment(ref _generation);
        _isTableThere = false;
        CloseIdleReaders();
        return file.Gone();
    }

    /// <summary>Lets the write that runs end, and closes all connections.</summary>
    public void Dispose()
    {
        if (_disposed)
            return;

        _disposed = true;
        CloseIdleReaders();
        _writerGate.Wait();
        try
        {
            _writer?.Dispose();
            _writer = null;
            file.Dispose();
        }
        finally
        {
            _writerGate.Release();
        }
    }

    private Writer OpenWriter()
    {
        _writerGeneration = _generation;
        var writer = file.OpenWriter(out _location);
        _isTableThere = true;
        return writer;
    }

    private Reader TakeReader()
    {
        if (!_idleReaders.TryPop(out var idle))
            return file.IsReplaced ? throw Lost() : file.OpenReader();

        Interlocked.Decrement(ref _idleCount);
        return idle;
    }

    private void GiveBack(Reader reader)
    {
        if (Interlocked.Increment(ref _idleCount) > MaxIdleReaders)
        {
            Interlocked.Decrement(ref _idleCount);
            reader.Dispose();
            return;
        }

        _idleReaders.Push(reader);
        // Dispose may have come and gone since the read began.
        if (_disposed)
            CloseIdleReaders();
    }

    private void CloseIdleReaders()
    {
        while (_idleReaders.TryPop(out var reader))
        {
            Interlocked.Decrement(ref _idleCount);
            reader.Dispose();
        }
    }
}
