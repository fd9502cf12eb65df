namespace Session.CSharp;

/// <summary>Where in its life a session is.</summary>
public enum SessionState
{
    /// <summary>There is no session.</summary>
    None,

    /// <summary>A token was issued and no client has presented it yet.</summary>
    Created,

    /// <summary>A client presented the token.</summary>
    Active,

    /// <summary>A renewal is under way and two tokens are known.</summary>
    Regenerated,

    /// <summary>Ended on purpose.</summary>
    Destroyed,

    /// <summary>Ended by time.</summary>
    Expired,
}
