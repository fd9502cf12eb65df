using System.Globalization;
using System.Net;
using System.Text.Encodings.Web;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Session.AspNetCore;
using Session.CSharp;
using Session.Engine;
using Xunit;

namespace Facade.Dashboard;

public class DashboardTests
{
    private static readonly string Hostile = "</bdi><script>alert(1)</script>\"'><img src=x onerror=alert(1)>";

    /// <summary>An application whose policy lets everybody in who has the header that Reader sends: nobody is asked for a name here.</summary>
    private static Task<Site> StartAsync(
        Action<SessionDashboardOptions<Cart>>? configure = null,
        Func<ISessionStore>? store = null,
        Action<SessionOptions<Cart>>? sessions = null,
        Action<IEndpointConventionBuilder>? access = null
    ) =>
        Site.StartAsync(
            sessions,
            app =>
            {
                app.UseAuthorization();
                var dashboard = app.MapSessionDashboard("/sessions", configure);
                if (access is null)
                    dashboard.RequireAuthorization("Operators");
                else
                    access(dashboard);
            },
            store,
            services =>
            {
                services.AddAntiforgery();
                services
                    .AddAuthorizationBuilder()
                    .AddPolicy("Operators", policy => policy.RequireAssertion(_ => true))
                    .AddPolicy("Nobody", policy => policy.RequireAssertion(_ => false));
                services.AddAuthentication().AddSession<Cart>();
            }
        );

