namespace Session.Stores.DistributedCache;

/// <summary>Settings of the store in a distributed cache.</summary>
public sealed class DistributedCacheStoreOptions
{
    /// <summary>
    /// The start of every key. Default <c>session:</c>; <c>UseDistributedCache</c> has <c>ticket:</c> for tickets and
    /// <c>httpsession:</c> for <c>HttpContext.Session</c>. Two kinds of sessions, or two applications that share a cache,
    /// need two prefixes.
    /// </summary>
    public string KeyPrefix { get; set; } = "session:";

    /// <summary>
    /// How long an operation waits, for the cache and for the writes before it. Default 2 seconds; then the answer is 503.
    /// </summary>
    public TimeSpan OperationTimeout { get; set; } = TimeSpan.FromSeconds(2);

    /// <summary>
    /// How long the cache keeps a live session after its last write; reads do not prolong it. It has to be at least
    /// <c>AbsoluteTimeout</c>: a shorter one ends sessions early. Default 1 day.
    /// </summary>
    public TimeSpan KeepFor { get; set; } = TimeSpan.FromDays(1);

    /// <summary>
    /// How long after its time a record stays, for clocks that differ. At least ten minutes. Default 1 hour.
    /// </summary>
    public TimeSpan JanitorMargin { get; set; } = TimeSpan.FromHours(1);
}
