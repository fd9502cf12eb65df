using System.Diagnostics.CodeAnalysis;
using Microsoft.AspNetCore.Routing;
using Session.AspNetCore;

namespace Microsoft.AspNetCore.Builder;

/// <summary>Endpoints of the library's own.</summary>
public static class SessionEndpointRouteBuilderExtensions
{
    /// <summary>A GET that answers <c>{"signedIn":true,"expiresIn":412}</c>: whether somebody has signed in to this request's session, and in how many whole seconds it ends if nothing more happens; 0 without a session.</summary>
    /// <remarks>For a page that counts down. It moves no deadline, issues no token and is never cached. Always 200 while the store answers, for nobody as well; else 503, with <c>ContinueWithoutStore</c> too.</remarks>
    /// <typeparam name="T">The session data.</typeparam>
    /// <param name="endpoints">Where it is mapped.</param>
    /// <param name="pattern">Its route, such as <c>/session</c>.</param>
    public static IEndpointConventionBuilder MapSessionStatus<T>(
        this IEndpointRouteBuilder endpoints,
        [StringSyntax("Route")] string pattern
    )
        where T : class
    {
        ArgumentNullException.ThrowIfNull(endpoints);
        ArgumentNullException.ThrowIfNull(pattern);
        return SessionStatus.map<T>(pattern, endpoints);
    }
}
