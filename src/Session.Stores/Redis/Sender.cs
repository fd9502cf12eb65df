using System.Net;
using StackExchange.Redis;

namespace Session.Stores.Redis;

/// <summary>What a command was sent over: the server, and which of the connections to it.</summary>
/// <param name="Server">The server.</param>
/// <param name="Connection">How many connections to it there had been.</param>
/// <param name="Owner">Who had the key at that time, as far as the driver knew. Null: it knew nobody.</param>
internal sealed record Sender(IServer Server, long Connection, EndPoint? Owner)
{
    /// <summary>How many connections to this server there have been.</summary>
    public static long ConnectionTo(IServer server) => server.GetCounters().Interactive.SocketCount;
}
