using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authentication.Cookies;
using Microsoft.AspNetCore.Diagnostics;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;
using Session.AspNetCore;
using Session.CSharp;
using Session.Engine;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Keeps the tickets of cookie authentication on the server.</summary>
public static class ServerSideTicketServiceCollectionExtensions
{
    private const string CookieName = "__Host-ticket";

    // As long as sessions may be: the ticket says when it ends.
    private static readonly TimeSpan Unlimited = TimeSpan.FromDays(3650);

    /// <summary>
    /// Every cookie authentication scheme, Identity's included, keeps its ticket as a session; the cookie carries a token
    /// that nothing in the store can be turned into. Choose a store on what it returns; without one they live in memory.
    /// </summary>
    /// <remarks>
    /// A ticket ends when it says (<c>ExpireTimeSpan</c>, <c>SlidingExpiration</c>, <c>ExpiresUtc</c>). <c>IdleTimeout</c>
    /// and <c>AbsoluteTimeout</c> are unset here, and end it earlier where they are set. Each sign-in has a new token;
    /// <c>SessionManager&lt;AuthenticationTicket&gt;</c> lists and ends the sessions of a user, whose subject is the
    /// principal's name identifier. In a store that has the sessions of <c>AddSession</c> as well they have a place of their own:
    /// the table or collection <c>tickets</c>, the prefix <c>ticket:</c>. Cookies from before are not adopted: their users sign in once more.
    /// </remarks>
    /// <param name="services">The services: the order of this and <c>AddAuthentication</c> or <c>AddIdentity</c> does not matter.</param>
    /// <param name="configure">Limits, events and keys of the sessions. The cookie is the scheme's.</param>
    public static SessionBuilder AddServerSideTickets(
        this IServiceCollection services,
        Action<SessionOptions<AuthenticationTicket>>? configure = null
    )
    {
        ArgumentNullException.ThrowIfNull(services);
        services.Configure<SessionOptions<AuthenticationTicket>>(options =>
        {
            // The name keeps it apart from other sessions. No cookie of this name is ever set.
            options.Cookie.Name = CookieName;
            options.IdleTimeout = Unlimited;
            options.AbsoluteTimeout = Unlimited;
            options.RotateEvery = null;
        });
        if (configure is not null)
            services.Configure(configure);

        services.TryAddSingleton<SessionManager<AuthenticationTicket>>();
        services.TryAddSingleton<TicketWiring>();
        services.TryAddSingleton<TicketFailures>();
        services.TryAddEnumerable(
            ServiceDescriptor.Singleton<IPostConfigureOptions<CookieAuthenticationOptions>, TicketWiring>(
                Get<TicketWiring>
            )
        );
        services.TryAddEnumerable(ServiceDescriptor.Singleton<IHostedService, TicketWiring>(Get<TicketWiring>));
        services.TryAddEnumerable(ServiceDescriptor.Singleton<IStartupFilter, TicketFailures>(Get<TicketFailures>));
        services.TryAddEnumerable(ServiceDescriptor.Singleton<IExceptionHandler, TicketFailures>(Get<TicketFailures>));
        services.TryAddEnumerable(
            ServiceDescriptor.Singleton<IDeveloperPageExceptionFilter, TicketFailures>(Get<TicketFailures>)
        );

        SessionRegistration.add(
            provider => SettingsOf(provider.GetRequiredService<IOptions<SessionOptions<AuthenticationTicket>>>().Value),
            _ => new TicketDataSerializer(),
            services
        );
        return new SessionBuilder(services, typeof(AuthenticationTicket), "ticket");
    }

    private static TService Get<TService>(IServiceProvider provider)
        where TService : notnull => provider.GetRequiredService<TService>();

    private static SessionSettings SettingsOf(SessionOptions<AuthenticationTicket> options)
    {
        if (options.Cookie.Name != CookieName || options.Partitioned || options.HeaderName is not null)
            throw Refusal(
                "Cookie, Partitioned and HeaderName: set the cookie at its scheme, AddCookie(o => o.Cookie…)."
            );

        if (options.RotateEvery is not null)
            throw Refusal("RotateEvery: a ticket's token is new at each sign-in, and only then.");

        if (options.Serializer is not null || options.DataVersion != 1 || options.Upcasters.Count > 0)
            throw Refusal("Serializer, DataVersion and Upcasters: tickets are written by the framework's serializer.");

        if (options.IdleTimeout == Unlimited && options.AbsoluteTimeout < Unlimited)
            options.IdleTimeout = options.AbsoluteTimeout;

        // A ticket of nobody (a remembered browser) may come back as late as it likes.
        options.ConfirmTimeout ??= options.AbsoluteTimeout;
        return options.ToSettings();
    }

    private static OptionsValidationException Refusal(string what) =>
        new(
            nameof(AuthenticationTicket),
            typeof(SessionOptions<AuthenticationTicket>),
            ["AddServerSideTickets has no use for " + what]
        );
}
