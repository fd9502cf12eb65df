using System.ComponentModel;
using System.Text.Json;
using Bench.Shared;
using Bench.Web;
using BenchmarkDotNet.Attributes;
using Microsoft.FSharp.Core;
using Session.Domain;
using Session.Engine;

namespace Bench.Micro;

[DisplayName("Records and data")]
public class Records
{
    private static readonly DateTimeOffset s_begin = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);
    private readonly (string Id, State State, StoredRecord Record) _small = Make(100);
    private readonly (string Id, State State, StoredRecord Record) _large = Make(4096);
    private readonly byte[] _cart = JsonSerializer.SerializeToUtf8Bytes(Cart.New, BenchJson.Default.Cart);

    [Benchmark(Description = MicroFigures.Encode)]
    public byte[] Encode() => Codec.encode(_small.Id, 1, _small.State);

    [Benchmark(Description = MicroFigures.Decode)]
    public FSharpResult<State, string> Decode() => Codec.decode(_small.Id, 1, _small.Record.Body);

    [Benchmark(Description = "encode, 4 KiB of data")]
    public byte[] EncodeLarge() => Codec.encode(_large.Id, 1, _large.State);

    [Benchmark(Description = "decode, 4 KiB of data")]
    public FSharpResult<State, string> DecodeLarge() => Codec.decode(_large.Id, 1, _large.Record.Body);

    [Benchmark(Description = MicroFigures.FromJson)]
    public object Deserialize() => JsonSerializer.Deserialize(_cart, BenchJson.Default.Cart)!;

    [Benchmark(Description = MicroFigures.ToJson)]
    public byte[] Serialize() => JsonSerializer.SerializeToUtf8Bytes(Cart.New, BenchJson.Default.Cart);

    private static (string, State, StoredRecord) Make(int bytes)
    {
        var population = new Population("records", bytes, s_begin, Population.Settings);
        return (population.Id(1), population.Active(1), population.Record(1));
    }
}
