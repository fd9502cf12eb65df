using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.DataProtection;
using Microsoft.AspNetCore.Diagnostics.HealthChecks;
using Microsoft.AspNetCore.HttpOverrides;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Session.CSharp;
using Session.Engine;
using Session.Testing;
using Xunit;

namespace Facade.Guides;

/// <summary>The snippets of docs/DEPLOYMENT.md, and that they do what it says.</summary>
public class DeploymentGuide
{
    private static void SubDomains(SessionOptions<Cart> o)
    {
        o.Cookie.Domain = "example.com";
        o.TrustedOrigins.Add("https://app.example.com");
    }

    private static void OneOfSeveral(SessionOptions<Cart> o)
    {
        o.Cookie.Name = "__Host-shop";
    }

    private static void Proxy(IServiceCollection services)
    {
        services.Configure<ForwardedHeadersOptions>(o =>
        {
            o.ForwardedHeaders = ForwardedHeaders.XForwardedProto | ForwardedHeaders.XForwardedHost;
            o.KnownProxies.Add(IPAddress.Parse("10.0.0.1"));
        });
    }

    private static void Probes(IServiceCollection services)
    {
        services.AddHealthChecks().AddSessions<Cart>(tags: ["ready"]);
    }

    private static void Probes(WebApplication app)
    {
        app.MapHealthChecks("/alive", new HealthCheckOptions { Predicate = _ => false });
        app.MapHealthChecks("/ready", new HealthCheckOptions { Predicate = it => it.Tags.Contains("ready") });
    }

    private static void Keys(IServiceCollection services, string keys)
    {
        services.AddDataProtection().SetApplicationName("shop").PersistKeysToFileSystem(new DirectoryInfo(keys));
    }

    private static void Map(WebApplication app)
    {
        app.UseSession<Cart>();
        app.MapGet("/me", (Session<Cart> session) => session.Subject ?? "nobody");
        app.MapPost("/login", (Session<Cart> session) => session.SignInAsync("ada", new Cart("tea")));
        app.MapPost("/write", (Session<Cart> session) => session.UpdateAsync(_ => new Cart("tea")));
    }

    [Fact]
    public async Task Sub_domains_share_a_session_and_only_those_that_are_named_may_change_it()
    {
        await using var site = await EdgeSite.StartAsync(Map, configure: SubDomains);
        var begun = await site.SendAsync("POST", "/login");
        Assert.StartsWith("__Secure-sid=", begun.SetCookies[0], StringComparison.Ordinal);
        Assert.Contains("domain=example.com", begun.SetCookies[0], StringComparison.OrdinalIgnoreCase);

        async Task<HttpStatusCode> FromAsync(string origin) =>
            (
                await site.SendAsync(
                    "POST",
                    "/write",
                    ("Cookie", "__Secure-sid=" + begun.Token),
                    ("Sec-Fetch-Site", "same-site"),
                    ("Origin", origin)
                )
            ).Status;
        Assert.Equal(HttpStatusCode.OK, await FromAsync("https://app.example.com"));
        Assert.Equal(HttpStatusCode.Forbidden, await FromAsync("https://forum.example.com"));
    }

    [Fact]
    public async Task Services_on_one_store_with_the_same_settings_have_the_same_sessions()
    {
        var store = new MemoryStore();
        await using var shop = await EdgeSite.StartAsync(Map, store: store);
        await using var account = await EdgeSite.StartAsync(Map, store: store);
        var token = (await shop.SendAsync("POST", "/login")).Token;
        Assert.Equal("ada", (await account.GetAsync("/me", token)).Body);
        await account.Services.GetRequiredService<SessionManager<Cart>>().DestroyAllAsync("ada");
        Assert.Equal("nobody", (await shop.GetAsync("/me", token)).Body);
    }

    [Fact]
    public async Task Two_applications_on_one_host_leave_each_others_cookie_alone_under_names_of_their_own()
    {
        await using var shop = await EdgeSite.StartAsync(Map, configure: OneOfSeveral);
        await using var forum = await EdgeSite.StartAsync(Map);
        var inShop = (await shop.SendAsync("POST", "/login")).SetCookies[0].Split(';')[0];
        var inForum = (await forum.SendAsync("POST", "/login", ("Cookie", inShop))).SetCookies[0].Split(';')[0];
        Assert.StartsWith("__Host-shop=", inShop, StringComparison.Ordinal);
        Assert.StartsWith("__Host-sid=", inForum, StringComparison.Ordinal);
        var both = ("Cookie", $"{inShop}; {inForum}");
        Assert.Equal("ada", (await shop.SendAsync("GET", "/me", both)).Body);
        Assert.Equal("ada", (await forum.SendAsync("GET", "/me", both)).Body);
    }

