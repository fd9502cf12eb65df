using System.Net;
using System.Net.Http.Headers;
using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Session.CSharp;
using Session.Engine;
using Session.Testing;
using Xunit;

namespace Facade.Dashboard;

public class MySessionsTests
{
    private static Task<Site> StartAsync(
        Action<MySessionsOptions<Cart>>? configure = null,
        Func<ISessionStore>? store = null,
        Action<SessionOptions<Cart>>? sessions = null
    ) =>
        Site.StartAsync(
            sessions,
            app => app.MapMySessions("/account/sessions", configure),
            store,
            services => services.AddAntiforgery()
        );

    [Fact]
    public async Task A_user_sees_the_own_devices_and_nobody_elses()
    {
        await using var site = await StartAsync(o => o.Describe = (info, cart) => $"{info.Subject}: {cart!.Item}");
        using var home = await Reader.SignedInAsync(site, "ada", "laptop");
        using var work = await Reader.SignedInAsync(site, "ada", "phone");
        using var eve = await Reader.SignedInAsync(site, "eve", "burner");

        var page = await home.GetAsync("/account/sessions");
        Assert.Equal(HttpStatusCode.OK, page.Status);
        page.IsGuarded();
        page.Shows("ada: laptop");
        page.Shows("ada: phone");
        Assert.Equal(2, page.Html.Split("action=\"/account/sessions/end\"").Length - 1);
        Assert.Single(page.Html.Split("This device").Skip(1));
        page.HasNothingOf("burner");
        page.HasNothingOf(eve.Id);
        page.HasNothingOf(home.Token!.Split('.')[1]);
    }

    /// <summary>At the root of a host of its own.</summary>
    [Theory, InlineData("/end", "?said=ended"), InlineData("/end-others", "?said=others")]
    public async Task At_the_root_it_leads_back_to_itself(string form, string said)
    {
        await using var site = await Site.StartAsync(
            null,
            app => app.MapMySessions<Cart>("/"),
            null,
            services => services.AddAntiforgery()
        );
        using var home = await Reader.SignedInAsync(site, "ada");
        using var work = await Reader.SignedInAsync(site, "ada");
        var page = await home.GetAsync("/");
        var ended = await home.PressAsync(page, form, fields => form != "/end" || fields.Values.Contains(work.Id));
        Assert.Equal("/" + said, ended.Location);
        Assert.Equal(HttpStatusCode.OK, (await home.GetAsync(ended.Location!)).Status);
    }

    /// <summary>A page that is open to all asks by itself who it is for.</summary>
    [Fact]
    public async Task Without_the_store_nobody_is_asked_to_sign_in()
    {
        var store = new FailingStore(new MemoryStore());
        await using var site = await Site.StartAsync(
            o => o.ContinueWithoutStore = true,
            app =>
            {
                app.MapMySessions<Cart>("/account/sessions");
                app.MapMySessions<Cart>("/open/sessions").AllowAnonymous();
            },
            () => store,
            services => services.AddAntiforgery()
        );
        var token = await site.BeginAsync("ada");
        foreach (var path in new[] { "/account/sessions", "/open/sessions" })
        {
            Assert.Equal((path, HttpStatusCode.Unauthorized), (path, (await site.SendAsync(path)).Status));
            store.Failure = StoreFailure.Unavailable;
            Assert.Equal((path, HttpStatusCode.ServiceUnavailable), (path, (await site.SendAsync(path, token)).Status));
            store.Failure = StoreFailure.None;
            Assert.Equal((path, HttpStatusCode.OK), (path, (await site.SendAsync(path, token)).Status));
        }
    }

    [Fact]
    public async Task Ending_a_device_signs_it_out_and_no_other()
    {
        await using var site = await StartAsync();
        using var home = new Reader(site);
        using var work = new Reader(site);
        using var phone = new Reader(site);
        foreach (var one in new[] { home, work, phone })
            await one.SignInAsync("ada");

        var page = await home.GetAsync("/account/sessions");
        var sent = await home.PressAsync(page, "/end", fields => fields["id"] == work.Id);
        Assert.Equal((HttpStatusCode.SeeOther, "/account/sessions?said=ended"), (sent.Status, sent.Location));
        (await home.GetAsync(sent.Location!)).Shows("That device is signed out.");
        Assert.Equal(HttpStatusCode.Unauthorized, (await work.GetAsync("/account/sessions")).Status);
        Assert.Equal(HttpStatusCode.OK, (await phone.GetAsync("/account/sessions")).Status);

        var again = await home.PressAsync(page, "/end", fields => fields["id"] == work.Id);
        Assert.Equal("/account/sessions?said=gone", again.Location);
    }

