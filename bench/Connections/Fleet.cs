namespace Bench.Connections;

/// <summary>Some nodes of one kind, started and ended together.</summary>
internal sealed class Fleet(IReadOnlyList<Node> nodes, TimeSpan liveCheck) : IAsyncDisposable
{
    public IReadOnlyList<Node> Nodes => nodes;
    public TimeSpan LiveCheck => liveCheck;

    public static async Task<Fleet> StartAsync(int count, string variant, string redis, TimeSpan liveCheck)
    {
        var starting = Enumerable.Range(0, count).Select(_ => Node.StartAsync(variant, redis, liveCheck));
        return new Fleet(await Task.WhenAll(starting), liveCheck);
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var node in nodes)
            await node.DisposeAsync();
    }
}
