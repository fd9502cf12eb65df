namespace Bench.Shared;

/// <summary>One run of one endpoint of one variant.</summary>
public sealed record Measurement(
    string Variant,
    string Endpoint,
    int Round,
    Load Load,
    double ServerCpuSeconds,
    double RedisCpuSeconds,
    double WrkCpuSeconds,
    long? AllocatedBytes,
    long? RedisCommandsRun
)
{
    public double Seconds => Load.Microseconds / 1e6;
    public double PerSecond => Load.Requests / Seconds;
    public double CpuMicrosecondsPerRequest => ServerCpuSeconds * 1e6 / Load.Requests;
    public double RedisCpuMicrosecondsPerRequest => RedisCpuSeconds * 1e6 / Load.Requests;
    public double WrkCpuMicrosecondsPerRequest => WrkCpuSeconds * 1e6 / Load.Requests;
    public double? BytesPerRequest => (double?)AllocatedBytes / Load.Requests;
    public double? CommandsRunPerRequest => (double?)RedisCommandsRun / Load.Requests;

    /// <summary>1: wrk itself was the limit, and the server could have done more.</summary>
    public double WrkShare => WrkCpuSeconds / Seconds;
}
