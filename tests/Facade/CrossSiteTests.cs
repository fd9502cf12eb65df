using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Mvc;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.FSharp.Core;
using Session.AspNetCore;
using Session.CSharp;
using Session.Engine;
using Xunit;

namespace Facade;

/// <summary>What another site had the browser send changes, begins and ends no session.</summary>
public class CrossSiteTests
{
    private const string Trusted = "https://trusted.example";
    private const string Other = "https://other.example";

    private static void Map(WebApplication app)
    {
        app.UseSession<Cart>();
        app.Map("/read", (Session<Cart> session) => session.Subject ?? "nobody");
        app.Map("/update", (Session<Cart> session) => session.UpdateAsync(_ => new Cart("milk")));
        app.Map("/save", (Session<Cart> session) => session.SaveAsync(new Cart("milk")));
        app.Map("/create", (Session<Cart> session) => session.CreateAsync(new Cart("milk")));
        app.Map("/login", (Session<Cart> session) => session.SignInAsync("eve", new Cart("milk")));
        app.Map("/regenerate", (Session<Cart> session) => session.RegenerateAsync());
        app.Map("/logout", (Session<Cart> session) => session.DestroyAsync());
    }

    private static async Task<string> TokenAsync(EdgeSite site)
    {
        var service = site.Services.GetRequiredService<SessionService<Cart>>();
        var begun = await service.Engine.Create(
            FuncConvert.FromFunc(Token.newId),
            FSharpOption<string>.Some("ada"),
            service.Serialize(new Cart("tea")).ResultValue,
            CancellationToken.None
        );
        return begun.ResultValue.Issued!.Value.Reveal();
    }

    private static async Task<bool> IsAsItWasAsync(EdgeSite site, string token)
    {
        var service = site.Services.GetRequiredService<SessionService<Cart>>();
        var found = (await service.Engine.Find(token.Split('.')[0], CancellationToken.None)).ResultValue;
        var live = found is null ? null : Session.Domain.Lifecycle.liveOf(found.Value.State)?.Value;
        return live is { Elevations: 0, Subject.Value: "ada" }
            && service.Deserialize(live.Data).ResultValue!.Value.Item == "tea"
            && (await site.GetAsync("/read", token)).Body == "ada";
    }

    // -- the table of verdicts

    private static readonly string[] s_verbs =
    [
        "GET",
        "HEAD",
        "OPTIONS",
        "TRACE",
        "POST",
        "PUT",
        "PATCH",
        "DELETE",
        "LINK",
    ];
    private static readonly string[] s_paths =
    [
        "/read",
        "/update",
        "/save",
        "/create",
        "/login",
        "/regenerate",
        "/logout",
    ];

    /// <summary>What a browser says of its sender, and whose request it is then.</summary>
    private static (string? Site, string? Origin, string Whose)[] Senders(Uri own) =>
        [
            // No browser, or no word of it.
            (null, null, "own"),
            ("", "", "own"),
            ("same-origin", null, "own"),
            ("same-origin", own.GetLeftPart(UriPartial.Authority), "own"),
            ("none", null, "own"),
            // Fetch metadata count, whatever Origin says.
            ("same-origin", Other, "own"),
            ("same-site", null, "foreign"),
            ("same-site", "https://sub.example", "foreign"),
            ("same-site", Trusted, "trusted"),
            ("cross-site", null, "foreign"),
            ("cross-site", Other, "foreign"),
            ("cross-site", "null", "foreign"),
            ("cross-site", own.GetLeftPart(UriPartial.Authority), "foreign"),
            ("cross-site", Trusted, "trusted"),
            // What no browser says today, or says twice.
            ("cross-origin", null, "foreign"),
            ("SAME-ORIGIN", null, "foreign"),
            ("same-origin, cross-site", null, "foreign"),
            // Without fetch metadata the origin counts.
            (null, own.GetLeftPart(UriPartial.Authority), "own"),
            // A proxy has ended TLS, and does not say so.
            (null, "https://" + own.Authority, "own"),
            (null, $"http://localhost:{own.Port}", "foreign"),
            (null, $"http://{own.Host}:{own.Port + 1}", "foreign"),
            (null, $"http://{own.Host}", "foreign"),
            (null, $"{own.GetLeftPart(UriPartial.Authority)}.other.example", "foreign"),
            (null, $"http://{own.Authority}@other.example", "foreign"),
            (null, own.ToString(), "foreign"),
            (null, Other, "foreign"),
            (null, "null", "foreign"),
            (null, Trusted, "trusted"),
            (null, Trusted + ".other.example", "foreign"),
            (null, "http://trusted.example", "foreign"),
        ];

