using System.Net;
using StackExchange.Redis;

namespace Session.Stores.Redis;

/// <summary>
/// Sends the writes of one record to a server by its name, and follows redirections by itself. The driver would do both, too:
/// but it does not say who has carried a write out, and the replicas of that server, and of no other, have to have it.
/// </summary>
internal sealed class DirectLine(RedisLink link, Route route, RedisKey key)
{
    private const int MostRedirections = 5;

    private readonly IConnectionMultiplexer _connection = route.Waiting!;
    private int _turns;

    /// <summary>What the last write was sent over. Null: none was.</summary>
    public Sender? Sender { get; private set; }

    /// <summary>
    /// Whether the driver has learnt since that another server has the key, or has connected anew. Then what was written may
    /// be on an old primary, which does not keep it.
    /// </summary>
    public bool HasMoved =>
        Sender is not { } sender
        || !Equals(Owner(), sender.Owner)
        || Sender.ConnectionTo(sender.Server) != sender.Connection;

    /// <summary>Writes the value if there is none. True: there was none.</summary>
    public async Task<bool> SetIfAbsent(RedisValue value, long timeToLive)
    {
        var answer = await Send("SET", [key, value, "PX", timeToLive, "NX"]).ConfigureAwait(false);
        return !answer.IsNull;
    }

    /// <summary>Runs a script with the record as its one key.</summary>
    public async Task<RedisResult> Evaluate(string script, RedisValue[] arguments)
    {
        object[] rest = [1, key, .. arguments.Select(argument => (object)argument)];
        try
        {
            return await Send("EVALSHA", [Scripts.HashOf(script), .. rest]).ConfigureAwait(false);
        }
        catch (RedisServerException error) when (error.Message.StartsWith("NOSCRIPT", StringComparison.Ordinal))
        {
            // The server has refused it, so nothing was written.
            return await Send("EVAL", [script, .. rest]).ConfigureAwait(false);
        }
    }

    private async Task<RedisResult> Send(string command, object[] arguments)
    {
        var turn = Interlocked.Increment(ref _turns);
        var server = First();
        var isAsking = false;
        for (var left = MostRedirections; ; left--)
        {
            Sender = new Sender(server, Sender.ConnectionTo(server), Owner());
            try
            {
                // On one connection, one behind the other. If another command comes between, the key is asked for once more.
                if (isAsking)
                    RedisLink.ObserveFailure(server.ExecuteAsync("ASKING"));
                return await server
                    .ExecuteAsync(route.Database.Database, command, arguments, CommandFlags.NoRedirect)
                    .ConfigureAwait(false);
            }
            catch (RedisException error) when (Redirection.From(error, _connection) is { } redirection)
            {
                link.SearchPrimaries();
                // Nobody waits for this one any more, if another one was sent since.
                if (left == 0 || turn != Volatile.Read(ref _turns))
                    throw new PrimaryUnknownException(
                        "The servers of the Redis Cluster send from one to the other who asks for this session: its slot is on its way, or a failover is."
                    );
                server = redirection.Server ?? _connection.GetServer(key, flags: CommandFlags.DemandMaster);
                isAsking = redirection.IsAsking;
            }
        }
    }

    private IServer First()
    {
        var servers = _connection.GetServers();
        return Owner() is { } owner && servers.FirstOrDefault(server => server.EndPoint.Equals(owner)) is { } known
            ? known
            : servers.FirstOrDefault(server => server.IsConnected && !server.IsReplica) ?? servers[0];
    }

    /// <summary>
    /// Asked of the connection that waits for no replica: WAIT holds the other one up, and the driver passes over a server that
    /// does not answer it there.
    /// </summary>
    private EndPoint? Owner()
    {
        try
        {
            return RedisLink.ServerOf(route.Database, key);
        }
        catch (Exception error) when (error is RedisException or InvalidOperationException)
        {
            return null;
        }
    }
}
