namespace Session.CSharp;

/// <summary>Why a session has a new token.</summary>
public enum SessionRegenerationReason
{
    /// <summary>The token was old enough, and the client has presented its next one.</summary>
    Renewal,

    /// <summary>The application called <c>RegenerateAsync</c>.</summary>
    Elevation,

    /// <summary>A subject signed in, into a session that there was before.</summary>
    SignIn,
}
