using Bench.Shared;

namespace Bench.Runner;

/// <summary>The servers that the variants keep their sessions in; null: it is not installed.</summary>
internal sealed record Places(RedisServer? Redis, PostgresServer? Postgres);
