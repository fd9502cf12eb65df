using System.Net;
using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.DataProtection;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Mvc.ApplicationParts;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Pages;
using Session.AspNetCore;
using Session.CSharp;
using Xunit;

namespace Facade.Guides;

/// <summary>The snippets of docs/SETTINGS.md, and that they do what it says.</summary>
public class SettingsGuide
{
    private sealed record Preferences(string Theme);

    private static void FromConfiguration(WebApplicationBuilder builder)
    {
        builder.Services.Configure<SessionOptions<Cart>>(builder.Configuration.GetSection("Session"));
    }

    private static void TwoKinds(WebApplicationBuilder builder)
    {
        builder.Services.AddSession<Cart>().UseSqlite("carts.db");
        builder
            .Services.AddSession<Preferences>(o =>
            {
                o.Cookie.Name = "__Host-preferences";
                o.IdleTimeout = o.AbsoluteTimeout = TimeSpan.FromDays(30);
                o.Cookie.MaxAge = o.AbsoluteTimeout;
            })
            .UseSqlite("preferences.db");
    }

    private static void TwoKinds(WebApplication app)
    {
        app.UseSession<Cart>();
        app.UseSession<Preferences>();
    }

    private static WebApplicationBuilder Builder(string? folder = null)
    {
        var builder = WebApplication.CreateSlimBuilder(
            new Microsoft.AspNetCore.Builder.WebApplicationOptions { ContentRootPath = folder }
        );
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        builder.Logging.ClearProviders();
        return builder;
    }

    /// <summary>The file that the page shows.</summary>
    private static string Shown()
    {
        var page = File.ReadAllText(Repository.Under("docs", "SETTINGS.md"));
        return page.Split("```json")[1].Split("```")[0];
    }

    private static WebApplicationBuilder Configured(string json)
    {
        var builder = Builder();
        builder.Configuration.AddJsonStream(new MemoryStream(Encoding.UTF8.GetBytes(json)));
        return builder;
    }

    private static SessionSettings SettingsOf(WebApplicationBuilder builder)
    {
        using var provider = builder.Services.BuildServiceProvider();
        return provider.GetRequiredService<SessionService<Cart>>().Settings;
    }

    [Fact]
    public void Settings_come_from_configuration()
    {
        var builder = Configured(Shown());
        builder.Services.AddSession<Cart>().UseMemory();
        FromConfiguration(builder);
        var settings = SettingsOf(builder);
        Assert.Equal(TimeSpan.FromMinutes(20), settings.IdleTimeout);
        Assert.Equal("__Host-shop", settings.CookieName?.Value);
        Assert.Equal(["https://app.example.com"], settings.TrustedOrigins);

        // What the file does not name is as it was.
        var others = SessionSettingsModule.defaults;
        Assert.Equal(others.AbsoluteTimeout, settings.AbsoluteTimeout);
        Assert.Equal(others.ConfirmTimeout, settings.ConfirmTimeout);
        Assert.Equal(others.RotateEvery, settings.RotateEvery);
        Assert.Equal((others.SameSite, others.SecurePolicy), (settings.SameSite, settings.SecurePolicy));
        Assert.Equal((others.HttpOnly, others.CookiePath), (settings.HttpOnly, settings.CookiePath));
        Assert.Equal(others.MaxSessionsPerSubject, settings.MaxSessionsPerSubject);
        Assert.Equal((others.ServerKey, others.HeaderName), (settings.ServerKey, settings.HeaderName));
        Assert.Empty(settings.Upcasters);
    }

    [Fact]
    public void Of_configuration_and_code_the_later_has_the_last_word()
    {
        static void InCode(WebApplicationBuilder builder) =>
            builder.Services.AddSession<Cart>(o => o.IdleTimeout = TimeSpan.FromMinutes(10)).UseMemory();

        var first = Configured(Shown());
        FromConfiguration(first);
        InCode(first);
        Assert.Equal(TimeSpan.FromMinutes(10), SettingsOf(first).IdleTimeout);

        var last = Configured(Shown());
        InCode(last);
        FromConfiguration(last);
        Assert.Equal(TimeSpan.FromMinutes(20), SettingsOf(last).IdleTimeout);
    }