    [Theory, InlineData("cookie"), InlineData("nothing"), InlineData("header")]
    public async Task Every_sender_method_and_operation_has_the_verdict_of_the_table(string transport)
    {
        await using var site = await EdgeSite.StartAsync(
            Map,
            configure: o =>
            {
                o.HeaderName = "X-Token";
                o.TrustedOrigins.Add("https://TRUSTED.example:443");
            }
        );
        var wrong = new List<string>();
        var (asked, refusals) = (0, 0);
        foreach (var (from, origin, whose) in Senders(site.Address))
        foreach (var verb in s_verbs)
        foreach (var path in s_paths)
        {
            var headers = new List<(string, string)>();
            if (from is not null)
                headers.Add(("Sec-Fetch-Site", from));
            if (origin is not null)
                headers.Add(("Origin", origin));

            var token = transport == "nothing" ? null : await TokenAsync(site);
            if (token is not null)
                headers.Add(transport == "cookie" ? ("Cookie", "__Host-sid=" + token) : ("X-Token", token));

            var isUnsafe = verb is not ("GET" or "HEAD" or "OPTIONS" or "TRACE");
            var changes = path != "/read" && !(path == "/logout" && token is null);
            // A session that the browser did not send would lose its place to a new one, whoever is trusted.
            var hides = token is null && from == "cross-site" && path is "/update" or "/save" or "/create";
            hides = hides && token is null && from == "cross-site";
            var isRefused = transport != "header" && (changes && isUnsafe && whose == "foreign" || hides);

            var answer = await site.SendAsync(verb, path, [.. headers]);
            asked++;
            var isRight = answer.Status == HttpStatusCode.Forbidden == isRefused;
            if (isRefused)
            {
                refusals++;
                isRight &= answer.SetCookies.Length == 0 && (token is null || await IsAsItWasAsync(site, token));
            }
            else if (path != "/regenerate" || token is not null)
                isRight &= answer.Status == HttpStatusCode.OK;

            if (!isRight)
                wrong.Add($"{verb} {path} of {from ?? "-"} {origin ?? "-"}: {answer.Status}");
        }

        Assert.Empty(wrong);
        Assert.Equal(Senders(site.Address).Length * s_verbs.Length * s_paths.Length, asked);
        Assert.Equal(transport != "header", refusals > 0);
    }

