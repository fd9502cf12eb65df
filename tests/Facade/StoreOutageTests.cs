using System.Diagnostics;
using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Session.CSharp;
using Session.Engine;
using Session.Testing;
using Xunit;

namespace Facade;

/// <summary>The store is down, silent, slow or only reads: what is said, how long anybody waits, and what works again afterwards.</summary>
public class StoreOutageTests
{
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
