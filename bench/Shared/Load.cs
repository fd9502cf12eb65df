namespace Bench.Shared;

/// <summary>What one run of wrk says. Times in microseconds.</summary>
public sealed record Load(
    long Requests,
    long Microseconds,
    long P50,
    long P99,
    long Refused,
    long SocketErrors,
    long Timeouts
)
{
    public bool IsValid => Requests > 0 && Refused + SocketErrors + Timeouts == 0;
}
