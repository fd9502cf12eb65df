using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Time.Testing;
using Session.AspNetCore;
using Session.OpenIdConnect;
using Xunit;

namespace Facade.OpenIdConnect;

/// <summary>What is a logout token and what is none: OpenID Connect Back-Channel Logout 1.0, 2.4 and 2.6.</summary>
public class LogoutTokenTests
{
    private static readonly ProviderKey s_key = ProviderKey.Rsa("first");
    private static readonly ProviderKey s_stranger = ProviderKey.Rsa("first");
    private static readonly ProviderKey s_secret = ProviderKey.Secret("secret");

    /// <summary>How a good token becomes a bad one, and a word of why it is refused.</summary>
    private static readonly Dictionary<string, (Func<Draft, string> Spoil, string Why)> s_bad = new()
    {
        ["no signature (alg none)"] = (
            draft =>
            {
                draft.Header["alg"] = "none";
                draft.Sign = _ => [];
                return draft.Write();
            },
            "signature"
        ),
        ["a signature that was left out"] = (
            draft =>
            {
                draft.Sign = _ => [];
                return draft.Write();
            },
            "signature"
        ),
        ["HS256 with the public key as the secret"] = (
            draft =>
            {
                draft.Header["alg"] = "HS256";
                draft.Sign = data => HMACSHA256.HashData(s_key.PublicBytes, data);
                return draft.Write();
            },
            ""
        ),
        ["HS256 with a secret that the provider shows to everybody"] = (
            draft =>
            {
                (draft.Header["alg"], draft.Header["kid"]) = (s_secret.Algorithm, s_secret.Id);
                draft.Sign = s_secret.Sign;
                return draft.Write();
            },
            ""
        ),
        ["the key of somebody else under this name"] = (
            draft =>
            {
                draft.Sign = s_stranger.Sign;
                return draft.Write();
            },
            "signature"
        ),
        ["a key that the provider does not have"] = (
            draft =>
            {
                draft.Header["kid"] = "second";
                draft.Sign = s_stranger.Sign;
                return draft.Write();
            },
            "key"
        ),
        ["no name of a key, and somebody else's"] = (
            draft =>
            {
                draft.Header.Remove("kid");
                draft.Sign = s_stranger.Sign;
                return draft.Write();
            },
            ""
        ),
        ["claims that were changed"] = (
            draft =>
            {
                var (signed, other) = (draft.Write().Split('.'), draft);
                other.Claims["exp"] = (long)other.Claims["exp"]! + 1;
                return $"{signed[0]}.{other.Write().Split('.')[1]}.{signed[2]}";
            },
            "signature"
        ),
        ["a nonce"] = (draft => With(draft, "nonce", "n"), "nonce"),
        ["another audience"] = (draft => With(draft, "aud", "board"), "aud"),
        ["no audience"] = (draft => Without(draft, "aud"), "aud"),
        ["another issuer"] = (draft => With(draft, "iss", "https://id.example.com"), "iss"),
        ["no issuer"] = (draft => Without(draft, "iss"), "iss"),
        ["issued too long ago"] = (draft => Later(draft, "iat", -361), "iat"),
        ["issued in the future"] = (draft => Later(draft, "iat", 61), "iat"),
        ["no time of issue"] = (draft => Without(draft, "iat"), "iat"),
        ["a time of issue that is a text"] = (draft => With(draft, "iat", "now"), ""),
        ["expired"] = (draft => Later(draft, "exp", -181), "exp"),
        ["not valid yet"] = (draft => With(draft, "nbf", (long)draft.Claims["iat"]! + 61), "nbf"),
        ["a beginning before time"] = (draft => With(draft, "nbf", -1), "nbf"),
        ["a beginning behind all time"] = (draft => With(draft, "nbf", 1e18), "nbf"),
        ["a beginning that is a text"] = (draft => With(draft, "nbf", "now"), ""),
        ["no expiry"] = (draft => Without(draft, "exp"), "exp"),
        ["no events"] = (draft => Without(draft, "events"), "events"),
        ["another event"] = (
            draft => With(draft, "events", new Dictionary<string, object> { ["http://example.com/event"] = new { } }),
            "events"
        ),
        ["an event that is no object"] = (
            draft => With(draft, "events", new Dictionary<string, object> { [IdentityProvider.Event] = "yes" }),
            "events"
        ),
        ["events that are a list"] = (draft => With(draft, "events", new[] { IdentityProvider.Event }), "events"),
        ["no name (jti)"] = (draft => Without(draft, "jti"), "jti"),
        ["an empty name (jti)"] = (draft => With(draft, "jti", ""), "jti"),
        ["neither a user nor a session"] = (draft => Without(draft, "sid"), "neither"),
        ["a session that is a number"] = (draft => With(draft, "sid", 7), "sid"),
        ["an empty session"] = (draft => With(draft, "sid", ""), "sid"),
        ["a user that is a number beside a session"] = (draft => With(draft, "sub", 7), ""),
        ["an empty user beside a session"] = (draft => With(draft, "sub", ""), "sub"),
        ["a name that is a number (jti)"] = (draft => With(draft, "jti", 7), ""),
        ["a nonce that is nothing"] = (draft => With(draft, "nonce", null), ""),
        ["an expiry that is a text"] = (draft => With(draft, "exp", "never"), ""),
        ["the type of an access token"] = (
            draft =>
            {
                draft.Header["typ"] = "at+jwt";
                return draft.Write();
            },
            "typ"
        ),
        ["a demand that is not known"] = (
            draft =>
            {
                draft.Header["crit"] = new[] { "b64" };
                return draft.Write();
            },
            "crit"
        ),
        ["one claim twice"] = (
            draft =>
            {
                draft.Payload = JsonSerializer.Serialize(draft.Claims).TrimEnd('}') + ",\"sid\":\"of ada\"}";
                return draft.Write();
            },
            "twice"
        ),
        ["too large"] = (draft => With(draft, "more", new string('a', 16 * 1024)), "large"),
        ["no JWT"] = (_ => "token", "JWT"),
        ["three parts of nothing"] = (_ => "..", "JWT"),
        ["an encrypted one"] = (_ => "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.YQ.YQ.YQ.YQ", ""),
    };

