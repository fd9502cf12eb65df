namespace Session.CSharp;

/// <summary>The serialized data is larger than <c>MaxDataBytes</c> (413).</summary>
public sealed class SessionDataException : SessionException
{
    internal SessionDataException(int statusCode, string message)
        : base(statusCode, message, null) { }
}
