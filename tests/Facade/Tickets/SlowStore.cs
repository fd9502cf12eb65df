using Session.Engine;

namespace Facade.Tickets;

/// <summary>A store that takes its time, another one for each call, from a seed.</summary>
internal sealed class SlowStore(ISessionStore inner, int seed) : ForwardingStore(inner)
{
    private readonly Random _random = new(seed);

    private Task PauseAsync()
    {
        int pause;
        lock (_random)
            pause = _random.Next(4);

        return pause == 0 ? Task.CompletedTask : Task.Delay(pause);
    }

    public override async ValueTask<StoredRecord?> Load(string id, CancellationToken cancellationToken)
    {
        await PauseAsync();
        return await base.Load(id, cancellationToken);
    }

    public override async ValueTask<WriteResult> Replace(
        StoredRecord record,
        long expected,
        CancellationToken cancellationToken
    )
    {
        await PauseAsync();
        var answer = await base.Replace(record, expected, cancellationToken);
        await PauseAsync();
        return answer;
    }
}
