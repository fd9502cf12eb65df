using StackExchange.Redis;

namespace Session.Stores.Redis;

/// <summary>What a server, or the driver's own settings, do not let through today, and will not tomorrow.</summary>
internal static class Refusal
{
    /// <summary>Any other error of a server passes: it is busy with a script, or loads its data.</summary>
    public static bool Is(Exception error) =>
        error is RedisCommandException
        || error is RedisServerException server
            && (
                server.Message.StartsWith("NOPERM", StringComparison.Ordinal)
                || server.Message.StartsWith("ERR unknown command", StringComparison.Ordinal)
            );
}
