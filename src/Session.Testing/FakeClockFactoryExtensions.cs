using Microsoft.AspNetCore.TestHost;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Time.Testing;

namespace Microsoft.AspNetCore.Mvc.Testing;

/// <summary>A clock that stands still until the test moves it: sessions end by <c>clock.Advance(TimeSpan.FromMinutes(31))</c>.</summary>
public static class FakeClockFactoryExtensions
{
    /// <summary>The application with a clock that stands still; it begins now.</summary>
    /// <param name="factory">The application.</param>
    /// <param name="clock">Its clock: <c>clock.Advance(…)</c>.</param>
    /// <typeparam name="TProgram">The application's entry point.</typeparam>
    public static WebApplicationFactory<TProgram> WithFakeClock<TProgram>(
        this WebApplicationFactory<TProgram> factory,
        out FakeTimeProvider clock
    )
        where TProgram : class
    {
        ArgumentNullException.ThrowIfNull(factory);
        var made = new FakeTimeProvider(DateTimeOffset.UtcNow);
        clock = made;
        return factory.WithWebHostBuilder(builder =>
            builder.ConfigureTestServices(services => services.UseFakeClock(made))
        );
    }
}
