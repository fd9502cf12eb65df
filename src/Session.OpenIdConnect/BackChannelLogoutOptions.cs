namespace Session.OpenIdConnect;

/// <summary>Whose logouts are obeyed, and how they are looked at.</summary>
public sealed class BackChannelLogoutOptions
{
    private static readonly TimeSpan _longest = TimeSpan.FromDays(1);
    private static readonly TimeSpan _longestForKeys = TimeSpan.FromDays(30);

    /// <summary>The identity provider: <c>https://id.example.com</c>. Its discovery document, below <c>/.well-known/openid-configuration</c>, says its issuer and its keys.</summary>
    public string Authority { get; set; } = "";

    /// <summary>The client id that the application has there.</summary>
    public string Audience { get; set; } = "";

    /// <summary>Whether discovery document and keys are read over HTTPS only. Default true: whoever answers in the provider's place signs everybody out.</summary>
    public bool RequireHttpsMetadata { get; set; } = true;

    /// <summary>How old a logout token may be, by its <c>iat</c>. Default 5 minutes. For so long its <c>jti</c> is remembered.</summary>
    public TimeSpan MaxTokenAge { get; set; } = TimeSpan.FromMinutes(5);

    /// <summary>How far the clocks of the provider and of this node may be apart. Default 1 minute.</summary>
    public TimeSpan ClockSkew { get; set; } = TimeSpan.FromMinutes(1);

    /// <summary>How long the provider's keys are used before they are read again. Default 1 hour. A key that is not among them has them read at once, but not more often than every 30 seconds.</summary>
    public TimeSpan KeysFor { get; set; } = TimeSpan.FromHours(1);

    /// <summary>Reads discovery document and keys; for a proxy or a private root certificate. Default: a client of its own, which waits for 10 seconds.</summary>
    public HttpClient? Backchannel { get; set; }

    /// <summary>What is missing or impossible, as a sentence that says what to change; null: nothing.</summary>
    internal string? Contradiction()
    {
        if (!Uri.TryCreate(Authority, UriKind.Absolute, out var authority))
            return "Authority has to be the absolute address of the identity provider, such as https://id.example.com.";

        if (RequireHttpsMetadata && authority.Scheme != Uri.UriSchemeHttps)
            return "Authority has to begin with https://, or RequireHttpsMetadata to be false (for development only).";

        if (string.IsNullOrEmpty(Audience))
            return "Audience has to be the client id that the application has at the identity provider.";

        if (MaxTokenAge <= TimeSpan.Zero || KeysFor <= TimeSpan.Zero || ClockSkew < TimeSpan.Zero)
            return "MaxTokenAge and KeysFor have to be longer than none, and ClockSkew none or longer.";

        // Times are reckoned with them, and for so long a stolen token could be used, and each one has to be remembered.
        if (MaxTokenAge > _longest || ClockSkew > _longest || KeysFor > _longestForKeys)
            return "MaxTokenAge and ClockSkew have to be at most a day, and KeysFor at most thirty days.";

        return null;
    }
}
