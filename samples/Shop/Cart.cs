using System.Collections.Immutable;
using System.Text.Json.Serialization;
using Session.CSharp;

namespace Shop;

/// <summary>What a session of the shop holds.</summary>
public sealed record Cart(ImmutableArray<string> Items, string? Role = null, string? Device = null)
{
    public static Cart Empty { get; } = new([]);

    public Cart Add(string sku) => this with { Items = Items.Add(sku) };
}

public sealed record Login(string? User, string? Role)
{
    /// <summary>No password: any name is let in. A real application checks one here.</summary>
    internal string? Error =>
        User is { Length: > 0 and <= 100 } && Role is not { Length: > 40 }
            ? null
            : "A user name has 1 to 100 characters, a role at most 40.";

    /// <summary>The cart of the visit so far comes along, and the token is a new one.</summary>
    internal Task SignInAsync(Session<Cart> session, HttpRequest request) =>
        session.SignInAsync(
            User!,
            (session.Data ?? Cart.Empty) with
            {
                Role = Role ?? "customer",
                Device = DeviceName.Of(request),
            }
        );
}

public sealed record CartView(IReadOnlyList<string> Items, int Count)
{
    public static CartView Of(Cart? cart) => new((cart ?? Cart.Empty).Items, (cart ?? Cart.Empty).Items.Length);
}

public sealed record Profile(string User, string? Role, IReadOnlyList<string> Items);

public sealed record Device(string Id, DateTimeOffset CreatedAt, DateTimeOffset LastSeen, bool Current);

public sealed record Success([property: JsonPropertyName("success")] bool Done);

public sealed record LoggedOut([property: JsonPropertyName("loggedOut")] bool Done);

public sealed record Ended([property: JsonPropertyName("ended")] int Count);
