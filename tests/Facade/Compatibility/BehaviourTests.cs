using System.Globalization;
using System.Net;
using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Xunit;
using static Facade.Compatibility.Sessions;

namespace Facade.Compatibility;

/// <summary>What applications rely on, asked of the framework's session and of ours: docs/FROM-HTTPCONTEXT-SESSION.md lists it.</summary>
public class BehaviourTests
{
    [Theory]
    [InlineData(Framework)]
    [InlineData(Ours)]
    public async Task What_is_set_is_read_in_the_same_request_and_in_later_ones(Sessions whose)
    {
        await using var site = await CompatSite.StartAsync(whose);
        var ann = site.NewVisitor();
        var written = await ann.WithAsync(session =>
        {
            session.SetString("name", "Zoë 🚲");
            session.SetInt32("count", int.MinValue);
            session.Set("bytes", [0, 1, 255]);
            session.Set("none", []);
            Assert.Equal("Zoë 🚲", session.GetString("name"));
            Assert.Equal(int.MinValue, session.GetInt32("count"));
        });
        Assert.Equal(HttpStatusCode.OK, written.Status);
        for (var i = 0; i < 2; i++)
            await ann.WithAsync(session =>
            {
                Assert.Equal("Zoë 🚲", session.GetString("name"));
                Assert.Equal(int.MinValue, session.GetInt32("count"));
                Assert.Equal(new byte[] { 0, 1, 255 }, session.Get("bytes"));
                Assert.True(session.TryGetValue("none", out var none));
                Assert.Empty(none);
            });
    }

    [Theory]
    [InlineData(Framework)]
    [InlineData(Ours)]
    public async Task What_is_not_there_is_null(Sessions whose)
    {
        await using var site = await CompatSite.StartAsync(whose);
        var ann = site.NewVisitor();
        for (var i = 0; i < 2; i++)
            await ann.WithAsync(session =>
            {
                Assert.Null(session.GetString("nothing"));
                Assert.Null(session.GetInt32("nothing"));
                Assert.False(session.TryGetValue("nothing", out var value));
                Assert.Null(value);
                session.Remove("nothing");
                session.SetString("NOTHING", "the case of keys counts");
            });
    }

    [Theory]
    [InlineData(Framework)]
    [InlineData(Ours)]
    public async Task What_is_removed_is_gone_and_the_rest_stays(Sessions whose)
    {
        await using var site = await CompatSite.StartAsync(whose);
        var ann = site.NewVisitor();
        await ann.WithAsync(session =>
        {
            session.SetString("a", "1");
            session.SetString("b", "2");
            session.SetString("c", "3");
            session.Remove("c");
            Assert.Null(session.GetString("c"));
            Assert.Equal(["a", "b"], session.Keys.Order());
        });
        await ann.WithAsync(session =>
        {
            Assert.Equal(["a", "b"], session.Keys.Order());
            session.Remove("a");
            Assert.Null(session.GetString("a"));
            Assert.Equal(["b"], session.Keys);
        });
        await ann.WithAsync(session => Assert.Equal(["b"], session.Keys));
    }

    [Theory]
    [InlineData(Framework)]
    [InlineData(Ours)]
    public async Task Clear_takes_all_and_the_session_goes_on_under_its_id(Sessions whose)
    {
        await using var site = await CompatSite.StartAsync(whose);
        var ann = site.NewVisitor();
        string id = "";
        await ann.WithAsync(session =>
        {
            session.SetString("a", "1");
            id = session.Id;
        });
        await ann.WithAsync(session =>
        {
            session.SetString("b", "2");
            session.Clear();
            Assert.Empty(session.Keys);
            Assert.Null(session.GetString("a"));
            session.SetString("c", "3");
            Assert.Equal(["c"], session.Keys);
        });
        await ann.WithAsync(session =>
        {
            Assert.Equal(["c"], session.Keys);
            Assert.Equal(id, session.Id);
            session.Clear();
        });
        await ann.WithAsync(session => Assert.Empty(session.Keys));
    }

