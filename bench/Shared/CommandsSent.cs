namespace Bench.Shared;

/// <summary>Commands on the wire to Redis for one request.</summary>
public sealed record CommandsSent(string Variant, string Endpoint, double PerRequest);
