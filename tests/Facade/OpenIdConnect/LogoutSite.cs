using System.Net;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Session.CSharp;
using Session.Engine;
using Session.OpenIdConnect;
using Xunit;

namespace Facade.OpenIdConnect;

/// <summary>A node of an application that obeys a provider's logouts.</summary>
internal sealed class LogoutSite : IAsyncDisposable
{
    private readonly HttpClient _client = new();

    private LogoutSite(Site site, IdentityProvider provider) => (Site, Provider) = (site, provider);

    public Site Site { get; }
    public IdentityProvider Provider { get; }
    public Uri Endpoint => new(Site.Address, "/signout-backchannel");

    public static async Task<LogoutSite> StartAsync(
        IdentityProvider provider,
        ISessionStore? store = null,
        Action<SessionOptions<Cart>>? configure = null,
        Action<WebApplication>? before = null,
        Action<IServiceCollection>? add = null,
        Action<BackChannelLogoutOptions>? logouts = null
    )
    {
        var kept = store ?? new MemoryStore();
        var site = await Site.StartAsync(
            configure,
            store: () => kept,
            map: app =>
            {
                before?.Invoke(app);
                app.MapBackChannelLogout<Cart>(
                    "/signout-backchannel",
                    o =>
                    {
                        o.Authority = provider.Issuer;
                        o.Audience = IdentityProvider.Client;
                        o.RequireHttpsMetadata = false;
                        logouts?.Invoke(o);
                    }
                );
            },
            add: add
        );
        return new LogoutSite(site, provider);
    }

    /// <summary>A logout token as it has to be.</summary>
    public Draft Draft(string? sid, string? sub = null) => Provider.Draft(Site.Clock.GetUtcNow(), sid, sub);

    public Task<LogoutAnswer> LogOutAsync(string? sid, string? sub = null) => PostAsync(Draft(sid, sub).Write());

    public async Task<LogoutAnswer> PostAsync(string token)
    {
        using var form = new FormUrlEncodedContent([new("logout_token", token)]);
        return await PostAsync(form);
    }

    public async Task<LogoutAnswer> PostAsync(HttpContent content)
    {
        using var answer = await _client.PostAsync(Endpoint, content);
        Assert.True(answer.Headers.CacheControl is { NoStore: true }, "no cache keeps it");
        Assert.Equal("no-cache", answer.Headers.Pragma.ToString());
        var text = await answer.Content.ReadAsStringAsync();
        if (answer.StatusCode == HttpStatusCode.OK)
        {
            Assert.Empty(text);
            return new LogoutAnswer(answer.StatusCode, null, "");
        }

        Assert.Equal("application/json", answer.Content.Headers.ContentType?.MediaType);
        using var json = JsonDocument.Parse(text);
        return new LogoutAnswer(
            answer.StatusCode,
            json.RootElement.GetProperty("error").GetString(),
            json.RootElement.GetProperty("error_description").GetString()!
        );
    }

    /// <summary>The token of somebody who has come from the provider.</summary>
    public async Task<string> SignInAsync(string subject, string? sid, string? issuer = null, string? token = null) =>
        (
            await Site.WithAsync(
                session => session.SignInAsync(subject, new Cart("tea"), external: (issuer ?? Provider.Issuer, sid)),
                token
            )
        ).Token!;

    /// <summary>Whose session this token opens; null: nobody's.</summary>
    public async Task<string?> WhoAsync(string token)
    {
        string? subject = null;
        await Site.WithAsync(
            session =>
            {
                subject = session.Subject;
                return Task.CompletedTask;
            },
            token
        );
        return subject;
    }

    public async ValueTask DisposeAsync()
    {
        _client.Dispose();
        await Site.DisposeAsync();
    }
}

internal sealed record LogoutAnswer(HttpStatusCode Status, string? Error, string Description);