    [Fact]
    public async Task Login_from_another_site_signs_nobody_in_of_1000_attempts()
    {
        await using var site = await EdgeSite.StartAsync(Map);
        var own = site.Address.GetLeftPart(UriPartial.Authority);

        // What browsers send with a form or a fetch of another site: today's, those before fetch metadata, sandboxed frames,
        // pages without a referrer, and pages on a sub-domain or another port.
        (string, string)[][] senders =
        [
            [
                ("Sec-Fetch-Site", "cross-site"),
                ("Sec-Fetch-Mode", "navigate"),
                ("Sec-Fetch-Dest", "document"),
                ("Origin", Other),
            ],
            [
                ("Sec-Fetch-Site", "cross-site"),
                ("Sec-Fetch-Mode", "navigate"),
                ("Sec-Fetch-Dest", "iframe"),
                ("Origin", "null"),
            ],
            [
                ("Sec-Fetch-Site", "cross-site"),
                ("Sec-Fetch-Mode", "no-cors"),
                ("Sec-Fetch-Dest", "empty"),
                ("Origin", Other),
            ],
            [("Sec-Fetch-Site", "same-site"), ("Sec-Fetch-Mode", "navigate"), ("Origin", "https://sub.example")],
            [("Origin", Other)],
            [("Origin", "null")],
            [("Origin", $"http://127.0.0.1:{site.Address.Port + 1}")],
            [("Origin", own + ".other.example")],
        ];
        string[] types = ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x"];
        var signedIn = 0;
        for (var i = 0; i < 1000; i++)
        {
            var victim = i % 3 == 0 ? await TokenAsync(site) : null;
            List<(string, string)> headers =
            [
                .. senders[i % senders.Length],
                ("X-Content-Type", types[i % types.Length]),
            ];
            if (victim is not null)
                headers.Add(("Cookie", "__Host-sid=" + victim));

            var answer = await site.SendAsync("POST", "/login", [.. headers]);
            if (answer.SetCookies.Length > 0 || answer.Status != HttpStatusCode.Forbidden)
                signedIn++;
            if (victim is not null)
                Assert.True(await IsAsItWasAsync(site, victim));
        }

        Assert.Equal(0, signedIn);
    }

    // -- said why

