using Session.AspNetCore;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>The users of Blazor circuits.</summary>
public static class SessionServerSideBlazorBuilderExtensions
{
    /// <summary>
    /// The user of an interactive circuit is looked at again and again in the store, and signed out there once the session is over
    /// or another subject's; new claims come when its data gives others. One store call each time, which extends nothing.
    /// </summary>
    /// <remarks>While the store cannot be reached the user stays, but no longer than the session would have lived when it was last seen.</remarks>
    /// <param name="builder">What <c>AddInteractiveServerComponents()</c> returns.</param>
    /// <param name="revalidationInterval">The time between two looks. Default 1 minute.</param>
    /// <typeparam name="T">The session data, as in <c>AddAuthentication().AddSession&lt;T&gt;()</c>.</typeparam>
    public static IServerSideBlazorBuilder AddSessionAuthenticationState<T>(
        this IServerSideBlazorBuilder builder,
        TimeSpan? revalidationInterval = null
    )
        where T : class
    {
        ArgumentNullException.ThrowIfNull(builder);
        SessionRevalidation.add<T>(revalidationInterval ?? SessionRevalidation.interval, builder.Services);
        return builder;
    }
}
