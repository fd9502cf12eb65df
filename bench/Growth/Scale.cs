namespace Bench.Growth;

/// <summary>How far it is measured, and for how long each time.</summary>
internal sealed record Scale(
    int[] Counts,
    int[] Sizes,
    int SessionsOfASize,
    int[] Clients,
    int SessionsForClients,
    int Overdue,
    int Pages,
    TimeSpan Time
)
{
    public const int SmallData = 100;
    public const int ManyClients = 64;
    public const int HotClients = 32;
    public const int BesideHot = 1_000;

    public static Scale Full { get; } =
        new(
            [1_000, 10_000, 100_000, 1_000_000],
            [100, 1024, 4096, 16_384, 65_536],
            2_000,
            [1, 8, 64, 512],
            10_000,
            2_000,
            500,
            TimeSpan.FromSeconds(3)
        );

    public static Scale Quick { get; } =
        new([1_000, 10_000], [100, 65_536], 200, [1, 64, 512], 1_000, 200, 50, TimeSpan.FromSeconds(0.2));
}
