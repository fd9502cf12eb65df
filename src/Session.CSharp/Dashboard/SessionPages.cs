using System.Diagnostics;
using Face = Session.AspNetCore.Session;

namespace Session.CSharp;

/// <summary>What the pages know of a session, in the words of C#.</summary>
internal static class SessionPages
{
    internal static SessionInfo ToInfo(Face.Info info) =>
        new(
            SessionId.Of(info.Id),
            info.Subject?.Value,
            info.State switch
            {
                { IsCreated: true } => SessionState.Created,
                { IsActive: true } => SessionState.Active,
                { IsRegenerated: true } => SessionState.Regenerated,
                { IsDestroyed: true } => SessionState.Destroyed,
                { IsExpired: true } => SessionState.Expired,
                { IsNone: true } => SessionState.None,
                _ => throw new UnreachableException(),
            },
            info.CreatedAt,
            info.AuthenticatedAt?.Value,
            info.LastSeen,
            info.ExpiresAt
        );
}
