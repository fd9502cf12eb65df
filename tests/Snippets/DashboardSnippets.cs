using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Session.CSharp;

namespace Snippets;

/// <summary>What docs/DASHBOARD.md shows, word by word.</summary>
public static class DashboardSnippets
{
    public sealed record Cart(string[] Items, string? Device);

    public interface IMails
    {
        Task NewDeviceAsync(string subject, string? device);
    }

    public static void Pages(WebApplicationBuilder builder, WebApplication app)
    {
        builder.Services.AddAntiforgery();
        builder.Services.AddAuthorizationBuilder().AddPolicy("Operators", policy => policy.RequireRole("operator"));

        app.MapMySessions<Cart>("/account/sessions", o => o.Describe = (_, cart) => cart?.Device);
        app.MapSessionDashboard<Cart>("/operators/sessions").RequireAuthorization("Operators");
    }

    public static void Mail(SessionOptions<Cart> o)
    {
        o.Events.OnSignedIn = async signedIn =>
        {
            var manager = signedIn.Services.GetRequiredService<SessionManager<Cart>>();
            var others = 0;
            await foreach (var device in manager.ListAsync(signedIn.Subject!))
                others += device.Id == signedIn.Id ? 0 : 1;

            if (others > 0)
                await signedIn
                    .Services.GetRequiredService<IMails>()
                    .NewDeviceAsync(signedIn.Subject!, signedIn.Data?.Device);
        };
    }

    public static void Shown(WebApplication app)
    {
        app.MapSessionDashboard<Cart>(
                "/operators/sessions",
                o =>
                {
                    o.ShowData = cart => string.Join(", ", cart.Items);
                    o.AlwaysCount = true;
                }
            )
            .RequireAuthorization("Operators");
    }
}
