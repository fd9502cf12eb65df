using System.Net;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.DataProtection;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Metadata;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.ApiExplorer;
using Microsoft.AspNetCore.Mvc.ApplicationParts;
using Microsoft.AspNetCore.Mvc.Razor.Compilation;
using Microsoft.AspNetCore.Routing;
using Microsoft.AspNetCore.SignalR;
using Microsoft.Extensions.DependencyInjection;
using Session.CSharp;
using Xunit;

namespace Facade;

[ApiController, RequireSession<Cart>]
public class DeskController : Controller
{
    [HttpGet("/desk/closed")]
    public string Closed() => "in";

    [HttpGet("/desk/open"), AllowAnonymous]
    public string Open() => "open";
}

public class PlainController : Controller
{
    [HttpGet("/desk/plain")]
    public string Plain() => "in";
}

/// <summary>Guards as the framework's own: they chain, AllowAnonymous outweighs them, and documents of the API know of them.</summary>
public class EndpointTests
{
    private sealed class Chat : Hub;

    private static Task<EdgeSite> StartAsync() =>
        EdgeSite.StartAsync(
            app =>
            {
                app.UseSession<Cart>();
                app.MapPost("/begin", (Session<Cart> session) => session.SignInAsync("ada", new Cart("tea")));

                // Each of them returns what it was called on: this compiles.
                RouteGroupBuilder group = app.MapGroup("/group").RequireSession<Cart>().RequireSignIn<Cart>();
                RouteHandlerBuilder closed = group.MapGet("/closed", () => "in").RequireSession<Cart>();
                closed.WithName("closed");
                group.MapGet("/open", () => "open").AllowAnonymous();
                app.MapGroup("/first").AllowAnonymous().RequireSignIn<Cart>().MapGet("/open", () => "open");
                HubEndpointConventionBuilder hub = app.MapHub<Chat>("/hub").RequireSignIn<Cart>();
                hub.RequireSession<Cart>();
                ControllerActionEndpointConventionBuilder controllers = app.MapControllers().AllowSharedCaching();
                Assert.NotNull(controllers);
                app.MapGet("/bound", (Session<Cart> session) => session.Subject);
                app.MapGet("/lambda", [RequireSession] [AllowAnonymous] () => "open");
            },
            add: services =>
            {
                services.AddSignalR();
                services.AddEndpointsApiExplorer();
                services
                    .AddControllers()
                    .ConfigureApplicationPartManager(parts =>
                        parts.ApplicationParts.Add(new AssemblyPart(typeof(DeskController).Assembly))
                    );
            }
        );

    [Theory]
    [InlineData("/group/closed", "/group/open")]
    [InlineData("/group/closed", "/first/open")]
    [InlineData("/group/closed", "/lambda")]
    [InlineData("/desk/closed", "/desk/open")]
    public async Task AllowAnonymous_outweighs_what_is_required_around_it(string closed, string open)
    {
        await using var site = await StartAsync();
        Assert.Equal(HttpStatusCode.Unauthorized, (await site.GetAsync(closed)).Status);
        Assert.Equal(
            (HttpStatusCode.OK, "open"),
            ((await site.GetAsync(open)).Status, (await site.GetAsync(open)).Body)
        );

        var token = (await site.SendAsync("POST", "/begin")).Token;
        Assert.Equal("in", (await site.GetAsync(closed, token)).Body);
        Assert.Equal("open", (await site.GetAsync(open, token)).Body);
    }

    [Fact]
    public async Task A_hub_is_guarded_before_it_is_negotiated_with()
    {
        await using var site = await StartAsync();
        Assert.Equal(HttpStatusCode.Unauthorized, (await site.SendAsync("POST", "/hub/negotiate")).Status);
    }

