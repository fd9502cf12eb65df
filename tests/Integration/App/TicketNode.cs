using System.Security.Claims;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.DataProtection;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Identity;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Session.CSharp;
using Session.Engine;

namespace Integration.App;

/// <summary>One node of an application with Identity: its tickets in its cookies, as the framework has it, or on the server.</summary>
public sealed class TicketNode : IAsyncDisposable
{
    private readonly WebApplication _app;

    private TicketNode(WebApplication app) => _app = app;

    public Uri Address => new(_app.Urls.First());

    /// <param name="keys">The key ring of all nodes.</param>
    /// <param name="users">The users of all nodes.</param>
    /// <param name="tickets">Where the tickets are kept; null: in the cookies, with the framework's own check of the security stamp.</param>
    public static async Task<TicketNode> StartAsync(
        IDataProtectionProvider keys,
        TicketUsers users,
        Action<SessionBuilder>? tickets
    )
    {
        var builder = WebApplication.CreateSlimBuilder(new WebApplicationOptions { EnvironmentName = "Production" });
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        builder.Services.AddAuthentication(IdentityConstants.ApplicationScheme).AddIdentityCookies();
        builder.Services.AddSingleton<IUserStore<IdentityUser>>(users);
        builder.Services.AddIdentityCore<IdentityUser>().AddSignInManager();
        builder.Services.AddAuthorization();
        if (tickets is not null)
            tickets(builder.Services.AddServerSideTickets());

        builder.Services.AddSingleton(keys);
        var app = builder.Build();
        app.UseAuthentication();
        app.UseAuthorization();
        app.MapGet("/health", () => "well");
        app.MapPost(
            "/login",
            async (string user, UserManager<IdentityUser> accounts, SignInManager<IdentityUser> signIn) =>
                await signIn.SignInAsync((await accounts.FindByNameAsync(user))!, isPersistent: false)
        );
        app.MapGet(
            "/me",
            (ClaimsPrincipal me) =>
                me.Identity is { IsAuthenticated: true } ? Results.Text(me.Identity.Name) : Results.StatusCode(401)
        );
        app.MapPost(
            "/logout-everywhere",
            async (ClaimsPrincipal me, UserManager<IdentityUser> accounts, IServiceProvider services) =>
            {
                if (await accounts.GetUserAsync(me) is not { } user)
                    return Results.StatusCode(401);

                if (services.GetService<SessionManager<AuthenticationTicket>>() is { } sessions)
                    await sessions.DestroyAllAsync(user.Id);
                else
                    await accounts.UpdateSecurityStampAsync(user);

                return Results.Ok();
            }
        );
        try
        {
            await app.StartAsync();
        }
        catch
        {
            await app.DisposeAsync();
            throw;
        }

        return new TicketNode(app);
    }

    public async ValueTask DisposeAsync()
    {
        await _app.StopAsync();
        await _app.DisposeAsync();
    }
}
