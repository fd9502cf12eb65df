namespace Bench.Shared;

/// <summary>All raw figures of one run: what the text and the chart are made of, now or later.</summary>
public sealed record Results(
    string Date,
    IReadOnlyDictionary<string, string> Machine,
    Plan Plan,
    IReadOnlyList<Measurement> Measurements,
    IReadOnlyList<CommandsSent> CommandsSent,
    IReadOnlyList<string> Missing,
    bool IsValid
)
{
    /// <summary>One figure of a variant and endpoint, round by round; null where it was not measured.</summary>
    public Spread? Of(string variant, string endpoint, Func<Measurement, double?> figure)
    {
        var figures = Measurements
            .Where(m => m.Variant == variant && m.Endpoint == endpoint)
            .OrderBy(m => m.Round)
            .Select(figure)
            .OfType<double>()
            .ToArray();
        return figures.Length == 0 ? null : new Spread(figures);
    }

    public double? Sent(string variant, string endpoint) =>
        CommandsSent.FirstOrDefault(c => c.Variant == variant && c.Endpoint == endpoint)?.PerRequest;
}
