using MongoDB.Driver;

namespace Session.Stores.Mongo;

/// <summary>Clients that the store makes for itself.</summary>
internal static class ClientFactory
{
    /// <exception cref="ArgumentException">It is no connection string of MongoDB.</exception>
    public static MongoUrl Parse(string connectionString)
    {
        try
        {
            return new MongoUrl(connectionString);
        }
        catch (Exception error) when (error is MongoConfigurationException or FormatException)
        {
            // Without the string: it may have a password in it.
            throw new ArgumentException(
                "MongoStoreOptions.ConnectionString is no connection string of MongoDB, such as mongodb://localhost/app.",
                error
            );
        }
    }

    /// <summary>A client that waits no longer for a server than an operation may take; the driver's own limit is 30 seconds.</summary>
    public static MongoClient Open(MongoUrl url, TimeSpan operationTimeout)
    {
        var settings = MongoClientSettings.FromUrl(url);
        settings.ApplicationName ??= "session-store";
        if (settings.ServerSelectionTimeout > operationTimeout)
            settings.ServerSelectionTimeout = operationTimeout;
        if (settings.ConnectTimeout > operationTimeout)
            settings.ConnectTimeout = operationTimeout;
        return new MongoClient(settings);
    }
}
