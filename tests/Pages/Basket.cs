namespace Pages;

/// <summary>The data of a session that a page writes to.</summary>
public sealed record Basket(string Item);
