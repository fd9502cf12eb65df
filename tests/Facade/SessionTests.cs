using System.Net;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Session.CSharp;
using Xunit;

namespace Facade;

public class SessionTests
{
    [Fact]
    public async Task Without_a_token_there_is_nothing()
    {
        await using var site = await Site.StartAsync();
        var reply = await site.WithAsync(session =>
        {
            Assert.Equal(SessionOrigin.New, session.Origin);
            Assert.Equal(SessionState.None, session.State);
            Assert.True(session.Id.IsEmpty);
            Assert.Null(session.Data);
            Assert.Null(session.Subject);
            Assert.Null(session.CreatedAt);
            Assert.Null(session.AuthenticatedAt);
            Assert.Null(session.ExpiresAt);
            return Task.CompletedTask;
        });
        Assert.Empty(reply.SetCookies);
    }

    [Fact]
    public async Task A_session_begins_comes_back_and_says_what_it_is()
    {
        await using var site = await Site.StartAsync(o => o.IdleTimeout = TimeSpan.FromMinutes(20));
        var start = site.Clock.GetUtcNow();
        var begun = await site.WithAsync(async session =>
        {
            await session.CreateAsync(new Cart("tea"));
            Assert.Equal(SessionState.Created, session.State);
            Assert.Equal(SessionOrigin.New, session.Origin);
            Assert.Equal(start + TimeSpan.FromMinutes(10), session.ExpiresAt);
        });
        var token = begun.Token!;
        site.Clock.Advance(TimeSpan.FromMinutes(5));
        await site.WithAsync(
            session =>
            {
                Assert.Equal(Site.IdOf(token), session.Id);
                Assert.Equal(SessionOrigin.Resumed, session.Origin);
                Assert.Equal(SessionState.Active, session.State);
                Assert.Equal(new Cart("tea"), session.Data);
                Assert.Null(session.Subject);
                Assert.Equal(start, session.CreatedAt);
                Assert.Null(session.AuthenticatedAt);
                Assert.Equal(start + TimeSpan.FromMinutes(25), session.ExpiresAt);
                return Task.CompletedTask;
            },
            token
        );
    }

    [Fact]
    public async Task Save_and_update_store_what_they_say()
    {
        await using var site = await Site.StartAsync();
        var token = await site.BeginAsync();
        await site.WithAsync(session => session.SaveAsync(new Cart("coffee")), token);
        await site.WithAsync(
            async session =>
            {
                Assert.Equal(new Cart("coffee"), session.Data);
                var made = await session.UpdateAsync(cart => cart! with { Count = cart.Count + 1 });
                Assert.Equal(new Cart("coffee", 2), made);
                Assert.Equal(made, session.Data);
            },
            token
        );
        await site.WithAsync(
            session =>
            {
                Assert.Equal(new Cart("coffee", 2), session.Data);
                return Task.CompletedTask;
            },
            token
        );
    }

    [Fact]
    public async Task An_update_begins_a_session_with_nothing_before()
    {
        await using var site = await Site.StartAsync();
        var reply = await site.WithAsync(session => session.UpdateAsync(cart => cart ?? new Cart("first")));
        Assert.NotNull(reply.Token);
    }

    [Fact]
    public async Task Create_ends_the_session_that_was_there()
    {
        await using var site = await Site.StartAsync();
        var token = await site.BeginAsync();
        var reply = await site.WithAsync(session => session.CreateAsync(new Cart("new")), token);
        Assert.NotEqual(Site.IdOf(token), Site.IdOf(reply.Token!));
        Assert.Null(await site.Manager.FindAsync(Site.IdOf(token)));
        Assert.NotNull(await site.Manager.FindAsync(Site.IdOf(reply.Token!)));
    }

    [Fact]
    public async Task A_sign_in_says_who_and_when_under_a_new_token()
    {
        await using var site = await Site.StartAsync();
        var token = await site.BeginAsync();
        site.Clock.Advance(TimeSpan.FromMinutes(1));
        var now = site.Clock.GetUtcNow();
        var reply = await site.WithAsync(
            async session =>
            {
                await session.SignInAsync("ada", new Cart("hers"));
                Assert.Equal("ada", session.Subject);
                Assert.Equal(now, session.AuthenticatedAt);
                Assert.Equal(now - TimeSpan.FromMinutes(1), session.CreatedAt);
                Assert.Equal(new Cart("hers"), session.Data);
            },
            token
        );
        Assert.NotEqual(token, reply.Token);
        Assert.Equal(Site.IdOf(token), Site.IdOf(reply.Token!));
        await site.WithAsync(
            session =>
            {
                Assert.Equal(SessionOrigin.Invalid, session.Origin);
                Assert.Null(session.Subject);
                return Task.CompletedTask;
            },
            token
        );
    }

