using Session.AspNetCore;

namespace Microsoft.AspNetCore.Builder;

/// <summary>Endpoints for which somebody has to have signed in a moment ago.</summary>
public static class SignedInWithinExtensions
{
    /// <summary>
    /// After <c>RequireSignIn&lt;T&gt;()</c>: the sign-in has to be this recent (ASVS 7.5.1, 7.5.3). Else another one is asked for:
    /// the login page, with <c>reason=insufficient_user_authentication</c>; of programs by a 401 whose problem has it as <c>reason</c>.
    /// </summary>
    /// <remarks>
    /// At exactly that age it is too old. A group and an endpoint may both say it: the shorter time counts. The identity
    /// provider's challenge gets it as <c>max_age</c>. Where an endpoint lacks <c>RequireSignIn</c> the application
    /// does not start.
    /// </remarks>
    /// <param name="builder">The endpoint, or a group.</param>
    /// <param name="maxAge">How long ago <c>Session&lt;T&gt;.AuthenticatedAt</c> may be: longer than zero.</param>
    /// <typeparam name="TBuilder">The kind of endpoint.</typeparam>
    public static TBuilder SignedInWithin<TBuilder>(this TBuilder builder, TimeSpan maxAge)
        where TBuilder : IEndpointConventionBuilder
    {
        ArgumentNullException.ThrowIfNull(builder);
        SessionGuard.requireWithin(maxAge, builder);
        return builder;
    }
}
