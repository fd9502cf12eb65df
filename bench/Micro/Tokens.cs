using System.ComponentModel;
using Bench.Shared;
using BenchmarkDotNet.Attributes;
using Microsoft.FSharp.Core;
using Session.Domain;
using Session.Engine;

namespace Bench.Micro;

[DisplayName("Tokens")]
public class Tokens
{
    private readonly SecretHasher _plain = new(null, false);
    private readonly SecretHasher _keyed = new(new ServerKeys(Population.Data(32)), false);
    private readonly SecretHasher _sealing = new(null, true);
    private readonly byte[] _secret = Population.Data(32);
    private readonly string _id = Token.newId();
    private readonly string _text = new Population("tokens", 0, default, Population.Settings).Text(1);
    private readonly string _malformed = new('A', 66);

    [Benchmark(Description = "mint an id and a secret")]
    public (string, Secret) Mint() => (Token.newId(), Secret.Mint());

    [Benchmark(Description = "hash a secret (SHA-256, the default)")]
    public SecretHash Hash() => _plain.Hash(_id, _secret);

    [Benchmark(Description = "hash a secret under a server key (HMAC-SHA-256)")]
    public SecretHash HashUnderKey() => _keyed.Hash(_id, _secret);

    [Benchmark(Description = "parse and hash a token")]
    public FSharpValueOption<PresentedToken> Parse() => Token.tryParse(_plain, _text);

    [Benchmark(Description = "parse and hash a token under a server key")]
    public FSharpValueOption<PresentedToken> ParseUnderKey() => Token.tryParse(_keyed, _text);

    [Benchmark(Description = "parse and hash a token, and derive its key (sealing)")]
    public FSharpValueOption<PresentedToken> ParseSealing() => Token.tryParse(_sealing, _text);

    [Benchmark(Description = "refuse what is no token")]
    public FSharpValueOption<PresentedToken> Refuse() => Token.tryParse(_plain, _malformed);
}