    [Fact]
    public async Task Ending_all_others_keeps_this_device_and_everybody_else()
    {
        await using var site = await StartAsync();
        using var home = await Reader.SignedInAsync(site, "ada");
        using var work = await Reader.SignedInAsync(site, "ada");
        using var eve = await Reader.SignedInAsync(site, "eve");

        var sent = await home.PressAsync(await home.GetAsync("/account/sessions"), "/end-others");
        Assert.Equal("/account/sessions?said=others", sent.Location);
        Assert.Equal(HttpStatusCode.Unauthorized, (await work.GetAsync("/account/sessions")).Status);
        Assert.Equal(HttpStatusCode.OK, (await eve.GetAsync("/account/sessions")).Status);
        var page = await home.GetAsync("/account/sessions");
        Assert.Equal(HttpStatusCode.OK, page.Status);
        page.Shows("This device");
        page.HasNothingOf(work.Id);
        page.HasNothingOf("/end-others");
    }

    /// <summary>Of a newer version of the application, or under a key that this node does not have: another node opens it.</summary>
    [Fact]
    public async Task Devices_that_cannot_be_read_here_are_signed_out_with_all_others()
    {
        ISessionStore store = new MemoryStore();
        await using var site = await StartAsync(store: () => store);
        using var home = await Reader.SignedInAsync(site, "ada");
        using var work = await Reader.SignedInAsync(site, "ada");
        await Damaged.RecordAsync(store, Site.IdOf(work.Token!));
        var page = await home.GetAsync("/account/sessions");
        Assert.Equal(HttpStatusCode.OK, page.Status);
        page.HasNothingOf(work.Id);
        var sent = await home.PressAsync(page, "/end-others");
        Assert.Equal("/account/sessions?said=others", sent.Location);
        var left = await store.Load(work.Id, CancellationToken.None);
        Assert.Equal(RecordKind.Ended, left!.Kind);
        Assert.Equal(HttpStatusCode.OK, (await home.GetAsync("/account/sessions")).Status);
    }

    [Fact]
    public async Task Ending_this_device_signs_it_out_and_expires_its_cookie()
    {
        await using var site = await StartAsync();
        using var home = await Reader.SignedInAsync(site, "ada");
        var page = await home.GetAsync("/account/sessions");
        var sent = await home.PressAsync(page, "/end", fields => fields["id"] == home.Id);
        Assert.Equal(HttpStatusCode.OK, sent.Status);
        sent.Shows("This device is signed out.");
        sent.IsGuarded();
        Assert.Contains("__Host-sid=;", sent.Headers["Set-Cookie"], StringComparison.Ordinal);
        Assert.Null(await site.Manager.FindAsync(Site.IdOf(home.Token!)));
    }

    [Fact]
    public async Task Nobody_elses_session_ends_however_its_id_got_known()
    {
        await using var site = await StartAsync();
        using var ada = await Reader.SignedInAsync(site, "ada");
        using var eve = await Reader.SignedInAsync(site, "eve");
        using var nobody = new Reader(site);
        var anonymous = await site.BeginAsync();

        var page = await eve.GetAsync("/account/sessions");
        foreach (var id in new[] { ada.Id, Site.IdOf(anonymous).Value, "AAAAAAAAAAAAAAAAAAAAAA", "", "../end", "é" })
        {
            var sent = await eve.PressAsync(page, "/end", change: fields => fields["id"] = id);
            Assert.Equal("/account/sessions?said=gone", sent.Location);
        }

        Assert.Equal(HttpStatusCode.OK, (await ada.GetAsync("/account/sessions")).Status);
        Assert.NotNull(await site.Manager.FindAsync(Site.IdOf(anonymous)));
    }

    /// <summary>Antiforgery reads it first, and has an exception of its own for what it cannot read.</summary>
    [Theory, InlineData("no boundary"), InlineData("too many fields"), InlineData("a key that is too long")]
    public async Task A_form_that_cannot_be_read_is_its_senders_mistake(string what)
    {
        await using var site = await StartAsync();
        using var ada = await Reader.SignedInAsync(site, "ada");
        var fields = Enumerable.Range(0, 1100).Select(i => KeyValuePair.Create("f" + i, "x"));
        HttpContent Content() =>
            what switch
            {
                "no boundary" => new StringContent("x", new MediaTypeHeaderValue("multipart/form-data")),
                "too many fields" => new FormUrlEncodedContent(fields),
                _ => new FormUrlEncodedContent([new(new string('k', 5000), "x")]),
            };

        foreach (var path in new[] { "/account/sessions/end", "/account/sessions/end-others" })
        {
            var sent = await ada.PostAsync(path, [], request => request.Content = Content());
            Assert.Equal((path, HttpStatusCode.BadRequest), (path, sent.Status));
        }
    }

