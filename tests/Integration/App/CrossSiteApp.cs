using System.Collections.Concurrent;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Session.CSharp;

namespace Integration.App;

/// <summary>An application that lets every origin ask (CORS), so that only its sessions are guarded; and pages on other origins.</summary>
public sealed class CrossSiteApp : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly WebApplication _pages;

    private CrossSiteApp(WebApplication app, WebApplication pages)
    {
        _app = app;
        _pages = pages;
    }

    /// <summary>What came, by the case that the page has named, and how it was answered.</summary>
    public sealed record Verdict(string Case, string Site, string Origin, bool HasCookie, int Status);

    /// <summary>Every request that named a case, in the order of their answers.</summary>
    public ConcurrentQueue<Verdict> Verdicts { get; } = new();

    public string Address => $"http://localhost:{PortOf(_app)}";

    /// <summary>Another origin of the same site: browsers look at no port for that.</summary>
    public string SameSite => $"http://localhost:{PortOf(_pages)}";

    /// <summary>The same server under another name: another site.</summary>
    public string OtherSite => $"http://127.0.0.1:{PortOf(_pages)}";

    public static async Task<CrossSiteApp> StartAsync(string page, Action<string> report)
    {
        var builder = Builder();
        builder.Services.AddCors();
        builder
            .Services.AddSession<Cart>(o =>
            {
                // The browser sends it whoever asks.
                o.Cookie.SameSite = SameSiteMode.None;
                o.HeaderName = "X-Token";
            })
            .UseMemory();
        var app = builder.Build();
        var pages = Builder().Build();
        var made = new CrossSiteApp(app, pages);
        app.Use(made.RecordAsync);
        app.UseCors(cors =>
            cors.SetIsOriginAllowed(_ => true)
                .AllowCredentials()
                .AllowAnyHeader()
                .AllowAnyMethod()
                .WithExposedHeaders("X-Token")
        );
        app.UseSession<Cart>();
        app.MapGet("/page", () => Results.Content(page, "text/html"));
        app.Map("/update", (Session<Cart> session) => session.UpdateAsync(cart => cart ?? Cart.Empty));
        app.Map("/login", (Session<Cart> session) => session.SignInAsync("ada", Cart.Empty));
        app.Map("/logout", (Session<Cart> session) => session.DestroyAsync());
        app.MapPost("/report", (string said) => report(said));
        pages.MapGet("/page", () => Results.Content(page, "text/html"));
        await app.StartAsync();
        await pages.StartAsync();
        return made;
    }

    private async Task RecordAsync(HttpContext context, RequestDelegate next)
    {
        await next(context);
        if (
            context.Request.Query["case"].ToString() is { Length: > 0 } name
            && !HttpMethods.IsOptions(context.Request.Method)
        )
            Verdicts.Enqueue(
                new(
                    name,
                    context.Request.Headers["Sec-Fetch-Site"].ToString(),
                    context.Request.Headers.Origin.ToString(),
                    context.Request.Headers.Cookie.ToString().Contains("__Host-sid=", StringComparison.Ordinal),
                    context.Response.StatusCode
                )
            );
    }

    private static WebApplicationBuilder Builder()
    {
        var builder = WebApplication.CreateSlimBuilder(new WebApplicationOptions { EnvironmentName = "Production" });
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        return builder;
    }

    private static int PortOf(WebApplication app) => new Uri(app.Urls.First()).Port;

    public async ValueTask DisposeAsync()
    {
        foreach (var app in new[] { _app, _pages })
        {
            await app.StopAsync();
            await app.DisposeAsync();
        }
    }
}
