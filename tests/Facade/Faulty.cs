using Session.Engine;

namespace Facade;

/// <summary>A store whose answers to writes cannot be relied on, or that does not answer at all.</summary>
internal sealed class Faulty : Passing
{
    public Fault Fault { get; set; }

    public override ValueTask<StoredRecord?> Load(string id, CancellationToken cancel) =>
        Fault == Fault.IsSilent
            ? new ValueTask<StoredRecord?>(new TaskCompletionSource<StoredRecord?>().Task)
            : base.Load(id, cancel);

    public override async ValueTask<WriteResult> Replace(StoredRecord record, long expected, CancellationToken cancel)
    {
        if (Fault == Fault.FailsBefore)
            throw new IOException("the connection was lost");

        var answer = await base.Replace(record, expected, cancel);
        return Fault switch
        {
            Fault.FailsAfter => throw new IOException("the connection was lost"),
            Fault.IsNotConfirmed => WriteResult.Unacknowledged,
            _ => answer,
        };
    }
}
