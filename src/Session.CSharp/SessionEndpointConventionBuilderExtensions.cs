using Microsoft.AspNetCore.Routing;
using Session.AspNetCore;
using Session.CSharp;

namespace Microsoft.AspNetCore.Builder;

/// <summary>Guards endpoints. Each call returns the builder that it was called on, and <c>AllowAnonymous</c> on an endpoint outweighs it, as with <c>RequireAuthorization</c>.</summary>
/// <remarks>
/// Without a live session the endpoint's authentication scheme challenges, or that of its sessions, or the application's default
/// one; where there is none, the answer is a 401. <c>app.UseSession&lt;T&gt;()</c> does the work: where it is missing, or stands before <c>UseRouting</c>,
/// the endpoint does not run and the request fails with an <see cref="InvalidOperationException"/> that says so.
/// </remarks>
public static class SessionEndpointConventionBuilderExtensions
{
    /// <summary>The endpoint answers 401 without a live session. An anonymous one is let in: this is no authentication.</summary>
    /// <typeparam name="T">The session data.</typeparam>
    /// <typeparam name="TBuilder">The kind of endpoint, where it is none of those that have an overload of their own.</typeparam>
    public static TBuilder RequireSession<T, TBuilder>(this TBuilder builder)
        where T : class
        where TBuilder : IEndpointConventionBuilder => Require<T, TBuilder>(builder, false);

    /// <summary>The endpoint answers 401 without a live session that somebody has signed in to (ASVS 8.2.1).</summary>
    /// <remarks>Who that is says <c>Session&lt;T&gt;.Subject</c>; what he may do is the application's to decide.</remarks>
    /// <typeparam name="T">The session data.</typeparam>
    /// <typeparam name="TBuilder">The kind of endpoint, where it is none of those that have an overload of their own.</typeparam>
    public static TBuilder RequireSignIn<T, TBuilder>(this TBuilder builder)
        where T : class
        where TBuilder : IEndpointConventionBuilder => Require<T, TBuilder>(builder, true);

    /// <summary>The answers of the endpoint are the same for everybody, whatever session they look at: the output cache and shared caches may keep them.</summary>
    /// <remarks>Without it the response to a request that opened a session is kept by none. One that hands out a token is kept by none even so.</remarks>
    /// <typeparam name="TBuilder">The kind of endpoint.</typeparam>
    public static TBuilder AllowSharedCaching<TBuilder>(this TBuilder builder)
        where TBuilder : IEndpointConventionBuilder
    {
        builder.Add(endpoint => endpoint.Metadata.Add(new SharedCaching()));
        return builder;
    }

    /// <inheritdoc cref="RequireSession{T, TBuilder}(TBuilder)" />
    public static IEndpointConventionBuilder RequireSession<T>(this IEndpointConventionBuilder builder)
        where T : class => builder.RequireSession<T, IEndpointConventionBuilder>();

    /// <inheritdoc cref="RequireSession{T, TBuilder}(TBuilder)" />
    public static RouteHandlerBuilder RequireSession<T>(this RouteHandlerBuilder builder)
        where T : class => builder.RequireSession<T, RouteHandlerBuilder>();

    /// <inheritdoc cref="RequireSession{T, TBuilder}(TBuilder)" />
    public static RouteGroupBuilder RequireSession<T>(this RouteGroupBuilder builder)
        where T : class => builder.RequireSession<T, RouteGroupBuilder>();

    /// <inheritdoc cref="RequireSession{T, TBuilder}(TBuilder)" />
    public static ControllerActionEndpointConventionBuilder RequireSession<T>(
        this ControllerActionEndpointConventionBuilder builder
    )
        where T : class => builder.RequireSession<T, ControllerActionEndpointConventionBuilder>();

    /// <inheritdoc cref="RequireSession{T, TBuilder}(TBuilder)" />
    public static PageActionEndpointConventionBuilder RequireSession<T>(
        this PageActionEndpointConventionBuilder builder
    )
        where T : class => builder.RequireSession<T, PageActionEndpointConventionBuilder>();

