namespace Bench.Growth;

/// <summary>A clock that stands until it is moved: nothing comes between, however long the run takes.</summary>
internal sealed class Moment(DateTimeOffset at) : TimeProvider
{
    private long _minutes;

    public override DateTimeOffset GetUtcNow() => at + TimeSpan.FromMinutes(Volatile.Read(ref _minutes));

    public void MoveTo(long minutes) => Volatile.Write(ref _minutes, minutes);
}
