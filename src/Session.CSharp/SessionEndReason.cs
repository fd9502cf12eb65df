namespace Session.CSharp;

/// <summary>Why a session was ended on purpose.</summary>
public enum SessionEndReason
{
    /// <summary>By a request of its own: <c>DestroyAsync</c>, or another session in its place.</summary>
    SignedOut,

    /// <summary>By <c>SessionManager&lt;T&gt;</c>, whoever held it.</summary>
    Revoked,

    /// <summary>A superseded token was presented after its grace: the sign of theft.</summary>
    Replayed,

    /// <summary>Its subject signed in elsewhere, and had as many sessions as it may have.</summary>
    Limit,
}
