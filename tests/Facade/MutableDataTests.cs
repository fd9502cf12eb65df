using Session.CSharp;
using Xunit;

namespace Facade;

/// <summary>Data whose objects can be changed: only what an update returns, and what it was made from, counts.</summary>
public class MutableDataTests
{
    [Fact]
    public async Task What_a_request_changes_by_hand_is_in_no_update()
    {
        await using var site = await Site.StartAsync();
        var token = await site.BeginAsync();
        await site.WithAsync(
            async session =>
            {
                session.Data!.Note = "by hand";
                await session.UpdateAsync(cart =>
                {
                    Assert.Null(cart!.Note);
                    return cart with { Count = 2 };
                });
            },
            token
        );
        await StoredAsync(site, token, new Cart("tea", 2));
    }

    /// <summary>What the application has given is stored as it was then, whatever it does with the object later.</summary>
    [Theory]
    [InlineData("saved")]
    [InlineData("the result of an update")]
    [InlineData("signed in with")]
    [InlineData("elevated with")]
    [InlineData("created with")]
    public async Task What_a_request_changes_by_hand_once_it_is_stored_is_in_no_update(string how)
    {
        await using var site = await Site.StartAsync();
        var token = await site.BeginAsync();
        await site.WithAsync(
            async session =>
            {
                var cart = new Cart("milk");
                switch (how)
                {
                    case "saved":
                        await session.SaveAsync(cart);
                        break;
                    case "the result of an update":
                        await session.UpdateAsync(_ => cart);
                        break;
                    case "signed in with":
                        await session.SignInAsync("ada", cart);
                        break;
                    case "elevated with":
                        await session.RegenerateAsync(cart);
                        break;
                    default:
                        await session.CreateAsync(cart);
                        break;
                }

                cart.Note = "by hand";
                var updated = await session.UpdateAsync(stored => stored! with { Count = 2 });
                Assert.Equal(new Cart("milk", 2), updated);
            },
            token
        );
    }

    [Fact]
    public async Task An_update_that_throws_changes_nothing()
    {
        await using var site = await Site.StartAsync();
        var token = await site.BeginAsync();
        await site.WithAsync(
            async session =>
            {
                await Assert.ThrowsAsync<InvalidOperationException>(() =>
                    session.UpdateAsync(cart =>
                    {
                        cart!.Note = "half";
                        throw new InvalidOperationException();
                    })
                );
                Assert.Equal(new Cart("tea"), session.Data);
                await session.UpdateAsync(cart => cart! with { Count = 3 });
            },
            token
        );
        await StoredAsync(site, token, new Cart("tea", 3));
    }

    [Fact]
    public async Task An_update_works_on_an_object_of_its_own()
    {
        await using var site = await Site.StartAsync();
        var token = await site.BeginAsync();
        await site.WithAsync(
            async session =>
            {
                var made = await session.UpdateAsync(cart =>
                {
                    cart!.Note = "new";
                    Assert.Equal(new Cart("tea"), session.Data);
                    return cart;
                });
                Assert.Equal("new", made.Note);
                Assert.Equal("new", session.Data!.Note);
            },
            token
        );
        await StoredAsync(site, token, new Cart("tea") { Note = "new" });
    }

    [Fact]
    public async Task An_update_that_is_made_again_begins_with_what_the_other_has_stored()
    {
        await using var site = await Site.StartAsync();
        var token = await site.BeginAsync();
        var calls = 0;
        await site.WithAsync(
            session =>
                session.UpdateAsync(cart =>
                {
                    calls++;
                    if (calls == 1)
                        site.WithAsync(other => other.UpdateAsync(c => c! with { Count = 10 }), token)
                            .GetAwaiter()
                            .GetResult();
                    cart!.Note += calls;
                    return cart;
                }),
            token
        );
        Assert.Equal(2, calls);
        await StoredAsync(site, token, new Cart("tea", 10) { Note = "2" });
    }

    [Fact]
    public async Task After_a_reload_an_update_has_what_was_reloaded()
    {
        await using var site = await Site.StartAsync();
        var token = await site.BeginAsync();
        await site.WithAsync(
            async session =>
            {
                await site.WithAsync(other => other.UpdateAsync(c => c! with { Count = 7 }), token);
                await session.ReloadAsync();
                await session.UpdateAsync(cart => cart! with { Count = cart.Count + 1 });
            },
            token
        );
        await StoredAsync(site, token, new Cart("tea", 8));
    }

    private static Task StoredAsync(Site site, string token, Cart expected) =>
        site.WithAsync(
            session =>
            {
                Assert.Equal(expected, session.Data);
                return Task.CompletedTask;
            },
            token
        );
}
