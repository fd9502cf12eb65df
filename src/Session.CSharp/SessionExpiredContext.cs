namespace Session.CSharp;

/// <summary>A session was ended by time.</summary>
/// <typeparam name="T">The session data.</typeparam>
public sealed class SessionExpiredContext<T> : SessionEventContext<T>
    where T : class
{
    internal SessionExpiredContext(Told<T> told, SessionExpiryReason reason)
        : base(told) => Reason = reason;

    /// <summary>By which time.</summary>
    public SessionExpiryReason Reason { get; }
}
