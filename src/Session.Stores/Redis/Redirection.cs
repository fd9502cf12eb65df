using System.Text.RegularExpressions;
using StackExchange.Redis;

namespace Session.Stores.Redis;

/// <summary>Where a server of a Cluster says that a key is. The command that it said so to was not carried out.</summary>
/// <param name="Server">Where to; null: the driver knows.</param>
/// <param name="IsAsking">The key is on its way there: it is taken only right behind ASKING.</param>
internal sealed partial record Redirection(IServer? Server, bool IsAsking)
{
    // The driver tells of it in these words, and in no other form: of a slot that has moved, and of one that is moving.
    [GeneratedRegex(@"Endpoint (?:Unspecified/)?(\S+) (and|serving) hashslot", RegexOptions.CultureInvariant)]
    private static partial Regex Told();

    /// <summary>What this failure says; null: it is another one.</summary>
    public static Redirection? From(Exception failure, IConnectionMultiplexer connection)
    {
        if (failure is not (RedisServerException or RedisConnectionException))
            return null;
        var told = Told().Match(failure.Message);
        if (!told.Success)
            return failure.Message.Contains("MOVED", StringComparison.Ordinal) ? new Redirection(null, false) : null;
        var where = told.Groups[1].Value;
        var server = connection
            .GetServers()
            .FirstOrDefault(one => where.EndsWith(Format(one), StringComparison.OrdinalIgnoreCase));
        return new Redirection(server, told.Groups[2].Value == "serving");
    }

    private static string Format(IServer server)
    {
        var text = server.EndPoint.ToString() ?? "";
        return text[(text.IndexOf('/', StringComparison.Ordinal) + 1)..];
    }
}
