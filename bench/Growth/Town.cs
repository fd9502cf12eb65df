using System.Diagnostics;
using Bench.Shared;
using Session.Engine;

namespace Bench.Growth;

/// <summary>A store with sessions in it, all live, all of one size.</summary>
internal sealed class Town : IAsyncDisposable
{
    private const int MostTokens = 100_000;
    private readonly Population _population;
    private readonly int _dataBytes;
    private readonly bool _signedIn;
    private readonly long _empty;
    private string[] _tokens = [];
    private long _touches;

    private Town(string store, Place place, long empty, int dataBytes, bool signedIn)
    {
        (Store, Place, _empty, _dataBytes, _signedIn) = (store, place, empty, dataBytes, signedIn);
        Node = new Node(place.Store, Now);
        _population = new Population("growth", dataBytes, Now, Node.Settings);
    }

    public DateTimeOffset Now { get; } = DateTimeOffset.UtcNow;
    public string Store { get; }
    public Place Place { get; }
    public Node Node { get; }
    public int Sessions { get; private set; }

    public static async Task<Town> NewAsync(string store, int dataBytes, bool signedIn = false)
    {
        var place = await Place.NewAsync(store);
        return new Town(store, place, await place.BytesAsync(), dataBytes, signedIn);
    }

    /// <summary>The session of a client's request: another one each time, in no order.</summary>
    public string Token(int client, long request) =>
        _tokens[(int)((ulong)(client * 7919L + request) * 11400714819323198485UL % (ulong)_tokens.Length)];

    public string TokenOf(int number) => _population.Text(number);

    public string IdOf(int number) => _population.Id(number);

    public static string UserOf(int number) => $"user-{number}";

    /// <summary>What they take then.</summary>
    public async Task<FootprintFigure> GrowToAsync(int sessions)
    {
        // The tokens are the clients', and do not count.
        _tokens = [];
        var start = Stopwatch.GetTimestamp();
        await FillAsync(_population, Sessions, sessions, _signedIn);
        // Opened once, each: the memory store keeps what was read out of a record beside it.
        if (Store == "memory")
            for (var i = Sessions; i < sessions; i++)
                await Node.ReadAsync(_population.Text(i));
        Sessions = sessions;
        var bytes = (double)(await Place.BytesAsync() - _empty) / sessions;
        Console.WriteLine(
            $"{Store}: {sessions} sessions of {_dataBytes} B, {bytes:N0} B each, {Stopwatch.GetElapsedTime(start).TotalSeconds:F1} s"
        );

        var random = new Random(sessions);
        _tokens =
        [
            .. Enumerable
                .Range(0, Math.Min(sessions, MostTokens))
                .Select(i => _population.Text(sessions <= MostTokens ? i : random.Next(sessions))),
        ];
        return new FootprintFigure(Store, sessions, _dataBytes, _signedIn, bytes);
    }

    public async Task<OperationFigure> MeasureAsync(Varied varied, string operation, int clients, TimeSpan time)
    {
        var data = Population.Data(_dataBytes);
        return await Clients.MeasureAsync(
            Place,
            varied,
            Store,
            operation,
            Sessions,
            _dataBytes,
            clients,
            time,
            operation switch
            {
                "read" => (client, i) => Node.ReadAsync(Token(client, i)),
                "read and touch" => (_, _) => TouchAsync(),
                "write" => (client, i) => Node.WriteAsync(Token(client, i)),
                "begin" => (_, _) => Node.BeginAsync(data),
                _ => throw new ArgumentException(operation),
            }
        );
    }

    /// <summary>One after the other, and a minute later all of them again.</summary>
    private Task TouchAsync()
    {
        var number = Interlocked.Increment(ref _touches) - 1;
        return Node.ReadAfterAsync(_tokens[number % _tokens.Length], 1 + number / _tokens.Length);
    }

    /// <summary>Others, whose time was over an hour ago, come, and the sweeper ends them.</summary>
    public async Task<SweepFigure> SweepAsync(int overdue)
    {
        var past = Now - Node.Settings.Policy.Idle - TimeSpan.FromHours(1);
        await FillAsync(new Population($"overdue {Sessions}", _dataBytes, past, Node.Settings), 0, overdue, _signedIn);
        var expire = await SweepAsync(overdue, new Node(Place.Store, Now));
        // When the tombstones may go.
        var remove = await SweepAsync(overdue, new Node(Place.Store, Now + TimeSpan.FromMinutes(5)));
        Console.WriteLine(
            $"{Store}, {Sessions} sessions: {overdue} ended, {expire.Time:N1} us each, removed {remove.Time:N1} us each"
        );
        return new SweepFigure(
            Store,
            Sessions,
            overdue,
            expire.Time,
            expire.Cpu,
            expire.RedisCpu,
            remove.Time,
            remove.Cpu,
            remove.RedisCpu
        );
    }

    private async Task<(double Time, double Cpu, double RedisCpu)> SweepAsync(int overdue, Node node)
    {
        var (cpu, redisCpu) = (Environment.CpuUsage.TotalTime.TotalSeconds, Place.ServerCpuSeconds);
        var start = Stopwatch.GetTimestamp();
        var handled = 0;
        for (int more; (more = await node.SweepAsync(200)) > 0; )
            handled += more;
        var seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        if (handled != overdue)
            throw new InvalidOperationException($"{Store}: {overdue} were overdue, the sweeper was given {handled}.");
        return (
            seconds * 1e6 / overdue,
            (Environment.CpuUsage.TotalTime.TotalSeconds - cpu) * 1e6 / overdue,
            (Place.ServerCpuSeconds - redisCpu) * 1e6 / overdue
        );
    }

    private async Task FillAsync(Population population, int from, int to, bool signedIn)
    {
        async ValueTask OneAsync(int number)
        {
            var record = population.Record(number, 1, signedIn ? UserOf(number) : null);
            var result = await Place.Store.Insert(record, CancellationToken.None);
            if (result != WriteResult.Written)
                throw new InvalidOperationException($"{Store}: an insert is answered {result}.");
        }

        if (Place.Inserters == 1)
            for (var i = from; i < to; i++)
                await OneAsync(i);
        else
            await Parallel.ForAsync(
                from,
                to,
                new ParallelOptions { MaxDegreeOfParallelism = Place.Inserters },
                (i, _) => OneAsync(i)
            );
    }

    public async ValueTask DisposeAsync() => await Place.DisposeAsync();
}
