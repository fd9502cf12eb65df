using Session.Engine;

namespace Session.Stores.DistributedCache;

/// <summary>The end of the waiting for one operation, whether the cache looks at its token or not.</summary>
internal sealed class Deadline : IDisposable
{
    private readonly TimeSpan _timeout;
    private readonly CancellationToken _caller;
    private readonly CancellationTokenSource _source;

    public Deadline(TimeSpan timeout, CancellationToken caller)
    {
        (_timeout, _caller) = (timeout, caller);
        _source = CancellationTokenSource.CreateLinkedTokenSource(caller);
        _source.CancelAfter(timeout);
        // Kept: the source may be disposed of while an abandoned read still looks at its token.
        Token = _source.Token;
    }

    public CancellationToken Token { get; }

    /// <summary>Waits by the semaphore's own means: a turn that comes just as the time is up must not get lost.</summary>
    public async Task Enter(SemaphoreSlim gate)
    {
        try
        {
            await gate.WaitAsync(Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (!_caller.IsCancellationRequested)
        {
            var error = new TimeoutException(
                $"The writes before this one to the same session took longer than {_timeout.TotalSeconds:0.###} seconds (OperationTimeout)."
            );
            // It has not been sent, and is not sent any more.
            throw new StoreRefusedException(error.Message, error);
        }
    }

    private async Task Of(Task task)
    {
        try
        {
            await task.WaitAsync(Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException error) when (LeaveTo(task) && !_caller.IsCancellationRequested)
        {
            throw Token.IsCancellationRequested
                ? Passed(_timeout)
                : new TimeoutException("The cache gave up by itself, before OperationTimeout.", error);
        }
    }

    public async Task<T> Of<T>(Task<T> task)
    {
        await Of((Task)task).ConfigureAwait(false);
        return await task.ConfigureAwait(false);
    }

    /// <summary>What a read fails with when nobody waits for it any more is no unobserved exception.</summary>
    private static bool LeaveTo(Task task)
    {
        _ = task.ContinueWith(
            static task => _ = task.Exception,
            CancellationToken.None,
            TaskContinuationOptions.OnlyOnFaulted | TaskContinuationOptions.ExecuteSynchronously,
            TaskScheduler.Default
        );
        return true;
    }

    public static TimeoutException Passed(TimeSpan timeout) =>
        new($"The cache did not answer within {timeout.TotalSeconds:0.###} seconds (OperationTimeout).");

    public void Dispose() => _source.Dispose();
}
