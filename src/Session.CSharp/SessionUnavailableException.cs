namespace Session.CSharp;

/// <summary>The store did not answer, or too many writers kept one session busy (503). The cookie is as it was.</summary>
public sealed class SessionUnavailableException : SessionException
{
    internal SessionUnavailableException(int statusCode, string message, Exception? inner)
        : base(statusCode, message, inner) { }
}
