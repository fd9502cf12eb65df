using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;
using Microsoft.FSharp.Collections;
using Microsoft.FSharp.Core;
using Session.AspNetCore;
using Session.CSharp;
using Session.Domain;
using Session.Engine;
using Xunit;

namespace Facade;

public class OptionsTests
{
    private static SessionSettings Settings(Action<SessionOptions<Cart>>? configure = null)
    {
        var services = new ServiceCollection();
        services.AddSession(configure);
        using var provider = services.BuildServiceProvider();
        return provider.GetRequiredService<SessionService<Cart>>().Settings;
    }

    private static string Refused(Action<SessionOptions<Cart>> configure) =>
        Assert.Throws<OptionsValidationException>(() => Settings(configure)).Message;

    [Fact]
    public void Without_options_the_defaults_are_those_of_the_settings()
    {
        var mine = Settings();
        var theirs = SessionSettingsModule.defaults;
        Assert.Equal(theirs.CookieName, mine.CookieName);
        Assert.Equal(theirs.CookieDomain, mine.CookieDomain);
        Assert.Equal(theirs.CookiePath, mine.CookiePath);
        Assert.Equal(theirs.SameSite, mine.SameSite);
        Assert.Equal(theirs.SecurePolicy, mine.SecurePolicy);
        Assert.Equal(theirs.HttpOnly, mine.HttpOnly);
        Assert.Equal(theirs.Partitioned, mine.Partitioned);
        Assert.Equal(theirs.CookieMaxAge, mine.CookieMaxAge);
        Assert.Equal(theirs.HeaderName, mine.HeaderName);
        Assert.Equal(theirs.IdleTimeout, mine.IdleTimeout);
        Assert.Equal(theirs.AbsoluteTimeout, mine.AbsoluteTimeout);
        Assert.Equal(theirs.ConfirmTimeout, mine.ConfirmTimeout);
        Assert.Equal(theirs.RotateEvery, mine.RotateEvery);
        Assert.Equal(theirs.RotationGrace, mine.RotationGrace);
        Assert.Equal(theirs.TombstoneRetention, mine.TombstoneRetention);
        Assert.Equal(theirs.OnReplay, mine.OnReplay);
        Assert.Equal(theirs.MaxDataBytes, mine.MaxDataBytes);
        Assert.Equal(theirs.MaxSessionsPerSubject, mine.MaxSessionsPerSubject);
        Assert.Equal(theirs.WhenLimitReached, mine.WhenLimitReached);
        Assert.Equal(theirs.DataVersion, mine.DataVersion);
        Assert.Empty(mine.Upcasters);
        Assert.Equal(theirs.ServerKey, mine.ServerKey);
        Assert.Empty(mine.FormerServerKeys);
        Assert.Null(mine.GenerateId);
        Assert.Equal(theirs.SweepInterval, mine.SweepInterval);
        Assert.Equal(theirs.LiveCheck, mine.LiveCheck);
        Assert.Equal(theirs.ConnectionsExtendIdle, mine.ConnectionsExtendIdle);
        Assert.Equal(theirs.RequestTimeout, mine.RequestTimeout);
        Assert.Equal(theirs.EventTimeout, mine.EventTimeout);
        Assert.Equal(theirs.ContinueWithoutStore, mine.ContinueWithoutStore);
        Assert.Equal(theirs.HearsExpiry, mine.HearsExpiry);
    }

