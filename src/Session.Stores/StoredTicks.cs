namespace Session.Stores;

/// <summary>Times as stores keep them, UTC ticks of 100 ns since the year 1, from wherever they were written.</summary>
internal static class StoredTicks
{
    public static bool IsTime(long ticks) => ticks >= 0 && ticks <= DateTime.MaxValue.Ticks;

    /// <summary>The nearest time that there is.</summary>
    public static DateTimeOffset Time(long ticks) => new(Math.Clamp(ticks, 0, DateTime.MaxValue.Ticks), TimeSpan.Zero);
}