    [Theory]
    [InlineData(Framework)]
    [InlineData(Ours)]
    public async Task What_is_set_is_a_copy(Sessions whose)
    {
        await using var site = await CompatSite.StartAsync(whose);
        var ann = site.NewVisitor();
        await ann.WithAsync(session =>
        {
            byte[] value = [1];
            session.Set("a", value);
            value[0] = 2;
            Assert.Equal(new byte[] { 1 }, session.Get("a"));
        });
        await ann.WithAsync(session => Assert.Equal(new byte[] { 1 }, session.Get("a")));
    }

    [Theory]
    [InlineData(Framework)]
    [InlineData(Ours)]
    public async Task Wrong_arguments_are_refused(Sessions whose)
    {
        await using var site = await CompatSite.StartAsync(whose);
        var ann = site.NewVisitor();
        await ann.WithAsync(session =>
        {
            Assert.ThrowsAny<ArgumentException>(() => session.Set(null!, [1]));
            Assert.ThrowsAny<ArgumentException>(() => session.Set("a", null!));
            Assert.ThrowsAny<ArgumentException>(() => session.Set(new string('é', 32768), [1]));
            session.Set(new string('é', 32767), [1]);
            // To the last byte.
            session.Set(new string('é', 32767) + "a", [1]);
            session.Set("", [2]);
        });
        await ann.WithAsync(session => Assert.Equal([0, 32767, 32768], session.Keys.Select(key => key.Length).Order()));
    }

    [Theory]
    [InlineData(Framework)]
    [InlineData(Ours)]
    public async Task The_id_is_a_guid_another_one_in_each_request_until_something_is_stored(Sessions whose)
    {
        await using var site = await CompatSite.StartAsync(whose);
        var ann = site.NewVisitor();
        var ids = new List<string>();
        for (var i = 0; i < 2; i++)
            await ann.WithAsync(session =>
            {
                ids.Add(session.Id);
                Assert.Equal(ids[^1], session.Id);
            });
        await ann.WithAsync(session =>
        {
            ids.Add(session.Id);
            session.SetString("a", "1");
            Assert.Equal(ids[^1], session.Id);
        });
        Assert.Equal(3, ids.Distinct().Count());
        Assert.All(ids, id => Assert.True(Guid.TryParseExact(id, "D", out _)));
        for (var i = 0; i < 2; i++)
            await ann.WithAsync(session => Assert.Equal(ids[2], session.Id));
    }

    [Theory]
    [InlineData(Framework)]
    [InlineData(Ours)]
    public async Task The_cookie_comes_with_the_first_value_and_not_again(Sessions whose)
    {
        await using var site = await CompatSite.StartAsync(whose);
        var ann = site.NewVisitor();
        var read = await ann.WithAsync(session =>
        {
            Assert.True(session.IsAvailable);
            Assert.Empty(session.Keys);
        });
        Assert.Empty(read.SetCookies);
        var written = await ann.WithAsync(session => session.SetString("a", "1"));
        var cookie = Assert.Single(written.SetCookies);
        Assert.Contains("httponly", cookie, StringComparison.OrdinalIgnoreCase);
        Assert.Contains("samesite=lax", cookie, StringComparison.OrdinalIgnoreCase);
        Assert.Contains("path=/", cookie, StringComparison.OrdinalIgnoreCase);
        Assert.Contains("no-store", written["Cache-Control"], StringComparison.Ordinal);
        var again = await ann.WithAsync(session => session.SetString("b", "2"));
        Assert.Empty(again.SetCookies);
    }

