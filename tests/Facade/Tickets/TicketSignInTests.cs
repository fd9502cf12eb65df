using System.Net;
using System.Security.Claims;
using System.Text;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authentication.Cookies;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Session.CSharp;
using Session.Engine;
using Xunit;

namespace Facade.Tickets;

public class TicketSignInTests
{
    [Fact]
    public async Task A_sign_in_is_kept_on_the_server_and_a_sign_out_ends_it_there()
    {
        await using var site = await TicketSite.StartAsync();
        var browser = new TicketBrowser();
        Assert.Equal("nobody", await browser.WhoAsync(site));
        await browser.SignInAsync(site, "ada", "admin");
        Assert.Equal("ada admin", await browser.WhoAsync(site));
        var copy = browser.Copy();
        await browser.SignOutAsync(site);
        Assert.Empty(browser.Cookies);
        Assert.Equal("nobody", await browser.WhoAsync(site));
        Assert.Equal("nobody", await copy.WhoAsync(site));
        Assert.Empty(await site.ListAsync("ada"));
    }

    [Fact]
    public async Task The_cookie_carries_a_token_and_the_store_has_nothing_that_opens_it()
    {
        ISessionStore store = new MemoryStore();
        await using var site = await TicketSite.StartAsync(it => it.Store = store);
        var browser = new TicketBrowser();
        await browser.SignInAsync(site, "ada");
        var key = site.KeyIn(browser.Cookies[TicketBrowser.CookieName]);
        Assert.Equal(66, key.Length);
        var record = (await store.Load(key.Split('.')[0], default))!;
        Assert.DoesNotContain(key.Split('.')[1], Encoding.Latin1.GetString(record.Body.Span), StringComparison.Ordinal);
        Assert.Equal("ada", record.Subject);
    }

    /// <summary>aspnetcore#47503.</summary>
    [Fact]
    public async Task A_cookie_from_before_an_elevation_does_not_become_what_the_user_becomes()
    {
        await using var site = await TicketSite.StartAsync();
        var browser = new TicketBrowser();
        await browser.SignInAsync(site, "ada");
        var captured = browser.Copy();
        Assert.Equal("ada", await captured.WhoAsync(site));
        await browser.SignInAsync(site, "ada", "admin");
        Assert.Equal("ada admin", await browser.WhoAsync(site));
        Assert.Equal("nobody", await captured.WhoAsync(site));
        // One session all the while, and the thief cannot end it.
        await captured.SignOutAsync(site);
        Assert.Equal("ada admin", await browser.WhoAsync(site));
        Assert.Single(await site.ListAsync("ada"));
    }

    [Fact]
    public async Task Another_user_of_the_browser_gets_a_session_of_their_own()
    {
        await using var site = await TicketSite.StartAsync();
        var browser = new TicketBrowser();
        await browser.SignInAsync(site, "ada");
        var before = Assert.Single(await site.ListAsync("ada")).Id;
        await browser.SignInAsync(site, "bob");
        Assert.NotEqual(before, Assert.Single(await site.ListAsync("bob")).Id);
        Assert.Empty(await site.ListAsync("ada"));
    }

    [Fact]
    public async Task Each_sign_in_has_a_new_token_the_same_user_or_not()
    {
        await using var site = await TicketSite.StartAsync();
        var browser = new TicketBrowser();
        var seen = new List<TicketBrowser>();
        foreach (var user in new[] { "ada", "ada", "ada", "bob", "ada" })
        {
            await browser.SignInAsync(site, user);
            Assert.Equal(user, await browser.WhoAsync(site));
            foreach (var earlier in seen)
                Assert.Equal("nobody", await earlier.WhoAsync(site));

            seen.Add(browser.Copy());
        }

        Assert.Empty(await site.ListAsync("bob"));
        Assert.Single(await site.ListAsync("ada"));
    }

