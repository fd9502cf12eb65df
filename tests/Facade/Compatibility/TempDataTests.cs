using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.ApplicationParts;
using Microsoft.AspNetCore.Mvc.Controllers;
using Microsoft.Extensions.DependencyInjection;
using Xunit;
using static Facade.Compatibility.Sessions;

namespace Facade.Compatibility;

/// <summary>TempData in the session, by the framework's own provider: <c>AddSessionStateTempDataProvider()</c>.</summary>
public class TempDataTests
{
    private static Task<CompatSite> StartAsync(Sessions whose, CountedStore? store = null) =>
        CompatSite.StartAsync(
            whose,
            store: store,
            add: services =>
                services
                    .AddControllersWithViews()
                    .AddSessionStateTempDataProvider()
                    .ConfigureApplicationPartManager(parts =>
                    {
                        parts.ApplicationParts.Clear();
                        parts.FeatureProviders.Add(new Only());
                    }),
            map: app => app.MapControllerRoute("all", "{controller}/{action}")
        );

    [Theory]
    [InlineData(Framework)]
    [InlineData(Ours)]
    public async Task It_survives_a_redirect_and_is_gone_once_it_was_read(Sessions whose)
    {
        await using var site = await StartAsync(whose);
        var ann = site.NewVisitor();
        var posted = await ann.SendAsync("/temp/save", "POST");
        Assert.Equal(HttpStatusCode.Redirect, posted.Status);
        Assert.Single(posted.SetCookies);
        Assert.Equal("saved 7", (await ann.SendAsync("/temp/show")).Body);
        Assert.Equal("nothing", (await ann.SendAsync("/temp/show")).Body);
    }

    [Theory]
    [InlineData(Framework)]
    [InlineData(Ours)]
    public async Task It_stays_when_it_is_kept_or_only_looked_at(Sessions whose)
    {
        await using var site = await StartAsync(whose);
        var ann = site.NewVisitor();
        await ann.SendAsync("/temp/save", "POST");
        Assert.Equal("saved", (await ann.SendAsync("/temp/peek")).Body);
        Assert.Equal("saved", (await ann.SendAsync("/temp/keep")).Body);
        Assert.Equal("untouched", (await ann.SendAsync("/temp/other")).Body);
        Assert.Equal("saved 7", (await ann.SendAsync("/temp/show")).Body);
        Assert.Equal("nothing", (await ann.SendAsync("/temp/peek")).Body);
    }

    [Theory]
    [InlineData(Framework)]
    [InlineData(Ours)]
    public async Task It_lives_beside_other_values(Sessions whose)
    {
        await using var site = await StartAsync(whose);
        var ann = site.NewVisitor();
        await ann.WithAsync(session => Microsoft.AspNetCore.Http.SessionExtensions.SetString(session, "a", "1"));
        await ann.SendAsync("/temp/save", "POST");
        Assert.Equal("1", await ann.ReadAsync("a"));
        Assert.Equal("saved 7", (await ann.SendAsync("/temp/show")).Body);
        Assert.Equal("1", await ann.ReadAsync("a"));
    }

    /// <summary>The framework takes away what is not there: nothing is changed by that, and nothing refused.</summary>
    [Fact]
    public async Task A_form_from_another_site_that_only_looks_for_a_message_gets_its_answer()
    {
        await using var site = await StartAsync(Ours);
        var ann = site.NewVisitor();
        await ann.WithAsync(session => Microsoft.AspNetCore.Http.SessionExtensions.SetString(session, "a", "1"));
        var back = await ann.SendAsync("/temp/show", "POST", ("Sec-Fetch-Site", "same-site"));
        Assert.Equal((HttpStatusCode.OK, "nothing"), (back.Status, back.Body));
        Assert.Equal("1", await ann.ReadAsync("a"));

        // Where there is one, to read it is to take it away: that is refused.
        await ann.SendAsync("/temp/save", "POST");
        var taking = await ann.SendAsync("/temp/show", "POST", ("Sec-Fetch-Site", "same-site"));
        Assert.Equal(HttpStatusCode.Forbidden, taking.Status);
        Assert.Equal("saved 7", (await ann.SendAsync("/temp/show")).Body);
    }

    [Fact]
    public async Task Where_it_cannot_be_stored_the_redirect_is_a_503()
    {
        var store = new CountedStore();
        await using var site = await StartAsync(Ours, store);
        store.FailsWrites = true;
        var posted = await site.NewVisitor().SendAsync("/temp/save", "POST");
        Assert.Equal(HttpStatusCode.ServiceUnavailable, posted.Status);
        Assert.Null(posted["Location"]);
        Assert.Contains("\"status\":503", posted.Body, StringComparison.Ordinal);
    }

    private sealed class Only : IApplicationFeatureProvider<ControllerFeature>
    {
        public void PopulateFeature(IEnumerable<ApplicationPart> parts, ControllerFeature feature) =>
            feature.Controllers.Add(System.Reflection.IntrospectionExtensions.GetTypeInfo(typeof(TempController)));
    }
}

public sealed class TempController : Controller
{
    [HttpPost]
    public IActionResult Save()
    {
        TempData["text"] = "saved";
        TempData["number"] = 7;
        return RedirectToAction(nameof(Show));
    }

    public IActionResult Show() =>
        Content(TempData["text"] is string text ? $"{text} {TempData["number"]}" : "nothing");

    public IActionResult Peek() => Content((string?)TempData.Peek("text") ?? "nothing");

    public IActionResult Keep()
    {
        var text = (string?)TempData["text"];
        TempData.Keep();
        return Content(text ?? "nothing");
    }

    public IActionResult Other() => Content("untouched");
}
