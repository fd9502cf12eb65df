using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authentication.Cookies;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;
using Session.CSharp;

namespace Microsoft.AspNetCore.Http;

/// <summary>The session that keeps the ticket of a request.</summary>
public static class ServerSideTicketHttpContextExtensions
{
    /// <summary>The id of the session that keeps this request's ticket, after a sign-in that of the new one: what "all but this one" excepts. Empty: nobody is signed in by it.</summary>
    /// <param name="context">The request.</param>
    /// <param name="scheme">A cookie scheme. Default: the one that authenticates by default.</param>
    /// <exception cref="InvalidOperationException">The scheme is no cookie scheme, or AddServerSideTickets was not called.</exception>
    /// <exception cref="SessionUnavailableException">The store did not answer.</exception>
    public static async Task<SessionId> GetTicketSessionIdAsync(this HttpContext context, string? scheme = null)
    {
        ArgumentNullException.ThrowIfNull(context);
        var services = context.RequestServices;
        scheme ??= (
            await services
                .GetRequiredService<IAuthenticationSchemeProvider>()
                .GetDefaultAuthenticateSchemeAsync()
                .ConfigureAwait(false)
        )?.Name;
        if (
            scheme is null
            || services.GetRequiredService<IOptionsMonitor<CookieAuthenticationOptions>>().Get(scheme).SessionStore
                is not TicketStore store
        )
            throw new InvalidOperationException(
                $"'{scheme}' has no server-side tickets: name a cookie scheme, and call services.AddServerSideTickets()."
            );

        await context.AuthenticateAsync(scheme).ConfigureAwait(false);
        return store.IdIn(context);
    }
}
