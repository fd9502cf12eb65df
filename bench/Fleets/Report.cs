using System.Globalization;
using System.Text;
using Bench.Shared;

namespace Bench.Simulation;

/// <summary>The model, what it says, and how well it foretells this machine: a fragment of the results.</summary>
internal static class Report
{
    private const int Seed = 20260101;
    private static readonly double[] s_rates = [1e4, 1e5, 1e6];
    private static readonly double[] s_sessions = [1e6, 1e8];

    public static string Of(Results peers, GrowthFigures growth, MicroFigures? micro, Assumptions given)
    {
        var costs = Costs.Of(peers, growth);
        var text = new StringBuilder("## Past this machine\n\n");
        if (!peers.IsValid)
            text.Append("**INVALID: the comparison with the peers had failed requests.**\n\n");
        Model(text, costs, given);
        Fleets(text, costs, given);
        Limits(text, costs, given);
        Waiting(text, costs, given);
        Validate(text, peers, micro);
        return text.ToString();
    }

    private static void Model(StringBuilder text, Costs costs, Assumptions given)
    {
        Add(
            text,
            $"""
            A model of a fleet with its sessions in Redis, from the costs that were measured above and from assumptions that were
            not. It says what orders of magnitude to expect; it knows nothing of networks that fail or of uneven load.

            ```
            D_node  = own + plain·c_plain + read·c_read + write·c_write + read/burst·c_touch     CPU per request on a node
            D_redis =       plain·r_plain + read·r_read + write·r_write + read/burst·r_touch     CPU per request in Redis
            churn   = sessions / life                                                            sessions that begin, and that end, per second
            nodes   = ⌈(rate·D_node + churn·(c_begin + c_end)) / (cores·cap)⌉
            shards  = max of ⌈(rate·D_redis + churn·(r_begin + r_end)) / cap⌉                     one thread each
                             ⌈sessions·bytes / shard-gib⌉
                             ⌈rate·(read + 2·write)·(record + 150 B) / (network·cap)⌉
            price   = nodes·node-price + sessions·bytes·(1 + replicas)·gib-price
            ```

            | measured, µs of CPU | node | Redis |
            | --- | ---: | ---: |
            | a request that touches no session | {costs.Plain.Node:0.0} | {costs.Plain.Redis:0.0} |
            | one that reads it | {costs.Read.Node:0.0} | {costs.Read.Redis:0.0} |
            | one that writes it | {costs.Write.Node:0.0} | {costs.Write.Redis:0.0} |
            | a touch, besides the read | {costs.Touch.Node:0.0} | {costs.Touch.Redis:0.0} |
            | a session's beginning, and the first request with its token | {costs.Begin.Node:0.0} | {costs.Begin.Redis:0.0} |
            | its end: tombstone, expiry told, removal | {costs.End.Node:0.0} | {costs.End.Redis:0.0} |

            A request without any sessions costs {costs.WithoutSessions:0.0} µs on a node. A session of 100 B with a subject takes
            {costs.BytesPerSession:N0} bytes in Redis, {costs.RecordBytes} of them its record.

            | assumed | | |
            | --- | ---: | --- |

            """
        );
        foreach (var (name, value, meaning) in given.All)
            Add(text, $"| {name} | {value:0.###} | {meaning} |\n");
        Add(
            text,
            $"\nOf the {Fleet.Request(costs, given).Node:N0} µs on a node {Share(costs, given):0.#%} are the sessions'.\n\n"
        );
    }

    private static double Share(Costs costs, Assumptions given)
    {
        var all = Fleet.Request(costs, given).Node;
        return (all - given.OwnMicros - costs.WithoutSessions) / all;
    }

    private static void Fleets(StringBuilder text, Costs costs, Assumptions given)
    {
        text.Append(
            "| requests/s | sessions | begin and end/s | nodes | Redis shards | because of | Redis memory, with replicas | sweeps at once | price/hour |\n"
        );
        text.Append("| ---: | ---: | ---: | ---: | ---: | --- | ---: | ---: | ---: |\n");
        foreach (var sessions in s_sessions)
        foreach (var rate in s_rates)
        {
            var fleet = Fleet.For(rate, sessions, costs, given);
            Add(
                text,
                $"| {rate:N0} | {sessions:N0} | {sessions / given.LifeSeconds:N0} | {fleet.Nodes:N0} | {fleet.Shards:N0} | {fleet.ShardsLimit} | {fleet.Gib:N0} GiB | {fleet.SweepersAtOnce:0.0} | {fleet.PricePerHour:N1} |\n"
            );
        }
        text.Append(
            """

            *Sweeps at once*: how many sweepers are busy all the time. Each node has one, which ends sixteen sessions at once.
            More than there are nodes means that ends by time are told later; they hold on read all the same.


            """
        );
    }

