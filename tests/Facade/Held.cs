using Microsoft.Extensions.DependencyInjection;
using Session.AspNetCore;
using Session.CSharp;
using Session.Engine;
using Xunit;

namespace Facade;

/// <summary>A request that stays open until its session ends, or the test lets it go.</summary>
internal sealed class Held : IAsyncDisposable
{
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    private readonly TaskCompletionSource _open = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly CancellationTokenSource _letGo = new();
    private Task _request = Task.CompletedTask;
    private SessionEndCause? _cause;

    private Held() { }

    /// <summary>Open, and watched.</summary>
    public static async Task<Held> OpenAsync(Site site, string token)
    {
        var held = new Held();
        held._request = site.WithAsync(held.HoldAsync, token);
        await Task.WhenAny(held._open.Task, held._request).WaitAsync(Patience);
        Assert.True(held._open.Task.IsCompleted, "it is open");
        return held;
    }

    private async Task HoldAsync(Session<Cart> session)
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(session.Ended, _letGo.Token);
        _open.SetResult();
        try
        {
            await Task.Delay(Timeout.Infinite, either.Token);
        }
        catch (OperationCanceledException)
        {
            _cause = session.EndedBecause;
        }
    }

    /// <summary>What ended it.</summary>
    public async Task<SessionEndCause?> CauseAsync()
    {
        await _request.WaitAsync(Patience);
        return _cause;
    }

    /// <summary>It is open still, after as long as a notice would take many times over.</summary>
    public async Task StaysAsync()
    {
        await Task.WhenAny(_request, Task.Delay(200));
        Assert.False(_request.IsCompleted, $"still open, and not ended: {_cause}");
    }

    public static int Count(Site site) => site.Services.GetRequiredService<SessionService<Cart>>().OpenSessions.Count;

    public static async Task UntilAsync(Func<bool> holds, string what)
    {
        var end = DateTime.UtcNow + Patience;
        while (!holds())
        {
            Assert.True(DateTime.UtcNow < end, what);
            await Task.Delay(5);
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _letGo.CancelAsync();
        await _request.WaitAsync(Patience);
        _letGo.Dispose();
    }
}

/// <summary>Counts what it is asked, and can be cut off from what other nodes say.</summary>
internal sealed class LiveStore(ISessionStore inner, bool isCut = false) : ForwardingStore(inner)
{
    private int _many;
    private int _subscriptions;
    private int _published;

    public int Many => _many;
    public int Subscriptions => _subscriptions;
    public int Published => _published;

    public override ValueTask<IReadOnlyList<StoredRecord>> LoadMany(IReadOnlyList<string> ids, CancellationToken cancel)
    {
        Interlocked.Increment(ref _many);
        return base.LoadMany(ids, cancel);
    }

    public override ValueTask Publish(IReadOnlyList<string> ids, CancellationToken cancel)
    {
        Interlocked.Add(ref _published, ids.Count);
        return isCut ? ValueTask.CompletedTask : base.Publish(ids, cancel);
    }

    public override ValueTask<IAsyncDisposable> Subscribe(Action<string?> heard, CancellationToken cancel)
    {
        Interlocked.Increment(ref _subscriptions);
        return isCut ? base.Subscribe(static _ => { }, cancel) : base.Subscribe(heard, cancel);
    }
}

/// <summary>Does this whenever it has looked at what is open, before it answers. Nobody ever hears of another node's ends, so that there are no looks but by the clock.</summary>
internal sealed class AnsweringStore(ISessionStore inner, Action asked) : ForwardingStore(inner)
{
    public override async ValueTask<IAsyncDisposable> Subscribe(Action<string?> heard, CancellationToken cancel)
    {
        await Task.Delay(Timeout.Infinite, cancel);
        throw new OperationCanceledException(cancel);
    }

    public override async ValueTask<IReadOnlyList<StoredRecord>> LoadMany(
        IReadOnlyList<string> ids,
        CancellationToken cancel
    )
    {
        var found = await base.LoadMany(ids, cancel);
        asked();
        return found;
    }
}
