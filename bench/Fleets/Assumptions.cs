using System.Globalization;

namespace Bench.Simulation;

/// <summary>What was not measured: each can be given on the command line, as --name value.</summary>
internal sealed class Assumptions
{
    private readonly Dictionary<string, (double Value, string Meaning)> _all = new()
    {
        ["plain"] = (0.3, "share of requests that touch no session"),
        ["write"] = (0.1, "share that writes; the rest reads"),
        ["burst"] = (5, "requests of a client that come together: the first of them is a touch"),
        ["life"] = (2, "hours from the first write of a session to its end"),
        ["own"] = (500, "µs of CPU that the application itself needs for a request"),
        ["cores"] = (4, "cores of a node"),
        ["cap"] = (0.7, "utilisation up to which nodes and shards are filled"),
        ["shard-gib"] = (16, "GiB of data in a shard"),
        ["replicas"] = (1, "replicas of each shard"),
        ["network"] = (10, "Gbit/s of a shard"),
        ["node-price"] = (0.20, "price of a node-hour, in any unit"),
        ["gib-price"] = (0.015, "price of a GiB-hour of Redis, replicas counted, in the same unit"),
    };

    public Assumptions(IReadOnlyList<string> args)
    {
        for (var i = 0; i < args.Count; i++)
        {
            if (args[i] == "--quick")
                continue;
            var name = args[i].TrimStart('-');
            if (!_all.TryGetValue(name, out var known) || i + 1 == args.Count)
                throw new ArgumentException($"Unknown: {args[i]}. There are: --{string.Join(" --", _all.Keys)}");
            _all[name] = (double.Parse(args[++i], CultureInfo.InvariantCulture), known.Meaning);
        }
    }

    public IEnumerable<(string Name, double Value, string Meaning)> All =>
        _all.Select(one => (one.Key, one.Value.Value, one.Value.Meaning));

    public double Plain => _all["plain"].Value;
    public double Write => _all["write"].Value;
    public double Read => 1 - Plain - Write;
    public double Burst => _all["burst"].Value;
    public double LifeSeconds => _all["life"].Value * 3600;
    public double OwnMicros => _all["own"].Value;
    public int Cores => (int)_all["cores"].Value;
    public double Cap => _all["cap"].Value;
    public double ShardBytes => _all["shard-gib"].Value * (1L << 30);
    public double Copies => 1 + _all["replicas"].Value;
    public double NetworkBytes => _all["network"].Value * 1e9 / 8;
    public double NodePrice => _all["node-price"].Value;
    public double GibPrice => _all["gib-price"].Value;
}
