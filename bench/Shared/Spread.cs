namespace Bench.Shared;

/// <summary>The same figure in several rounds.</summary>
public sealed class Spread(IReadOnlyList<double> rounds)
{
    public IReadOnlyList<double> Rounds { get; } = rounds;
    public double Min => Rounds.Min();
    public double Max => Rounds.Max();

    public double Median => Quantile(0.5);
    public double LowerQuartile => Quantile(0.25);
    public double UpperQuartile => Quantile(0.75);

    // Between two of the sorted figures the straight line: the quartiles of few rounds are no more than that.
    private double Quantile(double share)
    {
        var sorted = Rounds.Order().ToArray();
        var at = share * (sorted.Length - 1);
        var (below, above) = (sorted[(int)at], sorted[(int)Math.Ceiling(at)]);
        return below + (above - below) * (at - (int)at);
    }

    /// <summary>Round by round, each with its neighbour in time.</summary>
    public Spread Zip(Spread other, Func<double, double, double> combine) =>
        new([.. Rounds.Zip(other.Rounds, combine)]);
}
