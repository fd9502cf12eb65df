using System.Net;
using Microsoft.AspNetCore.Antiforgery;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.DataProtection;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Time.Testing;
using Session.CSharp;
using Session.Engine;
using Xunit;

namespace Facade;

/// <summary>The framework's antiforgery tokens belong to a session and its elevation.</summary>
public class AntiforgeryTests
{
    private static void Map(WebApplication app)
    {
        app.UseSession<Cart>();
        app.UseAntiforgery();
        app.MapGet("/form", (IAntiforgery forms, HttpContext context) => forms.GetAndStoreTokens(context).RequestToken);
        app.MapPost("/post", Result).WithMetadata(new RequireAntiforgeryTokenAttribute());
        // As the filters of MVC ask, without metadata.
        app.MapPost("/ask", (IAntiforgery forms, HttpContext context) => forms.IsRequestValidAsync(context));
        app.MapGet("/begin", (Session<Cart> session) => session.UpdateAsync(_ => new Cart("tea")));
        app.MapGet("/login/{user}", (string user, Session<Cart> session) => session.SignInAsync(user, new Cart("tea")));
        app.MapGet("/elevate", (Session<Cart> session) => session.RegenerateAsync());
        app.MapGet("/logout", (Session<Cart> session) => session.DestroyAsync());
        app.MapGet("/me", (Session<Cart> session) => session.Subject ?? "nobody");
    }

    /// <summary>Of a form from before a second kind of sessions was added, or after one went.</summary>
    [Fact]
    public async Task A_token_for_other_kinds_of_sessions_is_refused()
    {
        await using var site = await EdgeSite.StartAsync(
            app =>
            {
                Map(app);
                app.MapGet(
                    "/fits",
                    (IAntiforgeryAdditionalDataProvider marks, HttpContext context, string data) =>
                        marks.ValidateAdditionalData(context, data)
                );
                app.MapGet(
                    "/data",
                    (IAntiforgeryAdditionalDataProvider marks, HttpContext context) =>
                        "=" + marks.GetAdditionalData(context)
                );
            },
            Add
        );
        Assert.Equal("=", (await site.GetAsync("/data")).Body);
        foreach (var (data, fits) in new[] { ("", "true"), ("|", "false"), ("||", "false"), ("x", "false") })
            Assert.Equal((data, fits), (data, (await site.GetAsync("/fits?data=" + data)).Body));
    }

    private static bool Result(HttpContext context) =>
        context.Features.GetRequiredFeature<IAntiforgeryValidationFeature>().IsValid;

    private static void Add(IServiceCollection services) =>
        services.AddAntiforgery().AddDataProtection().UseEphemeralDataProtectionProvider();

    private static Task<EdgeSite> StartAsync(
        Action<IServiceCollection>? add = null,
        ISessionStore? store = null,
        TimeProvider? clock = null
    ) =>
        EdgeSite.StartAsync(
            Map,
            services =>
            {
                add?.Invoke(services);
                Add(services);
                if (clock is not null)
                    services.AddSingleton(clock);
            },
            store: store
        );

    /// <summary>Where requests go on without the store a form of somebody who has signed in is not "out of date".</summary>
    [Fact]
    public async Task A_form_that_nobody_can_tell_the_owner_of_is_a_503()
    {
        var store = new Session.Testing.FailingStore(new MemoryStore());
        await using var site = await EdgeSite.StartAsync(Map, Add, o => o.ContinueWithoutStore = true, store: store);
        var visitor = new Visitor(site);
        await visitor.SendAsync("GET", "/login/ada");
        var form = (await visitor.SendAsync("GET", "/form")).Body;
        store.Failure = Session.Testing.StoreFailure.Unavailable;
        foreach (var path in new[] { "/post", "/ask" })
        {
            var posted = await visitor.SendAsync("POST", path, ("RequestVerificationToken", form));
            Assert.Equal((path, HttpStatusCode.ServiceUnavailable), (path, posted.Status));
        }

        // A page with a form goes on, and what is sent from there meanwhile as well.
        var open = await visitor.SendAsync("GET", "/form");
        Assert.Equal(HttpStatusCode.OK, open.Status);
        var sent = await visitor.SendAsync("POST", "/ask", ("RequestVerificationToken", open.Body));
        Assert.Equal((HttpStatusCode.OK, "true"), (sent.Status, sent.Body));
        store.Failure = Session.Testing.StoreFailure.None;
        var later = await visitor.SendAsync("POST", "/ask", ("RequestVerificationToken", form));
        Assert.Equal("true", later.Body);
    }

