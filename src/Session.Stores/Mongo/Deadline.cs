namespace Session.Stores.Mongo;

/// <summary>One deadline for the search of a server, a command and the driver's retries.</summary>
internal static class Deadline
{
    /// <exception cref="TimeoutException">There was no answer in time.</exception>
    public static async Task<T> Of<T>(
        TimeSpan timeout,
        Func<CancellationToken, Task<T>> work,
        CancellationToken cancellationToken
    )
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        deadline.CancelAfter(timeout);
        try
        {
            return await work(deadline.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException error) when (!cancellationToken.IsCancellationRequested)
        {
            throw new TimeoutException(
                $"MongoDB did not answer within {timeout.TotalSeconds} s (MongoStoreOptions.OperationTimeout).",
                error
            );
        }
    }
}