    private static void Limits(StringBuilder text, Costs costs, Assumptions given)
    {
        var request = Fleet.Request(costs, given);
        var node = given.Cores * given.Cap * 1e6 / request.Node;
        var shard = given.Cap * 1e6 / request.Redis;
        var network = given.NetworkBytes * given.Cap / Fleet.BytesPerRequest(costs, given);
        var memory = given.ShardBytes / costs.BytesPerSession;
        var churn = given.Cap * 1e6 / (costs.Begin + costs.End).Redis * given.LifeSeconds;
        var first = node < shard ? "the nodes come first" : "Redis comes first";
        var second =
            memory < churn
                ? "the memory of Redis comes first"
                : "the CPU of Redis comes first, for beginnings and ends";
        Add(
            text,
            $"""
            ### What saturates first

            - One node is full at {node:N0} requests/s.
            - One shard is full at {shard:N0} requests/s by its CPU, at {network:N0} by its network; at {memory:N0} sessions by its
              memory, at {churn:N0} by the CPU that their beginnings and ends take.
            - As requests grow, {first}: one shard serves {shard / node:0.#} nodes.
            - As sessions grow, {second}.


            """
        );
    }

    private static void Waiting(StringBuilder text, Costs costs, Assumptions given)
    {
        var request = Fleet.Request(costs, given);
        var calls = given.Read + 2 * given.Write + given.Read / given.Burst;
        var call = request.Redis / calls;
        Add(
            text,
            $"""
            ### Waiting

            Nodes as M/M/{given.Cores} with {request.Node:N0} µs, a shard as M/M/1 with {call:0.0} µs a command: P(T > t) =
            e^(−t)·(1 + C·(1 − e^(−kt))/k), k = c·(1 − ρ) − 1, C by Erlang, t in service times. Without the network's own time.

            | utilisation | node p50, µs | node p99, µs | shard p50, µs | shard p99, µs | p99 of {given.Cores} servers by formula, simulated |
            | ---: | ---: | ---: | ---: | ---: | --- |

            """
        );
        foreach (var utilisation in new[] { 0.3, 0.5, given.Cap, 0.8, 0.9 }.Distinct().Order())
        {
            var formula = Queue.Quantile(0.99, given.Cores, utilisation);
            var simulated = Queue.Simulated(0.99, given.Cores, utilisation, 1_000_000, Seed);
            Add(
                text,
                $"| {utilisation:0%} | {request.Node * Queue.Quantile(0.5, given.Cores, utilisation):N0} | {request.Node * formula:N0} | {call * Queue.Quantile(0.5, 1, utilisation):N0} | {call * Queue.Quantile(0.99, 1, utilisation):N0} | {formula:0.00}, {simulated:0.00} service times |\n"
            );
        }
        Add(text, $"\nSimulated: 1,000,000 requests, seed {Seed}.\n\n");
    }

    private static void Validate(StringBuilder text, Results peers, MicroFigures? micro)
    {
        text.Append(
            """
            ### The model against this machine

            Requests per second of the comparison as the model foretells them: all cores by the CPU of server, Redis and wrk
            together, and one core for each of those with one thread. First from the costs of the odd rounds for the even ones:
            what is missing to 1 is time that no process was charged for (idle, kernel, the machine's other guests). Then from
            costs put together: those of a bare endpoint and of the parts that were measured one by one.

            | | endpoint | predicted | measured | predicted by measured | limit |
            | --- | --- | ---: | ---: | ---: | --- |

            """
        );
        var all = Validation.ByRounds(peers).ToList();
        if (micro is not null)
            all.AddRange(Validation.ByParts(peers, micro));
        foreach (var one in all)
            Add(
                text,
                $"| {one.What} | /{one.Endpoint} | {one.Predicted:N0} | {one.Measured:N0} | {one.Ratio:0.00} | {one.Limit} |\n"
            );
        if (all.Count > 0)
            Add(
                text,
                $"\n{all.Count} predictions: {all.Min(v => v.Ratio):0.00} to {all.Max(v => v.Ratio):0.00} of what was measured, median {new Spread([.. all.Select(v => v.Ratio)]).Median:0.00}.\n"
            );
    }

    private static void Add(StringBuilder text, FormattableString more) =>
        text.Append(more.ToString(CultureInfo.InvariantCulture));
}
