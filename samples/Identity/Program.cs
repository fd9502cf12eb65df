using System.Security.Claims;
using Identity;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Identity;
using Microsoft.AspNetCore.Mvc;
using Microsoft.EntityFrameworkCore;
using Session.CSharp;

var builder = WebApplication.CreateBuilder(args);
if (string.IsNullOrEmpty(builder.Configuration["urls"]))
    builder.WebHost.UseUrls("http://127.0.0.1:5082");

var folder = builder.Configuration["data"] ?? builder.Environment.ContentRootPath;
builder.Services.AddDbContext<Users>(o => o.UseSqlite($"Data Source={Path.Combine(folder, "users.db")}"));
builder
    .Services.AddIdentity<IdentityUser, IdentityRole>(o =>
    {
        // Length, and no rules of composition (NIST SP 800-63B-4).
        o.Password.RequiredLength = 12;
        o.Password.RequireDigit = o.Password.RequireLowercase = false;
        o.Password.RequireUppercase = o.Password.RequireNonAlphanumeric = false;
    })
    .AddEntityFrameworkStores<Users>()
    .AddDefaultTokenProviders();
builder.Services.ConfigureApplicationCookie(o => o.LoginPath = "/login");

// All that there is to it: Identity's four cookies keep their tickets in this file.
builder.Services.AddServerSideTickets().UseSqlite(Path.Combine(folder, "sessions.db"));

builder.Services.AddAuthorization();
builder.Services.AddAntiforgery();

var app = builder.Build();
using (var scope = app.Services.CreateScope())
    await scope.ServiceProvider.GetRequiredService<Users>().Database.EnsureCreatedAsync();

app.Use(
    (context, next) =>
    {
        context.Response.Headers.ContentSecurityPolicy = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'";
        context.Response.Headers.XContentTypeOptions = "nosniff";
        return next(context);
    }
);
app.UseStaticFiles();
app.UseAuthentication();
app.UseAuthorization();
app.UseAntiforgery();

app.MapGet("/", (HttpContext context) => Pages.Home(context));
app.MapGet("/register", (HttpContext context) => Pages.Register(context));
app.MapPost(
    "/register",
    async (
        [FromForm] string user,
        [FromForm] string password,
        HttpContext context,
        UserManager<IdentityUser> users,
        SignInManager<IdentityUser> signIn
    ) =>
    {
        var account = new IdentityUser(user);
        var created = await users.CreateAsync(account, password);
        if (!created.Succeeded)
            return Pages.Register(context, created.Errors.Select(it => it.Description));

        await signIn.SignInAsync(account, isPersistent: false);
        return Results.Redirect("/devices");
    }
);

app.MapGet("/login", (HttpContext context) => Pages.Login(context));
app.MapPost(
    "/login",
    async (
        [FromForm] string user,
        [FromForm] string password,
        [FromForm] bool? remember,
        [FromQuery] string? returnUrl,
        HttpContext context,
        SignInManager<IdentityUser> signIn
    ) =>
    {
        var result = await signIn.PasswordSignInAsync(user, password, remember == true, lockoutOnFailure: true);
        return result.Succeeded
            ? Results.Redirect(RedirectHttpResult.IsLocalUrl(returnUrl) ? returnUrl! : "/devices")
            : Pages.Login(context, ["The user name or the password is wrong."]);
    }
);
app.MapPost(
    "/logout",
    async (IFormCollection _, SignInManager<IdentityUser> signIn) =>
    {
        await signIn.SignOutAsync();
        return Results.Redirect("/");
    }
);

var account = app.MapGroup("").RequireAuthorization();

account.MapGet(
    "/devices",
    async (HttpContext context, ClaimsPrincipal me, SessionManager<AuthenticationTicket> sessions) =>
    {
        var current = await context.GetTicketSessionIdAsync();
        var devices = new List<SessionInfo>();
        await foreach (var device in sessions.ListAsync(me.Id()))
            devices.Add(device);

        return Pages.Devices(context, devices.OrderByDescending(it => it.LastSeen), current);
    }
);
account.MapPost(
    "/devices/end",
    async ([FromForm] SessionId id, ClaimsPrincipal me, SessionManager<AuthenticationTicket> sessions) =>
    {
        // Whoever may see an id may not end it for that.
        if ((await sessions.FindAsync(id))?.Subject != me.Id())
            return Results.NotFound();

        await sessions.DestroySessionAsync(id);
        return Results.Redirect("/devices");
    }
);
account.MapPost(
    "/devices/end-others",
    async (IFormCollection _, HttpContext context, ClaimsPrincipal me, SessionManager<AuthenticationTicket> sessions) =>
    {
        await sessions.DestroyAllAsync(me.Id(), except: await context.GetTicketSessionIdAsync());
        return Results.Redirect("/devices");
    }
);

account.MapGet("/password", (HttpContext context) => Pages.Password(context));
account.MapPost(
    "/password",
    async (
        [FromForm] string current,
        [FromForm] string next,
        HttpContext context,
        UserManager<IdentityUser> users,
        SignInManager<IdentityUser> signIn,
        SessionManager<AuthenticationTicket> sessions
    ) =>
    {
        if (await users.GetUserAsync(context.User) is not { } user)
            return Results.Redirect("/login");

        var changed = await users.ChangePasswordAsync(user, current, next);
        if (!changed.Succeeded)
            return Pages.Password(context, changed.Errors.Select(it => it.Description));

        // A new token for this browser, and nobody else stays: from the next request on, on every node.
        await signIn.RefreshSignInAsync(user);
        await sessions.DestroyAllAsync(user.Id, except: await context.GetTicketSessionIdAsync());
        return Results.Redirect("/devices");
    }
);

app.Run();

internal static class Me
{
    public static string Id(this ClaimsPrincipal me) => me.FindFirstValue(ClaimTypes.NameIdentifier)!;
}
