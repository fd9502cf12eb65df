namespace Session.Stores.Sqlite;

/// <summary>What an acknowledged write survives.</summary>
public enum SqliteDurability
{
    /// <summary>
    /// The application may be killed at any time without losing a write. A power loss or a crash of the operating
    /// system may lose the last commits (a logout among them), but never damages the file.
    /// </summary>
    Normal = 0,

    /// <summary>Every commit is on disk before it is acknowledged (<c>synchronous=FULL</c>): slower writes.</summary>
    Full = 1,

    /// <summary>
    /// What ends a session, signs in, elevates or renews a token is on disk before it is acknowledged, and all that was
    /// written before it with it; everything else is as with <see cref="Normal"/>.
    /// </summary>
    Selective = 2,
}
