using System.Net;
using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.DataProtection;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Caching.Distributed;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Time.Testing;
using Session.CSharp;
using Session.Engine;
using Xunit;
using static Facade.Compatibility.Sessions;

namespace Facade.Compatibility;

/// <summary>Sessions that were begun under the framework's middleware go on: once, with a new token, and with all their data.</summary>
public class AdoptionTests
{
    private const string FormerCookie = ".AspNetCore.Session";

    /// <summary>One application before and after two lines of it were changed: the same cache, keys and clock.</summary>
    private sealed class Move : IAsyncDisposable
    {
        private readonly EphemeralDataProtectionProvider _keys = new();
        private readonly List<CompatSite> _sites = [];

        public FakeTimeProvider Clock { get; } = new(new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero));
        public ClockedCache Cache { get; }
        public CountedStore Store { get; } = new();
        public LogEar Ear { get; } = new();

        public Move() => Cache = new ClockedCache(Clock);

        public async Task<CompatSite> StartAsync(
            Sessions whose,
            Action<SessionOptions>? configure = null,
            bool adopts = true,
            IDataProtectionProvider? keys = null,
            Action<SessionBuilder>? build = null,
            Action<WebApplication>? map = null,
            TimeSpan? requestTimeout = null
        )
        {
            var site = await CompatSite.StartAsync(
                whose,
                configure,
                more: options => options.RequestTimeout = requestTimeout ?? options.RequestTimeout,
                map: map,
                clock: Clock,
                cache: Cache,
                store: Store,
                add: services =>
                {
                    services.AddSingleton(keys ?? _keys);
                    Ear.Listen(services);
                },
                build: sessions =>
                {
                    build?.Invoke(sessions);
                    if (adopts)
                        sessions.AdoptFrom<IDistributedCache>();
                }
            );
            _sites.Add(site);
            return site;
        }

        /// <summary>A visitor with a session of the framework's, and its id.</summary>
        public async Task<(Visitor Visitor, string Id)> BeginAsync(
            Action<SessionOptions>? configure = null,
            IDataProtectionProvider? keys = null
        )
        {
            var old = await StartAsync(Framework, configure, keys: keys);
            var visitor = old.NewVisitor();
            var id = "";
            await visitor.WithAsync(session =>
            {
                session.SetString("name", "Zoë");
                session.SetInt32("count", 7);
                session.Set("none", []);
                id = session.Id;
            });
            return (visitor, id);
        }