    [Fact]
    public async Task A_refusal_says_why_to_the_client_the_log_and_the_developer()
    {
        var ear = new LogEar();
        await using var site = await EdgeSite.StartAsync(
            Map,
            environment: "Development",
            log: log => log.AddProvider(ear)
        );
        var refused = await site.SendAsync("POST", "/login", ("Sec-Fetch-Site", "cross-site"), ("Origin", Other));
        Assert.Equal(HttpStatusCode.Forbidden, refused.Status);
        Assert.StartsWith("application/problem+json", refused["Content-Type"], StringComparison.Ordinal);
        Assert.Contains("Another site", refused.Body, StringComparison.Ordinal);
        Assert.Contains("another site", refused["X-Session-Explain"], StringComparison.Ordinal);
        Assert.Equal("no-store", refused["Cache-Control"]);
        var line = Assert.Single(ear.Take(), it => it.Contains("TrustedOrigins", StringComparison.Ordinal));
        Assert.Contains(Other, line, StringComparison.Ordinal);
        Assert.Contains("/login", line, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_sender_cannot_fill_the_log()
    {
        var ear = new LogEar();
        await using var site = await EdgeSite.StartAsync(Map, log: log => log.AddProvider(ear));
        var origin = "https://" + new string('a', 4000) + ".example";
        await site.SendAsync("POST", "/login", ("Sec-Fetch-Site", "cross-site"), ("Origin", origin));
        var line = Assert.Single(ear.Take(), it => it.Contains("TrustedOrigins", StringComparison.Ordinal));
        Assert.Contains(origin[..200], line, StringComparison.Ordinal);
        Assert.DoesNotContain(origin[..201], line, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_handler_can_catch_it_and_answer_in_its_own_words()
    {
        await using var site = await EdgeSite.StartAsync(app =>
        {
            app.UseSession<Cart>();
            app.MapPost(
                "/cart",
                async (Session<Cart> session) =>
                {
                    var error = await Assert.ThrowsAsync<SessionCrossSiteException>(() =>
                        session.UpdateAsync(_ => new Cart("milk"))
                    );
                    return Results.Text(error.StatusCode.ToString(System.Globalization.CultureInfo.InvariantCulture));
                }
            );
        });
        Assert.Equal("403", (await site.SendAsync("POST", "/cart", ("Sec-Fetch-Site", "same-site"))).Body);
    }

    // -- what the application allows

    [AllowCrossSite(Other)]
    private static Task LoginFromOther(Session<Cart> session) => session.SignInAsync("ada", new Cart("tea"));

    [Fact]
    public async Task An_endpoint_may_be_meant_for_other_sites()
    {
        await using var site = await EdgeSite.StartAsync(app =>
        {
            app.UseSession<Cart>();
            app.MapPost("/all", (Session<Cart> session) => session.UpdateAsync(_ => new Cart("milk"))).AllowCrossSite();
            app.MapPost("/one", (Session<Cart> session) => session.UpdateAsync(_ => new Cart("milk")))
                .AllowCrossSite("https://some.example", Other);
            app.MapPost("/attribute", LoginFromOther);
            Session.AspNetCore.SessionEndpoint.allowCrossSite(
                Microsoft.FSharp.Collections.ListModule.OfSeq(new[] { Other }),
                app.MapPost("/fsharp", (Session<Cart> session) => session.UpdateAsync(_ => new Cart("milk")))
            );
            app.MapPost(
                "/vouched",
                (Session<Cart> session, HttpContext context) =>
                {
                    context.AllowCrossSite();
                    return session.SignInAsync("ada", new Cart("tea"));
                }
            );
            app.MapPost("/none", (Session<Cart> session) => session.UpdateAsync(_ => new Cart("milk")));
        });

        foreach (var path in new[] { "/all", "/one", "/attribute", "/fsharp", "/vouched", "/none" })
        foreach (var origin in new[] { Other, "https://third.example", "null" })
        {
            var isAllowed = path is "/all" or "/vouched" || (path != "/none" && origin == Other);
            var answer = await site.SendAsync("POST", path, ("Sec-Fetch-Site", "cross-site"), ("Origin", origin));
            Assert.Equal((path, origin, isAllowed), (path, origin, answer.Status == HttpStatusCode.OK));
            Assert.Equal(isAllowed, answer.SetCookies.Length == 1);
        }

        Assert.Throws<ArgumentException>(() => new AllowCrossSiteAttribute("other.example"));
        Assert.Throws<ArgumentException>(() => new AllowCrossSiteAttribute(Other + "/"));
        Assert.Throws<ArgumentException>(() => new AllowCrossSiteAttribute("ftp://other.example"));
    }

    [Fact]
    public async Task An_application_may_allow_it_everywhere()
    {
        await using var site = await EdgeSite.StartAsync(Map, configure: o => o.AllowCrossSiteWrites = true);
        foreach (var path in new[] { "/update", "/save", "/create", "/login" })
            Assert.Single(
                (await site.SendAsync("POST", path, ("Sec-Fetch-Site", "cross-site"), ("Origin", Other))).SetCookies
            );
    }

    [Theory, InlineData("websocket"), InlineData("WebSocket")]
    public async Task A_websocket_that_another_site_opens_changes_no_session(string protocol)
    {
        await using var site = await EdgeSite.StartAsync(Map);
        (string, string) upgrade = ("Upgrade", protocol);
        (string, string) connection = ("Connection", "Upgrade");
        var foreign = await site.SendAsync("GET", "/update", upgrade, connection, ("Origin", Other));
        Assert.Equal(HttpStatusCode.Forbidden, foreign.Status);
        var own = site.Address.GetLeftPart(UriPartial.Authority);
        Assert.Single((await site.SendAsync("GET", "/update", upgrade, connection, ("Origin", own))).SetCookies);
    }

    // -- a browser that did not send its token

    [Theory]
    [InlineData("POST", "/update")]
    [InlineData("POST", "/save")]
    [InlineData("POST", "/create")]
    [InlineData("GET", "/update")]
    public async Task Another_site_begins_no_session_in_place_of_one_that_the_browser_did_not_send(
        string verb,
        string path
    )
    {
        await using var site = await EdgeSite.StartAsync(Map);
        var refused = await site.SendAsync(verb, path, ("Sec-Fetch-Site", "cross-site"));
        Assert.Equal(HttpStatusCode.Forbidden, refused.Status);
        Assert.Empty(refused.SetCookies);

        // Of its own pages, and of whoever is no browser, as before; and so with a token, by a method that is safe.
        Assert.Single((await site.SendAsync(verb, path, ("Sec-Fetch-Site", "same-origin"))).SetCookies);
        var begun = await site.SendAsync(verb, path);
        var token = Assert.Single(begun.SetCookies).Split(';')[0];
        var own = await site.SendAsync("GET", path, ("Sec-Fetch-Site", "cross-site"), ("Cookie", token));
        Assert.Equal(HttpStatusCode.OK, own.Status);
    }

    [Fact]
    public async Task A_link_from_another_site_is_as_before()
    {
        await using var site = await EdgeSite.StartAsync(Map);
        (string, string)[] link = [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Dest", "document")];
        Assert.Single((await site.SendAsync("GET", "/update", link)).SetCookies);
        Assert.Single((await site.SendAsync("GET", "/login", link)).SetCookies);

        // All of these cookies come with every request, so none is hidden; a link brings no Strict one.
        await using var embedded = await EdgeSite.StartAsync(
            Map,
            configure: o => o.Cookie.SameSite = SameSiteMode.None
        );
        Assert.Single((await embedded.SendAsync("GET", "/update", ("Sec-Fetch-Site", "cross-site"))).SetCookies);
        await using var strict = await EdgeSite.StartAsync(
            Map,
            configure: o => o.Cookie.SameSite = SameSiteMode.Strict
        );
        Assert.Equal(HttpStatusCode.Forbidden, (await strict.SendAsync("GET", "/update", link)).Status);

        // Nor does a form bring a Lax one, though its page may be trusted to change a session.
        await using var trusting = await EdgeSite.StartAsync(Map, configure: o => o.TrustedOrigins.Add(Trusted));
        foreach (var path in new[] { "/update", "/save", "/create" })
        {
            var form = await trusting.SendAsync("POST", path, [.. link, ("Origin", Trusted)]);
            Assert.Equal((path, HttpStatusCode.Forbidden), (path, form.Status));
            Assert.Empty(form.SetCookies);
        }

        Assert.Single((await trusting.SendAsync("HEAD", "/update", link)).SetCookies);
    }

    [Theory]
    [InlineData("shop.example", "https://shop.example", true)]
    [InlineData("shop.example:443", "https://shop.example", true)]
    [InlineData("shop.example:80", "http://shop.example", true)]
    [InlineData("shop.example:8443", "https://shop.example:8443", true)]
    [InlineData("shop.example:80", "https://shop.example", false)]
    [InlineData("shop.example:443", "http://shop.example", false)]
    [InlineData("shop.example:8443", "https://shop.example", false)]
    public async Task The_port_of_the_scheme_may_be_said_and_no_other_left_out(string host, string origin, bool isOwn)
    {
        await using var site = await EdgeSite.StartAsync(Map);
        var answer = await site.SendAsync("POST", "/create", ("Host", host), ("Origin", origin));
        Assert.Equal(isOwn ? HttpStatusCode.OK : HttpStatusCode.Forbidden, answer.Status);
        Assert.Equal(isOwn ? 1 : 0, answer.SetCookies.Length);
    }

    /// <summary>Anybody on the way can write a page that came without TLS.</summary>
    [Theory, InlineData("https://shop.example", true), InlineData("http://shop.example", false)]
    public async Task A_page_of_the_same_host_that_is_less_secure_than_the_request_is_another_site(
        string origin,
        bool isOwn
    )
    {
        await using var site = await EdgeSite.StartAsync(app =>
        {
            app.Use(
                (context, next) =>
                {
                    context.Request.Scheme = Uri.UriSchemeHttps;
                    return next(context);
                }
            );
            Map(app);
        });
        var answer = await site.SendAsync("POST", "/create", ("Host", "shop.example"), ("Origin", origin));
        Assert.Equal(isOwn ? HttpStatusCode.OK : HttpStatusCode.Forbidden, answer.Status);
    }
}
