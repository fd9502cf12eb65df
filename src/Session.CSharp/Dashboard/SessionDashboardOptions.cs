namespace Session.CSharp;

/// <summary>What the dashboard of sessions shows besides.</summary>
/// <typeparam name="T">The session data.</typeparam>
public sealed class SessionDashboardOptions<T>
    where T : class
{
    /// <summary>The heading. Default: Sessions.</summary>
    public string Title { get; set; } = "Sessions";

    /// <summary>The text of a session's data, for the page of that session. Default null: no data is shown.</summary>
    /// <remarks>Whoever may see the dashboard then sees what the session holds. The text is encoded.</remarks>
    public Func<T, string>? ShowData { get; set; }

    /// <summary>Whether live sessions are counted, once a minute, also in a store that looks at each of them for that: for small ones. Default false.</summary>
    /// <remarks>Redis and the memory store count cheaply, and are always asked.</remarks>
    public bool AlwaysCount { get; set; }
}
