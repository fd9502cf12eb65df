using System.Net;
using System.Security.Claims;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Session.CSharp;
using Xunit;

namespace Facade.Authentication;

/// <summary>Sign-in and sign-out through the scheme: a new token, the data as the application says, and back to this site only.</summary>
public class SchemeSignInTests
{
    private static ClaimsPrincipal Principal(params (string Type, string Value)[] claims) =>
        new(new ClaimsIdentity(claims.Select(it => new Claim(it.Type, it.Value)), "test"));

    private static void WithData(SessionAuthenticationOptions<Cart> options)
    {
        SchemeSite.Usual(options);
        options.Data = (user, cart) =>
            new Cart(user.FindFirstValue(ClaimTypes.Role) ?? cart?.Item ?? "none", (cart?.Count ?? 0) + 1);
    }

    private static Task<EdgeSite> StartAsync(
        Action<SessionAuthenticationOptions<Cart>> options,
        Watched? store = null,
        Action<Exception>? hear = null
    )
    {
        async Task<IResult> In(HttpContext context, string user, string? role, string? to, int? status)
        {
            context.Response.StatusCode = status ?? 200;
            (string, string)[] claims = role is null
                ? [(ClaimTypes.NameIdentifier, user)]
                : [(ClaimTypes.NameIdentifier, user), (ClaimTypes.Role, role)];
            try
            {
                await context.SignInAsync(Principal(claims), new AuthenticationProperties { RedirectUri = to });
                return Results.Empty;
            }
            catch (Exception error) when (hear is not null)
            {
                hear(error);
                return Results.Conflict();
            }
        }

        return SchemeSite.StartAsync(
            services => services.AddAuthentication().AddSession(options),
            store,
            map: app =>
            {
                app.MapPost("/signin", In);
                app.MapPost("/elsewhere", In);
                app.MapPost(
                    "/results",
                    (string user) => Results.SignIn(Principal((ClaimTypes.Name, user), (ClaimTypes.Role, "admin")))
                );
                app.MapPost("/sub", () => Results.SignIn(Principal(("sub", "by sub"), ("name", "Ada"))));
                app.MapPost("/nameless", () => Results.SignIn(Principal(("email", "ada@shop.example"))));
                app.MapPost(
                    "/callback",
                    (HttpContext context, string user) =>
                    {
                        var properties = new AuthenticationProperties();
                        properties.Items[".AuthScheme"] = "oidc";
                        return context.SignInAsync(Principal((ClaimTypes.NameIdentifier, user)), properties);
                    }
                );
                app.MapPost("/out", () => Results.SignOut());
                app.MapPost(
                    "/out-to",
                    (HttpContext context, int? status) =>
                    {
                        context.Response.StatusCode = status ?? 200;
                        return Results.SignOut(new AuthenticationProperties { RedirectUri = "/bye" });
                    }
                );
                app.MapGet(
                    "/session",
                    (Session<Cart> session) =>
                        $"{session.Subject ?? "nobody"} {session.Data?.Item ?? "none"} {session.Data?.Count ?? 0}"
                );
            }
        );
    }

    [Fact]
    public async Task The_answer_of_an_identity_provider_comes_from_another_site_and_a_login_form_does_not()
    {
        await using var site = await StartAsync(WithData);
        (string, string)[] sent = [("Sec-Fetch-Site", "cross-site"), ("Origin", "https://id.example")];
        var refused = await site.SendAsync("POST", "/elsewhere?user=eve&role=admin", sent);
        Assert.Equal(HttpStatusCode.Forbidden, refused.Status);
        Assert.Empty(refused.SetCookies);

        var signedIn = await site.SendAsync("POST", "/callback?user=ada", sent);
        Assert.Equal(HttpStatusCode.OK, signedIn.Status);
        Assert.Equal("ada none 1", (await site.GetAsync("/session", signedIn.Token)).Body);
    }

    [Fact]
    public async Task A_principal_becomes_the_subject_and_the_session_gets_the_data_that_the_function_gives()
    {
        await using var site = await StartAsync(WithData);
        var signedIn = await site.SendAsync("POST", "/elsewhere?user=ada&role=admin");
        Assert.Equal(HttpStatusCode.OK, signedIn.Status);
        Assert.Equal("no-store", signedIn["Cache-Control"]);
        Assert.Equal("ada admin 1", (await site.GetAsync("/session", signedIn.Token)).Body);
        Assert.Equal("ada", (await site.GetAsync("/minimal/admin", signedIn.Token)).Body);

        var byResult = await site.SendAsync("POST", "/results?user=bob");
        Assert.Equal("bob", (await site.GetAsync("/minimal/admin", byResult.Token)).Body);
        var bySub = await site.SendAsync("POST", "/sub");
        Assert.Equal("by sub none 1", (await site.GetAsync("/session", bySub.Token)).Body);
    }

