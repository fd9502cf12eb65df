using System.Text.RegularExpressions;
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

    // Plain HTTP on the developer's machine: clients there do not send Secure cookies back. Never in production.
    if (builder.Environment.IsDevelopment())
        o.Cookie.SecurePolicy = CookieSecurePolicy.SameAsRequest;
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

app.MapGet("/plain", () => "hello");

app.MapPost(
    "/cart/{sku}",
    async (string sku, Session<Cart> session) =>
        Sku.IsValid(sku)
            ? Results.Ok(CartView.Of(await session.UpdateAsync(cart => (cart ?? Cart.Empty).Add(sku))))
            : Results.BadRequest(new { error = "A sku is 1 to 40 of a-z A-Z 0-9 _ -." })
);

app.MapGet("/cart", (Session<Cart> session) => CartView.Of(session.Data));

app.MapPost(
    "/login",
    async (Login login, Session<Cart> session) =>
    {
        if (login.User is not { Length: > 0 and <= 100 } user || login.Role is { Length: > 40 })
            return Results.BadRequest(new { error = "A user name has 1 to 100 characters, a role at most 40." });

        await session.SignInAsync(user, (session.Data ?? Cart.Empty) with { Role = login.Role ?? "customer" });
        return Results.Ok(new Success(true));
    }
);

app.MapGet(
    "/profile",
    (Session<Cart> session) =>
        session is { Subject: { } user, Data: { } cart }
            ? Results.Ok(new Profile(user, cart.Role, cart.Items))
            : Results.Unauthorized()
);

app.MapGet(
    "/sessions",
    async (Session<Cart> session, SessionManager<Cart> manager, CancellationToken cancel) =>
    {
        if (session.Subject is not { } user)
            return Results.Unauthorized();

        var devices = new List<Device>();
        await foreach (var device in manager.ListAsync(user, cancel))
            devices.Add(new(device.Id.Value, device.CreatedAt, device.LastSeen, device.Id == session.Id));

        return Results.Ok(devices.OrderByDescending(device => device.LastSeen));
    }
);

app.MapDelete(
    "/sessions/{id}",
    async (string id, Session<Cart> session, SessionManager<Cart> manager, CancellationToken cancel) =>
    {
        if (session.Subject is not { } user)
            return Results.Unauthorized();

        if (!SessionId.TryParse(id, out var target) || (await manager.FindAsync(target, cancel))?.Subject != user)
            return Results.NotFound();

        if (target == session.Id)
            await session.DestroyAsync(cancel);
        else
            await manager.DestroySessionAsync(target, cancel);

        return Results.NoContent();
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

app.MapPost(
    "/logout-everywhere",
    async (Session<Cart> session, SessionManager<Cart> manager) =>
    {
        if (session.Subject is not { } user)
            return Results.Unauthorized();

        // The current one first: it expires the cookie of this browser.
        await session.DestroyAsync();
        return Results.Ok(new Ended(1 + await manager.DestroyAllAsync(user)));
    }
);

app.Run();

internal static partial class Sku
{
    [GeneratedRegex("^[A-Za-z0-9_-]{1,40}$")]
    private static partial Regex Pattern();

    public static bool IsValid(string sku) => Pattern().IsMatch(sku);
}
