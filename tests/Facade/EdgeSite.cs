using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Session.CSharp;
using Session.Engine;

namespace Facade;

/// <summary>An application whose pipeline the test decides, and its answers with all their headers.</summary>
internal sealed class EdgeSite : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly HttpClient _client = new(new SocketsHttpHandler { UseCookies = false, AllowAutoRedirect = false });

    private EdgeSite(WebApplication app) => _app = app;

    public IServiceProvider Services => _app.Services;

    public Uri Address => new(_app.Urls.First());

    public static async Task<EdgeSite> StartAsync(
        Action<WebApplication> pipeline,
        Action<IServiceCollection>? add = null,
        Action<SessionOptions<Cart>>? configure = null,
        string environment = "Production",
        ISessionStore? store = null,
        Action<ILoggingBuilder>? log = null
    )
    {
        var builder = WebApplication.CreateSlimBuilder(
            new Microsoft.AspNetCore.Builder.WebApplicationOptions { EnvironmentName = environment }
        );
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        builder.Logging.ClearProviders();
        log?.Invoke(builder.Logging);
        var sessions = builder.Services.AddSession(configure);
        if (store is null)
            sessions.UseMemory();
        else
            sessions.UseStore(_ => store);

        add?.Invoke(builder.Services);
        var app = builder.Build();
        pipeline(app);
        await app.StartAsync();
        return new EdgeSite(app);
    }

    public async Task<Answer> SendAsync(string verb, string path, params (string Name, string Value)[] headers)
    {
        using var request = new HttpRequestMessage(new HttpMethod(verb), new Uri(Address, path));
        return await SendAsync(request, headers);
    }

    /// <summary>As a browser sends a form.</summary>
    public async Task<Answer> SendFormAsync(
        string path,
        IEnumerable<KeyValuePair<string, string>> fields,
        params (string Name, string Value)[] headers
    )
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(Address, path));
        request.Content = new FormUrlEncodedContent(fields);
        return await SendAsync(request, headers);
    }

    private async Task<Answer> SendAsync(HttpRequestMessage request, (string Name, string Value)[] headers)
    {
        foreach (var (name, value) in headers)
            request.Headers.TryAddWithoutValidation(name, value);

        using var response = await _client.SendAsync(request);
        var all = response
            .Headers.NonValidated.Concat(response.Content.Headers.NonValidated)
            .ToDictionary(
                it => it.Key,
                it => string.Join(", ", it.Value.AsEnumerable()),
                StringComparer.OrdinalIgnoreCase
            );
        var cookies = response.Headers.TryGetValues("Set-Cookie", out var lines) ? lines.ToArray() : [];
        return new Answer(response.StatusCode, await response.Content.ReadAsStringAsync(), cookies, all);
    }

    /// <summary>With a token in the default cookie.</summary>
    public Task<Answer> GetAsync(string path, string? token = null) =>
        token is null ? SendAsync("GET", path) : SendAsync("GET", path, ("Cookie", "__Host-sid=" + token));

    public async ValueTask DisposeAsync()
    {
        _client.Dispose();
        await _app.DisposeAsync();
    }
}

internal sealed record Answer(
    HttpStatusCode Status,
    string Body,
    string[] SetCookies,
    IReadOnlyDictionary<string, string> Headers
)
{
    public string? this[string name] => Headers.TryGetValue(name, out var value) ? value : null;

    /// <summary>Of the last cookie that came.</summary>
    public string Token => SetCookies[^1].Split(';')[0].Split('=', 2)[1];
}
