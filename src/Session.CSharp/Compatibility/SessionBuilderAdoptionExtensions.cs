using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.DataProtection;
using Microsoft.Extensions.Caching.Distributed;
using Microsoft.Extensions.Options;
using Session.AspNetCore;
using Session.CSharp;
using Session.Engine;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Lets sessions go on that the framework's middleware began.</summary>
public static class SessionBuilderAdoptionExtensions
{
    /// <summary>
    /// Sessions that were begun under the framework's <c>UseSession()</c> go on here: <c>.AddSessionCompatibility(o =&gt; …).UseRedis(…).AdoptFrom&lt;IDistributedCache&gt;()</c>.
    /// Each is taken over once, when its client comes with the framework's cookie, and gets a new token; nobody's data is lost.
    /// </summary>
    /// <remarks>
    /// The application keeps what it had: the cache, the key ring of data protection, and in <c>AddSessionCompatibility(o =&gt; …)</c> the cookie's old
    /// name, if it had one. The entry in the cache is removed. To be removed once the framework's IdleTimeout has passed since
    /// the last node that ran without it was stopped: a node with the framework's middleware does not know sessions that have moved.
    /// </remarks>
    /// <typeparam name="TCache">The service that has the sessions: <see cref="IDistributedCache"/>, or one of the application's own.</typeparam>
    /// <param name="builder">What <c>AddSessionCompatibility</c> returned.</param>
    /// <returns>The same builder.</returns>
    /// <exception cref="InvalidOperationException">The sessions are none of <c>AddSessionCompatibility</c>.</exception>
    public static SessionBuilder AdoptFrom<TCache>(this SessionBuilder builder)
        where TCache : class, IDistributedCache
    {
        ArgumentNullException.ThrowIfNull(builder);
        if (builder.DataType != typeof(SessionValues))
            throw new InvalidOperationException(
                $"AdoptFrom is for services.AddSessionCompatibility(): sessions of {builder.DataType.Name} were never the framework's."
            );

        builder.Services.AddDataProtection();
        builder.Services.AddSingleton<IFormerSessions<SessionValues>>(services => new FormerSessions(
            services.GetService<TCache>()
                ?? throw new InvalidOperationException(
                    $"AdoptFrom<{typeof(TCache).Name}>() needs the cache that the sessions were in: keep its registration, such as services.AddStackExchangeRedisCache(…)."
                ),
            services.GetRequiredService<IDataProtectionProvider>(),
            services.GetRequiredService<IOptions<SessionOptions>>(),
            services.GetRequiredService<IOptions<SessionOptions<SessionValues>>>(),
            ActivatorUtilities.CreateInstance<FormerSessionLog>(services)
        ));
        return builder;
    }
}
