using System.Security.Claims;
using System.Text.RegularExpressions;
using Microsoft.AspNetCore.Antiforgery;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Mvc;
using Session.CSharp;
using Shop;

var builder = WebApplication.CreateBuilder(args);
if (string.IsNullOrEmpty(builder.Configuration["urls"]))
    builder.WebHost.UseUrls("http://127.0.0.1:5080");

// Bad JSON is the client's mistake: a 400, in Development too.
builder.Services.Configure<RouteHandlerOptions>(o => o.ThrowOnBadRequest = false);

var sessions = builder.Services.AddSession<Cart>(o =>
{
    o.IdleTimeout = TimeSpan.FromMinutes(30);
    o.AbsoluteTimeout = TimeSpan.FromHours(8);

    // A name of its own: other samples run on the same host, and ports do not separate cookies. Under one name each would sign
    // the users of the other out.
    o.Cookie.Name = "__Host-shop";

    // Plain HTTP on the developer's machine: clients there do not send Secure cookies back, and __Host- promises one. Never in production.
    if (builder.Environment.IsDevelopment())
        (o.Cookie.Name, o.Cookie.SecurePolicy) = ("shop", CookieSecurePolicy.SameAsRequest);
});

_ = (Environment.GetEnvironmentVariable("SHOP_STORE") ?? "sqlite") switch
{
    "sqlite" => sessions.UseSqlite(Path.Combine(builder.Environment.ContentRootPath, "sessions.db")),
    "memory" => sessions.UseMemory(),
    "redis" => sessions.UseRedis(Environment.GetEnvironmentVariable("SHOP_REDIS") ?? "localhost:6379"),
    "mongo" => sessions.UseMongo(Environment.GetEnvironmentVariable("SHOP_MONGO") ?? "mongodb://localhost/shop"),
    "postgres" => sessions.UsePostgres(
        Environment.GetEnvironmentVariable("SHOP_POSTGRES") ?? "Host=localhost;Database=shop"
    ),
    var other => throw new InvalidOperationException(
        $"SHOP_STORE is '{other}': set it to sqlite, memory, redis, mongo or postgres."
    ),
};

// HttpContext.User, RequireAuthorization and the way to the login page, from the same session.
builder
    .Services.AddAuthentication()
    .AddSession<Cart>(o =>
    {
        o.Claims = (_, cart) => cart.Role is { } role ? [new Claim(ClaimTypes.Role, role)] : [];
        o.LoginPath = "/signin";
    });
builder.Services.AddAuthorizationBuilder().AddPolicy("Operators", policy => policy.RequireRole("admin"));
builder.Services.AddAntiforgery();

var app = builder.Build();

app.Use(
    (context, next) =>
    {
        context.Response.Headers.ContentSecurityPolicy = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'";
        context.Response.Headers.XContentTypeOptions = "nosniff";
        return next(context);
    }
);
app.UseDefaultFiles();
app.UseStaticFiles();
app.UseSession<Cart>();
app.UseAuthentication();
app.UseAuthorization();
app.UseAntiforgery();

app.MapGet("/plain", () => "hello");

app.MapPost(
    "/cart/{sku}",
    async (string sku, Session<Cart> session) =>
        Sku.IsValid(sku)
            ? Results.Ok(CartView.Of(await session.UpdateAsync(cart => (cart ?? Cart.Empty).Add(sku))))
            : Results.BadRequest(new { error = "A sku is 1 to 40 of a-z A-Z 0-9 _ -." })
);

app.MapGet("/cart", (Session<Cart> session) => CartView.Of(session.Data));

// People sign in on this page. The form's token belongs to their browser; one that another site has them send is refused.
app.MapGet("/signin", (HttpContext context, IAntiforgery forms) => LoginPage.Show(context, forms));
app.MapPost(
    "/signin",
    async (
        [FromForm] string? user,
        [FromForm] string? role,
        [FromQuery] string? returnUrl,
        Session<Cart> session,
        HttpContext context,
        IAntiforgery forms
    ) =>
    {
        var login = new Login(user?.Trim(), role);
        if (login.Error is { } error)
            return LoginPage.Show(context, forms, error);

        await login.SignInAsync(session, context.Request);
        return Results.LocalRedirect(RedirectHttpResult.IsLocalUrl(returnUrl) ? returnUrl! : "/");
    }
);

