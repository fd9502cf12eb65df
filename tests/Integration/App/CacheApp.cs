using System.Collections.Concurrent;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.OutputCaching;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Session.CSharp;

namespace Integration.App;

/// <summary>What keeps answers: in the application, or in front of it.</summary>
public enum Keeper
{
    /// <summary>The output cache with its default policy.</summary>
    Output,

    /// <summary>The output cache with a policy that asks for no user, as in many an answer on the web.</summary>
    OutputOfAll,

    /// <summary>The output cache with a policy that allows storage once more when the answer is there.</summary>
    OutputByForce,

    /// <summary>Response caching.</summary>
    Response,

    /// <summary>Nothing in the application: a proxy in front of it.</summary>
    Proxy,
}

/// <summary>Pages that an application lets caches keep, although they depend on the session: each names who it is for.</summary>
public sealed class CacheApp : IAsyncDisposable
{
    private readonly WebApplication _app;
    private int _sharedRuns;

    private readonly Shelf _shelf;

    private CacheApp(WebApplication app, Clock clock, Shelf shelf) => (_app, Time, _shelf) = (app, clock, shelf);

    /// <summary>How many answers the output cache has stored.</summary>
    public int Stored => _shelf.Count;

    public Uri Address => new(_app.Urls.First());

    public Clock Time { get; }

    /// <summary>How often the endpoint ran whose answers are for everybody.</summary>
    public int SharedRuns => _sharedRuns;

    /// <param name="keeper">What keeps answers.</param>
    /// <param name="isCacheFirst">Whether the cache's middleware comes before the session's.</param>
    /// <param name="isBuiltIn">With Microsoft.AspNetCore.Session in place of this library.</param>
    public static async Task<CacheApp> StartAsync(Keeper keeper, bool isCacheFirst, bool isBuiltIn)
    {
        var builder = WebApplication.CreateSlimBuilder(new WebApplicationOptions { EnvironmentName = "Production" });
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        var clock = new Clock();
        var shelf = new Shelf();
        builder.Services.AddSingleton<IOutputCacheStore>(shelf);
        builder.Services.AddResponseCaching();
        builder.Services.AddOutputCache(o => o.AddPolicy("kept", new Policy(keeper)));
        Visitors visitors = isBuiltIn ? new BuiltIn() : new Own();
        if (isBuiltIn)
            builder.Services.AddDistributedMemoryCache().AddSession(o => o.Cookie.Name = "sid");
        else
        {
            builder.Services.AddSingleton<TimeProvider>(clock);
            builder
                .Services.AddSession<Visit>(o =>
                {
                    o.Cookie.Name = "sid";
                    o.Cookie.SecurePolicy = CookieSecurePolicy.SameAsRequest;
                })
                .UseMemory();
        }

        var app = builder.Build();
        var it = new CacheApp(app, clock, shelf);
        app.UseRouting();
        if (isCacheFirst)
            Keep();

        if (isBuiltIn)
            app.UseSession();
        else
            app.UseSession<Visit>();

        if (!isCacheFirst)
            Keep();

        it.Map(app, keeper, visitors);
        await app.StartAsync();
        return it;

        void Keep()
        {
            if (keeper == Keeper.Response)
                app.UseResponseCaching();
            else if (keeper != Keeper.Proxy)
                app.UseOutputCache();
        }
    }

    private void Map(WebApplication app, Keeper keeper, Visitors visitors)
    {
        var isOutput = keeper is Keeper.Output or Keeper.OutputOfAll or Keeper.OutputByForce;

        IEndpointConventionBuilder Page(string path, Func<HttpContext, Task<string>> page)
        {
            var endpoint = app.MapMethods(
                path,
                ["GET", "HEAD"],
                async (HttpContext context, bool early) =>
                {
                    if (early)
                        MayBeKept(context.Response);

                    var body = await page(context);
                    if (!early)
                        MayBeKept(context.Response);

                    if (body.Length > 0 && HttpMethods.IsGet(context.Request.Method))
                        await context.Response.WriteAsync(body);
                }
            );
            return !isOutput ? endpoint
                : keeper == Keeper.Output ? endpoint.CacheOutput()
                : endpoint.CacheOutput("kept");
        }

        static void MayBeKept(HttpResponse response) => response.Headers.CacheControl = "public, max-age=60";

        async Task<string> Named(HttpContext context)
        {
            var user = await visitors.UserAsync(context) ?? "nobody";
            context.Response.Headers["X-For"] = user;
            return user;
        }

        app.MapPost(
            "/begin",
            (HttpContext context) => visitors.SignInAsync(context, context.Request.Headers["X-Who"].ToString())
        );
        Page("/read", Named);
        visitors.Guard(Page("/guarded", Named));
        Page(
            "/empty",
            async context =>
            {
                await Named(context);
                return "";
            }
        );
        Page(
            "/tagged",
            async context =>
            {
                var user = await Named(context);
                context.Response.Headers.ETag = $"\"{user}\"";
                if (context.Request.Headers.IfNoneMatch != context.Response.Headers.ETag)
                    return user;

                context.Response.StatusCode = StatusCodes.Status304NotModified;
                return "";
            }
        );
        Page(
            "/login",
            async context =>
            {
                var user = context.Request.Headers["X-Who"].ToString();
                await visitors.SignInAsync(context, user);
                context.Response.Headers["X-For"] = user;
                return user;
            }
        );
        Page("/write", visitors.WriteAsync);

        // The same for everybody: what shows that the cache is one.
        var shared = Page(
            "/shared",
            async context =>
            {
                await visitors.UserAsync(context);
                Interlocked.Increment(ref _sharedRuns);
                return "all";
            }
        );
        shared.AllowSharedCaching();
    }

