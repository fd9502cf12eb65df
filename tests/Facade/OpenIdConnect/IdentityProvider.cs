using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace Facade.OpenIdConnect;

/// <summary>A key as a provider has it: what it shows of it, and what it signs with it.</summary>
internal sealed record ProviderKey(
    string Id,
    string Algorithm,
    object Shown,
    byte[] PublicBytes,
    Func<byte[], byte[]> Sign
)
{
    public static ProviderKey Rsa(string id, string algorithm = "RS256")
    {
        var rsa = RSA.Create(2048);
        var it = rsa.ExportParameters(false);
        var isPss = algorithm.StartsWith("PS", StringComparison.Ordinal);
        var padding = isPss ? RSASignaturePadding.Pss : RSASignaturePadding.Pkcs1;
        return new ProviderKey(
            id,
            algorithm,
            new
            {
                kty = "RSA",
                use = "sig",
                kid = id,
                n = Base64Url.EncodeToString(it.Modulus),
                e = Base64Url.EncodeToString(it.Exponent),
            },
            rsa.ExportSubjectPublicKeyInfo(),
            data => rsa.SignData(data, new HashAlgorithmName("SHA" + algorithm[2..]), padding)
        );
    }

    /// <summary>A secret of two that is one no more, since it stands among the keys.</summary>
    public static ProviderKey Secret(string id)
    {
        var secret = RandomNumberGenerator.GetBytes(32);
        return new ProviderKey(
            id,
            "HS256",
            new
            {
                kty = "oct",
                use = "sig",
                kid = id,
                k = Base64Url.EncodeToString(secret),
            },
            secret,
            data => HMACSHA256.HashData(secret, data)
        );
    }

    public static ProviderKey Curve(string id, string algorithm = "ES256")
    {
        var (named, name) = algorithm switch
        {
            "ES256" => (ECCurve.NamedCurves.nistP256, "P-256"),
            "ES384" => (ECCurve.NamedCurves.nistP384, "P-384"),
            _ => (ECCurve.NamedCurves.nistP521, "P-521"),
        };
        var curve = ECDsa.Create(named);
        var it = curve.ExportParameters(false);
        return new ProviderKey(
            id,
            algorithm,
            new
            {
                kty = "EC",
                use = "sig",
                kid = id,
                crv = name,
                x = Base64Url.EncodeToString(it.Q.X),
                y = Base64Url.EncodeToString(it.Q.Y),
            },
            curve.ExportSubjectPublicKeyInfo(),
            data => curve.SignData(data, new HashAlgorithmName("SHA" + algorithm[2..]))
        );
    }
}

/// <summary>A token before it is signed.</summary>
internal sealed class Draft(ProviderKey key)
{
    public Dictionary<string, object?> Header { get; } =
        new()
        {
            ["alg"] = key.Algorithm,
            ["kid"] = key.Id,
            ["typ"] = "logout+jwt",
        };

    public Dictionary<string, object?> Claims { get; } = [];

    /// <summary>The claims as they go out; null: those of <see cref="Claims"/>.</summary>
    public string? Payload { get; set; }

    public Func<byte[], byte[]> Sign { get; set; } = key.Sign;

    public string Write()
    {
        var text = Part(JsonSerializer.Serialize(Header)) + "." + Part(Payload ?? JsonSerializer.Serialize(Claims));
        return text + "." + Base64Url.EncodeToString(Sign(Encoding.ASCII.GetBytes(text)));
    }

    private static string Part(string json) => Base64Url.EncodeToString(Encoding.UTF8.GetBytes(json));
}

/// <summary>An identity provider on the loopback: discovery document, real keys, logout tokens.</summary>
internal sealed class IdentityProvider : IAsyncDisposable
{
    public const string Client = "shop";
    public const string Event = "http://schemas.openid.net/event/backchannel-logout";

    private readonly WebApplication _app;
    private string? _issuer;
    private int _reads;
    private int _tokens;

    private IdentityProvider(WebApplication app, ProviderKey[] keys) => (_app, Keys) = (app, keys);

    /// <summary>Where it is, and what it is called unless another name is set.</summary>
    public string Issuer
    {
        get => _issuer ?? Address;
        set => _issuer = value;
    }

    private string Address => _app.Urls.First();

    /// <summary>Those that it shows. The first one signs.</summary>
    public ProviderKey[] Keys { get; set; }

    /// <summary>It answers nothing but failures.</summary>
    public bool IsDown { get; set; }

    /// <summary>How long it takes to answer.</summary>
    public TimeSpan Delay { get; set; }

    /// <summary>How often its keys were read.</summary>
    public int Reads => _reads;

    public static async Task<IdentityProvider> StartAsync(params ProviderKey[] keys)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        builder.Logging.ClearProviders();
        var app = builder.Build();
        var provider = new IdentityProvider(app, keys.Length > 0 ? keys : [ProviderKey.Rsa("first")]);
        app.MapGet(
            "/.well-known/openid-configuration",
            async () =>
            {
                await Task.Delay(provider.Delay);
                return provider.IsDown
                    ? Results.StatusCode(503)
                    : Results.Json(new { issuer = provider.Issuer, jwks_uri = provider.Address + "/keys" });
            }
        );
        app.MapGet(
            "/keys",
            () =>
            {
                Interlocked.Increment(ref provider._reads);
                return Results.Json(new { keys = provider.Keys.Select(key => key.Shown) });
            }
        );
        await app.StartAsync();
        return provider;
    }

    /// <summary>A logout token as it has to be, issued now.</summary>
    public Draft Draft(DateTimeOffset now, string? sid, string? sub = null)
    {
        var draft = new Draft(Keys[0]);
        var claims = draft.Claims;
        claims["iss"] = Issuer;
        claims["aud"] = Client;
        claims["iat"] = now.ToUnixTimeSeconds();
        claims["exp"] = now.ToUnixTimeSeconds() + 120;
        claims["jti"] = $"token {Interlocked.Increment(ref _tokens)}";
        claims["events"] = new Dictionary<string, object> { [Event] = new { } };
        if (sid is not null)
            claims["sid"] = sid;

        if (sub is not null)
            claims["sub"] = sub;

        return draft;
    }

    public ValueTask DisposeAsync() => _app.DisposeAsync();
}
