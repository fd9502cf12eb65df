namespace Integration.App;

/// <summary>Holds slow requests until the test lets them go on.</summary>
public sealed class Gate
{
    private readonly SemaphoreSlim _entered = new(0);
    private readonly TaskCompletionSource _open = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Called by the endpoint.</summary>
    public Task PassAsync()
    {
        _entered.Release();
        return _open.Task;
    }

    /// <summary>Called by the test: so many requests are waiting.</summary>
    public async Task EnteredAsync(int count)
    {
        for (var i = 0; i < count; i++)
            if (!await _entered.WaitAsync(TimeSpan.FromSeconds(20)))
                throw new TimeoutException($"Only {i} of {count} slow requests came to the gate.");
    }

    public void Open() => _open.TrySetResult();
}
