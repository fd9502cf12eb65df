namespace Session.CSharp;

/// <summary>A session was created.</summary>
/// <typeparam name="T">The session data.</typeparam>
public sealed class SessionCreatedContext<T> : SessionEventContext<T>
    where T : class
{
    internal SessionCreatedContext(Told<T> told)
        : base(told) { }
}