    /// <summary>A browser with its cookies, and the forms that are open in it.</summary>
    private sealed class Visitor(EdgeSite site)
    {
        private readonly Dictionary<string, string> _cookies = [];

        public void Lose(string cookie) => _cookies.Remove(cookie);

        public async Task<Answer> SendAsync(string verb, string path, params (string, string)[] headers)
        {
            var cookies = string.Join("; ", _cookies.Select(it => $"{it.Key}={it.Value}"));
            var answer = await site.SendAsync(verb, path, [.. headers, ("Cookie", cookies)]);
            foreach (var cookie in answer.SetCookies)
            {
                var pair = cookie.Split(';')[0].Split('=', 2);
                if (cookie.Contains("max-age=0", StringComparison.Ordinal))
                    _cookies.Remove(pair[0]);
                else
                    _cookies[pair[0]] = pair[1];
            }

            return answer;
        }

        public async Task GoAsync(string path) =>
            Assert.Equal(HttpStatusCode.OK, (await SendAsync("GET", path)).Status);

        public async Task<string> FormAsync()
        {
            var form = await SendAsync("GET", "/form");
            Assert.Equal(HttpStatusCode.OK, form.Status);
            return form.Body;
        }

        public async Task<bool> MayPostAsync(string form)
        {
            var posted = await SendAsync("POST", "/post", ("RequestVerificationToken", form));
            Assert.Equal(HttpStatusCode.OK, posted.Status);
            var asked = await SendAsync("POST", "/ask", ("RequestVerificationToken", form));
            Assert.Equal(posted.Body, asked.Body);
            return bool.Parse(posted.Body);
        }
    }

    [Fact]
    public async Task A_token_of_before_the_sign_in_is_refused_after_it_and_a_new_one_is_not()
    {
        await using var site = await StartAsync();
        foreach (var begins in new[] { false, true })
        {
            var visitor = new Visitor(site);
            if (begins)
                await visitor.GoAsync("/begin");

            var before = await visitor.FormAsync();
            Assert.True(await visitor.MayPostAsync(before));
            await visitor.GoAsync("/login/ada");
            Assert.False(await visitor.MayPostAsync(before));
            var after = await visitor.FormAsync();
            Assert.True(await visitor.MayPostAsync(after));

            // Every elevation, and the end.
            await visitor.GoAsync("/elevate");
            Assert.False(await visitor.MayPostAsync(after));
            var elevated = await visitor.FormAsync();
            await visitor.GoAsync("/login/ada");
            Assert.False(await visitor.MayPostAsync(elevated));
            var last = await visitor.FormAsync();
            await visitor.GoAsync("/logout");
            Assert.False(await visitor.MayPostAsync(last));
            Assert.True(await visitor.MayPostAsync(await visitor.FormAsync()));
        }
    }

    [Fact]
    public async Task A_token_of_before_an_elevation_of_nobody_is_refused_after_it()
    {
        await using var site = await StartAsync();
        var visitor = new Visitor(site);
        var none = await visitor.FormAsync();
        await visitor.GoAsync("/begin");
        var before = await visitor.FormAsync();
        await visitor.GoAsync("/elevate");
        Assert.False(await visitor.MayPostAsync(before));
        Assert.False(await visitor.MayPostAsync(none));
        Assert.True(await visitor.MayPostAsync(await visitor.FormAsync()));
    }

    [Fact]
    public async Task A_token_of_another_session_or_user_is_refused_with_the_same_antiforgery_cookie()
    {
        await using var site = await StartAsync();
        var visitor = new Visitor(site);
        await visitor.GoAsync("/login/ada");
        var first = await visitor.FormAsync();
        visitor.Lose("__Host-sid");
        await visitor.GoAsync("/login/ada");
        Assert.False(await visitor.MayPostAsync(first));
        visitor.Lose("__Host-sid");
        await visitor.GoAsync("/login/bob");
        Assert.False(await visitor.MayPostAsync(first));

        // Anonymous ones as well.
        visitor.Lose("__Host-sid");
        await visitor.GoAsync("/begin");
        var anonymous = await visitor.FormAsync();
        visitor.Lose("__Host-sid");
        await visitor.GoAsync("/begin");
        Assert.False(await visitor.MayPostAsync(anonymous));
    }

