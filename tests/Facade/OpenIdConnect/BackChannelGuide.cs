using System.Net;
using System.Security.Claims;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authentication.Cookies;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Session.CSharp;
using Xunit;

namespace Facade.OpenIdConnect;

/// <summary>The snippets of docs/BACK-CHANNEL-LOGOUT.md and of the package's page, and that they do what they say.</summary>
public class BackChannelGuide
{
    private static void Map(WebApplication app)
    {
        app.MapBackChannelLogout<Cart>(
            "/signout-backchannel",
            o =>
            {
                o.Authority = "https://id.example.com";
                o.Audience = "shop";
            }
        );
    }

    private static void SignsIn(WebApplication app)
    {
        app.MapGet(
            "/signed-in",
            async (HttpContext context, Session<Cart> session) =>
            {
                var ticket = await context.AuthenticateAsync("External");
                if (ticket.Principal?.FindFirst("sub") is not { } user)
                    return Results.Unauthorized();

                var sid = ticket.Principal.FindFirst("sid")?.Value;
                await session.SignInAsync(user.Value, session.Data ?? new Cart("tea"), external: (user.Issuer, sid));
                await context.SignOutAsync("External");
                return Results.Redirect("/");
            }
        );
    }

    private static void SignsOut(WebApplication app)
    {
        app.MapPost(
            "/logout",
            async (Session<Cart> session) =>
            {
                await session.DestroyAsync();
                return Results.Redirect("https://id.example.com/logout?client_id=shop");
            }
        );
    }

    [Fact]
    public async Task A_sign_in_at_the_provider_becomes_a_session_that_it_can_end()
    {
        await using var provider = await IdentityProvider.StartAsync();
        await using var site = await EdgeSite.StartAsync(
            app =>
            {
                app.UseSession<Cart>();
                Map(app);
                SignsIn(app);
                SignsOut(app);
                app.MapGet("/who", (Session<Cart> session) => session.Subject ?? "nobody");
                app.MapBackChannelLogout<Cart>(
                    "/out",
                    o =>
                    {
                        o.Authority = provider.Issuer;
                        o.Audience = IdentityProvider.Client;
                        o.RequireHttpsMetadata = false;
                    }
                );
                // As the handler of the framework leaves it, once the provider has sent the browser back.
                app.MapGet(
                    "/from-provider",
                    (HttpContext context) =>
                    {
                        Claim Claimed(string type, string value) => new(type, value, null, provider.Issuer);
                        var claims = new[] { Claimed("sub", "ada"), Claimed("sid", "A") };
                        return context.SignInAsync("External", new ClaimsPrincipal(new ClaimsIdentity(claims, "oidc")));
                    }
                );
            },
            services => services.AddAuthentication().AddCookie("External")
        );
        var came = (await site.GetAsync("/from-provider")).SetCookies.Single().Split(';')[0];
        var began = await site.SendAsync("GET", "/signed-in", ("Cookie", came));
        Assert.Equal(HttpStatusCode.Redirect, began.Status);
        var token = began.SetCookies.Single(it => it.StartsWith("__Host-sid=", StringComparison.Ordinal));
        token = token.Split(';')[0].Split('=', 2)[1];
        Assert.Equal("ada", (await site.GetAsync("/who", token)).Body);
        using var client = new HttpClient();
        var logout = provider.Draft(DateTimeOffset.UtcNow, "A").Write();
        using var form = new FormUrlEncodedContent([new("logout_token", logout)]);
        using var ended = await client.PostAsync(new Uri(site.Address, "/out"), form);
        Assert.Equal(HttpStatusCode.OK, ended.StatusCode);
        Assert.Equal("nobody", (await site.GetAsync("/who", token)).Body);
    }
}
