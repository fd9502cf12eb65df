using System.Diagnostics;
using System.Globalization;
using Bench.Shared;

namespace Bench.Connections;

/// <summary>The course of the run. This process is the client of all connections.</summary>
internal sealed class Measuring(Scale scale)
{
    private const int LooksToCount = 5;
    private readonly List<EndFigure> _ends = [];

    public async Task<ConnectionFigures> RunAsync()
    {
        var folder = Leftovers.NewFolder();
        await using var redis = await RedisServer.StartAsync(folder);
        await WithNotices(redis);
        var looks = await WithoutNotices(redis);
        var memory = await Memory(redis);
        var peers = await Peers(redis);
        Leftovers.Remove(folder);
        var sessions = scale.Users * Scale.SessionsOfUser;
        return new ConnectionFigures(
            await Machine.SayAsync(),
            sessions,
            sessions * Scale.ConnectionsOfSession,
            _ends,
            looks,
            memory,
            peers
        );
    }

    /// <summary>As it is every day: a notice goes to each node.</summary>
    private async Task WithNotices(RedisServer redis)
    {
        await using var fleet = await Fleet.StartAsync(Scale.Nodes, Variants.Ours, redis.Address, Scale.LiveCheck);
        using var crowd = await OpenAsync(fleet);
        // Each user in one way only, and the ends of the first users are what compiles the code.
        var users = crowd.Seats.GroupBy(seat => seat.User).Select(seats => seats.ToArray()).ToArray();
        var warmUp = users[..(scale.EndedUsers / 2)];
        await EndAsync(crowd, fleet, "warm-up", Firsts(warmUp), _ => "/logout");
        _ends.Clear();

        var rest = users[warmUp.Length..];
        var everywhere = rest[..scale.EndedUsers];
        var others = rest[scale.EndedUsers..];
        await EndAsync(crowd, fleet, "log out", Seats(others, 0), _ => "/logout");
        await EndAsync(crowd, fleet, "log out everywhere", everywhere, _ => "/everywhere");
        await EndAsync(crowd, fleet, "ended by another", Seats(others, 1), seat => $"/destroy?id={seat.Id}");
    }

    /// <summary>Where nothing comes through, and where a node was away: it is the look that closes.</summary>
    private async Task<LookFigure> WithoutNotices(RedisServer redis)
    {
        var port = int.Parse(redis.Address.Split(':')[1], CultureInfo.InvariantCulture);
        using var relay = new Relay(port);
        await using var fleet = await Fleet.StartAsync(Scale.Nodes, Variants.Ours, relay.Address, Scale.ShortLiveCheck);
        using var crowd = await OpenAsync(fleet);
        var looks = await LooksAsync(redis, crowd);

        var users = crowd.Seats.GroupBy(seat => seat.User).Select(seats => seats.ToArray()).ToArray();
        relay.Cut();
        await EndAsync(
            crowd,
            fleet,
            "log out, the channel is cut",
            Seats(users, 0),
            _ => "/logout",
            Scale.ShortLiveCheck
        );
        relay.Mend();

        await Task.Delay(Scale.ShortLiveCheck);
        await StopOneAsync(crowd, fleet, Seats(users, 1));
        return looks;
    }

    private async Task StopOneAsync(Crowd crowd, Fleet fleet, IReadOnlyList<Seat[]> groups)
    {
        var stopped = fleet.Nodes[^1];
        await stopped.StopAsync();
        await Crowd.EndAllAsync(groups, [.. fleet.Nodes.SkipLast(1)], _ => "/logout", TimeSpan.Zero);
        await Task.Delay(2 * Scale.ShortLiveCheck);
        // Those of the other nodes are closed by now.
        var open = groups.SelectMany(g => g).SelectMany(seat => seat.Lines).Where(line => line.IsOpen).ToHashSet();
        var wrong = open.Count(line => line.Port != stopped.Port);
        await stopped.ContinueAsync();
        var since = Stopwatch.GetTimestamp();
        var within = Scale.ShortLiveCheck + Scale.Allowance;
        await Crowd.WhenClosedAsync(groups, within);
        var figure = await crowd.JudgeAsync(
            "log out, one node is stopped and goes on",
            groups,
            _ => since,
            within,
            open.Contains
        );
        _ends.Add(figure with { Survivors = figure.Survivors + wrong });
    }

    /// <summary>What looks ask of the store while nothing happens.</summary>
    private static async Task<LookFigure> LooksAsync(RedisServer redis, Crowd crowd)
    {
        await Task.Delay(Scale.ShortLiveCheck);
        using var connection = await redis.ConnectAsync();
        await connection.AskAsync("CONFIG RESETSTAT");
        await Task.Delay(LooksToCount * Scale.ShortLiveCheck);
        var commands = await connection.AskAsync("INFO commandstats");
        var stats = await connection.AskAsync("INFO stats");
        return new LookFigure(
            crowd.Seats.Count,
            Number(commands, "cmdstat_mget:calls=") + Number(commands, "cmdstat_get:calls="),
            Number(stats, "keyspace_hits:")
        );
    }

