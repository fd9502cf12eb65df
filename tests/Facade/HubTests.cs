using System.Net.WebSockets;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Connections;
using Microsoft.AspNetCore.SignalR;
using Microsoft.AspNetCore.SignalR.Client;
using Microsoft.Extensions.DependencyInjection;
using Session.CSharp;
using Session.Engine;
using Session.Testing;
using Xunit;

namespace Facade;

/// <summary>
/// In a hub no response carries a token to the client, whatever the transport: over long polling the hub even has a context
/// of its own, whose response never starts and goes nowhere.
/// </summary>
public class HubTests
{
    /// <summary>What an application does with a session, asked for by a client.</summary>
    private sealed class Desk : Hub
    {
        private async Task<Session<Cart>> SessionAsync() => await Context.GetHttpContext()!.GetSessionAsync<Cart>();

        public async Task SignIn() => await (await SessionAsync()).SignInAsync("eve", new Cart("tea"));

        public async Task Create() => await (await SessionAsync()).CreateAsync(new Cart("tea"));

        public async Task Regenerate() => await (await SessionAsync()).RegenerateAsync();

        public async Task<string> Write(string item) =>
            (await (await SessionAsync()).UpdateAsync(_ => new Cart(item))).Item;

        public async Task<string?> Read() => (await SessionAsync()).Data?.Item;

        public async Task<string?> Again() => (await Context.GetSessionAsync<Cart>()).Data?.Item;

        /// <summary>Reads it so often by one call, and says how often it could.</summary>
        public async Task<int> Often(int times)
        {
            var session = await Context.GetSessionAsync<Cart>();
            var count = 0;
            for (var time = 0; time < times; time++)
                count += await IsThereAsync(session) ? 1 : 0;

            return count;
        }

        public async Task End() => await (await SessionAsync()).DestroyAsync();
    }

    private static Task<EdgeSite> StartAsync(ISessionStore store) =>
        EdgeSite.StartAsync(
            app =>
            {
                app.UseSession<Cart>();
                app.MapHub<Desk>("/desk");
                app.MapPost("/login", (Session<Cart> session) => session.SignInAsync("ada", new Cart("tea")));
                app.MapGet("/me", (Session<Cart> session) => $"{session.Subject} {session.Data?.Item}");
            },
            add: services => services.AddSignalR(o => o.EnableDetailedErrors = true),
            store: store
        );

    private static async Task<HubConnection> ConnectAsync(EdgeSite site, HttpTransportType transport, string? token)
    {
        var connection = new HubConnectionBuilder()
            .WithUrl(
                new Uri(site.Address, "/desk"),
                o =>
                {
                    o.Transports = transport;
                    if (token is not null)
                        o.Headers["Cookie"] = "__Host-sid=" + token;
                }
            )
            .Build();
        await connection.StartAsync();
        return connection;
    }

    private static async Task IsRefusedAsync(HubConnection connection, string method, params object?[] arguments)
    {
        var error = await Assert.ThrowsAsync<HubException>(() => connection.InvokeCoreAsync(method, arguments));
        Assert.True(error.Message.Contains("could not reach the client", StringComparison.Ordinal), error.Message);
    }

    [Theory]
    [InlineData(HttpTransportType.LongPolling)]
    [InlineData(HttpTransportType.WebSockets)]
    [InlineData(HttpTransportType.ServerSentEvents)]
    public async Task In_a_hub_no_session_begins_and_no_token_is_issued(HttpTransportType transport)
    {
        ISessionStore store = new MemoryStore();
        await using var site = await StartAsync(store);
        await using (var nobody = await ConnectAsync(site, transport, token: null))
        {
            await IsRefusedAsync(nobody, "SignIn");
            await IsRefusedAsync(nobody, "Create");
            await IsRefusedAsync(nobody, "Write", "tea");
            Assert.Null(await nobody.InvokeAsync<string?>("Read"));
        }

        Assert.Equal(0, await store.Count(CancellationToken.None));

        var token = (await site.SendAsync("POST", "/login")).Token;
        await using var ada = await ConnectAsync(site, transport, token);
        await IsRefusedAsync(ada, "SignIn");
        await IsRefusedAsync(ada, "Create");
        await IsRefusedAsync(ada, "Regenerate");
        Assert.Equal("ada tea", (await site.GetAsync("/me", token)).Body);
    }

    [Theory]
    [InlineData(HttpTransportType.LongPolling)]
    [InlineData(HttpTransportType.WebSockets)]
    [InlineData(HttpTransportType.ServerSentEvents)]
    public async Task In_a_hub_a_session_that_is_there_is_read_written_and_ended(HttpTransportType transport)
    {
        await using var site = await StartAsync(new MemoryStore());
        var token = (await site.SendAsync("POST", "/login")).Token;
        await using var ada = await ConnectAsync(site, transport, token);
        Assert.Equal("tea", await ada.InvokeAsync<string?>("Read"));
        Assert.Equal("milk", await ada.InvokeAsync<string>("Write", "milk"));
        Assert.Equal("ada milk", (await site.GetAsync("/me", token)).Body);
        await ada.InvokeAsync("End");
        Assert.Equal(" ", (await site.GetAsync("/me", token)).Body);
    }