    [Fact]
    public void Every_option_arrives()
    {
        var key = Enumerable.Range(1, 32).Select(i => (byte)i).ToArray();
        var former = key.Reverse().ToArray();
        var mine = Settings(o =>
        {
            o.Cookie.Name = "__Secure-it";
            o.Cookie.Domain = "example.com";
            o.Cookie.Path = "/app";
            o.Cookie.SameSite = SameSiteMode.None;
            o.Cookie.MaxAge = TimeSpan.FromHours(1);
            o.Partitioned = true;
            o.HeaderName = "X-Token";
            o.IdleTimeout = TimeSpan.FromMinutes(21);
            o.AbsoluteTimeout = TimeSpan.FromMinutes(101);
            o.ConfirmTimeout = TimeSpan.FromMinutes(3);
            o.RotateEvery = TimeSpan.FromMinutes(7);
            o.RotationGrace = TimeSpan.FromSeconds(11);
            o.TombstoneRetention = TimeSpan.FromMinutes(13);
            o.DestroyOnReplay = false;
            o.MaxSessionsPerSubject = 5;
            o.WhenLimitReached = SessionLimitBehavior.RefuseNew;
            o.DataVersion = 2;
            o.Upcasters[1] = json => new JsonObject { ["was"] = json };
            o.MaxDataBytes = 1234;
            o.GenerateId = _ => "mine";
            o.ServerKey = key;
            o.FormerServerKeys.Add(former);
            o.SweepInterval = TimeSpan.FromSeconds(17);
            o.LiveCheck = TimeSpan.FromSeconds(18);
            o.ConnectionsExtendIdle = true;
            o.RequestTimeout = TimeSpan.FromSeconds(19);
            o.EventTimeout = TimeSpan.FromSeconds(23);
            o.ContinueWithoutStore = true;
            o.Events.OnExpired = _ => Task.CompletedTask;
        });
        Assert.Equal("__Secure-it", mine.CookieName?.Value);
        Assert.Equal("example.com", mine.CookieDomain?.Value);
        Assert.Equal("/app", mine.CookiePath);
        Assert.Equal(SameSiteMode.None, mine.SameSite);
        Assert.Equal(CookieSecurePolicy.Always, mine.SecurePolicy);
        Assert.True(mine.HttpOnly);
        Assert.True(mine.Partitioned);
        Assert.Equal(TimeSpan.FromHours(1), mine.CookieMaxAge?.Value);
        Assert.Equal("X-Token", mine.HeaderName?.Value);
        Assert.Equal(TimeSpan.FromMinutes(21), mine.IdleTimeout);
        Assert.Equal(TimeSpan.FromMinutes(101), mine.AbsoluteTimeout);
        Assert.Equal(TimeSpan.FromMinutes(3), mine.ConfirmTimeout?.Value);
        Assert.Equal(TimeSpan.FromMinutes(7), mine.RotateEvery?.Value);
        Assert.Equal(TimeSpan.FromSeconds(11), mine.RotationGrace);
        Assert.Equal(TimeSpan.FromMinutes(13), mine.TombstoneRetention);
        Assert.Equal(OnReplay.RefuseToken, mine.OnReplay);
        Assert.Equal(5, mine.MaxSessionsPerSubject?.Value);
        Assert.Equal(LimitPolicy.RefuseNew, mine.WhenLimitReached);
        Assert.Equal(2, mine.DataVersion);
        Assert.Equal("{\"was\":1}", mine.Upcasters[1].Invoke(JsonValue.Create(1)).ToJsonString());
        Assert.Equal(1234, mine.MaxDataBytes);
        Assert.Equal("mine", mine.GenerateId?.Value.Invoke(new DefaultHttpContext()));
        Assert.Equal(key, mine.ServerKey?.Value);
        Assert.Equal([former], mine.FormerServerKeys);
        Assert.Equal(TimeSpan.FromSeconds(17), mine.SweepInterval);
        Assert.Equal(TimeSpan.FromSeconds(18), mine.LiveCheck);
        Assert.True(mine.ConnectionsExtendIdle);
        Assert.Equal(TimeSpan.FromSeconds(19), mine.RequestTimeout);
        Assert.Equal(TimeSpan.FromSeconds(23), mine.EventTimeout);
        Assert.True(mine.ContinueWithoutStore);
        Assert.True(mine.HearsExpiry);
    }

    [Fact]
    public void The_confirm_timeout_is_never_longer_than_the_absolute_one()
    {
        void Absolute(SessionOptions<Cart> o, int minutes) =>
            (o.IdleTimeout, o.AbsoluteTimeout, o.RotateEvery) = (
                TimeSpan.FromMinutes(4),
                TimeSpan.FromMinutes(minutes),
                null
            );

        TimeSpan Confirm(int minutes) =>
            SessionSettingsModule.toEngine(Settings(o => Absolute(o, minutes))).Policy.Confirm;

        Assert.Equal(TimeSpan.FromMinutes(9), Confirm(9));
        Assert.Equal(TimeSpan.FromMinutes(10), Confirm(11));
        Assert.Null(Settings(o => Absolute(o, 9)).RotateEvery);
    }

