namespace Session.CSharp;

/// <summary>A record, or the data in it, could not be read.</summary>
/// <typeparam name="T">The session data.</typeparam>
public sealed class SessionUnreadableContext<T> : SessionEventContext<T>
    where T : class
{
    internal SessionUnreadableContext(Told<T> told, string reason)
        : base(told) => Reason = reason;

    /// <summary>What is wrong, in a few words; for the log.</summary>
    public string Reason { get; }
}
