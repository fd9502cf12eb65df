using System.Diagnostics;
using System.Globalization;
using System.Net;
using Session.CSharp;
using Session.Engine;
using Xunit;

namespace Facade.OpenIdConnect;

/// <summary>A sign-in and the logout at the provider that it has come from, at once: nobody stays signed in.</summary>
public class LogoutRaceTests
{
    private static async Task<string?> TrySignInAsync(LogoutSite node, string subject, string? sid)
    {
        var answer = await node.Site.WithAsync(async session =>
        {
            try
            {
                await session.SignInAsync(subject, new Cart("tea"), external: (node.Provider.Issuer, sid));
            }
            catch (SessionEndedException)
            {
                // The logout came first.
            }
        });
        return answer.Token;
    }

    private static async Task NobodyAsync(LogoutSite node, string subject, string? token, string when)
    {
        if (token is not null)
            Assert.True(await node.WhoAsync(token) is null, $"{when}: the token opens nothing");

        Assert.True(await node.Site.Manager.ListAsync(subject).CountAsync() == 0, $"{when}: no session lives");
    }

    /// <summary>Timers are too coarse for what these races are about.</summary>
    private static async Task<TAnswer> AfterAsync<TAnswer>(int microseconds, Func<Task<TAnswer>> work)
    {
        var began = Stopwatch.GetTimestamp();
        while (Stopwatch.GetElapsedTime(began) < TimeSpan.FromMicroseconds(microseconds))
            await Task.Yield();

        return await work();
    }

    /// <summary>Of a session of the provider's, of its user, and of a user who was logged out before, earlier that day.</summary>
    [Theory]
    [InlineData(true, false)]
    [InlineData(false, false)]
    [InlineData(false, true)]
    public async Task A_logout_between_any_two_calls_of_a_sign_in_leaves_nobody(bool bySession, bool isAgain)
    {
        await using var provider = await IdentityProvider.StartAsync();
        var store = new MemoryStore();
        var stepped = new Stepped(store);
        await using var signs = await LogoutSite.StartAsync(provider, stepped);
        await using var ends = await LogoutSite.StartAsync(provider, store);

        // Before its first call the sign-in of a user has not begun: it is one after the logout.
        var (first, call) = (bySession ? 1 : 2, 0);
        for (call = first; ; call++)
        {
            var (subject, sid) = ($"ada {call}", bySession ? $"sid {call}" : null);
            if (isAgain)
                Assert.Equal(HttpStatusCode.OK, (await ends.LogOutAsync(sid, subject)).Status);

            stepped.WaitAt(call);
            var signingIn = TrySignInAsync(signs, subject, sid);
            await Task.WhenAny(stepped.Reached, signingIn);
            var isUnderWay = stepped.Reached.IsCompleted;
            Assert.Equal(HttpStatusCode.OK, (await ends.LogOutAsync(sid, bySession ? null : subject)).Status);
            stepped.GoOn();
            var token = await signingIn;
            stepped.WaitAt(0);
            await NobodyAsync(ends, subject, token, $"call {call}");
            if (!isUnderWay)
                break;
        }

        Assert.InRange(call, first + 3, 50);
    }

    [Fact]
    public async Task A_sign_in_between_any_two_calls_of_a_logout_leaves_nobody()
    {
        await using var provider = await IdentityProvider.StartAsync();
        var store = new MemoryStore();
        var stepped = new Stepped(store);
        await using var signs = await LogoutSite.StartAsync(provider, store);
        await using var ends = await LogoutSite.StartAsync(provider, stepped);
        int call;
        for (call = 1; ; call++)
        {
            var (subject, sid) = ($"ada {call}", $"sid {call}");
            stepped.WaitAt(call);
            var ending = ends.LogOutAsync(sid);
            await Task.WhenAny(stepped.Reached, ending);
            var isUnderWay = stepped.Reached.IsCompleted;
            var token = await TrySignInAsync(signs, subject, sid);
            stepped.GoOn();
            Assert.Equal(HttpStatusCode.OK, (await ending).Status);
            stepped.WaitAt(0);
            await NobodyAsync(signs, subject, token, $"call {call}");
            if (!isUnderWay)
                break;
        }

        Assert.InRange(call, 4, 50);
    }

    /// <summary>SESSION_LOGOUT_RACES: how many; 100 otherwise.</summary>
    [Fact]
    public async Task Of_races_between_sign_ins_and_logouts_nobody_stays()
    {
        var races = int.Parse(
            Environment.GetEnvironmentVariable("SESSION_LOGOUT_RACES") ?? "100",
            CultureInfo.InvariantCulture
        );
        await using var provider = await IdentityProvider.StartAsync();
        var store = new MemoryStore();
        await using var signs = await LogoutSite.StartAsync(provider, store);
        await using var ends = await LogoutSite.StartAsync(provider, store);
        var (kept, refused) = (0, 0);
        for (var race = 0; race < races; race++)
        {
            var (subject, sid) = ($"ada {race}", $"sid {race}");
            var headStart = Random.Shared.Next(-1500, 1500);
            var ending = headStart < 0 ? ends.LogOutAsync(sid) : AfterAsync(headStart, () => ends.LogOutAsync(sid));
            var token = await (
                headStart < 0
                    ? AfterAsync(-headStart, () => TrySignInAsync(signs, subject, sid))
                    : TrySignInAsync(signs, subject, sid)
            );
            Assert.Equal(HttpStatusCode.OK, (await ending).Status);
            _ = token is null ? refused++ : kept++;
            await NobodyAsync(ends, subject, token, $"race {race}");
        }

        Console.WriteLine($"{races} races: {kept} sign-ins came first, {refused} came second, 0 survivors");
    }
}
