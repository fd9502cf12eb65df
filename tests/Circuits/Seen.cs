namespace Circuits;

/// <summary>What this node has run for its pages, whatever they show.</summary>
public sealed class Seen
{
    private int _presses;
    private int _resumed;

    public int Presses => Volatile.Read(ref _presses);

    public int Resumed => Volatile.Read(ref _resumed);

    public void AddPress() => Interlocked.Increment(ref _presses);

    public void AddResumed() => Interlocked.Increment(ref _resumed);
}
