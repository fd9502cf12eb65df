using System.Diagnostics;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Options;
using Session.CSharp;
using Session.Engine;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Adds <c>HttpContext.Session</c> on this engine, in place of the framework's <c>AddSession()</c>.</summary>
public static class SessionCompatibilityServiceCollectionExtensions
{
    /// <summary>Adds <c>HttpContext.Session</c> and TempData on this engine: in place of <c>AddSession()</c>. Choose a store on what it returns; without one sessions live in memory.</summary>
    /// <param name="services">The application's services.</param>
    /// <param name="configure">What the application said to <c>AddSession</c>: the framework's own options, of which <c>Cookie</c>, <c>IdleTimeout</c> and <c>IOTimeout</c> count.</param>
    /// <param name="configureMore">What only this library has: <c>AbsoluteTimeout</c>, <c>RotateEvery</c>, <c>Events</c> and the rest. It comes after the framework's options, and outweighs them.</param>
    /// <returns>The builder: <c>.UseRedis(…)</c>, <c>.AdoptFrom&lt;IDistributedCache&gt;()</c>.</returns>
    /// <remarks>
    /// Not said, the cookie is <c>__Host-session</c>, Secure and HttpOnly; a session ends after 20 minutes of silence, and
    /// after 8 hours (or IdleTimeout, where that is longer). The application then calls <c>app.UseSessionCompatibility()</c>
    /// in place of <c>app.UseSession()</c>: both in one application are refused at start. In a store that has the sessions of <c>AddSession&lt;T&gt;</c>
    /// as well they have a place of their own: the table or collection <c>httpsessions</c>, the prefix <c>httpsession:</c>.
    /// </remarks>
    public static SessionBuilder AddSessionCompatibility(
        this IServiceCollection services,
        Action<SessionOptions>? configure = null,
        Action<SessionOptions<SessionValues>>? configureMore = null
    )
    {
        ArgumentNullException.ThrowIfNull(services);
        services.AddOptions();
        if (configure is not null)
            services.Configure(configure);

        services.TryAddSingleton<CompatibilityHost>();
        services.TryAddEnumerable(
            ServiceDescriptor.Singleton<IConfigureOptions<SessionOptions<SessionValues>>, MappedOptions>()
        );
        services.TryAddEnumerable(
            ServiceDescriptor.Singleton<IPostConfigureOptions<SessionOptions<SessionValues>>, MappedOptions>()
        );
        BuiltInMiddleware.Refuse(services);
        // The options bring the serializer.
        services.AddSessionWith<SessionValues>(static () => throw new UnreachableException(), configureMore);
        return new SessionBuilder(services, typeof(SessionValues), "httpsession");
    }
}
