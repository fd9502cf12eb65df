namespace Session.Stores.Redis;

/// <summary>
/// Something that is asked over and over, by many at once: who comes while a round is under way waits for the next one, so
/// that an answer is never older than its question, and all who wait share it.
/// </summary>
internal sealed class Rounds<T>(Func<Task<T>> ask)
{
    private readonly Lock _gate = new();
    private Task<T>? _running;
    private Task<T>? _next;

    /// <summary>The answer of a round that begins after this call.</summary>
    public Task<T> Ask()
    {
        lock (_gate)
        {
            if (_next is { } next)
                return next;
            if (_running is { IsCompleted: false } running)
                return _next = After(running);
            return _running = Run();
        }
    }

    // Not with the context of whoever happened to ask first.
    private Task<T> Run()
    {
        if (ExecutionContext.IsFlowSuppressed())
            return Task.Run(ask);
        using (ExecutionContext.SuppressFlow())
            return Task.Run(ask);
    }

    private async Task<T> After(Task<T> running)
    {
        // Never at once: Ask has yet to put this task where it is found.
        await Task.WhenAny(running).ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
        Task<T> next;
        lock (_gate)
        {
            next = _running = Run();
            _next = null;
        }
        return await next.ConfigureAwait(false);
    }
}
