using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.DependencyInjection;
using Session.CSharp;
using Session.Engine;
using Xunit;
using static Facade.Compatibility.Sessions;

namespace Facade.Compatibility;

/// <summary>Where ours differs from the framework's on purpose: costs, failures, ends.</summary>
public class PromiseTests
{
    [Fact]
    public async Task A_request_that_does_not_ask_for_its_session_costs_no_store_call_and_no_cookie()
    {
        var store = new CountedStore();
        await using var site = await CompatSite.StartAsync(Ours, store: store);
        var ann = site.NewVisitor();
        await ann.WithAsync(session => session.SetString("a", "1"));
        await ann.ReadAsync("a");
        store.Take();
        Assert.Empty((await ann.InAsync(_ => { })).SetCookies);
        Assert.Equal((0, 0), store.Take());
        Assert.Null(await site.NewVisitor().ReadAsync("a"));
        Assert.Equal((0, 0), store.Take());
    }

    [Fact]
    public async Task A_read_is_one_call_and_a_write_two_read_or_not()
    {
        var store = new CountedStore();
        await using var site = await CompatSite.StartAsync(Ours, store: store);
        var ann = site.NewVisitor();
        await ann.WithAsync(session => session.SetString("a", "1"));
        await ann.ReadAsync("a");
        store.Take();
        await ann.WithAsync(session =>
        {
            Assert.True(session.IsAvailable);
            Assert.Equal("1", session.GetString("a"));
            Assert.Equal(["a"], session.Keys);
        });
        Assert.Equal((1, 0), store.Take());
        await ann.WithAsync(session => session.SetString("a", "2"));
        Assert.Equal((1, 1), store.Take());
        await ann.WithAsync(session => session.SetString("b", session.GetString("a") + "!"));
        Assert.Equal((1, 1), store.Take());
    }

    /// <summary>An id is never given twice: the one that the request has shown belongs to what has ended.</summary>
    [Fact]
    public async Task A_request_that_begins_ends_and_begins_again_has_another_id_and_is_stored()
    {
        await using var site = await CompatSite.StartAsync(Ours);
        var ann = site.NewVisitor();
        await ann.InAsync(async context =>
        {
            var first = context.Session.Id;
            context.Session.SetString("a", "1");
            await context.Session.CommitAsync();
            await (await context.GetSessionAsync<SessionValues>()).DestroyAsync();
            context.Session.SetString("a", "2");
            await context.Session.CommitAsync();
            Assert.NotEqual(first, context.Session.Id);
        });
        Assert.Equal("2", await ann.ReadAsync("a"));
    }

    /// <summary>Only a value that is written begins a session: what a commit before has begun is over.</summary>
    [Fact]
    public async Task What_is_taken_away_after_the_request_has_ended_its_session_begins_none()
    {
        await using var site = await CompatSite.StartAsync(Ours);
        var ann = site.NewVisitor();
        var answer = await ann.InAsync(async context =>
        {
            context.Session.SetString("a", "1");
            await context.Session.CommitAsync();
            await (await context.GetSessionAsync<SessionValues>()).DestroyAsync();
            context.Session.Remove("a");
            await context.Session.CommitAsync();
            context.Session.Clear();
        });
        Assert.Equal(HttpStatusCode.OK, answer.Status);
        Assert.Empty(ann.Jar);
    }

    [Fact]
    public async Task What_changes_nothing_is_not_written()
    {
        var store = new CountedStore();
        await using var site = await CompatSite.StartAsync(Ours, store: store);
        var ann = site.NewVisitor();
        await ann.WithAsync(session => session.SetString("a", "1"));
        await ann.ReadAsync("a");
        store.Take();
        await ann.WithAsync(session => session.SetString("a", "1"));
        await ann.WithAsync(session => session.Remove("b"));
        await ann.WithAsync(session =>
        {
            session.SetString("b", "1");
            session.Remove("b");
        });
        Assert.Equal((3, 0), store.Take());
        var bob = site.NewVisitor();
        await bob.WithAsync(session => session.Clear());
        await bob.WithAsync(session => session.Remove("a"));
        Assert.Empty(bob.Jar);
        Assert.Equal((0, 0), store.Take());
    }

