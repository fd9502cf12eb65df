using System.Net;
using System.Security.Claims;
using Facade.Tickets;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authentication.Cookies;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Session.CSharp;
using Xunit;

namespace Facade;

/// <summary>
/// An endpoint that fails after it has signed somebody in, or has asked for a new token: the one before is dead, so the new one
/// reaches the client whoever answers for the failure, the server itself included. On a server with a network, as theirs drop all headers.
/// </summary>
public class KeptTokenTests
{
    public static TheoryData<string, string> Ways
    {
        get
        {
            var ways = new TheoryData<string, string>();
            foreach (var handling in new[] { "none", "held back", "lambda", "path", "developer" })
            foreach (var fails in new[] { "at once", "later", "bad request", "the store" })
                ways.Add(handling, fails);

            return ways;
        }
    }

    /// <summary>What the server has written of exceptions that nobody answered.</summary>
    private sealed class ServerLog : ILoggerProvider, ILogger
    {
        public List<Exception> Unhandled { get; } = [];

        public ILogger CreateLogger(string categoryName) => this;

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Error;

        public void Log<TState>(
            LogLevel logLevel,
            EventId eventId,
            TState state,
            Exception? exception,
            Func<TState, Exception?, string> formatter
        )
        {
            if (exception is FormatException && logLevel >= LogLevel.Error)
                lock (Unhandled)
                    Unhandled.Add(exception);
        }

        public void Dispose() { }
    }

    private static void Handle(WebApplication app, string handling)
    {
        switch (handling)
        {
            // As those who log what was answered do, and forget to put back.
            case "held back":
                app.Use(
                    async (context, next) =>
                    {
                        var before = context.Response.Body;
                        context.Response.Body = new MemoryStream();
                        await next();
                        context.Response.Body.Position = 0;
                        await context.Response.Body.CopyToAsync(before);
                        context.Response.Body = before;
                    }
                );
                break;
            case "lambda":
                app.UseExceptionHandler(error => error.Run(context => context.Response.WriteAsync("sorry")));
                break;
            case "path":
                app.UseExceptionHandler("/sorry");
                break;
            case "developer":
                app.UseDeveloperExceptionPage();
                break;
        }
    }

    private static async Task FailAsync<T>(HttpContext context, string fails, FailingStore store)
        where T : class
    {
        context.Response.Headers["X-Own"] = "of the answer";
        if (fails == "later")
            await Task.Delay(5);

        if (fails == "bad request")
            throw new BadHttpRequestException("too much", 413);

        if (fails != "the store")
            throw new FormatException("the mail server");

        store.IsDown = true;
        try
        {
            var manager = context.RequestServices.GetRequiredService<SessionManager<T>>();
            await manager.FindAsync(SessionId.Parse("nobody"));
        }
        finally
        {
            store.IsDown = false;
        }
    }

    private static int StatusOf(string handling, string fails) =>
        fails == "the store" ? 503
        : fails == "bad request" && handling is not "lambda" and not "path" ? 413
        : 500;

    [Theory, MemberData(nameof(Ways))]
    public async Task Of_a_session(string handling, string fails)
    {
        var log = new ServerLog();
        var store = new FailingStore();

        Task FailsAsync(HttpContext context) => FailAsync<Cart>(context, fails, store);

        await using var site = await EdgeSite.StartAsync(
            app =>
            {
                Handle(app, handling);
                app.UseSession<Cart>();
                app.MapPost("/add", (Session<Cart> session) => session.UpdateAsync(_ => new Cart("tea")));
                app.MapGet("/me", (Session<Cart> s) => $"{s.Subject ?? "nobody"} {s.Data?.Item}");
                app.MapPost(
                    "/login",
                    async (Session<Cart> session, HttpContext context) =>
                    {
                        await session.SignInAsync("ada", session.Data!);
                        await FailsAsync(context);
                    }
                );
                app.MapPost(
                    "/new",
                    async (Session<Cart> session, HttpContext context) =>
                    {
                        await session.RegenerateAsync();
                        await FailsAsync(context);
                    }
                );
                app.MapPost(
                    "/logout",
                    async (Session<Cart> session, HttpContext context) =>
                    {
                        await session.DestroyAsync();
                        await FailsAsync(context);
                    }
                );
                app.MapGet("/fails", (HttpContext context) => FailsAsync(context));
                app.Map("/sorry", () => "sorry");
            },
            store: store,
            log: logging => logging.AddProvider(log)
        );
        var token = (await site.SendAsync("POST", "/add")).Token;
        foreach (var (path, expected) in new[] { ("/login", "ada tea"), ("/new", "ada tea") })
        {
            var before = log.Unhandled.Count;
            var answer = await site.SendAsync("POST", path, ("Cookie", "__Host-sid=" + token));
            Assert.Equal(StatusOf(handling, fails), (int)answer.Status);
            // Ours keep what may be the application's about its security.
            if (fails != "the store")
                Assert.Null(answer["X-Own"]);
            Assert.Contains("no-store", answer["Cache-Control"], StringComparison.Ordinal);
            Assert.StartsWith("__Host-sid=", Assert.Single(answer.SetCookies), StringComparison.Ordinal);
            token = answer.Token;
            Assert.Equal(expected, (await site.GetAsync("/me", token)).Body);
            // What nobody has answered the server still hears of.
            if (fails is "at once" or "later")
                Assert.True(log.Unhandled.Count > before);
        }

        var manager = site.Services.GetRequiredService<SessionManager<Cart>>();
        var live = 0;
        await foreach (var _ in manager.ListAsync("ada"))
            live++;
        Assert.Equal(1, live);

        // A cookie that goes, goes; and what owes no token is the server's alone.
        var logout = await site.SendAsync("POST", "/logout", ("Cookie", "__Host-sid=" + token));
        Assert.StartsWith("__Host-sid=;", Assert.Single(logout.SetCookies), StringComparison.Ordinal);
        var failed = await site.GetAsync("/fails");
        Assert.Equal(StatusOf(handling, fails), (int)failed.Status);
        Assert.Empty(failed.SetCookies);
    }