        public async ValueTask DisposeAsync()
        {
            foreach (var site in _sites)
                await site.DisposeAsync();

            Ear.Dispose();
        }
    }

    private static void HasAll(ISession session, string id)
    {
        Assert.Equal(["count", "name", "none"], session.Keys.Order());
        Assert.Equal("Zoë", session.GetString("name"));
        Assert.Equal(7, session.GetInt32("count"));
        Assert.Equal(id, session.Id);
    }

    /// <summary>The output cache tells its visitor from strangers, before anybody has asked for the session.</summary>
    [Fact]
    public async Task Its_visitor_gets_no_page_that_is_kept_for_strangers()
    {
        await using var move = new Move();
        var (before, _) = await move.BeginAsync();
        var runs = 0;
        var site = await move.StartAsync(
            Ours,
            build: sessions => sessions.Services.AddOutputCache(),
            map: app =>
            {
                app.UseOutputCache();
                app.MapGet(
                        "/name",
                        (HttpContext context) =>
                        {
                            runs++;
                            return context.Session.GetString("name") ?? "nobody";
                        }
                    )
                    .CacheOutput();
            }
        );
        Assert.Equal("nobody", (await site.NewVisitor().SendAsync("/name")).Body);
        Assert.Equal("nobody", (await site.NewVisitor().SendAsync("/name")).Body);
        Assert.Equal(1, runs);
        var zoe = before.Copy(site);
        Assert.Equal("Zoë", (await zoe.SendAsync("/name")).Body);
        Assert.Equal("Zoë", (await zoe.SendAsync("/name")).Body);
        Assert.Equal("nobody", (await site.NewVisitor().SendAsync("/name")).Body);
        Assert.Equal(3, runs);
    }

    [Fact]
    public async Task It_keeps_its_id_when_all_its_values_go()
    {
        await using var move = new Move();
        var (before, id) = await move.BeginAsync();
        var ann = before.Copy(await move.StartAsync(Ours));
        await ann.WithAsync(session => session.Clear());
        await ann.WithAsync(session =>
        {
            Assert.Equal(id, session.Id);
            Assert.Empty(session.Keys);
            session.SetString("a", "1");
        });
        await ann.WithAsync(session => Assert.Equal((id, "1"), (session.Id, session.GetString("a"))));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task It_goes_on_with_its_data_its_id_and_a_new_token(bool isSealed)
    {
        await using var move = new Move();
        var (before, id) = await move.BeginAsync();
        var site = await move.StartAsync(Ours, build: sessions => _ = isSealed ? sessions.SealToBearer() : sessions);
        var ann = before.Copy(site);
        var first = await ann.WithAsync(session => HasAll(session, id));
        Assert.Equal(HttpStatusCode.OK, first.Status);
        // The new cookie came, the old one went, and the cache has nothing of it any more.
        Assert.Equal(["__Host-session"], ann.Jar.Keys);
        Assert.Equal(2, first.SetCookies.Length);
        Assert.Contains("no-store", first["Cache-Control"], StringComparison.Ordinal);
        Assert.Empty(move.Cache.Keys);
        for (var i = 0; i < 2; i++)
            await ann.WithAsync(session =>
            {
                HasAll(session, id);
                session.SetInt32("count", 7);
            });

        move.Clock.Advance(TimeSpan.FromMinutes(19));
        await ann.WithAsync(session => HasAll(session, id));
    }

    private static void MapPoll(WebApplication app) =>
        app.MapGet("/poll", (HttpContext context) => context.Session.GetString("name") ?? "none").NoTouch();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_page_that_polls_takes_it_over_is_issued_no_token_and_keeps_nobody_in(bool isSealed)
    {
        await using var move = new Move();
        var (before, id) = await move.BeginAsync();
        var site = await move.StartAsync(
            Ours,
            build: sessions => _ = isSealed ? sessions.SealToBearer() : sessions,
            map: MapPoll
        );
        var ann = before.Copy(site);
        for (var minute = 0; minute < 20; minute += 4)
        {
            var polled = await ann.SendAsync("/poll");
            Assert.Equal((minute, "Zoë", 0), (minute, polled.Body, polled.SetCookies.Length));
            move.Clock.Advance(TimeSpan.FromMinutes(4));
        }

        Assert.Empty(move.Cache.Keys);
        Assert.Equal("none", (await ann.SendAsync("/poll")).Body);
        await ann.WithAsync(session => Assert.NotEqual(id, session.Id));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task After_a_poll_a_visit_goes_on_with_it_and_is_issued_the_token(bool isSealed)
    {
        await using var move = new Move();
        var (before, id) = await move.BeginAsync();
        var site = await move.StartAsync(
            Ours,
            build: sessions => _ = isSealed ? sessions.SealToBearer() : sessions,
            map: MapPoll
        );
        var ann = before.Copy(site);
        Assert.Equal("Zoë", (await ann.SendAsync("/poll")).Body);
        move.Clock.Advance(TimeSpan.FromMinutes(16));
        await ann.WithAsync(session => HasAll(session, id));
        Assert.Equal(["__Host-session"], ann.Jar.Keys);

        // The visit was one: its session lives on.
        move.Clock.Advance(TimeSpan.FromMinutes(19));
        await ann.WithAsync(session => HasAll(session, id));
    }

    /// <summary>In the grace of the renewal that took it over what it came with opens it, and a poll moves nothing.</summary>
    [Fact]
    public async Task A_poll_with_what_it_came_with_keeps_nobody_in_either()
    {
        await using var move = new Move();
        var (before, _) = await move.BeginAsync();
        var site = await move.StartAsync(Ours, map: MapPoll);
        var (ann, tab) = (before.Copy(site), before.Copy(site));
        await ann.InAsync(async context =>
        {
            await context.Session.LoadAsync();
            move.Clock.Advance(TimeSpan.FromSeconds(10));
            Assert.Equal("Zoë", (await tab.SendAsync("/poll")).Body);
            Assert.Equal([FormerCookie], tab.Jar.Keys);
        });
    }

    [Fact]
    public async Task A_write_is_the_first_thing_that_it_does_and_nothing_is_lost()
    {
        await using var move = new Move();
        var (before, id) = await move.BeginAsync();
        var site = await move.StartAsync(Ours);
        var ann = before.Copy(site);
        await ann.WithAsync(session => session.SetString("more", "yes"));
        await ann.WithAsync(session =>
        {
            Assert.Equal(["count", "more", "name", "none"], session.Keys.Order());
            Assert.Equal(id, session.Id);
        });
    }

    [Fact]
    public async Task Fifty_requests_at_once_take_it_over_once_and_lose_nothing()
    {
        await using var move = new Move();
        var (before, id) = await move.BeginAsync();
        var site = await move.StartAsync(Ours);
        for (var round = 0; round < 20; round++)
        {
            var ann = round == 0 ? before.Copy(site) : (await move.BeginAsync()).Visitor.Copy(site);
            move.Store.Take();
            var entered = 0;
            var all = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            var visitors = Enumerable.Range(0, 50).Select(_ => ann.Copy()).ToArray();
            var answers = await Task.WhenAll(
                visitors.Select(
                    (visitor, i) =>
                        visitor.InAsync(async context =>
                        {
                            if (Interlocked.Increment(ref entered) == 50)
                                all.SetResult();

                            await all.Task;
                            Assert.Equal(7, context.Session.GetInt32("count"));
                            context.Session.SetInt32("key " + i, i);
                        })
                )
            );
            Assert.All(answers, answer => Assert.Equal(HttpStatusCode.OK, answer.Status));
            Assert.Empty(move.Cache.Keys);
            // One of them got the token; a browser has one jar for all.
            var tokens = visitors.Where(v => v.Jar.ContainsKey("__Host-session")).ToArray();
            var token = Assert.Single(tokens);
            Assert.All(visitors.Except(tokens), v => Assert.True(v.Jar.ContainsKey(FormerCookie)));
            await token.WithAsync(session => Assert.Equal(53, session.Keys.Count()));
            // The others are requests that are still under way: they have the session, and get no token.
            var late = visitors.First(v => v != token).Copy();
            await late.WithAsync(session => Assert.Equal(53, session.Keys.Count()));
        }

        _ = id;
    }

    /// <summary>It looks here and finds nothing, looks there and finds nothing any more: another request has moved it between.</summary>
    [Fact]
    public async Task A_request_that_another_one_is_quicker_than_finds_the_session_here()
    {
        await using var move = new Move();
        var (before, _) = await move.BeginAsync();
        var site = await move.StartAsync(Ours);
        var quick = before.Copy(site);
        var slow = quick.Copy();
        move.Cache.BeforeGet = async () =>
        {
            move.Cache.BeforeGet = null;
            Assert.Equal(HttpStatusCode.OK, (await quick.WithAsync(s => s.SetInt32("quick", 1))).Status);
        };
        var answer = await slow.InAsync(context =>
        {
            Assert.Equal((7, 1), (context.Session.GetInt32("count"), context.Session.GetInt32("quick")));
            return Task.CompletedTask;
        });
        Assert.Equal(HttpStatusCode.OK, answer.Status);
        Assert.Empty(move.Cache.Keys);
    }

    [Fact]
    public async Task An_answer_that_is_lost_costs_nothing()
    {
        await using var move = new Move();
        var (before, id) = await move.BeginAsync();
        var site = await move.StartAsync(Ours);
        await before.Copy(site).WithAsync(session => session.SetString("more", "yes"));
        // The client never saw the answer, and comes again with what it has: at once, and later, when it is given another.
        var again = before.Copy(site);
        await again.WithAsync(session => Assert.Equal("yes", session.GetString("more")));
        Assert.Equal([FormerCookie], again.Jar.Keys);
        move.Clock.Advance(TimeSpan.FromMinutes(1));
        await again.WithAsync(session => Assert.Equal((4, id), (session.Keys.Count(), session.Id)));
        Assert.Equal(["__Host-session"], again.Jar.Keys);
        await again.WithAsync(session => Assert.Equal((4, id), (session.Keys.Count(), session.Id)));
    }

    [Fact]
    public async Task Once_the_new_token_is_confirmed_the_old_cookie_is_a_replay_after_the_grace()
    {
        await using var move = new Move();
        var (before, id) = await move.BeginAsync();
        var site = await move.StartAsync(Ours);
        var ann = before.Copy(site);
        await ann.WithAsync(session => HasAll(session, id));
        await ann.WithAsync(session => HasAll(session, id));
        // Requests under way.
        await before.Copy(site).WithAsync(session => HasAll(session, id));
        move.Clock.Advance(TimeSpan.FromMinutes(1));
        var thief = before.Copy(site);
        await thief.WithAsync(session => Assert.Empty(session.Keys));
        Assert.Contains(move.Ear.Take(), line => line.Contains("may be stolen", StringComparison.Ordinal));
    }

    [Fact]
    public async Task After_a_sign_out_the_old_cookie_brings_nothing_back()
    {
        await using var move = new Move();
        var (before, _) = await move.BeginAsync(o => o.IdleTimeout = TimeSpan.FromDays(1));
        var site = await move.StartAsync(Ours, o => o.IdleTimeout = TimeSpan.FromDays(1));
        var ann = before.Copy(site);
        await ann.WithAsync(session => Assert.Equal(3, session.Keys.Count()));
        await ann.InAsync(async context => await (await context.GetSessionAsync<SessionValues>()).DestroyAsync());
        await before.Copy(site).WithAsync(session => Assert.Empty(session.Keys));
        // Also when nobody remembers the session any more.
        move.Clock.Advance(TimeSpan.FromHours(3));
        await before.Copy(site).WithAsync(session => Assert.Empty(session.Keys));
    }

    [Fact]
    public async Task While_the_cache_is_down_it_waits_there_and_is_a_503()
    {
        await using var move = new Move();
        var (before, id) = await move.BeginAsync();
        var site = await move.StartAsync(Ours);
        var ann = before.Copy(site);
        move.Cache.Fails = true;
        var down = await ann.WithAsync(session => session.SetString("more", "yes"));
        Assert.Equal(HttpStatusCode.ServiceUnavailable, down.Status);
        Assert.Equal([FormerCookie], ann.Jar.Keys);
        // Who comes without one is not concerned.
        Assert.Equal(
            HttpStatusCode.OK,
            (await site.NewVisitor().WithAsync(session => session.SetString("a", "1"))).Status
        );
        move.Cache.Fails = false;
        await ann.WithAsync(session => HasAll(session, id));
    }

    [Fact]
    public async Task A_cache_that_hangs_holds_nobody_up_for_longer_than_a_request_may_wait()
    {
        await using var move = new Move();
        var (before, id) = await move.BeginAsync();
        var site = await move.StartAsync(Ours, requestTimeout: TimeSpan.FromMilliseconds(300));
        var ann = before.Copy(site);
        var hangs = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        move.Cache.BeforeGet = () => hangs.Task;
        var slow = await ann.WithAsync(session => session.SetString("more", "yes")).WaitAsync(TimeSpan.FromSeconds(20));
        Assert.Equal(HttpStatusCode.ServiceUnavailable, slow.Status);
        Assert.Equal([FormerCookie], ann.Jar.Keys);
        hangs.SetResult();
        move.Cache.BeforeGet = null;
        await ann.WithAsync(session => HasAll(session, id));
    }

    [Fact]
    public async Task It_is_not_taken_over_until_the_cache_has_let_go_of_it()
    {
        await using var move = new Move();
        var (before, id) = await move.BeginAsync();
        var site = await move.StartAsync(Ours);
        var ann = before.Copy(site);
        move.Cache.BeforeRemove = () => throw new IOException("down");
        move.Ear.Take();
        var down = await ann.WithAsync(session => session.GetString("name"));
        Assert.Equal(HttpStatusCode.ServiceUnavailable, down.Status);
        Assert.Single(move.Cache.Keys);
        // It is not our own store that is down.
        var said = move.Ear.Take();
        Assert.Contains(
            said,
            line => line.Contains("that another middleware began does not answer", StringComparison.Ordinal)
        );
        Assert.DoesNotContain(said, line => line.StartsWith("The session store", StringComparison.Ordinal));
        move.Cache.BeforeRemove = null;
        await ann.WithAsync(session => HasAll(session, id));
        Assert.Empty(move.Cache.Keys);
    }

    [Fact]
    public async Task While_our_store_is_down_it_stays_where_it_is()
    {
        await using var move = new Move();
        var (before, id) = await move.BeginAsync();
        var site = await move.StartAsync(Ours);
        var ann = before.Copy(site);
        move.Store.FailsWrites = true;
        var down = await ann.WithAsync(session => session.GetString("name"));
        Assert.Equal(HttpStatusCode.ServiceUnavailable, down.Status);
        Assert.Single(move.Cache.Keys);
        move.Store.FailsWrites = false;
        await ann.WithAsync(session => HasAll(session, id));
    }

    /// <summary>A browser deletes a cookie of a domain only where the domain is said.</summary>
    [Fact]
    public async Task A_former_cookie_is_deleted_as_it_was_set()
    {
        static void Configure(SessionOptions o) => (o.Cookie.Domain, o.Cookie.Path) = ("shop.example", "/shop");
        await using var move = new Move();
        var (before, id) = await move.BeginAsync(Configure);
        var site = await move.StartAsync(Ours, Configure);
        var ann = before.Copy(site);
        var answer = await ann.WithAsync(session => HasAll(session, id));
        var deleted = Assert.Single(
            answer.SetCookies,
            it => it.StartsWith(FormerCookie + "=;", StringComparison.Ordinal)
        );
        Assert.Contains("domain=shop.example", deleted, StringComparison.Ordinal);
        Assert.Contains("path=/shop", deleted, StringComparison.Ordinal);
    }

    /// <summary>As another algorithm: what it has protected is some bytes longer.</summary>
    private sealed class Longer(IDataProtector inner, int more) : IDataProtector
    {
        public IDataProtector CreateProtector(string purpose) => new Longer(inner.CreateProtector(purpose), more);

        public byte[] Protect(byte[] plaintext) => [.. inner.Protect(plaintext), .. new byte[more]];

        public byte[] Unprotect(byte[] protectedData) => inner.Unprotect(protectedData[..^more]);
    }

    /// <summary>The framework leaves the end of its Base64 away; how much of it is missing depends on the algorithm of the keys.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    public async Task A_former_cookie_of_any_length_is_opened(int more)
    {
        await using var move = new Move();
        var keys = new Longer(new EphemeralDataProtectionProvider().CreateProtector("keys"), more);
        var (before, id) = await move.BeginAsync(keys: keys);
        var ann = before.Copy(await move.StartAsync(Ours, keys: keys));
        await ann.WithAsync(session => HasAll(session, id));
        Assert.Equal(["__Host-session"], ann.Jar.Keys);
    }

    [Fact]
    public async Task A_cookie_of_the_same_name_is_replaced_by_ours()
    {
        await using var move = new Move();
        var (before, id) = await move.BeginAsync(o => o.Cookie.Name = ".Shop");
        var site = await move.StartAsync(Ours, o => o.Cookie.Name = ".Shop");
        var ann = before.Copy(site);
        var answer = await ann.WithAsync(session => HasAll(session, id));
        Assert.Single(answer.SetCookies);
        Assert.NotEqual(before.Cookie, ann.Cookie);
        await ann.WithAsync(session => HasAll(session, id));
    }

    [Fact]
    public async Task What_nobody_can_open_begins_anew()
    {
        await using var move = new Move();
        var (before, _) = await move.BeginAsync();
        // Under keys of another application.
        var foreign = await move.StartAsync(Ours, keys: new EphemeralDataProtectionProvider());
        await before.Copy(foreign).WithAsync(session => Assert.Empty(session.Keys));

        var site = await move.StartAsync(Ours);
        var made = site.NewVisitor();
        foreach (var value in new[] { "nonsense", "%%%", before.Cookie[..^4], "" })
        {
            made.Jar.Clear();
            made.Jar[FormerCookie] = value;
            await made.WithAsync(session =>
            {
                Assert.Empty(session.Keys);
                session.SetString("a", "1");
            });
            Assert.Equal("1", await made.ReadAsync("a"));
        }

        Assert.Single(move.Cache.Keys);
    }

    /// <summary>Keys stand in logs and in the cache: what opens it comes from what its client alone has.</summary>
    [Fact]
    public async Task Whoever_knows_its_key_alone_is_not_let_in()
    {
        await using var move = new Move();
        var keys = new EphemeralDataProtectionProvider();
        var (before, id) = await move.BeginAsync(keys: keys);
        var key = Encoding.UTF8.GetBytes(move.Cache.Keys.Single());
        var site = await move.StartAsync(Ours, keys: keys);
        var ann = before.Copy(site);
        await ann.WithAsync(session => HasAll(session, id));

        // The same key, and nothing else of the cookie is the same.
        var sealedAgain = keys.CreateProtector("SessionMiddleware").Protect(key);
        var other = site.NewVisitor();
        other.Jar[FormerCookie] = Uri.EscapeDataString(Convert.ToBase64String(sealedAgain).TrimEnd('='));
        await other.WithAsync(session => Assert.Empty(session.Keys));
        await ann.WithAsync(session => HasAll(session, id));
    }

    [Fact]
    public async Task A_format_that_is_not_known_is_left_where_it_is_and_said()
    {
        await using var move = new Move();
        var (before, _) = await move.BeginAsync();
        var key = move.Cache.Keys.Single();
        var bytes = move.Cache.Get(key)!;
        byte[][] damaged =
        [
            [9, .. bytes[1..]],
            bytes[..^1],
            bytes[..10],
            // A value of less than nothing.
            [2, 0, 0, 1, .. new byte[16], 0, 1, (byte)'a', 255, 255, 255, 255],
            [],
        ];
        var site = await move.StartAsync(Ours);
        foreach (var stored in damaged)
        {
            move.Cache.Set(key, stored, new DistributedCacheEntryOptions());
            await before.Copy(site).WithAsync(session => Assert.Empty(session.Keys));
            Assert.Contains(move.Ear.Take(), line => line.Contains("cannot be read", StringComparison.Ordinal));
            Assert.Equal(stored, move.Cache.Get(key));
        }
    }

    [Fact]
    public async Task Without_the_word_they_begin_anew_and_the_cache_is_never_asked()
    {
        await using var move = new Move();
        var (before, _) = await move.BeginAsync();
        var site = await move.StartAsync(Ours, adopts: false);
        move.Cache.Fails = true;
        await before.Copy(site).WithAsync(session => Assert.Empty(session.Keys));
    }

    /// <summary>Its answer can carry no token of ours any more: what its client holds stays what it is, for the next request.</summary>
    [Fact]
    public async Task A_request_whose_answer_has_begun_takes_nothing_over()
    {
        await using var move = new Move();
        var (before, id) = await move.BeginAsync();
        var site = await move.StartAsync(Ours);
        var ann = before.Copy(site);
        move.Store.Take();
        var late = await ann.InAsync(async context =>
        {
            await context.Response.StartAsync();
            await context.Session.LoadAsync();
            Assert.Empty(context.Session.Keys);
        });
        Assert.Empty(late.SetCookies);
        Assert.Equal(0, move.Store.Take().Writes);
        Assert.Single(move.Cache.Keys);
        await ann.WithAsync(session => HasAll(session, id));
    }

    [Fact]
    public async Task A_request_that_does_not_ask_for_its_session_takes_nothing_over()
    {
        await using var move = new Move();
        var (before, id) = await move.BeginAsync();
        var site = await move.StartAsync(Ours);
        var ann = before.Copy(site);
        move.Store.Take();
        Assert.Empty((await ann.InAsync(_ => { })).SetCookies);
        Assert.Equal((0, 0), move.Store.Take());
        Assert.Single(move.Cache.Keys);
        await ann.WithAsync(session => HasAll(session, id));
    }
}
