using System.Collections.Immutable;
using System.Text.Json.Serialization;

namespace Shop;

/// <summary>What a session of the shop holds.</summary>
public sealed record Cart(ImmutableArray<string> Items, string? Role = null)
{
    public static Cart Empty { get; } = new([]);

    public Cart Add(string sku) => this with { Items = Items.Add(sku) };
}

public sealed record Login(string? User, string? Role);

public sealed record CartView(IReadOnlyList<string> Items, int Count)
{
    public static CartView Of(Cart? cart) => new((cart ?? Cart.Empty).Items, (cart ?? Cart.Empty).Items.Length);
}

public sealed record Profile(string User, string? Role, IReadOnlyList<string> Items);

public sealed record Device(string Id, DateTimeOffset CreatedAt, DateTimeOffset LastSeen, bool Current);

public sealed record Success([property: JsonPropertyName("success")] bool Done);

public sealed record LoggedOut([property: JsonPropertyName("loggedOut")] bool Done);

public sealed record Ended([property: JsonPropertyName("ended")] int Count);
