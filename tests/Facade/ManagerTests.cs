using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Session.CSharp;
using Xunit;

namespace Facade;

public class ManagerTests
{
    private static async Task<List<SessionInfo>> ListAsync(Site site, string subject)
    {
        var found = new List<SessionInfo>();
        await foreach (var info in site.Manager.ListAsync(subject))
            found.Add(info);

        return found;
    }

    [Fact]
    public async Task It_finds_a_session_and_says_all_but_its_data()
    {
        await using var site = await Site.StartAsync();
        var start = site.Clock.GetUtcNow();
        var anonymous = await site.BeginAsync();
        site.Clock.Advance(TimeSpan.FromMinutes(2));
        var signedIn = await site.WithAsync(session => session.SignInAsync("ada", new Cart("hers")), anonymous);
        site.Clock.Advance(TimeSpan.FromMinutes(3));
        await site.WithAsync(_ => Task.CompletedTask, signedIn.Token);

        var info = await site.Manager.FindAsync(Site.IdOf(anonymous));
        Assert.Equal(
            new SessionInfo(
                Site.IdOf(anonymous),
                "ada",
                SessionState.Active,
                start,
                start + TimeSpan.FromMinutes(2),
                start + TimeSpan.FromMinutes(5),
                start + TimeSpan.FromMinutes(35)
            ),
            info
        );
        Assert.Equal([info!], await ListAsync(site, "ada"));
        Assert.Empty(await ListAsync(site, "bob"));
    }

    [Fact]
    public async Task What_is_not_there_is_null_and_not_ended()
    {
        await using var site = await Site.StartAsync();
        Assert.Null(await site.Manager.FindAsync(SessionId.Empty));
        Assert.Null(await site.Manager.FindAsync(SessionId.Parse("nobody")));
        Assert.False(await site.Manager.DestroySessionAsync(SessionId.Empty));
        Assert.False(await site.Manager.DestroySessionAsync(SessionId.Parse("nobody")));
    }

    [Fact]
    public async Task It_ends_one_session_whoever_holds_it()
    {
        await using var site = await Site.StartAsync();
        var token = await site.BeginAsync();
        Assert.True(await site.Manager.DestroySessionAsync(Site.IdOf(token)));
        Assert.False(await site.Manager.DestroySessionAsync(Site.IdOf(token)));
        Assert.Null(await site.Manager.FindAsync(Site.IdOf(token)));
    }

    [Fact]
    public async Task It_ends_all_of_a_subject_but_one_and_then_all()
    {
        await using var site = await Site.StartAsync();
        var kept = await site.BeginAsync("ada");
        await site.BeginAsync("ada");
        await site.BeginAsync("ada");
        var other = await site.BeginAsync("bob");
        Assert.Equal(2, await site.Manager.DestroyAllAsync("ada", Site.IdOf(kept)));
        Assert.Equal([Site.IdOf(kept)], (await ListAsync(site, "ada")).Select(info => info.Id));
        Assert.Equal(1, await site.Manager.DestroyAllAsync("ada", SessionId.Empty));
        Assert.Equal(0, await site.Manager.DestroyAllAsync("ada"));
        Assert.NotNull(await site.Manager.FindAsync(Site.IdOf(other)));
    }

    [Fact]
    public async Task It_ends_everybodys()
    {
        await using var site = await Site.StartAsync();
        await site.BeginAsync();
        await site.BeginAsync("ada");
        Assert.Equal(2, await site.Manager.DestroyEverySessionAsync());
        Assert.Equal(0, await site.Manager.DestroyEverySessionAsync());
    }

    [Fact]
    public async Task It_begins_a_session_for_a_request()
    {
        await using var site = await Site.StartAsync();
        var reply = await site.InRequestAsync(async context =>
        {
            var session = await site.Manager.CreateSessionAsync(new Cart("made"), context);
            Assert.Equal(new Cart("made"), session.Data);
            Assert.Same(session, await site.Manager.GetSessionAsync(context));
        });
        Assert.NotNull(await site.Manager.FindAsync(Site.IdOf(reply.Token!)));
    }

    [Fact]
    public async Task Missing_arguments_are_refused()
    {
        await using var site = await Site.StartAsync();
        var manager = site.Manager;
        await Assert.ThrowsAsync<ArgumentNullException>(() => manager.DestroyAllAsync(null!));
        await Assert.ThrowsAsync<ArgumentException>(() => manager.DestroyAllAsync(""));
        await Assert.ThrowsAsync<ArgumentException>(() => ListAsync(site, ""));
        await Assert.ThrowsAsync<ArgumentNullException>(() => manager.GetSessionAsync(null!));
        await Assert.ThrowsAsync<ArgumentNullException>(() => manager.CreateSessionAsync(new Cart("tea"), null!));
        Assert.Throws<ArgumentNullException>(() => new SessionManager<Cart>(null!));
    }

    [Fact]
    public async Task A_call_that_was_cancelled_ends_nothing()
    {
        await using var site = await Site.StartAsync(store: () => new Careful());
        var token = await site.BeginAsync("ada");
        var id = Site.IdOf(token);
        var stop = new CancellationToken(true);
        Task Cancelled(Func<Task> call) => Assert.ThrowsAnyAsync<OperationCanceledException>(call);
        await Cancelled(() => site.Manager.DestroyEverySessionAsync(stop));
        await Cancelled(() => site.Manager.DestroySessionAsync(id, stop));
        await Cancelled(() => site.Manager.FindAsync(id, stop));
        await Cancelled(async () => await site.Manager.ListAsync("ada", stop).GetAsyncEnumerator(stop).MoveNextAsync());
        Assert.NotNull(await site.Manager.FindAsync(id));
    }

    [Fact]
    public async Task It_is_one_for_the_application()
    {
        await using var site = await Site.StartAsync();
        Assert.Same(site.Manager, site.Services.GetRequiredService<SessionManager<Cart>>());
    }
}
