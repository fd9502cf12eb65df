using System.Net;
using Microsoft.AspNetCore.Http;
using Session.AspNetCore;
using Session.CSharp;
using Session.Engine;
using Xunit;
using FSharpSession = global::Session.AspNetCore.Session;

namespace Facade;

/// <summary>What is refused, in the words of each face, and changes nothing.</summary>
public class FailureTests
{
    [Fact]
    public async Task A_save_after_another_one_is_a_conflict()
    {
        await using var site = await Site.StartAsync();
        var token = await site.BeginAsync();
        var reply = await site.WithAsync(
            async session =>
            {
                await site.WithAsync(other => other.SaveAsync(new Cart("theirs")), token);
                var error = await Assert.ThrowsAsync<SessionConflictException>(() =>
                    session.SaveAsync(new Cart("mine"))
                );
                Assert.Equal(409, error.StatusCode);
                Assert.Null(error.InnerException);
                // An update is made again on what is there.
                Assert.Equal(new Cart("theirs!"), await session.UpdateAsync(it => new Cart(it!.Item + "!")));
                await site.WithAsync(other => other.SaveAsync(new Cart("theirs again")), token);
                await session.SaveAsync(new Cart("mine"));
            },
            token
        );
        Assert.Equal(HttpStatusCode.Conflict, reply.Status);
    }

    [Fact]
    public async Task What_ended_meanwhile_takes_no_write()
    {
        await using var site = await Site.StartAsync();
        var token = await site.BeginAsync();
        var reply = await site.WithAsync(
            async session =>
            {
                await site.Manager.DestroySessionAsync(session.Id);
                var error = await Assert.ThrowsAsync<SessionEndedException>(() => session.SaveAsync(new Cart("late")));
                Assert.Equal(401, error.StatusCode);
                Assert.Contains("ended", error.Message);
                await session.UpdateAsync(_ => new Cart("late"));
            },
            token
        );
        Assert.Equal(HttpStatusCode.Unauthorized, reply.Status);
    }

    [Fact]
    public async Task A_token_that_opens_nothing_signs_nobody_out()
    {
        await using var site = await Site.StartAsync();
        var token = await site.BeginAsync();
        await site.WithAsync(session => session.RegenerateAsync(), token);
        await site.WithAsync(
            async session => await Assert.ThrowsAsync<SessionEndedException>(() => session.DestroyAsync()),
            token
        );
        Assert.NotNull(await site.Manager.FindAsync(Site.IdOf(token)));
    }

    [Fact]
    public async Task Too_much_data_is_refused()
    {
        await using var site = await Site.StartAsync(o => o.MaxDataBytes = 40);
        var reply = await site.WithAsync(async session =>
        {
            var error = await Assert.ThrowsAsync<SessionDataException>(() =>
                session.CreateAsync(new Cart(new string('x', 40)))
            );
            Assert.Equal(413, error.StatusCode);
            await session.CreateAsync(new Cart(new string('x', 40)));
        });
        Assert.Equal(HttpStatusCode.RequestEntityTooLarge, reply.Status);
        Assert.Empty(reply.SetCookies);
    }

