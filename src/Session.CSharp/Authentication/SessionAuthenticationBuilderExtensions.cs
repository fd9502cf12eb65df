using Microsoft.AspNetCore.Authentication;
using Microsoft.Extensions.Options;
using Microsoft.FSharp.Core;
using Session.AspNetCore;
using Session.CSharp;
using Session.Engine;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Makes sessions an authentication scheme.</summary>
public static class SessionAuthenticationBuilderExtensions
{
    /// <summary>
    /// The sessions with data <typeparamref name="T"/> as the scheme <c>Session</c>: <c>HttpContext.User</c>, <c>[Authorize]</c>,
    /// challenges, sign-in and sign-out. Where it is the only scheme it is the default one, with nothing more to say.
    /// </summary>
    /// <remarks>
    /// A request whose user nobody asks for reads no store. Endpoints that need a user are answered with 503 while the store
    /// cannot be reached, and others are as before.
    /// </remarks>
    /// <typeparam name="T">The session data, as in <c>AddSession&lt;T&gt;()</c> of the services, which has to be called, too.</typeparam>
    public static AuthenticationBuilder AddSession<T>(
        this AuthenticationBuilder builder,
        Action<SessionAuthenticationOptions<T>>? configure = null
    )
        where T : class => builder.AddSession(SessionAuthenticationDefaults.AuthenticationScheme, configure);

    /// <summary>The same, under another name.</summary>
    /// <typeparam name="T">The session data.</typeparam>
    public static AuthenticationBuilder AddSession<T>(
        this AuthenticationBuilder builder,
        string authenticationScheme,
        Action<SessionAuthenticationOptions<T>>? configure = null
    )
        where T : class => builder.AddSession(authenticationScheme, null, configure);

    /// <summary>The same, under another name, with one for people.</summary>
    /// <typeparam name="T">The session data.</typeparam>
    public static AuthenticationBuilder AddSession<T>(
        this AuthenticationBuilder builder,
        string authenticationScheme,
        string? displayName,
        Action<SessionAuthenticationOptions<T>>? configure
    )
        where T : class
    {
        ArgumentNullException.ThrowIfNull(builder);
        ArgumentException.ThrowIfNullOrEmpty(authenticationScheme);
        var options = builder.Services.AddOptions<SessionAuthenticationOptions<T>>(authenticationScheme);
        if (configure is not null)
            options.Configure(configure);

        return SessionAuthentication.addWith(
            authenticationScheme,
            displayName,
            FuncConvert.FromFunc<SessionError, Exception>(Translate.ToException),
            provider =>
                provider
                    .GetRequiredService<IOptionsMonitor<SessionAuthenticationOptions<T>>>()
                    .Get(authenticationScheme)
                    .ToScheme(authenticationScheme),
            builder
        );
    }
}
