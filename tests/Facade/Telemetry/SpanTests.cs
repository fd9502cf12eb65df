using System.Collections.Concurrent;
using System.Diagnostics;
using System.Diagnostics.Metrics;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Session.AspNetCore;
using Session.CSharp;
using Session.Engine;
using Xunit;

namespace Facade.Telemetry;

/// <summary>The activity source <c>Session</c>: an operation of a request, and in it its calls to the store.</summary>
[Collection(Alone.Name)]
public class SpanTests
{
    [Fact]
    public async Task Each_operation_is_a_span_with_its_store_calls_in_it()
    {
        var store = new StumblingStore(new MemoryStore());
        await using var site = await Site.StartAsync(store: () => store);
        var token = await site.BeginAsync("ada");
        using var followed = new Followed();
        await followed.InAsync(site, token, session => session.UpdateAsync(_ => new Cart("milk")));
        await followed.InAsync(site, token, session => session.ReloadAsync());
        await followed.InAsync(
            site,
            token,
            async session =>
            {
                await session.SaveAsync(new Cart("rum"));
                await session.RegenerateAsync();
                await session.DestroyAsync();
            }
        );
        await followed.InAsync(site, null, session => session.CreateAsync(new Cart("tea")));
        await followed.InAsync(site, null, session => session.SignInAsync("bob", new Cart("tea")));

        var operations = followed.Spans.Where(it => !it.OperationName.Contains("store", StringComparison.Ordinal));
        Assert.Equal(
            [
                "session create",
                "session destroy",
                "session load",
                "session regenerate",
                "session reload",
                "session save",
                "session sign_in",
                "session update",
            ],
            operations.Select(it => it.OperationName).Distinct().Order(StringComparer.Ordinal)
        );
        Assert.All(operations, it => Assert.Equal("Ok", it.GetTagItem("session.outcome")));
        Assert.All(operations, it => Assert.Equal(followed.Root.SpanId, it.ParentSpanId));

        var update = operations.Single(it => it.OperationName == "session update");
        var within = followed.Spans.Where(it => it.ParentSpanId == update.SpanId).ToArray();
        Assert.Equal(["session store replace"], within.Select(it => it.OperationName));
        Assert.Equal("replace", within[0].GetTagItem("session.store.operation"));
        Assert.Equal("memory", within[0].GetTagItem("session.store.name"));
        Assert.All(followed.Spans, it => Assert.Equal("Cart", it.GetTagItem("session.type")));
    }

    [Fact]
    public async Task Only_what_the_store_is_to_blame_for_is_an_error()
    {
        var store = new StumblingStore(new MemoryStore());
        await using var site = await Site.StartAsync(store: () => store);
        var token = await site.BeginAsync("ada");
        using var followed = new Followed();
        store.IsAway = true;
        await followed.InAsync(site, token, null);
        var load = followed.Spans.Single(it => it.OperationName == "session load");
        Assert.Equal((ActivityStatusCode.Error, "Unavailable"), (load.Status, load.GetTagItem("error.type")));
        var call = followed.Spans.Single(it => it.OperationName == "session store load");
        Assert.Equal((ActivityStatusCode.Error, "System.IO.IOException"), (call.Status, call.GetTagItem("error.type")));
        store.IsAway = false;
        store.IsAlone = true;
        await followed.InAsync(
            site,
            token,
            session => Assert.ThrowsAsync<SessionUnavailableException>(() => session.RegenerateAsync())
        );
        var elevation = followed.Spans.Single(it => it.OperationName == "session regenerate");
        Assert.Equal(
            (ActivityStatusCode.Error, "Unacknowledged"),
            (elevation.Status, elevation.GetTagItem("error.type"))
        );
        store.IsAlone = false;
        await followed.InAsync(
            site,
            null,
            async session =>
                await Assert.ThrowsAsync<SessionDataException>(() =>
                    session.UpdateAsync(_ => new Cart(new string('x', 100_000)))
                )
        );
        var update = followed.Spans.Single(it => it.OperationName == "session update");
        Assert.Equal((ActivityStatusCode.Unset, "TooLarge"), (update.Status, update.GetTagItem("session.outcome")));
    }

