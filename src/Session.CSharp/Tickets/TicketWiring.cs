using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authentication.Cookies;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;
using Session.AspNetCore;

namespace Session.CSharp;

/// <summary>Gives every cookie scheme its ticket store, and refuses to start where one would not use it.</summary>
internal sealed class TicketWiring(IServiceProvider services)
    : IPostConfigureOptions<CookieAuthenticationOptions>,
        IHostedService
{
    public void PostConfigure(string? name, CookieAuthenticationOptions options)
    {
        var scheme = name ?? Options.DefaultName;
        if (options.SessionStore is not null)
            throw Refusal(
                scheme,
                "has a SessionStore of its own: remove it, since AddServerSideTickets keeps the tickets of every cookie scheme."
            );

        var store = new TicketStore(
            services.GetRequiredService<SessionService<AuthenticationTicket>>(),
            services.GetRequiredService<TicketSchemes>(),
            scheme
        );
        options.SessionStore = store;
        options.CookieManager = new TicketCookies(options.CookieManager ?? new ChunkingCookieManager(), store, options);
    }

    /// <summary>What is set after this library has its turn would undo it, and be found out by an attacker.</summary>
    public async Task StartAsync(CancellationToken cancellationToken)
    {
        if (services.GetService<IAuthenticationSchemeProvider>() is not { } schemes)
            return;

        var monitor = services.GetRequiredService<IOptionsMonitor<CookieAuthenticationOptions>>();
        foreach (var scheme in await schemes.GetAllSchemesAsync().ConfigureAwait(false))
        {
            if (!TicketSchemes.IsCookie(scheme))
                continue;

            if (monitor.Get(scheme.Name) is not { SessionStore: TicketStore, CookieManager: TicketCookies })
                throw Refusal(
                    scheme.Name,
                    "gets another SessionStore or CookieManager in a PostConfigure: set CookieManager in AddCookie or Configure, and no SessionStore."
                );
        }
    }

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    private static OptionsValidationException Refusal(string scheme, string why) =>
        new(scheme, typeof(CookieAuthenticationOptions), [$"The cookie scheme '{scheme}' {why}"]);
}