    public static TheoryData<string> Bad => [.. s_bad.Keys];

    private static string With(Draft draft, string name, object? value)
    {
        draft.Claims[name] = value;
        return draft.Write();
    }

    private static string Without(Draft draft, string name)
    {
        draft.Claims.Remove(name);
        return draft.Write();
    }

    private static string Later(Draft draft, string name, int seconds) =>
        With(draft, name, (long)draft.Claims[name]! + seconds);

    [Theory]
    [MemberData(nameof(Bad))]
    public async Task A_token_with_a_fault_ends_nothing(string name)
    {
        var (spoil, why) = s_bad[name];
        await using var provider = await IdentityProvider.StartAsync(s_key, s_secret);
        await using var node = await LogoutSite.StartAsync(provider);
        var token = await node.SignInAsync("ada", "of ada");
        var refused = await node.PostAsync(spoil(node.Draft("of ada")));
        Assert.Equal((HttpStatusCode.BadRequest, "invalid_request"), (refused.Status, refused.Error));
        Assert.Contains(why, refused.Description, StringComparison.Ordinal);
        Assert.Equal("ada", await node.WhoAsync(token));

        // The same without the fault.
        Assert.Equal(HttpStatusCode.OK, (await node.LogOutAsync("of ada")).Status);
        Assert.Null(await node.WhoAsync(token));
    }

    [Fact]
    public void There_are_more_than_fifteen_kinds_of_them() => Assert.InRange(s_bad.Count, 16, int.MaxValue);

    [Theory]
    [InlineData("logout+jwt")]
    [InlineData("application/logout+jwt")]
    [InlineData("JWT")]
    [InlineData("Logout+JWT")]
    [InlineData("jwt")]
    [InlineData(null)]
    public async Task A_token_that_says_its_type_or_none_is_one(string? type)
    {
        await using var provider = await IdentityProvider.StartAsync(s_key);
        await using var node = await LogoutSite.StartAsync(provider);
        var token = await node.SignInAsync("ada", "of ada");
        var draft = node.Draft("of ada");
        if (type is null)
            draft.Header.Remove("typ");
        else
            draft.Header["typ"] = type;

        draft.Claims["aud"] = new[] { "board", IdentityProvider.Client };
        Assert.Equal(HttpStatusCode.OK, (await node.PostAsync(draft.Write())).Status);
        Assert.Null(await node.WhoAsync(token));
    }

    /// <summary>Providers put claims of their own into it: up to 16 KiB it is one, and so is a form with fields beside it.</summary>
    [Fact]
    public async Task A_long_token_in_a_form_with_other_fields_is_one()
    {
        await using var provider = await IdentityProvider.StartAsync(s_key);
        await using var node = await LogoutSite.StartAsync(provider);
        var token = await node.SignInAsync("ada", "of ada");
        var logout = With(node.Draft("of ada"), "more", new string('a', 11_000));
        Assert.InRange(logout.Length, 15_000, 16 * 1024);
        using var form = Form(logout, fields: 7);
        Assert.Equal(HttpStatusCode.OK, (await node.PostAsync(form)).Status);
        Assert.Null(await node.WhoAsync(token));
    }

