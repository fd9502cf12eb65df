using System.Net;
using System.Net.Http.Json;
using Microsoft.AspNetCore.Mvc.Testing;
using Microsoft.AspNetCore.TestHost;
using Microsoft.Extensions.DependencyInjection;
using Session.Testing;
using Shop;
using Xunit;

namespace Guide;

#pragma warning disable CA2234 // short addresses, as a guide has them

/// <summary>The snippets of docs/TESTING.md.</summary>
public class TestingGuide
{
    private static WebApplicationFactory<Program> Application() =>
        new WebApplicationFactory<Program>().WithWebHostBuilder(builder =>
            builder.ConfigureTestServices(services => services.AddSession<Cart>().UseMemory())
        );

    [Fact]
    public async Task The_package_in_six_lines()
    {
        await using var factory = new WebApplicationFactory<Program>().WithFakeClock(out var clock);
        using var ada = factory.CreateSignedInClient("ada", new Cart(["tea"], "admin"));
        Assert.Equal("ada", (await ada.GetFromJsonAsync<Profile>("/profile"))!.User);

        clock.Advance(TimeSpan.FromMinutes(31));
        Assert.Equal(HttpStatusCode.Unauthorized, (await ada.GetAsync("/profile")).StatusCode);
    }

    [Fact]
    public async Task Somebody_who_has_signed_in()
    {
        await using var factory = Application();
        using var ada = factory.CreateSignedInClient("ada", new Cart(["tea"], "admin"));
        var profile = await ada.GetFromJsonAsync<Profile>("/profile");
        Assert.Equal("ada", profile!.User);
        Assert.Equal("admin", profile.Role);
    }

    [Fact]
    public async Task Two_clients_are_two_browsers()
    {
        await using var factory = Application();
        using var phone = factory.CreateSignedInClient("ada", Cart.Empty);
        using var desk = factory.CreateSignedInClient("ada", Cart.Empty);
        await desk.PostAsync("/logout-everywhere", null);
        Assert.Equal(HttpStatusCode.Unauthorized, (await phone.GetAsync("/profile")).StatusCode);
    }

    [Fact]
    public async Task Time()
    {
        await using var factory = Application().WithFakeClock(out var clock);
        using var ada = factory.CreateSignedInClient("ada", Cart.Empty);

        clock.Advance(TimeSpan.FromMinutes(29));
        Assert.Equal(HttpStatusCode.OK, (await ada.GetAsync("/profile")).StatusCode);

        clock.Advance(TimeSpan.FromMinutes(30));
        Assert.Equal(HttpStatusCode.Unauthorized, (await ada.GetAsync("/profile")).StatusCode);
    }

    [Fact]
    public async Task A_store_that_fails()
    {
        await using var factory = Application()
            .WithWebHostBuilder(builder => builder.ConfigureTestServices(services => services.UseFailingStore<Cart>()));
        using var ada = factory.CreateSignedInClient("ada", Cart.Empty);
        var store = factory.Services.GetFailingStore<Cart>();

        store.Failure = StoreFailure.Unavailable;
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await ada.PostAsync("/cart/tea", null)).StatusCode);

        store.Failure = StoreFailure.None;
        Assert.Equal(HttpStatusCode.OK, (await ada.PostAsync("/cart/tea", null)).StatusCode);
    }

    [Fact]
    public async Task Requests_from_other_sites()
    {
        await using var factory = Application();
        using var ada = factory.CreateSignedInClient("ada", Cart.Empty);
        var forged = new HttpRequestMessage(HttpMethod.Post, "/cart/tea");
        forged.Headers.Add("Sec-Fetch-Site", "cross-site");
        Assert.Equal(HttpStatusCode.Forbidden, (await ada.SendAsync(forged)).StatusCode);
    }
}
