namespace Session.CSharp;

/// <summary>Another site had the browser send the request, which brought no token: it begins no session (403). See <see cref="SessionOptions{T}.AllowCrossSiteCreation"/>.</summary>
public sealed class SessionCrossSiteException : SessionException
{
    internal SessionCrossSiteException(int statusCode, string message)
        : base(statusCode, message, null) { }
}
