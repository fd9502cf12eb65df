namespace Session.Stores.Redis;

/// <summary>
/// Nobody can say at this moment which server is the primary. What was sent may have gone to one that is no longer the
/// primary: its answer is not believed, and a write of it is unknown.
/// </summary>
internal sealed class PrimaryUnknownException(string message) : TimeoutException(message);
