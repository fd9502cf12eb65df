using Session.AspNetCore;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Blazor circuits that end together with their session.</summary>
public static class SessionCircuitExtensions
{
    /// <summary>
    /// A circuit is closed as soon as the session that it was opened under is over, elevated or another subject's, on any node: its
    /// user is signed out, nothing that its page sends is run any more, and the page is loaded anew.
    /// </summary>
    /// <remarks>
    /// A page that does not follow is cut off after 5 seconds. A connection that takes up a circuit has to come with its session, and so
    /// does one that resumes it from what was kept of it. A circuit without a session goes on as it is.
    /// </remarks>
    /// <param name="builder">What <c>AddInteractiveServerComponents()</c> returns.</param>
    /// <typeparam name="T">The session data.</typeparam>
    public static IServerSideBlazorBuilder AddSessionLifetime<T>(this IServerSideBlazorBuilder builder)
        where T : class
    {
        ArgumentNullException.ThrowIfNull(builder);
        return SessionCircuits.add<T>(builder);
    }
}