    /// <summary>Whatever lives on behind its answer, and reads its session now and then for as long as it likes: reads it so often, and says how often it could.</summary>
    private static readonly Dictionary<string, Func<EdgeSite, string, int, Task<int>>> s_long = new()
    {
        ["polls"] = (site, token, times) => CalledAsync(site, HttpTransportType.LongPolling, token, times),
        ["one call of polls"] = (site, token, times) => AtOnceAsync(site, HttpTransportType.LongPolling, token, times),
        ["one call"] = (site, token, times) => AtOnceAsync(site, HttpTransportType.WebSockets, token, times),
        ["hub"] = (site, token, times) => CalledAsync(site, HttpTransportType.WebSockets, token, times),
        ["events"] = (site, token, times) => CalledAsync(site, HttpTransportType.ServerSentEvents, token, times),
        ["stream"] = async (site, token, times) => (await site.GetAsync($"/stream/{times}", token)).Body.Length,
        ["socket"] = async (site, token, times) =>
        {
            using var socket = new ClientWebSocket();
            socket.Options.SetRequestHeader("Cookie", "__Host-sid=" + token);
            await socket.ConnectAsync(new Uri($"ws://{site.Address.Authority}/socket/{times}"), CancellationToken.None);
            var count = 0;
            while (
                (await socket.ReceiveAsync(new byte[16], CancellationToken.None)).MessageType
                == WebSocketMessageType.Text
            )
                count++;

            return count;
        },
    };

    private static async Task<int> AtOnceAsync(EdgeSite site, HttpTransportType transport, string token, int times)
    {
        await using var ada = await ConnectAsync(site, transport, token);
        // The call itself reads it first.
        return await ada.InvokeAsync<int>("Often", times - 1) + 1;
    }

    private static async Task<int> CalledAsync(EdgeSite site, HttpTransportType transport, string token, int times)
    {
        await using var ada = await ConnectAsync(site, transport, token);
        var count = 0;
        for (var time = 0; time < times; time++)
        {
            try
            {
                Assert.Equal("tea", await ada.InvokeAsync<string?>("Again"));
                count++;
            }
            catch (HubException)
            {
                // Counted by those that come through.
            }
        }

        return count;
    }

    /// <summary>What a request may wait altogether is no lifetime of what goes on behind its answer, where nobody waits for it.</summary>
    [Theory]
    [InlineData("polls")]
    [InlineData("one call of polls")]
    [InlineData("one call")]
    [InlineData("hub")]
    [InlineData("events")]
    [InlineData("stream")]
    [InlineData("socket")]
    public async Task A_long_connection_has_all_its_time_for_each_operation(string way)
    {
        var inner = new Hiccup();
        var store = new FailingStore(inner) { Delay = TimeSpan.FromMilliseconds(250) };
        await using var site = await EdgeSite.StartAsync(
            app =>
            {
                app.UseSession<Cart>();
                app.UseWebSockets();
                app.MapHub<Desk>("/desk");
                app.MapPost("/login", (Session<Cart> session) => session.SignInAsync("ada", new Cart("tea")));
                app.MapGet(
                    "/stream/{times}",
                    async (int times, HttpContext context, Session<Cart> session) =>
                    {
                        await context.Response.StartAsync();
                        for (var time = 0; time < times; time++)
                        {
                            if (await IsThereAsync(session))
                                await context.Response.WriteAsync(".");
                        }
                    }
                );
                app.MapGet(
                    "/socket/{times}",
                    async (int times, HttpContext context, Session<Cart> session) =>
                    {
                        using var socket = await context.WebSockets.AcceptWebSocketAsync();
                        for (var time = 0; time < times; time++)
                        {
                            if (await IsThereAsync(session))
                                await socket.SendAsync(
                                    "."u8.ToArray(),
                                    WebSocketMessageType.Text,
                                    true,
                                    CancellationToken.None
                                );
                        }

                        await socket.CloseAsync(WebSocketCloseStatus.NormalClosure, null, CancellationToken.None);
                    }
                );
            },
            add: services => services.AddSignalR(),
            configure: o => o.RequestTimeout = TimeSpan.FromSeconds(1),
            store: store
        );
        var token = (await site.SendAsync("POST", "/login")).Token;
        store.Failure = StoreFailure.Slow;
        Assert.Equal(6, await s_long[way](site, token, 6));

        // One that took longer than there is time for is a failure of its own, and not of all that come after it.
        store.Failure = StoreFailure.None;
        inner.HangsAt = inner.Loads + 4;
        Assert.Equal(5, await s_long[way](site, token, 6));
    }

    /// <summary>One of its reads is answered too late.</summary>
    private sealed class Hiccup() : ForwardingStore(new MemoryStore())
    {
        private int _loads;

        public int Loads => Volatile.Read(ref _loads);

        public int HangsAt { get; set; }

        public override async ValueTask<StoredRecord?> Load(string id, CancellationToken cancel)
        {
            if (Interlocked.Increment(ref _loads) == HangsAt)
                await Task.Delay(TimeSpan.FromSeconds(1.5), CancellationToken.None);

            return await base.Load(id, cancel);
        }
    }

    private static async Task<bool> IsThereAsync(Session<Cart> session)
    {
        try
        {
            await session.ReloadAsync();
            return session.Data is not null;
        }
        catch (SessionUnavailableException)
        {
            return false;
        }
    }
}
