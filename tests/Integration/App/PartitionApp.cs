using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Session.CSharp;
using Session.Engine;

namespace Integration.App;

/// <summary>An application for a browser, before or after its cookie was made a partitioned one.</summary>
public sealed class PartitionApp : IAsyncDisposable
{
    private readonly WebApplication _app;

    private PartitionApp(WebApplication app) => _app = app;

    /// <summary>As the browser is to know it: all of them are one site there, and share its cookies.</summary>
    public string Address => $"http://localhost:{new Uri(_app.Urls.First()).Port}";

    public static async Task<PartitionApp> StartAsync(
        ISessionStore store,
        CacheApp.Clock clock,
        bool isPartitioned,
        string script,
        Action<string> report
    )
    {
        var builder = WebApplication.CreateSlimBuilder(new WebApplicationOptions { EnvironmentName = "Production" });
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        builder.Services.AddSingleton<TimeProvider>(clock);
        builder
            .Services.AddSession<Cart>(o =>
            {
                o.Cookie.SameSite = SameSiteMode.None;
                o.Partitioned = isPartitioned;
            })
            .UseStore(_ => store);
        var app = builder.Build();
        app.UseSession<Cart>();
        app.MapGet("/", () => Results.Content($"<!doctype html><script>{script}</script>", "text/html"));
        app.MapGet("/me", (Session<Cart> session) => session.Subject ?? "nobody");
        app.MapPost("/login", (Session<Cart> session) => session.SignInAsync("ada", Cart.Empty));
        app.MapPost("/logout", (Session<Cart> session) => session.DestroyAsync());
        app.MapPost("/later", () => clock.Advance(TimeSpan.FromMinutes(16)));
        app.MapGet("/names", (HttpRequest request) => string.Join(' ', request.Cookies.Keys.Order()));
        app.MapPost("/report", (string said) => report(said));
        await app.StartAsync();
        return new PartitionApp(app);
    }

    public async ValueTask DisposeAsync()
    {
        await _app.StopAsync();
        await _app.DisposeAsync();
    }
}
