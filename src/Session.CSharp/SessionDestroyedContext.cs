namespace Session.CSharp;

/// <summary>A session was ended on purpose.</summary>
/// <typeparam name="T">The session data.</typeparam>
public sealed class SessionDestroyedContext<T> : SessionEventContext<T>
    where T : class
{
    internal SessionDestroyedContext(Told<T> told, SessionEndReason reason)
        : base(told) => Reason = reason;

    /// <summary>By what.</summary>
    public SessionEndReason Reason { get; }
}
