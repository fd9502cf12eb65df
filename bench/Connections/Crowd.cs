using System.Collections.Concurrent;
using System.Diagnostics;

namespace Bench.Connections;

/// <summary>Users with several sessions each, and several connections of each, spread over all nodes.</summary>
internal sealed class Crowd(IReadOnlyList<Node> nodes) : IDisposable
{
    private const int LoginsAtOnce = 16;
    private const int EndsAtOnce = 8;

    // Those that were ended before.
    private readonly HashSet<Seat> _former = [];
    private Seat[] _seats = [];

    public IReadOnlyList<Seat> Seats => _seats;

    public async Task OpenAsync(int users, int sessionsOfUser, int connectionsOfSession, string path)
    {
        var seats = new ConcurrentBag<Seat>();
        await Parallel.ForEachAsync(
            Enumerable.Range(0, users * sessionsOfUser),
            new ParallelOptions { MaxDegreeOfParallelism = LoginsAtOnce },
            async (n, _) =>
                seats.Add(await SitDownAsync(n, $"user-{n / sessionsOfUser:D5}", connectionsOfSession, path))
        );
        _seats = [.. seats.OrderBy(seat => seat.User, StringComparer.Ordinal)];
    }

    private async Task<Seat> SitDownAsync(int n, string user, int connections, string path)
    {
        using var answer = await nodes[n % nodes.Count].Client.PostAsync($"/login?user={user}", null);
        answer.EnsureSuccessStatusCode();
        // As long as ours where there is none: its bytes are the request's, and not the session's.
        var cookie = answer.Headers.TryGetValues("Set-Cookie", out var cookies)
            ? string.Join("; ", cookies.Select(line => line.Split(';')[0]))
            : $"__Host-sid={new string('x', 66)}";
        var lines = new List<Line>();
        for (var i = 0; i < connections; i++)
            lines.Add(await Line.OpenAsync(nodes[(n + i) % nodes.Count].Port, path, cookie));
        return new Seat(user, cookie, lines);
    }

    /// <summary>
    /// Ends sessions, each group by one request to one of the nodes, and says how late their connections were closed. One that is
    /// open for an interval longer than that is a survivor.
    /// </summary>
    public async Task<EndFigure> EndAsync(
        string what,
        IReadOnlyList<Seat[]> groups,
        IReadOnlyList<Node> by,
        Func<Seat, string> request,
        TimeSpan liveCheck,
        TimeSpan spread
    )
    {
        var within = liveCheck + Scale.Allowance;
        var acknowledged = await EndAllAsync(groups, by, request, spread);
        await WhenClosedAsync(groups, within);
        return await JudgeAsync(what, groups, seat => acknowledged[seat], within);
    }

    /// <summary>When each end was acknowledged. `spread`: they come one after another in so long a time.</summary>
    public static async Task<IReadOnlyDictionary<Seat, long>> EndAllAsync(
        IReadOnlyList<Seat[]> groups,
        IReadOnlyList<Node> by,
        Func<Seat, string> request,
        TimeSpan spread
    )
    {
        var acknowledged = new ConcurrentDictionary<Seat, long>();
        var start = Stopwatch.GetTimestamp();
        await Parallel.ForEachAsync(
            groups.Index(),
            new ParallelOptions { MaxDegreeOfParallelism = EndsAtOnce },
            async (group, _) =>
            {
                var rest = spread * group.Index / groups.Count - Stopwatch.GetElapsedTime(start);
                if (rest > TimeSpan.Zero)
                    await Task.Delay(rest, CancellationToken.None);
                using var message = new HttpRequestMessage(HttpMethod.Post, request(group.Item[0]));
                message.Headers.Add("Cookie", group.Item[0].Cookie);
                using var answer = await by[group.Index % by.Count].Client.SendAsync(message, CancellationToken.None);
                answer.EnsureSuccessStatusCode();
                var now = Stopwatch.GetTimestamp();
                foreach (var seat in group.Item)
                    acknowledged[seat] = now;
            }
        );
        return acknowledged;
    }

    public static async Task WhenClosedAsync(IEnumerable<Seat[]> groups, TimeSpan within)
    {
        var closing = Task.WhenAll(
            groups.SelectMany(seats => seats).SelectMany(seat => seat.Lines).Select(l => l.Closed)
        );
        await Task.WhenAny(closing, Task.Delay(within));
    }

    /// <summary>`since`: from when on the connections of a session should be closed. `counts`: which of them are looked at; null: all.</summary>
    public async Task<EndFigure> JudgeAsync(
        string what,
        IReadOnlyList<Seat[]> groups,
        Func<Seat, long> since,
        TimeSpan within,
        Func<Line, bool>? counts = null
    )
    {
        var ended = groups.SelectMany(seats => seats).ToHashSet();
        var lines = ended
            .SelectMany(seat => seat.Lines.Select(line => (Line: line, Since: since(seat))))
            .Where(one => counts?.Invoke(one.Line) ?? true)
            .ToArray();
        var late = lines
            .Where(one => !one.Line.IsOpen)
            .Select(one => Math.Max(0, Stopwatch.GetElapsedTime(one.Since, one.Line.ClosedAt).TotalMilliseconds))
            .Order()
            .ToArray();
        var others = _seats.Where(seat => !ended.Contains(seat) && !_former.Contains(seat)).ToArray();
        _former.UnionWith(ended);
        var answers = await Task.WhenAll(others.SelectMany(seat => seat.Lines).Select(line => line.AnswersAsync()));
        var figure = new EndFigure(
            what,
            ended.Count,
            lines.Length,
            lines.Count(one => one.Line.IsOpen || Stopwatch.GetElapsedTime(one.Since, one.Line.ClosedAt) > within),
            Quantile(late, 0.5),
            Quantile(late, 0.99),
            Quantile(late, 1),
            answers.All(answer => answer)
        );
        Console.WriteLine(figure);
        return figure;
    }

    private static double Quantile(double[] sorted, double share) =>
        sorted.Length == 0 ? 0 : sorted[Math.Max(0, (int)Math.Ceiling(share * sorted.Length) - 1)];

    public void Dispose()
    {
        foreach (var line in _seats.SelectMany(seat => seat.Lines))
            line.Dispose();
    }
}
