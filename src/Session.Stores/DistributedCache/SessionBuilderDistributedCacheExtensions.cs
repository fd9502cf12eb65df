using Microsoft.Extensions.Caching.Distributed;
using Session.Engine;
using Session.Stores.DistributedCache;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Keeps sessions in the application's distributed cache.</summary>
public static class SessionBuilderDistributedCacheExtensions
{
    /// <summary>Keeps these sessions in the <see cref="IDistributedCache"/> that the application has registered.</summary>
    /// <param name="builder">What <c>AddSession</c> returned.</param>
    /// <returns>The same builder.</returns>
    public static SessionBuilder UseDistributedCache(this SessionBuilder builder) =>
        builder.UseDistributedCache(static _ => { });

    /// <summary>Keeps these sessions in the <see cref="IDistributedCache"/> that the application has registered.</summary>
    /// <param name="builder">What <c>AddSession</c> returned.</param>
    /// <param name="configure">Changes the settings.</param>
    /// <returns>The same builder.</returns>
    public static SessionBuilder UseDistributedCache(
        this SessionBuilder builder,
        Action<DistributedCacheStoreOptions> configure
    )
    {
        ArgumentNullException.ThrowIfNull(builder);
        ArgumentNullException.ThrowIfNull(configure);
        return builder.UseStore(services =>
        {
            var cache =
                services.GetService<IDistributedCache>()
                ?? throw new InvalidOperationException(
                    "UseDistributedCache() needs a registered IDistributedCache: add one, such as services.AddStackExchangeRedisCache(…), or choose UseRedis or UseSqlite."
                );
            var options = new DistributedCacheStoreOptions { KeyPrefix = builder.Place + ":" };
            configure(options);
            return new DistributedCacheStore(cache, options);
        });
    }
}
