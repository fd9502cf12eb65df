using System.Net;
using System.Net.WebSockets;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.Logging;
using Xunit;

namespace Facade.Authentication;

/// <summary>SignalR, spoken by hand: the user of a connection is the subject of its session.</summary>
public class HubTests
{
    private const char End = '\u001e';

    private static string Invocation(string method) =>
        $$"""{"type":1,"invocationId":"0","target":"{{method}}","arguments":[]}{{End}}""";

    private static string? Answer(string messages)
    {
        foreach (var message in messages.Split(End, StringSplitOptions.RemoveEmptyEntries))
        {
            using var json = JsonDocument.Parse(message);
            if (json.RootElement.TryGetProperty("type", out var type) && type.GetInt32() == 3)
                return json.RootElement.TryGetProperty("result", out var result) ? result.GetString() : "refused";
        }

        return null;
    }

    private static async Task<string> AskAsync(EdgeSite site, string hub, string method, string? token)
    {
        using var socket = new ClientWebSocket();
        if (token is not null)
            socket.Options.SetRequestHeader("Cookie", "__Host-sid=" + token);

        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        await socket.ConnectAsync(new UriBuilder(new Uri(site.Address, hub)) { Scheme = "ws" }.Uri, limit.Token);
        async Task SendAsync(string text) =>
            await socket.SendAsync(Encoding.UTF8.GetBytes(text), WebSocketMessageType.Text, true, limit.Token);

        await SendAsync($$"""{"protocol":"json","version":1}{{End}}""");
        await SendAsync(Invocation(method));
        var (heard, buffer) = ("", new byte[4096]);
        while (Answer(heard[..(heard.LastIndexOf(End) + 1)]) is null)
        {
            var received = await socket.ReceiveAsync(buffer, limit.Token);
            Assert.NotEqual(WebSocketMessageType.Close, received.MessageType);
            heard += Encoding.UTF8.GetString(buffer, 0, received.Count);
        }

        return Answer(heard)!;
    }

    [Fact]
    public async Task Over_web_sockets()
    {
        var store = new Watched { IsFar = true };
        await using var site = await SchemeSite.StartAsync(store: store);
        var refused = await Assert.ThrowsAsync<WebSocketException>(() => AskAsync(site, "/hub", "Who", null));
        Assert.Contains("401", refused.Message, StringComparison.Ordinal);
        Assert.Equal("nobody", await AskAsync(site, "/open-hub", "Who", null));

        var token = await site.SignInAsync("customer");
        foreach (var hub in new[] { "/hub", "/open-hub" })
        {
            var before = store.Loads;
            Assert.Equal("ada", await AskAsync(site, hub, "Who", token));
            Assert.Equal((hub, 1), (hub, store.Loads - before));
        }

        Assert.Equal("refused", await AskAsync(site, "/hub", "Admin", token));
        Assert.Equal("ada", await AskAsync(site, "/hub", "Admin", await site.SignInAsync("admin")));
        store.IsAway = true;
        refused = await Assert.ThrowsAsync<WebSocketException>(() => AskAsync(site, "/hub", "Who", token));
        Assert.Contains("503", refused.Message, StringComparison.Ordinal);
    }

    [Theory, InlineData("/hub"), InlineData("/open-hub")]
    public async Task Over_long_polling(string hub)
    {
        using var ear = new LogEar();
        await using var site = await SchemeSite.StartAsync(
            store: new Watched { IsFar = true },
            log: logging => logging.AddProvider(ear)
        );
        var token = await site.SignInAsync();
        using var client = new HttpClient(new SocketsHttpHandler { UseCookies = false });
        client.DefaultRequestHeaders.Add("Cookie", "__Host-sid=" + token);
        async Task<string> SendAsync(HttpMethod method, string path, string? body = null)
        {
            using var request = new HttpRequestMessage(method, new Uri(site.Address, path));
            request.Content = body is null ? null : new StringContent(body);
            using var response = await client.SendAsync(request);
            Assert.Equal(HttpStatusCode.OK, response.StatusCode);
            return await response.Content.ReadAsStringAsync();
        }

        using var negotiated = JsonDocument.Parse(
            await SendAsync(HttpMethod.Post, hub + "/negotiate?negotiateVersion=1", "")
        );
        var connection = $"{hub}?id={negotiated.RootElement.GetProperty("connectionToken").GetString()}";
        await SendAsync(HttpMethod.Get, connection);
        await SendAsync(HttpMethod.Post, connection, $$"""{"protocol":"json","version":1}{{End}}""");
        await SendAsync(HttpMethod.Post, connection, Invocation("Who"));
        string? answer = null;
        for (var polls = 0; answer is null && polls < 5; polls++)
            answer = Answer(await SendAsync(HttpMethod.Get, connection));

        Assert.Equal("ada", answer);

        // Each poll looks at the user, and no thread waits for it.
        Assert.DoesNotContain(ear.Take(), line => line.Contains("HttpContext.User", StringComparison.Ordinal));
    }
}
