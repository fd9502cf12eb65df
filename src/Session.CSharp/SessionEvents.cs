namespace Session.CSharp;

/// <summary>What the application hears of, once it is stored. A handler that throws is logged; what happened stays as it is.</summary>
/// <remarks>
/// Nothing is held for a handler: it may call back into the library. It is waited for, but not longer than
/// <see cref="SessionOptions{T}.EventTimeout"/>; it goes on by itself then. Each event has a scope of services of its own.
/// </remarks>
/// <typeparam name="T">The session data.</typeparam>
public sealed class SessionEvents<T>
    where T : class
{
    /// <summary>A session was created. At most once.</summary>
    public Func<SessionCreatedContext<T>, Task>? OnCreated { get; set; }

    /// <summary>A session has a new token: a renewal was confirmed, or an elevation. At most once.</summary>
    public Func<SessionRegeneratedContext<T>, Task>? OnRegenerated { get; set; }

    /// <summary>A subject signed in, with a session before or without (ASVS 16.3.1). After OnRegenerated or OnCreated. At most once.</summary>
    public Func<SessionSignedInContext<T>, Task>? OnSignedIn { get; set; }

    /// <summary>A session was ended on purpose. At most once.</summary>
    public Func<SessionDestroyedContext<T>, Task>? OnDestroyed { get; set; }

    /// <summary>A session was ended by time. At least once, on one node; without a crash exactly once. Told by the sweeper, of up to 16 sessions at once: those are told again when it is killed there.</summary>
    public Func<SessionExpiredContext<T>, Task>? OnExpired { get; set; }

    /// <summary>A superseded token was presented after its grace: the sign of theft. Once for each token.</summary>
    public Func<SessionReplayedContext<T>, Task>? OnReplayed { get; set; }

    /// <summary>A token from before an elevation was presented, and refused: a request in flight, or a planted token. Each time.</summary>
    public Func<SessionOutdatedContext<T>, Task>? OnOutdated { get; set; }

    /// <summary>A request that looked at its session brought what opens nothing (ASVS 16.3.3). Each time, never with the token: keep it quick.</summary>
    public Func<SessionRefusedContext<T>, Task>? OnRefused { get; set; }

    /// <summary>A record, or the data in it, could not be read: it opens nothing and stays as it is until its time is over. Each time.</summary>
    public Func<SessionUnreadableContext<T>, Task>? OnUnreadable { get; set; }
}
