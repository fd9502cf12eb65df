using MongoDB.Driver;
using Session.Engine;
using Session.Stores.Mongo;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Keeps sessions in MongoDB.</summary>
public static class SessionBuilderMongoExtensions
{
    /// <summary>Keeps these sessions in MongoDB at <paramref name="connectionString"/>.</summary>
    /// <param name="builder">What <c>AddSession</c> returned.</param>
    /// <param name="connectionString">A connection string of MongoDB, its path naming the database: <c>mongodb://localhost/app</c>.</param>
    public static SessionBuilder UseMongo(this SessionBuilder builder, string connectionString) =>
        builder.UseMongo(connectionString, static _ => { });

    /// <summary>Keeps these sessions in MongoDB at <paramref name="connectionString"/>.</summary>
    /// <param name="builder">What <c>AddSession</c> returned.</param>
    /// <param name="connectionString">A connection string of MongoDB, its path naming the database.</param>
    /// <param name="configure">Changes the other settings.</param>
    public static SessionBuilder UseMongo(
        this SessionBuilder builder,
        string connectionString,
        Action<MongoStoreOptions> configure
    )
    {
        ArgumentNullException.ThrowIfNull(builder);
        ArgumentNullException.ThrowIfNull(configure);
        if (string.IsNullOrWhiteSpace(connectionString))
            throw new ArgumentException(
                "UseMongo needs a connection string, such as mongodb://localhost/app.",
                nameof(connectionString)
            );

        return builder.UseStore(_ =>
        {
            var options = new MongoStoreOptions
            {
                ConnectionString = connectionString,
                Collection = builder.Place + "s",
            };
            configure(options);
            return new MongoStore(options);
        });
    }

    /// <summary>Keeps these sessions in MongoDB, through the <see cref="IMongoClient"/> that the application has registered.</summary>
    /// <param name="builder">What <c>AddSession</c> returned.</param>
    /// <param name="configure">Names the database, and changes the other settings.</param>
    public static SessionBuilder UseMongo(this SessionBuilder builder, Action<MongoStoreOptions> configure)
    {
        ArgumentNullException.ThrowIfNull(builder);
        ArgumentNullException.ThrowIfNull(configure);
        return builder.UseStore(services =>
        {
            var options = new MongoStoreOptions { ConnectionString = "", Collection = builder.Place + "s" };
            configure(options);
            if (options.Client is null && options.ConnectionString.Length == 0)
                options.Client =
                    services.GetService<IMongoClient>()
                    ?? throw new InvalidOperationException(
                        "UseMongo(…) without a connection string needs a registered IMongoClient: register one, or say UseMongo(\"mongodb://localhost/app\")."
                    );
            return new MongoStore(options);
        });
    }

    /// <summary>Keeps these sessions in MongoDB, through a client of the application's own.</summary>
    /// <param name="builder">What <c>AddSession</c> returned.</param>
    /// <param name="client">The client: the application closes it.</param>
    /// <param name="database">The name of the database.</param>
    public static SessionBuilder UseMongo(this SessionBuilder builder, IMongoClient client, string database)
    {
        ArgumentNullException.ThrowIfNull(client);
        return builder.UseMongo(options => (options.Client, options.Database) = (client, database));
    }
}
