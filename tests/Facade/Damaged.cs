using Session.CSharp;
using Session.Engine;
using Xunit;

namespace Facade;

/// <summary>Records that this node cannot read, and another one perhaps can: of a newer version, or under another key.</summary>
internal static class Damaged
{
    public static async Task RecordAsync(ISessionStore store, SessionId id)
    {
        var it = (await store.Load(id.Value, CancellationToken.None))!;
        var damaged = new StoredRecord(
            it.Id,
            it.Version + 1,
            it.Kind,
            it.LastSeen,
            it.DueAt,
            it.Subject,
            it.Operation + 1,
            new byte[] { 255 }
        );
        Assert.Equal(WriteResult.Written, await store.Replace(damaged, it.Version, CancellationToken.None));
    }
}
