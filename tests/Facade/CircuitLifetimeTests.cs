using System.Reflection;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Components.Authorization;
using Microsoft.AspNetCore.Components.Server.Circuits;
using Microsoft.AspNetCore.Http.Connections;
using Microsoft.AspNetCore.SignalR;
using Microsoft.AspNetCore.SignalR.Client;
using Microsoft.Extensions.DependencyInjection;
using Session.CSharp;
using Session.Engine;
using Session.Testing;
using Xunit;

namespace Facade;

/// <summary>Circuits of Blazor Server end together with their session. The circuits are the framework's own; their client speaks JSON.</summary>
public class CircuitLifetimeTests
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(20);

    /// <summary>What a circuit of the test has heard.</summary>
    public sealed class Seen
    {
        public AuthenticationStateProvider? Users { get; set; }
        public int Run { get; set; }
        private TaskCompletionSource _opened = new();
        private TaskCompletionSource _closed = new();

        public TaskCompletionSource NextOpened() => _opened = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public void Opened() => _opened.TrySetResult();

        public TaskCompletionSource NextClosed() => _closed = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public void Closed() => _closed.TrySetResult();
    }

    /// <summary>Counts what a page has had run, as any handler after ours would.</summary>
    private sealed class Counting(Seen seen, AuthenticationStateProvider users) : CircuitHandler
    {
        public override int Order => 1;

        public override Task OnCircuitOpenedAsync(Circuit circuit, CancellationToken cancellationToken)
        {
            seen.Users = users;
            return Task.CompletedTask;
        }

        /// <summary>Ours has looked at the connection before.</summary>
        public override Task OnConnectionUpAsync(Circuit circuit, CancellationToken cancellationToken)
        {
            seen.Opened();
            return Task.CompletedTask;
        }

        public override Task OnCircuitClosedAsync(Circuit circuit, CancellationToken cancellationToken)
        {
            seen.Closed();
            return Task.CompletedTask;
        }

        public override Func<CircuitInboundActivityContext, Task> CreateInboundActivityHandler(
            Func<CircuitInboundActivityContext, Task> next
        ) =>
            activity =>
            {
                seen.Run++;
                return next(activity);
            };
    }

    /// <summary>The hub of circuits knows one protocol; for the test it knows JSON as well.</summary>
    private static void SpeakJson<THub>(IServiceCollection services)
        where THub : Hub => services.PostConfigure<HubOptions<THub>>(o => o.SupportedProtocols!.Add("json"));

    /// <param name="hasUsers">False: nobody but the circuits asks for the session.</param>
    /// <param name="hasHubs">True: connections of hubs end with their session as well, and that of the page is one.</param>
    private static Task<Site> NodeAsync(ISessionStore store, Seen seen, bool hasUsers = true, bool hasHubs = false) =>
        Site.StartAsync(
            store: () => store,
            add: services =>
            {
                var blazor = services.AddRazorComponents().AddInteractiveServerComponents().AddSessionLifetime<Cart>();
                if (hasUsers)
                {
                    services.AddAuthentication().AddSession<Cart>();
                    services.AddCascadingAuthenticationState();
                    blazor.AddSessionAuthenticationState<Cart>();
                }

                if (hasHubs)
                    services.AddSignalR().AddSessionLifetime<Cart>();

                services.AddSingleton(seen);
                services.AddScoped<CircuitHandler, Counting>();
                var hub = typeof(CircuitHandler).Assembly.GetType(
                    "Microsoft.AspNetCore.Components.Server.ComponentHub"
                )!;
                typeof(CircuitLifetimeTests)
                    .GetMethod(nameof(SpeakJson), BindingFlags.NonPublic | BindingFlags.Static)!
                    .MakeGenericMethod(hub)
                    .Invoke(null, [services]);
            },
            map: app => app.MapBlazorHub()
        );

    /// <summary>A page: it opens a circuit, or takes one up, and is told where to go.</summary>
    private sealed class Page : IAsyncDisposable
    {
        private readonly HubConnection _hub;
        private readonly TaskCompletionSource<string> _led = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly TaskCompletionSource _closed = new(TaskCreationOptions.RunContinuationsAsynchronously);

        private readonly string _there;

        private Page(HubConnection hub, string there)
        {
            (_hub, _there) = (hub, there);
            // The server keeps it then.
            _hub.On<string, string, string, bool>("JS.SavePersistedState", (_, _, _) => false);
            _hub.On<long, string, string, int, long, int>(
                "JS.BeginInvokeJS",
                (_, what, arguments, _, _, _) =>
                {
                    if (what.Contains("navigateTo", StringComparison.OrdinalIgnoreCase))
                        _led.TrySetResult(arguments);
                }
            );
            _hub.Closed += _ =>
            {
                _closed.TrySetResult();
                return Task.CompletedTask;
            };
        }

        public string Circuit { get; private set; } = "";

        public static async Task<Page> OpenAsync(Site site, string? token, string? circuit = null)
        {
            var opened = site.Services.GetRequiredService<Seen>().NextOpened();
            var hub = new HubConnectionBuilder()
                .WithUrl(
                    new Uri(site.Address, "/_blazor"),
                    HttpTransportType.WebSockets,
                    o =>
                    {
                        if (token is not null)
                            o.Headers["Cookie"] = "__Host-sid=" + token;
                    }
                )
                .Build();
            var page = new Page(hub, site.Address + "page");
            await hub.StartAsync();
            if (circuit is null)
            {
                var there = site.Address.ToString();
                page.Circuit = await hub.InvokeAsync<string>("StartCircuit", there, there + "page", "[]", "");
                await hub.SendAsync("UpdateRootComponents", """{"batchId":1,"operations":[]}""", "");
                await opened.Task.WaitAsync(s_patience);
            }
            else
                Assert.True(await hub.InvokeAsync<bool>("ConnectCircuit", circuit));

            return page;
        }

        /// <summary>The circuit is no longer there; its connection is.</summary>
        public async Task PauseAsync(Seen seen)
        {
            var closed = seen.NextClosed();
            Assert.True(await _hub.InvokeAsync<bool>("PauseCircuit"));
            await closed.Task.WaitAsync(s_patience);
        }

        /// <summary>Another circuit from what was kept of the one before, on the same connection.</summary>
        public async Task ResumeAsync(Site site, Seen seen)
        {
            var opened = seen.NextOpened();
            var here = site.Address.ToString();
            Circuit = await _hub.InvokeAsync<string>("ResumeCircuit", Circuit, here, _there, "[]", "");
            await _hub.SendAsync("UpdateRootComponents", """{"batchId":1,"operations":[]}""", "");
            await opened.Task.WaitAsync(s_patience);
        }

        /// <summary>As if somebody pressed a button.</summary>
        public Task ActAsync() => _hub.SendAsync("OnLocationChanged", _there, null, false);

        /// <summary>The page is told to load itself anew.</summary>
        public async Task ReloadsAsync()
        {
            using var arguments = JsonDocument.Parse(await _led.Task.WaitAsync(s_patience));
            Assert.EndsWith("/page", arguments.RootElement[0].GetString(), StringComparison.Ordinal);
            Assert.True(arguments.RootElement[1].GetProperty("forceLoad").GetBoolean());
        }

        /// <summary>It has had its five seconds to follow.</summary>
        public Task IsCutOffAsync(Site site)
        {
            site.Clock.Advance(TimeSpan.FromSeconds(5));
            return _closed.Task.WaitAsync(s_patience);
        }

        public async Task NotCutOffAsync()
        {
            await Task.WhenAny(_closed.Task, Task.Delay(100));
            Assert.False(_closed.Task.IsCompleted);
        }

        public async Task StaysAsync()
        {
            await Task.WhenAny(_led.Task, _closed.Task, Task.Delay(200));
            Assert.False(_led.Task.IsCompleted || _closed.Task.IsCompleted);
        }

        public ValueTask DisposeAsync() => _hub.DisposeAsync();
    }

    [Theory]
    [InlineData("logout everywhere")]
    [InlineData("elevation")]
    [InlineData("another subject")]
    public async Task An_end_on_another_node_closes_the_circuits_of_the_session_and_no_other(string how)
    {
        var (store, seen) = (new MemoryStore(), new Seen());
        await using var one = await NodeAsync(store, seen);
        await using var other = await Site.StartAsync(store: () => store);
        var token = await other.BeginAsync("ada");
        await using var page = await Page.OpenAsync(one, token);
        var users = seen.Users!;
        await using var eves = await Page.OpenAsync(one, await other.BeginAsync("eve"));
        await using var nobodys = await Page.OpenAsync(one, null);
        await page.ActAsync();
        await Held.UntilAsync(() => seen.Run > 0, "what the page sends is run");
        await page.StaysAsync();
        _ = how switch
        {
            "logout everywhere" => await other.Manager.DestroyAllAsync("ada") is 1,
            "elevation" => await other.WithAsync(session => session.RegenerateAsync(), token) is not null,
            _ => await other.WithAsync(session => session.SignInAsync("bob", new Cart("x")), token) is not null,
        };
        await page.ReloadsAsync();
        Assert.False((await users.GetAuthenticationStateAsync()).User.Identity!.IsAuthenticated);

        // Whoever does not follow: nothing is run, and the connection is cut.
        var run = seen.Run;
        await page.ActAsync();
        one.Clock.Advance(TimeSpan.FromSeconds(4.9));
        await page.NotCutOffAsync();
        await page.IsCutOffAsync(one);
        Assert.Equal(run, seen.Run);
        await eves.StaysAsync();
        await nobodys.StaysAsync();
        await eves.ActAsync();
        await Held.UntilAsync(() => seen.Run > run, "what another page sends is run");
    }

    [Fact]
    public async Task A_circuit_is_taken_up_by_its_session_and_by_no_other_one()
    {
        var (store, seen) = (new MemoryStore(), new Seen());
        await using var site = await NodeAsync(store, seen);
        var ada = await site.BeginAsync("ada");
        var first = await Page.OpenAsync(site, ada);
        await first.DisposeAsync();
        await using (var again = await Page.OpenAsync(site, ada, first.Circuit))
        {
            await again.StaysAsync();
            Assert.Equal(1, Held.Count(site));
        }

        await Held.UntilAsync(() => Held.Count(site) == 0, "nothing is watched without a connection");
        await using (var eve = await Page.OpenAsync(site, await site.BeginAsync("eve"), first.Circuit))
        {
            await eve.ReloadsAsync();
            await eve.IsCutOffAsync(site);
        }

        // It is over for its own session, too.
        await using var late = await Page.OpenAsync(site, ada, first.Circuit);
        await late.ReloadsAsync();
    }

    /// <summary>A browser closes the connection with the pause. Whoever has stolen the session need not.</summary>
    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    public async Task A_circuit_that_is_resumed_on_its_own_connection_ends_with_its_session(bool isPaused, bool hasHubs)
    {
        var (store, seen) = (new MemoryStore(), new Seen());
        await using var site = await NodeAsync(store, seen, hasHubs: hasHubs);
        await using var page = await Page.OpenAsync(site, await site.BeginAsync("ada"));
        await page.PauseAsync(seen);
        if (isPaused)
            Assert.Equal(1, await site.Manager.DestroyAllAsync("ada"));

        await page.ResumeAsync(site, seen);
        if (!isPaused)
        {
            await page.StaysAsync();
            Assert.Equal(1, Held.Count(site));
            Assert.Equal(1, await site.Manager.DestroyAllAsync("ada"));
        }

        if (!hasHubs)
            await page.ReloadsAsync();

        await page.IsCutOffAsync(site);
    }

    [Theory]
    [InlineData("logout everywhere")]
    [InlineData("elevation")]
    [InlineData("another subject")]
    public async Task What_a_session_has_become_while_nobody_was_connected_takes_up_no_circuit(string how)
    {
        var (store, seen) = (new MemoryStore(), new Seen());
        await using var site = await NodeAsync(store, seen);
        var ada = await site.BeginAsync("ada");
        var first = await Page.OpenAsync(site, ada);
        await first.DisposeAsync();
        await Held.UntilAsync(() => Held.Count(site) == 0, "nothing is watched without a connection");
        switch (how)
        {
            case "logout everywhere":
                Assert.Equal(1, await site.Manager.DestroyAllAsync("ada"));
                break;
            case "elevation":
                ada = (await site.WithAsync(session => session.RegenerateAsync(), ada)).Token!;
                break;
            default:
                ada = (await site.WithAsync(session => session.SignInAsync("bob", new Cart("x")), ada)).Token!;
                break;
        }

        await using var late = await Page.OpenAsync(site, ada, first.Circuit);
        await late.ReloadsAsync();
        await late.IsCutOffAsync(site);
    }

    /// <summary>Nobody can tell whose it is: it would outlive the logout, and be taken up by whoever knows its name.</summary>
    [Fact]
    public async Task While_the_store_is_down_no_circuit_begins_and_none_is_taken_up()
    {
        var (store, seen) = (new FailingStore(new MemoryStore()), new Seen());
        await using var site = await NodeAsync(store, seen, hasUsers: false);
        var (ada, eve) = (await site.BeginAsync("ada"), await site.BeginAsync("eve"));
        var first = await Page.OpenAsync(site, ada);
        await first.DisposeAsync();
        await Held.UntilAsync(() => Held.Count(site) == 0, "nothing is watched without a connection");
        store.Failure = StoreFailure.Unavailable;
        await Assert.ThrowsAnyAsync<Exception>(() => Page.OpenAsync(site, ada, first.Circuit));
        await using var page = await Page.OpenAsync(site, ada);

        // Nor is it there once the store is back. The framework takes it down a moment after its beginning has failed.
        store.Failure = StoreFailure.None;
        var refused = await Record.ExceptionAsync(() => Page.OpenAsync(site, eve, page.Circuit));
        for (var again = 0; again < 20 && refused is null; again++)
        {
            await Task.Delay(50);
            refused = await Record.ExceptionAsync(() => Page.OpenAsync(site, eve, page.Circuit));
        }

        Assert.NotNull(refused);
    }
}
