using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.Abstractions;
using Microsoft.AspNetCore.Mvc.ApplicationParts;
using Microsoft.AspNetCore.Mvc.Filters;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Session.AspNetCore;
using Session.CSharp;
using Xunit;

namespace Facade;

public sealed record Other(string Name);

public class CartController : Controller
{
    [HttpGet("/mvc/item")]
    public string Item(Session<Cart> session) => session.Data?.Item ?? "none";

    [HttpGet("/mvc/guarded"), RequireSession]
    public string Guarded() => "in";

    [HttpGet("/mvc/cart"), RequireSession<Cart>]
    public string Cart() => "in";

    [HttpGet("/mvc/other"), RequireSession<Other>]
    public string Other() => "in";

    [HttpGet("/mvc/signed-in"), RequireSession<Cart>(SignedIn = true)]
    public string SignedIn() => "in";
}

/// <summary>Data that does not fulfil what its attribute says.</summary>
public sealed record Strict([property: System.ComponentModel.DataAnnotations.StringLength(2)] string Name);

[ApiController]
public class StrictController : Controller
{
    [HttpGet("/strict")]
    public string Name(Session<Strict> session) => session.Data!.Name;
}

public class GuardTests
{
    /// <summary>What a form or a body says is checked. A session's data is the application's own, and no request's mistake.</summary>
    [Fact]
    public async Task The_data_of_a_session_is_not_validated_as_input()
    {
        await using var site = await EdgeSite.StartAsync(
            app =>
            {
                app.UseSession<Strict>();
                app.MapPost("/begin", (Session<Strict> session) => session.CreateAsync(new Strict("longer")));
                app.MapControllers();
            },
            add: services =>
            {
                services.AddSession<Strict>(o => o.Cookie.Name = "__Host-strict").UseMemory();
                services
                    .AddControllers()
                    .ConfigureApplicationPartManager(parts =>
                        parts.ApplicationParts.Add(new AssemblyPart(typeof(StrictController).Assembly))
                    );
            }
        );
        var cookie = (await site.SendAsync("POST", "/begin")).SetCookies.Single().Split(';')[0];
        var answer = await site.SendAsync("GET", "/strict", ("Cookie", cookie));
        Assert.Equal((HttpStatusCode.OK, "longer"), (answer.Status, answer.Body));
    }

    private static Task<Site> StartAsync() =>
        Site.StartAsync(
            map: app =>
            {
                app.MapGet("/route", () => "in").RequireSession<Cart>();
                app.MapGet("/both", () => "in").RequireSession<Cart>().RequireSession<Other>();
                app.MapGet("/both-turned", () => "in").RequireSession<Other>().RequireSession<Cart>();
                RequireSessionAttribute<Cart> cart = new();
                RequireSessionAttribute<Other> other = new();
                app.MapGet("/both-bare", () => "in").WithMetadata(cart, other);
                app.MapGet("/both-bare-turned", () => "in").WithMetadata(other, cart);
                app.MapGet("/bare-first", () => "in").WithMetadata(other).RequireSession<Cart>();
                app.MapGet("/bare-last", () => "in").RequireSession<Cart>().WithMetadata(other);
                app.MapGet("/bare-attribute", [RequireSession<Other>] () => "in").RequireSession<Cart>();
                app.MapGet("/signed-in", () => "in").RequireSignIn<Cart>();
                app.MapGet("/signed-in-first", () => "in").RequireSignIn<Cart>().RequireSession<Cart>();
                app.MapGet("/signed-in-last", () => "in").RequireSession<Cart>().RequireSignIn<Cart>();
                app.Map("/plain", context => context.Response.WriteAsync("in")).RequireSession<Cart>();
                app.Map("/plain-signed-in", context => context.Response.WriteAsync("in")).RequireSignIn<Cart>();
                var group = app.MapGroup("/group").RequireSession<Cart, RouteGroupBuilder>();
                group.MapGet("/it", () => "in");
                app.MapGet("/attribute", [RequireSession] () => "in");
                app.MapGet("/bound", (Session<Cart> session) => session.Data?.Item ?? "none");
                app.MapControllers();
            },
            add: services =>
                services
                    .AddControllers()
                    .ConfigureApplicationPartManager(parts =>
                        parts.ApplicationParts.Add(new AssemblyPart(typeof(CartController).Assembly))
                    )
        );

    [Theory]
    [InlineData("/route")]
    [InlineData("/plain")]
    [InlineData("/group/it")]
    [InlineData("/attribute")]
    [InlineData("/mvc/guarded")]
    [InlineData("/mvc/cart")]
    public async Task An_endpoint_that_needs_a_session_lets_in_whoever_has_one(string path)
    {
        await using var site = await StartAsync();
        Assert.Equal(HttpStatusCode.Unauthorized, (await site.SendAsync(path)).Status);
        Assert.Equal("in", (await site.SendAsync(path, await site.BeginAsync())).Body);
    }