    [Fact]
    public async Task The_overview_tells_counts_the_store_the_settings_and_what_happened()
    {
        await using var site = await StartAsync();
        using var operator1 = new Reader(site);
        using var ada = await Reader.SignedInAsync(site, "ada");
        await site.BeginAsync();
        site.Clock.Advance(TimeSpan.FromMinutes(1));
        await site.Manager.DestroySessionAsync(Site.IdOf(await site.BeginAsync("eve")));
        site.Clock.Advance(TimeSpan.FromSeconds(10));

        var page = await operator1.GetAsync("/sessions");
        Assert.Equal(HttpStatusCode.OK, page.Status);
        page.IsGuarded();
        Assert.Contains("Live<strong>2</strong>", page.Html, StringComparison.Ordinal);
        Assert.Contains("Began<strong>3</strong>", page.Html, StringComparison.Ordinal);
        Assert.Contains("Sign-ins<strong>2</strong>", page.Html, StringComparison.Ordinal);
        Assert.Contains("Ended<strong>1</strong>", page.Html, StringComparison.Ordinal);
        page.Shows("Healthy");
        page.Shows("Ended: ended from outside");
        page.Shows("Began with a sign-in");
        page.Shows("00:30:00");
        Assert.Contains($"href=\"/sessions/session/{ada.Id}\"", page.Html, StringComparison.Ordinal);
        Assert.Contains("<svg", page.Html, StringComparison.Ordinal);
        Assert.Contains(
            "role=\"img\" aria-label=\"The last 60 minutes: 3 sessions began, 1 ended",
            page.Html,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public async Task Each_setting_is_among_those_that_it_shows()
    {
        await using var site = await StartAsync();
        using var operator1 = new Reader(site);
        var page = await operator1.GetAsync("/sessions");
        // A function is nothing to show.
        foreach (var setting in typeof(SessionSettings).GetProperties().Where(it => it.Name != "OnNotice"))
            Assert.Contains($"<th scope=\"row\">{setting.Name}</th>", page.Html, StringComparison.Ordinal);
        foreach (var other in new[] { "Serializer", "SealToBearer", "ProtectWith" })
            Assert.Contains($"<th scope=\"row\">{other}</th>", page.Html, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Each_setting_is_shown_with_its_own_value()
    {
        // No two times are the same.
        await using var site = await StartAsync(sessions: o =>
            (o.LiveCheck, o.EventTimeout) = (TimeSpan.FromSeconds(20), TimeSpan.FromSeconds(6))
        );
        using var operator1 = new Reader(site);
        var page = await operator1.GetAsync("/sessions");
        var count = 0;
        foreach (var setting in typeof(SessionSettings).GetProperties())
        {
            var shown = setting.GetValue(site.Settings) switch
            {
                TimeSpan time => time.ToString("c", CultureInfo.InvariantCulture),
                int number => number.ToString("#,0", CultureInfo.InvariantCulture),
                bool value => value ? "yes" : "no",
                _ => null,
            };
            if (shown is null)
                continue;
            count++;
            Assert.Contains(
                $"<th scope=\"row\">{setting.Name}</th><td>{shown}</td>",
                page.Html,
                StringComparison.Ordinal
            );
        }

        Assert.InRange(count, 12, 40);
    }

    [Fact]
    public async Task It_never_shows_a_token_or_a_key_and_data_only_where_that_is_allowed()
    {
        await using var closed = await StartAsync(sessions: o =>
            o.ServerKey = Enumerable.Repeat((byte)65, 32).ToArray()
        );
        await using var open = await StartAsync(o => o.ShowData = cart => "Holds: " + cart.Item);
        foreach (var site in new[] { closed, open })
        {
            using var operator1 = new Reader(site);
            using var ada = await Reader.SignedInAsync(site, "ada", "secret-tea");
            foreach (var path in new[] { "/sessions", "/sessions?q=ada", "/sessions/session/" + ada.Id })
            {
                var page = await operator1.GetAsync(path);
                Assert.Equal(HttpStatusCode.OK, page.Status);
                page.HasNothingOf(ada.Token!.Split('.')[1]);
                page.HasNothingOf("AAAAAAAA");
                page.HasNothingOf("QUFBQUFB");
                if (site == closed || !path.Contains("session/", StringComparison.Ordinal))
                    page.HasNothingOf("secret-tea");
                else
                    page.Shows("Holds: secret-tea");
            }
        }
    }

    [Fact]
    public async Task A_session_is_found_by_id_and_by_subject_alive_and_ended_with_the_reason()
    {
        await using var site = await StartAsync();
        using var operator1 = new Reader(site);
        using var home = await Reader.SignedInAsync(site, "ada");
        using var work = await Reader.SignedInAsync(site, "ada");
        await site.Manager.DestroySessionAsync(Site.IdOf(work.Token!));

        var bySubject = await operator1.GetAsync("/sessions?q=%20ada");
        bySubject.IsGuarded();
        bySubject.Shows(home.Id);
        bySubject.Shows(work.Id);
        bySubject.Shows("Destroyed: ended from outside");
        var byId = await operator1.GetAsync("/sessions?q=" + home.Id);
        byId.Shows(home.Id);
        byId.HasNothingOf(work.Id);
        var none = await operator1.GetAsync("/sessions?q=nobody");
        none.Shows("No session of this id or subject");
    }

    [Fact]
    public async Task Links_lead_to_the_subject_that_they_name_whatever_its_characters()
    {
        const string Subject = "ada & co?q=eve#1 + 50%25;é/";
        await using var site = await StartAsync();
        using var operator1 = new Reader(site);
        using var eve = await Reader.SignedInAsync(site, "eve");
        using var ada = await Reader.SignedInAsync(site, Subject);
        for (var i = 0; i < 59; i++)
            await site.BeginAsync(Subject);

        static string Link(Page page, string text) =>
            WebUtility.HtmlDecode(page.Html.Split(text)[0].Split("href=\"")[^1].Split('"')[0]);

        var its = await operator1.GetAsync("/sessions/session/" + ada.Id);
        var found = await operator1.GetAsync(Link(its, $"\"><bdi>{HtmlEncoder.Default.Encode(Subject)}"));
        var rest = await operator1.GetAsync(Link(found, "\">More<"));
        Assert.Equal((50, 10), (found.Html.Split("<li>").Length - 1, rest.Html.Split("<li>").Length - 1));
        foreach (var page in new[] { found, rest })
        {
            Assert.Contains($"value=\"{HtmlEncoder.Default.Encode(Subject)}\"", page.Html, StringComparison.Ordinal);
            page.HasNothingOf(eve.Id);
        }
    }

    [Fact]
    public async Task Blanks_around_a_subject_are_part_of_it()
    {
        await using var site = await StartAsync();
        using var operator1 = new Reader(site);
        using var ada = await Reader.SignedInAsync(site, "ada");
        using var other = await Reader.SignedInAsync(site, "ada ");

        var its = await operator1.GetAsync("/sessions/session/" + other.Id);
        var ended = await operator1.PressAsync(its, "/end-all");
        Assert.Null(await site.Manager.FindAsync(Site.IdOf(other.Token!)));
        Assert.NotNull(await site.Manager.FindAsync(Site.IdOf(ada.Token!)));
        var after = await operator1.GetAsync(ended.Location!);
        after.Shows(other.Id);
        after.HasNothingOf(ada.Id);
        (await operator1.GetAsync("/sessions?q=%20" + ada.Id + "%20")).Shows(ada.Id);
    }

    /// <summary>At the root of a host of its own.</summary>
    [Fact]
    public async Task Pages_at_the_root_lead_to_themselves()
    {
        await using var site = await Site.StartAsync(
            null,
            app =>
            {
                app.UseAuthorization();
                app.MapSessionDashboard<Cart>("/").RequireAuthorization("Operators");
            },
            null,
            services =>
            {
                services.AddAntiforgery();
                services.AddAuthorizationBuilder().AddPolicy("Operators", policy => policy.RequireAssertion(_ => true));
                services.AddAuthentication().AddSession<Cart>();
            }
        );
        using var operator1 = new Reader(site);
        using var ada = await Reader.SignedInAsync(site, "ada");
        var its = await operator1.GetAsync("/session/" + ada.Id);
        Assert.Contains("href=\"/\"", its.Html, StringComparison.Ordinal);
        Assert.Contains("href=\"/?q=ada\"", its.Html, StringComparison.Ordinal);
        var ended = await operator1.PressAsync(its, "/end-all");
        Assert.Equal("/?q=ada&said=all", ended.Location);
        (await operator1.GetAsync(ended.Location!)).Shows(ada.Id);
    }

    [Fact]
    public async Task A_subject_has_no_session_that_the_index_only_says_is_theirs()
    {
        var store = new AskedStore();
        await using var site = await StartAsync(store: () => store);
        using var operator1 = new Reader(site);
        using var bob = await Reader.SignedInAsync(site, "bob");
        store.Behind = ("ada", "bob");
        (await operator1.GetAsync("/sessions?q=bob")).Shows(bob.Id);
        var found = await operator1.GetAsync("/sessions?q=ada");
        found.HasNothingOf(bob.Id);
        found.Shows("No session of this id or subject");
    }

    [Fact]
    public async Task The_page_of_a_session_draws_its_life_with_its_own_times()
    {
        await using var site = await StartAsync(sessions: o => o.RotateEvery = TimeSpan.FromMinutes(15));
        using var operator1 = new Reader(site);
        using var ada = await Reader.SignedInAsync(site, "ada");
        var page = await operator1.GetAsync("/sessions/session/" + ada.Id);
        page.IsGuarded();
        Assert.Contains("it is Active now", page.Html, StringComparison.Ordinal);
        foreach (var state in new[] { "Created", "Active", "Regenerated", "Destroyed", "Expired" })
            Assert.Contains($">{state}</text>", page.Html, StringComparison.Ordinal);

        page.Shows("2026-01-01 00:00:00 UTC");
        site.Clock.Advance(TimeSpan.FromMinutes(16));
        await site.WithAsync(session => Task.CompletedTask, ada.Token);
        page = await operator1.GetAsync("/sessions/session/" + ada.Id);
        Assert.Contains("it is Regenerated now", page.Html, StringComparison.Ordinal);
        page.Shows("since 2026-01-01 00:16:00 UTC");

        site.Clock.Advance(TimeSpan.FromMinutes(31));
        page = await operator1.GetAsync("/sessions/session/" + ada.Id);
        Assert.Contains("it is Expired now", page.Html, StringComparison.Ordinal);
        page.Shows("Expired: idle for too long");
        Assert.DoesNotContain("End this session", page.Html, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_operator_ends_one_session_and_then_all_of_a_subject()
    {
        var log = new LogEar();
        await using var site = await Site.StartAsync(
            map: app =>
            {
                app.UseAuthorization();
                app.MapSessionDashboard<Cart>("/ops/sessions").RequireAuthorization("Operators");
            },
            add: services =>
            {
                services.AddAntiforgery();
                services.AddAuthorizationBuilder().AddPolicy("Operators", it => it.RequireAssertion(_ => true));
                log.Listen(services);
            }
        );
        using var operator1 = new Reader(site);
        using var home = await Reader.SignedInAsync(site, "ada & co");
        using var work = await Reader.SignedInAsync(site, "ada & co");
        using var eve = await Reader.SignedInAsync(site, "eve");

        var page = await operator1.GetAsync("/ops/sessions/session/" + home.Id);
        var sent = await operator1.PressAsync(page, "/end");
        Assert.Equal(HttpStatusCode.SeeOther, sent.Status);
        Assert.Equal($"/ops/sessions/session/{home.Id}?said=ended", sent.Location);
        var after = await operator1.GetAsync(sent.Location!);
        after.Shows("The session is ended.");
        after.Shows("Destroyed: ended from outside");
        Assert.Null(await site.Manager.FindAsync(Site.IdOf(home.Token!)));
        Assert.NotNull(await site.Manager.FindAsync(Site.IdOf(work.Token!)));

        sent = await operator1.PressAsync(await operator1.GetAsync("/ops/sessions?q=ada%20%26%20co"), "/end-all");
        Assert.Equal("/ops/sessions?q=ada%20%26%20co&said=all", sent.Location);
        (await operator1.GetAsync(sent.Location!)).Shows("All sessions of this subject are ended.");
        Assert.Null(await site.Manager.FindAsync(Site.IdOf(work.Token!)));
        Assert.NotNull(await site.Manager.FindAsync(Site.IdOf(eve.Token!)));
        var lines = log.Take();
        Assert.Contains(
            lines,
            line => line.Contains($"somebody ended session {home.Id} on the dashboard", StringComparison.Ordinal)
        );
        Assert.Contains(lines, line => line.Contains("ended all 1 sessions of a subject", StringComparison.Ordinal));
    }

    /// <summary>Two of three cannot be ended: who has ended the third is in the log all the same.</summary>
    [Fact]
    public async Task Who_has_ended_some_of_all_is_in_the_log()
    {
        var log = new LogEar();
        var store = new Keeping();
        await using var site = await Site.StartAsync(
            map: app =>
            {
                app.UseAuthorization();
                app.MapSessionDashboard<Cart>("/sessions").RequireAuthorization("Operators");
            },
            add: services =>
            {
                services.AddAntiforgery();
                services.AddAuthorizationBuilder().AddPolicy("Operators", it => it.RequireAssertion(_ => true));
                log.Listen(services);
            },
            store: () => store
        );
        using var operator1 = new Reader(site);
        foreach (var _ in Enumerable.Range(0, 3))
            await site.BeginAsync("ada");
        var page = await operator1.GetAsync("/sessions?q=ada");
        store.Keeps = 2;
        log.Take();
        var sent = await operator1.PressAsync(page, "/end-all");
        Assert.Equal(HttpStatusCode.ServiceUnavailable, sent.Status);
        Assert.Contains(log.Take(), line => line.Contains("ended all 1 sessions", StringComparison.Ordinal));
    }

    private sealed class Keeping() : ForwardingStore(new MemoryStore())
    {
        public int Keeps { get; set; }

        public override ValueTask<WriteResult> Replace(StoredRecord record, long expected, CancellationToken c) =>
            Keeps-- > 0 ? throw new IOException("kept") : base.Replace(record, expected, c);
    }

    /// <summary>An operator who ends a stolen session must not hear that there was none.</summary>
    [Fact]
    public async Task A_session_that_the_store_did_not_end_is_no_session_that_was_gone()
    {
        var store = new Unwritten();
        await using var site = await StartAsync(store: () => store);
        using var operator1 = new Reader(site);
        using var ada = await Reader.SignedInAsync(site, "ada");
        var page = await operator1.GetAsync("/sessions/session/" + ada.Id);
        store.IsRefusing = true;
        foreach (var form in new[] { "/end", "/end-all" })
        {
            var sent = await operator1.PressAsync(page, form);
            Assert.Equal((form, HttpStatusCode.ServiceUnavailable, null), (form, sent.Status, sent.Location));
        }

        store.IsRefusing = false;
        var ended = await operator1.PressAsync(page, "/end");
        Assert.EndsWith("?said=ended", ended.Location, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Forms_without_their_token_or_from_another_site_end_nothing()
    {
        await using var site = await StartAsync();
        using var operator1 = new Reader(site);
        using var other = new Reader(site);
        using var ada = await Reader.SignedInAsync(site, "ada");
        var path = "/sessions/session/" + ada.Id;
        var page = await operator1.GetAsync(path);

        foreach (var form in new[] { "/end", "/end-all" })
        {
            Dictionary<string, string> fields = new() { ["id"] = ada.Id, ["subject"] = "616461" };
            Assert.Equal(HttpStatusCode.BadRequest, (await operator1.PostAsync("/sessions" + form, fields)).Status);
            // The token of another browser.
            var theirs = await other.PressAsync(page, form);
            Assert.Equal(HttpStatusCode.BadRequest, theirs.Status);
            var foreign = await operator1.PressAsync(
                page,
                form,
                headers: request => request.Headers.Add("Sec-Fetch-Site", "same-site")
            );
            Assert.Equal(HttpStatusCode.Forbidden, foreign.Status);
        }

        Assert.NotNull(await site.Manager.FindAsync(Site.IdOf(ada.Token!)));
    }

    [Fact]
    public async Task Whatever_comes_from_outside_is_text()
    {
        await using var site = await StartAsync(o =>
        {
            o.ShowData = cart => cart.Item;
            o.Title = Hostile;
        });
        using var operator1 = new Reader(site);
        using var eve = await Reader.SignedInAsync(site, Hostile, Hostile);
        var query = Uri.EscapeDataString(Hostile);
        foreach (
            var path in new[]
            {
                "/sessions",
                "/sessions?q=" + query,
                $"/sessions?q=ada&after={query}&said={query}",
                "/sessions/session/" + eve.Id,
                "/sessions/session/" + query,
            }
        )
        {
            var page = await operator1.GetAsync(path);
            page.HasNothingOf(Hostile);
            page.HasNothingOf("<img");
            page.IsGuarded();
        }

        var sent = await operator1.PressAsync(await operator1.GetAsync("/sessions?q=" + query), "/end-all");
        Assert.Equal(HttpStatusCode.SeeOther, sent.Status);
        Assert.Null(await site.Manager.FindAsync(Site.IdOf(eve.Token!)));
    }

    [Fact]
    public async Task What_is_no_id_or_no_subject_is_not_found_and_ends_nothing()
    {
        var store = new AskedStore();
        await using var site = await StartAsync(store: () => store);
        using var operator1 = new Reader(site);
        using var ada = await Reader.SignedInAsync(site, "ada");
        Assert.Equal(HttpStatusCode.NotFound, (await operator1.GetAsync("/sessions/session/%20")).Status);
        Assert.Equal(HttpStatusCode.NotFound, (await operator1.GetAsync("/sessions/session/AAAA")).Status);
        var page = await operator1.GetAsync("/sessions/session/" + ada.Id);
        store.Take();
        foreach (var packed in new[] { "", "zz", "ff", "edada0", "6" })
        {
            var sent = await operator1.PressAsync(page, "/end-all", change: fields => fields["subject"] = packed);
            Assert.Equal((HttpStatusCode.SeeOther, "/sessions"), (sent.Status, sent.Location));
        }

        Assert.Equal("/sessions", (await operator1.PressAsync(page, "/end", change: it => it["id"] = "%%")).Location);
        Assert.Empty(store.Take());
    }

    [Fact]
    public async Task However_many_sessions_there_are_no_page_looks_through_them()
    {
        var store = new AskedStore();
        await using var site = await StartAsync(store: () => store);
        using var operator1 = new Reader(site);
        for (var i = 0; i < 300; i++)
            await site.BeginAsync(i < 200 ? "ada" : "eve");

        var id = Site.IdOf(await site.BeginAsync("bob")).Value;
        await operator1.GetAsync("/sessions");
        site.Clock.Advance(TimeSpan.FromSeconds(11));
        store.Take();

        await operator1.GetAsync("/sessions");
        var overview = store.Take();
        Assert.Equal(1, overview["Count"]);
        Assert.All(overview, asked => Assert.Equal(1, asked.Value));
        Assert.Empty(overview.Keys.Except(["Count", "Prepare", "Insert", "Load", "Replace", "Remove"]));

        // Loaded again and again it asks nothing.
        for (var i = 0; i < 5; i++)
            await operator1.GetAsync("/sessions");

        Assert.Empty(store.Take());

        var found = await operator1.GetAsync("/sessions?q=ada");
        var search = store.Take();
        Assert.Equal(new Dictionary<string, int> { ["BySubject"] = 1, ["LoadMany"] = 2 }, search);
        Assert.InRange(found.Html.Split("<li>").Length - 1, 1, 50);
        Assert.Contains("&amp;after=", found.Html, StringComparison.Ordinal);

        await operator1.GetAsync("/sessions/session/" + id);
        Assert.Equal(new Dictionary<string, int> { ["LoadMany"] = 1 }, store.Take());
    }

    [Fact]
    public async Task A_store_that_is_down_is_told_on_the_overview()
    {
        var store = new AskedStore();
        await using var site = await StartAsync(store: () => store);
        using var operator1 = new Reader(site);
        store.Fails = true;
        site.Clock.Advance(TimeSpan.FromSeconds(11));
        var page = await operator1.GetAsync("/sessions");
        Assert.Equal(HttpStatusCode.OK, page.Status);
        page.Shows("Unhealthy");
        page.Shows("the store did not answer");

        // Nor does each page wait for it again.
        store.Take();
        (await operator1.GetAsync("/sessions")).Shows("the store did not answer");
        Assert.Empty(store.Take());
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await operator1.GetAsync("/sessions?q=ada")).Status);
        store.Fails = false;
        site.Clock.Advance(TimeSpan.FromSeconds(11));
        (await operator1.GetAsync("/sessions")).Shows("Healthy");
    }

    /// <summary>Whoever looks for a session that may be stolen must not be told that it is over.</summary>
    [Fact]
    public async Task While_the_store_is_down_no_page_says_that_there_is_no_such_session()
    {
        var store = new AskedStore();
        await using var site = await StartAsync(store: () => store);
        using var operator1 = new Reader(site);
        using var ada = await Reader.SignedInAsync(site, "ada");
        string[] paths = ["/sessions?q=ada", "/sessions?q=" + ada.Id, "/sessions/session/" + ada.Id];
        foreach (var isDown in new[] { true, false })
        foreach (var path in paths)
        {
            store.Fails = isDown;
            var page = await operator1.GetAsync(path);
            var expected = isDown ? HttpStatusCode.ServiceUnavailable : HttpStatusCode.OK;
            Assert.Equal((path, expected), (path, page.Status));
        }
    }

    [Fact]
    public async Task A_store_that_would_look_at_each_session_is_counted_only_where_that_is_asked_for()
    {
        foreach (var always in new[] { false, true })
        {
            var store = new Counted();
            await using var site = await StartAsync(o => o.AlwaysCount = always, () => store);
            using var operator1 = new Reader(site);
            await site.BeginAsync("ada");
            site.Clock.Advance(TimeSpan.FromMinutes(1));
            var before = store.Counts;
            var page = await operator1.GetAsync("/sessions");
            await operator1.GetAsync("/sessions");
            Assert.Equal(before, store.Counts);
            Assert.Equal(always ? 2 : 0, before);
            page.Shows(always ? "Live" : "not counted");
            if (always)
                Assert.Contains("Live<strong>1</strong>", page.Html, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task The_hour_is_the_last_one()
    {
        // Nothing of this store is counted once a minute: only what happens is noted.
        await using var site = await StartAsync(store: () => new Counted());
        using var operator1 = new Reader(site);
        async Task BeganAsync(int count) =>
            Assert.Contains(
                $"Began<strong>{count}</strong>",
                (await operator1.GetAsync("/sessions")).Html,
                StringComparison.Ordinal
            );

        await site.BeginAsync();
        await site.BeginAsync();
        site.Clock.Advance(TimeSpan.FromMinutes(59));
        await BeganAsync(2);
        site.Clock.Advance(TimeSpan.FromMinutes(1));
        await BeganAsync(0);
        await site.BeginAsync();
        await BeganAsync(1);
    }

    [Fact]
    public async Task Sessions_of_another_type_are_not_counted()
    {
        await using var site = await Site.StartAsync(
            map: app =>
            {
                app.UseSession<Basket>();
                app.UseAuthorization();
                app.MapSessionDashboard<Cart>("/sessions").RequireAuthorization("Operators");
            },
            add: services =>
            {
                services.AddSession<Basket>(o => o.Cookie.Name = "__Host-basket").UseMemory();
                services.AddAntiforgery();
                services.AddAuthorizationBuilder().AddPolicy("Operators", it => it.RequireAssertion(_ => true));
            }
        );
        using var operator1 = new Reader(site);
        await site.BeginAsync();
        for (var i = 0; i < 3; i++)
            await site.InRequestAsync(async context =>
                await (await context.GetSessionAsync<Basket>()).SignInAsync("ada", new Basket(i))
            );

        var page = await operator1.GetAsync("/sessions");
        Assert.Contains("Began<strong>1</strong>", page.Html, StringComparison.Ordinal);
        Assert.Contains("Sign-ins<strong>0</strong>", page.Html, StringComparison.Ordinal);
    }

    private sealed record Basket(int Items);

    [Fact]
    public async Task Sessions_of_another_application_in_the_process_are_not_counted()
    {
        await using var site = await StartAsync();
        await using var other = await Site.StartAsync();
        using var operator1 = new Reader(site);
        await site.BeginAsync();
        for (var i = 0; i < 3; i++)
            await other.BeginAsync("ada");

        var page = await operator1.GetAsync("/sessions");
        Assert.Contains("Began<strong>1</strong>", page.Html, StringComparison.Ordinal);
        Assert.Contains("Sign-ins<strong>0</strong>", page.Html, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_application_that_has_stopped_counts_no_more()
    {
        var store = new AskedStore();
        await using var site = await StartAsync(store: () => store);
        store.Take();
        site.Clock.Advance(TimeSpan.FromMinutes(1));
        Assert.Contains("Count", store.Take().Keys);
        await site.Services.GetRequiredService<IHost>().StopAsync();
        store.Take();
        site.Clock.Advance(TimeSpan.FromMinutes(2));
        Assert.DoesNotContain("Count", store.Take().Keys);
    }

    /// <summary>Routes look at no case of letters. A page that an operator has typed the address of must not have buttons that lead nowhere.</summary>
    [Fact]
    public async Task The_links_of_a_page_lead_on_in_whatever_case_it_was_asked_for()
    {
        await using var site = await StartAsync();
        using var operator1 = new Reader(site);
        using var ada = await Reader.SignedInAsync(site, "ada");
        var page = await operator1.GetAsync("/SESSIONS/Session/" + ada.Id);
        Assert.Equal(HttpStatusCode.OK, page.Status);
        var ended = await operator1.PressAsync(page, "/end");
        Assert.Equal(HttpStatusCode.SeeOther, ended.Status);
        Assert.Equal($"/SESSIONS/session/{ada.Id}?said=ended", ended.Location);
        Assert.Null(await site.Manager.FindAsync(Site.IdOf(ada.Token!)));
    }

    /// <summary>Takes no record while it hangs.</summary>
    private sealed class Hanging() : ForwardingStore(new MemoryStore())
    {
        public bool Hangs { get; set; }

        public TaskCompletionSource WasAsked { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public override async ValueTask<WriteResult> Insert(StoredRecord record, CancellationToken cancellationToken)
        {
            if (Hangs)
            {
                WasAsked.TrySetResult();
                await Task.Delay(Timeout.Infinite, CancellationToken.None);
            }

            return await base.Insert(record, cancellationToken);
        }
    }

    /// <summary>The store is checked for one page at a time: an operator who has stopped to wait for it keeps it from none of the others.</summary>
    [Fact]
    public async Task A_page_that_nobody_waits_for_any_more_holds_up_no_other()
    {
        var store = new Hanging { Hangs = true };
        await using var site = await StartAsync(
            store: () => store,
            sessions: o => o.RequestTimeout = TimeSpan.FromMinutes(5)
        );
        using (var client = new HttpClient())
        using (var gone = new CancellationTokenSource())
        {
            var asking = client.GetAsync(new Uri(site.Address, "/sessions"), gone.Token);
            await store.WasAsked.Task.WaitAsync(Held.Patience);
            await gone.CancelAsync();
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => asking);
        }

        store.Hangs = false;
        using var operator1 = new Reader(site);
        (await operator1.GetAsync("/sessions").WaitAsync(Held.Patience)).Shows("Healthy");
    }

    [Fact]
    public async Task A_flood_of_made_up_tokens_hides_nobody_who_signed_in()
    {
        await using var site = await StartAsync();
        using var operator1 = new Reader(site);
        using var ada = new Reader(site);
        using var bob = await Reader.SignedInAsync(site, "bob");
        site.Clock.Advance(TimeSpan.FromMinutes(31));
        await site
            .Services.GetRequiredService<global::Session.AspNetCore.SessionService<Cart>>()
            .Engine.Sweep(100, CancellationToken.None);
        await ada.SignInAsync("ada");
        for (var i = 0; i < 200; i++)
            await site.WithAsync(session => Task.CompletedTask, ada.Id + "." + new string('A', 43));

        for (var i = 0; i < 100; i++)
            await site.BeginAsync();

        var page = await operator1.GetAsync("/sessions/session/" + ada.Id);
        page.Shows("Began with a sign-in");
        page.Shows("A token with a wrong secret was refused");

        // However long it goes on, what is kept of it does not grow.
        Assert.Equal(60, page.Html.Split("A token with a wrong secret was refused").Length - 1);

        // Nor what time has ended.
        (await operator1.GetAsync("/sessions/session/" + bob.Id)).Shows("Ended by time: idle for too long");
        Assert.Contains(
            "Refused<strong>200</strong>",
            (await operator1.GetAsync("/sessions")).Html,
            StringComparison.Ordinal
        );
    }

    private sealed class Counted() : ForwardingStore(new MemoryStore())
    {
        public int Counts { get; private set; }

        public override ValueTask<long> Count(CancellationToken cancellationToken)
        {
            Counts++;
            return base.Count(cancellationToken);
        }
    }
}
