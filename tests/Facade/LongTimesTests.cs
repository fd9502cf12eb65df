using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;
using Session.AspNetCore;
using Session.CSharp;
using Session.Engine;
using Session.OpenIdConnect;
using Xunit;

namespace Facade;

/// <summary>Timers end at 49 days: a time that is accepted at start is one that the application runs with.</summary>
public class LongTimesTests
{
    private static readonly TimeSpan _tenYears = TimeSpan.FromDays(3650);

    public static TheoryData<string> Times =>
        [
            .. typeof(SessionOptions<Cart>)
                .GetProperties()
                .Where(p => p.PropertyType == typeof(TimeSpan) || p.PropertyType == typeof(TimeSpan?))
                .Select(p => p.Name),
        ];

    [Theory]
    [MemberData(nameof(Times))]
    public async Task The_longest_time_that_is_accepted_runs(string name)
    {
        var property = typeof(SessionOptions<Cart>).GetProperty(name)!;
        var longest = Longest(value => IsAccepted(o => property.SetValue(o, value)));
        Assert.True(longest > TimeSpan.FromMinutes(9), name);

        // The sweeper's pause is a fifth more or less: it is asked more than once.
        var times = name == nameof(SessionOptions<Cart>.SweepInterval) ? 8 : 1;
        for (var i = 0; i < times; i++)
        {
            var read = "";
            await using var site = await EdgeSite.StartAsync(
                app =>
                {
                    app.UseSession<Cart>();
                    app.MapGet(
                        "/begin",
                        async (Session<Cart> session) =>
                        {
                            await session.SignInAsync("ada", new Cart("tea"));
                            // A connection that is watched.
                            using var ended = session.Ended.Register(() => { });
                            await session.UpdateAsync(cart => cart! with { Count = 2 });
                        }
                    );
                    app.MapGet("/read", (Session<Cart> session) => session.Data?.Count);
                },
                configure: o =>
                {
                    Widen(o);
                    property.SetValue(o, longest);
                }
            );
            var token = (await site.GetAsync("/begin")).Token;
            read = (await site.GetAsync("/read", token)).Body;
            Assert.Equal("2", read);
            var sweeping = site
                .Services.GetServices<IHostedService>()
                .OfType<SessionHost<Cart>>()
                .Single()
                .ExecuteTask!;
            Assert.False(sweeping.IsCompleted, sweeping.Exception?.Message);
            var lifetime = site.Services.GetRequiredService<IHostApplicationLifetime>();
            Assert.False(lifetime.ApplicationStopping.IsCancellationRequested);
        }
    }

    [Fact]
    public void What_a_timer_cannot_wait_for_is_refused_by_name()
    {
        Assert.True(IsAccepted(o => o.SweepInterval = TimeSpan.FromDays(30)));
        var error = Assert.Throws<OptionsValidationException>(() =>
            Settings(o => o.SweepInterval = TimeSpan.FromDays(30) + TimeSpan.FromTicks(1))
        );
        Assert.Contains("SweepInterval is longer than 30 days", error.Message);
    }

    /// <summary>Its records go by themselves, a day after their time.</summary>
    private sealed class Forgetting() : ForwardingStore(new MemoryStore())
    {
        public override ValueTask<StoreReport> Prepare(CancellationToken cancellationToken) =>
            new(new StoreReport("forgetting", true, true, [], TimeSpan.FromDays(1)));
    }

    /// <summary>Where sweeps are rarer than records go, no expiry would be told, and whoever only reads would be signed out.</summary>
    [Fact]
    public async Task Sweeps_come_before_the_store_lets_go()
    {
        await using (await Site.StartAsync(o => o.SweepInterval = TimeSpan.FromHours(8), store: () => new Forgetting()))
        { }

        var error = await Assert.ThrowsAsync<OptionsValidationException>(() =>
            Site.StartAsync(
                o => o.SweepInterval = TimeSpan.FromHours(8) + TimeSpan.FromTicks(1),
                store: () => new Forgetting()
            )
        );
        Assert.Contains("JanitorMargin", error.Message);
    }

    /// <summary>Reckoned with, each of them: a sum of times that no clock has would be a 500 for every logout.</summary>
    [Fact]
    public void The_times_of_a_providers_logouts_have_an_end()
    {
        var times = typeof(BackChannelLogoutOptions)
            .GetProperties()
            .Where(p => p.PropertyType == typeof(TimeSpan))
            .ToList();
        Assert.Equal(3, times.Count);
        foreach (var time in times)
        {
            var longest = TimeSpan.FromDays(time.Name == nameof(BackChannelLogoutOptions.KeysFor) ? 30 : 1);
            Assert.Null(With(time, longest));
            Assert.Contains(time.Name, With(time, longest + TimeSpan.FromTicks(1)));
            Assert.Contains(time.Name, With(time, TimeSpan.MaxValue));
        }

        static string? With(System.Reflection.PropertyInfo time, TimeSpan value)
        {
            using var app = WebApplication.CreateSlimBuilder().Build();
            try
            {
                app.MapBackChannelLogout<Cart>(
                    "/logout",
                    o =>
                    {
                        (o.Authority, o.Audience) = ("https://id.example.com", "shop");
                        time.SetValue(o, value);
                    }
                );
                return null;
            }
            catch (ArgumentException error)
            {
                return error.Message;
            }
        }
    }

    private static TimeSpan Longest(Func<TimeSpan, bool> isAccepted)
    {
        var (low, high) = (TimeSpan.FromMinutes(9).Ticks, TimeSpan.MaxValue.Ticks);
        Assert.True(isAccepted(TimeSpan.FromTicks(low)));
        while (high - low > 1)
        {
            var middle = low + (high - low) / 2;
            if (isAccepted(TimeSpan.FromTicks(middle)))
                low = middle;
            else
                high = middle;
        }

        return TimeSpan.FromTicks(low);
    }

    /// <summary>So that no other time is what refuses.</summary>
    private static void Widen(SessionOptions<Cart> options)
    {
        options.AbsoluteTimeout = _tenYears;
        options.IdleTimeout = TimeSpan.FromMinutes(5);
        options.ConfirmTimeout = TimeSpan.FromMinutes(5);
        options.RotateEvery = null;
    }

    private static bool IsAccepted(Action<SessionOptions<Cart>> configure)
    {
        try
        {
            Settings(o =>
            {
                Widen(o);
                configure(o);
            });
            return true;
        }
        catch (OptionsValidationException)
        {
            return false;
        }
    }

    private static void Settings(Action<SessionOptions<Cart>> configure)
    {
        var services = new ServiceCollection();
        services.AddSession(configure);
        using var provider = services.BuildServiceProvider();
        provider.GetRequiredService<SessionService<Cart>>();
    }
}