    [Fact]
    public async Task Without_a_sign_in_there_is_no_page_and_no_end()
    {
        await using var site = await StartAsync();
        using var nobody = new Reader(site);
        Assert.Equal(HttpStatusCode.Unauthorized, (await nobody.GetAsync("/account/sessions")).Status);
        var sent = await nobody.PostAsync("/account/sessions/end-others", []);
        Assert.Equal(HttpStatusCode.Unauthorized, sent.Status);

        var anonymous = await site.BeginAsync();
        var reply = await site.SendAsync("/account/sessions", anonymous);
        Assert.Equal(HttpStatusCode.Unauthorized, reply.Status);
    }

    [Fact]
    public async Task A_form_without_its_token_of_another_user_or_from_another_site_ends_nothing()
    {
        await using var site = await StartAsync();
        using var home = await Reader.SignedInAsync(site, "ada");
        using var work = await Reader.SignedInAsync(site, "ada");
        using var eve = await Reader.SignedInAsync(site, "eve");
        var page = await home.GetAsync("/account/sessions");
        var theirs = await eve.GetAsync("/account/sessions");

        var without = await home.PostAsync("/account/sessions/end", new() { ["id"] = work.Id });
        Assert.Equal(HttpStatusCode.BadRequest, without.Status);
        without.IsGuarded();
        var planted = await eve.PressAsync(theirs, "/end", change: fields => fields["id"] = work.Id);
        Assert.Equal("/account/sessions?said=gone", planted.Location);

        string? token = null;
        await eve.PressAsync(theirs, "/end", change: fields => token = fields["__RequestVerificationToken"]);
        var crossed = await home.PressAsync(
            page,
            "/end",
            fields => fields["id"] == work.Id,
            fields => fields["__RequestVerificationToken"] = token!
        );
        Assert.Equal(HttpStatusCode.BadRequest, crossed.Status);

        var foreign = await home.PressAsync(
            page,
            "/end",
            fields => fields["id"] == work.Id,
            headers: request => request.Headers.Add("Sec-Fetch-Site", "cross-site")
        );
        Assert.Equal(HttpStatusCode.Forbidden, foreign.Status);
        Assert.Equal(HttpStatusCode.OK, (await work.GetAsync("/account/sessions")).Status);
    }

    [Theory]
    [InlineData("</strong><script>alert(1)</script>")]
    [InlineData("\"><img src=x onerror=alert(1)>")]
    [InlineData("' onfocus='alert(1)' autofocus='")]
    [InlineData("<!--")]
    [InlineData("</title><svg onload=alert(1)>")]
    public async Task Whatever_a_device_or_a_user_is_called_is_text(string hostile)
    {
        await using var site = await StartAsync(o =>
        {
            o.Title = hostile;
            o.Describe = (_, cart) => cart!.Item;
        });
        using var home = await Reader.SignedInAsync(site, hostile, hostile);
        var page = await home.GetAsync("/account/sessions?said=" + Uri.EscapeDataString(hostile));
        Assert.Equal(HttpStatusCode.OK, page.Status);
        page.HasNothingOf(hostile);
        page.Shows(hostile);
        page.IsGuarded();
    }

