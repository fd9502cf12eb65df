using System.Security.Claims;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authentication.Cookies;
using Microsoft.AspNetCore.DataProtection;
using Session.CSharp;

namespace Bench.Connections;

/// <summary>One server. The endpoints are the same in each: /login, /logout, /ws (echoes) and /hub.</summary>
internal static class NodeProgram
{
    public static async Task RunAsync(string variant, int port, string redis, TimeSpan liveCheck)
    {
        var builder = WebApplication.CreateSlimBuilder(
            new WebApplicationOptions { ContentRootPath = AppContext.BaseDirectory }
        );
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls($"http://127.0.0.1:{port}");
        Action<WebApplication> map = variant switch
        {
            Variants.Ours => Ours(builder, redis, liveCheck, Watched),
            Variants.Unwatched => Ours(builder, redis, liveCheck, Unwatched),
            Variants.OurHub => OurHub(builder, redis, liveCheck),
            Variants.Bare => Bare(),
            Variants.Cookies => Cookies(builder),
            Variants.FrameworkSession => FrameworkSession(builder),
            _ => throw new ArgumentException($"No variant '{variant}'."),
        };
        var app = builder.Build();
        app.MapGet("/", () => "up");
        app.MapGet("/memory", LiveBytes);
        map(app);
        await app.RunAsync();
    }

    private static long LiveBytes()
    {
        for (var i = 0; i < 3; i++)
        {
            GC.Collect(GC.MaxGeneration, GCCollectionMode.Forced, blocking: true, compacting: true);
            GC.WaitForPendingFinalizers();
        }
        return GC.GetTotalMemory(forceFullCollection: true);
    }

    private static Action<WebApplication> Ours(
        WebApplicationBuilder builder,
        string redis,
        TimeSpan liveCheck,
        Action<WebApplication> open
    )
    {
        builder
            .Services.AddSession<Cart>(o =>
            {
                // Plain HTTP.
                o.Cookie.SecurePolicy = CookieSecurePolicy.SameAsRequest;
                o.LiveCheck = liveCheck;
            })
            .UseRedis(redis);
        return app =>
        {
            app.UseSession<Cart>();
            app.UseWebSockets();
            app.MapPost("/login", (string user, Session<Cart> session) => session.SignInAsync(user, Cart.New(user)));
            app.MapPost("/logout", (Session<Cart> session) => session.DestroyAsync());
            app.MapPost(
                "/everywhere",
                (Session<Cart> session, SessionManager<Cart> sessions) => sessions.DestroyAllAsync(session.Subject!)
            );
            app.MapPost(
                "/destroy",
                (string id, SessionManager<Cart> sessions) => sessions.DestroySessionAsync(SessionId.Parse(id))
            );
            open(app);
        };
    }

    private static void Watched(WebApplication app) =>
        app.MapGet(
                "/ws",
                async (HttpContext context, Session<Cart> session) =>
                {
                    using var ended = CancellationTokenSource.CreateLinkedTokenSource(
                        session.Ended,
                        context.RequestAborted
                    );
                    await Sockets.EchoAsync(context, ended.Token);
                }
            )
            .RequireSession<Cart>();

    private static void Unwatched(WebApplication app) =>
        app.MapGet(
                "/ws",
                async (HttpContext context, Session<Cart> session) =>
                    await Sockets.EchoAsync(context, context.RequestAborted)
            )
            .RequireSession<Cart>();

    private static Action<WebApplication> OurHub(WebApplicationBuilder builder, string redis, TimeSpan liveCheck)
    {
        builder.Services.AddSignalR().AddSessionLifetime<Cart>();
        return Ours(builder, redis, liveCheck, app => app.MapHub<EchoHub>("/hub").RequireSession<Cart>());
    }

    /// <summary>The same connections, of nobody.</summary>
    private static Action<WebApplication> Bare() =>
        app =>
        {
            app.UseWebSockets();
            app.MapPost("/login", () => { });
            app.MapGet("/ws", (HttpContext context) => Sockets.EchoAsync(context, context.RequestAborted));
        };

    private static Action<WebApplication> Cookies(WebApplicationBuilder builder)
    {
        builder.Services.AddDataProtection().UseEphemeralDataProtectionProvider();
        builder.Services.AddAuthentication(CookieAuthenticationDefaults.AuthenticationScheme).AddCookie();
        builder.Services.AddAuthorization();
        builder.Services.AddSignalR();
        return app =>
        {
            app.UseAuthentication();
            app.UseAuthorization();
            app.MapPost(
                "/login",
                (string user, HttpContext context) =>
                    context.SignInAsync(
                        new ClaimsPrincipal(
                            new ClaimsIdentity([new Claim(ClaimTypes.Name, user)], "password", ClaimTypes.Name, null)
                        )
                    )
            );
            app.MapPost("/logout", (HttpContext context) => context.SignOutAsync());
            app.MapHub<EchoHub>("/hub").RequireAuthorization();
        };
    }

    private static Action<WebApplication> FrameworkSession(WebApplicationBuilder builder)
    {
        builder.Services.AddDataProtection().UseEphemeralDataProtectionProvider();
        builder.Services.AddDistributedMemoryCache();
        builder.Services.AddSession();
        return app =>
        {
            app.UseSession();
            app.UseWebSockets();
            app.MapPost("/login", (string user, HttpContext context) => context.Session.SetString("user", user));
            app.MapPost("/logout", (HttpContext context) => context.Session.Clear());
            app.MapGet(
                "/ws",
                async (HttpContext context) =>
                {
                    if (context.Session.GetString("user") is null)
                        context.Response.StatusCode = 401;
                    else
                        await Sockets.EchoAsync(context, context.RequestAborted);
                }
            );
        };
    }
}
