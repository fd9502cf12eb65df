namespace Session.OpenIdConnect;

/// <summary>What a logout token says, or why it is none.</summary>
internal readonly record struct LogoutToken(
    string Issuer,
    string? SessionId,
    string? Subject,
    string Id,
    string? Refusal
)
{
    public static LogoutToken Refused(string reason) => new("", null, null, "", reason);
}