    [Theory]
    [InlineData(450, true)]
    [InlineData(451, false)]
    public void Connections_that_extend_a_session_look_at_it_four_times_in_its_idle_time(int seconds, bool isRight)
    {
        var settings = SessionSettingsModule.changed(
            SessionSettingsModule.defaults,
            it => (it.ConnectionsExtendIdle, it.LiveCheck) = (true, TimeSpan.FromSeconds(seconds))
        );
        Assert.Equal(isRight, SessionSettingsModule.contradictions(settings).Count == 0);
    }

    [Fact]
    public void The_settings_of_FSharp_have_the_same_rules()
    {
        SessionSettings Changed(Action<SessionSettings> change) =>
            SessionSettingsModule.changed(SessionSettingsModule.defaults, change);

        var brief = Changed(it => (it.IdleTimeout, it.AbsoluteTimeout) = (Minutes(4), Minutes(9)));
        Assert.Empty(SessionSettingsModule.contradictions(brief));
        Assert.Equal(Minutes(9), SessionSettingsModule.toEngine(brief).Policy.Confirm);
        var waiting = Changed(it => (it.RequestTimeout, it.EventTimeout) = (Minutes(11), TimeSpan.Zero));
        Assert.Equal(
            ["RequestTimeout must", "EventTimeout must"],
            SessionSettingsModule.contradictions(waiting).Select(it => string.Join(' ', it.Split(' ')[..2]))
        );

        // A copy was changed.
        Assert.Empty(SessionSettingsModule.contradictions(SessionSettingsModule.defaults));
    }

    private static TimeSpan Minutes(int minutes) => TimeSpan.FromMinutes(minutes);

    [Fact]
    public void Options_that_are_read_say_what_was_set_or_the_default()
    {
        var o = new SessionOptions<Cart>();
        Assert.Null(o.HeaderName);
        Assert.Null(o.ConfirmTimeout);
        Assert.Null(o.MaxSessionsPerSubject);
        Assert.Null(o.ServerKey);
        Assert.Equal(Minutes(15), o.RotateEvery);
        Assert.True(o.DestroyOnReplay);
        Assert.Equal(SessionLimitBehavior.EndOldest, o.WhenLimitReached);
        (o.HeaderName, o.ConfirmTimeout, o.RotateEvery) = ("X-Token", Minutes(2), null);
        (o.MaxSessionsPerSubject, o.ServerKey, o.DestroyOnReplay) = (3, new byte[32], false);
        o.WhenLimitReached = SessionLimitBehavior.RefuseNew;
        Assert.Equal("X-Token", o.HeaderName);
        Assert.Equal(Minutes(2), o.ConfirmTimeout);
        Assert.Null(o.RotateEvery);
        Assert.Equal(3, o.MaxSessionsPerSubject);
        Assert.Equal(new byte[32], o.ServerKey);
        Assert.False(o.DestroyOnReplay);
        Assert.Equal(SessionLimitBehavior.RefuseNew, o.WhenLimitReached);
        (o.HeaderName, o.ConfirmTimeout, o.ServerKey) = (null, null, null);
        Assert.Null(o.HeaderName);
        Assert.Null(o.ConfirmTimeout);
        Assert.Null(o.ServerKey);

        // Each has settings of its own.
        o.IdleTimeout = Minutes(5);
        Assert.Equal(Minutes(5), o.IdleTimeout);
        Assert.Equal(Minutes(30), new SessionOptions<Cart>().IdleTimeout);
    }

    [Fact]
    public void Nobody_hears_of_what_has_no_handler()
    {
        var mine = Settings(o => o.Events.OnSignedIn = _ => Task.CompletedTask);
        Notice Of(NoticeKind kind, string? subject) =>
            new(kind, "id", subject is null ? null : FSharpOption<string>.Some(subject), [], DateTimeOffset.UnixEpoch);

        Assert.Null(mine.OnNotice.Invoke(Of(NoticeKind.CreatedNotice, null)));
        Assert.Null(mine.OnNotice.Invoke(Of(NoticeKind.RenewedNotice, "ada")));
        Assert.NotNull(mine.OnNotice.Invoke(Of(NoticeKind.CreatedNotice, "ada")));
        Assert.NotNull(mine.OnNotice.Invoke(Of(NoticeKind.SignedInNotice, "ada")));
    }

