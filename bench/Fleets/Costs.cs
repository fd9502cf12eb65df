using Bench.Shared;

namespace Bench.Simulation;

/// <summary>Processor time in µs of one of each: on the nodes, and in Redis.</summary>
internal sealed record Cost(double Node, double Redis)
{
    public static Cost operator +(Cost a, Cost b) => new(a.Node + b.Node, a.Redis + b.Redis);

    public static Cost operator -(Cost a, Cost b) => new(Math.Max(0, a.Node - b.Node), Math.Max(0, a.Redis - b.Redis));

    public static Cost operator *(double times, Cost cost) => new(times * cost.Node, times * cost.Redis);
}

/// <summary>What was measured on this machine, of sessions in Redis.</summary>
internal sealed record Costs(
    Cost Plain,
    Cost Read,
    Cost Write,
    Cost Touch,
    Cost Begin,
    Cost End,
    double WithoutSessions,
    double EndMicros,
    double BytesPerSession,
    int RecordBytes
)
{
    public static Costs Of(Results peers, GrowthFigures growth)
    {
        Cost Request(string endpoint) =>
            new(
                peers.Of("ours-redis", endpoint, m => m.CpuMicrosecondsPerRequest)!.Median,
                peers.Of("ours-redis", endpoint, m => m.RedisCpuMicrosecondsPerRequest)!.Median
            );

        Cost Operation(string operation)
        {
            var figure = growth.Operations.Single(f =>
                f is { Varied: Varied.Clients, Store: "redis", Clients: 64 } && f.Operation == operation
            );
            return new Cost(figure.Cpu, figure.RedisCpu);
        }

        var sweep = growth.Sweeps.Last(s => s.Store == "redis");
        // Sessions of somebody who has signed in: the larger ones.
        var footprint = growth.Footprints.Single(f => f is { Store: "redis", SignedIn: true });
        var population = new Population("size", footprint.DataBytes, DateTimeOffset.UtcNow, Population.Settings);
        return new Costs(
            Request("plain"),
            Request("read"),
            Request("write"),
            Operation("read and touch") - Operation("read"),
            Operation("begin"),
            new Cost(sweep.ExpireCpu + sweep.RemoveCpu, sweep.ExpireRedisCpu + sweep.RemoveRedisCpu),
            peers.Of("none", "plain", m => m.CpuMicrosecondsPerRequest)!.Median,
            sweep.Expire + sweep.Remove,
            footprint.Bytes,
            population.Record(1, 1, "user-1").Body.Length
        );
    }
}
