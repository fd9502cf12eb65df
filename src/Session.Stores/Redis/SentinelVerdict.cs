namespace Session.Stores.Redis;

/// <summary>What the Sentinels say at one moment.</summary>
/// <param name="Primary">The primary that most of them name, as host:port; null: there is none that most name.</param>
/// <param name="IsContested">A failover from that primary is under way: one of them knows a newer primary already.</param>
/// <param name="Answered">How many of them have answered.</param>
/// <param name="All">How many there are.</param>
/// <param name="Known">How many there are as far as they know themselves.</param>
/// <param name="Trouble">Why the first of those that did not answer did not, as the driver tells it.</param>
internal sealed record SentinelVerdict(
    string? Primary,
    bool IsContested,
    int Answered,
    int All,
    int Known,
    Exception? Trouble
);