// Programs sign in by JSON, which no form can send.
app.MapPost(
    "/login",
    async (Login login, Session<Cart> session, HttpRequest request) =>
    {
        if (login.Error is { } error)
            return Results.BadRequest(new { error });

        await login.SignInAsync(session, request);
        return Results.Ok(new Success(true));
    }
);

// Whoever is not signed in is sent to the login page, and comes back.
app.MapGet("/account", () => Results.LocalRedirect("/#account")).RequireAuthorization();

// What the page's script asks for: a 401 in place of the way to the login page.
var account = app.MapGroup("").RequireAuthorization().DisableCookieRedirect();

account.MapGet(
    "/profile",
    (Session<Cart> session) => new Profile(session.Subject!, session.Data!.Role, session.Data.Items)
);

account.MapGet(
    "/sessions",
    async (Session<Cart> session, SessionManager<Cart> manager, CancellationToken cancel) =>
    {
        var devices = new List<Device>();
        await foreach (var device in manager.ListAsync(session.Subject!, cancel))
            devices.Add(new(device.Id.Value, device.CreatedAt, device.LastSeen, device.Id == session.Id));

        return devices.OrderByDescending(device => device.LastSeen);
    }
);

// Open until the session ends, wherever that happens: the page in another browser shows it at once.
account
    .MapGet(
        "/events",
        (Session<Cart> session, CancellationToken cancel) => TypedResults.ServerSentEvents(Life.Of(session, cancel))
    )
    .NoTouch();

account.MapDelete(
    "/sessions/{id}",
    async (string id, Session<Cart> session, SessionManager<Cart> manager, CancellationToken cancel) =>
    {
        // Whoever knows an id may not end it for that.
        if (
            !SessionId.TryParse(id, out var target)
            || (await manager.FindAsync(target, cancel))?.Subject != session.Subject
        )
            return Results.NotFound();

        if (target == session.Id)
            await session.DestroyAsync(cancel);
        else
            await manager.DestroySessionAsync(target, cancel);

        return Results.NoContent();
    }
);

account.MapPost(
    "/logout-everywhere",
    async (Session<Cart> session, SessionManager<Cart> manager) =>
    {
        var user = session.Subject!;
        // The current one first: it expires the cookie of this browser.
        await session.DestroyAsync();
        return new Ended(1 + await manager.DestroyAllAsync(user));
    }
);

app.MapPost(
    "/logout",
    async (Session<Cart> session) =>
    {
        await session.DestroyAsync();
        return new LoggedOut(true);
    }
);

// The library's own pages: a user's devices, and the operators' dashboard, which only Development lets everybody see.
app.MapMySessions<Cart>("/account/sessions", o => o.Describe = (_, cart) => cart?.Device);
var dashboard = app.MapSessionDashboard<Cart>(
    "/operators/sessions",
    o =>
    {
        o.Title = "Sessions of the tea shelf";
        o.AlwaysCount = true;
    }
);
if (!app.Environment.IsDevelopment())
    dashboard.RequireAuthorization("Operators");

app.Lifetime.ApplicationStarted.Register(() =>
{
    foreach (var url in app.Urls)
        Pages.Told(app.Logger, url, url + "/account/sessions", url + "/operators/sessions");
});
app.Run();

internal static partial class Pages
{
    [LoggerMessage(LogLevel.Information, "The shop: {Shop} Devices: {Devices} Dashboard: {Dashboard}")]
    internal static partial void Told(ILogger log, string shop, string devices, string dashboard);
}

internal static partial class Sku
{
    [GeneratedRegex("^[A-Za-z0-9_-]{1,40}$")]
    private static partial Regex Pattern();

    public static bool IsValid(string sku) => Pattern().IsMatch(sku);
}
