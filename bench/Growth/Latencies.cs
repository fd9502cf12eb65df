using System.Numerics;

namespace Bench.Growth;

/// <summary>Times in nanoseconds, to about 3 percent.</summary>
internal sealed class Latencies
{
    private const int Steps = 32;
    private readonly long[] _counts = new long[64 * Steps];

    public long Count { get; private set; }
    public double Sum { get; private set; }

    public void Add(double nanoseconds)
    {
        var value = (ulong)Math.Max(nanoseconds, Steps);
        var power = BitOperations.Log2(value);
        _counts[power * Steps + (int)(value >> (power - 5)) - Steps]++;
        Count++;
        Sum += nanoseconds;
    }

    public void Add(Latencies others)
    {
        for (var i = 0; i < _counts.Length; i++)
            _counts[i] += others._counts[i];
        Count += others.Count;
        Sum += others.Sum;
    }

    public double Mean => Sum / Count;

    public double Quantile(double share)
    {
        var rest = (long)Math.Ceiling(share * Count);
        for (var i = 0; i < _counts.Length; i++)
        {
            rest -= _counts[i];
            if (rest <= 0)
                return (Steps + i % Steps + 0.5) * Math.Pow(2, i / Steps - 5);
        }
        return 0;
    }
}
