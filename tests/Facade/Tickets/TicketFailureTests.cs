using System.Net;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authentication.Cookies;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;
using Xunit;

namespace Facade.Tickets;

public class TicketFailureTests
{
    public static TheoryData<string> ErrorHandling => ["none", "handler", "page"];

    private static Task<TicketSite> StartAsync(FailingStore store, string errorHandling) =>
        TicketSite.StartAsync(plan =>
        {
            plan.Store = store;
            plan.Environment = errorHandling == "page" ? "Development" : "Production";
            plan.Pipeline = app =>
            {
                if (errorHandling == "page")
                    app.UseDeveloperExceptionPage();
                else if (errorHandling == "handler")
                    app.UseExceptionHandler("/error");
            };
        });

    [Theory, MemberData(nameof(ErrorHandling))]
    public async Task A_store_that_is_down_is_503_and_signs_nobody_out(string errorHandling)
    {
        var store = new FailingStore();
        await using var site = await StartAsync(store, errorHandling);
        var browser = new TicketBrowser();
        await browser.SignInAsync(site, "ada");
        Assert.Equal("ada", await browser.WhoAsync(site));
        store.IsDown = true;
        foreach (
            var answer in new[]
            {
                await browser.GetAsync(site, "/guarded"),
                await browser.RunAsync(site, _ => Task.CompletedTask),
                await browser.SignOutAsync(site),
                await browser.SignInAsync(site, "ada", "admin"),
                await new TicketBrowser().SignInAsync(site, "bob"),
            }
        )
        {
            Assert.Equal(HttpStatusCode.ServiceUnavailable, answer.Status);
            Assert.Empty(answer.SetCookies);
        }

        // Without a cookie nothing is asked of the store.
        var calls = store.Calls;
        Assert.Equal("well", (await new TicketBrowser().GetAsync(site, "/health")).Body);
        Assert.Equal(HttpStatusCode.Redirect, (await new TicketBrowser().GetAsync(site, "/guarded")).Status);
        Assert.Equal(calls, store.Calls);

        store.IsDown = false;
        Assert.Equal("ada", await browser.WhoAsync(site));
        Assert.Empty(await site.ListAsync("bob"));
    }

