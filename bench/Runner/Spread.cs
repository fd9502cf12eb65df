namespace Bench.Runner;

/// <summary>The same figure in several rounds.</summary>
internal sealed class Spread(IReadOnlyList<double> rounds)
{
    public IReadOnlyList<double> Rounds { get; } = rounds;
    public double Min => Rounds.Min();
    public double Max => Rounds.Max();

    public double Median
    {
        get
        {
            var sorted = Rounds.Order().ToArray();
            return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
        }
    }

    /// <summary>Round by round, each with its neighbour in time.</summary>
    public Spread Zip(Spread other, Func<double, double, double> combine) =>
        new([.. Rounds.Zip(other.Rounds, combine)]);
}
