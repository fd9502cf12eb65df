namespace Bench.Shared;

/// <summary>How much is measured.</summary>
public sealed record Plan(int Rounds, int Seconds, int WarmUpSeconds, int Sessions)
{
    public const int Connections = 32;

    public static IReadOnlyList<string> Endpoints { get; } = ["plain", "read", "write"];

    // Many short rounds: what disturbs the machine for some seconds then spoils one round of some, and no median.
    public static Plan Full { get; } = new(7, 3, 5, 1000);

    public static Plan Quick { get; } = new(2, 1, 1, 200);
}
