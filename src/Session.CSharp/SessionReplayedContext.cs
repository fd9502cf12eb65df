namespace Session.CSharp;

/// <summary>A superseded token was presented after its grace.</summary>
/// <typeparam name="T">The session data.</typeparam>
public sealed class SessionReplayedContext<T> : SessionEventContext<T>
    where T : class
{
    internal SessionReplayedContext(Told<T> told)
        : base(told) { }
}
