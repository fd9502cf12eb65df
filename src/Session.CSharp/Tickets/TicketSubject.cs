using System.Security.Claims;
using Microsoft.AspNetCore.Authentication;

namespace Session.CSharp;

/// <summary>Whose a ticket is.</summary>
internal static class TicketSubject
{
    // Steps on the way to a sign-in, and a browser that a second factor need not be asked of: nobody is signed in by them.
    // The name in an external one is the provider's, and might be another user's here.
    private static readonly string[] OfNobody =
    [
        "Identity.External",
        "Identity.TwoFactorUserId",
        "Identity.TwoFactorRememberMe",
    ];

    // A display name comes last: it need not be of one person only.
    private static readonly string[] Names = [ClaimTypes.NameIdentifier, "sub", ClaimTypes.Upn, ClaimTypes.Name];

    public static string? Of(AuthenticationTicket ticket, string scheme) =>
        OfNobody.Contains(scheme, StringComparer.Ordinal)
            ? null
            : Names
                .Select(name => ticket.Principal.FindFirst(name)?.Value)
                .FirstOrDefault(value => !string.IsNullOrEmpty(value));
}
