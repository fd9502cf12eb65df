using System.Diagnostics.CodeAnalysis;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Session.AspNetCore;
using Session.OpenIdConnect;

namespace Microsoft.AspNetCore.Builder;

/// <summary>Logouts that an identity provider sends.</summary>
public static class SessionBackChannelLogoutExtensions
{
    /// <summary>
    /// A POST by which an identity provider ends the sessions that it began (OpenID Connect Back-Channel Logout 1.0): the one that a logout token
    /// names by <c>sid</c>, or all of a user, by <c>sub</c>. They are those whose sign-in has said so, <c>SignInAsync("ada", cart, external: (issuer, sid))</c>, and those to which
    /// a remote handler of the framework (<c>AddOpenIdConnect</c>) signed in, by the scheme of the session or by a server-side ticket.
    /// </summary>
    /// <remarks>200 once no node opens one of them any more. Else 400: the token is not the provider's, is old or has been used, or the store failed.</remarks>
    /// <param name="endpoints">Where it is mapped.</param>
    /// <param name="pattern">Its route, such as <c>/signout-backchannel</c>: what the provider knows as <c>backchannel_logout_uri</c>.</param>
    /// <param name="configure">Sets at least <see cref="BackChannelLogoutOptions.Authority"/> and <see cref="BackChannelLogoutOptions.Audience"/>.</param>
    /// <typeparam name="T">The session data.</typeparam>
    /// <exception cref="ArgumentException">The settings are incomplete, or contradict each other: the sentence says what to change.</exception>
    public static IEndpointConventionBuilder MapBackChannelLogout<T>(
        this IEndpointRouteBuilder endpoints,
        [StringSyntax("Route")] string pattern,
        Action<BackChannelLogoutOptions> configure
    )
    {
        ArgumentNullException.ThrowIfNull(endpoints);
        ArgumentNullException.ThrowIfNull(pattern);
        ArgumentNullException.ThrowIfNull(configure);
        var options = new BackChannelLogoutOptions();
        configure(options);
        if (options.Contradiction() is { } sentence)
            throw new ArgumentException(sentence, nameof(configure));

        // From now on, whoever comes from a provider by one of the framework's handlers is tied to its session there.
        endpoints.ServiceProvider.GetService<SessionService<T>>()?.HearsLogouts = true;
        // Without a cookie and without a user: the signature is all the proof there is.
        return endpoints
            .MapPost(pattern, (RequestDelegate)new BackChannelLogoutEndpoint<T>(options).HandleAsync)
            .WithMetadata(new AllowAnonymousAttribute());
    }
}
