namespace Session.Stores.Postgres;

/// <summary>What the server said of a write.</summary>
/// <param name="Rows">How many rows it changed; negative: the answer never came.</param>
/// <param name="IsKept">False: it is committed on this server, and a synchronous standby has not confirmed it.</param>
internal readonly record struct WriteReply(int Rows, bool IsKept)
{
    public static readonly WriteReply Unknown = new(-1, false);

    public bool HasCome => Rows >= 0;
}