    private static StringContent Form(string token, int fields) =>
        new(
            $"logout_token={token}{string.Concat(Enumerable.Repeat("&more=a", fields))}",
            Encoding.UTF8,
            "application/x-www-form-urlencoded"
        );

    [Fact]
    public async Task Keys_of_every_kind_are_taken()
    {
        ProviderKey[] keys =
        [
            .. new[] { "RS256", "RS384", "RS512", "PS256", "PS384", "PS512" }.Select(it => ProviderKey.Rsa(it, it)),
            .. new[] { "ES256", "ES384", "ES512" }.Select(it => ProviderKey.Curve(it, it)),
        ];
        await using var provider = await IdentityProvider.StartAsync(keys);
        await using var node = await LogoutSite.StartAsync(provider);
        foreach (var key in keys)
        {
            provider.Keys = [key, .. keys.Where(it => it != key)];
            var token = await node.SignInAsync("ada", key.Id);
            Assert.Equal((key.Id, HttpStatusCode.OK), (key.Id, (await node.LogOutAsync(key.Id)).Status));
            Assert.Null(await node.WhoAsync(token));
        }
    }

    /// <summary>Reads the documents of a provider at https://id.example.com, as a client of the application's own does.</summary>
    private sealed class Proxy(string keysAt) : HttpMessageHandler
    {
        public int Reads { get; private set; }

        protected override Task<HttpResponseMessage> SendAsync(
            HttpRequestMessage request,
            CancellationToken cancellationToken
        )
        {
            Reads++;
            object? document = request.RequestUri!.AbsolutePath switch
            {
                "/.well-known/openid-configuration" => new { issuer = "https://id.example.com", jwks_uri = keysAt },
                "/keys" => new { keys = new[] { s_key.Shown } },
                _ => null,
            };
            return Task.FromResult(
                document is null
                    ? new HttpResponseMessage(HttpStatusCode.NotFound)
                    : new HttpResponseMessage { Content = new StringContent(JsonSerializer.Serialize(document)) }
            );
        }
    }

    /// <summary>Whoever is between could put keys of their own there, and sign everybody out. The address may end as it likes.</summary>
    [Theory]
    [InlineData("https://id.example.com", "https://id.example.com/keys", null)]
    [InlineData("https://id.example.com/", "https://id.example.com/keys", null)]
    [InlineData("https://id.example.com", "http://id.example.com/keys", "temporarily_unavailable")]
    public async Task The_applications_own_client_reads_the_keys_and_over_https_alone(
        string authority,
        string keysAt,
        string? error
    )
    {
        await using var provider = await IdentityProvider.StartAsync(s_key);
        provider.Issuer = "https://id.example.com";
        using var proxy = new Proxy(keysAt);
        using var client = new HttpClient(proxy);
        await using var node = await LogoutSite.StartAsync(
            provider,
            logouts: o => (o.Authority, o.RequireHttpsMetadata, o.Backchannel) = (authority, true, client)
        );
        var token = await node.SignInAsync("ada", "of ada");
        Assert.Equal(error, (await node.LogOutAsync("of ada")).Error);
        Assert.Equal(error is null ? null : "ada", await node.WhoAsync(token));
        Assert.Equal(error is null ? 2 : 1, proxy.Reads);
    }

    /// <summary>Whichever of the two is ahead: each time that a token names is read with the minute of ClockSkew.</summary>
    [Theory]
    [InlineData("iat", 60)]
    [InlineData("iat", -359)]
    [InlineData("nbf", 60)]
    [InlineData("nbf", 1)]
    [InlineData("exp", -59)]
    public async Task The_clocks_of_the_provider_and_of_this_node_may_be_a_minute_apart(string name, int seconds)
    {
        await using var provider = await IdentityProvider.StartAsync(s_key);
        await using var node = await LogoutSite.StartAsync(provider);
        var token = await node.SignInAsync("ada", "of ada");
        var draft = node.Draft("of ada");
        var logout = With(draft, name, (long)draft.Claims["iat"]! + seconds);
        Assert.Equal(HttpStatusCode.OK, (await node.PostAsync(logout)).Status);
        Assert.Null(await node.WhoAsync(token));
    }

