using System.Globalization;
using StackExchange.Redis;

namespace Session.Stores.Redis;

/// <summary>
/// The Sentinels of the connection string. An old primary that comes back calls itself primary until they tell it otherwise,
/// and the driver believes it: so they are asked, and not the servers.
/// </summary>
internal sealed class Sentinels : IAsyncDisposable, IDisposable
{
    private readonly IConnectionMultiplexer _connection;
    private readonly string _service;
    private readonly TimeSpan _timeout;

    private Sentinels(IConnectionMultiplexer connection, string service, TimeSpan timeout)
    {
        _connection = connection;
        _service = service;
        _timeout = timeout;
    }

    /// <summary>Connects. A Sentinel that is not there yet is no error.</summary>
    public static async Task<Sentinels> Open(ConfigurationOptions settings, TimeSpan timeout)
    {
        var service = settings.ServiceName!;
        var own = settings.Clone();
        own.ServiceName = null;
        own.CommandMap = CommandMap.Sentinel;
        own.TieBreaker = "";
        own.ConfigurationChannel = "";
        own.DefaultDatabase = null;
        own.ReconnectRetryPolicy = new LinearRetry(500);
        own.SetDefaultPorts();
        var connection = await ConnectionMultiplexer.ConnectAsync(own).ConfigureAwait(false);
        return new Sentinels(connection, service, timeout);
    }

    /// <summary>What one Sentinel says.</summary>
    /// <param name="Primary">The primary as clients are to know it.</param>
    /// <param name="Promotes">It carries out a failover, and has promoted that primary already.</param>
    /// <param name="Epoch">Grows with each failover that it has heard of.</param>
    /// <param name="Others">How many other Sentinels it knows.</param>
    private sealed record Word(string Primary, bool Promotes, long Epoch, int Others);

    /// <summary>Asks all of them, now.</summary>
    public async Task<SentinelVerdict> Ask()
    {
        var servers = _connection.GetServers();
        var needed = servers.Length / 2 + 1;
        var words = new List<Word>();
        Exception? trouble = null;
        await Poll.HearAsync(
                servers.Select(AskOne),
                _timeout,
                answer =>
                {
                    try
                    {
                        words.Add(answer.GetAwaiter().GetResult());
                    }
                    catch (Exception error) when (error is RedisException or TimeoutException or InvalidDataException)
                    {
                        trouble ??= error;
                    }

                    return Majority(words, needed) is not null;
                }
            )
            .ConfigureAwait(false);

        var primary = Majority(words, needed);
        var epoch = words.Where(word => word.Primary == primary).Select(word => word.Epoch).DefaultIfEmpty().Max();
        var isContested =
            primary is not null && words.Any(word => word.Primary != primary && (word.Promotes || word.Epoch > epoch));
        var known = words.Select(word => word.Others + 1).DefaultIfEmpty().Max();
        return new SentinelVerdict(primary, isContested, words.Count, servers.Length, known, trouble);
    }

    private static string? Majority(List<Word> words, int needed) =>
        words.GroupBy(word => word.Primary).FirstOrDefault(group => group.Count() >= needed)?.Key;

    private async Task<Word> AskOne(IServer sentinel)
    {
        var naming = sentinel.ExecuteAsync("SENTINEL", "get-master-addr-by-name", _service);
        var describing = sentinel.ExecuteAsync("SENTINEL", "master", _service);
        RedisLink.ObserveFailure(naming);
        RedisLink.ObserveFailure(describing);
        var name = (string[]?)await naming.ConfigureAwait(false);
        if (name is not [var host, var port])
            throw new InvalidDataException(
                $"The Sentinel at {ConnectionTrouble.Name(sentinel.EndPoint)} knows no primary of the name {_service}: check serviceName in the connection string."
            );

        var state = (string?[]?)await describing.ConfigureAwait(false) ?? [];
        var primary = Address(host, port);
        return new Word(
            primary,
            primary != Address(Field(state, "ip"), Field(state, "port")),
            long.TryParse(Field(state, "config-epoch"), CultureInfo.InvariantCulture, out var epoch) ? epoch : 0,
            int.TryParse(Field(state, "num-other-sentinels"), CultureInfo.InvariantCulture, out var others) ? others : 0
        );
    }

    /// <summary>
    /// As the driver reads it: an IPv6 address has colons of its own, and without brackets the port would be taken for its end.
    /// </summary>
    private static string Address(string? host, string? port) =>
        host is not null && host.Contains(':', StringComparison.Ordinal) ? $"[{host}]:{port}" : $"{host}:{port}";

    private static string? Field(string?[] state, string name) =>
        Array.IndexOf(state, name) is var at and >= 0 && at + 1 < state.Length ? state[at + 1] : null;

    public ValueTask DisposeAsync() => _connection.DisposeAsync();

    public void Dispose() => _connection.Dispose();
}
