namespace SessionWeb1;

/// <summary>What is kept for a visitor. Nothing changes it in place: each change is a new one.</summary>
public sealed record Cart(string[] Items, string? Device = null)
{
    public static Cart Empty { get; } = new([]);

    public Cart Add(string item) => this with { Items = [.. Items, item] };
}
