using System.Collections.Concurrent;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Mvc;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Session.CSharp;

namespace Integration.App;

/// <summary>Every way to say that an endpoint needs a session, in an application whose pipeline the test decides.</summary>
public sealed class GuardApp : IAsyncDisposable
{
    private readonly WebApplication _app;

    private GuardApp(WebApplication app) => _app = app;

    /// <summary>Paths that need a session, and those that need a sign-in.</summary>
    public static IReadOnlyList<string> Guarded { get; } =
    ["/minimal", "/group/minimal", "/lambda", "/lambda-any", "/metadata", "/mvc/one", "/mvc/any", "/conventional"];

    public static IReadOnlyList<string> SignedIn { get; } =
    ["/signed-in", "/signed-in-lambda", "/mvc/signed-in", "/both"];

    public Uri Address => new(_app.Urls.First());

    /// <summary>The endpoints that ran.</summary>
    public ConcurrentQueue<string> Ran => _app.Services.GetRequiredService<Running>().Paths;

    /// <summary>What was logged, exceptions included.</summary>
    public ConcurrentQueue<string> Log { get; private init; } = new();

    public static async Task<GuardApp> StartAsync(
        Action<IServiceCollection> services,
        Action<WebApplication> pipeline,
        string environment
    )
    {
        var builder = WebApplication.CreateSlimBuilder(new WebApplicationOptions { EnvironmentName = environment });
        var log = new ConcurrentQueue<string>();
        builder.Logging.ClearProviders();
        builder.Logging.AddProvider(new Collector(log));
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        builder.Services.AddSingleton<Running>();
        builder.Services.AddControllers().AddApplicationPart(typeof(GuardedController).Assembly);
        services(builder.Services);
        var app = builder.Build();
        try
        {
            pipeline(app);
            Map(app, app.Services.GetRequiredService<Running>());
            await app.StartAsync();
        }
        catch
        {
            await app.DisposeAsync();
            throw;
        }
        return new GuardApp(app) { Log = log };
    }

    private static void Map(WebApplication app, Running running)
    {
        app.MapGet("/open", () => running.Note("/open"));
        app.MapGet("/minimal", () => running.Note("/minimal")).RequireSession<Cart>();
        var group = app.MapGroup("/group").RequireSession<Cart, Microsoft.AspNetCore.Routing.RouteGroupBuilder>();
        group.MapGet("/minimal", () => running.Note("/group/minimal"));
        app.MapGet("/lambda", [RequireSession<Cart>] () => running.Note("/lambda"));
        app.MapGet("/lambda-any", [RequireSession] () => running.Note("/lambda-any"));
        app.MapGet("/metadata", () => running.Note("/metadata")).WithMetadata(new RequireSessionAttribute<Cart>());
        app.MapGet("/signed-in", () => running.Note("/signed-in")).RequireSignIn<Cart>();
        app.MapGet(
            "/signed-in-lambda",
            [RequireSession<Cart>(SignedIn = true)]
            () => running.Note("/signed-in-lambda")
        );
        app.MapGet("/both", () => running.Note("/both")).RequireSignIn<Cart>().RequireSession<Cart>();
        app.MapControllers();
        app.MapControllerRoute("conventional", "conventional", new { controller = "Conventional", action = "Index" })
            .RequireSession<Cart, ControllerActionEndpointConventionBuilder>();

        app.MapPost("/begin", (Session<Cart> session) => session.CreateAsync(Cart.Empty));
        app.MapPost("/login", (Session<Cart> session) => session.SignInAsync("ann", Cart.Empty));
        app.MapPost("/logout", (Session<Cart> session) => session.DestroyAsync());
    }

    public async ValueTask DisposeAsync()
    {
        await _app.StopAsync();
        await _app.DisposeAsync();
    }

    private sealed class Collector(ConcurrentQueue<string> lines) : ILoggerProvider, ILogger
    {
        public ILogger CreateLogger(string categoryName) => this;

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Information;

        public void Log<TState>(
            LogLevel logLevel,
            EventId eventId,
            TState state,
            Exception? exception,
            Func<TState, Exception?, string> formatter
        ) => lines.Enqueue($"{logLevel}: {formatter(state, exception)} {exception}");

        public void Dispose() { }
    }
}

/// <summary>Which endpoints ran.</summary>
public sealed class Running
{
    public ConcurrentQueue<string> Paths { get; } = new();

    public string Note(string path)
    {
        Paths.Enqueue(path);
        return path;
    }
}

[ApiController]
[Route("mvc")]
public sealed class GuardedController(Running running) : ControllerBase
{
    [HttpGet("one")]
    [RequireSession<Cart>]
    public string One() => running.Note("/mvc/one");

    [HttpGet("any")]
    [RequireSession]
    public string Any() => running.Note("/mvc/any");

    [HttpGet("signed-in")]
    [RequireSession(SignedIn = true)]
    public string SignedIn() => running.Note("/mvc/signed-in");
}

public sealed class ConventionalController(Running running) : Controller
{
    public string Index() => running.Note("/conventional");
}