    [Theory]
    [InlineData(Framework)]
    [InlineData(Ours)]
    public async Task A_value_that_is_set_and_removed_at_once_establishes_the_session(Sessions whose)
    {
        await using var site = await CompatSite.StartAsync(whose);
        var ann = site.NewVisitor();
        var id = "";
        var answer = await ann.WithAsync(session =>
        {
            session.Set("sentinel", []);
            session.Remove("sentinel");
            id = session.Id;
        });
        Assert.Single(answer.SetCookies);
        await ann.WithAsync(session =>
        {
            Assert.Empty(session.Keys);
            Assert.Equal(id, session.Id);
        });
    }

    [Theory]
    [InlineData(Framework)]
    [InlineData(Ours)]
    public async Task Loading_first_and_committing_in_between_work(Sessions whose)
    {
        await using var site = await CompatSite.StartAsync(whose);
        var ann = site.NewVisitor();
        await ann.WithAsync(session => session.SetString("a", "1"));
        await ann.InAsync(async context =>
        {
            await context.Session.LoadAsync();
            await context.Session.LoadAsync();
            Assert.Equal("1", context.Session.GetString("a"));
            context.Session.SetString("a", "2");
            await context.Session.CommitAsync();
            // Another request sees it before this one is over.
            Assert.Equal("2", await ann.Copy().ReadAsync("a"));
            context.Session.SetString("b", "3");
        });
        Assert.Equal(("2", "3"), (await ann.ReadAsync("a"), await ann.ReadAsync("b")));
    }

    /// <summary>What a commit has stored is done: the next one is about what came after it.</summary>
    [Theory]
    [InlineData(Framework)]
    [InlineData(Ours)]
    public async Task After_each_commit_the_session_is_as_it_was_stored_and_takes_more(Sessions whose)
    {
        await using var site = await CompatSite.StartAsync(whose);
        var ann = site.NewVisitor();
        await ann.WithAsync(session =>
        {
            session.SetString("a", "1");
            session.SetString("b", "2");
        });
        await ann.InAsync(async context =>
        {
            var session = context.Session;
            session.Clear();
            await session.CommitAsync();
            Assert.Empty(session.Keys);
            Assert.Null(session.GetString("a"));
            Assert.Null(await ann.Copy().ReadAsync("a"));
            session.SetString("c", "3");
            await session.CommitAsync();
            Assert.Equal(["c"], session.Keys);
            Assert.Equal("3", session.GetString("c"));
            session.SetString("d", "4");
            await session.CommitAsync();
            Assert.Equal(["c", "d"], session.Keys.Order());
            session.Remove("c");
            await session.CommitAsync();
            Assert.Equal(["d"], session.Keys);
            Assert.Equal(("4", null), (session.GetString("d"), session.GetString("c")));
            Assert.Null(await ann.Copy().ReadAsync("c"));
            session.SetString("c", "5");
            await session.CommitAsync();
            session.Clear();
            session.SetString("e", "6");
            await session.CommitAsync();
            Assert.Equal(["e"], session.Keys);
            session.SetString("f", "7");
        });
        await ann.WithAsync(session =>
        {
            Assert.Equal(["e", "f"], session.Keys.Order());
            Assert.Equal(("6", "7"), (session.GetString("e"), session.GetString("f")));
        });
    }

    [Theory]
    [InlineData(Framework)]
    [InlineData(Ours)]
    public async Task Once_the_response_has_started_a_session_cannot_begin_and_one_that_is_there_takes_values(
        Sessions whose
    )
    {
        await using var site = await CompatSite.StartAsync(whose);
        var ann = site.NewVisitor();
        await ann.InAsync(async context =>
        {
            await context.Response.WriteAsync("begun");
            Assert.Throws<InvalidOperationException>(() => context.Session.SetString("a", "1"));
        });
        Assert.Empty(ann.Jar);
        await ann.WithAsync(session => session.SetString("a", "1"));
        await ann.InAsync(async context =>
        {
            await context.Response.WriteAsync("begun");
            await context.Response.Body.FlushAsync();
            context.Session.SetString("a", "2");
        });
        Assert.Equal("2", await ann.ReadAsync("a"));
    }

