using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Session.CSharp;
using Session.Engine;

namespace Integration.App;

/// <summary>A C# application with sessions, on a real port.</summary>
public sealed class SubjectApp : IAsyncDisposable
{
    private readonly WebApplication _app;

    private SubjectApp(WebApplication app, Gate gate) => (_app, Gate) = (app, gate);

    public Gate Gate { get; }

    public Uri Address => new(_app.Urls.First());

    public IServiceProvider Services => _app.Services;

    public static async Task<SubjectApp> StartAsync(
        ISessionStore store,
        TimeProvider clock,
        Action<SessionOptions<Cart>>? configure = null,
        Action<SessionBuilder>? protect = null
    )
    {
        var builder = WebApplication.CreateSlimBuilder(new WebApplicationOptions { EnvironmentName = "Production" });
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        builder.Services.AddSingleton(clock);
        var sessions = builder
            .Services.AddSession<Cart>(o =>
            {
                o.Cookie.Name = "sid";
                o.Cookie.SecurePolicy = CookieSecurePolicy.SameAsRequest;
                configure?.Invoke(o);
            })
            .UseStore(_ => store);
        protect?.Invoke(sessions);

        var app = builder.Build();
        var gate = new Gate();
        try
        {
            app.UseSession<Cart>();
            Map(app, gate);
            await app.StartAsync();
        }
        catch
        {
            await app.DisposeAsync();
            throw;
        }
        return new SubjectApp(app, gate);
    }

    private static void Map(WebApplication app, Gate gate)
    {
        app.MapGet("/plain", () => "plain");

        app.MapGet(
            "/cart",
            (Session<Cart> session, HttpResponse response) =>
            {
                response.Headers["X-Origin"] = session.Origin.ToString();
                response.Headers["X-State"] = session.State.ToString();
                response.Headers["X-Authenticated"] = session.AuthenticatedAt?.ToString("O") ?? "never";
                return session.Data?.ToString() ?? "(none)";
            }
        );
        app.MapPost(
            "/cart/{sku}",
            async (string sku, Session<Cart> session) =>
                (await session.UpdateAsync(cart => (cart ?? Cart.Empty).With(sku))).ToString()
        );
        app.MapPost(
            "/cached/{sku}",
            async (string sku, string header, Session<Cart> session, HttpResponse response) =>
            {
                response.Headers.CacheControl = header;
                await session.UpdateAsync(cart => (cart ?? Cart.Empty).With(sku));
            }
        );
        app.MapPost(
            "/save/{sku}",
            async (string sku, bool? wait, Session<Cart> session) =>
            {
                var cart = (session.Data ?? Cart.Empty).With(sku);
                if (wait == true)
                    await gate.PassAsync();
                await session.SaveAsync(cart);
                return cart.ToString();
            }
        );
        app.MapPost(
            "/slow/{sku}",
            async (string sku, Session<Cart> session) =>
            {
                await gate.PassAsync();
                return (await session.UpdateAsync(cart => (cart ?? Cart.Empty).With(sku))).ToString();
            }
        );

        app.MapPost(
            "/login",
            async (string user, Session<Cart> session) =>
            {
                await session.SignInAsync(user, session.Data ?? Cart.Empty);
                return session.Id.Value;
            }
        );
        app.MapPost(
            "/slow-login",
            async (string user, Session<Cart> session) =>
            {
                await gate.PassAsync();
                await session.SignInAsync(user, session.Data ?? Cart.Empty);
                return session.Id.Value;
            }
        );
        app.MapGet(
            "/profile",
            (Session<Cart> session) => session.Subject is { } subject ? Results.Text(subject) : Results.StatusCode(401)
        );
        app.MapPost(
            "/logout",
            async (Session<Cart> session, HttpResponse response) =>
            {
                await session.DestroyAsync();
                response.Headers["X-Origin"] = session.Origin.ToString();
                response.Headers["X-State"] = session.State.ToString();
            }
        );
        app.MapPost(
            "/slow-logout",
            async (Session<Cart> session) =>
            {
                await gate.PassAsync();
                await session.DestroyAsync();
            }
        );
        app.MapPost(
            "/logout-everywhere",
            async (Session<Cart> session, SessionManager<Cart> sessions) =>
                session.Subject is { } subject
                    ? Results.Text((await sessions.DestroyAllAsync(subject)).ToString())
                    : Results.StatusCode(401)
        );
        app.MapGet(
            "/sessions",
            async (Session<Cart> session, SessionManager<Cart> sessions) =>
            {
                if (session.Subject is not { } subject)
                    return Results.StatusCode(401);
                var ids = new List<string>();
                await foreach (var info in sessions.ListAsync(subject))
                    ids.Add(info.Id.Value);
                return Results.Text(string.Join(",", ids));
            }
        );
        app.MapDelete(
            "/sessions/{id}",
            async (SessionId id, Session<Cart> session, SessionManager<Cart> sessions) =>
            {
                var found = await sessions.FindAsync(id);
                if (session.Subject is null || found?.Subject != session.Subject)
                    return Results.NotFound();
                await sessions.DestroySessionAsync(id);
                return Results.NoContent();
            }
        );
        app.MapPost(
            "/elevate",
            async (Session<Cart> session) =>
            {
                await session.RegenerateAsync();
                return session.Data?.ToString();
            }
        );
        app.MapPost(
            "/create/{sku}",
            async (string sku, Session<Cart> session) => await session.CreateAsync(Cart.Empty.With(sku))
        );
        app.MapGet("/guarded", () => "guarded").RequireSession<Cart>();
        app.MapPost(
            "/late/{sku}",
            async (string sku, Session<Cart> session, HttpResponse response) =>
            {
                await response.WriteAsync("started");
                await response.Body.FlushAsync();
                await session.UpdateAsync(cart => (cart ?? Cart.Empty).With(sku));
            }
        );
    }

    public async ValueTask DisposeAsync()
    {
        Gate.Open();
        await _app.StopAsync();
        await _app.DisposeAsync();
    }
}
