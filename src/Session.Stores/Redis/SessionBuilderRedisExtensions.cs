using Microsoft.Extensions.Hosting;
using Session.Engine;
using Session.Stores.Redis;
using StackExchange.Redis;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Keeps sessions in Redis.</summary>
public static class SessionBuilderRedisExtensions
{
    /// <summary>Keeps these sessions in Redis, through the <see cref="IConnectionMultiplexer"/> that the application has registered.</summary>
    public static SessionBuilder UseRedis(this SessionBuilder builder) => builder.UseRedis(static _ => { });

    /// <summary>Keeps these sessions in Redis, through the <see cref="IConnectionMultiplexer"/> that the application has registered.</summary>
    /// <param name="builder">What <c>AddSession</c> returned.</param>
    /// <param name="configure">Changes the settings.</param>
    public static SessionBuilder UseRedis(this SessionBuilder builder, Action<RedisStoreOptions> configure)
    {
        ArgumentNullException.ThrowIfNull(builder);
        ArgumentNullException.ThrowIfNull(configure);
        return builder.UseStore(services =>
        {
            var options = new RedisStoreOptions { Configuration = "" };
            configure(options);
            if (options is { Connect: null, ConfigurationOptions: null, Configuration.Length: 0 })
            {
                var connection =
                    services.GetService<IConnectionMultiplexer>()
                    ?? throw new InvalidOperationException(
                        "UseRedis() without a connection string needs a registered IConnectionMultiplexer: register one, or say UseRedis(\"localhost:6379\")."
                    );
                options.Connect = () => Task.FromResult(connection);
            }
            options.DefaultPrefix = services.GetService<IHostEnvironment>() is { ApplicationName: { Length: > 0 } name }
                ? $"{builder.Place}:{name}:"
                : $"{builder.Place}:";
            return new RedisStore(options);
        });
    }

    /// <summary>Keeps these sessions in Redis at <paramref name="configuration"/>.</summary>
    /// <param name="builder">What <c>AddSession</c> returned.</param>
    /// <param name="configuration">A connection string of StackExchange.Redis: <c>localhost:6379</c>, nodes of a cluster, or Sentinels with <c>serviceName=…</c>.</param>
    public static SessionBuilder UseRedis(this SessionBuilder builder, string configuration) =>
        builder.UseRedis(configuration, static _ => { });

    /// <summary>Keeps these sessions in Redis at <paramref name="configuration"/>.</summary>
    /// <param name="builder">What <c>AddSession</c> returned.</param>
    /// <param name="configuration">A connection string of StackExchange.Redis.</param>
    /// <param name="configure">Changes the other settings.</param>
    public static SessionBuilder UseRedis(
        this SessionBuilder builder,
        string configuration,
        Action<RedisStoreOptions> configure
    )
    {
        ArgumentNullException.ThrowIfNull(builder);
        ArgumentNullException.ThrowIfNull(configure);
        if (string.IsNullOrWhiteSpace(configuration))
            throw new ArgumentException(
                "UseRedis needs a connection string, such as localhost:6379.",
                nameof(configuration)
            );

        return builder.UseRedis(options =>
        {
            options.Configuration = configuration;
            configure(options);
        });
    }

    /// <summary>Keeps these sessions in Redis, with settings of the driver that a connection string cannot hold.</summary>
    /// <param name="builder">What <c>AddSession</c> returned.</param>
    /// <param name="configuration">The driver's settings: callbacks for certificates, token providers, and all others.</param>
    public static SessionBuilder UseRedis(this SessionBuilder builder, ConfigurationOptions configuration) =>
        builder.UseRedis(options => options.ConfigurationOptions = configuration);

    /// <summary>Keeps these sessions in Redis, through a connection of the application's own.</summary>
    /// <param name="builder">What <c>AddSession</c> returned.</param>
    /// <param name="connection">The connection: the application closes it.</param>
    public static SessionBuilder UseRedis(this SessionBuilder builder, IConnectionMultiplexer connection) =>
        builder.UseRedis(options => options.Connect = () => Task.FromResult(connection));
}