    [Fact]
    public async Task Pages_that_need_nobody_go_on_without_the_store_where_the_settings_say_so()
    {
        var store = new FailingStore();
        await using var site = await TicketSite.StartAsync(plan =>
        {
            plan.Store = store;
            plan.Tickets = it => it.ContinueWithoutStore = true;
        });
        var browser = new TicketBrowser();
        await browser.SignInAsync(site, "ada");
        store.IsDown = true;
        Assert.Equal("well", (await browser.GetAsync(site, "/health")).Body);
        Assert.Equal("nobody", await browser.WhoAsync(site));
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await browser.Copy().SignInAsync(site, "ada")).Status);
        store.IsDown = false;
        Assert.Equal("ada", await browser.WhoAsync(site));
    }

    /// <summary>Requests that only read go on without the store. Who is told to be signed out is.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Where_pages_go_on_without_the_store_a_sign_out_does_not(bool isBackByThen)
    {
        var store = new FailingStore();
        await using var site = await TicketSite.StartAsync(plan =>
        {
            plan.Store = store;
            plan.Tickets = it => it.ContinueWithoutStore = true;
        });
        var ada = new TicketBrowser();
        await ada.SignInAsync(site, "ada");
        var copy = ada.Copy();

        async Task<TicketAnswer> LaterAsync(Func<HttpContext, Task> work)
        {
            store.IsDown = true;
            var answer = await ada.RunAsync(
                site,
                async context =>
                {
                    Assert.Null(context.User.Identity?.Name);
                    store.IsDown = !isBackByThen;
                    await work(context);
                }
            );
            store.IsDown = false;
            return answer;
        }

        var logout = await LaterAsync(context => context.SignOutAsync());
        Assert.Equal(HttpStatusCode.ServiceUnavailable, logout.Status);
        Assert.Empty(logout.SetCookies);
        Assert.Equal("ada", await ada.WhoAsync(site));

        // The application's own call, with the key alone.
        var key = site.KeyIn(ada.Cookies[TicketBrowser.CookieName]);
        var tickets = site
            .Services.GetRequiredService<IOptionsMonitor<CookieAuthenticationOptions>>()
            .Get(CookieAuthenticationDefaults.AuthenticationScheme)
            .SessionStore!;
        store.IsDown = true;
        await Assert.ThrowsAsync<Session.CSharp.SessionUnavailableException>(() => tickets.RemoveAsync(key));
        Assert.Null(await tickets.RetrieveAsync(key));
        store.IsDown = false;

        // A sign-in ends what the browser had before, or is none.
        var login = await LaterAsync(context => context.SignInAsync(TicketSite.Principal("bob")));
        Assert.Equal(isBackByThen ? HttpStatusCode.OK : HttpStatusCode.ServiceUnavailable, login.Status);
        Assert.Equal(isBackByThen ? "nobody" : "ada", await copy.WhoAsync(site));
        Assert.Equal(isBackByThen ? 1 : 0, (await site.ListAsync("bob")).Count);
        Assert.Equal(isBackByThen ? 0 : 1, (await site.ListAsync("ada")).Count);
        if (isBackByThen)
        {
            Assert.Equal("bob", await ada.WhoAsync(site));
            await ada.SignOutAsync(site);
            Assert.Equal("nobody", await ada.WhoAsync(site));
        }
    }

    [Fact]
    public async Task A_sign_in_that_could_not_be_stored_is_no_success()
    {
        var store = new FailingStore { TakesNoWrites = true };
        await using var site = await StartAsync(store, "none");
        var browser = new TicketBrowser();
        var answer = await browser.RunAsync(
            site,
            async context =>
            {
                await context.SignInAsync(TicketSite.Principal("ada"));
                await context.Response.WriteAsync("welcome");
            }
        );
        Assert.Equal(HttpStatusCode.ServiceUnavailable, answer.Status);
        Assert.DoesNotContain("welcome", answer.Body, StringComparison.Ordinal);
        Assert.Empty(answer.SetCookies);
    }

    /// <summary>The old token is dead: who is not given the new one would be signed out by the failure.</summary>
    [Theory, MemberData(nameof(ErrorHandling))]
    public async Task An_elevation_that_is_stored_and_not_confirmed_is_no_success_and_signs_nobody_out(
        string errorHandling
    )
    {
        var store = new FailingStore();
        await using var site = await StartAsync(store, errorHandling);
        var browser = new TicketBrowser();
        await browser.SignInAsync(site, "ada");
        await browser.WhoAsync(site);
        store.ConfirmsNothing = true;
        var answer = await browser.SignInAsync(site, "ada", "admin");
        Assert.Equal(HttpStatusCode.ServiceUnavailable, answer.Status);
        Assert.Single(answer.SetCookies);
        store.ConfirmsNothing = false;
        Assert.Equal("ada admin", await browser.WhoAsync(site));
    }

    /// <summary>The same of a session that begins, a stranger's or that of another user of the browser: it may be gone with a failover.</summary>
    [Theory, InlineData(false), InlineData(true)]
    public async Task A_sign_in_that_is_stored_and_not_confirmed_is_no_success_and_hands_its_token_over(bool isChange)
    {
        var store = new FailingStore();
        await using var site = await StartAsync(store, "none");
        var browser = new TicketBrowser();
        if (isChange)
        {
            await browser.SignInAsync(site, "ada");
            await browser.WhoAsync(site);
        }

        store.ConfirmsNoneThatBegins = true;
        var answer = await browser.SignInAsync(site, "bob");
        store.ConfirmsNoneThatBegins = false;
        Assert.Equal(HttpStatusCode.ServiceUnavailable, answer.Status);
        Assert.Single(answer.SetCookies);
        Assert.Equal("bob", await browser.WhoAsync(site));
        Assert.Empty(await site.ListAsync("ada"));
    }

    /// <summary>A session that nobody has the token of would be listed and counted all the same.</summary>
    [Fact]
    public async Task A_change_of_user_that_fails_leaves_no_session_behind()
    {
        var store = new FailingStore();
        await using var site = await StartAsync(store, "none");
        var browser = new TicketBrowser();
        await browser.SignInAsync(site, "ada");
        await browser.WhoAsync(site);
        store.KeepsFor = Assert.Single(await site.ListAsync("ada")).Id.Value;
        var answer = await browser.SignInAsync(site, "bob");
        Assert.Equal(HttpStatusCode.ServiceUnavailable, answer.Status);
        Assert.Empty(await site.ListAsync("bob"));
        Assert.Equal("ada", await browser.WhoAsync(site));
    }

    [Fact]
    public async Task A_sign_out_that_could_not_be_stored_is_no_success()
    {
        var store = new FailingStore();
        await using var site = await StartAsync(store, "none");
        var browser = new TicketBrowser();
        await browser.SignInAsync(site, "ada");
        await browser.WhoAsync(site);
        store.TakesNoWrites = true;
        var answer = await browser.SignOutAsync(site);
        Assert.Equal(HttpStatusCode.ServiceUnavailable, answer.Status);
        Assert.Empty(answer.SetCookies);
        Assert.Equal("ada", await browser.WhoAsync(site));
        store.TakesNoWrites = false;
        await browser.SignOutAsync(site);
        Assert.Equal("nobody", await browser.WhoAsync(site));
    }

    /// <summary>The application has caught the failure and tries once more: that is an end in the store as well, or another failure.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_sign_out_that_is_tried_again_signs_out_or_fails_again(bool isBackByThen)
    {
        var store = new FailingStore();
        await using var site = await StartAsync(store, "none");
        var browser = new TicketBrowser();
        await browser.SignInAsync(site, "ada");
        var copy = browser.Copy();
        Assert.Equal("ada", await copy.WhoAsync(site));
        var answer = await browser.RunAsync(
            site,
            async context =>
            {
                store.TakesNoWrites = true;
                await Assert.ThrowsAsync<Session.CSharp.SessionUnavailableException>(() => context.SignOutAsync());
                store.TakesNoWrites = !isBackByThen;
                await context.SignOutAsync();
            }
        );
        store.TakesNoWrites = false;
        Assert.Equal(isBackByThen ? HttpStatusCode.OK : HttpStatusCode.ServiceUnavailable, answer.Status);
        Assert.Equal(isBackByThen ? "nobody" : "ada", await copy.WhoAsync(site));
        Assert.Equal(isBackByThen ? 0 : 1, (await site.ListAsync("ada")).Count);
    }

    [Fact]
    public async Task A_failure_of_the_application_stays_the_applications()
    {
        await using var site = await TicketSite.StartAsync(plan =>
            plan.Pipeline = app =>
            {
                app.UseExceptionHandler(error =>
                    error.Run(context =>
                    {
                        context.Response.StatusCode = 418;
                        return Task.CompletedTask;
                    })
                );
                app.MapGet("/fails", string () => throw new OperationCanceledException("its own"));
            }
        );
        Assert.Equal(418, (int)(await new TicketBrowser().GetAsync(site, "/fails")).Status);
    }
}
