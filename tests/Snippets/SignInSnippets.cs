using System.Security.Claims;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.Extensions.DependencyInjection;
using Session.CSharp;

namespace Snippets;

/// <summary>What docs/SIGN-IN.md shows of C#, word by word.</summary>
public static class SignInSnippets
{
    public sealed record Member(string Role);

    public sealed record Login(string User, string Password);

    private static bool IsRight(Login login) => login.Password.Length > 0;

    public static void TwoLines(WebApplicationBuilder builder, WebApplication app)
    {
        builder.Services.AddSession<Member>().UseRedis("localhost:6379");
        builder
            .Services.AddAuthentication()
            .AddSession<Member>(o =>
            {
                o.Claims = (subject, member) => [new Claim(ClaimTypes.Role, member.Role)];
                o.LoginPath = "/login";
                o.AccessDeniedPath = "/denied";
            });
        builder.Services.AddAuthorization();

        app.UseSession<Member>();
        app.MapGet("/me", (ClaimsPrincipal user) => user.Identity!.Name).RequireAuthorization();
        app.MapGet("/admin", [Authorize(Roles = "admin")] () => "in");
    }

    public static void LoginPage(WebApplication app)
    {
        app.MapPost(
            "/login",
            async (Login login, string? returnUrl, Session<Member> session) =>
            {
                if (!IsRight(login))
                    return Results.Unauthorized();

                await session.SignInAsync(login.User, new Member("customer"));
                return Results.LocalRedirect(RedirectHttpResult.IsLocalUrl(returnUrl) ? returnUrl! : "/");
            }
        );
        app.MapPost("/logout", () => Results.SignOut(new AuthenticationProperties { RedirectUri = "/" }));
    }

    public static void Principals(SessionAuthenticationOptions<Member> o)
    {
        o.Data = (user, member) => new Member(user.FindFirstValue(ClaimTypes.Role) ?? member?.Role ?? "customer");
    }

    public static void Fresh(WebApplication app)
    {
        app.MapPost("/account/delete", (Session<Member> session) => session.DestroyAsync())
            .RequireSignIn<Member>()
            .SignedInWithin(TimeSpan.FromMinutes(5));
    }

    public static void Pages(WebApplication app)
    {
        app.MapRazorPages().WithMetadata(new SessionMetadata(typeof(Member)));
    }

    public static void Beside(WebApplicationBuilder builder)
    {
        builder
            .Services.AddAuthentication("either")
            .AddPolicyScheme(
                "either",
                null,
                o =>
                    o.ForwardDefaultSelector = context =>
                        context.Request.Headers.ContainsKey("Authorization") ? "BearerToken" : "Session"
            )
            .AddBearerToken("BearerToken")
            .AddSession<Member>();
    }

    public static void Circuits(WebApplicationBuilder builder)
    {
        builder
            .Services.AddRazorComponents()
            .AddInteractiveServerComponents()
            .AddSessionAuthenticationState<Member>(revalidationInterval: TimeSpan.FromSeconds(30));
    }
}
