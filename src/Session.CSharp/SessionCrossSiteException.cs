namespace Session.CSharp;

/// <summary>Another site had the browser send the request: it changes, begins and ends no session (403). See <see cref="SessionOptions{T}.TrustedOrigins"/>.</summary>
public sealed class SessionCrossSiteException : SessionException
{
    internal SessionCrossSiteException(int statusCode, string message)
        : base(statusCode, message, null) { }
}