    [Fact]
    public async Task Behind_a_proxy_that_changes_the_host_the_forwarded_one_is_the_requests_own()
    {
        async Task<HttpStatusCode> PostAsync(bool isTold)
        {
            await using var site = await EdgeSite.StartAsync(
                app =>
                {
                    if (isTold)
                        app.UseForwardedHeaders();
                    Map(app);
                },
                Proxy
            );
            // A browser of before 2023 says Origin only.
            var answer = await site.SendAsync(
                "POST",
                "/write",
                ("Origin", "https://shop.example"),
                ("X-Forwarded-Host", "shop.example"),
                ("X-Forwarded-Proto", "https")
            );
            return answer.Status;
        }

        Assert.Equal(HttpStatusCode.OK, await PostAsync(isTold: true));
        Assert.Equal(HttpStatusCode.Forbidden, await PostAsync(isTold: false));
    }

    [Fact]
    public async Task Behind_a_proxy_that_ends_TLS_the_cookie_is_Secure_without_a_setting()
    {
        await using var site = await EdgeSite.StartAsync(Map);
        var begun = await site.SendAsync("POST", "/login");
        Assert.Contains("secure", begun.SetCookies[0], StringComparison.OrdinalIgnoreCase);
    }

    [Fact]
    public async Task With_its_keys_in_a_folder_the_next_container_reads_what_the_one_before_encrypted()
    {
        var store = new MemoryStore();
        var volume = Directory.CreateTempSubdirectory();
        var another = Directory.CreateTempSubdirectory();
        Task<EdgeSite> ContainerAsync(DirectoryInfo folder) =>
            EdgeSite.StartAsync(
                Map,
                services =>
                {
                    Keys(services, folder.FullName);
                    services.AddSession<Cart>().UseStore(_ => store).ProtectWithDataProtection();
                }
            );
        try
        {
            var token = "";
            await using (var first = await ContainerAsync(volume))
                token = (await first.SendAsync("POST", "/login")).Token;

            await using (var next = await ContainerAsync(volume))
                Assert.Equal("ada", (await next.GetAsync("/me", token)).Body);

            await using (var keyless = await ContainerAsync(another))
                Assert.Equal("nobody", (await keyless.GetAsync("/me", token)).Body);
        }
        finally
        {
            volume.Delete(true);
            another.Delete(true);
        }
    }

    [Fact]
    public async Task While_the_store_is_away_a_node_is_alive_and_not_ready()
    {
        await using var site = await EdgeSite.StartAsync(
            app =>
            {
                Map(app);
                Probes(app);
            },
            services =>
            {
                services.UseFailingStore<Cart>();
                Probes(services);
            }
        );
        Assert.Equal(HttpStatusCode.OK, (await site.GetAsync("/ready")).Status);
        site.Services.GetFailingStore<Cart>().Failure = StoreFailure.Unavailable;
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await site.GetAsync("/ready")).Status);
        Assert.Equal(HttpStatusCode.OK, (await site.GetAsync("/alive")).Status);
    }

    [Fact]
    public async Task A_request_in_flight_when_its_node_stops_is_answered_and_what_it_wrote_is_stored()
    {
        var store = new MemoryStore();
        var here = new TaskCompletionSource();
        var goOn = new TaskCompletionSource();
        var token = "";
        await using (
            var site = await EdgeSite.StartAsync(
                app =>
                {
                    Map(app);
                    app.MapPost(
                        "/slow",
                        async (Session<Cart> session) =>
                        {
                            here.SetResult();
                            await goOn.Task;
                            await session.UpdateAsync(_ => new Cart("milk"));
                        }
                    );
                },
                store: store
            )
        )
        {
            token = (await site.SendAsync("POST", "/login")).Token;
            var slow = site.SendAsync("POST", "/slow", ("Cookie", "__Host-sid=" + token));
            await here.Task;
            var stopping = site.Services.GetRequiredService<IHost>().StopAsync();
            goOn.SetResult();
            Assert.Equal(HttpStatusCode.OK, (await slow).Status);
            await stopping;
        }

        await using var next = await EdgeSite.StartAsync(
            app =>
            {
                app.UseSession<Cart>();
                app.MapGet("/cart", (Session<Cart> session) => session.Data?.Item);
            },
            store: store
        );
        Assert.Equal("milk", (await next.GetAsync("/cart", token)).Body);
    }
}
