namespace Session.CSharp;

/// <summary>A request brought what opens nothing.</summary>
/// <typeparam name="T">The session data.</typeparam>
public sealed class SessionRefusedContext<T> : SessionEventContext<T>
    where T : class
{
    internal SessionRefusedContext(Told<T> told, SessionRefusalReason reason)
        : base(told) => Reason = reason;

    /// <summary>What it was.</summary>
    public SessionRefusalReason Reason { get; }
}
