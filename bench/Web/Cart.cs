using System.Text.Json.Serialization;

namespace Bench.Web;

/// <summary>What a shop keeps in a session: three items, about 100 bytes of JSON.</summary>
internal sealed record Cart(string User, int Changes, string[] Items)
{
    public static Cart New { get; } = new("", 0, [.. Enumerable.Range(1, 3).Select(i => $"item-{i:D4}-of-the-shop")]);
}

/// <summary>What every endpoint answers.</summary>
internal sealed record Answer(int Changes, int Items);

[JsonSerializable(typeof(Cart))]
[JsonSerializable(typeof(Answer))]
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
internal sealed partial class BenchJson : JsonSerializerContext;
