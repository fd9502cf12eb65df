using Session.Engine;

namespace Facade.Tickets;

/// <summary>A store that fails on demand.</summary>
internal sealed class FailingStore() : ForwardingStore(new MemoryStore())
{
    public bool IsDown { get; set; }
    public bool TakesNoWrites { get; set; }

    /// <summary>The id of the one session that no write is taken for.</summary>
    public string? KeepsFor { get; set; }

    /// <summary>Writes are taken, and not kept as widely as they should be.</summary>
    public bool ConfirmsNothing { get; set; }

    /// <summary>The same of new sessions alone.</summary>
    public bool ConfirmsNoneThatBegins { get; set; }

    public int Calls { get; private set; }

    private void Ask()
    {
        Calls++;
        if (IsDown)
            throw new IOException("the connection was lost");
    }

    public override ValueTask<StoredRecord?> Load(string id, CancellationToken cancellationToken)
    {
        Ask();
        return base.Load(id, cancellationToken);
    }

    public override async ValueTask<WriteResult> Insert(StoredRecord record, CancellationToken cancellationToken)
    {
        Ask();
        if (TakesNoWrites)
            throw new IOException("read only");

        var answer = await base.Insert(record, cancellationToken);
        return ConfirmsNoneThatBegins && answer == WriteResult.Written ? WriteResult.Unacknowledged : answer;
    }

    public override async ValueTask<WriteResult> Replace(
        StoredRecord record,
        long expected,
        CancellationToken cancellationToken
    )
    {
        Ask();
        if (TakesNoWrites || record.Id == KeepsFor)
            throw new IOException("read only");

        var answer = await base.Replace(record, expected, cancellationToken);
        return ConfirmsNothing && answer == WriteResult.Written ? WriteResult.Unacknowledged : answer;
    }
}
