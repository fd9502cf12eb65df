namespace Session.Stores.Postgres;

/// <summary>What a write that must last (a sign-in, an elevation, a renewal, a logout) has reached before it is acknowledged.</summary>
public enum PostgresDurability
{
    /// <summary>
    /// The disk of the server, and that of the standbys which its <c>synchronous_standby_names</c> asks for
    /// (<c>synchronous_commit = on</c>): no crash, and no failover to such a standby, undoes it.
    /// </summary>
    Flushed = 0,

    /// <summary>
    /// Besides, those standbys have carried it out (<c>synchronous_commit = remote_apply</c>): who reads from them sees it.
    /// </summary>
    Applied = 1,
}
