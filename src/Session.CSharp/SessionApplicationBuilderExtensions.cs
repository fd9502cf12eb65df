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

    /// <summary>The endpoint answers 401 without a live session.</summary>
    public static TBuilder RequireSession<T, TBuilder>(this TBuilder builder)
        where T : class
        where TBuilder : IEndpointConventionBuilder
    {
        builder.Add(endpoint => endpoint.Metadata.Add(new RequireSessionAttribute<T>()));
        return builder;
    }

    /// <summary>The endpoint answers 401 without a live session.</summary>
    public static IEndpointConventionBuilder RequireSession<T>(this IEndpointConventionBuilder builder)
        where T : class => builder.RequireSession<T, IEndpointConventionBuilder>();

    /// <summary>The endpoint answers 401 without a live session.</summary>
    public static RouteHandlerBuilder RequireSession<T>(this RouteHandlerBuilder builder)
        where T : class => builder.RequireSession<T, RouteHandlerBuilder>();
}