    [Fact]
    public async Task Regenerate_gives_a_new_token_and_keeps_the_rest()
    {
        await using var site = await Site.StartAsync();
        var token = await site.BeginAsync("ada");
        var reply = await site.WithAsync(session => session.RegenerateAsync(), token);
        Assert.NotEqual(token, reply.Token);
        await site.WithAsync(
            session =>
            {
                Assert.Equal("ada", session.Subject);
                Assert.Equal(new Cart("tea"), session.Data);
                return Task.CompletedTask;
            },
            reply.Token
        );
        await site.WithAsync(
            async session =>
            {
                Assert.Equal(SessionState.None, session.State);
                await Assert.ThrowsAsync<SessionEndedException>(() => session.RegenerateAsync());
            },
            token
        );
    }

    [Fact]
    public async Task Destroy_ends_it_and_clears_the_cookie()
    {
        await using var site = await Site.StartAsync();
        var token = await site.BeginAsync();
        var reply = await site.WithAsync(
            async session =>
            {
                await session.DestroyAsync();
                Assert.Equal(SessionState.Destroyed, session.State);
                Assert.Null(session.Data);
                Assert.True(session.Id.IsEmpty);
            },
            token
        );
        Assert.True(reply.IsCleared);
        await site.WithAsync(
            async session =>
            {
                Assert.Equal(SessionState.Destroyed, session.State);
                Assert.Equal(SessionOrigin.Invalid, session.Origin);
                await session.DestroyAsync();
            },
            token
        );
    }

    [Fact]
    public async Task Time_ends_it_and_says_so()
    {
        await using var site = await Site.StartAsync();
        var token = await site.BeginAsync();
        site.Clock.Advance(TimeSpan.FromMinutes(30));
        await site.WithAsync(
            session =>
            {
                Assert.Equal(SessionOrigin.Expired, session.Origin);
                Assert.Equal(SessionState.Expired, session.State);
                return Task.CompletedTask;
            },
            token
        );
    }

    /// <summary>Whoever still holds the cookie may begin anew at once where time has ended it, and not where somebody has.</summary>
    [Theory, InlineData(false), InlineData(true)]
    public async Task What_time_has_ended_a_moment_ago_keeps_nobody_from_a_new_one(bool isDestroyed)
    {
        await using var site = await Site.StartAsync();
        var token = await site.BeginAsync("ada");
        if (isDestroyed)
            await site.Manager.DestroySessionAsync(Site.IdOf(token));
        else
            site.Clock.Advance(TimeSpan.FromMinutes(30));

        site.Clock.Advance(TimeSpan.FromSeconds(5));
        var reply = await site.WithAsync(session => session.UpdateAsync(_ => new Cart("new")), token);
        Assert.Equal(isDestroyed ? HttpStatusCode.Unauthorized : HttpStatusCode.OK, reply.Status);
        if (!isDestroyed)
            Assert.NotEqual(Site.IdOf(token), Site.IdOf(reply.Token!));
    }

    [Fact]
    public async Task A_renewal_under_way_shows_as_regenerated()
    {
        await using var site = await Site.StartAsync();
        var token = await site.BeginAsync();
        site.Clock.Advance(TimeSpan.FromMinutes(16));
        var reply = await site.WithAsync(
            session =>
            {
                Assert.Equal(SessionState.Regenerated, session.State);
                return Task.CompletedTask;
            },
            token
        );
        Assert.NotNull(reply.Token);
        Assert.NotEqual(token, reply.Token);
    }

    [Fact]
    public async Task Reload_reads_what_others_wrote()
    {
        await using var site = await Site.StartAsync();
        var token = await site.BeginAsync();
        await site.WithAsync(
            async session =>
            {
                await site.WithAsync(other => other.SaveAsync(new Cart("theirs")), token);
                Assert.Equal(new Cart("tea"), session.Data);
                await session.ReloadAsync();
                Assert.Equal(new Cart("theirs"), session.Data);
            },
            token
        );
    }

