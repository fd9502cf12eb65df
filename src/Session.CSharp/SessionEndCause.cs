namespace Session.CSharp;

/// <summary>Why <see cref="Session{T}.Ended"/> was cancelled.</summary>
public enum SessionEndCause
{
    /// <summary>The session was ended by a request of its own.</summary>
    SignedOut,

    /// <summary>It was ended by <c>SessionManager&lt;T&gt;</c>, whoever held it: "log out everywhere", say.</summary>
    Revoked,

    /// <summary>A superseded token was presented after its grace: the sign of theft.</summary>
    Replayed,

    /// <summary>Its subject signed in elsewhere, and had as many sessions as it may have.</summary>
    Limit,

    /// <summary>Its token was never presented in time.</summary>
    Unconfirmed,

    /// <summary>It was idle for too long.</summary>
    Idle,

    /// <summary>It reached its absolute timeout.</summary>
    Absolute,

    /// <summary>It lives on under another token, of the same subject: a sign-in, a second factor, another role.</summary>
    Elevated,

    /// <summary>Another subject has signed in to it.</summary>
    OtherSubject,

    /// <summary>It is no longer in the store.</summary>
    Removed,
}
