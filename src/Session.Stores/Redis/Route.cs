using StackExchange.Redis;

namespace Session.Stores.Redis;

/// <summary>The connections to where the records are.</summary>
/// <param name="Primary">Behind Sentinels: the one server that they lead to, as host:port. Else null.</param>
/// <param name="Connection">For all that waits for no replica.</param>
/// <param name="Waiting">
/// For writes that wait for their replicas, if there are such: WAIT holds up whatever else goes over its connection.
/// </param>
/// <param name="Database">The database of the one.</param>
/// <param name="WaitingDatabase">The database of the other.</param>
/// <param name="IsTimed">Whether the driver itself gives up an operation in time, as on the connections that the store makes.</param>
internal sealed record Route(
    string? Primary,
    IConnectionMultiplexer Connection,
    IConnectionMultiplexer? Waiting,
    IDatabase Database,
    IDatabase? WaitingDatabase,
    bool IsTimed
)
{
    /// <summary>The database for a write that waits for its replicas, or for what does not.</summary>
    public IDatabase For(bool waitsForReplicas) => waitsForReplicas ? WaitingDatabase ?? Database : Database;
}
