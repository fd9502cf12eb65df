namespace Session.Testing;

/// <summary>How a <see cref="FailingStore"/> fails.</summary>
public enum StoreFailure
{
    /// <summary>It does not.</summary>
    None,

    /// <summary>It cannot be reached: every call fails, and nothing is changed. Requests that need their session get a 503.</summary>
    Unavailable,

    /// <summary>It answers after <see cref="FailingStore.Delay"/>. Longer than the application's <c>RequestTimeout</c>, and requests get a 503.</summary>
    Slow,

    /// <summary>It takes writes, and its answer is lost; what became of them cannot be read until it works again. A change throws a <c>SessionUnavailableException</c> whose <c>MayHaveChanged</c> is true.</summary>
    Unsure,
}