    [Theory]
    [InlineData(Framework)]
    [InlineData(Ours)]
    public async Task What_is_written_while_the_response_starts_is_kept(Sessions whose)
    {
        await using var site = await CompatSite.StartAsync(whose);
        var ann = site.NewVisitor();
        for (var i = 0; i < 2; i++)
        {
            var value = i.ToString(CultureInfo.InvariantCulture);
            var answer = await ann.InAsync(async context =>
            {
                context.Response.OnStarting(() =>
                {
                    context.Session.SetString("late", value);
                    return Task.CompletedTask;
                });
                await context.Response.WriteAsync("body");
            });
            Assert.Equal((HttpStatusCode.OK, "body"), (answer.Status, answer.Body));
            Assert.Equal(value, await ann.ReadAsync("late"));
        }
    }

    [Theory]
    [InlineData(Framework)]
    [InlineData(Ours)]
    public async Task Silence_ends_it_and_a_read_keeps_it(Sessions whose)
    {
        await using var site = await CompatSite.StartAsync(whose, o => o.IdleTimeout = TimeSpan.FromMinutes(7));
        var ann = site.NewVisitor();
        var id = "";
        await ann.WithAsync(session =>
        {
            session.SetString("a", "1");
            id = session.Id;
        });
        for (var i = 0; i < 4; i++)
        {
            site.Clock.Advance(TimeSpan.FromMinutes(5));
            Assert.Equal("1", await ann.ReadAsync("a"));
        }

        site.Clock.Advance(TimeSpan.FromMinutes(7));
        Assert.Null(await ann.ReadAsync("a"));
        await ann.WithAsync(session =>
        {
            session.SetString("b", "2");
            Assert.NotEqual(id, session.Id);
        });
        await ann.WithAsync(session => Assert.Equal(["b"], session.Keys));
    }

    [Theory]
    [InlineData(Framework)]
    [InlineData(Ours)]
    public async Task What_is_written_before_an_endpoint_fails_is_kept(Sessions whose)
    {
        await using var site = await CompatSite.StartAsync(whose);
        var ann = site.NewVisitor();
        await ann.WithAsync(session => session.SetString("a", "1"));
        var failed = await ann.InAsync(context =>
        {
            context.Session.SetString("a", "2");
            throw new NotSupportedException("the endpoint's own");
        });
        Assert.Equal(HttpStatusCode.InternalServerError, failed.Status);
        Assert.Equal("2", await ann.ReadAsync("a"));
    }

    [Theory]
    [InlineData(Framework)]
    [InlineData(Ours)]
    public async Task A_cookie_that_is_none_begins_anew(Sessions whose)
    {
        await using var site = await CompatSite.StartAsync(whose, o => o.Cookie.Name = "shop");
        foreach (var planted in new[] { "nonsense", "AAAA", new string('x', 176) })
        {
            var ann = site.NewVisitor();
            ann.Jar["shop"] = planted;
            Assert.Null(await ann.ReadAsync("a"));
            await ann.WithAsync(session => session.SetString("a", "1"));
            Assert.NotEqual(planted, ann.Jar["shop"]);
            Assert.Equal("1", await ann.ReadAsync("a"));
        }
    }

    [Theory]
    [InlineData(Framework)]
    [InlineData(Ours)]
    public async Task Visitors_do_not_see_each_other(Sessions whose)
    {
        await using var site = await CompatSite.StartAsync(whose);
        var (ann, bob) = (site.NewVisitor(), site.NewVisitor());
        await ann.WithAsync(session => session.SetString("name", "ann"));
        await bob.WithAsync(session => session.SetString("name", "bob"));
        Assert.Equal(("ann", "bob"), (await ann.ReadAsync("name"), await bob.ReadAsync("name")));
    }