    /// <summary>Each kind of endpoint that <see cref="IEndpointRouteBuilder"/> knows, guarded in both ways, and where it answers.</summary>
    private static readonly (Type Kind, string Verb, string Path, Action<IEndpointRouteBuilder, bool> Map)[] s_kinds =
    [
        (
            typeof(IEndpointConventionBuilder),
            "GET",
            "/plain",
            (app, isSignIn) => Guard(app.Map("/plain", context => context.Response.WriteAsync("in")), isSignIn)
        ),
        (
            typeof(RouteHandlerBuilder),
            "GET",
            "/handler",
            (app, isSignIn) =>
            {
                var it = app.MapGet("/handler", () => "in");
                _ = isSignIn ? it.RequireSignIn<Cart>() : it.RequireSession<Cart>();
            }
        ),
        (
            typeof(RouteGroupBuilder),
            "GET",
            "/within/it",
            (app, isSignIn) =>
            {
                var it = app.MapGroup("/within");
                (isSignIn ? it.RequireSignIn<Cart>() : it.RequireSession<Cart>()).MapGet("/it", () => "in");
            }
        ),
        (
            typeof(ControllerActionEndpointConventionBuilder),
            "GET",
            "/desk/plain",
            (app, isSignIn) =>
            {
                var it = app.MapControllers();
                _ = isSignIn ? it.RequireSignIn<Cart>() : it.RequireSession<Cart>();
            }
        ),
        (
            typeof(PageActionEndpointConventionBuilder),
            "GET",
            "/pages/anybody",
            (app, isSignIn) =>
            {
                var it = app.MapRazorPages();
                _ = isSignIn ? it.RequireSignIn<Cart>() : it.RequireSession<Cart>();
            }
        ),
        (
            typeof(HubEndpointConventionBuilder),
            "POST",
            "/hub/negotiate?negotiateVersion=1",
            (app, isSignIn) =>
            {
                var it = app.MapHub<Chat>("/hub");
                _ = isSignIn ? it.RequireSignIn<Cart>() : it.RequireSession<Cart>();
            }
        ),
        (
            typeof(ConnectionEndpointRouteBuilder),
            "POST",
            "/line/negotiate?negotiateVersion=1",
            (app, isSignIn) =>
            {
                var it = app.MapConnectionHandler<Line>("/line");
                _ = isSignIn ? it.RequireSignIn<Cart>() : it.RequireSession<Cart>();
            }
        ),
        (
            typeof(RazorComponentsEndpointConventionBuilder),
            "GET",
            "/blazor/anybody",
            (app, isSignIn) =>
            {
                var it = app.MapRazorComponents<Pages.Root>().DisableAntiforgery();
                _ = isSignIn ? it.RequireSignIn<Cart>() : it.RequireSession<Cart>();
            }
        ),
        (
            typeof(ComponentEndpointConventionBuilder),
            "POST",
            "/_blazor/negotiate?negotiateVersion=1",
            (app, isSignIn) =>
            {
                var it = app.MapBlazorHub();
                _ = isSignIn ? it.RequireSignIn<Cart>() : it.RequireSession<Cart>();
            }
        ),
    ];

    private sealed class Line : ConnectionHandler
    {
        public override Task OnConnectedAsync(ConnectionContext connection) => Task.CompletedTask;
    }

    private static void Guard(IEndpointConventionBuilder it, bool isSignIn) =>
        _ = isSignIn ? it.RequireSignIn<Cart>() : it.RequireSession<Cart>();

