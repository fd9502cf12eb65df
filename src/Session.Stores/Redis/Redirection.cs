using StackExchange.Redis;

namespace Session.Stores.Redis;

/// <summary>Where a server of a Cluster says that a key is. The command that it said so to was not carried out.</summary>
/// <param name="Server">Where to; null: the driver knows.</param>
/// <param name="IsAsking">The key is on its way there: it is taken only right behind ASKING.</param>
internal sealed record Redirection(IServer? Server, bool IsAsking)
{
    // The driver tells of it in these words, and in no other form: "Endpoint … and hashslot …" of a slot that has moved,
    // "Endpoint … serving hashslot …" of one that is moving.
    private const string Told = "Endpoint ";

    /// <summary>What this failure says; null: it is another one.</summary>
    public static Redirection? From(Exception failure, IConnectionMultiplexer connection)
    {
        if (failure is not (RedisServerException or RedisConnectionException))
            return null;
        var at = failure.Message.IndexOf(Told, StringComparison.Ordinal);
        if (at < 0 || failure.Message[(at + Told.Length)..].Split(' ', 4) is not [var where, var how, "hashslot", ..])
            return failure.Message.Contains("MOVED", StringComparison.Ordinal) ? new Redirection(null, false) : null;
        var server = connection.GetServers().FirstOrDefault(one => Plain(where) == Plain(one.EndPoint.ToString()));
        return new Redirection(server, how == "serving");
    }

    /// <summary>Without the family of addresses that is written before the name of a host.</summary>
    private static string? Plain(string? endPoint) =>
        endPoint?[(endPoint.IndexOf('/', StringComparison.Ordinal) + 1)..];
}