    /// <summary>aspnetcore#55634.</summary>
    [Theory, InlineData(true), InlineData(false)]
    public async Task An_old_cookie_is_not_the_next_user_of_the_device(bool inOneRequest)
    {
        await using var site = await TicketSite.StartAsync();
        var browser = new TicketBrowser();
        await browser.SignInAsync(site, "ada");
        var captured = browser.Copy();
        if (inOneRequest)
            await browser.RunAsync(
                site,
                async context =>
                {
                    await context.SignOutAsync();
                    await context.SignInAsync(TicketSite.Principal("bob"));
                }
            );
        else
        {
            await browser.SignOutAsync(site);
            await browser.SignInAsync(site, "bob");
        }

        Assert.Equal("bob", await browser.WhoAsync(site));
        Assert.Equal("nobody", await captured.WhoAsync(site));
        Assert.Empty(await site.ListAsync("ada"));
        Assert.Single(await site.ListAsync("bob"));
    }

    [Fact]
    public async Task The_last_of_several_sign_ins_in_one_request_counts()
    {
        await using var site = await TicketSite.StartAsync();
        var browser = new TicketBrowser();
        for (var round = 0; round < 2; round++)
        {
            await browser.RunAsync(
                site,
                async context =>
                {
                    await context.SignInAsync(TicketSite.Principal("ada"));
                    await context.SignInAsync(TicketSite.Principal("ada", "clerk"));
                    await context.SignInAsync(TicketSite.Principal("ada", "admin"));
                }
            );
            Assert.Equal("ada admin", await browser.WhoAsync(site));
            Assert.Single(await site.ListAsync("ada"));
        }

        // And a sign-out after all of them.
        await browser.RunAsync(
            site,
            async context =>
            {
                await context.SignInAsync(TicketSite.Principal("ada", "admin"));
                await context.SignOutAsync();
            }
        );
        Assert.Equal("nobody", await browser.WhoAsync(site));
        Assert.Empty(await site.ListAsync("ada"));
    }

    /// <summary>It ends what the same request has begun behind a sign-out, and not only what the request came with.</summary>
    [Fact]
    public async Task A_sign_in_behind_a_sign_out_is_the_requests_and_can_be_signed_out_again()
    {
        await using var site = await TicketSite.StartAsync();
        var browser = new TicketBrowser();
        await browser.SignInAsync(site, "ada");
        await browser.RunAsync(
            site,
            async context =>
            {
                await context.SignOutAsync();
                await context.SignInAsync(TicketSite.Principal("bob"));
                Assert.Equal(Assert.Single(await site.ListAsync("bob")).Id, await context.GetTicketSessionIdAsync());
                await context.SignOutAsync();
                Assert.True((await context.GetTicketSessionIdAsync()).IsEmpty);
            }
        );
        Assert.Empty(await site.ListAsync("ada"));
        Assert.Empty(await site.ListAsync("bob"));
        Assert.Equal("nobody", await browser.WhoAsync(site));
    }

    /// <summary>What a request was let in by has ended: it signs nobody in again (a refreshed sign-in beside "log out everywhere").</summary>
    [Fact]
    public async Task A_sign_in_by_a_request_whose_session_has_ended_meanwhile_is_refused()
    {
        await using var site = await TicketSite.StartAsync();
        var browser = new TicketBrowser();
        await browser.SignInAsync(site, "ada");
        var answer = await browser.RunAsync(
            site,
            async context =>
            {
                Assert.Equal(1, await site.Manager.DestroyAllAsync("ada"));
                await context.SignInAsync(context.User);
            }
        );
        Assert.Equal(HttpStatusCode.Redirect, answer.Status); // to the login page
        Assert.Empty(answer.SetCookies);
        Assert.Equal("nobody", await browser.WhoAsync(site));
        Assert.Empty(await site.ListAsync("ada"));
        // The next one is a sign-in like any other.
        await browser.SignInAsync(site, "ada");
        Assert.Equal("ada", await browser.WhoAsync(site));
    }

