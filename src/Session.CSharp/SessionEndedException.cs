namespace Session.CSharp;

/// <summary>There is no session any more: it ended meanwhile, this request's token does not open it, or more signed in at once than MaxSessionsPerSubject allows and this sign-in was ended again (401).</summary>
public sealed class SessionEndedException : SessionException
{
    internal SessionEndedException(int statusCode, string message)
        : base(statusCode, message, null) { }
}
