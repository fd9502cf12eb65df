namespace Session.CSharp;

/// <summary>Something that happened to a session, told after it was stored.</summary>
/// <typeparam name="T">The session data.</typeparam>
public sealed class SessionEventContext<T>
    where T : class
{
    internal SessionEventContext(
        SessionId id,
        string? subject,
        T? data,
        string reason,
        DateTimeOffset at,
        IServiceProvider services
    ) => (Id, Subject, Data, Reason, At, Services) = (id, subject, data, reason, at, services);

    /// <summary>The session; empty for OnRefused, unless it was a guess.</summary>
    public SessionId Id { get; }

    /// <summary>Whose session it is, or null.</summary>
    public string? Subject { get; }

    /// <summary>The data as it is, or was at the end. Null when it cannot be read.</summary>
    public T? Data { get; }

    /// <summary>Why: SignedOut, Revoked, Replayed or Limit; Unconfirmed, Idle or Absolute; Renewal, Elevation or SignIn; for OnRefused Guess, Duplicate or Malformed; for OnUnreadable a sentence; or empty.</summary>
    public string Reason { get; }

    /// <summary>When.</summary>
    public DateTimeOffset At { get; }

    /// <summary>The application's services (the root: make a scope for scoped ones).</summary>
    public IServiceProvider Services { get; }
}
