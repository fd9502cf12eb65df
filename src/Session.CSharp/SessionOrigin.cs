namespace Session.CSharp;

/// <summary>What the request came with.</summary>
public enum SessionOrigin
{
    /// <summary>No token.</summary>
    New,

    /// <summary>The token of a live session.</summary>
    Resumed,

    /// <summary>The token of a session that time has ended: tell the user that it expired.</summary>
    Expired,

    /// <summary>Anything else: no token of ours, a guess, a superseded one, of a session ended on purpose or long gone.</summary>
    Invalid,
}
