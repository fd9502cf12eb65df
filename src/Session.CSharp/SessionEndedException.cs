namespace Session.CSharp;

/// <summary>There is no session any more: it ended meanwhile, or this request's token does not open it (401).</summary>
public sealed class SessionEndedException : SessionException
{
    internal SessionEndedException(int statusCode, string message)
        : base(statusCode, message, null) { }
}