    private async Task<IReadOnlyList<MemoryFigure>> Memory(RedisServer redis)
    {
        var figures = new List<MemoryFigure>();
        foreach (
            var (variant, each) in new[]
            {
                (Variants.Bare, 1),
                (Variants.Unwatched, 1),
                (Variants.Ours, 1),
                (Variants.Ours, 5),
            }
        )
        {
            await using var fleet = await Fleet.StartAsync(1, variant, redis.Address, Scale.LiveCheck);
            var node = fleet.Nodes[0];
            var bytes = new List<double>();
            // The first round fills the pools and caches that stay.
            for (var round = 0; round < 4; round++)
            {
                var before = await node.LiveBytesAsync();
                using var crowd = new Crowd(fleet.Nodes);
                await crowd.OpenAsync(scale.MeasuredConnections / each, 1, each, "/ws");
                // What opened them is over, and so is their first look.
                await Task.Delay(1000);
                bytes.Add((await node.LiveBytesAsync() - before) / (double)scale.MeasuredConnections);
                crowd.Dispose();
                await Task.Delay(1000);
            }
            var figure = new MemoryFigure(variant, each, bytes.Skip(1).Order().ElementAt(1));
            Console.WriteLine($"{figure}: {string.Join(", ", bytes.Select(b => $"{b:N0}"))}");
            figures.Add(figure);
        }
        return figures;
    }

    private async Task<IReadOnlyList<PeerFigure>> Peers(RedisServer redis)
    {
        var figures = new List<PeerFigure>();
        foreach (
            var (name, variant, path) in new[]
            {
                ("SignalR, cookie authentication", Variants.Cookies, "/hub"),
                ("SignalR, this library", Variants.OurHub, "/hub"),
                ("WebSockets, HttpContext.Session", Variants.FrameworkSession, "/ws"),
                ("WebSockets, this library", Variants.Ours, "/ws"),
            }
        )
        {
            await using var fleet = await Fleet.StartAsync(1, variant, redis.Address, Scale.LiveCheck);
            using var crowd = new Crowd(fleet.Nodes);
            await crowd.OpenAsync(scale.PeerUsers, Scale.SessionsOfUser, Scale.ConnectionsOfSession, path);
            await Crowd.EndAllAsync(
                [.. crowd.Seats.Select(seat => new[] { seat })],
                fleet.Nodes,
                _ => "/logout",
                TimeSpan.Zero
            );
            await Task.Delay(Scale.Patience);
            var lines = crowd.Seats.SelectMany(seat => seat.Lines).ToArray();
            var open = lines.Where(line => line.IsOpen).ToArray();
            var answers = await Task.WhenAll(open.Select(line => line.AnswersAsync()));
            figures.Add(new PeerFigure(name, lines.Length, open.Length, answers.Count(answer => answer)));
            Console.WriteLine(figures[^1]);
        }
        return figures;
    }

    private async Task<Crowd> OpenAsync(Fleet fleet)
    {
        var crowd = new Crowd(fleet.Nodes);
        var start = Stopwatch.GetTimestamp();
        await crowd.OpenAsync(scale.Users, Scale.SessionsOfUser, Scale.ConnectionsOfSession, "/ws");
        Console.WriteLine(
            $"{crowd.Seats.Count} sessions, {crowd.Seats.Sum(seat => seat.Lines.Count)} connections, opened in {Stopwatch.GetElapsedTime(start).TotalSeconds:0.0} s"
        );
        // Every node listens, and has looked at what it has opened.
        await Task.Delay(2000);
        return crowd;
    }

    private async Task EndAsync(
        Crowd crowd,
        Fleet fleet,
        string what,
        IReadOnlyList<Seat[]> groups,
        Func<Seat, string> request,
        TimeSpan spread = default
    ) => _ends.Add(await crowd.EndAsync(what, groups, fleet.Nodes, request, fleet.LiveCheck, spread));

    private static Seat[][] Firsts(IEnumerable<Seat[]> users) => [.. users.Select(seats => seats[..1])];

    /// <summary>So many sessions, one of each user.</summary>
    private Seat[][] Seats(IEnumerable<Seat[]> users, int which) =>
        [.. users.Take(scale.EndedOfAKind).Select(seats => new[] { seats[which] })];

    private static long Number(string text, string name)
    {
        var at = text.IndexOf(name, StringComparison.Ordinal);
        if (at < 0)
            return 0;
        var digits = text[(at + name.Length)..].TakeWhile(char.IsDigit).ToArray();
        return long.Parse(digits, CultureInfo.InvariantCulture);
    }
}
