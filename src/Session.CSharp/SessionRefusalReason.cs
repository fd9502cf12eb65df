namespace Session.CSharp;

/// <summary>What came in place of a token that opens something.</summary>
public enum SessionRefusalReason
{
    /// <summary>The id of a session that there is or was, and a secret that it does not know.</summary>
    Guess,

    /// <summary>Two different tokens: one may be planted.</summary>
    Duplicate,

    /// <summary>Not of the form of a token.</summary>
    Malformed,
}
