using System.Security.Claims;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Components.Authorization;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Time.Testing;
using Session.CSharp;
using Xunit;

namespace Facade.Authentication;

/// <summary>The user of a Blazor circuit, which goes on without requests: looked at again in the store.</summary>
public class CircuitUserTests
{
    /// <summary>A circuit as it begins: with the user of the request.</summary>
    private sealed class Circuit : IAsyncDisposable
    {
        private readonly AsyncServiceScope _scope;
        private readonly AuthenticationStateProvider _provider;

        public Circuit(EdgeSite site, ClaimsPrincipal user)
        {
            _scope = site.Services.CreateAsyncScope();
            _provider = _scope.ServiceProvider.GetRequiredService<AuthenticationStateProvider>();
            ((IHostEnvironmentAuthenticationStateProvider)_provider).SetAuthenticationState(
                Task.FromResult(new AuthenticationState(user))
            );
        }

        public async Task<ClaimsPrincipal> UserAsync() => (await _provider.GetAuthenticationStateAsync()).User;

        /// <summary>Whether it comes to that, within ten seconds.</summary>
        public async Task<bool> BecomesAsync(Func<ClaimsPrincipal, bool> isSo)
        {
            for (var tries = 0; tries < 500; tries++)
            {
                if (isSo(await UserAsync()))
                    return true;

                await Task.Delay(20);
            }

            return false;
        }

        public ValueTask DisposeAsync()
        {
            ((IDisposable)_provider).Dispose();
            return _scope.DisposeAsync();
        }
    }

    private static bool IsSignedIn(ClaimsPrincipal user) => user.Identity!.IsAuthenticated;

    private static async Task WithAsync(Func<EdgeSite, Circuit, Watched, FakeTimeProvider, string, Task> work)
    {
        var (store, clock) = (new Watched(), new FakeTimeProvider(SchemeSite.Start));
        ClaimsPrincipal? user = null;
        await using var site = await SchemeSite.StartAsync(
            store: store,
            clock: clock,
            add: services =>
                services
                    .AddRazorComponents()
                    .AddInteractiveServerComponents()
                    .AddSessionAuthenticationState<Cart>(TimeSpan.FromMilliseconds(20)),
            map: app => app.MapGet("/circuit", (HttpContext context) => user = context.User)
        );
        var token = await site.SignInAsync("customer");
        await site.GetAsync("/circuit", token);
        await using var circuit = new Circuit(site, user!);
        Assert.Equal("ada", (await circuit.UserAsync()).Identity!.Name);
        await work(site, circuit, store, clock, token);
    }

    private static SessionManager<Cart> Manager(EdgeSite site) =>
        site.Services.GetRequiredService<SessionManager<Cart>>();

    private static async Task LooksAsync(Watched store, int more)
    {
        var before = store.Loads;
        for (var tries = 0; store.Loads - before < more && tries < 500; tries++)
            await Task.Delay(20);

        Assert.InRange(store.Loads - before, more, int.MaxValue);
    }

    [Fact]
    public Task A_session_that_lives_is_looked_at_and_not_extended() =>
        WithAsync(
            async (site, circuit, store, clock, token) =>
            {
                await LooksAsync(store, 3);
                Assert.True(IsSignedIn(await circuit.UserAsync()));
                clock.Advance(TimeSpan.FromMinutes(29));
                await LooksAsync(store, 3);
                Assert.True(IsSignedIn(await circuit.UserAsync()));
                clock.Advance(TimeSpan.FromMinutes(1));
                Assert.True(await circuit.BecomesAsync(user => !IsSignedIn(user)));
            }
        );

    [Fact]
    public Task An_end_from_elsewhere_signs_the_circuit_out() =>
        WithAsync(
            async (site, circuit, store, clock, token) =>
            {
                Assert.Equal(1, await Manager(site).DestroyAllAsync("ada"));
                Assert.True(await circuit.BecomesAsync(user => !IsSignedIn(user)));
            }
        );

    [Fact]
    public Task Another_subjects_sign_in_to_the_session_signs_the_circuit_out() =>
        WithAsync(
            async (site, circuit, store, clock, token) =>
            {
                await site.SendAsync("POST", "/login?user=bob&role=admin", ("Cookie", "__Host-sid=" + token));
                Assert.True(await circuit.BecomesAsync(user => !IsSignedIn(user)));
            }
        );

    [Fact]
    public Task A_role_that_is_given_or_taken_arrives() =>
        WithAsync(
            async (site, circuit, store, clock, token) =>
            {
                Assert.False((await circuit.UserAsync()).IsInRole("admin"));
                await Manager(site).UpdateAsync(SessionId.Parse(token.Split('.')[0]), _ => new Cart("admin"));
                Assert.True(await circuit.BecomesAsync(user => user.IsInRole("admin")));
                await Manager(site).UpdateAsync(SessionId.Parse(token.Split('.')[0]), _ => new Cart("customer"));
                Assert.True(await circuit.BecomesAsync(user => !user.IsInRole("admin")));

                // And it is looked at as before.
                await Manager(site).DestroyAllAsync("ada");
                Assert.True(await circuit.BecomesAsync(user => !IsSignedIn(user)));
            }
        );

    [Fact]
    public Task A_store_that_is_down_signs_nobody_out_before_the_sessions_time() =>
        WithAsync(
            async (site, circuit, store, clock, token) =>
            {
                await LooksAsync(store, 2);
                store.IsAway = true;
                clock.Advance(TimeSpan.FromMinutes(29));
                await LooksAsync(store, 3);
                Assert.True(IsSignedIn(await circuit.UserAsync()));
                clock.Advance(TimeSpan.FromMinutes(1));
                Assert.True(await circuit.BecomesAsync(user => !IsSignedIn(user)));
            }
        );

