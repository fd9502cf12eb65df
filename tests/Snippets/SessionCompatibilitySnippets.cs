using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Caching.Distributed;
using Microsoft.Extensions.DependencyInjection;
using Session.CSharp;

namespace Snippets;

/// <summary>What docs/FROM-HTTPCONTEXT-SESSION.md shows, word by word.</summary>
public static class SessionCompatibilitySnippets
{
    public static void TwoLines(WebApplicationBuilder builder, WebApplication app)
    {
        builder
            .Services.AddSessionCompatibility(o => o.IdleTimeout = TimeSpan.FromMinutes(30))
            .UseRedis("localhost:6379");
        // …
        app.UseSessionCompatibility();
    }

    public static void Adopting(WebApplicationBuilder builder)
    {
        builder
            .Services.AddSessionCompatibility(o => o.Cookie.Name = ".Shop.Session")
            .UseRedis("localhost:6379")
            .AdoptFrom<IDistributedCache>();
    }

    public static void More(WebApplicationBuilder builder)
    {
        builder
            .Services.AddSessionCompatibility(
                o => o.IdleTimeout = TimeSpan.FromHours(1),
                more =>
                {
                    more.AbsoluteTimeout = TimeSpan.FromDays(2);
                    more.MaxDataBytes = 4_194_304;
                }
            )
            .UseSqlite("sessions.db");
    }

    public static async Task SignInAsync(HttpContext context, string user)
    {
        // After the password was checked: a new token, the one of before opens nothing any more.
        var session = await context.GetSessionAsync<SessionValues>();
        await session.SignInAsync(user, session.Data ?? SessionValues.Empty);
    }

    public static async Task SignOutAsync(HttpContext context)
    {
        var session = await context.GetSessionAsync<SessionValues>();
        await session.DestroyAsync();
    }
}
