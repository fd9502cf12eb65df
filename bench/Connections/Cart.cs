namespace Bench.Connections;

/// <summary>What a shop keeps in a session: three items, about 100 bytes of JSON.</summary>
internal sealed record Cart(string User, string[] Items)
{
    public static Cart New(string user) =>
        new(user, [.. Enumerable.Range(1, 3).Select(i => $"item-{i:D4}-of-the-shop")]);
}
