using System.Diagnostics;
using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Time.Testing;
using Session.AspNetCore;
using Session.CSharp;
using Session.Engine;
using Session.Testing;
using Xunit;
using FSharpSession = global::Session.AspNetCore.Session;

namespace Facade;

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
    public async Task A_limit_refuses_the_next_sign_in()
    {
        await using var site = await Site.StartAsync(o =>
        {
            o.MaxSessionsPerSubject = 1;
            o.WhenLimitReached = SessionLimitBehavior.RefuseNew;
        });
        await site.BeginAsync("ada");
        var reply = await site.WithAsync(async session =>
        {
            var error = await Assert.ThrowsAsync<SessionLimitException>(() =>
                session.SignInAsync("ada", new Cart("two"))
            );
            Assert.Equal(409, error.StatusCode);
        });
        Assert.Empty(reply.SetCookies);
    }

    [Fact]
    public async Task A_limit_ends_whoever_signed_in_first_and_not_who_was_silent_longest()
    {
        await using var site = await Site.StartAsync(o => o.MaxSessionsPerSubject = 2);
        var first = await site.BeginAsync("ada");
        site.Clock.Advance(TimeSpan.FromMinutes(1));
        var second = await site.BeginAsync("ada");
        site.Clock.Advance(TimeSpan.FromMinutes(1));
        await site.WithAsync(_ => Task.CompletedTask, first);
        var third = await site.BeginAsync("ada");
        Assert.Null(await site.Manager.FindAsync(Site.IdOf(first)));
        Assert.NotNull(await site.Manager.FindAsync(Site.IdOf(second)));
        Assert.NotNull(await site.Manager.FindAsync(Site.IdOf(third)));
    }

    /// <summary>On nodes whose clocks differ the own sign-in may be the one too many: the session that it was made in is over with it, and its request knows.</summary>
    [Fact]
    public async Task A_sign_in_that_was_one_too_many_leaves_its_request_no_session()
    {
        var store = new MemoryStore();
        await using var behind = await Site.StartAsync(o => o.MaxSessionsPerSubject = 1, store: () => store);
        await using var ahead = await Site.StartAsync(o => o.MaxSessionsPerSubject = 1, store: () => store);
        ahead.Clock.Advance(TimeSpan.FromMinutes(1));
        var later = await ahead.BeginAsync("ada");
        var token = await behind.BeginAsync();
        var reply = await behind.WithAsync(
            async session =>
            {
                await Assert.ThrowsAsync<SessionEndedException>(() => session.SignInAsync("ada", new Cart("milk")));
                Assert.Null(session.Data);
                Assert.Null(session.Subject);
                Assert.Equal(SessionState.Destroyed, session.State);
                Assert.True(session.Ended.IsCancellationRequested);
                Assert.Equal(SessionEndCause.Limit, session.EndedBecause);
                await Assert.ThrowsAsync<SessionEndedException>(() => session.UpdateAsync(_ => new Cart("late")));
            },
            token
        );
        Assert.Empty(reply.SetCookies);
        Assert.Null(await behind.Manager.FindAsync(Site.IdOf(token)));
        Assert.NotNull(await ahead.Manager.FindAsync(Site.IdOf(later)));
    }

    /// <summary>A session may begin long before somebody signs in to it, and they may sign in to it again: the last sign-in counts.</summary>
    [Fact]
    public async Task A_limit_ends_whoever_signed_in_first_and_not_whose_session_began_first()
    {
        await using var site = await Site.StartAsync(o => o.MaxSessionsPerSubject = 2);
        var begun = await site.BeginAsync();
        site.Clock.Advance(TimeSpan.FromMinutes(1));
        var first = await site.BeginAsync("ada");
        site.Clock.Advance(TimeSpan.FromMinutes(1));
        var second = await site.BeginAsync("ada");
        site.Clock.Advance(TimeSpan.FromMinutes(1));
        await site.WithAsync(session => session.SignInAsync("ada", new Cart("milk")), first);
        site.Clock.Advance(TimeSpan.FromMinutes(1));
        var last = await site.WithAsync(session => session.SignInAsync("ada", new Cart("tea")), begun);
        Assert.NotNull(last.Token);
        Assert.Equal(Site.IdOf(begun), Site.IdOf(last.Token));
        Assert.NotNull(await site.Manager.FindAsync(Site.IdOf(begun)));
        Assert.NotNull(await site.Manager.FindAsync(Site.IdOf(first)));
        Assert.Null(await site.Manager.FindAsync(Site.IdOf(second)));
    }

    /// <summary>Of sign-ins at once those stay that come last by the clocks of their nodes: whoever is none of them is told so, and has no session.</summary>
    [Theory, InlineData(false), InlineData(true)]
    public async Task A_sign_in_that_a_limit_ends_again_is_a_401_and_takes_no_other_with_it(bool hadSession)
    {
        static void Limit(SessionOptions<Cart> options) => options.MaxSessionsPerSubject = 1;

        var store = new MemoryStore();
        await using var behind = await Site.StartAsync(Limit, store: () => store);
        var later = new FakeTimeProvider(behind.Clock.GetUtcNow().AddSeconds(10));
        await using var ahead = await Site.StartAsync(Limit, store: () => store, clock: later);
        var before = hadSession ? await behind.BeginAsync() : null;
        var last = await ahead.BeginAsync("ada", "milk");
        var reply = await behind.WithAsync(
            async session =>
            {
                var error = await Assert.ThrowsAsync<SessionEndedException>(() =>
                    session.SignInAsync("ada", new Cart("bread"))
                );
                Assert.Equal(401, error.StatusCode);
                Assert.Contains("was ended again", error.Message, StringComparison.Ordinal);
                SessionEndCause? cause = hadSession ? SessionEndCause.Limit : null;
                Assert.Null(session.Subject);
                Assert.Null(session.Data);
                Assert.Equal(hadSession ? SessionState.Destroyed : SessionState.None, session.State);
                Assert.Equal(hadSession, session.Ended.IsCancellationRequested);
                Assert.Equal(cause, session.EndedBecause);
                if (hadSession)
                {
                    // It is over, and no other one comes in its place unless somebody asks for it.
                    await Assert.ThrowsAsync<SessionEndedException>(() => session.SaveAsync(new Cart("bread")));
                    await Assert.ThrowsAsync<SessionEndedException>(() => session.RegenerateAsync());
                }

                throw error;
            },
            before
        );
        Assert.Equal((HttpStatusCode.Unauthorized, null), (reply.Status, reply.Token));
        if (before is not null)
            Assert.Null(await behind.Manager.FindAsync(Site.IdOf(before)));

        // Nor any other one that was begun with the sign-in.
        await foreach (var info in behind.Manager.ListAsync("ada"))
            Assert.Equal(Site.IdOf(last), info.Id);

        await ahead.WithAsync(
            session =>
            {
                Assert.Equal(("ada", new Cart("milk")), (session.Subject, session.Data));
                return Task.CompletedTask;
            },
            last
        );
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
    public async Task A_store_that_is_down_is_said_to_be_down()
    {
        await using var site = await Site.StartAsync(store: () => new Down());
        var reply = await site.WithAsync(async session =>
        {
            var error = await Assert.ThrowsAsync<SessionUnavailableException>(() =>
                session.CreateAsync(new Cart("tea"))
            );
            Assert.Equal(503, error.StatusCode);
            Assert.IsType<IOException>(error.InnerException);
        });
        Assert.Empty(reply.SetCookies);
        var token = $"{new string('a', 22)}.{new string('a', 42)}A";
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await site.WithAsync(_ => Task.CompletedTask, token)).Status);
        var manager = site.Manager;
        var id = SessionId.Parse("abc");
        await Assert.ThrowsAsync<SessionUnavailableException>(() => manager.FindAsync(id));
        await Assert.ThrowsAsync<SessionUnavailableException>(() => manager.DestroySessionAsync(id));
        await Assert.ThrowsAsync<SessionUnavailableException>(() => manager.DestroyAllAsync("ada"));
        await Assert.ThrowsAsync<SessionUnavailableException>(() => manager.DestroyEverySessionAsync());
        await Assert.ThrowsAsync<SessionUnavailableException>(async () =>
        {
            await foreach (var _ in manager.ListAsync("ada")) { }
        });
    }

    [Fact]
    public async Task A_write_that_the_store_is_silent_about_may_be_stored()
    {
        var store = new Faulty();
        await using var site = await Site.StartAsync(store: () => store);
        var token = await site.BeginAsync();
        store.Fault = Fault.FailsBefore;
        var reply = await site.WithAsync(
            async session =>
            {
                var error = await Assert.ThrowsAsync<SessionUnavailableException>(() =>
                    session.UpdateAsync(_ => new Cart("lost"))
                );
                Assert.Equal(503, error.StatusCode);
                Assert.Contains("may be stored", error.Message);
                Assert.DoesNotContain("Nothing", error.Message);
                Assert.True(error.MayHaveChanged);
                Assert.IsType<IOException>(error.InnerException);
                await session.UpdateAsync(_ => new Cart("lost"));
            },
            token
        );
        Assert.Equal(HttpStatusCode.ServiceUnavailable, reply.Status);
    }

    [Theory, InlineData(Fault.FailsAfter), InlineData(Fault.IsNotConfirmed)]
    public async Task What_is_stored_and_not_confirmed_is_said_to_be_stored(Fault fault)
    {
        var store = new Faulty();
        await using var site = await Site.StartAsync(store: () => store);
        var token = await site.BeginAsync();
        store.Fault = fault;
        await site.WithAsync(
            async session =>
            {
                var error = await Assert.ThrowsAsync<SessionUnavailableException>(() =>
                    session.SaveAsync(new Cart("stored"))
                );
                Assert.Equal(503, error.StatusCode);
                Assert.Contains("is stored", error.Message);
                Assert.True(error.MayHaveChanged);
                Assert.NotNull(error.InnerException);
            },
            token
        );
        store.Fault = Fault.None;
        await site.WithAsync(
            session =>
            {
                Assert.Equal(new Cart("stored"), session.Data);
                return Task.CompletedTask;
            },
            token
        );
    }

    [Fact]
    public void Nothing_was_changed_is_said_only_where_it_is_true()
    {
        var down = new IOException("down");
        SessionError[] all =
        [
            SessionError.NoSession,
            SessionError.NewEnded(Session.Domain.Ending.NewByTime(Session.Domain.ExpiryKind.Idle), default),
            SessionError.NewRefused(Session.Domain.Refusal.Guess),
            SessionError.Conflict,
            SessionError.Contended,
            SessionError.NewLimitReached(1),
            SessionError.NewLimitExceeded(1),
            SessionError.NewTooLarge(2, 1),
            SessionError.NewUnwritable(down),
            SessionError.InvalidSubject,
            SessionError.NewUnreadable("damage"),
            SessionError.NewNewerData(2, 1),
            SessionError.ResponseStarted,
            SessionError.CrossSite,
            SessionError.NewUnavailable(down),
            SessionError.NewUnsure(down),
            SessionError.NewUnacknowledged(down),
            SessionError.NewIncomplete(3, 4, SessionError.Contended),
        ];
        Assert.Equal(all.Length, all.Select(it => it.Tag).Distinct().Count());
        Assert.Equal(all.Length, all.Max(it => it.Tag) + 1);
        foreach (var error in all)
        {
            var failed = (SessionFailedException)SessionFailure.toException(error);
            Assert.NotEmpty(failed.Message);
            if (failed.Message.Contains("Nothing was changed", StringComparison.Ordinal))
                Assert.True(SessionErrorModule.outcome(error).IsNothingChanged);
            else if (failed.StatusCode == 503 && !SessionErrorModule.outcome(error).IsNothingChanged)
                Assert.Contains("try again", failed.Message);
        }

        Assert.Equal(500, ((SessionFailedException)SessionFailure.toException(SessionError.InvalidSubject)).StatusCode);
        Assert.Same(down, SessionFailure.toException(SessionError.NewUnsure(down)).InnerException);
    }

    [Fact]
    public async Task A_store_that_is_silent_is_waited_for_no_longer_than_said()
    {
        var store = new Faulty();
        await using var site = await Site.StartAsync(
            o => o.RequestTimeout = TimeSpan.FromMilliseconds(200),
            store: () => store
        );
        var token = await site.BeginAsync();
        store.Fault = Fault.IsSilent;
        var began = Stopwatch.GetTimestamp();
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await site.WithAsync(_ => Task.CompletedTask, token)).Status);
        Assert.InRange(Stopwatch.GetElapsedTime(began), TimeSpan.FromMilliseconds(150), TimeSpan.FromSeconds(4));
    }

    [Fact]
    public async Task All_operations_of_a_request_wait_together_no_longer_than_said()
    {
        var store = new FailingStore(new MemoryStore()) { Delay = TimeSpan.FromMilliseconds(500) };
        await using var site = await Site.StartAsync(
            o => o.RequestTimeout = TimeSpan.FromSeconds(2),
            store: () => store
        );
        var token = await site.BeginAsync();
        store.Failure = StoreFailure.Slow;
        await site.WithAsync(
            session =>
                Assert.ThrowsAsync<SessionUnavailableException>(async () =>
                {
                    for (var again = 0; again < 6; again++)
                        await session.ReloadAsync();
                }),
            token
        );
    }

    /// <summary>A stream or a socket that was opened while the store was away is nobody's then, and its user's once the store is back.</summary>
    [Fact]
    public async Task What_was_opened_without_the_store_has_its_session_once_it_is_back()
    {
        var store = new FailingStore(new MemoryStore());
        await using var site = await EdgeSite.StartAsync(
            app =>
            {
                app.UseSession<Cart>();
                app.MapPost("/login", (Session<Cart> session) => session.SignInAsync("ada", new Cart("tea")));
                app.MapGet(
                    "/stream",
                    async (HttpContext context, Session<Cart> session) =>
                    {
                        await context.Response.WriteAsync($"{session.Subject ?? "nobody"} ");
                        await context.Response.Body.FlushAsync();
                        await Assert.ThrowsAsync<SessionUnavailableException>(() =>
                            session.UpdateAsync(_ => new Cart("milk"))
                        );
                        store.Failure = StoreFailure.None;
                        await session.UpdateAsync(cart => new Cart(cart?.Item + " and milk"));
                        await context.Response.WriteAsync($"{session.Subject} {session.Data?.Item}");
                    }
                );
            },
            configure: o => o.ContinueWithoutStore = true,
            store: store
        );
        var token = (await site.SendAsync("POST", "/login")).Token;
        store.Failure = StoreFailure.Unavailable;
        Assert.Equal("nobody ada tea and milk", (await site.GetAsync("/stream", token)).Body);
    }

    /// <summary>Nobody knows whether it has one: 401 would have a program sign in again, which it cannot.</summary>
    [Fact]
    public async Task What_needs_a_session_is_a_503_without_the_store_though_others_go_on()
    {
        var store = new FailingStore(new MemoryStore());
        await using var site = await EdgeSite.StartAsync(
            app =>
            {
                app.UseSession<Cart>();
                app.MapPost("/login", (Session<Cart> session) => session.SignInAsync("ada", new Cart("tea")));
                app.MapGet("/open", (Session<Cart> session) => session.Subject ?? "nobody");
                app.MapGet("/guarded", () => "in").RequireSession<Cart>();
                app.MapGet("/signed-in", () => "in").RequireSignIn<Cart>();
            },
            configure: o => o.ContinueWithoutStore = true,
            store: store
        );
        var token = (await site.SendAsync("POST", "/login")).Token;
        store.Failure = StoreFailure.Unavailable;
        Assert.Equal("nobody", (await site.GetAsync("/open", token)).Body);
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await site.GetAsync("/guarded", token)).Status);
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await site.GetAsync("/signed-in", token)).Status);
        Assert.Equal(HttpStatusCode.Unauthorized, (await site.GetAsync("/guarded")).Status);
    }

    private sealed class HangingWrites() : ForwardingStore(new MemoryStore())
    {
        public bool Hangs { get; set; }

        public override async ValueTask<WriteResult> Replace(StoredRecord record, long expected, CancellationToken c)
        {
            if (Hangs)
                await Task.Delay(Timeout.Infinite, CancellationToken.None);

            return await base.Replace(record, expected, CancellationToken.None);
        }
    }

    /// <summary>Ends of many sessions wait for a store that hangs as long as for a few, and say how many are left.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Ends_of_many_sessions_do_not_wait_for_each_of_them(bool ofOne)
    {
        var store = new HangingWrites();
        await using var site = await Site.StartAsync(
            o => o.RequestTimeout = TimeSpan.FromMilliseconds(400),
            store: () => store
        );
        for (var n = 0; n < 20; n++)
            await site.BeginAsync("ada");

        store.Hangs = true;
        var began = Stopwatch.GetTimestamp();
        var error = await Assert.ThrowsAsync<SessionUnavailableException>(() =>
            ofOne ? site.Manager.DestroyAllAsync("ada") : site.Manager.DestroyEverySessionAsync()
        );
        Assert.InRange(Stopwatch.GetElapsedTime(began), TimeSpan.Zero, TimeSpan.FromSeconds(5));
        Assert.Contains("20 did not", error.Message, StringComparison.Ordinal);
        store.Hangs = false;
        Assert.Equal(
            20,
            ofOne ? await site.Manager.DestroyAllAsync("ada") : await site.Manager.DestroyEverySessionAsync()
        );
    }

    /// <summary>Fails when nobody waits for it any more.</summary>
    private sealed class FailsLate() : ForwardingStore(new MemoryStore())
    {
        public TaskCompletionSource Fails { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public bool IsSlow { get; set; }

        public override async ValueTask<StoredRecord?> Load(string id, CancellationToken cancel) =>
            await WhenItMayAsync(await base.Load(id, CancellationToken.None));

        public override async ValueTask<WriteResult> Replace(StoredRecord record, long expected, CancellationToken c) =>
            await WhenItMayAsync(await base.Replace(record, expected, CancellationToken.None));

        public override async ValueTask Touch(string id, DateTimeOffset at, CancellationToken cancel)
        {
            await base.Touch(id, at, CancellationToken.None);
            await WhenItMayAsync(true);
        }

        private async Task<TAnswer> WhenItMayAsync<TAnswer>(TAnswer answer)
        {
            if (!IsSlow)
                return answer;

            await Fails.Task;
            throw new IOException("late");
        }
    }

    /// <summary>Applications report unobserved exceptions as mistakes of theirs, or end: what a call fails with that was given up is none.</summary>
    [Fact]
    public async Task What_a_call_fails_with_that_was_given_up_is_no_unobserved_exception()
    {
        var unobserved = 0;
        void Count(object? _, UnobservedTaskExceptionEventArgs it)
        {
            if (it.Exception.ToString().Contains("late", StringComparison.Ordinal))
                Interlocked.Increment(ref unobserved);
        }

        var store = new FailsLate();
        await using var site = await Site.StartAsync(
            o => o.RequestTimeout = TimeSpan.FromMilliseconds(300),
            store: () => store
        );
        var token = await site.BeginAsync("ada");
        TaskScheduler.UnobservedTaskException += Count;
        try
        {
            await site.WithAsync(
                async session =>
                {
                    store.IsSlow = true;
                    await Assert.ThrowsAsync<SessionUnavailableException>(() =>
                        session.UpdateAsync(_ => new Cart("x"))
                    );
                },
                token
            );
            Assert.Equal(
                HttpStatusCode.ServiceUnavailable,
                (await site.WithAsync(_ => Task.CompletedTask, token)).Status
            );
            store.Fails.SetResult();
            for (var again = 0; again < 10; again++)
            {
                await Task.Delay(20);
                GC.Collect();
                GC.WaitForPendingFinalizers();
            }
        }
        finally
        {
            TaskScheduler.UnobservedTaskException -= Count;
        }

        Assert.Equal(0, unobserved);
    }

    /// <summary>A disk that is full, or a replica: it reads, and takes no writes. That is one outage, and not one for each request.</summary>
    [Fact]
    public async Task A_store_that_only_reads_is_said_once_and_is_back_with_a_write()
    {
        using var ear = new LogEar();
        var store = new OnlyReads();
        await using var site = await Site.StartAsync(store: () => store, add: ear.Listen);
        var token = await site.BeginAsync("ada");
        ear.Take();
        store.IsFull = true;
        for (var again = 0; again < 4; again++)
        {
            await site.WithAsync(
                session =>
                    Assert.ThrowsAsync<SessionUnavailableException>(() => session.UpdateAsync(_ => new Cart("x"))),
                token
            );
            Assert.Equal(HttpStatusCode.OK, (await site.WithAsync(_ => Task.CompletedTask, token)).Status);
        }

        // So long has nothing failed, and what works is a read.
        await Task.Delay(TimeSpan.FromSeconds(1.1));
        Assert.Equal(HttpStatusCode.OK, (await site.WithAsync(_ => Task.CompletedTask, token)).Status);
        Assert.Single(ear.Take(), IsOfTheStore);
        store.IsFull = false;
        // It is back when nothing has failed for a second.
        await Task.Delay(TimeSpan.FromSeconds(1.1));
        Assert.Equal(HttpStatusCode.OK, (await site.WithAsync(s => s.UpdateAsync(_ => new Cart("y")), token)).Status);
        Assert.Contains("answers again", Assert.Single(ear.Take(), IsOfTheStore), StringComparison.Ordinal);

        static bool IsOfTheStore(string line) =>
            line.Contains("answers again", StringComparison.Ordinal)
            || line.Contains("further failures", StringComparison.Ordinal);
    }

    /// <summary>It is over, and was not kept as widely as it has to be: the user is told, and has no cookie of it any more.</summary>
    [Fact]
    public async Task A_sign_out_that_is_stored_and_not_confirmed_takes_the_cookie_all_the_same()
    {
        var store = new Faulty();
        await using var site = await Site.StartAsync(store: () => store);
        var token = await site.BeginAsync("ada");
        store.Fault = Fault.IsNotConfirmed;
        var reply = await site.WithAsync(
            async session =>
            {
                await Assert.ThrowsAsync<SessionUnavailableException>(() => session.DestroyAsync());
                Assert.Equal((SessionState.Destroyed, null), (session.State, session.Subject));
            },
            token
        );
        Assert.True(reply.IsCleared);
        store.Fault = Fault.None;
        await site.WithAsync(
            session =>
            {
                Assert.Null(session.Subject);
                return Task.CompletedTask;
            },
            token
        );
    }

    /// <summary>A middleware that keeps the response back, and throws its buffer away when what is inside it fails.</summary>
    [Fact]
    public async Task A_buffer_that_is_gone_with_the_failure_keeps_no_503_back()
    {
        var store = new OnlyReads();
        await using var site = await Site.StartAsync(
            store: () => store,
            map: app =>
            {
                app.Use(
                    async (context, next) =>
                    {
                        if (context.Request.Path != "/kept")
                        {
                            await next(context);
                            return;
                        }

                        var body = context.Response.Body;
                        using var buffer = new MemoryStream();
                        context.Response.Body = buffer;
                        await next(context);
                        context.Response.Body = body;
                        await body.WriteAsync(buffer.ToArray());
                    }
                );
                app.MapGet("/kept", (Session<Cart> session) => session.UpdateAsync(_ => new Cart("x")));
            }
        );
        var token = await site.BeginAsync("ada");
        store.IsFull = true;
        var reply = await site.SendAsync("/kept", token);
        Assert.Equal(HttpStatusCode.ServiceUnavailable, reply.Status);
        Assert.StartsWith("{", reply.Body, StringComparison.Ordinal);
    }

    /// <summary>What is written and not flushed yet would stand before the error.</summary>
    [Fact]
    public async Task An_answer_that_has_begun_without_a_flush_is_broken_off()
    {
        var store = new OnlyReads();
        await using var site = await Site.StartAsync(
            store: () => store,
            map: app =>
                app.MapGet(
                    "/begun",
                    async (HttpContext context, Session<Cart> session) =>
                    {
                        context.Response.BodyWriter.GetSpan(4)[..4].Fill((byte)'x');
                        context.Response.BodyWriter.Advance(4);
                        await session.UpdateAsync(_ => new Cart("x"));
                    }
                )
        );
        var token = await site.BeginAsync("ada");
        store.IsFull = true;
        await Assert.ThrowsAsync<HttpRequestException>(() => site.SendAsync("/begun", token));
        Assert.Equal(HttpStatusCode.OK, (await site.WithAsync(_ => Task.CompletedTask, token)).Status);
    }

    /// <summary>A new token is owed to the client even so: the answer ends with what was written, and its status says what it is worth.</summary>
    [Theory, InlineData(true), InlineData(false)]
    public async Task A_token_reaches_its_client_with_an_answer_that_had_begun(bool bySession)
    {
        var store = new OnlyReads();
        await using var site = await Site.StartAsync(
            store: () => store,
            map: app =>
                app.MapGet(
                    "/begun",
                    async (HttpContext context, Session<Cart> session) =>
                    {
                        await session.RegenerateAsync();
                        store.IsFull = true;
                        context.Response.BodyWriter.GetSpan(4)[..4].Fill((byte)'x');
                        context.Response.BodyWriter.Advance(4);
                        if (!bySession)
                            throw new InvalidOperationException("the mail server is away");
                        await session.UpdateAsync(_ => new Cart("x"));
                    }
                )
        );
        var token = await site.BeginAsync("ada");
        using var client = new HttpClient(new SocketsHttpHandler { UseCookies = false });
        using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(site.Address, "/begun"));
        request.Headers.Add("Cookie", "__Host-sid=" + token);
        using var answer = await client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        Assert.Equal(bySession ? 503 : 500, (int)answer.StatusCode);
        var next = answer.Headers.GetValues("Set-Cookie").Single().Split(';')[0].Split('=', 2)[1];
        Assert.Equal("xxxx", await answer.Content.ReadAsStringAsync());
        store.IsFull = false;
        await site.WithAsync(
            session =>
            {
                Assert.Equal("ada", session.Subject);
                return Task.CompletedTask;
            },
            next
        );
    }

    private sealed class OnlyReads() : ForwardingStore(new MemoryStore())
    {
        public bool IsFull { get; set; }

        public override ValueTask<WriteResult> Replace(StoredRecord record, long expected, CancellationToken cancel) =>
            IsFull ? throw new IOException("No space left on device") : base.Replace(record, expected, cancel);
    }

    [Fact]
    public async Task A_session_that_could_not_be_read_is_read_again_by_a_reload()
    {
        var store = new FailingStore(new MemoryStore());
        await using var site = await Site.StartAsync(o => o.ContinueWithoutStore = true, store: () => store);
        var token = await site.BeginAsync("ada");
        store.Failure = StoreFailure.Unavailable;
        await site.WithAsync(
            async session =>
            {
                Assert.Null(session.Subject);
                await session.ReloadAsync();
                Assert.Null(session.Subject);
                store.Failure = StoreFailure.None;
                await session.ReloadAsync();
                Assert.Equal(("ada", new Cart("tea")), (session.Subject, session.Data));
            },
            token
        );
    }

    [Fact]
    public async Task What_cannot_be_read_here_is_signed_out_by_nobody()
    {
        ISessionStore store = new MemoryStore();
        await using var site = await Site.StartAsync(store: () => store);
        var token = await site.BeginAsync("ada");
        await Damaged.RecordAsync(store, Site.IdOf(token));
        var reply = await site.WithAsync(
            session => Assert.ThrowsAsync<SessionEndedException>(() => session.DestroyAsync()),
            token
        );
        Assert.Empty(reply.SetCookies);
    }

    [Fact]
    public async Task What_cannot_be_read_here_is_kept_until_no_session_can_live_any_more()
    {
        ISessionStore store = new MemoryStore();
        await using var site = await Site.StartAsync(o => o.SweepInterval = TimeSpan.FromDays(9), store: () => store);
        var id = Site.IdOf(await site.BeginAsync("ada"));
        await Damaged.RecordAsync(store, id);
        var engine = site.Services.GetRequiredService<SessionService<Cart>>().Engine;

        // Eight hours of AbsoluteTimeout, and a day.
        for (var hours = 0; hours < 32; hours++)
        {
            site.Clock.Advance(TimeSpan.FromHours(1));
            await engine.Sweep(100, CancellationToken.None);
            Assert.NotNull(await store.Load(id.Value, CancellationToken.None));
        }

        site.Clock.Advance(TimeSpan.FromHours(1));
        await engine.Sweep(100, CancellationToken.None);
        Assert.Null(await store.Load(id.Value, CancellationToken.None));
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
    public async Task Data_of_a_newer_version_is_left_alone()
    {
        var store = new MemoryStore();
        string token;
        await using (
            var newer = await Site.StartAsync(
                o =>
                {
                    o.DataVersion = 2;
                    o.Upcasters[1] = json => json;
                },
                store: () => store
            )
        )
            token = await newer.BeginAsync();

        await using var site = await Site.StartAsync(store: () => store);
        await site.InRequestAsync(
            async context =>
            {
                var error = await Assert.ThrowsAsync<SessionUnavailableException>(async () =>
                    await context.GetSessionAsync<Cart>()
                );
                Assert.Equal(503, error.StatusCode);
                Assert.Contains("newer version", error.Message);
            },
            token
        );
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

    /// <summary>A store whose server cannot be reached.</summary>
    private sealed class Down : Passing
    {
        private static IOException Gone => new("the connection was refused");

        public override ValueTask<WriteResult> Insert(StoredRecord record, CancellationToken cancel) => throw Gone;

        public override ValueTask<StoredRecord?> Load(string id, CancellationToken cancel) => throw Gone;

        public override ValueTask<StoredPage> BySubject(
            string subject,
            string? after,
            int limit,
            CancellationToken cancel
        ) => throw Gone;

        public override ValueTask<StoredPage> Enumerate(string? after, int limit, CancellationToken cancel) =>
            throw Gone;
    }

    /// <summary>A store where somebody else is always first.</summary>
    private sealed class Busy : Passing
    {
        public bool IsBusy { get; set; }

        public override ValueTask<WriteResult> Replace(StoredRecord record, long expected, CancellationToken cancel) =>
            IsBusy ? ValueTask.FromResult(WriteResult.Conflict) : base.Replace(record, expected, cancel);
    }

    [Theory, InlineData(false), InlineData(true)]
    public async Task A_new_session_that_is_stored_and_not_acknowledged_is_its_clients(bool isSignIn)
    {
        await using var site = await Site.StartAsync(store: () => new Unacknowledging());
        var begun = await site.WithAsync(session =>
            Assert.ThrowsAsync<SessionUnavailableException>(() =>
                isSignIn ? session.SignInAsync("ada", new Cart("tea")) : session.CreateAsync(new Cart("tea"))
            )
        );
        Assert.NotNull(begun.Token);
        await site.WithAsync(
            session =>
            {
                Assert.Equal((isSignIn ? "ada" : null, new Cart("tea")), (session.Subject, session.Data));
                return Task.CompletedTask;
            },
            begun.Token
        );

        // Whoever asks for another one leaves this one behind, as where all is acknowledged.
        var next = await site.WithAsync(
            session => Assert.ThrowsAsync<SessionUnavailableException>(() => session.CreateAsync(new Cart("milk"))),
            begun.Token
        );
        Assert.NotNull(next.Token);
        Assert.NotEqual(begun.Token!.Split('.')[0], next.Token!.Split('.')[0]);
        await site.WithAsync(
            session =>
            {
                Assert.NotEqual(SessionState.Active, session.State);
                return Task.CompletedTask;
            },
            begun.Token
        );
    }

    private sealed class Unacknowledging : Passing
    {
        public override async ValueTask<WriteResult> Insert(StoredRecord record, CancellationToken cancel) =>
            await base.Insert(record, cancel) == WriteResult.Written
                ? WriteResult.Unacknowledged
                : WriteResult.Conflict;
    }

    public enum Fault
    {
        None,
        FailsBefore,
        FailsAfter,
        IsNotConfirmed,
        IsSilent,
    }

    /// <summary>A store whose answers to writes cannot be relied on, or that does not answer at all.</summary>
    private sealed class Faulty : Passing
    {
        public Fault Fault { get; set; }

        public override ValueTask<StoredRecord?> Load(string id, CancellationToken cancel) =>
            Fault == Fault.IsSilent
                ? new ValueTask<StoredRecord?>(new TaskCompletionSource<StoredRecord?>().Task)
                : base.Load(id, cancel);

        public override async ValueTask<WriteResult> Replace(
            StoredRecord record,
            long expected,
            CancellationToken cancel
        )
        {
            if (Fault == Fault.FailsBefore)
                throw new IOException("the connection was lost");

            var answer = await base.Replace(record, expected, cancel);
            return Fault switch
            {
                Fault.FailsAfter => throw new IOException("the connection was lost"),
                Fault.IsNotConfirmed => WriteResult.Unacknowledged,
                _ => answer,
            };
        }
    }

    /// <summary>A sweep that fails is tried again: else nothing would ever be told, or removed, until a restart.</summary>
    [Fact]
    public async Task A_sweep_that_fails_is_not_the_last_one()
    {
        var store = new FailingStore(new MemoryStore());
        var told = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var site = await Site.StartAsync(
            o =>
                o.Events.OnExpired = _ =>
                {
                    told.TrySetResult();
                    return Task.CompletedTask;
                },
            store: () => store
        );
        await site.BeginAsync("ada");
        store.Failure = StoreFailure.Unavailable;
        for (var again = 0; again < 4; again++)
        {
            site.Clock.Advance(TimeSpan.FromMinutes(2));
            await Task.Delay(50);
        }

        store.Failure = StoreFailure.None;
        for (var again = 0; again < 100 && !told.Task.IsCompleted; again++)
        {
            site.Clock.Advance(TimeSpan.FromMinutes(2));
            await Task.Delay(20);
        }

        Assert.True(told.Task.IsCompleted);
    }

    private sealed class Unswept : Passing
    {
        private int _sweeps;

        public bool Fails { get; set; } = true;
        public int Sweeps => Volatile.Read(ref _sweeps);

        public override ValueTask<IReadOnlyList<StoredRecord>> ClaimOverdue(
            DateTimeOffset now,
            TimeSpan lease,
            int limit,
            CancellationToken cancel
        )
        {
            Interlocked.Increment(ref _sweeps);
            return Fails ? throw new IOException("away") : base.ClaimOverdue(now, lease, limit, cancel);
        }
    }

    /// <summary>Each node of a fleet sweeps each minute: an outage of an hour would be hundreds of errors.</summary>
    [Fact]
    public async Task Sweeps_that_fail_are_said_once_and_each_hour_until_one_works()
    {
        var store = new Unswept();
        using var ear = new LogEar();
        await using var site = await Site.StartAsync(store: () => store, add: ear.Listen);
        var said = 0;

        async Task SweepAsync(int times)
        {
            for (var until = store.Sweeps + times; store.Sweeps < until; )
            {
                site.Clock.Advance(TimeSpan.FromMinutes(1.3));
                await Task.Delay(20);
            }

            said += ear.Take().Count(line => line.StartsWith("The session sweep failed", StringComparison.Ordinal));
        }

        await SweepAsync(10);
        Assert.Equal(1, said);
        site.Clock.Advance(TimeSpan.FromMinutes(61));
        await SweepAsync(10);
        Assert.Equal(2, said);
        store.Fails = false;
        await SweepAsync(2);
        store.Fails = true;
        await SweepAsync(10);
        Assert.Equal(3, said);
    }

    /// <summary>As drivers do that cancel by themselves when a connection is lost.</summary>
    private sealed class Cancels() : ForwardingStore(new MemoryStore())
    {
        public bool GivesUp { get; set; }

        public override ValueTask<StoredRecord?> Load(string id, CancellationToken cancel) =>
            GivesUp ? throw new TaskCanceledException("by the driver") : base.Load(id, cancel);

        public override ValueTask<WriteResult> Insert(StoredRecord record, CancellationToken cancel) =>
            GivesUp ? throw new TaskCanceledException("by the driver") : base.Insert(record, cancel);
    }

    [Fact]
    public async Task A_store_that_cancels_by_itself_is_an_outage_and_no_client_that_has_gone()
    {
        var store = new Cancels();
        await using var site = await Site.StartAsync(store: () => store);
        var token = await site.BeginAsync("ada");
        store.GivesUp = true;
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await site.WithAsync(_ => Task.CompletedTask, token)).Status);
        Assert.Equal(
            HttpStatusCode.ServiceUnavailable,
            (await site.WithAsync(session => session.UpdateAsync(_ => new Cart("x")))).Status
        );
        await Assert.ThrowsAsync<SessionUnavailableException>(() => site.Manager.FindAsync(Site.IdOf(token)));
        await Assert.ThrowsAsync<SessionUnavailableException>(() => site.Manager.DestroySessionAsync(Site.IdOf(token)));
    }

    /// <summary>Says nothing of its writes, and has not taken the first.</summary>
    private sealed class Mute() : ForwardingStore(new MemoryStore())
    {
        public Action? OnWrite { get; set; }

        public override ValueTask<WriteResult> Replace(StoredRecord record, long expected, CancellationToken cancel)
        {
            if (OnWrite is null)
                return base.Replace(record, expected, cancel);

            OnWrite();
            return new ValueTask<WriteResult>(WriteResult.Unknown);
        }
    }

    /// <summary>What was sent may be stored, whoever has gone since: a cancellation would say that nothing was changed.</summary>
    [Fact]
    public async Task Once_a_write_was_sent_a_cancellation_is_none()
    {
        var store = new Mute();
        await using var site = await Site.StartAsync(
            o => o.RequestTimeout = TimeSpan.FromSeconds(1),
            store: () => store
        );
        var token = await site.BeginAsync("ada");
        using var gone = new CancellationTokenSource();
        store.OnWrite = gone.Cancel;
        await site.WithAsync(
            async session =>
            {
                var error = await Assert.ThrowsAsync<SessionUnavailableException>(() =>
                    session.UpdateAsync(_ => new Cart("x"), gone.Token)
                );
                Assert.True(error.MayHaveChanged);
            },
            token
        );
    }

    private sealed class Durable() : ForwardingStore(new MemoryStore())
    {
        public List<bool> Writes { get; } = [];

        public override ValueTask<WriteResult> Replace(StoredRecord record, long expected, CancellationToken cancel)
        {
            Writes.Add(record.IsDurable);
            return base.Replace(record, expected, cancel);
        }
    }

    /// <summary>What takes rights from a token must outlive a failover; what a failover may undo costs less.</summary>
    [Fact]
    public async Task What_makes_a_token_worth_nothing_has_to_last()
    {
        var store = new Durable();
        await using var site = await Site.StartAsync(store: () => store);
        var token = await site.BeginAsync();
        async Task<bool> LastsAsync(Func<Session<Cart>, Task> work)
        {
            store.Writes.Clear();
            token = (await site.WithAsync(work, token)).Token ?? token;
            return store.Writes[^1];
        }

        Assert.False(await LastsAsync(session => session.UpdateAsync(_ => new Cart("x"))));
        Assert.True(await LastsAsync(session => session.RegenerateAsync()));
        Assert.True(await LastsAsync(session => session.RegenerateAsync(new Cart("y"))));
        Assert.True(await LastsAsync(session => session.SignInAsync("ada", new Cart("z"))));
        Assert.False(await LastsAsync(session => session.SaveAsync(new Cart("w"))));
        Assert.True(await LastsAsync(session => session.DestroyAsync()));
    }

    /// <summary>The client would have the new token alone, and nothing once a failover has undone it.</summary>
    [Theory]
    [InlineData(Fault.IsNotConfirmed)]
    [InlineData(Fault.FailsAfter)]
    public async Task A_renewal_that_may_be_undone_leaves_its_client_the_token_that_it_has(Fault fault)
    {
        var store = new Faulty();
        await using var site = await Site.StartAsync(store: () => store);
        var token = await site.BeginAsync("ada");
        async Task<string?> RenewedAsync(Site at)
        {
            site.Clock.Advance(TimeSpan.FromMinutes(15));
            var reply = await at.WithAsync(
                session =>
                {
                    Assert.Equal("ada", session.Subject);
                    return Task.CompletedTask;
                },
                token
            );
            return reply.Token;
        }

        store.Fault = fault;
        Assert.Null(await RenewedAsync(site));
        store.Fault = Fault.None;
        Assert.Null(await RenewedAsync(site));

        // A node that has not just seen one come to nothing.
        await using var other = await Site.StartAsync(store: () => store, clock: site.Clock);
        token = await RenewedAsync(other);
        Assert.NotNull(token);
        await RenewedAsync(other);
    }

    /// <summary>Its record of a session cannot be read here: a key that another node has, say.</summary>
    private sealed class Sealed() : ForwardingStore(new MemoryStore())
    {
        public override async ValueTask<IReadOnlyList<StoredRecord>> ClaimOverdue(
            DateTimeOffset now,
            TimeSpan lease,
            int limit,
            CancellationToken cancel
        ) =>
            [
                .. (await base.ClaimOverdue(now, lease, limit, cancel)).Select(it => new StoredRecord(
                    it.Id,
                    it.Version,
                    it.Kind,
                    it.LastSeen,
                    it.DueAt,
                    it.Subject,
                    it.Operation,
                    new byte[] { 255, 255 }
                )),
            ];
    }

    /// <summary>Somebody else may read it, and it may live as long as the longest.</summary>
    [Fact]
    public async Task What_cannot_be_read_here_is_left_as_long_as_a_session_may_live()
    {
        var store = new Sealed();
        await using var site = await Site.StartAsync(
            o =>
            {
                o.IdleTimeout = TimeSpan.FromMinutes(30);
                o.AbsoluteTimeout = TimeSpan.FromDays(20);
                o.SweepInterval = TimeSpan.FromDays(30);
            },
            store: () => store
        );
        var id = Site.IdOf(await site.BeginAsync("ada")).Value;
        var engine = site.Services.GetRequiredService<SessionService<Cart>>().Engine;
        foreach (var (days, isThere) in new[] { (5, true), (10, true), (4, true), (3, false) })
        {
            site.Clock.Advance(TimeSpan.FromDays(days));
            await engine.Sweep(100, CancellationToken.None);
            Assert.Equal(isThere, await ((ISessionStore)store).Load(id, CancellationToken.None) is not null);
        }
    }

    /// <summary>Who gave up while waiting for its turn keeps it from nobody.</summary>
    [Fact]
    public async Task A_call_that_has_given_up_waiting_is_passed_over()
    {
        await using var site = await Site.StartAsync(o => o.RequestTimeout = TimeSpan.FromSeconds(2));
        var token = await site.BeginAsync("ada");
        var reply = await site.WithAsync(
            async session =>
            {
                using var held = new ManualResetEventSlim();
                using var taken = new ManualResetEventSlim();
                var first = Task.Run(() =>
                    session.UpdateAsync(_ =>
                    {
                        taken.Set();
                        held.Wait();
                        return new Cart("first");
                    })
                );
                taken.Wait();
                var second = Task.Run(() => session.UpdateAsync(_ => new Cart("second")));
                await Task.Delay(1000);
                var third = Task.Run(() => session.UpdateAsync(_ => new Cart("third")));
                await Assert.ThrowsAnyAsync<Exception>(() => second);
                held.Set();
                Assert.Equal(new Cart("third"), await third);
                await first;
            },
            token
        );
        Assert.Equal(HttpStatusCode.OK, reply.Status);
    }
}
