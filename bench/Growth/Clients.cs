using System.Diagnostics;
using Bench.Shared;

namespace Bench.Growth;

/// <summary>Clients that send their next request as soon as the last one is answered.</summary>
internal static class Clients
{
    /// <summary>Their number, and a request of one of them: its own, and the number of the request.</summary>
    public static async Task<(Latencies Latencies, double Seconds, double Cpu, double RedisCpu)> RunAsync(
        Place place,
        int clients,
        TimeSpan time,
        Func<int, long, Task> request
    )
    {
        // What comes first is compiled on the way, and is not measured.
        await LoadAsync(clients, TimeSpan.FromTicks(time.Ticks / 5), request);
        var (cpu, redisCpu) = (Environment.CpuUsage.TotalTime.TotalSeconds, place.ServerCpuSeconds);
        var start = Stopwatch.GetTimestamp();
        var latencies = await LoadAsync(clients, time, request);
        return (
            latencies,
            Stopwatch.GetElapsedTime(start).TotalSeconds,
            Environment.CpuUsage.TotalTime.TotalSeconds - cpu,
            place.ServerCpuSeconds - redisCpu
        );
    }

    public static async Task<OperationFigure> MeasureAsync(
        Place place,
        Varied varied,
        string store,
        string operation,
        int sessions,
        int dataBytes,
        int clients,
        TimeSpan time,
        Func<int, long, Task> request
    )
    {
        var (latencies, seconds, cpu, redisCpu) = await RunAsync(place, clients, time, request);
        var figure = new OperationFigure(
            varied,
            store,
            operation,
            sessions,
            dataBytes,
            clients,
            latencies.Count / seconds,
            latencies.Mean / 1e3,
            latencies.Quantile(0.5) / 1e3,
            latencies.Quantile(0.99) / 1e3,
            cpu * 1e6 / latencies.Count,
            redisCpu * 1e6 / latencies.Count
        );
        Console.WriteLine(
            $"{store} {operation}, {sessions} sessions, {dataBytes} B, {clients} clients: {figure.PerSecond:N0}/s, p50 {figure.P50:N1} us, p99 {figure.P99:N1} us"
        );
        return figure;
    }

    private static async Task<Latencies> LoadAsync(int clients, TimeSpan time, Func<int, long, Task> request)
    {
        var start = Stopwatch.GetTimestamp();
        var all = await Task.WhenAll(
            Enumerable
                .Range(0, clients)
                .Select(client => Task.Run(() => OneAsync(client, clients, start, time, request)))
        );
        var sum = new Latencies();
        foreach (var latencies in all)
            sum.Add(latencies);
        return sum;
    }

    private static async Task<Latencies> OneAsync(
        int client,
        int clients,
        long start,
        TimeSpan time,
        Func<int, long, Task> request
    )
    {
        var latencies = new Latencies();
        for (long i = 0; Stopwatch.GetElapsedTime(start) < time; i++)
        {
            var begin = Stopwatch.GetTimestamp();
            // Requests take turns, as those of a server do: a store that answers at once would leave no turn to others.
            if (clients > 1)
                await Task.Yield();
            await request(client, i);
            latencies.Add(Stopwatch.GetElapsedTime(begin).TotalNanoseconds);
        }
        return latencies;
    }
}
