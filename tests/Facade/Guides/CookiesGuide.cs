using System.Net;
using System.Security.Claims;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authentication.Cookies;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Session.CSharp;
using Xunit;

namespace Facade.Guides;

/// <summary>The snippets of docs/FROM-COOKIES.md, and that they do what it says.</summary>
public class CookiesGuide
{
    private sealed record Member(string Role);

    private static void Scheme(IServiceCollection services)
    {
        services
            .AddAuthentication(CookieAuthenticationDefaults.AuthenticationScheme)
            .AddSession<Member>(
                CookieAuthenticationDefaults.AuthenticationScheme,
                o =>
                {
                    o.LoginPath = "/login";
                    o.Data = (user, member) => new Member(user.FindFirstValue(ClaimTypes.Role) ?? "customer");
                    o.Claims = (subject, member) => [new Claim(ClaimTypes.Role, member.Role)];
                }
            );
        services.AddAuthorization();
    }

    private static void AsBefore(WebApplication app)
    {
        app.MapPost(
            "/login",
            async (HttpContext context, string user, string role) =>
            {
                var identity = new ClaimsIdentity(
                    [new(ClaimTypes.NameIdentifier, user), new(ClaimTypes.Role, role)],
                    CookieAuthenticationDefaults.AuthenticationScheme
                );
                await context.SignInAsync(new ClaimsPrincipal(identity));
            }
        );
        app.MapGet("/admin", [Authorize(Roles = "admin")] () => "in");
        app.MapPost("/logout", (HttpContext context) => context.SignOutAsync());
    }

    private static void New(WebApplication app)
    {
        app.MapPost(
                "/logout-everywhere",
                (ClaimsPrincipal user, SessionManager<Member> sessions) =>
                    sessions.DestroyAllAsync(user.FindFirstValue(ClaimTypes.NameIdentifier)!)
            )
            .RequireAuthorization();
    }

    [Fact]
    public async Task The_code_of_a_cookie_application_goes_on_and_a_logout_is_one()
    {
        await using var site = await EdgeSite.StartAsync(
            app =>
            {
                app.UseSession<Member>();
                app.UseAuthentication();
                app.UseAuthorization();
                AsBefore(app);
                New(app);
            },
            services =>
            {
                services.AddSession<Member>(o => o.Cookie.Name = "__Host-member").UseMemory();
                Scheme(services);
            }
        );
        (string, string) As(string token) => ("Cookie", "__Host-member=" + token);
        var nobody = await site.GetAsync("/admin");
        Assert.Equal(HttpStatusCode.Redirect, nobody.Status);
        Assert.Contains("/login?ReturnUrl=%2Fadmin", nobody["Location"], StringComparison.Ordinal);

        var desk = (await site.SendAsync("POST", "/login?user=ada&role=admin")).Token;
        var phone = (await site.SendAsync("POST", "/login?user=ada&role=admin")).Token;
        var bob = (await site.SendAsync("POST", "/login?user=bob&role=customer")).Token;
        Assert.Equal("in", (await site.SendAsync("GET", "/admin", As(desk))).Body);
        Assert.Equal("in", (await site.SendAsync("GET", "/admin", As(phone))).Body);
        Assert.NotEqual("in", (await site.SendAsync("GET", "/admin", As(bob))).Body);

        // A copied cookie is worth nothing after the logout.
        await site.SendAsync("POST", "/logout", As(desk));
        Assert.Equal(HttpStatusCode.Redirect, (await site.SendAsync("GET", "/admin", As(desk))).Status);
        Assert.Equal("1", (await site.SendAsync("POST", "/logout-everywhere", As(phone))).Body);
        Assert.Equal(HttpStatusCode.Redirect, (await site.SendAsync("GET", "/admin", As(phone))).Status);
    }
}