    [Fact]
    public void Partitioned_can_be_said_as_an_extension_of_the_cookie()
    {
        var mine = Settings(o =>
        {
            o.Cookie.SameSite = SameSiteMode.None;
            o.Cookie.Extensions.Add("partitioned");
        });
        Assert.True(mine.Partitioned);
    }

    /// <summary>What would be dropped in silence: nobody would know that the cookie is not as it was said.</summary>
    [Theory]
    [InlineData("Priority=High")]
    [InlineData("")]
    [InlineData("Partitioned; Domain=example.com")]
    [InlineData(null)]
    public void Another_extension_of_the_cookie_is_refused(string? extension) =>
        Assert.Contains("Cookie.Extensions", Refused(o => o.Cookie.Extensions.Add(extension!)));

    [Fact]
    public void What_is_null_is_refused_by_name()
    {
        Assert.Contains("Cookie is null", Refused(o => o.Cookie = null!));
        Assert.Contains("Events is null", Refused(o => o.Events = null!));
        Assert.Contains("TrustedOrigins", Refused(o => o.TrustedOrigins.Add(null!)));
        Assert.Contains(
            "FormerServerKeys",
            Refused(o =>
            {
                o.ServerKey = new byte[32];
                o.FormerServerKeys.Add(null!);
            })
        );
        foreach (var version in new[] { 0, 1 })
            Assert.Contains($"null for version {version}", Refused(o => o.Upcasters[version] = null!));
    }

    [Fact]
    public void Settings_of_F_sharp_with_nulls_are_refused_by_name()
    {
        static string Of(Action<SessionSettings> change) =>
            string.Join(
                ' ',
                SessionSettingsModule.contradictions(
                    SessionSettingsModule.changed(SessionSettingsModule.defaults, change)
                )
            );

        Assert.Contains("ServerKey must", Of(s => s.ServerKey = FSharpOption<byte[]>.Some(null!)));
        Assert.Contains("FormerServerKeys must", Of(s => s.FormerServerKeys = ListModule.OfSeq<byte[]>([null!])));
        Assert.Contains("TrustedOrigins", Of(s => s.TrustedOrigins = ListModule.OfSeq<string>([null!])));
        Assert.Contains(
            "null for version 1",
            Of(s => s.Upcasters = new FSharpMap<int, FSharpFunc<JsonNode, JsonNode>>([Tuple.Create(1, Nothing())]))
        );

        static FSharpFunc<JsonNode, JsonNode> Nothing() => null!;
    }

    [Fact]
    public void A_value_that_an_enum_does_not_have_is_refused_by_name()
    {
        var count = 0;
        foreach (var property in typeof(SessionOptions<Cart>).GetProperties().Where(p => p.PropertyType.IsEnum))
        {
            count++;
            Assert.Contains(
                property.Name,
                Refused(o => property.SetValue(o, Enum.ToObject(property.PropertyType, 17)))
            );
        }

        foreach (var property in typeof(CookieBuilder).GetProperties().Where(p => p.PropertyType.IsEnum))
        {
            count++;
            Assert.Contains(
                "Cookie." + property.Name,
                Refused(o => property.SetValue(o.Cookie, Enum.ToObject(property.PropertyType, 17)))
            );
        }

        Assert.Equal(3, count);
    }

    [Fact]
    public void Every_version_of_the_data_needs_its_upcaster()
    {
        var refused = Refused(o =>
        {
            o.DataVersion = 3000;
            for (var version = 1; version <= 1000; version++)
                o.Upcasters[version] = json => json;
        });
        Assert.Contains("no upcaster from version 1001:", refused);
        Assert.DoesNotContain("no upcaster from version 1000:", refused);
        Assert.Contains("no upcaster from version 10:", Refused(o => o.DataVersion = 10_000));
    }