    [Fact]
    public async Task A_ticket_comes_back_as_it_was_claims_and_properties()
    {
        await using var site = await TicketSite.StartAsync();
        var browser = new TicketBrowser();
        var properties = new AuthenticationProperties { IsPersistent = true, AllowRefresh = false };
        properties.Items["tenant"] = "north";
        properties.StoreTokens([new AuthenticationToken { Name = "access_token", Value = "it" }]);
        await browser.SignInAsync(site, "ada", "admin", properties);
        await browser.RunAsync(
            site,
            async context =>
            {
                var result = await context.AuthenticateAsync();
                Assert.Equal("north", result.Properties!.Items["tenant"]);
                Assert.Equal("it", result.Properties.GetTokenValue("access_token"));
                Assert.True(result.Properties.IsPersistent);
                Assert.Equal("ADA", context.User.Identity!.Name);
                Assert.True(context.User.IsInRole("admin"));
            }
        );
    }

    [Fact]
    public async Task Several_schemes_at_once_keep_to_themselves()
    {
        await using var site = await TicketSite.StartAsync(plan => plan.Schemes = it => it.AddCookie("Staff"));
        var browser = new TicketBrowser();
        await browser.SignInAsync(site, "ada");
        await browser.SignInAsync(site, "root", scheme: "Staff");
        Assert.Equal("ada", await browser.WhoAsync(site));
        Assert.Equal("root", await browser.WhoAsync(site, "Staff"));

        // The key of one is nothing to the other, although both are in one store.
        var key = site.KeyIn(browser.Cookies[".AspNetCore.Staff"], "Staff");
        var schemes =
            site.Services.GetRequiredService<Microsoft.Extensions.Options.IOptionsMonitor<CookieAuthenticationOptions>>();
        Assert.NotNull(await schemes.Get("Staff").SessionStore!.RetrieveAsync(key));
        Assert.Null(await schemes.Get("Cookies").SessionStore!.RetrieveAsync(key));

        await browser.SignOutAsync(site);
        Assert.Equal("nobody", await browser.WhoAsync(site));
        Assert.Equal("root", await browser.WhoAsync(site, "Staff"));
    }

    [Fact]
    public async Task A_session_is_of_the_name_identifier_else_of_what_names_the_user()
    {
        await using var site = await TicketSite.StartAsync();
        (string Type, string Value)[][] claims =
        [
            [(ClaimTypes.NameIdentifier, "1"), ("sub", "x"), (ClaimTypes.Name, "x")],
            [("sub", "1"), (ClaimTypes.Name, "x")],
            // An empty name is nobody's.
            [(ClaimTypes.NameIdentifier, ""), ("sub", "1"), (ClaimTypes.Name, "x")],
            [("sub", "1"), (ClaimTypes.Upn, "x"), (ClaimTypes.Name, "x")],
            [(ClaimTypes.Name, "x"), (ClaimTypes.Upn, "1")],
            [(ClaimTypes.Name, "1")],
        ];
        foreach (var one in claims)
        {
            var identity = new ClaimsIdentity(one.Select(it => new Claim(it.Type, it.Value)), "test");
            await new TicketBrowser().RunAsync(site, context => context.SignInAsync(new ClaimsPrincipal(identity)));
        }

        Assert.Equal(claims.Length, (await site.ListAsync("1")).Count);

        // Of nobody: it works all the same, and with nothing known of it.
        var nameless = new TicketBrowser();
        await nameless.RunAsync(
            site,
            context => context.SignInAsync(new ClaimsPrincipal(new ClaimsIdentity([new("role", "guest")], "test")))
        );
        site.Clock.Advance(TimeSpan.FromDays(13));
        await nameless.RunAsync(
            site,
            context =>
            {
                Assert.True(context.User.HasClaim("role", "guest"));
                return Task.CompletedTask;
            }
        );
    }

    [Fact]
    public async Task What_names_no_subject_signs_nobody_in()
    {
        await using var site = await TicketSite.StartAsync();
        var browser = new TicketBrowser();
        await browser.SignInAsync(site, "ada");
        var before = browser.Copy();
        var answer = await browser.RunAsync(
            site,
            async context =>
                await Assert.ThrowsAsync<ArgumentException>(() =>
                    context.SignInAsync(TicketSite.Principal("ada\ud800"))
                )
        );
        Assert.Empty(answer.SetCookies);
        Assert.Equal("ada", await before.WhoAsync(site));
    }

