using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Time.Testing;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>A clock that stands still until the test moves it: sessions end by <c>clock.Advance(TimeSpan.FromMinutes(31))</c>.</summary>
public static class FakeClockExtensions
{
    /// <summary>The application's clock is this one. For <c>ConfigureTestServices</c>.</summary>
    /// <remarks>Deadlines, renewals and the sweeper go by it; how long a request waits for its store does not.</remarks>
    public static IServiceCollection UseFakeClock(this IServiceCollection services, FakeTimeProvider clock)
    {
        ArgumentNullException.ThrowIfNull(services);
        ArgumentNullException.ThrowIfNull(clock);
        services.RemoveAll<TimeProvider>();
        return services.AddSingleton<TimeProvider>(clock);
    }
}