    [Fact]
    public async Task The_data_of_an_anonymous_session_stays_and_the_old_token_is_dead()
    {
        await using var site = await StartAsync(SchemeSite.Usual);
        var before = (await site.SendAsync("POST", "/begin")).Token;
        var signedIn = await site.SendAsync("POST", "/elsewhere?user=ada", ("Cookie", "__Host-sid=" + before));
        Assert.NotEqual(before, signedIn.Token);
        Assert.Equal("ada tea 1", (await site.GetAsync("/session", signedIn.Token)).Body);
        Assert.Equal("nobody none 0", (await site.GetAsync("/session", before)).Body);
    }

    [Fact]
    public async Task The_data_of_another_subject_is_not_handed_on()
    {
        Exception? heard = null;
        await using var site = await StartAsync(SchemeSite.Usual, hear: error => heard = error);
        var adas = await site.SignInAsync("her cart");
        var bob = await site.SendAsync("POST", "/elsewhere?user=bob", ("Cookie", "__Host-sid=" + adas));
        Assert.Equal(HttpStatusCode.Conflict, bob.Status);
        Assert.IsType<InvalidOperationException>(heard);
        Assert.Contains("set Data", heard.Message, StringComparison.Ordinal);

        // Nothing was changed; and her own sign-in keeps it.
        Assert.Equal("ada her cart 1", (await site.GetAsync("/session", adas)).Body);
        var again = await site.SendAsync("POST", "/elsewhere?user=ada", ("Cookie", "__Host-sid=" + adas));
        Assert.Equal("ada her cart 1", (await site.GetAsync("/session", again.Token)).Body);

        await using var fresh = await StartAsync(WithData);
        adas = await fresh.SignInAsync("her cart");
        bob = await fresh.SendAsync("POST", "/elsewhere?user=bob", ("Cookie", "__Host-sid=" + adas));
        Assert.Equal("bob none 1", (await fresh.GetAsync("/session", bob.Token)).Body);
    }

    [Fact]
    public async Task Without_data_to_begin_with_or_without_a_name_the_error_says_what_to_change()
    {
        Exception? heard = null;
        await using var site = await StartAsync(SchemeSite.Usual, hear: error => heard = error);
        Assert.Equal(HttpStatusCode.Conflict, (await site.SendAsync("POST", "/elsewhere?user=ada")).Status);
        Assert.Contains("AddSession<Cart>", heard!.Message, StringComparison.Ordinal);
        var nameless = await site.SendAsync("POST", "/nameless");
        Assert.Equal(HttpStatusCode.InternalServerError, nameless.Status);
        Assert.Empty(nameless.SetCookies);
    }

    /// <summary>Code without nullable annotations gives null where it has nothing: no claims, or no data to begin a session with.</summary>
    [Fact]
    public async Task Functions_that_give_nothing_add_no_claims_and_begin_no_session()
    {
        Exception? heard = null;
        await using var site = await StartAsync(
            options =>
            {
                options.Claims = (_, _) => null!;
                options.Data = (user, _) => user.HasClaim(ClaimTypes.Role, "nobody") ? null! : new Cart("tea");
            },
            hear: error => heard = error
        );
        var signedIn = await site.SendAsync("POST", "/elsewhere?user=ada");
        Assert.Equal("ada", (await site.GetAsync("/me", signedIn.Token)).Body);
        Assert.Equal(HttpStatusCode.Forbidden, (await site.GetAsync("/minimal/admin", signedIn.Token)).Status);
        Assert.Null(heard);
        var refused = await site.SendAsync("POST", "/elsewhere?user=bob&role=nobody");
        Assert.Equal(HttpStatusCode.Conflict, refused.Status);
        Assert.Empty(refused.SetCookies);
        Assert.Contains("set Data", heard?.Message, StringComparison.Ordinal);
    }

