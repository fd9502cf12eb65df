namespace Session.CSharp;

/// <summary>Which time ended a session.</summary>
public enum SessionExpiryReason
{
    /// <summary>Its token never came back within <c>ConfirmTimeout</c>.</summary>
    Unconfirmed,

    /// <summary>No request came within <c>IdleTimeout</c>.</summary>
    Idle,

    /// <summary>It reached <c>AbsoluteTimeout</c>.</summary>
    Absolute,
}
