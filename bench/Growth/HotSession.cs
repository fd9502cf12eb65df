using System.Buffers.Binary;
using Bench.Shared;

namespace Bench.Growth;

/// <summary>
/// All clients update one session, on one node or on several: each counts in a place of its own, and what was accepted has
/// to be there in the end.
/// </summary>
internal static class HotSession
{
    public static async Task<HotFigure> MeasureAsync(string store, int nodes, TimeSpan time)
    {
        const int Clients = Scale.HotClients;
        await using var town = await Town.NewAsync(store, Clients * sizeof(int));
        await town.GrowToAsync(Scale.BesideHot);
        var token = town.TokenOf(0);
        var others = Enumerable.Range(1, nodes - 1).Select(_ => new Node(town.Place.OfAnotherNode(), town.Now));
        Node[] all = [town.Node, .. others];

        var accepted = new int[Clients];
        var (attempts, refused) = (0L, 0L);

        async Task<(Latencies Latencies, double Seconds, double, double)> OnAsync(Func<int, long, string> tokenOf) =>
            await Growth.Clients.RunAsync(
                town.Place,
                Clients,
                time,
                async (client, i) =>
                {
                    var error = await all[client % nodes]
                        .TryUpdateAsync(
                            tokenOf(client, i),
                            data =>
                            {
                                Interlocked.Increment(ref attempts);
                                var next = data.ToArray();
                                var own = next.AsSpan(client * sizeof(int));
                                BinaryPrimitives.WriteInt32LittleEndian(
                                    own,
                                    BinaryPrimitives.ReadInt32LittleEndian(own) + 1
                                );
                                return next;
                            }
                        );
                    if (error is null)
                        accepted[client]++;
                    else if (error.IsContended)
                        Interlocked.Increment(ref refused);
                    else
                        throw new InvalidOperationException($"{store}: {error}");
                }
            );

        async Task<double> OnManyAsync()
        {
            var (latencies, seconds, _, _) = await OnAsync(town.Token);
            return latencies.Count / seconds;
        }

        var before = await OnManyAsync();
        var first = (await town.Node.ReadAsync(token)).Live.Data;
        Array.Clear(accepted);
        (attempts, refused) = (0, 0);
        var (latencies, seconds, _, _) = await OnAsync((_, _) => token);

        var last = (await town.Node.ReadAsync(token)).Live.Data;
        var isAllThere = Enumerable
            .Range(0, Clients)
            .All(client => Of(last, client) - Of(first, client) == accepted[client]);
        var (sum, perSecond) = (accepted.Sum(count => (long)count), latencies.Count / seconds);
        var (tries, given) = (attempts, refused);
        var onMany = (before + await OnManyAsync()) / 2;
        Console.WriteLine(
            $"{store}, one session, {Clients} clients on {nodes} nodes: {perSecond:N0}/s (on {Scale.BesideHot} sessions {onMany:N0}/s), {sum} accepted in {tries} attempts, {given} refused, {(isAllThere ? "all there" : "UPDATES LOST")}"
        );
        return new HotFigure(
            store,
            nodes,
            Clients,
            sum,
            tries,
            given,
            (1 - given / (double)(sum + given)) * perSecond,
            onMany,
            latencies.Quantile(0.5) / 1e3,
            latencies.Quantile(0.99) / 1e3,
            isAllThere
        );
    }

    private static int Of(byte[] data, int client) =>
        BinaryPrimitives.ReadInt32LittleEndian(data.AsSpan(client * sizeof(int)));
}