    [Theory]
    [InlineData("Authorization")]
    [InlineData("vary")]
    [InlineData("Origin")]
    [InlineData("Transfer-Encoding")]
    [InlineData("Connection")]
    [InlineData("Cookie")]
    [InlineData("Set-Cookie")]
    [InlineData("Host")]
    [InlineData("Content-Length")]
    [InlineData("Content-Security-Policy")]
    [InlineData("Cache-Control")]
    [InlineData("If-None-Match")]
    [InlineData("Proxy-Authorization")]
    [InlineData("Sec-Fetch-Site")]
    [InlineData("Access-Control-Allow-Origin")]
    [InlineData("X-Forwarded-For")]
    [InlineData("Referer")]
    [InlineData("ETag")]
    [InlineData("Upgrade")]
    [InlineData("traceparent")]
    public void A_header_that_means_something_in_HTTP_carries_no_token(string header) =>
        Assert.Contains("HeaderName is a header with another meaning", Refused(o => o.HeaderName = header));

    [Fact]
    public void An_empty_HeaderName_is_none_as_configuration_says_it() =>
        Assert.Null(Settings(o => o.HeaderName = "").HeaderName);

    /// <summary>An application wipes its keys once they are said: zeros, which anybody knows, would sign sessions from then on.</summary>
    [Fact]
    public async Task Keys_that_are_wiped_after_they_are_said_still_open_and_make_sessions()
    {
        byte[] key = [.. Enumerable.Range(1, 32).Select(i => (byte)i)];
        byte[] former = [.. key.Reverse()];
        var store = new MemoryStore();
        var (mine, old) = (key.ToArray(), former.ToArray());
        await using var site = await Site.StartAsync(
            o =>
            {
                o.ServerKey = mine;
                Array.Clear(mine);
                o.FormerServerKeys.Add(old);
            },
            store: () => store
        );
        Array.Clear(old);
        var token = await site.BeginAsync();
        await using var withTheKey = await Site.StartAsync(o => o.ServerKey = key, store: () => store);
        await HoldsAsync(withTheKey, token, true);
        await using var withZeros = await Site.StartAsync(o => o.ServerKey = new byte[32], store: () => store);
        await HoldsAsync(withZeros, token, false);

        await using var before = await Site.StartAsync(o => o.ServerKey = former, store: () => store);
        var older = await before.BeginAsync();
        await HoldsAsync(site, older, true);
        var minted = await withZeros.BeginAsync();
        await HoldsAsync(site, minted, false);

        static Task HoldsAsync(Site site, string token, bool isThere) =>
            site.WithAsync(
                session =>
                {
                    Assert.Equal(isThere, session.Data is not null);
                    return Task.CompletedTask;
                },
                token
            );
    }

    [Fact]
    public void A_cookie_without_a_path_has_the_root() =>
        Assert.Equal("/", Settings(o => o.Cookie.Path = null).CookiePath);

    [Fact]
    public void Contradictions_are_refused_with_what_to_change()
    {
        Assert.Contains("set Cookie.MaxAge", Refused(o => o.Cookie.Expiration = TimeSpan.FromHours(1)));
        Assert.Contains("HttpOnly", Refused(o => o.Cookie.HttpOnly = false));
        Assert.Contains("RotationGrace", Refused(o => o.RotateEvery = o.RotationGrace));
        Assert.Contains("IdleTimeout", Refused(o => o.IdleTimeout = TimeSpan.FromHours(9)));
        Assert.Contains("ServerKey", Refused(o => o.ServerKey = new byte[31]));
        Assert.Contains("FormerServerKeys", Refused(o => o.FormerServerKeys.Add(new byte[32])));
        Assert.Contains("MaxSessionsPerSubject", Refused(o => o.MaxSessionsPerSubject = 0));
        Assert.Contains("upcaster", Refused(o => o.DataVersion = 2));
        Assert.Contains("RequestTimeout", Refused(o => o.RequestTimeout = TimeSpan.Zero));
        Assert.Contains("RequestTimeout", Refused(o => o.RequestTimeout = Minutes(11)));
        Assert.Contains("EventTimeout", Refused(o => o.EventTimeout = TimeSpan.Zero));
        Assert.Contains("EventTimeout", Refused(o => o.EventTimeout = Minutes(11)));
        Assert.Equal(Minutes(10), Settings(o => o.RequestTimeout = o.EventTimeout = Minutes(10)).RequestTimeout);
    }