    [Theory]
    [InlineData(Framework)]
    [InlineData(Ours)]
    public async Task The_feature_has_it_and_an_application_may_put_another_one_there(Sessions whose)
    {
        await using var site = await CompatSite.StartAsync(whose);
        var ann = site.NewVisitor();
        await ann.InAsync(context =>
        {
            var feature = context.Features.Get<ISessionFeature>()!;
            var first = context.Session;
            Assert.Same(first, feature.Session);
            first.SetString("a", "1");
            context.Session = new Wrapped(first);
            Assert.Equal("1!", context.Session.GetString("a"));
        });
        Assert.Equal("1", await ann.ReadAsync("a"));
    }

    [Theory]
    [InlineData(Framework)]
    [InlineData(Ours)]
    public async Task A_thousand_values_and_a_large_one_come_back(Sessions whose)
    {
        await using var site = await CompatSite.StartAsync(whose);
        var ann = site.NewVisitor();
        var large = new string('x', 300_000);
        await ann.WithAsync(session =>
        {
            for (var i = 0; i < 1000; i++)
                session.SetInt32("key " + i.ToString(CultureInfo.InvariantCulture), i);

            session.SetString("large", large);
        });
        await ann.WithAsync(session =>
        {
            Assert.Equal(1001, session.Keys.Count());
            Assert.Equal(999, session.GetInt32("key 999"));
            Assert.Equal(large, session.GetString("large"));
        });
    }

    [Theory]
    [InlineData(Framework)]
    [InlineData(Ours)]
    public async Task Every_way_to_answer_carries_the_cookie_and_its_whole_body(Sessions whose)
    {
        await using var site = await CompatSite.StartAsync(whose);
        var file = Path.GetTempFileName();
        await File.WriteAllTextAsync(file, "a file");
        try
        {
            (string Body, Func<HttpContext, Task> Answer)[] ways =
            [
                ("", _ => Task.CompletedTask),
                ("text", context => context.Response.WriteAsync("text")),
                ("result", context => Results.Text("result").ExecuteAsync(context)),
                ("{\"a\":1}", context => Results.Json(new Dictionary<string, int> { ["a"] = 1 }).ExecuteAsync(context)),
                ("bytes", context => Results.Bytes("bytes"u8.ToArray()).ExecuteAsync(context)),
                ("a file", context => context.Response.SendFileAsync(file)),
                (
                    "writer",
                    context =>
                    {
                        // Not flushed: that is the server's to do.
                        "writer"u8.CopyTo(context.Response.BodyWriter.GetSpan(6));
                        context.Response.BodyWriter.Advance(6);
                        return Task.CompletedTask;
                    }
                ),
                (
                    "started",
                    async context =>
                    {
                        await context.Response.StartAsync();
                        await context.Response.Body.WriteAsync("started"u8.ToArray().AsMemory());
                        await context.Response.CompleteAsync();
                    }
                ),
                ("", context => context.Response.CompleteAsync()),
                (
                    "completed",
                    context =>
                    {
                        // Not flushed either: that is for whoever completes it.
                        "completed"u8.CopyTo(context.Response.BodyWriter.GetSpan(9));
                        context.Response.BodyWriter.Advance(9);
                        return context.Response.CompleteAsync();
                    }
                ),
                (
                    "in three parts",
                    async context =>
                    {
                        foreach (var part in new[] { "in ", "three ", "parts" })
                        {
                            await context.Response.WriteAsync(part);
                            await context.Response.Body.FlushAsync();
                        }
                    }
                ),
            ];
            foreach (var (body, way) in ways)
            {
                var ann = site.NewVisitor();
                for (var i = 0; i < 2; i++)
                {
                    var answer = await ann.InAsync(async context =>
                    {
                        context.Session.SetInt32("n", (context.Session.GetInt32("n") ?? 0) + 1);
                        await way(context);
                    });
                    Assert.Equal((HttpStatusCode.OK, body), (answer.Status, answer.Body));
                    Assert.Equal(1 - i, answer.SetCookies.Length);
                }

                await ann.WithAsync(session => Assert.Equal(2, session.GetInt32("n")));
            }
        }
        finally
        {
            File.Delete(file);
        }
    }

