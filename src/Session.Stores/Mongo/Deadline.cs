using System.Diagnostics;

namespace Session.Stores.Mongo;

/// <summary>
/// One deadline for an operation, from now on: for the search of a server, all commands of the operation, and the driver's
/// retries.
/// </summary>
internal sealed class Deadline(TimeSpan timeout)
{
    private readonly long _since = Stopwatch.GetTimestamp();

    public bool IsOver => Left <= TimeSpan.Zero;

    private TimeSpan Left => timeout - Stopwatch.GetElapsedTime(_since);

    /// <exception cref="TimeoutException">There was no answer in time.</exception>
    public async Task<T> Of<T>(Func<CancellationToken, Task<T>> work, CancellationToken cancellationToken)
    {
        var left = Left;
        if (left <= TimeSpan.Zero)
            throw Late(null);
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        deadline.CancelAfter(left);
        try
        {
            return await work(deadline.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException error) when (!cancellationToken.IsCancellationRequested)
        {
            throw Late(error);
        }
    }

    private TimeoutException Late(Exception? error) =>
        new($"MongoDB did not answer within {timeout.TotalSeconds} s (MongoStoreOptions.OperationTimeout).", error);
}