    [Theory]
    [InlineData("/signed-in")]
    [InlineData("/signed-in-first")]
    [InlineData("/signed-in-last")]
    [InlineData("/plain-signed-in")]
    [InlineData("/mvc/signed-in")]
    public async Task An_endpoint_that_needs_a_sign_in_lets_in_whoever_did(string path)
    {
        await using var site = await StartAsync();
        Assert.Equal(HttpStatusCode.Unauthorized, (await site.SendAsync(path)).Status);
        Assert.Equal(HttpStatusCode.Unauthorized, (await site.SendAsync(path, await site.BeginAsync())).Status);
        Assert.Equal("in", (await site.SendAsync(path, await site.BeginAsync("ada"))).Body);
    }

    [Fact]
    public async Task Where_the_middleware_for_the_data_did_not_run_nobody_is_let_in()
    {
        await using var site = await StartAsync();
        var token = await site.BeginAsync("ada");
        string[] paths =
        [
            "/mvc/other",
            "/both",
            "/both-turned",
            "/both-bare",
            "/both-bare-turned",
            "/bare-first",
            "/bare-last",
            "/bare-attribute",
        ];
        foreach (var path in paths)
            Assert.Equal(HttpStatusCode.InternalServerError, (await site.SendAsync(path, token)).Status);
    }

    [Fact]
    public async Task Who_has_both_sessions_that_an_endpoint_needs_is_let_in_and_nobody_else()
    {
        await using var site = await Site.StartAsync(
            map: app =>
            {
                app.UseSession<Other>();
                app.MapGet("/both", () => "in").RequireSession<Cart>().RequireSession<Other>();
                app.MapGet("/other", (Session<Other> session) => session.CreateAsync(new Other("it")));
            },
            add: services => services.AddSession<Other>(o => o.Cookie.Name = "__Host-other").UseMemory()
        );
        var cart = "__Host-sid=" + await site.BeginAsync();
        var other = (await site.SendAsync("/other")).SetCookies.Single().Split(';')[0];
        async Task<HttpStatusCode> WithAsync(params string[] cookies) =>
            (await site.SendAsync("/both", string.Join("; ", cookies), "Cookie")).Status;

        Assert.Equal(HttpStatusCode.OK, await WithAsync(cart, other));
        Assert.Equal(HttpStatusCode.Unauthorized, await WithAsync(cart));
        Assert.Equal(HttpStatusCode.Unauthorized, await WithAsync(other));
        Assert.Equal(HttpStatusCode.Unauthorized, await WithAsync());
    }

    [Fact]
    public void An_action_that_routing_put_behind_no_check_asks_by_itself()
    {
        var action = new ActionContext(new DefaultHttpContext(), new RouteData(), new ActionDescriptor());
        var context = new AuthorizationFilterContext(action, []);
        var error = Assert.Throws<InvalidOperationException>(() =>
            new RequireSessionAttribute<Cart>().OnAuthorization(context)
        );
        Assert.Contains("app.UseSession<Cart>()", error.Message);
    }

    [Theory, InlineData("/bound"), InlineData("/mvc/item")]
    public async Task A_session_is_a_parameter(string path)
    {
        await using var site = await StartAsync();
        Assert.Equal("none", (await site.SendAsync(path)).Body);
        Assert.Equal("tea", (await site.SendAsync(path, await site.BeginAsync())).Body);
    }

    [Fact]
    public async Task A_parameter_marks_its_endpoint_and_a_guard_says_what_it_needs()
    {
        await using var site = await StartAsync();
        var endpoints = site
            .Services.GetRequiredService<EndpointDataSource>()
            .Endpoints.OfType<RouteEndpoint>()
            .ToList();
        Microsoft.AspNetCore.Http.Endpoint Of(string route) => endpoints.Single(it => it.RoutePattern.RawText == route);
        IRequireSessionMetadata Needs(string route) => Of(route).Metadata.GetMetadata<IRequireSessionMetadata>()!;

        Assert.Equal(typeof(Cart), Of("/bound").Metadata.GetMetadata<SessionMetadata>()!.DataType);
        Assert.Null(Of("/route").Metadata.GetMetadata<SessionMetadata>());
        Assert.Equal((typeof(Cart), false), (Needs("/route").DataType, Needs("/route").SignedIn));
        Assert.Equal((typeof(Cart), true), (Needs("/signed-in").DataType, Needs("/signed-in").SignedIn));
        Assert.Equal(((Type?)null, false), (Needs("/attribute").DataType, Needs("/attribute").SignedIn));
        Assert.Equal((typeof(Cart), true), (Needs("mvc/signed-in").DataType, Needs("mvc/signed-in").SignedIn));
        Assert.Equal((typeof(Other), false), (Needs("mvc/other").DataType, Needs("mvc/other").SignedIn));
        Assert.Throws<ArgumentNullException>(() => new RequireSessionAttribute().OnAuthorization(null!));
    }
}
