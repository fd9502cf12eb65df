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
}