    /// <summary>A header has ASCII only: a server that is given anything else fails, after the sign-in is stored.</summary>
    [Theory]
    [InlineData("/caf\u00e9?q=\u03b1#\ud83d\ude00", "/caf%C3%A9?q=%CE%B1#%F0%9F%98%80")]
    [InlineData("/caf%C3%A9", "/caf%C3%A9")]
    public async Task A_way_back_in_any_language_is_one(string url, string location)
    {
        await using var site = await StartAsync(WithData);
        foreach (
            var (header, status) in new[]
            {
                ("text/html", HttpStatusCode.Redirect),
                // A program would follow, and take the page for the answer to its sign-in.
                ("XMLHttpRequest", HttpStatusCode.OK),
            }
        )
        {
            var answer = await site.SendAsync(
                "POST",
                $"/signin?user=ada&ReturnUrl={Uri.EscapeDataString(url)}",
                ("X-Requested-With", header)
            );
            Assert.Equal((status, location), (answer.Status, answer["Location"]));
            Assert.Single(answer.SetCookies);
        }
    }

    [Fact]
    public async Task A_sign_in_that_the_store_does_not_take_is_a_503()
    {
        Exception? heard = null;
        var store = new Watched { IsAway = true };
        await using var site = await StartAsync(WithData, store);
        var answer = await site.SendAsync("POST", "/signin?user=ada&ReturnUrl=/cart");
        Assert.Equal((HttpStatusCode.ServiceUnavailable, null), (answer.Status, answer["Location"]));
        Assert.Empty(answer.SetCookies);

        await using var hearing = await StartAsync(WithData, store, error => heard = error);
        await hearing.SendAsync("POST", "/signin?user=ada");
        Assert.IsType<SessionUnavailableException>(heard);
    }

    [Theory]
    [InlineData("/cart", true)]
    [InlineData("/", true)]
    [InlineData("/cart?x=//y", true)]
    [InlineData("//evil.example", false)]
    [InlineData("/\\evil.example", false)]
    [InlineData("\\\\evil.example", false)]
    [InlineData("/\t/evil.example", false)]
    [InlineData("/\n/evil.example", false)]
    [InlineData("\t//evil.example", false)]
    [InlineData(" //evil.example", false)]
    [InlineData("https://evil.example", false)]
    [InlineData("https:evil.example", false)]
    [InlineData("javascript:alert(1)", false)]
    [InlineData("~/cart", false)]
    [InlineData("cart", false)]
    [InlineData("", false)]
    public async Task The_login_page_leads_back_to_this_site_only(string url, bool isLocal)
    {
        await using var site = await StartAsync(WithData);
        var query = $"?user=ada&ReturnUrl={Uri.EscapeDataString(url)}";
        var answer = await site.SendAsync("POST", "/signin" + query);
        Assert.Equal(
            isLocal ? (HttpStatusCode.Redirect, url) : (HttpStatusCode.OK, null),
            (answer.Status, answer["Location"])
        );
        Assert.NotEmpty(answer.SetCookies);

        // Other pages lead nowhere, whatever their query says.
        Assert.Null((await site.SendAsync("POST", "/elsewhere" + query))["Location"]);
    }

    [Fact]
    public async Task Two_addresses_to_go_back_to_are_none()
    {
        await using var site = await StartAsync(WithData);
        var answer = await site.SendAsync("POST", "/signin?user=ada&ReturnUrl=/a&ReturnUrl=//evil.example");
        Assert.Equal((HttpStatusCode.OK, null), (answer.Status, answer["Location"]));
    }

    [Fact]
    public async Task What_the_application_says_itself_counts()
    {
        await using var site = await StartAsync(WithData);
        var answer = await site.SendAsync("POST", "/elsewhere?user=ada&to=https://other.example/a&ReturnUrl=/b");
        Assert.Equal((HttpStatusCode.Redirect, "https://other.example/a"), (answer.Status, answer["Location"]));

        // Also on the login page.
        answer = await site.SendAsync("POST", "/signin?user=ada&to=/a&ReturnUrl=/b");
        Assert.Equal((HttpStatusCode.Redirect, "/a"), (answer.Status, answer["Location"]));
    }

