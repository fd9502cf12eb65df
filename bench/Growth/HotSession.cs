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
        await town.GrowToAsync(1);
        var token = town.TokenOf(0);
        var others = Enumerable.Range(1, nodes - 1).Select(_ => new Node(town.Place.OfAnotherNode(), town.Now));
        Node[] all = [town.Node, .. others];
        var first = (await town.Node.ReadAsync(token)).Live.Data;

        var accepted = new int[Clients];
        var (attempts, refused) = (0L, 0L);
        var (latencies, seconds, _, _) = await Growth.Clients.RunAsync(
            town.Place,
            Clients,
            time,
            async (client, _) =>
            {
                var error = await all[client % nodes]
                    .TryUpdateAsync(
                        token,
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

        var last = (await town.Node.ReadAsync(token)).Live.Data;
        var isAllThere = Enumerable
            .Range(0, Clients)
            .All(client => Of(last, client) - Of(first, client) == accepted[client]);
        var (sum, perSecond) = (accepted.Sum(count => (long)count), latencies.Count / seconds);
        Console.WriteLine(
            $"{store}, one session, {Clients} clients on {nodes} nodes: {perSecond:N0}/s, {sum} accepted in {attempts} attempts, {refused} refused, {(isAllThere ? "all there" : "UPDATES LOST")}"
        );
        return new HotFigure(
            store,
            nodes,
            Clients,
            sum,
            attempts,
            refused,
            (1 - refused / (double)(sum + refused)) * perSecond,
            latencies.Quantile(0.5) / 1e3,
            latencies.Quantile(0.99) / 1e3,
            isAllThere
        );
    }

    private static int Of(byte[] data, int client) =>
        BinaryPrimitives.ReadInt32LittleEndian(data.AsSpan(client * sizeof(int)));
}
