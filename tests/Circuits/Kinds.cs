namespace Circuits;

/// <summary>Who is signed in.</summary>
public sealed record Member(string Name);

/// <summary>What is in the basket, of whoever that is.</summary>
public sealed record Cart(string Item);
