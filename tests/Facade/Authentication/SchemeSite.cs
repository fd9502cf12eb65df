using System.Security.Claims;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.DataProtection;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.ApplicationParts;
using Microsoft.AspNetCore.SignalR;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Time.Testing;
using Session.CSharp;
using Session.Engine;

namespace Facade.Authentication;

/// <summary>The memory store: how often it was read, and whether it answers.</summary>
internal sealed class Watched : Passing
{
    private int _loads;

    public int Loads => Volatile.Read(ref _loads);
    public bool IsAway { get; set; }

    /// <summary>As a server that is far away: nothing is there at once.</summary>
    public bool IsFar { get; set; }

    public override async ValueTask<StoredRecord?> Load(string id, CancellationToken cancel)
    {
        Interlocked.Increment(ref _loads);
        if (IsAway)
            throw new IOException("away");

        if (IsFar)
            await Task.Delay(20, cancel);

        return await base.Load(id, cancel);
    }

    public override ValueTask<WriteResult> Insert(StoredRecord record, CancellationToken cancel) =>
        IsAway ? throw new IOException("away") : base.Insert(record, cancel);
}

/// <summary>A role of the user is the item of the cart.</summary>
[Route("mvc")]
public class MemberController : Controller
{
    [HttpGet("admin"), Authorize(Roles = "admin")]
    public string Admin() => User.Identity!.Name!;

    [HttpGet("anybody")]
    public string Anybody() => User.Identity!.Name ?? "nobody";
}

[ApiController, Route("api")]
public class MemberApiController : ControllerBase
{
    [HttpGet("admin"), Authorize(Roles = "admin")]
    public string Admin() => User.Identity!.Name!;
}

[Authorize]
public class MemberHub : Hub
{
    public string Who() => Context.User!.Identity!.Name!;

    [Authorize(Roles = "admin")]
    public string Admin() => Context.User!.Identity!.Name!;
}

public class OpenHub : Hub
{
    public string Who() => Context.User!.Identity!.Name ?? "nobody";
}

/// <summary>What an application answers with, for JSON.</summary>
public sealed record Who(string? Name);

/// <summary>An application of every kind of endpoint, with sessions as a scheme.</summary>
internal static class SchemeSite
{
    /// <summary>Each way to ask for the role of an administrator.</summary>
    public static readonly string[] ForAdmins =
    [
        "/minimal/admin",
        "/json/admin",
        "/group/admin",
        "/policy/admin",
        "/filter/admin",
        "/mvc/admin",
        "/api/admin",
        "/pages/admin",
        "/blazor/admin",
    ];

    public static readonly DateTimeOffset Start = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    public static void Usual(SessionAuthenticationOptions<Cart> options)
    {
        options.Claims = (_, cart) => [new Claim(ClaimTypes.Role, cart.Item)];
        options.LoginPath = "/signin";
        options.AccessDeniedPath = "/denied";
    }

    /// <param name="authentication">Null: the one scheme, with the usual settings.</param>
    /// <param name="pipeline">Before the endpoints. Null: UseSession alone; the framework adds the rest by itself.</param>
    public static Task<EdgeSite> StartAsync(
        Action<IServiceCollection>? authentication = null,
        Watched? store = null,
        Action<WebApplication>? pipeline = null,
        Action<WebApplication>? map = null,
        Action<IServiceCollection>? add = null,
        Action<SessionOptions<Cart>>? configure = null,
        FakeTimeProvider? clock = null,
        string environment = "Production",
        Action<Microsoft.Extensions.Logging.ILoggingBuilder>? log = null
    ) =>
        EdgeSite.StartAsync(
            app =>
            {
                if (pipeline is null)
                    app.UseSession<Cart>();
                else
                    pipeline(app);

                Map(app);
                map?.Invoke(app);
            },
            services =>
            {
                if (clock is not null)
                    services.AddSingleton<TimeProvider>(clock);

                if (authentication is null)
                    services.AddAuthentication().AddSession<Cart>(Usual);
                else
                    authentication(services);

                services.AddAuthorizationBuilder().AddPolicy("admins", policy => policy.RequireRole("admin"));
                services.AddSignalR();
                services.AddRazorPages().ConfigureApplicationPartManager(AddParts);
                services.AddControllers();
                services.AddRazorComponents();
                services.AddAntiforgery();
                services.AddDataProtection().UseEphemeralDataProtectionProvider();
                add?.Invoke(services);
            },
            configure,
            environment,
            store,
            log
        );

    private static void AddParts(ApplicationPartManager parts)
    {
        parts.ApplicationParts.Add(new AssemblyPart(typeof(MemberController).Assembly));
        parts.ApplicationParts.Add(new CompiledRazorAssemblyPart(typeof(Pages.Root).Assembly));
    }

    private static void Map(WebApplication app)
    {
        app.MapGet("/health", () => "ok");
        app.MapPost(
            "/login",
            (string user, string role, Session<Cart> session) => session.SignInAsync(user, new Cart(role))
        );
        app.MapPost("/begin", (Session<Cart> session) => session.CreateAsync(new Cart("tea")));
        app.MapGet("/me", (HttpContext context) => context.User.Identity!.Name).RequireAuthorization();
        app.MapGet("/minimal/admin", [Authorize(Roles = "admin")] (ClaimsPrincipal user) => user.Identity!.Name);
        app.MapGet("/json/admin", [Authorize(Roles = "admin")] (ClaimsPrincipal user) => new Who(user.Identity!.Name));
        app.MapGroup("/group")
            .RequireAuthorization(policy => policy.RequireRole("admin"))
            .MapGet("/admin", (HttpContext context) => context.User.Identity!.Name);
        app.MapGet("/policy/admin", (ClaimsPrincipal user) => user.Identity!.Name).RequireAuthorization("admins");
        app.MapGet(
            "/filter/admin",
            async (HttpContext context, IAuthorizationService authorization) =>
                (await authorization.AuthorizeAsync(context.User, "admins")).Succeeded
                    ? Results.Text(context.User.Identity!.Name)
                : context.User.Identity!.IsAuthenticated ? Results.Forbid()
                : Results.Challenge()
        );
        app.MapGet("/principal", (ClaimsPrincipal user) => user.Identity!.Name ?? "nobody");
        app.MapGet("/context", (HttpContext context) => context.User.Identity!.Name ?? "nobody");
        app.MapGet(
            "/awaited",
            async (HttpContext context) =>
                (await context.AuthenticateAsync()) is { Succeeded: true } result
                    ? result.Principal.Identity!.Name
                    : "nobody"
        );
        app.MapGet(
            "/both",
            (Session<Cart> session, ClaimsPrincipal user) => $"{session.Subject} {user.Identity!.Name}"
        );
        app.MapHub<MemberHub>("/hub");
        app.MapHub<OpenHub>("/open-hub");
        app.MapControllers();
        app.MapRazorPages();
        app.MapRazorComponents<Pages.Root>().DisableAntiforgery();
    }

    /// <summary>Signs in, and presents the token once, as each client does.</summary>
    public static async Task<string> SignInAsync(this EdgeSite site, string role = "admin", string user = "ada")
    {
        var token = (await site.SendAsync("POST", $"/login?user={user}&role={role}")).Token;
        await site.GetAsync("/both", token);
        return token;
    }
}
