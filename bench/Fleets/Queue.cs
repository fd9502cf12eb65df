namespace Bench.Simulation;

/// <summary>M/M/c: how long a request takes, waiting included, in units of its mean service time.</summary>
internal static class Queue
{
    /// <summary>The response time that a share of the requests stays below.</summary>
    public static double Quantile(double share, int servers, double utilisation)
    {
        var (low, high) = (0.0, 1.0);
        while (LongerThan(high, servers, utilisation) > 1 - share)
            high *= 2;
        for (var i = 0; i < 60; i++)
        {
            var middle = (low + high) / 2;
            if (LongerThan(middle, servers, utilisation) > 1 - share)
                low = middle;
            else
                high = middle;
        }
        return high;
    }

    /// <summary>The same of so many simulated requests.</summary>
    public static double Simulated(double share, int servers, double utilisation, int requests, int seed)
    {
        var random = new Random(seed);
        double Exponential() => -Math.Log(1 - random.NextDouble());
        var free = new double[servers];
        var times = new double[requests];
        var now = 0.0;
        for (var i = 0; i < requests; i++)
        {
            now += Exponential() / (utilisation * servers);
            var first = Array.IndexOf(free, free.Min());
            free[first] = Math.Max(now, free[first]) + Exponential();
            times[i] = free[first] - now;
        }
        Array.Sort(times);
        return times[(int)(share * requests)];
    }

    private static double LongerThan(double time, int servers, double utilisation)
    {
        var waits = ErlangC(servers, utilisation);
        // The rest of the servers' rate, less that of one request.
        var rest = servers * (1 - utilisation) - 1;
        return Math.Abs(rest) < 1e-9
            ? Math.Exp(-time) * (1 + waits * time)
            : Math.Exp(-time) * (1 + waits * (1 - Math.Exp(-rest * time)) / rest);
    }

    /// <summary>The probability that all servers are busy.</summary>
    private static double ErlangC(int servers, double utilisation)
    {
        var load = servers * utilisation;
        var blocked = 1.0;
        for (var k = 1; k <= servers; k++)
            blocked = load * blocked / (k + load * blocked);
        return blocked / (1 - utilisation * (1 - blocked));
    }
}
