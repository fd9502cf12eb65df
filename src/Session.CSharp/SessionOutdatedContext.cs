namespace Session.CSharp;

/// <summary>A token from before an elevation was presented, and refused.</summary>
/// <typeparam name="T">The session data.</typeparam>
public sealed class SessionOutdatedContext<T> : SessionEventContext<T>
    where T : class
{
    internal SessionOutdatedContext(Told<T> told)
        : base(told) { }
}
