namespace Bench.Connections;

/// <summary>One way to end sessions. Milliseconds from the acknowledgement to the close that the client sees; 0: it came first.</summary>
internal sealed record EndFigure(
    string What,
    int Sessions,
    int Connections,
    int Survivors,
    double P50,
    double P99,
    double Worst,
    bool OthersAnswer
);

/// <summary>Of looks at the store in quiet times.</summary>
internal sealed record LookFigure(int OpenSessions, long Commands, long Records)
{
    /// <summary>For each 500 open sessions, and for what is left over.</summary>
    public double CommandsFor500 => Commands * (double)OpenSessions / Records / Math.Ceiling(OpenSessions / 500.0);
}

/// <summary>Managed memory of a server for one open connection, after a full collection.</summary>
internal sealed record MemoryFigure(string Variant, int ConnectionsOfSession, double Bytes);

/// <summary>Connections of users who have logged out: how many there are, and how many are open, and answer, some seconds later.</summary>
internal sealed record PeerFigure(string Variant, int Connections, int Open, int Answering);

internal sealed record ConnectionFigures(
    string Machine,
    int Sessions,
    int Connections,
    IReadOnlyList<EndFigure> Ends,
    LookFigure Looks,
    IReadOnlyList<MemoryFigure> Memory,
    IReadOnlyList<PeerFigure> Peers
)
{
    public bool IsRight => Ends.All(end => end.Survivors == 0 && end.OthersAnswer);
}