    [Fact]
    public async Task Data_that_would_not_come_back_is_refused_and_changes_nothing()
    {
        using var ear = new LogEar();
        await using var site = await Site.StartAsync(add: ear.Listen);
        var token = await site.BeginAsync("ada");
        var half = new Cart("a\ud83d");
        await site.InRequestAsync(
            async context =>
            {
                var session = await context.GetSessionAsync<Cart>();
                ear.Take();
                Func<Task>[] writes =
                [
                    async () => await session.CreateAsync(half),
                    async () => await session.SaveAsync(half),
                    async () => await session.UpdateAsync(_ => half),
                    async () => await session.SignInAsync("bob", half),
                    async () => await site.Manager.UpdateAsync(session.Id, _ => half),
                ];
                foreach (var write in writes)
                {
                    var error = await Assert.ThrowsAsync<SessionDataException>(write);
                    Assert.Equal(500, error.StatusCode);
                    Assert.Contains("Cart.Item", error.InnerException!.Message, StringComparison.Ordinal);
                    Assert.Contains("cannot be stored as Cart", Assert.Single(ear.Take()), StringComparison.Ordinal);
                }

                var answer = await FSharpSession.signIn("bob", half, context);
                Assert.True(answer.ErrorValue is SessionError.Unwritable);
                Assert.True(SessionErrorModule.outcome(answer.ErrorValue).IsNothingChanged);
            },
            token
        );
        await site.WithAsync(
            session =>
            {
                Assert.Equal(new Cart("tea"), session.Data);
                Assert.Equal("ada", session.Subject);
                return Task.CompletedTask;
            },
            token
        );
        var reply = await site.WithAsync(session => session.CreateAsync(half));
        Assert.Equal(HttpStatusCode.InternalServerError, reply.Status);
        Assert.Empty(reply.SetCookies);
    }

    [Fact]
    public async Task After_the_response_has_begun_no_token_can_be_given()
    {
        await using var site = await Site.StartAsync();
        await site.InRequestAsync(async context =>
        {
            await context.Response.WriteAsync("begun");
            var session = await context.GetSessionAsync<Cart>();
            var error = await Assert.ThrowsAsync<InvalidOperationException>(() =>
                session.CreateAsync(new Cart("late"))
            );
            Assert.Contains("has started", error.Message);
        });
    }

    [Fact]
    public async Task Who_cannot_be_stored_does_not_sign_in()
    {
        await using var site = await Site.StartAsync();
        var token = await site.BeginAsync();
        var reply = await site.WithAsync(
            async session =>
            {
                foreach (var subject in Site.NoSubjects)
                {
                    var error = await Assert.ThrowsAsync<ArgumentException>(() =>
                        session.SignInAsync(subject, new Cart("two"))
                    );
                    Assert.Equal("subject", error.ParamName);
                }

                Assert.Null(session.Subject);
                Assert.Equal(new Cart("tea"), session.Data);
            },
            token
        );
        Assert.Empty(reply.SetCookies);
        var longest = new string('é', 512);
        await site.WithAsync(session => session.SignInAsync(longest, new Cart("two")), token);
        Assert.Equal(1, await site.Manager.DestroyAllAsync(longest));
    }

    /// <summary>The request's side of F#, where expected failures are values.</summary>
    [Fact]
    public async Task Who_cannot_be_stored_is_an_error_in_FSharp()
    {
        await using var site = await Site.StartAsync();
        var reply = await site.InRequestAsync(async context =>
        {
            foreach (var subject in Site.NoSubjects)
            {
                var answer = await FSharpSession.signIn(subject, new Cart("two"), context);
                Assert.True(answer.ErrorValue.IsInvalidSubject);
            }
        });
        Assert.Empty(reply.SetCookies);
    }

    [Fact]
    public async Task A_session_that_too_many_write_to_is_busy()
    {
        var store = new Busy();
        await using var site = await Site.StartAsync(store: () => store);
        var token = await site.BeginAsync();
        store.IsBusy = true;
        await site.WithAsync(
            async session =>
            {
                var error = await Assert.ThrowsAsync<SessionUnavailableException>(() =>
                    session.UpdateAsync(_ => new Cart("late"))
                );
                Assert.Equal(503, error.StatusCode);
                Assert.Contains("at once", error.Message);
                Assert.Null(error.InnerException);
            },
            token
        );
    }

    /// <summary>A store where somebody else is always first.</summary>
    private sealed class Busy : Passing
    {
        public bool IsBusy { get; set; }

        public override ValueTask<WriteResult> Replace(StoredRecord record, long expected, CancellationToken cancel) =>
            IsBusy ? ValueTask.FromResult(WriteResult.Conflict) : base.Replace(record, expected, cancel);
    }
}
