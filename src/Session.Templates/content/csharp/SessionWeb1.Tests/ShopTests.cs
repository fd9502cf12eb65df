using System.Net;
using Microsoft.AspNetCore.Mvc.Testing;
using Microsoft.AspNetCore.TestHost;
using Microsoft.Extensions.DependencyInjection;
using Session.Testing;
using Xunit;

namespace SessionWeb1.Tests;

public class ShopTests
{
    /// <summary>The application as it ships, with its sessions in this process.</summary>
    private static WebApplicationFactory<Program> Application() =>
        new WebApplicationFactory<Program>().WithWebHostBuilder(builder =>
            builder.ConfigureTestServices(services => services.AddSession<Cart>().UseMemory())
        );

    [Fact]
    public async Task Who_has_signed_in_fills_the_cart_and_sees_the_devices()
    {
        await using var factory = Application();
        using var ada = factory.CreateSignedInClient("ada", Cart.Empty.Add("tea"));
        await ada.PostAsync("/cart/cake", null);
        var page = await ada.GetStringAsync("/");
        Assert.Contains("<li>tea</li><li>cake</li>", page, StringComparison.Ordinal);
        Assert.Contains("ada", page, StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.OK, (await ada.GetAsync("/devices")).StatusCode);
    }

    [Fact]
    public async Task A_session_ends_after_half_an_hour_of_silence()
    {
        await using var factory = Application().WithFakeClock(out var clock);
        using var ada = factory.CreateSignedInClient("ada", Cart.Empty);
        clock.Advance(TimeSpan.FromMinutes(31));
        Assert.DoesNotContain("ada", await ada.GetStringAsync("/"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Whoever_asks_for_devices_without_a_sign_in_is_sent_to_the_login_page()
    {
        await using var factory = Application();
        using var nobody = factory.CreateClient(new WebApplicationFactoryClientOptions { AllowAutoRedirect = false });
        var answer = await nobody.GetAsync("/devices");
        Assert.Equal(HttpStatusCode.Redirect, answer.StatusCode);
        Assert.Equal("/login?ReturnUrl=%2Fdevices", answer.Headers.Location?.ToString());
    }
}
