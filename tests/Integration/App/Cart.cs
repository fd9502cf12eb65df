namespace Integration.App;

/// <summary>The session data of the subject.</summary>
public sealed record Cart(IReadOnlyList<string> Items)
{
    public static Cart Empty { get; } = new([]);

    public Cart With(string sku) => new([.. Items, sku]);

    public override string ToString() => string.Join(",", Items);
}
