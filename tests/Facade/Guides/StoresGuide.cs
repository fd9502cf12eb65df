using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Session.CSharp;
using Session.Engine;
using Xunit;

namespace Facade.Guides;

/// <summary>What docs/STORES.md says of the memory's limit, and of a move that not all nodes know of.</summary>
public class StoresGuide
{
    private static void Map(WebApplication app)
    {
        app.UseSession<Cart>();
        app.MapGet("/me", (Session<Cart> session) => session.Subject ?? session.Data?.Item ?? "nobody");
        app.MapPost("/login", (Session<Cart> session) => session.SignInAsync("ada", new Cart("tea")));
        app.MapPost("/write", (Session<Cart> session) => session.UpdateAsync(_ => new Cart("milk")));
    }

    private static Task<Answer> WriteAsync(EdgeSite site, string token) =>
        site.SendAsync("POST", "/write", ("Cookie", "__Host-sid=" + token));

    [Fact]
    public async Task A_full_memory_makes_room_with_sessions_that_never_came_back_and_else_a_new_one_is_a_503()
    {
        await using var site = await EdgeSite.StartAsync(
            Map,
            services => services.AddSession<Cart>().UseMemory(o => o.Capacity = 2)
        );
        var first = (await site.SendAsync("POST", "/write")).Token;
        Assert.Equal("milk", (await site.GetAsync("/me", first)).Body);
        var neverBack = (await site.SendAsync("POST", "/write")).Token;

        // It takes the place of the one that never came back.
        var second = (await site.SendAsync("POST", "/write")).Token;
        Assert.Equal("nobody", (await site.GetAsync("/me", neverBack)).Body);
        Assert.Equal("milk", (await site.GetAsync("/me", second)).Body);

        var third = await site.SendAsync("POST", "/write");
        Assert.Equal((HttpStatusCode.ServiceUnavailable, 0), (third.Status, third.SetCookies.Length));
        Assert.Equal("milk", (await site.GetAsync("/me", first)).Body);
    }

    [Fact]
    public async Task A_session_that_has_moved_is_unknown_to_a_node_without_the_line_and_a_write_there_takes_its_place()
    {
        var former = new MemoryStore();
        var target = new MemoryStore();
        await using var old = await EdgeSite.StartAsync(Map, store: former);
        await using var moving = await EdgeSite.StartAsync(
            Map,
            services =>
                services.AddSession<Cart>().UseStore(_ => target).MigrateFrom(before => before.UseStore(_ => former))
        );
        var token = (await old.SendAsync("POST", "/login")).Token;
        Assert.Equal("ada", (await old.GetAsync("/me", token)).Body);

        // Read, it stays where it is, and both know it.
        Assert.Equal("ada", (await moving.GetAsync("/me", token)).Body);
        Assert.Equal("ada", (await old.GetAsync("/me", token)).Body);

        // Written to, it moves.
        Assert.Empty((await WriteAsync(moving, token)).SetCookies);
        Assert.Equal("ada", (await moving.GetAsync("/me", token)).Body);
        Assert.Equal("nobody", (await old.GetAsync("/me", token)).Body);

        var begun = await WriteAsync(old, token);
        Assert.NotEqual(token.Split('.')[0], begun.Token.Split('.')[0]);
    }
}
