namespace Session.CSharp;

/// <summary>The serialized data is larger than <c>MaxDataBytes</c> (413), or holds what could not be given back (500): <see cref="Exception.InnerException"/> says what. Nothing was changed.</summary>
public sealed class SessionDataException : SessionException
{
    internal SessionDataException(int statusCode, string message, Exception? inner)
        : base(statusCode, message, inner) { }
}
