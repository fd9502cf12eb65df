using System.Diagnostics.Metrics;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Session.AspNetCore;
using Session.CSharp;
using Session.Engine;
using Xunit;

namespace Facade.Telemetry;

/// <summary>A day of an application on which everything happens that there is an instrument for.</summary>
internal sealed class Tale : IAsyncDisposable
{
    private readonly HashSet<string> _secrets = new(StringComparer.Ordinal);

    private Tale(Site site, StumblingStore store) => (Site, Store) = (site, store);

    public Site Site { get; }
    public StumblingStore Store { get; }

    /// <summary>Tokens, secrets, ids and subjects: what no tag may have.</summary>
    public IReadOnlySet<string> Secrets => _secrets;

    public IMeterFactory Meters => Site.Services.GetRequiredService<IMeterFactory>();

    public static async Task<Tale> StartAsync(
        Action<IServiceCollection>? add = null,
        Action<WebApplication>? map = null
    )
    {
        var store = new StumblingStore(new MemoryStore());
        var site = await Site.StartAsync(
            o =>
            {
                o.MaxSessionsPerSubject = 2;
                o.RotateEvery = TimeSpan.FromMinutes(5);
                o.ConfirmTimeout = TimeSpan.FromMinutes(10);
                // By nobody but the tale.
                o.SweepInterval = TimeSpan.FromDays(20);
            },
            map,
            () => store,
            services => add?.Invoke(services)
        );
        return new Tale(site, store);
    }

    public async Task TellAsync()
    {
        // Begun and confirmed, signed in, written: one conflict on the way.
        var ada = await BeginAsync(null);
        await BeginAsync("ada");
        await Site.WithAsync(session => session.UpdateAsync(_ => new Cart("milk")), ada);
        Store.Conflicts = 1;
        await Site.WithAsync(session => session.UpdateAsync(_ => new Cart("rum")), ada);
        var signedIn = Note((await Site.WithAsync(session => session.SignInAsync("ada", new Cart("tea")), ada)).Token!);
        var id = Site.IdOf(signedIn);

        // Requests that bring what opens nothing.
        await OpenAsync(ada);
        await OpenAsync(id + "." + new string('A', 43));
        await OpenAsync("nothing");
        await OpenAsync(signedIn + "|" + ada);
        await Site.InRequestAsync(
            async context =>
            {
                context.Request.Method = "POST";
                context.Request.Headers["Sec-Fetch-Site"] = "cross-site";
                var session = await context.GetSessionAsync<Cart>();
                await Assert.ThrowsAsync<SessionCrossSiteException>(() => session.UpdateAsync(_ => new Cart("gin")));
            },
            signedIn
        );

        // A renewal, and the old token once more when its time is over.
        Site.Clock.Advance(TimeSpan.FromMinutes(6));
        var renewed = Note((await OpenAsync(signedIn)).Token!);
        await OpenAsync(renewed);
        Site.Clock.Advance(TimeSpan.FromMinutes(2));
        await OpenAsync(signedIn);

        // Ends: by the user, by an operator, by the limit of sessions.
        var bob = await BeginAsync("bob");
        await Site.WithAsync(session => session.DestroyAsync(), bob);
        await BeginAsync("eve");
        await Site.Manager.DestroyAllAsync("eve");
        for (var i = 0; i < 3; i++)
        {
            await BeginAsync("many");
            Site.Clock.Advance(TimeSpan.FromSeconds(2));
        }

        // The store fails, and is back.
        Store.IsAway = true;
        await OpenAsync(renewed);
        Store.IsAway = false;

        // By time: never confirmed, idle, and as old as a session may be.
        Note((await Site.WithAsync(session => session.CreateAsync(new Cart("left")))).Token!);
        var old = await BeginAsync("old");
        for (var i = 0; i < 30; i++)
        {
            Site.Clock.Advance(TimeSpan.FromMinutes(20));
            if ((await OpenAsync(old)).Token is { Length: > 0 } next)
                old = Note(next);
        }

        Site.Clock.Advance(TimeSpan.FromDays(2));
        var engine = Site.Services.GetRequiredService<SessionService<Cart>>().Engine;
        while (await engine.Sweep(100, CancellationToken.None) > 0) { }

        await BeginAsync("last");
        await engine.CountLive(CancellationToken.None);
    }

    public ValueTask DisposeAsync() => Site.DisposeAsync();

    private async Task<string> BeginAsync(string? subject)
    {
        if (subject is not null)
            _secrets.Add(subject);

        return Note(await Site.BeginAsync(subject));
    }

    private async Task<Reply> OpenAsync(string token) =>
        await Site.InRequestAsync(
            async context =>
            {
                try
                {
                    await context.GetSessionAsync<Cart>();
                }
                catch (SessionUnavailableException) { }
            },
            token
        );

    private string Note(string token)
    {
        _secrets.Add(token);
        foreach (var part in token.Split('.'))
            _secrets.Add(part);

        return token;
    }
}
