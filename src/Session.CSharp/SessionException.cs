using Session.AspNetCore;

namespace Session.CSharp;

/// <summary>A session operation did not take place: nothing was changed, unless <see cref="SessionUnavailableException.MayHaveChanged"/> or the message of a <see cref="SessionEndedException"/> says so. Unhandled, the middleware answers with its status code.</summary>
public abstract class SessionException : SessionFailedException
{
    private protected SessionException(int statusCode, string message, Exception? inner)
        : base(statusCode, message, inner) { }
}
