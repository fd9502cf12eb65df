using System.Net;
using System.Text.Json;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Diagnostics;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Session.CSharp;
using Session.Engine;
using Xunit;

namespace Facade;

/// <summary>What is answered in place of an endpoint: as the framework would, and with nothing of what the endpoint has said.</summary>
public class AnswerTests
{
    private sealed class Away : Passing
    {
        public bool IsAway { get; set; }

        public override ValueTask<StoredRecord?> Load(string id, CancellationToken cancel) =>
            IsAway ? throw new IOException("away") : base.Load(id, cancel);

        public override ValueTask<WriteResult> Insert(StoredRecord record, CancellationToken cancel) =>
            IsAway ? throw new IOException("away") : base.Insert(record, cancel);
    }

    private static readonly string[] s_ofTheHandler =
    [
        "ETag",
        "Last-Modified",
        "Expires",
        "Content-Encoding",
        "Content-Disposition",
        "Content-Range",
        "Content-Language",
        "Location",
        "Content-Location",
        "Content-Digest",
        "Repr-Digest",
        "Accept-Ranges",
        "Refresh",
        "Pragma",
        // Caches between obey these, whatever Cache-Control says.
        "CDN-Cache-Control",
        "Surrogate-Control",
        "Surrogate-Key",
    ];

    private static void Map(WebApplication app)
    {
        app.MapPost("/begin", (Session<Cart> session) => session.UpdateAsync(_ => new Cart("tea")));
        app.MapGet("/guarded", () => "in").RequireSignIn<Cart>();
        app.MapGet("/named", [Authorize(AuthenticationSchemes = "other")] () => "in").RequireSession<Cart>();
        app.MapGet(
            "/file",
            async (HttpContext context) =>
            {
                var headers = context.Response.Headers;
                foreach (var name in s_ofTheHandler)
                    headers[name] = "of the handler";

                headers.CacheControl = "public, max-age=600";
                headers.AccessControlAllowOrigin = "https://shop.example";
                headers.Vary = "Origin";
                headers.ContentLength = 12345;
                context.Response.ContentType = "text/csv";
                context.Response.Cookies.Append("own", "1");
                var session = await context.GetSessionAsync<Cart>();
                await session.UpdateAsync(_ => new Cart("tea"));
            }
        );
    }

    [Fact]
    public async Task An_answer_has_nothing_of_the_endpoint_but_cookies_and_CORS()
    {
        var store = new Away { IsAway = true };
        await using var site = await EdgeSite.StartAsync(
            app =>
            {
                app.UseSession<Cart>();
                Map(app);
            },
            store: store
        );
        var failed = await site.GetAsync("/file");
        Assert.Equal(HttpStatusCode.ServiceUnavailable, failed.Status);
        Assert.Equal("no-store", failed["Cache-Control"]);
        foreach (var name in s_ofTheHandler)
            Assert.Null(failed[name]);

        Assert.Equal("https://shop.example", failed["Access-Control-Allow-Origin"]);
        Assert.Equal("Origin, Cookie", failed["Vary"]);
        Assert.Equal("1", failed["Retry-After"]);
        Assert.StartsWith("own=1", Assert.Single(failed.SetCookies), StringComparison.Ordinal);
        Assert.Equal("application/problem+json", failed["Content-Type"]);

        using var problem = JsonDocument.Parse(failed.Body);
        string? Said(string name) => problem.RootElement.GetProperty(name).GetString();
        Assert.Equal(503, problem.RootElement.GetProperty("status").GetInt32());
        Assert.Equal("Service Unavailable", Said("title"));
        Assert.Equal("https://tools.ietf.org/html/rfc9110#section-15.6.4", Said("type"));
        Assert.Contains("did not say whether", Said("detail"), StringComparison.Ordinal);
        Assert.NotEmpty(Said("traceId")!);
    }

