using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Connections;
using Microsoft.AspNetCore.SignalR;
using Microsoft.AspNetCore.SignalR.Client;
using Microsoft.Extensions.DependencyInjection;
using Session.CSharp;
using Session.Engine;
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
        Assert.Contains("could not reach the client", error.Message, StringComparison.Ordinal);
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
}
