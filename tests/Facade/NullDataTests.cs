using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.FSharp.Core;
using Session.AspNetCore;
using Session.CSharp;
using Session.Engine;
using Xunit;

namespace Facade;

/// <summary>Null is no data: a write of it would be acknowledged, and the session lost with it.</summary>
public class NullDataTests
{
    /// <summary>Writes what it likes: null bytes of one cart, and something for a null.</summary>
    private sealed class Careless : ISessionSerializer<Cart>
    {
        public byte[] Serialize(Cart value) =>
            value?.Item == "no bytes" ? null! : Encoding.UTF8.GetBytes(value?.Item ?? "null");

        public Cart Deserialize(ReadOnlyMemory<byte> bytes) => new(Encoding.UTF8.GetString(bytes.Span));
    }

    private sealed class Optional : ISessionSerializer<FSharpOption<string>>
    {
        public byte[] Serialize(FSharpOption<string> value) => Encoding.UTF8.GetBytes(value?.Value ?? "");

        public FSharpOption<string> Deserialize(ReadOnlyMemory<byte> bytes) =>
            bytes.IsEmpty ? null! : FSharpOption<string>.Some(Encoding.UTF8.GetString(bytes.Span));
    }

    [Theory]
    [InlineData("Production", false)]
    [InlineData("Development", false)]
    [InlineData("Production", true)]
    [InlineData("Development", true)]
    public async Task A_write_of_null_is_refused_and_changes_nothing(string environment, bool ownSerializer)
    {
        await using var site = await EdgeSite.StartAsync(
            app =>
            {
                app.UseSession<Cart>();
                app.MapGet("/begin", (Session<Cart> session) => session.SignInAsync("ada", new Cart("tea")));
                app.MapGet("/read", (Session<Cart> session) => session.Data?.Item + " " + session.Subject);
                app.MapGet("/update", (Session<Cart> session) => RefusedAsync(() => session.UpdateAsync(_ => null!)));
                app.MapGet(
                    "/manager",
                    (Session<Cart> session, SessionManager<Cart> manager) =>
                        RefusedAsync(() => manager.UpdateAsync(session.Id, _ => null!))
                );
            },
            configure: o => o.Serializer = ownSerializer ? new Careless() : null,
            environment: environment
        );
        var fresh = await site.GetAsync("/update");
        Assert.Equal("true", fresh.Body);
        Assert.Empty(fresh.SetCookies);
        var token = (await site.GetAsync("/begin")).Token;
        Assert.Equal("true", (await site.GetAsync("/update", token)).Body);
        Assert.Equal("true", (await site.GetAsync("/manager", token)).Body);
        Assert.Equal("tea ada", (await site.GetAsync("/read", token)).Body);
    }

    [Theory]
    [InlineData("Production")]
    [InlineData("Development")]
    public async Task A_serializer_that_gives_null_for_bytes_is_refused_by_name(string environment)
    {
        await using var site = await EdgeSite.StartAsync(
            app =>
            {
                app.UseSession<Cart>();
                app.MapGet("/begin", (Session<Cart> session) => session.SignInAsync("ada", new Cart("tea")));
                app.MapGet("/read", (Session<Cart> session) => session.Data?.Item + " " + session.Subject);
                var bad = new Cart("no bytes");
                app.MapGet("/update", (Session<Cart> session) => RefusedAsync(() => session.UpdateAsync(_ => bad)));
                app.MapGet("/save", (Session<Cart> session) => RefusedAsync(() => session.SaveAsync(bad)));
                app.MapGet("/create", (Session<Cart> session) => RefusedAsync(() => session.CreateAsync(bad)));
                app.MapGet("/again", (Session<Cart> session) => RefusedAsync(() => session.RegenerateAsync(bad)));
                app.MapGet("/sign-in", (Session<Cart> session) => RefusedAsync(() => session.SignInAsync("bob", bad)));
            },
            configure: o => o.Serializer = new Careless(),
            environment: environment
        );
        var token = (await site.GetAsync("/begin")).Token;
        foreach (var path in new[] { "/update", "/save", "/create", "/again", "/sign-in" })
            Assert.Equal("true", (await site.GetAsync(path, token)).Body);

        Assert.Equal("tea ada", (await site.GetAsync("/read", token)).Body);
    }

    /// <summary>F# represents None as null: an application's own serializer may keep it.</summary>
    [Fact]
    public void None_is_a_value_like_any_other()
    {
        foreach (var comparesWrites in new[] { false, true })
        {
            ISessionSerializer<FSharpOption<string>> serializer = new CheckedSerializer<FSharpOption<string>>(
                new Optional(),
                comparesWrites,
                NullLogger.Instance
            );
            Assert.Null(serializer.Deserialize(serializer.Serialize(null!)));
        }
    }

    private static async Task<bool> RefusedAsync(Func<Task> write)
    {
        try
        {
            await write();
            return false;
        }
        catch (SessionDataException)
        {
            return true;
        }
    }
}
