using Microsoft.Extensions.Time.Testing;

namespace Facade;

/// <summary>Moves between two readings, as time does: whoever reads it twice sees two times.</summary>
internal sealed class LeapingClock() : FakeTimeProvider(new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero))
{
    private int _readings = -1;
    private TimeSpan _by;

    /// <summary>Moves as soon as it has been read this many times more.</summary>
    public void LeapAfter(int readings, TimeSpan by)
    {
        _by = by;
        Volatile.Write(ref _readings, readings);
        if (readings == 0)
            Leap();
    }

    /// <summary>Moves as soon as somebody wants to be woken by it, and before there is a timer that could.</summary>
    public void LeapAtTimer(TimeSpan by) => LeapAfter(int.MaxValue, by);

    /// <summary>Moves now, if it has not.</summary>
    public void Leap()
    {
        if (Interlocked.Exchange(ref _readings, -1) >= 0)
            Advance(_by);
    }

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        if (Volatile.Read(ref _readings) > int.MaxValue / 2)
            Leap();

        return base.CreateTimer(callback, state, dueTime, period);
    }

    public override DateTimeOffset GetUtcNow()
    {
        var now = base.GetUtcNow();
        if (Volatile.Read(ref _readings) > 0 && Interlocked.Decrement(ref _readings) == 0)
        {
            _readings = -1;
            Advance(_by);
        }

        return now;
    }
}