    /// <summary>A kind that gets an overload of its own is tried below, in both ways.</summary>
    [Fact]
    public void Each_overload_is_tried()
    {
        foreach (var name in new[] { "RequireSession", "RequireSignIn" })
        {
            var kinds = typeof(SessionEndpointConventionBuilderExtensions)
                .GetMethods()
                .Where(it => it.Name == name && it.GetGenericArguments().Length == 1)
                .Select(it => it.GetParameters()[0].ParameterType.Name);
            Assert.Equal(s_kinds.Select(it => it.Kind.Name).Order(), kinds.Order());
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Each_kind_of_endpoint_lets_in_who_may_and_nobody_else(bool isSignIn)
    {
        foreach (var (kind, verb, path, map) in s_kinds)
        {
            await using var site = await EdgeSite.StartAsync(
                app =>
                {
                    app.UseSession<Cart>();
                    app.MapPost("/anonymous", (Session<Cart> session) => session.UpdateAsync(_ => new Cart("tea")));
                    app.MapPost("/begin", (Session<Cart> session) => session.SignInAsync("ada", new Cart("tea")));
                    map(app, isSignIn);
                },
                add: services =>
                {
                    services.AddSignalR();
                    // Not both: components that are drawn once have another source of who it is.
                    if (kind == typeof(ComponentEndpointConventionBuilder))
                        services.AddServerSideBlazor();
                    else
                        services.AddRazorComponents();

                    services
                        .AddRazorPages()
                        .ConfigureApplicationPartManager(parts =>
                        {
                            parts.ApplicationParts.Add(new AssemblyPart(typeof(DeskController).Assembly));
                            parts.ApplicationParts.Add(new CompiledRazorAssemblyPart(typeof(Pages.Root).Assembly));
                        });
                    services.AddAuthorization();
                    services.AddAntiforgery();
                    services.AddDataProtection().UseEphemeralDataProtectionProvider();
                }
            );

            async Task<HttpStatusCode> As(string? token) =>
                (
                    token is null
                        ? await site.SendAsync(verb, path)
                        : await site.SendAsync(verb, path, ("Cookie", "__Host-sid=" + token))
                ).Status;

            var anonymous = (await site.SendAsync("POST", "/anonymous")).Token;
            var signedIn = (await site.SendAsync("POST", "/begin")).Token;
            Assert.Equal((kind, HttpStatusCode.Unauthorized), (kind, await As(null)));
            var expected = isSignIn ? HttpStatusCode.Unauthorized : HttpStatusCode.OK;
            Assert.Equal((kind, expected), (kind, await As(anonymous)));
            Assert.Equal((kind, HttpStatusCode.OK), (kind, await As(signedIn)));
        }
    }

    [Theory]
    [InlineData("/group/closed", new[] { 401, 503 })]
    [InlineData("/bound", new[] { 503 })]
    public async Task Documents_of_the_API_know_what_is_answered_in_place_of_an_endpoint(string route, int[] statuses)
    {
        await using var site = await StartAsync();
        var endpoint = site
            .Services.GetRequiredService<EndpointDataSource>()
            .Endpoints.OfType<RouteEndpoint>()
            .Single(it => it.RoutePattern.RawText == route);
        var said = endpoint.Metadata.GetOrderedMetadata<IProducesResponseTypeMetadata>();
        foreach (var status in statuses)
        {
            var one = said.Single(it => it.StatusCode == status);
            Assert.Equal((typeof(ProblemDetails), "application/problem+json"), (one.Type, one.ContentTypes.Single()));
        }

        // And the endpoint's own answer is there as before.
        Assert.Contains(said, it => it.StatusCode == 200);
    }

    [Theory]
    [InlineData("group/closed")]
    [InlineData("desk/closed")]
    [InlineData("lambda")]
    public async Task So_they_do_of_what_an_attribute_guards(string path)
    {
        await using var site = await StartAsync();
        var described = site
            .Services.GetRequiredService<IApiDescriptionGroupCollectionProvider>()
            .ApiDescriptionGroups.Items.SelectMany(it => it.Items)
            .Single(it => it.RelativePath == path);
        Assert.Equal([200, 401, 503], described.SupportedResponseTypes.Select(it => it.StatusCode).Order());
        var refused = described.SupportedResponseTypes.Single(it => it.StatusCode == 401);
        Assert.Equal(typeof(ProblemDetails), refused.Type);
        Assert.Equal("application/problem+json", refused.ApiResponseFormats.Single().MediaType);
    }
}
