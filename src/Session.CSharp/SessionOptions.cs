using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Options;
using Microsoft.FSharp.Collections;
using Microsoft.FSharp.Core;
using Session.AspNetCore;
using Session.Domain;
using Session.Engine;

namespace Session.CSharp;

/// <summary>How sessions of <typeparamref name="T"/> live and travel. Contradictions stop the program at start.</summary>
/// <typeparam name="T">The session data.</typeparam>
public sealed class SessionOptions<T>
    where T : class
{
    /// <summary>The cookie. Default <c>__Host-sid</c>: Secure, HttpOnly, SameSite=Lax, Path=/, no Domain, no Max-Age (ASVS 3.3).</summary>
    /// <remarks>With a Domain or another Path the default name is <c>__Secure-sid</c>, without Secure it is <c>sid</c>. MaxAge makes the cookie persistent.</remarks>
    public CookieBuilder Cookie { get; set; } =
        new()
        {
            HttpOnly = true,
            Path = "/",
            SameSite = SameSiteMode.Lax,
            SecurePolicy = CookieSecurePolicy.Always,
        };

    /// <summary>CHIPS: a cookie for third-party contexts. Needs Secure and SameSite=None. Default false.</summary>
    public bool Partitioned { get; set; }

    /// <summary>A header that carries the token instead of a cookie, in requests and responses, for APIs and mobile clients. Default null: cookies only.</summary>
    /// <remarks>A client asks for it by sending the header, empty at first. A request with both is a 400.</remarks>
    public string? HeaderName { get; set; }

    /// <summary>Silence that ends a session. Default 30 minutes (ASVS 7.3.1).</summary>
    public TimeSpan IdleTimeout { get; set; } = TimeSpan.FromMinutes(30);

    /// <summary>Age since sign-in, else since creation, that ends a session whatever it does. Default 8 hours (ASVS 7.3.2).</summary>
    public TimeSpan AbsoluteTimeout { get; set; } = TimeSpan.FromHours(8);

    /// <summary>How soon the token of an anonymous session has to come back once. Default 10 minutes, or AbsoluteTimeout when that is shorter.</summary>
    public TimeSpan? ConfirmTimeout { get; set; }

    /// <summary>Age of a token at which it is renewed. Default 15 minutes, or never when that is too long or too short for the other times; null: never.</summary>
    public TimeSpan? RotateEvery { get; set; } = TimeSpan.FromMinutes(15);

    /// <summary>How long the old token works after a confirmed renewal. Default 30 seconds.</summary>
    public TimeSpan RotationGrace { get; set; } = TimeSpan.FromSeconds(30);

    /// <summary>How long a session that ended is remembered as such. Default 1 hour.</summary>
    public TimeSpan TombstoneRetention { get; set; } = TimeSpan.FromHours(1);

    /// <summary>Whether a replayed token (the sign of theft) ends the session. Default true; false: it is refused and reported.</summary>
    public bool DestroyOnReplay { get; set; } = true;

    /// <summary>How many live sessions a subject may have. Default null: any number (ASVS 7.1.2).</summary>
    public int? MaxSessionsPerSubject { get; set; }

    /// <summary>What a sign-in over <see cref="MaxSessionsPerSubject"/> does. Default: the oldest sign-in makes room.</summary>
    public SessionLimitBehavior WhenLimitReached { get; set; }

    /// <summary>The version of the data's shape. Default 1. Raise it with each change that old data does not fit, and add an upcaster.</summary>
    /// <remarks>Data of a newer version is left alone (503), so that old and new nodes run side by side. For JSON; a <see cref="Serializer"/> of your own does it in its own way.</remarks>
    public int DataVersion { get; set; } = 1;

    /// <summary>Brings data of the version that is the key to the next one: <c>o.Upcasters[1] = json =&gt; { json["items"] = new JsonArray(); return json; }</c>.</summary>
    public IDictionary<int, Func<JsonNode, JsonNode>> Upcasters { get; } =
        new Dictionary<int, Func<JsonNode, JsonNode>>();

    /// <summary>The largest serialized data, in bytes. Default 65,536. A larger write throws <see cref="SessionDataException"/>.</summary>
    public int MaxDataBytes { get; set; } = 65_536;

    /// <summary>Makes session ids: 1 to 64 of A-Z a-z 0-9 _ -, unique. Default null: 128 random bits. The secret is always ours.</summary>
    public Func<HttpContext, string>? GenerateId { get; set; }

    /// <summary>At least 32 secret bytes: stored hashes are then HMACs, and whoever writes to the store cannot mint a session. Default null.</summary>
    public byte[]? ServerKey { get; set; }

    /// <summary>Keys that still open sessions and make no new hashes, at least 32 bytes each. Default none.</summary>
    /// <remarks>
    /// To replace <see cref="ServerKey"/> and keep the sessions: first the new key here on every node; then let them change
    /// places; remove the old one once <see cref="AbsoluteTimeout"/> has passed (ASVS 11.2.2, 13.3.4). Sessions come
    /// under the new key with their next renewal or sign-in. Not for a key that has leaked: its sessions have to end.
    /// </remarks>
    public IList<byte[]> FormerServerKeys { get; } = new List<byte[]>();

    /// <summary>How often overdue sessions are looked for. Default 1 minute, give or take a fifth. Expiry does not depend on it.</summary>
    public TimeSpan SweepInterval { get; set; } = TimeSpan.FromMinutes(1);

    /// <summary>Whether requests that only read go on without a session while the store is down. Default false: 503.</summary>
    public bool ContinueWithoutStore { get; set; }

    /// <summary>What the application hears of.</summary>
    public SessionEvents<T> Events { get; set; } = new();

    /// <summary>Turns the data into bytes. Default null: JSON.</summary>
    public ISessionSerializer<T>? Serializer { get; set; }

    internal SessionSettings ToSettings(ISessionSerializer<T> serializer)
    {
        if (Cookie.Expiration is not null)
            throw new OptionsValidationException(
                typeof(T).Name,
                typeof(SessionOptions<T>),
                ["Cookie.Expiration is not used: set Cookie.MaxAge for a cookie that outlives the browser."]
            );

        if (Serializer is not null && (DataVersion != 1 || Upcasters.Count > 0))
            throw new OptionsValidationException(
                typeof(T).Name,
                typeof(SessionOptions<T>),
                [
                    "DataVersion and Upcasters work on JSON: leave them alone, and let your Serializer tell versions apart.",
                ]
            );

        return new SessionSettings(
            cookieName: Option(Cookie.Name),
            cookieDomain: Option(Cookie.Domain),
            cookiePath: Cookie.Path ?? "/",
            sameSite: Cookie.SameSite,
            securePolicy: Cookie.SecurePolicy,
            httpOnly: Cookie.HttpOnly,
            partitioned: Partitioned || Cookie.Extensions.Contains("Partitioned", StringComparer.OrdinalIgnoreCase),
            cookieMaxAge: Option(Cookie.MaxAge),
            headerName: Option(HeaderName),
            idleTimeout: IdleTimeout,
            absoluteTimeout: AbsoluteTimeout,
            confirmTimeout: ConfirmTimeout
                ?? (AbsoluteTimeout < TimeSpan.FromMinutes(10) ? AbsoluteTimeout : TimeSpan.FromMinutes(10)),
            rotateEvery: Option(RotateEvery),
            rotationGrace: RotationGrace,
            tombstoneRetention: TombstoneRetention,
            onReplay: DestroyOnReplay ? OnReplay.DestroySession : OnReplay.RefuseToken,
            maxDataBytes: MaxDataBytes,
            maxSessionsPerSubject: Option(MaxSessionsPerSubject),
            whenLimitReached: WhenLimitReached == SessionLimitBehavior.RefuseNew
                ? LimitPolicy.RefuseNew
                : LimitPolicy.EndOldest,
            dataVersion: DataVersion,
            upcasters: UpcastersAsMap(),
            serverKey: Option(ServerKey),
            formerServerKeys: ListModule.OfSeq(FormerServerKeys),
            generateId: GenerateId is null
                ? FSharpOption<FSharpFunc<HttpContext, string>>.None
                : FSharpOption<FSharpFunc<HttpContext, string>>.Some(FuncConvert.FromFunc(GenerateId)),
            sweepInterval: SweepInterval,
            continueWithoutStore: ContinueWithoutStore,
            hearsExpiry: Events.OnExpired is not null,
            onNotice: FuncConvert.FromFunc(
                (IServiceProvider services, Notice notice) => Translate.RaiseAsync(Events, serializer, services, notice)
            )
        );
    }

    internal FSharpMap<int, FSharpFunc<JsonNode, JsonNode>> UpcastersAsMap() =>
        new(Upcasters.Select(u => Tuple.Create(u.Key, FuncConvert.FromFunc(u.Value))));

    private static FSharpOption<TValue> Option<TValue>(TValue? value)
        where TValue : class => value is null ? FSharpOption<TValue>.None : FSharpOption<TValue>.Some(value);

    private static FSharpOption<TValue> Option<TValue>(TValue? value)
        where TValue : struct => value is null ? FSharpOption<TValue>.None : FSharpOption<TValue>.Some(value.Value);
}