    [Fact]
    public async Task A_token_does_its_work_once()
    {
        await using var provider = await IdentityProvider.StartAsync(s_key);
        await using var node = await LogoutSite.StartAsync(provider);
        await node.SignInAsync("ada", null);
        var logout = node.Draft(null, "ada").Write();
        Assert.Equal(HttpStatusCode.OK, (await node.PostAsync(logout)).Status);

        // Who has seen it cannot sign ada out again with it.
        var token = await node.SignInAsync("ada", null);
        var refused = await node.PostAsync(logout);
        Assert.Equal((HttpStatusCode.BadRequest, "invalid_request"), (refused.Status, refused.Error));
        Assert.Contains("jti", refused.Description, StringComparison.Ordinal);
        Assert.Equal("ada", await node.WhoAsync(token));

        // Nor later: it is remembered until its age speaks against it.
        node.Site.Clock.Advance(TimeSpan.FromSeconds(179));
        Assert.Contains("jti", (await node.PostAsync(logout)).Description, StringComparison.Ordinal);
        node.Site.Clock.Advance(TimeSpan.FromSeconds(1));
        Assert.Contains("exp", (await node.PostAsync(logout)).Description, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(60)]
    public async Task It_is_forgotten_only_when_it_is_too_old(int ahead)
    {
        await using var provider = await IdentityProvider.StartAsync(s_key);
        await using var node = await LogoutSite.StartAsync(provider);
        var engine = node.Site.Services.GetRequiredService<SessionService<Cart>>().Engine;
        var draft = node.Draft(null, "ada");

        // By the clock of the provider, which may be ahead of ours.
        var issued = (long)draft.Claims["iat"]! + ahead;
        (draft.Claims["iat"], draft.Claims["exp"]) = (issued, issued + 3600);
        var logout = draft.Write();
        Assert.Equal(HttpStatusCode.OK, (await node.PostAsync(logout)).Status);
        var token = await node.SignInAsync("ada", null);
        node.Site.Clock.Advance(TimeSpan.FromSeconds(ahead + 359));
        await engine.Sweep(1000, default);
        Assert.Contains("jti", (await node.PostAsync(logout)).Description, StringComparison.Ordinal);
        node.Site.Clock.Advance(TimeSpan.FromSeconds(1));
        Assert.Contains("iat", (await node.PostAsync(logout)).Description, StringComparison.Ordinal);
        Assert.Equal("ada", await node.WhoAsync(token));
    }

    /// <summary>The times that the application has set, and not those that are usual: else a token could be used again in between.</summary>
    [Fact]
    public async Task A_token_that_may_be_older_is_remembered_for_longer()
    {
        await using var provider = await IdentityProvider.StartAsync(s_key);
        await using var node = await LogoutSite.StartAsync(
            provider,
            logouts: o => (o.MaxTokenAge, o.ClockSkew) = (TimeSpan.FromMinutes(30), TimeSpan.FromMinutes(2))
        );
        var engine = node.Site.Services.GetRequiredService<SessionService<Cart>>().Engine;
        var draft = node.Draft(null, "ada");
        draft.Claims["exp"] = (long)draft.Claims["iat"]! + 7200;
        var logout = draft.Write();
        Assert.Equal(HttpStatusCode.OK, (await node.PostAsync(logout)).Status);
        node.Site.Clock.Advance(TimeSpan.FromMinutes(32) - TimeSpan.FromSeconds(1));
        await engine.Sweep(1000, CancellationToken.None);
        Assert.Contains("jti", (await node.PostAsync(logout)).Description, StringComparison.Ordinal);
        node.Site.Clock.Advance(TimeSpan.FromSeconds(1));
        Assert.Contains("iat", (await node.PostAsync(logout)).Description, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_token_of_a_provider_whose_clock_is_ahead_does_its_work_once_as_well()
    {
        await using var provider = await IdentityProvider.StartAsync(s_key);
        await using var node = await LogoutSite.StartAsync(provider, configure: o => o.RotateEvery = null);
        await node.SignInAsync("ada", null);
        var draft = node.Draft(null, "ada");
        draft.Claims["iat"] = (long)draft.Claims["iat"]! + 59;
        draft.Claims["exp"] = (long)draft.Claims["exp"]! + 600;
        var logout = draft.Write();
        Assert.Equal(HttpStatusCode.OK, (await node.PostAsync(logout)).Status);
        var token = await node.SignInAsync("ada", null);
        var engine = node.Site.Services.GetRequiredService<SessionService<Cart>>().Engine;

        // 59 seconds ahead, 5 minutes old, and another minute that the clocks may differ by: so long it is good by its age.
        for (var passed = 0; passed < 418; passed += 38)
        {
            Assert.Contains("jti", (await node.PostAsync(logout)).Description, StringComparison.Ordinal);
            node.Site.Clock.Advance(TimeSpan.FromSeconds(38));
            await engine.Sweep(1000, CancellationToken.None);
        }

        Assert.Contains("jti", (await node.PostAsync(logout)).Description, StringComparison.Ordinal);
        node.Site.Clock.Advance(TimeSpan.FromSeconds(1));
        await engine.Sweep(1000, CancellationToken.None);
        Assert.Contains("iat", (await node.PostAsync(logout)).Description, StringComparison.Ordinal);
        Assert.Equal("ada", await node.WhoAsync(token));
    }

    [Theory]
    [InlineData("application/x-www-form-urlencoded; charset=utf-8")]
    [InlineData("Application/X-WWW-Form-URLEncoded")]
    public async Task A_form_is_one_however_its_type_is_written(string type)
    {
        await using var provider = await IdentityProvider.StartAsync(s_key);
        await using var node = await LogoutSite.StartAsync(provider);
        var token = await node.SignInAsync("ada", "of ada");
        using var form = new FormUrlEncodedContent([new("logout_token", node.Draft("of ada").Write())]);
        form.Headers.ContentType = MediaTypeHeaderValue.Parse(type);
        Assert.Equal(HttpStatusCode.OK, (await node.PostAsync(form)).Status);
        Assert.Null(await node.WhoAsync(token));
    }

    [Fact]
    public async Task What_is_no_form_with_one_token_is_refused()
    {
        await using var provider = await IdentityProvider.StartAsync(s_key);
        await using var node = await LogoutSite.StartAsync(provider);
        var token = node.Draft("of ada").Write();
        using var json = JsonContent.Create(new { logout_token = token });
        using var none = new FormUrlEncodedContent([]);
        using var two = new FormUrlEncodedContent([new("logout_token", token), new("logout_token", token)]);
        using var large = new FormUrlEncodedContent([new("logout_token", token), new("more", new string('a', 20_000))]);
        using var many = Form(token, fields: 20);
        using var empty = new FormUrlEncodedContent([new("logout_token", "")]);
        using var old = new FormUrlEncodedContent([new("logout_token", token)]);
        old.Headers.ContentType = MediaTypeHeaderValue.Parse("application/x-www-form-urlencoded; charset=utf-7");
        using var odd = new FormUrlEncodedContent([new("logout_token", token)]);
        odd.Headers.Remove("Content-Type");
        odd.Headers.TryAddWithoutValidation("Content-Type", "application/x-www-form-urlencoded; =");
        foreach (var content in new HttpContent[] { json, none, two, large, many, empty, old, odd })
            Assert.Equal("invalid_request", (await node.PostAsync(content)).Error);

        using var client = new HttpClient();
        using var got = await client.GetAsync(node.Endpoint);
        Assert.Equal(HttpStatusCode.MethodNotAllowed, got.StatusCode);
    }

    [Fact]
    public async Task A_new_key_of_the_provider_counts_at_once_and_names_of_keys_have_it_asked_no_more_often()
    {
        await using var provider = await IdentityProvider.StartAsync(s_key);
        await using var node = await LogoutSite.StartAsync(provider);
        Assert.Equal(HttpStatusCode.OK, (await node.LogOutAsync("one")).Status);
        Assert.Equal(HttpStatusCode.OK, (await node.LogOutAsync("two")).Status);
        Assert.Equal(1, provider.Reads);

        var old = node.Draft("three").Write();
        provider.Keys = [ProviderKey.Curve("second")];
        Assert.Equal(HttpStatusCode.OK, (await node.LogOutAsync("three")).Status);
        Assert.Equal(2, provider.Reads);
        Assert.Equal("invalid_request", (await node.PostAsync(old)).Error);

        var guess = node.Draft("three");
        guess.Header["kid"] = "a guess";
        guess.Sign = s_stranger.Sign;
        for (var i = 0; i < 5; i++)
            Assert.Equal("invalid_request", (await node.PostAsync(guess.Write())).Error);

        Assert.Equal(2, provider.Reads);
        node.Site.Clock.Advance(TimeSpan.FromSeconds(30));
        for (var i = 0; i < 5; i++)
            Assert.Equal("invalid_request", (await node.PostAsync(guess.Write())).Error);

        Assert.Equal(3, provider.Reads);

        // A key that the provider has taken back is used no longer than KeysFor.
        var before = provider.Keys;
        foreach (var (minutes, error) in new (int, string?)[] { (59, null), (1, "invalid_request") })
        {
            node.Site.Clock.Advance(TimeSpan.FromMinutes(minutes));
            provider.Keys = before;
            var withdrawn = node.Draft("four").Write();
            provider.Keys = [ProviderKey.Curve("third")];
            Assert.Equal(error, (await node.PostAsync(withdrawn)).Error);
        }

        Assert.Equal(HttpStatusCode.OK, (await node.LogOutAsync("four")).Status);
        Assert.Equal(4, provider.Reads);
    }

    /// <summary>A provider with one key need not name it (OpenID Connect Core 10.1), and a name may get another key.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_new_key_without_a_new_name_counts_at_once(bool isNamed)
    {
        await using var provider = await IdentityProvider.StartAsync(ProviderKey.Curve("the one"));
        await using var node = await LogoutSite.StartAsync(provider);

        async Task<string?> LogOutAsync(string session)
        {
            var draft = node.Draft(session);
            if (!isNamed)
                draft.Header.Remove("kid");
            return (await node.PostAsync(draft.Write())).Error;
        }

        Assert.Null(await LogOutAsync("one"));
        node.Site.Clock.Advance(TimeSpan.FromSeconds(30));
        provider.Keys = [ProviderKey.Curve("the one")];
        Assert.Null(await LogOutAsync("two"));
        Assert.Equal(2, provider.Reads);

        // Who guesses has it asked no more often.
        var guess = node.Draft("two");
        guess.Sign = s_stranger.Sign;
        for (var i = 0; i < 5; i++)
            Assert.Equal("invalid_request", (await node.PostAsync(guess.Write())).Error);
        Assert.Equal(2, provider.Reads);
    }

    /// <summary>What is read anew counts as a whole: a session that began under the name of now is ended under it, and none of another name.</summary>
    [Theory]
    [InlineData("the one")]
    [InlineData("another one")]
    public async Task A_provider_with_another_key_and_another_name_is_obeyed_under_that_name(string key)
    {
        await using var provider = await IdentityProvider.StartAsync(ProviderKey.Curve("the one"));
        await using var node = await LogoutSite.StartAsync(provider);
        Assert.Null((await node.LogOutAsync("nobody's")).Error);
        var before = await node.SignInAsync("ada", "of ada");
        node.Site.Clock.Advance(TimeSpan.FromSeconds(30));
        (provider.Issuer, provider.Keys) = ("https://id.example.com", [ProviderKey.Curve(key)]);
        var token = await node.SignInAsync("ada", "of ada");
        Assert.Null((await node.LogOutAsync("of ada")).Error);
        Assert.Null(await node.WhoAsync(token));
        Assert.Equal("ada", await node.WhoAsync(before));
        Assert.Equal(2, provider.Reads);
    }

    /// <summary>Else all but the first are refused, and their users stay signed in.</summary>
    [Theory]
    [InlineData("the one")]
    [InlineData("another one")]
    public async Task Logouts_at_once_after_a_change_of_keys_count_all_of_them(string name)
    {
        await using var provider = await IdentityProvider.StartAsync(ProviderKey.Curve("the one"));
        await using var node = await LogoutSite.StartAsync(provider);
        Assert.Null((await node.LogOutAsync("before")).Error);
        node.Site.Clock.Advance(TimeSpan.FromSeconds(30));
        provider.Keys = [ProviderKey.Curve(name)];
        provider.Delay = TimeSpan.FromMilliseconds(300);
        var answers = await Task.WhenAll(
            new[] { "one", "two", "three" }.Select(session => node.PostAsync(node.Draft(session).Write()))
        );
        Assert.All(answers, answer => Assert.Null(answer.Error));
        Assert.Equal(2, provider.Reads);
    }

    /// <summary>Of two logouts that the former key refuses at once one has the keys read, and the other may come when they are there.</summary>
    [Fact]
    public async Task Who_comes_second_to_new_keys_gets_them_as_well()
    {
        await using var provider = await IdentityProvider.StartAsync(ProviderKey.Curve("the one"));
        var clock = new FakeTimeProvider(new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero));
        var keys = new Keys(provider, clock);
        var before = (await keys.ForAsync("the one"))!;
        clock.Advance(TimeSpan.FromSeconds(30));
        provider.Keys = [ProviderKey.Curve("the one")];
        var first = await keys.AnewAsync(before);
        Assert.NotNull(first);
        Assert.NotSame(before, first);
        Assert.Same(first, await keys.AnewAsync(before));

        // Who was refused with these is told that there are no others.
        Assert.Null(await keys.AnewAsync(first!));
        Assert.Equal(2, provider.Reads);
    }

    /// <summary>The library's keys of a provider: no request waits between what its methods do, so a test of that calls them itself.</summary>
    private sealed class Keys(IdentityProvider provider, TimeProvider clock)
    {
        private static readonly Type s_type = typeof(BackChannelLogoutOptions).Assembly.GetType(
            "Session.OpenIdConnect.ProviderKeys",
            throwOnError: true
        )!;

        private readonly object _keys = Activator.CreateInstance(
            s_type,
            new BackChannelLogoutOptions { Authority = provider.Issuer, RequireHttpsMetadata = false },
            clock
        )!;

        public Task<object?> ForAsync(string keyId) => CallAsync("ForAsync", keyId);

        public Task<object?> AnewAsync(object tried) => CallAsync("AnewAsync", tried);

        private async Task<object?> CallAsync(string name, object argument)
        {
            var call = (Task)s_type.GetMethod(name)!.Invoke(_keys, [argument, CancellationToken.None])!;
            await call;
            return call.GetType().GetProperty("Result")!.GetValue(call);
        }
    }

    /// <summary>Anybody can send what has the keys looked up: a provider that is slow to answer holds no logout up longer than that takes.</summary>
    [Fact]
    public async Task Who_comes_while_the_keys_are_read_waits_for_that_reading_alone()
    {
        await using var provider = await IdentityProvider.StartAsync(s_key);
        await using var node = await LogoutSite.StartAsync(provider);
        var token = await node.SignInAsync("ada", "of ada");
        provider.Delay = TimeSpan.FromSeconds(1);
        var guess = node.Draft("of ada");
        guess.Sign = s_stranger.Sign;
        var junk = Enumerable.Range(0, 12).Select(_ => node.PostAsync(guess.Write())).ToList();
        var began = Stopwatch.GetTimestamp();
        Assert.Equal(HttpStatusCode.OK, (await node.LogOutAsync("of ada")).Status);
        Assert.InRange(Stopwatch.GetElapsedTime(began), TimeSpan.Zero, TimeSpan.FromSeconds(6));
        foreach (var answer in await Task.WhenAll(junk))
            Assert.Equal("invalid_request", answer.Error);

        Assert.Null(await node.WhoAsync(token));
        Assert.Equal(1, provider.Reads);
    }

    /// <summary>One of those who wait hangs up: the others have their answer.</summary>
    [Fact]
    public async Task Who_gives_up_takes_the_keys_from_nobody()
    {
        await using var provider = await IdentityProvider.StartAsync(s_key);
        await using var node = await LogoutSite.StartAsync(provider);
        provider.Delay = TimeSpan.FromSeconds(1);
        using var client = new HttpClient();
        using var form = new FormUrlEncodedContent([new("logout_token", node.Draft("one").Write())]);
        using var gone = new CancellationTokenSource(TimeSpan.FromMilliseconds(300));
        var first = client.PostAsync(node.Endpoint, form, gone.Token);
        var second = node.LogOutAsync("two");
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => first);
        Assert.Equal(HttpStatusCode.OK, (await second).Status);
        Assert.Equal(1, provider.Reads);
    }

    [Theory]
    [InlineData("an answer")]
    [InlineData("a key")]
    [InlineData("a name")]
    public async Task While_the_keys_cannot_be_read_the_provider_is_told_so_and_nothing_ends(string lacks)
    {
        await using var provider = await IdentityProvider.StartAsync(s_key);
        await using var node = await LogoutSite.StartAsync(provider);
        var token = await node.SignInAsync("ada", "of ada");
        var logout = node.Draft("of ada").Write();

        // It answers nothing, or has no key to show, or does not say who it is.
        var name = provider.Issuer;
        provider.IsDown = lacks == "an answer";
        provider.Keys = lacks == "a key" ? [] : [s_key];
        provider.Issuer = lacks == "a name" ? "" : name;
        var failed = await node.PostAsync(logout);
        Assert.Equal((HttpStatusCode.BadRequest, "temporarily_unavailable"), (failed.Status, failed.Error));
        Assert.Equal("ada", await node.WhoAsync(token));
        (provider.IsDown, provider.Keys, provider.Issuer) = (false, [s_key], name);
        Assert.Equal(HttpStatusCode.OK, (await node.LogOutAsync("of ada")).Status);
        Assert.Null(await node.WhoAsync(token));
    }

    /// <summary>One of them may have been stolen since, and taken back: what keeps the new ones from being read must not keep the old ones in use.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Keys_that_are_too_old_count_no_more_while_no_others_can_be_read(bool isDown)
    {
        await using var provider = await IdentityProvider.StartAsync(s_key);
        await using var node = await LogoutSite.StartAsync(provider);
        Assert.Equal(HttpStatusCode.OK, (await node.LogOutAsync("one")).Status);
        void Ail() => (provider.IsDown, provider.Keys) = (isDown, isDown ? [s_key] : []);
        void Mend() => (provider.IsDown, provider.Keys) = (false, [s_key]);

        // Within KeysFor it is not asked.
        var second = node.Draft("two").Write();
        Ail();
        Assert.Equal(HttpStatusCode.OK, (await node.PostAsync(second)).Status);
        Mend();
        node.Site.Clock.Advance(TimeSpan.FromHours(1));
        var token = await node.SignInAsync("ada", "of ada");
        var logout = node.Draft("of ada").Write();
        Ail();
        for (var i = 0; i < 2; i++)
            Assert.Equal("temporarily_unavailable", (await node.PostAsync(logout)).Error);

        Assert.Equal("ada", await node.WhoAsync(token));
        Mend();
        Assert.Equal(HttpStatusCode.OK, (await node.PostAsync(logout)).Status);
        Assert.Null(await node.WhoAsync(token));
    }

    [Theory]
    [InlineData("", "shop", "Authority")]
    [InlineData("id.example.com", "shop", "Authority")]
    [InlineData("http://id.example.com", "shop", "https://")]
    [InlineData("https://id.example.com", "", "Audience")]
    public void Settings_that_make_no_sense_stop_the_program_with_what_to_change(
        string authority,
        string audience,
        string word
    )
    {
        var app = WebApplication.CreateSlimBuilder().Build();
        void Configure(BackChannelLogoutOptions o) => (o.Authority, o.Audience) = (authority, audience);
        var error = Assert.Throws<ArgumentException>(() => app.MapBackChannelLogout<Cart>("/out", Configure));
        Assert.Contains(word, error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0, 1, 0, false)]
    [InlineData(-1, 1, 0, false)]
    [InlineData(1, 0, 0, false)]
    [InlineData(1, -1, 0, false)]
    [InlineData(1, 1, -1, false)]
    [InlineData(1, 1, 0, true)]
    public void Times_are_longer_than_none_and_clocks_may_agree(long age, long keys, long skew, bool isRight)
    {
        var app = WebApplication.CreateSlimBuilder().Build();
        void Configure(BackChannelLogoutOptions o)
        {
            (o.Authority, o.Audience) = ("https://id.example.com", "shop");
            (o.MaxTokenAge, o.KeysFor) = (TimeSpan.FromTicks(age), TimeSpan.FromTicks(keys));
            o.ClockSkew = TimeSpan.FromTicks(skew);
        }

        var error = Record.Exception(() => app.MapBackChannelLogout<Cart>("/out", Configure));
        if (isRight)
            Assert.Null(error);
        else
            Assert.Contains("MaxTokenAge", Assert.IsType<ArgumentException>(error).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Whose_client_it_is_has_to_be_said()
    {
        var app = WebApplication.CreateSlimBuilder().Build();
        var error = Assert.Throws<ArgumentException>(() =>
            app.MapBackChannelLogout<Cart>("/out", o => o.Authority = "https://id.example.com")
        );
        Assert.Contains("Audience", error.Message, StringComparison.Ordinal);
    }

    /// <summary>Its length is not said beforehand: it is read no further than a token can be long.</summary>
    [Fact]
    public async Task A_body_without_a_length_is_not_read_for_ever()
    {
        await using var provider = await IdentityProvider.StartAsync(s_key);
        await using var node = await LogoutSite.StartAsync(provider);
        var token = await node.SignInAsync("ada", "of ada");
        var text = $"logout_token={node.Draft("of ada").Write()}&more={new string('a', 200_000)}";
        using var endless = new Unmeasured(Encoding.UTF8.GetBytes(text));
        endless.Headers.ContentType = new MediaTypeHeaderValue("application/x-www-form-urlencoded");
        Assert.Equal("invalid_request", (await node.PostAsync(endless)).Error);
        Assert.Equal("ada", await node.WhoAsync(token));
    }

    private sealed class Unmeasured(byte[] bytes) : HttpContent
    {
        protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) =>
            stream.WriteAsync(bytes).AsTask();

        protected override bool TryComputeLength(out long length)
        {
            length = 0;
            return false;
        }
    }
}
