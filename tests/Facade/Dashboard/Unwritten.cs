using Session.Engine;

namespace Facade.Dashboard;

/// <summary>A store that can be read, and takes no change while it refuses.</summary>
internal sealed class Unwritten() : ForwardingStore(new MemoryStore())
{
    public bool IsRefusing { get; set; }

    public override ValueTask<WriteResult> Replace(
        StoredRecord record,
        long expected,
        CancellationToken cancellationToken
    ) => IsRefusing ? throw new IOException("read only") : base.Replace(record, expected, cancellationToken);
}
