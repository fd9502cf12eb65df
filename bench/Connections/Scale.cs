namespace Bench.Connections;

/// <summary>How many: users, the sessions of each, the connections of each of those; and how many of them are ended.</summary>
internal sealed record Scale(int Users, int EndedOfAKind, int EndedUsers, int PeerUsers, int MeasuredConnections)
{
    public const int Nodes = 3;
    public const int SessionsOfUser = 5;
    public const int ConnectionsOfSession = 5;

    /// <summary>The default.</summary>
    public static TimeSpan LiveCheck { get; } = TimeSpan.FromSeconds(30);

    /// <summary>Where it is the look that has to close.</summary>
    public static TimeSpan ShortLiveCheck { get; } = TimeSpan.FromSeconds(3);

    /// <summary>So long after the interval connections are counted: the look takes its time.</summary>
    public static TimeSpan Allowance { get; } = TimeSpan.FromMilliseconds(500);

    public static TimeSpan Patience { get; } = TimeSpan.FromSeconds(5);

    public static Scale Full { get; } = new(200, 100, 20, 20, 2_000);
    public static Scale Quick { get; } = new(20, 6, 3, 4, 200);
}