    private sealed class TicketApp(WebApplication app) : IAsyncDisposable
    {
        private readonly HttpClient _client = new(new SocketsHttpHandler { UseCookies = false });

        public SessionManager<AuthenticationTicket> Manager =>
            app.Services.GetRequiredService<SessionManager<AuthenticationTicket>>();

        public static async Task<TicketApp> StartAsync(string handling, string fails)
        {
            var builder = WebApplication.CreateSlimBuilder(
                new WebApplicationOptions { EnvironmentName = "Production" }
            );
            builder.WebHost.UseUrls("http://127.0.0.1:0");
            builder.Logging.ClearProviders();
            builder.Services.AddAuthentication(CookieAuthenticationDefaults.AuthenticationScheme).AddCookie();
            var store = new FailingStore();
            builder.Services.AddServerSideTickets().UseStore(_ => store);
            var app = builder.Build();

            Task FailsAsync(HttpContext context) => FailAsync<AuthenticationTicket>(context, fails, store);

            Handle(app, handling);
            app.UseRouting();
            app.UseAuthentication();
            app.MapGet("/me", (ClaimsPrincipal user) => user.Identity?.Name ?? "nobody");
            app.Map(
                "/in/{user}",
                async (string user, bool fail, HttpContext context) =>
                {
                    var claims = new[] { new Claim(ClaimTypes.Name, user), new Claim(ClaimTypes.NameIdentifier, user) };
                    await context.SignInAsync(new ClaimsPrincipal(new ClaimsIdentity(claims, "test")));
                    if (fail)
                        await FailsAsync(context);
                }
            );
            app.Map(
                "/in-and-out",
                async (HttpContext context) =>
                {
                    var claims = new[] { new Claim(ClaimTypes.NameIdentifier, "ada") };
                    await context.SignInAsync(new ClaimsPrincipal(new ClaimsIdentity(claims, "test")));
                    await context.SignOutAsync();
                    await FailsAsync(context);
                }
            );
            app.Map("/sorry", () => "sorry");
            await app.StartAsync();
            return new TicketApp(app);
        }

        /// <summary>The cookie of the answer, else the one that was sent.</summary>
        public async Task<(int Status, string Cookie, string Body)> SendAsync(string path, string cookie = "")
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(new Uri(app.Urls.First()), path));
            if (cookie.Length > 0)
                request.Headers.TryAddWithoutValidation("Cookie", cookie);

            using var answer = await _client.SendAsync(request);
            var set = answer.Headers.TryGetValues("Set-Cookie", out var lines) ? Assert.Single(lines) : cookie;
            if (lines is not null)
                Assert.True(answer.Headers.CacheControl is { NoStore: true } or { NoCache: true }, $"{path}: kept");

            return ((int)answer.StatusCode, set.Split(';')[0], await answer.Content.ReadAsStringAsync());
        }

        public async ValueTask DisposeAsync()
        {
            _client.Dispose();
            await app.DisposeAsync();
        }
    }

    [Theory, MemberData(nameof(Ways))]
    public async Task Of_a_server_side_ticket(string handling, string fails)
    {
        await using var app = await TicketApp.StartAsync(handling, fails);
        // A first sign-in, the same user again (a role, a password), and another one.
        var cookie = "";
        foreach (var user in new[] { "ada", "ada", "bob" })
        {
            var answer = await app.SendAsync($"/in/{user}?fail=true", cookie);
            Assert.Equal(StatusOf(handling, fails), answer.Status);
            Assert.NotEqual(cookie, answer.Cookie);
            cookie = answer.Cookie;
            Assert.Equal(user, (await app.SendAsync("/me", cookie)).Body);
        }

        var live = new List<string?>();
        foreach (var user in new[] { "ada", "bob" })
        await foreach (var info in app.Manager.ListAsync(user))
            live.Add(info.Subject);
        Assert.Equal(["bob"], live);
        // Who has gone on to sign out gets no cookie of what is over.
        Assert.Equal("", (await app.SendAsync("/in-and-out")).Cookie.Split('=', 2)[^1]);
    }
}
