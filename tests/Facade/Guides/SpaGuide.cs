using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Session.CSharp;
using Xunit;

namespace Facade.Guides;

/// <summary>The snippets of docs/SPA-AND-MOBILE.md, and that they do what it says.</summary>
public class SpaGuide
{
    private static void Page(SessionOptions<Cart> o)
    {
        o.TrustedOrigins.Add("https://app.example.com");
    }

    private static void Page(IServiceCollection services)
    {
        services.AddCors(o =>
            o.AddDefaultPolicy(policy =>
                policy.WithOrigins("https://app.example.com").AllowAnyHeader().AllowAnyMethod().AllowCredentials()
            )
        );
    }

    private static void Page(WebApplication app)
    {
        app.UseCors();
        app.UseSession<Cart>();
    }

    private static void Elsewhere(SessionOptions<Cart> o)
    {
        o.Cookie.SameSite = SameSiteMode.None;
        o.Partitioned = true;
        o.TrustedOrigins.Add("https://widget.example");
    }

    private static void Mobile(SessionOptions<Cart> o)
    {
        o.HeaderName = "X-Session-Token";
    }

    private static void Status(WebApplication app)
    {
        app.MapSessionStatus<Cart>("/session");
    }

    private static void Map(WebApplication app)
    {
        app.MapGet("/me", (Session<Cart> session) => session.Subject ?? "nobody").RequireSignIn<Cart>();
        app.MapPost("/login", (Session<Cart> session) => session.SignInAsync("ada", new Cart("tea")));
        app.MapPost("/write", (Session<Cart> session) => session.UpdateAsync(_ => new Cart("tea")));
    }

    [Fact]
    public async Task A_page_of_another_origin_signs_in_and_reads_an_error_and_no_other_page_does()
    {
        await using var site = await EdgeSite.StartAsync(
            app =>
            {
                Page(app);
                Map(app);
            },
            Page,
            Page
        );
        async Task<Answer> FromAsync(string origin, string verb, string path, string? cookie = null) =>
            await site.SendAsync(
                verb,
                path,
                [
                    ("Origin", origin),
                    ("Sec-Fetch-Site", "same-site"),
                    .. cookie is null ? [] : new[] { ("Cookie", cookie) },
                ]
            );

        const string own = "https://app.example.com";
        var nobody = await FromAsync(own, "GET", "/me");
        Assert.Equal(HttpStatusCode.Unauthorized, nobody.Status);
        Assert.Equal(own, nobody["Access-Control-Allow-Origin"]);
        var begun = await FromAsync(own, "POST", "/login");
        Assert.Equal((HttpStatusCode.OK, "true"), (begun.Status, begun["Access-Control-Allow-Credentials"]));
        Assert.Contains("samesite=lax", begun.SetCookies[0], StringComparison.OrdinalIgnoreCase);
        var cookie = begun.SetCookies[0].Split(';')[0];
        Assert.Equal("ada", (await FromAsync(own, "GET", "/me", cookie)).Body);
        var forged = await FromAsync("https://evil.example.com", "POST", "/write", cookie);
        Assert.Equal(HttpStatusCode.Forbidden, forged.Status);

        var asked = await site.SendAsync(
            "OPTIONS",
            "/write",
            ("Origin", own),
            ("Access-Control-Request-Method", "PUT")
        );
        Assert.Equal((HttpStatusCode.NoContent, own), (asked.Status, asked["Access-Control-Allow-Origin"]));
    }

    [Fact]
    public async Task A_page_inside_another_site_has_a_partitioned_cookie()
    {
        await using var site = await EdgeSite.StartAsync(
            app =>
            {
                app.UseSession<Cart>();
                Map(app);
            },
            configure: Elsewhere
        );
        var begun = await site.SendAsync(
            "POST",
            "/login",
            ("Origin", "https://widget.example"),
            ("Sec-Fetch-Site", "cross-site")
        );
        Assert.StartsWith("__Host-sid-p=", begun.SetCookies[0], StringComparison.Ordinal);
        Assert.Contains("samesite=none", begun.SetCookies[0], StringComparison.OrdinalIgnoreCase);
        Assert.Contains("partitioned", begun.SetCookies[0], StringComparison.OrdinalIgnoreCase);
    }

    [Fact]
    public async Task A_mobile_client_keeps_its_token_from_the_header()
    {
        await using var site = await EdgeSite.StartAsync(
            app =>
            {
                app.UseSession<Cart>();
                Map(app);
                Status(app);
            },
            configure: Mobile
        );
        var begun = await site.SendAsync("POST", "/login", ("X-Session-Token", ""));
        var token = begun["X-Session-Token"];
        Assert.NotNull(token);
        Assert.Empty(begun.SetCookies);
        Assert.Equal("ada", (await site.SendAsync("GET", "/me", ("X-Session-Token", token))).Body);
        var status = await site.SendAsync("GET", "/session", ("X-Session-Token", token));
        Assert.StartsWith("""{"signedIn":true,"expiresIn":""", status.Body, StringComparison.Ordinal);

        // Both transports at once are ambiguous.
        var both = await site.SendAsync("GET", "/me", ("X-Session-Token", token), ("Cookie", "__Host-sid=" + token));
        Assert.Equal(HttpStatusCode.BadRequest, both.Status);
    }
}