    [Theory]
    [InlineData("Firefox on Windows", "Firefox on Windows")]
    [InlineData("é", "é")]
    public async Task A_description_is_shown_as_it_is_up_to_64_bytes(string given, string shown)
    {
        await using var site = await StartAsync(o => o.Describe = (_, _) => given);
        using var home = await Reader.SignedInAsync(site, "ada");
        Assert.Contains(
            $"<bdi>{Encoded(shown)}</bdi>",
            (await home.GetAsync("/account/sessions")).Html,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public async Task A_longer_description_is_cut_between_characters()
    {
        var given = string.Concat(Enumerable.Repeat("😀", 40));
        await using var site = await StartAsync(o => o.Describe = (_, _) => given);
        using var home = await Reader.SignedInAsync(site, "ada");
        var shown = string.Concat(Enumerable.Repeat("😀", 15)) + "…";
        Assert.InRange(Encoding.UTF8.GetByteCount(shown), 60, 64);
        Assert.Contains(
            $"<bdi>{Encoded(shown)}</bdi>",
            (await home.GetAsync("/account/sessions")).Html,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public async Task The_page_is_two_commands_for_each_50_sessions_and_the_rest_is_a_page_on()
    {
        var store = new AskedStore();
        await using var site = await StartAsync(store: () => store);
        using var home = await Reader.SignedInAsync(site, "ada");
        for (var i = 0; i < 60; i++)
            await site.Manager.DestroySessionAsync(Site.IdOf(await site.BeginAsync("eve")));

        for (var i = 0; i < 60; i++)
            await site.BeginAsync("ada");

        store.Take();
        var page = await home.GetAsync("/account/sessions");
        var asked = store.Take();
        Assert.Equal(1, asked["BySubject"]);
        Assert.Equal(1, asked["LoadMany"]);
        Assert.Equal(["BySubject", "Load", "LoadMany"], asked.Keys.Order(StringComparer.Ordinal));
        Assert.InRange(asked["Load"], 1, 2);
        Assert.InRange(page.Html.Split("sessions/end\"").Length - 1, 50, 51);

        var next = page.Html.Split("?after=")[1].Split('"')[0];
        var rest = await home.GetAsync("/account/sessions?after=" + next);
        Assert.InRange(rest.Html.Split("sessions/end\"").Length - 1, 11, 12);
    }

    [Fact]
    public async Task An_application_may_ask_for_a_sign_in_that_is_not_long_ago()
    {
        await using var site = await Site.StartAsync(
            map: app => app.MapMySessions<Cart>("/devices").SignedInWithin(TimeSpan.FromMinutes(5)),
            add: services => services.AddAntiforgery()
        );
        using var home = await Reader.SignedInAsync(site, "ada");
        var page = await home.GetAsync("/devices");
        Assert.Equal(HttpStatusCode.OK, page.Status);
        site.Clock.Advance(TimeSpan.FromMinutes(5));
        Assert.Equal(HttpStatusCode.Unauthorized, (await home.GetAsync("/devices")).Status);
        Assert.Equal(HttpStatusCode.Unauthorized, (await home.PressAsync(page, "/end")).Status);
        Assert.NotNull(await site.Manager.FindAsync(Site.IdOf(home.Token!)));
    }

    [Fact]
    public async Task A_session_that_the_index_only_says_is_theirs_is_neither_shown_nor_ended()
    {
        var store = new AskedStore();
        await using var site = await StartAsync(store: () => store);
        using var ada = await Reader.SignedInAsync(site, "ada");
        using var work = await Reader.SignedInAsync(site, "ada");
        using var bob = await Reader.SignedInAsync(site, "bob");
        var page = await ada.GetAsync("/account/sessions");
        store.Behind = ("ada", "bob");
        (await ada.GetAsync("/account/sessions")).HasNothingOf(bob.Id);
        Assert.Equal(HttpStatusCode.SeeOther, (await ada.PressAsync(page, "/end-others")).Status);
        Assert.Equal(HttpStatusCode.OK, (await bob.GetAsync("/account/sessions")).Status);
    }

    [Fact]
    public async Task Without_antiforgery_it_is_not_mapped()
    {
        var error = await Assert.ThrowsAsync<InvalidOperationException>(() =>
            Site.StartAsync(map: app => app.MapMySessions<Cart>("/account/sessions"))
        );
        Assert.Contains("MapMySessions needs antiforgery", error.Message, StringComparison.Ordinal);
        Assert.Contains("services.AddAntiforgery()", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Over_a_store_that_lists_nothing_the_page_has_this_device()
    {
        await using var site = await StartAsync(store: () => new Unlisted());
        using var home = await Reader.SignedInAsync(site, "ada");
        using var work = await Reader.SignedInAsync(site, "ada");
        var page = await home.GetAsync("/account/sessions");
        Assert.Equal(HttpStatusCode.OK, page.Status);
        page.Shows("Other devices cannot be listed here.");
        Assert.Single(page.Html.Split("sessions/end\"").Skip(1));
        Assert.DoesNotContain("end-others", page.Html, StringComparison.Ordinal);
    }

    private sealed class Unlisted() : ForwardingStore(new MemoryStore())
    {
        public override ValueTask<StoredPage> BySubject(
            string subject,
            string? after,
            int limit,
            CancellationToken cancellationToken
        ) => throw new NotSupportedException();
    }

    [Fact]
    public async Task A_store_that_is_down_is_a_503_and_ends_nothing()
    {
        var store = new AskedStore();
        await using var site = await StartAsync(store: () => store);
        using var home = await Reader.SignedInAsync(site, "ada");
        using var work = await Reader.SignedInAsync(site, "ada");
        var page = await home.GetAsync("/account/sessions");
        store.Fails = true;
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await home.GetAsync("/account/sessions")).Status);
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await home.PressAsync(page, "/end-others")).Status);
        store.Fails = false;
        Assert.Equal(HttpStatusCode.OK, (await work.GetAsync("/account/sessions")).Status);
    }

    /// <summary>It can still be read: who is told that a device is signed out does not look again.</summary>
    [Fact]
    public async Task What_the_store_did_not_end_is_not_said_to_be_signed_out()
    {
        var store = new Unwritten();
        await using var site = await StartAsync(store: () => store);
        using var home = await Reader.SignedInAsync(site, "ada");
        using var work = await Reader.SignedInAsync(site, "ada");
        var page = await home.GetAsync("/account/sessions");
        store.IsRefusing = true;
        foreach (var id in new[] { home.Id, work.Id })
        {
            var sent = await home.PressAsync(page, "/end", fields => fields["id"] == id);
            Assert.Equal((HttpStatusCode.ServiceUnavailable, null), (sent.Status, sent.Location));
            Assert.False(sent.Headers.ContainsKey("Set-Cookie"));
        }

        var others = await home.PressAsync(page, "/end-others");
        Assert.Equal((HttpStatusCode.ServiceUnavailable, null), (others.Status, others.Location));
        store.IsRefusing = false;
        foreach (var one in new[] { home, work })
            Assert.Equal(HttpStatusCode.OK, (await one.GetAsync("/account/sessions")).Status);
    }

    [Fact]
    public async Task A_handler_of_sign_ins_knows_of_the_other_devices()
    {
        var said = new List<string>();
        await using var site = await StartAsync(sessions: o =>
            o.Events.OnSignedIn = async it =>
            {
                var others = 0;
                await foreach (
                    var device in it.Services.GetRequiredService<SessionManager<Cart>>().ListAsync(it.Subject!)
                )
                    others += device.Id == it.Id ? 0 : 1;

                said.Add($"{it.Subject} {others}");
            }
        );
        using var home = await Reader.SignedInAsync(site, "ada");
        using var work = await Reader.SignedInAsync(site, "ada");
        Assert.Equal(["ada 0", "ada 1"], said);
    }

    private static string Encoded(string text) => System.Text.Encodings.Web.HtmlEncoder.Default.Encode(text);

    [Theory]
    [InlineData(32, 32)]
    [InlineData(33, 30)]
    [InlineData(64, 30)]
    public async Task A_description_is_measured_in_bytes_and_not_in_characters(int length, int shown)
    {
        await using var site = await StartAsync(o => o.Describe = (_, _) => new string('é', length));
        using var home = await Reader.SignedInAsync(site, "ada");
        var kept = new string('é', shown) + (shown < length ? "…" : "");
        Assert.Contains(
            $"<bdi>{Encoded(kept)}</bdi>",
            (await home.GetAsync("/account/sessions")).Html,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public async Task A_device_whose_time_is_over_is_no_device_before_a_sweep_has_come_for_it()
    {
        await using var site = await StartAsync(sessions: o => o.SweepInterval = TimeSpan.FromDays(1));
        using var home = new Reader(site);
        using var work = await Reader.SignedInAsync(site, "ada", "phone");
        site.Clock.Advance(TimeSpan.FromMinutes(29));
        await home.SignInAsync("ada", "laptop");
        Assert.Equal(2, (await home.GetAsync("/account/sessions")).Html.Split("/account/sessions/end\"").Length - 1);
        site.Clock.Advance(TimeSpan.FromMinutes(2));
        Assert.Single((await home.GetAsync("/account/sessions")).Html.Split("/account/sessions/end\"").Skip(1));
        Assert.Single(await site.Manager.ListAsync("ada").ToListAsync());
    }

    [Fact]
    public async Task A_description_is_told_the_times_of_the_session()
    {
        SessionInfo? told = null;
        await using var site = await StartAsync(o =>
            o.Describe = (info, _) =>
            {
                told = info;
                return "phone";
            }
        );
        using var home = await Reader.SignedInAsync(site, "ada", "laptop");
        var began = site.Clock.GetUtcNow();
        site.Clock.Advance(TimeSpan.FromMinutes(5));
        await home.GetAsync("/account/sessions");
        var found = (await site.Manager.FindAsync(Site.IdOf(home.Token!)))!;
        Assert.Equal(
            (began, began, began + TimeSpan.FromMinutes(5)),
            (told!.CreatedAt, told.AuthenticatedAt, told.LastSeen)
        );
        Assert.Equal(began + TimeSpan.FromMinutes(35), told.ExpiresAt);
        Assert.Equal((found.Id, found.Subject, found.State), (told.Id, told.Subject, told.State));
    }
}
