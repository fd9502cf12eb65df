using Microsoft.AspNetCore.Authentication;

namespace Session.CSharp;

/// <summary>What a request that was slow may still change in a ticket that others have changed meanwhile.</summary>
internal static class TicketMerge
{
    private const string Issued = ".issued";
    private const string Expires = ".expires";

    /// <summary>Whether the principal is as it was read, and only properties differ: a sliding expiration.</summary>
    public static bool IsExtension(AuthenticationTicket read, AuthenticationTicket renewed) =>
        Principal(read).AsSpan().SequenceEqual(Principal(renewed));

    /// <summary>Brings what this request has changed in the properties to what is stored now. False: nothing is left to change.</summary>
    public static bool TryApply(AuthenticationTicket read, AuthenticationTicket renewed, AuthenticationTicket stored)
    {
        var before = read.Properties.Items;
        var after = renewed.Properties.Items;
        var target = stored.Properties.Items;
        // Another request has extended it, as far at least: neither its time nor a write.
        var isExtended =
            stored.Properties.ExpiresUtc != read.Properties.ExpiresUtc
            && stored.Properties.ExpiresUtc >= renewed.Properties.ExpiresUtc;

        var isChanged = false;
        foreach (var name in before.Keys.Union(after.Keys).ToArray())
        {
            var value = after.TryGetValue(name, out var found) ? found : null;
            if (
                (before.TryGetValue(name, out var old) ? old : null) == value
                || (isExtended && name is Issued or Expires)
            )
                continue;

            isChanged = true;
            if (value is null)
                target.Remove(name);
            else
                target[name] = value;
        }

        return isChanged;
    }

    private static byte[] Principal(AuthenticationTicket ticket) =>
        TicketSerializer.Default.Serialize(
            new AuthenticationTicket(ticket.Principal, new AuthenticationProperties(), ticket.AuthenticationScheme)
        );
}
