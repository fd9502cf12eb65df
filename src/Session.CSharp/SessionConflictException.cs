namespace Session.CSharp;

/// <summary>Another write to the session came first since this request read it (409). <c>UpdateAsync</c> cannot fail so.</summary>
public sealed class SessionConflictException : SessionException
{
    internal SessionConflictException(int statusCode, string message)
        : base(statusCode, message, null) { }
}