    /// <summary>Who is signed in, or out, goes nowhere from there: a redirect would be all that is seen of the answer.</summary>
    [Theory]
    [InlineData(201)]
    [InlineData(202)]
    [InlineData(401)]
    [InlineData(403)]
    [InlineData(404)]
    [InlineData(500)]
    public async Task Where_the_application_has_answered_otherwise_nobody_is_led_on(int status)
    {
        await using var site = await StartAsync(WithData);
        foreach (var way in new[] { "signin", "elsewhere", "out-to" })
        foreach (var client in new[] { "text/html", "XMLHttpRequest" })
        {
            var token = await site.SignInAsync();
            var answer = await site.SendAsync(
                "POST",
                $"/{way}?user=ada&status={status}{(way == "elsewhere" ? "&to=/a" : "")}&ReturnUrl=/cart",
                ("Cookie", "__Host-sid=" + token),
                ("X-Requested-With", client)
            );
            Assert.Equal((status, null), ((int)answer.Status, answer["Location"]));
            // What was asked of the session is done all the same.
            Assert.Single(answer.SetCookies);
            Assert.Equal("nobody none 0", (await site.GetAsync("/session", token)).Body);
        }
    }

    [Theory]
    [InlineData("/SignIn")]
    [InlineData("/SIGNIN")]
    public async Task The_login_page_is_known_however_its_path_is_written(string path)
    {
        await using var site = await StartAsync(WithData);
        var answer = await site.SendAsync("POST", path + "?user=ada&ReturnUrl=/cart");
        Assert.Equal((HttpStatusCode.Redirect, "/cart"), (answer.Status, answer["Location"]));
    }

    [Fact]
    public async Task How_long_it_lives_is_not_for_the_sign_in_to_say()
    {
        var said = new AuthenticationProperties { IsPersistent = true, ExpiresUtc = DateTimeOffset.UtcNow.AddYears(1) };
        await using var site = await SchemeSite.StartAsync(
            services => services.AddAuthentication().AddSession<Cart>(WithData),
            map: app => app.MapPost("/in", () => Results.SignIn(Principal((ClaimTypes.Name, "ada")), said))
        );
        var cookie = Assert.Single((await site.SendAsync("POST", "/in")).SetCookies);
        Assert.DoesNotContain("max-age", cookie, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain("expires", cookie, StringComparison.OrdinalIgnoreCase);
    }

    [Fact]
    public async Task A_sign_out_ends_the_session_and_clears_the_cookie()
    {
        await using var site = await StartAsync(WithData);
        var token = await site.SignInAsync();
        var answer = await site.SendAsync("POST", "/out", ("Cookie", "__Host-sid=" + token));
        Assert.Contains("max-age=0", Assert.Single(answer.SetCookies), StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.Redirect, (await site.GetAsync("/me", token)).Status);
        Assert.Equal("nobody none 0", (await site.GetAsync("/session", token)).Body);

        var to = await site.SendAsync("POST", "/out-to", ("Cookie", "__Host-sid=" + await site.SignInAsync()));
        Assert.Equal((HttpStatusCode.Redirect, "/bye"), (to.Status, to["Location"]));
        Assert.Equal(HttpStatusCode.OK, (await site.SendAsync("POST", "/out")).Status);
    }

    [Fact]
    public void Settings_without_sense_are_refused()
    {
        static SessionAuthenticationOptions<Cart> Of(Action<SessionAuthenticationOptions<Cart>> change)
        {
            var services = new ServiceCollection();
            services.AddLogging();
            services.AddAuthentication().AddSession(change);
            using var provider = services.BuildServiceProvider();
            var handlers = provider.GetRequiredService<IAuthenticationHandlerProvider>();
            var context = new DefaultHttpContext { RequestServices = provider };
            handlers.GetHandlerAsync(context, "Session").GetAwaiter().GetResult();
            return new();
        }

        Of(o => o.LoginPath = "/signin");
        Assert.Throws<ArgumentException>(() => Of(o => o.ReturnUrlParameter = ""));
        Assert.Throws<ArgumentException>(() => Of(o => o.LoginPath = "signin"));
    }

    /// <summary>Of each setting there is a test above, or in the files beside this one.</summary>
    [Fact]
    public void Every_setting_is_known_here()
    {
        var settings = typeof(SessionAuthenticationOptions<Cart>)
            .GetProperties()
            .Where(it => it.DeclaringType == typeof(SessionAuthenticationOptions<Cart>))
            .Select(it => it.Name);
        Assert.Equal(["AccessDeniedPath", "Claims", "Data", "LoginPath", "ReturnUrlParameter"], settings.Order());
    }
}
