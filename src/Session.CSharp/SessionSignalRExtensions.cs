using Microsoft.AspNetCore.SignalR;
using Session.AspNetCore;
using Session.CSharp;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>SignalR connections that end together with their session.</summary>
public static class SessionSignalRExtensions
{
    /// <summary>
    /// Connections of hubs are closed as soon as the session that they were opened under is over, elevated or another subject's, on
    /// any node; and requests of another session cannot take them up. WebSockets, server-sent events and long polling alike.
    /// </summary>
    /// <remarks>A connection without a session goes on as it is: <c>MapHub&lt;Desk&gt;("/desk").RequireSession&lt;T&gt;()</c> refuses it.</remarks>
    /// <typeparam name="T">The session data.</typeparam>
    public static ISignalRServerBuilder AddSessionLifetime<T>(this ISignalRServerBuilder builder)
        where T : class
    {
        ArgumentNullException.ThrowIfNull(builder);
        return SessionHubs.add<T>(builder);
    }

    /// <summary>The session of this connection as it is now: one store call, by its id and on the authority that the connection was opened with.</summary>
    /// <remarks>Each call gives an object of its own: what one call of the hub reads is no basis for what another one saves. The session's token may have been renewed since: it is not presented again. A session that has ended or was elevated meanwhile is none here. No token reaches the client: sign-in and <c>CreateAsync</c> need a request of their own.</remarks>
    /// <typeparam name="T">The session data.</typeparam>
    /// <exception cref="SessionUnavailableException">The store did not answer.</exception>
    /// <exception cref="InvalidOperationException">The connection has no HTTP request.</exception>
    public static async ValueTask<Session<T>> GetSessionAsync<T>(
        this HubCallerContext context,
        CancellationToken cancellationToken = default
    )
        where T : class
    {
        ArgumentNullException.ThrowIfNull(context);
        var http =
            context.GetHttpContext()
            ?? throw new InvalidOperationException("The connection has no HTTP request, and so no session.");
        var request = RequestSession.find<T>(http);
        var wasRead = request.IsRead;
        await Session<T>.OfAsync(http, cancellationToken).ConfigureAwait(false);
        var session = Session<T>.Of(request.Fork());
        if (wasRead)
            await session.ReloadAsync(cancellationToken).ConfigureAwait(false);
        return session;
    }
}