    [Theory, InlineData(false), InlineData(true)]
    public async Task The_id_is_there_only_if_asked_for_and_a_token_never(bool isAskedFor)
    {
        await using var site = await Site.StartAsync(add: services =>
            services.Configure<SessionTelemetryOptions>(o => o.IncludeSessionId = isAskedFor)
        );
        var token = await site.BeginAsync("ada");
        using var followed = new Followed();
        await followed.InAsync(site, token, session => session.UpdateAsync(_ => new Cart("milk")));
        var (id, secret) = (token.Split('.')[0], token.Split('.')[1]);
        var tags = followed.Spans.SelectMany(it => it.TagObjects).ToArray();
        Assert.NotEmpty(followed.Spans);
        Assert.Equal(isAskedFor, tags.Any(it => it is { Key: "session.id", Value: string value } && value == id));
        if (!isAskedFor)
            Assert.DoesNotContain(tags, it => $"{it.Value}".Contains(id, StringComparison.Ordinal));

        Assert.DoesNotContain(tags, it => $"{it.Value}".Contains(secret, StringComparison.Ordinal));
        Assert.DoesNotContain(tags, it => $"{it.Value}".Contains("ada", StringComparison.Ordinal));
        Assert.DoesNotContain(tags, it => $"{it.Value}".Contains("milk", StringComparison.Ordinal));
    }

    /// <summary>Whoever follows a session through traces finds each operation on it by the operation's own span: those by which it began and ended as well.</summary>
    [Fact]
    public async Task Where_ids_are_asked_for_an_operation_names_the_session_that_it_was_on_or_has_begun()
    {
        await using var site = await Site.StartAsync(add: services =>
            services.Configure<SessionTelemetryOptions>(o => o.IncludeSessionId = true)
        );
        async Task NamesAsync(string operation, string? token, Func<Session<Cart>, Task> work)
        {
            using var followed = new Followed();
            var id = token?.Split('.')[0];
            await followed.InAsync(
                site,
                token,
                async session =>
                {
                    await work(session);
                    id ??= session.Id.Value;
                }
            );
            var span = followed.Spans.Single(it => it.OperationName == operation);
            Assert.Equal(id, span.GetTagItem("session.id"));
        }

        var token = await site.BeginAsync("ada");
        await NamesAsync("session load", token, _ => Task.CompletedTask);
        await NamesAsync("session update", token, session => session.UpdateAsync(_ => new Cart("milk")));
        await NamesAsync("session save", token, session => session.SaveAsync(new Cart("rum")));
        await NamesAsync("session reload", token, session => session.ReloadAsync());
        await NamesAsync("session regenerate", token, session => session.RegenerateAsync());
        await NamesAsync("session destroy", await site.BeginAsync("ada"), session => session.DestroyAsync());
        await NamesAsync("session create", null, session => session.CreateAsync(new Cart("tea")));
        await NamesAsync("session sign_in", null, session => session.SignInAsync("bob", new Cart("tea")));
        await NamesAsync("session update", null, session => session.UpdateAsync(_ => new Cart("tea")));
    }

    /// <summary>Services alone, as a tool without a host has them, make no meters: what traces say does not depend on that.</summary>
    [Theory, InlineData(false), InlineData(true)]
    public async Task Without_meters_the_id_is_there_only_if_asked_for_as_well(bool isAskedFor)
    {
        var services = new ServiceCollection();
        services.Configure<SessionTelemetryOptions>(o => o.IncludeSessionId = isAskedFor);
        services.AddSession<Cart>().UseMemory();
        await using var provider = services.BuildServiceProvider();
        Assert.Null(provider.GetService<IMeterFactory>());
        var manager = provider.GetRequiredService<SessionManager<Cart>>();
        using var followed = new Followed();
        Activity.Current = followed.Root;
        await manager.FindAsync(SessionId.Parse("any"));
        Assert.NotEmpty(followed.Spans);
        Assert.All(followed.Spans, it => Assert.Equal(isAskedFor ? "any" : null, it.GetTagItem("session.id")));
    }

    /// <summary>What is said within one trace.</summary>
    private sealed class Followed : IDisposable
    {
        private readonly ActivityListener _listener;
        private readonly ConcurrentQueue<Activity> _spans = new();

        public Followed()
        {
            Root = new Activity("test").SetIdFormat(ActivityIdFormat.W3C).Start();
            Activity.Current = null;
            _listener = new ActivityListener
            {
                ShouldListenTo = source => source.Name == "Session",
                Sample = (ref _) => ActivitySamplingResult.AllDataAndRecorded,
                ActivityStopped = it =>
                {
                    if (it.TraceId == Root.TraceId)
                        _spans.Enqueue(it);
                },
            };
            ActivitySource.AddActivityListener(_listener);
        }

        public Activity Root { get; }
        public IReadOnlyCollection<Activity> Spans => _spans;

        public async Task InAsync(Site site, string? token, Func<Session<Cart>, Task>? work) =>
            await site.InRequestAsync(
                async context =>
                {
                    Activity.Current = Root;
                    try
                    {
                        var session = await context.GetSessionAsync<Cart>();
                        if (work is not null)
                            await work(session);
                    }
                    catch (SessionUnavailableException) when (work is null) { }

                    // An operation leaves the trace as it was.
                    Assert.Same(Root, Activity.Current);
                },
                token
            );

        public void Dispose()
        {
            Root.Dispose();
            _listener.Dispose();
        }
    }
}
