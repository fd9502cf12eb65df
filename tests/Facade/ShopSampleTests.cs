using System.Net;
using System.Net.Http.Json;
using System.Text.RegularExpressions;
using Microsoft.AspNetCore.Mvc.Testing;
using Microsoft.AspNetCore.TestHost;
using Microsoft.Extensions.DependencyInjection;
using Session.Testing;
using Xunit;

namespace Facade;

#pragma warning disable CA2234 // short addresses

/// <summary>samples/Shop on the authentication scheme: its login page, its guards, its form.</summary>
public partial class ShopSampleTests
{
    private static WebApplicationFactory<global::Program> Sample() =>
        new WebApplicationFactory<global::Program>().WithWebHostBuilder(builder =>
        {
            builder.UseSetting("environment", "Development");
            builder.ConfigureTestServices(services => services.AddSession<Shop.Cart>().UseMemory());
        });

    private static HttpClient Browse(WebApplicationFactory<global::Program> factory) =>
        factory.CreateClient(new WebApplicationFactoryClientOptions { AllowAutoRedirect = false });

    [GeneratedRegex("name=\"(__RequestVerificationToken)\" value=\"([^\"]+)\"")]
    private static partial Regex Token();

    private static async Task<HttpResponseMessage> SubmitAsync(
        HttpClient browser,
        string page,
        string user,
        string? token = null,
        string role = "customer"
    )
    {
        var form = token ?? Token().Match(await browser.GetStringAsync(page)).Groups[2].Value;
        using var fields = new FormUrlEncodedContent(
            new Dictionary<string, string>
            {
                ["__RequestVerificationToken"] = form,
                ["user"] = user,
                ["role"] = role,
            }
        );
        return await browser.PostAsync(page, fields);
    }

    [Fact]
    public async Task Who_is_not_signed_in_is_sent_to_the_login_page_and_comes_back_with_the_cart()
    {
        await using var factory = Sample();
        using var browser = Browse(factory);
        await browser.PostAsync("/cart/tea", null);

        using var sent = await browser.GetAsync("/account");
        Assert.Equal(HttpStatusCode.Redirect, sent.StatusCode);
        Assert.Equal("/signin?ReturnUrl=%2Faccount", sent.Headers.Location!.ToString());

        using var back = await SubmitAsync(browser, "/signin?ReturnUrl=%2Faccount", " ada ", role: "admin");
        Assert.Equal(HttpStatusCode.Redirect, back.StatusCode);
        Assert.Equal("/account", back.Headers.Location!.ToString());
        using var there = await browser.GetAsync("/account");
        Assert.Equal("/#account", there.Headers.Location!.ToString());

        var profile = await browser.GetFromJsonAsync<Shop.Profile>("/profile");
        Assert.Equal(("ada", "admin"), (profile!.User, profile.Role));
        Assert.Equal(["tea"], profile.Items);
    }

    [Theory]
    [InlineData("https://evil.example/")]
    [InlineData("//evil.example")]
    [InlineData("/\\evil.example")]
    public async Task The_login_page_leads_to_no_other_site(string returnUrl)
    {
        await using var factory = Sample();
        using var browser = Browse(factory);
        using var back = await SubmitAsync(browser, "/signin?ReturnUrl=" + Uri.EscapeDataString(returnUrl), "ada");
        Assert.Equal("/", back.Headers.Location!.ToString());
    }

    [Theory]
    [InlineData("GET", "/profile")]
    [InlineData("GET", "/sessions")]
    [InlineData("DELETE", "/sessions/AAAAAAAAAAAAAAAAAAAAAA")]
    [InlineData("POST", "/logout-everywhere")]
    public async Task What_the_script_asks_for_is_a_401_without_a_sign_in(string method, string path)
    {
        await using var factory = Sample();
        using var browser = Browse(factory);
        await browser.PostAsync("/cart/tea", null);
        using var request = new HttpRequestMessage(new HttpMethod(method), path);
        using var answer = await browser.SendAsync(request);
        Assert.Equal(HttpStatusCode.Unauthorized, answer.StatusCode);
    }

    [Fact]
    public async Task The_form_of_another_browser_or_of_before_the_sign_in_signs_nobody_in()
    {
        await using var factory = Sample();
        using var eve = Browse(factory);
        using var ada = Browse(factory);
        var page = await eve.GetStringAsync("/signin");
        var theirs = Token().Match(page).Groups[2].Value;
        Assert.NotEmpty(theirs);

        using var planted = await SubmitAsync(ada, "/signin", "eve", theirs);
        Assert.Equal(HttpStatusCode.BadRequest, planted.StatusCode);
        using var none = await SubmitAsync(ada, "/signin", "eve", "");
        Assert.Equal(HttpStatusCode.BadRequest, none.StatusCode);
        Assert.Equal(HttpStatusCode.Unauthorized, (await ada.GetAsync("/profile")).StatusCode);

        var before = Token().Match(await ada.GetStringAsync("/signin")).Groups[2].Value;
        Assert.Equal(HttpStatusCode.Redirect, (await SubmitAsync(ada, "/signin", "ada", before)).StatusCode);
        Assert.Equal(HttpStatusCode.BadRequest, (await SubmitAsync(ada, "/signin", "eve", before)).StatusCode);
        Assert.Equal("ada", (await ada.GetFromJsonAsync<Shop.Profile>("/profile"))!.User);
    }

    [Fact]
    public async Task A_name_that_is_none_is_said_on_the_page_and_in_JSON()
    {
        await using var factory = Sample();
        using var browser = Browse(factory);
        using var page = await SubmitAsync(browser, "/signin?ReturnUrl=%22%3E%3Cb%3E", "  ");
        Assert.Equal(HttpStatusCode.BadRequest, page.StatusCode);
        var html = await page.Content.ReadAsStringAsync();
        Assert.Contains("1 to 100 characters", html, StringComparison.Ordinal);
        Assert.DoesNotContain("\"><b>", html, StringComparison.Ordinal);

        using var json = await browser.PostAsJsonAsync("/login", new { user = "" });
        Assert.Equal(HttpStatusCode.BadRequest, json.StatusCode);
        Assert.Contains("1 to 100", await json.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        using var empty = await browser.PostAsync("/login", null);
        Assert.InRange((int)empty.StatusCode, 400, 499);
        using var text = await browser.PostAsync("/login", new StringContent("ada"));
        Assert.Equal(HttpStatusCode.UnsupportedMediaType, text.StatusCode);
        Assert.Equal(HttpStatusCode.Unauthorized, (await browser.GetAsync("/profile")).StatusCode);
    }
}
