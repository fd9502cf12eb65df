namespace Session.CSharp;

/// <summary>What every event says.</summary>
internal sealed record Told<T>(SessionId Id, string? Subject, T? Data, DateTimeOffset At, IServiceProvider Services)
    where T : class;
