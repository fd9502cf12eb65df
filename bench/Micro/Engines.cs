using System.ComponentModel;
using Bench.Shared;
using BenchmarkDotNet.Attributes;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.FSharp.Core;
using Session.Engine;

namespace Bench.Micro;

/// <summary>An application that listens to nothing.</summary>
internal sealed class Silence : INoticeBoard
{
    public ValueTask Post(Notice notice) => ValueTask.CompletedTask;
}

[DisplayName("The engine on the memory store, 100 B of data: what a request pays besides HTTP and JSON")]
public class Engines
{
    private readonly SessionEngine _clear = On(new MemoryStore(), sealsToBearer: false);
    private readonly SessionEngine _sealing = On(new MemoryStore(), sealsToBearer: true);
    private readonly string _clearToken;
    private readonly string _sealedToken;
    private readonly string _guess;
    private readonly FSharpFunc<byte[], FSharpResult<byte[], SessionError>> _same = FuncConvert.FromFunc(
        (byte[] data) => FSharpResult<byte[], SessionError>.NewOk(data)
    );

    public Engines()
    {
        (_clearToken, _sealedToken) = (Begin(_clear), Begin(_sealing));
        var guess = new Population("guess", 0, default, Population.Settings).Text(1).Split('.')[1];
        _guess = _clearToken.Split('.')[0] + "." + guess;
    }

    internal static SessionEngine On(ISessionStore store, bool sealsToBearer)
    {
        var settings = Population.Settings;
        // Without renewals, each of which would be another thing to measure.
        var policy = settings.Policy;
        policy = new(
            policy.Idle,
            policy.Absolute,
            policy.Confirm,
            FSharpOption<TimeSpan>.None,
            policy.Grace,
            policy.Retention,
            policy.OnReplay
        );
        settings = new(
            policy,
            settings.MaxDataBytes,
            settings.MaxSessionsPerSubject,
            settings.WhenLimitReached,
            null,
            sealsToBearer,
            null
        );
        return new SessionEngine(store, settings, TimeProvider.System, NullLogger.Instance, new Silence());
    }

    private static string Begin(SessionEngine engine)
    {
        var created = engine.Create(
            FuncConvert.FromFunc(Token.newId),
            FSharpOption<string>.None,
            Population.Data(100),
            CancellationToken.None
        );
        var token = created.Result.ResultValue.Issued!.Value.Reveal();
        // Confirmed, once.
        return Open(engine, token).Result.IsOk
            ? token
            : throw new InvalidOperationException("The token opens nothing.");
    }

    private static ValueTask<FSharpResult<Opened, SessionError>> Open(SessionEngine engine, string token) =>
        engine.Present(Token.tryParse(engine.Hasher, token).Value, true, CancellationToken.None);

    private async ValueTask<FSharpResult<Opened, SessionError>> WriteAsync(SessionEngine engine, string token) =>
        await engine.Update((await Open(engine, token)).ResultValue, _same, CancellationToken.None);

    [Benchmark(Description = MicroFigures.Read)]
    public ValueTask<FSharpResult<Opened, SessionError>> Read() => Open(_clear, _clearToken);

    [Benchmark(Description = "the same with a wrong secret")]
    public ValueTask<FSharpResult<Opened, SessionError>> Guess() => Open(_clear, _guess);

    [Benchmark(Description = MicroFigures.Write)]
    public ValueTask<FSharpResult<Opened, SessionError>> Write() => WriteAsync(_clear, _clearToken);

    [Benchmark(Description = "parse, hash, load, present; data sealed to its bearer")]
    public ValueTask<FSharpResult<Opened, SessionError>> ReadSealed() => Open(_sealing, _sealedToken);

    [Benchmark(Description = "parse, hash, load, present, update; data sealed to its bearer")]
    public ValueTask<FSharpResult<Opened, SessionError>> WriteSealed() => WriteAsync(_sealing, _sealedToken);
}