    /// <summary>As one that compresses or caches: it takes its own body away when the endpoint is done, and there it stays away.</summary>
    [Theory]
    [InlineData(Framework)]
    [InlineData(Ours)]
    public async Task A_body_that_a_middleware_behind_it_has_taken_away_does_not_come_back(Sessions whose)
    {
        await using var site = await CompatSite.StartAsync(
            whose,
            before: app =>
                app.Use(
                    async (context, next) =>
                    {
                        await next(context);
                        await context.Response.WriteAsync(" and more");
                    }
                ),
            map: app =>
                app.Use(
                    async (context, next) =>
                    {
                        var servers = context.Features.GetRequiredFeature<IHttpResponseBodyFeature>();
                        var kept = new MemoryStream();
                        context.Features.Set<IHttpResponseBodyFeature>(new StreamResponseBodyFeature(kept, servers));
                        await next(context);
                        context.Features.Set<IHttpResponseBodyFeature>(servers);
                        await servers.Stream.WriteAsync(kept.ToArray());
                    }
                )
        );
        var ann = site.NewVisitor();
        for (var i = 0; i < 2; i++)
        {
            var value = i.ToString(CultureInfo.InvariantCulture);
            var answer = await ann.InAsync(async context =>
            {
                context.Session.SetString("a", value);
                await context.Response.WriteAsync("kept");
            });
            Assert.Equal((HttpStatusCode.OK, "kept and more"), (answer.Status, answer.Body));
            await ann.WithAsync(session => Assert.Equal(value, session.GetString("a")));
        }
    }

    [Theory]
    [InlineData(Framework)]
    [InlineData(Ours)]
    public async Task An_error_page_reads_and_writes_the_session_of_its_request(Sessions whose)
    {
        await using var site = await CompatSite.StartAsync(
            whose,
            before: app => app.UseExceptionHandler("/oops"),
            map: app =>
                app.Map(
                    "/oops",
                    (HttpContext context) =>
                    {
                        context.Session.SetString("seen", "yes");
                        return context.Session.GetString("a");
                    }
                )
        );
        var ann = site.NewVisitor();
        await ann.WithAsync(session => session.SetString("a", "1"));
        var failed = await ann.InAsync(context =>
        {
            context.Session.SetString("a", "2");
            throw new NotSupportedException("the endpoint's own");
        });
        Assert.Equal((HttpStatusCode.InternalServerError, "2"), (failed.Status, failed.Body));
        Assert.Equal("yes", await ann.ReadAsync("seen"));
    }

    [Theory]
    [InlineData(Framework)]
    [InlineData(Ours)]
    public async Task Of_one_key_the_last_writer_wins(Sessions whose)
    {
        await using var site = await CompatSite.StartAsync(whose);
        var ann = site.NewVisitor();
        await ann.WithAsync(session => session.SetString("a", "0"));
        await ann.InAsync(async context =>
        {
            Assert.Equal("0", context.Session.GetString("a"));
            await ann.Copy().WithAsync(session => session.SetString("a", "first"));
            context.Session.SetString("a", "last");
        });
        Assert.Equal("last", await ann.ReadAsync("a"));
    }

    private sealed class Wrapped(ISession inner) : ISession
    {
        public bool IsAvailable => inner.IsAvailable;
        public string Id => inner.Id;
        public IEnumerable<string> Keys => inner.Keys;

        public void Clear() => inner.Clear();

        public Task CommitAsync(CancellationToken cancellationToken = default) => inner.CommitAsync(cancellationToken);

        public Task LoadAsync(CancellationToken cancellationToken = default) => inner.LoadAsync(cancellationToken);

        public void Remove(string key) => inner.Remove(key);

        public void Set(string key, byte[] value) => inner.Set(key, value);

        public bool TryGetValue(string key, [System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out byte[]? value)
        {
            value = inner.Get(key) is { } found ? [.. found, .. "!"u8] : null;
            return value is not null;
        }
    }
}