    /// <summary>A sign-out, as applications write it: it ends what this request could not read, or it is none.</summary>
    [Theory]
    [InlineData("clear", "down")]
    [InlineData("remove", "down")]
    [InlineData("clear", "superseded")]
    [InlineData("remove", "superseded")]
    [InlineData("clear", "doubled")]
    [InlineData("remove", "doubled")]
    [InlineData("clear and a message", "down")]
    [InlineData("clear and a message", "superseded")]
    [InlineData("clear and a message", "doubled")]
    [InlineData("remove and a message", "down")]
    [InlineData("remove and a message", "superseded")]
    [InlineData("remove and a message", "doubled")]
    public async Task What_is_taken_away_unseen_goes_or_fails(string way, string why)
    {
        var store = new CountedStore();
        await using var site = await CompatSite.StartAsync(
            Ours,
            store: store,
            more: options => options.ContinueWithoutStore = true
        );
        var ann = site.NewVisitor();
        await ann.WithAsync(session => session.SetString("user", "ann"));
        var (name, cookie) = Assert.Single(ann.Jar);
        var leaving = ann.Copy();
        switch (why)
        {
            case "down":
                store.Fails = true;
                break;
            case "superseded":
                await ann.InAsync(async c => await (await c.GetSessionAsync<SessionValues>()).RegenerateAsync());
                break;
            case "doubled":
                leaving.Jar[name] = $"{cookie}; {name}=x{cookie[1..]}";
                break;
        }

        // What MVC takes away by itself says nothing about the user.
        Assert.Equal(HttpStatusCode.OK, (await leaving.WithAsync(it => it.Remove("__ControllerTempData"))).Status);
        var answer = await leaving.WithAsync(session =>
        {
            if (way.StartsWith("remove", StringComparison.Ordinal))
                session.Remove("user");
            else
                session.Clear();

            if (way.EndsWith("message", StringComparison.Ordinal))
                session.SetString("message", "bye");
        });
        store.Fails = false;
        Assert.Equal(
            why switch
            {
                "down" => HttpStatusCode.ServiceUnavailable,
                "superseded" => HttpStatusCode.Unauthorized,
                _ => HttpStatusCode.OK,
            },
            answer.Status
        );
        Assert.Equal(why == "doubled" ? null : "ann", await ann.ReadAsync("user"));
    }

    /// <summary>A late request of a session that has just ended: what it takes away was there no more, and it begins none.</summary>
    [Fact]
    public async Task What_is_taken_away_late_does_not_bring_a_session_back()
    {
        await using var site = await CompatSite.StartAsync(Ours);
        var ann = site.NewVisitor();
        await ann.WithAsync(session => session.SetString("user", "ann"));
        var late = ann.Copy();
        await ann.InAsync(async c => await (await c.GetSessionAsync<SessionValues>()).DestroyAsync());
        var answer = await late.InAsync(async context =>
        {
            context.Session.Remove("a");
            await context.Session.CommitAsync();
            context.Session.SetString("b", "1");
        });
        Assert.Equal(HttpStatusCode.Unauthorized, answer.Status);
        Assert.Empty(answer.SetCookies);
    }

    /// <summary>What is written before an exception is stored, so its token is handed over, whoever answers.</summary>
    [Fact]
    public async Task An_exception_behind_the_first_write_comes_with_the_cookie()
    {
        await using var site = await CompatSite.StartAsync(Ours);
        var ann = site.NewVisitor();
        var answer = await ann.InAsync(context =>
        {
            context.Session.SetString("a", "1");
            throw new FormatException("the mail server");
        });
        Assert.Equal(HttpStatusCode.InternalServerError, answer.Status);
        Assert.Single(answer.SetCookies);
        Assert.Equal("1", await ann.ReadAsync("a"));
    }

    /// <summary>What Stream has for callers of long ago.</summary>
    [Fact]
    public async Task A_body_can_be_written_by_begin_and_end()
    {
        await using var site = await CompatSite.StartAsync(Ours);
        var ann = site.NewVisitor();
        var answer = await ann.InAsync(context =>
        {
            context.Session.SetString("a", "1");
            var body = context.Response.Body;
            return Task.Factory.FromAsync(body.BeginWrite, body.EndWrite, "done"u8.ToArray(), 1, 3, null);
        });
        Assert.Equal((HttpStatusCode.OK, "one"), (answer.Status, answer.Body));
        Assert.Equal("1", await ann.ReadAsync("a"));
    }

