namespace Bench.Shared;

/// <summary>What is varied while the rest stays.</summary>
public enum Varied
{
    Sessions,
    Size,
    Clients,
}

/// <summary>One operation on one store, in microseconds; processor time of this process and of redis-server.</summary>
public sealed record OperationFigure(
    Varied Varied,
    string Store,
    string Operation,
    int Sessions,
    int DataBytes,
    int Clients,
    double PerSecond,
    double Mean,
    double P50,
    double P99,
    double Cpu,
    double RedisCpu
);

/// <summary>What one session takes where it is kept.</summary>
public sealed record FootprintFigure(string Store, int Sessions, int DataBytes, bool SignedIn, double Bytes);

/// <summary>The end of overdue sessions among others, in microseconds for each: to a tombstone, and its removal.</summary>
public sealed record SweepFigure(
    string Store,
    int Sessions,
    int Overdue,
    double Expire,
    double ExpireCpu,
    double ExpireRedisCpu,
    double Remove,
    double RemoveCpu,
    double RemoveRedisCpu
);

/// <summary>Many clients, one session.</summary>
public sealed record HotFigure(
    string Store,
    int Nodes,
    int Clients,
    long Accepted,
    long Attempts,
    long Refused,
    double PerSecond,
    double PerSecondOnMany,
    double P50,
    double P99,
    bool IsAllThere
);

/// <summary>One page of the dashboard over HTTP, in milliseconds.</summary>
public sealed record PageFigure(
    string Store,
    string Page,
    int Sessions,
    int Requests,
    double P50,
    double P99,
    double Worst
);

/// <summary>What bench/Growth has measured.</summary>
public sealed record GrowthFigures(
    string Machine,
    IReadOnlyList<OperationFigure> Operations,
    IReadOnlyList<FootprintFigure> Footprints,
    IReadOnlyList<SweepFigure> Sweeps,
    IReadOnlyList<HotFigure> Hot,
    IReadOnlyList<PageFigure> Pages,
    IReadOnlyList<string> Missing
);
