using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authentication.Cookies;
using Microsoft.AspNetCore.Diagnostics;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
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
    /// principal's name identifier. Nobody's are the tickets of steps on the way to a sign-in: of Identity's external and two-factor
    /// cookies, and of a scheme that an identity provider's handler signs in to (<c>SignInScheme</c>), unless it is the default
    /// one for authentication, or what that passes requests on to, or an endpoint or its policy names it. In a store that has the sessions of <c>AddSession</c> as well they have a place of their own:
    /// the table or collection <c>tickets</c>, the prefix <c>ticket:</c>. Cookies from before are not adopted: their users sign in once more.
    /// </remarks>
    /// <param name="services">The services: the order of this and <c>AddAuthentication</c> or <c>AddIdentity</c> does not matter.</param>
    /// <param name="configure">Limits, events and keys of the sessions. The cookie is the scheme's: what would change nothing for tickets is refused at start. Of more calls all count.</param>
    public static SessionBuilder AddServerSideTickets(
        this IServiceCollection services,
        Action<SessionOptions<AuthenticationTicket>>? configure = null
    )
    {
        ArgumentNullException.ThrowIfNull(services);
        // Before all that is said of them, so that a module that calls this as well resets nothing.
        services.Insert(
            0,
            ServiceDescriptor.Singleton<IConfigureOptions<SessionOptions<AuthenticationTicket>>>(
                new ConfigureOptions<SessionOptions<AuthenticationTicket>>(Begin)
            )
        );
        services.AddOptions();
        if (configure is not null)
            services.Configure(configure);

        services.TryAddSingleton<SessionManager<AuthenticationTicket>>();
        services.TryAddSingleton<TicketSchemes>();
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

    private static void Begin(SessionOptions<AuthenticationTicket> options)
    {
        // The name keeps it apart from other sessions. No cookie of this name is ever set.
        options.Cookie.Name = CookieName;
        options.IdleTimeout = Unlimited;
        options.AbsoluteTimeout = Unlimited;
        options.RotateEvery = null;
    }

    // Whoever sets one of them believes that something is guarded by it.
    private static readonly (
        string Name,
        Func<SessionOptions<AuthenticationTicket>, object?> Value,
        string Why
    )[] OfNoUse =
    [
        ("Cookie", it => LookOf(it.Cookie), OfScheme),
        ("Partitioned", it => it.Partitioned, OfScheme),
        ("HeaderName", it => it.HeaderName, OfScheme),
        ("TrustedOrigins", it => string.Join(' ', it.TrustedOrigins), OfSites),
        ("AllowCrossSiteWrites", it => it.AllowCrossSiteWrites, OfSites),
        ("RotateEvery", it => it.RotateEvery, OfTokens),
        ("RotationGrace", it => it.RotationGrace, OfTokens),
        ("DestroyOnReplay", it => it.DestroyOnReplay, OfTokens),
        ("LiveCheck", it => it.LiveCheck, OfConnections),
        ("ConnectionsExtendIdle", it => it.ConnectionsExtendIdle, OfConnections),
        ("Serializer", it => it.Serializer, OfData),
        ("DataVersion", it => it.DataVersion, OfData),
        ("Upcasters", it => it.Upcasters.Count, OfData),
    ];

    private const string OfScheme = "set the cookie at its scheme, AddCookie(o => o.Cookie…).";
    private const string OfSites =
        "it does not look where a request comes from. SameSite of the scheme's cookie and antiforgery tokens do.";
    private const string OfTokens =
        "a ticket's token is new at each sign-in, and only then, and the one before is dead.";
    private const string OfConnections = "no connection is open for a ticket.";
    private const string OfData = "tickets are written by the framework's serializer.";

    private static object? LookOf(CookieBuilder? cookie) =>
        cookie is null
            ? null
            : (
                cookie.Name,
                cookie.Domain,
                cookie.Path,
                cookie.SameSite,
                cookie.SecurePolicy,
                cookie.HttpOnly,
                cookie.MaxAge,
                cookie.Expiration,
                cookie.IsEssential,
                string.Join(';', cookie.Extensions)
            );

    private static SessionSettings SettingsOf(SessionOptions<AuthenticationTicket> options)
    {
        var unset = new SessionOptions<AuthenticationTicket>();
        Begin(unset);
        var refused = OfNoUse.Where(it => !Equals(it.Value(options), it.Value(unset))).ToArray();
        if (refused.Length > 0)
            throw new OptionsValidationException(
                nameof(AuthenticationTicket),
                typeof(SessionOptions<AuthenticationTicket>),
                refused.Select(it => $"AddServerSideTickets has no use for {it.Name}: {it.Why}")
            );

        if (options.IdleTimeout == Unlimited && options.AbsoluteTimeout < Unlimited)
            options.IdleTimeout = options.AbsoluteTimeout;

        // A ticket of nobody (a remembered browser) may come back as late as it likes.
        options.ConfirmTimeout ??= options.AbsoluteTimeout;
        return options.ToSettings();
    }
}