    /// <summary>As without it: its client has the whole of it by then, and what was changed is stored.</summary>
    [Fact]
    public async Task An_answer_that_is_completed_is_whole_while_its_endpoint_goes_on()
    {
        await using var site = await CompatSite.StartAsync(Ours);
        var ann = site.NewVisitor();
        var goesOn = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var answering = ann.InAsync(async context =>
        {
            context.Session.SetString("a", "1");
            // The next request would wait on this connection for the endpoint.
            context.Response.Headers.Connection = "close";
            await context.Response.WriteAsync("done");
            await context.Response.CompleteAsync();
            await goesOn.Task;
        });
        var first = await Task.WhenAny(answering, Task.Delay(TimeSpan.FromSeconds(5)));
        var seen = first == answering ? await ann.Copy().ReadAsync("a") : null;
        goesOn.SetResult();
        Assert.Equal((HttpStatusCode.OK, "done"), ((await answering).Status, (await answering).Body));
        Assert.Equal("1", seen);
    }

    /// <summary>A write that its caller gives up is the caller's: what the session has is stored before it.</summary>
    [Fact]
    public async Task A_body_that_is_given_up_stores_what_was_changed_before_it()
    {
        await using var site = await CompatSite.StartAsync(Ours);
        var ann = site.NewVisitor();
        await ann.WithAsync(session => session.SetString("a", "1"));
        foreach (var flushes in new[] { false, true })
        {
            var value = flushes ? "3" : "2";
            await ann.InAsync(async context =>
            {
                context.Session.SetString("a", value);
                var given = new CancellationToken(true);
                try
                {
                    if (flushes)
                        await context.Response.Body.FlushAsync(given);
                    else
                        await context.Response.Body.WriteAsync("x"u8.ToArray(), given);
                }
                catch (OperationCanceledException)
                {
                    // As its caller does.
                }

                Assert.Equal(value, await ann.Copy().ReadAsync("a"));
            });
        }
    }

