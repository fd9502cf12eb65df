namespace Session.CSharp;

/// <summary>What a sign-in does when its subject has as many live sessions as it may have.</summary>
public enum SessionLimitBehavior
{
    /// <summary>The session with the oldest sign-in ends.</summary>
    EndOldest = 0,

    /// <summary>The sign-in is refused with a <see cref="SessionLimitException"/>; the others stay.</summary>
    RefuseNew = 1,
}