    [Fact]
    public async Task A_request_has_one_session_however_it_is_asked_for()
    {
        await using var site = await Site.StartAsync();
        var token = await site.BeginAsync();
        await site.InRequestAsync(
            async context =>
            {
                var first = await context.GetSessionAsync<Cart>();
                Assert.Same(first, await context.GetSessionAsync<Cart>());
                Assert.Same(first, await site.Manager.GetSessionAsync(context));
                Assert.Same(first, await Session<Cart>.BindAsync(context, null!));
            },
            token
        );
    }

    [Fact]
    public async Task Missing_arguments_are_refused_before_anything_happens()
    {
        await using var site = await Site.StartAsync();
        var reply = await site.WithAsync(async session =>
        {
            await Assert.ThrowsAsync<ArgumentNullException>(() => session.CreateAsync(null!));
            await Assert.ThrowsAsync<ArgumentNullException>(() => session.SaveAsync(null!));
            await Assert.ThrowsAsync<ArgumentNullException>(() => session.UpdateAsync(null!));
            await Assert.ThrowsAsync<ArgumentNullException>(() => session.SignInAsync("ada", null!));
            await Assert.ThrowsAsync<ArgumentNullException>(() => session.SignInAsync(null!, new Cart("tea")));
            await Assert.ThrowsAsync<ArgumentException>(() => session.SignInAsync("", new Cart("tea")));
        });
        Assert.Empty(reply.SetCookies);
        await Assert.ThrowsAsync<ArgumentNullException>(async () => await ((HttpContext)null!).GetSessionAsync<Cart>());
        await Assert.ThrowsAsync<ArgumentNullException>(async () => await Session<Cart>.BindAsync(null!, null!));
        Assert.Throws<ArgumentNullException>(() => Session<Cart>.PopulateMetadata(null!, null!));
    }

    [Fact]
    public async Task A_session_whose_creation_was_cancelled_is_not_there()
    {
        await using var site = await Site.StartAsync();
        var stop = new CancellationToken(true);
        var reply = await site.WithAsync(async session =>
        {
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => session.CreateAsync(new Cart("late"), stop));
            Assert.Equal(SessionState.None, session.State);
        });
        Assert.Empty(reply.SetCookies);
        Assert.Equal(0, await site.Manager.DestroyEverySessionAsync());
    }

    /// <summary>Each call stops before it has sent anything, where its caller has gone already.</summary>
    [Theory]
    [InlineData("save")]
    [InlineData("update")]
    [InlineData("create")]
    [InlineData("sign-in")]
    [InlineData("regenerate")]
    [InlineData("regenerate with data")]
    [InlineData("destroy")]
    public async Task A_call_that_was_cancelled_before_it_began_changes_nothing(string call)
    {
        await using var site = await Site.StartAsync();
        var token = await site.BeginAsync("ada");
        var stop = new CancellationToken(true);
        var late = new Cart("late");
        var reply = await site.WithAsync(
            session =>
                Assert.ThrowsAnyAsync<OperationCanceledException>(() =>
                    call switch
                    {
                        "save" => session.SaveAsync(late, stop),
                        "update" => session.UpdateAsync(_ => late, stop),
                        "create" => session.CreateAsync(late, stop),
                        "sign-in" => session.SignInAsync("eve", late, stop),
                        "regenerate" => session.RegenerateAsync(stop),
                        "regenerate with data" => session.RegenerateAsync(late, stop),
                        _ => session.DestroyAsync(stop),
                    }
                ),
            token
        );
        Assert.Empty(reply.SetCookies);
        await site.WithAsync(
            session =>
            {
                Assert.Equal(("ada", new Cart("tea")), (session.Subject, session.Data));
                return Task.CompletedTask;
            },
            token
        );
    }

    [Fact]
    public async Task A_request_that_is_gone_reads_nothing()
    {
        await using var site = await Site.StartAsync(store: () => new Careful());
        var token = await site.BeginAsync();
        await site.InRequestAsync(
            async context =>
            {
                context.RequestAborted = new CancellationToken(true);
                Task Cancelled(Func<Task> call) => Assert.ThrowsAnyAsync<OperationCanceledException>(call);
                await Cancelled(async () => await Session<Cart>.BindAsync(context, null!));
                await Cancelled(async () => await context.GetSessionAsync<Cart>(context.RequestAborted));
                await Cancelled(() => site.Manager.GetSessionAsync(context, context.RequestAborted));
                await Cancelled(() =>
                    site.Manager.CreateSessionAsync(new Cart("late"), context, context.RequestAborted)
                );
                var session = await context.GetSessionAsync<Cart>();
                await Cancelled(() => session.ReloadAsync(context.RequestAborted));
            },
            token
        );
    }
}
