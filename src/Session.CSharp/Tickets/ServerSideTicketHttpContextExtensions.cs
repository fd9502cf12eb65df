using Microsoft.AspNetCore.Authentication;
using Microsoft.Extensions.DependencyInjection;
using Session.CSharp;

namespace Microsoft.AspNetCore.Http;

/// <summary>The session that keeps the ticket of a request.</summary>
public static class ServerSideTicketHttpContextExtensions
{
    /// <summary>The id of the session that keeps this request's ticket, after a sign-in that of the new one: what "all but this one" excepts. Empty: nobody is signed in by it.</summary>
    /// <param name="context">The request.</param>
    /// <param name="scheme">A cookie scheme, or one that passes requests on to one, such as a policy scheme. Default: the one that authenticates by default.</param>
    /// <exception cref="InvalidOperationException">The scheme has no cookie, or AddServerSideTickets was not called.</exception>
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
        if (scheme is not null && services.GetService<TicketSchemes>() is { } schemes)
        {
            var (asked, isChosen) = await schemes.AuthenticatingAsync(context, scheme).ConfigureAwait(false);
            if (asked is not null)
            {
                // A handler may ask another scheme in its own way: the ticket says which one has answered.
                var answer = await context.AuthenticateAsync(scheme).ConfigureAwait(false);
                var answered = answer.Ticket?.AuthenticationScheme;
                var store =
                    await schemes.StoreOfAsync(answered).ConfigureAwait(false)
                    ?? await schemes.StoreOfAsync(asked.Name).ConfigureAwait(false);
                if (store is not null)
                    return store.IdIn(context);

                // Another request is passed on to a cookie; this one has none.
                if (isChosen)
                    return SessionId.Empty;
            }
        }

        throw new InvalidOperationException(
            $"'{scheme}' has no server-side tickets: name a cookie scheme, and call services.AddServerSideTickets()."
        );
    }
}