    /// <inheritdoc cref="RequireSession{T, TBuilder}(TBuilder)" />
    public static HubEndpointConventionBuilder RequireSession<T>(this HubEndpointConventionBuilder builder)
        where T : class => builder.RequireSession<T, HubEndpointConventionBuilder>();

    /// <inheritdoc cref="RequireSession{T, TBuilder}(TBuilder)" />
    public static ConnectionEndpointRouteBuilder RequireSession<T>(this ConnectionEndpointRouteBuilder builder)
        where T : class => builder.RequireSession<T, ConnectionEndpointRouteBuilder>();

    /// <inheritdoc cref="RequireSession{T, TBuilder}(TBuilder)" />
    public static RazorComponentsEndpointConventionBuilder RequireSession<T>(
        this RazorComponentsEndpointConventionBuilder builder
    )
        where T : class => builder.RequireSession<T, RazorComponentsEndpointConventionBuilder>();

    /// <inheritdoc cref="RequireSession{T, TBuilder}(TBuilder)" />
    public static ComponentEndpointConventionBuilder RequireSession<T>(this ComponentEndpointConventionBuilder builder)
        where T : class => builder.RequireSession<T, ComponentEndpointConventionBuilder>();

    /// <inheritdoc cref="RequireSignIn{T, TBuilder}(TBuilder)" />
    public static IEndpointConventionBuilder RequireSignIn<T>(this IEndpointConventionBuilder builder)
        where T : class => builder.RequireSignIn<T, IEndpointConventionBuilder>();

    /// <inheritdoc cref="RequireSignIn{T, TBuilder}(TBuilder)" />
    public static RouteHandlerBuilder RequireSignIn<T>(this RouteHandlerBuilder builder)
        where T : class => builder.RequireSignIn<T, RouteHandlerBuilder>();

    /// <inheritdoc cref="RequireSignIn{T, TBuilder}(TBuilder)" />
    public static RouteGroupBuilder RequireSignIn<T>(this RouteGroupBuilder builder)
        where T : class => builder.RequireSignIn<T, RouteGroupBuilder>();

    /// <inheritdoc cref="RequireSignIn{T, TBuilder}(TBuilder)" />
    public static ControllerActionEndpointConventionBuilder RequireSignIn<T>(
        this ControllerActionEndpointConventionBuilder builder
    )
        where T : class => builder.RequireSignIn<T, ControllerActionEndpointConventionBuilder>();

    /// <inheritdoc cref="RequireSignIn{T, TBuilder}(TBuilder)" />
    public static PageActionEndpointConventionBuilder RequireSignIn<T>(this PageActionEndpointConventionBuilder builder)
        where T : class => builder.RequireSignIn<T, PageActionEndpointConventionBuilder>();

    /// <inheritdoc cref="RequireSignIn{T, TBuilder}(TBuilder)" />
    public static HubEndpointConventionBuilder RequireSignIn<T>(this HubEndpointConventionBuilder builder)
        where T : class => builder.RequireSignIn<T, HubEndpointConventionBuilder>();

    /// <inheritdoc cref="RequireSignIn{T, TBuilder}(TBuilder)" />
    public static ConnectionEndpointRouteBuilder RequireSignIn<T>(this ConnectionEndpointRouteBuilder builder)
        where T : class => builder.RequireSignIn<T, ConnectionEndpointRouteBuilder>();

    /// <inheritdoc cref="RequireSignIn{T, TBuilder}(TBuilder)" />
    public static RazorComponentsEndpointConventionBuilder RequireSignIn<T>(
        this RazorComponentsEndpointConventionBuilder builder
    )
        where T : class => builder.RequireSignIn<T, RazorComponentsEndpointConventionBuilder>();

    /// <inheritdoc cref="RequireSignIn{T, TBuilder}(TBuilder)" />
    public static ComponentEndpointConventionBuilder RequireSignIn<T>(this ComponentEndpointConventionBuilder builder)
        where T : class => builder.RequireSignIn<T, ComponentEndpointConventionBuilder>();

    private static TBuilder Require<T, TBuilder>(TBuilder builder, bool isSignIn)
        where T : class
        where TBuilder : IEndpointConventionBuilder
    {
        builder.Add(endpoint => SessionGuard.require(typeof(T), isSignIn, endpoint));
        return builder;
    }
}
