using System.Net;
using System.Security.Claims;
using Microsoft.AspNetCore.Antiforgery;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authentication.Cookies;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.DataProtection;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Mvc;
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

    private static Task<Member?> FindAsync(string user, string password) =>
        Task.FromResult(password == "tea" ? new Member(user == "ada" ? "admin" : "customer") : null);

    private static void AsBefore(WebApplication app)
    {
        app.MapPost(
            "/login",
            async (HttpContext context, [FromForm] string user, [FromForm] string password) =>
            {
                // Your own check of the password, and your own roles.
                if (await FindAsync(user, password) is not { } member)
                    return Results.Unauthorized();

                var identity = new ClaimsIdentity(
                    [new(ClaimTypes.NameIdentifier, user), new(ClaimTypes.Role, member.Role)],
                    CookieAuthenticationDefaults.AuthenticationScheme
                );
                await context.SignInAsync(new ClaimsPrincipal(identity));
                return Results.Empty;
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
                app.UseAntiforgery();
                app.MapGet(
                    "/form",
                    (IAntiforgery forms, HttpContext context) => forms.GetAndStoreTokens(context).RequestToken
                );
                AsBefore(app);
                New(app);
            },
            services =>
            {
                services.AddSession<Member>(o => o.Cookie.Name = "__Host-member").UseMemory();
                Scheme(services);
                services.AddAntiforgery();
                services.AddDataProtection().UseEphemeralDataProtectionProvider();
            }
        );
        (string, string) As(string token) => ("Cookie", "__Host-member=" + token);
        var nobody = await site.GetAsync("/admin");
        Assert.Equal(HttpStatusCode.Redirect, nobody.Status);
        Assert.Contains("/login?ReturnUrl=%2Fadmin", nobody["Location"], StringComparison.Ordinal);

        var form = await site.GetAsync("/form");
        Task<Answer> PostAsync(string user, string password, string token) =>
            site.SendFormAsync(
                "/login",
                [new("user", user), new("password", password)],
                ("Cookie", form.SetCookies[0].Split(';')[0]),
                ("RequestVerificationToken", token)
            );
        var wrong = await PostAsync("ada", "milk", form.Body);
        Assert.Equal((HttpStatusCode.Unauthorized, 0), (wrong.Status, wrong.SetCookies.Length));
        var forged = await PostAsync("ada", "tea", "");
        Assert.Equal((HttpStatusCode.BadRequest, 0), (forged.Status, forged.SetCookies.Length));

        var desk = (await PostAsync("ada", "tea", form.Body)).Token;
        var phone = (await PostAsync("ada", "tea", form.Body)).Token;
        var bob = (await PostAsync("bob", "tea", form.Body)).Token;
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