    [Fact]
    public async Task A_ticket_that_is_too_large_signs_nobody_in_and_changes_nothing()
    {
        await using var site = await TicketSite.StartAsync(plan => plan.Tickets = it => it.MaxDataBytes = 2000);
        var browser = new TicketBrowser();
        var big = new string('x', 3000);
        var refused = await browser.SignInAsync(site, "ada", big);
        Assert.Equal(HttpStatusCode.RequestEntityTooLarge, refused.Status);
        Assert.Empty(refused.SetCookies);
        await browser.SignInAsync(site, "ada", "clerk");
        var answer = await browser.SignInAsync(site, "ada", big);
        Assert.Equal(HttpStatusCode.RequestEntityTooLarge, answer.Status);
        Assert.Equal("ada clerk", await browser.WhoAsync(site));
    }

    /// <summary>50 roles of 60 letters would be two cookies in the framework's way.</summary>
    [Fact]
    public async Task A_large_ticket_is_a_small_cookie()
    {
        await using var site = await TicketSite.StartAsync();
        var browser = new TicketBrowser();
        var identity = new ClaimsIdentity(
            Enumerable.Range(0, 200).Select(i => new Claim(ClaimTypes.Role, new string('r', 60) + i)),
            "test"
        );
        identity.AddClaim(new Claim(ClaimTypes.NameIdentifier, "ada"));
        await browser.RunAsync(site, context => context.SignInAsync(new ClaimsPrincipal(identity)));
        Assert.InRange(Assert.Single(browser.Cookies).Value.Length, 100, 700);
        await browser.RunAsync(
            site,
            context =>
            {
                Assert.Equal(200, context.User.FindAll(ClaimTypes.Role).Count());
                return Task.CompletedTask;
            }
        );
    }

    [Fact]
    public async Task After_the_response_has_begun_nobody_is_signed_in()
    {
        await using var site = await TicketSite.StartAsync();
        var browser = new TicketBrowser();
        await browser.SignInAsync(site, "ada");
        var before = browser.Copy();
        await browser.RunAsync(
            site,
            async context =>
            {
                await context.Response.WriteAsync("begun");
                await context.Response.Body.FlushAsync();
                await Assert.ThrowsAsync<InvalidOperationException>(() =>
                    context.SignInAsync(TicketSite.Principal("ada", "admin"))
                );
            }
        );
        Assert.Equal("ada", await before.WhoAsync(site));
        var nobody = new TicketBrowser();
        await nobody.RunAsync(
            site,
            async context =>
            {
                await context.Response.WriteAsync("begun");
                await context.Response.Body.FlushAsync();
                await Assert.ThrowsAsync<InvalidOperationException>(() =>
                    context.SignInAsync(TicketSite.Principal("bob"))
                );
            }
        );
        Assert.Empty(await site.ListAsync("bob"));
    }

    [Fact]
    public async Task The_id_of_the_session_is_that_of_the_list_before_and_after_a_sign_in()
    {
        await using var site = await TicketSite.StartAsync();
        var browser = new TicketBrowser();
        await browser.RunAsync(
            site,
            async context =>
            {
                Assert.True((await context.GetTicketSessionIdAsync()).IsEmpty);
                await context.SignInAsync(TicketSite.Principal("ada"));
                Assert.Equal((await site.ListAsync("ada")).Single().Id, await context.GetTicketSessionIdAsync());
            }
        );
        await browser.RunAsync(
            site,
            async context =>
            {
                var id = await context.GetTicketSessionIdAsync();
                Assert.Equal((await site.ListAsync("ada")).Single().Id, id);
                await context.SignInAsync(context.User);
                Assert.Equal(id, await context.GetTicketSessionIdAsync("Cookies"));
                await context.SignOutAsync();
                Assert.True((await context.GetTicketSessionIdAsync()).IsEmpty);
                var error = await Assert.ThrowsAsync<InvalidOperationException>(() =>
                    context.GetTicketSessionIdAsync("Elsewhere")
                );
                Assert.Contains("'Elsewhere'", error.Message, StringComparison.Ordinal);
            }
        );
    }
}
