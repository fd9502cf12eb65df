namespace Bench.Simulation;

/// <summary>How many of what, by the utilisation law: the demand of all requests over what one unit may do.</summary>
internal sealed record Fleet(
    double PerSecond,
    double Sessions,
    double Nodes,
    double ShardsByCpu,
    double ShardsByMemory,
    double ShardsByNetwork,
    double SweepersAtOnce,
    double Gib,
    double PricePerHour
)
{
    public double Shards => Math.Max(Math.Max(ShardsByCpu, ShardsByMemory), ShardsByNetwork);

    public string ShardsLimit =>
        Shards == 1 ? "one is enough"
        : Shards == ShardsByMemory ? "memory"
        : Shards == ShardsByCpu ? "CPU"
        : "network";

    public static Fleet For(double perSecond, double sessions, Costs costs, Assumptions given)
    {
        var demand = Demand(perSecond, sessions, costs, given);
        var nodes = Math.Ceiling(demand.Node / 1e6 / (given.Cores * given.Cap));
        var gib = sessions * costs.BytesPerSession * given.Copies / (1L << 30);
        return new Fleet(
            perSecond,
            sessions,
            nodes,
            Math.Ceiling(demand.Redis / 1e6 / given.Cap),
            Math.Ceiling(sessions * costs.BytesPerSession / given.ShardBytes),
            Math.Ceiling(perSecond * BytesPerRequest(costs, given) / (given.NetworkBytes * given.Cap)),
            sessions / given.LifeSeconds * costs.EndMicros / 1e6,
            gib,
            nodes * given.NodePrice + gib * given.GibPrice
        );
    }

    /// <summary>µs of processor time in each second.</summary>
    public static Cost Demand(double perSecond, double sessions, Costs costs, Assumptions given) =>
        perSecond * Request(costs, given) + sessions / given.LifeSeconds * (costs.Begin + costs.End);

    /// <summary>One request, on average, the application's own work included.</summary>
    public static Cost Request(Costs costs, Assumptions given) =>
        new Cost(given.OwnMicros, 0)
        + given.Plain * costs.Plain
        + given.Read * costs.Read
        + given.Write * costs.Write
        + (given.Read / given.Burst) * costs.Touch;

    /// <summary>A record in one direction for a read, in both for a write; keys and framing about 150 bytes each time.</summary>
    public static double BytesPerRequest(Costs costs, Assumptions given) =>
        (given.Read + 2 * given.Write) * (costs.RecordBytes + 150);
}