    /// <summary>Each way to answer: what cannot be stored is never said to be done.</summary>
    [Theory]
    [InlineData("text")]
    [InlineData("json")]
    [InlineData("redirect")]
    [InlineData("nothing")]
    [InlineData("started")]
    [InlineData("writer")]
    [InlineData("array")]
    [InlineData("span")]
    [InlineData("byte")]
    [InlineData("flush")]
    [InlineData("flush-later")]
    [InlineData("array-later")]
    [InlineData("completed")]
    [InlineData("writer-completed")]
    public async Task What_cannot_be_stored_is_a_503_and_not_the_answer(string way)
    {
        var store = new CountedStore();
        await using var site = await CompatSite.StartAsync(Ours, store: store);
        var ann = site.NewVisitor();
        await ann.WithAsync(session => session.SetString("a", "1"));
        foreach (var visitor in new[] { ann, site.NewVisitor() })
        {
            store.FailsWrites = true;
            var answer = await visitor.InAsync(async context =>
            {
                // For the ways while a thread waits.
                context.Features.GetRequiredFeature<IHttpBodyControlFeature>().AllowSynchronousIO = true;
                context.Session.SetString("a", "2");
                var body = context.Response.Body;
                switch (way)
                {
                    case "array":
                        body.Write("done"u8.ToArray(), 0, 4);
                        break;
                    case "span":
                        body.Write("done"u8);
                        break;
                    case "byte":
                        body.WriteByte((byte)'!');
                        break;
                    case "flush":
                        body.Flush();
                        break;
                    case "flush-later":
                        await body.FlushAsync();
                        break;
                    case "array-later":
#pragma warning disable CA1835 // That is the way in question.
                        await body.WriteAsync("done"u8.ToArray(), 0, 4);
#pragma warning restore CA1835
                        break;
                    case "text":
                        await Results.Text("done").ExecuteAsync(context);
                        break;
                    case "json":
                        await Results.Json("done").ExecuteAsync(context);
                        break;
                    case "redirect":
                        context.Response.Redirect("/done");
                        break;
                    case "started":
                        await context.Response.StartAsync();
                        break;
                    case "writer":
                        "done"u8.CopyTo(context.Response.BodyWriter.GetSpan(4));
                        context.Response.BodyWriter.Advance(4);
                        break;
                    case "completed":
                        await context.Response.CompleteAsync();
                        break;
                    case "writer-completed":
                        "done"u8.CopyTo(context.Response.BodyWriter.GetSpan(4));
                        context.Response.BodyWriter.Advance(4);
                        await context.Response.CompleteAsync();
                        break;
                }
            });
            store.FailsWrites = false;
            Assert.Equal(HttpStatusCode.ServiceUnavailable, answer.Status);
            Assert.Equal("1", answer["Retry-After"]);
            Assert.Null(answer["Location"]);
            Assert.Contains("\"status\":503", answer.Body, StringComparison.Ordinal);
            Assert.DoesNotContain("done", answer.Body, StringComparison.Ordinal);
            Assert.Empty(answer.SetCookies);
        }

        Assert.Equal("1", await ann.ReadAsync("a"));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task What_is_written_while_the_response_starts_and_cannot_be_stored_is_a_503(bool hasBody)
    {
        using var ear = new LogEar();
        var store = new CountedStore();
        await using var site = await CompatSite.StartAsync(Ours, store: store, add: ear.Listen);
        var ann = site.NewVisitor();
        await ann.WithAsync(session => session.SetString("a", "1"));
        store.FailsWrites = true;
        ear.Take();
        var answer = await ann.InAsync(async context =>
        {
            context.Response.OnStarting(() =>
            {
                context.Session.SetString("a", "2");
                return Task.CompletedTask;
            });
            if (hasBody)
                await context.Response.WriteAsync("done");
        });
        Assert.Equal(HttpStatusCode.ServiceUnavailable, answer.Status);
        Assert.Equal("no-store", answer["Cache-Control"]);
        Assert.Contains(ear.Take(), line => line.Contains("the answer is 503", StringComparison.Ordinal));
    }

    [Fact]
    public async Task What_is_written_when_an_answer_without_a_body_starts_is_kept_too()
    {
        await using var site = await CompatSite.StartAsync(Ours);
        var ann = site.NewVisitor();
        var answer = await ann.InAsync(context =>
            context.Response.OnStarting(() =>
            {
                context.Session.SetString("late", "1");
                return Task.CompletedTask;
            })
        );
        Assert.Single(answer.SetCookies);
        Assert.Equal("1", await ann.ReadAsync("late"));
    }

    [Fact]
    public async Task A_failure_that_the_endpoint_swallows_is_a_503_all_the_same()
    {
        var store = new CountedStore();
        await using var site = await CompatSite.StartAsync(Ours, store: store);
        var ann = site.NewVisitor();
        await ann.WithAsync(session => session.SetString("a", "1"));
        store.FailsWrites = true;
        // An error of its own is let through.
        foreach (
            var (status, expected) in new[] { (200, 503), (201, 503), (302, 503), (400, 400), (409, 409), (500, 500) }
        )
        {
            var answer = await ann.InAsync(async context =>
            {
                context.Session.SetString("a", "2");
                await Assert.ThrowsAsync<SessionUnavailableException>(() => context.Session.CommitAsync());
                context.Response.StatusCode = status;
                await context.Response.WriteAsync("of the endpoint");
            });
            Assert.Equal(expected, (int)answer.Status);
            Assert.Equal(status == expected, answer.Body == "of the endpoint");
        }

        store.FailsWrites = false;
        Assert.Equal("1", await ann.ReadAsync("a"));
    }

    /// <summary>A failure that is made good is none: what is written after it is kept as ever, however the endpoint ends.</summary>
    [Theory]
    [InlineData("throws")]
    [InlineData("says 404")]
    public async Task After_a_commit_that_failed_and_one_that_worked_writes_are_kept(string end)
    {
        var store = new CountedStore();
        await using var site = await CompatSite.StartAsync(Ours, store: store);
        var ann = site.NewVisitor();
        await ann.WithAsync(session => session.SetString("a", "1"));
        var answer = await ann.InAsync(async context =>
        {
            context.Session.SetString("a", "2");
            store.FailsWrites = true;
            await Assert.ThrowsAsync<SessionUnavailableException>(() => context.Session.CommitAsync());
            store.FailsWrites = false;
            await context.Session.CommitAsync();
            context.Session.SetString("b", "2");
            if (end == "throws")
                throw new NotSupportedException("the endpoint's own");

            context.Response.StatusCode = 404;
        });
        Assert.Equal(end == "throws" ? HttpStatusCode.InternalServerError : HttpStatusCode.NotFound, answer.Status);
        Assert.Equal(("2", "2"), (await ann.ReadAsync("a"), await ann.ReadAsync("b")));
    }

    [Fact]
    public async Task A_late_write_that_cannot_be_stored_cuts_the_connection()
    {
        var store = new CountedStore();
        await using var site = await CompatSite.StartAsync(Ours, store: store);
        var ann = site.NewVisitor();
        await ann.WithAsync(session => session.SetString("a", "1"));
        store.FailsWrites = true;
        await Assert.ThrowsAnyAsync<Exception>(() =>
            ann.InAsync(async context =>
            {
                await context.Response.WriteAsync("begun");
                await context.Response.Body.FlushAsync();
                context.Session.SetString("a", "2");
            })
        );
    }

    [Fact]
    public async Task While_the_store_is_down_nobody_looks_anonymous()
    {
        var store = new CountedStore();
        await using var site = await CompatSite.StartAsync(Ours, store: store);
        var ann = site.NewVisitor();
        await ann.WithAsync(session => session.SetString("a", "1"));
        store.Fails = true;
        Assert.Equal(
            HttpStatusCode.ServiceUnavailable,
            (await ann.WithAsync(session => session.GetString("a"))).Status
        );
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await ann.InAsync(c => c.Session.LoadAsync())).Status);
        await ann.WithAsync(session => Assert.False(session.IsAvailable));
        Assert.Equal(HttpStatusCode.OK, (await ann.InAsync(_ => { })).Status);
        store.Fails = false;
        Assert.Equal("1", await ann.ReadAsync("a"));
    }

    [Fact]
    public async Task Too_much_is_a_413_and_changes_nothing()
    {
        await using var site = await CompatSite.StartAsync(Ours);
        var ann = site.NewVisitor();
        await ann.WithAsync(session => session.SetString("a", "1"));
        var answer = await ann.WithAsync(session => session.Set("a", new byte[1_048_576]));
        Assert.Equal(HttpStatusCode.RequestEntityTooLarge, answer.Status);
        Assert.Equal("1", await ann.ReadAsync("a"));
    }

    [Fact]
    public async Task An_endpoint_that_reads_without_loading_is_said_once_and_loaded_before_from_then_on()
    {
        using var ear = new LogEar();
        var store = new CountedStore { IsSlow = true };
        await using var site = await CompatSite.StartAsync(
            Ours,
            store: store,
            add: ear.Listen,
            map: app =>
            {
                app.MapGet("/reads", (HttpContext context) => context.Session.GetString("a"));
                app.MapGet(
                    "/sometimes",
                    (HttpContext context, bool read) => read ? context.Session.GetString("a") : "no"
                );
            }
        );
        var ann = site.NewVisitor();
        await ann.InAsync(async context =>
        {
            await context.Session.LoadAsync();
            context.Session.SetString("a", "1");
        });
        await ann.InAsync(context => context.Session.LoadAsync());
        Assert.Empty(ear.Take());
        for (var i = 0; i < 3; i++)
            Assert.Equal("1", (await ann.SendAsync("/reads")).Body);

        var line = Assert.Single(ear.Take());
        Assert.Contains("/reads", line, StringComparison.Ordinal);
        Assert.Contains("LoadAsync", line, StringComparison.Ordinal);

        // One that does not need it each time costs a call for nothing once, and never again.
        Assert.Equal("1", (await ann.SendAsync("/sometimes?read=true")).Body);
        store.Take();
        for (var i = 0; i < 3; i++)
            Assert.Equal("no", (await ann.SendAsync("/sometimes?read=false")).Body);

        Assert.Equal((1, 0), store.Take());
        Assert.Equal("1", (await ann.SendAsync("/sometimes?read=true")).Body);
        await ann.SendAsync("/sometimes?read=false");
        Assert.Equal((1, 0), store.Take());
        Assert.Empty(ear.Take());
    }

    [Fact]
    public async Task Without_consent_nothing_is_kept_unless_it_is_essential()
    {
        foreach (var isEssential in new[] { true, false })
        {
            using var ear = new LogEar();
            await using var site = await CompatSite.StartAsync(
                Ours,
                o => o.Cookie.IsEssential = isEssential,
                add: services =>
                {
                    ear.Listen(services);
                    services.Configure<CookiePolicyOptions>(o => o.CheckConsentNeeded = _ => true);
                },
                before: app => app.UseCookiePolicy()
            );
            var ann = site.NewVisitor();
            for (var i = 0; i < 2; i++)
                Assert.Equal(HttpStatusCode.OK, (await ann.WithAsync(session => session.SetString("a", "1"))).Status);

            Assert.Equal(isEssential ? "1" : null, await ann.ReadAsync("a"));
            Assert.Equal(
                isEssential ? 0 : 1,
                ear.Take().Count(line => line.Contains("consent", StringComparison.Ordinal))
            );
            if (isEssential)
                continue;

            await ann.InAsync(context =>
            {
                context.Features.Get<ITrackingConsentFeature>()!.GrantConsent();
                context.Session.SetString("a", "2");
            });
            Assert.Equal("2", await ann.ReadAsync("a"));
        }
    }

    [Fact]
    public async Task The_session_is_also_one_of_this_library()
    {
        await using var site = await CompatSite.StartAsync(Ours);
        var ann = site.NewVisitor();
        var id = "";
        await ann.WithAsync(session =>
        {
            session.SetString("a", "1");
            id = session.Id;
        });
        var manager = site.Services.GetRequiredService<SessionManager<SessionValues>>();
        Assert.NotNull(await manager.FindAsync(SessionId.Parse(id)));
        await manager.UpdateAsync(SessionId.Parse(id), values => values!.With("b", "2").Without("a"));
        Assert.Equal((null, "2"), (await ann.ReadAsync("a"), await ann.ReadAsync("b")));

        // After a sign-in of the application's own: another token, and the values stay.
        var before = ann.Copy();
        await ann.InAsync(async context => await (await context.GetSessionAsync<SessionValues>()).RegenerateAsync());
        Assert.NotEqual(before.Cookie, ann.Cookie);
        Assert.Equal("2", await ann.ReadAsync("b"));
        Assert.Null(await before.ReadAsync("b"));

        var ended = await ann.InAsync(async context =>
        {
            context.Session.Clear();
            await (await context.GetSessionAsync<SessionValues>()).DestroyAsync();
        });
        Assert.Equal(HttpStatusCode.OK, ended.Status);
        Assert.Empty(ann.Jar);
        Assert.Null(await manager.FindAsync(SessionId.Parse(id)));
    }

    [Fact]
    public async Task A_sign_in_gives_a_new_token_and_the_manager_ends_all_of_a_user()
    {
        await using var site = await CompatSite.StartAsync(Ours);
        var manager = site.Services.GetRequiredService<SessionManager<SessionValues>>();
        foreach (var ann in new[] { site.NewVisitor(), site.NewVisitor() })
        {
            await ann.WithAsync(session => session.SetString("a", "1"));
            var planted = ann.Copy();
            var signedIn = await ann.InAsync(async context =>
            {
                context.Session.SetString("b", "2");
                var session = await context.GetSessionAsync<SessionValues>();
                await session.SignInAsync("ann", session.Data ?? SessionValues.Empty);
                Assert.Equal(["a", "b"], context.Session.Keys.Order());
                context.Session.SetString("c", "3");
            });
            Assert.Equal(HttpStatusCode.OK, signedIn.Status);
            await ann.WithAsync(session => Assert.Equal(["a", "b", "c"], session.Keys.Order()));
            await planted.WithAsync(session => Assert.Empty(session.Keys));
        }

        Assert.Equal(2, await manager.DestroyAllAsync("ann"));
    }

    [Fact]
    public async Task What_a_request_writes_after_it_has_ended_its_session_begins_another_one()
    {
        await using var site = await CompatSite.StartAsync(Ours);
        var ann = site.NewVisitor();
        await ann.WithAsync(session => session.SetString("a", "1"));
        var before = ann.Copy();
        var ended = await ann.InAsync(async context =>
        {
            await (await context.GetSessionAsync<SessionValues>()).DestroyAsync();
            Assert.Empty(context.Session.Keys);
            context.Session.SetString("message", "bye");
            await context.Response.WriteAsync("done");
        });
        Assert.Equal((HttpStatusCode.OK, "done"), (ended.Status, ended.Body));
        Assert.NotEqual(before.Cookie, ann.Cookie);
        await ann.WithAsync(session => Assert.Equal(["message"], session.Keys));
        await before.WithAsync(session => Assert.Empty(session.Keys));
    }

    [Fact]
    public async Task The_token_is_renewed_by_itself_and_the_values_stay()
    {
        await using var site = await CompatSite.StartAsync(Ours);
        var ann = site.NewVisitor();
        await ann.WithAsync(session => session.SetString("a", "1"));
        await ann.ReadAsync("a");
        var first = ann.Cookie;
        site.Clock.Advance(TimeSpan.FromMinutes(16));
        Assert.Equal("1", await ann.ReadAsync("a"));
        Assert.NotEqual(first, ann.Cookie);
        Assert.Equal("1", await ann.ReadAsync("a"));
    }

    [Fact]
    public async Task Sealed_to_its_bearer_it_works_the_same()
    {
        await using var site = await CompatSite.StartAsync(Ours, build: sessions => sessions.SealToBearer());
        var ann = site.NewVisitor();
        await ann.WithAsync(session => session.SetString("a", "1"));
        Assert.Equal("1", await ann.ReadAsync("a"));
    }

    [Fact]
    public async Task In_Development_it_works_and_nothing_is_said_to_be_lost()
    {
        using var ear = new LogEar();
        await using var site = await CompatSite.StartAsync(Ours, environment: "Development", add: ear.Listen);
        var ann = site.NewVisitor();
        await ann.WithAsync(session =>
        {
            session.SetString("a", "1");
            session.Set("b", [1, 2]);
        });
        Assert.Equal("1", await ann.ReadAsync("a"));
        Assert.DoesNotContain(ear.Take(), line => line.Contains("does not come back", StringComparison.Ordinal));
    }

    /// <summary>What others write while the headers go out, such as TempData: too late for a body, and not for the truth.</summary>
    [Fact]
    public async Task What_cannot_be_stored_when_the_headers_are_written_is_a_503_that_says_when_to_come_again()
    {
        var store = new CountedStore();
        await using var site = await CompatSite.StartAsync(Ours, store: store);
        var ann = site.NewVisitor();
        await ann.WithAsync(session => session.SetString("a", "1"));
        await ann.ReadAsync("a");
        store.FailsWrites = true;
        var answer = await ann.InAsync(context =>
            context.Response.OnStarting(() =>
            {
                context.Session.SetString("a", "2");
                return Task.CompletedTask;
            })
        );
        Assert.Equal((HttpStatusCode.ServiceUnavailable, "1"), (answer.Status, answer["Retry-After"]));
        store.FailsWrites = false;
        Assert.Equal("1", await ann.ReadAsync("a"));
    }

    [Fact]
    public async Task What_is_written_while_a_commit_is_under_way_is_stored_with_the_next_one()
    {
        var store = new HeldStore();
        await using var site = await CompatSite.StartAsync(Ours, store: store);
        var ann = site.NewVisitor();
        await ann.WithAsync(session => session.SetString("a", "1"));
        await ann.ReadAsync("a");
        store.Holds = true;
        await ann.InAsync(async context =>
        {
            context.Session.SetString("a", "2");
            var committing = context.Session.CommitAsync();
            await store.Entered.Task;
            context.Session.SetString("b", "2");
            store.Released.SetResult();
            await committing;
        });
        Assert.Equal(("2", "2"), (await ann.ReadAsync("a"), await ann.ReadAsync("b")));
    }

    /// <summary>The memory store, which takes one write only when it is told to.</summary>
    private sealed class HeldStore : Passing
    {
        public bool Holds { get; set; }
        public TaskCompletionSource Entered { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
        public TaskCompletionSource Released { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public override async ValueTask<WriteResult> Replace(
            StoredRecord record,
            long expected,
            CancellationToken cancel
        )
        {
            if (Holds)
            {
                Holds = false;
                Entered.SetResult();
                await Released.Task;
            }

            return await base.Replace(record, expected, cancel);
        }
    }
}
