namespace Session.CSharp;

/// <summary>A session has a new token.</summary>
/// <typeparam name="T">The session data.</typeparam>
public sealed class SessionRegeneratedContext<T> : SessionEventContext<T>
    where T : class
{
    internal SessionRegeneratedContext(Told<T> told, SessionRegenerationReason reason)
        : base(told) => Reason = reason;

    /// <summary>Why.</summary>
    public SessionRegenerationReason Reason { get; }
}
