using System.Net;
using System.Text.RegularExpressions;
using Xunit;

namespace Facade.Tickets;

/// <summary>Identity with a database of users, its real sign-in, and forms with antiforgery tokens: over HTTP.</summary>
public class IdentitySampleTests
{
    private const string First = "correct horse battery";
    private const string Second = "staple battery horse";

    [Fact]
    public async Task A_password_change_renews_this_browser_and_ends_all_others()
    {
        await using var sample = await IdentitySample.StartAsync();
        using var home = sample.Browse();
        using var work = sample.Browse();
        using var phone = sample.Browse();

        var guarded = await home.GetAsync("/devices");
        Assert.Equal(HttpStatusCode.Redirect, guarded.Status);
        Assert.Contains("/login?ReturnUrl=%2Fdevices", guarded.Location, StringComparison.Ordinal);

        var registered = await home.SubmitAsync("/register", "/register", ("user", "ada"), ("password", First));
        Assert.Equal((HttpStatusCode.Redirect, "/devices"), (registered.Status, registered.Location));
        var wrong = await work.SubmitAsync("/login", "/login", ("user", "ada"), ("password", Second));
        Assert.Contains("is wrong", wrong.Body, StringComparison.Ordinal);
        Assert.False(await work.IsSignedInAsync());
        await work.SubmitAsync("/login", "/login", ("user", "ada"), ("password", First));
        await phone.SubmitAsync(
            "/login?ReturnUrl=%2Fpassword",
            "/login?ReturnUrl=%2Fpassword",
            ("user", "ada"),
            ("password", First),
            ("remember", "true")
        );
        Assert.True(await work.IsSignedInAsync());
        Assert.True(await phone.IsSignedInAsync());

        var devices = (await home.GetAsync("/devices")).Body;
        Assert.Single(Regex.Matches(devices, "This browser"));
        Assert.Equal(2, Regex.Matches(devices, "Another browser").Count);

        var changed = await home.SubmitAsync("/password", "/password", ("current", First), ("next", Second));
        Assert.Equal((HttpStatusCode.Redirect, "/devices"), (changed.Status, changed.Location));
        Assert.True(await home.IsSignedInAsync());
        Assert.False(await work.IsSignedInAsync());
        Assert.False(await phone.IsSignedInAsync());
        Assert.DoesNotContain("Another browser", (await home.GetAsync("/devices")).Body, StringComparison.Ordinal);

        await work.SubmitAsync("/login", "/login", ("user", "ada"), ("password", Second));
        Assert.True(await work.IsSignedInAsync());
    }

    [Fact]
    public async Task A_device_is_ended_by_its_owner_with_an_antiforgery_token_and_by_nobody_else()
    {
        await using var sample = await IdentitySample.StartAsync();
        using var home = sample.Browse();
        using var work = sample.Browse();
        using var eve = sample.Browse();
        await home.SubmitAsync("/register", "/register", ("user", "ada"), ("password", First));
        await work.SubmitAsync("/login", "/login", ("user", "ada"), ("password", First));
        await eve.SubmitAsync("/register", "/register", ("user", "eve"), ("password", First));
        var id = Regex.Match((await home.GetAsync("/devices")).Body, "name=\"id\" value=\"([^\"]+)\"").Groups[1].Value;
        Assert.Equal(22, id.Length);

        // A form of another site has no token.
        Assert.Equal(HttpStatusCode.BadRequest, (await home.PostAsync("/devices/end", ("id", id))).Status);
        Assert.Equal(HttpStatusCode.BadRequest, (await home.PostAsync("/devices/end-others", ("x", ""))).Status);
        Assert.Equal(HttpStatusCode.BadRequest, (await home.PostAsync("/logout", ("x", ""))).Status);
        Assert.True(await work.IsSignedInAsync());

        // Eve has a token of her own, and the id.
        var token = Regex.Match(
            (await eve.GetAsync("/devices")).Body,
            "name=\"(__RequestVerificationToken)\" value=\"([^\"]+)\""
        );
        var tried = await eve.PostAsync("/devices/end", (token.Groups[1].Value, token.Groups[2].Value), ("id", id));
        Assert.Equal(HttpStatusCode.NotFound, tried.Status);
        Assert.True(await work.IsSignedInAsync());

        var ended = await home.SubmitAsync("/devices", "/devices/end");
        Assert.Equal(HttpStatusCode.Redirect, ended.Status);
        Assert.False(await work.IsSignedInAsync());
        Assert.True(await home.IsSignedInAsync());

        await home.SubmitAsync("/devices", "/logout");
        Assert.False(await home.IsSignedInAsync());
        Assert.True(await eve.IsSignedInAsync());
    }

    [Fact]
    public void What_the_guide_shows_is_in_the_sample_word_by_word()
    {
        static string Plain(string code) => Regex.Replace(code, @"\s+", "");

        var guide = File.ReadAllText(Repository.Under("docs", "IDENTITY.md"));
        var sample = Plain(File.ReadAllText(Repository.Under("samples", "Identity", "Program.cs")));
        var shown = Regex.Matches(guide, "```csharp\n(.*?)```", RegexOptions.Singleline);
        Assert.True(shown.Count >= 3);
        foreach (var block in shown.Select(it => it.Groups[1].Value))
            Assert.Contains(Plain(block), sample, StringComparison.Ordinal);
    }
}
