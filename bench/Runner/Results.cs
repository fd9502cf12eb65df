using System.Text.Json;

namespace Bench.Runner;

/// <summary>All raw figures of one run: what the text and the chart are made of, now or later.</summary>
internal sealed record Results(
    string Date,
    IReadOnlyDictionary<string, string> Machine,
    Plan Plan,
    IReadOnlyList<Measurement> Measurements,
    IReadOnlyList<CommandsSent> CommandsSent,
    IReadOnlyList<string> Missing,
    bool IsValid
)
{
    private static readonly JsonSerializerOptions s_json = new(JsonSerializerDefaults.Web) { WriteIndented = true };

    [System.Text.Json.Serialization.JsonIgnore]
    public IEnumerable<Variant> Variants => Variant.All.Where(v => Measurements.Any(m => m.Variant == v.Name));

    public static Results Read(string file) => JsonSerializer.Deserialize<Results>(File.ReadAllText(file), s_json)!;

    public void Write(string file) => File.WriteAllText(file, JsonSerializer.Serialize(this, s_json) + "\n");

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
