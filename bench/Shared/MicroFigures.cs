namespace Bench.Shared;

/// <summary>One operation: mean time, its standard error, bytes allocated.</summary>
public sealed record MicroFigure(string Group, string What, double Nanoseconds, double Error, long Bytes);

/// <summary>What bench/Micro has measured.</summary>
public sealed record MicroFigures(string Machine, IReadOnlyList<MicroFigure> Rows, bool IsComplete)
{
    public const string DecisionName = "decide: `present` on a live session";
    public const string DecisionBound = "< 100 ns, ≤ 128 B";

    // Others that are looked up again.
    public const string Read = "parse, hash, load, present";
    public const string Write = "parse, hash, load, present, update";
    public const string Decode = "decode, 100 B of data";
    public const string Encode = "encode, 100 B of data";
    public const string FromJson = "the cart of the comparison from JSON (System.Text.Json, generated code)";
    public const string ToJson = "the cart of the comparison to JSON";

    [System.Text.Json.Serialization.JsonIgnore]
    public MicroFigure? Decision => Rows.FirstOrDefault(row => row.What == DecisionName);

    public static string Verdict(MicroFigure decision) =>
        decision is { Nanoseconds: < 100, Bytes: <= 128 } ? "pass" : "**missed**";

    public double? Microseconds(string what) => Rows.FirstOrDefault(row => row.What == what)?.Nanoseconds / 1e3;
}
