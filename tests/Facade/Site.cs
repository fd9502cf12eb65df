using System.Collections.Concurrent;
using System.Net;
using System.Runtime.ExceptionServices;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Time.Testing;
using Session.AspNetCore;
using Session.CSharp;
using Session.Engine;

namespace Facade;

public sealed record Cart(string Item, int Count = 1)
{
    /// <summary>What an application can change behind the session's back.</summary>
    public string? Note { get; set; }
}

/// <summary>An application on a free port, with a clock of its own.</summary>
internal sealed class Site : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly HttpClient _client;
    private readonly ConcurrentDictionary<string, Func<HttpContext, Task>> _work = new();
    private Exception? _failure;
    private int _last;

    private Site(WebApplication app, FakeTimeProvider clock)
    {
        _app = app;
        Clock = clock;
        _client = new HttpClient(new SocketsHttpHandler { UseCookies = false, AllowAutoRedirect = false });
    }

    public FakeTimeProvider Clock { get; }

    /// <summary>What no subject can be: halves of surrogate pairs, nothing, and more than 1,024 bytes of UTF-8 in fewer characters.</summary>
    public static IEnumerable<string> NoSubjects =>
        ["\ud800", "ada\udc00", "\udc00\ud800", "", new string('é', 512) + "a"];

    public IServiceProvider Services => _app.Services;

    public Uri Address => new(_app.Urls.First());
    public SessionManager<Cart> Manager => Services.GetRequiredService<SessionManager<Cart>>();
    public SessionSettings Settings => Services.GetRequiredService<SessionService<Cart>>().Settings;

    public static async Task<Site> StartAsync(
        Action<SessionOptions<Cart>>? configure = null,
        Action<WebApplication>? map = null,
        Func<ISessionStore>? store = null,
        Action<IServiceCollection>? add = null,
        FakeTimeProvider? clock = null
    )
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        builder.Logging.ClearProviders();
        clock ??= new FakeTimeProvider(new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero));
        builder.Services.AddSingleton<TimeProvider>(clock);
        var sessions = builder.Services.AddSession(configure);
        if (store is null)
            sessions.UseMemory();
        else
            sessions.UseStore(_ => store());

        add?.Invoke(builder.Services);
        var app = builder.Build();
        var site = new Site(app, clock);
        app.UseRouting();
        app.UseSession<Cart>();
        app.MapGet("/run/{key}", (string key, HttpContext context) => site.WorkAsync(key, context));
        map?.Invoke(app);
        await app.StartAsync();
        return site;
    }

    private async Task WorkAsync(string key, HttpContext context)
    {
        try
        {
            await _work[key](context);
        }
        catch (Exception error) when (error is not SessionException)
        {
            // A failed assertion: for the test, not for the client.
            _failure = error;
        }
    }

    public async Task<Reply> SendAsync(
        string path,
        string? token = null,
        string? header = null,
        HttpMethod? verb = null,
        string cookie = "__Host-sid"
    )
    {
        using var request = new HttpRequestMessage(verb ?? HttpMethod.Get, _app.Urls.First() + path);
        if (token is not null)
            request.Headers.TryAddWithoutValidation(
                header ?? "Cookie",
                header is null ? string.Join("; ", token.Split('|').Select(one => $"{cookie}={one}")) : token
            );

        using var response = await _client.SendAsync(request);
        var set = response.Headers.TryGetValues("Set-Cookie", out var lines) ? lines.ToArray() : [];
        var answered = response.Headers.TryGetValues(header ?? "none", out var values) ? values.Single() : null;
        return new Reply(response.StatusCode, await response.Content.ReadAsStringAsync(), set, answered);
    }

    /// <summary>Does this in one request, and fails as it fails.</summary>
    public async Task<Reply> InRequestAsync(Func<HttpContext, Task> work, string? token = null, string? header = null)
    {
        var key = Interlocked.Increment(ref _last).ToString(System.Globalization.CultureInfo.InvariantCulture);
        _work[key] = work;
        var reply = await SendAsync("/run/" + key, token, header);
        if (Interlocked.Exchange(ref _failure, null) is { } failure)
            ExceptionDispatchInfo.Throw(failure);

        return reply;
    }

    public Task<Reply> WithAsync(Func<Session<Cart>, Task> work, string? token = null, string? header = null) =>
        InRequestAsync(async context => await work(await context.GetSessionAsync<Cart>()), token, header);

    /// <summary>The token of a new session that its client has presented once.</summary>
    public async Task<string> BeginAsync(string? subject = null, string item = "tea")
    {
        var begun = await WithAsync(session =>
            subject is null ? session.CreateAsync(new Cart(item)) : session.SignInAsync(subject, new Cart(item))
        );
        var token = begun.Token!;
        await WithAsync(session => Task.CompletedTask, token);
        return token;
    }

    public static SessionId IdOf(string token) => SessionId.Parse(token.Split('.')[0]);

    public async ValueTask DisposeAsync()
    {
        _client.Dispose();
        await _app.DisposeAsync();
    }
}

internal sealed record Reply(HttpStatusCode Status, string Body, string[] SetCookies, string? Header)
{
    /// <summary>The token that the cookie brought.</summary>
    public string? Token =>
        SetCookies.Length == 0 ? null
        : SetCookies.Single().Split(';')[0].Split('=', 2)[1] is { Length: > 0 } it ? it
        : null;

    public bool IsCleared => SetCookies.Length == 1 && SetCookies[0].Contains("max-age=0", StringComparison.Ordinal);
}
