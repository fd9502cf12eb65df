namespace Bench.Runner;

/// <summary>Commands on the wire to Redis for one request.</summary>
internal sealed record CommandsSent(string Variant, string Endpoint, double PerRequest);
