using System.ComponentModel;
using Bench.Shared;
using BenchmarkDotNet.Attributes;
using Microsoft.AspNetCore.DataProtection;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.FSharp.Collections;
using Microsoft.FSharp.Core;
using Session.Domain;
using Session.Engine;

namespace Bench.Micro;

[DisplayName("Data at rest, 100 B of data")]
public class Sealing
{
    private readonly IRecordProtector _protector;
    private readonly byte[] _clear = new Population("sealing", 100, default, Population.Settings)
        .Record(1)
        .Body.ToArray();
    private readonly byte[] _protected;
    private readonly Session.Engine.Records _records;
    private readonly PresentedToken _token;
    private readonly StoredRecord _sealed;

    public Sealing()
    {
        var services = new ServiceCollection().AddSingleton<IDataProtectionProvider>(
            new EphemeralDataProtectionProvider()
        );
        new SessionBuilder(services, typeof(Sealing)).ProtectWithDataProtection();
        _protector = services.BuildServiceProvider().GetRequiredKeyedService<IRecordProtector>(typeof(Sealing));
        _protected = _protector.Protect(_clear);

        var store = new MemoryStore();
        var engine = Engines.On(store, sealsToBearer: true);
        var issued = engine
            .Create(
                FuncConvert.FromFunc(Token.newId),
                FSharpOption<string>.None,
                Population.Data(100),
                CancellationToken.None
            )
            .Result.ResultValue.Issued!.Value;
        _token = Token.tryParse(engine.Hasher, issued.Reveal()).Value;
        _sealed = ((ISessionStore)store).Load(issued.Id, CancellationToken.None).Result!;
        _records = new Session.Engine.Records(
            RulesModule.ofPolicy(engine.Settings.Policy),
            engine.Settings,
            NullLogger.Instance
        );
        if (!Open().ResultValue.IsOpen)
            throw new InvalidOperationException("The sealed data does not open.");
    }

    [Benchmark(Description = "protect a record (Data Protection)")]
    public byte[] Protect() => _protector.Protect(_clear);

    [Benchmark(Description = "unprotect a record")]
    public byte[] Unprotect() => _protector.Unprotect(_protected)!;

    [Benchmark(Description = "open data sealed to its bearer (AES-256-GCM twice), the record being decoded")]
    public FSharpResult<Snapshot, SessionError> Open() =>
        _records.Read(
            _token.Id,
            _sealed,
            BearerKeys.Of(_token.Hash, _token.Key!, FSharpList<ValueTuple<SecretHash, byte[]?>>.Empty)
        );
}
