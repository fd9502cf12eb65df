using System.Collections.Concurrent;
using System.Runtime.ExceptionServices;
using System.Security.Claims;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authentication.Cookies;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.DataProtection;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.TestHost;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Microsoft.Extensions.Time.Testing;
using Session.AspNetCore;
using Session.CSharp;
using Session.Engine;

namespace Facade.Tickets;

/// <summary>What an application with cookie authentication is made of.</summary>
internal sealed class TicketPlan
{
    public ISessionStore Store { get; set; } = new MemoryStore();
    public FakeTimeProvider Clock { get; set; } = new(new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero));
    public IDataProtectionProvider Keys { get; set; } = new EphemeralDataProtectionProvider();
    public string Environment { get; set; } = "Production";
    public Action<SessionOptions<AuthenticationTicket>>? Tickets { get; set; }
    public Action<CookieAuthenticationOptions>? Cookie { get; set; }
    public Action<AuthenticationBuilder>? Schemes { get; set; }
    public Action<IServiceCollection>? Services { get; set; }
    public Action<WebApplication>? Pipeline { get; set; }

    /// <summary>Whether the line that adds tickets comes before those that add authentication.</summary>
    public bool TicketsFirst { get; set; }
}

/// <summary>One node of an application that signs its users in with the framework's cookies.</summary>
internal sealed class TicketSite : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly ConcurrentDictionary<string, Func<HttpContext, Task>> _work = new();
    private Exception? _failure;
    private int _last;

    private TicketSite(WebApplication app, FakeTimeProvider clock) => (_app, Clock) = (app, clock);

    public FakeTimeProvider Clock { get; }
    public IServiceProvider Services => _app.Services;

    public SessionManager<AuthenticationTicket> Manager =>
        Services.GetRequiredService<SessionManager<AuthenticationTicket>>();

    public static Task<TicketSite> StartAsync(Action<TicketPlan> change)
    {
        var plan = new TicketPlan();
        change(plan);
        return StartAsync(plan);
    }

    public static async Task<TicketSite> StartAsync(TicketPlan? plan = null)
    {
        plan ??= new TicketPlan();
        var builder = WebApplication.CreateSlimBuilder(
            new WebApplicationOptions { EnvironmentName = plan.Environment }
        );
        builder.WebHost.UseTestServer();
        builder.Logging.ClearProviders();
        builder.Services.AddSingleton<TimeProvider>(plan.Clock);
        void AddTickets() => builder.Services.AddServerSideTickets(plan.Tickets).UseStore(_ => plan.Store);

        if (plan.TicketsFirst)
            AddTickets();

        var schemes = builder
            .Services.AddAuthentication(CookieAuthenticationDefaults.AuthenticationScheme)
            .AddCookie(cookie => plan.Cookie?.Invoke(cookie));
        plan.Schemes?.Invoke(schemes);
        if (!plan.TicketsFirst)
            AddTickets();

        builder.Services.AddAuthorization();
        plan.Services?.Invoke(builder.Services);
        builder.Services.AddSingleton(plan.Keys);
        var app = builder.Build();
        var site = new TicketSite(app, plan.Clock);
        plan.Pipeline?.Invoke(app);
        app.UseRouting();
        app.UseAuthentication();
        app.UseAuthorization();
        app.MapGet("/run/{key}", (string key, HttpContext context) => site.WorkAsync(key, context));
        app.MapGet("/health", () => "well");
        app.MapGet("/guarded", () => "guarded").RequireAuthorization();
        try
        {
            await app.StartAsync();
        }
        catch
        {
            await app.DisposeAsync();
            throw;
        }

        return site;
    }

    private async Task WorkAsync(string key, HttpContext context)
    {
        try
        {
            await _work[key](context);
        }
        catch (Exception error) when (error is not SessionFailedException and not OperationCanceledException)
        {
            // A failed assertion: for the test, not for the client.
            _failure = error;
        }
    }

    public async Task<TicketAnswer> SendAsync(string path, IReadOnlyDictionary<string, string> cookies)
    {
        using var client = _app.GetTestServer().CreateClient();
        using var request = new HttpRequestMessage(HttpMethod.Get, path);
        if (cookies.Count > 0)
            request.Headers.TryAddWithoutValidation(
                "Cookie",
                string.Join("; ", cookies.Select(cookie => $"{cookie.Key}={cookie.Value}"))
            );

        using var response = await client.SendAsync(request);
        var set = response.Headers.TryGetValues("Set-Cookie", out var lines) ? lines.ToArray() : [];
        return new TicketAnswer(response.StatusCode, await response.Content.ReadAsStringAsync(), set);
    }

    /// <summary>Does this in one request, and fails as it fails.</summary>
    public async Task<TicketAnswer> RunAsync(Func<HttpContext, Task> work, IReadOnlyDictionary<string, string> cookies)
    {
        var key = Interlocked.Increment(ref _last).ToString(System.Globalization.CultureInfo.InvariantCulture);
        _work[key] = work;
        var answer = await SendAsync("/run/" + key, cookies);
        if (Interlocked.Exchange(ref _failure, null) is { } failure)
            ExceptionDispatchInfo.Throw(failure);

        return answer;
    }

    /// <summary>The key that a cookie of this scheme carries.</summary>
    public string KeyIn(string cookie, string scheme = CookieAuthenticationDefaults.AuthenticationScheme) =>
        Services
            .GetRequiredService<IOptionsMonitor<CookieAuthenticationOptions>>()
            .Get(scheme)
            .TicketDataFormat.Unprotect(cookie)!
            .Principal.Claims.Single()
            .Value;

    public async Task<List<SessionInfo>> ListAsync(string subject)
    {
        var found = new List<SessionInfo>();
        await foreach (var info in Manager.ListAsync(subject))
            found.Add(info);

        return found;
    }

    public ValueTask DisposeAsync() => _app.DisposeAsync();

    public static ClaimsPrincipal Principal(string user, string? role = null, string scheme = "test") =>
        new(
            new ClaimsIdentity(
                new[]
                {
                    new Claim(ClaimTypes.NameIdentifier, user),
                    new Claim(ClaimTypes.Name, user.ToUpperInvariant()),
                }.Concat(role is null ? [] : [new Claim(ClaimTypes.Role, role)]),
                scheme
            )
        );
}