    public async ValueTask DisposeAsync()
    {
        await _app.StopAsync();
        await _app.DisposeAsync();
    }

    /// <summary>What this library's session keeps.</summary>
    public sealed record Visit(string Mark);

    /// <summary>The sessions' time: moved by the tests.</summary>
    public sealed class Clock : TimeProvider
    {
        private DateTimeOffset _now = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

        public override DateTimeOffset GetUtcNow() => _now;

        public void Advance(TimeSpan time) => _now += time;
    }

    /// <summary>Where the output cache keeps answers: without an end, and counted.</summary>
    private sealed class Shelf : IOutputCacheStore
    {
        private readonly ConcurrentDictionary<string, byte[]> _kept = new();

        public int Count => _kept.Count;

        public ValueTask<byte[]?> GetAsync(string key, CancellationToken cancellation) =>
            ValueTask.FromResult(_kept.TryGetValue(key, out var value) ? value : null);

        public ValueTask SetAsync(
            string key,
            byte[] value,
            string[]? tags,
            TimeSpan validFor,
            CancellationToken cancellation
        )
        {
            _kept[key] = value;
            return ValueTask.CompletedTask;
        }

        public ValueTask EvictByTagAsync(string tag, CancellationToken cancellation) => ValueTask.CompletedTask;
    }

    private sealed class Policy(Keeper keeper) : IOutputCachePolicy
    {
        public ValueTask CacheRequestAsync(OutputCacheContext context, CancellationToken cancellation)
        {
            context.EnableOutputCaching = true;
            context.AllowCacheLookup = true;
            context.AllowCacheStorage = true;
            context.AllowLocking = true;
            context.CacheVaryByRules.QueryKeys = "*";
            context.ResponseExpirationTimeSpan = TimeSpan.FromMinutes(1);
            return ValueTask.CompletedTask;
        }

        public ValueTask ServeFromCacheAsync(OutputCacheContext context, CancellationToken cancellation) =>
            ValueTask.CompletedTask;

        public ValueTask ServeResponseAsync(OutputCacheContext context, CancellationToken cancellation)
        {
            if (keeper == Keeper.OutputByForce)
                context.AllowCacheStorage = true;

            return ValueTask.CompletedTask;
        }
    }

    /// <summary>What a session is asked for.</summary>
    private abstract class Visitors
    {
        public abstract Task<string?> UserAsync(HttpContext context);

        public abstract Task SignInAsync(HttpContext context, string user);

        /// <summary>A mark of the session's own, put into it by its first write.</summary>
        public abstract Task<string> WriteAsync(HttpContext context);

        public abstract void Guard(IEndpointConventionBuilder endpoint);
    }

    private sealed class Own : Visitors
    {
        public override async Task<string?> UserAsync(HttpContext context) =>
            (await context.GetSessionAsync<Visit>()).Subject;

        public override async Task SignInAsync(HttpContext context, string user) =>
            await (await context.GetSessionAsync<Visit>()).SignInAsync(user, new Visit(Guid.NewGuid().ToString("N")));

        public override async Task<string> WriteAsync(HttpContext context)
        {
            var session = await context.GetSessionAsync<Visit>();
            var visit = await session.UpdateAsync(it => it ?? new Visit(Guid.NewGuid().ToString("N")));
            context.Response.Headers["X-For"] = visit.Mark;
            return visit.Mark;
        }

        public override void Guard(IEndpointConventionBuilder endpoint) => endpoint.RequireSignIn<Visit>();
    }

    private sealed class BuiltIn : Visitors
    {
        public override Task<string?> UserAsync(HttpContext context) =>
            Task.FromResult(context.Session.GetString("user"));

        public override Task SignInAsync(HttpContext context, string user)
        {
            context.Session.SetString("user", user);
            context.Session.SetString("mark", Guid.NewGuid().ToString("N"));
            return Task.CompletedTask;
        }

        public override Task<string> WriteAsync(HttpContext context)
        {
            var mark = context.Session.GetString("mark") ?? Guid.NewGuid().ToString("N");
            context.Session.SetString("mark", mark);
            context.Response.Headers["X-For"] = mark;
            return Task.FromResult(mark);
        }

        public override void Guard(IEndpointConventionBuilder endpoint) =>
            endpoint.Add(builder =>
            {
                var next = builder.RequestDelegate!;
                builder.RequestDelegate = context =>
                {
                    if (context.Session.GetString("user") is not null)
                        return next(context);

                    context.Response.StatusCode = StatusCodes.Status401Unauthorized;
                    return Task.CompletedTask;
                };
            });
    }
}
