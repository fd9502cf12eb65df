using Bench.Shared;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.FSharp.Core;
using Session.Domain;
using Session.Engine;

namespace Bench.Growth;

/// <summary>One node of an application: the engine on a store, as a request uses it.</summary>
internal sealed class Node
{
    /// <summary>The default settings, but for times that outlast a run, tombstones that do not, and no renewals.</summary>
    public static EngineSettings Settings { get; } = Long();

    private readonly Moment _clock;
    private readonly SessionEngine _engine;

    public Node(ISessionStore store, DateTimeOffset now)
    {
        _clock = new Moment(now);
        _engine = new SessionEngine(store, Settings, _clock, NullLogger.Instance, new NobodyListens());
    }

    public async Task<Opened> ReadAsync(string token)
    {
        var answer = await _engine.Present(Token.tryParse(_engine.Hasher, token).Value, true, CancellationToken.None);
        return answer.IsOk ? answer.ResultValue : throw new InvalidOperationException($"{answer.ErrorValue}");
    }

    /// <summary>So long after the last request that the session is touched.</summary>
    public Task ReadAfterAsync(string token, long minutes)
    {
        _clock.MoveTo(minutes);
        return ReadAsync(token);
    }

    /// <summary>What an endpoint does that changes its session.</summary>
    public async Task WriteAsync(string token)
    {
        var answer = await TryUpdateAsync(token, static data => data);
        if (answer is { } error)
            throw new InvalidOperationException($"{error}");
    }

    /// <summary>Null, or why the update was refused. As a request's: those that come at once share a write.</summary>
    public async Task<SessionError?> TryUpdateAsync(string token, Func<byte[], byte[]> update)
    {
        var answer = await _engine.Requests.Update(
            await ReadAsync(token),
            FuncConvert.FromFunc(
                (byte[] data) => FSharpResult<(byte[], bool), SessionError>.NewOk((update(data), true))
            ),
            _engine.NewErrand(),
            CancellationToken.None
        );
        return answer switch
        {
            Reply<(Opened, bool)>.Failed failed => failed.Item,
            Reply<(Opened, bool)>.Partly partly => partly.Item2,
            _ => null,
        };
    }

    /// <summary>The first write of a visitor, and the first request with the new token.</summary>
    public async Task BeginAsync(byte[] data)
    {
        var answer = await _engine.Create(
            FuncConvert.FromFunc(Token.newId),
            FSharpOption<string>.None,
            data,
            CancellationToken.None
        );
        await ReadAsync(answer.ResultValue.Issued!.Value.Reveal());
    }

    public Task<int> SweepAsync(int limit) => _engine.Sweep(limit, CancellationToken.None);

    private static EngineSettings Long()
    {
        var settings = Population.Settings;
        var policy = settings.Policy;
        return new(
            new(
                idle: TimeSpan.FromHours(8),
                absolute: TimeSpan.FromHours(24),
                confirm: TimeSpan.FromHours(8),
                rotateEvery: FSharpOption<TimeSpan>.None,
                policy.Grace,
                retention: TimeSpan.FromMinutes(1),
                policy.OnReplay
            ),
            1 << 20,
            settings.MaxSessionsPerSubject,
            settings.WhenLimitReached,
            settings.ServerKey,
            settings.SealsToBearer,
            settings.Protector
        );
    }

    private sealed class NobodyListens : INoticeBoard
    {
        public ValueTask Post(Notice notice) => ValueTask.CompletedTask;
    }
}
