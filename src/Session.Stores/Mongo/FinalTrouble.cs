using System.Security.Authentication;
using MongoDB.Driver;

namespace Session.Stores.Mongo;

/// <summary>
/// What keeps the store from its servers and is a matter of settings. The driver reports it as it reports a server that is away;
/// but no waiting helps.
/// </summary>
internal static class FinalTrouble
{
    // What servers answer: AuthenticationFailed, UserNotFound, MechanismUnavailable, and Atlas's own number. Others pass: a router
    // that cannot ask for its users yet.
    private const int AuthenticationFailed = 18;
    private const int UserNotFound = 11;
    private const int MechanismUnavailable = 334;
    private const int OfAtlas = 8000;

    /// <summary>What to change; null: waiting may help.</summary>
    public static string? Of(Exception error, IMongoClient client)
    {
        var where = string.Join(", ", client.Settings.Servers);
        if (
            error is MongoAuthenticationException
            {
                InnerException: null
                    or MongoCommandException
                    {
                        Code: AuthenticationFailed or UserNotFound or MechanismUnavailable or OfAtlas
                    }
            } refused
        )
        {
            var user = client.Settings.Credential?.Username is { } name ? $"the user {name}" : "its user";
            return $"MongoDB at {where} refuses {user} or the password ({FirstLine(refused.InnerException ?? refused)}): change user and password in the connection string, name the database that has the user (authSource), or change the server's users.";
        }

        // The driver looks for its servers in the background, and says of a certificate there alone.
        return
            error is TimeoutException or OperationCanceledException or MongoConnectionException
            && Mistrust(client) is { } cause
            ? $"The TLS certificate of MongoDB at {where} is not trusted ({FirstLine(cause)}): trust its issuer on this machine, or by a callback in the SslSettings of a client of your own."
            : null;
    }

    /// <summary>Why no server is trusted; null: one is, or nobody knows.</summary>
    private static AuthenticationException? Mistrust(IMongoClient client)
    {
        var causes = client.Cluster.Description.Servers.Select(server => Cause(server.HeartbeatException)).ToArray();
        return causes.Length > 0 && causes.All(cause => cause is not null) ? causes[0] : null;
    }

    private static AuthenticationException? Cause(Exception? failure)
    {
        while (failure is not (null or AuthenticationException))
            failure = failure.InnerException;
        return (AuthenticationException?)failure;
    }

    private static string FirstLine(Exception error) => error.Message.Split('\n')[0].TrimEnd('\r', '.');
}
