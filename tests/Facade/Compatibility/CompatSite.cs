using System.Collections.Concurrent;
using System.Globalization;
using System.Runtime.ExceptionServices;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Caching.Distributed;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Time.Testing;
using Session.AspNetCore;
using Session.CSharp;
using Session.Engine;

namespace Facade.Compatibility;

/// <summary>Whose <c>HttpContext.Session</c>: the same application on either.</summary>
public enum Sessions
{
    Framework,
    Ours,
}

/// <summary>An application that uses <c>HttpContext.Session</c>, and nothing else of this library.</summary>
internal sealed class CompatSite : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly ConcurrentDictionary<string, Func<HttpContext, Task>> _work = new();
    private readonly ConcurrentDictionary<string, Exception> _failures = new();
    private int _last;

    private CompatSite(WebApplication app, FakeTimeProvider clock) => (_app, Clock) = (app, clock);

    public FakeTimeProvider Clock { get; }

    public IServiceProvider Services => _app.Services;

    public Uri Address => new(_app.Urls.First());

    /// <summary>One request's cookies do not matter to it: each visitor has a jar of its own.</summary>
    public HttpClient Client { get; } =
        new(
            new SocketsHttpHandler
            {
                UseCookies = false,
                AllowAutoRedirect = false,
                MaxConnectionsPerServer = 200,
            }
        );

    public static async Task<CompatSite> StartAsync(
        Sessions whose,
        Action<SessionOptions>? configure = null,
        Action<WebApplication>? before = null,
        Action<WebApplication>? map = null,
        Action<IServiceCollection>? add = null,
        Action<SessionBuilder>? build = null,
        Action<SessionOptions<SessionValues>>? more = null,
        FakeTimeProvider? clock = null,
        IDistributedCache? cache = null,
        ISessionStore? store = null,
        string environment = "Production"
    )
    {
        var builder = WebApplication.CreateSlimBuilder(
            new Microsoft.AspNetCore.Builder.WebApplicationOptions
            {
                EnvironmentName = environment,
                ApplicationName = typeof(CompatSite).Assembly.GetName().Name,
            }
        );
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        builder.Logging.ClearProviders();
        clock ??= new FakeTimeProvider(new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero));
        builder.Services.AddSingleton<TimeProvider>(clock);
        builder.Services.AddSingleton(cache ?? new ClockedCache(clock));
        add?.Invoke(builder.Services);
        if (whose == Sessions.Ours)
        {
            var sessions = builder.Services.AddSessionCompatibility(configure, more);
            if (store is null)
                sessions.UseMemory();
            else
                sessions.UseStore(_ => store);

            build?.Invoke(sessions);
        }
        else
        {
            builder.Services.AddSession(configure ?? (_ => { }));
        }

        var app = builder.Build();
        var site = new CompatSite(app, clock);
        before?.Invoke(app);
        app.UseRouting();
        if (whose == Sessions.Ours)
            app.UseSessionCompatibility();
        else
            app.UseSession();

        app.MapMethods(
            "/run/{key}",
            ["GET", "POST"],
            (string key, HttpContext context) => site.WorkAsync(key, context)
        );
        map?.Invoke(app);
        await app.StartAsync();
        return site;
    }

    public Visitor NewVisitor() => new(this);

    private async Task WorkAsync(string key, HttpContext context)
    {
        try
        {
            await _work[key](context);
        }
        catch (Exception error) when (error is Xunit.Sdk.XunitException)
        {
            // A failed assertion: for the test, not for the client.
            _failures[key] = error;
        }
    }

    internal string Plan(Func<HttpContext, Task> work)
    {
        var key = Interlocked.Increment(ref _last).ToString(CultureInfo.InvariantCulture);
        _work[key] = work;
        return key;
    }

    internal void ThrowIfFailed(string key)
    {
        if (_failures.TryRemove(key, out var failure))
            ExceptionDispatchInfo.Throw(failure);
    }

    public async ValueTask DisposeAsync()
    {
        Client.Dispose();
        await _app.DisposeAsync();
    }
}