    [Fact]
    public Task The_sessions_time_is_what_the_last_look_has_seen() =>
        WithAsync(
            async (site, circuit, store, clock, token) =>
            {
                clock.Advance(TimeSpan.FromMinutes(14));
                await site.GetAsync("/circuit", token);
                await LooksAsync(store, 3);
                store.IsAway = true;
                clock.Advance(TimeSpan.FromMinutes(29));
                await LooksAsync(store, 3);
                Assert.True(IsSignedIn(await circuit.UserAsync()));
                clock.Advance(TimeSpan.FromMinutes(1));
                Assert.True(await circuit.BecomesAsync(user => !IsSignedIn(user)));
            }
        );

    /// <summary>Who was active between two looks lives until later than the first one has seen.</summary>
    [Fact]
    public Task What_an_earlier_look_has_seen_counts_no_more() =>
        WithAsync(
            async (site, circuit, store, clock, token) =>
            {
                await LooksAsync(store, 2);
                clock.Advance(TimeSpan.FromMinutes(14));
                await site.GetAsync("/circuit", token);
                await LooksAsync(store, 3);
                store.IsAway = true;
                clock.Advance(TimeSpan.FromMinutes(29));
                await LooksAsync(store, 3);
                Assert.True(IsSignedIn(await circuit.UserAsync()));
                clock.Advance(TimeSpan.FromMinutes(1));
                Assert.True(await circuit.BecomesAsync(user => !IsSignedIn(user)));
            }
        );

    /// <summary>The store goes away before the circuit has looked once: what the request saw is what is known.</summary>
    [Fact]
    public async Task Without_a_look_the_sessions_time_is_what_its_request_has_seen()
    {
        var (store, clock) = (new Watched(), new FakeTimeProvider(SchemeSite.Start));
        ClaimsPrincipal? user = null;
        await using var site = await SchemeSite.StartAsync(
            store: store,
            clock: clock,
            configure: o => o.AbsoluteTimeout = TimeSpan.FromMinutes(30),
            add: services =>
                services
                    .AddRazorComponents()
                    .AddInteractiveServerComponents()
                    .AddSessionAuthenticationState<Cart>(TimeSpan.FromMilliseconds(20)),
            map: app => app.MapGet("/circuit", (HttpContext context) => user = context.User)
        );
        var token = await site.SignInAsync("customer");
        clock.Advance(TimeSpan.FromMinutes(20));
        await site.GetAsync("/circuit", token);
        store.IsAway = true;
        await using var circuit = new Circuit(site, user!);
        await LooksAsync(store, 3);
        clock.Advance(TimeSpan.FromMinutes(9));
        await LooksAsync(store, 3);
        Assert.True(IsSignedIn(await circuit.UserAsync()));
        clock.Advance(TimeSpan.FromMinutes(1));
        Assert.True(await circuit.BecomesAsync(user => !IsSignedIn(user)));
    }

    [Fact]
    public Task A_user_of_another_scheme_is_left_alone() =>
        WithAsync(
            async (site, _, store, clock, token) =>
            {
                var user = new ClaimsPrincipal(new ClaimsIdentity([new(ClaimTypes.Name, "eve")], "cookies"));
                await using var circuit = new Circuit(site, user);
                await LooksAsync(store, 3);
                Assert.Equal("eve", (await circuit.UserAsync()).Identity!.Name);
            }
        );

    /// <summary>As after a transformation of claims: what others have added is in no session, and nobody would add it again.</summary>
    [Fact]
    public Task A_user_of_several_schemes_keeps_what_the_others_say() =>
        WithAsync(
            async (site, first, store, clock, token) =>
            {
                var known = (await first.UserAsync()).Identities.Single();
                var guest = new ClaimsIdentity([new Claim(ClaimTypes.Role, "guest")]);
                await using var circuit = new Circuit(site, new ClaimsPrincipal([known, guest]));
                await LooksAsync(store, 12);
                Assert.True((await circuit.UserAsync()).IsInRole("guest"));
                await Manager(site).DestroyAllAsync("ada");
                Assert.True(await circuit.BecomesAsync(user => !user.IsInRole("guest")));
            }
        );

    /// <summary>While an upgrade is under way another node writes what this one cannot read: that signs nobody out.</summary>
    [Fact]
    public Task Data_of_a_newer_version_leaves_the_user_as_it_was_seen() =>
        WithAsync(
            async (site, circuit, store, clock, token) =>
            {
                await using (
                    var newer = await SchemeSite.StartAsync(
                        store: store,
                        clock: clock,
                        configure: o =>
                        {
                            o.DataVersion = 2;
                            o.Upcasters[1] = json => json;
                        }
                    )
                )
                    await Manager(newer).UpdateAsync(SessionId.Parse(token.Split('.')[0]), _ => new Cart("admin"));

                await LooksAsync(store, 4);
                var user = await circuit.UserAsync();
                Assert.Equal(("ada", true), (user.Identity!.Name, user.IsInRole("customer")));
                await Manager(site).DestroyAllAsync("ada");
                Assert.True(await circuit.BecomesAsync(it => !IsSignedIn(it)));
            }
        );

    [Fact]
    public void Time_does_not_stand_still()
    {
        var blazor = new ServiceCollection().AddServerSideBlazor();
        Assert.Throws<ArgumentException>(() => blazor.AddSessionAuthenticationState<Cart>(TimeSpan.Zero));
    }
}
