namespace Session.CSharp;

/// <summary>Something that happened to a session, told after it was stored. What it was says the type.</summary>
/// <typeparam name="T">The session data.</typeparam>
public abstract class SessionEventContext<T>
    where T : class
{
    private readonly Told<T> _told;

    private protected SessionEventContext(Told<T> told) => _told = told;

    /// <summary>The session; empty for OnRefused, unless it was a guess.</summary>
    public SessionId Id => _told.Id;

    /// <summary>Whose session it is, or null.</summary>
    public string? Subject => _told.Subject;

    /// <summary>The data as it is, or was at the end. Null when there is none, or it cannot be read.</summary>
    public T? Data => _told.Data;

    /// <summary>When (UTC).</summary>
    public DateTimeOffset At => _told.At;

    /// <summary>Services in a scope of the event's own, which ends when the handlers of the event are done.</summary>
    public IServiceProvider Services => _told.Services;
}
