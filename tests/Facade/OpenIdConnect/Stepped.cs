using Session.Engine;

namespace Facade.OpenIdConnect;

/// <summary>Counts the calls of one node, has one of them wait or fail, and the others go through.</summary>
internal sealed class Stepped(ISessionStore inner) : ForwardingStore(inner)
{
    private int _calls;
    private int _failAt;
    private int _waitAt;
    private TaskCompletionSource _reached = New();
    private TaskCompletionSource _goOn = New();

    public int Calls => _calls;

    /// <summary>Whether the call came that had to fail or to wait.</summary>
    public bool IsSpent => _calls >= Math.Max(_failAt, _waitAt);

    public Task Reached => _reached.Task;

    private static TaskCompletionSource New() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Counts anew. 0: none fails.</summary>
    public void FailAt(int call) => (_calls, _failAt, _waitAt) = (0, call, 0);

    /// <summary>Counts anew: this call waits before it is made.</summary>
    public void WaitAt(int call)
    {
        (_reached, _goOn) = (New(), New());
        (_calls, _failAt, _waitAt) = (0, 0, call);
    }

    public void GoOn() => _goOn.TrySetResult();

    private async ValueTask<TAnswer> StepAsync<TAnswer>(Func<ValueTask<TAnswer>> call)
    {
        var number = Interlocked.Increment(ref _calls);
        if (number == _failAt)
            throw new IOException("The test said so.");

        if (number == _waitAt)
        {
            _reached.TrySetResult();
            await _goOn.Task;
        }

        return await call();
    }

    public override ValueTask<WriteResult> Insert(StoredRecord record, CancellationToken cancel) =>
        StepAsync(() => base.Insert(record, cancel));

    public override ValueTask<StoredRecord?> Load(string id, CancellationToken cancel) =>
        StepAsync(() => base.Load(id, cancel));

    public override ValueTask<WriteResult> Replace(StoredRecord record, long expected, CancellationToken cancel) =>
        StepAsync(() => base.Replace(record, expected, cancel));

    public override ValueTask<StoredPage> BySubject(
        string subject,
        string? after,
        int limit,
        CancellationToken cancel
    ) => StepAsync(() => base.BySubject(subject, after, limit, cancel));

    public override ValueTask<IReadOnlyList<StoredRecord>> LoadMany(
        IReadOnlyList<string> ids,
        CancellationToken cancel
    ) => StepAsync(() => base.LoadMany(ids, cancel));
}