    /// <summary>Slips of the keyboard: each is one sentence at start, and no exception of somebody else's, nor a busy processor.</summary>
    [Fact]
    public void Values_that_nobody_means_are_refused_with_what_to_change()
    {
        Assert.Contains("SweepInterval is shorter", Refused(o => o.SweepInterval = TimeSpan.FromTicks(1)));
        Assert.Contains("LiveCheck is shorter", Refused(o => o.LiveCheck = TimeSpan.FromTicks(9_999)));
        var shortest = Settings(o => o.SweepInterval = o.LiveCheck = TimeSpan.FromMilliseconds(1));
        Assert.Equal(TimeSpan.FromMilliseconds(1), shortest.SweepInterval);
        foreach (var age in new[] { TimeSpan.MinValue, TimeSpan.FromTicks(-1), TimeSpan.Zero })
            Assert.Contains("Cookie.MaxAge must be positive", Refused(o => o.Cookie.MaxAge = age));
        foreach (var version in new[] { int.MaxValue, int.MinValue, 0, 10_001 })
            Assert.Equal(
                "DataVersion must be 1 to 10,000: it counts the changes of the data's shape.",
                Refused(o => o.DataVersion = version)
            );
        Assert.Equal(10, Refused(o => o.DataVersion = 9_999).Split("upcaster from version").Length - 1);
        foreach (var version in new[] { -3, 0, 1, 5 })
            Assert.Contains(
                $"from version {version}, which is never called",
                Refused(o => o.Upcasters[version] = data => data)
            );
        Assert.Contains("Cookie.Name is longer", Refused(o => o.Cookie.Name = "__Host-" + new string('a', 994)));
        Assert.Equal(1000, Settings(o => o.Cookie.Name = "__Host-" + new string('a', 993)).CookieName!.Value.Length);
        Assert.Contains("HeaderName", Refused(o => o.HeaderName = "X-Session-Explain"));
    }

    [Fact]
    public void A_serializer_of_the_application_tells_versions_apart_by_itself()
    {
        Assert.Contains("your Serializer", Refused(o => (o.Serializer, o.DataVersion) = (new Shout(), 2)));
        Assert.Contains(
            "your Serializer",
            Refused(o =>
            {
                o.Serializer = new Shout();
                o.Upcasters[1] = json => json;
            })
        );
        Assert.Equal(1, Settings(o => o.Serializer = new Shout()).DataVersion);
    }

    [Fact]
    public void No_services_and_no_metadata_are_refused()
    {
        IServiceCollection none = null!;
        Assert.Throws<ArgumentNullException>(() => none.AddSession<Cart>());
        Assert.Throws<ArgumentNullException>(() =>
            new ServiceCollection().AddSession((System.Text.Json.Serialization.Metadata.JsonTypeInfo<Cart>)null!)
        );
        Assert.Throws<ArgumentNullException>(() => ((IApplicationBuilder)null!).UseSession<Cart>());
    }

    [Fact]
    public async Task The_serializer_of_the_application_is_used()
    {
        await using var site = await Site.StartAsync(o => o.Serializer = new Shout());
        var token = await site.BeginAsync(item: "tea");
        await site.WithAsync(
            session =>
            {
                Assert.Equal("TEA", session.Data!.Item);
                return Task.CompletedTask;
            },
            token
        );
    }

    [Fact]
    public async Task Old_data_goes_through_the_upcasters()
    {
        var store = new MemoryStore();
        string token;
        await using (var old = await Site.StartAsync(store: () => store))
            token = await old.BeginAsync(item: "tea");

        await using var site = await Site.StartAsync(
            o =>
            {
                o.DataVersion = 2;
                o.Upcasters[1] = json =>
                {
                    json["count"] = 7;
                    return json;
                };
            },
            store: () => store
        );
        await site.WithAsync(
            session =>
            {
                Assert.Equal(new Cart("tea", 7), session.Data);
                return Task.CompletedTask;
            },
            token
        );
    }

    /// <summary>Everything in capitals.</summary>
    private sealed class Shout : ISessionSerializer<Cart>
    {
        public byte[] Serialize(Cart value) => System.Text.Encoding.UTF8.GetBytes(value.Item.ToUpperInvariant());

        public Cart Deserialize(ReadOnlyMemory<byte> data) => new(System.Text.Encoding.UTF8.GetString(data.Span));
    }
}
