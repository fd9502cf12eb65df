using System.Security.Claims;
using Microsoft.AspNetCore.Authentication;

namespace Session.CSharp;

/// <summary>Whose a ticket is, of a scheme that signs users in.</summary>
internal static class TicketSubject
{
    // A display name comes last: it need not be of one person only.
    private static readonly string[] Names = [ClaimTypes.NameIdentifier, "sub", ClaimTypes.Upn, ClaimTypes.Name];

    public static string? Of(AuthenticationTicket ticket) =>
        Names
            .Select(name => ticket.Principal.FindFirst(name)?.Value)
            .FirstOrDefault(value => !string.IsNullOrEmpty(value));
}
