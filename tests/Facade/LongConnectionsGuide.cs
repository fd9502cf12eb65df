using System.Net.WebSockets;
using System.Runtime.CompilerServices;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Connections;
using Microsoft.AspNetCore.SignalR;
using Microsoft.AspNetCore.SignalR.Client;
using Microsoft.Extensions.DependencyInjection;
using Session.CSharp;
using Xunit;

namespace Facade;

/// <summary>The snippets of docs/LONG-CONNECTIONS.md, and that they do what it says.</summary>
public class LongConnectionsGuide
{
    private static int _price;

    private static void Streams(WebApplication app)
    {
        app.MapGet("/prices", (Session<Cart> session) => TypedResults.ServerSentEvents(PricesAsync(session.Ended)))
            .RequireSession<Cart>();

        static async IAsyncEnumerable<int> PricesAsync([EnumeratorCancellation] CancellationToken ended)
        {
            while (!ended.IsCancellationRequested)
            {
                yield return Interlocked.Increment(ref _price);
                await Task.Delay(100, ended).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    private static void Sockets(WebApplication app)
    {
        app.UseWebSockets();
        app.MapGet(
                "/echo",
                async (HttpContext context, Session<Cart> session) =>
                {
                    using var socket = await context.WebSockets.AcceptWebSocketAsync();
                    using var ended = CancellationTokenSource.CreateLinkedTokenSource(
                        session.Ended,
                        context.RequestAborted
                    );
                    var buffer = new byte[1024];
                    try
                    {
                        while (socket.State == WebSocketState.Open)
                        {
                            var message = await socket.ReceiveAsync(buffer.AsMemory(), ended.Token);
                            await socket.SendAsync(
                                buffer.AsMemory(0, message.Count),
                                message.MessageType,
                                true,
                                ended.Token
                            );
                        }
                    }
                    catch (OperationCanceledException)
                    {
                        // The session is over, or the client has gone: the connection is cut.
                    }
                }
            )
            .RequireSession<Cart>();
    }

    private static void Circuits(IServiceCollection services) =>
        services.AddRazorComponents().AddInteractiveServerComponents().AddSessionLifetime<Cart>();

    private static void Lasting(IServiceCollection services)
    {
        services.AddSession<Cart>(o => o.ConnectionsExtendIdle = true);
    }

    private static void Hubs(IServiceCollection services) => services.AddSignalR().AddSessionLifetime<Cart>();

    private static void Hubs(WebApplication app) => app.MapHub<CartHub>("/cart-hub").RequireSession<Cart>();

    private sealed class CartHub : Hub
    {
        public async Task<string?> Item()
        {
            var session = await Context.GetSessionAsync<Cart>();
            return session.Data?.Item;
        }
    }

    private static Task<Site> StartAsync() =>
        Site.StartAsync(
            add: Hubs,
            map: app =>
            {
                Streams(app);
                Sockets(app);
                Hubs(app);
            }
        );

    [Fact]
    public async Task An_event_stream_of_a_minimal_api_ends_with_its_session()
    {
        await using var site = await StartAsync();
        var token = await site.BeginAsync("ada");
        using var client = new HttpClient(new SocketsHttpHandler { UseCookies = false });
        using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(site.Address, "/prices"));
        request.Headers.Add("Cookie", "__Host-sid=" + token);
        using var response = await client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        Assert.Equal("text/event-stream", response.Content.Headers.ContentType?.MediaType);
        using var reader = new StreamReader(await response.Content.ReadAsStreamAsync());
        Assert.StartsWith("data: ", await reader.ReadLineAsync(), StringComparison.Ordinal);
        await site.Manager.DestroyAllAsync("ada");
        // To its end, and not to a break.
        await reader.ReadToEndAsync().WaitAsync(Held.Patience);
        Assert.Equal(System.Net.HttpStatusCode.Unauthorized, (await site.SendAsync("/prices", token)).Status);
    }

    [Fact]
    public async Task A_websocket_of_a_minimal_api_ends_with_its_session()
    {
        await using var site = await StartAsync();
        var token = await site.BeginAsync("ada");
        using var socket = new ClientWebSocket();
        socket.Options.SetRequestHeader("Cookie", "__Host-sid=" + token);
        var address = new UriBuilder(site.Address) { Scheme = "ws", Path = "/echo" };
        await socket.ConnectAsync(address.Uri, CancellationToken.None);
        var buffer = new byte[10];
        await socket.SendAsync("tea"u8.ToArray(), WebSocketMessageType.Text, true, CancellationToken.None);
        Assert.Equal(3, (await socket.ReceiveAsync(buffer, CancellationToken.None)).Count);
        var next = socket.ReceiveAsync(buffer, CancellationToken.None);
        await site.Manager.DestroyAllAsync("ada");
        await Assert.ThrowsAsync<WebSocketException>(() => next.WaitAsync(Held.Patience));
        await Held.UntilAsync(() => Held.Count(site) == 0, "nothing is watched any more");
    }

    [Fact]
    public async Task A_hub_refuses_whoever_has_no_session_and_ends_with_it()
    {
        await using var site = await StartAsync();
        var token = await site.BeginAsync("ada");

        HubConnection Connection(string? cookie) =>
            new HubConnectionBuilder()
                .WithUrl(
                    new Uri(site.Address, "/cart-hub"),
                    HttpTransportType.WebSockets,
                    o =>
                    {
                        if (cookie is not null)
                            o.Headers["Cookie"] = "__Host-sid=" + cookie;
                    }
                )
                .Build();

        await using var nobody = Connection(null);
        await Assert.ThrowsAsync<HttpRequestException>(() => nobody.StartAsync());
        await using var ada = Connection(token);
        var closed = new TaskCompletionSource();
        ada.Closed += _ =>
        {
            closed.SetResult();
            return Task.CompletedTask;
        };
        await ada.StartAsync();
        Assert.Equal("tea", await ada.InvokeAsync<string?>("Item"));
        await site.Manager.DestroyAllAsync("ada");
        await closed.Task.WaitAsync(Held.Patience);
    }
}
