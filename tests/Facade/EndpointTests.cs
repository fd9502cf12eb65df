using System.Net;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http.Metadata;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.ApiExplorer;
using Microsoft.AspNetCore.Mvc.ApplicationParts;
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