    /// <summary>Of each kind of sessions: that one of them is as it was says nothing of the other.</summary>
    [Theory, InlineData("/login/ada"), InlineData("/other/eve")]
    public async Task Where_there_are_two_kinds_of_sessions_a_token_belongs_to_both(string login)
    {
        await using var site = await EdgeSite.StartAsync(
            app =>
            {
                app.UseSession<Other>();
                Map(app);
                app.MapGet(
                    "/other/{user}",
                    (string user, Session<Other> session) => session.SignInAsync(user, new Other("it"))
                );
            },
            services =>
            {
                services.AddSession<Other>(o => o.Cookie.Name = "__Host-other").UseMemory();
                Add(services);
            }
        );
        var visitor = new Visitor(site);
        var none = await visitor.FormAsync();
        await visitor.GoAsync(login);
        Assert.False(await visitor.MayPostAsync(none));
        var one = await visitor.FormAsync();
        Assert.True(await visitor.MayPostAsync(one));
        await visitor.GoAsync(login == "/login/ada" ? "/other/eve" : "/login/ada");
        Assert.False(await visitor.MayPostAsync(one));
        var both = await visitor.FormAsync();
        Assert.True(await visitor.MayPostAsync(both));
        await visitor.GoAsync(login);
        Assert.False(await visitor.MayPostAsync(both));
    }

    [Fact]
    public async Task An_open_form_outlasts_renewals_and_what_an_anonymous_visitor_begins_or_loses()
    {
        var clock = new FakeTimeProvider(DateTimeOffset.UtcNow);
        await using var site = await StartAsync(clock: clock);
        var visitor = new Visitor(site);

        // The session begins while the form is open, and ends.
        var early = await visitor.FormAsync();
        await visitor.GoAsync("/begin");
        Assert.True(await visitor.MayPostAsync(early));
        var late = await visitor.FormAsync();
        clock.Advance(TimeSpan.FromMinutes(31));
        Assert.True(await visitor.MayPostAsync(late));

        // A renewal is no elevation.
        await visitor.GoAsync("/login/ada");
        var form = await visitor.FormAsync();
        clock.Advance(TimeSpan.FromMinutes(16));
        Assert.Single((await visitor.SendAsync("GET", "/me")).SetCookies);
        Assert.True(await visitor.MayPostAsync(form));
    }

    [Fact]
    public async Task A_store_that_is_far_away_is_waited_for_and_one_that_is_down_is_a_503()
    {
        var store = new Session.Testing.FailingStore(new MemoryStore()) { Delay = TimeSpan.FromMilliseconds(20) };
        await using var site = await StartAsync(store: store);
        var visitor = new Visitor(site);
        await visitor.GoAsync("/login/ada");
        store.Failure = Session.Testing.StoreFailure.Slow;
        var form = await visitor.FormAsync();
        Assert.True(await visitor.MayPostAsync(form));

        store.Failure = Session.Testing.StoreFailure.Unavailable;
        foreach (var path in new[] { "/post", "/ask" })
        {
            var answer = await visitor.SendAsync("POST", path, ("RequestVerificationToken", form));
            Assert.Equal(HttpStatusCode.ServiceUnavailable, answer.Status);
        }
    }

    private sealed class Own : IAntiforgeryAdditionalDataProvider
    {
        public string GetAdditionalData(HttpContext context) => "own";

        public bool ValidateAdditionalData(HttpContext context, string additionalData) => additionalData == "own";
    }

    [Fact]
    public async Task An_application_s_own_provider_is_left_alone()
    {
        await using var site = await StartAsync(services =>
            services.AddSingleton<IAntiforgeryAdditionalDataProvider, Own>()
        );
        var visitor = new Visitor(site);
        var before = await visitor.FormAsync();
        await visitor.GoAsync("/login/ada");
        Assert.True(await visitor.MayPostAsync(before));
    }

    [Theory, InlineData(false), InlineData(true)]
    public void It_takes_the_place_of_the_frameworks_whichever_came_first(bool isAntiforgeryFirst)
    {
        var services = new ServiceCollection();
        if (isAntiforgeryFirst)
            Add(services);

        services.AddSession<Cart>();
        if (!isAntiforgeryFirst)
            Add(services);

        var provider = Assert.Single(services, it => it.ServiceType == typeof(IAntiforgeryAdditionalDataProvider));
        Assert.Equal("SessionAntiforgery", provider.ImplementationType?.Name);

        // One that the application has registered before stays.
        var own = new ServiceCollection();
        own.AddSingleton<IAntiforgeryAdditionalDataProvider, Own>();
        own.AddSession<Cart>();
        Assert.Equal(
            typeof(Own),
            Assert.Single(own, it => it.ServiceType == typeof(IAntiforgeryAdditionalDataProvider)).ImplementationType
        );
    }
}
