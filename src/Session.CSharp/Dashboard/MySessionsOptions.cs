namespace Session.CSharp;

/// <summary>What the page of a user's own sessions says.</summary>
/// <typeparam name="T">The session data.</typeparam>
public sealed class MySessionsOptions<T>
    where T : class
{
    /// <summary>The heading. Default: Your devices.</summary>
    public string Title { get; set; } = "Your devices";

    /// <summary>What the application says of a device, from what is known of its session and from its data; at most 64 bytes of UTF-8 are shown. Default null: nothing.</summary>
    /// <remarks>The data is null where there is none, or where it is sealed to its bearer. Whatever it gives is encoded.</remarks>
    public Func<SessionInfo, T?, string?>? Describe { get; set; }
}
