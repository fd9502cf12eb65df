using System.Net;
using Microsoft.AspNetCore.Mvc.Testing;
using Microsoft.AspNetCore.TestHost;
using Microsoft.Extensions.DependencyInjection;
using Session.Testing;
using Shop;
using Xunit;

namespace Guide;

#pragma warning disable CA2234 // short addresses

/// <summary>The stream that the shop's page listens to.</summary>
public class ShopStreamTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    private static WebApplicationFactory<Program> Application() =>
        new WebApplicationFactory<Program>().WithWebHostBuilder(builder =>
            builder.ConfigureTestServices(services => services.AddSession<Cart>().UseMemory())
        );

    private static async Task<StreamReader> ListenAsync(HttpClient browser)
    {
        var response = await browser.GetAsync("/events", HttpCompletionOption.ResponseHeadersRead);
        var reader = new StreamReader(await response.EnsureSuccessStatusCode().Content.ReadAsStreamAsync());
        Assert.Equal("data: Open", await reader.ReadLineAsync().WaitAsync(Patience));
        return reader;
    }

    [Fact]
    public async Task Log_out_everywhere_in_one_browser_ends_the_stream_of_the_page_in_the_other()
    {
        await using var factory = Application();
        using var phone = factory.CreateSignedInClient("ada", Cart.Empty);
        using var desk = factory.CreateSignedInClient("ada", Cart.Empty);
        using var eve = factory.CreateSignedInClient("eve", Cart.Empty);
        using var phones = await ListenAsync(phone);
        using var desks = await ListenAsync(desk);
        using var eves = await ListenAsync(eve);
        await desk.PostAsync("/logout-everywhere", null);
        Assert.Equal("data: Revoked", (await phones.ReadToEndAsync().WaitAsync(Patience)).Trim());
        Assert.Equal("data: SignedOut", (await desks.ReadToEndAsync().WaitAsync(Patience)).Trim());
        Assert.Equal(HttpStatusCode.Unauthorized, (await phone.GetAsync("/events")).StatusCode);
        var next = eves.ReadToEndAsync();
        await Task.WhenAny(next, Task.Delay(200));
        Assert.False(next.IsCompleted);
    }

    [Fact]
    public async Task An_open_stream_keeps_no_session()
    {
        await using var factory = Application().WithFakeClock(out var clock);
        using var ada = factory.CreateSignedInClient("ada", Cart.Empty);
        clock.Advance(TimeSpan.FromMinutes(20));
        using var stream = await ListenAsync(ada);
        clock.Advance(TimeSpan.FromMinutes(10));
        Assert.Equal("data: Idle", (await stream.ReadToEndAsync().WaitAsync(Patience)).Trim());
    }
}
