namespace Session.CSharp;

/// <summary>A subject signed in.</summary>
/// <typeparam name="T">The session data.</typeparam>
public sealed class SessionSignedInContext<T> : SessionEventContext<T>
    where T : class
{
    internal SessionSignedInContext(Told<T> told)
        : base(told) { }
}
