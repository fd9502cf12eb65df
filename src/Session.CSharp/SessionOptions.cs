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
    // A copy of the defaults, which the properties change.
    private readonly SessionSettings _settings = SessionSettingsModule.changed(
        SessionSettingsModule.defaults,
        _ => { }
    );

    /// <summary>The cookie. Default <c>__Host-sid</c>: Secure, HttpOnly, SameSite=Lax, Path=/, no Domain, no Max-Age (ASVS 3.3).</summary>
    /// <remarks>With a Domain or another Path the default name is <c>__Secure-sid</c>, without Secure it is <c>sid</c>. MaxAge makes the cookie persistent: <see cref="AbsoluteTimeout"/>, or at least <see cref="RotateEvery"/> and <see cref="IdleTimeout"/> together.</remarks>
    public CookieBuilder Cookie { get; set; } =
        new()
        {
            HttpOnly = SessionSettingsModule.defaults.HttpOnly,
            Path = SessionSettingsModule.defaults.CookiePath,
            SameSite = SessionSettingsModule.defaults.SameSite,
            SecurePolicy = SessionSettingsModule.defaults.SecurePolicy,
        };

    /// <summary>CHIPS: a cookie for third-party contexts. Needs Secure and SameSite=None. Default false.</summary>
    /// <remarks>Its name is that of <see cref="Cookie"/> and <c>-p</c>: a browser keeps a partitioned cookie beside one that is not. Switched on or off, it signs nobody out: a token under the other name still opens its session.</remarks>
    public bool Partitioned
    {
        get => _settings.Partitioned;
        set => _settings.Partitioned = value;
    }

    /// <summary>A header that carries the token instead of a cookie, in requests and responses, for APIs and mobile clients. Default null: cookies only.</summary>
    /// <remarks>A client asks for it by sending the header, empty at first. A request with both is a 400.</remarks>
    public string? HeaderName
    {
        get => _settings.HeaderName?.Value;
        // Configuration says nothing by an empty text.
        set => _settings.HeaderName = value is "" ? null : Option(value);
    }

    /// <summary>Origins such as <c>https://app.example.com</c> whose pages may have the browser change sessions here. Default none: the request's own alone.</summary>
    /// <remarks>Every other origin is refused (403) where it had the browser send a POST, PUT, PATCH or DELETE that would change, begin or end a session by the cookie; a sub-domain is another origin. For one endpoint: <c>.AllowCrossSite("https://…")</c>.</remarks>
    public IList<string> TrustedOrigins { get; } = new List<string>();

    /// <summary>Whether what another site had the browser send may change, begin and end sessions by the cookie, on every endpoint. Default false: 403.</summary>
    /// <remarks>With it the application needs another defence, such as antiforgery tokens; and a request that brings no token, because of SameSite, begins a session that takes the place of the browser's own. For one endpoint: <c>.AllowCrossSite()</c>.</remarks>
    public bool AllowCrossSiteWrites
    {
        get => _settings.AllowCrossSiteWrites;
        set => _settings.AllowCrossSiteWrites = value;
    }

    /// <summary>Silence that ends a session. Default 30 minutes (ASVS 7.3.1).</summary>
    public TimeSpan IdleTimeout
    {
        get => _settings.IdleTimeout;
        set => _settings.IdleTimeout = value;
    }

    /// <summary>Age since sign-in, else since creation, that ends a session whatever it does. Default 8 hours (ASVS 7.3.2).</summary>
    public TimeSpan AbsoluteTimeout
    {
        get => _settings.AbsoluteTimeout;
        set => _settings.AbsoluteTimeout = value;
    }

    /// <summary>How soon the token of an anonymous session has to come back once. Default 10 minutes, or AbsoluteTimeout when that is shorter.</summary>
    public TimeSpan? ConfirmTimeout
    {
        get => _settings.ConfirmTimeout?.Value;
        set => _settings.ConfirmTimeout = Option(value);
    }

    /// <summary>Age of a token at which it is renewed. Default 15 minutes; null: it is renewed by sign-ins and <c>RegenerateAsync</c> only.</summary>
    public TimeSpan? RotateEvery
    {
        get => _settings.RotateEvery?.Value;
        set => _settings.RotateEvery = Option(value);
    }

    /// <summary>How long the old token works after a confirmed renewal. Default 30 seconds.</summary>
    public TimeSpan RotationGrace
    {
        get => _settings.RotationGrace;
        set => _settings.RotationGrace = value;
    }

    /// <summary>How long a session that ended is remembered as such. Default 1 hour.</summary>
    public TimeSpan TombstoneRetention
    {
        get => _settings.TombstoneRetention;
        set => _settings.TombstoneRetention = value;
    }

    /// <summary>Whether a replayed token (the sign of theft) ends the session. Default true; false: it is refused and reported.</summary>
    public bool DestroyOnReplay
    {
        get => _settings.OnReplay.IsDestroySession;
        set => _settings.OnReplay = value ? OnReplay.DestroySession : OnReplay.RefuseToken;
    }

    /// <summary>How many live sessions a subject may have. Default null: any number (ASVS 7.1.2).</summary>
    public int? MaxSessionsPerSubject
    {
        get => _settings.MaxSessionsPerSubject?.Value;
        set => _settings.MaxSessionsPerSubject = Option(value);
    }

    /// <summary>What a sign-in over <see cref="MaxSessionsPerSubject"/> does. Default: the oldest sign-in makes room.</summary>
    public SessionLimitBehavior WhenLimitReached
    {
        get;
        set
        {
            field = value;
            _settings.WhenLimitReached =
                value == SessionLimitBehavior.RefuseNew ? LimitPolicy.RefuseNew : LimitPolicy.EndOldest;
        }
    } = SessionLimitBehavior.EndOldest;

    /// <summary>The version of the data's shape. Default 1. Raise it with each change that old data does not fit, and add an upcaster.</summary>
    /// <remarks>Data of a newer version is left alone (503), so that old and new nodes run side by side. For JSON; a <see cref="Serializer"/> of your own does it in its own way.</remarks>
    public int DataVersion
    {
        get => _settings.DataVersion;
        set => _settings.DataVersion = value;
    }

    /// <summary>Brings data of the version that is the key to the next one: <c>o.Upcasters[1] = json =&gt; { json["items"] = new JsonArray(); return json; }</c>.</summary>
    public IDictionary<int, Func<JsonNode, JsonNode>> Upcasters { get; } =
        new Dictionary<int, Func<JsonNode, JsonNode>>();

    /// <summary>The largest serialized data, in bytes. Default 65,536. A larger write throws <see cref="SessionDataException"/>.</summary>
    public int MaxDataBytes
    {
        get => _settings.MaxDataBytes;
        set => _settings.MaxDataBytes = value;
    }

    /// <summary>Makes session ids: 1 to 64 of A-Z a-z 0-9 _ -, unique. Default null: 128 random bits. The secret is always ours.</summary>
    public Func<HttpContext, string>? GenerateId { get; set; }

    /// <summary>At least 32 secret bytes: stored hashes are then HMACs, and whoever writes to the store cannot mint a session. Default null.</summary>
    /// <remarks>
    /// They are copied when they are set. What <c>AddSession</c> is given runs when the application starts: wipe an array of your
    /// own after that, or within it.
    /// </remarks>
    public byte[]? ServerKey
    {
        get => _settings.ServerKey?.Value;
        set => _settings.ServerKey = Option((byte[]?)value?.Clone());
    }

    /// <summary>Keys that still open sessions and make no new hashes, at least 32 bytes each. Default none.</summary>
    /// <remarks>
    /// To replace <see cref="ServerKey"/> and keep the sessions: first the new key here on every node; then let them change
    /// places; remove the old one once <see cref="AbsoluteTimeout"/> has passed (ASVS 11.2.2, 13.3.4). Sessions come
    /// under the new key with their next renewal or sign-in. Not for a key that has leaked: its sessions have to end.
    /// </remarks>
    public IList<byte[]> FormerServerKeys { get; } = new List<byte[]>();

    /// <summary>How often overdue sessions are looked for. Default 1 minute, give or take a fifth. Expiry does not depend on it.</summary>
    public TimeSpan SweepInterval
    {
        get => _settings.SweepInterval;
        set => _settings.SweepInterval = value;
    }

    /// <summary>How often the sessions that this node has connections open for (<see cref="Session{T}.Ended"/>) are looked at in the store. Default 30 seconds.</summary>
    /// <remarks>500 of them by one command, where the store can. So long a connection outlives its session where no notice of the end comes through; an end by time needs no look.</remarks>
    public TimeSpan LiveCheck
    {
        get => _settings.LiveCheck;
        set => _settings.LiveCheck = value;
    }

    /// <summary>Whether a connection that is open for a session (<see cref="Session{T}.Ended"/>, hubs, circuits) keeps <see cref="IdleTimeout"/> from ending it. Default false: it is no activity.</summary>
    /// <remarks>The absolute timeout ends it all the same. Needs a <see cref="LiveCheck"/> of at most a quarter of the idle timeout: with a look the session counts as seen, once half of its idle time has passed.</remarks>
    public bool ConnectionsExtendIdle
    {
        get => _settings.ConnectionsExtendIdle;
        set => _settings.ConnectionsExtendIdle = value;
    }

    /// <summary>What one request waits for the store, all its operations together. Default 5 seconds, at most 10 minutes. Then it gets a 503.</summary>
    /// <remarks>
    /// Each operation by itself waits so long in what goes on behind its answer (a WebSocket, a stream, a hub), and for each session a call
    /// without a request, of <see cref="SessionManager{T}"/>: after three that the store has left without an answer it tries no more.
    /// </remarks>
    public TimeSpan RequestTimeout
    {
        get => _settings.RequestTimeout;
        set => _settings.RequestTimeout = value;
    }

    /// <summary>How long the handler of an event is waited for, of an end by time at least 30 seconds. Default 5 seconds, at most 10 minutes.</summary>
    /// <remarks>It goes on by itself then, and the log says so.</remarks>
    public TimeSpan EventTimeout
    {
        get => _settings.EventTimeout;
        set => _settings.EventTimeout = value;
    }

    /// <summary>Whether requests that only read go on without a session while the store is down. Default false: 503.</summary>
    /// <remarks>What needs a session or a user, and whatever writes, is a 503 then as well: nobody is sent to a login page for it.</remarks>
    public bool ContinueWithoutStore
    {
        get => _settings.ContinueWithoutStore;
        set => _settings.ContinueWithoutStore = value;
    }

    /// <summary>What the application hears of.</summary>
    public SessionEvents<T> Events { get; set; } = new();

    /// <summary>Turns the data into bytes. Default null: JSON.</summary>
    public ISessionSerializer<T>? Serializer { get; set; }

    internal SessionSettings ToSettings()
    {
        if (Contradiction() is { } sentence)
            throw new OptionsValidationException(typeof(T).Name, typeof(SessionOptions<T>), [sentence]);

        return SessionSettingsModule.changed(
            _settings,
            it =>
            {
                it.CookieName = Option(Cookie.Name);
                it.CookieDomain = Option(Cookie.Domain);
                it.CookiePath = Cookie.Path ?? it.CookiePath;
                it.SameSite = Cookie.SameSite;
                it.SecurePolicy = Cookie.SecurePolicy;
                it.HttpOnly = Cookie.HttpOnly;
                it.CookieMaxAge = Option(Cookie.MaxAge);
                it.Partitioned |= Cookie.Extensions.Any(IsPartitioned);
                it.Upcasters = UpcastersAsMap();
                it.TrustedOrigins = ListModule.OfSeq(TrustedOrigins);
                it.FormerServerKeys = ListModule.OfSeq(FormerServerKeys);
                it.GenerateId = GenerateId is null ? null : Some(FuncConvert.FromFunc(GenerateId));
                it.HearsExpiry = Events.OnExpired is not null;
                it.OnNotice = FuncConvert.FromFunc((Notice notice) => Translate.HandlerOf(Events, notice));
            }
        );
    }

    /// <summary>What the settings cannot hold, as a sentence that says what to change; null: nothing.</summary>
    private string? Contradiction()
    {
        if (Cookie is null)
            return "Cookie is null: change what is there, or set it to a CookieBuilder.";

        if (Events is null)
            return "Events is null: leave out the events that nobody is to hear of.";

        if (Cookie.Expiration is not null)
            return "Cookie.Expiration is not used: set Cookie.MaxAge for a cookie that outlives the browser.";

        foreach (var extension in Cookie.Extensions)
            if (!IsPartitioned(extension))
                return $"Cookie.Extensions has '{extension}', which the session cookie cannot have: remove it. There is Partitioned, and what has a property of its own.";

        if (!Enum.IsDefined(WhenLimitReached))
            return "WhenLimitReached is no value that there is: set it to EndOldest or RefuseNew.";

        foreach (var (version, upcaster) in Upcasters)
            if (upcaster is null)
                return $"Upcasters has null for version {version}: give it a function, or remove it.";

        if (Serializer is not null && (DataVersion != 1 || Upcasters.Count > 0))
            return "DataVersion and Upcasters work on JSON: leave them alone, and let your Serializer tell versions apart.";

        return null;
    }

    private static bool IsPartitioned(string extension) =>
        string.Equals(extension, "Partitioned", StringComparison.OrdinalIgnoreCase);

    internal FSharpMap<int, FSharpFunc<JsonNode, JsonNode>> UpcastersAsMap() =>
        new(Upcasters.Select(u => Tuple.Create(u.Key, FuncConvert.FromFunc(u.Value))));

    private static FSharpOption<TValue> Some<TValue>(TValue value) => FSharpOption<TValue>.Some(value);

    private static FSharpOption<TValue>? Option<TValue>(TValue? value)
        where TValue : class => value is null ? null : Some(value);

    private static FSharpOption<TValue>? Option<TValue>(TValue? value)
        where TValue : struct => value is null ? null : Some(value.Value);
}
