using Session.AspNetCore;
using Session.CSharp;

namespace Microsoft.AspNetCore.Builder;

/// <summary>Adds the session middleware, and guards endpoints.</summary>
public static class SessionApplicationBuilderExtensions
{
    /// <summary>The session middleware: after UseRouting (if the app calls it), before the endpoints. Wrong settings throw here.</summary>
    public static IApplicationBuilder UseSession<T>(this IApplicationBuilder app)
        where T : class
    {
        ArgumentNullException.ThrowIfNull(app);
        return SessionRegistration.@using<T>(app);
    }

    /// <summary>The endpoint answers 401 without a live session. An anonymous one is let in: this is no authentication.</summary>
    /// <remarks><see cref="UseSession"/> does the work: where it is missing, or stands before <c>UseRouting</c>, the endpoint does not run and the request fails with an <see cref="InvalidOperationException"/> that says so.</remarks>
    /// <typeparam name="T">The session data.</typeparam>
    /// <typeparam name="TBuilder">The kind of endpoint.</typeparam>
    public static TBuilder RequireSession<T, TBuilder>(this TBuilder builder)
        where T : class
        where TBuilder : IEndpointConventionBuilder
    {
        builder.Add(endpoint => SessionGuard.require(typeof(T), false, endpoint));
        return builder;
    }

    /// <inheritdoc cref="RequireSession{T, TBuilder}(TBuilder)" />
    public static IEndpointConventionBuilder RequireSession<T>(this IEndpointConventionBuilder builder)
        where T : class => builder.RequireSession<T, IEndpointConventionBuilder>();

    /// <inheritdoc cref="RequireSession{T, TBuilder}(TBuilder)" />
    public static RouteHandlerBuilder RequireSession<T>(this RouteHandlerBuilder builder)
        where T : class => builder.RequireSession<T, RouteHandlerBuilder>();

    /// <summary>The endpoint answers 401 without a live session that somebody has signed in to (ASVS 8.2.1).</summary>
    /// <remarks>Who that is says <c>Session&lt;T&gt;.Subject</c>; what he may do is the application's to decide. Without <see cref="UseSession"/> the request fails, as with <c>RequireSession</c>.</remarks>
    /// <typeparam name="T">The session data.</typeparam>
    /// <typeparam name="TBuilder">The kind of endpoint.</typeparam>
    public static TBuilder RequireSignIn<T, TBuilder>(this TBuilder builder)
        where T : class
        where TBuilder : IEndpointConventionBuilder
    {
        builder.Add(endpoint => SessionGuard.require(typeof(T), true, endpoint));
        return builder;
    }

    /// <inheritdoc cref="RequireSignIn{T, TBuilder}(TBuilder)" />
    public static IEndpointConventionBuilder RequireSignIn<T>(this IEndpointConventionBuilder builder)
        where T : class => builder.RequireSignIn<T, IEndpointConventionBuilder>();

    /// <inheritdoc cref="RequireSignIn{T, TBuilder}(TBuilder)" />
    public static RouteHandlerBuilder RequireSignIn<T>(this RouteHandlerBuilder builder)
        where T : class => builder.RequireSignIn<T, RouteHandlerBuilder>();
}
