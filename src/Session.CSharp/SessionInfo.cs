namespace Session.CSharp;

/// <summary>A session as its owner's devices page or an operator sees it. Nothing in it is secret, and nothing of its data.</summary>
/// <param name="Id">The public id.</param>
/// <param name="Subject">Whose session it is, or null.</param>
/// <param name="State">Created, Active or Regenerated.</param>
/// <param name="CreatedAt">When it was created.</param>
/// <param name="AuthenticatedAt">The last sign-in, or null.</param>
/// <param name="LastSeen">The last request, exact to a sixtieth of the idle timeout (at most one minute).</param>
/// <param name="ExpiresAt">When it ends if nothing more happens.</param>
public sealed record SessionInfo(
    SessionId Id,
    string? Subject,
    SessionState State,
    DateTimeOffset CreatedAt,
    DateTimeOffset? AuthenticatedAt,
    DateTimeOffset LastSeen,
    DateTimeOffset ExpiresAt
);
