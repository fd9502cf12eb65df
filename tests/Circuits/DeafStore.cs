using Session.Engine;

namespace Circuits;

/// <summary>The store of a node whose channel of notices is cut: none goes out, and none comes in.</summary>
public sealed class DeafStore(ISessionStore inner) : ForwardingStore(inner)
{
    public override ValueTask Publish(IReadOnlyList<string> ids, CancellationToken cancellationToken) =>
        ValueTask.CompletedTask;

    public override ValueTask<IAsyncDisposable> Subscribe(Action<string?> heard, CancellationToken cancellationToken) =>
        throw new NotSupportedException("No notice reaches this node.");
}
