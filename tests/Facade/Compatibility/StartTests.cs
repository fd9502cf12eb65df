using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.Caching.Distributed;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Session.AspNetCore;
using Session.CSharp;
using Session.Engine;
using Xunit;
using static Facade.Compatibility.Sessions;

namespace Facade.Compatibility;

/// <summary>What is refused at start, with what to change; and what the framework's options come to.</summary>
public class StartTests
{
    private static WebApplicationBuilder NewBuilder()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        builder.Logging.ClearProviders();
        return builder;
    }

    [Theory]
    [InlineData(true, true)]
    [InlineData(false, true)]
    [InlineData(false, false)]
    public async Task Both_middlewares_are_refused_at_start(bool oursFirst, bool hasOurs)
    {
        var builder = NewBuilder();
        builder.Services.AddDistributedMemoryCache();
        if (!oursFirst)
            builder.Services.AddSession();

        builder.Services.AddSessionCompatibility().UseMemory();
        if (oursFirst)
            builder.Services.AddSession();

        await using var app = builder.Build();
        app.UseSession();
        if (hasOurs)
            app.UseSessionCompatibility();

        var refusal = await Assert.ThrowsAsync<InvalidOperationException>(() => app.StartAsync());
        Assert.Contains("call app.UseSessionCompatibility() instead", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_extension_of_the_cookie_that_it_cannot_have_is_refused_at_start()
    {
        var builder = NewBuilder();
        builder.Services.AddSessionCompatibility(o => o.Cookie.Extensions.Add("Priority=High")).UseMemory();
        await using var app = builder.Build();
        var refusal = await Assert.ThrowsAsync<OptionsValidationException>(() =>
        {
            app.UseSessionCompatibility();
            return app.StartAsync();
        });
        Assert.Contains("Cookie.Extensions has 'Priority=High'", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Another_session_on_the_feature_is_refused_with_its_name()
    {
        var builder = NewBuilder();
        builder.Services.AddSessionCompatibility().UseMemory();
        await using var app = builder.Build();
        InvalidOperationException? refusal = null;
        app.Use(
            async (context, next) =>
            {
                context.Features.Set<ISessionFeature>(new Another());
                try
                {
                    await next(context);
                }
                catch (InvalidOperationException error)
                {
                    refusal = error;
                }
            }
        );
        app.UseSessionCompatibility();
        await app.StartAsync();
        using var client = new HttpClient();
        await client.GetAsync(new Uri(app.Urls.First()));
        Assert.Contains(nameof(Another), refusal?.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Without_its_services_the_middleware_says_what_to_call()
    {
        var app = NewBuilder().Build();
        var refusal = Assert.Throws<InvalidOperationException>(() => app.UseSessionCompatibility());
        Assert.Contains("services.AddSessionCompatibility()", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Adoption_is_for_these_sessions_and_needs_the_cache()
    {
        var services = NewBuilder().Services;
        var wrong = Assert.Throws<InvalidOperationException>(() =>
            services.AddSession<Cart>().AdoptFrom<IDistributedCache>()
        );
        Assert.Contains("AddSessionCompatibility()", wrong.Message, StringComparison.Ordinal);

        var builder = NewBuilder();
        builder.Services.AddSessionCompatibility().UseMemory().AdoptFrom<IDistributedCache>();
        var app = builder.Build();
        var missing = Assert.Throws<InvalidOperationException>(() => app.UseSessionCompatibility());
        Assert.Contains("AddStackExchangeRedisCache", missing.Message, StringComparison.Ordinal);
    }

    private static async Task<SessionSettings> SettingsAsync(
        Action<SessionOptions>? configure = null,
        Action<SessionOptions<SessionValues>>? more = null
    )
    {
        await using var site = await CompatSite.StartAsync(Ours, configure, more: more);
        return site.Services.GetRequiredService<SessionService<SessionValues>>().Settings;
    }

    [Fact]
    public async Task What_is_not_said_is_secure_and_as_silent_as_before()
    {
        var settings = await SettingsAsync();
        Assert.Equal("__Host-session", settings.CookieName?.Value);
        Assert.Equal(CookieSecurePolicy.Always, settings.SecurePolicy);
        Assert.Equal(SameSiteMode.Lax, settings.SameSite);
        Assert.Equal(TimeSpan.FromMinutes(20), settings.IdleTimeout);
        Assert.Equal(TimeSpan.FromMinutes(20), settings.ConfirmTimeout?.Value);
        Assert.Equal(TimeSpan.FromHours(8), settings.AbsoluteTimeout);
        Assert.Equal(TimeSpan.FromSeconds(5), settings.RequestTimeout);
        Assert.Equal(1_048_576, settings.MaxDataBytes);
        Assert.Null(settings.CookieMaxAge);
        Assert.Null(settings.CookieDomain);
    }

    [Fact]
    public async Task What_the_application_has_said_to_the_framework_counts()
    {
        var settings = await SettingsAsync(o =>
        {
            o.Cookie.Name = ".Shop";
            o.Cookie.Path = "/shop";
            o.Cookie.Domain = "example.com";
            o.Cookie.HttpOnly = true;
            o.Cookie.IsEssential = true;
            o.Cookie.SameSite = SameSiteMode.Strict;
            o.Cookie.MaxAge = TimeSpan.FromDays(30);
            o.IdleTimeout = TimeSpan.FromDays(2);
            o.IOTimeout = TimeSpan.FromSeconds(2);
        });
        Assert.Equal(".Shop", settings.CookieName?.Value);
        Assert.Equal("/shop", settings.CookiePath);
        Assert.Equal("example.com", settings.CookieDomain?.Value);
        Assert.Equal(SameSiteMode.Strict, settings.SameSite);
        Assert.Equal(TimeSpan.FromDays(30), settings.CookieMaxAge?.Value);
        Assert.Equal(TimeSpan.FromDays(2), settings.IdleTimeout);
        Assert.Equal(TimeSpan.FromDays(30), settings.AbsoluteTimeout);
        Assert.Equal(TimeSpan.FromSeconds(2), settings.RequestTimeout);

        // Nobody is waited for longer than a request may last here.
        foreach (var wait in new[] { Timeout.InfiniteTimeSpan, TimeSpan.FromMinutes(10), TimeSpan.FromHours(1) })
            Assert.Equal(TimeSpan.FromMinutes(10), (await SettingsAsync(o => o.IOTimeout = wait)).RequestTimeout);

        var plain = await SettingsAsync(o => o.Cookie.SecurePolicy = CookieSecurePolicy.SameAsRequest);
        Assert.Equal(("session", CookieSecurePolicy.SameAsRequest), (plain.CookieName?.Value, plain.SecurePolicy));
        foreach (
            var configure in new Action<SessionOptions>[]
            {
                o => o.Cookie.Path = "/shop",
                o => o.Cookie.Domain = "example.com",
            }
        )
            Assert.Equal("__Secure-session", (await SettingsAsync(configure)).CookieName?.Value);
    }

    /// <summary>Whoever sets one of them believes that it counts. The framework may get more of them.</summary>
    private static readonly (string Name, Action<SessionOptions> Say)[] Said =
    [
        ("IdleTimeout", it => it.IdleTimeout = TimeSpan.FromMinutes(7)),
        ("IOTimeout", it => it.IOTimeout = TimeSpan.FromSeconds(7)),
        ("Cookie.Name", it => it.Cookie.Name = ".Own"),
        ("Cookie.Path", it => it.Cookie.Path = "/shop"),
        ("Cookie.Domain", it => it.Cookie.Domain = "example.com"),
        ("Cookie.HttpOnly", it => it.Cookie.HttpOnly = false),
        ("Cookie.SameSite", it => it.Cookie.SameSite = SameSiteMode.Strict),
        ("Cookie.SecurePolicy", it => it.Cookie.SecurePolicy = CookieSecurePolicy.SameAsRequest),
        ("Cookie.Expiration", it => it.Cookie.Expiration = TimeSpan.FromDays(1)),
        ("Cookie.MaxAge", it => it.Cookie.MaxAge = TimeSpan.FromDays(1)),
        ("Cookie.IsEssential", it => it.Cookie.IsEssential = true),
        ("Cookie.Extensions", it => it.Cookie.Extensions.Add("Partitioned")),
    ];

    /// <summary>What these options come to, or why they are refused.</summary>
    private static async Task<string> HeardAsync(Action<SessionOptions>? say = null)
    {
        try
        {
            await using var site = await CompatSite.StartAsync(Ours, say);
            var settings = site.Services.GetRequiredService<SessionService<SessionValues>>().Settings;
            var options = site.Services.GetRequiredService<IOptions<SessionOptions<SessionValues>>>().Value;
            return string.Join(
                '|',
                settings.CookieName?.Value,
                settings.CookiePath,
                settings.CookieDomain?.Value,
                settings.SameSite,
                settings.SecurePolicy,
                settings.CookieMaxAge?.Value,
                settings.Partitioned,
                settings.IdleTimeout,
                settings.RequestTimeout,
                options.Cookie.IsEssential
            );
        }
        catch (Exception refusal) when (refusal is OptionsValidationException or InvalidOperationException)
        {
            return refusal.Message;
        }
    }

    [Fact]
    public async Task Each_setting_of_the_framework_counts_or_is_refused()
    {
        var ofCookie = typeof(CookieBuilder).GetProperties().Select(it => "Cookie." + it.Name);
        var others = typeof(SessionOptions).GetProperties().Select(it => it.Name).Where(it => it != "Cookie");
        Assert.Equal(ofCookie.Concat(others).Order(), Said.Select(it => it.Name).Order());
        var unsaid = await HeardAsync();
        foreach (var (name, say) in Said)
            Assert.NotEqual((name, unsaid), (name, await HeardAsync(say)));
    }

    [Fact]
    public async Task What_only_this_library_has_outweighs_it()
    {
        var settings = await SettingsAsync(
            o => o.IdleTimeout = TimeSpan.FromHours(1),
            more =>
            {
                more.AbsoluteTimeout = TimeSpan.FromHours(2);
                more.RotateEvery = null;
                more.Cookie.Name = "__Host-mine";
            }
        );
        Assert.Equal(TimeSpan.FromHours(2), settings.AbsoluteTimeout);
        Assert.Null(settings.RotateEvery);
        Assert.Equal("__Host-mine", settings.CookieName?.Value);
    }

    [Fact]
    public async Task A_session_reaches_its_absolute_end_however_busy_it_is()
    {
        await using var site = await CompatSite.StartAsync(Ours, o => o.IdleTimeout = TimeSpan.FromHours(6));
        var ann = site.NewVisitor();
        await ann.WithAsync(session => session.SetString("a", "1"));
        site.Clock.Advance(TimeSpan.FromHours(5));
        Assert.Equal("1", await ann.ReadAsync("a"));
        site.Clock.Advance(TimeSpan.FromHours(3));
        Assert.Null(await ann.ReadAsync("a"));
    }

    [Fact]
    public async Task A_cookie_that_scripts_may_read_is_refused()
    {
        var refusal = await Assert.ThrowsAsync<OptionsValidationException>(() =>
            SettingsAsync(o => o.Cookie.HttpOnly = false)
        );
        Assert.Contains("leave Cookie.HttpOnly true", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task It_lives_beside_sessions_of_other_data()
    {
        await using var site = await CompatSite.StartAsync(
            Ours,
            add: services => services.AddSession<Cart>().UseMemory(),
            before: app => app.UseSession<Cart>()
        );
        var ann = site.NewVisitor();
        var answer = await ann.InAsync(async context =>
        {
            context.Session.SetString("a", "1");
            await (await context.GetSessionAsync<Cart>()).CreateAsync(new Cart("tea"));
        });
        Assert.Equal(HttpStatusCode.OK, answer.Status);
        Assert.Equal(["__Host-session", "__Host-sid"], ann.Jar.Keys.Order());
        Assert.Equal("1", await ann.ReadAsync("a"));
    }

    private sealed class Another : ISessionFeature
    {
        public ISession Session { get; set; } = null!;
    }
}
