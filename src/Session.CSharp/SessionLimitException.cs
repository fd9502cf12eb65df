namespace Session.CSharp;

/// <summary>The subject has as many live sessions as <c>MaxSessionsPerSubject</c> allows, and <c>WhenLimitReached</c> refuses another (409).</summary>
public sealed class SessionLimitException : SessionException
{
    internal SessionLimitException(int statusCode, string message)
        : base(statusCode, message, null) { }
}
