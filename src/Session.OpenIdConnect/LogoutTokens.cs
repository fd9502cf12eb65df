using System.Text.Json;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Protocols.OpenIdConnect;
using Microsoft.IdentityModel.Tokens;

namespace Session.OpenIdConnect;

/// <summary>Tells logout tokens of the provider's for this application from everything else (OpenID Connect Back-Channel Logout 1.0, 2.4 and 2.6).</summary>
internal sealed class LogoutTokens(BackChannelLogoutOptions options, ProviderKeys keys, TimeProvider clock)
{
    private const string Event = "http://schemas.openid.net/event/backchannel-logout";

    /// <summary>With a key that anybody may know nobody proves anything, and without one neither.</summary>
    private static readonly string[] s_algorithms =
    [
        SecurityAlgorithms.RsaSha256,
        SecurityAlgorithms.RsaSha384,
        SecurityAlgorithms.RsaSha512,
        SecurityAlgorithms.RsaSsaPssSha256,
        SecurityAlgorithms.RsaSsaPssSha384,
        SecurityAlgorithms.RsaSsaPssSha512,
        SecurityAlgorithms.EcdsaSha256,
        SecurityAlgorithms.EcdsaSha384,
        SecurityAlgorithms.EcdsaSha512,
    ];

    /// <summary>A claim that stands there twice is read by one as this and by another as that.</summary>
    private static readonly JsonDocumentOptions s_strict = new() { AllowDuplicateProperties = false, MaxDepth = 16 };

    private readonly JsonWebTokenHandler _handler = new()
    {
        MapInboundClaims = false,
        MaximumTokenSizeInBytes = BackChannelLogoutRequest.MaxTokenLength,
    };

    /// <exception cref="ProviderUnreachableException">Nobody can tell.</exception>
    public async Task<LogoutToken> ReadAsync(string text, CancellationToken cancellationToken)
    {
        JsonWebToken token;
        try
        {
            token = _handler.ReadJsonWebToken(text);
        }
        catch (Exception error) when (error is ArgumentException or SecurityTokenException)
        {
            return LogoutToken.Refused("logout_token is no JWT");
        }

        if (token.IsEncrypted)
            return LogoutToken.Refused("an encrypted logout token is not supported");

        if (!IsLogoutType(token.Typ))
            return LogoutToken.Refused("the token is of another type (typ) than logout+jwt");

        if (token.TryGetHeaderValue<object>("crit", out _))
            return LogoutToken.Refused("the token asks for something that is not known here (crit)");

        var provider = await keys.ForAsync(token.Kid, cancellationToken).ConfigureAwait(false);
        var validated = await ValidateAsync(token, provider).ConfigureAwait(false);
        if (
            validated.Exception is SecurityTokenInvalidSignatureException
            && await keys.AnewAsync(provider, cancellationToken).ConfigureAwait(false) is { } newer
        )
        {
            provider = newer;
            validated = await ValidateAsync(token, provider).ConfigureAwait(false);
        }

        if (!validated.IsValid)
            return LogoutToken.Refused(Because(validated.Exception));

        try
        {
            using var claims = JsonDocument.Parse(Base64UrlEncoder.DecodeBytes(token.EncodedPayload), s_strict);
            return Read(claims.RootElement, provider.Issuer);
        }
        catch (JsonException)
        {
            return LogoutToken.Refused("the claims are no JSON object, or name one claim twice");
        }
    }

    private Task<TokenValidationResult> ValidateAsync(JsonWebToken token, OpenIdConnectConfiguration provider) =>
        _handler.ValidateTokenAsync(
            token,
            new TokenValidationParameters
            {
                ValidIssuer = provider.Issuer,
                ValidAudience = options.Audience,
                IssuerSigningKeys = provider.SigningKeys,
                ValidAlgorithms = s_algorithms,
                RequireSignedTokens = true,
                // Below: by the clock of the sessions.
                ValidateLifetime = false,
            }
        );

    /// <summary>Explicit where it is said. Providers that say nothing, or <c>JWT</c>, mean it as well; their other tokens have no such event.</summary>
    private static bool IsLogoutType(string? type) =>
        string.IsNullOrEmpty(type)
        || new[] { "logout+jwt", "application/logout+jwt", "JWT" }.Contains(type, StringComparer.OrdinalIgnoreCase);

    private static string Because(Exception? error) =>
        error switch
        {
            SecurityTokenInvalidAudienceException =>
                "the token is for another client (aud): is Audience the client id?",
            SecurityTokenInvalidIssuerException => "the token is of another issuer (iss): is Authority the provider?",
            SecurityTokenInvalidAlgorithmException => "the token is signed by an algorithm that is not allowed (alg)",
            SecurityTokenSignatureKeyNotFoundException =>
                "the token is signed with a key that the provider does not have",
            SecurityTokenInvalidSignatureException => "the signature is not the provider's, or there is none",
            _ => "the token is not valid",
        };

    private LogoutToken Read(JsonElement claims, string issuer)
    {
        var now = clock.GetUtcNow();
        if (claims.TryGetProperty("nonce", out _))
            return LogoutToken.Refused("a logout token has no nonce");

        if (!IsLogout(claims))
            return LogoutToken.Refused("the token is not about a logout (events)");

        if (Time(claims, "iat") is not { } issuedAt)
            return LogoutToken.Refused("the token does not say when it was issued (iat)");

        if (Time(claims, "exp") is not { } expiresAt)
            return LogoutToken.Refused("the token does not say when it expires (exp)");

        if (expiresAt <= now - options.ClockSkew)
            return LogoutToken.Refused("the token has expired (exp)");

        if (claims.TryGetProperty("nbf", out _) && !(Time(claims, "nbf") <= now + options.ClockSkew))
            return LogoutToken.Refused("the token is not valid yet (nbf)");

        if (issuedAt <= now - options.ClockSkew - options.MaxTokenAge)
            return LogoutToken.Refused("the token is older than MaxTokenAge (iat)");

        if (issuedAt > now + options.ClockSkew)
            return LogoutToken.Refused("the token comes from the future (iat): do the clocks agree?");

        if (!Text(claims, "jti", out var id) || id is null)
            return LogoutToken.Refused("the token has no name (jti)");

        if (!Text(claims, "sid", out var session) || !Text(claims, "sub", out var subject))
            return LogoutToken.Refused("sub and sid are texts that are not empty");

        return session is null && subject is null
            ? LogoutToken.Refused("the token names neither a user (sub) nor a session (sid)")
            : new LogoutToken(issuer, session, subject, id, null);
    }

    private static bool IsLogout(JsonElement claims) =>
        claims.TryGetProperty("events", out var events)
        && events.ValueKind == JsonValueKind.Object
        && events.TryGetProperty(Event, out var it)
        && it.ValueKind == JsonValueKind.Object;

    private static DateTimeOffset? Time(JsonElement claims, string name) =>
        claims.TryGetProperty(name, out var it)
        && it.ValueKind == JsonValueKind.Number
        && it.TryGetDouble(out var seconds)
        && seconds is >= 0 and < 253_402_300_800
            ? DateTimeOffset.UnixEpoch.AddSeconds(seconds)
            : null;

    /// <summary>False: there is something of this name that is no text, or an empty one.</summary>
    private static bool Text(JsonElement claims, string name, out string? text)
    {
        text = null;
        if (!claims.TryGetProperty(name, out var it))
            return true;

        if (it.ValueKind != JsonValueKind.String)
            return false;

        text = it.GetString();
        return !string.IsNullOrEmpty(text);
    }
}
