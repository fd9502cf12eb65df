using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Integration.App;

/// <summary>The same stories with Microsoft.AspNetCore.Session, for comparison.</summary>
public sealed class BuiltInApp : IAsyncDisposable
{
    private readonly WebApplication _app;

    private BuiltInApp(WebApplication app, Gate gate) => (_app, Gate) = (app, gate);

    public Gate Gate { get; }

    public Uri Address => new(_app.Urls.First());

    public static async Task<BuiltInApp> StartAsync()
    {
        var builder = WebApplication.CreateSlimBuilder(new WebApplicationOptions { EnvironmentName = "Production" });
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        builder.Services.AddDistributedMemoryCache();
        builder.Services.AddSession(o => o.Cookie.Name = "sid");
        var app = builder.Build();
        var gate = new Gate();
        app.UseSession();

        app.MapPost("/login", (string user, HttpContext context) => context.Session.SetString("user", user));
        app.MapGet(
            "/profile",
            (HttpContext context) =>
                context.Session.GetString("user") is { } user ? Results.Text(user) : Results.StatusCode(401)
        );
        app.MapPost("/logout", (HttpContext context) => context.Session.Clear());
        app.MapGet("/count", (HttpContext context) => (context.Session.GetInt32("count") ?? 0).ToString());
        app.MapPost(
            "/slow/{sku}",
            async (string sku, HttpContext context) =>
            {
                await context.Session.LoadAsync();
                await gate.PassAsync();
                context.Session.SetString("sku", sku);
                context.Session.SetInt32("count", (context.Session.GetInt32("count") ?? 0) + 1);
            }
        );
        await app.StartAsync();
        return new BuiltInApp(app, gate);
    }

    public async ValueTask DisposeAsync()
    {
        Gate.Open();
        await _app.StopAsync();
        await _app.DisposeAsync();
    }
}
