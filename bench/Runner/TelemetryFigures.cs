namespace Bench.Runner;

/// <summary>One second of load on one server, while so much is listened to.</summary>
internal sealed record TelemetryFigure(
    string Variant,
    string Endpoint,
    string Mode,
    int Round,
    double PerSecond,
    double CpuMicroseconds,
    double Bytes
);

/// <summary>What it costs that somebody listens.</summary>
internal sealed record TelemetryFigures(
    string Date,
    IReadOnlyList<KeyValuePair<string, string>> Machine,
    int Rounds,
    IReadOnlyList<TelemetryFigure> Figures
);