    [Fact]
    public async Task The_applications_problem_details_are_used()
    {
        await using var site = await EdgeSite.StartAsync(
            app =>
            {
                app.UseSession<Cart>();
                Map(app);
            },
            services =>
                services.AddProblemDetails(o =>
                    o.CustomizeProblemDetails = it => it.ProblemDetails.Extensions["shop"] = "ours"
                )
        );
        var answer = await site.GetAsync("/guarded");
        Assert.Equal((HttpStatusCode.Unauthorized, "no-store"), (answer.Status, answer["Cache-Control"]));
        using var problem = JsonDocument.Parse(answer.Body);
        string? Said(string name) => problem.RootElement.GetProperty(name).GetString();
        Assert.Equal("ours", Said("shop"));
        Assert.Equal("https://tools.ietf.org/html/rfc9110#section-15.5.2", Said("type"));
        Assert.Equal("There is no live session.", Said("detail"));
        Assert.NotEmpty(Said("traceId")!);

        // Who accepts nothing of the kind gets the status, as with the framework's own.
        var picture = await site.SendAsync("GET", "/guarded", ("Accept", "image/png"));
        Assert.Equal((HttpStatusCode.Unauthorized, ""), (picture.Status, picture.Body));
    }

    [Fact]
    public async Task Status_code_pages_write_the_page()
    {
        var store = new Away();
        await using var site = await EdgeSite.StartAsync(
            app =>
            {
                app.UseStatusCodePages(context =>
                    context.HttpContext.Response.WriteAsync($"page {context.HttpContext.Response.StatusCode}")
                );
                app.UseSession<Cart>();
                Map(app);
            },
            store: store
        );
        Assert.Equal("page 401", (await site.GetAsync("/guarded")).Body);
        store.IsAway = true;
        var failed = await site.GetAsync("/file");
        Assert.Equal((HttpStatusCode.ServiceUnavailable, "page 503"), (failed.Status, failed.Body));
    }

    /// <summary>As for what programs ask for, beside the pages of people.</summary>
    [Fact]
    public async Task Where_status_code_pages_are_switched_off_the_problem_is_written()
    {
        var store = new Away();
        await using var site = await EdgeSite.StartAsync(
            app =>
            {
                app.UseStatusCodePages(context =>
                    context.HttpContext.Response.WriteAsync($"page {context.HttpContext.Response.StatusCode}")
                );
                app.Use(
                    (context, next) =>
                    {
                        context.Features.Get<IStatusCodePagesFeature>()!.Enabled = false;
                        return next(context);
                    }
                );
                app.UseSession<Cart>();
                Map(app);
            },
            store: store
        );
        var nobody = await site.GetAsync("/guarded");
        Assert.Equal(
            (HttpStatusCode.Unauthorized, "application/problem+json"),
            (nobody.Status, nobody["Content-Type"])
        );
        Assert.Contains("There is no live session.", nobody.Body, StringComparison.Ordinal);
        store.IsAway = true;
        var failed = await site.GetAsync("/file");
        Assert.Equal(
            (HttpStatusCode.ServiceUnavailable, "application/problem+json"),
            (failed.Status, failed["Content-Type"])
        );
        Assert.Contains("did not say whether", failed.Body, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_endpoints_scheme_asks_for_a_sign_in()
    {
        var store = new Away();
        await using var site = await EdgeSite.StartAsync(
            app =>
            {
                app.UseSession<Cart>();
                Map(app);
            },
            services =>
                services
                    .AddAuthentication("page")
                    .AddCookie("page", o => o.LoginPath = "/signin")
                    .AddCookie("other", o => o.LoginPath = "/other"),
            store: store
        );
        var page = await site.GetAsync("/guarded");
        Assert.Equal(HttpStatusCode.Redirect, page.Status);
        Assert.Contains("/signin?ReturnUrl=%2Fguarded", page["Location"], StringComparison.Ordinal);
        var named = await site.GetAsync("/named");
        Assert.Contains("/other?ReturnUrl=%2Fnamed", named["Location"], StringComparison.Ordinal);

        // That is about the user; the store is not.
        store.IsAway = true;
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await site.GetAsync("/file")).Status);
    }
}