    [Fact]
    public async Task A_name_that_is_none_stops_the_program_where_that_is_asked_for()
    {
        const string Misspelt = """{ "Session": { "IdelTimeout": "00:20:00" } }""";
        var silent = Configured(Misspelt);
        silent.Services.AddSession<Cart>().UseMemory();
        FromConfiguration(silent);
        Assert.Equal(SessionSettingsModule.defaults.IdleTimeout, SettingsOf(silent).IdleTimeout);

        var strict = Configured(Misspelt);
        strict.Services.AddSession<Cart>().UseMemory();
        strict.Services.Configure<SessionOptions<Cart>>(
            strict.Configuration.GetSection("Session"),
            o => o.ErrorOnUnknownConfiguration = true
        );
        await using var app = strict.Build();
        app.UseRouting();
        var error = await Assert.ThrowsAsync<InvalidOperationException>(() => app.StartAsync());
        Assert.Contains("IdelTimeout", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_controller_and_a_page_take_the_session_as_a_parameter()
    {
        await using var site = await EdgeSite.StartAsync(
            app =>
            {
                app.UseSession<Cart>();
                app.UseSession<Basket>();
                app.MapPost("/begin", (Session<Cart> session) => session.UpdateAsync(_ => new Cart("tea")));
                app.MapPost("/login", (Session<Cart> session) => session.SignInAsync("ada", new Cart("tea")));
                app.MapGet("/basket", (Session<Basket> session) => session.Data?.Item ?? "nothing");
                app.MapControllers();
                app.MapRazorPages();
            },
            services =>
            {
                services.AddSession<Basket>(o => o.Cookie.Name = "__Host-basket").UseMemory();
                services
                    .AddRazorPages()
                    .ConfigureApplicationPartManager(parts =>
                    {
                        parts.ApplicationParts.Add(new AssemblyPart(typeof(CartController).Assembly));
                        parts.ApplicationParts.Add(new CompiledRazorAssemblyPart(typeof(Basket).Assembly));
                    });
                services.AddDataProtection().UseEphemeralDataProtectionProvider();
            }
        );
        Task<Answer> AddAsync(string token) =>
            site.SendAsync("POST", "/shop/cart/milk", ("Cookie", "__Host-sid=" + token));
        Assert.Equal(HttpStatusCode.Unauthorized, (await site.SendAsync("POST", "/shop/cart/milk")).Status);
        var anonymous = (await site.SendAsync("POST", "/begin")).Token;
        Assert.Equal(HttpStatusCode.Unauthorized, (await AddAsync(anonymous)).Status);
        var ada = (await site.SendAsync("POST", "/login")).Token;
        var added = await AddAsync(ada);
        Assert.Equal((HttpStatusCode.Redirect, "/shop/cart"), (added.Status, added["Location"]));
        Assert.Equal("milk", (await site.GetAsync("/shop/cart", ada)).Body);
        Assert.Equal("nothing", (await site.GetAsync("/shop/cart")).Body);

        var put = await site.SendAsync("POST", "/pages/basket?item=bread");
        Assert.Equal(HttpStatusCode.NoContent, put.Status);
        var basket = await site.SendAsync("GET", "/basket", ("Cookie", "__Host-basket=" + put.Token));
        Assert.Equal("bread", basket.Body);
    }

    [Fact]
    public async Task Two_kinds_of_sessions_have_two_cookies_and_two_places()
    {
        var folder = Directory.CreateTempSubdirectory();
        try
        {
            var builder = Builder(folder.FullName);
            TwoKinds(builder);
            await using var app = builder.Build();
            TwoKinds(app);
            app.MapPost("/cart", (Session<Cart> session) => session.UpdateAsync(_ => new Cart("tea")));
            app.MapPost("/theme", (Session<Preferences> session) => session.UpdateAsync(_ => new Preferences("dark")));
            app.MapPost("/logout", (Session<Cart> session) => session.DestroyAsync());
            app.MapGet(
                "/",
                (Session<Cart> cart, Session<Preferences> preferences) => $"{cart.Data?.Item} {preferences.Data?.Theme}"
            );
            await app.StartAsync();
            Assert.True(File.Exists(Path.Combine(folder.FullName, "carts.db")));
            Assert.True(File.Exists(Path.Combine(folder.FullName, "preferences.db")));

            using var client = new HttpClient(new SocketsHttpHandler { UseCookies = false });
            async Task<(string Body, string Cookie)> SendAsync(HttpMethod verb, string path, string cookies = "")
            {
                using var request = new HttpRequestMessage(verb, app.Urls.First() + path);
                request.Headers.TryAddWithoutValidation("Cookie", cookies);
                using var response = await client.SendAsync(request);
                Assert.Equal(HttpStatusCode.OK, response.StatusCode);
                var set = response.Headers.TryGetValues("Set-Cookie", out var lines) ? lines.First() : "";
                return (await response.Content.ReadAsStringAsync(), set);
            }

            var cart = (await SendAsync(HttpMethod.Post, "/cart")).Cookie;
            var theme = (await SendAsync(HttpMethod.Post, "/theme")).Cookie;
            Assert.StartsWith("__Host-sid=", cart, StringComparison.Ordinal);
            Assert.DoesNotContain("max-age", cart, StringComparison.OrdinalIgnoreCase);
            Assert.StartsWith("__Host-preferences=", theme, StringComparison.Ordinal);
            Assert.Contains("max-age=2592000", theme, StringComparison.OrdinalIgnoreCase);

            var both = cart.Split(';')[0] + "; " + theme.Split(';')[0];
            Assert.Equal("tea dark", (await SendAsync(HttpMethod.Get, "/", both)).Body);
            await SendAsync(HttpMethod.Post, "/logout", both);
            Assert.Equal(" dark", (await SendAsync(HttpMethod.Get, "/", both)).Body);
        }
        finally
        {
            folder.Delete(true);
        }
    }

    [Fact]
    public async Task Without_names_of_their_own_two_kinds_do_not_start()
    {
        var builder = Builder();
        builder.Services.AddSession<Cart>().UseMemory();
        builder.Services.AddSession<Preferences>().UseMemory();
        await using var app = builder.Build();
        var error = await Assert.ThrowsAsync<OptionsValidationException>(() => app.StartAsync());
        Assert.Contains("the same cookie name", error.Message, StringComparison.Ordinal);
    }
}
